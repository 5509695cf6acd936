#!/bin/bash
# Run once by the image of PostgreSQL, when it has made a new cluster: the user of mbackup, with the rights that
# docs/postgres.md names, and the extension.  The password is the secret mbackup_password.
set -euo pipefail
# By standard input: arguments can be seen.
psql -v ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
\set password \`cat "${MBACKUP_PASSWORD_FILE:-/run/secrets/mbackup_password}"\`
CREATE EXTENSION mbackup;
CREATE ROLE mbackup LOGIN REPLICATION PASSWORD :'password';
GRANT pg_monitor, mbackup_daemon TO mbackup;
GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean), pg_create_restore_point(text) TO mbackup;
SQL
# The image lets everybody in by password, but not for replication.
echo 'host replication mbackup all scram-sha-256' >>"$PGDATA/pg_hba.conf"

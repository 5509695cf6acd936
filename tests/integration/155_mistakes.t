#!/bin/bash
# The ten stories of docs/mistakes.md: each mistake is made on a real stack, and what is printed is what the page says.
# MISTAKES_WRITE=1 writes what was printed into the page $MISTAKES_PAGE instead.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
stack_config
sed -i '/^\[objects/,/^$/d' "$CONF"
mkdir -p "$T/bin" "$T/root" "$T/cron"
ln -s "$MBACKUP" "$T/bin/mbackup"
export PATH=$T/bin:$PATH MBACKUP_CONFIG=$CONF
printf 'answer = 42\n' >"$T/etc/app.conf"
echo 'correct horse battery staple' >"$T/pass"; echo 'wrong horse' >"$T/root/other-pass"
chmod 600 "$T/pass" "$T/root/other-pass"
sed -i "s|^key-file = .*|passphrase-file = $T/pass|" "$CONF"
printf '\n[schedule]\nfull = 0 2 * * *\n' >>"$CONF"
page=${MISTAKES_PAGE:-$here/docs/mistakes.md}
before=$(date -u -d '-1 min' '+%Y-%m-%d %H:%M:%SZ')

story() # heading
{
	if [ -n "${MISTAKES_WRITE:-}" ]
	then
		python3 "$here/tests/lib/story.py" "$page" "$1" --write "${names[@]}"
	else
		ok "$1" python3 "$here/tests/lib/story.py" "$page" "$1" "${names[@]}"
	fi
}
names=("$REPO=/backup/shop" "$CONF=/etc/mbackup/mbackup.conf" "$T/pass=/etc/mbackup/pass" "$T/spool=/var/lib/mbackup/spool" "$T/etc=/etc/shop"
	"$PGDATA=/var/lib/postgresql/15/main" "host=$T=host=/run/postgresql" "-h $T =-h /run/postgresql " "$PGPORT=5432" "$T/offsite=/mnt/offsite/shop"
	"$T/root=/root" "$T/safe/=/mnt/safe/" "$T/bin=/usr/local/bin" "$T/cron=/usr/bin:/bin" "$MBACKUP=/usr/bin/mbackup" "$T/pg-new=/srv/pg-new" "$T/etc-new=/srv/etc-new")

mbackup init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
# As init writes it into a configuration of its own.
sed -i "/^\[repository\]/a id = $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["id"])' "$REPO/mbackup.json")" "$CONF"
mbackup backup >/dev/null 2>&1 || { diag "backup failed"; exit 1; }
sql "CREATE TABLE orders AS SELECT 1 AS id"
sleep 1.1
noon=$(date -u '+%Y-%m-%d %H:%M:%SZ')
names+=("$noon=2026-11-28 12:00:00Z" "$before=2025-11-28 12:00:00Z")

story "1. The wrong passphrase"
mkdir "$T/safe"; cp -p "$T/pass" "$T/safe/pass"
story "2. The passphrase is on the machine that died"
story "3. The repository is on the disk that it should outlive"
sed -i '/^\[repository:offsite\]/,$d' "$CONF"
mv "$REPO" "$REPO.mounted"; mkdir "$REPO"
story "4. The disk of the repository is not mounted"
is "$(ls -A "$REPO")" "" "nothing was made there"
rm -rf "$REPO"; mv "$REPO.mounted" "$REPO"
story "5. No stream, so no way back to a moment in between"
story "6. A moment outside the window"
story "7. A restore over a server that runs"
ok "the server runs all the same" sql "SELECT 1"
start_stream
stack_kill "$STREAM"
sql "SELECT pg_create_physical_replication_slot('trial', true)" >/dev/null
story "8. A replication slot that nobody reads any more"
sql "SELECT pg_drop_replication_slot('trial')" >/dev/null
sql "ALTER SYSTEM SET archive_mode = on"; sql "ALTER SYSTEM SET archive_command = '/opt/oldtool/archive %p'"
stop_cluster "$PGDATA"; start_cluster "$PGDATA"
sql "CREATE TABLE more (i int)"; sql "SELECT pg_switch_wal()" >/dev/null
# A program that is not there is no failure that the server counts; what waits tells.
wait_for 60 sh -c "ls '$PGDATA/pg_wal/archive_status' | grep -q ready"
touch -d '-5 min' "$PGDATA"/pg_wal/archive_status/*.ready
story "9. archive_command is still the old tool's"
story "10. It works by hand, and not from cron"
done_testing

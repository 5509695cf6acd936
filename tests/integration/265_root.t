#!/bin/bash
# What root restores belongs to the server's user, who recovers it: --start, --table and --delta as root,
# and a refusal before anything is made when that user could not fetch the WAL. Only root can test it.
. "$(dirname "$0")/../lib/stack.sh"
[ "$(id -u)" = 0 ] || skip_all "not root"
id postgres >/dev/null 2>&1 || skip_all "no user postgres"
# Not by stack_begin, which drops root; the server itself is the user's.
stack_drop_root() { :; }
stack_begin
chmod 755 "$T"
setpriv() { command setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$T" "$@"; }
PGHOST=$T/sock PGPORT=$(free_port)
export PGHOST PGPORT PGDATABASE=postgres PGUSER=mbtest
mkdir -p "$T/server" "$T/sock" "$T/scratch"; chown postgres: "$T/server" "$T/sock"
# The user must come as far as the program: the tree of the build may be closed to it.
cp "$MBACKUP" "$T/mbackup"; chmod 755 "$T/mbackup"; MBACKUP=$T/mbackup
export TMPDIR=$T/scratch; chmod 711 "$TMPDIR"
PGDATA=$T/server/pg
setpriv initdb -D "$PGDATA" -U mbtest -A trust -k -N >/dev/null 2>&1
printf "port = %s\nlisten_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\n" "$PGPORT" "$PGHOST" >>"$PGDATA/postgresql.conf"
setpriv pg_ctl -D "$PGDATA" -l "$PGDATA.log" -w start >/dev/null || { cat "$PGDATA.log"; exit 1; }
stack_owns "$(head -1 "$PGDATA/postmaster.pid")"
stack_config none
sed -i '/^\[objects/,$d' "$CONF"; chmod 644 "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
sql "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS m FROM generate_series(1, 1000) g"
run mb backup
is "$status" 0 "a backup as root"
. "$here/tests/lib/check.sh"
look
found postgres.user warning "runs as root"
like "$FIX" "^sudo -u postgres $MBACKUP --config $CONF check$" "... with who should"

run mb restore --yes --component "postgres=$T/r" --start --start-timeout 30s --port "$(free_port)"
is "$status" 7 "the server's user cannot read root's repository: --start is refused"
like "$err" "cannot fetch its WAL" "... with the reason"
like "$err" "Permission denied" "... in its own words"
ok "... before anything is made" test ! -e "$T/r"
run mb restore --table postgres.public.t --output "$T/t.sql"
is "$status" 7 "so is --table"
is "$(ls "$TMPDIR")" "" "... with nothing left"
run mb restore --yes --component "postgres=$T/r"
is "$status" 0 "a restore that is not started"
like "$err" "warning: .*cannot fetch its WAL" "... warns"
rm -rf "$T/r"

chown -R postgres: "$REPO"
port=$(free_port)
run mb restore --yes --component "postgres=$T/r" --start --start-timeout 30s --port "$port"
is "$status" 0 "--start"
[ "$status" = 0 ] || diag "$err"
is "$(sql "SELECT count(*) FROM t" -p "$port")" 1000 "... has the rows"
is "$(stat -c %U "/proc/$(head -1 "$T/r/postmaster.pid")")" postgres "... the server runs as its user"
is "$(find "$T/r" ! -user postgres -o ! -group postgres | wc -l)" 0 "... and everything is that user's"
setpriv pg_ctl -D "$T/r" -m fast -w stop >/dev/null
run mb restore --table postgres.public.t --output "$T/t.sql"
is "$status" 0 "--table"
[ "$status" = 0 ] || diag "$err"
pg_dump -t public.t | grep -v '^\\' >"$T/t.source"
ok "... is what pg_dump says of the source" bash -c "grep -v '^\\\\' '$T/t.sql' | diff - '$T/t.source'"
is "$(ls "$TMPDIR")" "" "... and leaves nothing"
# Owners and modes that are wrong, and an empty directory that is root's.
chown root "$T/r/PG_VERSION" "$T"/r/base/5/1259; chmod 755 "$T/r/base"
run mb restore --yes --delta --component "postgres=$T/r" --start --start-timeout 30s --port "$port"
is "$status" 0 "--delta --start"
is "$(find "$T/r" ! -user postgres -o ! -group postgres | wc -l)" 0 "... sets owners right"
is "$(stat -c %a "$T/r/base")" 700 "... and modes"
setpriv pg_ctl -D "$T/r" -m fast -w stop >/dev/null
mkdir -m 755 "$T/e"
run mb restore --yes --component "postgres=$T/e" --wal-dir "$T/e-wal" --start --start-timeout 30s --port "$port"
is "$status" 0 "an empty directory of root's, and --wal-dir"
is "$(stat -c '%U %a' "$T/e" "$T/e-wal" | sort -u)" "postgres 700" "... are the user's now"
setpriv pg_ctl -D "$T/e" -m fast -w stop >/dev/null
run mb adopt "$T/e"
is "$status" 0 "adopt"
is "$(stat -c %U "$T/e/postgresql.auto.conf")" postgres "... leaves the file to its owner"
setpriv pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
done_testing

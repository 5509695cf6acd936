#!/bin/bash
# Some databases, and single tables: the chosen ones are complete (judged by pg_dump of the source),
# the others are zeros that can be dropped with the commands that the restore prints. A table comes
# back as a file or into a living database, all of it or nothing, and no scratch server stays.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
export TMPDIR=$T/tmp; mkdir "$TMPDIR"

mkdir "$T/ts"
sql "CREATE TABLESPACE ts LOCATION '$T/ts'"
sql "CREATE DATABASE keep"; sql 'CREATE DATABASE "Lose ""it"'; sql "CREATE DATABASE lose2 TABLESPACE ts"
fill='CREATE TABLE t AS SELECT g AS id, md5(g::text) AS m FROM generate_series(1, 20000) g; CREATE INDEX ON t (id)'
for db in keep 'Lose "it' lose2; do sql "$fill" -d "$db"; done
sql 'CREATE SCHEMA "My.Schema"; CREATE TABLE "My.Schema"."Ta""ble*" AS SELECT 1 AS one; CREATE TABLE "My.Schema"."Ta""ble1" AS SELECT 2 AS two' -d keep
sql "CREATE TABLE in_ts TABLESPACE ts AS SELECT * FROM t" -d keep
sql 'CREATE DATABASE "user=keep"'; sql "CREATE TABLE t AS SELECT 'of the odd one' AS m" -d "dbname='user=keep'"
start_stream
run mb backup
is "$status" 0 "backup"
# WAL of the databases that are left out must be replayed over their zeros.
for db in keep 'Lose "it' lose2; do sql "UPDATE t SET m = 'x' WHERE id % 10 = 0; INSERT INTO t SELECT g, 'new' FROM generate_series(1, 5000) g; VACUUM t" -d "$db" 2>/dev/null || { sql "UPDATE t SET m = 'x' WHERE id % 10 = 0" -d "$db"; sql "VACUUM t" -d "$db"; }; done
sql "CREATE DATABASE younger"; sql "$fill" -d younger
run mb mark here
is "$status" 0 "mark"
for db in keep younger; do pg_dump -p "$PGPORT" -d "$db" | grep -v '^\\' >"$T/$db.sql"; done

run mb restore --to-mark here --component "postgres=$T/r1" --tablespace-all "$T/r1-ts" --database nobody
is "$status" 10 "a database that is not in the backup"
like "$err" '"keep"' "... and the ones that are"
ok "nothing was made" test ! -e "$T/r1"
run mb restore --to-mark here --component "postgres=$T/r1" --tablespace-all "$T/r1-ts" --database keep --start --start-timeout 60s --port "$(free_port)"
is "$status" 0 "restore of one database, started"
[ "$status" = 0 ] || diag "$err"
like "$out" 'DROP DATABASE "Lose ""it"; DROP DATABASE "lose2";' "the exact commands are printed"
p=$(sed -n 4p "$T/r1/postmaster.pid")
pg_dump -p "$p" -d keep | grep -v '^\\' >"$T/keep.copy"
ok "the chosen database is equal" cmp "$T/keep.sql" "$T/keep.copy"
ok "... to the last page" pg_amcheck -p "$p" -d keep --install-missing --heapallindexed
pg_dump -p "$p" -d younger | grep -v '^\\' >"$T/younger.copy"
ok "a database younger than the backup comes by its WAL" cmp "$T/younger.sql" "$T/younger.copy"
ok "the others cannot be opened" bash -c "! psql -X -p $p -d lose2 -c 'SELECT count(*) FROM t'"
ok "... which does no harm" sql "SELECT 1" -p "$p"
sql 'DROP DATABASE "Lose ""it";' -p "$p" && sql 'DROP DATABASE "lose2";' -p "$p"
is "$(sql "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database" -p "$p")" "keep,postgres,template0,template1,user=keep,younger" "they go with the commands"
stop_cluster "$T/r1"
run mb restore --to-mark here --component "postgres=$T/r2" --tablespace-all "$T/r2-ts" --database keep
is "$status" 0 "once more, not started"
ok "pg_verifybackup passes over the zeros" pg_verifybackup -n "$T/r2"
oid=$(sql "SELECT oid FROM pg_database WHERE datname LIKE 'Lose%'")
is "$(find "$T/r2/base/$oid" -type f -name '[0-9]*' -exec du -k {} + | awk '{ s += $1 } END { print s }')" 0 "... which take no space"
run mb restore --to-mark here --delta --yes --component "postgres=$T/r2" --tablespace-all "$T/r2-ts" --database lose2
is "$status" 0 "a delta to the other database"
ok "pg_verifybackup" pg_verifybackup -n "$T/r2"

# -- tables -----------------------------------------------------------------------------------------------
run mb restore --to-mark here --table keep.public.t --output "$T/t.sql"
is "$status" 0 "a table into a file"
[ "$status" = 0 ] || diag "$err"
pg_dump -p "$PGPORT" -d keep -t public.t | grep -v '^\\' >"$T/t.source"
ok "... is what pg_dump says of the source" bash -c "grep -v '^\\\\' '$T/t.sql' | diff - '$T/t.source'"
run mb restore --to-mark here --table keep.public.t --output "$T/t.sql"
is "$((status != 0))" 1 "a file that exists is not written over"
run mb restore --to-mark here --table 'keep."My.Schema"."Ta""ble*"' --output "$T/q.sql"
is "$status" 0 "a table with dots, quotes and stars in its name"
[ "$status" = 0 ] || diag "$err"
is "$(grep -c 'CREATE TABLE' "$T/q.sql")" 1 "... and no other"
run mb restore --to-mark here --table user=keep.public.t --output "$T/odd.sql"
is "$status" 0 "a table of a database whose name reads like a connection string"
[ "$status" = 0 ] || diag "$err"
is "$(grep -c 'of the odd one' "$T/odd.sql")" 1 "... is of that database"
run mb restore --to-mark here --table keep.public.T --output "$T/no.sql"
is "$status" 11 "names are taken as they are written"
like "$err" "no matching tables" "... says pg_dump"
ok "no file is left" test ! -e "$T/no.sql"
sql "CREATE DATABASE target"
run mb restore --to-mark here --table keep.public.t --table 'keep."My.Schema"."Ta""ble*"' --into "host=$PGHOST port=$PGPORT user=mbtest dbname=target"
is "$status" 11 "into a database that lacks the schema: refused by it"
is "$(sql "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'" -d target)" 0 "... and nothing of it stays"
run mb restore --to-mark here --table keep.public.t --into "host=$PGHOST port=$PGPORT user=mbtest dbname=target"
is "$status" 0 "a table into a living database"
is "$(sql "SELECT count(*), md5(string_agg(id || m, ',' ORDER BY id, m)) FROM t" -d target)" "$(sql "SELECT count(*), md5(string_agg(id || m, ',' ORDER BY id, m)) FROM t" -d keep)" "... with its rows"
run mb restore --to-mark here --table keep.public.t --into "host=$PGHOST port=$PGPORT user=mbtest dbname=target"
is "$((status != 0))" 1 "again: it is there already"
like "$err" "the target is as it was" "... and the target is as it was"
run mb restore --to-mark here --table keep.public.t --table postgres.public.x --output "$T/two.sql"
is "$status" 2 "two databases in one run"
run mb restore --to-mark here --table nonsense --output "$T/two.sql"
is "$status" 2 "a name without a database"
is "$(ls "$TMPDIR")" "" "no scratch directory is left"
is "$(pgrep -u "$(id -u)" -f "postgres -D $TMPDIR/mbackup-tables" | wc -l)" 0 "no scratch server is left"
# Told to stop in the middle: it cleans up.
"$MBACKUP" --config "$CONF" restore --to-mark here --table keep.public.t --output "$T/stop.sql" >/dev/null 2>&1 & pid=$!
wait_for 20 bash -c "ls '$TMPDIR'/*/data/postmaster.pid"
kill -TERM "$pid"; wait "$pid"
is "$?" 143 "SIGTERM in the middle"
is "$(ls "$TMPDIR")" "" "... leaves no directory"
"$MBACKUP" --config "$CONF" restore --to-mark here --table keep.public.t --output "$T/kill.sql" >/dev/null 2>&1 & pid=$!
wait_for 20 bash -c "ls '$TMPDIR'/*/data/postmaster.pid"
kill -9 "$pid"; wait "$pid" 2>/dev/null
no_server() { ! pgrep -u "$(id -u)" -f "postgres -D $TMPDIR/mbackup-tables"; }
ok "kill -9 in the middle leaves no server" wait_for 10 no_server
stack_kill "$STREAM"
done_testing

#!/bin/bash
# A full backup under pgbench load, without any stream, comes back whole: judged by
# pg_verifybackup, pgbench's own sums, a pg_dump of the source and pg_amcheck. Tablespaces are
# remapped, what the manual excludes stays out, a damaged page is told; and wal-get never lets
# a damaged segment look like the end of the WAL.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

restored_port() { sed -n 4p "$1/postmaster.pid"; }
start_restored() # directory
{
	printf 'port = %s\nfsync = off\n' "$(free_port)" >>"$1/postgresql.conf"
	start_cluster "$1" && wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$(restored_port "$1")"
}
# Money is neither made nor lost: the sums of all four tables agree.
sums_agree() # port
{
	[ "$(sql "SELECT count(DISTINCT s) FROM (SELECT sum(abalance) FROM pgbench_accounts UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT coalesce(sum(delta), 0) FROM pgbench_history) x (s)" -p "$1")" = 1 ]
}

mkdir "$T/space one"
sql "CREATE TABLESPACE space LOCATION '$T/space one'"
sql "CREATE TABLE in_space TABLESPACE space AS SELECT g, md5(g::text) AS m FROM generate_series(1, 20000) g"
sql "CREATE UNLOGGED TABLE volatile AS SELECT generate_series(1, 1000) AS g"
sql "CREATE TABLE empty_one ()"
unlogged=$(sql "SELECT pg_relation_filepath('volatile')")
pgbench -i -s 10 -q postgres >/dev/null 2>&1
sql "ALTER SYSTEM SET archive_timeout = 0"; sql "ALTER SYSTEM SET recovery_target_name = 'stale'"
run mb check
like "$out" "no stream is running" "check tells that no stream runs"
pgbench -n -c 4 -T 8 postgres >"$T/pgbench.log" 2>&1 & LOAD=$!; stack_owns "$LOAD"
sleep 1
run mb backup
is "$status" 0 "backup under load, without a stream"
like "$err" "receiving WAL" "it receives WAL by itself"
kill "$LOAD"; wait "$LOAD" 2>/dev/null
is "$(sql "SELECT count(*) FROM pg_replication_slots")" 0 "its temporary slot is gone"

run mb restore --component "postgres=$T/no" --yes
is "$status" 4 "a tablespace that is in use is a conflict"
like "$err" "--tablespace" "... and the way out is named"
run mb restore --component "postgres=$T/r1" --yes --tablespace "$T/space one=$T/space two"
is "$status" 0 "restore with a remapped tablespace"
ok "pg_verifybackup" pg_verifybackup -n "$T/r1"
is "$(readlink "$T"/r1/pg_tblspc/*)" "$T/space two" "the link leads to the new place"
is "$(ls "$T/r1/$unlogged"* | sed "s,$T/r1/$unlogged,,")" _init "of an unlogged table only the init fork"
is "$(cd "$T/r1" && ls postmaster.pid postmaster.opts pg_replslot/* pg_wal/0* global/pg_internal.init 2>/dev/null)" "" "excluded files are not there"
is "$(stat -c %a "$T/r1")" 700 "the directory is private"
is "$(stat -c %a "$T/r1/mbackup_restore.json")" 600 "the plan is private"
is "$(grep -c recovery_target_name "$T/r1/postgresql.auto.conf")" 1 "the source's recovery settings are dropped"
ok "it starts and promotes" start_restored "$T/r1"
port=$(restored_port "$T/r1")
ok "pgbench's sums agree" sums_agree "$port"
is "$(sql "SELECT count(*), sum(length(m)) FROM in_space" -p "$port")" "20000|640000" "the tablespace's table"
is "$(sql "SELECT count(*) FROM volatile" -p "$port")" 0 "the unlogged table is empty"
ok "pg_amcheck" pg_amcheck -p "$port" --install-missing --heapallindexed -d postgres
ok "the prefetched WAL is removed" wait_for 10 test ! -e "$T/r1/pg_wal/mbackup-prefetch"
stop_cluster "$T/r1"
ok "pg_checksums" pg_checksums --check -D "$T/r1"

# -- at rest: nothing may differ ------------------------------------------------------------------
run mb backup
is "$status" 0 "a second backup"
pg_dumpall -h "$PGHOST" -p "$PGPORT" | grep -v '^\\\|space one\|space two' >"$T/source.sql"
run mb restore --component "postgres=$T/r2" --yes --tablespace "$T/space one=$T/space three"
is "$status" 0 "restore"
ok "it starts" start_restored "$T/r2"
pg_dumpall -h "$PGHOST" -p "$(restored_port "$T/r2")" | grep -v '^\\\|space one\|space three' >"$T/copy.sql"
# The unlogged rows are rightly gone.
sed -i '/^COPY public.volatile/,/^$/d' "$T/source.sql" "$T/copy.sql"
ok "pg_dumpall is equal" cmp "$T/source.sql" "$T/copy.sql"
stop_cluster "$T/r2"

# -- wal-get ----------------------------------------------------------------------------------------
run mb restore --component "postgres=$T/r3" --yes --tablespace "$T/space one=$T/space four"
id=$(json restore <"$T/r3/mbackup_restore.json")
seg=$(python3 -c 'import json, sys; l = json.load(open(sys.argv[1]))["links"][0]; n = int(l["from"].split("/")[0], 16) << 8 | int(l["from"].split("/")[1], 16) >> 24; print("%08X%08X%08X" % (l["timeline"], n >> 8, n & 255))' "$T/r3/mbackup_restore.json")
cd "$T/r3" || exit 1
run mb wal-get --restore="$id" "$seg" pg_wal/RECOVERYXLOG
is "$status" 0 "wal-get delivers a planned segment"
is "$(stat -c %s pg_wal/RECOVERYXLOG)" 16777216 "... whole"
ok "... that pg_waldump reads" bash -c "cp pg_wal/RECOVERYXLOG '$T/$seg' && pg_waldump -n 5 '$T/$seg'"
run mb wal-get --restore="$id" 0000000100000FFF00000000 pg_wal/RECOVERYXLOG
is "$status" 1 "past the plan's end: 1"
run mb wal-get --restore="$id" 00000002.history pg_wal/RECOVERYHISTORY
is "$status" 1 "a timeline that does not exist: 1"
run mb wal-get --restore="$id" ../../etc/passwd pg_wal/X
is "$status" 1 "a name that is not WAL: 1"
run mb wal-get --restore=other "$seg" pg_wal/RECOVERYXLOG
is "$status" 202 "another restore's directory: 200 + CONFIG"
cd "$T" || exit 1
run mb wal-get --restore="$id" "$seg" "$T/RECOVERYXLOG"
is "$status" 202 "no restored directory: 200 + CONFIG"
cd "$T/r3" || exit 1
rm -rf pg_wal/mbackup-prefetch
piece=$(find "$REPO/streams" -path "*/$seg/*" | head -1)
cp -p "$piece" "$T/piece"; chmod u+w "$piece"
printf 'X' | dd of="$piece" bs=1 seek=5000 conv=notrunc 2>/dev/null
run mb wal-get --restore="$id" "$seg" pg_wal/RECOVERYXLOG
is "$status" 206 "a damaged segment: 200 + CORRUPT"
rm -f "$piece"; rm -f pg_wal/RECOVERYXLOG
run mb wal-get --restore="$id" "$seg" pg_wal/RECOVERYXLOG
is "$status" 206 "a missing segment: 200 + CORRUPT"
ok "nothing was delivered" test ! -e pg_wal/RECOVERYXLOG
printf 'port = %s\n' "$(free_port)" >>"$T/r3/postgresql.conf"
ok "Postgres does not open with it" bash -c "! pg_ctl -D '$T/r3' -l '$T/r3.log' -w -t 30 start"
cp -p "$T/piece" "$piece"
mv "$REPO" "$REPO.away"
run mb wal-get --restore="$id" "$seg" pg_wal/RECOVERYXLOG
is "$((status > 200))" 1 "an unreachable repository: above 200"
mv "$REPO.away" "$REPO"
cd "$T" || exit 1

# -- a damaged page -----------------------------------------------------------------------------------
file=$(sql "SELECT pg_relation_filepath('in_space')")
sql "CHECKPOINT"
stop_cluster "$PGDATA"
printf 'damage' | dd of="$PGDATA/$file" bs=1 seek=$((8192 * 3 + 4000)) conv=notrunc 2>/dev/null
start_cluster "$PGDATA"
run mb backup
is "$status" 0 "a damaged page does not stop a backup"
like "$out$err" "wrong checksum" "... but it is told"
like "$out$err" "block 3" "... with its number"
run mb restore --component "postgres=$T/r4" --yes --tablespace "$T/space one=$T/space five"
is "$status" 0 "its restore"
like "$out$err" "wrong checksums in the source" "... tells it again"
run mb verify
is "$status" 0 "verify"
done_testing

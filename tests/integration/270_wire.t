#!/bin/bash
# A cluster is read over the wire (BASE_BACKUP) and from a standby, under load, full and
# incremental, and comes back whole: judged by pg_verifybackup, pgbench's sums, pg_dumpall and
# pg_amcheck. What is not what it seems (another host's path, a standby that is none) is refused.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
cp "$CONF" "$T/base.conf"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

# configure key=value...: of the [postgres] section
configure() { { cat "$T/base.conf"; printf '%s\n' "$@"; } >"$CONF"; }
restored_port() { sed -n 4p "$1/postmaster.pid" 2>/dev/null || echo 1; }
start_restored() # directory
{
	printf 'port = %s\nfsync = off\n' "$(free_port)" >>"$1/postgresql.conf"
	start_cluster "$1" && wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$(restored_port "$1")"
}
sums_agree() # port
{
	[ "$(sql "SELECT count(DISTINCT s) FROM (SELECT sum(abalance) FROM pgbench_accounts UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT coalesce(sum(delta), 0) FROM pgbench_history) x (s)" -p "$1")" = 1 ]
}
dump() { pg_dumpall -p "$1" | grep -v '^\\\(un\)\?restrict'; }
N=0
# judge name: restore the newest backup; without load its rows are the source's.
judge()
{
	N=$((N + 1))
	run mb restore --component "postgres=$T/r$N" --yes --tablespace "$T/space one=$T/space r$N"
	is "$status" 0 "$1: restore"
	[ "$status" = 0 ] || { diag "$err"; return; }
	ok "$1: pg_verifybackup" pg_verifybackup -n "$T/r$N"
	ok "$1: starts" start_restored "$T/r$N"
	ok "$1: sums agree" sums_agree "$(restored_port "$T/r$N")"
	dump "$PGPORT" >"$T/source.sql"
	dump "$(restored_port "$T/r$N")" | sed "s#space r$N#space one#" >"$T/copy.sql"
	ok "$1: pg_dumpall is equal" cmp "$T/source.sql" "$T/copy.sql"
	ok "$1: pg_amcheck" pg_amcheck -a -p "$(restored_port "$T/r$N")" --heapallindexed
	stop_cluster "$T/r$N"
	ok "$1: page checksums" pg_checksums --check -D "$T/r$N"
	rm -rf "$T/r$N" "$T/space r$N"
}
changed() { python3 -c 'import json,sys; print(json.load(sys.stdin)["backup"]["components"][0]["changed_bytes"])'; }

mkdir "$T/space one"
sql "CREATE TABLESPACE space LOCATION '$T/space one'"
sql "CREATE TABLE in_space TABLESPACE space AS SELECT g, md5(g::text) AS m FROM generate_series(1, 20000) g"
sql "CREATE UNLOGGED TABLE volatile (g int)"
sql "CREATE EXTENSION amcheck"
pgbench -i -s 10 -q postgres >/dev/null 2>&1
# So that little but the load's own pages changes behind the first backup.
sql "ALTER SYSTEM SET autovacuum = off"; sql "SELECT pg_reload_conf()" >/dev/null; sql "VACUUM (FREEZE, ANALYZE)"
head -c 3000000 /dev/urandom >"$PGDATA/a plain file"

# -- the server itself, over the wire -----------------------------------------------------------------
configure "method = basebackup"
run mb check
like "$out" "read over the wire" "check tells how it would read"
pgbench -n -c 2 -R 50 -T 4 postgres >"$T/pgbench.log" 2>&1 & LOAD=$!; stack_owns "$LOAD"
sleep 1
run mb backup --json
is "$status" 0 "a full backup over the wire, under load"
[ "$status" = 0 ] || diag "$out$err"
wait "$LOAD"; sql "VACUUM pgbench_accounts"
full=$(changed <<<"$out")
run mb restore --component "postgres=$T/loaded" --yes --tablespace "$T/space one=$T/space loaded"
ok "... pg_verifybackup" pg_verifybackup -n "$T/loaded"
ok "... starts" start_restored "$T/loaded"
ok "... sums agree" sums_agree "$(restored_port "$T/loaded")"
ok "... a file that is no relation" cmp "$PGDATA/a plain file" "$T/loaded/a plain file"
stop_cluster "$T/loaded"
sql "UPDATE in_space SET m = 'changed' WHERE g % 5000 = 0"
sql "INSERT INTO pgbench_history (tid, bid, aid, delta) SELECT 1, 1, g, 0 FROM generate_series(1, 1000) g"
run mb backup --json
is "$status" 0 "an incremental backup over the wire"
[ "$(changed <<<"$out")" -lt $((full / 3)) ]
is "$?" 0 "... stores what changed ($(changed <<<"$out") of $full bytes)"
judge "wire, incremental"

# One method builds on the other.
configure "method = direct"
run mb backup --json
is "$status" 0 "a direct backup on top of it"
[ "$(changed <<<"$out")" -lt $((full / 3)) ]
is "$?" 0 "... is incremental ($(changed <<<"$out") bytes)"
judge "direct on wire"
sql "DELETE FROM in_space WHERE g < 100"
configure "method = basebackup" "wire-compression = zstd:1"
run mb backup --json
is "$status" 0 "one over the wire again, compressed by the server"
[ "$status" = 0 ] || diag "$out$err"
[ "$(changed <<<"$out")" -lt $((full / 3)) ]
is "$?" 0 "... is incremental ($(changed <<<"$out") bytes)"
judge "wire on direct"
configure "method = basebackup" "wire-compression = brotli"
run mb backup
is "$status" 2 "an unknown compression is refused"

# -- a page whose checksum is wrong ----------------------------------------------------------------------
file=$(sql "SELECT pg_relation_filepath('pgbench_branches')")
configure "method = basebackup"
sql "CREATE TABLE broken AS SELECT g FROM generate_series(1, 5000) g"
file=$(sql "SELECT pg_relation_filepath('broken')")
sql "CHECKPOINT"
stop_cluster "$PGDATA"
printf 'damage' | dd of="$PGDATA/$file" bs=1 seek=$((8192 * 3 + 4000)) conv=notrunc 2>/dev/null
start_cluster "$PGDATA"
run mb backup
is "$status" 0 "a damaged page does not stop a backup over the wire"
like "$out$err" "wrong checksum, the first at block 3" "... but it is told, with its number"
sql "DROP TABLE broken"

# -- kill -9 in the middle; the next one goes on ----------------------------------------------------------
head -c 150000000 /dev/urandom >"$PGDATA/big"
for wait in 0.1 0.3
do
	MBACKUP_TEST_SAVE_MS=20 "$MBACKUP" --config "$CONF" backup --type full >/dev/null 2>&1 & VICTIM=$!
	sleep "$wait"
	kill -9 "$VICTIM" 2>/dev/null; wait "$VICTIM" 2>/dev/null
done
MBACKUP_TEST_SAVE_MS=20 "$MBACKUP" --config "$CONF" backup --type full >/dev/null 2>&1 & VICTIM=$!
wait_for 20 eval '[ -n "$(find "$REPO/provisional" -type f 2>/dev/null | head -1)" ]'
kill -9 "$VICTIM" 2>/dev/null; wait "$VICTIM" 2>/dev/null
ok "a killed backup leaves what it has finished" test -n "$(find "$REPO/provisional" -type f | head -1)"
run mb verify
is "$status" 0 "the repository verifies after kill -9 at three moments"
run mb backup --type full
is "$status" 0 "the next backup works"
like "$err" "going on from what a killed backup has stored" "... and goes on from there"
is "$(find "$REPO/provisional" -type f | wc -l)" 0 "... and nothing provisional is left"
rm -f "$PGDATA/big"
judge "after a kill"

# -- from a standby -----------------------------------------------------------------------------------------
pg_basebackup -D "$T/standby" -R -X stream -c fast -T "$T/space one=$T/space standby" >/dev/null 2>&1
SPORT=$(free_port)
printf 'port = %s\n' "$SPORT" >>"$T/standby/postgresql.conf"
start_cluster "$T/standby" || diag "no standby"
standby="standby = host=$T port=$SPORT user=mbtest dbname=postgres"
"$MBACKUP" --config "$CONF" stream >"$T/stream.log" 2>&1 & STREAM=$!; stack_owns "$STREAM"
wait_for 20 eval '[ -n "$(sql "SELECT 1 FROM pg_stat_replication")" ]'
caught_up() { [ "$(sql "SELECT pg_last_wal_replay_lsn() >= '$1'" -p "$SPORT")" = t ]; }
for method in direct basebackup
do
	sql "INSERT INTO in_space SELECT g, 'standby' FROM generate_series(1, 500) g"
	sql "CHECKPOINT"
	ok "the standby catches up" wait_for 20 caught_up "$(sql "SELECT pg_current_wal_lsn()")"
	configure "method = $method" "$standby"
	run mb check
	like "$out" "the standby follows this cluster" "check looks at the standby"
	run mb backup --json
	is "$status" 0 "a backup from the standby, $method"
	[ "$status" = 0 ] || diag "$out$err"
	judge "standby, $method"
done
configure "method = direct" "standby = host=$T port=$PGPORT user=mbtest dbname=postgres"
run mb backup
is "$status" 4 "a standby that is none is refused"
configure "method = direct"
sed -i "s/port=$PGPORT/port=$SPORT/" "$CONF"
run mb backup
is "$status" 9 "a standby as conninfo is refused"
like "$err" "standby = CONNINFO" "... and the way is told"

# -- promoted in the middle -----------------------------------------------------------------------------------
head -c 300000000 /dev/zero >"$T/standby/big"
configure "method = basebackup" "$standby"
"$MBACKUP" --config "$CONF" backup --type full >"$T/promoted.out" 2>&1 & VICTIM=$!; stack_owns "$VICTIM"
sending() { [ -n "$(sql "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'walsender' AND query LIKE 'BASE_BACKUP%'" -p "$SPORT")" ]; }
wait_for 10 sending
"$PG_BIN/pg_ctl" -D "$T/standby" -w promote >/dev/null 2>&1
wait "$VICTIM"; status=$?
if [ "$status" = 0 ]
then
	like "" "" "the backup was over before the promotion"
else
	like "$(cat "$T/promoted.out")" "promoted|standby" "a promotion in the middle fails the backup: $status"
fi
stop_cluster "$T/standby"

# -- a path that is another server's ------------------------------------------------------------------------------
configure "method = direct"
run mb backup
is "$status" 0 "the server's own directory is read"
sed -i 3s/.*/1000000000/ "$PGDATA/postmaster.pid"
run mb backup
is "$status" 4 "a directory in which another server runs is refused"
like "$err" "is not that of the server" "... and it is said"
configure "method = auto"
run mb backup
is "$status" 0 "with method = auto it is read over the wire"
like "$err" "reading over the wire, because" "... and it is said"
run mb verify
is "$status" 0 "everything verifies"
stack_kill "$STREAM"
done_testing

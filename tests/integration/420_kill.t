#!/bin/bash
# kill -9 of backup and of stream at random moments: the repository verifies, the next run works
# without any unlock, and no WAL that was acknowledged is lost.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
stack_redis || exit 1
stack_config
rounds=6
[ -n "${MBACKUP_LONG:-}" ] && rounds=50
[ -n "${MBACKUP_SHORT:-}" ] && rounds=3
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
"$PG_BIN/pgbench" -i -s 5 -q >/dev/null 2>&1
sql "CREATE TABLE events (id int PRIMARY KEY)"
for i in $(seq 300); do head -c 3000 /dev/urandom >"$T/objects/o$i"; done

application()
{
	local i=0
	while [ ! -e "$T/stop" ]
	do
		i=$((i + 1))
		echo "INSERT INTO events VALUES ($i);"
		echo "SELECT $i, pg_current_wal_insert_lsn();"
		sleep 0.01
	done
}
application | psql -X -q -A -t -F ' ' >"$T/app.log" 2>&1 &
stack_owns $!
"$PG_BIN/pgbench" -n -c 1 -R 200 -T 3000 >/dev/null 2>&1 &
stack_owns $!
sleep 0.5
run mb backup
is "$status" 0 "a first backup"

# -- backup --------------------------------------------------------------------------------------
started=$(date +%s%N)
run mb backup
length_ms=$((($(date +%s%N) - started) / 1000000))
is "$status" 0 "a second one (${length_ms} ms)"
bad=0
finished=0
for i in $(seq "$rounds")
do
	rcli set "round" "$i" >/dev/null
	"$MBACKUP" --config "$CONF" backup >"$T/b.out" 2>&1 &
	pid=$!
	sleep "$(python3 -c "import random; print(random.uniform(0, $length_ms * 1.1 / 1000))")"
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	[ $? = 0 ] && finished=$((finished + 1))
	run mb verify --read-data full
	[ "$status" = 0 ] || { bad=$((bad + 1)); diag "round $i: verify: $status $out $err"; }
	run mb list
	[ "$status" = 0 ] || { bad=$((bad + 1)); diag "round $i: list: $status $err"; }
done
is "$bad" 0 "backup killed $rounds times ($finished were done before): the repository verifies each time"
run mb backup
is "$status" 0 "and the next backup works"
[ "$status" = 0 ] || diag "$err"
is "$(blobs ls | grep -c '^packs/')" "$(mb verify --json | json verify.packs)" "verify knows every pack that is stored"
is "$(blobs uploads)" 0 "no unfinished upload is left behind"
is "$(sql "SELECT count(*) FROM pg_replication_slots WHERE slot_name <> 'mbackup'")" 0 "no temporary slot is left behind"

# -- stream ---------------------------------------------------------------------------------------
bad=0
: >"$T/acked"
for i in $(seq "$rounds")
do
	start_stream || { bad=$((bad + 1)); diag "round $i: the stream does not start"; tail -n 3 "$T/stream.log" >&2; }
	[ $((i % 3)) = 0 ] && sql "SELECT pg_switch_wal()" >/dev/null
	sleep "$(python3 -c 'import random; print(random.uniform(0, 3))')"
	acked=$(sql "SELECT flush_lsn FROM pg_stat_replication WHERE application_name LIKE 'mbackup%' AND flush_lsn IS NOT NULL LIMIT 1")
	kill -KILL $STREAM
	wait $STREAM 2>/dev/null
	[ -n "$acked" ] && echo "$acked" >>"$T/acked"
	if [ $((i % 5)) = 0 ]
	then
		run mb verify --read-data full
		[ "$status" = 0 ] || { bad=$((bad + 1)); diag "round $i: verify: $status $out $err"; }
	fi
done
is "$bad" 0 "stream killed $rounds times: it starts again each time, the repository verifies"
[ -s "$T/acked" ]
result "WAL was acknowledged ($(wc -l <"$T/acked") times)" $?

# The server and its WAL are gone now: what was acknowledged must come from the repository.
touch "$T/stop"
stop_cluster "$PGDATA" immediate
rm -rf "$PGDATA"
run mb restore --to-latest --component "postgres=$T/r"
is "$status" 0 "restore --to-latest"
[ "$status" = 0 ] || diag "$err"
start_cluster "$T/r"
wait_for 60 sh -c 'psql -XAtc "SELECT NOT pg_is_in_recovery()" | grep -q t'
last=$(tail -n 1 "$T/acked")
sql "CREATE TABLE app_log (id int, lsn pg_lsn)"
grep -E '^[0-9]+ [0-9A-F]+/[0-9A-F]+$' "$T/app.log" | tr ' ' '\t' | psql -X -q -c "COPY app_log FROM STDIN"
is "$(sql "SELECT count(*) FROM app_log a WHERE a.lsn <= '$last' AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = a.id)")" 0 "every commit up to the last acknowledged $last is there"
[ "$(sql "SELECT count(*) FROM app_log WHERE lsn <= '$last'")" -gt 0 ]
result "and there were some" $?
is "$(sql 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)')" t "accounts = history"
stop_cluster "$T/r"
done_testing

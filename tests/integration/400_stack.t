#!/bin/bash
# Under load, 20 marks a second or so apart: a restore to a mark holds every transaction before it
# and none after, the sums agree, and no restored row names an object that is missing.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
stack_redis || exit 1
stack_config
marks=20
rounds=2
[ -n "${MBACKUP_LONG:-}" ] && rounds=20
load="-c 2"
[ -n "${MBACKUP_SHORT:-}" ] && marks=11 rounds=1 load="-c 1 -R 100"

"$PG_BIN/pgbench" -i -s 3 -q >/dev/null 2>&1
sql "CREATE TABLE events (id int PRIMARY KEY, object text NOT NULL, lsn_before pg_lsn NOT NULL)"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
start_stream || { cat "$T/stream.log" >&2; exit 1; }

# The application: object, then row, then key.  Its log says where the WAL stood after each commit.
application()
{
	local i=0
	while [ ! -e "$T/stop" ]
	do
		i=$((i + 1))
		echo "object $i" >"$T/objects/e$i"
		echo "INSERT INTO events VALUES ($i, 'e$i', pg_current_wal_insert_lsn());"
		echo "SELECT $i, pg_current_wal_insert_lsn();"
		redis-cli -p "$REDIS_PORT" set "e:$i" "$i" >/dev/null
		sleep 0.01
	done
}
application | psql -X -q -A -t -F ' ' >"$T/app.log" 2>&1 &
stack_owns $!
"$PG_BIN/pgbench" -n $load -T 900 >/dev/null 2>&1 &
BENCH=$!
stack_owns $BENCH
sleep 1

run mb backup
is "$status" 0 "backup of the whole stack under load"
taken=0
for i in $(seq $marks)
do
	run mb mark "mark-$i"
	[ "$status" = 0 ] && taken=$((taken + 1)) || diag "$err"
	sleep 0.$((RANDOM % 9 + 1))
	[ "$i" = 10 ] && mb backup >/dev/null 2>&1
done
is "$taken" $marks "$marks marks under load"
run mb mark paused --pause --json
is "$status" 0 "a paused mark under load"
is "$(json mark.cut.consistency <<<"$out")" paused "the cut says that it was paused"
pause=$(json mark.cut.pause_ms <<<"$out")
ok "for less than the limit ($pause ms)" python3 -c "import sys; sys.exit(not 0 < $pause < 2000)"
sleep 1
touch "$T/stop"
kill $BENCH 2>/dev/null
sleep 1
run mb verify --read-data full
is "$status" 0 "the repository verifies"
[ "$status" = 0 ] || diag "$out$err"
stop_cluster "$PGDATA" immediate
SOURCE_PORT=$PGPORT

check_mark() # number
{
	local n=$1 dir=$T/r$1
	run mb restore --to-mark "mark-$n" --component "postgres=$dir/pg" --component "uploads=$dir/objects" --component "redis=$dir/redis"
	is "$status" 0 "mark $n: restore"
	[ "$status" = 0 ] || { diag "$err"; return; }
	ok "mark $n: pg_verifybackup" "$PG_BIN/pg_verifybackup" -n -q "$dir/pg"
	PGPORT=$(free_port)
	echo "port = $PGPORT" >>"$dir/pg/postgresql.auto.conf"
	start_cluster "$dir/pg" || { result "mark $n: the server starts" 1; return; }
	wait_for 60 sh -c 'psql -XAtc "SELECT NOT pg_is_in_recovery()" | grep -q t'
	is "$(sql 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)')" t "mark $n: accounts = history"
	local lsn
	lsn=$(mb list --json | python3 -c "
import json, sys
print([m for m in json.load(sys.stdin)['marks'] if m['name'] == 'mark-$n'][0]['cut']['positions']['postgres']['lsn'])")
	is "$(sql "SELECT count(*) FROM events WHERE lsn_before > '$lsn'")" 0 "mark $n: no transaction that began after $lsn"
	# Every commit that was over before the mark must be there.
	sql "CREATE TABLE app_log (id int, lsn pg_lsn)"
	grep -E '^[0-9]+ [0-9A-F]+/[0-9A-F]+$' "$T/app.log" | tr ' ' '\t' | psql -X -q -c "COPY app_log FROM STDIN"
	is "$(sql "SELECT count(*) FROM app_log a WHERE a.lsn <= '$lsn' AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = a.id)")" 0 "mark $n: every transaction committed before it"
	[ "$(sql "SELECT count(*) FROM app_log WHERE lsn <= '$lsn'")" -gt 0 ]
	result "mark $n: and there were some" $?
	is "$(sql 'SELECT object FROM events' | while read -r o; do [ -e "$dir/objects/$o" ] || echo "$o"; done | wc -l)" 0 "mark $n: no row without its object"
	ok "mark $n: pg_amcheck" "$PG_BIN/pg_amcheck" --install-missing -d postgres
	stop_cluster "$dir/pg"
	redis-server --port 0 --unixsocket "$dir/redis.sock" --dir "$dir/redis" --appendonly yes --save '' >"$dir/redis.log" 2>&1 &
	local pid=$!
	stack_owns $pid
	wait_for 20 redis-cli -s "$dir/redis.sock" ping
	# Redis keeps the side of the cut before: no key of a row that is not there, none long missing.
	local keys rows
	keys=$(redis-cli -s "$dir/redis.sock" dbsize)
	rows=$(grep -c . <<<"$(ls "$dir/objects")")
	[ "$keys" -le "$rows" ] && [ "$keys" -gt 0 ]
	result "mark $n: Redis has $keys keys for $rows objects" $?
	stack_kill $pid
	rm -rf "$dir"
}

for n in $(shuf -i 1-$marks -n $rounds)
do
	check_mark "$n"
done
PGPORT=$SOURCE_PORT

# Every kind of target, and what lies outside of the window.
run mb restore --to-latest --component "postgres=$T/latest"
is "$status" 0 "--to-latest"
start_cluster "$T/latest"
wait_for 60 sh -c 'psql -XAtc "SELECT NOT pg_is_in_recovery()" | grep -q t'
is "$(sql 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)')" t "--to-latest: accounts = history"
stop_cluster "$T/latest"
run mb restore --to-time 2199-01-01T00:00:00Z --component "postgres=$T/never"
is "$status" 10 "a time after the last WAL: exit 10"
like "$err" "20[0-9]{2}-" "a time after the last WAL: says the window"
run mb restore --to-time 2001-01-01T00:00:00Z --component "postgres=$T/never"
is "$status" 10 "a time before the first backup: exit 10"
run mb restore --to-name nowhere --component "postgres=$T/never"
is "$status" 10 "an unknown restore point: exit 10"
run mb restore --to-lsn FFFF/0 --component "postgres=$T/never"
is "$status" 10 "an LSN after the last WAL: exit 10"
[ ! -e "$T/never" ]
result "nothing half-made" $?
run mb backup
is "$status" 3 "backup with the server down: partial, exit 3"
like "$err" "postgres" "the component that failed is named"
run mb backup --component postgres
is "$status" 5 "backup of nothing but a server that is down: exit 5"
run mb check
is "$status" 1 "check with the server down: exit 1"
kill -TERM $STREAM
wait $STREAM
is $? 143 "the stream stops when told so, with the server down"
done_testing

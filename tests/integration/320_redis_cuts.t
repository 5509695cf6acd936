#!/bin/bash
# Proves what a cut promises of PostgreSQL and Redis, under load, of an application that commits a row and then sets a key,
# and of one that sets a key and then commits a row: a paused cut has no key without its row and no row without its key, an
# ordered one what its side says.  The judge reads the source's WAL and the bytes that a replica of its own captured; some
# of the cuts are restored to show that it is right.  MBACKUP_LONG=1: 300 cuts of each kind.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
cuts=26 restores=1
[ -n "${MBACKUP_LONG:-}" ] && cuts=300 restores=3
cuts=${MBACKUP_CUTS:-$cuts}
PY=/usr/bin/python3

stack_postgres || exit 1
# The WAL is the judge's: keep it.
printf 'wal_keep_size = 8GB\nmax_wal_size = 4GB\nautovacuum = off\n' >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
stack_redis --repl-backlog-size 64mb || exit 1
config() # side
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\nkey-file = %s/key\n' "$T" "$REPO" "$T"
	printf '\n[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres\n' "$PGHOST" "$PGPORT"
	printf '\n[redis]\nurl = redis://127.0.0.1:%s\nside = %s\n' "$REDIS_PORT" "$1"
}
head -c 48 /dev/urandom >"$T/key"
config before >"$CONF"
config after >"$T/after.conf"
chmod 600 "$T/key" "$CONF" "$T/after.conf"

"$PG_BIN/pgbench" -i -s 2 -q >/dev/null 2>&1
sql "CREATE TABLE a (n bigint); CREATE TABLE b (n bigint)"
ok "init" mb init
from=$(sql "SELECT pg_walfile_name(pg_current_wal_lsn())")
$PY "$here/tests/lib/redis_wire.py" replica "$REDIS_PORT" "$T/replica" >"$T/replica.log" 2>&1 &
REPLICA=$!
stack_owns $REPLICA
wait_for 30 test -s "$T/replica/start" || { cat "$T/replica.log" >&2; exit 1; }
start_stream || { cat "$T/stream.log" >&2; exit 1; }
$PY "$here/tests/lib/cut_story.py" write "$REDIS_PORT" "$T/stop" >"$T/story.log" 2>&1 &
STORY=$!
stack_owns $STORY
"$PG_BIN/pgbench" -n -c 2 -R 200 -T 3600 >/dev/null 2>&1 &
BENCH=$!
stack_owns $BENCH
sleep 1
run mb backup
is "$status" 0 "a backup under load"
[ "$status" = 0 ] || diag "$err" "$(tail "$T/stream.log")"

# -- the cuts ------------------------------------------------------------------------------------------------

# Three hands at once; only one of them pauses.
take() # name configuration count [option]...
{
	local name=$1 conf=$2 count=$3 i
	shift 3
	for i in $(seq "$count")
	do
		"$MBACKUP" --config "$conf" mark "$name-$i" --json "$@" >"$T/$name.out" 2>"$T/$name.err" ||
			{ cat "$T/$name.err" >>"$T/failed"; continue; }
		tr -d '\n' <"$T/$name.out" >>"$T/$name.marks"
		echo >>"$T/$name.marks"
		sleep 0.0$((RANDOM % 10))
	done
}
began=$(date +%s)
take before "$CONF" $((cuts / 2)) &
first=$!
take after "$T/after.conf" $((cuts / 2)) &
second=$!
take paused "$CONF" "$cuts" --pause &
third=$!
# In the long form later cuts start from a later backup, and the backup has marks around it.
[ "$cuts" -lt 100 ] || { sleep 120; mb backup >/dev/null 2>&1; }
wait $first $second $third
diag "$((cuts * 2)) cuts took $(($(date +%s) - began)) s"
is "$(cat "$T/failed" 2>/dev/null)" "" "$((cuts * 2)) cuts under load"
touch "$T/stop"
wait $STORY
is "$?$(cat "$T/story.log")" 0 "the application ran to its end"
kill $BENCH 2>/dev/null
sql "SELECT pg_switch_wal()" >/dev/null
sql "SELECT 'a', xmin, n FROM a UNION ALL SELECT 'b', xmin, n FROM b" -F ' ' >"$T/rows"
sleep 1
stack_kill $STREAM
stack_kill $REPLICA
stop_cluster "$PGDATA"
"$PG_BIN/pg_waldump" -p "$PGDATA/pg_wal" -r Transaction -r XLOG "$from" "$(ls "$PGDATA/pg_wal" | grep -E '^[0-9A-F]{24}$' | tail -n 1)" 2>/dev/null >"$T/waldump"

# -- the verdict -----------------------------------------------------------------------------------------------

mkdir "$T/expect"
cat "$T"/{before,after,paused}.marks >"$T/marks"
chosen=$(shuf -i "1-$cuts" -n $restores | sed s/^/paused-/
	for side in before after; do shuf -i "1-$((cuts / 2))" -n $restores | sed "s/^/$side-/"; done)
ok "all cuts can be judged" $PY "$here/tests/lib/cut_story.py" judge "$T/marks" "$T/waldump" "$T/rows" "$T/replica" "$T/expect" $chosen
cp "$T/ok.out" "$T/verdict"
diag "$(cat "$T/verdict")"
look() # look member
{
	grep "\"look\": \"$1\"" "$T/verdict" | json "$2" 2>/dev/null || echo none
}
is "$(look paused cuts)" "$cuts" "every pause held: $cuts paused cuts"
is "$(look paused a)/$(look paused b)" 0/0 "paused: no key without its row, no row without its key"
is "$(look before cuts) $(look before a)" "$((cuts / 2)) 0" "side = before: no key without its row in $((cuts / 2)) cuts"
is "$(look after cuts) $(look after b)" "$((cuts / 2)) 0" "side = after: no row without its key in $((cuts / 2)) cuts"
is "$(look bracket-before a) $(look bracket-after b)" "0 0" "so it is for both ends of the bracket of all $((cuts / 2 * 2)) ordered cuts"
diag "a pause took $(look paused median_ms) ms (median), $(look paused worst_ms) ms at worst"
ok "no pause came near its limit" python3 -c "import sys; sys.exit(not 0 < $(look paused worst_ms) < 2000)"
# Controls: the test would see an inversion, and the cuts went through the middle of something.
[ "$(look paused half_done)" -gt 0 ]
result "control: of $(look paused cuts) paused cuts $(look paused half_done) hold a pair of which only the first step was done" $?
[ $(($(look bracket-before b) + $(look bracket-after a))) -gt 0 ]
result "control: judged in the direction that it does not promise, an ordered cut has inversions ($(look bracket-before b_cuts) before, $(look bracket-after a_cuts) after)" $?

# -- the judge is right ------------------------------------------------------------------------------------------

check_restore() # name
{
	local name=$1 dir=$T/r-$1
	run mb restore --to-mark "$name" --component "postgres=$dir/pg" --component "redis=$dir/redis"
	is "$status" 0 "$name: restore"
	[ "$status" = 0 ] || { diag "$err"; return; }
	PGPORT=$(free_port)
	echo "port = $PGPORT" >>"$dir/pg/postgresql.auto.conf"
	start_cluster "$dir/pg" || { result "$name: the server starts" 1; return; }
	wait_for 120 sh -c 'psql -XAtc "SELECT NOT pg_is_in_recovery()" | grep -q t'
	sql "SELECT 'a:' || n FROM a UNION ALL SELECT 'b:' || n FROM b" | sort >"$dir/rows"
	stop_cluster "$dir/pg"
	start_redis_on "$dir/redis"
	redis-cli -p "$RPORT" --scan | sort >"$dir/keys"
	stack_kill "$RPID"
	for what in rows keys
	do
		sort "$T/expect/$name.$what" | cmp -s - "$dir/$what"
		result "$name: exactly the $(wc -l <"$dir/$what") $what that the judge expects" $?
	done
	# And with its own eyes: a key of kind a has its row, a row of kind b its key.
	case $name in
	before-* | paused-*) is "$(comm -13 "$dir/rows" "$dir/keys" | grep -c ^a:)" 0 "$name: no key without its row" ;;
	esac
	case $name in
	after-* | paused-*) is "$(comm -23 "$dir/rows" "$dir/keys" | grep -c ^b:)" 0 "$name: no row without its key" ;;
	esac
	rm -rf "$dir"
}
for name in $chosen
do
	check_restore "$name"
done
done_testing

#!/bin/bash
# Proves that a backup, a mark and a moment of a Redis come back as files that a stock redis-server loads, with exactly
# the data (DEBUG DIGEST), expiries and functions of the source at that point.  Proves also that writes after the cut are
# not in them, that a stream survives kills of ours and restarts of the server, and that what it missed is called a gap.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

redis_config() # [line for the section]...
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\n' "$T" "$REPO"
		! in_bucket || s3_keys
		printf 'key-file = %s/key\n\n[redis]\nurl = redis://127.0.0.1:%s\n' "$T" "$REDIS_PORT"
		printf '%s\n' "$@"
	} >"$CONF"
	chmod 600 "$CONF"
}

restored() { redis-cli -p "$RPORT" "$@"; }
digest() { redis-cli -p "$1" debug digest; }

# Every key of every database with its absolute expiry.
expiries() # port
{
	local db
	for db in 0 3 9
	do
		redis-cli -p "$1" -n "$db" --raw eval \
			"local r = {} for _, k in ipairs(redis.call('keys', '*')) do r[#r + 1] = k .. ' ' .. redis.call('pexpiretime', k) end table.sort(r) return r" 0
	done
}

start_stream()
{
	# Not mb: the process that is killed must be the stream itself, not a shell around it.
	"$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 &
	STREAM_PID=$!
	stack_owns "$STREAM_PID"
	wait_for 20 stream_attached
}
# redis-cli ends with 0 on an error reply: ask for the text.
stream_attached() { rcli info replication | grep -q 'port=0,state=online'; }
follower_linked() { rcli info replication | grep -q master_link_status:up; }
stop_stream() { stack_kill "$STREAM_PID" "${1:-TERM}"; wait "$STREAM_PID" 2>/dev/null; STREAM_STATUS=$?; }

# Writers, each in a database of its own, transactions included, until told to stop.
start_writers()
{
	local db
	WRITERS=""
	rm -f "$T/stop"
	for db in 0 3 9
	do
		(
			i=0
			echo "SELECT $db"
			while [ ! -e "$T/stop" ]
			do
				i=$((i + 1))
				printf 'SET w:%d %d PX 86400000\nMULTI\nINCR counter\nRPUSH list %d\nEXEC\nXADD log * n %d\n' $((i % 500)) $i $i $i
				[ $((i % 20)) = 0 ] && sleep 0.01
			done
		) | rcli >/dev/null 2>&1 &
		WRITERS="$WRITERS $!"
	done
}
stop_writers()
{
	touch "$T/stop"
	wait $WRITERS
}

workload()
{
	{
		for i in $(seq 200)
		do
			echo "SET k$i v$i PX $((1000000 + i))"
			echo "SET e$i v$i EX 86400"
			echo "RPUSH l$((i % 5)) $(printf 'x%.0s' $(seq $((i % 90 + 1))))"
			echo "ZADD z 1.$i m$i"
			echo "SADD ints $i"
			echo "SADD strs m$i"
			echo "HSET h$((i % 3)) f$i $i"
			echo "XADD s$((i % 3)) * a $i"
		done
		echo "XGROUP CREATE s1 g 0"
		echo "XREADGROUP GROUP g c1 COUNT 5 STREAMS s1 >"
		echo "XACK s1 g 0-1"
		echo "PFADD hll a b c d"
		echo "SETRANGE big 200000 end"
		echo "GEOADD geo 13.361389 38.115556 Palermo"
		echo "SELECT 3"
		echo "MSET a 1 b 77777 c -5 d 99999999999"
		echo "EVAL \"for i = 1, 50 do redis.call('set', 'lua' .. i, i) end\" 0"
		echo "SELECT 9"
		echo "MULTI"
		echo "SET t1 1"
		echo "HINCRBYFLOAT tf f 1.5"
		echo "EXEC"
	} | rcli >/dev/null
	rcli function load "#!lua name=lib1
redis.register_function('f1', function(keys, args) return 42 end)" >/dev/null
}

# Room for what comes while the stream is dead; the gap has its own, smaller, below.
stack_redis --repl-backlog-size 64mb
mkdir -p "$T/spool"
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"
redis_config
ok "init" mb init
workload

# -- a quiet backup: all types, exactly -------------------------------------------------------------
ok "a backup of every type of value" mb backup
source_digest=$(digest "$REDIS_PORT")
source_expiries=$(expiries "$REDIS_PORT")
run mb --json info
keys=$(rcli dbsize)
is "$(python3 -c 'import json, sys; print(sum(t["keys"] for t in json.load(sys.stdin)["backup"]["components"][0]["statistics"]["types"] if t["db"] == 0))' <<<"$out")" "$keys" "info counts the keys by type"
is "$(json backup.components.0.statistics.expires.keys <<<"$out")" 400 "and those that expire"
run mb info
like "$out" "biggest: big \(database 0, string\)|biggest: strs \(database 0, set\)" "and names the biggest"
like "$out" "database 0: 2 zset" "and the types"
rcli set after-the-cut 1 >/dev/null
run mb --json restore latest --component "redis=$T/r1" --yes
is "$status" 0 "it is restored into a directory"
[ "$status" = 0 ] || diag "$err"
like "$out" 'redis-server --dir .*/r1 --appendonly yes' "the answer says how to start it"
ok "redis-check-rdb accepts the base" redis-check-rdb "$T/r1/appendonlydir/appendonly.aof.1.base.rdb"
ok "redis-check-aof accepts the whole" redis-check-aof "$T/r1/appendonlydir/appendonly.aof.manifest"
ok "a stock server starts from it" start_redis_on "$T/r1"
is "$(digest "$RPORT")" "$source_digest" "its digest is that of the source at the cut"
is "$(expiries "$RPORT")" "$source_expiries" "so is every expiry"
is "$(restored fcall f1 0)" 42 "functions are there"
is "$(restored exists after-the-cut)" 0 "a key written after the cut is not"
stack_kill "$RPID"
run mb restore latest --component "redis=$T/r1" --yes
is "$status" 4 "a directory that is not empty is refused"
run mb restore latest --component redis --dry-run
like "$out" "into redis://127.0.0.1:$REDIS_PORT" "without a directory it goes into the running server"

# -- writes all the time: the tail -------------------------------------------------------------------
start_writers
sleep 0.5
# Data enough that commands come in between the snapshot and the cut, and random enough to take time.
rcli eval "math.randomseed(7) for i = 1, 40000 do redis.call('set', 'bulk' .. i, string.rep(tostring(math.random()), 20)) end" 0 >/dev/null
ok "a backup under writes" mb --json backup
is "$(json backup.components.0.entries <"$T/ok.out")" 2 "it holds an RDB and a tail"
cut=$(json backup.cut.positions.redis.offset <"$T/ok.out")
before=$(json backup.cut.positions.redis.before.offset <"$T/ok.out")
is "$cut" "$before" "side = before is the default"
ok "it is restored" mb restore latest --component "redis=$T/r2" --yes
ok "redis-check-aof accepts it" redis-check-aof "$T/r2/appendonlydir/appendonly.aof.manifest"
ok "a stock server starts from it" start_redis_on "$T/r2"
for db in 0 3 9
do
	is "$(restored -n $db llen list)" "$(restored -n $db get counter)" "database $db: no transaction is torn"
done
stack_kill "$RPID"

# -- the pause ---------------------------------------------------------------------------------------------
ok "a paused backup under writes" mb --json backup --pause
is "$(json backup.cut.consistency <"$T/ok.out")" paused "the pause held"
is "$(json backup.cut.positions.redis.before.offset <"$T/ok.out")" "$(json backup.cut.positions.redis.after.offset <"$T/ok.out")" "no write came between"

# -- a stream and marks ----------------------------------------------------------------------------------------
run mb mark too-early
is "$status" 3 "a mark without a stream is partial"
like "$err" "mbackup stream" "and says what to start"
start_stream
stop_writers
sleep 0.3
ok "a backup beside the stream" mb backup
start_writers
sleep 2
stop_writers
sleep 0.2
ok "mark one" mb mark one
one_digest=$(digest "$REDIS_PORT")
start_writers
sleep 1
# Killed in the middle of writes, and again: nothing acknowledged is lost, nothing is skipped.
stop_stream KILL
sleep 0.5
start_stream
sleep 1
stop_stream KILL
start_stream
sleep 1
stop_writers
sleep 0.2
ok "mark two, after two kills of the stream" mb mark two
grep -q "are lost" "$T/stream.log"
is "$?" 1 "the kills left no gap"
two_digest=$(digest "$REDIS_PORT")
two_time=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
sleep 2.5
rcli select 0 >/dev/null
rcli set late 1 >/dev/null
sleep 1.5
for mark in one two
do
	run mb --json restore --to-mark $mark --component "redis=$T/m-$mark" --yes
	is "$status" 0 "restore to mark $mark"
	[ "$status" = 0 ] || diag "$err"
	is "$(grep -c warnings <<<"$out")" 0 "without a warning"
	start_redis_on "$T/m-$mark"
	expected=${mark}_digest
	is "$(digest "$RPORT")" "${!expected}" "its digest is that of the source at the mark"
	stack_kill "$RPID"
done
run mb restore --to-time "$two_time" --component "redis=$T/time" --yes
is "$status" 0 "restore to a time between two commands"
[ "$status" = 0 ] || diag "$err"
start_redis_on "$T/time"
is "$(digest "$RPORT")" "$two_digest" "its digest is that of the source at that time"
stack_kill "$RPID"
run mb restore --to-latest --component "redis=$T/latest" --yes
is "$status" 0 "restore as far as the stream goes"
[ "$status" = 0 ] || diag "$err"
start_redis_on "$T/latest"
is "$(digest "$RPORT")" "$(digest "$REDIS_PORT")" "its digest is that of the source now"
is "$(restored get late)" 1 "with the last write"
stack_kill "$RPID"
ack=$(rcli info replication | tr -d '\r' | sed -n 's/^slave0:.*offset=\([0-9]*\).*/\1/p')
[ "$ack" -lt "$(rcli info replication | tr -d '\r' | sed -n 's/^master_repl_offset:\(.*\)/\1/p')" ]
result "the stream never acknowledges the exact offset" $?
is "$(rcli info stats | tr -d '\r' | sed -n 's/^sync_full:\(.*\)/\1/p')" 4 "only the backups made full resyncs"

if [ -n "${MBACKUP_SHORT:-}" ]
then
	ok "verify reads everything" mb verify --read-data full
	done_testing
fi

# -- a gap -------------------------------------------------------------------------------------------------------
stop_stream
is "$STREAM_STATUS" 143 "the stream stops cleanly"
rcli config set repl-backlog-size 16384 >/dev/null
rcli eval "for i = 1, 3000 do redis.call('set', 'gap' .. i, string.rep('x', 100)) end" 0 >/dev/null
start_stream
wait_for 5 grep -q "are lost to the stream" "$T/stream.log"
like "$(cat "$T/stream.log")" "are lost to the stream" "what the backlog lost is called a gap"
run mb --json mark behind-the-gap
is "$status" 3 "a mark behind the gap is partial"
like "$out$err" "has a gap" "and says why"
run mb restore --to-mark behind-the-gap --component "redis=$T/gap" --yes
is "$status" 0 "it can be restored as far as the backup before it"
like "$err" "before the target" "with a warning that says how far off that is"
start_redis_on "$T/gap"
is "$(restored exists gap1)" 0 "nothing is spliced over the gap"
stack_kill "$RPID"
ok "a new backup" mb backup
rcli set beyond 1 >/dev/null
sleep 0.2
ok "a mark behind it" mb mark beyond
beyond_digest=$(digest "$REDIS_PORT")
ok "is restored" mb restore --to-mark beyond --component "redis=$T/beyond" --yes
start_redis_on "$T/beyond"
is "$(digest "$RPORT")" "$beyond_digest" "exactly"
stack_kill "$RPID"
run mb --json list
like "$out" '"gaps":.*T' "the recovery window lists the gap"

# -- the server restarts --------------------------------------------------------------------------------------------
stack_kill "$REDIS_PID" KILL
sleep 0.5
redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --dir "$T/redis" --save '' --appendonly no \
	--enable-debug-command local --repl-diskless-sync-delay 0 --daemonize no >>"$T/redis.log" 2>&1 &
REDIS_PID=$!
stack_owns "$REDIS_PID"
wait_for 20 rcli ping
rcli set anew 1 >/dev/null
ok "the stream finds the restarted server" wait_for 40 stream_attached
ok "a backup of its new history" mb backup
rcli set anew 2 >/dev/null
sleep 0.2
ok "and a mark" mb mark anew
run mb restore --to-mark anew --component "redis=$T/anew" --yes
is "$status$(grep -c warning <<<"$err")" 00 "are restored without a warning"
[ "$status" = 0 ] || diag "$err"
start_redis_on "$T/anew"
is "$(digest "$RPORT")" "$(digest "$REDIS_PORT")" "exactly"
stack_kill "$RPID"
ok "and the old history still is" mb restore --to-mark two --component "redis=$T/old" --yes
start_redis_on "$T/old"
is "$(digest "$RPORT")" "$two_digest" "exactly"
stack_kill "$RPID"
stop_stream

# -- a failover: the source is a replica that is promoted -----------------------------------------------------------------
FPORT=$(free_port)
mkdir "$T/follower"
redis-server --port "$FPORT" --bind 127.0.0.1 --dir "$T/follower" --save '' --replicaof "127.0.0.1 $REDIS_PORT" \
	--enable-debug-command local --repl-diskless-sync-delay 0 --daemonize no >"$T/follower.log" 2>&1 &
stack_owns $!
MASTER_PORT=$REDIS_PORT
REDIS_PORT=$FPORT
wait_for 20 follower_linked
sed -i "s/^\[redis\]/[redis:follower]/; s/127.0.0.1:$MASTER_PORT/127.0.0.1:$FPORT/" "$CONF"
start_stream
ok "a backup from a replica" mb backup
old_id=$(rcli info replication | tr -d '\r' | sed -n 's/^master_replid:\(.*\)/\1/p')
redis-cli -p "$MASTER_PORT" set before-failover 1 >/dev/null
sleep 1.5
rcli replicaof no one >/dev/null
rcli set after-failover 1 >/dev/null
wait_for 10 stream_attached
rcli set after-failover 2 >/dev/null
sleep 0.3
is "$([ "$(rcli info replication | tr -d '\r' | sed -n 's/^master_replid:\(.*\)/\1/p')" != "$old_id" ]; echo $?)" 0 "a promotion begins a new history"
ok "a mark in it" mb mark promoted
run mb restore --to-mark promoted --component "follower=$T/promoted" --yes
is "$status$(grep -c warning <<<"$err")" 00 "is restored from the backup of the old one without a warning"
[ "$status" = 0 ] || diag "$err"
start_redis_on "$T/promoted"
is "$(digest "$RPORT")" "$(digest "$FPORT")" "exactly"
stack_kill "$RPID"
like "$(cat "$T/stream.log")" "follower: the stream goes on at" "the stream followed it"
grep -q "follower: the commands between" "$T/stream.log"
is "$?" 1 "without a gap"
stop_stream
REDIS_PORT=$MASTER_PORT
redis_config

# -- login, side, cache, check ---------------------------------------------------------------------------
rcli acl setuser backup on '>secret' resetchannels resetkeys -@all +psync +replconf +info '+client|pause' '+client|unpause' >/dev/null
redis_config 'user = backup' 'password = wrong'
run mb backup
is "$status" 7 "a wrong password is refused"
grep -q wrong <<<"$out$err"
is "$?" 1 "and not repeated"
redis_config 'user = backup' 'password = secret' 'side = after'
ok "a user with the least rights is enough" mb --json backup --pause
is "$(json backup.cut.positions.redis.side <"$T/ok.out")" after "side = after is kept"
redis_config 'role = cache'
ok "a cache is restored" mb restore latest --component "redis=$T/cache" --yes
is "$(ls -A "$T/cache")" "" "empty"
redis_config
rcli config set min-replicas-to-write 1 >/dev/null
run mb --json check
like "$out" 'min-replicas-to-write is set' "check warns of min-replicas-to-write"
rcli config set min-replicas-to-write 0 >/dev/null
ok "verify reads everything" mb verify --read-data full

done_testing

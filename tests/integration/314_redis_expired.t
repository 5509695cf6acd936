#!/bin/bash
# Proves that restore --expired shift gives every key the time that it had left at the moment restored to, to the
# millisecond, in files and in a running server, whether the RDB or a command gave the key its expiry (PEXPIRETIME of source
# and restored server, judged by the source and by a replica that is not ours); and that nothing else changes, and nothing without it.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
PY=/usr/bin/python3

see() { $PY "$here/tests/lib/redis_wire.py" see "$1" 16; }
attached() { rcli info replication | grep -q 'port=0,state=online'; }

# Is $2 (seen in a restored server) $1 (seen in the source) with every expiry moved by $3 ms?  What is there beside may only be
# keys that expire, unless $4 says "same".
cat >"$T/moved.py" <<'PY'
import sys
def read(path):
    keys, rest = {}, []
    for line in open(path, errors="surrogateescape"):
        part = line.rstrip("\n").split(" ", 4)
        if len(part) == 5 and part[0].isdigit():
            keys[part[0], part[4]] = (int(part[1]), *part[2:4])
        else:
            rest.append(line)
    return keys, rest
(a, a_rest), (b, b_rest), shift = read(sys.argv[1]), read(sys.argv[2]), int(sys.argv[3])
wrong = [k for k in a if k not in b or b[k] != (a[k][0] + shift if a[k][0] > 0 else -1, *a[k][1:])]
extra = [k for k in b if k not in a and (sys.argv[4:] == ["same"] or b[k][0] < 0)]
functions = a_rest[:-1] == b_rest[:-1]
expire = sum(1 for k in a if a[k][0] > 0)
for k in wrong[:5]:
    print("wrong", k, a[k], b.get(k), file=sys.stderr)
print("moved" if not wrong and not extra and functions and expire > 0 else f"{len(wrong)} wrong, {len(extra)} too many, functions {functions}, {expire} expire")
PY
moved() { $PY "$T/moved.py" "$@"; }
shift_of() { json restore.components.0.expiries_moved_ms <<<"$out"; }

# Is the shift the time from the cut of mark $1 until now, within what the restore took?
near() # mark shift
{
	$PY - "$1" "$2" <<'PY'
import datetime, sys, time
cut = datetime.datetime.fromisoformat(sys.argv[1].replace("Z", "+00:00")).timestamp()
late = time.time() - cut - int(sys.argv[2]) / 1000
print("near" if -0.1 < late < 8 else late)
PY
}

stack_redis --repl-backlog-size 64mb
mkdir -p "$T/spool"
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
	printf '\n[redis]\nurl = redis://127.0.0.1:%s\nside = after\n' "$REDIS_PORT"
} >"$CONF"
ok "init" mb init
start_stream
wait_for 20 attached

# -- keys of the RDB and keys of the stream, some of them over before the restore --------------------------
{
	for i in $(seq 50)
	do
		echo "SET rdb:long:$i v PX $((3000000 + i))"
		echo "SET rdb:soon:$i v PX $((9000 + i))"
	done
	echo "HSET rdb:hash f 1"
	echo "EXPIRE rdb:hash 9"
	echo "SET rdb:lasts 1"
	echo "SELECT 3"
	echo "SET rdb:three v EX 9"
} | rcli >/dev/null
ok "backup" mb backup
payload_ttl="local d = redis.call('dump', 'rdb:lasts') redis.call('restore', KEYS[1], 9000, d) redis.call('restore', KEYS[2], 0, d) return 1"
{
	for i in $(seq 20)
	do
		echo "SET tail:px:$i v PX $((9000 + i))"
		echo "SETEX tail:setex:$i 9 v"
		echo "SET tail:exat:$i PXAT EXAT $(($(date +%s) + 9))"
		echo "SET tail:pexpire:$i v"
		echo "PEXPIRE tail:pexpire:$i 9500"
		echo "SET tail:expireat:$i v"
		echo "EXPIREAT tail:expireat:$i $(($(date +%s) + 9))"
		echo "SET tail:getex:$i v"
		echo "GETEX tail:getex:$i EX 9"
	done
	echo "MULTI"
	echo "SET tail:multi:1 v EX 9"
	echo "SET tail:multi:2 1795000000000"
	echo "RPUSH tail:multi:3 PXAT 1795000000000"
	echo "PEXPIRE tail:multi:3 3000000"
	echo "EXEC"
	echo "EVAL \"redis.call('set', KEYS[1], 'v', 'EX', 9) redis.call('set', KEYS[2], 'v') return redis.call('expire', KEYS[2], 3000)\" 2 tail:lua:1 tail:lua:2"
	echo "EVAL \"$payload_ttl\" 2 tail:restored:1 tail:restored:2"
	echo "PERSIST rdb:soon:1"
	echo "PEXPIRE rdb:soon:2 3000000 GT"
	echo "SET PXAT v EX 9"
	echo "SELECT 5"
	echo "SET tail:five v EX 9"
} | rcli >/dev/null
see "$REDIS_PORT" >"$T/source.seen"
run mb --json mark m
is "$status" 0 "mark"
cut=$(json mark.time <<<"$out")
source_digest=$(tail -n 1 "$T/source.seen")
count=$(grep -c . "$T/source.seen")
sleep 10.5
[ "$(see "$REDIS_PORT" | grep -c .)" -lt $((count - 150)) ]
result "most of the keys are over in the source" $?

run mb --json restore --to-mark m --component "redis=$T/shift" --expired shift
is "$status" 0 "restore --expired shift"
[ "$status" = 0 ] || diag "$err"
shift=$(shift_of)
is "$(near "$cut" "$shift")" near "expiries are moved by the time since the mark ($shift ms)"
like "$err" "expiries are moved by [0-9.]+ s" "which is logged"
ok "redis-check-aof accepts the files" redis-check-aof "$T/shift/appendonlydir/appendonly.aof.manifest"
start_redis_on "$T/shift"
see "$RPORT" >"$T/restored.seen"
is "$(moved "$T/source.seen" "$T/restored.seen" "$shift" same)" moved "every key has the time left that it had at the mark, to the millisecond"
is "$(tail -n 1 "$T/restored.seen")" "$source_digest" "the digest, which does not look at times, is that of the source"
stack_kill "$RPID"

mb restore --to-mark m --component "redis=$T/drop" >/dev/null 2>&1
ok "--expired drop" mb restore --to-mark m --component "redis=$T/drop2" --expired drop
ok "is what happens without it, byte by byte" diff -r "$T/drop/appendonlydir" "$T/drop2/appendonlydir"
is "$(grep -ac -e MULTI -e EXEC "$T/shift/appendonlydir/appendonly.aof.1.incr.aof")" \
	"$(grep -ac -e MULTI -e EXEC "$T/drop/appendonlydir/appendonly.aof.1.incr.aof")" "transactions stay what they are"
start_redis_on "$T/drop"
see "$RPORT" >"$T/dropped.seen"
is "$(cut -d ' ' -f 1,2,3,5 "$T/dropped.seen" | grep -c ' [a-z]*:\(soon\|px\|setex\|getex\) ')" 0 "without it keys whose time is over are gone"
see "$REDIS_PORT" >"$T/now.seen"
ok "and all others as they are in the source now" cmp "$T/now.seen" "$T/dropped.seen"
stack_kill "$RPID"

# -- a running server --------------------------------------------------------------------------------------
mkdir -p "$T/target"
TPORT=$(free_port)
redis-server --port "$TPORT" --bind 127.0.0.1 --dir "$T/target" --save '' --enable-debug-command local \
	--repl-diskless-sync-delay 0 --daemonize no >"$T/target.log" 2>&1 &
TARGET=$!
stack_owns "$TARGET"
wait_for 20 redis-cli -p "$TPORT" ping
redis-cli -p "$TPORT" set old 1 >/dev/null
run mb --json restore --to-mark m --component "redis=redis://127.0.0.1:$TPORT" --expired shift --yes
is "$status" 0 "restore --expired shift into a running server"
[ "$status" = 0 ] || diag "$err"
shift=$(shift_of)
see "$TPORT" >"$T/restored.seen"
is "$(moved "$T/source.seen" "$T/restored.seen" "$shift" same)" moved "every key has the time left that it had at the mark"
is "$(json restore.components.0.expired <<<"$out")" 0 "none was left out"
undo=$(json restore.components.0.safety_copy <<<"$out")
run mb restore --component "redis=redis://127.0.0.1:$TPORT" --rdb "$undo" --expired shift --yes
is "$status" 2 "a file is of no moment that is known: refused"
like "$err" "nothing says of what moment a file is" "and says why"
stack_kill "$TARGET"

# -- a random application, judged by a replica that is not ours ----------------------------------------------
$PY "$here/tests/lib/redis_wire.py" replica "$REDIS_PORT" "$T/replica" >"$T/replica.log" 2>&1 &
replica=$!
stack_owns $replica
wait_for 30 test -s "$T/replica/start"
ok "a backup in between" mb backup
$PY "$here/tests/lib/redis_story.py" "$REDIS_PORT" "${MBACKUP_SEED:-$RANDOM}" "$T/stop" >"$T/story.out" 2>&1 &
writer=$!
stack_owns $writer
rounds=2
[ -n "${MBACKUP_LONG:-}" ] && rounds=20
for i in $(seq $rounds)
do
	sleep 2
	mb --json mark "story$i" 2>/dev/null | json mark.cut.positions.redis.offset >"$T/offset$i"
done
touch "$T/stop"
wait $writer
stack_kill $replica
for i in $(seq $rounds)
do
	rm -rf "$T/ours" "$T/theirs"
	run mb --json restore --to-mark "story$i" --component "redis=$T/ours" --expired shift
	shift=$(shift_of)
	$PY "$here/tests/lib/redis_wire.py" build "$T/replica" "$(cat "$T/offset$i")" "$T/theirs"
	start_redis_on "$T/theirs" && see "$RPORT" >"$T/theirs.seen"
	stack_kill "$RPID"
	start_redis_on "$T/ours" && see "$RPORT" >"$T/ours.seen"
	stack_kill "$RPID"
	is "$(moved "$T/theirs.seen" "$T/ours.seen" "$shift")" moved \
		"story $i: every key that is not over has its expiry moved, and no other key is there ($(($(wc -l <"$T/theirs.seen") - 1)))"
done
stack_kill "$STREAM"

# -- without a stream, key by key -------------------------------------------------------------------------------
rcli flushall >/dev/null
rcli acl setuser keys on '>secret' resetchannels '~*' -@all +scan +dump +pexpiretime +select +info +time +function\|dump >/dev/null
printf 'capture = rdb\nuser = keys\npassword = secret\n' >>"$CONF"
chmod 600 "$CONF"
for i in $(seq 50); do echo "SET k:$i v PX $((2500 + i))"; done | rcli >/dev/null
rcli set lasts 1 >/dev/null
see "$REDIS_PORT" >"$T/source.seen"
ok "backup with capture = rdb" mb backup
sleep 3
is "$(rcli dbsize)" 1 "its keys are over"
run mb --json restore latest --component "redis=$T/rdb" --expired shift
is "$status" 0 "restored with --expired shift"
shift=$(shift_of)
start_redis_on "$T/rdb"
see "$RPORT" >"$T/restored.seen"
is "$(moved "$T/source.seen" "$T/restored.seen" "$shift" same)" moved "they are back with the time that they had left"
ok "redis-check-rdb accepts the file" redis-check-rdb "$T/rdb/appendonlydir/appendonly.aof.1.base.rdb"

done_testing

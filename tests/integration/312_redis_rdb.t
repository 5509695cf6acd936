#!/bin/bash
# Proves that with capture = rdb a backup is exactly the data of an idle server (DEBUG DIGEST, every expiry, functions), by a
# snapshot where PSYNC or SYNC is allowed and key by key where both are refused; and that read key by key under load every
# restored key has a value with an expiry that it once had, none is twice although the table grows and shrinks meanwhile, and none is
# left out in silence.  What is not of one moment says so, and a mark is not covered.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
PY=/usr/bin/python3

redis_config() # [line for the section]...
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
		printf '\n[redis]\nurl = redis://127.0.0.1:%s\ncapture = rdb\n' "$REDIS_PORT"
		printf '%s\n' "$@"
	} >"$CONF"
	chmod 600 "$CONF"
}
see() { $PY "$here/tests/lib/redis_wire.py" see "$1" 16; }
info_of() { rcli info "$1" | tr -d '\r' | sed -n "s/^$2:\(.*\)/\1/p"; }
consistency() { mb --json info latest | json backup.components.0.consistency; }

# The newest backup, restored and loaded by a stock server: the same as the source?
restored_equals() # name
{
	local dir=$T/r$TESTS
	run mb restore latest --component "redis=$dir"
	is "$status" 0 "$1: restored"
	ok "$1: redis-check-rdb accepts it" redis-check-rdb "$dir/appendonlydir/appendonly.aof.1.base.rdb"
	start_redis_on "$dir" || return
	see "$RPORT" >"$T/restored.seen"
	see "$REDIS_PORT" >"$T/source.seen"
	if cmp -s "$T/source.seen" "$T/restored.seen"
	then
		result "$1: every key, expiry and function is that of the source ($(($(wc -l <"$T/source.seen") - 1)))" 0
	else
		result "$1: every key, expiry and function is that of the source" 1
		diff "$T/source.seen" "$T/restored.seen" | head -n 10 >&2
	fi
	stack_kill "$RPID"
	rm -rf "$dir"
}

stack_redis --repl-backlog-size 64mb --hz 100
mkdir -p "$T/spool"
redis_config
ok "init" mb init

# -- the story: every type and encoding, then hostile names and all databases ------------------------
$PY "$here/tests/lib/redis_story.py" "$REDIS_PORT" "${MBACKUP_SEED:-$RANDOM}" "$T/stop" >"$T/story.out" 2>&1 &
STORY=$!
stack_owns "$STORY"
sleep 4
touch "$T/stop"
wait "$STORY"
{
	for db in $(seq 0 15)
	do
		echo "SELECT $db"
		echo "SET db $db"
		echo "SET lasting$db v PX $((100000000 + db))"
		echo "HSET h$db f 1"
	done
	echo "SELECT 7"
	for i in $(seq 300)
	do
		echo "RPUSH list$((i % 5)) $(printf 'x%.0s' $(seq $((i % 90 + 1))))"
		echo "ZADD z 1.$i m$i"
		echo "SADD ints $i"
		echo "SADD strs m$i"
		echo "XADD s$((i % 3)) * a $i"
	done
	echo "XGROUP CREATE s1 g 0"
	echo "XREADGROUP GROUP g c1 COUNT 5 STREAMS s1 >"
	echo "XACK s1 g 0-1"
	echo 'SET "" empty'
	echo 'SET "with space" 1 EX 90000'
	echo 'SET "line\nbreak\r\n" 1'
	echo 'SET "\x00\xff\xfe\x00binary" "\x00\x01"'
	echo 'SET "$5\r\nhello\r\n" 1'
	echo 'SET "-ERR not an error" 1'
	echo "SET expired 1 PX 1"
	echo "SETRANGE big 2000000 end"
} | rcli >/dev/null
# Larger than a reply that is built as a tree may be, and a name larger than any buffer of a name.
head -c 17000000 /dev/urandom | rcli -n 9 -x set random >/dev/null
rcli -n 9 set "$(printf 'n%.0s' $(seq 20000))" long-name >/dev/null
rcli function load "#!lua name=libx
redis.register_function('fx', function(keys, args) return 42 end)" >/dev/null
sleep 0.6

# -- the server lets us have a snapshot ------------------------------------------------------------------
run mb check
like "$out" "snapshot.*is a snapshot of one moment" "check says that it will be a snapshot"
ok "backup" mb backup
is "$(consistency)" snapshot "is a snapshot"
like "$(mb info latest)" "consistency: a snapshot of one moment, not of the cut" "which info says"
like "$(mb info latest)" "redis +offset [0-9]+ of [0-9a-f]{12}" "with its place in the stream"
like "$(mb --json info latest)$(cat "$T/ok.out")" "its data is of .*, [0-9.]+ s before the cut" "and how far it is from the cut"
restored_equals "a snapshot"
is "$(rcli info replication | grep -c '^slave')" 0 "no replica stays"
ok "verify" mb verify

# -- a mark, a stream, a pause -----------------------------------------------------------------------------
run mb mark one
is "$status" 3 "a mark is partial"
like "$err" "capture = rdb: there is no stream of it" "and says why"
like "$err" "capture = replica" "and what to do"
like "$(mb --json list)" '"uncovered": ?\{"redis"' "the component is listed as not covered"
run mb restore --to-mark one --component "redis=$T/mark" --yes
is "$status" 0 "a restore to it"
like "$out$err" "moment of backup [0-9TZ-]*[0-9a-f]*, [0-9.]+ s before the target" "goes to the backup before it and says by how much it misses"
run mb stream
is "$status" 2 "there is nothing to stream"
like "$err" "no component of this stack has a stream" "which is said"
run mb backup --pause
is "$(mb --json info latest | json backup.cut.consistency)" ordered "nothing of it can be paused, and no cut claims that"
like "$err" "writes to \"redis\" cannot be stopped" "which is said, too"

# -- SYNC is allowed, PSYNC is not -------------------------------------------------------------------------
rcli acl setuser synconly on '>secret' resetchannels -@all +sync +replconf +time >/dev/null
redis_config 'user = synconly' 'password = secret'
run mb backup
is "$status" 0 "backup by SYNC"
is "$(consistency)" snapshot "is a snapshot"
restored_equals "by SYNC"

# -- both are refused: a user without the rights -------------------------------------------------------------
rights="resetchannels ~* -@all +scan +dump +pexpiretime +select +info +time +function|dump"
rcli acl setuser keys on '>secret' $rights >/dev/null
redis_config 'user = keys' 'password = secret'
run mb check
like "$out" "read key by key and so not of one moment, because" "check says that it goes key by key"
like "$out" 'user "keys" may read key by key' "and that the rights are there"
forks=$(info_of stats total_forks)
run mb backup
is "$status" 0 "backup key by key"
[ "$status" = 0 ] || diag "$err"
like "$out$err" "keys were read one by one from .* so this backup is not of one moment" "warns"
is "$(info_of stats total_forks)" "$forks" "the server did not fork"
is "$(consistency)" keys "the meta says so"
like "$(mb info latest)" "consistency: read key by key, not of one moment" "info says so"
like "$(mb info latest)" "biggest: random \(database 9, string\), 16.2 MiB" "and what is in it"
restored_equals "key by key"
run mb restore latest --component "redis=$T/said"
like "$out$err" "read key by key from .* Redis is restored to no one moment" "the restore says so"
ok "verify" mb verify
sleep 3.5
run mb restore --to-time "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --component "redis=$T/time"
is "$status" 0 "a restore to a later time"
like "$out$err" "moment of backup [0-9TZ-]*[0-9a-f]*, [0-9.]+ s before the target" "says by how much it misses"

mkdir -p "$T/target"
TPORT=$(free_port)
redis-server --port "$TPORT" --bind 127.0.0.1 --dir "$T/target" --save '' --enable-debug-command local \
	--repl-diskless-sync-delay 0 --daemonize no --databases 40 >"$T/target.log" 2>&1 &
TARGET=$!
stack_owns "$TARGET"
wait_for 20 redis-cli -p "$TPORT" ping
redis-cli -p "$TPORT" set old 1 >/dev/null
redis_config
run mb restore latest --component "redis=redis://127.0.0.1:$TPORT" --yes
is "$status" 0 "restored into a running server"
[ "$status" = 0 ] || diag "$err"
see "$TPORT" >"$T/restored.seen"
see "$REDIS_PORT" >"$T/source.seen"
ok "every key, expiry and function is that of the source" cmp "$T/source.seen" "$T/restored.seen"
stack_kill "$TARGET"

# -- without PEXPIRETIME, as before 7.0 -----------------------------------------------------------------------
rcli acl setuser old on '>secret' resetchannels '~*' -@all +scan +dump +pttl +select +info +time >/dev/null
redis_config 'user = old' 'password = secret'
run mb backup
is "$status" 0 "backup with PTTL in place of PEXPIRETIME"
like "$out$err" "functions are not in this backup" "functions that may not be read are missed aloud"
mb restore latest --component "redis=$T/pttl" >/dev/null 2>&1
start_redis_on "$T/pttl"
see "$RPORT" >"$T/restored.seen"
see "$REDIS_PORT" >"$T/source.seen"
is "$($PY - "$T/source.seen" "$T/restored.seen" <<'PY'
import sys
def read(path):
    keys = {}
    for line in open(path):
        part = line.rstrip("\n").split(" ", 4)
        if len(part) == 5 and part[0].isdigit():
            keys[part[0], part[4]] = (int(part[1]), part[2:4])
    return keys
a, b = read(sys.argv[1]), read(sys.argv[2])
far = max(abs(a[k][0] - b[k][0]) for k in a if k in b)
bad = sum(1 for k in a if k not in b or a[k][1] != b[k][1] or (a[k][0] < 0) != (b[k][0] < 0))
print(len(a) > 100, set(a) == set(b), bad, "near" if far <= 20 else far)
PY
)" "True True 0 near" "every key has its value, and its expiry within 20 ms"
stack_kill "$RPID"

# -- a key that cannot be taken --------------------------------------------------------------------------------
rcli acl setuser part on '>secret' resetchannels '~db' '~mbackup' -@all +scan +dump +pexpiretime +select +info +time +function\|dump >/dev/null
redis_config 'user = part' 'password = secret'
run mb backup
is "$status" 7 "a user who may not read every key gets no backup"
like "$err" 'could not take key ".*" of database [0-9]+: .*NOPERM|could not take key ".*" of database [0-9]+: .*permission' "the key is named"
redis_config 'user = keys' 'password = secret'
rcli config set client-output-buffer-limit "normal 4mb 4mb 0" >/dev/null
run mb backup
is "$status" 5 "a value that the server does not give fails the backup"
like "$err" 'could not take key "random" of database 9' "and is named"
rcli config set client-output-buffer-limit "normal 0 0 0" >/dev/null
rcli acl setuser noscan on '>secret' resetchannels '~*' -@all +dump +info +time >/dev/null
redis_config 'user = noscan' 'password = secret'
run mb check
like "$out" "ACL SETUSER noscan \+scan" "check names a right that is missing"
run mb backup
is "$status" 7 "and so does the backup"
like "$err" "\+scan \+dump" "with the rights in its hint"

# -- broken in the middle -----------------------------------------------------------------------------------
redis_config 'user = keys' 'password = secret'
rcli -n 0 debug populate 150000 pop 20 >/dev/null
scanning() { rcli client list | grep -q 'cmd=\(dump\|pexpiretime\|scan\) user=keys'; }
start_backup()
{
	"$MBACKUP" --config "$CONF" backup >"$T/killed.out" 2>&1 &
	BACKUP=$!
	stack_owns "$BACKUP"
	wait_for 10 scanning
}
start_backup
kill -KILL "$BACKUP"
wait "$BACKUP" 2>/dev/null
is "$?" 137 "killed while it scans"
start_backup
rcli client kill user keys >/dev/null
wait "$BACKUP"
is "$?" 5 "a line that breaks in the middle fails the backup"
like "$(cat "$T/killed.out")" 'could not (take key|scan database)' "it says where"
ok "the next one works" mb backup
mb restore latest --component "redis=$T/next" >/dev/null 2>&1
start_redis_on "$T/next"
is "$(redis-cli -p "$RPORT" debug digest)" "$(rcli debug digest)" "its digest is that of the source"
stack_kill "$RPID"
rm -rf "$T/next"
is "$(rcli client list | grep -c user=keys)" 0 "no connection stays"
rcli flushall >/dev/null

# -- under load, with a table that grows and shrinks ------------------------------------------------------------
# Every value says by its number what its expiry is: none when odd, else so many ms behind a fixed time.
cat >"$T/writer.py" <<'PY'
import os, random, sys
sys.path.insert(0, sys.argv[3])
from redis_wire import Wire
wire, stop = Wire(int(sys.argv[1])), sys.argv[2]
base, n, r = 4000000000000, 0, random.Random(1)
pad = "x" * int(sys.argv[5])
history = open(sys.argv[4], "w")
while not os.path.exists(stop):
    commands = []
    for _ in range(200):
        n += 1
        key = r.randrange(1000)
        commands.append(["SET", f"hot:{key}{pad}", f"{key}:{n}"] + (["PXAT", base + n] if n % 2 == 0 else []))
        if n % 50 == 0:
            commands.append(["DEL", f"hot:{r.randrange(1000)}{pad}"])
    wire.burst(commands)
    history.write(f"{n}\n")
    history.flush()
PY
cat >"$T/table.py" <<'PY'
import os, sys, time
sys.path.insert(0, sys.argv[3])
from redis_wire import Wire
wire, stop = Wire(int(sys.argv[1])), sys.argv[2]
total = int(sys.argv[4])
while not os.path.exists(stop):
    for verb in "SET", "UNLINK":
        for i in range(0, total, 1000):
            if os.path.exists(stop):
                break
            wire.burst([[verb, f"junk:{j}"] + (["x"] if verb == "SET" else []) for j in range(i, i + 1000)])
        time.sleep(0.3 if total > 100000 else 0.03)
PY
check_load() # static keys
{
	rm -rf "$T/load"
	mb restore latest --component "redis=$T/load" >/dev/null 2>&1
	ok "redis-check-rdb accepts it" redis-check-rdb "$T/load/appendonlydir/appendonly.aof.1.base.rdb"
	start_redis_on "$T/load" || return
	is "$($PY - "$RPORT" "$here/tests/lib" "$T/history" <<'PY'
import sys
sys.path.insert(0, sys.argv[2])
from redis_wire import Wire
wire = Wire(int(sys.argv[1]))
last = int(open(sys.argv[3]).read().split()[-1]) + 1000
static = sum(1 for i, v in enumerate(wire("MGET", *[f"static:{i}" for i in range(1, 30001)]), 1) if v == b"%d" % i)
bad = 0
hot = wire("KEYS", "hot:*")
for key in hot:
    value, expiry = wire("GET", key), wire("PEXPIRETIME", key)
    k, n = map(int, value.split(b":"))
    bad += b"%d" % k != key[4:].rstrip(b"x") or n > last or expiry != (4000000000000 + n if n % 2 == 0 else -1)
print(static, len(hot) > 100, bad)
PY
)" "$1 True 0" "what lasts is all there, and every value has the expiry that it was written with"
	stack_kill "$RPID"
}

rcli eval "for i = 1, 30000 do redis.call('set', 'static:' .. i, i) end" 0 >/dev/null
junk=300000
rcli eval "for i = 0, tonumber(ARGV[1]) - 1 do redis.call('set', 'junk:' .. i, 'x') end" 0 "$junk" >/dev/null
rm -f "$T/stop"
$PY "$T/writer.py" "$REDIS_PORT" "$T/stop" "$here/tests/lib" "$T/history" 0 2>"$T/writer.err" &
WRITER=$!
$PY "$T/table.py" "$REDIS_PORT" "$T/stop" "$here/tests/lib" "$junk" 2>"$T/table.err" &
TABLE=$!
stack_owns "$WRITER"
stack_owns "$TABLE"
run mb backup
is "$status" 0 "backup under load"
[ "$status" = 0 ] || diag "$err"
check_load 30000
touch "$T/stop"
wait "$WRITER" "$TABLE"
rcli flushall >/dev/null

# The server reads commands in pieces of 16 KiB and does others between them.  With long names these pieces end between expiry
# and value of one key, and some of these keys are written just then.
rm -f "$T/stop"
$PY "$T/writer.py" "$REDIS_PORT" "$T/stop" "$here/tests/lib" "$T/history" 2000 2>"$T/writer.err" &
WRITER=$!
stack_owns "$WRITER"
wait_for 10 test -s "$T/history"
for i in $(seq 60)
do
	run mb backup
	again=$(sed -n 's/.* \([0-9]*\) changed while they were read.*/\1/p' "$T/run.err" | head -n 1)
	[ "${again:-0}" = 0 ] || break
done
[ "${again:-0}" -gt 0 ]
result "keys change while they are read (${again:-no answer}, in backup $i)" $?
check_load 0
touch "$T/stop"
wait "$WRITER"
rcli flushall >/dev/null

# A small table goes round often; SCAN repeats what is in the bucket where it was when the table shrank.
rcli eval "for i = 1, 1500 do redis.call('set', 'static:' .. i, i) end" 0 >/dev/null
rm -f "$T/stop"
$PY "$T/table.py" "$REDIS_PORT" "$T/stop" "$here/tests/lib" 20000 2>"$T/table.err" &
TABLE=$!
stack_owns "$TABLE"
for i in $(seq 60)
do
	run mb backup
	twice=$(sed -n 's/.*SCAN gave \([0-9]*\) twice.*/\1/p' "$T/run.err" | head -n 1)
	[ "${twice:-0}" = 0 ] || break
done
touch "$T/stop"
wait "$TABLE"
# When the table shrinks in the middle of a scan is the server's affair: mostly within some backups, not always.
[ "${twice:-0}" -gt 0 ] || diag "SCAN gave no key twice in $i backups: what it would show was not seen this time"
result "the log counts what SCAN gives twice (${twice:-no answer}, in backup $i)" "$([ -n "${twice:-}" ]; echo $?)"
mb restore latest --component "redis=$T/twice" >/dev/null 2>&1
start_redis_on "$T/twice"
is "$(redis-cli -p "$RPORT" --raw eval "local n = 0 for i = 1, 1500 do if redis.call('get', 'static:' .. i) == tostring(i) then n = n + 1 end end return n" 0)" 1500 "the server, which refuses a key that is there twice, loads it, and what lasts is all there"
stack_kill "$RPID"
rcli flushall >/dev/null

# -- memory -----------------------------------------------------------------------------------------------------
keys=100000
[ -n "${MBACKUP_LONG:-}" ] && keys=1000000
rcli debug populate "$keys" session 100 >/dev/null
read -r kib code seconds < <($PY - "$MBACKUP" --config "$CONF" backup <<'PY'
import resource, subprocess, sys, time
began = time.time()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code, round(time.time() - began, 1))
PY
)
is "$code" 0 "backup of $keys keys ($seconds s)"
[ "$kib" -lt $((200 * 1024)) ]
result "peak memory $((kib / 1024)) MiB" $?
stack_kill "$REDIS_PID"

# -- the commands are renamed away, as managed services do ---------------------------------------------------------
rm -rf "$T/redis"
stack_redis --rename-command PSYNC "" --rename-command SYNC ""
redis_config
{
	echo "SET a 1 EX 9999"
	echo "SELECT 15"
	echo "RPUSH l 1 2 3"
} | rcli >/dev/null
run mb check
like "$out" "because .*unknown command" "check says that the command is not there"
run mb backup
is "$status" 0 "backup of a server without PSYNC and SYNC"
is "$(consistency)" keys "is key by key"
restored_equals "without PSYNC"
rcli flushall >/dev/null
ok "of an empty server" mb backup
restored_equals "of an empty server"

# -- one node of a cluster -----------------------------------------------------------------------------------------
stack_kill "$REDIS_PID"
rm -rf "$T/redis"
stack_redis --rename-command PSYNC "" --rename-command SYNC "" --cluster-enabled yes --cluster-port "$(free_port)"
rcli cluster addslotsrange 0 4095 >/dev/null
rcli config set cluster-require-full-coverage no >/dev/null
redis_config
wait_for 10 eval "rcli cluster info | grep -q cluster_state:ok"
for i in $(seq 100); do echo "SET {b}$i v EX $((9000 + i))"; done | rcli >/dev/null
rcli debug digest >"$T/cluster.digest"
is "$(rcli dbsize)" 100 "a node of a cluster that serves a quarter of the slots"
ok "backup" mb backup
mb restore latest --component "redis=$T/cluster" >/dev/null 2>&1
start_redis_on "$T/cluster"
is "$(redis-cli -p "$RPORT" debug digest)" "$(cat "$T/cluster.digest")" "its digest is that of the source"
stack_kill "$RPID"
rcli flushall >/dev/null

# -- a cache ----------------------------------------------------------------------------------------------------
redis_config 'role = cache'
rcli set a 1 >/dev/null
ok "backup of a cache" mb backup
run mb restore latest --component "redis=$T/cache"
is "$status$(ls "$T/cache" | wc -l)" 00 "comes back empty"
redis_config 'side = after'
run mb backup
is "$status" 0 "side = after"
like "$out$err" "its data is of .*, [0-9.]+ s behind the cut" "is taken behind the cut"
info=$(mb --json info latest)
sleep 1
run mb --json restore --to-time "$(json backup.cut.time <<<"$info")" --component "redis=$T/before" --dry-run
[ "$status" = 0 ] && [ "$(json restore.components.0.plan.base <<<"$out")" != "$(json backup.components.0.backup <<<"$info")" ]
result "and no restore to the time of the cut takes it" $?
stack_kill "$REDIS_PID"
run mb backup
is "$status" 5 "a server that is down"
[[ $out$err != *"key by key"* ]]
result "is no reason to read key by key" $?
redis_config 'capture = often'
sed -i '/^capture = rdb/d' "$CONF"
run mb backup
is "$status" 2 "a capture that is none is refused"

done_testing

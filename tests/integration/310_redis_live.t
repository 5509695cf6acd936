#!/bin/bash
# Proves that a restore into a running Redis gives it exactly the data of the backup, mark or time (DEBUG DIGEST, expiries,
# functions), all at one instant for clients that read meanwhile, and of a part exactly the keys that were asked for; that what
# cannot be done is refused before anything is touched; that a kill in the middle leaves nothing behind; and that the safety
# copy brings back what was there.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

redis_config() # [line for the section]...
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\n' "$T" "$REPO"
		printf 'key-file = %s/key\n\n[redis]\nurl = redis://127.0.0.1:%s\n' "$T" "$REDIS_PORT"
		printf '%s\n' "$@"
	} >"$CONF"
	chmod 600 "$CONF"
}

# A server to restore into: $TPORT, $TSOCK, $TPID.
start_target() # directory [option...]
{
	local dir=$T/$1
	shift
	TPORT=$(free_port)
	TSOCK=$dir/t.sock
	mkdir -p "$dir"
	redis-server --port "$TPORT" --bind 127.0.0.1 --unixsocket "$TSOCK" --dir "$dir" --save '' --appendonly no \
		--enable-debug-command local --repl-diskless-sync-delay 0 --daemonize no "$@" >"$dir.log" 2>&1 &
	TPID=$!
	stack_owns "$TPID"
	wait_for 20 target_ready || { cat "$dir.log" >&2; return 1; }
}
target_ready() { [[ $(tcli ping) == PONG || $(tcli ping) == LOADING* ]]; }
tcli() { redis-cli -p "$TPORT" "$@"; }
digest() { redis-cli -p "$1" debug digest; }

# Every key of every database with its absolute expiry, one digest.
expiries() # port
{
	local db
	for db in 0 3 9
	do
		redis-cli -p "$1" -n "$db" --raw eval \
			"local r = {} for _, k in ipairs(redis.call('keys', '*')) do r[#r + 1] = k .. ' ' .. redis.call('pexpiretime', k) end table.sort(r) return r" 0
	done | sha256sum
}

# The keys of one database that match a glob, by the server's own KEYS: how many, and one digest of names, expiries, values.
part() # port db glob
{
	redis-cli -p "$1" -n "$2" --raw eval \
		"local r = {} for _, k in ipairs(redis.call('keys', ARGV[1])) do r[#r + 1] = redis.sha1hex(k) .. ' ' .. redis.call('pexpiretime', k) .. ' ' .. redis.sha1hex(redis.call('dump', k)) end table.sort(r) return #r .. ' ' .. redis.sha1hex(table.concat(r))" 0 "$3"
}

workload()
{
	{
		for i in $(seq 200)
		do
			echo "SET k$i v$i PX $((100000000 + i))"
			echo "SET e$i v$i EX 86400"
			echo "RPUSH l$((i % 5)) $(printf 'x%.0s' $(seq $((i % 90 + 1))))"
			echo "ZADD z 1.$i m$i"
			echo "SADD ints $i"
			echo "SADD strs m$i"
			echo "HSET h$((i % 3)) f$i $i"
			echo "XADD s$((i % 3)) * a $i"
			echo "SET session:$i $i"
		done
		echo "XGROUP CREATE s1 g 0"
		echo "XREADGROUP GROUP g c1 COUNT 5 STREAMS s1 >"
		echo "PFADD hll a b c d"
		echo "SETRANGE big 2000000 end"
		echo "GEOADD geo 13.361389 38.115556 Palermo"
		echo 'SET "" empty'
		echo 'SET "with space" 1'
		echo 'SET "line\nbreak\r\n" 1'
		echo 'SET "\x00\xff\xfe\x00binary" "\x00\x01"'
		echo 'SET "glob*?[a-z]\\" 1'
		echo 'SET "$5\r\nhello\r\n" 1'
		echo 'SET "-ERR not an error" 1'
		echo "SET gen backup"
		echo "SELECT 3"
		echo "SET gen backup"
		echo "MSET a 1 b 77777 c -5 d 99999999999 session:3 three"
		echo "SELECT 9"
		echo "HINCRBYFLOAT tf f 1.5"
	} | rcli >/dev/null
	# Larger than one reply that is built as a tree may be, and not compressible.
	head -c 17000000 /dev/urandom | rcli -n 9 -x set random >/dev/null
	rcli debug populate 60000 pop 20 >/dev/null
	rcli function load "#!lua name=lib1
redis.register_function('f1', function(keys, args) return 42 end)" >/dev/null
}

# What is in the target before a restore: other data, other databases, another function.
old_data()
{
	tcli flushall >/dev/null
	tcli function flush >/dev/null
	{
		echo "MSET gen old k1 old old:1 1 old:2 2 session:1 old session:extra old"
		echo "SADD z not-a-zset"
		echo "SELECT 3"
		echo "MSET gen old session:3 old session:9 old"
		echo "SELECT 5"
		echo "MSET gen old gone 1"
		echo 'SET "\x00\nodd" 1 EX 9999'
	} | tcli >/dev/null
	tcli function load "#!lua name=old
redis.register_function('fold', function(keys, args) return 1 end)" >/dev/null
}

# Reads two databases in one transaction, and writes, until the file $T/stop is there: says what it saw.
cat >"$T/client.py" <<'PY'
import os, socket, sys
port, stop, seen = int(sys.argv[1]), sys.argv[2], {}
sock = socket.create_connection(("127.0.0.1", port))
file = sock.makefile("rb")

def reply():
    line = file.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"*":
        return [reply() for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2]
    return line[:-2]

n = 0
while not os.path.exists(stop):
    commands = ["MULTI", "GET gen", "GET k1", "SELECT 3", "GET gen", "SELECT 0", "EXEC", f"SET noise:{n % 100} {n}"]
    sock.sendall("".join(c + "\r\n" for c in commands).encode())
    answers = [reply() for _ in commands]
    _, a, b, _, c, _ = [None] + answers[6]
    state = (a, b, c) if not isinstance(answers[7], bytes) or answers[7] == b"+OK" else ("write", answers[7])
    seen[state] = seen.get(state, 0) + 1
    n += 1
for state, count in seen.items():
    print(*state)
PY

scratch_servers() # how many processes run in the spool
{
	local n=0 cwd
	for cwd in /proc/[0-9]*/cwd
	do
		[[ $(readlink "$cwd" 2>/dev/null) == "$T"/spool/* ]] && n=$((n + 1))
	done
	echo "$n"
}

stack_redis --repl-backlog-size 64mb
mkdir -p "$T/spool"
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"
redis_config
ok "init" mb init
workload
ok "backup" mb backup
source_digest=$(digest "$REDIS_PORT")
source_expiries=$(expiries "$REDIS_PORT")
start_target target
LIVE=redis=redis://127.0.0.1:$TPORT
export PATH=$BUILD:$PATH

# -- the whole --------------------------------------------------------------------------------------
old_data
old_digest=$(digest "$TPORT")
run mb restore latest --component "$LIVE"
is "$status" 2 "a restore into a running server must be confirmed"
run mb --json restore latest --component "$LIVE" --dry-run
is "$status" 0 "it can be planned"
is "$(json restore.components.0.plan.live_keys <<<"$out")" "$(($(tcli dbsize) + $(tcli -n 3 dbsize) + $(tcli -n 5 dbsize)))" "the plan counts what is there"
is "$(digest "$TPORT")" "$old_digest" "and changes nothing"
like "$(mb restore latest --component "$LIVE" --dry-run)" "127.0.0.1:$TPORT holds 13 keys now" "for people, too"
rm -f "$T/stop"
python3 "$T/client.py" "$TPORT" "$T/stop" >"$T/client.out" 2>&1 &
CLIENT=$!
stack_owns "$CLIENT"
sleep 0.3
run mb --json restore latest --component "$LIVE" --yes
is "$status" 0 "restore into a running server, under reads and writes"
[ "$status" = 0 ] || diag "$err"
sleep 0.3
touch "$T/stop"
wait "$CLIENT"
is "$(sort "$T/client.out")" "b'backup' b'v1' b'backup'
b'old' b'old' b'old'" "a client saw the old data, then the new, and nothing in between"
is "$(json restore.components.0.method <<<"$out")" swap "it was done at one instant"
tcli --raw keys 'noise:*' | xargs redis-cli -p "$TPORT" del >/dev/null
is "$(digest "$TPORT")" "$source_digest" "its digest is that of the source"
is "$(expiries "$TPORT")" "$source_expiries" "so is every expiry"
is "$(tcli fcall f1 0)" 42 "the functions are there"
like "$(tcli fcall fold 0)" "not found" "those that were there are not"
is "$(json restore.components.0.entries <<<"$out")" "$(($(rcli dbsize) + $(rcli -n 3 dbsize) + $(rcli -n 9 dbsize)))" "the answer counts the keys"
is "$(ls "$T/spool" | grep -c scratch)$(scratch_servers)" 00 "no scratch server and no files of it stay"
undo=$(json restore.components.0.undo <<<"$out")
ok "redis-check-rdb accepts the safety copy" redis-check-rdb "$(json restore.components.0.safety_copy <<<"$out")"
ok "the undo command works as printed" eval "$undo"
tcli --raw keys 'noise:*' | xargs redis-cli -p "$TPORT" del >/dev/null
is "$(digest "$TPORT")" "$old_digest" "and gives the digest from before"
is "$(tcli fcall fold 0)" 1 "with its functions"
old_data
ok "over the unix socket" mb restore latest --component "redis=unix://$TSOCK" --yes
is "$(digest "$TPORT")" "$source_digest" "the same"

# -- marks and times --------------------------------------------------------------------------------
"$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 &
STREAM=$!
stack_owns "$STREAM"
stream_attached() { rcli info replication | grep -q 'port=0,state=online'; }
wait_for 20 stream_attached
ok "a backup beside the stream" mb backup
rcli set short lived px 1500 >/dev/null
rcli -n 3 append a more >/dev/null
rcli xadd s1 '*' late 1 >/dev/null
ok "a mark" mb mark one
rcli del short >/dev/null
mark_digest=$(digest "$REDIS_PORT")
sleep 2
mark_time=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
sleep 2.5
rcli set after 1 >/dev/null
sleep 1.5
run mb --json restore --to-mark one --component "$LIVE" --yes
is "$status" 0 "restore to a mark"
[ "$status" = 0 ] || diag "$err"
is "$(digest "$TPORT")" "$mark_digest" "its digest is that of the source at the mark, without the key whose time has passed"
is "$(json restore.components.0.expired <<<"$out")" 1 "which is counted"
old_data
ok "restore to a time" mb restore --to-time "$mark_time" --component "$LIVE" --yes
is "$(digest "$TPORT")" "$mark_digest" "the digest is that of the source at that time"
stack_kill "$STREAM"
wait "$STREAM" 2>/dev/null

# -- a part -----------------------------------------------------------------------------------------
old_data
rest_before="$(part "$TPORT" 0 'old:*')$(part "$TPORT" 0 gen)$(part "$TPORT" 3 '*')$(part "$TPORT" 5 '*')"
session_before=$(part "$TPORT" 0 'session:*')
run mb --json restore --to-mark one --component "$LIVE" --only '0:session:*' --yes
is "$status" 0 "restore of a part of one database"
[ "$status" = 0 ] || diag "$err"
is "$(part "$TPORT" 0 'session:*')" "$(part "$REDIS_PORT" 0 'session:*')" "its keys are those of the source"
is "$(part "$TPORT" 0 'old:*')$(part "$TPORT" 0 gen)$(part "$TPORT" 3 '*')$(part "$TPORT" 5 '*')" "$rest_before" "nothing else was touched"
is "$(tcli fcall fold 0)" 1 "neither are the functions"
is "$(json restore.components.0.entries <<<"$out") $(json restore.components.0.removed <<<"$out") $(json restore.components.0.replaced <<<"$out")" "200 1 2" "the answer counts keys, removed and replaced ones"
eval "$(json restore.components.0.undo <<<"$out")" >/dev/null 2>&1
is "$(part "$TPORT" 0 'session:*')" "$session_before" "the undo command brings back that part"
ok "several patterns, in every database" mb restore --to-mark one --component "$LIVE" --only 'session:?' --only 'e[1-3]*' --yes
is "$(part "$TPORT" 0 'session:?')$(part "$TPORT" 3 'session:?')$(part "$TPORT" 0 'e[1-3]*')" \
	"$(part "$REDIS_PORT" 0 'session:?')$(part "$REDIS_PORT" 3 'session:?')$(part "$REDIS_PORT" 0 'e[1-3]*')" "come back"
is "$(tcli get session:extra)" old "what they do not match stays"
for glob in '*binary' 'with space' 'glob\*\?\[a-z\]\\' '*break*' '$5*' '-ERR*'
do
	old_data
	mb restore --to-mark one --component "$LIVE" --only "$glob" --yes >/dev/null 2>&1
	is "$?$(part "$TPORT" 0 "$glob")" "0$(part "$REDIS_PORT" 0 "$glob")" "a hostile name: $glob"
	like "$(part "$TPORT" 0 "$glob")" '^1 ' "it is one key"
done

# -- killed in the middle ---------------------------------------------------------------------------
kill_when() # condition restore-options...
{
	local condition=$1
	shift
	"$MBACKUP" --config "$CONF" restore --to-mark one --component "$LIVE" --yes "$@" >/dev/null 2>&1 &
	local pid=$!
	stack_owns "$pid"
	for _ in $(seq 3000)
	do
		$condition && break
	done
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	is "$?" 137 "killed in the middle"
}
staging() { [ "$(tcli -n 15 dbsize)" -gt 500 ] || [ "$(tcli -n 14 dbsize)" -gt 500 ]; }
in_place() { [ "$(tcli dbsize)" -gt 500 ]; }
no_scratch() { [ "$(scratch_servers)" = 0 ]; }
old_data
kill_when staging
ok "the scratch server dies with it" wait_for 5 no_scratch
is "$(tcli get gen)$(tcli -n 3 get gen)$(tcli -n 5 get gen)" oldoldold "the data is as it was"
ok "run again" mb restore --to-mark one --component "$LIVE" --yes
is "$(digest "$TPORT")" "$mark_digest" "it ends in the same state"
is "$(ls "$T/spool" | grep -c scratch)" 0 "and leaves no scratch files"
is "$(tcli info keyspace | grep -c '^db')" 3 "nor a staging database"
old_data
kill_when in_place --only '*'
ok "a part that was killed, run again" mb restore --to-mark one --component "$LIVE" --only '*' --yes
is "$(digest "$TPORT")" "$mark_digest" "it ends in the same state"
old_data
"$MBACKUP" --config "$CONF" restore --to-mark one --component "$LIVE" --yes >"$T/term.out" 2>&1 &
TERM_PID=$!
stack_owns "$TERM_PID"
for _ in $(seq 3000); do staging && break; done
kill -TERM "$TERM_PID"
wait "$TERM_PID"
is "$?" 143 "terminated in the middle"
is "$(digest "$TPORT")" "$old_digest" "it has put everything back"

"$MBACKUP" --config "$CONF" restore --to-mark one --component "$LIVE" --yes >/dev/null 2>&1 &
FIRST_PID=$!
stack_owns "$FIRST_PID"
for _ in $(seq 3000); do staging && break; done
run mb restore --to-mark one --component "$LIVE" --yes
is "$status" 4 "a second restore at the same time is refused"
wait "$FIRST_PID"
is "$?$(digest "$TPORT")" "0$mark_digest" "and does not disturb the first"
old_data

# -- refused, before anything is touched ------------------------------------------------------------
refused() # status regexp name options...
{
	local want=$1 text=$2 name=$3
	shift 3
	run mb restore --to-mark one --yes "$@"
	is "$status" "$want" "refused: $name"
	like "$err" "$text" "and says why"
	is "$(digest "$TPORT")" "$old_digest" "nothing was touched"
}
tcli config set maxmemory 6mb >/dev/null
refused 8 "maxmemory" "too little maxmemory" --component "$LIVE"
refused 8 "maxmemory" "too little maxmemory for a part" --component "$LIVE" --only 'key:*' --only 'pop:*'
tcli config set maxmemory 0 >/dev/null
refused 2 "no pattern" "an empty pattern" --component "$LIVE" --only '3:'
MAIN_PORT=$TPORT
rights="resetchannels ~* -@all +psync +replconf +info +select +scan +exists +dbsize +set +del +restore +unlink +multi +exec +swapdb +flushdb +function|dump +function|restore"
tcli acl setuser mb on '>secret' $rights '+acl|dryrun' >/dev/null
redis_config 'user = mb' 'password = wrong'
refused 7 "WRONGPASS" "a wrong password" --component "$LIVE"
redis_config 'user = mb' 'password = secret'
tcli acl setuser mb -swapdb >/dev/null
refused 7 'may not SWAPDB' "a missing right" --component "$LIVE"
tcli acl setuser mb '-acl|dryrun' >/dev/null
refused 7 'NOPERM' "a missing right that cannot be asked for" --component "$LIVE"
is "$(tcli info keyspace | grep -c '^db')" 3 "no staging database is left"
tcli acl setuser mb +swapdb '+acl|dryrun' '-function|restore' >/dev/null
refused 7 'may not FUNCTION' "the whole without functions" --component "$LIVE"
tcli acl setuser mb '+function|restore' >/dev/null
tcli acl setuser mb resetkeys '~session:*' >/dev/null
refused 7 'may not RESTORE' "the whole by a user of some keys" --component "$LIVE"
refused 7 'may not RESTORE' "a part of which he may not have all" --component "$LIVE" --only 'session:*' --only 'k*'
ok "a part is what he may restore" mb restore --to-mark one --component "$LIVE" --only '0:session:*' --yes
is "$(part "$TPORT" 0 'session:*')" "$(part "$REDIS_PORT" 0 'session:*')" "and it is right"
tcli acl setuser mb '~*' >/dev/null
ok "the rights of the manual are enough" mb restore --to-mark one --component "$LIVE" --yes
is "$(digest "$TPORT")" "$mark_digest" "for exactly the same"
redis_config
old_data
# What the refusals judge is the main target: it must be as it was whatever server was named.
refused_server() # status regexp name server-options...
{
	local want=$1 text=$2 name=$3 port
	shift 3
	start_target "$name" "$@"
	port=$TPORT
	TPORT=$MAIN_PORT
	refused "$want" "$text" "$name" --component "redis=redis://127.0.0.1:$port"
	kill -KILL "$TPID"
	wait "$TPID" 2>/dev/null
}
refused_server 9 "is a replica" "a replica" --replicaof "127.0.0.1 $MAIN_PORT"
refused_server 9 "cluster" "a cluster" --cluster-enabled yes --cluster-port "$(free_port)"
refused_server 9 "database 9" "too few databases" --databases 4
# A server that takes a millisecond for each of 60000 keys that it loads.
mkdir -p "$T/loading server"
rcli --rdb "$T/loading server/dump.rdb" >/dev/null 2>&1
refused_server 5 "loading" "loading server" --key-load-delay 1000 --loading-process-events-interval-bytes 1024
refused 5 "could not connect|Connection refused" "nobody there" --component "redis=redis://127.0.0.1:$(free_port)"
redis_config 'redis-server = /nonexistent/redis-server'
refused 10 "there is no program" "no redis-server to load the backup" --component "$LIVE"
redis_config
mkdir -p "$T/broken"
printf 'REDIS0010garbage' >"$T/broken/dump.rdb"
run mb restore --component "$LIVE" --rdb "$T/broken/dump.rdb" --yes
is "$status$(digest "$TPORT")" "6$old_digest" "a damaged file is refused, and nothing was touched"
run mb restore --component "redis=$T/directory" --rdb "$T/broken/dump.rdb" --yes
is "$status" 2 "--rdb is for a running server"
refused 2 "exclude each other" "a file and a mark" --component "$LIVE" --rdb "$T/broken/dump.rdb"

# -- no database free: key by key -------------------------------------------------------------------
start_target ten --databases 10
old_data
for db in 1 2 4 6 7 8; do tcli -n $db set full 1 >/dev/null; done
run mb --json restore --to-mark one --component "redis=redis://127.0.0.1:$TPORT" --yes
is "$status$(json restore.components.0.method <<<"$out")" 0keys "without empty databases the keys go one by one"
[ "$status" = 0 ] || diag "$err"
is "$(digest "$TPORT")" "$mark_digest" "and the digest is the same"
is "$(tcli fcall f1 0)" 42 "with the functions"
stack_kill "$TPID"
TPORT=$MAIN_PORT

# -- the source itself, with the stream on ----------------------------------------------------------
"$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 &
STREAM=$!
stack_owns "$STREAM"
wait_for 20 stream_attached
ok "a backup to go back to" mb backup
back_digest=$(digest "$REDIS_PORT")
rcli flushall >/dev/null
rcli set accident 1 >/dev/null
ok "the component's own server, over the accident" mb restore latest --component "redis=redis://127.0.0.1:$REDIS_PORT" --yes
is "$(digest "$REDIS_PORT")" "$back_digest" "its digest is that of the backup"
rcli set onward 1 >/dev/null
sleep 0.3
ok "a mark behind the restore" mb mark onward
ok "is restored, with the restore in its stream" mb restore --to-mark onward --component "$LIVE" --yes
is "$(digest "$TPORT")" "$(digest "$REDIS_PORT")" "exactly"
stack_kill "$STREAM"
wait "$STREAM" 2>/dev/null
old_data

# -- a cache ----------------------------------------------------------------------------------------
redis_config 'role = cache'
refused 2 "no part" "a part of a cache" --component "$LIVE" --only '*'
run mb --json restore latest --component "$LIVE" --yes
is "$status$(tcli dbsize)" 00 "a cache is emptied"
[ "$status" = 0 ] || diag "$err"
eval "$(json restore.components.0.undo <<<"$out")" >/dev/null 2>&1
is "$(digest "$TPORT")" "$old_digest" "its safety copy undoes that, too"
is "$(ls "$T/spool" | grep -c -e scratch -e 'part$')" 0 "nothing but safety copies stays in the spool"

done_testing

#!/bin/bash
# Proves that the stream is a replica that a server can live with: kicked out for its output buffer it comes back, calls
# what the backlog lost a gap and never makes the server fork for it; and that a full resync that goes wrong is not tried
# again before its time, while a backup that somebody asks for is.  A server whose backlog is too small even for the moment
# between our question and its answer forks once for it, is refused once, and is then left alone until its backlog is larger.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

attached() { rcli info replication | grep -q 'port=0,state=online'; }
info_of() { rcli info "$1" | tr -d '\r' | sed -n "s/^$2:\(.*\)/\1/p"; }
digest() { redis-cli -p "$1" debug digest; }
start_redis_stream()
{
	start_stream
	wait_for 20 attached
}
restored_equals() # name
{
	ok "$1: restore" mb restore --to-mark "$1" --component "redis=$T/$1" --yes
	start_redis_on "$T/$1"
	is "$(digest "$RPORT")" "$(digest "$REDIS_PORT")" "$1: the digest is that of the source"
	stack_kill "$RPID"
}

stack_redis --repl-backlog-size 64mb
mkdir -p "$T/spool"
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\nkey-file = %s/key\n' "$T" "$REPO" "$T"
	printf '\n[redis]\nurl = redis://127.0.0.1:%s\n' "$REDIS_PORT"
} >"$CONF"
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"
ok "init" mb init

# -- a full resync that goes wrong ---------------------------------------------------------------------------
# What a stream leaves that was killed, or whose server died, in the middle of one.
printf '{"complete":false,"run_id":"x","time":"%s"}' "$(date -u +%Y-%m-%dT%H:%M:%S.000000Z)" >"$T/spool/redis-redis.resync"
start_stream
ok "is not tried again at once" wait_for 10 grep -q "the next is allowed at" "$T/stream.log"
is "$(info_of stats sync_full)" 0 "the server did not fork"
ok "a backup is asked for, and made" mb backup
ok "the stream goes on by the backlog that it left" wait_for 40 attached
is "$(info_of stats sync_full)" 1 "without a full resync of its own"
stack_kill "$STREAM"

# -- an output buffer that is too small ------------------------------------------------------------------------
# One command that writes more than buffer and backlog hold: no reader could be fast enough.  (Redis 7 lets the buffer of a
# replica grow to the size of the backlog, so who is kicked out finds nothing to go on from.)
rcli config set repl-backlog-size 1mb client-output-buffer-limit "replica 1mb 1mb 1" >/dev/null
start_redis_stream
for i in 1 2 3
do
	rcli eval "for i = 1, 4000 do redis.call('set', KEYS[1] .. i, string.rep('x', 1000)) end" 1 "kick$i:" >/dev/null
	wait_for 20 eval '[ "$(grep -c "are lost to the stream" "$T/stream.log")" -ge '$i' ]'
	wait_for 20 attached
done
is "$(grep -c reconnecting "$T/stream.log")" 3 "the server kicked the stream out three times"
is "$(grep -c "are lost to the stream" "$T/stream.log")" 3 "what it lost is called a gap each time"
is "$(info_of stats sync_full)" 1 "and is no reason for a full resync"
run mb mark behind
is "$status" 3 "a mark behind it is partial"
ok "a backup" mb backup
rcli set beyond 1 >/dev/null
sleep 0.2
ok "a mark" mb mark beyond
restored_equals beyond
stack_kill "$STREAM"

# -- a full resync that the server begins unasked ------------------------------------------------------------------
rm "$T/spool/redis-redis.resync"
rcli config set repl-backlog-size 16384 client-output-buffer-limit "replica 256mb 256mb 60" >/dev/null
touch "$T/writing"
while [ -e "$T/writing" ]
do
	echo "EVAL \"for i = 1, 1000 do redis.call('set', KEYS[1], string.rep('x', 1000)) end\" 1 hot"
done | rcli >/dev/null 2>&1 &
stack_owns $!
forks=$(info_of stats sync_full)
: >"$T/stream.log"
# Until a write came between question and answer.
provoke() # count
{
	local i
	for i in $(seq 20)
	do
		wait_for 2 unasked "$1" && return
		rcli client kill type replica >/dev/null
	done
	return 1
}
unasked() { [ "$(grep -c "not asked for: its backlog" "$T/stream.log")" -ge "$1" ]; }
start_stream
ok "the server begins a full resync unasked: it is taken" provoke 1
ok "the stream is attached" wait_for 20 attached
ok "another one within the hour" provoke 2
ok "is refused, and the stream says that it stays away" wait_for 30 grep -q "stays away until" "$T/stream.log"
sleep 8
is "$(($(info_of stats sync_full) - forks))" 2 "the server forked for the two, and not again"
rcli config set repl-backlog-size 64mb >/dev/null
ok "with a larger backlog the stream comes back" wait_for 40 attached
is "$(($(info_of stats sync_full) - forks))" 2 "without a full resync"
rm "$T/writing"
stack_kill "$STREAM"

done_testing

#!/bin/bash
# Proves that the stream is a replica that a server can live with: kicked out for its output buffer it comes back, calls
# what the backlog lost a gap and never makes the server fork for it; and that a full resync that goes wrong is not tried
# again before its time, while a backup that somebody asks for is.
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

done_testing

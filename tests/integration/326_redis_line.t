#!/bin/bash
# Proves that a backup of Redis survives a replication connection that breaks between its snapshot and its cut, as often as it
# does: what is restored equals a replica that is not ours at the cut's offset.  Proves also that it fails, and says why, where
# the server's backlog does not reach back any more or the server has begun a new history; and that nothing of it makes the
# server fork.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
PY=/usr/bin/python3

stack_redis --repl-backlog-size 64mb --unixsocket "$T/redis.sock" || exit 1
# A second server whose snapshot takes its time: so long lies between the snapshot of the first and the cut.
SLOW_PORT=$(free_port)
mkdir "$T/slow"
redis-server --port "$SLOW_PORT" --bind 127.0.0.1 --dir "$T/slow" --save '' --repl-diskless-sync-delay 0 --rdb-key-save-delay 8000 >"$T/slow.log" 2>&1 &
stack_owns $!
wait_for 20 redis-cli -p "$SLOW_PORT" ping
redis-cli -p "$SLOW_PORT" eval "for i = 1, 800 do redis.call('set', i, i) end" 0 >/dev/null
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
	# Their snapshots are taken in this order.
	printf '\n[redis]\nurl = redis://127.0.0.1:%s\n[redis:slow]\nurl = redis://127.0.0.1:%s\n' "$REDIS_PORT" "$SLOW_PORT"
} >"$CONF"
chmod 600 "$CONF"
mkdir -p "$T/spool"
ok "init" mb init
start_writer()
{
	rm -f "$T/stop"
	$PY "$here/tests/lib/redis_count.py" write "$T/redis.sock" "$T/stop" >"$T/count.log" 2>&1 &
	WRITER=$!
	stack_owns $WRITER
}
stop_writer() { touch "$T/stop"; wait $WRITER; }
info_of() { rcli info "$1" | tr -d '\r' | sed -n "s/^$2:\(.*\)/\1/p"; }
ours_online() { rcli info replication | grep -q 'port=0,state=online'; }

start_backup()
{
	"$MBACKUP" --config "$CONF" backup --json >"$T/backup.out" 2>"$T/backup.err" &
	BACKUP=$!
	stack_owns $BACKUP
	wait_for 20 ours_online
}
end_backup() { wait $BACKUP; status=$?; }

# -- broken lines ------------------------------------------------------------------------------------------
$PY "$here/tests/lib/redis_wire.py" replica "$REDIS_PORT" "$T/replica" >"$T/replica.log" 2>&1 &
REPLICA=$!
stack_owns $REPLICA
wait_for 30 test -s "$T/replica/start" || { cat "$T/replica.log" >&2; exit 1; }
start_writer
start_backup
result "the snapshot is made, the cut is not" $?
forks=$(info_of stats sync_full)
killed=0
for i in 1 2 3 4 5
do
	# The judge's line must live: ours is the younger one.
	id=$(rcli client list type replica | sed -n 's/^id=\([0-9]*\) .*/\1/p' | sort -n | tail -n 1)
	[ -n "$id" ] && rcli client kill id "$id" >/dev/null && killed=$((killed + 1))
	sleep 0.$((RANDOM % 7 + 2))
	wait_for 10 ours_online
done
kill -0 $BACKUP
result "all that before the cut" $?
is "$killed" 5 "five times the connection is cut"
end_backup
is "$status" 0 "the backup is made all the same"
[ "$status" = 0 ] || diag "$(cat "$T/backup.err")"
is "$(grep -c "broke at offset" "$T/backup.err")" 5 "and says that it lost the line"
is "$(info_of stats sync_full)" "$forks" "without another full resync"
sleep 0.3
stop_writer
stack_kill $REPLICA
offset=$(json backup.cut.positions.redis.offset <"$T/backup.out")
$PY "$here/tests/lib/redis_wire.py" build "$T/replica" "$offset" "$T/theirs" || result "the judge has the offset" 1
ok "it is restored" mb restore latest --component "redis=$T/ours"
for who in theirs ours
do
	start_redis_on "$T/$who"
	$PY "$here/tests/lib/redis_wire.py" see "$RPORT" >"$T/$who.seen"
	stack_kill "$RPID"
done
diff "$T/theirs.seen" "$T/ours.seen" >"$T/difference"
result "it equals what another replica has at offset $offset ($(wc -l <"$T/ours.seen") lines)" $?
head -n 5 "$T/difference" | sed 's/^/# /' >&2

# -- where it cannot go on -----------------------------------------------------------------------------------
# The line dies together with more commands than the backlog holds.
rcli config set repl-backlog-size 16384 >/dev/null
start_backup
forks=$(info_of stats sync_full)
printf '%s\n' MULTI "CLIENT KILL TYPE replica" "EVAL \"for i = 1, 3000 do redis.call('set', 'x' .. i, string.rep('x', 100)) end\" 0" EXEC | rcli >/dev/null
sleep 1
end_backup
is "$status" 3 "a backlog that does not reach back: that Redis is not in the set"
like "$(cat "$T/backup.out" "$T/backup.err")" "does not reach back" "and the message says why"
like "$(cat "$T/backup.out" "$T/backup.err")" "repl-backlog-size" "and what to do"
is "$(info_of stats sync_full)" "$forks" "the server was not made to fork"
rcli config set repl-backlog-size 64mb >/dev/null
start_backup
rcli debug change-repl-id >/dev/null
rcli client kill type replica >/dev/null
sleep 1
end_backup
is "$status" 3 "a new history: that Redis is not in the set"
like "$(cat "$T/backup.out" "$T/backup.err")" "replication history" "and the message says why"
run mb backup
is "$status" 0 "the next backup is whole"
[ "$status" = 0 ] || diag "$err"
done_testing

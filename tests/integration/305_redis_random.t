#!/bin/bash
# A random application over all types and commands (redis_story.py) writes without a pause while marks are taken: so they
# lie anywhere in the stream, inside bursts and between transactions.  Each restore to a mark is compared with what a
# replica that is not ours (redis_wire.py) captured up to the same offset: DEBUG DIGEST, the absolute expiry of every key, the
# functions.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stories=${MBACKUP_STORIES:-2} marks=4
[ -n "${MBACKUP_LONG:-}" ] && stories=${MBACKUP_STORIES:-100} marks=20
PY=/usr/bin/python3

look_at() # directory
{
	start_redis_on "$1" || return
	$PY "$here/tests/lib/redis_wire.py" see "$RPORT" >"$1.seen"
	redis-cli -p "$RPORT" shutdown nosave >/dev/null 2>&1
	wait "$RPID"
}

compare() # name mark offset
{
	local ours=$T/ours theirs=$T/theirs
	LAST_KEYS=?
	rm -rf "$ours" "$theirs"
	$PY "$here/tests/lib/redis_wire.py" build "$T/replica" "$3" "$theirs" || return
	mb restore --to-mark "$2" --component "redis=$ours" --yes >"$T/restore.out" 2>&1 || { cat "$T/restore.out" >&2; return 1; }
	look_at "$theirs" && look_at "$ours" || return
	LAST_KEYS=$(($(wc -l <"$theirs.seen") - 1))
	diff "$theirs.seen" "$ours.seen" >"$T/difference" && return
	head -n 5 "$T/difference" >&2
	# For whoever looks into it: the two directories and what was read of them.
	if [ -n "${MBACKUP_KEEP:-}" ]
	then
		mkdir -p "$MBACKUP_KEEP/$2-$3"
		cp -r "$T/replica" "$theirs" "$ours" "$theirs.seen" "$ours.seen" "$T/restore.out" "$REPO" "$CONF" "$MBACKUP_KEEP/$2-$3/"
	fi
	return 1
}

total=0 different=0
for story in $(seq $stories)
do
	seed=$((${MBACKUP_SEED:-$RANDOM$RANDOM} + story))
	REPO=$T/repo$story
	rm -rf "$T/spool" "$T/replica" "$T/stop" "$T/redis"
	# Every third one evicts.
	extra="--repl-backlog-size 64mb"
	[ $((story % 3)) = 0 ] && extra="--repl-backlog-size 2mb --maxmemory 6mb --maxmemory-policy allkeys-random"
	[ $((story % 2)) = 0 ] && extra="$extra --repl-diskless-sync no"
	stack_redis $extra || exit 1
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
		printf '[redis]\nurl = redis://127.0.0.1:%s\nside = after\n' "$REDIS_PORT"
	} >"$CONF"
	mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
	$PY "$here/tests/lib/redis_wire.py" replica "$REDIS_PORT" "$T/replica" >"$T/replica.log" 2>&1 &
	replica=$!
	stack_owns $replica
	wait_for 30 test -s "$T/replica/start" || { cat "$T/replica.log" >&2; exit 1; }
	$PY "$here/tests/lib/redis_story.py" "$REDIS_PORT" "$seed" "$T/stop" >"$T/story.out" 2>&1 &
	writer=$!
	stack_owns $writer
	"$MBACKUP" --config "$CONF" stream >"$T/stream.log" 2>&1 &
	stream=$!
	stack_owns $stream
	sleep 0.5
	mb backup >"$T/backup.out" 2>&1 || { cat "$T/backup.out" "$T/stream.log" >&2; tail -n 30 "$T/redis.log" >&2; exit 1; }
	: >"$T/offsets"
	for i in $(seq $marks)
	do
		# A second backup in the middle: later marks start from it.
		[ "$i" = $((marks / 2 + 1)) ] && mb backup >/dev/null 2>&1
		sleep 0.$((RANDOM % 4))
		mb mark "m$i" --json 2>"$T/mark.err" | json mark.cut.positions.redis.offset >>"$T/offsets" || { cat "$T/mark.err" >&2; echo 0 >>"$T/offsets"; }
	done
	sleep 0.3
	touch "$T/stop"
	wait $writer
	code=$?
	stack_kill $stream TERM
	wait $stream 2>/dev/null
	kill $replica
	wait $replica 2>/dev/null
	rcli shutdown nosave >/dev/null 2>&1
	wait "$REDIS_PID"
	[ "$code" = 0 ] || { cat "$T/story.out" >&2; result "story $story (seed $seed) ran to its end" 1; continue; }
	wrong=0 i=0 keys=""
	while read -r offset
	do
		i=$((i + 1))
		total=$((total + 1))
		compare "story $story" "m$i" "$offset" || { wrong=$((wrong + 1)); diag "mark $i, offset $offset"; }
		keys="$keys $LAST_KEYS"
	done <"$T/offsets"
	different=$((different + wrong))
	result "story $story (seed $seed, $(awk '{ n += $1 } END { print n }' "$T/story.out") commands): $i marks with$keys keys are the same" "$wrong"
	rm -rf "$REPO"
done
is "$different" 0 "$total restores to random positions, none different"
done_testing

#!/bin/bash
# Proves that the stream of Redis has no silent gap, whatever happens to us or to the server at a random moment under writes: we are killed or stopped,
# the repository is full, the server is killed with and without its data, kicks us out, or its replica is promoted (and the old master goes on for a
# moment).  What `mbackup list` calls a gap is one, and only that; a restore inside the window equals a replica that is not ours, one into a gap stops before it.
# MBACKUP_LONG=1: 100 events.

. "$(dirname "$0")/../lib/small_disk.sh" 300m
. "$(dirname "$0")/../lib/stack.sh"
small_disk_stage
stack_begin
events=9 each=${MBACKUP_EACH:-3}
[ -n "${MBACKUP_LONG:-}" ] && events=100 each=2
events=${MBACKUP_EVENTS:-$events}
PY=/usr/bin/python3
WIRE=$here/tests/lib/redis_wire.py
COUNT=$here/tests/lib/redis_count.py
SEED=${MBACKUP_SEED:-$$}
RANDOM=$SEED
diag "seed $SEED"
[ -n "${MB_TMPFS:-}" ] && REPO=$MB_TMPFS/repo

# -- two servers, of which one is the master ---------------------------------------------------------------------

# Whoever is the master is found at $T/redis.sock.
declare -A PORT PID
start_server() # name [option...]
{
	local name=$1
	shift
	mkdir -p "$T/$name"
	[ -n "${PORT[$name]:-}" ] || PORT[$name]=$(free_port)
	redis-server --port "${PORT[$name]}" --bind 127.0.0.1 --unixsocket "$T/$name.sock" --dir "$T/$name" --save '' --appendonly yes \
		--appendfsync always --enable-debug-command local --repl-diskless-sync-delay 0 --repl-backlog-size 32mb --daemonize no "$@" >>"$T/$name.log" 2>&1 &
	PID[$name]=$!
	stack_owns $!
	wait_for 20 pong "$name"
}
to() { local name=$1; shift; redis-cli -p "${PORT[$name]}" "$@"; }
pong() { [ "$(to "$1" ping)" = PONG ]; }
rcli() { to "$MASTER" "$@"; }
other() { [ "$MASTER" = one ] && echo two || echo one; }
in_step() { to "$(other)" info replication | grep -q master_link_status:up; }
name_master() # name
{
	MASTER=$1
	ln -s "$T/$1.sock" "$T/new.sock"
	mv -T "$T/new.sock" "$T/redis.sock"
}
# At once, and forgotten: there are hundreds of them.
end() # pid [signal]
{
	kill "-${2:-KILL}" "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	stack_forgets "$1"
}
kill_server() { end "${PID[$1]}"; }
follow_master() { rm -rf "${T:?}/$(other)"; start_server "$(other)" --replicaof "127.0.0.1 ${PORT[$MASTER]}"; }

ours_online() { kill -0 "$STREAM" && rcli info replication | grep -q 'port=0,state=online'; }
start_redis_stream()
{
	"$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 &
	STREAM=$!
	stack_owns $STREAM
}
kill_stream() { end "$STREAM"; }

# The replica that is not ours: one for each life of a server.
lives=0
start_capture()
{
	[ -z "${CAPTURE:-}" ] || { end "$CAPTURE" TERM; rm -rf "$T/capture"; }
	$PY "$WIRE" replica "${PORT[$MASTER]}" "$T/capture" >"$T/capture.log" 2>&1 &
	CAPTURE=$!
	stack_owns $CAPTURE
	wait_for 30 test -s "$T/capture/start"
	compare_from=$(date +%s.%N)
	lives=$((lives + 1))
}

# -- what can happen ------------------------------------------------------------------------------------------------

# Each says what is to be expected of the stream: whole, or gap.
we_are_killed() { kill_stream; pause; start_redis_stream; expect=whole; }
we_are_stopped() { kill -STOP $STREAM; sleep 2; kill -CONT $STREAM; expect=whole; }
repository_is_full()
{
	expect=whole
	[ -n "${MB_TMPFS:-}" ] || { we_are_stopped; return; }
	dd if=/dev/zero of="$MB_TMPFS/filler" bs=64k >/dev/null 2>&1
	sleep 2
	rm "$MB_TMPFS/filler"
	grep -q "No space" "$T/stream.log" || problem "a full repository was not noticed"
}
line_is_cut() { rcli client kill type replica >/dev/null; expect=whole; }
server_is_killed() { kill_server "$MASTER"; pause; start_server "$MASTER"; expect=gap; }
server_loses_all() { kill_server "$MASTER"; rm -rf "${T:?}/$MASTER"; start_server "$MASTER"; expect=gap; }
we_are_kicked_out()
{
	rcli config set repl-backlog-size 1mb client-output-buffer-limit "replica 1mb 1mb 1" >/dev/null
	rcli eval "for i = 1, 4000 do redis.call('set', 'big', string.rep('x', 1000)) end" 0 >/dev/null
	expect=gap
}
replica_is_promoted()
{
	wait_for 30 in_step || problem "the replica does not follow"
	kill_server "$MASTER"
	to "$(other)" replicaof no one >/dev/null
	name_master "$(other)"
	expect=whole
}
# Both are masters for a moment: what the old one takes is lost, and must be in no later restore.
masters_are_two()
{
	wait_for 30 in_step || problem "the replica does not follow"
	to "$(other)" replicaof no one >/dev/null
	sleep 0.4
	kill_server "$MASTER"
	name_master "$(other)"
	expect=whole
}
happenings=(we_are_killed replica_is_promoted we_are_kicked_out repository_is_full masters_are_two server_is_killed line_is_cut server_loses_all we_are_stopped)
[ -z "${MBACKUP_HAPPENINGS:-}" ] || happenings=($MBACKUP_HAPPENINGS)
pause() { sleep 0.$((RANDOM % 10)); }

# -- judging -----------------------------------------------------------------------------------------------------------

problem() { bad=$((bad + 1)); diag "event $event, $what: $*"; }

# Gaps of the window, as "<from> <to>" in seconds.
gaps()
{
	mb list --json | $PY -c "
import datetime, json, sys
for gap in [w for w in json.load(sys.stdin)['windows'] if w['component'] == 'redis'][0]['gaps'] or []:
    print(*['%.6f' % datetime.datetime.fromisoformat(t.replace('Z', '+00:00')).timestamp() for t in gap])"
}
seen() # directory: what a stock server makes of it, and that nothing is missing in the middle
{
	start_redis_on "$1" || return
	$PY "$WIRE" see "$RPORT" 1 >"$1.seen" && $PY "$COUNT" look "$RPORT" >"$1.number"
	local code=$?
	end "$RPID"
	return $code
}
restore() # option...: into $T/ours; $offset, $reached
{
	rm -rf "$T/ours" "$T/ours.seen"
	# What was reached, not what a --dry-run says: the stream goes on in between.
	mb restore "$@" --component "redis=$T/ours" --yes --json >"$T/restore.out" 2>"$T/restore.err" || return
	offset=$(json restore.components.0.reached.offset <"$T/restore.out")
	reached=$($PY -c "import datetime, sys; print('%.6f' % datetime.datetime.fromisoformat(sys.argv[1].replace('Z', '+00:00')).timestamp())" "$(json restore.components.0.reached.time <"$T/restore.out")")
}
differs() # option...
{
	problem "restore $*: differs at offset $offset: $(cat "$T/theirs.number") expected, $(cat "$T/ours.number") restored: $(cat "$T/restore.out" "$T/capture/start")"
	[ -z "${MBACKUP_KEEP:-}" ] || cp -r "$REPO" "$T/capture" "$T/ours" "$T/theirs" "$T"/*.log "$T"/*.seen "$T/restore.out" "$MBACKUP_KEEP/"
}
# To a mark or a time: the same as the replica that is not ours has at that offset.
same_as_capture() # option...
{
	restore "$@" || { problem "restore $* failed: $(cat "$T/restore.err")"; return; }
	seen "$T/ours" || { problem "restore $*: it has a hole"; return; }
	read -r replid start <"$T/capture/start"
	[ "$offset" -ge "$start" ] || { early=$((early + 1)); return; }
	# At the very offset at which a history begins, both names are right.
	[ "$(json restore.components.0.reached.replid <"$T/restore.out")" = "$replid" ] || [ "$offset" = "$start" ] || problem "restore $*: says another history than $replid: $(cat "$T/restore.out")"
	rm -rf "$T/theirs"
	$PY "$WIRE" build "$T/capture" "$offset" "$T/theirs" 2>"$T/build.err" && seen "$T/theirs" || { problem "restore $*: the judge has no offset $offset: $(cat "$T/build.err")"; return; }
	diff "$T/theirs.seen" "$T/ours.seen" >"$T/difference" || differs "$@"
	compared=$((compared + 1))
}
# Into a gap: it stops before, with a hole-free state.
stops_before() # time limit
{
	restore --to-time "$(date -u -d "@$1" +%Y-%m-%dT%H:%M:%S.%6NZ)" || { problem "restore into the gap failed: $(cat "$T/restore.err")"; return; }
	seen "$T/ours" || problem "a restore into the gap has a hole"
	[ "$($PY -c "print(int($reached <= $2 + 0.000001))")" = 1 ] || problem "a restore into the gap reached $reached, behind the gap's begin $2"
	into_gaps=$((into_gaps + 1))
}

# -- the story ------------------------------------------------------------------------------------------------------------

mkdir -p "$T/spool"
printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n[redis]\nurl = unix://%s/redis.sock\n' "$T" "$REPO" "$T" >"$CONF"
chmod 600 "$CONF"
bad=0 event=0 what=start compared=0 into_gaps=0 early=0 expected_gaps=0 marks=0
start_server one
name_master one
follow_master
ok "init" mb init
$PY "$COUNT" write "$T/redis.sock" "$T/stop" >"$T/count.log" 2>&1 &
WRITER=$!
stack_owns $WRITER
start_capture
start_redis_stream
ok "the stream is at the master" wait_for 20 ours_online
ok "a backup" mb backup
begun=$(date +%s)

for event in $(seq "$events")
do
	# Each once, then by lot.
	what=${happenings[$((event <= ${#happenings[@]} ? event - 1 : RANDOM % ${#happenings[@]}))]}
	sleep 1.$((RANDOM % 10))
	resumes=$(grep -c "the stream goes on at\|are lost to the stream\|the stream starts at" "$T/stream.log")
	at=$(date +%s.%N)
	$what
	case $what in
	server_* | we_are_kicked_out | replica_* | masters_*)
		start_capture || problem "the judge's replica does not start"
		rcli config set repl-backlog-size 32mb client-output-buffer-limit "replica 256mb 64mb 60" >/dev/null
		;;
	line_is_cut) start_capture || problem "the judge's replica does not start" ;;
	esac
	case $what in
	we_are_stopped | repository_is_full) ;;
	*) wait_for 60 eval '[ "$(grep -c "the stream goes on at\|are lost to the stream\|the stream starts at" "$T/stream.log")" -gt '"$resumes"' ]' || problem "the stream did not come back" ;;
	esac
	wait_for 20 ours_online || problem "the stream is not at the master"
	case $what in replica_* | masters_*) follow_master ;; esac
	pause
	run mb mark "m$event"
	marks=$((marks + 1))
	if [ "$expect" = whole ]
	then
		[ "$status" = 0 ] || problem "a mark is not held ($status): $err"
	else
		[ "$status" = 3 ] && grep -q "has a gap" <<<"$err" || problem "a mark behind a gap: status $status, $err"
		mb backup >"$T/backup.out" 2>&1 || problem "backup: $(cat "$T/backup.out")"
		expected_gaps=$((expected_gaps + 1))
		run mb mark "b$event"
		[ "$status" = 0 ] || problem "a mark behind the new backup ($status): $err"
	fi
	gaps >"$T/gaps"
	[ "$(wc -l <"$T/gaps")" = $expected_gaps ] || { problem "the window has $(wc -l <"$T/gaps") gaps, not $expected_gaps"; expected_gaps=$(wc -l <"$T/gaps"); }
	if [ "$expect" = gap ]
	then
		read -r from to <<<"$(tail -n 1 "$T/gaps")"
		compare_from=$to
		# It begins no more than a step of the index (and a slow moment) before the event, and ends behind it.
		[ "$($PY -c "print(int($at - 4 < $from < $at + 2 and $from < $to and $to > $at))")" = 1 ] || problem "the event was at $at, the gap is from $from to $to"
	fi
	[ $((event % each)) = 0 ] || continue
	if [ "$expect" = gap ]
	then
		stops_before "$($PY -c "print($from + ($to - $from) * 0.$((RANDOM % 9 + 1)))")" "$from"
		same_as_capture --to-mark "b$event"
	else
		same_as_capture --to-mark "m$event"
	fi
	# A random moment of this life, of what the window has of it.
	now=$(date +%s.%N)
	same_as_capture --to-time "$(date -u -d "@$($PY -c "print($compare_from + ($now - $compare_from) * 0.$((RANDOM % 9 + 1)))")" +%Y-%m-%dT%H:%M:%S.%6NZ)"
done

# -- a mark between a promotion and the stream's return ---------------------------------------------------------------------

what="a mark before the stream" event=last
wait_for 30 in_step
kill_stream
replica_is_promoted
start_capture
mb mark early --json >"$T/early.out" 2>"$T/early.err" &
MARK=$!
sleep 8
kill -0 $MARK
result "a mark of the promoted server waits for a stream that has not found it yet" $?
start_redis_stream
wait $MARK
is $? 0 "and is held when it has"
cat "$T/early.err" | sed 's/^/# /' >&2
touch "$T/stop"
wait $WRITER
diag "$(cat "$T/count.log"); $events events in $(($(date +%s) - begun)) s, $expected_gaps gaps, $compared restores compared ($early to before the judge's replica), $into_gaps into gaps"
is "$bad" 0 "$events events, $expected_gaps of them gaps: all of them are shown, and nothing else is"
[ "$compared" -gt 0 ]
result "$compared restores equal a replica that is not ours" $?
grep -q "BUG\|assert" "$T/stream.log"
is $? 1 "and the stream never stumbled"
ok "verify reads everything" mb verify --read-data full
done_testing

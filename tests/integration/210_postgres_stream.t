#!/bin/bash
# With a running stream every moment comes back: each kind of target is restored and judged by
# what the source said at that moment; a stream killed with -9 loses nothing it acknowledged.
# Timelines are followed, a second stream is refused, and a gap is told, not crossed.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
# MBACKUP_SEGSIZE=1 or 64: the same story with other WAL segments (a unit is at most 16 MiB).
stack_postgres --wal-segsize="${MBACKUP_SEGSIZE:-16}"
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

start_stream() { "$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 & STREAM=$!; stack_owns "$STREAM"; wait_for 20 stream_runs; }
stream_runs() { [ "$(sql "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" -ge 1 ]; }
# The state of the table in one line; the same command judges the source and every copy.
state() { psql -X -q -A -t "$@" -c "SELECT count(*), coalesce(sum(id), 0), md5(coalesce(string_agg(id || note, ',' ORDER BY id), '')) FROM event"; }
add() { sql "INSERT INTO event (note) SELECT 'row ' || g FROM generate_series(1, $1) g"; }
N=0
# restore_and_judge name expected-state option...
restore_and_judge()
{
	local name=$1 expected=$2
	shift 2
	N=$((N + 1))
	run mb restore --component "postgres=$T/r$N" --yes "$@"
	is "$status" 0 "$name: restore"
	[ "$status" = 0 ] || { diag "$err"; return; }
	ok "$name: pg_verifybackup" pg_verifybackup -n "$T/r$N"
	printf 'port = %s\nfsync = off\n' "$(free_port)" >>"$T/r$N/postgresql.conf"
	ok "$name: starts" start_cluster "$T/r$N"
	# Without a port psql would ask the source, which has the right rows.
	port=$(sed -n 4p "$T/r$N/postmaster.pid" 2>/dev/null)
	port=${port:-1}
	ok "$name: promotes" wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
	is "$(state -p "$port")" "$expected" "$name: the rows of that moment"
	stop_cluster "$T/r$N" immediate
}

sql "CREATE TABLE event (id bigserial PRIMARY KEY, note text, at timestamptz DEFAULT clock_timestamp())"
start_stream
is "$?" 0 "the stream starts"
run mb stream
is "$status" 4 "a second stream on the same slot is a conflict"
add 1000
run mb backup
is "$status" 0 "backup with a stream"
at_backup=$(state)
is "$(grep -c 'receiving WAL' <<<"$err")" 0 "the backup relies on the stream"

add 500; at_mark=$(state)
run mb mark first
is "$status" 0 "mark"
add 300; at_name=$(state)
sql "SELECT pg_create_restore_point('mine')" >/dev/null
sql "BEGIN; INSERT INTO event (note) VALUES ('after'); COMMIT"
sleep 0.2; time_wanted=$(sql "SELECT clock_timestamp()"); at_time=$(state); sleep 0.2
add 200; at_lsn=$(state)
lsn=$(sql "SELECT pg_current_wal_lsn()")
xid=$(sql "INSERT INTO event (note) VALUES ('the xid') RETURNING pg_current_xact_id()" | head -1); at_xid=$(state)
add 50
sql "SELECT pg_switch_wal()" >/dev/null
add 100

# kill -9 under load: what a synchronous commit acknowledged must be there.
sql "CHECKPOINT"
stack_kill "$STREAM" KILL
add 77
start_stream
is "$?" 0 "the stream starts again after kill -9"
like "$(cat "$T/stream.log")" "comparing with branch" "it continues its branch"
add 23
at_latest=$(state)
run mb mark last
is "$status" 0 "a mark after the restart is durable"
is "$(ls "$T/repo/streams/postgres/wal/"*/00000001 | wc -l)" 1 "one branch"
is "$(find "$T/repo/streams/postgres/gaps" -type f 2>/dev/null | wc -l)" 0 "no gap"

restore_and_judge backup "$at_backup" --to-backup
restore_and_judge mark "$at_mark" --to-mark first
restore_and_judge name "$at_name" --to-name mine
restore_and_judge time "$at_time" --to-time "$time_wanted"
restore_and_judge lsn "$at_lsn" --to-lsn "$lsn"
restore_and_judge xid "$at_xid" --to-xid "$xid"
restore_and_judge last "$at_latest" --to-mark last
restore_and_judge latest "$at_latest" --to-latest
run mb restore --component "postgres=$T/no" --yes --to-time "2001-01-01 00:00:00Z"
is "$status" 10 "a time before the first backup is not found"
like "$err" "before the first backup" "... and says so"
run mb restore --component "postgres=$T/no" --yes --to-time "2099-01-01 00:00:00Z"
is "$status" 10 "a time after the last WAL is not found"
like "$err" "after the last WAL \(window .* \.\. .*\)" "... and gives the window"
run mb restore --component "postgres=$T/no" --yes --to-name nobody
is "$status" 10 "an unknown restore point is not found"
like "$err" "mine|mbackup_" "... and the known ones are named"
run mb restore --component "postgres=$T/no" --yes --to-lsn F/0
is "$status" 10 "an LSN past the end is not found"
ok "nothing was made" test ! -e "$T/no"
run mb restore --component "postgres=$T/r1" --yes --to-backup
is "$status" 4 "a directory that is not empty is a conflict"

# -- timelines: the restored cluster takes the original's place, twice ---------------------------
take_place() # restored directory
{
	stop_cluster "$PGDATA"
	rm -rf "$PGDATA.old"; mv "$PGDATA" "$PGDATA.old"; mv "$1" "$PGDATA"
	printf 'port = %s\n' "$PGPORT" >>"$PGDATA/postgresql.conf"
	mb adopt "$PGDATA" >/dev/null 2>&1 || return 1
	start_cluster "$PGDATA" && wait_for 30 sql 'CREATE TEMP TABLE t ()'
}
run mb restore --component "postgres=$T/second" --yes --to-mark first
is "$status" 0 "restore to a mark, to go on from there"
ok "it takes the original's place" take_place "$T/second"
is "$(sql "SELECT timeline_id FROM pg_control_checkpoint()")" 2 "on timeline 2"
ok "the stream comes back" wait_for 40 stream_runs
add 11; at_two=$(state)
run mb mark on-two
is "$status" 0 "mark on timeline 2"
[ "$status" = 0 ] || { diag "$err"; tail -5 "$T/stream.log" | sed 's/^/# /' >&2; }
restore_and_judge timeline-2 "$at_two" --to-mark on-two
restore_and_judge newest-timeline "$at_two" --to-latest
restore_and_judge timeline-1 "$at_latest" --to-latest --timeline 1
run mb restore --component "postgres=$T/again" --yes --to-mark first --timeline 1
is "$status" 0 "restore again to the same mark"
# Make it choose timeline 2 once more: it must not see that there is one.
python3 - "$T/again/mbackup_restore.json" <<'PY'
import json, sys
plan = json.load(open(sys.argv[1])); plan["histories"] = {}; json.dump(plan, open(sys.argv[1], "w"))
PY
ok "it takes the place too" take_place "$T/again"
is "$(sql "SELECT timeline_id FROM pg_control_checkpoint()")" 2 "on another timeline 2"
ok "the stream comes back once more" wait_for 40 stream_runs
add 5; at_other_two=$(state)
run mb mark on-other-two
is "$status" 0 "mark on the other timeline 2"
[ "$status" = 0 ] || { diag "$err"; tail -5 "$T/stream.log" | sed 's/^/# /' >&2; }
is "$(ls "$T/repo/streams/postgres/wal/"*/00000002 | wc -l)" 2 "two branches of timeline 2"
restore_and_judge other-timeline-2 "$at_other_two" --to-mark on-other-two
restore_and_judge first-timeline-2 "$at_two" --to-mark on-two

# The stream may meet the restored server before it is promoted, and comes along another way.
run mb restore --component "postgres=$T/paused" --yes --to-mark first --timeline 1 --target-action pause
is "$status" 0 "restore to the mark, paused"
stop_cluster "$PGDATA"; rm -rf "$PGDATA.old"; mv "$PGDATA" "$PGDATA.old"; mv "$T/paused" "$PGDATA"
printf 'port = %s\n' "$PGPORT" >>"$PGDATA/postgresql.conf"
mb adopt "$PGDATA" >/dev/null 2>&1
ok "it starts" start_cluster "$PGDATA"
ok "the stream meets it in recovery" wait_for 40 stream_runs
is "$(sql "SELECT pg_is_in_recovery()")" t "... indeed"
sleep 2
sql "SELECT pg_wal_replay_resume()" >/dev/null
ok "it is promoted" wait_for 30 sql 'CREATE TEMP TABLE t ()'
is "$(sql "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")" 00000003 "to a timeline that nobody has used"
add 7; at_three=$(state)
run mb mark on-three
is "$status" 0 "mark on timeline 3"
[ "$status" = 0 ] || { diag "$err"; tail -5 "$T/stream.log" | sed 's/^/# /' >&2; }
restore_and_judge timeline-3 "$at_three" --to-mark on-three
restore_and_judge newest-of-all "$at_three" --to-latest

# -- a gap ------------------------------------------------------------------------------------------
run mb backup
is "$status" 0 "backup on timeline 3"
stack_kill "$STREAM"
add 3
sql "SELECT pg_drop_replication_slot('mbackup')" >/dev/null
for _ in 1 2 3; do add 10; sql "SELECT pg_switch_wal()" >/dev/null; done
sql "CHECKPOINT"; sql "CHECKPOINT"
start_stream
is "$?" 0 "the stream starts without its WAL"
add 4
run mb mark behind-the-gap
is "$status" 0 "a mark behind the gap"
run mb restore --component "postgres=$T/no" --yes --to-mark behind-the-gap
if [ "$(find "$T/repo/streams/postgres/gaps" -type f 2>/dev/null | wc -l)" -ge 1 ]
then
	is "$status" 6 "no base leads over the gap: refused"
	like "$err" "WAL is missing from .* to .* on timeline 3" "... with the hole"
else
	is "$status" 0 "the server still had the WAL"
	like "" "" "no gap"
fi
run mb backup
is "$status" 0 "a new backup heals it"
at_end=$(state)
restore_and_judge healed "$at_end" --to-backup
stack_kill "$STREAM"
is "$(sql "SELECT active FROM pg_replication_slots WHERE slot_name = 'mbackup'")" f "the slot stays"
done_testing

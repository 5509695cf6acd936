#!/bin/bash
# Proves that a problem which mbackup check finds twice under one name, here two gaps in the WAL, is one problem in the
# catalog and does not keep the daemon from it.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/daemon.sh"
daemon_stack
start_daemon
wait_for 20 served
is "$(run_job backup)" "done" "a backup" || tail "$T/daemon.log" >&2
wait_for 30 streaming
kill -TERM $DAEMON
wait $DAEMON
sql "ALTER SYSTEM SET max_wal_size = '32MB'"
sql "ALTER SYSTEM SET min_wal_size = '32MB'"
sql "SELECT pg_reload_conf()" >/dev/null
found() { mb check --json 2>/dev/null | python3 -c 'import json, sys; print(sum(c["name"] == "gap" and c["status"] == "warning" for c in json.load(sys.stdin)["checks"]))'; }
gaps() { [ "$(found)" = "$1" ]; }
for i in 1 2
do
	sql "SELECT pg_drop_replication_slot('mbackup')" >/dev/null
	for _ in 1 2 3 4 5 6
	do
		sql "SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 'x', 'x')" >/dev/null
		sql "CHECKPOINT"
	done
	start_stream
	wait_for 20 gaps $i
	is $? 0 "$i gaps" || mb check >&2
	stack_kill "$STREAM"
done
start_daemon
wait_for 20 served
listed() { [ "$(sql "SELECT count(*) FROM mbackup.problem_table WHERE component = 'postgres' AND name = 'gap'")" = 1 ]; }
wait_for 50 listed
is $? 0 "the two are one problem in the catalog" || { tail -n 5 "$T/daemon.log" >&2; sql "SELECT * FROM mbackup.problem_table" >&2; }
is "$(sql "SELECT array_length(regexp_split_to_array(message, 'WAL from'), 1) - 1 FROM mbackup.problem_table WHERE name = 'gap'")" 2 "... that tells of both"
sleep 6
is "$(status '["database"]["state"]')" "up" "... and the catalog is served"
is "$(grep -c 'affect row a second time' "$T/daemon.log")" 0 "... without a complaint"
done_testing

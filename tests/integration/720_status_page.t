#!/bin/bash
# Proves that the status page shows what SQL and the command line say, in a real browser over real backups: whatever is in
# the names, light and dark, on a phone and on a desk, by keyboard alone; and that it says when it knows nothing new.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/daemon.sh"
PYTHON=/usr/bin/python3
command -v chromium >/dev/null || skip_all "no chromium: tools/install-deps"
daemon_stack 'backup-age = 1s'
mkdir -p "$T/pictures"
export DAEMON MB="$MBACKUP --config $CONF"
look() # stage
{
	local wrong what
	while read -r wrong what
	do
		result "$what" "$wrong"
	done < <(timeout -k 5 240 $PYTHON "$here/tests/lib/status_page.py" "$1" "http://127.0.0.1:$PORT/" "$T/pictures" 2>"$T/look.err"; echo "$? the look at \"$1\" came to its end")
	[ ! -s "$T/look.err" ] || cat "$T/look.err" >&2
}

start_daemon
wait_for 20 served
look empty

# Everything there is, under names that want to be something else.
hostile='</script><img src=x onerror=window.hacked=1><b>'
run_job backup "{\"type\": \"full\", \"labels\": {\"release\": \"$hostile\"}}" >/dev/null
wait_for 30 streaming
run_job mark '{"name": "before-release"}' >/dev/null
run_job mark "{\"name\": \"$hostile\"}" >/dev/null
run_job mark '{"name": "a-name-that-is-so-long-that-it-has-no-place-anywhere-and-has-no-blank-in-it-where-it-could-be-broken"}' >/dev/null
run_job backup "{\"components\": [\"$hostile\"]}" >/dev/null
run_job verify >/dev/null
sql "INSERT INTO mbackup.schedule_table (name, policy, cron, time_zone, owner, enabled, jitter, missed) VALUES ('nightly', 'default', '0 3 1 1 *', 'Europe/Berlin', 'mbtest', true, '0', 2)"
# A gap: WAL that is gone before the stream saw it.
kill -TERM $DAEMON
wait $DAEMON
sql "SELECT pg_drop_replication_slot('mbackup')" >/dev/null
sql "ALTER SYSTEM SET max_wal_size = '32MB'"
sql "ALTER SYSTEM SET min_wal_size = '32MB'"
sql "SELECT pg_reload_conf()" >/dev/null
for _ in 1 2 3 4 5 6
do
	sql "SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 'x', 'x')" >/dev/null
	sql "CHECKPOINT"
done
sleep 1
start_daemon
wait_for 30 served
wait_for 30 streaming
run_job backup '{"type": "full"}' >/dev/null
run_job backup >/dev/null
gap() { [ "$(sql "SELECT jsonb_array_length(gaps) FROM mbackup.window_table WHERE component = 'stack'")" = 1 ]; }
wait_for 20 gap
is $? 0 "there is a gap" || { sql "SELECT * FROM mbackup.window_table" >&2; tail -n 5 "$T/daemon.log" >&2; }
wait_for 20 [ "$(sql "SELECT count(*) FROM mbackup.problem_table")" -gt 0 ]
look full

head -c 400000000 /dev/urandom >"$T/etc/big"
look progress
look silent
[ -z "${STATUS_PICTURES:-}" ] || cp "$T/pictures"/*.png "$STATUS_PICTURES/"
done_testing

#!/bin/bash
# A restore to an earlier moment of the very database that holds the catalog: afterwards no old job runs, not even one that
# was waiting, the catalog shows all backups again, and a copy is not served before it is adopted.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/daemon.sh"
extension_server || exit 1
stack_postgres
REPO=$T/repo
mkdir -p "$T/spool"
chmod 700 "$T/spool"
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
	printf '[daemon]\nsync-interval = 2s\n'
	printf '[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres\n' "$PGHOST" "$PGPORT"
} >"$CONF"
chmod 600 "$CONF"
mb init >"$T/init.out" 2>&1 || { cat "$T/init.out" >&2; exit 1; }
sql "CREATE EXTENSION mbackup" >/dev/null

start_daemon
wait_for 20 served
first=$(sql "SELECT mbackup_start(type => 'full')" 2>/dev/null)
wait_for 60 has_ended "$first"
is "$(state "$first")" "done" "a first backup"
wait_for 20 eval '[ "$(sql "SELECT count(*) FROM mbackup.backup_table")" = 1 ]'
sql "SELECT mbackup_schedule('yearly', 'default', '0 0 1 1 *')" >/dev/null
# Two jobs that wait at the moment to which we shall go back: the daemon does not run.
kill -TERM $DAEMON
wait $DAEMON
"$MBACKUP" --config "$CONF" stream >"$T/stream.log" 2>&1 &
STREAM=$!
stack_owns $STREAM
waiting=$(sql "SELECT mbackup_start(type => 'full')" 2>/dev/null)
also=$(sql "SELECT mbackup_verify()" 2>/dev/null)
wait_for 30 mb mark before
is $? 0 "a mark while two jobs wait"
stack_kill $STREAM
# Then they run, and another backup.
start_daemon
wait_for 60 has_ended "$also"
is "$(state "$waiting") $(state "$also")" "done done" "the jobs that waited are done"
last=$(sql "SELECT mbackup_start()" 2>/dev/null)
wait_for 60 has_ended "$last"
backups=$(mb list --json 2>/dev/null | json backups | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')
is "$backups" 3 "three backups"
kill -TERM $DAEMON
wait $DAEMON

# A copy beside it: not served before it is adopted.
mb restore --to-mark before --component "postgres=$T/copy" --port "$(free_port)" >"$T/restore.out" 2>&1
is $? 0 "restore to the mark, beside the original" || cat "$T/restore.out" >&2
stop_cluster "$PGDATA"
start_cluster "$T/copy"
PGPORT=$(sed -n 4p "$T/copy/postmaster.pid")
sed -i "s#^conninfo = .*#conninfo = host=$PGHOST port=$PGPORT user=mbtest dbname=postgres#" "$CONF"
wait_for 60 eval '[ "$(sql "SELECT pg_is_in_recovery()" 2>/dev/null)" = f ]'
is "$(state "$waiting") $(sql "SELECT count(*) FROM mbackup.backup_table")" "queued 1" "the catalog is of that moment: the job waits, and one backup is known"
start_daemon
wait_for 30 says 'restored.*adopt\|adopt'
is $? 0 "the daemon does not serve a copy that is not adopted, and says so" || tail -n 5 "$T/daemon.log" >&2
sleep 3
is "$(state "$waiting")" "queued" "... and runs nothing"
mb adopt >"$T/adopt.out" 2>&1
is $? 0 "adopt" || cat "$T/adopt.out" >&2
wait_for 30 served
is $? 0 "then it is served" || tail -n 5 "$T/daemon.log" >&2
wait_for 30 has_ended "$also"
is "$(state "$waiting") $(state "$also")" "abandoned abandoned" "what waited in the other past is abandoned, and not run"
synced() { [ "$(sql "SELECT count(*) FROM mbackup.backup_table")" = 3 ]; }
wait_for 30 synced
is $? 0 "the catalog shows all three backups again"
is "$(sql "SELECT count(*) FROM mbackup.schedule_table WHERE name = 'yearly'")" 1 "the schedule is there"
job=$(sql "SELECT mbackup_start(type => 'full')" 2>/dev/null)
wait_for 60 has_ended "$job"
is "$(state "$job")" "done" "a new job runs on the new timeline" || { sql "SELECT error FROM mbackup.job_table WHERE id = $job" >&2; tail -n 10 "$T/daemon.log" >&2; }
wait_for 30 eval '[ "$(sql "SELECT count(*) FROM mbackup.backup_table")" = 4 ]'
kill -TERM $DAEMON
wait $DAEMON

# By hand, without a daemon.
sql "DELETE FROM mbackup.backup_table" >/dev/null
mb catalog sync >"$T/sync.out" 2>&1
is "$? $(sql "SELECT count(*) FROM mbackup.backup_table")" "0 4" "mbackup catalog sync makes the projection anew" || cat "$T/sync.out" >&2
like "$(cat "$T/sync.out")" "4 backups and 1 marks" "... and says what there is"
mb catalog >"$T/out" 2>&1
is $? 2 "mbackup catalog without a word"
sql "DROP EXTENSION mbackup" >/dev/null
mb catalog sync >"$T/out" 2>&1
is "$([ $? != 0 ] && echo refused)" refused "catalog sync without the extension"
like "$(cat "$T/out")" "CREATE EXTENSION mbackup" "... says what to do"
done_testing

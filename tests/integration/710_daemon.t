#!/bin/bash
# Proves that the daemon serves the catalog: jobs asked for in SQL run, can be watched and cancelled, and end in a state
# that is true, whatever is killed meanwhile: the daemon, its job, the database.  Schedules make jobs, streams are kept
# running, a broken configuration changes nothing.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/daemon.sh"
extension_server || exit 1
stack_postgres
REPO=$T/repo
mkdir -p "$T/etc" "$T/spool"
chmod 700 "$T/spool"
echo one >"$T/etc/app.conf"
write_config() # [line of [daemon]...]
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
		printf '[daemon]\nsync-interval = 2s\ncheck-interval = 1h\n'
		printf '%s\n' "$@"
		printf '[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres\n' "$PGHOST" "$PGPORT"
		printf '[files:config]\npaths = %s/etc\nscan-interval = 1s\n' "$T"
	} >"$CONF"
	chmod 600 "$CONF"
}
write_config
mb init >"$T/init.out" 2>&1 || { cat "$T/init.out" >&2; exit 1; }

DAEMON=""
backups_of() { mb list --json 2>/dev/null | python3 -c '
import json, sys
print(sum(b["labels"].get("job") == sys.argv[1] for b in json.load(sys.stdin)["backups"]))' "$(sql "SELECT key FROM mbackup.job_table WHERE id = $1")"; }

# Before the extension is there.
start_daemon
wait_for 20 says 'has no extension mbackup'
is $? 0 "without the extension the daemon says what to do" || tail -n 5 "$T/daemon.log" >&2
sql "CREATE EXTENSION mbackup" >/dev/null
wait_for 20 served
is $? 0 "... and serves the catalog as soon as it is there" || tail -n 5 "$T/daemon.log" >&2
"$MBACKUP" --config "$CONF" daemon >"$T/second.out" 2>&1
is $? 4 "a second daemon on the same spool is refused"

# A job.
job=$(new_job backup '{"type": "full", "labels": {"release": "1.7"}}')
wait_for 60 has_ended "$job"
is "$(state "$job")" "done" "a backup asked for in SQL is done" || tail -n 20 "$T/daemon.log" >&2
is "$(backups_of "$job")" 1 "... and in the repository, once"
is "$(sql "SELECT result #>> '{backup,labels,release}' FROM mbackup.job_table WHERE id = $job")" 1.7 "... the row has the answer of the command"
synced() { [ "$(sql "SELECT count(*) FROM mbackup.backup_table")" = "$1" ]; }
wait_for 20 synced 1
is $? 0 "... and the catalog the backup"
wait_for 30 [ -n "$(sql "SELECT ends FROM mbackup.window_table WHERE component = 'stack'")" ]
wait_for 30 streaming
is $? 0 "the streams of both components are shown as running" || sql "SELECT * FROM mbackup.stream_table" >&2
job=$(sql "SELECT mbackup_pin('latest')")
wait_for 60 has_ended "$job"
is "$(state "$job")" "done" "a pin asked for in SQL is done"
pinned() { [ "$(sql "SELECT pinned FROM mbackup.backups")" = "$1" ]; }
wait_for 20 pinned t
is $? 0 "... and the catalog shows it"
job=$(sql "SELECT mbackup_expire()")
wait_for 60 has_ended "$job"
is "$(state "$job") $(sql "SELECT result #>> '{expire,removed,backups}' FROM mbackup.job_table WHERE id = $job")" "done 0" "an expire asked for in SQL is done, and without [retention] removes nothing"
job=$(sql "SELECT mbackup_pin('latest', false)")
wait_for 60 has_ended "$job"
wait_for 20 pinned f
is "$(state "$job") $?" "done 0" "a pin is taken away"
job=$(new_job mark '{"name": "first"}')
wait_for 60 has_ended "$job"
is "$(state "$job")" "done" "a mark is held by the streams that the daemon runs" || { sql "SELECT error FROM mbackup.job_table" >&2; tail -n 20 "$T/daemon.log" >&2; }
job=$(new_job mark '{"name": "first"}')
wait_for 60 has_ended "$job"
is "$(state "$job") $(sql "SELECT error ->> 'code' FROM mbackup.job_table WHERE id = $job")" "failed CONFLICT" "the same name again fails, with the error of the command in the row" || sql "SELECT error FROM mbackup.job_table WHERE id = $job" >&2
job=$(new_job verify '{"read-data": "full"}')
wait_for 60 has_ended "$job"
is "$(state "$job")" "done" "verify"
job=$(new_job plan '{"target": {"kind": "mark", "value": "first"}}')
wait_for 60 has_ended "$job"
is "$(state "$job")" "done" "a restore is planned, and only that" || sql "SELECT error FROM mbackup.job_table WHERE id = $job" >&2
job=$(new_job backup '{"components": ["--config=/etc/passwd"]}')
wait_for 60 has_ended "$job"
is "$(state "$job")" "failed" "a component that looks like an option is no option"
job=$(new_job mark '{"name": "--pause"}')
wait_for 60 has_ended "$job"
is "$(state "$job") $(sql "SELECT error ->> 'code' FROM mbackup.job_table WHERE id = $job")" "failed CONFIG" "... nor is such a name"

# Cancel: a backup that takes a while.
slow() { head -c "${1:-400000000}" /dev/urandom >"$T/etc/big"; }
slow 1200000000
job=$(new_job backup '{"type": "full"}')
wait_for 20 is_state "$job" running
progress_is_told() { [ "$(sql "SELECT count(*) FROM mbackup.job_table, jsonb_array_elements(progress -> 'components') WHERE id = $job")" -gt 0 ]; }
wait_for 10 progress_is_told
is $? 0 "a running job tells its progress"
before=$(date +%s%N)
sql "SELECT mbackup_stop($job)" >/dev/null
wait_for 20 has_ended "$job"
took=$((($(date +%s%N) - before) / 1000000))
is "$(state "$job")" "cancelled" "a job is cancelled"
is "$([ $took -lt 2000 ] && echo soon)" soon "... within $took ms"
is "$(backups_of "$job")" 0 "... and there is no backup of it"

# The daemon is killed in the middle of a job.
slow
killed=0 true=0
for i in 1 2 3
do
	job=$(new_job backup '{"type": "full"}')
	wait_for 20 is_state "$job" running
	sleep 0.$((RANDOM % 9))
	{ kill -9 $DAEMON; wait $DAEMON; } 2>/dev/null
	start_daemon
	wait_for 60 has_ended "$job" && killed=$((killed + 1))
	case "$(state "$job") $(backups_of "$job")" in "done 1"|"failed 0"|"partial 1") true=$((true + 1)) ;; *) diag "job $job: $(state "$job"), $(backups_of "$job") backups" ;; esac
done
is "$killed" 3 "after kill -9 of the daemon every job comes to an end" || tail -n 20 "$T/daemon.log" >&2
is "$true" 3 "... that the repository agrees with"
is "$(sql "SELECT count(*) FROM mbackup.job_table WHERE state = 'running'")" 0 "... and none is left running"

# The database goes away in the middle of a job, and comes back.
job=$(new_job verify '{"read-data": "full"}')
wait_for 20 is_state "$job" running
stop_cluster "$PGDATA" immediate
sleep 2
start_cluster "$PGDATA"
wait_for 60 has_ended "$job"
is "$(state "$job")" "done" "a job that ends while the database is down is done when it is back" || tail -n 20 "$T/daemon.log" >&2
wait_for 60 streaming
is $? 0 "... and the streams go on"
job=$(new_job backup)
wait_for 90 has_ended "$job"
is "$(state "$job")" "done" "... and jobs" || { sql "SELECT error FROM mbackup.job_table WHERE id = $job" >&2; tail -n 20 "$T/daemon.log" >&2; }

# A schedule that is due.
sql "INSERT INTO mbackup.schedule_table (name, policy, cron, time_zone, owner, enabled, jitter) VALUES ('often', 'default', '* * * * *', 'UTC', 'mbtest', true, '0')" >/dev/null 2>&1 ||
	sql "INSERT INTO mbackup.policy_table (name, kind, arguments) VALUES ('default', 'backup', '{\"type\": \"auto\"}') ON CONFLICT DO NOTHING; INSERT INTO mbackup.schedule_table (name, policy, cron, time_zone, owner, enabled, jitter) VALUES ('often', 'default', '* * * * *', 'UTC', 'mbtest', true, '0')" >&2
scheduled() { [ "$(sql "SELECT count(*) FROM mbackup.job_table WHERE schedule = 'often' AND state = 'done'")" -gt 0 ]; }
wait_for 90 scheduled
is $? 0 "a schedule makes a job at its time" || sql "SELECT * FROM mbackup.schedule_table" >&2
sql "DELETE FROM mbackup.schedule_table" >/dev/null

# Reload.
streams_before=$(grep -c 'streaming into' "$T/daemon.log")
printf '[nonsense]\n' >>"$CONF"
kill -HUP $DAEMON
wait_for 10 says 'stays as it was.*nonsense'
is $? 0 "a configuration with an error is not taken" || tail -n 5 "$T/daemon.log" >&2
write_config
sed -i '/^url = /d' "$CONF"
kill -HUP $DAEMON
wait_for 10 says 'stays as it was.*no repository is configured'
is $? 0 "... nor one without a repository" || tail -n 5 "$T/daemon.log" >&2
run mb daemon --spool "$T/another-spool"
is "$status" 2 "... with which none starts"
write_config 'backup-age = 1s'
kill -HUP $DAEMON
wait_for 10 says 'the configuration was read again'
is $? 0 "a good one is"
restarted() { [ "$(grep -c 'streaming into' "$T/daemon.log")" -gt "$streams_before" ]; }
wait_for 30 restarted
is $? 0 "... and the streams begin again with it"
problem() { [ "$(sql "SELECT count(*) FROM mbackup.problem_table WHERE name = 'backup-age'")" = 1 ]; }
wait_for 20 problem
is $? 0 "a backup that is too old is a problem, in the catalog" || sql "SELECT * FROM mbackup.problem_table" >&2

# The end.
job=$(new_job backup '{"type": "full"}')
wait_for 20 is_state "$job" running
next=$(new_job backup)
kill -TERM $DAEMON
wait $DAEMON
is $? 143 "SIGTERM ends the daemon"
is "$(state "$next")" queued "... which begins nothing new"
is "$(state "$job") $(sql "SELECT error ->> 'code' FROM mbackup.job_table WHERE id = $job")" "failed INTERRUPTED" "... and its job, which says so" || sql "SELECT error FROM mbackup.job_table WHERE id = $job" >&2
is "$(pgrep -u "$(id -u)" -f "config $CONF" | wc -l)" 0 "... and nothing of it is left running" || pgrep -u "$(id -u)" -af "config $CONF" >&2
mb verify --read-data full >"$T/verify.out" 2>&1
is $? 0 "the repository verifies" || cat "$T/verify.out" >&2
done_testing

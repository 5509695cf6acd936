#!/bin/bash
# Kills the daemon, a job's process, the database, and the line between them, at random moments of jobs: every job ends in
# a state that is true (a backup of a job is there exactly when the job says so), none runs twice, none hangs.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/extension.sh"
extension_server || exit 1
stack_postgres
rounds=8
[ -n "${MBACKUP_LONG:-}" ] && rounds=${MBACKUP_ROUNDS:-100}
seed=${MBACKUP_SEED:-$RANDOM$RANDOM}
RANDOM=$((seed % 32768))
REPO=$T/repo PROXY=$(free_port)
mkdir -p "$T/etc" "$T/spool"
chmod 700 "$T/spool"
head -c 60000000 /dev/urandom >"$T/etc/some"
/usr/bin/python3 "$here/tests/lib/tcp_proxy.py" "$PROXY" "$T/.s.PGSQL.$PGPORT" "$T/line" &
stack_owns $!
sql "CREATE EXTENSION mbackup; CREATE ROLE catalogd LOGIN; GRANT mbackup_daemon TO catalogd" >/dev/null || exit 1
{
	printf '[global]\nspool = %s/spool\nworkers = 1\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
	printf '[daemon]\nsync-interval = 2s\nstreams = no\ncatalog = host=127.0.0.1 port=%s user=catalogd dbname=postgres\n' "$PROXY"
	printf '[files:config]\npaths = %s/etc\n' "$T"
} >"$CONF"
chmod 600 "$CONF"
mb init >"$T/init.out" 2>&1 || { cat "$T/init.out" >&2; exit 1; }
start_daemon()
{
	"$MBACKUP" --config "$CONF" daemon >>"$T/daemon.log" 2>&1 &
	DAEMON=$!
	stack_owns $DAEMON
}
start_daemon
up() { sql "SELECT 1" >/dev/null 2>&1; }
state() { sql "SELECT state FROM mbackup.job_table WHERE id = $1" 2>/dev/null; }
has_ended() { case "$(state "$1")" in done|partial|failed|cancelled|abandoned) ;; *) false ;; esac; }
has_begun() { case "$(state "$1")" in ''|queued) false ;; esac; }
job_pid() { pgrep -P $DAEMON -f "mbackup (backup|mark)" | head -n 1; }

bad=0
events=(daemon job database postmaster cut stall stop none)
for round in $(seq $rounds)
do
	event=${events[$(((round - 1 + seed) % ${#events[@]}))]}
	job=$(sql "SELECT mbackup_start(type => 'full')")
	wait_for 30 has_begun "$job" || diag "job $job did not begin"
	sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
	case $event in
		daemon) { kill -9 $DAEMON; wait $DAEMON; } 2>/dev/null; start_daemon ;;
		job) kill -9 "$(job_pid)" 2>/dev/null ;;
		database) stop_cluster "$PGDATA" immediate; sleep 0.$((RANDOM % 9)); start_cluster "$PGDATA" ;;
		postmaster)
			pid=$(head -n 1 "$PGDATA/postmaster.pid")
			kill -9 "$pid"
			# Its children notice and end; nobody may reap it here, so its number stays taken.
			sleep 2
			rm -f "$PGDATA/postmaster.pid"
			start_cluster "$PGDATA"
			;;
		cut) echo cut >"$T/line"; sleep 1.5; echo pass >"$T/line" ;;
		stall) echo stall >"$T/line"; sleep 17; echo pass >"$T/line" ;;
		stop) sql "SELECT mbackup_stop($job)" >/dev/null ;;
	esac
	wait_for 30 up
	if ! wait_for 90 has_ended "$job"
	then
		bad=$((bad + 1))
		diag "round $round ($event): job $job hangs, $(state "$job")"
		tail -n 15 "$T/daemon.log" >&2
		continue
	fi
	key=$(sql "SELECT key FROM mbackup.job_table WHERE id = $job")
	found=$(mb list --json 2>/dev/null | python3 -c '
import json, sys
print(sum(b["labels"].get("job") == sys.argv[1] for b in json.load(sys.stdin)["backups"]))' "$key")
	began=$(grep -c "job $job (backup) begins" "$T/daemon.log")
	case "$(state "$job") $found $began" in
		"done 1 1"|"partial 1 1"|"failed 0 1"|"cancelled 0 1") ;;
		*) bad=$((bad + 1)); diag "round $round ($event): job $job is $(state "$job"), it has $found backups and began $began times" ;;
	esac
done
is "$bad" 0 "$rounds rounds (seed $seed): every job ended truly, once" || tail -n 30 "$T/daemon.log" >&2
is "$(sql "SELECT count(*) FROM mbackup.job_table WHERE state IN ('queued', 'running')")" 0 "none is left"
diag "how they ended: $(sql "SELECT string_agg(state || ' ' || n, ', ') FROM (SELECT state, count(*) AS n FROM mbackup.job_table GROUP BY state) AS s")"
mb verify --read-data full >"$T/verify.out" 2>&1
is $? 0 "the repository verifies" || cat "$T/verify.out" >&2
kill -TERM $DAEMON
wait $DAEMON
is $? 143 "the daemon ends when told so"
done_testing

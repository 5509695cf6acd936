#!/bin/bash
# Every kind of target with every option that PostgreSQL allows for it, judged by the row that must be
# the last; what it does not allow is refused before anything is made, with the reason.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
sql "CREATE TABLE t (id int PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())"
start_stream
sql "INSERT INTO t VALUES (1)"
run mb backup
is "$status" 0 "backup"
sql "INSERT INTO t VALUES (2)"
run mb mark two
sql "SELECT pg_create_restore_point('three')" >/dev/null
sql "INSERT INTO t VALUES (3)"; sleep 0.2
xid=$(sql "BEGIN; INSERT INTO t VALUES (4); SELECT txid_current(); COMMIT" | head -1); sleep 0.2
time=$(sql "SELECT clock_timestamp()"); sleep 0.2
lsn=$(sql "SELECT pg_current_wal_lsn()")
sql "INSERT INTO t VALUES (5)"
run mb mark end
N=0
# target: expected-last-row expected-state option...
target()
{
	local row=$1 state=$2
	shift 2
	N=$((N + 1))
	if ! mb restore --json --start --start-timeout 60s --port "$(free_port)" --component "postgres=$T/r" "$@" >"$T/answer" 2>"$T/err"
	then
		result "$*" 1
		diag "$(cat "$T/err" "$T/answer")"
		[ -e "$T/r/postmaster.pid" ] && stop_cluster "$T/r" immediate
		rm -rf "$T/r"
		return
	fi
	is "$(json restore.components.0.reached.state <"$T/answer")" "$state" "$*: $state"
	if [ "$state" = "shut down" ]
	then
		ok "$*: no server is left" test ! -e "$T/r/postmaster.pid"
	else
		is "$(sql "SELECT max(id) FROM t" -p "$(sed -n 4p "$T/r/postmaster.pid")")" "$row" "$*: the last row"
		stop_cluster "$T/r" immediate
	fi
	rm -rf "$T/r"
}
target 1 promoted
target 1 promoted --to-backup --timeline current
target 2 promoted --to-mark two
target 2 paused --to-name three --target-action pause
target 4 promoted --to-xid "$xid"
target 3 paused --to-xid "$xid" --exclusive --target-action pause
target 4 promoted --to-time "$time"
target 4 promoted --to-time "$time" --exclusive --timeline 1
target 4 shut\ down --to-time "$time" --target-action shutdown
target 4 promoted --to-lsn "$lsn" --exclusive --timeline latest
target 5 promoted --to-latest
target 5 promoted --to-latest --target-action pause
like "$(cat "$T/err" "$T/answer")" "will be promoted at the end of the WAL" "a pause at the end of the WAL is not possible, and that is said"
if [ -n "${MBACKUP_LONG:-}" ]
then
	for action in promote pause shutdown
	do
		case $action in promote) state=promoted ;; pause) state=paused ;; *) state="shut down" ;; esac
		for timeline in current latest 1
		do
			target 1 "$state" --to-backup --target-action "$action" --timeline "$timeline"
			target 2 "$state" --to-mark two --target-action "$action" --timeline "$timeline"
			target 2 "$state" --to-name three --target-action "$action" --timeline "$timeline"
			target 4 "$state" --to-xid "$xid" --target-action "$action" --timeline "$timeline"
			target 3 "$state" --to-xid "$xid" --exclusive --target-action "$action" --timeline "$timeline"
			target 4 "$state" --to-time "$time" --target-action "$action" --timeline "$timeline"
			target 4 "$state" --to-time "$time" --exclusive --target-action "$action" --timeline "$timeline"
			target 4 "$state" --to-lsn "$lsn" --exclusive --target-action "$action" --timeline "$timeline"
		done
	done
fi
refused() # exit pattern option...
{
	local code=$1 pattern=$2
	shift 2
	run mb restore --component "postgres=$T/no" "$@"
	is "$status" "$code" "$*: refused"
	like "$err" "$pattern" "... with the reason"
	[ ! -e "$T/no" ] || { result "... and nothing is made" 1; rm -rf "$T/no"; }
}
refused 2 "no meaning" --to-name three --exclusive
refused 2 "no meaning" --to-mark two --exclusive
refused 2 "no meaning" --to-latest --exclusive
refused 2 "exclude each other" --to-latest --to-time "$time"
refused 2 "not a timeline" --to-latest --timeline newest
refused 2 "not a timeline" --to-latest --timeline 0
refused 10 "timeline 7" --to-latest --timeline 7
refused 2 "goes together" --force
refused 2 "go together" --output "$T/x"
refused 2 "not a port" --port 70000
refused 2 "absolute" --wal-dir relative
refused 2 "to no target" --standby host=primary --to-latest
refused 2 "to no target" --standby host=primary --start
run mb restore --standby host=primary --yes
is "$status" 2 "--standby in place: refused"
like "$err" "needs a directory" "... with the reason"
refused 2 "names no tablespace" --tablespace /a=/b
stack_kill "$STREAM"
done_testing

#!/bin/bash
# What [schedule] says is run when it is due: once after a pause, one at a time, again after a kill. Expressions mean what two
# judges, and systemd, say; what is installed is what systemd and cron understand, and is taken away again.
STACK_STAGE="tests/unit/schedule_test"
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
# Nothing is really synced: what a power failure takes is not what this tests.
[ -e "$BUILD/fault.so" ] || skip_all "no $BUILD/fault.so: make all"
mb() { LD_PRELOAD=$BUILD/fault.so MBACKUP_FAULT_NOSYNC=1 "$MBACKUP" --config "$CONF" "$@"; }
judge=$BUILD/tests/unit/schedule_test
mkdir -p "$T/etc"
echo x >"$T/etc/a"
configure() # line...
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s/repo\nencryption = none\n[files:config]\npaths = %s/etc\n[schedule]\n' "$T" "$T" "$T" >"$CONF"
	printf '%s\n' "$@" >>"$CONF"
	chmod 600 "$CONF"
}
configure "full = 0 2 * * 0" "incremental = 0 2 * * 1-6" "check = Mon..Fri 05:00   # as systemd says it" "mark = hourly"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
state=$T/spool/schedule.json
# As if nobody had called for a while: the state says how far each one is.
since() # time name...
{
	python3 - "$state" "$@" <<-'PY'
		import json, sys
		path, time, names = sys.argv[1], sys.argv[2], sys.argv[3:]
		state = json.load(open(path))
		for name in names:
		    state["schedules"][name]["seen"] = time
		json.dump(state, open(path, "w"))
	PY
}
ago() { date -u -d "$1 ago" +%Y-%m-%dT%H:%M:%SZ; }
ran() { json schedule.runs <<<"$out" | python3 -c 'import json, sys; print(" ".join(r["name"] + ":" + r["result"] for r in json.load(sys.stdin)))'; }
last() { mb schedule show --json | python3 -c 'import json, sys; print({s["name"]: (s["last"] or {}).get("result") for s in json.load(sys.stdin)["schedules"]}[sys.argv[1]])' "$1"; }
backups() { mb list --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["backups"]))'; }

# -- expressions ------------------------------------------------------------------------------------------
# All of them are asked of the SQL function (705); here a share of those that take long.
share=0.25; [ -n "${MBACKUP_LONG:-}" ] && share=1
PYTHON=$(command -v /usr/bin/python3 || command -v python3)
"$PYTHON" "$here/tests/lib/cron_judge.py" "$share" >"$T/cron.tsv" 2>"$T/cron.err"
if [ -x "$judge" ]
then
	run "$judge" "$T/cron.tsv"
	is "$status" 0 "next times are those of the judges ($(tail -1 <<<"$out"))"
	[ "$status" = 0 ] || diag "$(head -5 <<<"$out")"
fi
if command -v systemd-analyze >/dev/null
then
	wrong=0 n=0
	for e in "0 2 * * 1-5" "*/20 3 * * *" "30 4 1,15 * *" "Mon..Fri 02:00" "*-*-01 03:30:00" "*:0/15" "weekly" "quarterly" "Sat,Sun 6:00" "5 0 31 12 *"
	do
		configure "full = $e"
		n=$((n + 1))
		line=$(mb schedule install --systemd --dry-run --user root | sed -n 's/^OnCalendar=//p')
		theirs=$(systemd-analyze calendar "$line" | sed -n 's/ *Next elapse: ... \(.*\):00 UTC$/\1/p')
		ours=$(mb schedule show --json | json schedules.0.next | sed 's/T/ /; s/:00\..*//')
		[ "$theirs" = "$ours" ] || { wrong=$((wrong + 1)); diag "$e: $ours, systemd: $theirs ($line)"; }
	done
	is "$wrong" 0 "$n expressions: systemd would run them when we would"
fi
for bad in "60 * * * *" "often" "2026-01-01 00:00"
do
	configure "full = $bad"
	run mb schedule show
	is "$status" 2 "\"$bad\" is refused"
done
configure
run mb schedule show
is "$status" 2 "without a schedule there is nothing to show"

# -- run-due ------------------------------------------------------------------------------------------------
# None comes while this test runs: half a day away at every hour.
far=$((($(date -u +%-H) + 12) % 24))
configure "full = 0 $far * * 0" "incremental = 0 $far * * *" "check = 30 $far * * *" "mark = 0 $far * * *"
run mb schedule run-due --json
is "$status $(ran)" "0 " "the first call begins: nothing is due"
since "$(ago '3 days')" incremental check mark
run mb schedule show
like "$out" "^incremental +0 $far \* \* \* +now" "what is due is shown"
run mb schedule run-due --json
is "$status $(ran)" "0 incremental:OK mark:OK check:OK" "after a pause each is run once, in its order"
like "$err" "incremental: 2 runs before this one were missed" "... what was missed is told"
is "$(backups)" 1 "... there is one backup"
is "$(mb list --json | python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["backups"][0]["labels"]["schedule"], d["marks"][0]["name"][:9])')" "incremental schedule-" "... which say where they come from"
run mb schedule run-due --json
is "$status $(ran)" "0 " "called again: nothing is due"
since "$(ago '8 days')" full incremental
run mb schedule run-due --json
is "$(ran)" "full:OK" "full and incremental are due: the full one does for both"
run mb schedule run-due --json
is "$(ran)" "" "... and nothing is due then"
run mb schedule run check
is "$status" 0 "one by its name"
like "$out" "^check +OK" "... with its result"
run mb schedule run verify
is "$status" 10 "one that is not configured"

# What fails says so, once.
mv "$T/repo" "$T/away"
since "$(ago '2 days')" incremental
run mb schedule run-due
is "$status" 10 "a failure has its own exit status"
like "$err" "schedule incremental: .*repo" "... and says what failed"
is "$(last incremental)" NOT_FOUND "... which show tells"
mv "$T/away" "$T/repo"
run mb schedule run-due --json
is "$status $(ran)" "0 " "... and it is not tried each minute"

# -- one at a time -----------------------------------------------------------------------------------------
since "$(ago '2 days')" incremental
flock "$T/spool/schedule.lock" sleep 100 &
holder=$!
stack_owns "$holder"
wait_for 10 sh -c "! flock -n '$T/spool/schedule.lock' true"
run mb schedule run-due --json
is "$status $(json schedule.busy <<<"$out")" "0 true" "while one is at work another call does nothing, and that is no failure"
"$MBACKUP" --config "$CONF" schedule run check >"$T/waits.out" 2>"$T/waits.err" &
waiter=$!
stack_owns "$waiter"
wait_for 10 grep -q "waiting for its end" "$T/waits.err"
result "... one that is asked for by name waits" $?
pkill -P "$holder"; stack_kill "$holder"
wait "$waiter"
is "$?" 0 "... and is run then"
stack_forgets "$waiter"
run mb schedule run-due --json
is "$(ran)" "incremental:OK" "what was due meanwhile is run"

# -- kills ---------------------------------------------------------------------------------------------------
faulty() { rm -f "$T/fault"; { run env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT_NOSYNC=1 MBACKUP_FAULT="$1" MBACKUP_FAULT_FILE="$T/fault" "$MBACKUP" --config "$CONF" "${@:2}"; } 2>/dev/null; }
since "$(ago '2 days')" incremental
faulty "any:0:kill:$T" schedule run-due
calls=$(head -c 1024 "$T/fault" | head -1 | tr -d '\0' | cut -d' ' -f1)
rounds=6; [ -n "${MBACKUP_LONG:-}" ] && rounds=100
lost=0
for i in $(seq "$rounds")
do
	echo "$i" >"$T/etc/a"
	before=$(backups)
	since "$(ago '2 days')" incremental
	faulty "any:$((calls * i / (rounds + 1) + 1)):kill:$T" schedule run-due
	wait_for 10 flock -n "$T/spool/schedule.lock" true
	run mb schedule run-due --json
	[ "$status" = 0 ] && [ "$(backups)" -gt "$before" ] || { lost=$((lost + 1)); diag "round $i: $status $(ran) $err"; }
	run mb schedule run-due --json
	[ "$(ran)" = "" ] || { lost=$((lost + 1)); diag "round $i: again: $(ran)"; }
done
is "$lost" 0 "killed at $rounds of $calls calls: the next call does it, and the one after has nothing to do"
# Our own death: the child is asked to stop, and keeps the lock while it lives.
since "$(ago '2 days')" incremental
python3 - "$state" <<-'PY'
	import json, sys
	state = json.load(open(sys.argv[1]))
	state["schedules"]["incremental"].update(attempts=2, result="RUNNING")
	json.dump(state, open(sys.argv[1], "w"))
PY
run mb schedule run-due --json
is "$(ran)" "" "what was killed twice is given up"
like "$err" "killed 2 times and is given up until its next time" "... which is told"
echo '{"schedules": ' >"$state"
run mb schedule run-due --json
is "$status" 0 "a state that cannot be understood is begun anew"
run mb verify --read-data full
is "$status" 0 "everything verifies"

# -- install -----------------------------------------------------------------------------------------------------
configure "full = 0 2 * * 0" "incremental = Mon..Sat 02:00" "verify = 0 5 1 * *"
me=$(id -un)
run mb schedule install --root "$T/root" --yes
is "$status" 2 "install wants to know what shall call it"
run mb schedule install --systemd --root "$T/root" --user "$me" </dev/null
is "$status" 2 "without a terminal it must be confirmed"
run mb schedule install --systemd --root "$T/root" --user "$me" --dry-run
is "$status" 0 "a dry run"
like "$out" "^ExecStart=.*mbackup.* schedule run full" "... shows what would be written"
ok "... and writes nothing" test ! -e "$T/root"
mb schedule install --systemd --root "$T/root" --user "$me" --yes >/dev/null 2>&1
units=$T/root/etc/systemd/system
is "$(cd "$units" && find . -type f | sort | tr '\n' ' ')" "./mbackup-schedule-full.service ./mbackup-schedule-full.timer ./mbackup-schedule-incremental.service ./mbackup-schedule-incremental.timer ./mbackup-schedule-verify.service ./mbackup-schedule-verify.timer " "a timer and a service for each"
is "$(readlink "$units/timers.target.wants/mbackup-schedule-full.timer")" "/etc/systemd/system/mbackup-schedule-full.timer" "... enabled"
is "$(stat -c %a "$units/mbackup-schedule-full.timer")" 644 "... for everybody to read"
if command -v systemd-analyze >/dev/null
then
	run systemd-analyze verify --man=no "$units"/*.timer "$units"/*.service
	is "$(grep -v 'Unknown\|network-online\|postgresql.service\|redis-server' <<<"$err$out" | grep mbackup-schedule)" "" "systemd understands them"
fi
run mb schedule install --systemd --root "$T/root" --user "$me" --yes --json
is "$(python3 -c 'import json, sys; print({f["action"] for f in json.load(sys.stdin)["installed"]["files"]})' <<<"$out")" "{'unchanged'}" "again: nothing changes"
echo "[Unit]" >"$units/mbackup-schedule-mine.service"
configure "full = 0 3 * * 0"
mb schedule install --systemd --root "$T/root" --user "$me" --yes >/dev/null 2>&1
is "$(cd "$units" && find . -name '*schedule*' | sort | tr '\n' ' ')" "./mbackup-schedule-full.service ./mbackup-schedule-full.timer ./mbackup-schedule-mine.service ./timers.target.wants/mbackup-schedule-full.timer " "what the section no longer has is removed, what is not ours stays"
ok "... what changed is written" grep -q "^OnCalendar=Sun \*-\*-\* 03:00:00" "$units/mbackup-schedule-full.timer"
run mb schedule install --cron --root "$T/root" --user "$me" --yes
is "$(find "$T/root" -name '*schedule-full*')" "" "--cron takes the place of --systemd"
line=$(grep '^\*' "$T/root/etc/cron.d/mbackup-schedule")
like "$line" "^\* \* \* \* \* $me '/.*mbackup' --config '$CONF' schedule run-due --quiet >/dev/null$" "a line of cron"
since "$(ago '2 weeks')" full 2>/dev/null || true
run sh -c "$(cut -d' ' -f7- <<<"$line")"
is "$status$out$err" 0 "... which runs, and says nothing"
sed "s|$T/spool|$T/other|" "$CONF" >"$T/other.conf"; chmod 600 "$T/other.conf"
run "$MBACKUP" --config "$T/other.conf" schedule install --cron --root "$T/root" --user "$me" --yes
is "$status" 4 "that of another configuration is not replaced"
run mb schedule uninstall --root "$T/root" --yes
is "$(find "$T/root" -name 'mbackup-schedule*' | sed 's|.*/||')" "mbackup-schedule-mine.service" "uninstall leaves what is not ours"

# -- check -----------------------------------------------------------------------------------------------------------
# Due a minute ago too: what counts is the first time that nobody came.
configure "full = * * * * *" "mark = 0 0 30 2 *"
mb schedule run-due >/dev/null 2>&1
since "$(ago '3 days')" full
run mb check
like "$out" "full is due and nobody runs it" "check sees that nobody calls"
flock "$T/spool/schedule.lock" sleep 100 &
holder=$!
stack_owns "$holder"
wait_for 10 sh -c "! flock -n '$T/spool/schedule.lock' true"
run mb check
unlike "$out" "nobody runs it" "... and says nothing while one is at work"
pkill -P "$holder"; stack_kill "$holder"
like "$out" "0 0 30 2 \*. never comes" "... and what never comes"
flock "$T/spool/daemon.lock" sleep 100 &
holder=$!
stack_owns "$holder"
wait_for 10 sh -c "! flock -n '$T/spool/daemon.lock' true"
run mb check
like "$out" "a daemon runs here too" "... and a daemon beside it"
pkill -P "$holder"; stack_kill "$holder"
configure "full = 61 * * * *"
run mb check
is "$status" 1 "... and what makes no sense"
done_testing

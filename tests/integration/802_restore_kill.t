#!/bin/bash
# A restore in place that is killed (kill -9) before or after a line of its journal, or anywhere: restore --continue ends in
# the whole stack of the backup, rollback in the whole stack of before, every time; a rollback that is killed goes on too.
# What must be refused is refused before anything is touched. MBACKUP_LONG: more than 100 points.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
# Not of the server is it asked whether a power failure takes anything.
sql "ALTER SYSTEM SET fsync = off" && sql "SELECT pg_reload_conf()" >/dev/null
mkdir -p "$T/objects" "$T/etc" "$T/redis" "$T/ts"
REDIS_PORT=$(free_port)
cat >"$T/redis-start" <<-EOT
	#!/bin/bash
	exec redis-server --port $REDIS_PORT --bind 127.0.0.1 --dir "$T/redis" --save '' --appendonly yes --daemonize yes \\
		--pidfile "$T/redis.pid" --logfile "$T/redis.log"
EOT
cat >"$T/redis-stop" <<-EOT
	#!/bin/bash
	redis-cli -p $REDIS_PORT shutdown nosave
	for _ in \$(seq 300); do redis-cli -p $REDIS_PORT ping >/dev/null 2>&1 || exit 0; sleep 0.1; done
	exit 1
EOT
cat >"$T/redis-status" <<-EOT
	#!/bin/bash
	redis-cli -p $REDIS_PORT ping 2>&1 | grep -qE 'PONG|LOADING'
EOT
chmod +x "$T"/redis-*
"$T/redis-start"
wait_for 20 rcli ping
trap '"$T/redis-stop" >/dev/null 2>&1; stack_end' EXIT
stack_config none
sed -i "s|^conninfo.*|&\nservice = pg_ctl|; s|^url = redis.*|&\ndir = $T/redis\nservice = command\nservice-stop = $T/redis-stop\nservice-start = $T/redis-start\nservice-status = $T/redis-status|" "$CONF"

put() # word: into every component
{
	sql "UPDATE t SET v = '$1'" && rcli set k "$1" >/dev/null && echo "$1" >"$T/objects/o" && echo "v = $1" >"$T/etc/f" &&
		sql "UPDATE spaced SET v = '$1'"
}

sql "CREATE TABLE t (v text)"
sql "INSERT INTO t VALUES ('')"
psql -Xqc "CREATE TABLESPACE space LOCATION '$T/ts'"
sql "CREATE TABLE spaced (v text) TABLESPACE space"
sql "INSERT INTO spaced VALUES ('')"
put backup
for i in $(seq 20); do echo "$i" >"$T/objects/old$i"; done
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
run mb backup
is "$status" 0 "a backup"
[ "$status" = 0 ] || { diag "$err"; exit 1; }
put present
rm "$T/objects"/old*
for i in $(seq 20); do echo "$i" >"$T/objects/new$i"; done

# Everything is of one state, and the servers run.
whole() # word
{
	local found
	wait_for 60 sql "SELECT 1"
	found="$(sql "SELECT v FROM t") $(sql "SELECT v FROM spaced") $(rcli get k) $(cat "$T/objects/o") $(cat "$T/etc/f")"
	found="$found, $(find "$T/objects" -maxdepth 1 -name 'old*' | wc -l) old, $(find "$T/objects" -maxdepth 1 -name 'new*' | wc -l) new"
	local names="0 old, 20 new"
	[ "$1" = backup ] && names="20 old, 0 new"
	[ "$found" = "$1 $1 $1 $1 v = $1, $names" ] && [ "$(sql 'SELECT pg_is_in_recovery()')" = f ] && return 0
	echo "expected all of $1, found: $found"
	return 1
}
left_over() { ls -dA "$T"/*.mbackup-* "$T"/*/.mbackup-* 2>/dev/null; }
last_status() { mb rollback --list --json | python3 -c 'import json, sys; print((json.load(sys.stdin)["restores"] or [{"status": "none"}])[-1]["status"])'; }
ok "the present" whole present

# -- what is refused, and leaves all as it is -----------------------------------------------------------------
before=$(cat "$CONF")
sed -i "s|^service-stop = .*|service-stop = echo will not; false|" "$CONF"
run mb restore --yes
is "$status" 11 "a service that does not stop"
like "$err" "will not" "says what it said"
is "$(last_status)" aborted "the restore was aborted"
ok "nothing has changed, and what was stopped runs again" whole present
echo "$before" >"$CONF"
printf '\n[hooks]\nbefore-restore = exit 7\n' >>"$CONF"
run mb restore --yes
is "$status" 1 "a hook that says no"
ok "nothing has changed" whole present
run mb restore --yes --dry-run
is "$status" 0 "and --dry-run runs no hook"
echo "$before" >"$CONF"
printf '\n[hooks]\nbefore-restore = no-such-program-here\n' >>"$CONF"
run mb restore --yes
is "$status" 2 "a hook whose program is missing: before anything"
echo "$before" >"$CONF"
run mb restore --yes --to-time 2199-01-01T00:00:00Z
is "$status" 10 "a target behind the window"
run mb restore --yes --to-time 2001-01-01T00:00:00Z
is "$status" 10 "a target before it"
sed -i 's|service = pg_ctl|service = systemd:no-such-unit-of-mbackup|' "$CONF"
run mb restore --yes
[ "$status" != 0 ]
result "a service that nobody knows" $?
echo "$before" >"$CONF"
sed -i "s|^service-status = .*|service-status = $T/no-such-program|" "$CONF"
run mb restore --yes
is "$status" 11 "a service-status that cannot be run is not one that says no"
like "$err" "no-such-program" "says so"
ok "nothing has changed, and all runs" whole present
echo "$before" >"$CONF"
sed -i '/^service = pg_ctl/d' "$CONF"
run mb restore --yes
is "$status" 4 "a server that runs, and no service: exit 4"
like "$err" "service = " "says how to say it"
echo "$before" >"$CONF"
printf '99\n' >"$T/version"
cp "$PGDATA/PG_VERSION" "$T/version.kept"
cp "$T/version" "$PGDATA/PG_VERSION"
run mb restore --yes
is "$status" 9 "a data directory of another version"
cp "$T/version.kept" "$PGDATA/PG_VERSION"
ok "and nothing has changed" whole present
is "$(left_over)" "" "nothing is left over"

# -- health, and rolling back by itself -----------------------------------------------------------------------
printf '\n[hooks]\nhealth-check = echo not well; exit 1\non-failure = echo "$MBACKUP_STATUS" >%s/failed\n' "$T" >>"$CONF"
run mb restore --yes --rollback-on-failure --json
is "$status" 1 "a health check that fails: exit 1"
is "$(json rollback.changed <<<"$out")" true "with --rollback-on-failure it was rolled back"
ok "everything is as it was" whole present
is "$(cat "$T/failed")" failed "the hook on-failure was told"
run mb restore --yes
is "$status" 1 "without it"
like "$err" "restore --continue .* or back with .mbackup rollback" "both ways are named"
ok "what is there is the backup's" whole backup
run mb restore --yes
is "$status" 4 "another restore is refused meanwhile: exit 4"
like "$err" "restore --continue" "and says what to do"
run mb restore --component "config=$T/beside"
is "$status" 0 "but one beside everything is not"
run mb check --json
like "$out" "is not finished" "check says it"
echo "$before" >"$CONF"
run mb restore --continue
is "$status" 0 "--continue, when it is well"
[ "$status" = 0 ] || diag "$err"
ok "it is the backup" whole backup
run mb restore --continue
is "$status" 4 "--continue of a finished one: exit 4"
run mb rollback --yes
is "$status" 0 "and back"
[ "$status" = 0 ] || diag "$err"
ok "everything is as it was again" whole present

# -- killed -------------------------------------------------------------------------------------------------------
faulty() # fault command...
{
	local fault=$1
	shift
	env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT="$fault" MBACKUP_FAULT_FILE="$T/fault" MBACKUP_FAULT_NOSYNC=1 \
		"$MBACKUP" --config "$CONF" "$@" >"$T/killed.out" 2>&1
} 2>/dev/null
rm -f "$T/fault"
faulty "change:0:kill:/restores/" restore --yes || { diag "the counted run failed"; tail -n 20 "$T/killed.out" >&2; }
points=$(cut -d' ' -f1 "$T/fault" | head -n 1)
diag "$points calls concern the journal"
mb rollback --yes >/dev/null 2>&1
ok "counted" whole present

bad=0
kill_once() # fault way
{
	rm -f "$T/fault"
	faulty "$1" restore --yes
	local code=$? state
	state=$(last_status)
	if [ "$2" = continue ] && [ "$state" = unfinished ]
	then
		mb restore --continue >"$T/after.out" 2>&1 || { diag "$1: --continue failed: $(tail -n 4 "$T/after.out")"; return 1; }
		whole backup >"$T/whole.out" || { diag "$1 (exit $code), continued: $(cat "$T/whole.out")"; return 1; }
	fi
	if [ "$2" = killed-rollback ]
	then
		rm -f "$T/fault"
		faulty "change:$((RANDOM % 12 + 1)):kill:/restores/" rollback --yes
	fi
	[ "$state" = none ] || mb rollback --yes >"$T/after.out" 2>&1 || { diag "$1: rollback failed: $(tail -n 4 "$T/after.out")"; return 1; }
	whole present >"$T/whole.out" || { diag "$1 (exit $code, $state), rolled back: $(cat "$T/whole.out")"; return 1; }
	[ -z "$(left_over)" ] || { diag "$1: left over: $(left_over)"; return 1; }
}

ways=(continue rollback killed-rollback)
count=0
kill_at()
{
	kill_once "$1" "${ways[count % 3]}" || { bad=$((bad + 1)); mb rollback --yes >/dev/null 2>&1; }
	count=$((count + 1))
}
if [ -n "${MBACKUP_LONG:-}" ]
then
	for n in $(seq "$points"); do kill_at "change:$n:kill:/restores/"; done
	for n in $(shuf -i 1-"$points" -n 20); do kill_at "change:$n:kill:/restores/"; done
	for n in $(shuf -i 1-4000 -n 40); do kill_at "change:$n:kill:$T"; done
else
	for n in $(shuf -i 3-"$points" -n 5); do kill_at "change:$n:kill:/restores/"; done
	for n in $(shuf -i 1-2500 -n 3); do kill_at "change:$n:kill:$T"; done
fi
is "$bad" 0 "$count kills: every time the whole of one state"
[ -z "${MBACKUP_LONG:-}" ] || [ "$count" -ge 100 ]
result "as many as were to be" $?
ok "pg_amcheck" "$PG_BIN/pg_amcheck" --install-missing -d postgres
stop_cluster "$PGDATA"
done_testing

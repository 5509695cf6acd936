#!/bin/bash
# From psql alone, by an operator who has no other right than mbackup_operator, with a real daemon whose role has no other
# than mbackup_daemon: start, watch, wait, mark, look, plan, schedule, stop; and what is seen is what the CLI says.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/extension.sh"
extension_server || exit 1
stack_postgres
REPO=$T/repo
mkdir -p "$T/etc" "$T/spool"
chmod 700 "$T/spool"
echo one >"$T/etc/app.conf"
sql "CREATE EXTENSION mbackup; CREATE ROLE catalogd LOGIN; GRANT mbackup_daemon TO catalogd; CREATE ROLE olga LOGIN; GRANT mbackup_operator TO olga" >/dev/null || exit 1
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
	printf '[daemon]\nlisten = none\nsync-interval = 2s\ncatalog = host=%s port=%s user=catalogd dbname=postgres\n' "$PGHOST" "$PGPORT"
	printf '[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres\n[files:config]\npaths = %s/etc\n' "$PGHOST" "$PGPORT" "$T"
} >"$CONF"
chmod 600 "$CONF"
mb init >"$T/init.out" 2>&1 || { cat "$T/init.out" >&2; exit 1; }
"$MBACKUP" --config "$CONF" daemon >"$T/daemon.log" 2>&1 &
DAEMON=$!
stack_owns $DAEMON
olga() { psql -X -q -A -t -v ON_ERROR_STOP=1 -U olga -c "$1" 2>"$T/olga.err"; }
wait_for 30 eval '[ "$(olga "SELECT count(*) FROM mbackup.streams WHERE state = '"'running'"'")" = 2 ]'
is $? 0 "the operator sees both streams running" || tail -n 20 "$T/daemon.log" >&2

is "$(olga "CALL mbackup_run()" | cut -d'|' -f2)" "done" "CALL mbackup_run(): a backup, and waits for it" || cat "$T/olga.err" >&2
head -c 600000000 /dev/urandom >"$T/etc/big"
job=$(olga "SELECT mbackup_start(type => 'full', labels => '{\"release\": \"1.7\"}')")
like "$job" "^[0-9]+$" "mbackup_start() gives the number of the job"
wait_for 20 eval '[ "$(olga "SELECT count(*) FROM mbackup.progress WHERE job = $job")" -gt 0 ]'
is $? 0 "its progress can be watched" || olga "SELECT * FROM mbackup.progress" >&2
is "$(olga "SELECT mbackup_wait($job, '1 min')")" "done" "mbackup_wait() until it is done"
is "$(olga "SELECT state FROM mbackup.jobs WHERE id = $job")" "done" "... as mbackup.jobs says"
job=$(olga "SELECT mbackup_mark('before the migration')")
is "$(olga "SELECT mbackup_wait($job, '1 min')")" "done" "mbackup_mark() names a moment" || { olga "SELECT * FROM mbackup.jobs WHERE id = $job" >&2; tail -n 5 "$T/daemon.log" >&2; }
wait_for 20 eval '[ "$(olga "SELECT count(*) FROM mbackup.marks")" = 1 ]'
job=$(olga "SELECT mbackup_restore_plan('before the migration')")
is "$(olga "SELECT mbackup_wait($job, '1 min')")" "done" "mbackup_restore_plan() says what a restore would do"
job=$(olga "SELECT mbackup_verify()")
is "$(olga "SELECT mbackup_wait($job, '1 min')")" "done" "mbackup_verify()"
job=$(olga "SELECT mbackup_start(type => 'full')")
wait_for 20 eval '[ "$(olga "SELECT state FROM mbackup.jobs WHERE id = $job")" = running ]'
olga "SELECT mbackup_stop($job)" >/dev/null
is "$(olga "SELECT mbackup_wait($job, '1 min')")" "cancelled" "mbackup_stop() ends one"
like "$(olga "SELECT mbackup_schedule('nightly', 'default', '0 2 * * *', 'Europe/Berlin')")" "^20" "mbackup_schedule() gives the first run"
is "$(olga "SELECT name, policy FROM mbackup.schedules")" "nightly|default" "... as mbackup.schedules says"

# The same words and numbers as the CLI.
mb list --json >"$T/list.json" 2>/dev/null
is "$(olga "SELECT id FROM mbackup.backups ORDER BY id")" "$(python3 -c 'import json, sys
for b in sorted(x["id"] for x in json.load(open(sys.argv[1]))["backups"]): print(b)' "$T/list.json")" "mbackup.backups are those of mbackup list"
is "$(olga "SELECT name FROM mbackup.marks")" "$(json marks.0.name <"$T/list.json")" "... and the marks"
is "$(olga "SELECT to_char(\"from\" AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM mbackup.recovery_window WHERE component = 'postgres'")" \
	"$(json windows.0.from <"$T/list.json")" "... and the recovery window"

# And no more than that.
for statement in "UPDATE mbackup.job_table SET state = 'done'" "SELECT * FROM mbackup.job_table" "SELECT mbackup.sync('{}')" \
	"SELECT mbackup.daemon_take('11111111-1111-1111-1111-111111111111')" "SELECT mbackup_start(components => '{--config}')"
do
	olga "$statement" >/dev/null
	is "$([ $? != 0 ] && echo refused)" refused "refused: $statement"
done
kill -TERM $DAEMON
wait $DAEMON
is $? 143 "the daemon ends when told so"
done_testing

#!/bin/bash
# The extension among other sessions and over its life: cron expressions against two judges, jobs that several sessions take at
# once, waiting, dump and restore, hostile roles and default privileges, its own schema, every way to each version.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/extension.sh"
extension_server || { is 1 0 "a server of its own"; done_testing; }
stack_postgres
export PGOPTIONS='-c client_min_messages=error'
ONE=11111111-1111-1111-1111-111111111111
refused() { local state=$1; shift; sql "$@" -v VERBOSITY=sqlstate >"$T/refused" 2>&1 && return 1; grep -q "$state" "$T/refused"; } # state statement [option...]
fresh() { sql "DROP DATABASE IF EXISTS $1"; sql "CREATE DATABASE $1"; sql "CREATE EXTENSION mbackup" -d "$1"; export PGDATABASE=$1; }
unfresh() { export PGDATABASE=postgres; sql "DROP DATABASE IF EXISTS $1 WITH (FORCE)"; }

# -- cron ------------------------------------------------------------------------------------------
# The judges want Python's zones and, of Debian, croniter.
fresh cron
PYTHON=$(command -v /usr/bin/python3 || command -v python3)
"$PYTHON" "$here/tests/lib/cron_judge.py" >"$T/cron.tsv" 2>"$T/cron.err"
is "$?" 0 "the judges of cron expressions have judged"
[ ! -s "$T/cron.err" ] || diag "$(cat "$T/cron.err")"
ok "... hundreds of them" test "$(wc -l <"$T/cron.tsv")" -gt 300
psql -X -q -v ON_ERROR_STOP=1 >"$T/cron.out" 2>&1 <<-EOF
	SET TimeZone = 'UTC';
	CREATE TABLE judged (cron text, zone text, after timestamp, expected text);
	\copy judged FROM '$T/cron.tsv'
	CREATE TABLE found AS SELECT *, coalesce(to_char(mbackup.cron_next(cron, zone, after AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), 'never') AS found FROM judged;
EOF
is "$(sql "SELECT count(*) FROM found WHERE found = expected")" "$(wc -l <"$T/cron.tsv")" "every expression: cron_next() says what they say"
diag "$(sql "SELECT cron, zone, after, expected, found FROM found WHERE found <> expected LIMIT 20")"
for zone in Europe/Berlin America/New_York Australia/Lord_Howe
do
	ok "... $zone among them" test "$(sql "SELECT count(*) FROM found WHERE zone = '$zone'")" -gt 50
done
unfresh cron

# -- several sessions -----------------------------------------------------------------------------------
fresh jobs
sql "SELECT mbackup.daemon_hello('$ONE', 'h', 1, 'v')"
sql "SELECT mbackup_mark('m' || n), mbackup_start() FROM generate_series(1, 60) n" >/dev/null
taker() # out: takes and ends jobs until there are none
{
	local i job

	for i in $(seq 400)
	do
		job=$(sql "SELECT id FROM mbackup.daemon_take('$ONE')")
		if [ -n "$job" ]
		then
			echo "$job" >>"$1"
			sql "SELECT mbackup.daemon_end('$ONE', $job, 'done')" >/dev/null
		elif [ "$(sql "SELECT count(*) FROM mbackup.job_table WHERE state IN ('queued', 'running')")" = 0 ]
		then
			return
		fi
	done
}
pids=
for n in 1 2 3 4
do
	taker "$T/taken.$n" &
	pids="$pids $!"
done
for pid in $pids; do wait "$pid"; done
is "$(cat "$T"/taken.* | wc -l)" 120 "four sessions take every job"
is "$(cat "$T"/taken.* | sort -u | wc -l)" 120 "... each once"
ok "... more than one of them some" test "$(ls "$T"/taken.* | wc -l)" -gt 1
is "$(sql "SELECT count(*) FROM mbackup.job_table a JOIN mbackup.job_table b ON a.id < b.id AND a.kind = b.kind AND a.started < b.finished AND b.started < a.finished")" 0 "... never two of a kind at a time"
sql "SELECT mbackup_start(), mbackup_mark('next')" >/dev/null
first=$(sql "SELECT min(id) FROM mbackup.jobs WHERE state = 'queued'")
psql -X -q -A -t -c "BEGIN" -c "SELECT mbackup_stop($first)" -c "SELECT pg_sleep(3)" -c "ROLLBACK" >/dev/null 2>&1 &
holder=$!
stack_owns "$holder"
wait_for 10 sql "SELECT 1 / count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()"
started=$(date +%s%N)
is "$(sql "SELECT kind FROM mbackup.daemon_take('$ONE')")" mark "a job that somebody is stopping is passed over"
ok "... without waiting for him" test "$(($(date +%s%N) - started))" -lt 2000000000
wait "$holder"
is "$(sql "SELECT kind FROM mbackup.daemon_take('$ONE')")" backup "... and taken when he has thought better of it"
sql "SELECT mbackup_wait($first)" >"$T/waited" 2>&1 &
waiter=$!
stack_owns "$waiter"
sleep 0.5
sql "SELECT mbackup.daemon_end('$ONE', $first, 'partial')" >/dev/null
wait "$waiter"
is "$(cat "$T/waited")" partial "mbackup_wait() sees the job end in another session"
psql -X -q -A -t -c "CALL mbackup_run(type => 'full')" >"$T/ran" 2>&1 &
waiter=$!
stack_owns "$waiter"
wait_for 10 sql "SELECT 1 / count(*) FROM mbackup.jobs WHERE state = 'queued'"
job=$(sql "SELECT id FROM mbackup.daemon_take('$ONE')")
sql "SELECT mbackup.daemon_end('$ONE', $job, 'done')" >/dev/null
wait "$waiter"
is "$(cat "$T/ran")" "$job|done" "CALL mbackup_run() asks, and waits"
run sql "BEGIN; CALL mbackup_run(); COMMIT"
ok "... not within a transaction" test "$status" != 0
like "$(psql -X -q -A -t -c "LISTEN mbackup_job" -c "SELECT mbackup_start()" 2>&1)" 'notification "mbackup_job"' "a new job sends a notification"
SECONDS=0
is "$(sql "SELECT mbackup_wait((SELECT max(id) FROM mbackup.jobs), '1.2 s')")" queued "mbackup_wait() returns after its timeout"
ok "... not before, not long after" test "$SECONDS" -ge 1 -a "$SECONDS" -le 4
like "$(psql -X -q -c "SET client_min_messages = warning" -c "UPDATE mbackup.daemon_table SET seen = now() - interval '1 hour'" -c "SELECT mbackup_start()" 2>&1)" 'no daemon serves this catalog' "without a daemon a job is taken with a warning"

sync_often() { local i; for i in $(seq 8); do sql "SELECT mbackup.$1 '{\"backups\": [{\"id\": \"b$2\", \"type\": \"full\", \"status\": \"complete\", \"started\": \"2026-01-01Z\", \"finished\": \"2026-01-01Z\", \"bytes\": 1, \"stored_bytes\": 1, \"components\": []}], \"marks\": [], \"windows\": []}')" >/dev/null 2>>"$T/syncs" || return; done; }
sync_often "daemon_sync('$ONE'," 1 & pids=$!
sync_often "sync(" 2 & pids="$pids $!"
sync_often "sync(" 1 & pids="$pids $!"
failed=0
for pid in $pids; do wait "$pid" || failed=$((failed + 1)); done
is "$failed $(cat "$T/syncs")" "0 " "three sessions replace the projection, by daemon and by hand"
is "$(sql "SELECT count(*) FROM mbackup.backups")" 1 "... and one answer stays"

# The tour of the manual, but for what names a job or watches.
grep -E "^SELECT ('|mbackup_(start|mark|policy|schedule)|[a-z])" "$here/docs/sql.md" | grep -E ';|watch' | sed 's/ \\watch 2/;/' | grep -vE '\\gset|:job|mbackup_(wait|stop|restore_plan)' >"$T/tour.sql"
ok "the tour of docs/sql.md, $(wc -l <"$T/tour.sql") statements" psql -X -q -v ON_ERROR_STOP=1 -1 -f "$T/tour.sql" -c ROLLBACK
ok "... there are some" test "$(wc -l <"$T/tour.sql")" -gt 10

# -- dump and restore -----------------------------------------------------------------------------------------
sql "SELECT mbackup_policy('small', 'backup', '{\"components\": [\"config\"]}', 'a comment')" >/dev/null
sql "SELECT mbackup_schedule('nightly', 'small', '0 2 * * *', 'Europe/Berlin', '5 min')" >/dev/null
sql "SELECT mbackup_schedule('weekly', 'default', '@weekly', 'UTC')" >/dev/null
# The pg_dump of this machine reads servers up to its own version.
if [ "$(pg_dump --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge "$(($(sql "SHOW server_version_num") / 10000))" ]
then
	ok "pg_dump" pg_dump -Fc -f "$T/dump" jobs
	before=$(sql "SELECT name, kind, arguments, comment FROM mbackup.policies ORDER BY 1; SELECT name, policy, cron, time_zone, jitter, enabled, next, owner FROM mbackup.schedules ORDER BY 1")
	sql "CREATE DATABASE restored"
	ok "pg_restore" pg_restore -e -d restored "$T/dump"
	is "$(sql "SELECT name, kind, arguments, comment FROM mbackup.policies ORDER BY 1; SELECT name, policy, cron, time_zone, jitter, enabled, next, owner FROM mbackup.schedules ORDER BY 1" -d restored)" "$before" "policies and schedules come back"
	is "$(sql "SELECT count(*) FROM mbackup.jobs" -d restored)" 0 "... jobs do not"
	is "$(sql "SELECT mbackup_start('small') > 0" -d restored)" t "... and it works"
else
	diag "no pg_dump for $(sql "SHOW server_version"): dump and restore are left out"
fi
unfresh jobs; unfresh restored

# -- who may install, and into what -----------------------------------------------------------------------------
sql "CREATE ROLE plain LOGIN"
sql "CREATE DATABASE plain OWNER plain"
ok "the owner of a database may not install it" refused 42501 "CREATE EXTENSION mbackup" -d plain -U plain
sql "CREATE SCHEMA mbackup AUTHORIZATION plain" -d plain
ok "a schema mbackup that is there already is not taken over" refused 42P06 "CREATE EXTENSION mbackup" -d plain
sql "DROP SCHEMA mbackup; CREATE FUNCTION public.mbackup_start(policy text, type text, components text[], labels jsonb) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'" -d plain
ok "... nor a function" refused 'ERROR' "CREATE EXTENSION mbackup" -d plain
sql "DROP FUNCTION public.mbackup_start(text, text, text[], jsonb)" -d plain
for might in SUPERUSER CREATEROLE BYPASSRLS REPLICATION CREATEDB
do
	sql "ALTER ROLE mbackup_operator RENAME TO kept; CREATE ROLE mbackup_operator $might"
	ok "a role mbackup_operator with $might is refused" refused 42710 "CREATE EXTENSION mbackup" -d plain
	sql "DROP ROLE mbackup_operator; ALTER ROLE kept RENAME TO mbackup_operator"
done
sql "GRANT pg_read_server_files TO mbackup_daemon"
ok "... or one that is a member of another" refused 42710 "CREATE EXTENSION mbackup" -d plain
sql "REVOKE pg_read_server_files FROM mbackup_daemon"
sql "GRANT mbackup_operator TO plain"
like "$(psql -X -d plain -c "SET client_min_messages = warning" -c "CREATE EXTENSION mbackup" 2>&1)" 'its members \(plain\)' "members that a role has already are named"
sql "REVOKE mbackup_operator FROM plain; DROP EXTENSION mbackup" -d plain
sql "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO plain; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO plain;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO plain; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO plain; ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO plain" -d plain
sql "CREATE EXTENSION mbackup" -d plain
is "$(sql "SELECT has_schema_privilege('plain', 'mbackup', 'USAGE'),
	(SELECT count(*) FROM pg_class WHERE relnamespace = 'mbackup'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege('plain', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')),
	(SELECT count(*) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid WHERE c.relnamespace = 'mbackup'::regnamespace AND has_sequence_privilege('plain', s.seqrelid, 'USAGE, SELECT, UPDATE')),
	(SELECT count(*) FROM pg_proc WHERE (pronamespace = 'mbackup'::regnamespace OR proname LIKE 'mbackup\\_%') AND has_function_privilege('plain', oid, 'EXECUTE'))" -d plain)" \
	"f|0|0|0" "what ALTER DEFAULT PRIVILEGES gives to others is not given"
sql "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM plain; ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM plain;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM plain; ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM plain; ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM plain" -d plain
unfresh plain
sql "CREATE DATABASE own"
sql "CREATE SCHEMA ops; CREATE EXTENSION mbackup SCHEMA ops" -d own
is "$(sql "SELECT ops.mbackup_start() > 0" -d own)" t "in a schema of its own"
is "$(sql "CALL ops.mbackup_run(timeout => '0')" -d own | cut -d'|' -f2)" queued "... the procedure too"
is "$(sql "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace" -d own)" 0 "... and nothing in public"
ok "it is dropped as a whole" sql "DROP EXTENSION mbackup" -d own
is "$(sql "SELECT count(*) FROM pg_namespace WHERE nspname = 'mbackup'" -d own)" 0 "... its schema too"
ok "... and made again" sql "CREATE EXTENSION mbackup SCHEMA ops" -d own
unfresh own
done_testing

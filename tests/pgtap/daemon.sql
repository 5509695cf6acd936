-- What the daemon calls: taking, ending, fencing, schedules, the projection, the views and the status document.
SET client_min_messages = error;
SET search_path = public, tap;
SET TimeZone = 'UTC';
BEGIN;
SELECT * FROM no_plan();
\set one '''11111111-1111-1111-1111-111111111111'''
\set two '''22222222-2222-2222-2222-222222222222'''

-- -- hello ------------------------------------------------------------------------------------------------
SELECT throws_ok('SELECT mbackup.daemon_take(''11111111-1111-1111-1111-111111111111'')', 'MB001', NULL, 'a daemon that has not said hello');
SELECT is((SELECT count(*) FROM mbackup.problems WHERE name = 'daemon'), 1::bigint, 'no daemon is a problem');
SELECT is_empty('SELECT mbackup.daemon_hello(' || quote_literal(:one) || ', ''db1'', 42, ''1.0'')', 'hello');
SELECT is_empty('SELECT * FROM mbackup.problems', '... then it is none');
SELECT throws_ok('SELECT mbackup.daemon_hello(NULL, ''h'', 1, ''v'')', '22004', NULL, 'hello: NULL');

-- -- who runs beside whom -----------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.take(daemon text) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(id || ' ' || kind || ' ' || state, ',') FROM mbackup.daemon_take(daemon::uuid) $$;
CREATE FUNCTION pg_temp.kind_of(daemon text) RETURNS text LANGUAGE sql AS $$ SELECT kind FROM mbackup.daemon_take(daemon::uuid) $$;
SELECT is(pg_temp.take(:one), NULL, 'nothing to take');
INSERT INTO mbackup.backup_table (id, kind, status, started, finished, bytes, stored_bytes) VALUES ('b1', 'full', 'complete', now(), now(), 1, 1);
SELECT mbackup_start() AS a \gset
SELECT mbackup_start() AS b \gset
SELECT mbackup_verify() AS v \gset
SELECT mbackup_mark('m1') AS m \gset
SELECT mbackup_mark('m2') AS m2 \gset
SELECT mbackup_restore_plan() AS p \gset
SELECT mbackup_expire() AS e \gset
SELECT mbackup_pin('b1') AS i \gset
SELECT is(pg_temp.take(:one), :a || ' backup running', 'the oldest first');
SELECT is(pg_temp.take(:one), :m || ' mark running', 'beside a backup no backup and no verify, but a mark');
SELECT is(pg_temp.take(:one), :p || ' plan running', '... no other mark, but a plan');
SELECT is(pg_temp.take(:one), :i || ' pin running', '... and a pin');
SELECT is(pg_temp.take(:one), NULL, '... then nothing');
SELECT is(mbackup.daemon_end(:one, :a, 'done', '{"backup": {"id": "x"}}'), true, 'the backup is done');
SELECT is((SELECT state || ' ' || made FROM mbackup.jobs WHERE id = :a), 'done x', '... which is seen, with what it made');
SELECT is(mbackup.daemon_end(:one, :a, 'failed'), false, '... and does not end twice');
SELECT is(pg_temp.kind_of(:one), 'backup', 'then the next backup');
SELECT is(mbackup.daemon_end(:one, :b, 'failed', NULL, '{"code": "IO", "message": "m", "hint": "h"}'), true, '... it fails');
SELECT is((SELECT error || hint FROM mbackup.jobs WHERE id = :b), 'mh', '... and says why');
SELECT is(pg_temp.kind_of(:one), 'verify', 'then the verify');
SELECT is(mbackup.daemon_end(:one, :v, 'done'), true, '... is done');
SELECT is(pg_temp.take(:one), NULL, 'no expire beside a pin');
SELECT is(mbackup.daemon_end(:one, :m, 'done'), true, 'the mark is done');
SELECT is(pg_temp.take(:one), :m2 || ' mark running', 'then the next mark');
SELECT is(mbackup.daemon_end(:one, :i, 'done'), true, 'the pin is done');
SELECT is(pg_temp.take(:one), :e || ' expire running', 'then the expire');
SELECT throws_ok(format('SELECT mbackup.daemon_end(%L, %s, %L)', :one, :e, s), '22023', NULL, 'no end of a job: ' || coalesce(s, 'NULL')) FROM unnest(ARRAY['queued', 'running', 'x', NULL]) AS s;

-- -- progress, cancel ---------------------------------------------------------------------------------------
SELECT is(mbackup.daemon_progress(:one, :e, '{"components": [{"name": "redis", "phase": "copy", "done_bytes": 250, "total_bytes": 1000}, {"name": "config", "phase": "wait"}]}'), false, 'progress');
SELECT results_eq('SELECT component, phase, percent, done FROM mbackup.progress WHERE component IS NOT NULL', $$VALUES ('redis', 'copy', 25.0, '250 bytes'), ('config', 'wait', NULL, NULL)$$, '... is seen');
SELECT lives_ok(format('SELECT mbackup.daemon_progress(%L, %s, %L); SELECT * FROM mbackup.progress', :one, :e, v), 'progress that is not as it should be: ' || v)
	FROM unnest(ARRAY['{}', '[]', '1', '{"components": 1}', '{"components": [1, {"done_bytes": "x"}, {"done_bytes": 5, "total_bytes": 0}]}']) AS v;
SELECT is(mbackup_stop(:e), true, 'stop it');
SELECT is((SELECT stopping FROM mbackup.jobs WHERE id = :e), true, '... it is stopping');
SELECT is(mbackup.daemon_progress(:one, :e, '{}'), true, '... the daemon is told');
SELECT is(mbackup.daemon_progress(:one, :a, '{}'), true, 'a job that is over is nothing to go on with');
SELECT is(mbackup.daemon_end(:one, :e, 'cancelled'), true, '... it ends');
SELECT throws_ok(format('SELECT mbackup.daemon_progress(%L, %s, to_jsonb(repeat(''x'', 300000)))', :one, :e), '54000', NULL, 'progress of 300 kB');

-- -- another daemon, another timeline -------------------------------------------------------------------------
SELECT results_eq(format('SELECT id FROM mbackup.daemon_hello(%L, ''db2'', 43, ''1.0'')', :two), format('VALUES (%s::bigint), (%s)', :m2, :p), 'a new daemon is given what the old one ran');
SELECT throws_ok(format(f, :one), 'MB002', NULL, 'the old one is refused: ' || f) FROM unnest(ARRAY['SELECT mbackup.daemon_take(%L)', 'SELECT mbackup.daemon_progress(%L, 1, ''{}'')', 'SELECT mbackup.daemon_end(%L, 1, ''done'')',
	'SELECT mbackup.daemon_due(%L)', 'SELECT mbackup.daemon_sync(%L, ''{"backups": [], "marks": [], "windows": []}'')', 'SELECT mbackup.daemon_report(%L, ''[]'', ''[]'')']) AS f;
SELECT is(mbackup.daemon_progress(:two, :p, '{}'), true, 'what it was given is not its to run');
SELECT is(mbackup.daemon_end(:two, :p, 'done'), true, '... but to settle');
SELECT is(mbackup.daemon_end(:two, :m2, 'failed'), true, '... in any way');
SELECT is_empty(format('SELECT id FROM mbackup.daemon_hello(%L, ''db2'', 43, ''1.0'')', :two), '... then nothing is left');
SELECT mbackup_start() AS x \gset
SELECT mbackup_start() AS y \gset
SELECT mbackup_start() AS z \gset
UPDATE mbackup.job_table SET timeline = timeline + 1 WHERE id = :x;
UPDATE mbackup.job_table SET system_identifier = 1 WHERE id = :y;
SELECT is(pg_temp.take(:two), :z || ' backup running', 'jobs of another timeline or cluster are not taken');
SELECT results_eq('SELECT id, state, error IS NOT NULL FROM mbackup.jobs WHERE state = ''abandoned'' ORDER BY id', format('VALUES (%s::bigint, ''abandoned'', true), (%s, ''abandoned'', true)', :x, :y), '... but abandoned, visibly');
UPDATE mbackup.job_table SET timeline = timeline + 1 WHERE id = :z;
SELECT results_eq(format('SELECT id FROM mbackup.daemon_hello(%L, ''db2'', 43, ''1.0'')', :two), format('VALUES (%s::bigint)', :z), 'a running job of another timeline is to be settled, even by the daemon that ran it');
SELECT is(mbackup.daemon_end(:two, :z, 'abandoned'), true, '... it is');

-- -- schedules ------------------------------------------------------------------------------------------------
SELECT mbackup_policy('m', 'mark', '{"name": "auto"}');
SELECT mbackup_schedule('nightly', 'default', '0 2 * * *', 'UTC');
SELECT mbackup_schedule('marks', 'm', '*/10 * * * *', 'UTC');
CREATE FUNCTION pg_temp.back(schedule text, due timestamptz) RETURNS void LANGUAGE sql AS $$ UPDATE mbackup.schedule_table AS s SET due = back.due, next = back.due WHERE s.name = schedule $$;
CREATE FUNCTION pg_temp.jobs_of(schedule text) RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM mbackup.jobs AS j WHERE j.schedule = jobs_of.schedule $$;
SELECT is(mbackup.daemon_due(:two), (SELECT min(next) FROM mbackup.schedules), 'not due: when to ask again');
SELECT is(pg_temp.jobs_of('nightly'), 0::bigint, '... and no job');
SELECT pg_temp.back('nightly', date_trunc('day', clock_timestamp() - interval '2 hours') + interval '2 hours');
SELECT lives_ok(format('SELECT mbackup.daemon_due(%L)', :two), 'due');
SELECT is(pg_temp.jobs_of('nightly'), 1::bigint, '... makes a job');
SELECT is((SELECT missed FROM mbackup.schedules WHERE name = 'nightly'), 0::bigint, '... nothing is missed');
SELECT is((SELECT next FROM mbackup.schedules WHERE name = 'nightly'), mbackup.cron_next('0 2 * * *', 'UTC', clock_timestamp()), '... and there is a next time');
SELECT is((SELECT requested_by || ' ' || policy FROM mbackup.jobs WHERE schedule = 'nightly'), session_user || ' default', '... of the owner, by the policy');
SELECT pg_temp.back('nightly', date_trunc('day', clock_timestamp() - interval '2 hours') + interval '2 hours');
SELECT lives_ok(format('SELECT mbackup.daemon_due(%L)', :two), 'due again while its job waits');
SELECT is(pg_temp.jobs_of('nightly'), 1::bigint, '... makes none');
SELECT is((SELECT missed FROM mbackup.schedules WHERE name = 'nightly'), 1::bigint, '... it is missed');
SELECT id AS j FROM mbackup.daemon_take(:two) \gset
SELECT pg_temp.back('nightly', date_trunc('day', clock_timestamp() - interval '2 hours') + interval '2 hours');
SELECT lives_ok(format('SELECT mbackup.daemon_due(%L)', :two), 'due again while its job runs');
SELECT is((SELECT missed FROM mbackup.schedules WHERE name = 'nightly'), 2::bigint, '... it is missed');
SELECT is(mbackup.daemon_end(:two, :j, 'done'), true, 'the job ends');
SELECT pg_temp.back('nightly', date_trunc('day', clock_timestamp() - interval '2 hours') + interval '2 hours' - interval '4 days');
SELECT lives_ok(format('SELECT mbackup.daemon_due(%L)', :two), 'five times have passed');
SELECT is(pg_temp.jobs_of('nightly'), 2::bigint, '... one is made up for');
SELECT is((SELECT missed FROM mbackup.schedules WHERE name = 'nightly'), 6::bigint, '... four are missed');
SELECT is((SELECT due FROM mbackup.job_table WHERE schedule = 'nightly' ORDER BY id DESC LIMIT 1), date_trunc('day', clock_timestamp() - interval '2 hours') + interval '2 hours', '... the newest is made');
SELECT is((SELECT last_state FROM mbackup.schedules WHERE name = 'nightly'), 'queued', '... and seen as the last');
SELECT pg_temp.back('marks', '2026-01-01 00:00Z');
SELECT lives_ok(format('SELECT mbackup.daemon_due(%L)', :two), 'very many times have passed');
SELECT ok((SELECT next > clock_timestamp() AND missed BETWEEN 1000 AND 1500 FROM mbackup.schedules WHERE name = 'marks'), '... 1500 are counted, then it goes on from now');
SELECT ok((SELECT arguments ->> 'name' ~ '^auto-[0-9]{8}T[0-9]{6}Z$' AND NOT (arguments ? 'type') FROM mbackup.jobs WHERE schedule = 'marks' ORDER BY id DESC LIMIT 1), '... a mark of a name of its own');
SELECT mbackup_schedule('broken', 'default', '@hourly', 'UTC');
UPDATE mbackup.schedule_table SET time_zone = 'Gone/Away', due = '2026-01-01Z', next = '2026-01-01Z' WHERE name = 'broken';
SELECT pg_temp.back('nightly', date_trunc('day', clock_timestamp() - interval '2 hours') + interval '2 hours');
SELECT lives_ok(format('SELECT mbackup.daemon_due(%L)', :two), 'a schedule of a time zone that is no more');
SELECT is((SELECT missed FROM mbackup.schedules WHERE name = 'nightly'), 7::bigint, '... does not stop the others');
SELECT mbackup_schedule('nightly', 'default', '0 2 * * *', 'UTC', enabled => false);
SELECT mbackup_schedule('marks', 'm', '@hourly', 'UTC', enabled => false);
SELECT mbackup_unschedule('broken');
SELECT is(mbackup.daemon_due(:two), NULL, 'no schedule: nothing to ask for');

-- -- the projection, from a real answer --------------------------------------------------------------------------
\set list `cat :tests/pgtap/list.json`
CREATE FUNCTION pg_temp.sync(list text) RETURNS void LANGUAGE sql AS $$ SELECT mbackup.daemon_sync('22222222-2222-2222-2222-222222222222', list::jsonb) $$;
SELECT lives_ok(format('SELECT pg_temp.sync(%L)', :'list'), 'sync');
SELECT results_eq('SELECT id, type, status, size, labels ->> ''release'', components FROM mbackup.backups ORDER BY started', $$VALUES
	('20261128T212738Z-c9e509df9c37', 'full', 'complete', '22 MB', '1.7', '{config,postgres,uploads}'::text[]),
	('20261128T212739Z-cec70cff47aa', 'incremental', 'partial', '22 MB', NULL, '{config,postgres,uploads}'::text[])$$, '... backups');
SELECT ok((SELECT missing ->> 'redis' LIKE 'could not attach%' FROM mbackup.backups WHERE status = 'partial'), '... what is missing, and why');
SELECT is((SELECT count(*) FROM mbackup.components), 6::bigint, '... components');
SELECT results_eq('SELECT kind, entries, changed_bytes, seconds FROM mbackup.components WHERE name = ''postgres'' ORDER BY finished', $$VALUES ('postgres', 988::bigint, 23213861::bigint, 0.861::float8), ('postgres', 988, 16621, 1.276)$$, '... their figures');
SELECT results_eq('SELECT name, consistency, lsn, taken FROM mbackup.marks', $$VALUES ('one', 'ordered', '0/5000180'::pg_lsn, '2026-11-28 21:27:41.254471Z'::timestamptz)$$, '... marks');
SELECT is((SELECT string_agg(component || ' ' || kind || ' ' || coalesce("from"::text, '-'), ', ') FROM mbackup.recovery_window),
	'stack stack -, config files 2026-11-28 21:27:38.438333+00, postgres postgres 2026-11-28 21:27:39.45951+00, redis redis -, uploads objects 2026-11-28 21:27:38.427698+00', '... windows, the stack first');
CREATE TEMP TABLE before AS SELECT xmin::text AS x, id FROM mbackup.backup_table;
SELECT lives_ok(format('SELECT pg_temp.sync(%L)', :'list'), 'the same again');
SELECT results_eq('SELECT x, id FROM before ORDER BY id', 'SELECT xmin::text, id FROM mbackup.backup_table ORDER BY id', '... writes nothing');
SELECT lives_ok(format('SELECT pg_temp.sync(%L)', jsonb_set(:'list', '{backups}', :'list'::jsonb -> 'backups' #- '{0}')), 'one less');
SELECT is((SELECT count(*) FROM mbackup.components), 3::bigint, '... is gone, with its components');
SELECT throws_ok(format('SELECT pg_temp.sync(%L)', v), '22023', NULL, 'no list: ' || v) FROM unnest(ARRAY['{}', '[]', 'null', '{"backups": [], "marks": []}', '{"backups": {}, "marks": [], "windows": []}']) AS v;
SELECT throws_ok($$SELECT mbackup.daemon_sync('22222222-2222-2222-2222-222222222222', NULL)$$, '22023', NULL, 'no list: NULL');
SELECT is((SELECT count(*) FROM mbackup.backups), 1::bigint, '... leaves what there is');
INSERT INTO mbackup.job_table (kind, arguments, state, requested_by, requested_as, requested, system_identifier, timeline, finished)
	SELECT 'plan', '{}', 'cancelled', 'x', 'x', now(), 1, 1, now() - CASE WHEN n <= 1010 THEN interval '100 days' ELSE interval '80 days' END FROM generate_series(1, 1020) AS n;
UPDATE mbackup.job_table SET finished = now() - interval '100 days' WHERE finished > now() - interval '1 hour';
SELECT lives_ok(format('SELECT pg_temp.sync(%L)', :'list'), 'sync with old jobs');
SELECT results_eq('SELECT min(id), count(*) > 990 FROM mbackup.jobs WHERE finished IS NOT NULL', 'SELECT max(id) - 999, true FROM mbackup.jobs', '... the newest thousand stay, old as they are');
SELECT ok((SELECT count(*) > 0 FROM mbackup.jobs WHERE finished IS NULL), '... and what is not over');

-- -- streams, problems -----------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.report(streams text, problems text) RETURNS void LANGUAGE sql AS
	$$ SELECT mbackup.daemon_report('22222222-2222-2222-2222-222222222222', streams::jsonb, problems::jsonb, 'shop', '{"url": "/backup/shop", "state": "up", "message": ""}') $$;
SELECT lives_ok($q$SELECT pg_temp.report('[{"component": "postgres", "kind": "postgres", "state": "running", "since": "2026-11-01T00:00:00Z", "lag_seconds": 1.5}]',
	'[{"component": "stack", "name": "backup-age", "severity": "warning", "message": "old", "fix": "new", "since": "2026-11-01T00:00:00Z"}]')$q$, 'report');
SELECT results_eq('SELECT component, state, lag_seconds, behind, since FROM mbackup.streams', $$VALUES ('postgres', 'running', 1.5::float8, '2 s', '2026-11-01Z'::timestamptz)$$, '... streams');
SELECT lives_ok($q$SELECT pg_temp.report('[{"component": "postgres", "kind": "postgres", "state": "running", "lag_seconds": 0.25}]', '[{"component": "stack", "name": "backup-age", "severity": "failed", "message": "older"}]')$q$, 'report again');
SELECT is((SELECT since FROM mbackup.streams), '2026-11-01Z'::timestamptz, '... in the same state since the same time');
SELECT is((SELECT severity || ' ' || message || ' ' || since FROM mbackup.problems), 'failed older 2026-11-01 00:00:00+00', '... a problem keeps its since');
SELECT lives_ok($q$SELECT pg_temp.report('[{"component": "postgres", "state": "failed", "message": "x"}]', '[]')$q$, 'report a failure');
SELECT ok((SELECT since > now() - interval '1 hour' FROM mbackup.streams), '... in another state since now');
SELECT is_empty('SELECT * FROM mbackup.problems', '... problems that are over are gone');
SELECT lives_ok($$SELECT mbackup.daemon_report('22222222-2222-2222-2222-222222222222', NULL, NULL)$$, 'report nothing');
SELECT is((SELECT count(*) FROM mbackup.streams), 1::bigint, '... leaves what there is');
SELECT throws_ok($q$SELECT pg_temp.report('[{"component": "postgres", "state": "odd"}]', '[]')$q$, '23514', NULL, 'no state of a stream');

-- -- the document ----------------------------------------------------------------------------------------------
SELECT results_eq('SELECT jsonb_object_keys(mbackup_status()) ORDER BY 1', $$VALUES ('backups'), ('daemon'), ('database'), ('host'), ('jobs'), ('last'), ('marks'), ('problems'), ('repository'), ('schedules'), ('stack'), ('streams'), ('time'), ('version'), ('windows')$$, 'status: its members');
SELECT is(mbackup_status() #>> '{backups,0,id}', '20261128T212739Z-cec70cff47aa', '... the newest backup first');
SELECT is(mbackup_status() #>> '{backups,1,components,1,stored_bytes}', '3005005', '... with components');
SELECT is(mbackup_status() #>> '{repository,state}', 'up', '... the repository');
SELECT is(mbackup_status() ->> 'stack', 'shop', '... the stack');
SELECT is(mbackup_status() #>> '{daemon,state}', 'up', '... the daemon');
SELECT ok(mbackup_status() ->> 'time' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$', '... times as the commands write them');
SELECT ok((mbackup_status() #>> '{jobs,0,id}')::bigint = (SELECT max(id) FROM mbackup.jobs), '... the newest job first');
SELECT is((SELECT string_agg(mbackup.span(i), ', ' ORDER BY n) FROM unnest('{0.5 s, 90 s, 3 min, 3 h, 3 days, -5 s}'::interval[]) WITH ORDINALITY AS v (i, n)), '500 ms, 90 s, 3 min, 3 h, 3 days, -5 s', 'spans');
SELECT * FROM finish();
ROLLBACK;

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM no_plan();
SELECT throws_ok('SELECT mbackup.daemon_take(''11111111-1111-1111-1111-111111111111'')', '25000', NULL, 'the daemon in REPEATABLE READ');
SELECT * FROM finish();
ROLLBACK;

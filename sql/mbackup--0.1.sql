/*
 * mbackup--0.1.sql - the catalog and the cockpit: CREATE EXTENSION mbackup.
 *
 * Two schemas.  `mbackup` holds the catalog: tables (..._table), views with the short names that people read, and
 * what the daemon calls (mbackup.daemon_...).  The functions that people call (mbackup_start(), ...) are in the
 * schema of CREATE EXTENSION, public by default, so that SELECT mbackup_start() works as it stands.  Not relocatable:
 * the functions are SECURITY DEFINER and name every object by its schema.
 *
 * The repository is the truth.  backup, component, mark and recovery_window are a projection of it that
 * mbackup.daemon_sync() replaces; job and schedule live here only.
 */
\echo Use "CREATE EXTENSION mbackup" to load this file. \quit

CREATE SCHEMA mbackup;
COMMENT ON SCHEMA mbackup IS 'Catalog of mbackup: backups, marks, jobs, schedules, recovery windows of this application stack';

-- Roles, cluster-wide and without login: made when they are missing.
DO $$
DECLARE
	role text;
BEGIN
	FOREACH role IN ARRAY ARRAY['mbackup_monitor', 'mbackup_operator', 'mbackup_daemon'] LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
		END IF;
	END LOOP;
END
$$;

-- -- the projection of the repository --------------------------------------------------------------

CREATE TABLE mbackup.backup_table (
	id text PRIMARY KEY,             -- of the set
	kind text NOT NULL,              -- full | incremental
	status text NOT NULL,            -- complete | partial
	parent text,
	started timestamptz NOT NULL,
	finished timestamptz NOT NULL,
	bytes bigint NOT NULL,
	stored_bytes bigint NOT NULL,
	labels jsonb NOT NULL,
	cut jsonb NOT NULL,
	missing jsonb NOT NULL           -- component to the reason why it is not in a partial one
);
CREATE TABLE mbackup.component_table (
	backup text NOT NULL REFERENCES mbackup.backup_table ON DELETE CASCADE,
	name text NOT NULL,
	kind text NOT NULL,              -- postgres | objects | redis | files
	entries bigint NOT NULL,
	bytes bigint NOT NULL,
	changed_bytes bigint NOT NULL,
	stored_bytes bigint NOT NULL,
	seconds double precision NOT NULL,
	warnings jsonb NOT NULL,
	PRIMARY KEY (backup, name)
);
CREATE TABLE mbackup.mark_table (
	id text PRIMARY KEY,
	name text NOT NULL,
	taken timestamptz NOT NULL,
	cut jsonb NOT NULL,
	uncovered jsonb NOT NULL
);
CREATE TABLE mbackup.window_table (
	component text PRIMARY KEY,      -- a component, or 'stack'
	starts timestamptz,              -- NULL: nothing can be restored
	ends timestamptz,
	gaps jsonb NOT NULL              -- [[from, to], ...]
);

-- -- what the daemon knows of the moment -----------------------------------------------------------

CREATE TABLE mbackup.stream_table (
	component text PRIMARY KEY,
	state text NOT NULL,             -- running | waiting | stopped | failed
	since timestamptz NOT NULL,      -- in this state
	lag interval,                    -- between the component's present and what is in the repository
	detail jsonb NOT NULL
);
CREATE TABLE mbackup.problem_table (
	component text NOT NULL,         -- or 'stack', 'repository', 'daemon'
	name text NOT NULL,              -- 'backup-age', or the name of a finding of mbackup check
	severity text NOT NULL,          -- warning | failed
	message text NOT NULL,
	fix text NOT NULL,
	since timestamptz NOT NULL,
	PRIMARY KEY (component, name)
);
CREATE TABLE mbackup.daemon_table (
	id uuid PRIMARY KEY,             -- of a run of the daemon
	host text NOT NULL,
	pid integer NOT NULL,
	version text NOT NULL,
	started timestamptz NOT NULL,
	seen timestamptz NOT NULL,       -- last sign of life
	synced timestamptz               -- last daemon_sync
);

-- -- jobs and schedules ----------------------------------------------------------------------------

CREATE TABLE mbackup.policy_table (
	name text PRIMARY KEY,           -- what a job may ask for, by its name only; never a path or an endpoint
	kind text NOT NULL,              -- backup | verify | expire | mark
	arguments jsonb NOT NULL,        -- {"type": "auto", "components": [...], "pause": true, "read-data": "changed"}
	comment text NOT NULL DEFAULT ''
);
CREATE TABLE mbackup.job_table (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	kind text NOT NULL,              -- backup | mark | verify | expire | plan
	arguments jsonb NOT NULL,        -- validated by the function that made the job
	state text NOT NULL DEFAULT 'queued', -- queued | running | done | partial | failed | cancelled | abandoned
	requested_by name NOT NULL,
	requested timestamptz NOT NULL,
	schedule text,                   -- made by this schedule
	-- Fence: a job belongs to one cluster on one timeline; of another it is abandoned, never run.
	system_identifier bigint NOT NULL,
	timeline integer NOT NULL,
	daemon uuid,                     -- the run of the daemon that took it
	started timestamptz,
	finished timestamptz,
	cancel boolean NOT NULL DEFAULT false,
	progress jsonb NOT NULL DEFAULT '{}', -- {"components": [{"name", "phase", "done_bytes", "total_bytes"}]}
	result jsonb,                    -- the answer of the command, as its --json
	error jsonb                      -- {"code", "message", "detail", "hint"}
);
CREATE INDEX ON mbackup.job_table (state, id) WHERE state IN ('queued', 'running');
CREATE TABLE mbackup.schedule_table (
	name text PRIMARY KEY,
	policy text NOT NULL REFERENCES mbackup.policy_table,
	cron text NOT NULL,              -- minute hour day month weekday
	time_zone text NOT NULL,
	jitter interval NOT NULL,
	enabled boolean NOT NULL,
	owner name NOT NULL,
	next timestamptz,
	last timestamptz,                -- when it was last due and made a job (or found one running)
	last_job bigint,
	missed integer NOT NULL DEFAULT 0 -- times that passed with no daemon running, or with its last job still running
);

-- Only what a person has written goes into pg_dump: the rest is made anew by "mbackup catalog sync".
SELECT pg_catalog.pg_extension_config_dump('mbackup.policy_table', '');
SELECT pg_catalog.pg_extension_config_dump('mbackup.schedule_table', '');

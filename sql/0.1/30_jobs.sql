-- -- what both sides use -------------------------------------------------------------------------------

CREATE FUNCTION mbackup.system_identifier() RETURNS bigint LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT system_identifier FROM pg_control_system() $$;
COMMENT ON FUNCTION mbackup.system_identifier() IS 'Of this cluster; its copies and restores have the same';

-- pg_control_checkpoint() knows a new timeline only after the first checkpoint of it.
CREATE FUNCTION mbackup.timeline() RETURNS integer LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS
$$ SELECT CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
	ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer END $$;
COMMENT ON FUNCTION mbackup.timeline() IS 'The timeline that this server writes';

-- As the answers of the commands write it.
CREATE FUNCTION mbackup.rfc3339(t timestamptz) RETURNS text LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS
$$ SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;
COMMENT ON FUNCTION mbackup.rfc3339(timestamptz) IS 'A time as the JSON of mbackup has it';

CREATE FUNCTION mbackup.make_job(kind text, arguments jsonb, requested_by name, requested_as name, schedule text, due timestamptz)
RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	job bigint;
	waiting integer;
BEGIN
	SELECT count(*) INTO waiting FROM mbackup.job_table AS j WHERE j.state = 'queued';
	IF waiting >= 200 THEN
		RAISE EXCEPTION 'could not add a job: % are waiting already', waiting
			USING ERRCODE = 'configuration_limit_exceeded', HINT = 'See whether "mbackup daemon" runs (SELECT * FROM mbackup.problems), or take jobs back with mbackup_stop().';
	END IF;
	INSERT INTO mbackup.job_table AS j (kind, arguments, requested_by, requested_as, requested, schedule, due, system_identifier, timeline)
	VALUES (make_job.kind, make_job.arguments, make_job.requested_by, make_job.requested_as, clock_timestamp(), make_job.schedule, make_job.due,
		mbackup.system_identifier(), mbackup.timeline())
	RETURNING j.id INTO job;
	PERFORM pg_notify('mbackup_job', job::text);
	RETURN job;
END
$$;
COMMENT ON FUNCTION mbackup.make_job(text, jsonb, name, name, text, timestamptz) IS 'Add a job and wake the daemon';

-- A queued job of another cluster or timeline was asked for in a past that this database does not continue: whoever
-- asked may have been answered already.
CREATE FUNCTION mbackup.abandon() RETURNS void LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	UPDATE mbackup.job_table SET state = 'abandoned', finished = clock_timestamp(),
		error = jsonb_build_object('code', 'CONFLICT', 'message', format('the job belongs to cluster %s, timeline %s; this is %s, timeline %s',
			system_identifier, timeline, mbackup.system_identifier(), mbackup.timeline()),
			'detail', '', 'hint', 'Ask for it again if it is still wanted.')
	WHERE state = 'queued' AND (system_identifier <> mbackup.system_identifier() OR timeline <> mbackup.timeline())
$$;
COMMENT ON FUNCTION mbackup.abandon() IS 'End the queued jobs of other clusters and timelines';

-- A schedule's jitter for one of its times, always the same.
CREATE FUNCTION mbackup.jittered(name text, due timestamptz, jitter interval) RETURNS timestamptz LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT due + jitter * (('x' || substr(encode(sha256(convert_to(name || ' ' || mbackup.rfc3339(due), 'UTF8')), 'hex'), 1, 8))::bit(32)::bigint & 2147483647) / 2147483648.0::double precision
$$;
COMMENT ON FUNCTION mbackup.jittered(text, timestamptz, interval) IS 'When a due time of a schedule is run';

-- -- what the daemon calls -------------------------------------------------------------------------------

-- Every call of a daemon begins here: the row lock puts the calls of a daemon one after the other, so that the looks at
-- what is running are true, and shuts out a daemon that another one has replaced.
CREATE FUNCTION mbackup.daemon_seen(daemon uuid) RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	successor uuid;
BEGIN
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION 'the daemon needs transactions that are READ COMMITTED, not %', upper(current_setting('transaction_isolation')) USING ERRCODE = 'invalid_transaction_state';
	END IF;
	UPDATE mbackup.daemon_table SET seen = clock_timestamp() WHERE id = daemon RETURNING replaced_by INTO successor;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'daemon % is not known here', daemon USING ERRCODE = 'MB001', HINT = 'Call mbackup.daemon_hello(); the database may have been restored.';
	END IF;
	IF successor IS NOT NULL THEN
		RAISE EXCEPTION 'daemon % was replaced by %', daemon, successor USING ERRCODE = 'MB002', HINT = 'One daemon serves a catalog; end this one.';
	END IF;
END
$$;
COMMENT ON FUNCTION mbackup.daemon_seen(uuid) IS 'Note a sign of life; refuse a daemon that is unknown (MB001) or replaced (MB002)';

CREATE FUNCTION mbackup.daemon_hello(daemon uuid, host text, pid integer, version text)
RETURNS SETOF mbackup.job_table LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF daemon IS NULL OR host IS NULL OR pid IS NULL OR version IS NULL THEN
		RAISE EXCEPTION 'daemon_hello() needs daemon, host, pid and version' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	-- First the lock on those before, then whatever they did is visible.
	UPDATE mbackup.daemon_table AS d SET replaced_by = daemon_hello.daemon WHERE d.id <> daemon_hello.daemon AND d.replaced_by IS NULL;
	INSERT INTO mbackup.daemon_table AS d (id, host, pid, version, started, seen)
	VALUES (daemon_hello.daemon, left(daemon_hello.host, 255), daemon_hello.pid, left(daemon_hello.version, 255), clock_timestamp(), clock_timestamp())
	ON CONFLICT (id) DO UPDATE SET host = EXCLUDED.host, pid = EXCLUDED.pid, version = EXCLUDED.version, seen = EXCLUDED.seen;
	PERFORM mbackup.daemon_seen(daemon);
	PERFORM mbackup.abandon();
	DELETE FROM mbackup.daemon_table AS d WHERE d.replaced_by IS NOT NULL AND d.seen < clock_timestamp() - '30 days'::interval
		AND NOT EXISTS (SELECT FROM mbackup.job_table AS j WHERE j.daemon = d.id AND j.state = 'running');
	-- This daemon may be older than the database that it finds: then what the row says of it is of another past.
	RETURN QUERY SELECT j.* FROM mbackup.job_table AS j WHERE j.state = 'running'
		AND (j.daemon <> daemon_hello.daemon OR j.system_identifier <> mbackup.system_identifier() OR j.timeline <> mbackup.timeline()) ORDER BY j.id;
END
$$;
COMMENT ON FUNCTION mbackup.daemon_hello(uuid, text, integer, text) IS 'Register this run of the daemon; returns running jobs of daemons that are gone, or of another timeline, to be settled';

-- Whether two kinds of jobs may not run at the same time.
CREATE FUNCTION mbackup.excludes(one text, other text) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT one = other OR (one IN ('backup', 'verify', 'expire') AND other IN ('backup', 'verify', 'expire'))
		OR (one = 'pin' AND other = 'expire') OR (one = 'expire' AND other = 'pin')
$$;
COMMENT ON FUNCTION mbackup.excludes(text, text) IS 'One of a kind at a time; of backup, verify and expire one; marks, plans and pins beside them, but no pin beside expire';

CREATE FUNCTION mbackup.daemon_take(daemon uuid)
RETURNS SETOF mbackup.job_table LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	taken bigint;
BEGIN
	PERFORM mbackup.daemon_seen(daemon);
	PERFORM mbackup.abandon();
	-- A row that somebody holds (mbackup_stop() just now) is left for the next time.
	SELECT j.id INTO taken FROM mbackup.job_table AS j
	WHERE j.state = 'queued'
		AND NOT EXISTS (SELECT FROM mbackup.job_table AS r WHERE r.state = 'running' AND mbackup.excludes(r.kind, j.kind))
	ORDER BY j.id LIMIT 1 FOR UPDATE SKIP LOCKED;
	RETURN QUERY UPDATE mbackup.job_table AS j SET state = 'running', daemon = daemon_take.daemon, started = clock_timestamp()
	WHERE j.id = taken AND j.state = 'queued' RETURNING j.*;
END
$$;
COMMENT ON FUNCTION mbackup.daemon_take(uuid) IS 'Take the oldest queued job that nothing that runs excludes; none: no row';

CREATE FUNCTION mbackup.daemon_progress(daemon uuid, job bigint, progress jsonb)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	stop boolean;
BEGIN
	PERFORM mbackup.daemon_seen(daemon);
	IF octet_length(progress::text) > 262144 THEN
		RAISE EXCEPTION 'the progress of job % has % bytes: it may have 262144', job, octet_length(progress::text) USING ERRCODE = 'program_limit_exceeded';
	END IF;
	UPDATE mbackup.job_table AS j SET progress = coalesce(daemon_progress.progress, j.progress)
	WHERE j.id = job AND j.state = 'running' AND j.daemon = daemon_progress.daemon RETURNING j.cancel INTO stop;
	-- A job that is not this daemon's (any more) is nothing to go on with.
	RETURN coalesce(stop, true);
END
$$;
COMMENT ON FUNCTION mbackup.daemon_progress(uuid, bigint, jsonb) IS 'Note how far a job is; true: it is to be cancelled';

CREATE FUNCTION mbackup.daemon_end(daemon uuid, job bigint, state text, result jsonb DEFAULT NULL, error jsonb DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM mbackup.daemon_seen(daemon);
	IF state IS NULL OR state NOT IN ('done', 'partial', 'failed', 'cancelled', 'abandoned') THEN
		RAISE EXCEPTION 'a job cannot end as "%"', state USING ERRCODE = 'invalid_parameter_value', HINT = 'done, partial, failed, cancelled or abandoned.';
	END IF;
	-- The daemon that asks is the only one: any other that has a job is gone.
	UPDATE mbackup.job_table AS j SET state = daemon_end.state, result = daemon_end.result, error = daemon_end.error, finished = clock_timestamp()
	WHERE j.id = job AND j.state = 'running';
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION mbackup.daemon_end(uuid, bigint, text, jsonb, jsonb) IS 'Note how a job ended; false: it was not running';

CREATE FUNCTION mbackup.daemon_due(daemon uuid)
RETURNS timestamptz LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s mbackup.schedule_table;
	p mbackup.policy_table;
	time_now CONSTANT timestamptz := clock_timestamp();
	passed bigint;
	newest timestamptz;
	arguments jsonb;
BEGIN
	PERFORM mbackup.daemon_seen(daemon);
	PERFORM mbackup.abandon();
	FOR s IN SELECT t.* FROM mbackup.schedule_table AS t WHERE t.enabled AND (t.next IS NULL OR t.next <= time_now) ORDER BY t.next, t.name FOR UPDATE LOOP
		BEGIN -- what is wrong with one schedule is no matter of the others
			passed := 0;
			newest := NULL;
			IF s.due IS NULL THEN
				s.due := mbackup.cron_next(s.cron, s.time_zone, time_now);
				s.next := mbackup.jittered(s.name, s.due, s.jitter);
			END IF;
			-- The times that have passed, all of them while they can be counted at leisure.
			WHILE s.next <= time_now LOOP
				passed := passed + 1;
				newest := s.due;
				s.due := mbackup.cron_next(s.cron, s.time_zone, CASE WHEN passed < 1500 THEN s.due ELSE greatest(s.due, time_now) END);
				s.next := mbackup.jittered(s.name, s.due, s.jitter);
			END LOOP;
			IF passed > 0 THEN
				s.last := newest;
				IF EXISTS (SELECT FROM mbackup.job_table AS j WHERE j.schedule = s.name AND j.state IN ('queued', 'running')) THEN
					s.missed := s.missed + passed;
				ELSE
					s.missed := s.missed + passed - 1;
					SELECT t.* INTO p FROM mbackup.policy_table AS t WHERE t.name = s.policy;
					arguments := p.arguments || jsonb_build_object('policy', p.name);
					IF p.kind = 'mark' THEN
						arguments := arguments || jsonb_build_object('name', coalesce(p.arguments ->> 'name', s.name) || to_char(newest AT TIME ZONE 'UTC', '-YYYYMMDD"T"HH24MISS"Z"'));
					END IF;
					PERFORM mbackup.make_job(p.kind, arguments, s.owner, s.owner, s.name, newest);
				END IF;
			END IF;
			UPDATE mbackup.schedule_table AS t SET due = s.due, next = s.next, last = s.last, missed = s.missed WHERE t.name = s.name;
		EXCEPTION WHEN query_canceled OR admin_shutdown THEN
			RAISE;
		WHEN OTHERS THEN
			RAISE WARNING 'could not run schedule "%": %', s.name, SQLERRM;
			UPDATE mbackup.schedule_table AS t SET next = time_now + '10 minutes'::interval WHERE t.name = s.name;
		END;
	END LOOP;
	RETURN (SELECT CASE WHEN min(t.next) IS NOT NULL THEN greatest(min(t.next), time_now + '1 second'::interval) END FROM mbackup.schedule_table AS t WHERE t.enabled);
END
$$;
COMMENT ON FUNCTION mbackup.daemon_due(uuid) IS 'Make the jobs of schedules that are due; returns when to ask again (NULL: no schedule)';

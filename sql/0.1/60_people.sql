-- -- what people call -------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.mbackup_start(policy text DEFAULT 'default', type text DEFAULT NULL, components text[] DEFAULT NULL, labels jsonb DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p mbackup.policy_table;
	arguments jsonb;
BEGIN
	PERFORM mbackup.check_name('policy', policy);
	SELECT t.* INTO p FROM mbackup.policy_table AS t WHERE t.name = policy;
	IF p.name IS NULL THEN
		RAISE EXCEPTION 'there is no policy "%"', policy USING ERRCODE = 'undefined_object', HINT = 'See mbackup.policies, or make one with mbackup_policy().';
	END IF;
	IF p.kind <> 'backup' THEN
		RAISE EXCEPTION 'policy "%" is of kind %, not backup', policy, p.kind USING ERRCODE = 'wrong_object_type', HINT = 'Use mbackup_verify(), mbackup_expire() or mbackup_mark(), or put it on a schedule.';
	END IF;
	arguments := jsonb_build_object('type', 'auto') || p.arguments || jsonb_build_object('policy', p.name);
	IF type IS NOT NULL THEN
		arguments := arguments || jsonb_build_object('type', mbackup.check_word('type of backup', type, ARRAY['auto', 'full', 'incremental']));
	END IF;
	IF components IS NOT NULL THEN
		arguments := arguments || jsonb_build_object('components', mbackup.check_components(components));
	END IF;
	IF labels IS NOT NULL THEN
		-- Both those of the policy and these, within the bounds.
		arguments := arguments || jsonb_build_object('labels', mbackup.check_labels(coalesce(arguments -> 'labels', '{}') || mbackup.check_labels(labels)));
	END IF;
	RETURN mbackup.ask('backup', arguments);
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_start(text, text, text[], jsonb) IS
	'Ask for a backup; returns the job. policy: a name of mbackup.policies; type: auto, full or incremental; components: names, NULL for all; labels: {"release": "1.7"}';

CREATE FUNCTION @extschema@.mbackup_mark(name text, pause boolean DEFAULT false)
RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	taken timestamptz;
BEGIN
	PERFORM mbackup.check_mark_name(name);
	SELECT max(m.taken) INTO taken FROM mbackup.mark_table AS m WHERE m.name = mbackup_mark.name;
	IF taken IS NOT NULL THEN
		RAISE EXCEPTION 'there is a mark "%" already, of %', name, taken USING ERRCODE = 'duplicate_object', HINT = 'Choose another name.';
	END IF;
	RETURN mbackup.ask('mark', jsonb_build_object('name', name, 'pause', coalesce(pause, false)));
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_mark(text, boolean) IS
	'Ask for a mark: name the moment at which the daemon takes it; returns the job. pause: hold Redis writes for the milliseconds of the cut';

CREATE FUNCTION @extschema@.mbackup_verify(backups text[] DEFAULT NULL, read_data text DEFAULT 'changed')
RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	arguments jsonb := jsonb_build_object('read-data', mbackup.check_word('way to read', read_data, ARRAY['none', 'changed', 'full']));
BEGIN
	IF backups IS NOT NULL THEN
		IF array_ndims(backups) IS DISTINCT FROM 1 OR cardinality(backups) > 100 THEN
			RAISE EXCEPTION 'these are no backups' USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an array of 1 to 100 ids, or NULL for all.';
		END IF;
		arguments := arguments || jsonb_build_object('backups', to_jsonb(ARRAY(SELECT DISTINCT mbackup.find_backup(b) FROM unnest(backups) AS b ORDER BY 1)));
	END IF;
	RETURN mbackup.ask('verify', arguments);
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_verify(text[], text) IS
	'Ask for a proof that backups are whole; returns the job. backups: ids, NULL for all; read_data: none, changed or full';

CREATE FUNCTION @extschema@.mbackup_expire(dry_run boolean DEFAULT false)
RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF dry_run IS NULL THEN
		RAISE EXCEPTION 'dry_run is NULL' USING ERRCODE = 'null_value_not_allowed', HINT = 'Say true or false.';
	END IF;
	RETURN mbackup.ask('expire', jsonb_build_object('dry-run', dry_run));
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_expire(boolean) IS 'Ask for the removal of what the retention of mbackup.conf does not keep; returns the job. dry_run: only say what';

CREATE FUNCTION @extschema@.mbackup_pin(backup text, pinned boolean DEFAULT true)
RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF pinned IS NULL THEN
		RAISE EXCEPTION 'pinned is NULL' USING ERRCODE = 'null_value_not_allowed', HINT = 'Say true or false.';
	END IF;
	RETURN mbackup.ask('pin', jsonb_build_object('backup', mbackup.find_backup(backup), 'pinned', pinned));
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_pin(text, boolean) IS 'Ask that a backup is kept whatever the retention says (false: no longer); returns the job';

-- What a target may be, tried in this order; a prefix such as mark: says it outright.
CREATE FUNCTION mbackup.find_target(target text) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	part text[];
	kind text;
	value text;
BEGIN
	PERFORM mbackup.check_text('target', target, 220);
	part := regexp_match(target, '^(backup|mark|time|lsn|xid|name):(.*)$');
	kind := part[1];
	value := btrim(coalesce(part[2], target));
	IF kind IS NULL THEN
		kind := CASE
			WHEN value = 'latest' THEN 'latest'
			WHEN EXISTS (SELECT FROM mbackup.mark_table AS m WHERE m.name = value) THEN 'mark'
			WHEN value ~ '^[0-9]{8}T[0-9]{6}Z' OR EXISTS (SELECT FROM mbackup.backup_table AS b WHERE b.id = value) THEN 'backup'
			WHEN value ~ '^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$' THEN 'lsn'
			ELSE 'time' END;
	END IF;
	CASE kind
		WHEN 'latest' THEN
			value := NULL;
		WHEN 'backup' THEN
			value := mbackup.find_backup(value);
		WHEN 'mark' THEN
			PERFORM mbackup.check_mark_name(value);
			IF NOT EXISTS (SELECT FROM mbackup.mark_table AS m WHERE m.name = value) THEN
				RAISE EXCEPTION 'there is no mark "%"', value USING ERRCODE = 'undefined_object', HINT = 'See mbackup.marks; the daemon brings it up to date.';
			END IF;
		WHEN 'lsn' THEN
			IF value !~ '^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$' THEN
				RAISE EXCEPTION '"%" is no WAL position', value USING ERRCODE = 'invalid_parameter_value', HINT = 'Write it as 0/3000148.';
			END IF;
		WHEN 'xid' THEN
			IF value !~ '^[0-9]{1,10}$' THEN
				RAISE EXCEPTION '"%" is no transaction', value USING ERRCODE = 'invalid_parameter_value', HINT = 'Write its number.';
			END IF;
		WHEN 'name' THEN
			IF value = '' OR left(value, 1) = '-' OR octet_length(value) > 63 THEN
				RAISE EXCEPTION '"%" is no restore point', value USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the name that pg_create_restore_point() was given.';
			END IF;
		WHEN 'time' THEN
			BEGIN
				IF NOT isfinite(value::timestamptz) THEN
					RAISE invalid_datetime_format;
				END IF;
				value := mbackup.rfc3339(value::timestamptz);
			EXCEPTION WHEN data_exception THEN
				RAISE EXCEPTION '"%" is no mark, backup, WAL position or time', value
					USING ERRCODE = 'invalid_parameter_value', HINT = 'Give latest, the name of a mark, the id of a backup, a position as 0/3000148, or a time as 2026-11-28 14:30+01.';
			END;
	END CASE;
	RETURN jsonb_build_object('kind', kind, 'value', value);
END
$$;
COMMENT ON FUNCTION mbackup.find_target(text) IS 'A target of a restore as JSON, or an error';

CREATE FUNCTION @extschema@.mbackup_restore_plan(target text DEFAULT 'latest')
RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN mbackup.ask('plan', jsonb_build_object('target', mbackup.find_target(target)));
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_restore_plan(text) IS
	'Ask what a restore would do; returns the job, whose result is the plan. target: latest, a mark, a backup, a WAL position or a time; backup:, mark:, time:, lsn:, xid:, name: say which. Restoring itself is not done from SQL';

CREATE FUNCTION @extschema@.mbackup_stop(job bigint)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	was text;
BEGIN
	SELECT j.state INTO was FROM mbackup.job_table AS j WHERE j.id = job FOR UPDATE;
	IF was IS NULL THEN
		RAISE EXCEPTION 'there is no job %', coalesce(job::text, 'NULL') USING ERRCODE = 'undefined_object', HINT = 'See mbackup.jobs.';
	END IF;
	IF was = 'queued' THEN
		UPDATE mbackup.job_table AS j SET state = 'cancelled', finished = clock_timestamp(), cancel = true, cancelled_by = session_user WHERE j.id = job;
	ELSIF was = 'running' THEN
		UPDATE mbackup.job_table AS j SET cancel = true, cancelled_by = coalesce(j.cancelled_by, session_user) WHERE j.id = job;
		PERFORM pg_notify('mbackup_job', job::text);
	END IF;
	RETURN was IN ('queued', 'running');
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_stop(bigint) IS 'Cancel a job, whoever asked for it: a queued one at once, a running one as soon as the daemon has stopped it; false: it was over';

CREATE FUNCTION @extschema@.mbackup_wait(job bigint, timeout interval DEFAULT NULL)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	deadline CONSTANT timestamptz := clock_timestamp() + timeout;
	pause double precision := 0.02;
	j record;
	warned boolean := false;
BEGIN
	LOOP
		-- Each statement here sees what others have committed, but only so:
		IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
			RAISE EXCEPTION 'could not wait for a job in a transaction that is %: it never sees the job change', upper(current_setting('transaction_isolation'))
				USING ERRCODE = 'invalid_transaction_state', HINT = 'Use READ COMMITTED, the default.';
		END IF;
		SELECT t.state, t.transaction INTO j FROM mbackup.job_table AS t WHERE t.id = job;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is no job %', coalesce(job::text, 'NULL') USING ERRCODE = 'undefined_object', HINT = 'See mbackup.jobs.';
		END IF;
		IF j.state NOT IN ('queued', 'running') OR clock_timestamp() >= deadline THEN
			RETURN j.state;
		END IF;
		IF j.transaction = pg_current_xact_id_if_assigned() THEN
			RAISE EXCEPTION 'could not wait for job %: the daemon does not see it before this transaction is committed', job
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Wait in a statement of its own after COMMIT, or use CALL mbackup_run().';
		END IF;
		IF NOT warned AND NOT mbackup.has_daemon() THEN
			RAISE WARNING 'no daemon serves this catalog: the job waits' USING HINT = 'Start "mbackup daemon" on the database host, or look why it does not run.';
			warned := true;
		END IF;
		PERFORM pg_sleep(greatest(least(pause, extract(epoch FROM deadline - clock_timestamp())), 0));
		pause := least(pause * 1.5, 1);
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_wait(bigint, interval) IS
	'Wait until a job has ended, or so long; returns its state. Not in the transaction that asked for the job, and only in READ COMMITTED';

-- A procedure, because it commits between asking and waiting; so it can have neither SECURITY DEFINER nor a
-- search_path of its own, and names everything in full.  It commits every minute, so that a long wait does not hold
-- back VACUUM.
CREATE PROCEDURE @extschema@.mbackup_run(policy text DEFAULT 'default', type text DEFAULT NULL, components text[] DEFAULT NULL, labels jsonb DEFAULT NULL,
	timeout interval DEFAULT NULL, INOUT job bigint DEFAULT NULL, INOUT state text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	deadline CONSTANT pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) timeout;
BEGIN
	job := @extschema@.mbackup_start(policy, type, components, labels);
	COMMIT;
	LOOP
		state := @extschema@.mbackup_wait(job, LEAST('1 minute'::pg_catalog.interval, deadline OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp()));
		COMMIT;
		EXIT WHEN state OPERATOR(pg_catalog.<>) ALL (ARRAY['queued'::pg_catalog.text, 'running'::pg_catalog.text]) OR pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>=) deadline;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE @extschema@.mbackup_run(text, text, text[], jsonb, interval, bigint, text) IS
	'CALL mbackup_run(): a backup, and wait for it. Arguments as of mbackup_start() and mbackup_wait(); shows the job and its state';

-- -- policies and schedules ------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.mbackup_policy(name text, kind text DEFAULT 'backup', arguments jsonb DEFAULT '{}', comment text DEFAULT '')
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM mbackup.check_name('policy', name);
	PERFORM mbackup.check_word('kind of policy', kind, ARRAY['backup', 'verify', 'expire', 'mark']);
	PERFORM mbackup.check_arguments(kind, arguments);
	PERFORM mbackup.check_text('comment', comment, 500);
	IF NOT EXISTS (SELECT FROM mbackup.policy_table AS p WHERE p.name = mbackup_policy.name) AND (SELECT count(*) FROM mbackup.policy_table) >= 1000 THEN
		RAISE EXCEPTION 'could not make policy "%": there are 1000 already', name USING ERRCODE = 'configuration_limit_exceeded', HINT = 'Drop some with mbackup_drop_policy().';
	END IF;
	INSERT INTO mbackup.policy_table AS p (name, kind, arguments, comment)
	VALUES (mbackup_policy.name, mbackup_policy.kind, mbackup_policy.arguments, mbackup_policy.comment)
	ON CONFLICT ON CONSTRAINT policy_table_pkey DO UPDATE SET kind = EXCLUDED.kind, arguments = EXCLUDED.arguments, comment = EXCLUDED.comment WHERE NOT p.built_in;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'policy "%" is part of the extension and cannot be changed', name USING ERRCODE = 'reserved_name', HINT = 'Make one of another name.';
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_policy(text, text, jsonb, text) IS
	'Make or change a policy. kind: backup (type, components, labels, pause), verify (read-data, older-than, budget, or restore), expire (dry-run) or mark (name: what names begin with, pause)';

CREATE FUNCTION @extschema@.mbackup_drop_policy(name text)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	is_built_in boolean;
	users text;
BEGIN
	SELECT p.built_in INTO is_built_in FROM mbackup.policy_table AS p WHERE p.name = mbackup_drop_policy.name FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no policy %', coalesce('"' || left(name, 80) || '"', 'NULL') USING ERRCODE = 'undefined_object', HINT = 'See mbackup.policies.';
	END IF;
	IF is_built_in THEN
		RAISE EXCEPTION 'policy "%" is part of the extension and cannot be dropped', name USING ERRCODE = 'reserved_name', HINT = 'It does nothing unless it is asked for.';
	END IF;
	SELECT string_agg(s.name, ', ' ORDER BY s.name) INTO users FROM mbackup.schedule_table AS s WHERE s.policy = mbackup_drop_policy.name;
	IF users IS NOT NULL THEN
		RAISE EXCEPTION 'policy "%" is used by schedules: %', name, users USING ERRCODE = 'dependent_objects_still_exist', HINT = 'End them with mbackup_unschedule(), or give them another policy.';
	END IF;
	DELETE FROM mbackup.policy_table AS p WHERE p.name = mbackup_drop_policy.name;
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_drop_policy(text) IS 'Remove a policy that no schedule uses';

CREATE FUNCTION @extschema@.mbackup_schedule(name text, policy text, cron text, time_zone text DEFAULT NULL, jitter interval DEFAULT '0', enabled boolean DEFAULT true)
RETURNS timestamptz LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	zone CONSTANT text := coalesce(time_zone, current_setting('TimeZone'));
	due_at timestamptz;
	first_run timestamptz;
BEGIN
	PERFORM mbackup.check_name('schedule', name);
	PERFORM mbackup.check_name('policy', policy);
	IF NOT EXISTS (SELECT FROM mbackup.policy_table AS p WHERE p.name = mbackup_schedule.policy) THEN
		RAISE EXCEPTION 'there is no policy "%"', policy USING ERRCODE = 'undefined_object', HINT = 'See mbackup.policies, or make one with mbackup_policy().';
	END IF;
	IF cron IS NULL OR jitter IS NULL OR enabled IS NULL THEN
		RAISE EXCEPTION 'cron, jitter or enabled is NULL' USING ERRCODE = 'null_value_not_allowed', HINT = 'Write for example mbackup_schedule(''nightly'', ''default'', ''0 2 * * *'').';
	END IF;
	PERFORM mbackup.check_text('cron expression', cron, 256);
	IF NOT EXISTS (SELECT FROM pg_timezone_names AS z WHERE z.name = zone) THEN
		RAISE EXCEPTION 'there is no time zone "%"', left(zone, 80) USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name of pg_timezone_names, such as Europe/Berlin.';
	END IF;
	IF jitter < '0'::interval OR jitter > '1 day'::interval THEN
		RAISE EXCEPTION 'a jitter of % is not possible', jitter USING ERRCODE = 'invalid_parameter_value', HINT = 'Choose from 0 to 1 day.';
	END IF;
	due_at := mbackup.cron_next(cron, zone, clock_timestamp());
	IF due_at IS NULL THEN
		RAISE EXCEPTION 'cron expression "%" never comes', cron USING ERRCODE = 'invalid_parameter_value', HINT = 'There is no such date.';
	END IF;
	IF NOT EXISTS (SELECT FROM mbackup.schedule_table AS s WHERE s.name = mbackup_schedule.name) AND (SELECT count(*) FROM mbackup.schedule_table) >= 1000 THEN
		RAISE EXCEPTION 'could not make schedule "%": there are 1000 already', name USING ERRCODE = 'configuration_limit_exceeded', HINT = 'End some with mbackup_unschedule().';
	END IF;
	IF enabled THEN
		first_run := mbackup.jittered(name, due_at, jitter);
	ELSE
		due_at := NULL;
	END IF;
	INSERT INTO mbackup.schedule_table AS s (name, policy, cron, time_zone, jitter, enabled, owner, due, next)
	VALUES (mbackup_schedule.name, mbackup_schedule.policy, mbackup_schedule.cron, zone, mbackup_schedule.jitter, mbackup_schedule.enabled, session_user, due_at, first_run)
	ON CONFLICT ON CONSTRAINT schedule_table_pkey DO UPDATE SET policy = EXCLUDED.policy, cron = EXCLUDED.cron, time_zone = EXCLUDED.time_zone, jitter = EXCLUDED.jitter,
		enabled = EXCLUDED.enabled, owner = EXCLUDED.owner, due = EXCLUDED.due, next = EXCLUDED.next;
	PERFORM pg_notify('mbackup_job', 'schedule');
	RETURN first_run;
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_schedule(text, text, text, text, interval, boolean) IS
	'Make or change a schedule; returns its first run. cron: minute hour day month weekday, or @daily and the like; time_zone: default that of the session; jitter: put each run off by up to so much';

CREATE FUNCTION @extschema@.mbackup_unschedule(name text)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM mbackup.schedule_table AS s WHERE s.name = mbackup_unschedule.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no schedule %', coalesce('"' || left(name, 80) || '"', 'NULL') USING ERRCODE = 'undefined_object', HINT = 'See mbackup.schedules.';
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.mbackup_unschedule(text) IS 'Remove a schedule; a job that it has made goes on';

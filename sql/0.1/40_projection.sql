-- -- the projection, and the document of the moment ----------------------------------------------------

CREATE FUNCTION mbackup.sync(list jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	member text;
BEGIN
	-- An answer that is cut short must not empty the catalog.
	FOREACH member IN ARRAY ARRAY['backups', 'marks', 'windows'] LOOP
		IF jsonb_typeof(list -> member) IS DISTINCT FROM 'array' THEN
			RAISE EXCEPTION 'the list has no "%"', member USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the whole answer of "mbackup list --json".';
		END IF;
	END LOOP;
	-- One after the other: the daemon, and a person with mbackup catalog sync.  Who only reads is not held up.  The row
	-- of the daemon first, as daemon_sync() has it already.
	PERFORM d.id FROM mbackup.daemon_table AS d WHERE d.replaced_by IS NULL FOR UPDATE;
	LOCK TABLE mbackup.window_table IN SHARE ROW EXCLUSIVE MODE;

	DELETE FROM mbackup.backup_table AS t WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(list -> 'backups') AS b WHERE b ->> 'id' = t.id);
	INSERT INTO mbackup.backup_table AS t (id, kind, status, parent, started, finished, bytes, stored_bytes, labels, cut, missing, pinned)
	SELECT b ->> 'id', b ->> 'type', b ->> 'status', b ->> 'parent', (b ->> 'started')::timestamptz, (b ->> 'finished')::timestamptz,
		(b ->> 'bytes')::bigint, (b ->> 'stored_bytes')::bigint, coalesce(nullif(b -> 'labels', 'null'), '{}'), coalesce(nullif(b -> 'cut', 'null'), '{}'),
		(SELECT coalesce(jsonb_object_agg(c ->> 'name', coalesce(c #>> '{error,message}', '')), '{}')
			FROM jsonb_array_elements(b -> 'components') AS c WHERE c ? 'error'),
		coalesce((b ->> 'pinned')::boolean, false)
	FROM jsonb_array_elements(list -> 'backups') AS b
	ON CONFLICT (id) DO UPDATE SET kind = EXCLUDED.kind, status = EXCLUDED.status, parent = EXCLUDED.parent, started = EXCLUDED.started, finished = EXCLUDED.finished,
		bytes = EXCLUDED.bytes, stored_bytes = EXCLUDED.stored_bytes, labels = EXCLUDED.labels, cut = EXCLUDED.cut, missing = EXCLUDED.missing, pinned = EXCLUDED.pinned
	WHERE (t.*) IS DISTINCT FROM (EXCLUDED.*);

	DELETE FROM mbackup.component_table AS t WHERE NOT EXISTS (
		SELECT FROM jsonb_array_elements(list -> 'backups') AS b, jsonb_array_elements(b -> 'components') AS c
		WHERE b ->> 'id' = t.backup AND c ->> 'name' = t.name AND NOT c ? 'error');
	INSERT INTO mbackup.component_table AS t (backup, name, kind, entries, bytes, changed_bytes, stored_bytes, seconds, warnings)
	SELECT b ->> 'id', c ->> 'name', c ->> 'kind', coalesce((c ->> 'entries')::bigint, 0), coalesce((c ->> 'bytes')::bigint, 0), coalesce((c ->> 'changed_bytes')::bigint, 0),
		coalesce((c ->> 'stored_bytes')::bigint, 0), coalesce((c ->> 'seconds')::double precision, 0), coalesce(nullif(c -> 'warnings', 'null'), '[]')
	FROM jsonb_array_elements(list -> 'backups') AS b, jsonb_array_elements(b -> 'components') AS c WHERE NOT c ? 'error'
	ON CONFLICT (backup, name) DO UPDATE SET kind = EXCLUDED.kind, entries = EXCLUDED.entries, bytes = EXCLUDED.bytes, changed_bytes = EXCLUDED.changed_bytes,
		stored_bytes = EXCLUDED.stored_bytes, seconds = EXCLUDED.seconds, warnings = EXCLUDED.warnings
	WHERE (t.*) IS DISTINCT FROM (EXCLUDED.*);

	DELETE FROM mbackup.mark_table AS t WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(list -> 'marks') AS m WHERE m ->> 'id' = t.id);
	INSERT INTO mbackup.mark_table AS t (id, name, taken, cut, uncovered)
	SELECT m ->> 'id', m ->> 'name', (m ->> 'time')::timestamptz, coalesce(nullif(m -> 'cut', 'null'), '{}'), coalesce(nullif(m -> 'uncovered', 'null'), '{}')
	FROM jsonb_array_elements(list -> 'marks') AS m
	ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, taken = EXCLUDED.taken, cut = EXCLUDED.cut, uncovered = EXCLUDED.uncovered
	WHERE (t.*) IS DISTINCT FROM (EXCLUDED.*);

	DELETE FROM mbackup.window_table AS t WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(list -> 'windows') AS w WHERE w ->> 'component' = t.component);
	INSERT INTO mbackup.window_table AS t (component, kind, starts, ends, gaps)
	SELECT w ->> 'component', CASE w ->> 'component' WHEN 'stack' THEN 'stack' ELSE coalesce((SELECT max(c ->> 'kind')
			FROM jsonb_array_elements(list -> 'backups') AS b, jsonb_array_elements(b -> 'components') AS c WHERE c ->> 'name' = w ->> 'component'), '') END,
		(w ->> 'from')::timestamptz, (w ->> 'to')::timestamptz, coalesce(nullif(w -> 'gaps', 'null'), '[]')
	FROM jsonb_array_elements(list -> 'windows') AS w
	ON CONFLICT (component) DO UPDATE SET kind = EXCLUDED.kind, starts = EXCLUDED.starts, ends = EXCLUDED.ends, gaps = EXCLUDED.gaps
	WHERE (t.*) IS DISTINCT FROM (EXCLUDED.*);

	UPDATE mbackup.daemon_table SET synced = clock_timestamp() WHERE replaced_by IS NULL;
	-- What is long over: 90 days, but always the newest thousand.
	DELETE FROM mbackup.job_table WHERE finished < clock_timestamp() - '90 days'::interval
		AND id <= (SELECT max(id) - 1000 FROM mbackup.job_table);
END
$$;
COMMENT ON FUNCTION mbackup.sync(jsonb) IS 'Replace the projection by the answer of mbackup list --json; what mbackup catalog sync calls';

CREATE FUNCTION mbackup.daemon_sync(daemon uuid, list jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM mbackup.daemon_seen(daemon);
	PERFORM mbackup.sync(list);
END
$$;
COMMENT ON FUNCTION mbackup.daemon_sync(uuid, jsonb) IS 'Replace the projection by the answer of mbackup list --json';

CREATE FUNCTION mbackup.daemon_report(daemon uuid, streams jsonb, problems jsonb, stack text DEFAULT NULL, repository jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM mbackup.daemon_seen(daemon);
	IF streams IS NOT NULL THEN
		DELETE FROM mbackup.stream_table AS t WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(streams) AS s WHERE s ->> 'component' = t.component);
		INSERT INTO mbackup.stream_table AS t (component, kind, state, since, lag, message)
		SELECT s ->> 'component', coalesce(s ->> 'kind', ''), s ->> 'state', coalesce((s ->> 'since')::timestamptz, clock_timestamp()),
			make_interval(secs => (s ->> 'lag_seconds')::double precision), coalesce(s ->> 'message', '')
		FROM jsonb_array_elements(streams) AS s
		ON CONFLICT (component) DO UPDATE SET kind = EXCLUDED.kind, state = EXCLUDED.state, lag = EXCLUDED.lag, message = EXCLUDED.message,
			since = CASE WHEN t.state = EXCLUDED.state THEN least(t.since, EXCLUDED.since) ELSE EXCLUDED.since END;
	END IF;
	IF problems IS NOT NULL THEN
		DELETE FROM mbackup.problem_table AS t WHERE NOT EXISTS (
			SELECT FROM jsonb_array_elements(problems) AS p WHERE p ->> 'component' = t.component AND p ->> 'name' = t.name);
		INSERT INTO mbackup.problem_table AS t (component, name, severity, message, fix, since)
		SELECT p ->> 'component', p ->> 'name', p ->> 'severity', p ->> 'message', coalesce(p ->> 'fix', ''), coalesce((p ->> 'since')::timestamptz, clock_timestamp())
		FROM jsonb_array_elements(problems) AS p
		ON CONFLICT (component, name) DO UPDATE SET severity = EXCLUDED.severity, message = EXCLUDED.message, fix = EXCLUDED.fix;
	END IF;
	UPDATE mbackup.daemon_table AS d SET stack = coalesce(daemon_report.stack, d.stack), repository = coalesce(daemon_report.repository, d.repository) WHERE d.id = daemon;
END
$$;
COMMENT ON FUNCTION mbackup.daemon_report(uuid, jsonb, jsonb, text, jsonb) IS 'Replace what is known of streams and problems, and of the repository; NULL: as it was';

-- In the schema of the extension, because people call it.
CREATE FUNCTION @extschema@.mbackup_status()
RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object(
		'version', d.version, 'time', mbackup.rfc3339(clock_timestamp()), 'stack', d.stack, 'host', d.host,
		'daemon', CASE WHEN d.id IS NULL THEN jsonb_build_object('state', 'down', 'seen', NULL)
			ELSE jsonb_build_object('state', CASE WHEN d.seen > clock_timestamp() - '1 minute'::interval THEN 'up' ELSE 'down' END, 'seen', mbackup.rfc3339(d.seen), 'pid', d.pid) END,
		'database', jsonb_build_object('state', 'up', 'message', '', 'since', mbackup.rfc3339(pg_postmaster_start_time())),
		'repository', jsonb_build_object('url', d.repository -> 'url', 'state', coalesce(d.repository ->> 'state', 'down'),
			'message', coalesce(d.repository ->> 'message', 'no daemon has told'), 'synced', mbackup.rfc3339(d.synced)),
		'windows', (SELECT coalesce(jsonb_agg(jsonb_build_object('component', w.component,
				'kind', w.kind,
				'from', mbackup.rfc3339(w.starts), 'to', mbackup.rfc3339(w.ends), 'gaps', w.gaps) ORDER BY w.component = 'stack', w.component), '[]')
			FROM mbackup.window_table AS w),
		'backups', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'type', b.kind, 'status', b.status, 'parent', b.parent, 'pinned', b.pinned,
				'started', mbackup.rfc3339(b.started), 'finished', mbackup.rfc3339(b.finished), 'bytes', b.bytes, 'stored_bytes', b.stored_bytes, 'labels', b.labels, 'missing', b.missing,
				'components', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', c.name, 'kind', c.kind, 'bytes', c.bytes, 'stored_bytes', c.stored_bytes,
						'seconds', c.seconds, 'warnings', c.warnings) ORDER BY c.name), '[]') FROM mbackup.component_table AS c WHERE c.backup = b.id)) ORDER BY b.started DESC, b.id DESC), '[]')
			FROM (SELECT t.* FROM mbackup.backup_table AS t ORDER BY t.started DESC, t.id DESC LIMIT 50) AS b),
		'marks', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', m.name, 'id', m.id, 'time', mbackup.rfc3339(m.taken), 'consistency', m.cut -> 'consistency',
				'uncovered', m.uncovered) ORDER BY m.taken DESC, m.id DESC), '[]')
			FROM (SELECT t.* FROM mbackup.mark_table AS t ORDER BY t.taken DESC, t.id DESC LIMIT 50) AS m),
		'streams', (SELECT coalesce(jsonb_agg(jsonb_build_object('component', s.component, 'kind', s.kind, 'state', s.state, 'since', mbackup.rfc3339(s.since),
				'lag_seconds', extract(epoch FROM s.lag), 'message', s.message) ORDER BY s.component), '[]') FROM mbackup.stream_table AS s),
		'jobs', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', j.id, 'kind', j.kind, 'state', j.state, 'requested_by', j.requested_by, 'requested', mbackup.rfc3339(j.requested),
				'started', mbackup.rfc3339(j.started), 'finished', mbackup.rfc3339(j.finished), 'schedule', j.schedule, 'arguments', j.arguments, 'progress', j.progress,
				'cancel', j.cancel, 'error', j.error) ORDER BY j.id DESC), '[]')
			FROM (SELECT t.* FROM mbackup.job_table AS t ORDER BY t.id DESC LIMIT 50) AS j),
		'schedules', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'policy', s.policy, 'cron', s.cron, 'time_zone', s.time_zone, 'enabled', s.enabled,
				'next', mbackup.rfc3339(s.next), 'last', mbackup.rfc3339(s.last), 'missed', s.missed) ORDER BY s.name), '[]') FROM mbackup.schedule_table AS s),
		'problems', (SELECT coalesce(jsonb_agg(jsonb_build_object('component', p.component, 'name', p.name, 'severity', p.severity, 'message', p.message, 'fix', p.fix,
				'since', mbackup.rfc3339(p.since)) ORDER BY p.severity, p.since, p.component, p.name), '[]') FROM mbackup.problem_table AS p),
		-- The newest of each, which the lists above may be too short for.
		'last', jsonb_build_object(
			'backups', (SELECT coalesce(jsonb_agg(jsonb_build_object('type', l.kind, 'status', l.status, 'finished', mbackup.rfc3339(l.finished)) ORDER BY l.kind, l.status), '[]')
				FROM (SELECT t.kind, t.status, max(t.finished) AS finished FROM mbackup.backup_table AS t GROUP BY t.kind, t.status) AS l),
			'jobs', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', l.kind, 'state', l.state, 'finished', mbackup.rfc3339(l.finished)) ORDER BY l.kind, l.state), '[]')
				FROM (SELECT t.kind, t.state, max(t.finished) AS finished FROM mbackup.job_table AS t WHERE t.finished IS NOT NULL GROUP BY t.kind, t.state) AS l)))
	FROM (SELECT) AS one LEFT JOIN LATERAL (
		SELECT t.* FROM mbackup.daemon_table AS t ORDER BY t.replaced_by IS NULL DESC, t.seen DESC LIMIT 1) AS d ON true
$$;
COMMENT ON FUNCTION @extschema@.mbackup_status() IS 'Everything at a glance, as one document (docs/daemon.md): windows, backups, marks, streams, jobs, schedules, problems';

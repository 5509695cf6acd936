-- -- what people read -----------------------------------------------------------------------------------

-- Sizes and spans beside the exact figures, so that \x and a glance are enough.
CREATE FUNCTION mbackup.span(i interval) RETURNS text LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN s < 0 THEN '-' ELSE '' END || CASE
		WHEN abs(s) < 1 THEN round(abs(s) * 1000) || ' ms'
		WHEN abs(s) < 120 THEN round(abs(s)) || ' s'
		WHEN abs(s) < 7200 THEN floor(abs(s) / 60) || ' min'
		WHEN abs(s) < 172800 THEN floor(abs(s) / 3600) || ' h'
		ELSE floor(abs(s) / 86400) || ' days' END
	FROM (SELECT extract(epoch FROM i)::numeric AS s) AS e
$$;
COMMENT ON FUNCTION mbackup.span(interval) IS 'An interval in one unit, for people';

CREATE VIEW mbackup.backups AS
	SELECT b.id, b.kind AS type, b.status, b.started, b.finished, mbackup.span(clock_timestamp() - b.finished) AS age, mbackup.span(b.finished - b.started) AS duration,
		pg_size_pretty(b.bytes) AS size, pg_size_pretty(b.stored_bytes) AS stored,
		ARRAY(SELECT c.name FROM mbackup.component_table AS c WHERE c.backup = b.id ORDER BY c.name) AS components,
		b.missing, b.cut ->> 'consistency' AS consistency, b.labels, b.pinned, b.parent, b.bytes, b.stored_bytes
	FROM mbackup.backup_table AS b;
COMMENT ON VIEW mbackup.backups IS 'Backups in the repository';
COMMENT ON COLUMN mbackup.backups.id IS 'what mbackup restore is given; a prefix is enough';
COMMENT ON COLUMN mbackup.backups.type IS 'full or incremental';
COMMENT ON COLUMN mbackup.backups.status IS 'complete, or partial: see missing';
COMMENT ON COLUMN mbackup.backups.started IS 'when it was begun';
COMMENT ON COLUMN mbackup.backups.finished IS 'when it was committed';
COMMENT ON COLUMN mbackup.backups.age IS 'since it was finished';
COMMENT ON COLUMN mbackup.backups.duration IS 'how long it took';
COMMENT ON COLUMN mbackup.backups.size IS 'what a restore writes';
COMMENT ON COLUMN mbackup.backups.stored IS 'what it added to the repository';
COMMENT ON COLUMN mbackup.backups.components IS 'what it holds';
COMMENT ON COLUMN mbackup.backups.missing IS 'component to the reason why it is not held';
COMMENT ON COLUMN mbackup.backups.consistency IS 'ordered, paused or journalled: how the components belong together';
COMMENT ON COLUMN mbackup.backups.labels IS 'what was noted with it';
COMMENT ON COLUMN mbackup.backups.pinned IS 'kept whatever the retention says';
COMMENT ON COLUMN mbackup.backups.parent IS 'the backup that it was built on';
COMMENT ON COLUMN mbackup.backups.bytes IS 'size, exactly';
COMMENT ON COLUMN mbackup.backups.stored_bytes IS 'stored, exactly';

CREATE VIEW mbackup.components AS
	SELECT c.backup, c.name, c.kind, b.finished, c.entries, pg_size_pretty(c.bytes) AS size, pg_size_pretty(c.changed_bytes) AS changed, pg_size_pretty(c.stored_bytes) AS stored,
		mbackup.span(make_interval(secs => c.seconds)) AS duration, c.warnings, c.bytes, c.changed_bytes, c.stored_bytes, c.seconds
	FROM mbackup.component_table AS c JOIN mbackup.backup_table AS b ON b.id = c.backup;
COMMENT ON VIEW mbackup.components IS 'What each backup holds of each component';
COMMENT ON COLUMN mbackup.components.backup IS 'id of the backup';
COMMENT ON COLUMN mbackup.components.name IS 'name of the component in mbackup.conf';
COMMENT ON COLUMN mbackup.components.kind IS 'postgres, objects, redis or files';
COMMENT ON COLUMN mbackup.components.finished IS 'when the backup was committed';
COMMENT ON COLUMN mbackup.components.entries IS 'files, object versions or keys';
COMMENT ON COLUMN mbackup.components.size IS 'what a restore writes';
COMMENT ON COLUMN mbackup.components.changed IS 'what was new or changed';
COMMENT ON COLUMN mbackup.components.stored IS 'what it added to the repository';
COMMENT ON COLUMN mbackup.components.duration IS 'how long it took';
COMMENT ON COLUMN mbackup.components.warnings IS 'texts, an array';
COMMENT ON COLUMN mbackup.components.bytes IS 'size, exactly';
COMMENT ON COLUMN mbackup.components.changed_bytes IS 'changed, exactly';
COMMENT ON COLUMN mbackup.components.stored_bytes IS 'stored, exactly';
COMMENT ON COLUMN mbackup.components.seconds IS 'duration, exactly';

CREATE VIEW mbackup.marks AS
	SELECT m.name, m.taken, mbackup.span(clock_timestamp() - m.taken) AS age, m.cut ->> 'consistency' AS consistency,
		(SELECT (p.value ->> 'lsn')::pg_lsn FROM jsonb_each(CASE jsonb_typeof(m.cut -> 'positions') WHEN 'object' THEN m.cut -> 'positions' ELSE '{}' END) AS p
		 WHERE p.value ->> 'lsn' ~ '^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$' ORDER BY p.key LIMIT 1) AS lsn,
		m.uncovered, m.id
	FROM mbackup.mark_table AS m;
COMMENT ON VIEW mbackup.marks IS 'Named moments: mbackup restore --to-mark NAME';
COMMENT ON COLUMN mbackup.marks.name IS 'what mbackup_mark() was given';
COMMENT ON COLUMN mbackup.marks.taken IS 'the moment';
COMMENT ON COLUMN mbackup.marks.age IS 'since then';
COMMENT ON COLUMN mbackup.marks.consistency IS 'ordered, paused or journalled: how the components belong together';
COMMENT ON COLUMN mbackup.marks.lsn IS 'the WAL position of PostgreSQL';
COMMENT ON COLUMN mbackup.marks.uncovered IS 'component to the reason why it is not held at this mark';
COMMENT ON COLUMN mbackup.marks.id IS 'id of the cut';

CREATE VIEW mbackup.jobs AS
	SELECT j.id, j.kind, j.state, j.arguments ->> 'policy' AS policy, j.schedule, j.requested_by, j.requested_as, j.requested, j.started, j.finished,
		mbackup.span(coalesce(j.finished, clock_timestamp()) - j.started) AS duration,
		coalesce(j.result #>> '{backup,id}', j.result #>> '{mark,id}') AS made, j.error ->> 'message' AS error, j.error ->> 'hint' AS hint,
		j.cancel AND j.state = 'running' AS stopping, j.cancelled_by, j.arguments, j.progress, j.result
	FROM mbackup.job_table AS j;
COMMENT ON VIEW mbackup.jobs IS 'What was asked for, and how it went';
COMMENT ON COLUMN mbackup.jobs.id IS 'what mbackup_start() returned';
COMMENT ON COLUMN mbackup.jobs.kind IS 'backup, mark, verify, expire, plan or pin';
COMMENT ON COLUMN mbackup.jobs.state IS 'queued, running, done, partial (something is missing), failed, cancelled, or abandoned (of another past)';
COMMENT ON COLUMN mbackup.jobs.policy IS 'by which policy';
COMMENT ON COLUMN mbackup.jobs.schedule IS 'by which schedule';
COMMENT ON COLUMN mbackup.jobs.requested_by IS 'who logged in (session_user); for a schedule, its owner';
COMMENT ON COLUMN mbackup.jobs.requested_as IS 'the role that was SET, or the same';
COMMENT ON COLUMN mbackup.jobs.requested IS 'when it was asked for';
COMMENT ON COLUMN mbackup.jobs.started IS 'when the daemon took it';
COMMENT ON COLUMN mbackup.jobs.finished IS 'when it ended';
COMMENT ON COLUMN mbackup.jobs.duration IS 'how long it took, or has taken so far';
COMMENT ON COLUMN mbackup.jobs.made IS 'id of the backup or mark that it made';
COMMENT ON COLUMN mbackup.jobs.error IS 'why it failed';
COMMENT ON COLUMN mbackup.jobs.hint IS 'what helps';
COMMENT ON COLUMN mbackup.jobs.stopping IS 'it runs, and mbackup_stop() was called';
COMMENT ON COLUMN mbackup.jobs.cancelled_by IS 'who called mbackup_stop()';
COMMENT ON COLUMN mbackup.jobs.arguments IS 'what was asked for, exactly';
COMMENT ON COLUMN mbackup.jobs.progress IS 'what view progress shows';
COMMENT ON COLUMN mbackup.jobs.result IS 'the answer of the command';

CREATE VIEW mbackup.progress AS
	SELECT p.job, p.kind, p.component, p.phase, pg_size_pretty(p.done_bytes) AS done, pg_size_pretty(p.total_bytes) AS total,
		CASE WHEN p.total_bytes > 0 THEN round(least(100.0 * p.done_bytes / p.total_bytes, 100), 1) END AS percent,
		mbackup.span(p.elapsed) AS elapsed,
		CASE WHEN p.done_bytes > 0 AND p.total_bytes >= p.done_bytes AND p.phase IS DISTINCT FROM 'done'
			THEN mbackup.span(p.elapsed * ((p.total_bytes - p.done_bytes)::double precision / p.done_bytes)) END AS remaining,
		p.done_bytes, p.total_bytes
	FROM (
		SELECT j.id AS job, j.kind, c.value ->> 'name' AS component, c.value ->> 'phase' AS phase, clock_timestamp() - j.started AS elapsed, c.ordinality,
			CASE WHEN jsonb_typeof(c.value -> 'done_bytes') = 'number' THEN (c.value ->> 'done_bytes')::numeric::bigint END AS done_bytes,
			CASE WHEN jsonb_typeof(c.value -> 'total_bytes') = 'number' THEN (c.value ->> 'total_bytes')::numeric::bigint END AS total_bytes
		FROM mbackup.job_table AS j LEFT JOIN LATERAL
			jsonb_array_elements(CASE jsonb_typeof(j.progress -> 'components') WHEN 'array' THEN j.progress -> 'components' ELSE '[]' END) WITH ORDINALITY AS c ON true
		WHERE j.state = 'running') AS p
	ORDER BY p.job, p.ordinality;
COMMENT ON VIEW mbackup.progress IS 'How far the running jobs are, by component; \watch it';
COMMENT ON COLUMN mbackup.progress.job IS 'id of the job';
COMMENT ON COLUMN mbackup.progress.kind IS 'of the job';
COMMENT ON COLUMN mbackup.progress.component IS 'NULL: nothing is known yet';
COMMENT ON COLUMN mbackup.progress.phase IS 'what is being done';
COMMENT ON COLUMN mbackup.progress.done IS 'so much is done';
COMMENT ON COLUMN mbackup.progress.total IS 'of so much, as far as it is known';
COMMENT ON COLUMN mbackup.progress.percent IS 'done of total';
COMMENT ON COLUMN mbackup.progress.elapsed IS 'since the job was started';
COMMENT ON COLUMN mbackup.progress.remaining IS 'at the rate so far, an estimate';
COMMENT ON COLUMN mbackup.progress.done_bytes IS 'done, exactly';
COMMENT ON COLUMN mbackup.progress.total_bytes IS 'total, exactly';

CREATE VIEW mbackup.schedules AS
	SELECT s.name, s.policy, p.kind, s.cron, s.time_zone, s.enabled, s.next, mbackup.span(s.next - clock_timestamp()) AS due_in, s.last, j.id AS last_job, j.state AS last_state,
		s.missed, s.jitter, s.owner
	FROM mbackup.schedule_table AS s JOIN mbackup.policy_table AS p ON p.name = s.policy
		LEFT JOIN LATERAL (SELECT t.id, t.state FROM mbackup.job_table AS t WHERE t.schedule = s.name ORDER BY t.id DESC LIMIT 1) AS j ON true;
COMMENT ON VIEW mbackup.schedules IS 'What is run by itself, and when';
COMMENT ON COLUMN mbackup.schedules.name IS 'of the schedule';
COMMENT ON COLUMN mbackup.schedules.policy IS 'what is run';
COMMENT ON COLUMN mbackup.schedules.kind IS 'of the policy';
COMMENT ON COLUMN mbackup.schedules.cron IS 'minute hour day month weekday';
COMMENT ON COLUMN mbackup.schedules.time_zone IS 'in which the expression is read';
COMMENT ON COLUMN mbackup.schedules.enabled IS 'false: at rest';
COMMENT ON COLUMN mbackup.schedules.next IS 'when it is run next';
COMMENT ON COLUMN mbackup.schedules.due_in IS 'the same from now';
COMMENT ON COLUMN mbackup.schedules.last IS 'the last time of the expression that has passed';
COMMENT ON COLUMN mbackup.schedules.last_job IS 'its newest job';
COMMENT ON COLUMN mbackup.schedules.last_state IS 'how that went';
COMMENT ON COLUMN mbackup.schedules.missed IS 'times that passed without a job: no daemon, or the last job still active';
COMMENT ON COLUMN mbackup.schedules.jitter IS 'each run is put off by up to so much';
COMMENT ON COLUMN mbackup.schedules.owner IS 'who made it';

CREATE VIEW mbackup.recovery_window AS
	SELECT w.component, w.kind, w.starts AS "from", w.ends AS "to", mbackup.span(w.ends - w.starts) AS span, mbackup.span(clock_timestamp() - w.ends) AS behind,
		jsonb_array_length(w.gaps) AS gaps, w.gaps AS gap_list
	FROM mbackup.window_table AS w ORDER BY w.component = 'stack' DESC, w.component;
COMMENT ON VIEW mbackup.recovery_window IS 'From when to when each component, and the stack as a whole, can be restored';
COMMENT ON COLUMN mbackup.recovery_window.component IS 'a component, or stack: all of them together';
COMMENT ON COLUMN mbackup.recovery_window.kind IS 'postgres, objects, redis, files or stack';
COMMENT ON COLUMN mbackup.recovery_window."from" IS 'the earliest moment; NULL: nothing can be restored';
COMMENT ON COLUMN mbackup.recovery_window."to" IS 'the latest moment';
COMMENT ON COLUMN mbackup.recovery_window.span IS 'how long it is';
COMMENT ON COLUMN mbackup.recovery_window.behind IS 'what would be lost now, as of the last look of the daemon';
COMMENT ON COLUMN mbackup.recovery_window.gaps IS 'how many stretches within cannot be restored';
COMMENT ON COLUMN mbackup.recovery_window.gap_list IS '[[from, to], ...]';

CREATE VIEW mbackup.streams AS
	SELECT s.component, s.kind, s.state, s.since, mbackup.span(clock_timestamp() - s.since) AS age, mbackup.span(s.lag) AS behind, s.message, extract(epoch FROM s.lag)::double precision AS lag_seconds
	FROM mbackup.stream_table AS s;
COMMENT ON VIEW mbackup.streams IS 'What is captured continuously';
COMMENT ON COLUMN mbackup.streams.component IS 'whose stream it is';
COMMENT ON COLUMN mbackup.streams.kind IS 'postgres, objects, redis or files';
COMMENT ON COLUMN mbackup.streams.state IS 'running, waiting, stopped or failed';
COMMENT ON COLUMN mbackup.streams.since IS 'in this state since';
COMMENT ON COLUMN mbackup.streams.age IS 'the same from now';
COMMENT ON COLUMN mbackup.streams.behind IS 'what is not in the repository yet';
COMMENT ON COLUMN mbackup.streams.message IS 'why it does not run, or what it waits for';
COMMENT ON COLUMN mbackup.streams.lag_seconds IS 'behind, exactly';

CREATE VIEW mbackup.problems AS
	SELECT p.severity, p.component, p.name, p.message, p.fix, p.since, mbackup.span(clock_timestamp() - p.since) AS age FROM mbackup.problem_table AS p
	UNION ALL
	SELECT 'failed', 'daemon', 'daemon', 'no daemon serves this catalog: what is shown here is old, and jobs wait', 'Start "mbackup daemon" on the database host',
		d.seen, mbackup.span(clock_timestamp() - d.seen)
	FROM (SELECT max(t.seen) AS seen FROM mbackup.daemon_table AS t WHERE t.replaced_by IS NULL) AS d
	WHERE d.seen IS NULL OR d.seen <= clock_timestamp() - '1 minute'::interval;
COMMENT ON VIEW mbackup.problems IS 'What is wrong at this moment, and what helps; empty: nothing';
COMMENT ON COLUMN mbackup.problems.severity IS 'warning, or failed: something cannot be promised';
COMMENT ON COLUMN mbackup.problems.component IS 'a component, or stack, repository, daemon';
COMMENT ON COLUMN mbackup.problems.name IS 'what was looked at, as in mbackup check';
COMMENT ON COLUMN mbackup.problems.message IS 'what is wrong';
COMMENT ON COLUMN mbackup.problems.fix IS 'what helps';
COMMENT ON COLUMN mbackup.problems.since IS 'since when; NULL: always';
COMMENT ON COLUMN mbackup.problems.age IS 'the same from now';

CREATE VIEW mbackup.policies AS
	SELECT p.name, p.kind, p.arguments, p.comment, p.built_in, ARRAY(SELECT s.name FROM mbackup.schedule_table AS s WHERE s.policy = p.name ORDER BY s.name) AS schedules
	FROM mbackup.policy_table AS p;
COMMENT ON VIEW mbackup.policies IS 'What may be asked for, by name';
COMMENT ON COLUMN mbackup.policies.name IS 'what mbackup_start() and mbackup_schedule() are given';
COMMENT ON COLUMN mbackup.policies.kind IS 'backup, verify, expire or mark';
COMMENT ON COLUMN mbackup.policies.arguments IS 'what mbackup_policy() was given';
COMMENT ON COLUMN mbackup.policies.comment IS 'for people';
COMMENT ON COLUMN mbackup.policies.built_in IS 'part of the extension; cannot be changed';
COMMENT ON COLUMN mbackup.policies.schedules IS 'that use it';

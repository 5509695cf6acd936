-- -- who may what ----------------------------------------------------------------------------------------
--
-- Nothing for PUBLIC, and nothing that ALTER DEFAULT PRIVILEGES of whoever installs this gives to others.
DO $$
DECLARE
	o record;
BEGIN
	FOR o IN
		SELECT 'SCHEMA' AS what, pg_catalog.quote_ident(n.nspname) AS name, a.grantee FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
			WHERE n.nspname = 'mbackup' AND a.grantee <> n.nspowner
		UNION SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::pg_catalog.regprocedure::text, a.grantee
			FROM pg_catalog.pg_proc p, pg_catalog.pg_depend d, pg_catalog.pg_extension e,
				pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
			WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'
				AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND e.extname = 'mbackup' AND a.grantee <> p.proowner
		UNION SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass::text, a.grantee
			FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
			WHERE c.relnamespace = 'mbackup'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v', 'S') AND a.grantee <> c.relowner
		UNION SELECT 'TYPE', t.oid::pg_catalog.regtype::text, a.grantee
			FROM pg_catalog.pg_type t, pg_catalog.aclexplode(coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))) a
			WHERE t.typnamespace = 'mbackup'::pg_catalog.regnamespace AND t.typrelid = 0 AND t.typelem = 0 AND a.grantee <> t.typowner
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s CASCADE', o.what, o.name,
			CASE o.grantee WHEN 0 THEN 'PUBLIC' ELSE o.grantee::pg_catalog.regrole::text END);
	END LOOP;
END
$$;

GRANT mbackup_monitor TO mbackup_operator;
GRANT USAGE ON SCHEMA mbackup TO mbackup_monitor, mbackup_operator, mbackup_daemon;
GRANT EXECUTE ON FUNCTION
	mbackup.daemon_hello(uuid, text, integer, text), mbackup.daemon_take(uuid), mbackup.daemon_progress(uuid, bigint, jsonb),
	mbackup.daemon_end(uuid, bigint, text, jsonb, jsonb), mbackup.daemon_due(uuid), mbackup.daemon_sync(uuid, jsonb), mbackup.sync(jsonb),
	mbackup.daemon_report(uuid, jsonb, jsonb, text, jsonb) TO mbackup_daemon;
GRANT EXECUTE ON FUNCTION @extschema@.mbackup_status() TO mbackup_daemon, mbackup_monitor;
GRANT EXECUTE ON FUNCTION mbackup.cron_next(text, text, timestamptz), mbackup.cron_field(text, text, text, integer, integer, text[]),
	mbackup.cron_instants(timestamp, text, boolean) TO mbackup_monitor;
GRANT SELECT ON mbackup.backups, mbackup.components, mbackup.marks, mbackup.jobs, mbackup.progress, mbackup.schedules, mbackup.recovery_window,
	mbackup.streams, mbackup.problems, mbackup.policies TO mbackup_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.mbackup_wait(bigint, interval), mbackup.span(interval) TO mbackup_monitor;
GRANT EXECUTE ON FUNCTION
	@extschema@.mbackup_start(text, text, text[], jsonb), @extschema@.mbackup_mark(text, boolean), @extschema@.mbackup_verify(text[], text),
	@extschema@.mbackup_expire(boolean), @extschema@.mbackup_pin(text, boolean), @extschema@.mbackup_restore_plan(text), @extschema@.mbackup_stop(bigint),
	@extschema@.mbackup_policy(text, text, jsonb, text), @extschema@.mbackup_drop_policy(text),
	@extschema@.mbackup_schedule(text, text, text, text, interval, boolean), @extschema@.mbackup_unschedule(text) TO mbackup_operator;
GRANT EXECUTE ON PROCEDURE @extschema@.mbackup_run(text, text, text[], jsonb, interval, bigint, text) TO mbackup_operator;

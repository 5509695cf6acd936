/* mbackup--0.1--0.2.sql - what needs the library: WAL made durable, positions read at one moment. */
\echo Use "ALTER EXTENSION mbackup UPDATE TO '0.2'" to load this file. \quit

CREATE FUNCTION mbackup.flush_wal() RETURNS pg_catalog.pg_lsn LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'mbackup_flush_wal';
COMMENT ON FUNCTION mbackup.flush_wal() IS 'Make all WAL that has been inserted durable, a restore point of pg_create_restore_point() too; returns its end';

CREATE FUNCTION mbackup.wal_positions(OUT inserted pg_catalog.pg_lsn, OUT written pg_catalog.pg_lsn, OUT flushed pg_catalog.pg_lsn, OUT timeline pg_catalog.int4)
RETURNS record LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'mbackup_wal_positions';
COMMENT ON FUNCTION mbackup.wal_positions() IS 'How far WAL is inserted, written and flushed, and on which timeline';

-- Nothing for PUBLIC, nor for whom ALTER DEFAULT PRIVILEGES names.
DO $$
DECLARE
	o record;
BEGIN
	FOR o IN SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text AS name, a.grantee
		FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
		WHERE p.oid OPERATOR(pg_catalog.=) ANY (ARRAY['mbackup.flush_wal()'::pg_catalog.regprocedure, 'mbackup.wal_positions()'::pg_catalog.regprocedure]::pg_catalog.oid[])
			AND a.grantee OPERATOR(pg_catalog.<>) p.proowner
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', o.name,
			CASE WHEN o.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC' ELSE o.grantee::pg_catalog.regrole::pg_catalog.text END);
	END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION mbackup.flush_wal(), mbackup.wal_positions() TO mbackup_daemon;

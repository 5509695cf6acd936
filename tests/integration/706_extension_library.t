#!/bin/bash
# Version 0.2 of the extension, with its library: WAL is durable when it says so, a standby is told, and every way to
# each version leads to the same catalog.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/extension.sh"
major=$("$PG_BIN/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
PG_CONFIG=$PG_BIN/pg_config
[ -x "$PG_CONFIG" ] || PG_CONFIG=$(command -v pg_config)
[ "$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" = "$major" ] && [ -f "$("$PG_CONFIG" --includedir-server)/postgres.h" ] ||
	skip_all "no headers of PostgreSQL $major"
extension_server || { is 1 0 "a server of its own"; done_testing; }
ok "the library is built" extension_install "$PG_CONFIG"
is "$(grep -c warning "$T/extension.log")" 0 "... without a warning"
stack_postgres
export PGOPTIONS='-c client_min_messages=error'

# What an installation is: every object with its definition, comment, rights and dependence; no oid.
catalog() # database
{
	psql -X -q -A -t -d "$1" <<-'EOF'
		SET search_path = pg_catalog;
		SELECT 'member', pg_describe_object(classid, objid, objsubid), deptype FROM pg_depend
			WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mbackup') ORDER BY 2;
		SELECT 'function', p.oid::regprocedure, pg_get_functiondef(p.oid), p.proacl::text, obj_description(p.oid, 'pg_proc') FROM pg_proc p
			WHERE pronamespace = 'mbackup'::regnamespace OR proname LIKE 'mbackup\_%' ORDER BY p.oid::regprocedure::text;
		SELECT 'relation', c.relname, c.relkind, c.relacl::text, obj_description(c.oid, 'pg_class'), CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) WHEN 'i' THEN pg_get_indexdef(c.oid) END
			FROM pg_class c WHERE relnamespace = 'mbackup'::regnamespace ORDER BY 2;
		SELECT 'column', c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
			WHERE c.relnamespace = 'mbackup'::regnamespace ORDER BY 2, 4;
		SELECT 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'mbackup'::regnamespace ORDER BY 2, 3;
		SELECT 'extension', extversion, extrelocatable, extconfig::regclass[], extcondition FROM pg_extension WHERE extname = 'mbackup';
		SELECT 'initial rights', pg_describe_object(i.classoid, i.objoid, i.objsubid), i.privtype, i.initprivs::text FROM pg_init_privs i JOIN pg_depend d ON d.classid = i.classoid AND d.objid = i.objoid AND d.deptype = 'e'
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mbackup' ORDER BY 2;
		SELECT 'schema', nspacl::text, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'mbackup';
		SELECT 'policy', * FROM mbackup.policy_table ORDER BY 2;
	EOF
}
for schema in public ops
do
	for way in fresh upgraded
	do
		sql "CREATE DATABASE ${way}_$schema"
		sql "CREATE SCHEMA IF NOT EXISTS $schema" -d "${way}_$schema"
	done
	sql "CREATE EXTENSION mbackup SCHEMA $schema" -d "fresh_$schema"
	is "$(sql "SELECT extversion FROM pg_extension WHERE extname = 'mbackup'" -d "fresh_$schema")" 0.2 "$schema: with the library, 0.2 is the default"
	sql "CREATE EXTENSION mbackup SCHEMA $schema VERSION '0.1'" -d "upgraded_$schema"
	sql "SELECT $schema.mbackup_policy('mine', 'backup'); SELECT $schema.mbackup_start()" -d "upgraded_$schema" >/dev/null
	ok "$schema: ALTER EXTENSION UPDATE from 0.1" sql "ALTER EXTENSION mbackup UPDATE" -d "upgraded_$schema"
	is "$(sql "SELECT count(*) FROM mbackup.jobs" -d "upgraded_$schema")" 1 "$schema: ... keeps the jobs"
	sql "SELECT $schema.mbackup_drop_policy('mine')" -d "upgraded_$schema" >/dev/null
	catalog "fresh_$schema" >"$T/fresh"
	catalog "upgraded_$schema" >"$T/upgraded"
	ok "$schema: ... and is the same as a new one" diff -u "$T/fresh" "$T/upgraded"
	ok "$schema: ... of which there is something" test "$(wc -l <"$T/fresh")" -gt 500
done
export PGDATABASE=fresh_public
is "$(sql "SELECT string_agg(target, ' ' ORDER BY target) FROM pg_extension_update_paths('mbackup') WHERE source = '0.1' AND path IS NOT NULL")" 0.2 "every version leads to the newest"

# -- durable --------------------------------------------------------------------------------------------
sql "ALTER SYSTEM SET wal_writer_delay = '10s'"
sql "SELECT pg_reload_conf()" >/dev/null
behind=0 flushed=0
for n in $(seq 20)
do
	# A restore point by itself, then what flush_wal() makes of it.
	line=$(psql -X -q -A -t <<-EOF | tr '\n' ' '
		SELECT pg_create_restore_point('p$n') AS point \gset
		SELECT (p.flushed < :'point'::pg_lsn)::integer FROM mbackup.wal_positions() p;
		SELECT (mbackup.flush_wal() >= :'point'::pg_lsn)::integer;
		SELECT (p.flushed >= :'point'::pg_lsn AND p.flushed <= p.written AND p.written <= p.inserted)::integer FROM mbackup.wal_positions() p;
	EOF
	)
	case $line in 1*) behind=$((behind + 1)) ;; esac
	case $line in *' 1 1 ') flushed=$((flushed + 1)) ;; esac
done
ok "a restore point alone is not durable ($behind of 20)" test "$behind" -gt 0
is "$flushed" 20 "after flush_wal() it is"
is "$(sql "SELECT timeline FROM mbackup.wal_positions()")" 1 "the timeline"
# A crash right after: the restore point is in the WAL that the server comes back with.
point=$(sql "SELECT pg_create_restore_point('crash')"; sql "SELECT mbackup.flush_wal()" >/dev/null)
stop_cluster "$PGDATA" immediate
start_cluster "$PGDATA"
is "$(sql "SELECT pg_current_wal_insert_lsn() >= '$point'::pg_lsn")" t "it is there after a crash"
like "$("$PG_BIN/pg_waldump" -p "$PGDATA/pg_wal" -s "$(sql "SELECT '$point'::pg_lsn - 200")" -e "$point" 2>&1; "$PG_BIN/pg_waldump" -p "$PGDATA/pg_wal" "$(sql "SELECT pg_walfile_name('$point')")" 2>/dev/null | grep RESTORE_POINT)" 'RESTORE_POINT crash' "... pg_waldump finds it"
# At the boundary of a page, and of a segment, where there is nothing behind the last record.
ok "flush_wal() at the beginning of a segment" sql "SELECT pg_switch_wal(); SELECT mbackup.flush_wal()"
ok "... right after the switch" sql "DO \$\$ BEGIN FOR i IN 1..20 LOOP PERFORM pg_create_restore_point(repeat('x', 40)); PERFORM pg_switch_wal(); PERFORM mbackup.flush_wal(); END LOOP; END \$\$"
ok "... and after 3000 records of every size" sql "DO \$\$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_logical_emit_message(false, 'x', repeat('x', i % 97)); PERFORM mbackup.flush_wal(); END LOOP; END \$\$"

# -- a standby --------------------------------------------------------------------------------------------
"$PG_BIN/pg_basebackup" -D "$T/standby" -R -X stream -c fast -d "dbname=postgres" >/dev/null 2>&1
SPORT=$(free_port)
printf 'port = %s\n' "$SPORT" >>"$T/standby/postgresql.conf"
start_cluster "$T/standby"
run sql "SELECT mbackup.flush_wal()" -p "$SPORT"
like "$err" 'recovery is in progress' "a standby says what it is"
is "$(sql "SELECT mbackup_status() #>> '{database,state}'" -p "$SPORT")" up "... and shows the status"
is "$(sql "SELECT mbackup.timeline()" -p "$SPORT")" 1 "... and its timeline"
run sql "SELECT mbackup_start()" -p "$SPORT"
like "$err" 'read-only transaction' "... but takes no job"
sql "SELECT mbackup_start()" >/dev/null
job=$(sql "SELECT max(id) FROM mbackup.jobs")
wait_for 20 sql "SELECT 1 / count(*) FROM mbackup.jobs WHERE id = $job" -p "$SPORT"
stop_cluster "$PGDATA" immediate
"$PG_BIN/pg_ctl" -D "$T/standby" -w promote >/dev/null
is "$(sql "SELECT mbackup.timeline(), timeline FROM mbackup.wal_positions()" -p "$SPORT")" "2|2" "promoted: the new timeline at once"
sql "SELECT mbackup.daemon_hello('11111111-1111-1111-1111-111111111111', 'h', 1, 'v')" -p "$SPORT" >/dev/null
is "$(sql "SELECT state FROM mbackup.jobs WHERE id = $job" -p "$SPORT")" abandoned "... on which jobs of the old one are abandoned"
done_testing

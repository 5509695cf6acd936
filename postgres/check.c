/* check.c - every precondition of what we promise about Postgres, each with its fix. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "postgres/dialect.h"
#include "postgres/method.h"
#include "postgres/private.h"

/* WAL that a slot holds back above which a warning is due. */
#define LAG_WARNING_BYTES (1ull << 30)

static const char facts_sql[] =
	"SELECT current_setting('wal_level') AS wal_level,"
	" current_setting('max_wal_senders')::int AS max_wal_senders,"
	" current_setting('max_replication_slots')::int AS max_replication_slots,"
	" current_setting('full_page_writes') AS full_page_writes,"
	" current_setting('fsync') AS fsync,"
	" current_setting('synchronous_standby_names') AS synchronous,"
	" current_setting('max_slot_wal_keep_size') AS keep_size,"
	" (SELECT count(*) FROM pg_stat_replication) AS senders,"
	" (SELECT count(*) FROM pg_replication_slots) AS slots,"
	" (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS "
	"replication,"
	" has_function_privilege('pg_create_restore_point(text)', 'EXECUTE') AS restore_point,"
	" has_function_privilege($1, 'EXECUTE') AS backup";

struct checker
{
	struct mb_postgres *pg;
	struct mb_checks *checks;
	const PGresult *facts;
};

static void
found_ok(struct checker *checker, const char *name, const char *message)
{
	mb_check_add(checker->checks, MB_CHECK_OK, checker->pg->base.name, name, "", "%s", message);
}

static void
found(struct checker *checker, enum mb_check_status status, const char *name, const char *fix,
	  const char *message)
{
	mb_check_add(checker->checks, status, checker->pg->base.name, name, fix, "%s", message);
}

static const char *
fact(const struct checker *checker, const char *column)
{
	return mb_pg_field(checker->facts, 0, column);
}

static void
check_settings(struct checker *checker)
{
	const char *level = fact(checker, "wal_level");

	if (strcmp(level, "minimal") == 0)
		found(checker, MB_CHECK_FAILED, "wal-level",
			  "ALTER SYSTEM SET wal_level = 'replica'; then restart PostgreSQL",
			  "wal_level is minimal: no backup and no recovery to a point in time is possible");
	else
		found_ok(checker, "wal-level", level);
	if (atoi(fact(checker, "max_wal_senders")) - atoi(fact(checker, "senders")) < 1)
		found(checker, MB_CHECK_FAILED, "wal-senders",
			  "ALTER SYSTEM SET max_wal_senders = 10; then restart PostgreSQL",
			  "no WAL sender is free: max_wal_senders are all in use");
	else
		found_ok(checker, "wal-senders", "a WAL sender is free");
	if (strcmp(fact(checker, "full_page_writes"), "on") != 0)
		found(checker, MB_CHECK_WARNING, "full-page-writes",
			  "ALTER SYSTEM SET full_page_writes = 'on'; SELECT pg_reload_conf();",
			  "full_page_writes is off: a crash can leave torn pages");
	else
		found_ok(checker, "full-page-writes", "on");
	if (strcmp(fact(checker, "fsync"), "on") != 0)
		found(checker, MB_CHECK_WARNING, "fsync",
			  "ALTER SYSTEM SET fsync = 'on'; SELECT pg_reload_conf();",
			  "fsync is off: a crash of the machine can destroy the cluster");
	else
		found_ok(checker, "fsync", "on");
	if (strstr(fact(checker, "synchronous"), "mbackup"))
		found(checker, MB_CHECK_WARNING, "synchronous",
			  "Use ANY 1 (mbackup, another standby), and tail-interval as small as commits may "
			  "wait",
			  "commits wait for mbackup: they stand still while no stream runs");
}

static void
check_privileges(struct checker *checker)
{
	const struct mb_pg_dialect *dialect = mb_pg_dialect_of(checker->pg->server.version);

	if (fact(checker, "replication")[0] != 't')
		found(checker, MB_CHECK_FAILED, "privilege-replication", "ALTER ROLE <user> REPLICATION;",
			  "the user may not replicate: no WAL can be received");
	else
		found_ok(checker, "privilege-replication", "the user may replicate");
	if (fact(checker, "backup")[0] != 't')
	{
		char *fix = mb_asprintf("GRANT EXECUTE ON FUNCTION %s, %s TO <user>;",
								dialect->backup_start_function, dialect->backup_stop_function);

		found(checker, MB_CHECK_FAILED, "privilege-backup", fix,
			  "the user may not start a base backup");
		free(fix);
	}
	else
		found_ok(checker, "privilege-backup", "the user may start a base backup");
	if (fact(checker, "restore_point")[0] != 't')
		found(checker, MB_CHECK_FAILED, "privilege-restore-point",
			  "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO <user>;",
			  "the user may not create restore points: no cut can be made");
	else
		found_ok(checker, "privilege-restore-point", "the user may create restore points");
}

/* Can the files be read, and how?  Of the standby, when there is one. */
static void
check_reading(struct checker *checker)
{
	struct mb_postgres *pg = checker->pg;
	struct mb_postgres *from = pg->standby ? pg->standby : pg;
	enum mb_pg_method method;
	struct mb_error err = {0};
	int root_fd;

	if (mb_postgres_connect(from, &err) || mb_postgres_check_source(pg, from, &err))
	{
		found(checker, MB_CHECK_FAILED, "standby", *err.hint ? err.hint : "Look at the key standby",
			  err.message);
		return;
	}
	if (from != pg)
		found_ok(checker, "standby", "the standby follows this cluster");
	if (mb_postgres_choose_method(from, &method, &root_fd, &err))
	{
		found(checker, MB_CHECK_FAILED, "data-directory", err.hint, err.message);
		return;
	}
	mb_check_add(checker->checks, MB_CHECK_OK, pg->base.name, "data-directory", "",
				 method == MB_PG_DIRECT ? "\"%s\" is read directly"
										: "\"%s\" is read over the wire",
				 from->server.data_directory);
	if (root_fd >= 0)
		close(root_fd);
	if (from != pg)
		mb_postgres_disconnect(from);
}

static void
check_pages(struct checker *checker)
{
	const struct mb_pg_server *server = &checker->pg->server;

	if (server->block_size != 8192)
		found(checker, MB_CHECK_FAILED, "page-size", "Use a server with pages of 8 kB",
			  "the server was built with another page size");
	if (!server->checksums)
		found(checker, MB_CHECK_WARNING, "checksums",
			  "Stop PostgreSQL, then: pg_checksums --enable -D <data directory>",
			  "data checksums are off: damaged pages cannot be noticed");
	else
		found_ok(checker, "checksums", "data checksums are on");
}

static void
check_no_slot(struct checker *checker)
{
	if (atoi(fact(checker, "max_replication_slots")) <= atoi(fact(checker, "slots")))
		found(checker, MB_CHECK_FAILED, "slot",
			  "ALTER SYSTEM SET max_replication_slots = 10; then restart PostgreSQL",
			  "no replication slot is free");
	else
		found(checker, MB_CHECK_WARNING, "stream", "Start \"mbackup stream\" and leave it running",
			  "no stream is running: what is committed now is in no backup until the next one");
}

static enum mb_code
check_slot(struct checker *checker, struct mb_error *err)
{
	struct mb_pg_slot slot;
	uint64_t now = 0;
	char lag[MB_SIZE_TEXT];
	enum mb_code code = mb_postgres_slot(checker->pg, &slot, err);

	if (code)
		return code;
	if (!slot.exists)
	{
		check_no_slot(checker);
		return MB_OK;
	}
	if (slot.lost)
		found(checker, MB_CHECK_FAILED, "slot",
			  "Start \"mbackup stream\" (it makes the slot anew), then \"mbackup backup\"",
			  "the server has removed WAL that the slot needed: the history has a gap");
	else
		found_ok(checker, "slot", "the replication slot is there");
	if (!slot.active)
		found(checker, MB_CHECK_WARNING, "stream", "Start \"mbackup stream\" and leave it running",
			  "no stream is running: the server keeps WAL for it and its disk fills");
	else
		found_ok(checker, "stream", "a stream is running");
	code = mb_postgres_lsn(checker->pg, &now, "SELECT pg_current_wal_lsn()", err);
	if (!code && slot.restart_lsn && now > slot.restart_lsn + LAG_WARNING_BYTES)
	{
		mb_size_format(lag, now - slot.restart_lsn);
		mb_check_add(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "lag",
					 "See that the stream runs and the repository is fast enough",
					 "the stream is %s behind", lag);
	}
	return code;
}

/* A pooler gives each transaction another server process, so that nothing can be held. */
static enum mb_code
check_direct(struct checker *checker, struct mb_error *err)
{
	char *text;
	enum mb_code code;
	int pid;

	code = mb_pg_value(checker->pg->conn, &text, "SELECT pg_backend_pid()", 0, NULL, err);
	if (code)
		return code;
	pid = atoi(text);
	free(text);
	if (pid != PQbackendPID(checker->pg->conn))
		found(checker, MB_CHECK_FAILED, "direct-connection",
			  "Point conninfo at PostgreSQL itself, not at a pooler",
			  "the connection goes through a pooler");
	else
		found_ok(checker, "direct-connection", "the connection is direct");
	return MB_OK;
}

static void
check_replication(struct checker *checker)
{
	struct mb_error err;
	PGconn *conn;

	if (mb_pg_connect(&conn, &checker->pg->params, MB_PG_REPLICATION, &err))
		mb_check_add(checker->checks, MB_CHECK_FAILED, checker->pg->base.name,
					 "replication-connection",
					 "Add a line for database \"replication\" to pg_hba.conf and reload", "%s",
					 err.message);
	else
	{
		found_ok(checker, "replication-connection", "a replication connection works");
		PQfinish(conn);
	}
}

enum mb_code
mb_postgres_check(struct mb_component *component, struct mb_checks *checks, struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct checker checker = {pg, checks, NULL};
	struct mb_error why;
	PGresult *facts;
	const char *function;
	enum mb_code code;

	if (mb_postgres_connect(pg, &why))
	{
		mb_check_add(checks, MB_CHECK_FAILED, component->name, "connection",
					 why.hint[0] ? why.hint : "Check conninfo and that PostgreSQL runs", "%s",
					 why.message);
		return MB_OK;
	}
	mb_check_add(checks, MB_CHECK_OK, component->name, "connection", "", "PostgreSQL %s answers",
				 pg->server.version_text);
	if (pg->server.in_recovery)
	{
		found(&checker, MB_CHECK_FAILED, "primary",
			  "Point conninfo at the primary, and the key standby at this server",
			  "the server is a standby, where no cut can be made");
		return MB_OK;
	}
	function = mb_pg_dialect_of(pg->server.version)->backup_start_function;
	code = mb_pg_query(pg->conn, &facts, facts_sql, 1, &function, err);
	if (code)
		return mb_error_context(err, "could not examine the server");
	checker.facts = facts;
	check_settings(&checker);
	check_privileges(&checker);
	check_reading(&checker);
	check_pages(&checker);
	check_replication(&checker);
	code = check_direct(&checker, err);
	if (!code)
		code = check_slot(&checker, err);
	if (!code)
		code = mb_postgres_check_wal(pg, checks, err);
	PQclear(facts);
	return code;
}

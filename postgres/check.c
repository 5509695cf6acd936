/* check.c - every precondition of what we promise about Postgres, each with its fix. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "postgres/check_private.h"
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
	" current_user AS me, current_setting('hba_file', true) AS hba_file,"
	" host(inet_client_addr()) || '/' || CASE family(inet_client_addr()) WHEN 4 THEN 32 ELSE 128 "
	"END"
	" AS client,"
	" (SELECT setting FROM pg_settings WHERE name = 'max_wal_size') AS max_wal_mb,"
	" (SELECT count(*) FROM pg_stat_replication) AS senders,"
	" (SELECT count(*) FROM pg_replication_slots) AS slots,"
	" (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS "
	"replication,"
	" has_function_privilege('pg_create_restore_point(text)', 'EXECUTE') AS restore_point,"
	" has_function_privilege($1, 'EXECUTE') AS backup";

void
mb_pg_found_ok(const struct checker *checker, const char *name, const char *message)
{
	mb_check_add(checker->checks, MB_CHECK_OK, checker->pg->base.name, name, "", "%s", message);
}

static void
found(struct checker *checker, enum mb_check_status status, const char *name, char *fix,
	  const char *message)
{
	mb_check_add_fix(checker->checks, status, checker->pg->base.name, name, fix, "%s", message);
}

static const char *
fact(const struct checker *checker, const char *column)
{
	return mb_pg_field(checker->facts, 0, column);
}

/* "ALTER SYSTEM SET name = value", and what makes it count. */
static void
check_setting(struct checker *checker, bool is_well, enum mb_check_status status, const char *name,
			  const char *set, bool restart, const char *message, const char *well)
{
	char *sql;

	if (is_well)
	{
		mb_pg_found_ok(checker, name, well);
		return;
	}
	sql = mb_asprintf("ALTER SYSTEM SET %s", set);
	found(checker, status, name,
		  restart ? mb_pg_fix_restart(checker, sql) : mb_pg_fix(checker, sql, MB_PG_RELOAD_SQL),
		  message);
	free(sql);
}

static void
check_settings(struct checker *checker)
{
	int senders = atoi(fact(checker, "max_wal_senders"));
	char more[48];

	check_setting(checker, strcmp(fact(checker, "wal_level"), "minimal") != 0, MB_CHECK_FAILED,
				  "wal-level", "wal_level = replica", true,
				  "wal_level is minimal: no backup and no recovery to a point in time is possible",
				  fact(checker, "wal_level"));
	snprintf(more, sizeof(more), "max_wal_senders = %d", senders + 5);
	check_setting(checker, senders - atoi(fact(checker, "senders")) >= 1, MB_CHECK_FAILED,
				  "wal-senders", more, true,
				  "no WAL sender is free: max_wal_senders are all in use", "a WAL sender is free");
	check_setting(checker, strcmp(fact(checker, "full_page_writes"), "on") == 0, MB_CHECK_WARNING,
				  "full-page-writes", "full_page_writes = on", false,
				  "full_page_writes is off: a crash can leave torn pages", "on");
	check_setting(checker, strcmp(fact(checker, "fsync"), "on") == 0, MB_CHECK_WARNING, "fsync",
				  "fsync = on", false,
				  "fsync is off: a crash of the machine can destroy the cluster", "on");
	check_setting(checker, strstr(fact(checker, "synchronous"), "mbackup") == NULL,
				  MB_CHECK_WARNING, "synchronous",
				  "synchronous_standby_names = 'ANY 1 (mbackup, other_standby)'", false,
				  "commits wait for mbackup: they stand still while no stream runs",
				  "no commit waits for mbackup");
}

static void
check_privileges(struct checker *checker)
{
	const struct mb_pg_dialect *dialect = mb_pg_dialect_of(checker->pg->server.version);
	char *user = mb_pg_quote_ident(fact(checker, "me")), *sql;

	sql = mb_asprintf("ALTER ROLE %s REPLICATION", user);
	if (fact(checker, "replication")[0] != 't')
		found(checker, MB_CHECK_FAILED, "privilege-replication", mb_pg_fix(checker, sql, NULL),
			  "the user may not replicate: no WAL can be received");
	else
		mb_pg_found_ok(checker, "privilege-replication", "the user may replicate");
	free(sql);
	sql = mb_asprintf("GRANT EXECUTE ON FUNCTION %s, %s TO %s", dialect->backup_start_function,
					  dialect->backup_stop_function, user);
	if (fact(checker, "backup")[0] != 't')
		found(checker, MB_CHECK_FAILED, "privilege-backup", mb_pg_fix(checker, sql, NULL),
			  "the user may not start a base backup");
	else
		mb_pg_found_ok(checker, "privilege-backup", "the user may start a base backup");
	free(sql);
	sql = mb_asprintf("GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO %s", user);
	if (fact(checker, "restore_point")[0] != 't')
		found(checker, MB_CHECK_FAILED, "privilege-restore-point", mb_pg_fix(checker, sql, NULL),
			  "the user may not create restore points: no cut can be made");
	else
		mb_pg_found_ok(checker, "privilege-restore-point", "the user may create restore points");
	free(sql);
	free(user);
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
		found(checker, MB_CHECK_FAILED, "standby",
			  mb_strdup(*err.hint ? err.hint
								  : "standby = the standby of this cluster in [postgres]"),
			  err.message);
		return;
	}
	if (from != pg)
		mb_pg_found_ok(checker, "standby", "the standby follows this cluster");
	if (mb_postgres_choose_method(from, &method, &root_fd, &err))
	{
		found(checker, MB_CHECK_FAILED, "data-directory",
			  mb_strdup(*err.hint ? err.hint : "method = basebackup in [postgres]"), err.message);
		return;
	}
	mb_check_add(checker->checks, MB_CHECK_OK, pg->base.name, "data-directory", "",
				 method == MB_PG_DIRECT ? "\"%s\" is read directly"
										: "\"%s\" is read over the wire",
				 from->server.data_directory);
	if (root_fd >= 0)
	{
		mb_pg_check_host(checker, root_fd);
		close(root_fd);
	}
	if (from != pg)
		mb_postgres_disconnect(from);
}

static void
check_pages(struct checker *checker)
{
	const struct mb_pg_server *server = &checker->pg->server;
	char *data = mb_shell_word(server->data_directory);

	if (server->block_size != 8192)
		found(checker, MB_CHECK_FAILED, "page-size",
			  mb_strdup("A server built with --with-blocksize=8"),
			  "the server was built with another page size than 8 kB");
	if (!server->checksums)
		found(checker, MB_CHECK_WARNING, "checksums",
			  mb_asprintf("pg_ctl stop -D %s && pg_checksums --enable -D %s && pg_ctl start -D %s",
						  data, data, data),
			  "data checksums are off: damaged pages cannot be noticed");
	else
		mb_pg_found_ok(checker, "checksums", "data checksums are on");
	free(data);
}

static void
check_no_slot(struct checker *checker)
{
	int slots = atoi(fact(checker, "max_replication_slots"));

	if (slots <= atoi(fact(checker, "slots")))
	{
		char *sql = mb_asprintf("ALTER SYSTEM SET max_replication_slots = %d", slots + 5);

		found(checker, MB_CHECK_FAILED, "slot", mb_pg_fix_restart(checker, sql),
			  "no replication slot is free");
		free(sql);
	}
	else
		found(checker, MB_CHECK_WARNING, "stream", mb_strdup(MB_PG_START_STREAM),
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
			  mb_strdup(MB_PG_START_STREAM ", then mbackup backup"),
			  "the server has removed WAL that the slot needed: the history has a gap");
	else
		mb_pg_found_ok(checker, "slot", "the replication slot is there");
	if (!slot.active)
		found(checker, MB_CHECK_WARNING, "stream", mb_strdup(MB_PG_START_STREAM),
			  "no stream is running: the server keeps WAL for it and its disk fills");
	else
		mb_pg_found_ok(checker, "stream", "a stream is running");
	code = mb_postgres_lsn(checker->pg, &now, "SELECT pg_current_wal_lsn()", err);
	if (!code && slot.restart_lsn && now > slot.restart_lsn + LAG_WARNING_BYTES)
	{
		mb_size_format(lag, now - slot.restart_lsn);
		mb_check_add(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "lag",
					 slot.active
						 ? "What holds the repository up: mbackup list shows how far the stream is"
						 : MB_PG_START_STREAM,
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
			  mb_strdup("conninfo = host=/run/postgresql port=5432, which is PostgreSQL itself, in "
						"[postgres]"),
			  "the connection goes through a pooler");
	else
		mb_pg_found_ok(checker, "direct-connection", "the connection is direct");
	return MB_OK;
}

static void
check_replication(struct checker *checker)
{
	struct mb_error err;
	PGconn *conn;

	if (mb_pg_connect(&conn, &checker->pg->params, MB_PG_REPLICATION, &err))
		mb_check_add_fix(checker->checks, MB_CHECK_FAILED, checker->pg->base.name,
						 "replication-connection", mb_pg_fix_hba(checker), "%s", err.message);
	else
	{
		mb_pg_found_ok(checker, "replication-connection", "a replication connection works");
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

	mb_pg_check_conninfo(pg, checks);
	if (mb_postgres_connect(pg, &why))
	{
		mb_check_add(checks, MB_CHECK_FAILED, component->name, "connection",
					 why.hint[0] ? why.hint : "pg_ctl start, or the right conninfo in [postgres]",
					 "%s", why.message);
		return MB_OK;
	}
	mb_check_add(checks, MB_CHECK_OK, component->name, "connection", "", "PostgreSQL %s answers",
				 pg->server.version_text);
	if (pg->server.in_recovery)
	{
		found(&checker, MB_CHECK_FAILED, "primary",
			  mb_asprintf("conninfo = the primary, and standby = %s, in [postgres]",
						  mb_settings_get(component->settings, "conninfo")),
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
		code = mb_pg_check_server(&checker, err);
	if (!code)
		code = mb_postgres_check_wal(pg, checks, err);
	PQclear(facts);
	return code;
}

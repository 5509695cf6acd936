/*
 * object_journal.c - see object_journal.h.
 *
 * MinIO's target writes rows (event_time, event_data) into mbackup.object_inbox and looks at that
 * table when it starts, so it has to stay empty: a trigger takes each row over into
 * mbackup.object_event, with the position of the WAL, and keeps it out of the inbox.
 */
#include "cli/object_journal.h"

#include <stdlib.h>
#include <string.h>

#include "postgres/connection.h"

#define ROWS_AT_ONCE "1000"

/* Safe to run again: nothing is dropped, nothing is emptied. */
static const char install_sql[] =
	"CREATE SCHEMA IF NOT EXISTS mbackup;"
	"COMMENT ON SCHEMA mbackup IS 'backups of this stack: see mbackup help';"
	"CREATE TABLE IF NOT EXISTS mbackup.object_event ("
	" id bigserial PRIMARY KEY,"
	" lsn pg_lsn NOT NULL DEFAULT pg_current_wal_insert_lsn(),"
	" xid xid8 NOT NULL DEFAULT pg_current_xact_id(),"
	" at timestamptz NOT NULL DEFAULT clock_timestamp(),"
	" event_time timestamptz NOT NULL,"
	" event_data jsonb NOT NULL);"
	"COMMENT ON TABLE mbackup.object_event IS"
	" 'what happened to the objects of journalled buckets, in the order of the WAL';"
	"CREATE TABLE IF NOT EXISTS mbackup.object_inbox ("
	" event_time timestamptz NOT NULL, event_data jsonb);"
	"COMMENT ON TABLE mbackup.object_inbox IS"
	" 'where MinIO''s notify_postgres writes to; always empty';"
	"CREATE OR REPLACE FUNCTION mbackup.take_object_event() RETURNS trigger"
	" LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$"
	" BEGIN"
	"  INSERT INTO mbackup.object_event (event_time, event_data)"
	"  VALUES (NEW.event_time, NEW.event_data);"
	"  RETURN NULL;"
	" END $body$;"
	"REVOKE ALL ON FUNCTION mbackup.take_object_event() FROM PUBLIC;"
	"DROP TRIGGER IF EXISTS take_object_event ON mbackup.object_inbox;"
	"CREATE TRIGGER take_object_event BEFORE INSERT ON mbackup.object_inbox"
	" FOR EACH ROW EXECUTE FUNCTION mbackup.take_object_event();"
	"DO $body$ BEGIN"
	" IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'mbackup_minio') THEN"
	"  CREATE ROLE mbackup_minio LOGIN;"
	" END IF;"
	"END $body$;"
	"GRANT USAGE ON SCHEMA mbackup TO mbackup_minio;"
	/* Without SELECT MinIO says that all is well, and loses every event. */
	"GRANT INSERT, SELECT ON mbackup.object_inbox TO mbackup_minio";

static const char read_sql[] =
	"SELECT id, lsn::text AS lsn, event_data::text AS data FROM mbackup.object_event"
	" WHERE id > $1 ORDER BY id LIMIT " ROWS_AT_ONCE;

static const char prune_sql[] =
	"DELETE FROM mbackup.object_event WHERE id <= $1 AND at < now() - interval '1 day'";

static const char check_sql[] =
	"SELECT has_table_privilege('mbackup_minio', 'mbackup.object_inbox', 'INSERT')"
	"   AND has_table_privilege('mbackup_minio', 'mbackup.object_inbox', 'SELECT') AS may_write,"
	" (SELECT count(*) FROM mbackup.object_event WHERE at > now() - interval '1 day') AS rows,"
	" (SELECT count(*) FROM mbackup.object_inbox) AS left_in_inbox";

/* -- the source ---------------------------------------------------------------------------------------- */

static enum mb_code
connect_to(const struct mb_settings *settings, PGconn **conn, struct mb_error *err)
{
	struct mb_pg_params params = {.conninfo = mb_settings_get(settings, "journal")};

	if (!params.conninfo)
	{
		mb_fail(err, MB_CONFIG, "no database is named for the events of \"%s\"", settings->name);
		return mb_error_hint(err, "Write journal = CONNINFO in its section.");
	}
	return mb_pg_connect(conn, &params, MB_PG_SQL, err);
}

/* An undefined table or schema is that nobody has made them yet. */
static enum mb_code
explain(enum mb_code code, const struct mb_settings *settings, struct mb_error *err)
{
	if (code == MB_IO && strstr(err->message, "does not exist"))
	{
		err->code = code = MB_NOT_FOUND;
		mb_error_hint(err, "Run: mbackup objects journal install %s", settings->name);
	}
	return code;
}

static enum mb_code
pass_rows(const PGresult *res, uint64_t *after, mb_journal_row_fn fn, void *ctx,
		  struct mb_error *err)
{
	enum mb_code code = MB_OK;
	int i;

	for (i = 0; !code && i < PQntuples(res); i++)
	{
		const char *data = mb_pg_field(res, i, "data");
		uint64_t lsn;

		*after = strtoull(mb_pg_field(res, i, "id"), NULL, 10);
		if (!mb_lsn_parse(&lsn, mb_pg_field(res, i, "lsn")))
			return mb_fail(err, MB_IO, "event %llu has no position", (unsigned long long) *after);
		code = fn(ctx, *after, lsn, data, strlen(data), err);
	}
	return code;
}

static enum mb_code
read_rows(const struct mb_settings *settings, uint64_t after, mb_journal_row_fn fn, void *ctx,
		  struct mb_error *err)
{
	PGconn *conn = NULL;
	enum mb_code code = connect_to(settings, &conn, err);
	int rows = code ? 0 : 1;

	while (!code && rows > 0)
	{
		char text[32];
		const char *params[] = {text};
		PGresult *res = NULL;

		snprintf(text, sizeof(text), "%llu", (unsigned long long) after);
		code = explain(mb_pg_query(conn, &res, read_sql, 1, params, err), settings, err);
		if (code)
			break;
		rows = PQntuples(res);
		code = pass_rows(res, &after, fn, ctx, err);
		PQclear(res);
	}
	PQfinish(conn);
	return code ? mb_error_context(err, "could not read the journal of objects") : MB_OK;
}

static enum mb_code
prune_rows(const struct mb_settings *settings, uint64_t up_to, struct mb_error *err)
{
	char text[32];
	const char *params[] = {text};
	PGconn *conn = NULL;
	PGresult *res = NULL;
	enum mb_code code = connect_to(settings, &conn, err);

	snprintf(text, sizeof(text), "%llu", (unsigned long long) up_to);
	if (!code)
		code = mb_pg_query(conn, &res, prune_sql, 1, params, err);
	PQclear(res);
	PQfinish(conn);
	return code ? mb_error_context(err, "could not prune the journal of objects") : MB_OK;
}

static enum mb_code
check_table(const struct mb_settings *settings, struct mb_checks *checks, struct mb_error *err)
{
	PGconn *conn = NULL;
	PGresult *res = NULL;
	enum mb_code code = connect_to(settings, &conn, err);
	char *install = mb_asprintf("mbackup objects journal install %s", settings->name);

	if (!code)
		code = mb_pg_query(conn, &res, check_sql, 0, NULL, err);
	if (code)
		mb_check_add(checks, MB_CHECK_FAILED, settings->name, "journal", install, "%s",
					 err->message);
	else if (strcmp(mb_pg_field(res, 0, "may_write"), "t") != 0)
		mb_check_add(checks, MB_CHECK_FAILED, settings->name, "journal",
					 "psql -c 'GRANT INSERT, SELECT ON mbackup.object_inbox TO mbackup_minio'",
					 "MinIO's role may not write events: they are lost");
	else if (strcmp(mb_pg_field(res, 0, "left_in_inbox"), "0") != 0)
		mb_check_add(checks, MB_CHECK_FAILED, settings->name, "journal", install,
					 "events stay in mbackup.object_inbox: its trigger is gone");
	else if (strcmp(mb_pg_field(res, 0, "rows"), "0") == 0)
		mb_check_add(checks, MB_CHECK_WARNING, settings->name, "journal",
					 "See docs/objects.md: the target notify_postgres, sync_events=on, and the "
					 "bucket's notification.",
					 "no event came within a day");
	else
		mb_check_add(checks, MB_CHECK_OK, settings->name, "journal", "",
					 "%s events came within a day", mb_pg_field(res, 0, "rows"));
	PQclear(res);
	PQfinish(conn);
	free(install);
	mb_error_clear(err);
	return MB_OK;
}

const struct mb_journal_source cli_object_journal = {read_rows, prune_rows, check_table};

/* -- install -------------------------------------------------------------------------------------------- */

static void add_step(json_t *steps, const char *fmt, ...) MB_PRINTF(2, 3);

static void
add_step(json_t *steps, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(steps, json_string(text));
}

static json_t *
next_steps(const struct mb_component *component, PGconn *conn)
{
	json_t *steps = json_array();
	const char *url = mb_settings_get(component->settings, "url");

	add_step(steps, "psql: \\password mbackup_minio");
	add_step(steps,
			 "mc admin config set MINIO notify_postgres:mbackup connection_string=\"host=%s "
			 "port=%s "
			 "dbname=%s user=mbackup_minio password=... sslmode=disable search_path=mbackup\" "
			 "table=object_inbox format=access",
			 PQhost(conn), PQport(conn), PQdb(conn));
	add_step(steps, "mc admin config set MINIO api sync_events=on");
	add_step(steps, "mc admin service restart MINIO");
	add_step(steps, "mc event add MINIO/%.*s arn:minio:sqs::mbackup:postgresql --event put,delete",
			 (int) strcspn(url + strlen("s3://"), "/"), url + strlen("s3://"));
	add_step(steps, "mbackup check --component %s", component->name);
	return steps;
}

enum mb_code
objects_journal(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_component *component;
	const char *url;
	PGconn *conn = NULL;
	enum mb_code code;

	if (strcmp(cli->words.items[1], "install") != 0)
	{
		mb_fail(err, MB_CONFIG, "\"mbackup objects journal\" knows no \"%s\"", cli->words.items[1]);
		return mb_error_hint(err, "Write: mbackup objects journal install NAME");
	}
	cli->words.items[1] = cli->words.items[2];
	code = objects_component(cli, &component, err);
	if (code)
		return code;
	url = mb_settings_get(component->settings, "url");
	if (!mb_starts_with(url, "s3://"))
		return mb_fail(err, MB_UNSUPPORTED, "%s is a directory: only MinIO writes a journal", url);
	code = connect_to(component->settings, &conn, err);
	if (!code)
		code = mb_pg_exec(conn, "BEGIN", err);
	if (!code)
		code = mb_pg_exec(conn, install_sql, err);
	if (!code)
		code = mb_pg_exec(conn, "COMMIT", err);
	if (code)
		mb_error_context(err, "could not install the journal");
	else
		cli->answer = json_pack("{s:{s:s, s:s, s:s, s:o}}", "journal", "component", component->name,
								"table", "mbackup.object_event", "role", "mbackup_minio", "next",
								next_steps(component, conn));
	PQfinish(conn);
	return code;
}

/*
 * daemon_catalog.c - the connection to the catalog, and what is called there.
 *
 * Every decision about jobs is a function of the extension (docs/daemon.md); here they are
 * called in order.  One fault and the connection is closed: what a statement left behind is
 * then nobody's concern, and the next turn begins where a fresh start would.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/daemon_catalog.h"
#include "core/base/time.h"

#define RETRY_MS 2000
#define ASK_MS 5000
#define REPORT_MS 5000

/* A hung server must not hang the daemon; what is called here takes milliseconds. */
static const char session_sql[] = "SET statement_timeout = '10s'; SET lock_timeout = '5s'; "
								  "SET idle_in_transaction_session_timeout = '30s'; "
								  "SET TimeZone = 'UTC'; "
								  "SET application_name = 'mbackup daemon'";

struct catalog *
catalog_new(struct daemon *daemon)
{
	struct catalog *catalog = mb_calloc(1, sizeof(*catalog));

	catalog->daemon = daemon;
	catalog->since_us = mb_time_now_us();
	snprintf(catalog->message, sizeof(catalog->message), "not connected yet");
	return catalog;
}

static void
disconnect(struct catalog *catalog)
{
	PQfinish(catalog->conn);
	catalog->conn = NULL;
	json_decref(catalog->orphans);
	catalog->orphans = NULL;
	free(catalog->schema);
	catalog->schema = NULL;
	catalog->retry_ms = mb_monotonic_ms() + RETRY_MS;
}

void
catalog_free(struct catalog *catalog)
{
	if (!catalog)
		return;
	disconnect(catalog);
	free(catalog);
}

int
catalog_fd(const struct catalog *catalog)
{
	return catalog->conn ? PQsocket(catalog->conn) : -1;
}

bool
catalog_is_up(const struct catalog *catalog)
{
	return catalog->conn && !catalog->message[0];
}

int64_t
catalog_since_us(const struct catalog *catalog)
{
	return catalog->since_us;
}

const char *
catalog_message(const struct catalog *catalog)
{
	return catalog->message;
}

/* -- asking --------------------------------------------------------------------------------- */

/* Wait for the result of what was sent; a server that says nothing is gone, as far as we can tell. */
static enum mb_code
await_result(struct catalog *catalog, PGresult **res, struct mb_error *err)
{
	int64_t end_ms = mb_monotonic_ms() + DAEMON_DATABASE_MS;
	PGresult *next;

	while (PQisBusy(catalog->conn))
	{
		struct pollfd fd = {.fd = PQsocket(catalog->conn), .events = POLLIN};
		int64_t left_ms = end_ms - mb_monotonic_ms();

		if (left_ms <= 0)
			return mb_fail(err, MB_UNREACHABLE, "the catalog's server said nothing for %d s",
						   DAEMON_DATABASE_MS / 1000);
		if (poll(&fd, 1, (int) left_ms) > 0 && !PQconsumeInput(catalog->conn))
			return mb_pg_fail(err, catalog->conn, NULL, "the connection to the catalog was lost");
	}
	while ((next = PQgetResult(catalog->conn)) != NULL)
	{
		PQclear(*res);
		*res = next;
	}
	return MB_OK;
}

/* One value of a call, parsed as JSON when `json` is given. */
enum mb_code
catalog_call(struct catalog *catalog, const char *sql, int count, const char *const *params,
			 json_t **json, struct mb_error *err)
{
	PGresult *res = NULL;
	enum mb_code code = MB_OK;

	if (!PQsendQueryParams(catalog->conn, sql, count, NULL, params, NULL, NULL, 0))
		return mb_pg_fail(err, catalog->conn, NULL, "could not ask the catalog");
	code = await_result(catalog, &res, err);
	if (!code && PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		code = mb_pg_fail(err, catalog->conn, res, "the catalog refused \"%.60s...\"", sql);
	if (!code && json)
	{
		const char *value = PQntuples(res) > 0 && PQnfields(res) > 0 ? PQgetvalue(res, 0, 0) : "";
		/* Only an object is a document: a value alone is none. */
		char *text = mb_asprintf("{\"value\": %s}", *value ? value : "null");
		json_t *holder = NULL;

		code = mb_json_parse(&holder, text, strlen(text), "the catalog's answer", err);
		*json = code ? NULL : json_incref(json_object_get(holder, "value"));
		json_decref(holder);
		free(text);
	}
	PQclear(res);
	return code;
}

void
catalog_number(char out[24], int64_t number)
{
	snprintf(out, 24, "%" PRId64, number);
}

/* -- connecting ----------------------------------------------------------------------------- */

enum mb_code
catalog_params(const struct mb_config *config, struct mb_pg_params *params, struct mb_error *err)
{
	const char *own = mb_config_get(config, SCOPE_DAEMON, "catalog");
	size_t i;

	*params = (struct mb_pg_params){.conninfo = own};
	if (own && mb_pg_conninfo_check(own, err))
		return mb_error_context(err, "catalog in [daemon]");
	for (i = 0; i < config->component_count; i++)
		if (strcmp(config->components[i].kind, "postgres") == 0)
		{
			if (!own)
				params->conninfo = mb_settings_get(&config->components[i], "conninfo");
			params->password = mb_settings_secret(&config->components[i], "password");
			return MB_OK;
		}
	if (own)
		return MB_OK;
	mb_fail(err, MB_CONFIG, "there is no database for the catalog");
	return mb_error_hint(err, "Add a section [postgres], or set catalog in [daemon].");
}

static enum mb_code
check_server(struct catalog *catalog, struct mb_error *err)
{
	static const char sql[] =
		"SELECT json_build_object('standby', pg_is_in_recovery(), 'timeline', CASE WHEN "
		"pg_is_in_recovery() THEN 0 ELSE ('x' || substr(pg_walfile_name("
		"pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, 'schema', (SELECT "
		"quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
		"WHERE extname = 'mbackup'), 'database', current_database())";
	json_t *answer = NULL;
	const char *schema;
	enum mb_code code = mb_pg_check_adopted(catalog->conn, err);

	if (!code)
		code = catalog_call(catalog, sql, 0, NULL, &answer, err);
	if (code)
		return code;
	schema = mb_json_str(answer, "schema", NULL);
	if (mb_json_bool(answer, "standby", false))
		code = mb_fail(err, MB_UNREACHABLE, "the catalog's server is a standby");
	else if (!schema)
	{
		code = mb_fail(err, MB_NOT_FOUND, "database \"%s\" has no extension mbackup",
					   mb_json_str(answer, "database", "?"));
		mb_error_hint(err, "Run CREATE EXTENSION mbackup there, or name another database by "
						   "catalog in [daemon].");
	}
	else
		catalog->schema = mb_strdup(schema);
	catalog->timeline = mb_json_int(answer, "timeline", 0);
	json_decref(answer);
	return code;
}

static enum mb_code
take_lock(struct catalog *catalog, struct mb_error *err)
{
	json_t *answer = NULL;
	enum mb_code code =
		catalog_call(catalog, "SELECT to_json(pg_try_advisory_lock(hashtext('mbackup.daemon')))", 0,
					 NULL, &answer, err);

	if (!code && !json_is_true(answer))
	{
		code = mb_fail(err, MB_CONFLICT, "another daemon serves this catalog");
		mb_error_hint(err, "Stop one of them. One that was killed is forgotten by the server as "
						   "soon as it notices.");
	}
	json_decref(answer);
	return code;
}

static enum mb_code
hello(struct catalog *catalog, struct mb_error *err)
{
	struct daemon *daemon = catalog->daemon;
	char pid[24];
	const char *params[] = {daemon->uuid, daemon->host, pid, MB_VERSION};
	enum mb_code code;

	catalog_number(pid, (int64_t) getpid());
	code = catalog_call(catalog,
						"SELECT coalesce(jsonb_agg(to_jsonb(j)), '[]') FROM "
						"mbackup.daemon_hello($1, $2, "
						"$3, $4) j",
						4, params, &catalog->orphans, err);
	if (!code)
		code = mb_pg_exec(catalog->conn, "LISTEN mbackup_job", err);
	/* What the repository has is told by a list that is made from now on. */
	catalog->hello_ms = mb_monotonic_ms();
	if (!code && json_array_size(catalog->orphans) > 0)
		sync_soon(daemon);
	daemon->list_is_new = daemon->list != NULL;
	return code;
}

static enum mb_code
connect_catalog(struct catalog *catalog, struct mb_error *err)
{
	struct mb_pg_params params;
	enum mb_code code = catalog_params(&catalog->daemon->cli->config, &params, err);

	if (!code)
		code = mb_pg_connect(&catalog->conn, &params, MB_PG_SQL, err);
	if (!code)
		code = mb_pg_exec(catalog->conn, session_sql, err);
	if (!code)
		code = check_server(catalog, err);
	if (!code)
		code = take_lock(catalog, err);
	if (!code)
		code = hello(catalog, err);
	catalog->next_ask_ms = catalog->next_due_ms = catalog->next_report_ms = 0;
	return code;
}

/* -- the rest ------------------------------------------------------------------------------- */

/* Let the catalog make jobs of the schedules that have become due. */
static enum mb_code
make_due(struct catalog *catalog, struct mb_error *err)
{
	const char *params[] = {catalog->daemon->uuid};

	catalog->next_due_ms = mb_monotonic_ms() + ASK_MS;
	return catalog_call(catalog, "SELECT to_json(mbackup.daemon_due($1))", 1, params, NULL, err);
}

static enum mb_code
give_list(struct catalog *catalog, struct mb_error *err)
{
	struct daemon *daemon = catalog->daemon;
	char *text = mb_json_text(daemon->list);
	const char *params[] = {daemon->uuid, text};
	enum mb_code code =
		catalog_call(catalog, "SELECT mbackup.daemon_sync($1, $2)", 2, params, NULL, err);

	free(text);
	if (!code)
		daemon->list_is_new = false;
	return code;
}

/* Tell what we know of the moment, and learn what the catalog knows: jobs and schedules. */
static enum mb_code
report(struct catalog *catalog, struct mb_error *err)
{
	struct daemon *daemon = catalog->daemon;
	json_t *streams = streams_json(daemon), *rows = NULL;
	char *streams_text = mb_json_text(streams), *problems_text, *sql;
	const char *params[] = {daemon->uuid, streams_text, NULL,
							mb_json_str(daemon->status, "stack", ""), NULL};
	char *repository_text =
		daemon->status ? mb_json_text(json_object_get(daemon->status, "repository")) : NULL;
	enum mb_code code;

	params[4] = repository_text;
	problems_text = daemon->problems ? mb_json_text(daemon->problems) : mb_strdup("[]");
	params[2] = problems_text;
	sql = mb_asprintf("SELECT %s.mbackup_status()", catalog->schema);
	code = catalog_call(catalog, "SELECT mbackup.daemon_report($1, $2, $3, $4, $5)", 5, params,
						NULL, err);
	if (!code)
		code = catalog_call(catalog, sql, 0, NULL, &rows, err);
	if (!code)
	{
		json_decref(daemon->rows);
		daemon->rows = json_incref(rows);
	}
	json_decref(rows);
	json_decref(streams);
	free(streams_text);
	free(problems_text);
	free(repository_text);
	free(sql);
	catalog->next_report_ms = mb_monotonic_ms() + (daemon->job_count ? PROGRESS_MS : REPORT_MS);
	return code;
}

static enum mb_code
serve(struct catalog *catalog, struct mb_error *err)
{
	int64_t now = mb_monotonic_ms();
	bool ask = now >= catalog->next_ask_ms, notified = false;
	PGnotify *notify;
	enum mb_code code;

	if (!PQconsumeInput(catalog->conn))
		return mb_pg_fail(err, catalog->conn, NULL, "the connection to the catalog was lost");
	while ((notify = PQnotifies(catalog->conn)) != NULL)
	{
		ask = notified = true;
		PQfreemem(notify);
	}
	code = catalog_settle_orphans(catalog, err);
	if (!code)
		code = catalog_tell_jobs(catalog, notified, err);
	/* How jobs ended is written down; a new one would be killed at once. */
	if (catalog->daemon->is_ending)
		return code;
	if (!code && now >= catalog->next_due_ms)
		code = make_due(catalog, err);
	if (!code && ask)
	{
		catalog->next_ask_ms = now + ASK_MS;
		code = catalog_take_jobs(catalog, err);
	}
	if (!code && catalog->daemon->list_is_new)
		code = give_list(catalog, err);
	if (!code && now >= catalog->next_report_ms)
		code = report(catalog, err);
	return code;
}

void
catalog_turn(struct catalog *catalog)
{
	const struct mb_log *log = &catalog->daemon->cli->log;
	bool was_up = catalog_is_up(catalog);
	struct mb_error err;
	enum mb_code code = MB_OK;

	if (!catalog->conn && mb_monotonic_ms() < catalog->retry_ms)
		return;
	mb_error_clear(&err);
	if (!catalog->conn)
		code = connect_catalog(catalog, &err);
	if (!code && !was_up)
	{
		mb_log_info(log, "the catalog in the database is served");
		catalog->message[0] = '\0';
		catalog->since_us = mb_time_now_us();
	}
	if (!code)
		code = serve(catalog, &err);
	if (!code)
		return;
	if (catalog_is_up(catalog))
		catalog->since_us = mb_time_now_us();
	if (strcmp(catalog->message, err.message) != 0)
		mb_log_warning(log, "catalog: %s%s%s; trying again", err.message, err.hint[0] ? " - " : "",
					   err.hint);
	snprintf(catalog->message, sizeof(catalog->message), "%.500s", err.message);
	disconnect(catalog);
}

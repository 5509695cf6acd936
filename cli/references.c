/*
 * references.c - [reference]: the user's own query says which objects the rows name, and the restored
 * buckets are compared with it (objectstore/reference.h).
 *
 * The query runs in a read-only transaction of the restored server, sorted by a cursor around it, so
 * that any number of rows fits.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/fs.h"
#include "objectstore/reference.h"
#include "postgres/connection.h"

#define SQL_MAX_BYTES (1u << 20)

struct checking
{
	struct mb_cli *cli;
	const char *section;
	struct mb_reference_check *check; /* of the bucket that the rows name now */
	char *bucket;
	json_t *result;  /* of that bucket */
	json_t *results; /* array */
	uint64_t problems;
};

bool
cli_has_references(const struct mb_cli *cli)
{
	size_t i;

	for (i = 0; i < cli->config.component_count; i++)
		if (strcmp(cli->config.components[i].kind, "reference") == 0)
			return true;
	return false;
}

/* -- buckets ---------------------------------------------------------------------------------------- */

static enum mb_code
end_bucket(struct checking *checking, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (checking->check)
		code = mb_reference_check_end(checking->check, checking->result, err);
	if (checking->result)
	{
		static const char *const kinds[] = {"dangling", "mismatched", "ambiguous"};
		size_t i;

		for (i = 0; i < 3; i++)
			checking->problems += (uint64_t) mb_json_int(checking->result, kinds[i], 0);
		json_array_append_new(checking->results, checking->result);
	}
	mb_reference_check_free(checking->check);
	free(checking->bucket);
	checking->check = NULL;
	checking->bucket = NULL;
	checking->result = NULL;
	return code;
}

static enum mb_code
begin_bucket(struct checking *checking, const char *name, struct mb_error *err)
{
	const struct mb_stack *stack = &checking->cli->stack;
	enum mb_code code = end_bucket(checking, err);
	size_t i;

	if (code)
		return code;
	checking->bucket = mb_strdup(name);
	checking->result = json_object();
	mb_json_set_str(checking->result, "section", checking->section);
	mb_json_set_str(checking->result, "bucket", name);
	for (i = 0; i < stack->count; i++)
		if (mb_reference_is_bucket(stack->components[i], name))
		{
			mb_json_set_str(checking->result, "component", stack->components[i]->name);
			return mb_reference_check_begin(&checking->check, stack->components[i], err);
		}
	mb_json_set_str(checking->result, "problem", "no component is of this bucket");
	return MB_OK;
}

static enum mb_code
take_row(struct checking *checking, const PGresult *res, int row, struct mb_error *err)
{
	const char *bucket = mb_pg_field(res, row, "bucket"), *size = mb_pg_field(res, row, "size");
	const char *version = mb_pg_field(res, row, "version"), *etag = mb_pg_field(res, row, "etag");
	struct mb_reference reference = {.key = mb_pg_field(res, row, "key"),
									 .version = *version ? version : NULL,
									 .etag = *etag ? etag : NULL,
									 .size = *size ? strtoll(size, NULL, 10) : -1};

	if (!*bucket || !*reference.key)
		return mb_fail(err, MB_CONFIG, "[%s] yields a row without bucket or key",
					   checking->section);
	if ((!checking->bucket || strcmp(checking->bucket, bucket) != 0) &&
		begin_bucket(checking, bucket, err))
		return err->code;
	if (checking->check)
		return mb_reference_check_row(checking->check, &reference, err);
	/* A bucket that is not part of the stack: nobody knows what became of it. */
	mb_json_set_int(checking->result, "rows", mb_json_int(checking->result, "rows", 0) + 1);
	return MB_OK;
}

/* -- one section ----------------------------------------------------------------------------------------- */

/* Columns by name, whichever the query has; sorted as buckets list. */
static const char wrapper[] =
	"DECLARE mbackup_references NO SCROLL CURSOR FOR"
	" SELECT j->>'bucket' AS bucket, j->>'key' AS key, j->>'version' AS version,"
	" j->>'etag' AS etag, j->>'size' AS size"
	" FROM (SELECT pg_catalog.to_jsonb(r) AS j FROM (%s) r) s"
	" ORDER BY (j->>'bucket') COLLATE \"C\", (j->>'key') COLLATE \"C\"";

static enum mb_code
read_sql(const struct mb_settings *settings, char **sql, struct mb_error *err)
{
	const char *text = mb_settings_get(settings, "sql");
	const char *path = mb_settings_get(settings, "sql-file");
	struct mb_buf file = {0};
	size_t len;

	if (!text == !path)
		return mb_fail(err, MB_CONFIG, "[%s] needs sql or sql-file", settings->name);
	if (path && mb_file_read(&file, path, SQL_MAX_BYTES, err))
		return err->code;
	if (path)
		text = mb_buf_cstr(&file);
	len = strlen(text);
	while (len > 0 && (isspace((unsigned char) text[len - 1]) || text[len - 1] == ';'))
		len--;
	*sql = mb_strndup(text, len);
	mb_buf_release(&file);
	return MB_OK;
}

static enum mb_code
ask(struct checking *checking, PGconn *conn, const char *sql, struct mb_error *err)
{
	char *declare = mb_asprintf(wrapper, sql);
	int rows = 1, i;
	enum mb_code code = mb_pg_exec(conn, "BEGIN READ ONLY", err);

	/* As the user's own psql would find tables. */
	if (!code)
		code = mb_pg_exec(conn, "SET LOCAL search_path TO DEFAULT", err);
	if (!code)
		code = mb_pg_exec(conn, declare, err);
	free(declare);
	while (!code && rows > 0)
	{
		PGresult *res;

		code = mb_cancel_check(checking->cli->env.cancel, err);
		if (!code)
			code = mb_pg_query(conn, &res, "FETCH 10000 FROM mbackup_references", 0, NULL, err);
		if (code)
			break;
		rows = PQntuples(res);
		for (i = 0; !code && i < rows; i++)
			code = take_row(checking, res, i, err);
		PQclear(res);
	}
	if (!code)
		code = end_bucket(checking, err);
	return code ? code : mb_pg_exec(conn, "COMMIT", err);
}

static enum mb_code
check_section(struct checking *checking, const struct mb_settings *settings, struct mb_error *err)
{
	const struct mb_component *clock = mb_stack_clock(&checking->cli->stack);
	struct mb_pg_params params = {0};
	char *sql = NULL;
	PGconn *conn;
	enum mb_code code;

	if (!clock)
		return mb_fail(err, MB_CONFIG, "[%s] needs a [postgres] to ask", settings->name);
	checking->section = settings->name;
	code = read_sql(settings, &sql, err);
	if (code)
		return code;
	params.conninfo = mb_settings_get(clock->settings, "conninfo");
	params.password = mb_settings_secret(clock->settings, "password");
	params.dbname = mb_settings_get(settings, "database");
	code = mb_pg_connect(&conn, &params, MB_PG_SQL, err);
	if (!code)
	{
		code = ask(checking, conn, sql, err);
		PQfinish(conn);
	}
	free(sql);
	return code ? mb_error_context(err, "[%s]", settings->name) : MB_OK;
}

enum mb_code
cli_check_references(void *ctx, json_t **found, struct mb_error *err)
{
	struct mb_cli *cli = ctx;
	struct checking checking = {.cli = cli, .results = json_array()};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < cli->config.component_count; i++)
		if (strcmp(cli->config.components[i].kind, "reference") == 0)
			code = check_section(&checking, &cli->config.components[i], err);
	mb_reference_check_free(checking.check);
	free(checking.bucket);
	json_decref(checking.result);
	*found = json_object();
	json_object_set_new(*found, "buckets", checking.results);
	mb_json_set_bool(*found, "missing", checking.problems > 0);
	if (code || checking.problems == 0)
		return code;
	return mb_fail(err, MB_PARTIAL,
				   "the reference check found %llu rows whose objects are not as they say",
				   (unsigned long long) checking.problems);
}

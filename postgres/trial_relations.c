/* trial_relations.c - every relation of the scratch server: its structure, and its rows. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "postgres/trial_private.h"

#define BIGGEST 10

static enum mb_code
run_pg_amcheck(struct mb_pg_trial *trial, const char *program, struct mb_error *err)
{
	char *jobs = mb_asprintf("--jobs=%u", trial->component->env->workers);
	const char *argv[] = {program,
						  "-h",
						  trial->scratch.socket_dir,
						  "-p",
						  MB_PG_SCRATCH_PORT,
						  "-U",
						  trial->scratch.user,
						  "--no-password",
						  "--all",
						  "--install-missing",
						  "--heapallindexed",
						  jobs,
						  NULL};
	char words[MB_PG_TRIAL_WORDS], why[1024];
	enum mb_code code;

	mb_progress_phase(trial->base->progress, "pg_amcheck");
	/* 2: it has found something, and says so on its stdout. */
	code = mb_pg_trial_run(trial, argv, 2, words, err);
	free(jobs);
	if (code && code != MB_IO)
		return code;
	snprintf(why, sizeof(why), "%s", err->message);
	mb_json_set_str(trial->base->report, "method", "pg_amcheck");
	if (code || *words)
		return mb_trial_check(trial->base, "pg_amcheck", MB_TRIAL_FAILED, err, "%s",
							  *words ? words : why);
	return mb_trial_check(trial->base, "pg_amcheck", MB_TRIAL_OK, err,
						  "every table and every B-tree is sound");
}

/* The functions that pg_amcheck calls, in one database. */
static enum mb_code
check_btrees(PGconn *conn, struct mb_error *err)
{
	enum mb_code code =
		mb_pg_exec(conn, "CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA public", err);

	return code ? code
				: mb_pg_exec(conn,
							 "SELECT public.bt_index_check(c.oid, true) FROM pg_class c"
							 " JOIN pg_index i ON i.indexrelid = c.oid"
							 " JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'"
							 " WHERE c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisready"
							 " AND i.indisvalid",
							 err);
}

/* Is the extension there to be installed? */
static enum mb_code
has_amcheck(const struct mb_pg_trial *trial, bool *has, struct mb_error *err)
{
	char *value = NULL;
	PGconn *conn;
	enum mb_code code = mb_pg_scratch_connect(&trial->scratch, "postgres", &conn, err);

	if (code)
		return code;
	code = mb_pg_value(conn, &value,
					   "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'", 0,
					   NULL, err);
	PQfinish(conn);
	*has = value && strcmp(value, "0") != 0;
	free(value);
	return code;
}

/* -- rows ----------------------------------------------------------------------------------------- */

struct table_rows
{
	char *name; /* database.schema.table */
	int64_t rows;
};

struct counting
{
	struct table_rows biggest[BIGGEST]; /* descending */
	size_t biggest_count;
	int64_t tables;
	int64_t rows;
	int64_t databases;
};

static void
add_count(struct counting *counting, const char *database, const char *table, int64_t rows)
{
	struct table_rows *list = counting->biggest;
	size_t i;

	counting->tables++;
	counting->rows += rows;
	if (counting->biggest_count == BIGGEST)
	{
		if (rows <= list[BIGGEST - 1].rows)
			return;
		free(list[--counting->biggest_count].name);
	}
	for (i = counting->biggest_count++; i > 0 && list[i - 1].rows < rows; i--)
		list[i] = list[i - 1];
	list[i] = (struct table_rows){mb_asprintf("%s.%s", database, table), rows};
}

static enum mb_code
count_tables(struct mb_pg_trial *trial, PGconn *conn, const char *database,
			 struct counting *counting, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code =
		mb_pg_query(conn, &res,
					"SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c"
					" JOIN pg_namespace n ON n.oid = c.relnamespace"
					" WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'"
					" AND (c.relkind = 'r' OR c.relispopulated)"
					" AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
					0, NULL, err);
	int i;

	for (i = 0; !code && i < PQntuples(res); i++)
	{
		const char *table = PQgetvalue(res, i, 0);
		char *sql = mb_asprintf("SELECT count(*) FROM %s", table), *value = NULL;

		code = mb_cancel_check(trial->component->env->cancel, err);
		if (!code)
			code = mb_pg_value(conn, &value, sql, 0, NULL, err);
		if (!code)
			add_count(counting, database, table, strtoll(value, NULL, 10));
		free(value);
		free(sql);
		if (code && code != MB_INTERRUPTED)
		{
			char why[1024];

			snprintf(why, sizeof(why), "%s", err->message);
			code = mb_trial_check(trial->base, "rows", MB_TRIAL_FAILED, err,
								  "%s.%s cannot be read: %s", database, table, why);
		}
	}
	if (res)
		PQclear(res);
	return code;
}

static enum mb_code
look_into(struct mb_pg_trial *trial, const char *database, bool check_indexes,
		  struct counting *counting, struct mb_error *err)
{
	char why[1024];
	PGconn *conn;
	enum mb_code code = mb_pg_scratch_connect(&trial->scratch, database, &conn, err);

	if (code)
	{
		snprintf(why, sizeof(why), "%s", err->message);
		return mb_trial_check(trial->base, "rows", MB_TRIAL_FAILED, err, "database \"%s\": %s",
							  database, why);
	}
	if (check_indexes && check_btrees(conn, err))
	{
		snprintf(why, sizeof(why), "%s", err->message);
		code = mb_trial_check(trial->base, "amcheck", MB_TRIAL_FAILED, err, "database \"%s\": %s",
							  database, why);
	}
	if (!code)
		code = count_tables(trial, conn, database, counting, err);
	PQfinish(conn);
	counting->databases++;
	return code;
}

static enum mb_code
list_databases(const struct mb_pg_trial *trial, PGresult **res, struct mb_error *err)
{
	PGconn *conn;
	enum mb_code code = mb_pg_scratch_connect(&trial->scratch, "postgres", &conn, err);

	if (code)
		return code;
	code = mb_pg_query(conn, res,
					   "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate "
					   "ORDER BY datname",
					   0, NULL, err);
	PQfinish(conn);
	return code;
}

static void
report_counts(struct mb_pg_trial *trial, struct counting *counting)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < counting->biggest_count; i++)
	{
		json_t *item = json_object();

		mb_json_set_str(item, "table", counting->biggest[i].name);
		mb_json_set_int(item, "rows", counting->biggest[i].rows);
		json_array_append_new(list, item);
		free(counting->biggest[i].name);
	}
	mb_json_set_int(trial->base->report, "databases", counting->databases);
	mb_json_set_int(trial->base->report, "tables", counting->tables);
	mb_json_set_int(trial->base->report, "rows", counting->rows);
	json_object_set_new(trial->base->report, "biggest", list);
}

static enum mb_code
count_rows(struct mb_pg_trial *trial, bool check_indexes, struct mb_error *err)
{
	struct counting counting = {.tables = 0};
	PGresult *res = NULL;
	enum mb_code code = list_databases(trial, &res, err);
	int i;

	mb_progress_phase(trial->base->progress, "counting rows");
	for (i = 0; !code && i < PQntuples(res); i++)
		code = look_into(trial, PQgetvalue(res, i, 0), check_indexes, &counting, err);
	if (res)
		PQclear(res);
	report_counts(trial, &counting);
	if (code)
		return code;
	if (check_indexes &&
		mb_trial_check(trial->base, "amcheck", MB_TRIAL_OK, err, "every B-tree is sound"))
		return err->code;
	return mb_trial_check(trial->base, "rows", MB_TRIAL_OK, err,
						  "%" PRId64 " rows in %" PRId64 " tables of %" PRId64 " databases",
						  counting.rows, counting.tables, counting.databases);
}

enum mb_code
mb_pg_trial_relations(struct mb_pg_trial *trial, struct mb_error *err)
{
	char *program = mb_pg_trial_program(trial, "pg_amcheck");
	bool available = false;
	enum mb_code code = has_amcheck(trial, &available, err);

	if (!code && available && program)
		code = run_pg_amcheck(trial, program, err);
	else if (!code)
		mb_json_set_str(trial->base->report, "method", available ? "amcheck" : "rows");
	if (!code)
		code = count_rows(trial, available && !program, err);
	free(program);
	return code;
}

/* load.c - a dump into a database; see load.h, and load_roles.c for roles. */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "postgres/load_private.h"

#define NAME_MAX_BYTES 63
/* Nothing but what template1 and extensions bring. */
#define OWN_SCHEMA "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
#define NO_EXTENSION(oid) \
	" AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = " oid " AND d.deptype = 'e')"
#define IS_EMPTY                                                                                \
	"SELECT (NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace " \
	"WHERE " OWN_SCHEMA NO_EXTENSION(                                                           \
		"c.oid") ") AND NOT EXISTS (SELECT FROM pg_proc p JOIN "                                \
				 "pg_namespace n ON n.oid = p.pronamespace WHERE " OWN_SCHEMA NO_EXTENSION(     \
					 "p.oid") ") AND "                                                          \
							  "NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname <> "      \
							  "'public' AND " OWN_SCHEMA NO_EXTENSION(                          \
								  "n.oid") ") AND NOT EXISTS (SELECT FROM "                     \
										   "pg_largeobject_metadata))::text"

/*
 * How the programs find the server: by variables, because arguments can be read by everybody, and a
 * connection string may hold a password.
 */
static char **
make_variables(PGconn *conn)
{
	PQconninfoOption *options = PQconninfo(conn), *option;
	size_t count = 0, cap = 0;
	char **made = NULL;

	for (option = options; option && option->keyword; option++)
		if (option->envvar && option->val && option->val[0] &&
			strcmp(option->keyword, "dbname") != 0 && strcmp(option->keyword, "options") != 0)
		{
			made = mb_grow(made, &cap, count + 2, sizeof(*made));
			made[count++] = mb_asprintf("%s=%s", option->envvar, option->val);
			made[count] = NULL;
		}
	PQconninfoFree(options);
	return made;
}

static void
free_variables(char **variables)
{
	size_t i;

	for (i = 0; variables && variables[i]; i++)
	{
		mb_wipe(variables[i], strlen(variables[i]));
		free(variables[i]);
	}
	free(variables);
}

static enum mb_code
connect_to(const struct mb_pg_load *load, const char *database, PGconn **conn, struct mb_error *err)
{
	struct mb_pg_params params = load->params;

	params.dbname = database;
	return mb_pg_connect(conn, &params, MB_PG_SQL, err);
}

enum mb_code
mb_pg_load_open(struct mb_pg_load **out, struct mb_component *component, const char *conninfo,
				unsigned flags, struct mb_error *err)
{
	struct mb_pg_load *load = mb_calloc(1, sizeof(*load));
	enum mb_code code;

	load->pg = (struct mb_postgres *) component;
	load->params = load->pg->params;
	if (conninfo)
		load->params.conninfo = conninfo;
	load->flags = flags;
	load->pipe.fd = load->pipe.err_fd = -1;
	code = mb_pg_connect(&load->conn, &load->params, MB_PG_SQL, err);
	if (!code)
	{
		load->place = mb_asprintf("%s:%s", PQhost(load->conn), PQport(load->conn));
		code = mb_pg_bindir(component->settings, PQserverVersion(load->conn) / 10000, &load->bindir,
							err);
	}
	if (code)
		mb_pg_load_close(load);
	else
		*out = load;
	return code;
}

const char *
mb_pg_load_place(const struct mb_pg_load *load)
{
	return load->place;
}

/* -- one database ------------------------------------------------------------------------------------ */

static enum mb_code
look(struct mb_pg_load *load, const char *database, bool *exists, bool *is_empty,
	 struct mb_error *err)
{
	char *value = NULL;
	PGconn *conn;
	enum mb_code code =
		mb_pg_value(load->conn, &value, "SELECT count(*) FROM pg_database WHERE datname = $1", 1,
					(const char *const[]){database}, err);

	*exists = !code && strcmp(value, "0") != 0;
	*is_empty = true;
	free(value);
	if (code || !*exists)
		return code;
	code = connect_to(load, database, &conn, err);
	if (code)
		return code;
	code = mb_pg_value(conn, &value, IS_EMPTY, 0, NULL, err);
	*is_empty = !code && strcmp(value, "true") == 0;
	if (!code)
		free(value);
	PQfinish(conn);
	return code;
}

enum mb_code
mb_pg_load_check(struct mb_pg_load *load, const char *database, struct mb_error *err)
{
	bool exists, is_empty;
	enum mb_code code = look(load, database, &exists, &is_empty, err);

	if (code || is_empty || (load->flags & MB_PG_LOAD_ASIDE))
		return code;
	mb_fail(err, MB_CONFLICT, "database \"%s\" on %s holds something already", database,
			load->place);
	return mb_error_hint(err, "Rename or drop it; with --force it is renamed, kept, and its name "
							  "printed.");
}

static enum mb_code
run_sql(struct mb_pg_load *load, struct mb_error *err, const char *format, const char *a,
		const char *b)
{
	char *first = mb_pg_quote_ident(a), *second = mb_pg_quote_ident(b ? b : "");
	struct mb_buf text = {0};
	const char *p;
	enum mb_code code;

	/* $1 and $2 are names. */
	for (p = format; *p; p++)
		if (*p == '$')
			mb_buf_put_str(&text, *++p == '1' ? first : second);
		else
			mb_buf_put_u8(&text, (uint8_t) *p);
	code = mb_pg_exec(load->conn, mb_buf_cstr(&text), err);
	mb_buf_release(&text);
	free(first);
	free(second);
	return code;
}

/* A session elsewhere: nobody can rename or drop the database that he is in. */
static enum mb_code
move_to_template(struct mb_pg_load *load, const char *database, struct mb_error *err)
{
	PGconn *conn;
	enum mb_code code;

	if (strcmp(PQdb(load->conn), database) != 0)
		return MB_OK;
	code = connect_to(load, "template1", &conn, err);
	if (code)
		return code;
	PQfinish(load->conn);
	load->conn = conn;
	return MB_OK;
}

static enum mb_code
put_aside(struct mb_pg_load *load, const char *database, struct mb_error *err)
{
	char time[MB_TIME_TEXT];
	size_t room;
	enum mb_code code;

	mb_time_compact(time, mb_time_now_us());
	room = NAME_MAX_BYTES - strlen("_before_") - strlen(time);
	load->aside = mb_asprintf("%.*s_before_%s", (int) room, database, time);
	code = move_to_template(load, database, err);
	if (!code)
		code = run_sql(load, err, "ALTER DATABASE $1 RENAME TO $2", database, load->aside);
	if (!code)
		return MB_OK;
	free(load->aside);
	load->aside = NULL;
	mb_error_context(err, "could not put database \"%s\" aside", database);
	return mb_error_hint(err, "Stop what uses it: a database with sessions cannot be renamed.");
}

static enum mb_code
start_program(struct mb_pg_load *load, enum mb_pg_load_kind kind, bool creates,
			  struct mb_error *err)
{
	bool is_dump = kind == MB_PG_LOAD_DUMP;
	char *program = mb_asprintf("%s/%s", load->bindir, is_dump ? "pg_restore" : "psql");
	/* pg_restore --create names the database itself. */
	char *where = mb_pg_dbname(creates && is_dump ? PQdb(load->conn) : load->database);
	char **variables = make_variables(load->conn);
	const char *argv[16] = {program, "-w", "-d", where};
	struct mb_pg_run run = {.argv = argv, .out_fd = -1, .variables = variables};
	size_t n = 4;
	enum mb_code code;

	if (is_dump)
	{
		argv[n++] = "--exit-on-error";
		argv[n++] = "--no-tablespaces";
		argv[n++] = creates ? "--create" : "--single-transaction";
	}
	else
	{
		argv[n++] = "-X";
		argv[n++] = "-q";
		argv[n++] = "-1";
		argv[n++] = "-v";
		argv[n++] = "ON_ERROR_STOP=1";
	}
	code = mb_pg_pipe_open(&load->pipe, &run, err);
	load->pipe.program = is_dump ? "pg_restore" : "psql";
	free_variables(variables);
	free(where);
	free(program);
	return code;
}

/* Back to how it was; what cannot be is told by the error that is on its way anyway. */
static void
undo(struct mb_pg_load *load)
{
	struct mb_error ignored;

	mb_error_clear(&ignored);
	mb_pg_pipe_kill(&load->pipe);
	if (load->database && load->is_made && load->conn &&
		run_sql(load, &ignored, "DROP DATABASE IF EXISTS $1", load->database, NULL))
		mb_log_warning(load->pg->base.env->log, "could not drop what was loaded of \"%s\": %s",
					   load->database, ignored.message);
	if (load->aside && load->conn &&
		run_sql(load, &ignored, "ALTER DATABASE $1 RENAME TO $2", load->aside, load->database))
		mb_log_warning(load->pg->base.env->log, "database \"%s\" is called \"%s\" now: %s",
					   load->database, load->aside, ignored.message);
	free(load->aside);
	free(load->database);
	load->aside = load->database = NULL;
	load->is_made = false;
}

enum mb_code
mb_pg_load_begin(struct mb_pg_load *load, const char *database, enum mb_pg_load_kind kind,
				 struct mb_error *err)
{
	bool exists, is_empty;
	enum mb_code code = mb_pg_load_check(load, database, err);

	if (!code)
		code = look(load, database, &exists, &is_empty, err);
	if (code)
		return code;
	load->database = mb_strdup(database);
	if (exists && !is_empty)
		code = put_aside(load, database, err);
	load->is_made = !code && (!exists || !is_empty);
	if (!code && load->is_made && kind == MB_PG_LOAD_SQL)
		code = run_sql(load, err, "CREATE DATABASE $1 TEMPLATE template0", database, NULL);
	if (!code)
		code = start_program(load, kind, load->is_made, err);
	if (code)
		undo(load);
	return code;
}

enum mb_code
mb_pg_load_write(struct mb_pg_load *load, const void *data, size_t len, struct mb_error *err)
{
	return mb_pg_pipe_write(&load->pipe, data, len, err);
}

enum mb_code
mb_pg_load_end(struct mb_pg_load *load, char **aside, struct mb_error *err)
{
	enum mb_code code = mb_pg_pipe_close(&load->pipe, err);

	if (code)
	{
		mb_error_context(err, "could not load database \"%s\"", load->database);
		undo(load);
		return code;
	}
	*aside = load->aside;
	load->aside = NULL;
	free(load->database);
	load->database = NULL;
	load->is_made = false;
	return MB_OK;
}

void
mb_pg_load_close(struct mb_pg_load *load)
{
	if (!load)
		return;
	undo(load);
	PQfinish(load->conn);
	free(load->bindir);
	free(load->place);
	free(load);
}

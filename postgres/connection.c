/* connection.c - see connection.h. */
#include "postgres/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Zero every time-out that this server version knows; the names differ, so ask for them. */
static const char session_sql[] =
	"SELECT pg_catalog.set_config(s.name, '0', false) FROM pg_catalog.pg_settings s"
	" WHERE s.name IN ('statement_timeout', 'lock_timeout', 'idle_session_timeout',"
	" 'idle_in_transaction_session_timeout', 'transaction_timeout')";

/* The last line feed of libpq's messages and all line breaks inside become spaces. */
static void
one_line(char *out, size_t size, const char *text)
{
	size_t i, len = 0;

	for (i = 0; text[i] != '\0' && len + 1 < size; i++)
		out[len++] = text[i] == '\n' || text[i] == '\t' ? ' ' : text[i];
	while (len > 0 && out[len - 1] == ' ')
		len--;
	out[len] = '\0';
}

static enum mb_code
code_of_sqlstate(const char *state)
{
	static const struct
	{
		const char *prefix;
		enum mb_code code;
	} table[] = {
		{"28", MB_DENIED},         {"42501", MB_DENIED},      {"08", MB_UNREACHABLE},
		{"57P", MB_UNREACHABLE},   {"53300", MB_UNREACHABLE}, {"55006", MB_CONFLICT},
		{"58P01", MB_NOT_FOUND},   {"42704", MB_NOT_FOUND},   {"3D000", MB_NOT_FOUND},
		{"0A000", MB_UNSUPPORTED}, {"53100", MB_NO_SPACE},    {"42710", MB_EXISTS},
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (mb_starts_with(state, table[i].prefix))
			return table[i].code;
	return MB_IO;
}

enum mb_code
mb_pg_fail(struct mb_error *err, PGconn *conn, const PGresult *res, const char *fmt, ...)
{
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *detail = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL) : NULL;
	const char *hint = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_HINT) : NULL;
	char what[512], why[512];
	enum mb_code code;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	one_line(why, sizeof(why), primary ? primary : conn ? PQerrorMessage(conn) : "out of memory");
	if (state)
		code = code_of_sqlstate(state);
	else
		code = !conn || PQstatus(conn) == CONNECTION_BAD ? MB_UNREACHABLE : MB_IO;
	mb_fail(err, code, "%s: %s", what, why);
	if (detail)
		mb_error_detail(err, "%s", detail);
	if (hint)
		mb_error_hint(err, "%s", hint);
	return code;
}

/* A connection that was refused has no result and so no SQLSTATE: read the wording. */
static enum mb_code
connect_failed(PGconn *conn, enum mb_pg_mode mode, struct mb_error *err)
{
	static const char *const denied[] = {"password", "authentication", "pg_hba.conf",
										 "role \"",  "permission",     "must be superuser"};
	char why[768];
	size_t i;

	one_line(why, sizeof(why), PQerrorMessage(conn));
	mb_fail(err, MB_UNREACHABLE, "could not connect to PostgreSQL%s: %s",
			mode == MB_PG_REPLICATION ? " for replication" : "", why);
	for (i = 0; i < sizeof(denied) / sizeof(*denied); i++)
		if (strstr(why, denied[i]))
			err->code = MB_DENIED;
	if (strstr(why, "starting up") || strstr(why, "shutting down"))
		err->code = MB_UNREACHABLE;
	if (err->code == MB_DENIED && mode == MB_PG_REPLICATION)
		mb_error_hint(err,
					  "Allow the user in pg_hba.conf for database \"replication\" and grant it "
					  "the REPLICATION attribute.");
	return err->code;
}

static enum mb_code
set_up_session(PGconn *conn, struct mb_error *err)
{
	enum mb_code code = mb_pg_exec(conn, "SET search_path = pg_catalog", err);

	if (!code)
		code = mb_pg_exec(conn, "SET datestyle = 'ISO'", err);
	if (!code)
		code = mb_pg_exec(conn, session_sql, err);
	return code;
}

/*
 * libpq says which part of a connection string it does not understand by showing it: all of a URI,
 * with its password, or the end of a password that had a blank in it.
 */
static void
hush(char *why)
{
	char *shown = strstr(why, " after \"");

	why[strcspn(why, "\n")] = '\0';
	if (!shown && strstr(why, "URI"))
		shown = strstr(why, ": \"");
	if (shown)
		*shown = '\0';
}

enum mb_code
mb_pg_conninfo_check(const char *conninfo, struct mb_error *err)
{
	char *why = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo ? conninfo : "", &why);

	if (options)
	{
		PQconninfoFree(options);
		return MB_OK;
	}
	if (why)
		hush(why);
	mb_fail(err, MB_CONFIG, "conninfo is no connection string: %s", why ? why : "out of memory");
	PQfreemem(why);
	return mb_error_hint(err, "Write conninfo = host=/run/postgresql dbname=postgres");
}

enum mb_code
mb_pg_connect(PGconn **conn, const struct mb_pg_params *params, enum mb_pg_mode mode,
			  struct mb_error *err)
{
	/* A later keyword wins over an earlier one; conninfo is expanded where dbname stands. */
	const char *keys[24], *values[24];
	size_t n = 0;
	PGconn *made;
	enum mb_code code = MB_OK;

#define ADD(key, value) (keys[n] = (key), values[n] = (value), n++)
	ADD("connect_timeout", "10");
	ADD("keepalives_idle", "30");
	ADD("keepalives_interval", "10");
	ADD("keepalives_count", "3");
	ADD("tcp_user_timeout", "60000");
	/* There is a dbname always, so that a reader of this array sees conninfo expanded. */
	ADD("dbname", params->conninfo && *params->conninfo ? params->conninfo : "postgres");
	if (params->password && params->password->len > 0)
		ADD("password", (const char *) params->password->data);
	if (params->host)
		ADD("host", params->host);
	if (params->port)
		ADD("port", params->port);
	if (params->dbname)
		ADD("dbname", params->dbname);
	ADD("application_name", "mbackup");
	ADD("client_encoding", "UTF8");
	if (mode == MB_PG_REPLICATION)
		ADD("replication", "true");
	ADD(NULL, NULL);
#undef ADD
	made = PQconnectdbParams(keys, values, 1);
	if (!made)
		MB_BUG("out of memory");
	if (PQstatus(made) != CONNECTION_OK)
		code = connect_failed(made, mode, err);
	else if (PQserverVersion(made) < MB_PG_MIN_VERSION)
		code = mb_fail(err, MB_UNSUPPORTED, "PostgreSQL %s is too old: 13 or later is needed",
					   PQparameterStatus(made, "server_version"));
	else if (mode == MB_PG_SQL)
		code = set_up_session(made, err);
	if (code)
	{
		PQfinish(made);
		return code;
	}
	*conn = made;
	return MB_OK;
}

static enum mb_code
check_result(PGconn *conn, PGresult *made, PGresult **res, const char *sql, struct mb_error *err)
{
	ExecStatusType status = PQresultStatus(made);
	char brief[160];

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
	{
		*res = made;
		return MB_OK;
	}
	one_line(brief, sizeof(brief), sql);
	mb_pg_fail(err, conn, made, "\"%s\" failed", brief);
	PQclear(made);
	return err->code;
}

enum mb_code
mb_pg_query(PGconn *conn, PGresult **res, const char *sql, int param_count,
			const char *const *params, struct mb_error *err)
{
	return check_result(conn, PQexecParams(conn, sql, param_count, NULL, params, NULL, NULL, 0),
						res, sql, err);
}

enum mb_code
mb_pg_command(PGconn *conn, PGresult **res, const char *command, struct mb_error *err)
{
	return check_result(conn, PQexec(conn, command), res, command, err);
}

enum mb_code
mb_pg_exec(PGconn *conn, const char *sql, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = mb_pg_command(conn, &res, sql, err);

	if (!code)
		PQclear(res);
	return code;
}

enum mb_code
mb_pg_value(PGconn *conn, char **value, const char *sql, int param_count, const char *const *params,
			struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = mb_pg_query(conn, &res, sql, param_count, params, err);

	if (code)
		return code;
	if (PQntuples(res) < 1 || PQnfields(res) < 1)
		code = mb_fail(err, MB_NOT_FOUND, "\"%s\" gave no row", sql);
	else
		*value = mb_strdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	return code;
}

enum mb_code
mb_pg_check_adopted(PGconn *conn, struct mb_error *err)
{
	char *id;
	enum mb_code code =
		mb_pg_value(conn, &id, "SELECT current_setting('" MB_PG_RESTORED_SETTING "', true)", 0,
					NULL, err);

	if (code)
		return code;
	if (*id)
	{
		code = mb_fail(err, MB_CONFLICT,
					   "this cluster was restored by mbackup (restore %s) beside its original and "
					   "has not been adopted: it must not write into the original's history",
					   id);
		mb_error_hint(err, "If it takes the original's place from now on, run \"mbackup adopt\"; a "
						   "copy gets a configuration and a repository of its own.");
	}
	free(id);
	return code;
}

const char *
mb_pg_field(const PGresult *res, int row, const char *column)
{
	int at = PQfnumber(res, column);

	return at < 0 || row >= PQntuples(res) ? "" : PQgetvalue(res, row, at);
}

char *
mb_pg_quote_ident(const char *name)
{
	struct mb_buf out = {0};
	char *copy;

	mb_buf_put_u8(&out, '"');
	for (; *name; name++)
	{
		if (*name == '"')
			mb_buf_put_u8(&out, '"');
		mb_buf_put_u8(&out, (uint8_t) *name);
	}
	mb_buf_put_u8(&out, '"');
	copy = mb_strdup(mb_buf_cstr(&out));
	mb_buf_release(&out);
	return copy;
}

char *
mb_pg_dbname(const char *database)
{
	struct mb_buf out = {0};
	char *copy;

	mb_buf_put_str(&out, "dbname='");
	for (; *database; database++)
	{
		if (*database == '\'' || *database == '\\')
			mb_buf_put_u8(&out, '\\');
		mb_buf_put_u8(&out, (uint8_t) *database);
	}
	mb_buf_put_u8(&out, '\'');
	copy = mb_strdup(mb_buf_cstr(&out));
	mb_buf_release(&out);
	return copy;
}

/*
 * connection.h - libpq with our error codes: connect, ask, and why not.
 *
 * A connection belongs to one thread at a time.  Every SQL session is set up as
 * docs/architecture.md says: time-outs off, TCP keepalive on, search_path =
 * pg_catalog.  Secrets never stand in a connection string of ours: the password goes
 * through PQconnectdbParams.
 *
 * libpq-fe.h stands here and nowhere else; walstreamer/ includes this file.
 */
#ifndef MB_POSTGRES_CONNECTION_H
#define MB_POSTGRES_CONNECTION_H

#include <libpq-fe.h>

#include "core/base/error.h"
#include "core/base/mem.h"

/* Postgres before 13 is MB_UNSUPPORTED. */
#define MB_PG_MIN_VERSION 130000

/* How to connect; everything is borrowed. */
struct mb_pg_params
{
	const char *conninfo;             /* libpq connection string or URI; may be "" */
	const struct mb_secret *password; /* NULL or empty: what conninfo and libpq find */
	/* Instead of what conninfo says; NULL: as it says. */
	const char *host;
	const char *port;
	const char *dbname;
};

enum mb_pg_mode
{
	MB_PG_SQL,        /* a session for queries */
	MB_PG_REPLICATION /* a walsender: simple protocol, no database */
};

/* Is this a connection string that libpq understands?  MB_CONFIG with libpq's reason if not. */
enum mb_code mb_pg_conninfo_check(const char *conninfo, struct mb_error *err) MB_MUST_CHECK;

/*
 * Connect within connect_timeout (default 10 s).  MB_UNREACHABLE, MB_DENIED (password,
 * pg_hba.conf), MB_UNSUPPORTED (too old).  PQfinish(*conn) when done.
 */
enum mb_code mb_pg_connect(PGconn **conn, const struct mb_pg_params *params, enum mb_pg_mode mode,
						   struct mb_error *err) MB_MUST_CHECK;

/*
 * Run one statement with text parameters ($1 is params[0]).  PQclear(*res).  Any
 * status but tuples or a finished command is an error; see mb_pg_fail.
 */
enum mb_code mb_pg_query(PGconn *conn, PGresult **res, const char *sql, int param_count,
						 const char *const *params, struct mb_error *err) MB_MUST_CHECK;
/* The same by the simple protocol, the only one that a walsender understands. */
enum mb_code mb_pg_command(PGconn *conn, PGresult **res, const char *command,
						   struct mb_error *err) MB_MUST_CHECK;
/* Run and drop the result. */
enum mb_code mb_pg_exec(PGconn *conn, const char *sql, struct mb_error *err) MB_MUST_CHECK;
/* The single value of a one-row query, "" for NULL; free() it.  MB_NOT_FOUND without a row. */
enum mb_code mb_pg_value(PGconn *conn, char **value, const char *sql, int param_count,
						 const char *const *params, struct mb_error *err) MB_MUST_CHECK;

/*
 * A cluster that mbackup has restored beside its original says so in this setting until it is
 * adopted; everybody may read it.
 */
#define MB_PG_RESTORED_SETTING "mbackup.restored"
/* MB_CONFLICT for a cluster that was restored and not adopted; asks an SQL session. */
enum mb_code mb_pg_check_adopted(PGconn *conn, struct mb_error *err) MB_MUST_CHECK;

/*
 * Raise what the server or libpq said.  res may be NULL.  By SQLSTATE: class 28, 42501
 * DENIED; 08, 57P, 53300 or a dead connection UNREACHABLE; 55006 CONFLICT; 58P01, 42704
 * NOT_FOUND; 0A000 UNSUPPORTED; 53100 NO_SPACE; else IO.
 */
enum mb_code mb_pg_fail(struct mb_error *err, PGconn *conn, const PGresult *res, const char *fmt,
						...) MB_PRINTF(4, 5);

/* Field by column name, "" for NULL or an unknown column; borrowed from the result. */
const char *mb_pg_field(const PGresult *res, int row, const char *column);

/* A quoted identifier; free() it. */
char *mb_pg_quote_ident(const char *name);
/*
 * A connection string that says which database, and nothing else, for the programs of Postgres: they take a
 * name with an equals sign in it for one.  free() it.
 */
char *mb_pg_dbname(const char *database);

#endif

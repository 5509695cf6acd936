/* check_private.h - what the files of `check` share about Postgres; nobody else includes it. */
#ifndef MB_POSTGRES_CHECK_PRIVATE_H
#define MB_POSTGRES_CHECK_PRIVATE_H

#include "core/base/process.h"
#include "postgres/private.h"

struct checker
{
	struct mb_postgres *pg;
	struct mb_checks *checks;
	const PGresult *facts; /* one row, see check.c */
};

/* check.c: that is as it should be. */
void mb_pg_found_ok(const struct checker *checker, const char *name, const char *message);

#define MB_PG_RELOAD_SQL "SELECT pg_reload_conf()"
#define MB_PG_START_STREAM "systemctl start mbackup-stream, or mbackup stream"

/*
 * check_fix.c: fixes that can be pasted; free() them.  psql of an administrator (no user is named), to
 * the server and database of our connection; a second statement or NULL.
 */
char *mb_pg_fix(const struct checker *checker, const char *sql, const char *then);
char *mb_pg_fix_restart(const struct checker *checker, const char *sql);
/* The first line of pg_hba.conf. */
char *mb_pg_fix_hba(const struct checker *checker);

/* check_server.c: what the server tells of itself beyond its settings. */
enum mb_code mb_pg_check_server(struct checker *checker, struct mb_error *err) MB_MUST_CHECK;
/* Before a connection is made. */
void mb_pg_check_conninfo(const struct mb_postgres *pg, struct mb_checks *checks);
/* The server is on this host, its data directory is root_fd. */
void mb_pg_check_host(struct checker *checker, int root_fd);

#endif

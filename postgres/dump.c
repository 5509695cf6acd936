/*
 * dump.c - whole databases as dumps, from the scratch server of tables.c.
 *
 * One database at a time, so that no more than one is in a file besides the cluster: pg_dump in its
 * custom format, and of that the SQL, by pg_restore, which is also the proof that the dump can be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "postgres/restore_private.h"

/* A program of Postgres with its stdout in a new file. */
static enum mb_code
run_to_file(const struct mb_pg_scratch *scratch, const char *const *argv, bool as_server,
			const char *path, struct mb_error *err)
{
	struct mb_pg_run run = {.argv = argv,
							.change_user = as_server && scratch->place->change_owner,
							.uid = scratch->place->uid,
							.gid = scratch->place->gid,
							.die_with_us = true,
							.cancel = scratch->restore->env->cancel};
	enum mb_code code = mb_cancel_check(scratch->restore->env->cancel, err);

	if (code)
		return code;
	run.out_fd = mb_open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (run.out_fd < 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", path);
	code = mb_pg_run(&run, err);
	close(run.out_fd);
	return code;
}

static enum mb_code
hand_over(const struct mb_pg_scratch *scratch, const char *database, const char *suffix,
		  const char *path, struct mb_error *err)
{
	const struct mb_restore_wishes *wishes = scratch->restore->wishes;

	return wishes->dumped(wishes->dumped_ctx, database, suffix, path, err);
}

static enum mb_code
dump_globals(const struct mb_pg_scratch *scratch, struct mb_error *err)
{
	char *program = mb_asprintf("%s/pg_dumpall", scratch->bindir);
	char *path = mb_asprintf("%s.globals.sql", scratch->place->directory);
	const char *const argv[] =
		{program,       "-h", scratch->socket_dir, "-p", MB_PG_SCRATCH_PORT, "-U",
		 scratch->user, "-l", "postgres",          "-w", "--globals-only",   NULL};
	enum mb_code code = run_to_file(scratch, argv, true, path, err);

	if (!code)
		code = hand_over(scratch, NULL, "sql", path, err);
	unlink(path);
	free(path);
	free(program);
	return code;
}

static enum mb_code
dump_database(const struct mb_pg_scratch *scratch, const char *database, struct mb_error *err)
{
	char *pg_dump = mb_asprintf("%s/pg_dump", scratch->bindir);
	char *pg_restore = mb_asprintf("%s/pg_restore", scratch->bindir);
	char *path = mb_asprintf("%s.dump", scratch->place->directory);
	char *sql_path = mb_asprintf("%s.sql", scratch->place->directory);
	char *dbname = mb_pg_dbname(database);
	const char *const argv[] = {pg_dump,
								"-h",
								scratch->socket_dir,
								"-p",
								MB_PG_SCRATCH_PORT,
								"-U",
								scratch->user,
								"-w",
								"-Fc",
								"-b",
								"-d",
								dbname,
								NULL};
	const char *const sql_argv[] = {pg_restore, "-f", "-", path, NULL};
	enum mb_code code = run_to_file(scratch, argv, true, path, err);

	if (!code)
		code = hand_over(scratch, database, "dump", path, err);
	/* By ourselves: the dump is ours to read. */
	if (!code)
		code = run_to_file(scratch, sql_argv, false, sql_path, err);
	if (!code)
		code = hand_over(scratch, database, "sql", sql_path, err);
	unlink(path);
	unlink(sql_path);
	free(dbname);
	free(sql_path);
	free(path);
	free(pg_restore);
	free(pg_dump);
	return code ? mb_error_context(err, "could not dump database \"%s\"", database) : MB_OK;
}

static bool
is_wanted(const struct mb_restore_wishes *wishes, const char *database)
{
	size_t i;

	for (i = 0; i < wishes->database_count; i++)
		if (strcmp(wishes->databases[i], database) == 0)
			return true;
	return wishes->database_count == 0;
}

enum mb_code
mb_pg_dump_databases(const struct mb_pg_scratch *scratch, struct mb_error *err)
{
	PGresult *res = NULL;
	PGconn *conn;
	enum mb_code code;
	int i;

	code = mb_pg_scratch_connect(scratch, "postgres", &conn, err);
	if (code)
		return code;
	code = mb_pg_query(conn, &res,
					   "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate "
					   "ORDER BY datname COLLATE \"C\"",
					   0, NULL, err);
	PQfinish(conn);
	if (!code)
		code = dump_globals(scratch, err);
	for (i = 0; !code && i < PQntuples(res); i++)
		if (is_wanted(scratch->restore->wishes, PQgetvalue(res, i, 0)))
			code = dump_database(scratch, PQgetvalue(res, i, 0), err);
	PQclear(res);
	return code;
}

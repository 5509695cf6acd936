/*
 * trial.c - the drill of PostgreSQL: a private server recovers what was restored to its target, and every
 * relation is read.
 *
 * Before the start pg_verifybackup holds the files against the manifest.  Afterwards pg_amcheck reads
 * every heap and every B-tree (--heapallindexed: each row is in each of its indexes).  Where the
 * version has no pg_amcheck the functions of the extension amcheck are called, and where that is not
 * installed either, counting the rows of all tables has to do, which reads every heap page.  Which of
 * them it was stands in the report.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "postgres/restore_private.h"

#define BIGGEST 10
#define WORDS_BYTES 600

struct trial
{
	struct mb_component *component;
	struct mb_trial *base;
	struct mb_pg_place place;
	struct mb_restore restore; /* env and progress only */
	struct mb_pg_scratch scratch;
	char *bindir;
	char *directory;
};

/* Beside the server, or where a link in its place leads; NULL: there is none. */
static char *
program_of(const struct trial *trial, const char *name)
{
	char *server = mb_path_join(trial->bindir, "postgres"), *real = realpath(server, NULL);
	char *path = mb_path_join(trial->bindir, name);
	char *slash = real ? strrchr(real, '/') : NULL;

	if (access(path, X_OK) != 0 && slash)
	{
		free(path);
		path = mb_asprintf("%.*s/%s", (int) (slash - real), real, name);
	}
	if (access(path, X_OK) != 0)
	{
		free(path);
		path = NULL;
	}
	free(real);
	free(server);
	return path;
}

/* -- programs ------------------------------------------------------------------------------------- */

/* The beginning of what a program printed, on one line. */
static void
first_words(int fd, char out[WORDS_BYTES])
{
	ssize_t got = pread(fd, out, WORDS_BYTES - 1, 0), i;

	got = got < 0 ? 0 : got;
	while (got > 0 && out[got - 1] == '\n')
		got--;
	out[got] = '\0';
	for (i = 0; i < got; i++)
		if (out[i] == '\n')
			out[i] = ' ';
}

/* Run it; what it prints goes to `words`.  MB_IO for any exit status but 0 and fine_status. */
static enum mb_code
run(const struct trial *trial, const char *const *argv, int fine_status, char words[WORDS_BYTES],
	struct mb_error *err)
{
	struct mb_pg_run run = {.argv = argv,
							.change_user = trial->place.change_owner,
							.uid = trial->place.uid,
							.gid = trial->place.gid,
							.fine_status = fine_status,
							.die_with_us = true};
	enum mb_code code;

	run.out_fd = memfd_create("stdout", MFD_CLOEXEC);
	if (run.out_fd < 0)
		return mb_fail_errno(err, errno, "could not start \"%s\"", argv[0]);
	code = mb_pg_run(&run, err);
	first_words(run.out_fd, words);
	close(run.out_fd);
	return code;
}

static enum mb_code
verify_backup(struct trial *trial, struct mb_error *err)
{
	char *program = program_of(trial, "pg_verifybackup"), words[WORDS_BYTES], why[1024];
	const char *argv[] = {program, "-n", "-e", trial->directory, NULL};
	enum mb_code code;

	if (!program)
		return mb_trial_check(trial->base, "pg_verifybackup", MB_TRIAL_SKIPPED, err,
							  "not installed: the files were not held against the manifest");
	mb_progress_phase(trial->base->progress, "pg_verifybackup");
	code = run(trial, argv, 0, words, err);
	free(program);
	snprintf(why, sizeof(why), "%s", err->message);
	if (code && mb_cancel_check(trial->component->env->cancel, err))
		return err->code;
	if (code)
		return mb_trial_check(trial->base, "pg_verifybackup", MB_TRIAL_FAILED, err, "%s", why);
	return mb_trial_check(trial->base, "pg_verifybackup", MB_TRIAL_OK, err, "%s", words);
}

/* -- the server ----------------------------------------------------------------------------------- */

static enum mb_code
start(struct trial *trial, struct mb_error *err)
{
	int64_t started_ms = mb_monotonic_ms();
	char why[2048];
	enum mb_code code;

	mb_progress_phase(trial->base->progress, "recovering");
	code = mb_pg_scratch_start(&trial->scratch, err);
	trial->base->ready_ms = mb_monotonic_ms() - started_ms;
	if (code != MB_IO)
		return code;
	snprintf(why, sizeof(why), "the server did not get to the target: %s",
			 err->detail[0] ? err->detail : err->message);
	return mb_trial_check(trial->base, "recovery", MB_TRIAL_FAILED, err, "%s", why);
}

/* How far did it get?  What no transaction tells (none was replayed) is left out. */
static enum mb_code
ask_reached(struct trial *trial, struct mb_error *err)
{
	json_t *reached = json_object();
	PGresult *res = NULL;
	PGconn *conn;
	enum mb_code code = mb_pg_scratch_connect(&trial->scratch, "postgres", &conn, err);
	int64_t time_us = 0;

	if (!code)
	{
		code =
			mb_pg_query(conn, &res,
						"SELECT pg_last_wal_replay_lsn()::text AS lsn,"
						" (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint"
						" AS time_us",
						0, NULL, err);
		if (!code)
		{
			time_us = strtoll(mb_pg_field(res, 0, "time_us"), NULL, 10);
			if (*mb_pg_field(res, 0, "lsn"))
				mb_json_set_str(reached, "lsn", mb_pg_field(res, 0, "lsn"));
			if (time_us)
				mb_json_set_time(reached, "last_commit_time", time_us);
			PQclear(res);
		}
		PQfinish(conn);
	}
	json_object_set_new(trial->base->report, "reached", reached);
	if (code)
		return code;
	return mb_trial_check(trial->base, "recovery", MB_TRIAL_OK, err,
						  "recovered and open after %.1f s", (double) trial->base->ready_ms / 1000);
}

/* -- every relation ------------------------------------------------------------------------------- */

static enum mb_code
run_pg_amcheck(struct trial *trial, const char *program, struct mb_error *err)
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
	char words[WORDS_BYTES], why[1024];
	enum mb_code code;

	mb_progress_phase(trial->base->progress, "pg_amcheck");
	/* 2: it has found something, and says so on its stdout. */
	code = run(trial, argv, 2, words, err);
	free(jobs);
	snprintf(why, sizeof(why), "%s", err->message);
	if (code && mb_cancel_check(trial->component->env->cancel, err))
		return err->code;
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
has_amcheck(const struct trial *trial, bool *has, struct mb_error *err)
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
count_tables(struct trial *trial, PGconn *conn, const char *database, struct counting *counting,
			 struct mb_error *err)
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
look_into(struct trial *trial, const char *database, bool check_indexes, struct counting *counting,
		  struct mb_error *err)
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
list_databases(const struct trial *trial, PGresult **res, struct mb_error *err)
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
report_counts(struct trial *trial, struct counting *counting)
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
count_rows(struct trial *trial, bool check_indexes, struct mb_error *err)
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

static enum mb_code
check_relations(struct trial *trial, struct mb_error *err)
{
	char *program = program_of(trial, "pg_amcheck");
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

/* -- the whole ------------------------------------------------------------------------------------ */

static void
offer(struct trial *trial)
{
	char *text = mb_asprintf("host=%s port=" MB_PG_SCRATCH_PORT " user=%s dbname=postgres",
							 trial->scratch.socket_dir, trial->scratch.user);

	mb_json_set_str(trial->base->environment, "CONNINFO", text);
	free(text);
}

enum mb_code
mb_postgres_revive(struct mb_component *component, struct mb_trial *base, struct mb_error *err)
{
	struct trial *trial = mb_calloc(1, sizeof(*trial));
	int major = (int) (mb_json_int(base->commit->meta, "version_num", 0) / 10000);
	struct stat st;
	enum mb_code code;

	base->running = trial;
	trial->component = component;
	trial->base = base;
	trial->directory = mb_strdup(base->directory);
	if (stat(base->directory, &st) != 0)
		return mb_fail_errno(err, errno, "could not look at \"%s\"", base->directory);
	trial->place = (struct mb_pg_place){.directory = trial->directory,
										.change_owner = geteuid() == 0,
										.uid = st.st_uid,
										.gid = st.st_gid};
	trial->restore.env = component->env;
	trial->restore.progress = base->progress;
	code = mb_pg_bindir(component->settings, major, &trial->bindir, err);
	trial->scratch = (struct mb_pg_scratch){.pg = (struct mb_postgres *) component,
											.restore = &trial->restore,
											.place = &trial->place,
											.bindir = trial->bindir,
											.sockets = base->sockets};
	if (!code)
		code = verify_backup(trial, err);
	if (!code)
		code = start(trial, err);
	if (!code)
		code = ask_reached(trial, err);
	if (!code)
		code = check_relations(trial, err);
	if (!code)
		offer(trial);
	return code;
}

void
mb_postgres_lay_down(struct mb_component *component, struct mb_trial *base)
{
	struct trial *trial = base->running;

	(void) component;
	if (!trial)
		return;
	mb_pg_scratch_stop(&trial->scratch);
	free(trial->bindir);
	free(trial->directory);
	free(trial);
	base->running = NULL;
}

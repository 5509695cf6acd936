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
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "postgres/trial_private.h"

#define POLL_MS 20

/* Beside the server, or where a link in its place leads; NULL: there is none. */
char *
mb_pg_trial_program(const struct mb_pg_trial *trial, const char *name)
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

/* Wait for it, or end it when we are cancelled. */
static enum mb_code
await_program(const struct mb_pg_trial *trial, pid_t pid, int *status, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	pid_t ended;

	while ((ended = waitpid(pid, status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR))
	{
		if (!code && (code = mb_cancel_check(trial->component->env->cancel, err)))
			kill(pid, SIGTERM);
		mb_sleep_ms(POLL_MS);
	}
	return code;
}

enum mb_code
mb_pg_trial_run(const struct mb_pg_trial *trial, const char *const *argv, int fine_status,
				char words[MB_PG_TRIAL_WORDS], struct mb_error *err)
{
	int err_fd = memfd_create("stderr", MFD_CLOEXEC), status = 0;
	struct mb_pg_run run = {.argv = argv,
							.change_user = trial->place.change_owner,
							.uid = trial->place.uid,
							.gid = trial->place.gid,
							.out_fd = memfd_create("stdout", MFD_CLOEXEC),
							.die_with_us = true};
	char complaint[MB_PG_TRIAL_WORDS];
	enum mb_code code = MB_OK;
	pid_t pid;

	words[0] = '\0';
	if (err_fd < 0 || run.out_fd < 0)
		code = mb_fail_errno(err, errno, "could not start \"%s\"", argv[0]);
	if (!code)
		code = mb_pg_spawn(&run, err_fd, &pid, err);
	if (!code)
		code = await_program(trial, pid, &status, err);
	if (!code)
		mb_pg_words(run.out_fd, 0, words, MB_PG_TRIAL_WORDS);
	if (!code &&
		(!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != fine_status)))
	{
		mb_pg_words(err_fd, 0, complaint, sizeof(complaint));
		code = mb_fail(err, MB_IO, "\"%s\" failed: %s", argv[0],
					   *complaint ? complaint : "it said nothing");
	}
	if (err_fd >= 0)
		close(err_fd);
	if (run.out_fd >= 0)
		close(run.out_fd);
	return code;
}

static enum mb_code
verify_backup(struct mb_pg_trial *trial, struct mb_error *err)
{
	char *program = mb_pg_trial_program(trial, "pg_verifybackup"), words[MB_PG_TRIAL_WORDS],
		 why[1024];
	const char *argv[] = {program, "-n", "-e", trial->directory, NULL};
	enum mb_code code;

	if (!program)
		return mb_trial_check(trial->base, "pg_verifybackup", MB_TRIAL_SKIPPED, err,
							  "not installed: the files were not held against the manifest");
	mb_progress_phase(trial->base->progress, "pg_verifybackup");
	code = mb_pg_trial_run(trial, argv, 0, words, err);
	free(program);
	if (code && code != MB_IO)
		return code;
	snprintf(why, sizeof(why), "%s", err->message);
	if (code)
		return mb_trial_check(trial->base, "pg_verifybackup", MB_TRIAL_FAILED, err, "%s", why);
	return mb_trial_check(trial->base, "pg_verifybackup", MB_TRIAL_OK, err, "%s", words);
}

/* -- the server ----------------------------------------------------------------------------------- */

static enum mb_code
start(struct mb_pg_trial *trial, struct mb_error *err)
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
ask_reached(struct mb_pg_trial *trial, struct mb_error *err)
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

/* -- the whole ------------------------------------------------------------------------------------ */

static void
offer(struct mb_pg_trial *trial)
{
	char *text = mb_asprintf("host=%s port=" MB_PG_SCRATCH_PORT " user=%s dbname=postgres",
							 trial->scratch.socket_dir, trial->scratch.user);

	mb_json_set_str(trial->base->environment, "CONNINFO", text);
	free(text);
}

enum mb_code
mb_postgres_revive(struct mb_component *component, struct mb_trial *base, struct mb_error *err)
{
	struct mb_pg_trial *trial = mb_calloc(1, sizeof(*trial));
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
		code = mb_pg_trial_relations(trial, err);
	if (!code)
		offer(trial);
	return code;
}

void
mb_postgres_lay_down(struct mb_component *component, struct mb_trial *base)
{
	struct mb_pg_trial *trial = base->running;

	(void) component;
	if (!trial)
		return;
	mb_pg_scratch_stop(&trial->scratch);
	free(trial->bindir);
	free(trial->directory);
	free(trial);
	base->running = NULL;
}

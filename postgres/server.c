/*
 * server.c - start what was restored and wait until the target is reached.
 *
 * Whether it is reached is read from pg_control and postmaster.pid, which needs no right and
 * no pg_hba.conf; what was reached (LSN, time, timeline) is asked over the server's own
 * socket as far as it lets us in.  Only a pause can be told by asking alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "postgres/restore_private.h"

#define POLL_MS 200
/* A server that never wrote postmaster.pid in this time did not start. */
#define BEGIN_MS 5000
#define LOG_TAIL_BYTES 65536
#define LOG_LINES 6
/* enum DBState of pg_control, the same since 9.1 */
#define STATE_AT 16
#define STATE_SHUTDOWNED_IN_RECOVERY 2
#define STATE_IN_PRODUCTION 6

/* -- without asking ----------------------------------------------------------------------------- */

/* Line n (from 1) of postmaster.pid, "" when there is none. */
static void
pid_line(const char *directory, int n, char *out, size_t size)
{
	char *path = mb_path_join(directory, "postmaster.pid");
	struct mb_buf text = {0};
	struct mb_error ignored;
	const char *p;

	out[0] = '\0';
	if (mb_file_read(&text, path, 65536, &ignored) == MB_OK)
	{
		for (p = mb_buf_cstr(&text); p && n > 1; n--)
		{
			p = strchr(p, '\n');
			p = p ? p + 1 : NULL;
		}
		if (p)
			snprintf(out, size, "%.*s", (int) strcspn(p, "\n"), p);
	}
	mb_buf_release(&text);
	free(path);
}

enum mb_pg_state
mb_pg_server_state(const char *directory)
{
	char *path = mb_path_join(directory, "global/pg_control");
	char pid[64], status[64];
	struct mb_buf control = {0};
	struct mb_error ignored;
	uint32_t state = 0;
	long number;

	if (mb_file_read(&control, path, 65536, &ignored) == MB_OK && control.len >= STATE_AT + 4)
		state = mb_get_u32(control.data + STATE_AT);
	mb_buf_release(&control);
	free(path);
	pid_line(directory, 1, pid, sizeof(pid));
	pid_line(directory, 8, status, sizeof(status));
	number = strtol(pid, NULL, 10);
	if (number <= 0 || (kill((pid_t) number, 0) != 0 && errno == ESRCH))
		return state == STATE_SHUTDOWNED_IN_RECOVERY ? MB_PG_DOWN_RECOVERY : MB_PG_DOWN;
	return state == STATE_IN_PRODUCTION && mb_starts_with(status, "ready") ? MB_PG_UP
																		   : MB_PG_RECOVERING;
}

/* -- the log --------------------------------------------------------------------------------------- */

static bool
matters(const char *line)
{
	static const char *const words[] = {"FATAL:", "PANIC:", "ERROR:",   "mbackup: ",
										"hint: ", "HINT:",  "could not"};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strstr(line, words[i]))
			return true;
	return false;
}

/* The end of a log; empty when it cannot be read. */
static void
log_tail(const char *path, struct mb_buf *out)
{
	int fd = mb_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	struct mb_error ignored;
	size_t got = 0;
	off_t size;

	if (fd < 0)
		return;
	size = lseek(fd, 0, SEEK_END);
	mb_buf_reserve(out, LOG_TAIL_BYTES);
	if (size > 0 && mb_pread_full(fd, out->data, LOG_TAIL_BYTES,
								  size > LOG_TAIL_BYTES ? (int64_t) size - LOG_TAIL_BYTES : 0, &got,
								  path, &ignored) == MB_OK)
		out->len = got;
	close(fd);
}

void
mb_pg_explain_log(const char *path, struct mb_error *err)
{
	char *lines[LOG_LINES] = {NULL}, *save = NULL, *line, *copy;
	struct mb_buf text = {0}, out = {0};
	size_t count = 0, i;

	log_tail(path, &text);
	copy = mb_strdup(mb_buf_cstr(&text));
	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (matters(line))
			lines[count++ % LOG_LINES] = line;
	for (i = count > LOG_LINES ? count - LOG_LINES : 0; i < count; i++)
		mb_buf_printf(&out, "%s%.150s", out.len ? " | " : "", lines[i % LOG_LINES]);
	if (out.len > 0)
		mb_error_detail(err, "%s", mb_buf_cstr(&out));
	if (strstr(mb_buf_cstr(&text), "could not bind") || strstr(mb_buf_cstr(&text), ".lock\""))
		mb_error_hint(err, "Another server uses its port: give one with --port. The log is \"%s\".",
					  path);
	else if (strstr(mb_buf_cstr(&text), "references to invalid pages"))
		mb_error_hint(err,
					  "WAL of a database that was left out needs its pages: restore all of "
					  "the cluster, or name that database too. The log is \"%s\".",
					  path);
	else
		mb_error_hint(err, "The log is \"%s\".", path);
	free(copy);
	mb_buf_release(&text);
	mb_buf_release(&out);
}

/* "recovery stopping before commit of transaction 735, time ...", if the log has it. */
static void
find_stop(const char *path, json_t *reached)
{
	static const char *const words[] = {"recovery stopping ", "redo done at "};
	struct mb_buf text = {0};
	size_t i;

	log_tail(path, &text);
	for (i = 0; i < 2; i++)
	{
		const char *p = strstr(mb_buf_cstr(&text), words[i]);

		if (p)
		{
			char *line = mb_strndup(p, strcspn(p, "\n"));

			mb_json_set_str(reached, i == 0 ? "stopped" : "redo", line);
			free(line);
		}
	}
	mb_buf_release(&text);
}

/* -- asking ------------------------------------------------------------------------------------------ */

static const char reached_sql[] =
	"SELECT pg_is_in_recovery() AS recovering,"
	" CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END AS paused,"
	" pg_last_wal_replay_lsn()::text AS lsn,"
	" (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint AS time_us,"
	" CASE WHEN NOT pg_is_in_recovery()"
	" THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint"
	" END AS timeline";

/* Over the socket that postmaster.pid names: the server on this directory and no other. */
static enum mb_code
ask(const struct mb_postgres *pg, const char *directory, json_t *reached, bool *paused,
	struct mb_error *err)
{
	struct mb_pg_params params = pg->params;
	char port[64], socket[1024];
	PGresult *res;
	PGconn *conn;
	enum mb_code code;

	pid_line(directory, 4, port, sizeof(port));
	pid_line(directory, 5, socket, sizeof(socket));
	/* hostaddr would lead to another server in spite of host. */
	if (!*port || !*socket || (params.conninfo && strstr(params.conninfo, "hostaddr")))
		return mb_fail(err, MB_UNREACHABLE, "the server has no socket that could be asked");
	params.host = socket;
	params.port = port;
	code = mb_pg_connect(&conn, &params, MB_PG_SQL, err);
	if (code)
		return code;
	code = mb_pg_query(conn, &res, reached_sql, 0, NULL, err);
	if (!code)
	{
		int64_t time_us = strtoll(mb_pg_field(res, 0, "time_us"), NULL, 10);

		*paused = mb_pg_field(res, 0, "paused")[0] == 't';
		if (*mb_pg_field(res, 0, "lsn"))
			mb_json_set_str(reached, "lsn", mb_pg_field(res, 0, "lsn"));
		if (time_us)
			mb_json_set_time(reached, "last_commit_time", time_us);
		if (*mb_pg_field(res, 0, "timeline"))
			mb_json_set_int(reached, "timeline",
							strtoll(mb_pg_field(res, 0, "timeline"), NULL, 10));
		PQclear(res);
	}
	PQfinish(conn);
	return code;
}

/* -- starting ------------------------------------------------------------------------------------------ */

struct starter
{
	struct mb_postgres *pg;
	struct mb_restore *restore;
	const struct mb_pg_place *place;
	char *log;
	json_t *reached;
	int64_t started_ms;
	bool seen; /* postmaster.pid was there */
};

static enum mb_code
run_pg_ctl(struct starter *starter, struct mb_error *err)
{
	const json_t *meta = starter->restore->commit.meta;
	char *program = mb_path_join(mb_json_str(starter->restore->plan, "bindir", ""), "pg_ctl");
	char *config = mb_path_join(starter->place->directory, "postgresql.conf");
	char *options = NULL;
	const char *argv[16] = {program, "start",      "-D", starter->place->directory,
							"-l",    starter->log, "-W", "-s"};
	struct mb_pg_run run = {.argv = argv,
							.change_user = starter->place->change_owner,
							.uid = starter->place->uid,
							.gid = starter->place->gid,
							.out_fd = -1};
	enum mb_code code;

	/* Debian keeps it elsewhere; preflight.c saw that it is there. */
	if (access(config, F_OK) != 0 && !strchr(mb_json_str(meta, "config_file", ""), '\''))
	{
		options = mb_asprintf("-c config_file='%s'", mb_json_str(meta, "config_file", ""));
		argv[8] = "-o";
		argv[9] = options;
	}
	code = mb_pg_run(&run, err);
	free(options);
	free(config);
	free(program);
	return code;
}

static enum mb_code
finish(struct starter *starter, const char *state)
{
	struct mb_error why;
	bool paused;

	mb_json_set_str(starter->reached, "state", state);
	find_stop(starter->log, starter->reached);
	if (strcmp(state, "shut down") != 0 &&
		ask(starter->pg, starter->place->directory, starter->reached, &paused, &why))
		mb_restore_warn(starter->restore, "the server is %s but could not be asked: %s", state,
						why.message);
	return MB_OK;
}

static enum mb_code
ended(struct starter *starter, enum mb_pg_state state, struct mb_error *err)
{
	if (state == MB_PG_DOWN_RECOVERY && starter->restore->target.action == MB_ACTION_SHUTDOWN &&
		mb_json_str(starter->restore->plan, "setting", NULL))
		return finish(starter, "shut down");
	mb_fail(err, MB_IO, "the server on \"%s\" ended before the target was reached",
			starter->place->directory);
	mb_pg_explain_log(starter->log, err);
	return err->code;
}

static bool
is_over_time(const struct starter *starter)
{
	int64_t limit_ms = starter->restore->wishes->start_timeout_ms;

	return limit_ms && mb_monotonic_ms() - starter->started_ms > limit_ms;
}

static enum mb_code
wait_for_target(struct starter *starter, struct mb_error *err)
{
	const struct mb_restore *restore = starter->restore;
	bool wants_pause = restore->target.action == MB_ACTION_PAUSE &&
					   mb_json_str(restore->plan, "setting", NULL) != NULL;
	struct mb_error why;
	bool paused;
	enum mb_code code;

	for (mb_error_clear(&why);; mb_sleep_ms(POLL_MS))
	{
		enum mb_pg_state state = mb_pg_server_state(starter->place->directory);

		code = mb_cancel_check(restore->env->cancel, err);
		if (code)
			return mb_error_hint(err, "The server runs on: pg_ctl -D '%s' status.",
								 starter->place->directory);
		if (state == MB_PG_UP)
			return finish(starter, "promoted");
		if (state == MB_PG_RECOVERING)
		{
			starter->seen = true;
			paused = false;
			if (wants_pause &&
				ask(starter->pg, starter->place->directory, starter->reached, &paused, &why) ==
					MB_OK &&
				paused)
				return finish(starter, "paused");
		}
		else if (starter->seen || mb_monotonic_ms() - starter->started_ms > BEGIN_MS)
			return ended(starter, state, err);
		if (is_over_time(starter))
			break;
	}
	mb_fail(err, MB_UNREACHABLE, "the server has not reached the target in %lld s; it runs on",
			(long long) restore->wishes->start_timeout_ms / 1000);
	mb_pg_explain_log(starter->log, err);
	if (wants_pause && why.code)
		mb_error_detail(err, "It could not be asked whether it is paused: %s", why.message);
	return err->code;
}

enum mb_code
mb_pg_start(struct mb_postgres *pg, struct mb_restore *restore, const struct mb_pg_place *place,
			struct mb_error *err)
{
	struct starter starter = {.pg = pg, .restore = restore, .place = place};
	enum mb_code code;

	starter.log = mb_path_join(place->directory, MB_PG_START_LOG);
	starter.reached = json_object_get(restore->result, "reached");
	starter.started_ms = mb_monotonic_ms();
	mb_progress_phase(restore->progress, "recovering");
	/* From here on the directory is a server's: whatever happens, it stays. */
	mb_restore_keep(restore);
	code = run_pg_ctl(&starter, err);
	if (code)
		mb_pg_explain_log(starter.log, err);
	else
		code = wait_for_target(&starter, err);
	if (!code)
		json_object_del(restore->result, "next");
	free(starter.log);
	return code;
}

enum mb_code
mb_pg_await(struct mb_postgres *pg, struct mb_restore *restore, const struct mb_pg_place *place,
			struct mb_error *err)
{
	struct starter starter = {.pg = pg, .restore = restore, .place = place};
	enum mb_code code;

	starter.log = mb_path_join(place->directory, MB_PG_START_LOG);
	starter.reached = json_object_get(restore->result, "reached");
	if (!starter.reached)
	{
		starter.reached = json_object();
		json_object_set_new(restore->result, "reached", starter.reached);
	}
	starter.started_ms = mb_monotonic_ms();
	mb_progress_phase(restore->progress, "recovering");
	code = wait_for_target(&starter, err);
	if (!code)
		json_object_del(restore->result, "next");
	free(starter.log);
	return code;
}

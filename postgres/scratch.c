/*
 * scratch.c - a server of our own on what was restored, for as long as somebody looks into it.
 *
 * It gets a configuration of our own: the source's may want more memory, ports and libraries
 * than there are here, and would archive, replicate and listen.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "postgres/restore_private.h"

#define POLL_MS 100
#define SOCKET_BYTES 108 /* of a name, as the kernel has it */
#define STOP_MS 30000

static enum mb_code
write_own_file(const struct mb_pg_scratch *scratch, const char *path, const char *text,
			   struct mb_error *err)
{
	enum mb_code code = mb_file_write_durable(path, text, strlen(text), 0600, err);

	if (!code && scratch->place->change_owner &&
		chown(path, scratch->place->uid, scratch->place->gid) != 0)
		code = mb_fail_errno(err, errno, "could not set the owner of \"%s\"", path);
	return code;
}

/* Is it short enough for the name of a socket? */
static bool
can_hold_socket(const char *directory)
{
	return directory && *directory == '/' &&
		   strlen(directory) + strlen("/mbackup-XXXXXX/.s.PGSQL.5432") < SOCKET_BYTES;
}

/*
 * Beside the data, where what removes one of the dead removes the other; else below $TMPDIR or /tmp.
 */
static enum mb_code
make_socket_dir(struct mb_pg_scratch *scratch, struct mb_error *err)
{
	const char *data = scratch->place->directory, *slash = strrchr(data, '/');
	char *beside = slash ? mb_strndup(data, (size_t) (slash - data)) : NULL;
	const char *bases[] = {beside, getenv("TMPDIR"), "/tmp"};
	bool made = false;
	size_t i;

	for (i = 0; i < sizeof(bases) / sizeof(*bases) && !made; i++)
	{
		if (!can_hold_socket(bases[i]))
			continue;
		snprintf(scratch->socket_dir, sizeof(scratch->socket_dir), "%s/mbackup-XXXXXX", bases[i]);
		made = mkdtemp(scratch->socket_dir) != NULL;
	}
	free(beside);
	if (made)
		return MB_OK;
	scratch->socket_dir[0] = '\0';
	return mb_fail_errno(err, errno, "could not create a directory for a socket in \"/tmp\"");
}

static enum mb_code
prepare(struct mb_pg_scratch *scratch, struct mb_error *err)
{
	const char *data = scratch->place->directory;
	enum mb_code code = MB_OK;

	if (scratch->sockets)
		snprintf(scratch->socket_dir, sizeof(scratch->socket_dir), "%s", scratch->sockets);
	else
		code = make_socket_dir(scratch, err);
	if (code)
		return code;
	if (scratch->place->change_owner &&
		chown(scratch->socket_dir, scratch->place->uid, scratch->place->gid) != 0)
		return mb_fail_errno(err, errno, "could not set the owner of \"%s\"", scratch->socket_dir);
	scratch->log = mb_path_join(data, MB_PG_START_LOG);
	scratch->config = mb_path_join(data, "mbackup_scratch.conf");
	scratch->hba = mb_path_join(data, "mbackup_scratch_hba.conf");
	code = write_own_file(scratch, scratch->config, "# made by mbackup\n", err);
	if (!code)
		code = write_own_file(scratch, scratch->hba, "local all all trust\n", err);
	return code;
}

/* On the command line, so that nothing in postgresql.auto.conf can say otherwise. */
static const char *const fixed[] = {"listen_addresses=",
									"port=5432",
									"hot_standby=off",
									"fsync=off",
									"full_page_writes=off",
									"autovacuum=off",
									"archive_mode=off",
									"ssl=off",
									"shared_buffers=64MB",
									"huge_pages=off",
									"max_connections=20",
									"max_wal_senders=0",
									"max_prepared_transactions=200",
									"logging_collector=off",
									"log_destination=stderr",
									"shared_preload_libraries=",
									"session_preload_libraries=",
									"synchronous_standby_names=",
									"recovery_target_action=promote",
									"restart_after_crash=off",
									"log_min_messages=warning",
									"max_worker_processes=0",
									"max_logical_replication_workers=0",
									"default_transaction_read_only=off",
									"wal_level=replica",
									"event_source=mbackup"};

static enum mb_code
start(struct mb_pg_scratch *scratch, struct mb_error *err)
{
	const size_t count = sizeof(fixed) / sizeof(*fixed);
	char *program = mb_path_join(scratch->bindir, "postgres");
	char *config = mb_asprintf("config_file=%s", scratch->config);
	char *hba = mb_asprintf("hba_file=%s", scratch->hba);
	char *sockets = mb_asprintf("unix_socket_directories=%s", scratch->socket_dir);
	/* An empty name would be a warning in the log, among those that say why. */
	char *pid_file = mb_asprintf("external_pid_file=%s/pid", scratch->socket_dir);
	const char **argv = mb_calloc(2 * count + 20, sizeof(*argv));
	struct mb_pg_run run = {.argv = argv,
							.change_user = scratch->place->change_owner,
							.uid = scratch->place->uid,
							.gid = scratch->place->gid,
							.out_fd = -1,
							.die_with_us = true};
	size_t n = 0, i;
	enum mb_code code;
	int log_fd;

	argv[n++] = program;
	argv[n++] = "-D";
	argv[n++] = scratch->place->directory;
#define SET(text) (argv[n++] = "-c", argv[n++] = (text))
	SET(config);
	SET(hba);
	SET(sockets);
	SET(pid_file);
	for (i = 0; i < count; i++)
		SET(fixed[i]);
#undef SET
	/* Of a start that was backed up with the directory: older versions took it. */
	unlink(scratch->log);
	log_fd = mb_open(scratch->log, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	code = log_fd < 0 ? mb_fail_errno(err, errno, "could not create \"%s\"", scratch->log)
					  : mb_pg_spawn(&run, log_fd, &scratch->pid, err);
	if (log_fd >= 0)
		close(log_fd);
	free(argv);
	free(pid_file);
	free(sockets);
	free(hba);
	free(config);
	free(program);
	return code;
}

static enum mb_code
await_open(struct mb_pg_scratch *scratch, struct mb_error *err)
{
	enum mb_code code;

	for (;; mb_sleep_ms(POLL_MS))
	{
		code = mb_cancel_check(scratch->restore->env->cancel, err);
		if (code)
			return code;
		if (waitpid(scratch->pid, NULL, WNOHANG) == scratch->pid)
		{
			scratch->pid = 0;
			code = mb_fail(err, MB_IO, "the scratch server ended before the target was reached");
			mb_pg_explain_log(scratch->log, err);
			mb_error_hint(err, "Try the same restore into a directory of its own, with --start.");
			return code;
		}
		if (mb_pg_server_state(scratch->place->directory) == MB_PG_UP)
			return MB_OK;
	}
}

enum mb_code
mb_pg_scratch_connect(const struct mb_pg_scratch *scratch, const char *database, PGconn **conn,
					  struct mb_error *err)
{
	struct mb_pg_params params = scratch->pg->params;

	params.host = scratch->socket_dir;
	params.port = MB_PG_SCRATCH_PORT;
	params.dbname = database;
	if (mb_pg_connect(conn, &params, MB_PG_SQL, err))
		return mb_error_context(err, "could not ask the scratch server");
	return MB_OK;
}

/* Who may read every table: the role that initdb made, whatever it is called. */
static enum mb_code
find_superuser(struct mb_pg_scratch *scratch, struct mb_error *err)
{
	PGconn *conn;
	enum mb_code code = mb_pg_scratch_connect(scratch, "postgres", &conn, err);

	if (code)
		return code;
	code = mb_pg_value(conn, &scratch->user, "SELECT rolname FROM pg_roles WHERE oid = 10", 0, NULL,
					   err);
	PQfinish(conn);
	return code;
}

enum mb_code
mb_pg_scratch_start(struct mb_pg_scratch *scratch, struct mb_error *err)
{
	enum mb_code code = prepare(scratch, err);

	if (!code)
		code = start(scratch, err);
	if (!code)
		code = await_open(scratch, err);
	return code ? code : find_superuser(scratch, err);
}

static void
stop(struct mb_pg_scratch *scratch)
{
	int64_t deadline_ms = mb_monotonic_ms() + STOP_MS;

	if (scratch->pid <= 0)
		return;
	/* Nothing in it is worth a checkpoint. */
	kill(scratch->pid, SIGQUIT);
	while (waitpid(scratch->pid, NULL, WNOHANG) == 0)
	{
		if (mb_monotonic_ms() > deadline_ms)
		{
			kill(scratch->pid, SIGKILL);
			deadline_ms = INT64_MAX;
		}
		mb_sleep_ms(POLL_MS);
	}
	scratch->pid = 0;
}

void
mb_pg_scratch_stop(struct mb_pg_scratch *scratch)
{
	struct mb_error why;

	stop(scratch);
	if (scratch->socket_dir[0] && !scratch->sockets && mb_rmtree(scratch->socket_dir, &why))
		mb_log_warning(scratch->restore->env->log, "%s", why.message);
	scratch->socket_dir[0] = '\0';
	free(scratch->log);
	free(scratch->config);
	free(scratch->hba);
	free(scratch->user);
	scratch->log = scratch->config = scratch->hba = scratch->user = NULL;
}

/* cmd_daemon.c - mbackup daemon: the loop (daemon.h). */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/daemon.h"
#include "cli/http.h"
#include "cli/notify.h"
#include "core/base/fs.h"
#include "core/base/time.h"

#define TURN_MS 200
#define STATUS_MS 1000
#define END_MS 75000 /* a child that was asked is killed before that */

/* The other global beside mb_interrupt, for the same reason. */
static volatile sig_atomic_t reload_wanted;

static void
on_hangup(int signo)
{
	(void) signo;
	reload_wanted = 1;
}

char **
daemon_argv(const struct daemon *daemon, const char *const *words)
{
	const struct mb_env *env = &daemon->cli->env;
	size_t count = 0, n = 0, i;
	char **argv;

	while (words[count])
		count++;
	argv = mb_calloc(count + 5, sizeof(*argv));
	argv[n++] = (char *) (uintptr_t) env->program;
	argv[n++] = (char *) (uintptr_t) words[0];
	if (env->config_path)
	{
		argv[n++] = (char *) (uintptr_t) "--config";
		argv[n++] = (char *) (uintptr_t) env->config_path;
	}
	for (i = 1; i < count; i++)
		argv[n++] = (char *) (uintptr_t) words[i];
	return argv;
}

int64_t
daemon_duration_ms(const struct daemon *daemon, const char *name)
{
	struct mb_error err;
	int64_t ms = 0;

	mb_error_clear(&err);
	/* The option table has checked what the file says, but not the environment. */
	if (mb_duration_parse(&ms, mb_config_get(&daemon->cli->config, SCOPE_DAEMON, name), &err))
		ms = 0;
	return ms;
}

/* -- the status page ------------------------------------------------------------------------ */

static const char *
listen_wanted(const struct daemon *daemon)
{
	return mb_config_get(&daemon->cli->config, SCOPE_DAEMON, "listen");
}

/* A port that is taken must not keep anybody from making backups. */
static void
start_http(struct daemon *daemon)
{
	struct mb_error err;

	mb_error_clear(&err);
	if (strcmp(listen_wanted(daemon), "none") == 0)
		return;
	if (http_start(&daemon->http, listen_wanted(daemon), &daemon->cli->log, &err))
		mb_log_warning(&daemon->cli->log, "there is no status page: %s%s%s", err.message,
					   err.hint[0] ? " - " : "", err.hint);
}

/* -- the loop ------------------------------------------------------------------------------- */

static void
wait_a_turn(struct daemon *daemon)
{
	struct pollfd fd = {.fd = catalog_fd(daemon->catalog), .events = POLLIN};

	/* Answers of children are looked for each turn; only the database is worth waking up for. */
	(void) poll(&fd, fd.fd >= 0 ? 1 : 0, TURN_MS);
}

/*
 * Read the file again.  Commands that are started from now on read it themselves; the streams
 * are started anew.  A file with an error changes nothing.
 */
static void
reload(struct daemon *daemon)
{
	char *listened = mb_strdup(listen_wanted(daemon));
	struct mb_cli *made = NULL;
	struct mb_error err;

	mb_error_clear(&err);
	reload_wanted = 0;
	systemd_notify("RELOADING=1");
	if (cli_reload(daemon->cli, &made, &err))
		mb_log_warning(&daemon->cli->log, "the configuration stays as it was: %s%s%s", err.message,
					   err.hint[0] ? " - " : "", err.hint);
	else
	{
		cli_reload_release(daemon->reloaded);
		daemon->cli = daemon->reloaded = made;
		notify_reload(daemon->notify);
		mb_log_info(&daemon->cli->log, "the configuration was read again");
		child_stop(&daemon->stream);
		daemon->stream_retry_ms = 0;
		daemon->stream_backoff_ms = 0;
		sync_soon(daemon);
		if (strcmp(listened, listen_wanted(daemon)) != 0 || !daemon->http)
		{
			http_stop(daemon->http);
			daemon->http = NULL;
			start_http(daemon);
		}
	}
	free(listened);
	systemd_notify("READY=1");
}

static void
turn(struct daemon *daemon, int64_t *next_status_ms)
{
	jobs_turn(daemon);
	streams_turn(daemon);
	sync_turn(daemon);
	catalog_turn(daemon->catalog);
	notify_turn(daemon->notify);
	if (mb_monotonic_ms() < *next_status_ms)
		return;
	*next_status_ms = mb_monotonic_ms() + STATUS_MS;
	status_turn(daemon);
	http_publish(daemon->http, daemon->status);
	notify_look(daemon->notify);
}

static void
serve(struct daemon *daemon)
{
	int64_t watchdog_ms = systemd_watchdog_ms(), next_watchdog_ms = 0, next_status_ms = 0;

	systemd_notify("READY=1\nSTATUS=running");
	mb_log_info(&daemon->cli->log, "the daemon runs (%s)", daemon->uuid);
	while (!mb_cancelled(&mb_interrupt))
	{
		if (reload_wanted)
			reload(daemon);
		turn(daemon, &next_status_ms);
		if (watchdog_ms && mb_monotonic_ms() >= next_watchdog_ms)
		{
			systemd_notify("WATCHDOG=1");
			next_watchdog_ms = mb_monotonic_ms() + watchdog_ms;
		}
		wait_a_turn(daemon);
	}
}

/* Ask everything to stop, and write down how the jobs ended. */
static void
wind_down(struct daemon *daemon)
{
	int64_t end_ms = mb_monotonic_ms() + END_MS;

	systemd_notify("STOPPING=1");
	daemon->is_ending = true;
	mb_log_info(&daemon->cli->log, "the daemon stops");
	jobs_stop(daemon);
	streams_stop(daemon);
	while (mb_monotonic_ms() < end_ms && (jobs_are_running(daemon) || streams_are_running(daemon)))
	{
		jobs_turn(daemon);
		streams_turn(daemon);
		mb_sleep_ms(TURN_MS / 4);
	}
	/* Those that could not be told are found by the next daemon. */
	if (daemon->job_count > 0)
		catalog_turn(daemon->catalog);
}

static void
release(struct daemon *daemon)
{
	http_stop(daemon->http);
	while (daemon->job_count > 0)
		job_forget(daemon, daemon->job_count - 1);
	child_release(&daemon->stream);
	child_release(&daemon->sync);
	child_release(&daemon->check);
	notify_free(daemon->notify);
	catalog_free(daemon->catalog);
	json_decref(daemon->list);
	json_decref(daemon->checks);
	json_decref(daemon->problems);
	json_decref(daemon->status);
	json_decref(daemon->rows);
	cli_reload_release(daemon->reloaded);
}

static void
make_uuid(char out[DAEMON_UUID_TEXT])
{
	unsigned char b[16];

	mb_random(b, sizeof(b));
	b[6] = (unsigned char) (0x40 | (b[6] & 0x0f));
	b[8] = (unsigned char) (0x80 | (b[8] & 0x3f));
	snprintf(out, DAEMON_UUID_TEXT,
			 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
			 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
			 b[15]);
}

enum mb_code
cmd_daemon(struct mb_cli *cli, struct mb_error *err)
{
	struct daemon daemon = {.cli = cli};
	struct sigaction action = {.sa_handler = on_hangup};
	char *lock_path = mb_asprintf("%s/daemon.lock", cli->env.spool);
	enum mb_code code;
	int lock_fd;

	code = mb_lock_file(&lock_fd, lock_path, err);
	free(lock_path);
	if (code)
	{
		mb_error_context(err, "another daemon runs here");
		return mb_error_hint(err, "One daemon serves one configuration; each has a spool of its "
								  "own.");
	}
	sigemptyset(&action.sa_mask);
	sigaction(SIGHUP, &action, NULL);
	make_uuid(daemon.uuid);
	if (gethostname(daemon.host, sizeof(daemon.host) - 1) != 0)
		strcpy(daemon.host, "?");
	daemon.stream = daemon.sync = daemon.check = (struct child){.answer_fd = -1, .progress_fd = -1};
	daemon.catalog = catalog_new(&daemon);
	start_http(&daemon);
	daemon.notify = notify_new(&daemon);
	serve(&daemon);
	wind_down(&daemon);
	release(&daemon);
	close(lock_fd);
	code = mb_cancel_check(&mb_interrupt, err);
	if (code == MB_INTERRUPTED)
		mb_fail(err, code, "stopped by signal");
	return code;
}

/*
 * daemon_sync.c - what the repository has, and what mbackup check finds.
 *
 * Both are asked of a command of ours: whatever hangs there (a bucket that does not answer)
 * hangs in a child.  The list is asked for each sync-interval and after each job, so that the
 * catalog has a backup as soon as it exists.
 */
#include <stdlib.h>

#include "cli/daemon.h"
#include "core/base/time.h"

#define CHILD_LIMIT_MS 600000
#define FIRST_CHECK_MS 30000

void
sync_soon(struct daemon *daemon)
{
	if (daemon->sync.pid)
		daemon->sync_again = true;
	else
		daemon->next_sync_ms = 0;
}

static void
start(struct daemon *daemon, struct child *child, const char *command)
{
	const char *words[] = {command, "--json", "--quiet", NULL};
	char **argv = daemon_argv(daemon, words);
	struct mb_error err;

	mb_error_clear(&err);
	if (child_start(child, argv, -1, &err))
		mb_log_warning(&daemon->cli->log, "%s", err.message);
	free(argv);
}

static void
take_list(struct daemon *daemon)
{
	json_t *answer = child_answer(&daemon->sync);
	const char *why =
		mb_json_str(json_object_get(answer, "error"), "message", "mbackup list gave no answer");
	int status = child_exit_status(&daemon->sync);

	if (status == 0 && answer)
	{
		json_decref(daemon->list);
		daemon->list = answer;
		daemon->list_is_new = true;
		daemon->list_asked_ms = daemon->sync.started_ms;
		if (!daemon->repository_up)
			mb_log_info(&daemon->cli->log, "the repository answers");
		daemon->repository_up = true;
		daemon->repository_message[0] = '\0';
		return;
	}
	if (daemon->repository_up || !daemon->repository_message[0])
		mb_log_warning(&daemon->cli->log, "could not look into the repository: %s", why);
	daemon->repository_up = false;
	snprintf(daemon->repository_message, sizeof(daemon->repository_message), "%s", why);
	json_decref(answer);
}

static void
take_checks(struct daemon *daemon)
{
	json_t *answer = child_answer(&daemon->check);
	json_t *checks = json_object_get(answer, "checks");

	if (checks)
	{
		json_decref(daemon->checks);
		daemon->checks = json_incref(checks);
	}
	json_decref(answer);
}

void
sync_turn(struct daemon *daemon)
{
	int64_t now = mb_monotonic_ms();

	if (daemon->sync.pid && child_pump(&daemon->sync))
	{
		take_list(daemon);
		child_release(&daemon->sync);
		daemon->next_sync_ms =
			daemon->sync_again ? 0 : now + daemon_duration_ms(daemon, "sync-interval");
		daemon->sync_again = false;
	}
	else if (daemon->sync.pid && now - daemon->sync.started_ms > CHILD_LIMIT_MS)
		child_stop(&daemon->sync);
	if (!daemon->sync.pid && now >= daemon->next_sync_ms)
		start(daemon, &daemon->sync, "list");

	if (daemon->next_check_ms == 0)
		daemon->next_check_ms = now + FIRST_CHECK_MS;
	if (daemon->check.pid && child_pump(&daemon->check))
	{
		take_checks(daemon);
		child_release(&daemon->check);
	}
	else if (daemon->check.pid && now - daemon->check.started_ms > CHILD_LIMIT_MS)
		child_stop(&daemon->check);
	else if (!daemon->check.pid && now >= daemon->next_check_ms)
	{
		daemon->next_check_ms = now + daemon_duration_ms(daemon, "check-interval");
		start(daemon, &daemon->check, "check");
	}
}

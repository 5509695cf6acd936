/* schedule_check.c - what "mbackup check" says about [schedule]. */
#include <stdlib.h>
#include <unistd.h>

#include "cli/schedule_private.h"
#include "core/base/fs.h"
#include "core/base/time.h"

/* What has been due for so long has nobody who runs it. */
#define SILENT_US (15 * 60 * 1000000LL)

static bool
is_configured(const struct mb_cli *cli)
{
	size_t i;

	for (i = 0; i < SCHEDULE_KINDS; i++)
	{
		const char *text = mb_config_get(&cli->config, SCOPE_SCHEDULE, schedule_kinds[i].name);

		if (text && text[0])
			return true;
	}
	return false;
}

/* The daemon holds its lock as long as it lives, run-due while it is at work. */
static bool
is_locked(const struct mb_cli *cli, const char *name)
{
	char *path = mb_asprintf("%s/%s", cli->env.spool, name);
	struct mb_error err;
	bool locked = false;
	int fd = -1;

	mb_error_clear(&err);
	if (access(path, F_OK) == 0)
		locked = mb_lock_file(&fd, path, &err) == MB_CONFLICT;
	if (fd >= 0)
		close(fd);
	free(path);
	return locked;
}

static void
check_times(struct schedule_set *set, const json_t *state, bool at_work, struct mb_checks *checks)
{
	int64_t now_us = mb_time_now_us();
	size_t i;

	schedule_take_state(set->items, set->count, state, now_us);
	schedule_look(set->items, set->count, now_us);
	for (i = 0; i < set->count; i++)
	{
		const struct schedule *schedule = &set->items[i];
		const char *name = schedule->kind->name;

		if (!schedule->next_us)
			mb_check_add(checks, MB_CHECK_WARNING, "schedule", name, "Change it in [schedule].",
						 "\"%s\" never comes", schedule->text);
		else if (schedule->is_due && !at_work && now_us - schedule->since_us > SILENT_US)
			mb_check_add(checks, MB_CHECK_WARNING, "schedule", name,
						 "Install what calls it: mbackup schedule install --systemd, or --cron.",
						 "%s is due and nobody runs it", name);
	}
	mb_check_add(checks, MB_CHECK_OK, "schedule", "schedule", "", "%zu can be understood",
				 set->count);
}

enum mb_code
cli_check_schedule(const struct mb_cli *cli, enum mb_code code, struct mb_error *err)
{
	struct mb_checks checks = {.list = json_object_get(cli->answer, "checks")};
	char *path = schedule_state_path(cli);
	struct schedule_set set;
	struct mb_error why;
	json_t *state = NULL;

	mb_error_clear(&why);
	if (!checks.list || !is_configured(cli))
	{
		free(path);
		return code;
	}
	if (schedule_read(cli, &set, &why) || schedule_state_read(&state, path, &why))
	{
		mb_check_add(&checks, MB_CHECK_FAILED, "schedule", "schedule",
					 why.hint[0] ? why.hint : "See the message.", "%s", why.message);
		if (!code)
			code = mb_fail(err, MB_NEGATIVE, "a check of [schedule] failed");
	}
	else
		check_times(&set, state, is_locked(cli, "schedule.lock"), &checks);
	if (is_locked(cli, "daemon.lock"))
		mb_check_add(&checks, MB_CHECK_WARNING, "schedule", "daemon",
					 "Keep each job in one place: those of the daemon are in mbackup.schedules.",
					 "a daemon runs here too, which has schedules of its own");
	json_decref(state);
	free(path);
	return code;
}

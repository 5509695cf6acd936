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
		const char *kind = schedule->kind->name;
		char name[64];

		if (!schedule->next_us)
		{
			snprintf(name, sizeof(name), "never %s", kind);
			mb_check_add_fix(checks, MB_CHECK_WARNING, "schedule", name,
							 mb_asprintf("%s = daily in [schedule]", kind),
							 "%s = \"%s\" never comes", kind, schedule->text);
		}
		else if (schedule->is_due && !at_work && now_us - schedule->since_us > SILENT_US)
		{
			snprintf(name, sizeof(name), "missed %s", kind);
			mb_check_add(checks, MB_CHECK_WARNING, "schedule", name,
						 "sudo mbackup schedule install --systemd, or --cron",
						 "%s is due and nobody runs it", kind);
		}
	}
	mb_check_add(checks, MB_CHECK_OK, "schedule", "expression", "", "%zu can be understood",
				 set->count);
}

void
cli_check_schedule(const struct mb_cli *cli, struct mb_checks *checks)
{
	char *path;
	struct schedule_set set;
	struct mb_error why;
	json_t *state = NULL;

	mb_error_clear(&why);
	if (!is_configured(cli))
		return;
	path = schedule_state_path(cli);
	if (schedule_read(cli, &set, &why) || schedule_state_read(&state, path, &why))
		mb_check_add(checks, MB_CHECK_FAILED, "schedule", "expression",
					 why.hint[0] ? why.hint : "What the message says", "%s", why.message);
	else
		check_times(&set, state, is_locked(cli, "schedule.lock"), checks);
	if (is_locked(cli, "daemon.lock"))
		mb_check_add(checks, MB_CHECK_WARNING, "schedule", "daemon",
					 "Take [schedule] out of mbackup.conf, or the jobs out of mbackup.schedules: "
					 "SELECT mbackup_unschedule('NAME')",
					 "a daemon runs here too, which has schedules of its own");
	json_decref(state);
	free(path);
}

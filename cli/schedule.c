/* schedule.c - see schedule.h: deciding, and the state. */
#include "cli/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"

#define STATE_MAX_BYTES (1u << 20)

const struct schedule_kind schedule_kinds[SCHEDULE_KINDS] = {
	{"full", {"backup", "--type", "full"}, "a full backup"},
	{"incremental", {"backup", "--type", "incremental"}, "an incremental backup"},
	{"mark", {"mark"}, "a mark"},
	{"expire", {"expire"}, "what the retention does not keep is removed"},
	{"verify", {"verify"}, "the repository is verified"},
	{"drill", {"verify", "--restore"}, "a restore is tried"},
	{"check", {"check"}, "every precondition is tested"},
};

/* The times after seen_us up to now: the last of them, and how many come before it. */
static void
look_at(struct schedule *schedule, int64_t now_us)
{
	int64_t next = mb_cron_next(&schedule->cron, schedule->seen_us);

	schedule->is_due = next != 0 && next <= now_us;
	schedule->since_us = next;
	schedule->missed = 0;
	while (next != 0 && next <= now_us && schedule->missed < SCHEDULE_MAX_COUNTED)
	{
		schedule->due_us = next;
		next = mb_cron_next(&schedule->cron, next);
		schedule->missed++;
	}
	schedule->missed -= schedule->is_due;
	if (next != 0 && next <= now_us)
	{
		/* More than anybody wants to know. */
		schedule->due_us = now_us - now_us % 60000000;
		next = mb_cron_next(&schedule->cron, now_us);
	}
	schedule->next_us = next;
}

void
schedule_look(struct schedule *schedules, size_t count, int64_t now_us)
{
	size_t i;

	for (i = 0; i < count; i++)
		look_at(&schedules[i], now_us);
}

/* -- state ------------------------------------------------------------------------------------- */

json_t *
schedule_state_of(json_t *state, const char *name)
{
	json_t *all = json_object_get(state, "schedules");
	json_t *one = json_object_get(all, name);

	if (one)
		return one;
	one = json_object();
	json_object_set_new(all, name, one);
	return one;
}

void
schedule_take_state(struct schedule *schedules, size_t count, const json_t *state, int64_t now_us)
{
	const json_t *all = json_object_get(state, "schedules");
	size_t i;

	for (i = 0; i < count; i++)
	{
		struct schedule *schedule = &schedules[i];
		const json_t *one = json_object_get(all, schedule->kind->name);

		schedule->seen_us = mb_json_time(one, "seen");
		schedule->attempts = (int) mb_json_int(one, "attempts", 0);
		schedule->is_new =
			!schedule->seen_us || strcmp(mb_json_str(one, "expression", ""), schedule->text) != 0;
		/* A new one begins now; and a clock that was ahead must not silence it. */
		if (schedule->is_new || schedule->seen_us > now_us)
		{
			schedule->seen_us = now_us;
			schedule->attempts = 0;
		}
	}
}

enum mb_code
schedule_state_read(json_t **state, const char *path, struct mb_error *err)
{
	struct mb_buf text = {0};
	struct mb_error why;
	enum mb_code code = mb_file_read(&text, path, STATE_MAX_BYTES, err);

	mb_error_clear(&why);
	*state = NULL;
	if (!code && mb_json_parse(state, (const char *) text.data, text.len, path, &why))
		*state = NULL;
	mb_buf_release(&text);
	if (code && code != MB_NOT_FOUND && code != MB_CORRUPT)
		return mb_error_context(err, "could not read what was run before");
	if (!json_is_object(json_object_get(*state, "schedules")))
	{
		json_decref(*state);
		*state = json_object();
		json_object_set_new(*state, "schedules", json_object());
	}
	return MB_OK;
}

enum mb_code
schedule_state_write(const char *path, const json_t *state, struct mb_error *err)
{
	char *text = mb_json_text(state);
	enum mb_code code = mb_file_write_durable(path, text, strlen(text), 0600, err);

	free(text);
	return code ? mb_error_context(err, "could not note what was run") : MB_OK;
}

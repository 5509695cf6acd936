/*
 * cron_fuzz.c - any text as an expression of cron or systemd, and as the state of schedules: the next time is behind the
 * one that was asked for, a whole minute, and as systemd would write it is still an expression.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_US 1795502642000000LL

static void
touch_state(const uint8_t *data, size_t size)
{
	struct schedule schedule = {.kind = &schedule_kinds[0], .text = "0 2 * * *"};
	struct mb_error err;
	json_t *state = NULL;

	mb_error_clear(&err);
	MB_ASSERT(mb_cron_parse(&schedule.cron, schedule.text, &err) == MB_OK);
	if (mb_json_parse(&state, (const char *) data, size, "state", &err) == MB_OK)
	{
		schedule_take_state(&schedule, 1, state, NOW_US);
		schedule_look(&schedule, 1, NOW_US);
		MB_ASSERT(schedule.next_us == 0 || schedule.next_us > NOW_US);
		(void) schedule_state_of(state, schedule.kind->name);
	}
	json_decref(state);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mb_strndup((const char *) data, size);
	struct mb_buf lines = {0};
	struct mb_cron cron;
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_cron_parse(&cron, text, &err) == MB_OK)
	{
		int64_t next_us = mb_cron_next(&cron, NOW_US);

		MB_ASSERT(next_us == 0 || (next_us > NOW_US && next_us % 60000000 == 0));
		mb_cron_on_calendar(&cron, &lines);
		MB_ASSERT(lines.len > 0);
	}
	if (size > 0 && data[0] == '{')
		touch_state(data, size);
	mb_buf_release(&lines);
	free(text);
	return 0;
}

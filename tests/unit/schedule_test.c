/*
 * schedule_test.c - expressions and their next times, and what is due.
 *
 * With a file as its argument (expression TAB zone TAB after TAB expected, as tests/lib/cron_judge.py prints it) it
 * compares those instead: integration/845 does that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/schedule.h"
#include "core/base/time.h"

static int64_t
utc(const char *text)
{
	struct mb_error err;
	char *with_zone = mb_asprintf("%sZ", text);
	int64_t time_us = 0;

	if (mb_time_parse(&time_us, with_zone, &err))
		fprintf(stderr, "# %s\n", err.message);
	free(with_zone);
	return time_us;
}

static void
zone(const char *name)
{
	setenv("TZ", name, 1);
	tzset();
}

static void
show(char out[32], int64_t time_us)
{
	time_t t = (time_t) (time_us / 1000000);
	struct tm tm;

	if (time_us == 0)
		snprintf(out, 32, "never");
	else
		strftime(out, 32, "%Y-%m-%d %H:%M:%S", gmtime_r(&t, &tm));
}

static void
check(const char *in_zone, const char *text, const char *after, const char *expected)
{
	struct mb_cron cron;
	struct mb_error err;
	char got[32];

	zone(in_zone);
	if (mb_cron_parse(&cron, text, &err))
		fail_msg("%s: %s", text, err.message);
	show(got, mb_cron_next(&cron, utc(after)));
	if (strcmp(got, expected) != 0)
		fail_msg("\"%s\" in %s after %s: %s, not %s", text, in_zone, after, got, expected);
}

static void
test_cron__clocks_that_change(void **state)
{
	(void) state;
	/* Berlin, 29 March 2026: from 02:00 to 03:00 at 01:00 UTC; 25 October: from 03:00 to 02:00. */
	check("Europe/Berlin", "30 2 * * *", "2026-03-28 12:00:00", "2026-03-29 01:00:00");
	check("Europe/Berlin", "30 2 * * *", "2026-03-29 01:00:00", "2026-03-30 00:30:00");
	check("Europe/Berlin", "30 * * * *", "2026-03-29 00:30:00", "2026-03-29 01:30:00");
	check("Europe/Berlin", "* 2 * * *", "2026-03-29 00:30:00", "2026-03-30 00:00:00");
	check("Europe/Berlin", "30 2 * * *", "2026-10-24 22:00:00", "2026-10-25 00:30:00");
	check("Europe/Berlin", "30 2 * * *", "2026-10-25 00:30:00", "2026-10-26 01:30:00");
	check("Europe/Berlin", "*/30 2 * * *", "2026-10-25 00:30:00", "2026-10-25 01:00:00");
	check("Europe/Berlin", "Sun 02:30", "2026-03-28 12:00:00", "2026-03-29 01:00:00");
}

static void
test_cron__calendar_expressions(void **state)
{
	static const struct
	{
		const char *calendar;
		const char *cron;
	} same[] = {
		{"daily", "0 0 * * *"},
		{"weekly", "0 0 * * mon"},
		{"Mon..Fri 02:00", "0 2 * * 1-5"},
		{"Sun *-*-* 05:00:00", "0 5 * * sun"},
		{"Fri..Mon 1:30", "30 1 * * 5,6,0,1"},
		{"Monday,Wed 04:00", "0 4 * * 1,3"},
		{"*-*-01 03:30", "30 3 1 * *"},
		{"1,7-15 12:00", "0 12 15 1,7 *"},
		{"*:0/15", "*/15 * * * *"},
		{"0/6:05", "5 */6 * * *"},
		{"*-01..03-*/10", "0 0 */10 1-3 *"},
		{"quarterly", "0 0 1 1,4,7,10 *"},
		{"*-*-*", "0 0 * * *"},
	};
	struct mb_cron a, b;
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
	{
		if (mb_cron_parse(&a, same[i].calendar, &err) || mb_cron_parse(&b, same[i].cron, &err))
			fail_msg("%s: %s", same[i].calendar, err.message);
		if (a.minutes != b.minutes || a.hours != b.hours || a.days != b.days ||
			a.months != b.months || a.weekdays != b.weekdays)
			fail_msg("%s is not %s", same[i].calendar, same[i].cron);
	}
	/* Of a calendar both must fit, of cron one is enough. */
	check("UTC", "Fri *-*-13", "2026-01-01 00:00:00", "2026-02-13 00:00:00");
	check("UTC", "0 0 13 * fri", "2026-01-01 00:00:00", "2026-01-02 00:00:00");
}

static void
test_cron__refuses_what_it_does_not_know(void **state)
{
	static const char *const bad[] = {
		"",
		"* * * *",
		"* * * * * *",
		"60 * * * *",
		"* 24 * * *",
		"* * 0 * *",
		"* * 32 * *",
		"* * * 13 *",
		"* * * * 8",
		"5-1 * * * *",
		"*/0 * * * *",
		"1/2 * * * *",
		"a * * * *",
		"*-5 * * * *",
		"1,,2 * * * *",
		"@often",
		"often",
		"1.5 * * * *",
		"1-2-3 * * * *",
		"*/x * * * *",
		"2026-01-01 00:00",
		"02:00:30",
		"Mon..Fri 02:00 UTC",
		"02:00 Mon",
		"*-*~1 02:00",
		"25:00",
		"Foo 02:00",
		"Mon Tue",
		"*-13-01",
		"* * * foo *",
		"12345 * * * *",
		"*/123456 * * * *",
		"-1 * * * *",
		":",
		"1:",
		":1",
		"-",
		"-1",
	};
	struct mb_cron cron;
	struct mb_error err;
	char *longer = mb_calloc(1, 400);
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mb_cron_parse(&cron, bad[i], &err) != MB_CONFIG)
			fail_msg("\"%s\" was taken", bad[i]);
	memset(longer, '1', 300);
	assert_int_equal(mb_cron_parse(&cron, longer, &err), MB_CONFIG);
	free(longer);
}

static void
test_cron__says_it_to_systemd(void **state)
{
	static const struct
	{
		const char *text;
		const char *lines;
	} cases[] = {
		{"0 2 * * 1-5", "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 02:00:00\n"},
		{"*/30 * * * *", "OnCalendar=*-*-* *:00,30:00\n"},
		{"0 0 13 * fri", "OnCalendar=*-*-13 00:00:00\nOnCalendar=Fri *-*-* 00:00:00\n"},
		{"Fri *-*-13", "OnCalendar=Fri *-*-13 00:00:00\n"},
		{"0 0 1 1,7 *", "OnCalendar=*-01,07-01 00:00:00\n"},
	};
	struct mb_cron cron;
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		struct mb_buf out = {0};

		assert_int_equal(mb_cron_parse(&cron, cases[i].text, &err), MB_OK);
		mb_cron_on_calendar(&cron, &out);
		assert_string_equal(mb_buf_cstr(&out), cases[i].lines);
		mb_buf_release(&out);
	}
}

/* -- what is due ------------------------------------------------------------------------------------------- */

static struct schedule
schedule_of(const char *text, const char *seen)
{
	struct schedule schedule = {.kind = &schedule_kinds[0], .text = text, .seen_us = utc(seen)};
	struct mb_error err;

	assert_int_equal(mb_cron_parse(&schedule.cron, text, &err), MB_OK);
	return schedule;
}

static void
test_schedule__is_due_once_after_a_pause(void **state)
{
	struct schedule schedule;
	char text[32];

	(void) state;
	zone("UTC");
	schedule = schedule_of("0 2 * * *", "2026-11-01 02:00:00");
	schedule_look(&schedule, 1, utc("2026-11-02 01:59:59"));
	assert_false(schedule.is_due);
	schedule_look(&schedule, 1, utc("2026-11-02 02:00:00"));
	assert_true(schedule.is_due);
	assert_int_equal(schedule.missed, 0);
	schedule_look(&schedule, 1, utc("2026-11-09 12:00:00"));
	assert_true(schedule.is_due);
	assert_int_equal(schedule.missed, 7);
	show(text, schedule.since_us);
	assert_string_equal(text, "2026-11-02 02:00:00");
	show(text, schedule.due_us);
	assert_string_equal(text, "2026-11-09 02:00:00");
	show(text, schedule.next_us);
	assert_string_equal(text, "2026-11-10 02:00:00");
	/* A minute's schedule after years. */
	schedule = schedule_of("* * * * *", "2020-11-01 02:00:00");
	schedule_look(&schedule, 1, utc("2026-11-09 12:00:30"));
	assert_true(schedule.is_due);
	assert_int_equal(schedule.missed, SCHEDULE_MAX_COUNTED - 1);
	show(text, schedule.next_us);
	assert_string_equal(text, "2026-11-09 12:01:00");
	/* Over a change of the clocks: once on each of the days. */
	zone("Europe/Berlin");
	schedule = schedule_of("30 2 * * *", "2026-10-24 00:30:00");
	schedule_look(&schedule, 1, utc("2026-10-25 12:00:00"));
	assert_int_equal(schedule.missed, 0);
	schedule = schedule_of("30 2 * * *", "2026-03-28 01:30:00");
	schedule_look(&schedule, 1, utc("2026-03-29 00:59:00"));
	assert_false(schedule.is_due);
	schedule_look(&schedule, 1, utc("2026-03-29 01:00:00"));
	assert_true(schedule.is_due);
}

static void
test_schedule__begins_with_the_first_look(void **state)
{
	struct schedule schedule = schedule_of("0 2 * * *", "2026-11-01 02:00:00");
	json_t *notes = json_object();
	int64_t now_us = utc("2026-11-20 12:00:00");

	(void) state;
	json_object_set_new(notes, "schedules", json_object());
	schedule_take_state(&schedule, 1, notes, now_us);
	assert_true(schedule.is_new && schedule.seen_us == now_us);
	mb_json_set_str(schedule_state_of(notes, "full"), "expression", "0 2 * * *");
	mb_json_set_time(schedule_state_of(notes, "full"), "seen", utc("2026-11-19 02:00:00"));
	mb_json_set_int(schedule_state_of(notes, "full"), "attempts", 1);
	schedule_take_state(&schedule, 1, notes, now_us);
	assert_true(!schedule.is_new && schedule.seen_us == utc("2026-11-19 02:00:00"));
	assert_int_equal(schedule.attempts, 1);
	/* Another expression, and a clock that was ahead, begin anew. */
	schedule.text = "0 3 * * *";
	schedule_take_state(&schedule, 1, notes, now_us);
	assert_true(schedule.is_new && schedule.seen_us == now_us && schedule.attempts == 0);
	schedule.text = "0 2 * * *";
	schedule_take_state(&schedule, 1, notes, utc("2026-11-18 02:00:00"));
	assert_true(!schedule.is_new && schedule.seen_us == utc("2026-11-18 02:00:00"));
	json_decref(notes);
}

/* -- the judge's ------------------------------------------------------------------------------------------ */

static int
judge(const char *path)
{
	char line[1024], got[32];
	unsigned wrong = 0, count = 0;
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof(line), file))
	{
		char *save = NULL, *text = strtok_r(line, "\t", &save),
			 *where = strtok_r(NULL, "\t", &save);
		char *after = strtok_r(NULL, "\t", &save), *expected = strtok_r(NULL, "\n", &save);
		struct mb_cron cron;
		struct mb_error err;

		count++;
		zone(where);
		snprintf(got, sizeof(got), "refused");
		if (mb_cron_parse(&cron, text, &err) == MB_OK)
			show(got, mb_cron_next(&cron, utc(after)));
		if (strcmp(got, expected) == 0)
			continue;
		wrong++;
		printf("%s in %s after %s: %s, not %s\n", text, where, after, got, expected);
	}
	if (file)
		fclose(file);
	printf("%u of %u\n", count - wrong, count);
	return wrong > 0 || count == 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cron__clocks_that_change),
		cmocka_unit_test(test_cron__calendar_expressions),
		cmocka_unit_test(test_cron__refuses_what_it_does_not_know),
		cmocka_unit_test(test_cron__says_it_to_systemd),
		cmocka_unit_test(test_schedule__is_due_once_after_a_pause),
		cmocka_unit_test(test_schedule__begins_with_the_first_look),
	};

	if (argc > 1)
		return judge(argv[1]);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* notify_test.c - what is told and when, under a clock of the test's own; and how it looks as mail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/notify.h"
#include "core/base/time.h"

#define SECOND INT64_C(1000000)
#define START (INT64_C(1800000000) * SECOND)

static const struct notify_rules rules = {60 * SECOND, 300 * SECOND, 86400 * SECOND};

/* A daemon with one channel that accepts everything at once. */
struct world
{
	json_t *seen;
	json_t *channel;
	json_t *problems;
	json_t *jobs;
	int64_t now_us;
	json_t *message; /* the last one */
	int messages;
};

static void
begin(struct world *world)
{
	*world = (struct world){.seen = json_object(),
							.channel = notify_channel_new(START),
							.problems = json_array(),
							.jobs = json_array(),
							.now_us = START};
}

static void
end(struct world *world)
{
	json_decref(world->seen);
	json_decref(world->channel);
	json_decref(world->problems);
	json_decref(world->jobs);
	json_decref(world->message);
}

static void
set(struct world *world, const char *name, const char *severity)
{
	json_t *problem;
	size_t i;

	json_array_foreach(world->problems, i,
					   problem) if (strcmp(mb_json_str(problem, "name", ""), name) == 0)
	{
		json_array_remove(world->problems, i);
		break;
	}
	if (severity)
		json_array_append_new(world->problems,
							  json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "component", "db", "name",
										name, "severity", severity, "message", "no answer", "fix",
										"Start it.", "since", "2027-01-15T08:00:00Z"));
}

static bool
nothing_was_looked_at(void *ctx, const char *component, const char *name)
{
	(void) ctx, (void) component, (void) name;
	return false;
}

static void
run_with(struct world *world, int seconds, notify_judge judge)
{
	json_t *message;

	while (seconds-- > 0)
	{
		world->now_us += SECOND;
		notify_observe(world->seen, &rules, world->problems, judge, NULL, world->now_us);
		message = notify_compose(world->channel, world->seen, world->jobs, &rules, world->now_us);
		if (!message)
			continue;
		notify_told(world->channel, message, &rules, world->now_us);
		json_decref(world->message);
		world->message = message;
		world->messages++;
	}
}

static void
run(struct world *world, int seconds)
{
	run_with(world, seconds, NULL);
}

static const char *
change(const struct world *world, size_t i)
{
	return mb_json_str(json_array_get(json_object_get(world->message, "changes"), i), "change",
					   "none");
}

static size_t
count(const struct world *world, const char *list)
{
	return json_array_size(json_object_get(world->message, list));
}

/* -- the states ----------------------------------------------------------------------------- */

static void
comes_changes_goes(void **state)
{
	struct world world;

	(void) state;
	begin(&world);
	set(&world, "lag", "warning");
	run(&world, 60);
	assert_int_equal(world.messages, 0);
	run(&world, 1);
	assert_int_equal(world.messages, 1);
	assert_string_equal(change(&world, 0), "appeared");
	assert_string_equal(mb_json_str(world.message, "severity", ""), "warning");
	run(&world, 600);
	assert_int_equal(world.messages, 1);
	set(&world, "lag", "failed");
	run(&world, 62);
	assert_int_equal(world.messages, 2);
	assert_string_equal(change(&world, 0), "changed");
	run(&world, 600);
	set(&world, "lag", NULL);
	run(&world, 59);
	assert_int_equal(world.messages, 2);
	run(&world, 2);
	assert_int_equal(world.messages, 3);
	assert_string_equal(change(&world, 0), "gone");
	assert_string_equal(mb_json_str(world.message, "severity", ""), "ok");
	run(&world, 100000);
	assert_int_equal(world.messages, 3);
	end(&world);
}

/* 20 changes in a minute: it came, and when it is quiet, it went. */
static void
flapping(void **state)
{
	struct world world;
	int i;

	(void) state;
	begin(&world);
	for (i = 0; i < 600; i++)
	{
		set(&world, "lag", i % 2 ? NULL : "failed");
		run(&world, 3);
	}
	assert_int_equal(world.messages, 1);
	set(&world, "lag", NULL);
	run(&world, 3600);
	assert_int_equal(world.messages, 2);
	assert_string_equal(change(&world, 0), "gone");
	/* Between two severities. */
	for (i = 0; i < 600; i++)
	{
		set(&world, "lag", i % 2 ? "warning" : "failed");
		run(&world, 3);
	}
	assert_int_equal(world.messages, 3);
	end(&world);
}

/* A blink is nothing. */
static void
blink(void **state)
{
	struct world world;

	(void) state;
	begin(&world);
	set(&world, "lag", "failed");
	run(&world, 50);
	set(&world, "lag", NULL);
	run(&world, 1000);
	assert_int_equal(world.messages, 0);
	assert_int_equal(json_object_size(world.seen), 0);
	end(&world);
}

/* A new problem each second for a quarter of an hour: two messages in an interval at most, and all are told. */
static void
storm(void **state)
{
	struct world world;
	char name[32];
	int i;

	(void) state;
	begin(&world);
	for (i = 0; i < 900; i++)
	{
		snprintf(name, sizeof(name), "p%d", i);
		set(&world, name, "failed");
		run(&world, 1);
	}
	assert_in_range(world.messages, 3, 2 * 900 / 300 + 1);
	run(&world, 400);
	assert_int_equal(count(&world, "problems"), 900);
	end(&world);
}

/* Warnings wait for the interval and come together; something that failed does not wait, once. */
static void
window(void **state)
{
	struct world world;

	(void) state;
	begin(&world);
	set(&world, "a", "warning");
	run(&world, 61);
	assert_int_equal(world.messages, 1);
	set(&world, "b", "warning");
	run(&world, 100);
	set(&world, "c", "warning");
	run(&world, 190);
	assert_int_equal(world.messages, 1);
	run(&world, 20);
	assert_int_equal(world.messages, 2);
	assert_int_equal(count(&world, "changes"), 2);
	set(&world, "d", "failed");
	run(&world, 61);
	assert_int_equal(world.messages, 3);
	set(&world, "e", "failed");
	run(&world, 200);
	assert_int_equal(world.messages, 3);
	run(&world, 120);
	assert_int_equal(world.messages, 4);
	end(&world);
}

static void
reminder(void **state)
{
	struct world world;

	(void) state;
	begin(&world);
	set(&world, "lag", "warning");
	run(&world, 61);
	run(&world, 86399);
	assert_int_equal(world.messages, 1);
	run(&world, 1);
	assert_int_equal(world.messages, 2);
	assert_true(mb_json_bool(world.message, "reminder", false));
	assert_int_equal(count(&world, "changes"), 0);
	assert_int_equal(count(&world, "problems"), 1);
	run(&world, 86400 * 2);
	assert_int_equal(world.messages, 4);
	end(&world);
}

/* A new process that has the record and nothing else. */
static void
restart(void **state)
{
	struct world world;

	(void) state;
	begin(&world);
	set(&world, "lag", "failed");
	set(&world, "age", "failed");
	run(&world, 400);
	assert_int_equal(world.messages, 1);
	json_decref(world.seen);
	world.seen = json_object();
	notify_resume(world.seen, world.channel, world.now_us);
	/* Not looked at, nothing is gone, however long it takes. */
	set(&world, "lag", NULL);
	set(&world, "age", NULL);
	run_with(&world, 1000, nothing_was_looked_at);
	assert_int_equal(world.messages, 1);
	set(&world, "age", "failed");
	run(&world, 1000);
	assert_int_equal(world.messages, 2);
	assert_int_equal(count(&world, "changes"), 1);
	assert_string_equal(change(&world, 0), "gone");
	assert_int_equal(count(&world, "problems"), 1);
	end(&world);
}

static void
jobs(void **state)
{
	struct world world;
	char when[MB_TIME_TEXT];

	(void) state;
	begin(&world);
	mb_time_format(when, START - SECOND);
	json_array_append_new(world.jobs, json_pack("{s:i,s:s,s:s,s:s,s:n}", "id", 1, "kind", "backup",
												"state", "failed", "finished", when, "schedule"));
	mb_time_format(when, START + SECOND);
	json_array_append_new(world.jobs,
						  json_pack("{s:i,s:s,s:s,s:s,s:s}", "id", 2, "kind", "backup", "state",
									"failed", "finished", when, "schedule", "nightly"));
	json_array_append_new(world.jobs, json_pack("{s:i,s:s,s:s,s:s}", "id", 3, "kind", "verify",
												"state", "done", "finished", when));
	run(&world, 1000);
	assert_int_equal(world.messages, 0);
	mb_time_format(when, world.now_us);
	json_array_append_new(world.jobs, json_pack("{s:i,s:s,s:s,s:s,s:n,s:{s:s}}", "id", 4, "kind",
												"verify", "state", "failed", "finished", when,
												"schedule", "error", "message", "bad"));
	run(&world, 1000);
	assert_int_equal(world.messages, 1);
	assert_int_equal(count(&world, "jobs"), 1);
	end(&world);
}

/* The clock is put back by a year: it goes on as if no time had passed. */
static void
clock_put_back(void **state)
{
	struct world world;

	(void) state;
	begin(&world);
	set(&world, "lag", "warning");
	run(&world, 61);
	world.now_us -= 365 * 86400 * SECOND;
	set(&world, "age", "warning");
	run(&world, 400);
	assert_int_equal(world.messages, 2);
	set(&world, "lag", NULL);
	run(&world, 400);
	assert_int_equal(world.messages, 3);
	end(&world);
}

/* -- how it looks --------------------------------------------------------------------------- */

static json_t *
message_of(const char *text)
{
	return json_pack("{s:s,s:s,s:b,s:[{s:s,s:s,s:s,s:s,s:s,s:s}],s:[],s:[]}", "host", "h", "id",
					 "i-1", "reminder", 0, "changes", "change", "appeared", "component", "db",
					 "name", "stream", "severity", "failed", "message", text, "fix", text, "jobs",
					 "problems");
}

static void
mail_cannot_be_injected(void **state)
{
	json_t *message = message_of("x\r\nBcc: evil@example.com\n\n.\nBody \x01 \"'$(id)`;");
	struct mb_buf mail = {0};
	const char *text, *line;

	(void) state;
	notify_mail(&mail, "a@example.com\r\nBcc: other@example.com", message, START);
	text = mb_buf_cstr(&mail);
	for (line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
	{
		assert_true(strncasecmp(line, "Bcc:", 4) != 0);
		assert_true(strncmp(line, ".\n", 2) != 0);
		assert_true(strcspn(line, "\n") <= 998);
	}
	assert_null(strchr(text, '\r'));
	assert_non_null(strstr(text, "\nSubject: mbackup h: FAILED db stream: x  Bcc: evil"));
	mb_buf_release(&mail);
	json_decref(message);
}

/* What is not ASCII, and long: words of at most 75 characters, each whole in itself. */
static void
mail_subject_is_encoded(void **state)
{
	static const char umlaut[] = "\xc3\xa4";
	struct mb_buf text = {0}, mail = {0};
	const char *word, *stop;
	json_t *message;
	int i, words = 0;

	(void) state;
	for (i = 0; i < 300; i++)
		mb_buf_put_str(&text, umlaut);
	message = message_of(mb_buf_cstr(&text));
	notify_mail(&mail, "a@example.com", message, START);
	for (word = mb_buf_cstr(&mail); (word = strstr(word, "=?UTF-8?B?")) != NULL; word = stop)
	{
		stop = strstr(word, "?=");
		assert_non_null(stop);
		assert_true(stop + 2 - word <= 75);
		words++;
	}
	assert_in_range(words, 4, 8);
	mb_buf_release(&text);
	mb_buf_release(&mail);
	json_decref(message);
}

static void
text_is_bounded(void **state)
{
	struct mb_buf huge = {0}, text = {0};
	json_t *message;

	(void) state;
	while (huge.len < 200000)
		mb_buf_put_str(&huge, "\xe2\x82\xac\n");
	message = message_of(mb_buf_cstr(&huge));
	notify_text(&text, message);
	assert_in_range(text.len, 1000, 33000);
	mb_buf_reset(&text);
	notify_summary(&text, message);
	assert_in_range(text.len, 100, 300);
	assert_null(strchr(mb_buf_cstr(&text), '\n'));
	mb_buf_release(&huge);
	mb_buf_release(&text);
	json_decref(message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_changes_goes),
		cmocka_unit_test(flapping),
		cmocka_unit_test(blink),
		cmocka_unit_test(storm),
		cmocka_unit_test(window),
		cmocka_unit_test(reminder),
		cmocka_unit_test(restart),
		cmocka_unit_test(jobs),
		cmocka_unit_test(clock_put_back),
		cmocka_unit_test(mail_cannot_be_injected),
		cmocka_unit_test(mail_subject_is_encoded),
		cmocka_unit_test(text_is_bounded),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}

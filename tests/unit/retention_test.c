/*
 * retention_test.c - which backups are kept and in which words: the rules one by one, over sets that
 * are written down here.
 */
#include "core/base/time.h"
#include "core/engine/retention.h"
#include "tests/lib/repo_fixture.h"

#define DAY_US (24LL * 3600 * 1000000)

static struct mb_retention retention;
static struct mb_override override;
static json_t *sets, *marks;
static struct mb_verdict verdict;

static int64_t
at(const char *text)
{
	struct mb_error err;
	int64_t time_us;

	assert_ok(mb_time_parse(&time_us, text, &err), err);
	return time_us;
}

static int
set_up(void **state)
{
	(void) state;
	sets = json_array();
	marks = json_array();
	memset(&retention, 0, sizeof(retention));
	retention.sets = sets;
	retention.marks = marks;
	retention.policy.is_set = true;
	retention.now_us = at("2026-06-15 12:00:00Z"); /* a Monday */
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	mb_verdict_release(&verdict);
	json_decref(sets);
	json_decref(marks);
	return 0;
}

/* components: "postgres redis"; a name with ! is incomplete. */
static json_t *
add_set(const char *time, const char *components)
{
	char id[MB_ID_TEXT], *copy = strdup(components), *name, *rest = NULL;
	json_t *set = json_object(), *parts = json_array();

	mb_id_new(id, at(time));
	mb_json_set_str(set, "id", id);
	for (name = strtok_r(copy, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
	{
		json_t *part = json_object();
		bool incomplete = name[0] == '!';

		mb_json_set_str(part, "name", name + incomplete);
		mb_json_set_str(part, "backup", id);
		if (incomplete)
			mb_json_set_bool(part, "incomplete", true);
		json_array_append_new(parts, part);
	}
	json_object_set_new(set, "components", parts);
	json_array_append_new(sets, set);
	free(copy);
	return set;
}

/* "kept: a; kept: b" */
static const char *
why(const json_t *reasons)
{
	static char text[1000];
	size_t i;

	text[0] = '\0';
	for (i = 0; i < json_array_size(reasons); i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "; " : "",
				 json_string_value(json_array_get(reasons, i)));
	return text;
}

#define assert_why(i, text) assert_string_equal(why(verdict.sets[i].why), text)

static void
judge(void)
{
	mb_retention_judge(&retention, &verdict);
}

static void
test_retention__without_a_policy(void **state)
{
	(void) state;
	retention.policy.is_set = false;
	add_set("2001-01-01 00:00:00Z", "postgres");
	judge();
	assert_why(0, "kept: no retention is configured");
	assert_true(mb_verdict_window_us(&verdict, "postgres") == INT64_MIN);
}

static void
test_retention__days_and_last(void **state)
{
	(void) state;
	retention.policy.days = 3;
	retention.policy.last = 2;
	add_set("2026-06-01 00:00:00Z", "postgres redis");
	add_set("2026-06-12 12:00:00Z", "postgres redis"); /* three days to the second: older */
	add_set("2026-06-12 12:00:01Z", "postgres redis");
	judge();
	assert_why(0, "expires: no rule wants it");
	assert_why(1, "kept: last 2 of 2");
	assert_why(2, "kept: younger than 3 days; kept: last 1 of 2");
	assert_true(mb_verdict_window_us(&verdict, "redis") == at("2026-06-12 12:00:00Z"));
}

static void
test_retention__periods(void **state)
{
	(void) state;
	retention.policy.daily = 2;
	retention.policy.weekly = 3;
	retention.policy.monthly = 2;
	retention.policy.yearly = 2;
	add_set("2024-12-31 23:59:59Z", "postgres");
	add_set("2025-12-28 00:00:00Z", "postgres");
	add_set("2026-05-31 23:59:59Z", "postgres"); /* a Sunday */
	add_set("2026-06-01 00:00:00Z", "postgres"); /* a Monday: another week and month */
	add_set("2026-06-07 23:00:00Z", "postgres");
	add_set("2026-06-14 10:00:00Z", "postgres");
	add_set("2026-06-15 08:00:00Z", "postgres");
	add_set("2026-06-15 09:00:00Z", "postgres");
	judge();
	assert_why(0, "expires: no rule wants it"); /* of three years two are wanted */
	assert_why(1, "kept: yearly 2 of 2");
	assert_why(2, "kept: monthly 2 of 2");
	assert_why(3, "expires: no rule wants it");
	assert_why(4, "kept: weekly 3 of 3");
	assert_why(5, "kept: daily 2 of 2; kept: weekly 2 of 3");
	assert_why(6, "expires: no rule wants it");
	assert_why(7, "kept: daily 1 of 2; kept: weekly 1 of 3; kept: monthly 1 of 2; kept: yearly 1 "
				  "of 2");
	assert_true(mb_verdict_window_us(&verdict, "postgres") == at("2026-06-15 09:00:00Z"));
}

static void
test_retention__hours_and_one_of_each(void **state)
{
	(void) state;
	retention.policy.hourly = 2;
	add_set("2026-06-15 07:59:59Z", "postgres");
	add_set("2026-06-15 08:00:00Z", "postgres");
	add_set("2026-06-15 08:30:00Z", "postgres");
	judge();
	assert_why(0, "kept: hourly 2 of 2");
	assert_why(1, "expires: no rule wants it");
	assert_why(2, "kept: hourly 1 of 2");
}

/* A set that lacks Redis takes no place among the last of Redis. */
static void
test_retention__partial_sets(void **state)
{
	(void) state;
	retention.policy.last = 1;
	add_set("2026-06-01 00:00:00Z", "postgres redis");
	add_set("2026-06-02 00:00:00Z", "postgres redis");
	add_set("2026-06-03 00:00:00Z", "postgres");
	judge();
	assert_why(0, "expires: no rule wants it");
	assert_why(1, "kept: last 1 of 1 (redis)");
	assert_why(2, "kept: last 1 of 1");
	/* It lives whole. */
	assert_true(verdict.sets[1].parts[0].is_kept && verdict.sets[1].parts[1].is_kept);
}

static void
test_retention__never_the_last_whole_one(void **state)
{
	(void) state;
	retention.policy.days = 1;
	add_set("2025-01-01 00:00:00Z", "postgres");
	add_set("2025-02-01 00:00:00Z", "postgres");
	add_set("2025-03-01 00:00:00Z", "!postgres");
	judge();
	assert_why(0, "expires: no rule wants it");
	assert_why(1, "kept: the newest complete backup of postgres");
	assert_why(2, "kept: the newest backup of postgres");
}

static void
test_retention__a_policy_of_its_own(void **state)
{
	(void) state;
	retention.policy.last = 1;
	override = (struct mb_override){"postgres", {.is_set = true, .last = 2}};
	retention.overrides = &override;
	retention.override_count = 1;
	add_set("2026-06-01 00:00:00Z", "postgres redis");
	add_set("2026-06-02 00:00:00Z", "postgres redis");
	add_set("2026-06-03 00:00:00Z", "postgres redis");
	judge();
	assert_why(0, "expires: no rule wants it");
	assert_why(1, "kept: last 2 of 2 (postgres); expires: no rule of [retention] wants redis");
	assert_true(verdict.sets[1].parts[0].is_kept && !verdict.sets[1].parts[1].is_kept);
	assert_true(mb_verdict_window_us(&verdict, "postgres") == at("2026-06-02 00:00:00Z"));
	assert_true(mb_verdict_window_us(&verdict, "redis") == at("2026-06-03 00:00:00Z"));
}

static void
test_retention__window(void **state)
{
	(void) state;
	retention.policy.daily = 1;
	retention.policy.window_us = 7 * DAY_US;
	add_set("2026-06-01 00:00:00Z", "postgres");
	add_set("2026-06-08 00:00:00Z", "postgres"); /* the newest from which 7 days can be reached */
	add_set("2026-06-09 00:00:00Z", "postgres");
	add_set("2026-06-15 00:00:00Z", "postgres");
	judge();
	assert_why(0, "expires: no rule wants it");
	assert_why(1, "kept: the recovery window of 7 days begins here");
	assert_why(2, "expires: no rule wants it");
	assert_why(3, "kept: daily 1 of 1");
	assert_true(mb_verdict_window_us(&verdict, "postgres") == at("2026-06-08 00:00:00Z"));
}

static void
test_retention__pins(void **state)
{
	(void) state;
	retention.policy.last = 1;
	json_object_set_new(add_set("2020-01-01 00:00:00Z", "postgres"), "pin",
						json_pack("{s:s,s:s}", "time", "2026-01-01T00:00:00.000000Z", "reason",
								  "audit"));
	json_object_set_new(add_set("2020-02-01 00:00:00Z", "postgres"), "pin",
						json_pack("{s:s,s:s}", "time", "2026-01-01T00:00:00.000000Z", "until",
								  "2026-06-15T12:00:00.000001Z"));
	json_object_set_new(add_set("2020-03-01 00:00:00Z", "postgres"), "pin",
						json_pack("{s:s,s:s}", "time", "2026-01-01T00:00:00.000000Z", "until",
								  "2026-06-15T12:00:00.000000Z"));
	add_set("2026-06-01 00:00:00Z", "postgres");
	judge();
	assert_why(0, "kept: pinned since 2026-01-01T00:00:00Z: audit");
	assert_why(1, "kept: pinned since 2026-01-01T00:00:00Z until 2026-06-15T12:00:00Z");
	assert_why(2, "expires: no rule wants it");
	assert_true(mb_verdict_window_us(&verdict, "postgres") == at("2026-06-01 00:00:00Z"));
}

/* They are told, and do not push out what is there. */
static void
test_retention__from_the_future(void **state)
{
	(void) state;
	retention.policy.last = 1;
	add_set("2026-06-01 00:00:00Z", "postgres");
	add_set("2027-01-01 00:00:00Z", "postgres");
	judge();
	assert_why(0, "kept: last 1 of 1");
	assert_why(1, "kept: it is from the future by the repository's clock");
}

static void
test_retention__damaged_documents(void **state)
{
	(void) state;
	retention.policy.last = 1;
	mb_json_set_str(add_set("2020-01-01 00:00:00Z", ""), "status", "damaged");
	add_set("2026-06-01 00:00:00Z", "postgres");
	judge();
	assert_true(verdict.is_damaged && verdict.sets[0].is_kept);
	assert_why(0, "kept: it cannot be read, so nobody knows what it holds");
}

static void
test_retention__locked(void **state)
{
	(void) state;
	retention.policy.last = 1;
	retention.lock_us = 20 * DAY_US;
	add_set("2026-05-20 00:00:00Z", "postgres");
	add_set("2026-06-01 00:00:00Z", "postgres");
	add_set("2026-06-02 00:00:00Z", "postgres");
	judge();
	assert_why(0, "expires: no rule wants it");
	assert_why(1, "kept: the bucket locks it until about 2026-06-21T00:00:00Z");
}

static void
test_retention__marks(void **state)
{
	static const char *const times[] = {"2026-05-02 00:00:00Z", "2026-06-02 00:00:00Z"};
	char ids[2][MB_ID_TEXT];
	size_t i;

	(void) state;
	retention.policy.last = 1;
	add_set("2026-05-01 00:00:00Z", "postgres");
	add_set("2026-05-03 00:00:00Z", "postgres");
	add_set("2026-06-01 00:00:00Z", "postgres");
	for (i = 0; i < 2; i++)
	{
		mb_id_new(ids[i], at(times[i]));
		json_array_append_new(marks,
							  json_pack("{s:s,s:s,s:{s:s}}", "id", ids[i], "name",
										i ? "new" : "old", "bases", "postgres",
										mb_json_str(json_array_get(sets, i ? 2 : 0), "id", "")));
	}
	judge();
	assert_string_equal(why(verdict.marks[0].why), "expires: the recovery window begins after it");
	assert_string_equal(why(verdict.marks[1].why), "kept: it is inside the recovery window");
	assert_why(0, "expires: no rule wants it");
	/* Pinned it keeps what it starts from, and nothing else. */
	mb_verdict_release(&verdict);
	json_object_set_new(json_array_get(marks, 0), "pin", json_object());
	judge();
	assert_true(verdict.marks[0].is_kept);
	assert_why(0, "kept: the mark \"old\" starts from it");
	assert_why(1, "expires: no rule wants it");
	assert_true(mb_verdict_window_us(&verdict, "postgres") == at("2026-06-01 00:00:00Z"));
}

#define RETENTION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RETENTION_TEST(test_retention__without_a_policy),
		RETENTION_TEST(test_retention__days_and_last),
		RETENTION_TEST(test_retention__periods),
		RETENTION_TEST(test_retention__hours_and_one_of_each),
		RETENTION_TEST(test_retention__partial_sets),
		RETENTION_TEST(test_retention__never_the_last_whole_one),
		RETENTION_TEST(test_retention__a_policy_of_its_own),
		RETENTION_TEST(test_retention__window),
		RETENTION_TEST(test_retention__pins),
		RETENTION_TEST(test_retention__from_the_future),
		RETENTION_TEST(test_retention__damaged_documents),
		RETENTION_TEST(test_retention__locked),
		RETENTION_TEST(test_retention__marks),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

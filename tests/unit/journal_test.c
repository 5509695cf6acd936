/* journal_test.c - reading events, and finding them again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "objectstore/journal.h"

#define RECORD(name, time, key, id, sequencer)                             \
	"{\"eventName\":\"" name "\",\"eventTime\":\"" time                    \
	"\",\"s3\":{\"bucket\":{\"name\":\"shop\"},\"object\":{\"key\":\"" key \
	"\",\"versionId\":\"" id "\",\"sequencer\":\"" sequencer "\"}}}"

static enum mb_code
parse(struct mb_events *events, const char *text, unsigned flags, const char *prefix)
{
	struct mb_error err;

	return mb_events_parse(events, text, strlen(text), flags, "shop", prefix, 0, &err);
}

static void
test_journal__tells_when_a_version_came_and_went(void **state)
{
	struct mb_events events = {0};
	const struct mb_event *of_key;
	size_t count;

	(void) state;
	assert_int_equal(parse(&events,
						   "{\"Records\":[" RECORD(
							   "s3:ObjectCreated:Put", "2026-11-24T10:00:00.123Z", "b", "v1",
							   "18AAF0B2C1D2E3F4") "," RECORD("s3:ObjectRemoved:Delete",
															  "2026-11-24T10:00:01.500Z", "b", "v1",
															  "18AAF0B300000000") "]}",
						   0, ""),
					 MB_OK);
	assert_int_equal(parse(&events,
						   "{\"Records\":[" RECORD("s3:ObjectCreated:PutTagging",
												   "2026-11-24T10:00:02Z", "a", "v9",
												   "18AAF0B2C1D2E3F4") "]}",
						   0, ""),
					 MB_OK);
	mb_events_sort(&events);
	of_key = mb_events_of(&events, "b", &count);
	assert_int_equal(count, 2);
	assert_int_equal(of_key[0].kind, MB_EVENT_CREATED);
	assert_int_equal(of_key[1].kind, MB_EVENT_ERASED);
	assert_int_equal(mb_events_version_ns(&events, "b", "v1"), UINT64_C(0x18AAF0B2C1D2E3F4));
	assert_int_equal(mb_events_version_ns(&events, "b", "v2"), 0);
	assert_int_equal(mb_events_erased_us(&events, "b", "v1") % 1000000, 500000);
	/* Tags change in place: no version came to be. */
	of_key = mb_events_of(&events, "a", &count);
	assert_int_equal(count, 1);
	assert_int_equal(of_key[0].kind, MB_EVENT_TOUCHED);
	assert_int_equal(mb_events_version_ns(&events, "a", "v9"), 0);
	assert_null(mb_events_of(&events, "c", &count));
	mb_events_release(&events);
}

static void
test_journal__takes_pings_and_leaves_others_out(void **state)
{
	struct mb_events events = {0};

	(void) state;
	assert_int_equal(parse(&events, "{\"Records\":null}", 0, ""), MB_OK);
	assert_int_equal(parse(&events,
						   "{\"Records\":[" RECORD("s3:ObjectCreated:Put", "2026-11-24T10:00:00Z",
												   "other/x", "v", "0") "]}",
						   0, "mine/"),
					 MB_OK);
	assert_int_equal(events.count, 0);
	assert_int_equal(parse(&events, "{\"Rec", 0, ""), MB_CORRUPT);
	assert_int_equal(parse(&events, "{\"Records\":7}", 0, ""), MB_CORRUPT);
	mb_events_release(&events);
}

/* Targets get keys encoded, listeners get them plain: '+' and '%' tell. */
static void
test_journal__decodes_keys_of_targets_only(void **state)
{
	static const char *const text =
		"{\"Records\":[" RECORD("s3:ObjectCreated:Put", "2026-11-24T10:00:00Z", "a+b%2Bc", "v",
								"1") "]}";
	struct mb_events plain = {0}, encoded = {0};

	(void) state;
	assert_int_equal(parse(&plain, text, 0, ""), MB_OK);
	assert_int_equal(parse(&encoded, text, MB_EVENT_KEYS_ENCODED, ""), MB_OK);
	assert_string_equal(plain.items[0].key, "a+b%2Bc");
	assert_string_equal(encoded.items[0].key, "a b+c");
	/* A sequencer of another server is no time. */
	assert_int_equal(plain.items[0].version_ns, 0);
	mb_events_release(&plain);
	mb_events_release(&encoded);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_journal__tells_when_a_version_came_and_went),
		cmocka_unit_test(test_journal__takes_pings_and_leaves_others_out),
		cmocka_unit_test(test_journal__decodes_keys_of_targets_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

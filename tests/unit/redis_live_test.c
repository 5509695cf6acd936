/* redis_live_test.c - key patterns, replies, and what INFO and payloads say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "redis/live.h"

static bool
glob(const char *pattern, const char *key)
{
	return mb_redis_glob(pattern, strlen(pattern), key, strlen(key));
}

static void
test_glob__is_that_of_keys(void **state)
{
	(void) state;
	assert_true(glob("*", ""));
	assert_true(glob("", ""));
	assert_false(glob("", "a"));
	assert_true(glob("a*c", "ac"));
	assert_true(glob("a*b*c", "aXbYbZc"));
	assert_false(glob("a*b*c", "aXbYbZ"));
	assert_true(glob("h?llo", "hello"));
	assert_false(glob("h?llo", "hllo"));
	assert_true(glob("[a-c]x", "bx"));
	assert_true(glob("[c-a]x", "bx"));
	assert_false(glob("[^a-c]x", "bx"));
	assert_true(glob("[^a-c]x", "dx"));
	assert_true(glob("[\\]]", "]"));
	assert_true(glob("[ab", "b"));
	assert_false(glob("[ab", "c"));
	assert_true(glob("\\*", "*"));
	assert_false(glob("\\*", "a"));
	assert_true(glob("a\\", "a\\"));
	assert_false(glob("[", "a"));
	assert_true(glob("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaab"));
	assert_false(glob("*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

static void
test_glob__keys_are_bytes(void **state)
{
	(void) state;
	assert_true(mb_redis_glob("a*", 2, "a\0\n\xff", 4));
	assert_true(mb_redis_glob("a??\xff", 4, "a\0\n\xff", 4));
	assert_false(mb_redis_glob("a?", 2, "a\0\n", 3));
}

static void
test_only__a_number_in_front_is_a_database(void **state)
{
	struct mb_redis_only only[2];
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	assert_int_equal(mb_redis_only_parse(&only[0], "3:cart:*", &err), MB_OK);
	assert_int_equal(only[0].db, 3);
	assert_string_equal(only[0].pattern, "cart:*");
	assert_int_equal(mb_redis_only_parse(&only[1], "[3]:x", &err), MB_OK);
	assert_int_equal(only[1].db, MB_GLOB_EVERY_DB);
	assert_true(mb_redis_only_match(only, 2, 3, "cart:1", 6));
	assert_false(mb_redis_only_match(only, 2, 0, "cart:1", 6));
	assert_true(mb_redis_only_match(only, 2, 7, "3:x", 3));
	assert_true(mb_redis_only_match(only, 0, 7, "", 0));
	assert_true(mb_redis_only_db(only, 1, 3));
	assert_false(mb_redis_only_db(only, 1, 0));
	assert_true(mb_redis_only_db(only, 2, 0));
	assert_int_equal(mb_redis_only_parse(&only[0], "3:", &err), MB_CONFIG);
	assert_int_equal(mb_redis_only_parse(&only[0], "", &err), MB_CONFIG);
	assert_int_equal(mb_redis_only_parse(&only[0], "99999999999999999999:a", &err), MB_CONFIG);
}

static void
test_pipe__replies_of_any_bytes(void **state)
{
	static const char bytes[] = "$5\r\na\r\nb\0\r\n:-7\r\n*2\r\n$-1\r\n-ERR no\r\n";
	const size_t steps[] = {11, 5, 4, 5, 9};
	const enum mb_redis_type types[] = {MB_REDIS_STRING, MB_REDIS_INTEGER, MB_REDIS_ARRAY,
										MB_REDIS_NIL, MB_REDIS_ERROR};
	struct mb_pipe_reply reply;
	struct mb_error err;
	size_t at = 0, used, len, i;

	(void) state;
	mb_error_clear(&err);
	for (i = 0; i < 5; i++)
	{
		for (len = 1; len < steps[i]; len++)
		{
			assert_int_equal(mb_pipe_parse(bytes + at, len, &reply, &used, &err), MB_OK);
			assert_int_equal(used, 0);
		}
		assert_int_equal(mb_pipe_parse(bytes + at, sizeof(bytes) - 1 - at, &reply, &used, &err),
						 MB_OK);
		assert_int_equal(used, steps[i]);
		assert_int_equal(reply.type, types[i]);
		if (i == 0)
		{
			assert_int_equal(reply.len, 5);
			assert_memory_equal(reply.data, "a\r\nb\0", 5);
		}
		if (i == 1)
			assert_int_equal(reply.integer, -7);
		at += used;
	}
}

static void
test_pipe__what_is_no_reply_is_corrupt(void **state)
{
	static const char *const bad[] = {"hello\r\n", "$x\r\n",          "$\r\n",
									  ":1\n",      "*9999999999\r\n", "$99999999999999\r\n"};
	struct mb_pipe_reply reply;
	struct mb_error err;
	size_t used, i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mb_pipe_parse(bad[i], strlen(bad[i]), &reply, &used, &err), MB_CORRUPT);
}

static void
test_pipe__commands_carry_lengths(void **state)
{
	struct mb_pipe pipe = {0};

	(void) state;
	mb_pipe_add_texts(&pipe, "SELECT", "3", NULL);
	mb_pipe_add(&pipe, (struct mb_word[]){{"DUMP", 4}, {"a\0b", 3}}, 2);
	assert_int_equal(pipe.out.len, 23 + 23);
	assert_memory_equal(pipe.out.data,
						"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*2\r\n$4\r\nDUMP\r\n$3\r\na\0b\r\n",
						pipe.out.len);
	mb_pipe_release(&pipe);
}

static void
test_live__databases_of_info(void **state)
{
	struct mb_live_dbs dbs = {0};

	(void) state;
	mb_live_dbs_parse(&dbs, "# Keyspace\r\ndb0:keys=12,expires=1,avg_ttl=0\r\n"
							"db15:keys=3,expires=0,avg_ttl=0\r\n");
	assert_int_equal(dbs.count, 2);
	assert_int_equal(mb_live_dbs_keys(&dbs, 15), 3);
	assert_int_equal(mb_live_dbs_keys(&dbs, 1), 0);
	assert_int_equal(mb_live_dbs_total(&dbs), 15);
	mb_live_dbs_release(&dbs);
	mb_live_dbs_parse(&dbs, "# Keyspace\r\n");
	assert_int_equal(dbs.count, 0);
	mb_live_dbs_release(&dbs);
}

static void
test_live__version_of_a_payload(void **state)
{
	unsigned char bytes[] = {0, 'x', 12, 1, 1, 2, 3, 4, 5, 6, 7, 8};
	struct mb_buf payload = {.data = bytes, .len = sizeof(bytes)};

	(void) state;
	assert_int_equal(mb_live_payload_version(&payload), 0x10c);
	payload.len = 9;
	assert_int_equal(mb_live_payload_version(&payload), 0);
}

static void
test_live__destinations(void **state)
{
	(void) state;
	assert_true(mb_live_is_destination("redis://127.0.0.1:1"));
	assert_true(mb_live_is_destination("unix:///run/redis.sock"));
	assert_false(mb_live_is_destination("/srv/redis"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_glob__is_that_of_keys),
		cmocka_unit_test(test_glob__keys_are_bytes),
		cmocka_unit_test(test_only__a_number_in_front_is_a_database),
		cmocka_unit_test(test_pipe__replies_of_any_bytes),
		cmocka_unit_test(test_pipe__what_is_no_reply_is_corrupt),
		cmocka_unit_test(test_pipe__commands_carry_lengths),
		cmocka_unit_test(test_live__databases_of_info),
		cmocka_unit_test(test_live__version_of_a_payload),
		cmocka_unit_test(test_live__destinations),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

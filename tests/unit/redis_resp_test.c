/* redis_resp_test.c - the scanner over a replication stream, and the payload frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "redis/replica.h"
#include "redis/resp.h"

#define SELECT3 "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
#define SET "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\nab\r\n"
#define PING "*1\r\n$4\r\nPING\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nexec\r\n"
#define EMPTY_ARGUMENT "*2\r\n$4\r\nINCR\r\n$0\r\n\r\n"

static const char story[] = SELECT3 SET PING MULTI SET EMPTY_ARGUMENT EXEC SET PING;

/* Feed in two pieces, cut at `at`. */
static void
feed_split(struct mb_resp *resp, const char *data, size_t len, size_t at)
{
	struct mb_error err;

	mb_error_clear(&err);
	mb_resp_init(resp, 1000, MB_RESP_DB_UNKNOWN, false);
	assert_int_equal(mb_resp_feed(resp, data, at, &err), MB_OK);
	assert_int_equal(mb_resp_feed(resp, data + at, len - at, &err), MB_OK);
}

static void
test_resp__every_split_is_the_same(void **state)
{
	size_t len = sizeof(story) - 1, at;
	struct mb_resp resp;

	(void) state;
	for (at = 0; at <= len; at++)
	{
		feed_split(&resp, story, len, at);
		assert_int_equal(resp.offset, 1000 + len);
		assert_int_equal(resp.command, 1000 + len);
		assert_int_equal(resp.last_write, 1000 + len - strlen(PING));
		assert_int_equal(resp.commands, 9);
		assert_int_equal(resp.db, 3);
		assert_true(mb_resp_at_boundary(&resp));
	}
}

static void
test_resp__boundaries_are_the_ends_of_commands_outside_multi(void **state)
{
	/* Where a cut may be: counted by hand from the pieces of the story. */
	static const char *const parts[] = {SELECT3, SET, PING, MULTI SET EMPTY_ARGUMENT EXEC,
										SET,     PING};
	size_t len = sizeof(story) - 1, at, part = 0, next = strlen(parts[0]);
	struct mb_resp resp;
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	mb_resp_init(&resp, 0, 0, false);
	assert_true(mb_resp_at_boundary(&resp));
	for (at = 1; at <= len; at++)
	{
		assert_int_equal(mb_resp_feed(&resp, story + at - 1, 1, &err), MB_OK);
		assert_int_equal(mb_resp_at_boundary(&resp), at == next);
		if (at == next && at < len)
			next += strlen(parts[++part]);
	}
	assert_int_equal(part, 5);
}

static void
test_resp__state_inside_multi_is_kept(void **state)
{
	struct mb_resp resp;

	(void) state;
	feed_split(&resp, MULTI SET, strlen(MULTI SET), 7);
	assert_true(resp.in_multi);
	assert_int_equal(resp.boundary, 1000);
	assert_int_equal(resp.command, 1000 + strlen(MULTI SET));
	assert_false(mb_resp_at_boundary(&resp));
}

static void
test_resp__damage_is_corrupt(void **state)
{
	static const char *const bad[] = {
		"SET k v\r\n",
		"\n",
		"*0\r\n",
		"*-1\r\n",
		"*\r\n",
		"*3\r$",
		"*2147483648\r\n",
		"*1\r\n*1\r\n",
		"*1\r\n$-1\r\n",
		"*1\r\n$1099511627777\r\n",
		"*1\r\n$99999999999999999999\r\n",
		"*1\r\n$00000000000000000000000000000001\r\n",
		"*1\r\n$4\r\nPINGS\r\n",
		"*1\r\n$4\r\nPING\rx",
		"*1\r\n$4\r\nEXEC\r\n",
		MULTI MULTI,
		"*2\r\n$6\r\nSELECT\r\n$1\r\nx\r\n",
		"*1\r\n$6\r\nSELECT\r\n",
		"*2\r\n$6\r\nSELECT\r\n$10\r\n9999999999\r\n",
	};
	size_t i, j;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (j = 0; j < 2; j++)
		{
			size_t len = strlen(bad[i]), at = 0, step = j == 0 ? len : 1;
			struct mb_resp resp;
			struct mb_error err;
			enum mb_code code = MB_OK;

			mb_error_clear(&err);
			mb_resp_init(&resp, 0, 0, false);
			for (; !code && at < len; at += step)
				code = mb_resp_feed(&resp, bad[i] + at, step, &err);
			assert_int_equal(code, MB_CORRUPT);
		}
}

static void
test_resp__a_huge_argument_takes_no_memory(void **state)
{
	static const char head[] = "*2\r\n$3\r\nSET\r\n$1099511627776\r\n";
	static char body[1 << 16];
	struct mb_resp resp;
	struct mb_error err;
	int i;

	(void) state;
	mb_error_clear(&err);
	mb_resp_init(&resp, 0, 0, false);
	assert_int_equal(mb_resp_feed(&resp, head, sizeof(head) - 1, &err), MB_OK);
	for (i = 0; i < 1000; i++)
		assert_int_equal(mb_resp_feed(&resp, body, sizeof(body), &err), MB_OK);
	assert_int_equal(resp.offset, sizeof(head) - 1 + 1000 * sizeof(body));
	assert_int_equal(resp.command, 0);
}

/* -- the payload frame ------------------------------------------------------------------------ */

#define MARK "0123456789abcdefghijklmnopqrstuvwxyzABCD"
#define LURE "012345678" MARK_PART
#define MARK_PART "0123456789abcdefghijklmnopqrstuvwxyzABC" /* all but the last byte of the mark */

struct sink
{
	char data[4096];
	size_t len;
};

static enum mb_code
keep(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct sink *sink = ctx;

	(void) err;
	assert_true(sink->len + len <= sizeof(sink->data));
	memcpy(sink->data + sink->len, data, len);
	sink->len += len;
	return MB_OK;
}

/* Feed input cut in two; returns how much belonged to the payload. */
static size_t
feed_payload(const char *header, const char *input, size_t len, size_t at, struct sink *sink)
{
	static struct mb_payload payload;
	struct mb_error err;
	size_t used, total;

	mb_error_clear(&err);
	sink->len = 0;
	assert_int_equal(mb_payload_begin(&payload, header, &err), MB_OK);
	assert_int_equal(mb_payload_feed(&payload, input, at, keep, sink, &used, &err), MB_OK);
	total = used;
	if (!payload.ended)
	{
		assert_int_equal(used, at);
		assert_int_equal(mb_payload_feed(&payload, input + at, len - at, keep, sink, &used, &err),
						 MB_OK);
		total += used;
	}
	assert_true(payload.ended);
	return total;
}

static void
test_replica__a_mark_may_straddle_reads(void **state)
{
	static const char data[] = "REDIS0010" LURE "tail of the data";
	static const char input[] = "REDIS0010" LURE "tail of the data" MARK PING;
	size_t len = sizeof(input) - 1, at;
	struct sink sink;

	(void) state;
	for (at = 0; at <= len; at++)
	{
		assert_int_equal(feed_payload("EOF:" MARK, input, len, at, &sink), len - strlen(PING));
		assert_int_equal(sink.len, sizeof(data) - 1);
		assert_memory_equal(sink.data, data, sink.len);
	}
}

static void
test_replica__a_length_ends_the_payload(void **state)
{
	static const char input[] = "0123456789" PING;
	size_t at;
	struct sink sink;

	(void) state;
	for (at = 0; at < sizeof(input); at++)
	{
		assert_int_equal(feed_payload("10", input, sizeof(input) - 1, at, &sink), 10);
		assert_int_equal(sink.len, 10);
	}
}

static void
test_replica__bad_payload_headers_are_refused(void **state)
{
	static const char *const bad[] = {"",    "EOF:short", "EOF:" MARK "x",       "-1",
									  "12x", "x",         "99999999999999999999"};
	static struct mb_payload payload;
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		mb_error_clear(&err);
		assert_int_equal(mb_payload_begin(&payload, bad[i], &err), MB_CORRUPT);
	}
}

/* -- addresses and INFO ------------------------------------------------------------------------- */

static void
test_connection__urls(void **state)
{
	struct mb_redis_url url = {0};
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	assert_int_equal(mb_redis_url_parse(&url, "redis://bob@example.org:7000/3", &err), MB_OK);
	assert_string_equal(url.host, "example.org");
	assert_string_equal(url.user, "bob");
	assert_int_equal(url.port, 7000);
	assert_int_equal(url.db, 3);
	mb_redis_url_release(&url);
	assert_int_equal(mb_redis_url_parse(&url, "redis://[::1]", &err), MB_OK);
	assert_string_equal(url.host, "::1");
	assert_int_equal(url.port, 6379);
	mb_redis_url_release(&url);
	assert_int_equal(mb_redis_url_parse(&url, "unix:///run/redis.sock", &err), MB_OK);
	assert_string_equal(url.path, "/run/redis.sock");
	mb_redis_url_release(&url);
	assert_int_equal(mb_redis_url_parse(&url, "rediss://host", &err), MB_OK);
	assert_true(url.tls);
	assert_string_equal(url.host, "host");
	mb_redis_url_release(&url);
	assert_int_equal(mb_redis_url_parse(&url, "sentinel+tls://bob@a:1,[::1]:2,c/my.master", &err),
					 MB_OK);
	assert_string_equal(url.master, "my.master");
	assert_string_equal(url.user, "bob");
	assert_null(url.host);
	assert_int_equal(url.seed_count, 3);
	assert_string_equal(url.seeds[1].host, "::1");
	assert_int_equal(url.seeds[1].port, 2);
	assert_int_equal(url.seeds[2].port, 26379);
	assert_true(url.tls && url.seeds[2].tls);
	mb_redis_url_release(&url);
	assert_int_equal(mb_redis_url_parse(&url, "sentinel://a:1", &err), MB_CONFIG);
	assert_int_equal(mb_redis_url_parse(&url, "sentinel://a:1/", &err), MB_CONFIG);
	assert_int_equal(mb_redis_url_parse(&url, "sentinel:///name", &err), MB_CONFIG);
	assert_int_equal(mb_redis_url_parse(&url, "sentinel://:geheim@a/name", &err), MB_CONFIG);
	assert_null(strstr(err.message, "geheim"));
	assert_int_equal(mb_redis_url_parse(&url, "redis://:geheim@host", &err), MB_CONFIG);
	assert_null(strstr(err.message, "geheim"));
	assert_int_equal(mb_redis_url_parse(&url, "redis://host:70000", &err), MB_CONFIG);
	assert_int_equal(mb_redis_url_parse(&url, "redis://", &err), MB_CONFIG);
	assert_int_equal(mb_redis_url_parse(&url, "localhost", &err), MB_CONFIG);
}

#define ID1 "1111111111111111111111111111111111111111"
#define ID2 "2222222222222222222222222222222222222222"

static void
test_point__serves_only_what_the_backlog_has(void **state)
{
	struct mb_redis_point point = {.replid = ID1,
								   .replid2 = ID2,
								   .until = 150,
								   .offset = 200,
								   .backlog = true,
								   .backlog_first = 101,
								   .backlog_end = 200};

	(void) state;
	assert_true(mb_redis_point_serves(&point, ID1, 100));
	assert_false(mb_redis_point_serves(&point, ID1, 99));
	assert_true(mb_redis_point_serves(&point, ID1, 200));
	assert_false(mb_redis_point_serves(&point, ID1, 201));
	assert_true(mb_redis_point_serves(&point, ID2, 150));
	assert_false(mb_redis_point_serves(&point, ID2, 151));
	point.backlog = false;
	assert_false(mb_redis_point_serves(&point, ID1, 150));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resp__every_split_is_the_same),
		cmocka_unit_test(test_resp__boundaries_are_the_ends_of_commands_outside_multi),
		cmocka_unit_test(test_resp__state_inside_multi_is_kept),
		cmocka_unit_test(test_resp__damage_is_corrupt),
		cmocka_unit_test(test_resp__a_huge_argument_takes_no_memory),
		cmocka_unit_test(test_replica__a_mark_may_straddle_reads),
		cmocka_unit_test(test_replica__a_length_ends_the_payload),
		cmocka_unit_test(test_replica__bad_payload_headers_are_refused),
		cmocka_unit_test(test_connection__urls),
		cmocka_unit_test(test_point__serves_only_what_the_backlog_has),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

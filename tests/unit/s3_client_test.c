/*
 * s3_client_test.c - the client of objectstore/s3.h against the server that S3_ENDPOINT, S3_ACCESS and
 * S3_SECRET name, in the bucket S3_BUCKET that exists.  Run by tests/integration/600_s3_client.t,
 * also through a proxy that does harm (S3_HARM: only what must hold then).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/time.h"
#include "objectstore/s3.h"

static const char *bucket;

static struct mb_s3 *
open_client(const char *secret, int64_t stall_ms, int64_t deadline_ms, unsigned max_requests)
{
	struct mb_secret key = {0};
	struct mb_credentials_options credentials = {.source = "static",
												 .access_key = getenv("S3_ACCESS"),
												 .secret_key = &key};
	struct mb_s3_options options = {.endpoint = getenv("S3_ENDPOINT"),
									.ca_file = getenv("S3_CA"),
									.stall_ms = stall_ms,
									.deadline_ms = deadline_ms,
									.max_requests = max_requests};
	struct mb_error err;
	struct mb_s3 *s3;

	mb_secret_set(&key, secret, strlen(secret));
	options.credentials = mb_credentials_new(&credentials);
	if (mb_s3_new(&s3, &options, &err))
		fail_msg("%s", err.message);
	mb_secret_release(&key);
	return s3;
}

static struct mb_s3 *
client(void)
{
	return open_client(getenv("S3_SECRET"), 0, 0, 0);
}

static enum mb_code
put(struct mb_s3 *s3, const char *key, const void *data, size_t len, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT",
						  .bucket = bucket,
						  .key = key,
						  .body = data,
						  .body_len = len};
	enum mb_code code;

	mb_s3_op_header(&op, "content-type", "text/x-test");
	mb_s3_op_header(&op, "x-amz-meta-a-b", "two");
	mb_s3_op_header(&op, "x-amz-meta-a", "one");
	code = mb_s3_perform(s3, &op, err);
	mb_s3_op_release(&op);
	return code;
}

static void
must(enum mb_code code, const struct mb_error *err)
{
	if (code)
		fail_msg("%s", err->message);
}

/* -- a server that behaves -------------------------------------------------------------------------- */

static void
test_s3__keeps_any_key(void **state)
{
	static const char *const keys[] =
		{"plain",           "a+b c%20d",          "\xc3\xa9\xe2\x82\xac",
		 "tab\there",       "back\\slash",        "q?x=1&y#frag",
		 "a'b!(c)*~$,;:@=", "deep/er/and/deeper", "dot./..x/.hidden",
		 "%2F%00%zz"};
	struct mb_s3 *s3 = client();
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		struct mb_s3_op op = {.method = "GET", .bucket = bucket, .key = keys[i]};

		must(put(s3, keys[i], keys[i], strlen(keys[i]), &err), &err);
		must(mb_s3_perform(s3, &op, &err), &err);
		assert_int_equal(op.http.response.body.len, strlen(keys[i]));
		assert_memory_equal(op.http.response.body.data, keys[i], strlen(keys[i]));
		assert_string_equal(mb_s3_op_answer(&op, "content-type"), "text/x-test");
		assert_string_equal(mb_s3_op_answer(&op, "x-amz-meta-a"), "one");
		assert_string_equal(mb_s3_op_answer(&op, "x-amz-meta-a-b"), "two");
		assert_null(mb_s3_op_answer(&op, "x-amz-meta-c"));
		mb_s3_op_release(&op);
	}
	mb_s3_free(s3);
}

/* Queries that are signed wrongly elsewhere: no value, '+' and '%' in one, out of order. */
static void
test_s3__signs_any_query(void **state)
{
	struct mb_s3 *s3 = client();
	struct mb_s3_op op = {.method = "GET", .bucket = bucket};
	struct mb_error err;

	(void) state;
	must(put(s3, "sig/a+b %c", "x", 1, &err), &err);
	mb_s3_op_query(&op, "versions", NULL);
	mb_s3_op_query(&op, "prefix", "sig/a+b %");
	mb_s3_op_query(&op, "encoding-type", "url");
	mb_s3_op_query(&op, "max-keys", "10");
	must(mb_s3_perform(s3, &op, &err), &err);
	assert_non_null(strstr(mb_buf_cstr(&op.http.response.body), "a%2Bb"));
	mb_s3_op_release(&op);
	mb_s3_free(s3);
}

static void
expect_failure(struct mb_s3 *s3, const char *where, const char *key, enum mb_code code,
			   const char *error_code)
{
	struct mb_s3_op op = {.method = "GET", .bucket = where, .key = key};
	struct mb_error err;

	assert_int_equal(mb_s3_perform(s3, &op, &err), code);
	assert_string_equal(op.error_code, error_code);
	assert_int_equal(op.attempts, 1);
	assert_true(err.message[0] != '\0');
	mb_s3_op_release(&op);
}

static void
test_s3__tells_failures_apart(void **state)
{
	struct mb_s3 *s3 = client();
	struct mb_s3 *stranger = open_client("not-the-secret-key", 0, 0, 0);
	struct mb_s3_op head = {.method = "HEAD", .bucket = bucket, .key = "none"};
	struct mb_error err;

	(void) state;
	expect_failure(s3, bucket, "none", MB_NOT_FOUND, "NoSuchKey");
	expect_failure(s3, "mb-no-such-bucket", "none", MB_NOT_FOUND, "NoSuchBucket");
	expect_failure(stranger, bucket, "none", MB_DENIED, "SignatureDoesNotMatch");
	assert_int_equal(mb_s3_perform(s3, &head, &err), MB_NOT_FOUND);
	mb_s3_op_release(&head);
	mb_s3_free(stranger);
	mb_s3_free(s3);
}

static void
test_s3__refuses_headers_with_line_breaks(void **state)
{
	struct mb_s3 *s3 = client();
	struct mb_s3_op op = {.method = "PUT", .bucket = bucket, .key = "evil"};
	struct mb_error err;

	(void) state;
	mb_s3_op_header(&op, "x-amz-meta-a", "1\r\nx-amz-acl: public-read");
	assert_int_equal(mb_s3_perform(s3, &op, &err), MB_CONFIG);
	assert_int_equal(op.attempts, 0);
	mb_s3_op_release(&op);
	mb_s3_free(s3);
}

static enum mb_code
count_bytes(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	size_t *left = ctx;

	(void) data;
	if (len > *left)
		return mb_fail(err, MB_NO_SPACE, "enough");
	*left -= len;
	return MB_OK;
}

static void
test_s3__bounds_answers(void **state)
{
	struct mb_s3 *s3 = client();
	size_t left = 100000, few = 10;
	struct mb_s3_op whole = {.method = "GET",
							 .bucket = bucket,
							 .key = "bytes",
							 .sink = count_bytes,
							 .sink_ctx = &left};
	struct mb_s3_op capped = {.method = "GET",
							  .bucket = bucket,
							  .key = "bytes",
							  .max_bytes = 99999};
	struct mb_s3_op refused = whole;
	struct mb_s3_op range = {.method = "GET", .bucket = bucket, .key = "bytes"};
	char *bytes = mb_calloc(1, 100000);
	struct mb_error err;

	(void) state;
	refused.sink_ctx = &few;
	must(put(s3, "bytes", bytes, 100000, &err), &err);
	must(mb_s3_perform(s3, &whole, &err), &err);
	assert_int_equal(left, 0);
	assert_int_equal(mb_s3_perform(s3, &capped, &err), MB_CORRUPT);
	assert_int_equal(mb_s3_perform(s3, &refused, &err), MB_NO_SPACE);
	mb_s3_op_header(&range, "range", "bytes=10-19");
	must(mb_s3_perform(s3, &range, &err), &err);
	assert_int_equal(range.http.response.body.len, 10);
	mb_s3_op_release(&whole);
	mb_s3_op_release(&capped);
	mb_s3_op_release(&refused);
	mb_s3_op_release(&range);
	mb_s3_free(s3);
	free(bytes);
}

/* -- many at once ------------------------------------------------------------------------------------ */

struct crowd
{
	struct mb_s3_lane *lane;
	char keys[64][32];
	struct mb_s3_op ops[64];
	unsigned next;
	unsigned total;
	unsigned done;
	unsigned failed;
};

static void
start_next(struct crowd *crowd, size_t slot)
{
	struct mb_s3_op *op = &crowd->ops[slot];

	snprintf(crowd->keys[slot], sizeof(crowd->keys[slot]), "crowd/%05u", crowd->next++);
	op->key = crowd->keys[slot];
	mb_s3_start(crowd->lane, op);
}

static void
count_done(struct mb_s3_op *op)
{
	struct crowd *crowd = op->ctx;

	crowd->done++;
	crowd->failed += op->code != MB_OK;
	if (crowd->next < crowd->total)
		start_next(crowd, (size_t) (op - crowd->ops));
}

/* More ops than connections, started from done(): none is lost, none is done twice. */
static void
test_s3__drives_a_crowd(void **state)
{
	struct mb_s3 *s3 = open_client(getenv("S3_SECRET"), 0, 0, 8);
	struct crowd *crowd = mb_calloc(1, sizeof(*crowd));
	struct mb_error err;
	size_t i;

	(void) state;
	crowd->lane = mb_s3_lane_open(s3);
	crowd->total = 500;
	for (i = 0; i < 64; i++)
	{
		crowd->ops[i] = (struct mb_s3_op){.method = "PUT",
										  .bucket = bucket,
										  .body = "body",
										  .body_len = 4,
										  .done = count_done,
										  .ctx = crowd};
		start_next(crowd, i);
	}
	must(mb_s3_run(crowd->lane, 0, &err), &err);
	assert_int_equal(crowd->done, 500);
	assert_int_equal(crowd->failed, 0);
	assert_int_equal(mb_s3_active(crowd->lane), 0);
	for (i = 0; i < 64; i++)
		mb_s3_op_release(&crowd->ops[i]);
	mb_s3_lane_close(crowd->lane);
	mb_s3_free(s3);
	free(crowd);
}

/* Both clocks are this machine's: the interval holds 0 and gets narrow. */
static void
test_s3__learns_the_clock(void **state)
{
	struct mb_s3 *s3 = client();
	int64_t low_us, high_us;
	struct mb_error err;
	int i;

	(void) state;
	assert_false(mb_s3_clock(s3, &low_us, &high_us));
	/* As many answers as it takes: where each is slow, more of them. */
	for (i = 0; i < 120 || (i < 2000 && high_us - low_us >= 100000); i++)
	{
		must(put(s3, "clock", "x", 1, &err), &err);
		assert_true(mb_s3_clock(s3, &low_us, &high_us));
		mb_sleep_ms(17);
	}
	print_message("# the clock lies in [%lld, %lld] us\n", (long long) low_us, (long long) high_us);
	/* A busy server writes its header before we get it; and a virtual machine's clock is slewed. */
	assert_true(low_us <= 50000 && high_us >= -50000);
	assert_true(high_us - low_us < 100000);
	mb_s3_free(s3);
}

static void
test_s3__stops_when_told(void **state)
{
	struct mb_cancel cancel = {0};
	struct mb_secret key = {0};
	struct mb_credentials_options credentials = {.source = "anonymous", .secret_key = &key};
	struct mb_s3_options options = {.endpoint = "http://127.0.0.1:1", .cancel = &cancel};
	struct mb_s3_op op = {.method = "GET", .bucket = bucket, .key = "k"};
	struct mb_error err;
	struct mb_s3 *s3;

	(void) state;
	options.credentials = mb_credentials_new(&credentials);
	must(mb_s3_new(&s3, &options, &err), &err);
	atomic_store(&cancel.signo, 15);
	assert_int_equal(mb_s3_perform(s3, &op, &err), MB_INTERRUPTED);
	mb_s3_op_release(&op);
	mb_s3_free(s3);
}

/* Nobody listens: tried again until the deadline, then UNREACHABLE. */
static void
test_s3__gives_up_at_the_deadline(void **state)
{
	struct mb_credentials_options credentials = {.source = "anonymous"};
	struct mb_s3_options options = {.endpoint = "http://127.0.0.1:1", .deadline_ms = 700};
	struct mb_s3_op op = {.method = "GET", .bucket = bucket, .key = "k"};
	int64_t started_ms = mb_monotonic_ms();
	struct mb_error err;
	struct mb_s3 *s3;

	(void) state;
	options.credentials = mb_credentials_new(&credentials);
	must(mb_s3_new(&s3, &options, &err), &err);
	assert_int_equal(mb_s3_perform(s3, &op, &err), MB_UNREACHABLE);
	assert_true(op.attempts > 1);
	assert_true(mb_monotonic_ms() - started_ms < 5000);
	mb_s3_op_release(&op);
	mb_s3_free(s3);
}

/* -- a server that does not behave -------------------------------------------------------------------- */

/* Put, read back, compare, remove: whatever happens on the way, what is acknowledged is there. */
static void
test_s3__survives_harm(void **state)
{
	struct mb_s3 *s3 = open_client(getenv("S3_SECRET"), 1000, 60000, 0);
	char *data = mb_malloc(300000);
	struct mb_error err;
	unsigned attempts = 0;
	int i;

	(void) state;
	mb_random(data, 300000);
	for (i = 0; i < 24; i++)
	{
		size_t len = i % 4 == 0 ? 300000 : 1000 + (size_t) i;
		struct mb_s3_op get = {.method = "GET", .bucket = bucket, .key = "harm"};
		struct mb_s3_op write = {.method = "PUT",
								 .bucket = bucket,
								 .key = "harm",
								 .body = data + i,
								 .body_len = len - (size_t) i,
								 .flags = MB_S3_XML_ANSWER};

		must(mb_s3_perform(s3, &write, &err), &err);
		must(mb_s3_perform(s3, &get, &err), &err);
		attempts += write.attempts + get.attempts;
		assert_int_equal(get.http.response.body.len, len - (size_t) i);
		assert_memory_equal(get.http.response.body.data, data + i, len - (size_t) i);
		mb_s3_op_release(&write);
		mb_s3_op_release(&get);
	}
	print_message("# %u attempts for 48 requests\n", attempts);
	assert_true(attempts > 48);
	mb_s3_free(s3);
	free(data);
}

/* S3_HARM=lost: the server does it, the answer is lost.  With ONCE nobody does it again. */
static void
test_s3__says_when_it_does_not_know(void **state)
{
	struct mb_s3 *s3 = open_client(getenv("S3_SECRET"), 1000, 5000, 0);
	struct mb_s3_op op = {.method = "PUT",
						  .bucket = bucket,
						  .key = "unclear",
						  .body = "x",
						  .body_len = 1,
						  .flags = MB_S3_ONCE};
	struct mb_error err;

	(void) state;
	assert_int_equal(mb_s3_perform(s3, &op, &err), MB_UNREACHABLE);
	assert_true(op.maybe_done);
	assert_int_equal(op.attempts, 1);
	mb_s3_op_release(&op);
	mb_s3_free(s3);
}

int
main(void)
{
	const struct CMUnitTest calm[] = {
		cmocka_unit_test(test_s3__keeps_any_key),
		cmocka_unit_test(test_s3__signs_any_query),
		cmocka_unit_test(test_s3__tells_failures_apart),
		cmocka_unit_test(test_s3__refuses_headers_with_line_breaks),
		cmocka_unit_test(test_s3__bounds_answers),
		cmocka_unit_test(test_s3__drives_a_crowd),
		cmocka_unit_test(test_s3__learns_the_clock),
		cmocka_unit_test(test_s3__stops_when_told),
		cmocka_unit_test(test_s3__gives_up_at_the_deadline),
	};
	const struct CMUnitTest harm[] = {cmocka_unit_test(test_s3__survives_harm)};
	const struct CMUnitTest lost[] = {cmocka_unit_test(test_s3__says_when_it_does_not_know)};
	const char *how = getenv("S3_HARM");

	bucket = getenv("S3_BUCKET");
	if (!bucket || !getenv("S3_ENDPOINT"))
	{
		puts("1..0 # SKIP tests/integration/600_s3_client.t runs it against real servers");
		return 0;
	}
	if (!how)
		return cmocka_run_group_tests(calm, NULL, NULL);
	return strcmp(how, "lost") == 0 ? cmocka_run_group_tests(lost, NULL, NULL)
									: cmocka_run_group_tests(harm, NULL, NULL);
}

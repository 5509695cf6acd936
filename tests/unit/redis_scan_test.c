/* redis_scan_test.c - an RDB made of payloads, fingerprints of keys, names for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/mem.h"
#include "redis/crc64.h"
#include "redis/key_set.h"
#include "redis/rdb.h"
#include "redis/rdb_write.h"
#include "redis/scan_dump.h"

static enum mb_code
gather(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	(void) err;
	mb_buf_put(ctx, data, len);
	return MB_OK;
}

/* What DUMP gives: type and value, version, checksum. */
static void
put_payload(struct mb_buf *out, const void *body, size_t len, unsigned version)
{
	size_t from = out->len;

	mb_buf_put(out, body, len);
	mb_buf_put_u16(out, (uint16_t) version);
	mb_buf_put_u64(out, mb_crc64(0, out->data + from, out->len - from));
}

static enum mb_code
write_payload(struct mb_rdb_writer *writer, const char *name, int64_t expiry_ms, const void *body,
			  size_t len, unsigned version, struct mb_error *err)
{
	struct mb_buf payload = {0};
	enum mb_code code;

	put_payload(&payload, body, len, version);
	code = mb_rdb_write_key(writer, name, strlen(name), expiry_ms, payload.data, payload.len, err);
	mb_buf_release(&payload);
	return code;
}

/* A string value of so many bytes, as RDB type 0. */
static void
put_value(struct mb_buf *out, size_t len)
{
	mb_buf_reset(out);
	mb_buf_put_u8(out, 0);
	mb_buf_put_u8(out, 0x80);
	mb_buf_put_u8(out, (uint8_t) (len >> 24));
	mb_buf_put_u8(out, (uint8_t) (len >> 16));
	mb_buf_put_u8(out, (uint8_t) (len >> 8));
	mb_buf_put_u8(out, (uint8_t) len);
	for (; len > 0; len--)
		mb_buf_put_u8(out, (uint8_t) (len * 7));
}

struct seen
{
	unsigned count;
	struct mb_rdb_key keys[8];
};

static void
note_key(void *ctx, const struct mb_rdb_key *key)
{
	struct seen *seen = ctx;

	assert_true(seen->count < 8);
	seen->keys[seen->count++] = *key;
}

static void
test_write__the_walker_takes_it(void **state)
{
	static const char functions[] = "\xf5\x05hello\xf5\x02yo";
	/* One length of each form, and a value larger than the buffer. */
	static const size_t sizes[] = {0, 63, 64, 16383, 16384, 200000, 3000000};
	struct mb_rdb_writer writer;
	struct mb_buf file = {0}, value = {0}, payload = {0};
	struct mb_rdb *walker = mb_rdb_new();
	struct seen seen = {0};
	struct mb_error err;
	size_t i;

	(void) state;
	mb_rdb_writer_init(&writer, gather, &file);
	assert_int_equal(mb_rdb_write_begin(&writer, MB_RDB_REDIS, 10, &err), MB_OK);
	assert_int_equal(mb_rdb_write_aux(&writer, "redis-ver", "7.0.15", &err), MB_OK);
	put_payload(&payload, functions, sizeof(functions) - 1, 10);
	assert_int_equal(mb_rdb_write_functions(&writer, payload.data, payload.len, &err), MB_OK);
	assert_int_equal(mb_rdb_write_select(&writer, 3, &err), MB_OK);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		char name[16];

		snprintf(name, sizeof(name), "key%zu", i);
		put_value(&value, sizes[i]);
		assert_int_equal(write_payload(&writer, name, i % 2 ? 1795000000123 : MB_RDB_NO_EXPIRY,
									   value.data, value.len, 10, &err),
						 MB_OK);
	}
	assert_int_equal(mb_rdb_write_end(&writer, &err), MB_OK);

	mb_rdb_on_key(walker, note_key, &seen);
	assert_int_equal(mb_rdb_feed(walker, file.data, file.len, &err), MB_OK);
	assert_int_equal(mb_rdb_finish(walker, &err), MB_OK);
	assert_true(mb_rdb_summary(walker)->has_checksum);
	assert_string_equal(mb_rdb_summary(walker)->magic, "REDIS0010");
	assert_string_equal(mb_rdb_summary(walker)->server, "7.0.15");
	assert_int_equal(mb_rdb_summary(walker)->functions, 2);
	assert_int_equal(seen.count, 7);
	for (i = 0; i < seen.count; i++)
	{
		assert_int_equal(seen.keys[i].db, 3);
		assert_int_equal(seen.keys[i].bytes, sizes[i] + 5);
		assert_int_equal(seen.keys[i].expires, i % 2);
		assert_int_equal(seen.keys[i].expiry_ms, i % 2 ? 1795000000123 : 0);
	}
	mb_rdb_free(walker);
	mb_rdb_writer_release(&writer);
	mb_buf_release(&file);
	mb_buf_release(&value);
	mb_buf_release(&payload);
}

static void
test_write__names_of_any_bytes_and_databases(void **state)
{
	static const unsigned char body[] = {0, 1, 'v'};
	struct mb_rdb_writer writer;
	struct mb_buf file = {0}, payload = {0};
	struct mb_rdb *walker = mb_rdb_new();
	struct seen seen = {0};
	struct mb_error err;

	(void) state;
	put_payload(&payload, body, sizeof(body), 11);
	mb_rdb_writer_init(&writer, gather, &file);
	assert_int_equal(mb_rdb_write_begin(&writer, MB_RDB_REDIS, 11, &err), MB_OK);
	assert_int_equal(mb_rdb_write_select(&writer, 15000, &err), MB_OK);
	assert_int_equal(mb_rdb_write_key(&writer, "", 0, 0, payload.data, payload.len, &err), MB_OK);
	assert_int_equal(mb_rdb_write_key(&writer, "a\0\xff\r\n", 5, 0, payload.data, payload.len,
									  &err),
					 MB_OK);
	assert_int_equal(mb_rdb_write_end(&writer, &err), MB_OK);
	mb_rdb_on_key(walker, note_key, &seen);
	assert_int_equal(mb_rdb_feed(walker, file.data, file.len, &err), MB_OK);
	assert_int_equal(mb_rdb_finish(walker, &err), MB_OK);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.keys[0].name_len, 0);
	assert_int_equal(seen.keys[1].db, 15000);
	assert_int_equal(seen.keys[1].name_len, 5);
	assert_memory_equal(seen.keys[1].name, "a\0\xff\r\n", 5);
	mb_rdb_free(walker);
	mb_rdb_writer_release(&writer);
	mb_buf_release(&file);
	mb_buf_release(&payload);
}

static void
test_write__damaged_payloads_are_refused(void **state)
{
	static const unsigned char body[] = {0, 3, 'a', 'b', 'c'};
	struct mb_rdb_writer writer;
	struct mb_buf file = {0}, payload = {0};
	struct mb_error err;
	unsigned version;
	size_t i;

	(void) state;
	put_payload(&payload, body, sizeof(body), 10);
	assert_int_equal(mb_rdb_payload_check(payload.data, payload.len, &version, &err), MB_OK);
	assert_int_equal(version, 10);
	for (i = 0; i < payload.len; i++)
	{
		payload.data[i] ^= 0x10;
		assert_int_equal(mb_rdb_payload_check(payload.data, payload.len, &version, &err),
						 MB_CORRUPT);
		payload.data[i] ^= 0x10;
		assert_int_equal(mb_rdb_payload_check(payload.data, i, &version, &err), MB_CORRUPT);
	}
	mb_rdb_writer_init(&writer, gather, &file);
	assert_int_equal(mb_rdb_write_begin(&writer, MB_RDB_REDIS, 11, &err), MB_OK);
	/* Of another version: the server was replaced in the middle. */
	assert_int_equal(mb_rdb_write_key(&writer, "k", 1, 0, payload.data, payload.len, &err),
					 MB_CONFLICT);
	/* Nothing but a footer is a payload of no functions, but no value. */
	mb_buf_reset(&payload);
	put_payload(&payload, "", 0, 11);
	assert_int_equal(mb_rdb_write_functions(&writer, payload.data, payload.len, &err), MB_OK);
	assert_int_equal(mb_rdb_write_key(&writer, "k", 1, 0, payload.data, payload.len, &err),
					 MB_CORRUPT);
	mb_rdb_writer_release(&writer);
	mb_buf_release(&file);
	mb_buf_release(&payload);
}

static void
test_write__magics(void **state)
{
	struct mb_rdb_writer writer;
	struct mb_buf file = {0};
	struct mb_error err;

	(void) state;
	mb_rdb_writer_init(&writer, gather, &file);
	assert_int_equal(mb_rdb_write_begin(&writer, MB_RDB_VALKEY, 80, &err), MB_OK);
	assert_int_equal(mb_rdb_write_end(&writer, &err), MB_OK);
	assert_memory_equal(file.data, "VALKEY080\xff", 10);
	assert_int_equal(mb_rdb_write_begin(&writer, MB_RDB_REDIS, 0, &err), MB_UNSUPPORTED);
	assert_int_equal(mb_rdb_write_begin(&writer, MB_RDB_REDIS, 10000, &err), MB_UNSUPPORTED);
	mb_rdb_writer_release(&writer);
	mb_buf_release(&file);
}

#define KEYS 300000

static void
test_key_set__says_once(void **state)
{
	/* Expected right, far too few, and far too many. */
	static const uint64_t expected[] = {KEYS, 0, KEYS * 20};
	char name[32];
	size_t e, i;

	(void) state;
	for (e = 0; e < 3; e++)
	{
		struct mb_key_set *set = mb_key_set_new(expected[e]);

		for (i = 0; i < KEYS; i++)
		{
			int len = snprintf(name, sizeof(name), "session:%zu", i);

			assert_true(mb_key_set_add(set, name, (size_t) len));
			assert_false(mb_key_set_add(set, name, (size_t) len));
		}
		for (i = 0; i < KEYS; i += 7)
		{
			int len = snprintf(name, sizeof(name), "session:%zu", i);

			assert_false(mb_key_set_add(set, name, (size_t) len));
		}
		assert_true(mb_key_set_add(set, "", 0));
		assert_false(mb_key_set_add(set, "", 0));
		assert_true(mb_key_set_add(set, "\0", 1));
		/* What the header promises. */
		if (expected[e] == KEYS)
			assert_in_range(mb_key_set_bytes(set), (size_t) KEYS * 8, (size_t) KEYS * 13);
		mb_key_set_free(set);
	}
	mb_key_set_free(NULL);
}

static void
test_key_text__for_people(void **state)
{
	char text[MB_KEY_TEXT], long_name[1000];

	(void) state;
	mb_key_text(text, "a b", 3);
	assert_string_equal(text, "a b");
	mb_key_text(text, "\0\"\\\xff\n", 5);
	assert_string_equal(text, "\\x00\\x22\\x5c\\xff\\x0a");
	mb_key_text(text, "", 0);
	assert_string_equal(text, "");
	memset(long_name, 0xff, sizeof(long_name));
	mb_key_text(text, long_name, sizeof(long_name));
	assert_true(strlen(text) < sizeof(text));
	assert_string_equal(text + strlen(text) - 3, "...");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write__the_walker_takes_it),
		cmocka_unit_test(test_write__names_of_any_bytes_and_databases),
		cmocka_unit_test(test_write__damaged_payloads_are_refused),
		cmocka_unit_test(test_write__magics),
		cmocka_unit_test(test_key_set__says_once),
		cmocka_unit_test(test_key_text__for_people),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

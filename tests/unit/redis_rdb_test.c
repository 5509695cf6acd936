/* redis_rdb_test.c - the RDB walker over files made by hand, one for each sort of value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/mem.h"
#include "redis/crc64.h"
#include "redis/rdb_stats.h"

/* -- building ---------------------------------------------------------------------------------- */

static void
put_string(struct mb_buf *out, const char *s)
{
	mb_buf_put_u8(out, (uint8_t) strlen(s));
	mb_buf_put_str(out, s);
}

static void
put_zeroes(struct mb_buf *out, size_t n)
{
	while (n-- > 0)
		mb_buf_put_u8(out, 0);
}

static void
put_aux(struct mb_buf *out, const char *key, const char *value)
{
	mb_buf_put_u8(out, 250);
	put_string(out, key);
	put_string(out, value);
}

static void
put_key(struct mb_buf *out, uint8_t type, const char *key)
{
	mb_buf_put_u8(out, type);
	put_string(out, key);
}

/* A stream of one node; version 1 (type 15), 2 (19) or 3 (21), with a group of one consumer. */
static void
put_stream(struct mb_buf *out, int version)
{
	put_key(out, version == 1 ? 15 : version == 2 ? 19 : 21, "stream");
	mb_buf_put_u8(out, 1); /* nodes */
	put_string(out, "0123456789abcdef");
	put_string(out, "listpack");
	put_zeroes(out, 3);                    /* items, last id */
	put_zeroes(out, version == 1 ? 0 : 5); /* first and deleted ids, entries added */
	mb_buf_put_u8(out, 1);                 /* groups */
	put_string(out, "group");
	put_zeroes(out, version == 1 ? 2 : 3); /* last id, entries read */
	mb_buf_put_u8(out, 2);                 /* pending entries */
	put_zeroes(out, 2 * (16 + 8 + 1));
	mb_buf_put_u8(out, 1); /* consumers */
	put_string(out, "consumer");
	put_zeroes(out, version == 3 ? 16 : 8); /* seen, active */
	mb_buf_put_u8(out, 2);                  /* pending entries of the consumer */
	put_zeroes(out, 2 * 16);
}

static void
put_strings(struct mb_buf *out, uint8_t type, const char *key, unsigned count, unsigned each)
{
	unsigned i;

	put_key(out, type, key);
	mb_buf_put_u8(out, (uint8_t) count);
	for (i = 0; i < count * each; i++)
		put_string(out, "element");
}

static void
put_integers(struct mb_buf *out)
{
	static const unsigned char encodings[] = {0xc0, 0xfb, 0xc1, 1, 2, 0xc2, 1, 2, 3, 4};

	put_key(out, 1, "integers");
	mb_buf_put_u8(out, 3);
	mb_buf_put(out, encodings, sizeof(encodings));
}

static void
put_compressed(struct mb_buf *out)
{
	/* "a", then 199 times what stands one byte before. */
	static const unsigned char packed[] = {0, 'a', 0xe0, 190, 0};

	put_key(out, 0, "lzf");
	mb_buf_put_u8(out, 0xc3);
	mb_buf_put_u8(out, sizeof(packed));
	mb_buf_put_u8(out, 0x40); /* plain: 14 bits, 200 */
	mb_buf_put_u8(out, 200);
	mb_buf_put(out, packed, sizeof(packed));
}

static void
put_module(struct mb_buf *out)
{
	static const unsigned char value[] = {0x81, 1, 2,   3,   4, 5, 6, 7, 8, /* id */
										  1,    9, 2,   9,                  /* sint, uint */
										  3,    0, 0,   0,   0,             /* float */
										  4,    0, 0,   0,   0, 0, 0, 0, 0, /* double */
										  5,    2, 'h', 'i', 0};            /* string, end */

	put_key(out, 7, "module");
	mb_buf_put(out, value, sizeof(value));
	mb_buf_put_u8(out, 247); /* module aux: id, when, the same */
	mb_buf_put(out, value, 9);
	mb_buf_put_str(out, "\2\1");
	mb_buf_put(out, value + 9, sizeof(value) - 9);
}

static void
put_long_strings(struct mb_buf *out)
{
	static const unsigned char len32[] = {0x80, 0, 0, 1, 0x2c}; /* 300, big-endian */
	static const unsigned char len64[] = {0x81, 0, 0, 0, 0, 0, 0, 0, 20};

	put_key(out, 0, "long");
	mb_buf_put(out, len32, sizeof(len32));
	put_zeroes(out, 300);
	put_key(out, 0, "longer");
	mb_buf_put(out, len64, sizeof(len64));
	put_zeroes(out, 20);
}

static void
put_zset_of_text(struct mb_buf *out)
{
	put_key(out, 3, "old-zset");
	mb_buf_put_u8(out, 3);
	put_string(out, "a");
	mb_buf_put_u8(out, 255); /* -inf */
	put_string(out, "b");
	mb_buf_put_u8(out, 253); /* nan */
	put_string(out, "c");
	put_string(out, "1.5");
}

static void
put_hash_with_expiry(struct mb_buf *out)
{
	put_key(out, 24, "field-ttl");
	put_zeroes(out, 8);
	mb_buf_put_u8(out, 1);
	mb_buf_put_u8(out, 0);
	put_string(out, "field");
	put_string(out, "value");
	put_key(out, 25, "field-ttl-small");
	put_zeroes(out, 8);
	put_string(out, "listpack");
}

static const uint8_t blob_types[] = {9, 10, 11, 12, 13, 16, 17, 20, 23};

static void
put_values(struct mb_buf *out)
{
	size_t i;

	mb_buf_put_u8(out, 252);
	put_zeroes(out, 8);
	put_key(out, 0, "expires");
	put_string(out, "v");
	mb_buf_put_u8(out, 253);
	put_zeroes(out, 4);
	mb_buf_put_u8(out, 248); /* idle */
	mb_buf_put_u8(out, 7);
	mb_buf_put_u8(out, 249); /* frequency */
	mb_buf_put_u8(out, 7);
	put_key(out, 0, "expires-too");
	put_string(out, "v");
	put_strings(out, 1, "list", 3, 1);
	put_strings(out, 2, "set", 3, 1);
	put_strings(out, 4, "hash", 3, 2);
	put_strings(out, 14, "quicklist", 2, 1);
	put_strings(out, 1, "no-elements", 0, 1);
	put_key(out, 5, "zset");
	mb_buf_put_u8(out, 1);
	put_string(out, "m");
	put_zeroes(out, 8);
	put_key(out, 18, "quicklist2");
	mb_buf_put_u8(out, 1);
	mb_buf_put_u8(out, 2);
	put_string(out, "listpack");
	for (i = 0; i < sizeof(blob_types); i++)
	{
		put_key(out, blob_types[i], "blob");
		put_string(out, "packed");
	}
	put_zset_of_text(out);
	put_integers(out);
	put_compressed(out);
	put_long_strings(out);
	put_hash_with_expiry(out);
	put_module(out);
	put_stream(out, 1);
	put_stream(out, 2);
	put_stream(out, 3);
}

#define KEYS_0 (2 + 5 + 2 + sizeof(blob_types) + 1 + 1 + 1 + 2 + 2 + 1 + 3)

static void
put_footer(struct mb_buf *out)
{
	mb_buf_put_u8(out, 255);
	mb_buf_put_u64(out, mb_crc64(0, out->data, out->len));
}

static void
make_file(struct mb_buf *out)
{
	mb_buf_put_str(out, "REDIS0012");
	put_aux(out, "redis-ver", "7.4.0");
	put_aux(out, "repl-stream-db", "3");
	put_aux(out, "repl-id", "0123456789012345678901234567890123456789");
	put_aux(out, "repl-offset", "123456789012");
	mb_buf_put_u8(out, 245); /* a function library */
	put_string(out, "#!lua");
	mb_buf_put_u8(out, 254); /* database 0 */
	mb_buf_put_u8(out, 0);
	mb_buf_put_u8(out, 251); /* resizedb */
	put_zeroes(out, 2);
	mb_buf_put_u8(out, 244); /* slot info */
	put_zeroes(out, 3);
	put_values(out);
	mb_buf_put_u8(out, 254); /* database 300, in 14 bits */
	mb_buf_put_u8(out, 0x41);
	mb_buf_put_u8(out, 0x2c);
	put_key(out, 0, "other");
	put_string(out, "v");
	put_footer(out);
}

/* -- walking -------------------------------------------------------------------------------------- */

/* Feed in pieces of `step`, the first of `first` bytes. */
static enum mb_code
walk(struct mb_rdb *rdb, const unsigned char *data, size_t len, size_t first, size_t step)
{
	enum mb_code code = MB_OK;
	struct mb_error err;
	size_t at = 0, n = first;

	mb_error_clear(&err);
	while (!code && at < len)
	{
		n = n < len - at ? n : len - at;
		code = mb_rdb_feed(rdb, data + at, n, &err);
		at += n;
		n = step;
	}
	return code ? code : mb_rdb_finish(rdb, &err);
}

static enum mb_code
walk_once(const unsigned char *data, size_t len, size_t first, size_t step)
{
	struct mb_rdb *rdb = mb_rdb_new();
	enum mb_code code = walk(rdb, data, len, first, step);

	mb_rdb_free(rdb);
	return code;
}

static void
check_summary(const struct mb_rdb_summary *sum, size_t len)
{
	assert_int_equal(sum->version, 12);
	assert_string_equal(sum->server, "7.4.0");
	assert_string_equal(sum->replid, "0123456789012345678901234567890123456789");
	assert_true(sum->has_offset);
	assert_int_equal(sum->offset, 123456789012);
	assert_int_equal(sum->stream_db, 3);
	assert_int_equal(sum->functions, 1);
	assert_int_equal(sum->db_count, 2);
	assert_int_equal(sum->dbs[0].db, 0);
	assert_int_equal(sum->dbs[0].keys, KEYS_0);
	assert_int_equal(sum->dbs[0].expires, 2);
	assert_int_equal(sum->dbs[1].db, 300);
	assert_int_equal(sum->dbs[1].keys, 1);
	assert_int_equal(sum->keys, KEYS_0 + 1);
	assert_int_equal(sum->bytes, len);
	assert_true(sum->has_checksum);
}

static void
test_rdb__every_type_at_every_split(void **state)
{
	struct mb_buf file = {0};
	size_t at;

	(void) state;
	make_file(&file);
	for (at = 1; at <= file.len; at++)
	{
		struct mb_rdb *rdb = mb_rdb_new();

		assert_int_equal(walk(rdb, file.data, file.len, at, file.len), MB_OK);
		check_summary(mb_rdb_summary(rdb), file.len);
		mb_rdb_free(rdb);
	}
	for (at = 1; at < 20; at++)
		assert_int_equal(walk_once(file.data, file.len, at, at), MB_OK);
	mb_buf_release(&file);
}

static void
test_rdb__a_file_that_ends_early_is_corrupt(void **state)
{
	struct mb_buf file = {0};
	size_t len;

	(void) state;
	make_file(&file);
	for (len = 0; len < file.len; len++)
		assert_int_equal(walk_once(file.data, len, 7, 7), MB_CORRUPT);
	mb_buf_put_u8(&file, 0);
	assert_int_equal(walk_once(file.data, file.len, 7, 7), MB_CORRUPT);
	mb_buf_release(&file);
}

static void
test_rdb__every_flipped_bit_is_found(void **state)
{
	struct mb_buf file = {0};
	size_t i;

	(void) state;
	make_file(&file);
	for (i = 0; i < file.len * 8; i++)
	{
		enum mb_code code;

		file.data[i / 8] ^= (unsigned char) (1u << (i % 8));
		code = walk_once(file.data, file.len, file.len, 1);
		file.data[i / 8] ^= (unsigned char) (1u << (i % 8));
		assert_true(code == MB_CORRUPT || code == MB_UNSUPPORTED);
	}
	mb_buf_release(&file);
}

static void
test_rdb__a_zero_checksum_means_none(void **state)
{
	static const unsigned char file[] = "REDIS0010\xff\0\0\0\0\0\0\0";
	struct mb_rdb *rdb = mb_rdb_new();

	(void) state;
	assert_int_equal(walk(rdb, file, 18, 3, 1), MB_OK);
	assert_false(mb_rdb_summary(rdb)->has_checksum);
	mb_rdb_free(rdb);
}

static void
test_rdb__keys_before_a_database_are_of_database_0(void **state)
{
	static const unsigned char file[] = "REDIS0010\0\1k\1v\xfe\3\0\1k\1v\xff\0\0\0\0\0\0\0";
	struct mb_rdb *rdb = mb_rdb_new();

	(void) state;
	assert_int_equal(walk(rdb, file, sizeof(file), 3, 1), MB_OK);
	assert_int_equal(mb_rdb_summary(rdb)->db_count, 2);
	assert_int_equal(mb_rdb_summary(rdb)->dbs[0].db, 0);
	assert_int_equal(mb_rdb_summary(rdb)->dbs[0].keys, 1);
	assert_int_equal(mb_rdb_summary(rdb)->dbs[1].db, 3);
	mb_rdb_free(rdb);
}

static void
test_rdb__what_is_not_known_is_unsupported(void **state)
{
	static const struct
	{
		const char *data;
		size_t len;
		enum mb_code code;
	} cases[] = {
		{"VALKEY080", 9, MB_UNSUPPORTED},
		{"REDIS0013", 9, MB_UNSUPPORTED},
		{"REDIS0004", 9, MB_UNSUPPORTED},
		{"REDIS00x2", 9, MB_CORRUPT},
		{"FUNNY0010", 9, MB_CORRUPT},
		{"REDIS0010\xfe\0\x06", 12, MB_UNSUPPORTED},       /* module of the old encoding */
		{"REDIS0010\xf6", 10, MB_UNSUPPORTED},             /* functions of a candidate */
		{"REDIS0010\xfe\0\x08", 12, MB_CORRUPT},           /* no such type */
		{"REDIS0010\xfe\0\0\xc4", 13, MB_CORRUPT},         /* no such string encoding */
		{"REDIS0010\xfe\0\0\x82\0\0\0\0", 17, MB_CORRUPT}, /* no such length */
		{"REDIS0010\xfe\0\0\x81\x7f\0\0\0\0\0\0\0", 21, MB_CORRUPT},    /* too long a string */
		{"REDIS0010\xfe\0\1\1k\x81\x7f\0\0\0\0\0\0\0", 23, MB_CORRUPT}, /* too long a list */
		{"REDIS0010\xf7\1\1\1\0", 14, MB_CORRUPT}, /* module aux without when */
		/* Compressed: shorter and longer than announced, a repeat of nothing, no end. */
		{"REDIS0010\xfe\0\0\xc3\3\5\1ab", 18, MB_CORRUPT},
		{"REDIS0010\xfe\0\0\xc3\3\1\1ab", 18, MB_CORRUPT},
		{"REDIS0010\xfe\0\0\xc3\2\3\x20\0", 17, MB_CORRUPT},
		{"REDIS0010\xfe\0\0\xc3\1\1\0", 16, MB_CORRUPT},
		{"REDIS0010\xfe\0\0\xc3\4\x0c\0a\xe0\0", 19, MB_CORRUPT},
	};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(walk_once((const unsigned char *) cases[i].data, cases[i].len, 1, 1),
						 cases[i].code);
}

/* A foreign file: what is known is counted, the rest is opaque, the checksum counts. */
static void
test_rdb__foreign_files_are_taken_as_they_are_when_asked(void **state)
{
	static const char *const bodies[] = {
		"VALKEY080\xfa\x0avalkey-ver\x05"
		"9.0.0\xfe\0\0\1k\1v\xf3\1\2\3\4\5\6\7",
		"REDIS0013\xfa\x09redis-ver\x05"
		"8.0.0\xfe\0\0\1k\1v\x63\1\2\3\4\5\6\7\1",
	};
	static const size_t lens[] = {39, 40};
	size_t i, step;

	(void) state;
	for (i = 0; i < 2; i++)
		for (step = 1; step < 50; step++)
		{
			struct mb_buf file = {0};
			struct mb_rdb *rdb = mb_rdb_new_flags(MB_RDB_FOREIGN);

			mb_buf_put(&file, bodies[i], lens[i] - 1);
			mb_buf_put_u64(&file, mb_crc64(0, file.data, file.len));
			assert_int_equal(walk(rdb, file.data, file.len, step, step), MB_OK);
			assert_true(mb_rdb_summary(rdb)->opaque && mb_rdb_summary(rdb)->has_checksum);
			assert_int_equal(mb_rdb_summary(rdb)->keys, 1);
			assert_int_equal(mb_rdb_summary(rdb)->bytes, file.len);
			assert_string_equal(mb_rdb_summary(rdb)->server, i ? "8.0.0" : "9.0.0");
			mb_rdb_free(rdb);
			rdb = mb_rdb_new_flags(MB_RDB_FOREIGN);
			file.data[file.len - 10] ^= 1;
			assert_int_equal(walk(rdb, file.data, file.len, step, step), MB_CORRUPT);
			mb_rdb_free(rdb);
			assert_int_equal(walk_once(file.data, file.len, step, step), MB_UNSUPPORTED);
			mb_buf_release(&file);
		}
}

/* Statistics: by hand from the bytes; one name is compressed (LZF) as a server does it. */
static void
test_rdb__statistics(void **state)
{
	static const char body[] = "REDIS0010\xfe\0"
							   "\xfc\xe8\x03\0\0\0\0\0\0\0\1a\1v"
							   "\xfd\x0a\0\0\0\0\1b\3xyz"
							   "\1\xc3\x09\x1b\1aa\xe0\x0e\0\1aa\1\1x"
							   "\xff\0\0\0\0\0\0\0\0";
	size_t step;

	(void) state;
	for (step = 1; step < sizeof(body); step++)
	{
		struct mb_rdb_stats *stats = mb_rdb_stats_new();
		struct mb_rdb *rdb = mb_rdb_new();
		json_t *json;
		char *text;

		mb_rdb_on_key(rdb, mb_rdb_stats_add, stats);
		assert_int_equal(walk(rdb, (const unsigned char *) body, sizeof(body) - 1, step, step),
						 MB_OK);
		json = mb_rdb_stats_json(stats);
		text = mb_json_text(json);
		assert_string_equal(
			text,
			"{\"biggest\":[{\"bytes\":4,\"db\":0,\"key\":\"b\",\"type\":\"string\"},"
			"{\"bytes\":3,\"db\":0,\"key\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"type\":\"list\"},"
			"{\"bytes\":2,\"db\":0,\"key\":\"a\",\"type\":\"string\"}],"
			"\"expires\":{\"furthest\":\"1970-01-01T00:00:10.000000Z\",\"keys\":2,"
			"\"nearest\":\"1970-01-01T00:00:01.000000Z\"},"
			"\"types\":[{\"bytes\":6,\"db\":0,\"keys\":2,\"type\":\"string\"},"
			"{\"bytes\":3,\"db\":0,\"keys\":1,\"type\":\"list\"}]}");
		free(text);
		json_decref(json);
		mb_rdb_stats_free(stats);
		mb_rdb_free(rdb);
	}
}

static void
test_crc64__check_value(void **state)
{
	uint64_t crc;

	(void) state;
	assert_true(mb_crc64(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
	crc = mb_crc64(0, "12345", 5);
	assert_true(mb_crc64(crc, "6789", 4) == UINT64_C(0xe9c6d914c4b8d9ca));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rdb__every_type_at_every_split),
		cmocka_unit_test(test_rdb__a_file_that_ends_early_is_corrupt),
		cmocka_unit_test(test_rdb__every_flipped_bit_is_found),
		cmocka_unit_test(test_rdb__a_zero_checksum_means_none),
		cmocka_unit_test(test_rdb__keys_before_a_database_are_of_database_0),
		cmocka_unit_test(test_rdb__what_is_not_known_is_unsupported),
		cmocka_unit_test(test_rdb__foreign_files_are_taken_as_they_are_when_asked),
		cmocka_unit_test(test_rdb__statistics),
		cmocka_unit_test(test_crc64__check_value),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* redis_expired_test.c - moved expiries: of an RDB and of commands, cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redis/crc64.h"
#include "redis/expiry.h"
#include "redis/rdb.h"
#include "redis/rdb_shift.h"

#define SHIFT INT64_C(3600123)

static enum mb_code
gather(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	(void) err;
	mb_buf_put(ctx, data, len);
	return MB_OK;
}

/* -- an RDB --------------------------------------------------------------------------------- */

static void
put_text(struct mb_buf *out, const char *text)
{
	mb_buf_put_u8(out, (uint8_t) strlen(text));
	mb_buf_put_str(out, text);
}

enum footer
{
	FOOTER_CRC,
	FOOTER_NONE
};

/* Expiries of both sorts, and values that look like them. */
static void
make_rdb(struct mb_buf *out, int64_t shift_ms, enum footer footer)
{
	static const int64_t times[] = {1, 1795000000123, INT64_MAX - 1000, -5};
	int64_t seconds = (shift_ms + 999) / 1000;
	size_t i;

	mb_buf_put_str(out, "REDIS0010");
	mb_buf_put_u8(out, 250);
	put_text(out, "redis-ver");
	put_text(out, "7.0.15");
	mb_buf_put_u8(out, 254);
	mb_buf_put_u8(out, 0);
	for (i = 0; i < 4; i++)
	{
		mb_buf_put_u8(out, 252);
		mb_buf_put_u64(out, (uint64_t) (times[i] > INT64_MAX - shift_ms ? INT64_MAX
																		: times[i] + shift_ms));
		mb_buf_put_u8(out, 0);
		put_text(out, "key");
		put_text(out, "\xfc\x01\x01\x01\x01\x01\x01\x01\x01\xfe");
	}
	mb_buf_put_u8(out, 253);
	mb_buf_put_u32(out, (uint32_t) (1795000000 + seconds));
	mb_buf_put_u8(out, 0);
	put_text(out, "old");
	put_text(out, "v");
	mb_buf_put_u8(out, 253);
	mb_buf_put_u32(out, (uint32_t) (shift_ms ? INT32_MAX : INT32_MAX - 5)); /* no further */
	mb_buf_put_u8(out, 0);
	put_text(out, "late");
	put_text(out, "v");
	mb_buf_put_u8(out, 0);
	put_text(out, "lasts");
	put_text(out, "v");
	mb_buf_put_u8(out, 255);
	mb_buf_put_u64(out, footer == FOOTER_NONE ? 0 : mb_crc64(0, out->data, out->len));
}

static enum mb_code
shift_pieces(const struct mb_buf *in, size_t first, size_t step, struct mb_buf *out,
			 uint64_t *count, struct mb_error *err)
{
	struct mb_rdb_shift *shift = mb_rdb_shift_new(SHIFT, gather, out);
	enum mb_code code = MB_OK;
	size_t at = 0;

	mb_buf_reset(out);
	while (!code && at < in->len)
	{
		size_t n = at == 0 && first > 0 ? first : step;

		n = n < in->len - at ? n : in->len - at;
		/* A copy of its own size: whoever reads beyond is seen. */
		unsigned char *piece = mb_malloc(n);

		memcpy(piece, in->data + at, n);
		code = mb_rdb_shift_feed(shift, piece, n, err);
		free(piece);
		at += n;
	}
	if (!code)
		code = mb_rdb_shift_finish(shift, err);
	*count = mb_rdb_shift_count(shift);
	mb_rdb_shift_free(shift);
	return code;
}

static void
check_rdb(enum footer footer)
{
	struct mb_buf in = {0}, want = {0}, out = {0};
	struct mb_error err;
	uint64_t count;
	size_t i;

	make_rdb(&in, 0, footer);
	make_rdb(&want, SHIFT, footer);
	assert_int_equal(in.len, want.len);
	/* Two pieces, cut anywhere; then pieces of every small size. */
	for (i = 1; i <= in.len; i++)
	{
		assert_int_equal(shift_pieces(&in, i, in.len, &out, &count, &err), MB_OK);
		assert_int_equal(count, 6);
		assert_int_equal(out.len, want.len);
		assert_memory_equal(out.data, want.data, want.len);
	}
	for (i = 1; i < 40; i++)
	{
		assert_int_equal(shift_pieces(&in, 0, i, &out, &count, &err), MB_OK);
		assert_int_equal(out.len, want.len);
		assert_memory_equal(out.data, want.data, want.len);
	}
	mb_buf_release(&in);
	mb_buf_release(&want);
	mb_buf_release(&out);
}

static void
test_shift__rdb_cut_anywhere(void **state)
{
	(void) state;
	check_rdb(FOOTER_CRC);
	check_rdb(FOOTER_NONE);
}

static void
test_shift__rdb_that_is_damaged(void **state)
{
	struct mb_buf in = {0}, out = {0};
	struct mb_error err;
	uint64_t count;
	size_t i, len;

	(void) state;
	make_rdb(&in, 0, FOOTER_CRC);
	len = in.len;
	for (i = 0; i < len; i++)
	{
		enum mb_code code;

		/* One bit: seen by the structure or by the checksum, never made good by the new one. */
		in.data[i] ^= 4;
		code = shift_pieces(&in, 0, 7, &out, &count, &err);
		assert_true(code == MB_CORRUPT || code == MB_UNSUPPORTED);
		in.data[i] ^= 4;
		in.len = i;
		assert_int_equal(shift_pieces(&in, 0, 7, &out, &count, &err), MB_CORRUPT);
		in.len = len;
	}
	/* What only a newer version understands has expiries that we do not know of. */
	memcpy(in.data, "REDIS0099", 9);
	in.data[9] = 243;
	assert_int_equal(shift_pieces(&in, 0, 7, &out, &count, &err), MB_UNSUPPORTED);
	mb_buf_release(&in);
	mb_buf_release(&out);
}

/* -- commands ------------------------------------------------------------------------------- */

/* Words separated by one space; "~" is a word of a CR LF, "_" an empty one. */
static void
put_command(struct mb_buf *out, const char *words)
{
	char *copy = mb_strdup(words), *word, *rest = copy;
	unsigned count = 1;
	const char *p;

	for (p = words; *p; p++)
		count += *p == ' ';
	mb_buf_printf(out, "*%u\r\n", count);
	while ((word = strsep(&rest, " ")))
	{
		const char *text = strcmp(word, "~") == 0 ? "\r\n" : strcmp(word, "_") == 0 ? "" : word;

		mb_buf_printf(out, "$%zu\r\n%s\r\n", strlen(text), text);
	}
	free(copy);
}

static const struct
{
	const char *from;
	const char *to; /* NULL: as it was */
} commands[] = {
	{"SELECT 0", NULL},
	{"SET k v", NULL},
	{"SET k v PXAT 1795000000000", "SET k v PXAT 1795003600123"},
	{"set k v pxat 5", "set k v pxat 3600128"},
	{"SET k v NX EXAT 1795000000 GET", "SET k v NX EXAT 1795003601 GET"},
	/* Key and value may be called as they like. */
	{"SET PXAT 1795000000000", NULL},
	{"SET PXAT PXAT", NULL},
	{"SET k PXAT KEEPTTL", NULL},
	{"SET EXAT PXAT PXAT 7000", "SET EXAT PXAT PXAT 3607123"},
	{"SET _ ~ PXAT 7000", "SET _ ~ PXAT 3607123"},
	{"GETEX k PXAT 7000", "GETEX k PXAT 3607123"},
	{"GETEX PXAT PERSIST", NULL},
	{"MULTI", NULL},
	{"PEXPIREAT k 1795000000000", "PEXPIREAT k 1795003600123"},
	{"PEXPIREAT PXAT 1795000000000 GT", "PEXPIREAT PXAT 1795003600123 GT"},
	{"EXEC", NULL},
	{"EXPIREAT k 1795000000 NX", "EXPIREAT k 1795003601 NX"},
	{"RESTORE k 0 payload", NULL},
	{"RESTORE k 0 payload REPLACE ABSTTL", NULL},
	{"RESTORE k 1795000000000 payload REPLACE ABSTTL",
	 "RESTORE k 1795003600123 payload REPLACE ABSTTL"},
	{"RESTORE-ASKING k 9 payload ABSTTL", "RESTORE-ASKING k 3600132 payload ABSTTL"},
	{"PEXPIREAT k 9223372036854775000", "PEXPIREAT k 9223372036854775807"},
	/* Not times, and what the server would refuse goes to it as it is. */
	{"ZADD PEXPIREAT 1795000000000 m", NULL},
	{"XADD s 1795000000000-0 PXAT 1795000000000", NULL},
	{"PEXPIREAT k soon", NULL},
	{"PEXPIREAT k 99999999999999999999999999999999", NULL},
	{"PEXPIREAT k", NULL},
	{"SET k v PXAT", NULL},
	{"SET k v PXAT PXAT 5", NULL},
	{"HPEXPIREAT h 1795000000000 FIELDS 1 f", NULL},
	{"PING", NULL},
};

static void
feed_commands(const struct mb_buf *in, size_t first, size_t step, struct mb_buf *out,
			  struct mb_expiry *expiry)
{
	struct mb_error err;
	size_t at = 0;

	mb_buf_reset(out);
	*expiry = (struct mb_expiry){.shift_ms = SHIFT, .fn = gather, .ctx = out};
	while (at < in->len)
	{
		size_t n = at == 0 && first > 0 ? first : step;
		unsigned char *piece;

		n = n < in->len - at ? n : in->len - at;
		piece = mb_malloc(n);
		memcpy(piece, in->data + at, n);
		assert_int_equal(mb_expiry_feed(expiry, piece, n, &err), MB_OK);
		free(piece);
		at += n;
	}
	mb_expiry_release(expiry);
	assert_int_equal(expiry->out, out->len);
}

static void
test_expiry__commands_cut_anywhere(void **state)
{
	struct mb_buf in = {0}, want = {0}, out = {0};
	struct mb_expiry expiry;
	unsigned moved = 0;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
	{
		put_command(&in, commands[i].from);
		put_command(&want, commands[i].to ? commands[i].to : commands[i].from);
		moved += commands[i].to != NULL;
	}
	for (i = 1; i <= in.len; i++)
	{
		feed_commands(&in, i, in.len, &out, &expiry);
		assert_int_equal(out.len, want.len);
		assert_memory_equal(out.data, want.data, want.len);
		assert_int_equal(expiry.moved, moved);
		assert_int_equal(expiry.boundary, want.len);
	}
	for (i = 1; i < 40; i++)
	{
		feed_commands(&in, 0, i, &out, &expiry);
		assert_memory_equal(out.data, want.data, want.len);
	}
	mb_buf_release(&in);
	mb_buf_release(&want);
	mb_buf_release(&out);
}

/* Where a stream may be cut back to: behind a whole command, outside of MULTI. */
static void
test_expiry__boundary(void **state)
{
	struct mb_buf in = {0}, out = {0};
	struct mb_expiry expiry;
	size_t first;

	(void) state;
	put_command(&in, "SET k v PXAT 5");
	feed_commands(&in, 0, in.len, &out, &expiry);
	first = out.len;
	assert_int_equal(first, in.len + 6); /* six digits more */
	put_command(&in, "MULTI");
	put_command(&in, "SET k v");
	feed_commands(&in, 0, in.len, &out, &expiry);
	assert_int_equal(expiry.boundary, first);
	put_command(&in, "exec");
	feed_commands(&in, 0, in.len, &out, &expiry);
	assert_int_equal(expiry.boundary, out.len);
	put_command(&in, "SET k v PXAT 5");
	first = out.len;
	in.len -= 3;
	feed_commands(&in, 0, 1, &out, &expiry);
	assert_int_equal(expiry.boundary, first);
	mb_buf_release(&in);
	mb_buf_release(&out);
}

static void
test_expiry__large_values_pass(void **state)
{
	static const char tail[] = "\r\n$4\r\nPXAT\r\n$7\r\n3607123\r\n";
	size_t len = 3000000, head;
	struct mb_buf in = {0}, out = {0};
	struct mb_expiry expiry;

	(void) state;
	mb_buf_printf(&in, "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", len);
	head = in.len;
	mb_buf_reserve(&in, len);
	memset(in.data + in.len, '$', len);
	in.len += len;
	mb_buf_put_str(&in, "\r\n$4\r\nPXAT\r\n$4\r\n7000\r\n");
	feed_commands(&in, 0, 65536, &out, &expiry);
	assert_int_equal(expiry.moved, 1);
	assert_memory_equal(out.data, in.data, head + len);
	assert_int_equal(out.len, head + len + sizeof(tail) - 1);
	assert_memory_equal(out.data + head + len, tail, sizeof(tail) - 1);
	mb_buf_release(&in);
	mb_buf_release(&out);
}

static void
test_expiry__no_commands_are_corrupt(void **state)
{
	static const char *const bad[] = {"PING\r\n",         "*0\r\n",        "*x\r\n", "*1\nx\r\n",
									  "*1\r\n*1\r\n",     "*1\r\n$-1\r\n", "*\r\n",  "$3\r\n",
									  "*99999999999\r\n", "*1\r\n$5x\r\n", "\r\n",   "*1 \r\n"};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		struct mb_buf out = {0};
		struct mb_expiry expiry = {.shift_ms = 1, .fn = gather, .ctx = &out};
		struct mb_error err;

		assert_int_equal(mb_expiry_feed(&expiry, bad[i], strlen(bad[i]), &err), MB_CORRUPT);
		mb_expiry_release(&expiry);
		mb_buf_release(&out);
	}
}

/* Any bytes, any cuts: no crash, and the same answer whatever the cuts. */
static void
test_expiry__noise(void **state)
{
	static const char *const parts[] = {"*3\r\n",  "$4\r\n", "PXAT\r\n", "$3\r\n",
										"SET\r\n", "*",      "\r\n",     "7000",
										"$",       "\n",     "*5\r\n",   "$0\r\n"};
	unsigned seed = 1, round;

	(void) state;
	for (round = 0; round < 20000; round++)
	{
		struct mb_buf in = {0}, whole = {0}, cut = {0};
		struct mb_expiry a = {.shift_ms = SHIFT, .fn = gather, .ctx = &whole};
		struct mb_expiry b = {.shift_ms = SHIFT, .fn = gather, .ctx = &cut};
		struct mb_error err;
		enum mb_code first, second = MB_OK;
		size_t i;

		for (i = 0; i < 12; i++)
		{
			seed = seed * 1103515245 + 12345;
			mb_buf_put_str(&in, parts[(seed >> 16) % 12]);
		}
		first = mb_expiry_feed(&a, in.data, in.len, &err);
		for (i = 0; !second && i < in.len; i++)
			second = mb_expiry_feed(&b, in.data + i, 1, &err);
		assert_int_equal(first, second);
		if (!first)
		{
			assert_int_equal(whole.len, cut.len);
			assert_memory_equal(whole.data ? whole.data : (void *) "",
								cut.data ? cut.data : (void *) "", cut.len);
		}
		mb_expiry_release(&a);
		mb_expiry_release(&b);
		mb_buf_release(&in);
		mb_buf_release(&whole);
		mb_buf_release(&cut);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shift__rdb_cut_anywhere),
		cmocka_unit_test(test_shift__rdb_that_is_damaged),
		cmocka_unit_test(test_expiry__commands_cut_anywhere),
		cmocka_unit_test(test_expiry__boundary),
		cmocka_unit_test(test_expiry__large_values_pass),
		cmocka_unit_test(test_expiry__no_commands_are_corrupt),
		cmocka_unit_test(test_expiry__noise),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

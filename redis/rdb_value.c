/* rdb_value.c - the primitives of an RDB: lengths, strings, module values. */
#include <stdio.h>
#include <string.h>

#include "core/base/mem.h"
#include "redis/rdb_private.h"

/* -- primitives: they return false when the input ends before they are complete ------------- */

/* n <= 16 contiguous bytes, joined over feeds. */
const unsigned char *
mb_rdb_take(struct mb_rdb *rdb, struct mb_rdb_input *in, size_t n)
{
	size_t have = (size_t) (in->end - in->p), more;
	const unsigned char *p = in->p;

	if (rdb->need_len == 0 && have >= n)
	{
		in->p += n;
		return p;
	}
	more = n - rdb->need_len < have ? n - rdb->need_len : have;
	if (more > 0)
		memcpy(rdb->need + rdb->need_len, in->p, more);
	rdb->need_len += more;
	in->p += more;
	if (rdb->need_len < n)
		return NULL;
	rdb->need_len = 0;
	return rdb->need;
}

/* The first byte of what comes next, without taking it. */
static bool
peek(const struct mb_rdb *rdb, const struct mb_rdb_input *in, unsigned char *byte)
{
	if (rdb->need_len == 0 && in->p == in->end)
		return false;
	*byte = rdb->need_len > 0 ? rdb->need[0] : *in->p;
	return true;
}

static uint64_t
big_endian(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

#define BAD_LENGTH 256

/* *special is -1 for a length, else the string encoding, or BAD_LENGTH. */
static bool
take_length(struct mb_rdb *rdb, struct mb_rdb_input *in, uint64_t *length, int *special)
{
	const unsigned char *p;
	unsigned char first;

	if (!peek(rdb, in, &first))
		return false;
	*special = -1;
	if (first >> 6 == 1)
	{
		if (!(p = mb_rdb_take(rdb, in, 2)))
			return false;
		*length = big_endian(p, 2) & 0x3fff;
	}
	else if (first >> 6 == 2)
	{
		/* 0x80: 32 bits, 0x81: 64 bits; others are told apart by the caller. */
		size_t n = first == 0x81 ? 8 : 4;

		if (!(p = mb_rdb_take(rdb, in, 1 + n)))
			return false;
		*length = big_endian(p + 1, n);
		if (first > 0x81)
			*special = BAD_LENGTH;
	}
	else
	{
		if (!mb_rdb_take(rdb, in, 1))
			return false;
		*length = first & 0x3f;
		if (first >> 6 == 3)
			*special = (int) *length;
	}
	return true;
}

enum mb_code
mb_rdb_corrupt(const struct mb_rdb *rdb, const char *what, struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "the RDB data is damaged at byte %llu: %s",
				   (unsigned long long) rdb->sum.bytes, what);
}

/* Where no string can stand the loader takes the marks of string encodings for numbers: so do we. */
static enum mb_code
plain_length(const struct mb_rdb *rdb, int special, struct mb_error *err)
{
	return special < BAD_LENGTH ? MB_OK : mb_rdb_corrupt(rdb, "a bad length", err);
}

/* Every primitive: MB_OK and *done when complete, MB_OK and !*done when the input ended. */

enum mb_code
mb_rdb_run_length(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, struct mb_error *err)
{
	int special;

	*done = take_length(rdb, in, &rdb->length, &special);
	return *done ? plain_length(rdb, special, err) : MB_OK;
}

static void
keep_text(struct mb_rdb *rdb, const void *data, size_t len)
{
	struct mb_rdb_key *key = &rdb->key;
	size_t *at, room;

	if (rdb->in_key && (rdb->flags & MB_RDB_NAMES) && rdb->name_bytes.len < MB_RDB_NAME_MAX)
		mb_buf_put(&rdb->name_bytes, data, len);
	if (rdb->in_key && rdb->packed_plain > 0)
	{
		room = sizeof(rdb->packed) - rdb->packed_len;
		memcpy(rdb->packed + rdb->packed_len, data, len < room ? len : room);
		rdb->packed_len += len < room ? len : room;
	}
	else if (rdb->in_key)
	{
		room = sizeof(key->name) - key->name_kept;
		memcpy(key->name + key->name_kept, data, len < room ? len : room);
		key->name_kept += len < room ? len : room;
		key->name_len += len;
	}
	if (!rdb->keep || rdb->strings >= 2)
		return;
	at = &rdb->text_len[rdb->strings];
	if (len > MB_RDB_TEXT - 1 - *at)
		len = MB_RDB_TEXT - 1 - *at;
	memcpy(rdb->text[rdb->strings] + *at, data, len);
	*at += len;
	rdb->text[rdb->strings][*at] = '\0';
}

static void
keep_integer(struct mb_rdb *rdb, const unsigned char *p, size_t n)
{
	char text[24];
	int64_t v = n == 1 ? (int8_t) p[0] : n == 2 ? (int16_t) mb_get_u16(p) : (int32_t) mb_get_u32(p);

	keep_text(rdb, text, (size_t) snprintf(text, sizeof(text), "%lld", (long long) v));
}

/* The header of a string: sets string_left, or *whole when the string is an integer. */
static enum mb_code
string_header(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, bool *whole,
			  struct mb_error *err)
{
	const unsigned char *p;
	unsigned char first;
	uint64_t length;
	int special;

	*done = *whole = false;
	if (!peek(rdb, in, &first))
		return MB_OK;
	if (first >= 0xc0 && first <= 0xc2)
	{
		size_t n = (size_t) 1 << (first - 0xc0);

		if (!(p = mb_rdb_take(rdb, in, 1 + n)))
			return MB_OK;
		keep_integer(rdb, p + 1, n);
		*done = *whole = true;
		return MB_OK;
	}
	if (first == 0xc3)
	{
		/* LZF: compressed length, plain length, compressed bytes. */
		if (!mb_rdb_take(rdb, in, 1))
			return MB_OK;
		rdb->string_phase = STRING_LZF_PLAIN;
		rdb->string_left = UINT64_MAX;
		*done = true;
		return MB_OK;
	}
	if (!take_length(rdb, in, &length, &special))
		return MB_OK;
	*done = true;
	if (special >= 0 || length > MB_RDB_MAX_LENGTH)
		return mb_rdb_corrupt(rdb, "a bad string length", err);
	rdb->string_left = length;
	rdb->string_phase = STRING_BODY;
	return MB_OK;
}

/* The next of the two lengths of an LZF string; string_left is UINT64_MAX before the first. */
static enum mb_code
lzf_lengths(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, struct mb_error *err)
{
	uint64_t length;
	int special;

	*done = take_length(rdb, in, &length, &special);
	if (!*done)
		return MB_OK;
	if (special == BAD_LENGTH || length > MB_RDB_MAX_LENGTH || length == 0)
		return mb_rdb_corrupt(rdb, "a bad length of a compressed string", err);
	if (rdb->string_left == UINT64_MAX)
		rdb->string_left = length;
	else
	{
		rdb->string_phase = STRING_BODY;
		rdb->is_lzf = true;
		rdb->lzf = (struct lzf){.plain = length};
		if (rdb->in_key)
			rdb->packed_plain = length;
	}
	return MB_OK;
}

/* The input up to `end` is of a string's body; with `last` it is the end of it. */
static enum mb_code
check_lzf(struct mb_rdb *rdb, struct mb_rdb_input *in, const unsigned char *end, bool last,
		  struct mb_error *err)
{
	struct lzf *lzf = &rdb->lzf;

	if (!mb_rdb_follow_lzf(lzf, &in->p, end) ||
		(last && (lzf->phase != LZF_CONTROL || lzf->made != lzf->plain)))
		return mb_rdb_corrupt(rdb, "a compressed string that cannot be decompressed", err);
	return MB_OK;
}

enum mb_code
mb_rdb_run_string(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, struct mb_error *err)
{
	bool ready = true, whole = false;
	enum mb_code code = MB_OK;
	uint64_t n;

	*done = false;
	if (rdb->string_phase == STRING_LENGTH)
		code = string_header(rdb, in, &ready, &whole, err);
	while (!code && ready && !whole && rdb->string_phase == STRING_LZF_PLAIN)
		code = lzf_lengths(rdb, in, &ready, err);
	if (code || !ready)
		return code;
	if (!whole)
	{
		n = (uint64_t) (in->end - in->p);
		n = n < rdb->string_left ? n : rdb->string_left;
		keep_text(rdb, in->p, (size_t) n);
		if (rdb->is_lzf && check_lzf(rdb, in, in->p + n, n == rdb->string_left, err))
			return err->code;
		if (!rdb->is_lzf)
			in->p += n;
		rdb->string_left -= n;
		if (rdb->string_left > 0)
			return MB_OK;
	}
	rdb->string_phase = STRING_LENGTH;
	rdb->is_lzf = false;
	rdb->strings++;
	*done = true;
	return MB_OK;
}

bool
mb_rdb_run_double(struct mb_rdb *rdb, struct mb_rdb_input *in)
{
	/* One byte of length, then so many characters; 253 to 255 are nan and the infinities. */
	const unsigned char *p;
	uint64_t n;

	if (rdb->string_phase == STRING_LENGTH)
	{
		if (!(p = mb_rdb_take(rdb, in, 1)))
			return false;
		rdb->string_left = *p >= 253 ? 0 : *p;
		rdb->string_phase = STRING_BODY;
	}
	n = (uint64_t) (in->end - in->p);
	n = n < rdb->string_left ? n : rdb->string_left;
	in->p += n;
	rdb->string_left -= n;
	if (rdb->string_left > 0)
		return false;
	rdb->string_phase = STRING_LENGTH;
	return true;
}

enum
{
	MODULE_EOF,
	MODULE_SINT,
	MODULE_UINT,
	MODULE_FLOAT,
	MODULE_DOUBLE,
	MODULE_STRING,
	MODULE_WANT_OP /* ours: no opcode read yet */
};

static enum mb_code
run_module_opcode(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *ready, struct mb_error *err)
{
	if (mb_rdb_run_length(rdb, in, ready, err))
		return err->code;
	if (!*ready)
		return MB_OK;
	if (rdb->length > MODULE_STRING)
		return mb_rdb_corrupt(rdb, "an unknown module opcode", err);
	rdb->module_op = (unsigned) rdb->length;
	rdb->in_module = rdb->module_op != MODULE_EOF;
	return MB_OK;
}

static enum mb_code
run_module_operand(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *ready, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (rdb->module_op == MODULE_STRING)
		code = mb_rdb_run_string(rdb, in, ready, err);
	else if (rdb->module_op == MODULE_FLOAT || rdb->module_op == MODULE_DOUBLE)
		*ready = mb_rdb_take(rdb, in, rdb->module_op == MODULE_FLOAT ? 4 : 8) != NULL;
	else
		code = mb_rdb_run_length(rdb, in, ready, err);
	if (!code && *ready)
		rdb->module_op = MODULE_WANT_OP;
	return code;
}

/* What a module wrote: {opcode, operand} up to opcode 0. */
enum mb_code
mb_rdb_run_module(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, struct mb_error *err)
{
	bool ready = true;

	if (!rdb->in_module)
	{
		rdb->in_module = true;
		rdb->module_op = MODULE_WANT_OP;
	}
	while (ready && rdb->in_module)
	{
		enum mb_code code;

		ready = false;
		code = rdb->module_op == MODULE_WANT_OP ? run_module_opcode(rdb, in, &ready, err)
												: run_module_operand(rdb, in, &ready, err);
		if (code)
			return code;
	}
	*done = ready;
	return MB_OK;
}

/*
 * rdb_fuzz.c - the RDB walker on any bytes: no crash, and the same verdict whether the
 * input comes whole or in pieces.  Byte 0 chooses the size of the pieces.  The same for the
 * filter that moves expiries, whose output is as good a file with as many keys.
 */
#include <stdint.h>
#include <string.h>

#include "redis/rdb_shift.h"
#include "redis/rdb_stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is kept of a long name is the start of the whole. */
static void
look_at_key(void *ctx, const struct mb_rdb_key *key)
{
	MB_ASSERT(key->whole && key->whole_len <= MB_RDB_NAME_MAX);
	MB_ASSERT(key->name_kept <= key->whole_len &&
			  memcmp(key->name, key->whole, key->name_kept) == 0);
	mb_rdb_stats_add(ctx, key);
}

static enum mb_code
walk(const uint8_t *data, size_t size, size_t step, uint64_t *keys)
{
	struct mb_rdb *rdb = mb_rdb_new_flags(MB_RDB_FOREIGN | MB_RDB_NAMES);
	struct mb_rdb_stats *stats = mb_rdb_stats_new();
	enum mb_code code = MB_OK;
	struct mb_error err;
	size_t at;

	mb_error_clear(&err);
	mb_rdb_on_key(rdb, look_at_key, stats);
	for (at = 0; !code && at < size; at += step)
		code = mb_rdb_feed(rdb, data + at, size - at < step ? size - at : step, &err);
	if (!code)
		code = mb_rdb_finish(rdb, &err);
	*keys = mb_rdb_summary(rdb)->keys;
	json_decref(mb_rdb_stats_json(stats));
	mb_rdb_stats_free(stats);
	mb_rdb_free(rdb);
	return code;
}

static enum mb_code
gather(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	(void) err;
	mb_buf_put(ctx, data, len);
	return MB_OK;
}

static enum mb_code
move(const uint8_t *data, size_t size, size_t step, struct mb_buf *out)
{
	struct mb_rdb_shift *shift = mb_rdb_shift_new(86400000, gather, out);
	enum mb_code code = MB_OK;
	struct mb_error err;
	size_t at;

	mb_error_clear(&err);
	for (at = 0; !code && at < size; at += step)
		code = mb_rdb_shift_feed(shift, data + at, size - at < step ? size - at : step, &err);
	if (!code)
		code = mb_rdb_shift_finish(shift, &err);
	mb_rdb_shift_free(shift);
	return code;
}

static void
move_both_ways(const uint8_t *data, size_t size, size_t step, uint64_t keys)
{
	struct mb_buf whole = {0}, pieces = {0};
	enum mb_code code = move(data, size, size, &whole);
	uint64_t moved_keys;

	MB_ASSERT(code == move(data, size, step, &pieces));
	if (!code)
	{
		MB_ASSERT(whole.len == size && pieces.len == size &&
				  memcmp(whole.data, pieces.data, size) == 0);
		MB_ASSERT(walk(whole.data, size, size, &moved_keys) == MB_OK && moved_keys == keys);
	}
	mb_buf_release(&whole);
	mb_buf_release(&pieces);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole_keys, keys;

	if (size < 2)
		return 0;
	MB_ASSERT(walk(data + 1, size - 1, size - 1, &whole_keys) ==
			  walk(data + 1, size - 1, (size_t) data[0] + 1, &keys));
	MB_ASSERT(whole_keys == keys);
	move_both_ways(data + 1, size - 1, (size_t) data[0] + 1, keys);
	return 0;
}

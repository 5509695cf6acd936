/*
 * rdb_fuzz.c - the RDB walker on any bytes: no crash, and the same verdict whether the
 * input comes whole or in pieces.  Byte 0 chooses the size of the pieces.
 */
#include <stdint.h>

#include "redis/rdb_stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum mb_code
walk(const uint8_t *data, size_t size, size_t step, uint64_t *keys)
{
	struct mb_rdb *rdb = mb_rdb_new_flags(MB_RDB_FOREIGN);
	struct mb_rdb_stats *stats = mb_rdb_stats_new();
	enum mb_code code = MB_OK;
	struct mb_error err;
	size_t at;

	mb_error_clear(&err);
	mb_rdb_on_key(rdb, mb_rdb_stats_add, stats);
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole_keys, keys;

	if (size < 2)
		return 0;
	MB_ASSERT(walk(data + 1, size - 1, size - 1, &whole_keys) ==
			  walk(data + 1, size - 1, (size_t) data[0] + 1, &keys));
	MB_ASSERT(whole_keys == keys);
	return 0;
}

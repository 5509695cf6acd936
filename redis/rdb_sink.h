/*
 * rdb_sink.h - an RDB on its way into a backup: walked, counted and packed while it comes.
 */
#ifndef MB_REDIS_RDB_SINK_H
#define MB_REDIS_RDB_SINK_H

#include "core/engine/capture.h"
#include "redis/rdb_stats.h"

struct mb_redis_component;

struct mb_rdb_sink
{
	const struct mb_redis_component *redis;
	struct mb_capture *capture;
	struct mb_rdb *walker;
	struct mb_rdb_stats *stats;
	struct mb_runs runs;
	uint64_t size;
	uint32_t crc32c;
};

void mb_rdb_sink_init(struct mb_rdb_sink *sink, const struct mb_redis_component *redis,
					  struct mb_capture *capture);
void mb_rdb_sink_release(struct mb_rdb_sink *sink);
/* An mb_payload_fn (replica.h); ctx is the sink. */
enum mb_code mb_rdb_sink_take(void *ctx, const void *data, size_t len, struct mb_error *err);
/*
 * The end: is it whole and good?  Adds it as MB_REDIS_RDB_NAME, and to the meta what was
 * counted; warns of what could not be checked.  MB_CORRUPT.
 */
enum mb_code mb_rdb_sink_finish(struct mb_rdb_sink *sink, struct mb_error *err) MB_MUST_CHECK;

/* An entry of packed bytes; of a shard its name begins with the shard's prefix. */
enum mb_code mb_redis_add_entry(const struct mb_redis_component *redis, struct mb_capture *capture,
								const char *file, const struct mb_runs *runs, uint64_t size,
								uint32_t crc32c, struct mb_error *err) MB_MUST_CHECK;

#endif

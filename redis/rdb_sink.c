/* rdb_sink.c - see rdb_sink.h. */
#include "redis/rdb_sink.h"

#include <string.h>

#include "core/base/hash.h"
#include "redis/component_private.h"

void
mb_rdb_sink_init(struct mb_rdb_sink *sink, const struct mb_redis_component *redis,
				 struct mb_capture *capture)
{
	*sink = (struct mb_rdb_sink){.redis = redis, .capture = capture, .crc32c = MB_CRC32C_INIT};
	sink->walker = mb_rdb_new_flags(MB_RDB_FOREIGN);
	sink->stats = mb_rdb_stats_new();
	mb_rdb_on_key(sink->walker, mb_rdb_stats_add, sink->stats);
}

void
mb_rdb_sink_release(struct mb_rdb_sink *sink)
{
	mb_rdb_free(sink->walker);
	mb_rdb_stats_free(sink->stats);
	mb_runs_release(&sink->runs);
	*sink = (struct mb_rdb_sink){0};
}

enum mb_code
mb_rdb_sink_take(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct mb_rdb_sink *sink = ctx;

	if (mb_rdb_feed(sink->walker, data, len, err))
		return err->code;
	sink->size += len;
	sink->crc32c = mb_crc32c(sink->crc32c, data, len);
	return mb_capture_bytes(sink->capture, 0, data, len, &sink->runs, err);
}

enum mb_code
mb_redis_add_entry(const struct mb_redis_component *redis, struct mb_capture *capture,
				   const char *file, const struct mb_runs *runs, uint64_t size, uint32_t crc32c,
				   struct mb_error *err)
{
	char name[MB_REDIS_ENTRY_MAX];
	struct mb_entry entry = {.type = MB_ENTRY_DATA,
							 .path = name,
							 .mode = 0600,
							 .size = size,
							 .runs = runs->items,
							 .run_count = runs->count,
							 .has_crc32c = true,
							 .crc32c = crc32c};

	mb_redis_entry_name(redis, file, name);
	entry.path_len = strlen(name);
	return mb_capture_add(capture, &entry, err);
}

enum mb_code
mb_rdb_sink_finish(struct mb_rdb_sink *sink, struct mb_error *err)
{
	const struct mb_rdb_summary *summary = mb_rdb_summary(sink->walker);
	struct mb_capture *capture = sink->capture;

	if (mb_rdb_finish(sink->walker, err))
		return err->code;
	if (summary->opaque)
		mb_capture_warn(capture,
						"the RDB format \"%s\" is newer than this mbackup: it is stored as it "
						"is, but its structure was not checked and not all keys were counted",
						summary->magic);
	if (!summary->has_checksum)
		mb_capture_warn(capture, "the server writes RDB data without a checksum (rdbchecksum no): "
								 "only its structure could be checked");
	json_object_set_new(capture->meta, "databases", mb_rdb_databases_json(summary));
	json_object_set_new(capture->meta, "statistics", mb_rdb_stats_json(sink->stats));
	mb_json_set_int(capture->meta, "rdb_version", summary->version);
	mb_json_set_int(capture->meta, "functions", (int64_t) summary->functions);
	return mb_redis_add_entry(sink->redis, capture, MB_REDIS_RDB_NAME, &sink->runs, sink->size,
							  sink->crc32c, err);
}

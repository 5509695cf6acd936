/*
 * component_redis_backup.c - the RDB of a fresh replica, then its stream up to the cut.
 *
 * The replica stays attached from snapshot to settle; what it receives meanwhile goes
 * into a spool, and settle packs of it what lies between the RDB and the cut.  A
 * connection that breaks meanwhile is opened again where it was, as long as the server's
 * backlog reaches back to there.
 */
#include <inttypes.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/time.h"
#include "redis/component_private.h"
#include "redis/rdb_sink.h"
#include "redis/resp.h"

#define COPY_BYTES (1u << 20)
#define SETTLE_SILENCE_MS 60000
#define SNAPSHOT_PAUSE_MS 500

/* -- snapshot --------------------------------------------------------------------------------- */

/* What the RDB says about itself must be what the server announced. */
static enum mb_code
check_rdb(struct mb_redis_component *redis, const struct mb_replica_start *start,
		  const struct mb_rdb_summary *summary, struct mb_error *err)
{
	if (summary->has_offset &&
		(summary->offset != start->offset || strcmp(summary->replid, start->replid) != 0))
		return mb_fail(err, MB_CORRUPT,
					   "the RDB is of offset %" PRIu64 " of %s, but the server announced %" PRIu64
					   " of %s",
					   summary->offset, summary->replid, start->offset, start->replid);
	strcpy(redis->replid, start->replid);
	strcpy(redis->server, summary->server);
	redis->rdb_offset = start->offset;
	redis->stream_db = summary->stream_db;
	redis->keys = summary->keys;
	return MB_OK;
}

/* Can a server at this point give what comes behind `received` of the snapshot's history? */
static enum mb_code
check_goes_on(const struct mb_redis_component *redis, const struct mb_redis_point *point,
			  uint64_t received, struct mb_error *err)
{
	if (strcmp(point->replid, redis->replid) != 0)
	{
		mb_fail(err, MB_CONFLICT, "Redis changed its replication history after the snapshot");
		return mb_error_hint(err,
							 "The server was restarted or failed over: take the backup again.");
	}
	if (mb_redis_point_serves(point, redis->replid, received))
		return MB_OK;
	mb_fail(err, MB_CONFLICT,
			"the connection to Redis broke at offset %" PRIu64
			", and the server's backlog does not reach back to it",
			received);
	return mb_error_hint(err, "Raise repl-backlog-size, then take the backup again.");
}

/* On the spool's thread: a connection of its own, nothing of the component but what does not change. */
static enum mb_code
reopen_replica(void *ctx, uint64_t received, struct mb_replica **out, struct mb_error *err)
{
	const struct mb_redis_component *redis = ctx;
	struct mb_redis_options where = redis->options;
	struct mb_replica_options options = {.redis = &where,
										 .replid = redis->replid,
										 .offset = received,
										 .no_data = true};
	struct mb_replica_start start = {0};
	struct mb_replica *replica = NULL;
	struct mb_redis *control = NULL;
	struct mb_redis_point point;
	enum mb_code code;

	/* Asked first: a PSYNC that cannot be served makes the server fork (attach does the same). */
	code = mb_redis_connect(&control, &redis->options, err);
	if (!code)
		code = mb_redis_point_read(control, &point, err);
	if (!code)
		code = check_goes_on(redis, &point, received, err);
	if (!code)
	{
		where.url = mb_redis_where(control);
		code = mb_replica_open(&replica, &options, &start, err);
	}
	if (!code && (start.full || strcmp(start.replid, redis->replid) != 0))
		code = mb_fail(err, MB_CONFLICT,
					   "the connection to Redis broke at offset %" PRIu64
					   ", and the server did not go on from there",
					   received);
	mb_redis_close(control);
	if (code)
	{
		mb_replica_close(replica);
		return code;
	}
	mb_log_info(redis->base.env->log,
				"%s: the replication connection broke at offset %" PRIu64 " and goes on",
				redis->base.name, received);
	*out = replica;
	return MB_OK;
}

/* One RDB of a fresh replica, then its stream into the spool until settle. */
static enum mb_code
snapshot_once(struct mb_component *component, struct mb_capture *capture, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_replica_options options = {.redis = &redis->options};
	struct mb_rdb_sink sink;
	struct mb_replica *replica = NULL;
	struct mb_replica_start start;
	const struct mb_spool_options spool = {.dir = component->env->spool,
										   .limit_bytes = UINT64_MAX,
										   .reopen = reopen_replica,
										   .reopen_ctx = redis};
	enum mb_code code;

	mb_spool_stop(redis->spool);
	redis->spool = NULL;
	mb_rdb_sink_init(&sink, redis, capture);
	code = mb_replica_open(&replica, &options, &start, err);
	if (!code)
		code = mb_replica_rdb(replica, mb_rdb_sink_take, &sink, err);
	if (!code)
		code = mb_rdb_sink_finish(&sink, err);
	if (!code)
		code = check_rdb(redis, &start, mb_rdb_summary(sink.walker), err);
	/* Nothing of the tail is durable before the commit, so nothing of it is acknowledged. */
	if (!code)
		code = mb_spool_start(&redis->spool, replica, start.offset, &spool, err);
	if (code)
		mb_replica_close(replica);
	mb_rdb_sink_release(&sink);
	return code;
}

enum mb_code
mb_redis_try_again(struct mb_component *component, struct mb_error *err)
{
	mb_log_info(component->env->log, "%s: %s; trying again", component->name, err->message);
	mb_sleep_ms(SNAPSHOT_PAUSE_MS);
	mb_error_clear(err);
	return mb_cancel_check(component->env->cancel, err);
}

/*
 * A server ends the child that writes the RDB, and with it our connection, when somebody says FLUSHALL,
 * or when it runs out of memory or disk: the next try may have more luck.  What the first has packed is
 * left to the sweeper.
 */
enum mb_code
mb_redis_snapshot(struct mb_component *component, struct mb_capture *capture, struct mb_error *err)
{
	enum mb_code code = snapshot_once(component, capture, err);
	unsigned tries;

	for (tries = 1; code == MB_UNREACHABLE && tries < MB_REDIS_SNAPSHOT_TRIES; tries++)
	{
		code = mb_redis_try_again(component, err);
		if (!code)
			code = snapshot_once(component, capture, err);
	}
	return code;
}

/* -- settle ---------------------------------------------------------------------------------------- */

/* Where the cut is; a cut that knows nothing of us (its clock failed) is made here. */
static enum mb_code
cut_offset(struct mb_redis_component *redis, const struct mb_cut *cut, uint64_t *offset,
		   int64_t *time_us, struct mb_error *err)
{
	const json_t *position = json_object_get(cut->positions, redis->base.name);
	const json_t *moment =
		json_object_get(position, redis->side == MB_REDIS_BEFORE ? "before" : "after");
	struct mb_redis_point point;

	if (position)
	{
		snprintf(point.replid, sizeof(point.replid), "%s", mb_json_str(position, "replid", ""));
		point.offset = (uint64_t) mb_json_int(position, "offset", 0);
		point.time_us = mb_json_time(moment, "time");
	}
	else if (mb_redis_component_point(redis, &point, err))
		return err->code;
	if (strcmp(point.replid, redis->replid) != 0 || point.offset < redis->rdb_offset)
	{
		mb_fail(err, MB_CONFLICT,
				"Redis changed its replication history between the snapshot and the cut");
		mb_error_detail(err,
						"The snapshot is of offset %" PRIu64 " of %s, the cut of %" PRIu64
						" of %s.",
						redis->rdb_offset, redis->replid, point.offset, point.replid);
		return mb_error_hint(err,
							 "The server was restarted or failed over: take the backup again.");
	}
	*offset = point.offset;
	*time_us = point.time_us;
	return MB_OK;
}

static enum mb_code
wait_received(struct mb_redis_component *redis, uint64_t offset, struct mb_error *err)
{
	uint64_t last = 0;
	int64_t since_ms = mb_monotonic_ms();

	for (;;)
	{
		uint64_t received = mb_spool_received(redis->spool);

		if (received >= offset)
			return MB_OK;
		if (mb_cancel_check(redis->base.env->cancel, err))
			return err->code;
		if (mb_spool_state(redis->spool, err))
			return mb_error_context(err, "the replication connection was lost before the cut");
		if (received != last)
			since_ms = mb_monotonic_ms();
		last = received;
		if (mb_monotonic_ms() - since_ms > SETTLE_SILENCE_MS)
			return mb_fail(err, MB_UNREACHABLE,
						   "Redis sent nothing for %d s, %" PRIu64 " bytes before the cut",
						   SETTLE_SILENCE_MS / 1000, offset - received);
		mb_sleep_ms(10);
	}
}

/* Pack (rdb_offset, offset] and prove that the cut is between two commands. */
static enum mb_code
pack_tail(struct mb_redis_component *redis, struct mb_capture *capture, uint64_t offset,
		  struct mb_error *err)
{
	struct mb_runs runs = {0};
	struct mb_buf bytes = {0};
	struct mb_resp resp;
	uint32_t crc32c = MB_CRC32C_INIT;
	uint64_t at = redis->rdb_offset;
	enum mb_code code = MB_OK;

	mb_resp_init(&resp, at, redis->stream_db, false);
	while (!code && at < offset)
	{
		size_t n = offset - at < COPY_BYTES ? (size_t) (offset - at) : COPY_BYTES;

		mb_buf_reset(&bytes);
		code = mb_spool_read(redis->spool, at, n, &bytes, err);
		if (!code)
			code = mb_resp_feed(&resp, bytes.data, n, err);
		if (!code)
			code = mb_capture_bytes(capture, 0, bytes.data, n, &runs, err);
		crc32c = mb_crc32c(crc32c, bytes.data, n);
		at += n;
	}
	if (!code && !mb_resp_at_boundary(&resp))
		code =
			mb_fail(err, MB_CORRUPT, "the cut at offset %" PRIu64 " is inside a command", offset);
	if (!code && offset > redis->rdb_offset)
		code = mb_redis_add_entry(redis, capture, MB_REDIS_TAIL_NAME, &runs,
								  offset - redis->rdb_offset, crc32c, err);
	mb_runs_release(&runs);
	mb_buf_release(&bytes);
	return code;
}

static void
fill_meta(const struct mb_redis_component *redis, uint64_t offset, int64_t time_us, json_t *meta)
{
	mb_json_set_str(meta, "replid", redis->replid);
	mb_json_set_int(meta, "rdb_offset", (int64_t) redis->rdb_offset);
	mb_json_set_int(meta, "offset", (int64_t) offset);
	mb_json_set_int(meta, "db", redis->stream_db);
	mb_json_set_str(meta, "server_version", redis->server);
	mb_json_set_int(meta, "keys", (int64_t) redis->keys);
	mb_json_set_str(meta, "side", redis->side == MB_REDIS_BEFORE ? "before" : "after");
	mb_json_set_str(meta, "role", redis->is_cache ? "cache" : "data");
	if (time_us)
		mb_json_set_time(meta, "server_time", time_us);
}

enum mb_code
mb_redis_settle(struct mb_component *component, struct mb_capture *capture,
				const struct mb_cut *cut, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	uint64_t offset = 0;
	int64_t time_us = 0;
	enum mb_code code;

	MB_ASSERT(redis->spool);
	mb_progress_phase(capture->progress, "reading commands up to the cut");
	code = cut_offset(redis, cut, &offset, &time_us, err);
	if (!code)
		code = wait_received(redis, offset, err);
	if (!code)
		code = pack_tail(redis, capture, offset, err);
	if (!code)
		fill_meta(redis, offset, time_us, capture->meta);
	mb_spool_stop(redis->spool);
	redis->spool = NULL;
	return code;
}

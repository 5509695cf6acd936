/*
 * component_redis_rdb.c - capture = rdb: a snapshot and nothing else.
 *
 * First as redis-cli --rdb does it: one RDB by PSYNC or SYNC, of one moment, and the line is
 * closed.  A server that refuses both (managed services; a user without the right) is read key by key
 * (scan_dump.h), which is of no one moment: the backup warns, its meta says "consistency": "keys".
 *
 * There is no stream and no tail, so the backup is of some moment before the cut (or behind it, with side =
 * after), a pause cannot change that, and a mark is not covered.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/component_private.h"
#include "redis/rdb_sink.h"
#include "redis/scan_dump.h"

/* -- snapshot --------------------------------------------------------------------------------- */

/* Of the snapshot, best effort: a user who may only be a replica may not ask. */
static int64_t
server_time(struct mb_redis_component *redis)
{
	struct mb_redis_reply reply = {0};
	struct mb_redis *connection = NULL;
	int64_t time_us = mb_time_now_us();
	struct mb_error ignored;

	mb_error_clear(&ignored);
	if (mb_redis_connect(&connection, &redis->options, &ignored) == MB_OK &&
		MB_REDIS_CALL(connection, &reply, &ignored, "TIME") == MB_OK && reply.count == 2 &&
		reply.items[0].type == MB_REDIS_STRING && reply.items[1].type == MB_REDIS_STRING)
		time_us = strtoll(reply.items[0].text, NULL, 10) * 1000000 +
				  strtoll(reply.items[1].text, NULL, 10);
	mb_redis_reply_release(&reply);
	mb_redis_close(connection);
	return time_us;
}

static void
note_rdb(struct mb_redis_component *redis, const struct mb_rdb_summary *summary)
{
	strcpy(redis->server, summary->server);
	redis->stream_db = summary->stream_db;
	redis->keys = summary->keys;
}

static enum mb_code
check_place(struct mb_redis_component *redis, const struct mb_replica_start *start,
			const struct mb_rdb_summary *summary, struct mb_error *err)
{
	bool announced = start->replid[0] != '\0';

	redis->replid[0] = '\0';
	redis->rdb_offset = 0;
	if (announced && summary->has_offset &&
		(summary->offset != start->offset || strcmp(summary->replid, start->replid) != 0))
		return mb_fail(err, MB_CORRUPT,
					   "the RDB is of offset %" PRIu64 " of %s, but the server announced %" PRIu64
					   " of %s",
					   summary->offset, summary->replid, start->offset, start->replid);
	if (announced)
	{
		strcpy(redis->replid, start->replid);
		redis->rdb_offset = start->offset;
	}
	else if (summary->has_offset && mb_replid_is_valid(summary->replid))
	{
		memcpy(redis->replid, summary->replid, MB_REPLID_TEXT); /* valid: so long */
		redis->rdb_offset = summary->offset;
	}
	return MB_OK;
}

static enum mb_code
by_replica(struct mb_component *component, struct mb_capture *capture, bool *refused,
		   struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_replica_options options = {.redis = &redis->options, .rdb_only = true};
	struct mb_replica *replica = NULL;
	struct mb_replica_start start;
	struct mb_rdb_sink sink;
	enum mb_code code;

	mb_rdb_sink_init(&sink, redis, capture);
	code = mb_replica_open(&replica, &options, &start, err);
	*refused = code == MB_DENIED || code == MB_UNSUPPORTED;
	/* The answer comes at the moment of the fork. */
	if (!code)
		redis->taken_us = redis->taken_from_us = server_time(redis);
	if (!code)
		code = mb_replica_rdb(replica, mb_rdb_sink_take, &sink, err);
	mb_replica_close(replica);
	if (!code)
		code = mb_rdb_sink_finish(&sink, err);
	if (!code)
		code = check_place(redis, &start, mb_rdb_summary(sink.walker), err);
	if (!code)
		note_rdb(redis, mb_rdb_summary(sink.walker));
	mb_rdb_sink_release(&sink);
	return code;
}

static void
warn_of_keys(const struct mb_scan_dump_result *result, const char *why, struct mb_capture *capture)
{
	char from[MB_TIME_TEXT], to[MB_TIME_TEXT];

	mb_time_format(from, result->from_us);
	mb_time_format(to, result->to_us);
	mb_capture_warn(capture,
					"the server gives no snapshot (%s): its keys were read one by one from %s to "
					"%s, so this backup is not of one moment",
					why, from, to);
	if (result->no_functions)
		mb_capture_warn(capture, "the user may not say FUNCTION DUMP: functions are not in this "
								 "backup");
}

static enum mb_code
by_keys(struct mb_component *component, struct mb_capture *capture, const char *why,
		struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_scan_dump_result result;
	struct mb_rdb_sink sink;
	struct mb_scan_dump_options options = {.redis = &redis->options,
										   .fn = mb_rdb_sink_take,
										   .ctx = &sink};
	enum mb_code code;

	mb_log_info(component->env->log, "%s: %s; reading key by key", component->name, why);
	mb_rdb_sink_init(&sink, redis, capture);
	code = mb_scan_dump(&options, &result, err);
	if (!code)
		code = mb_rdb_sink_finish(&sink, err);
	if (!code)
	{
		redis->by_keys = true;
		redis->replid[0] = '\0';
		redis->rdb_offset = 0;
		redis->taken_from_us = result.from_us;
		redis->taken_us = result.to_us;
		note_rdb(redis, mb_rdb_summary(sink.walker));
		warn_of_keys(&result, why, capture);
		mb_log_info(component->env->log,
					"%s: %" PRIu64 " keys; SCAN gave %" PRIu64 " twice, %" PRIu64
					" were gone when their value was asked for, %" PRIu64
					" changed while they were read and were read again",
					component->name, result.keys, result.repeated, result.vanished, result.retaken);
	}
	mb_rdb_sink_release(&sink);
	return code;
}

/* As mb_redis_snapshot: the child that writes the RDB may die for reasons that pass. */
static enum mb_code
take_snapshot(struct mb_component *component, struct mb_capture *capture, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	enum mb_code code;
	bool refused;
	char why[256];
	unsigned tries;

	redis->taken_us = 0;
	redis->by_keys = false;
	code = by_replica(component, capture, &refused, err);
	for (tries = 1; code == MB_UNREACHABLE && tries < MB_REDIS_SNAPSHOT_TRIES; tries++)
	{
		code = mb_redis_try_again(component, err);
		if (!code)
			code = by_replica(component, capture, &refused, err);
	}
	if (!code || !refused)
		return code;
	snprintf(why, sizeof(why), "%.255s", err->message);
	mb_error_clear(err);
	return by_keys(component, capture, why, err);
}

/*
 * side = after is taken behind the cut, by settle(): what else is in the backup may take hours, but
 * a key of behind the cut may then speak of a row that the database does not have.
 */
static enum mb_code
snapshot(struct mb_component *component, struct mb_capture *capture, struct mb_error *err)
{
	if (mb_redis_of(component)->side == MB_REDIS_AFTER)
		return MB_OK;
	return take_snapshot(component, capture, err);
}

/* -- the cut ------------------------------------------------------------------------------------ */

/* Of a backup, what it is of; a mark says nothing here and is refused by await(). */
static enum mb_code
position(struct mb_component *component, struct mb_cut *cut, enum mb_moment moment,
		 struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	json_t *position;

	(void) moment;
	(void) err;
	if (redis->taken_us == 0)
		return MB_OK;
	position = json_object();
	mb_json_set_str(position, "consistency", redis->by_keys ? "keys" : "snapshot");
	mb_json_set_time(position, "time", redis->taken_us);
	if (redis->replid[0])
	{
		mb_json_set_str(position, "replid", redis->replid);
		mb_json_set_int(position, "offset", (int64_t) redis->rdb_offset);
	}
	json_object_set_new(cut->positions, component->name, position);
	return MB_OK;
}

static enum mb_code
settle(struct mb_component *component, struct mb_capture *capture, const struct mb_cut *cut,
	   struct mb_error *err)
{
	const struct mb_redis_component *redis = mb_redis_of(component);
	json_t *meta = capture->meta;
	char moment[MB_TIME_TEXT];
	double before_s;

	if (redis->side == MB_REDIS_AFTER && take_snapshot(component, capture, err))
		return err->code;
	MB_ASSERT(redis->taken_us);
	mb_time_format(moment, redis->taken_us);
	before_s = (double) (cut->time_us - redis->taken_us) / 1e6;
	mb_capture_note(capture, "its data is of %s, %.1f s %s the cut", moment,
					before_s < 0 ? -before_s : before_s, before_s < 0 ? "behind" : "before");
	mb_json_set_str(meta, "capture", "rdb");
	mb_json_set_str(meta, "consistency", redis->by_keys ? "keys" : "snapshot");
	/* A snapshot whose place is known is where a stream can go on, should there be one some day. */
	mb_json_set_str(meta, "replid", redis->replid);
	mb_json_set_int(meta, "rdb_offset", (int64_t) redis->rdb_offset);
	mb_json_set_int(meta, "offset", (int64_t) redis->rdb_offset);
	mb_json_set_int(meta, "db", redis->stream_db);
	mb_json_set_str(meta, "server_version", redis->server);
	mb_json_set_int(meta, "keys", (int64_t) redis->keys);
	mb_json_set_str(meta, "side", redis->side == MB_REDIS_BEFORE ? "before" : "after");
	mb_json_set_str(meta, "role", redis->is_cache ? "cache" : "data");
	mb_json_set_time(meta, "server_time", redis->taken_us);
	if (redis->by_keys)
		mb_json_set_time(meta, "scan_began", redis->taken_from_us);
	return MB_OK;
}

static enum mb_code
await(struct mb_component *component, const struct mb_cut *cut, int64_t timeout_ms,
	  struct mb_error *err)
{
	(void) cut;
	(void) timeout_ms;
	mb_fail(err, MB_NEGATIVE,
			"\"%s\" has capture = rdb: there is no stream of it, so nothing leads from a backup to "
			"a mark",
			component->name);
	return mb_error_hint(err, "Run \"mbackup backup\" for a state of that moment, or set capture = "
							  "replica where the server allows PSYNC.");
}

const struct mb_component_ops mb_redis_rdb_component_ops = {
	.kind = "redis",
	.capabilities = MB_CAP_UNHELD,
	.open = mb_redis_open_component,
	.close = mb_redis_close_component,
	.check = mb_redis_check,
	.snapshot = snapshot,
	.hold = mb_no_hold,
	.release = mb_no_release,
	.position = position,
	.settle = settle,
	.await = await,
	.stream = mb_no_stream,
	.window = mb_redis_window,
	.plan = mb_redis_plan,
	.restore = mb_redis_restore,
	.verify = mb_nothing_verify,
	.reach = mb_redis_reach,
	.revive = mb_redis_revive,
	.lay_down = mb_redis_lay_down,
	.holds = mb_redis_holds,
	.keep = mb_redis_keep,
	.undo = mb_redis_undo,
	.health = mb_redis_health,
	.trim = mb_redis_trim,
	.describe = mb_redis_describe,
};

/*
 * component_private.h - what the files of the Redis component share:
 * component_redis.c (settings, position), component_redis_backup.c (snapshot, settle),
 * component_redis_hold.c, component_redis_check.c, component_redis_attach.c and
 * component_redis_stream.c (stream), component_redis_await.c, component_redis_plan.c (plan,
 * window), component_redis_restore.c (restore into a directory).
 * A restore into a running server: live.h.
 */
#ifndef MB_REDIS_COMPONENT_PRIVATE_H
#define MB_REDIS_COMPONENT_PRIVATE_H

#include "redis/component_redis.h"
#include "redis/pieces.h"
#include "redis/spool.h"

#define MB_REDIS_RDB_NAME "dump.rdb"
#define MB_REDIS_TAIL_NAME "tail.aof"

enum mb_redis_side
{
	MB_REDIS_BEFORE,
	MB_REDIS_AFTER
};

struct mb_redis_component
{
	struct mb_component base;
	struct mb_redis_url url;
	struct mb_redis_options options; /* borrows url and the settings */
	enum mb_redis_side side;
	bool is_cache;

	/* From the first position or hold to the end: commands beside the replica. */
	struct mb_redis *control;

	/* A pause: held at this offset since this moment. */
	struct mb_redis_point held;
	int64_t held_from_ms;
	int64_t held_limit_ms;

	/* From snapshot to settle. */
	struct mb_spool *spool;
	char replid[MB_REPLID_TEXT];
	uint64_t rdb_offset;
	int64_t stream_db;
	char server[64]; /* version */
	uint64_t keys;
};

static inline struct mb_redis_component *
mb_redis_of(struct mb_component *component)
{
	return (struct mb_redis_component *) component;
}

/* The point of now over redis->control, which is opened (and once reopened) as needed. */
enum mb_code mb_redis_component_point(struct mb_redis_component *redis,
									  struct mb_redis_point *point,
									  struct mb_error *err) MB_MUST_CHECK;

/* Can this backup be brought exactly to (replid, offset), by its own tail or by the pieces? */
enum mb_code mb_redis_commit_reaches(struct mb_component *component, const struct mb_commit *commit,
									 const struct mb_pieces *pieces, const char *replid,
									 uint64_t offset, bool *yes,
									 struct mb_error *err) MB_MUST_CHECK;

enum mb_code mb_redis_snapshot(struct mb_component *component, struct mb_capture *capture,
							   struct mb_error *err);
enum mb_code mb_redis_settle(struct mb_component *component, struct mb_capture *capture,
							 const struct mb_cut *cut, struct mb_error *err);
enum mb_code mb_redis_hold(struct mb_component *component, int64_t limit_ms, struct mb_error *err);
enum mb_code mb_redis_release(struct mb_component *component, bool *held, struct mb_error *err);
enum mb_code mb_redis_check(struct mb_component *component, struct mb_checks *checks,
							struct mb_error *err);
enum mb_code mb_redis_await(struct mb_component *component, const struct mb_cut *cut,
							int64_t timeout_ms, struct mb_error *err);
enum mb_code mb_redis_stream(struct mb_component *component, struct mb_error *err);
enum mb_code mb_redis_window(struct mb_component *component, struct mb_window *window,
							 struct mb_error *err);
enum mb_code mb_redis_plan(struct mb_component *component, struct mb_restore *restore,
						   struct mb_error *err);
enum mb_code mb_redis_restore(struct mb_component *component, struct mb_restore *restore,
							  struct mb_error *err);
/*
 * The files of restore->commit up to the planned offset, into an empty directory.
 * *append_only: the server that loads them needs appendonly yes.  Sets result.reached.
 */
enum mb_code mb_redis_write_files(struct mb_component *component, struct mb_restore *restore,
								  const char *directory, bool *append_only,
								  struct mb_error *err) MB_MUST_CHECK;

#endif

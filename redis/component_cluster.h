/*
 * component_cluster.h - a Redis Cluster as one component: what its files share.
 *
 *     component_cluster.c          snapshot, cut and settle; check
 *     component_cluster_shards.c   the shards, and how they see a commit, a cut, a restore
 *     component_cluster_stream.c   a stream for each shard, and watching who they are
 *     component_cluster_plan.c     plan, window and await over all shards
 *     component_cluster_restore.c  a directory for each shard, of the same layout
 *     component_cluster_live.c     into running servers, key by key: into a cluster of any
 *                                  layout, into a single server, from either of them
 *
 * A shard is a Redis component like any other (component_private.h) whose url leads to the
 * master of its lowest slot.  By that slot it is named: "sessions/slot-5461".  So a failover
 * does not change its name, and its stream goes on; when slots are moved, names or the slots
 * behind them change, and only a backup taken after that leads on.  That is checked, not
 * assumed: a cut holds each shard's slots as the shard's master itself told them, and two
 * layouts are the same when every shard has the same slots.
 *
 * In a cut:    {"side", "shards": {NAME: {"slots", "node", replid, offset, before, after, side}}}
 * In a commit: {"shards": {NAME: {"slots", "node", and what a backup of one server says}}, ...}
 */
#ifndef MB_REDIS_COMPONENT_CLUSTER_H
#define MB_REDIS_COMPONENT_CLUSTER_H

#include "redis/cluster.h"
#include "redis/component_private.h"

struct mb_cluster_shard
{
	struct mb_redis_component *redis;
	char name[MB_COMPONENT_MAX + 16]; /* "sessions/slot-0" */
	char prefix[16];                  /* "slot-0/" */
	char *slots;                      /* "0-5460" */
	char node[MB_NODE_ID_LEN + 1];    /* who served them when we looked, or "" */
	json_t *meta;                     /* from snapshot to settle */
};

struct mb_redis_cluster
{
	struct mb_cluster_shard *shards; /* by their lowest slot */
	size_t count;
};

extern const struct mb_component_ops mb_redis_cluster_ops;

/* Make a component whose url is that of a cluster one; it has no shards yet. */
void mb_redis_cluster_open(struct mb_redis_component *redis);
void mb_redis_cluster_close(struct mb_redis_component *redis); /* of a single server: nothing */

/* The shards as the cluster has them now. */
enum mb_code mb_cluster_look(struct mb_redis_component *redis, struct mb_error *err) MB_MUST_CHECK;
/* The shards of a cut or a commit: its "shards".  MB_CORRUPT. */
enum mb_code mb_cluster_shards_from(struct mb_redis_component *redis, const json_t *shards,
									struct mb_error *err) MB_MUST_CHECK;
void mb_cluster_shards_drop(struct mb_redis_component *redis);

/* Do two "shards" have the same names with the same slots? */
bool mb_cluster_same_layout(const json_t *a, const json_t *b);

/* A commit as the shard sees it: *view->meta is owned (mb_cluster_view_release), the rest borrowed. */
void mb_cluster_view(struct mb_commit *view, const struct mb_commit *commit, const char *shard);
void mb_cluster_view_release(struct mb_commit *view);
/* A cut as the shards see it: positions is borrowed, NULL when the cut has none. */
struct mb_cut mb_cluster_cut(const struct mb_redis_component *redis, const struct mb_cut *cut);

enum mb_code mb_cluster_stream(struct mb_component *component, struct mb_error *err);
enum mb_code mb_cluster_await(struct mb_component *component, const struct mb_cut *cut,
							  int64_t timeout_ms, struct mb_error *err);
enum mb_code mb_cluster_window(struct mb_component *component, struct mb_window *window,
							   struct mb_error *err);
enum mb_code mb_cluster_plan(struct mb_component *component, struct mb_restore *restore,
							 struct mb_error *err);
enum mb_code mb_cluster_restore(struct mb_component *component, struct mb_restore *restore,
								struct mb_error *err);

/*
 * A restore as one shard sees it.  Between the two, what it counts and makes is its own; end
 * gives that back.  plan and result are the shard's.
 */
struct mb_cluster_part
{
	struct mb_env env; /* it logs nothing: end tells its warnings as those of the whole */
	struct mb_cut cut; /* the target's, with the positions of the shards */
	struct mb_restore restore;
	struct mb_commit *candidates; /* views, owned */
	char *destination;
};
void mb_cluster_part_begin(struct mb_cluster_part *part, const struct mb_redis_component *redis,
						   const struct mb_restore *whole, const struct mb_cluster_shard *shard);
void mb_cluster_part_end(struct mb_cluster_part *part, struct mb_restore *whole);

#endif

/* component_cluster.c - see component_cluster.h: snapshot, cut, settle, check. */
#include "redis/component_cluster.h"

#include <stdlib.h>
#include <string.h>

#include "redis/rdb_stats.h"

/* -- snapshot ------------------------------------------------------------------------------- */

static enum mb_code
snapshot(struct mb_component *component, struct mb_capture *capture, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_redis_cluster *cluster = redis->cluster;
	json_t *meta = capture->meta;
	enum mb_code code = mb_cluster_look(redis, err);
	size_t i;

	/* One after the other; what the first ones receive meanwhile goes into their spools. */
	for (i = 0; !code && i < cluster->count; i++)
	{
		struct mb_cluster_shard *shard = &cluster->shards[i];

		capture->meta = shard->meta = json_object();
		code = mb_redis_snapshot(&shard->redis->base, capture, err);
		if (code)
			mb_error_context(err, "shard %s", shard->name);
	}
	capture->meta = meta;
	return code;
}

/* -- hold ----------------------------------------------------------------------------------- */

static enum mb_code
release_first(struct mb_redis_component *redis, size_t count, bool *held, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	*held = true;
	/* Every one, whatever becomes of another: writers wait. */
	for (i = 0; i < count; i++)
	{
		struct mb_cluster_shard *shard = &redis->cluster->shards[i];
		struct mb_error own;
		bool lasted = false;

		mb_error_clear(&own);
		if (mb_redis_release(&shard->redis->base, &lasted, &own) && !code)
		{
			*err = own;
			code = mb_error_context(err, "shard %s", shard->name);
		}
		*held = *held && lasted;
	}
	return code;
}

static enum mb_code
hold(struct mb_component *component, int64_t limit_ms, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	enum mb_code code = redis->cluster->count ? MB_OK : mb_cluster_look(redis, err);
	size_t i;

	for (i = 0; !code && i < redis->cluster->count; i++)
	{
		struct mb_error ignored;
		bool held;

		code = mb_redis_hold(&redis->cluster->shards[i].redis->base, limit_ms, err);
		if (!code)
			continue;
		mb_error_context(err, "shard %s", redis->cluster->shards[i].name);
		mb_error_clear(&ignored);
		(void) !release_first(redis, i, &held, &ignored);
	}
	return code;
}

static enum mb_code
release(struct mb_component *component, bool *held, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);

	return release_first(redis, redis->cluster->count, held, err);
}

/* -- position ------------------------------------------------------------------------------- */

static enum mb_code
moved(const struct mb_cluster_shard *shard, const char *when, struct mb_error *err)
{
	mb_fail(err, MB_CONFLICT, "the slots of shard %s moved, or another node took them over, %s",
			shard->name, when);
	return mb_error_hint(err, "Take it again when \"redis-cli --cluster check\" finds the cluster "
							  "at rest.");
}

/* What the shard's master says of its slots: noted before the cut, and the same behind it. */
static enum mb_code
note_slots(struct mb_cluster_shard *shard, json_t *position, enum mb_moment moment,
		   unsigned *served, struct mb_error *err)
{
	struct mb_cluster_node node = {0};
	char *slots;
	bool same;

	if (mb_cluster_myself(shard->redis->control, &node, err))
		return err->code;
	*served += mb_slots_count(&node.slots);
	slots = mb_slots_text(&node.slots);
	if (moment == MB_MOMENT_BEFORE)
	{
		mb_json_set_str(position, "slots", slots);
		mb_json_set_str(position, "node", node.id);
	}
	/* The shards are those of a moment ago, or of the snapshot. */
	same = strcmp(slots, shard->slots) == 0 && strcmp(node.id, shard->node) == 0 &&
		   strcmp(node.id, mb_json_str(position, "node", "")) == 0;
	free(slots);
	mb_cluster_node_release(&node);
	return same && !node.is_moving ? MB_OK : moved(shard, "around the cut", err);
}

static enum mb_code
position(struct mb_component *component, struct mb_cut *cut, enum mb_moment moment,
		 struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	enum mb_code code = redis->cluster->count ? MB_OK : mb_cluster_look(redis, err);
	json_t *position = json_object_get(cut->positions, component->name);
	struct mb_cut own;
	unsigned served = 0;
	size_t i;

	if (code)
		return code;
	if (!position)
	{
		position = json_pack("{s:s,s:{}}", "side",
							 redis->side == MB_REDIS_BEFORE ? "before" : "after", "shards");
		json_object_set_new(cut->positions, component->name, position);
	}
	own = mb_cluster_cut(redis, cut);
	for (i = 0; !code && i < redis->cluster->count; i++)
	{
		struct mb_cluster_shard *shard = &redis->cluster->shards[i];

		code = mb_redis_position(&shard->redis->base, &own, moment, err);
		if (!code)
			code = note_slots(shard, json_object_get(own.positions, shard->name), moment, &served,
							  err);
	}
	if (!code && served != MB_CLUSTER_SLOTS)
		code =
			mb_fail(err, MB_CONFLICT, "the masters serve %u of %d slots", served, MB_CLUSTER_SLOTS);
	/* Half a position is none. */
	if (code)
		json_object_del(cut->positions, component->name);
	return code;
}

/* -- settle --------------------------------------------------------------------------------- */

/* What the shards have in common, and their sums, for whoever looks at the backup as one. */
static void
fill_meta(const struct mb_redis_component *redis, json_t *meta)
{
	json_t *shards = json_object(), *statistics = NULL;
	int64_t keys = 0, expires = 0, functions = 0, version = 0;
	size_t i;

	for (i = 0; i < redis->cluster->count; i++)
	{
		const struct mb_cluster_shard *shard = &redis->cluster->shards[i];
		json_t *own = shard->meta;
		json_t *db = json_array_get(json_object_get(own, "databases"), 0);

		mb_json_set_str(own, "slots", shard->slots);
		mb_json_set_str(own, "node", shard->node);
		keys += mb_json_int(own, "keys", 0);
		expires += mb_json_int(db, "expires", 0);
		if (mb_json_int(own, "functions", 0) > functions)
			functions = mb_json_int(own, "functions", 0);
		if (mb_json_int(own, "rdb_version", 0) > version)
			version = mb_json_int(own, "rdb_version", 0);
		statistics = mb_rdb_stats_sum(statistics, json_object_get(own, "statistics"));
		json_object_del(own, "statistics");
		json_object_set(shards, shard->name, own);
	}
	mb_json_set_str(meta, "server_version",
					mb_json_str(redis->cluster->shards[0].meta, "server_version", ""));
	mb_json_set_int(meta, "rdb_version", version);
	mb_json_set_int(meta, "keys", keys);
	mb_json_set_int(meta, "functions", functions);
	json_object_set_new(meta, "databases",
						json_pack("[{s:i,s:I,s:I}]", "db", 0, "keys", (json_int_t) keys, "expires",
								  (json_int_t) expires));
	if (statistics)
		json_object_set_new(meta, "statistics", statistics);
	mb_json_set_str(meta, "side", redis->side == MB_REDIS_BEFORE ? "before" : "after");
	mb_json_set_str(meta, "role", redis->is_cache ? "cache" : "data");
	json_object_set_new(meta, "shards", shards);
}

static enum mb_code
settle_shard(struct mb_cluster_shard *shard, struct mb_capture *capture, const struct mb_cut *own,
			 struct mb_error *err)
{
	const json_t *at = json_object_get(own->positions, shard->name);

	if (strcmp(mb_json_str(at, "slots", ""), shard->slots) != 0 ||
		strcmp(mb_json_str(at, "node", ""), shard->node) != 0)
		return moved(shard, "during the backup", err);
	capture->meta = shard->meta;
	if (mb_redis_settle(&shard->redis->base, capture, own, err))
		return mb_error_context(err, "shard %s", shard->name);
	return MB_OK;
}

static enum mb_code
settle(struct mb_component *component, struct mb_capture *capture, const struct mb_cut *cut,
	   struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_cut made = {.positions = json_object()}, own = mb_cluster_cut(redis, cut);
	json_t *meta = capture->meta;
	enum mb_code code = MB_OK;
	size_t i;

	/* A cut that knows nothing of us (its clock failed): one is made here. */
	if (!own.positions)
		code = position(component, &made, MB_MOMENT_BEFORE, err);
	if (!code && !own.positions)
		code = position(component, &made, MB_MOMENT_AFTER, err);
	if (!own.positions)
		own = mb_cluster_cut(redis, &made);
	for (i = 0; !code && i < redis->cluster->count; i++)
		code = settle_shard(&redis->cluster->shards[i], capture, &own, err);
	capture->meta = meta;
	if (!code)
		fill_meta(redis, meta);
	json_decref(made.positions);
	return code;
}

/* -- check ---------------------------------------------------------------------------------- */

static enum mb_code
check_shard(struct mb_cluster_shard *shard, struct mb_checks *checks, struct mb_error *err)
{
	struct mb_redis_point point;
	struct mb_cluster_node node = {0};
	struct mb_error found;

	if (mb_redis_check(&shard->redis->base, checks, err))
		return err->code;
	mb_error_clear(&found);
	if (mb_redis_component_point(shard->redis, &point, &found) ||
		mb_cluster_myself(shard->redis->control, &node, &found))
		return MB_OK; /* told by the check of the server */
	if (node.is_moving)
		mb_check_add(checks, MB_CHECK_WARNING, shard->name, "cluster-slots",
					 "redis-cli --cluster check HOST:PORT, and --cluster fix when nobody moves "
					 "them",
					 "slots are being moved: no cut can be made meanwhile");
	else
		mb_check_add(checks, MB_CHECK_OK, shard->name, "cluster-slots", "", "it serves slots %s",
					 shard->slots);
	mb_cluster_node_release(&node);
	return MB_OK;
}

static enum mb_code
check(struct mb_component *component, struct mb_checks *checks, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_error found;
	enum mb_code code;
	size_t i;

	mb_error_clear(&found);
	code = mb_cluster_look(redis, &found);
	if (code == MB_INTERRUPTED)
	{
		*err = found;
		return code;
	}
	if (code)
	{
		mb_check_add(checks, MB_CHECK_FAILED, component->name, "cluster",
					 found.hint[0]
						 ? found.hint
						 : "redis-cli --cluster check HOST:PORT; or the right url in its section",
					 "%s", found.message);
		return MB_OK;
	}
	mb_check_add(checks, MB_CHECK_OK, component->name, "cluster", "",
				 "%zu masters serve all %d slots", redis->cluster->count, MB_CLUSTER_SLOTS);
	for (i = 0; !code && i < redis->cluster->count; i++)
		code = check_shard(&redis->cluster->shards[i], checks, err);
	return code;
}

const struct mb_component_ops mb_redis_cluster_ops = {
	.kind = "redis",
	.capabilities = MB_CAP_HOLD | MB_CAP_STREAM,
	.open = mb_redis_open_component,
	.close = mb_redis_close_component,
	.check = check,
	.snapshot = snapshot,
	.hold = hold,
	.release = release,
	.position = position,
	.settle = settle,
	.await = mb_cluster_await,
	.stream = mb_cluster_stream,
	.window = mb_cluster_window,
	.plan = mb_cluster_plan,
	.restore = mb_cluster_restore,
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

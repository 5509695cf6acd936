/* component_cluster_shards.c - see component_cluster.h: the shards, and how they see what is of all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/component_cluster.h"

/* -- shards --------------------------------------------------------------------------------- */

void
mb_redis_cluster_open(struct mb_redis_component *redis)
{
	redis->base.ops = &mb_redis_cluster_ops;
	redis->cluster = mb_calloc(1, sizeof(*redis->cluster));
}

void
mb_cluster_shards_drop(struct mb_redis_component *redis)
{
	struct mb_redis_cluster *cluster = redis->cluster;
	size_t i;

	for (i = 0; i < cluster->count; i++)
	{
		struct mb_cluster_shard *shard = &cluster->shards[i];

		mb_redis_component_ops.close(&shard->redis->base);
		json_decref(shard->meta);
		free(shard->slots);
	}
	free(cluster->shards);
	*cluster = (struct mb_redis_cluster){0};
}

void
mb_redis_cluster_close(struct mb_redis_component *redis)
{
	if (!redis->cluster)
		return;
	mb_cluster_shards_drop(redis);
	free(redis->cluster);
	redis->cluster = NULL;
}

/* Room for so many shards; they do not move, because their components point at their names. */
static void
make_room(struct mb_redis_component *redis, size_t count)
{
	mb_cluster_shards_drop(redis);
	redis->cluster->shards = mb_calloc(count, sizeof(*redis->cluster->shards));
}

static void
add_shard(struct mb_redis_component *redis, const struct mb_slots *slots, const char *node)
{
	struct mb_cluster_shard *shard = &redis->cluster->shards[redis->cluster->count++];
	struct mb_redis_component *own = mb_calloc(1, sizeof(*own));
	unsigned first = mb_slots_first(slots);

	snprintf(shard->name, sizeof(shard->name), "%s/slot-%u", redis->base.name, first);
	snprintf(shard->prefix, sizeof(shard->prefix), "slot-%u/", first);
	snprintf(shard->node, sizeof(shard->node), "%s", node);
	shard->slots = mb_slots_text(slots);
	shard->redis = own;
	own->base = (struct mb_component){&mb_redis_component_ops, redis->base.settings,
									  redis->base.env, shard->name};
	mb_redis_url_copy(&own->url, &redis->url);
	own->url.slot = first;
	own->options = redis->options;
	own->options.url = &own->url;
	own->side = redis->side;
	own->is_cache = redis->is_cache;
	own->prefix = shard->prefix;
}

enum mb_code
mb_cluster_look(struct mb_redis_component *redis, struct mb_error *err)
{
	struct mb_cluster_nodes nodes = {0};
	enum mb_code code = mb_cluster_nodes_read(&nodes, &redis->options, err);
	size_t i;

	if (code)
		return code;
	make_room(redis, nodes.count);
	for (i = 0; i < nodes.count; i++)
		add_shard(redis, &nodes.items[i].slots, nodes.items[i].id);
	mb_cluster_nodes_release(&nodes);
	return MB_OK;
}

struct named_slots
{
	const char *name;
	const char *node;
	struct mb_slots slots;
};

static int
compare_slots(const void *a, const void *b)
{
	unsigned first = mb_slots_first(&((const struct named_slots *) a)->slots);
	unsigned second = mb_slots_first(&((const struct named_slots *) b)->slots);

	return (first > second) - (first < second);
}

enum mb_code
mb_cluster_shards_from(struct mb_redis_component *redis, const json_t *shards, struct mb_error *err)
{
	json_t *members = (json_t *) shards, *item;
	size_t size = json_object_size(shards), count = 0, i;
	struct named_slots *named = mb_calloc(size + 1, sizeof(*named));
	enum mb_code code = MB_OK;
	const char *name;

	json_object_foreach(members, name, item)
	{
		named[count] = (struct named_slots){name, mb_json_str(item, "node", ""), {{0}}};
		if (!mb_slots_parse(&named[count++].slots, mb_json_str(item, "slots", "")))
			code = mb_fail(err, MB_CORRUPT, "the slots of \"%s\" cannot be read", name);
	}
	qsort(named, count, sizeof(*named), compare_slots);
	make_room(redis, size);
	for (i = 0; !code && i < count; i++)
	{
		add_shard(redis, &named[i].slots, named[i].node);
		if (strcmp(redis->cluster->shards[i].name, named[i].name) != 0)
			code = mb_fail(err, MB_CORRUPT, "\"%s\" does not begin with the slot of its name",
						   named[i].name);
	}
	if (!code && count == 0)
		code = mb_fail(err, MB_CORRUPT, "there are no shards of \"%s\" in it", redis->base.name);
	free(named);
	return code;
}

bool
mb_cluster_same_layout(const json_t *a, const json_t *b)
{
	json_t *members = (json_t *) a, *item;
	const char *name;

	if (json_object_size(a) == 0 || json_object_size(a) != json_object_size(b))
		return false;
	json_object_foreach(members, name,
						item) if (strcmp(mb_json_str(item, "slots", ""),
										 mb_json_str(json_object_get(b, name), "slots", "?")) !=
								  0) return false;
	return true;
}

/* -- views ---------------------------------------------------------------------------------- */

void
mb_cluster_view(struct mb_commit *view, const struct mb_commit *commit, const char *shard)
{
	json_t *own = json_object_get(json_object_get(commit->meta, "shards"), shard);

	*view = *commit;
	view->meta = own ? json_copy(own) : json_object();
	if (json_object_get(commit->meta, "cut_time"))
		json_object_set(view->meta, "cut_time", json_object_get(commit->meta, "cut_time"));
}

void
mb_cluster_view_release(struct mb_commit *view)
{
	json_decref(view->meta);
	view->meta = NULL;
}

struct mb_cut
mb_cluster_cut(const struct mb_redis_component *redis, const struct mb_cut *cut)
{
	struct mb_cut own = *cut;

	own.positions = json_object_get(json_object_get(cut->positions, redis->base.name), "shards");
	return own;
}

/* -- the part of a shard -------------------------------------------------------------------- */

void
mb_cluster_part_begin(struct mb_cluster_part *part, const struct mb_redis_component *redis,
					  const struct mb_restore *whole, const struct mb_cluster_shard *shard)
{
	json_t *plan = json_object_get(json_object_get(whole->plan, "shards"), shard->name);
	size_t i;

	*part = (struct mb_cluster_part){.env = *whole->env, .restore = *whole};
	part->env.log = NULL;
	part->restore.env = &part->env;
	if (whole->target.cut)
	{
		part->cut = mb_cluster_cut(redis, whole->target.cut);
		part->restore.target.cut = &part->cut;
	}
	part->candidates = mb_calloc(whole->candidate_count + 1, sizeof(*part->candidates));
	for (i = 0; i < whole->candidate_count; i++)
		mb_cluster_view(&part->candidates[i], &whole->candidates[i], shard->name);
	part->restore.candidates = part->candidates;
	mb_cluster_view(&part->restore.commit, &whole->commit, shard->name);
	part->restore.component = shard->name;
	part->restore.plan = plan ? json_incref(plan) : json_object();
	part->restore.result = json_object();
}

void
mb_cluster_part_end(struct mb_cluster_part *part, struct mb_restore *whole)
{
	json_t *warning;
	size_t i;

	whole->made = part->restore.made;
	whole->made_count = part->restore.made_count;
	whole->made_cap = part->restore.made_cap;
	whole->entries = part->restore.entries;
	whole->bytes = part->restore.bytes;
	whole->written_bytes = part->restore.written_bytes;
	whole->packs_seen = part->restore.packs_seen;
	json_array_foreach(json_object_get(part->restore.result, "warnings"), i, warning)
		mb_restore_warn(whole, "%s: %s", part->restore.component, json_string_value(warning));
	for (i = 0; i < whole->candidate_count; i++)
		mb_cluster_view_release(&part->candidates[i]);
	free(part->candidates);
	free(part->destination);
	mb_cluster_view_release(&part->restore.commit);
	json_decref(part->restore.plan);
	json_decref(part->restore.result);
}

/*
 * component_cluster_stream.c - the streams of a cluster: one for each shard, in a thread of its
 * own, and one that watches the layout.
 *
 * A shard's stream follows its slot from node to node by itself, so a failover is nothing to
 * the watcher.  When slots are moved, all streams are stopped and those of the new layout
 * started: they go on where they were if their server can serve it, and a shard that is new
 * begins.  What the layout was is told by the next cut, not here.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/component_cluster.h"

#define WATCH_MS 5000
#define LOOP_MS 100
#define LOOK_AGAIN_MS 2000

struct streams;

struct shard_stream
{
	struct streams *all;
	struct mb_cluster_shard *shard;
	pthread_t thread;
	enum mb_code code; /* how it ended, with err */
	struct mb_error err;
};

struct streams
{
	struct mb_redis_component *redis;
	struct mb_env env;       /* the component's, with: */
	struct mb_cancel cancel; /* ours, for all shards */
	struct shard_stream *items;
	size_t count;
	atomic_bool failed;
};

static void *
run(void *arg)
{
	struct shard_stream *stream = arg;

	mb_error_clear(&stream->err);
	stream->code = mb_redis_stream(&stream->shard->redis->base, &stream->err);
	if (stream->code)
		atomic_store(&stream->all->failed, true);
	return NULL;
}

static enum mb_code
start(struct streams *all, struct mb_error *err)
{
	struct mb_redis_cluster *cluster = all->redis->cluster;
	enum mb_code code = MB_OK;
	size_t i;

	atomic_store(&all->cancel.signo, 0);
	atomic_store(&all->failed, false);
	all->items = mb_calloc(cluster->count, sizeof(*all->items));
	all->count = 0;
	for (i = 0; !code && i < cluster->count; i++)
	{
		struct shard_stream *stream = &all->items[i];
		int failed;

		*stream = (struct shard_stream){.all = all, .shard = &cluster->shards[i]};
		stream->shard->redis->base.env = &all->env;
		stream->shard->redis->options.cancel = &all->cancel;
		failed = pthread_create(&stream->thread, NULL, run, stream);
		if (failed)
			code = mb_fail_errno(err, failed, "could not start a thread");
		else
			all->count++;
	}
	return code;
}

/* The first failure of a shard, if there was one. */
static enum mb_code
stop(struct streams *all, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	atomic_store(&all->cancel.signo, SIGTERM);
	for (i = 0; i < all->count; i++)
	{
		struct shard_stream *stream = &all->items[i];

		pthread_join(stream->thread, NULL);
		if (!code && stream->code && stream->code != MB_INTERRUPTED)
		{
			*err = stream->err;
			code = mb_error_context(err, "shard %s", stream->shard->name);
		}
	}
	free(all->items);
	all->items = NULL;
	all->count = 0;
	return code;
}

/* Do other masters serve other slots than at the start?  Who cannot be asked has not changed. */
static bool
has_moved(struct streams *all)
{
	const struct mb_redis_cluster *cluster = all->redis->cluster;
	struct mb_cluster_nodes nodes = {0};
	struct mb_error ignored;
	bool moved;
	size_t i;

	mb_error_clear(&ignored);
	if (mb_cluster_nodes_read(&nodes, &all->redis->options, &ignored))
		return false;
	moved = nodes.count != cluster->count;
	for (i = 0; !moved && i < nodes.count; i++)
	{
		char *slots = mb_slots_text(&nodes.items[i].slots);

		moved = strcmp(slots, cluster->shards[i].slots) != 0;
		free(slots);
	}
	mb_cluster_nodes_release(&nodes);
	return moved;
}

/* Until cancelled, a shard's stream has failed for good, or the layout is another. */
static void
watch(struct streams *all, const struct mb_cancel *cancel)
{
	int64_t next_ms = mb_monotonic_ms() + WATCH_MS;

	while (!mb_cancelled(cancel) && !atomic_load(&all->failed))
	{
		mb_sleep_ms(LOOP_MS);
		if (mb_monotonic_ms() < next_ms)
			continue;
		if (has_moved(all))
			return;
		next_ms = mb_monotonic_ms() + WATCH_MS;
	}
}

/* The cluster must be whole to begin; until it is, wait. */
static enum mb_code
look(struct streams *all, bool *warned, struct mb_error *err)
{
	const struct mb_env *env = all->redis->base.env;
	enum mb_code code = mb_cluster_look(all->redis, err);
	int64_t end_ms = mb_monotonic_ms() + LOOK_AGAIN_MS;

	if (code == MB_UNREACHABLE)
	{
		if (!*warned)
			mb_log_warning(env->log, "%s: %s; trying again", all->redis->base.name, err->message);
		*warned = true;
		while (!mb_cancelled(env->cancel) && mb_monotonic_ms() < end_ms)
			mb_sleep_ms(LOOP_MS);
		mb_error_clear(err);
		return MB_OK;
	}
	if (!code)
		*warned = false;
	return code;
}

enum mb_code
mb_cluster_stream(struct mb_component *component, struct mb_error *err)
{
	const struct mb_env *env = component->env;
	struct streams all = {.redis = mb_redis_of(component), .env = *env};
	enum mb_code code = MB_OK;
	bool warned = false;

	all.env.cancel = &all.cancel;
	while (!code && !mb_cancelled(env->cancel))
	{
		enum mb_code failed;

		code = look(&all, &warned, err);
		if (code || all.redis->cluster->count == 0)
			continue;
		code = start(&all, err);
		if (!code)
			watch(&all, env->cancel);
		failed = stop(&all, code ? &(struct mb_error){0} : err);
		code = code ? code : failed;
		if (!code && !mb_cancelled(env->cancel))
			mb_log_warning(env->log,
						   "%s: slots were moved between the masters; take a backup: what comes "
						   "from now on cannot be restored without",
						   component->name);
		/* They point at an env that is ours. */
		mb_cluster_shards_drop(all.redis);
	}
	return code == MB_INTERRUPTED ? MB_OK : code;
}

/*
 * component_cluster_live.c - a restore into running servers where either side is a cluster: of
 * any layout into any other, into a single server, from one.
 *
 * There is no exchange at one instant in a cluster (it has one database, and no transaction
 * over nodes), so keys go one by one, as a part does into a single server: each source (a
 * shard of the backup, a backup of a single server, an RDB file) is loaded by the private
 * server in turn, and each destination (a master) gets the keys of its slots from it.
 * What a destination has and the source of that slot has not is removed: first everything
 * that comes, then what goes.
 *
 * Nothing is touched before every destination was looked at and its data saved.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "redis/component_cluster.h"
#include "redis/live.h"

struct target
{
	struct mb_live live;
	struct mb_restore restore; /* the whole, with this destination and a result of its own */
	char *destination;
	char tag[16];          /* ".slot-0", in the name of its safety copy */
	struct mb_slots slots; /* that it serves */
	struct mb_live_dbs before;
	char *safety;
	uint64_t keys;
	uint64_t bytes;
	uint64_t removed;
};

struct run
{
	struct mb_component *component;
	struct mb_restore *restore;
	struct target *targets;
	size_t target_count;
	char *directory; /* of the private server */
};

/* -- destinations --------------------------------------------------------------------------- */

static void
all_slots(struct mb_slots *slots)
{
	memset(slots->bits, 0xff, sizeof(slots->bits));
}

/* Open one; slots NULL: a single server, or (asked here) a node that was named itself. */
static enum mb_code
open_target(struct run *run, struct target *target, char *destination, const struct mb_slots *slots,
			struct mb_error *err)
{
	struct mb_cluster_node node = {0};
	enum mb_code code;

	target->destination = destination;
	target->restore = *run->restore;
	target->restore.destination = destination;
	target->restore.result = json_object();
	code = mb_live_open(&target->live, run->component, &target->restore, err);
	target->live.by_keys = true;
	if (!code && !slots && target->live.in_cluster)
	{
		code = mb_cluster_myself(target->live.redis, &node, err);
		target->slots = node.slots;
		mb_cluster_node_release(&node);
	}
	else if (slots)
		target->slots = *slots;
	else
		all_slots(&target->slots);
	if (!code && target->live.in_cluster)
		snprintf(target->tag, sizeof(target->tag), ".slot-%u", mb_slots_first(&target->slots));
	target->live.tag = target->tag;
	return code;
}

static char *
node_url(const struct mb_redis_url *url)
{
	bool is_v6 = strchr(url->host, ':') != NULL;

	return mb_asprintf("%s://%s%s%s%s%s:%u", url->tls ? "rediss" : "redis",
					   url->user ? url->user : "", url->user ? "@" : "", is_v6 ? "[" : "",
					   url->host, is_v6 ? "]" : "", url->port);
}

/* Every master of a cluster, or the one server that was named. */
static enum mb_code
open_targets(struct run *run, struct mb_error *err)
{
	const struct mb_redis_component *redis = mb_redis_of(run->component);
	const char *destination = run->restore->destination;
	struct mb_redis_options options = redis->options;
	struct mb_cluster_nodes nodes = {0};
	struct mb_redis_url url = {0};
	enum mb_code code = mb_redis_url_parse(&url, destination, err);
	size_t i;

	options.url = &url;
	if (url.user)
		options.user = NULL;
	if (!code && url.cluster)
		code = mb_cluster_nodes_read(&nodes, &options, err);
	run->targets = mb_calloc(nodes.count + 1, sizeof(*run->targets));
	for (i = 0; !code && i < nodes.count; i++)
	{
		struct mb_cluster_node *node = &nodes.items[i];

		if (!node->url.user && url.user)
			node->url.user = mb_strdup(url.user);
		run->target_count++;
		code = open_target(run, &run->targets[i], node_url(&node->url), &node->slots, err);
	}
	if (!code && !url.cluster)
	{
		run->target_count = 1;
		code = open_target(run, &run->targets[0], mb_strdup(destination), NULL, err);
	}
	mb_cluster_nodes_release(&nodes);
	mb_redis_url_release(&url);
	return code;
}

static void
close_targets(struct run *run)
{
	size_t i;

	for (i = 0; i < run->target_count; i++)
	{
		struct target *target = &run->targets[i];

		mb_live_close(&target->live);
		mb_live_dbs_release(&target->before);
		json_decref(target->restore.result);
		free(target->destination);
		free(target->safety);
	}
	free(run->targets);
	run->targets = NULL;
	run->target_count = 0;
}

/* What forbids it; `meta`: of the backup, NULL for an RDB file. */
static enum mb_code
check_targets(struct run *run, const json_t *meta, uint64_t bytes, struct mb_error *err)
{
	bool whole = run->restore->only_count == 0;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->target_count; i++)
	{
		struct target *target = &run->targets[i];
		uint64_t share = bytes / MB_CLUSTER_SLOTS * mb_slots_count(&target->slots);

		code = mb_live_check(&target->live, meta, err);
		/* A bound from below: an RDB is smaller than what it becomes. */
		if (!code && meta && whole && !target->live.empties)
			code = mb_live_room(&target->live, share, err);
		if (!code)
			code = mb_live_dbs_read(target->live.redis, &target->before, err);
	}
	return code;
}

/* -- plan ----------------------------------------------------------------------------------- */

enum mb_code
mb_cluster_live_plan(struct mb_component *component, struct mb_restore *restore,
					 const struct mb_commit *commit, struct mb_error *err)
{
	const char *program = mb_settings_get(component->settings, "redis-server");
	struct run run = {.component = component, .restore = restore};
	const char *rdb = restore->wishes->rdb;
	struct mb_live_rdb file = {0};
	uint64_t keys = 0;
	char *path = NULL;
	enum mb_code code;
	size_t i;

	code = rdb ? mb_live_check_rdb(rdb, &file, err) : MB_OK;
	if (!code)
		code = open_targets(&run, err);
	if (!code)
		code = check_targets(&run, rdb ? NULL : commit->meta, commit->bytes, err);
	if (!code)
		code = mb_scratch_program(&path, program ? program : "redis-server", err);
	free(path);
	for (i = 0; !code && i < run.target_count; i++)
		keys += mb_live_dbs_total(&run.targets[i].before);
	if (!code)
	{
		mb_json_set_str(restore->plan, "server", restore->destination);
		mb_json_set_int(restore->plan, "servers", (int64_t) run.target_count);
		mb_json_set_int(restore->plan, "live_keys", (int64_t) keys);
		mb_json_set_bool(restore->plan, "empties", run.targets[0].live.empties);
		mb_json_set_bool(restore->plan, "by_slot", true);
	}
	close_targets(&run);
	return code;
}

/* -- one source into all destinations ------------------------------------------------------- */

struct source
{
	struct mb_scratch *scratch;
	struct mb_slots slots; /* of which it holds the keys */
	struct mb_live_dbs dbs;
	struct mb_buf functions;
	bool is_last;
};

static enum mb_code
look_at(struct run *run, struct source *source, struct mb_error *err)
{
	struct mb_live scratch = {.component = run->component,
							  .redis = mb_scratch_connection(source->scratch)};
	unsigned version;
	size_t i;

	if (mb_live_dbs_read(scratch.redis, &source->dbs, err) ||
		mb_live_functions(scratch.redis, &source->functions, err))
		return err->code;
	version = mb_live_payload_version(&source->functions);
	for (i = 0; i < run->target_count; i++)
		if (mb_live_takes(&run->targets[i].live, &source->dbs, version, err))
			return err->code;
	return MB_OK;
}

/* The keys of the target's slots, database by database (a cluster has one). */
static enum mb_code
copy_to(struct source *source, struct target *target, struct mb_live_copy *copy,
		struct mb_error *err)
{
	const struct mb_live *live = &target->live;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < source->dbs.count; i++)
		if (mb_redis_only_db(live->only, live->only_count, source->dbs.items[i].db))
			code = mb_live_copy_db(copy, source->dbs.items[i].db, source->dbs.items[i].db, err);
	return code;
}

/*
 * What the target has in slots that this source answers for, and the source has not.  A
 * single server's other databases are nobody's slots: the last source clears them.
 */
static enum mb_code
remove_from(struct source *source, struct target *target, struct mb_live_copy *copy,
			struct mb_error *err)
{
	struct mb_live *live = &target->live;
	struct mb_slots both = target->slots;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; i < sizeof(both.bits); i++)
		both.bits[i] &= source->slots.bits[i];
	for (i = 0; !code && i < target->before.count; i++)
	{
		int64_t db = target->before.items[i].db;

		live->slots = db == 0 ? &both : NULL;
		if ((db == 0 || source->is_last) && mb_redis_only_db(live->only, live->only_count, db))
			code = mb_live_remove_extra(copy, db, err);
	}
	return code;
}

static enum mb_code
fill_target(struct run *run, struct source *source, struct target *target, struct mb_error *err)
{
	struct mb_live_copy copy = {.live = &target->live,
								.from = {.redis = mb_scratch_connection(source->scratch)},
								.to = {.redis = target->live.redis}};
	enum mb_code code;

	(void) run;
	target->live.slots = &target->slots;
	code = copy_to(source, target, &copy, err);
	if (!code)
		code = remove_from(source, target, &copy, err);
	if (!code && source->is_last && target->live.only_count == 0)
		code = mb_live_load_functions(&target->live, &copy.to, &source->functions, err);
	target->live.slots = NULL;
	target->keys += copy.keys;
	target->bytes += copy.bytes;
	target->removed += copy.removed;
	mb_live_copy_release(&copy);
	return code ? mb_error_context(err, "server %s", mb_redis_name(target->live.redis)) : MB_OK;
}

static enum mb_code
fill_all(struct run *run, struct source *source, struct mb_error *err)
{
	enum mb_code code = look_at(run, source, err);
	size_t i;

	mb_progress_phase(run->restore->progress, "copying keys");
	for (i = 0; !code && i < run->target_count; i++)
		code = fill_target(run, source, &run->targets[i], err);
	mb_live_dbs_release(&source->dbs);
	mb_buf_release(&source->functions);
	mb_scratch_stop(source->scratch);
	return code;
}

/* -- sources -------------------------------------------------------------------------------- */

static enum mb_code
from_shards(struct run *run, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(run->component);
	enum mb_code code =
		mb_cluster_shards_from(redis, json_object_get(run->restore->commit.meta, "shards"), err);
	size_t i;

	for (i = 0; !code && i < redis->cluster->count; i++)
	{
		struct mb_cluster_shard *shard = &redis->cluster->shards[i];
		struct source source = {.is_last = i + 1 == redis->cluster->count};
		struct mb_cluster_part part;

		mb_cluster_part_begin(&part, redis, run->restore, shard);
		(void) mb_slots_parse(&source.slots, shard->slots);
		code =
			mb_live_load(&shard->redis->base, &part.restore, run->directory, &source.scratch, err);
		mb_cluster_part_end(&part, run->restore);
		if (!code)
			code = fill_all(run, &source, err);
		if (code)
			mb_error_context(err, "shard %s", shard->name);
	}
	return code;
}

static enum mb_code
from_one(struct run *run, struct mb_error *err)
{
	struct source source = {.is_last = true};
	enum mb_code code;

	all_slots(&source.slots);
	code = mb_live_load(run->component, run->restore, run->directory, &source.scratch, err);
	return code ? code : fill_all(run, &source, err);
}

/* -- the whole ------------------------------------------------------------------------------ */

static enum mb_code
save_all(struct run *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->target_count; i++)
	{
		struct target *target = &run->targets[i];

		code = mb_live_save(&target->live, &target->before, &target->safety, err);
	}
	return code;
}

static enum mb_code
empty_all(struct run *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->target_count; i++)
	{
		struct mb_redis_reply reply = {0};

		code = MB_REDIS_CALL(run->targets[i].live.redis, &reply, err, "FLUSHALL", "ASYNC");
		mb_redis_reply_release(&reply);
	}
	if (code)
		return code;
	mb_restore_warn(run->restore,
					"role = cache: the servers at %s were emptied, the application fills them anew",
					run->restore->destination);
	mb_json_set_bool(run->restore->result, "empty", true);
	return MB_OK;
}

static void
report(struct run *run)
{
	struct mb_restore *restore = run->restore;
	json_t *servers = json_array();
	uint64_t replaced = 0, removed = 0;
	size_t i;

	restore->entries = restore->bytes = 0;
	for (i = 0; i < run->target_count; i++)
	{
		struct target *target = &run->targets[i];
		json_t *server = target->restore.result;

		mb_json_set_str(server, "server", mb_redis_name(target->live.redis));
		mb_json_set_int(server, "keys", (int64_t) target->keys);
		mb_json_set_int(server, "replaced", (int64_t) mb_live_dbs_total(&target->before));
		mb_json_set_int(server, "removed", (int64_t) target->removed);
		json_array_append(servers, server);
		restore->entries += target->keys;
		restore->bytes += target->bytes;
		replaced += mb_live_dbs_total(&target->before);
		removed += target->removed;
	}
	json_object_set_new(restore->result, "servers", servers);
	mb_json_set_str(restore->result, "method", "keys");
	mb_json_set_int(restore->result, "replaced", (int64_t) replaced);
	mb_json_set_int(restore->result, "removed", (int64_t) removed);
}

static enum mb_code
run_locked(struct run *run, struct mb_error *err)
{
	const struct mb_restore *restore = run->restore;
	bool is_file = restore->wishes->rdb != NULL, any_safe = false;
	struct mb_error ignored;
	enum mb_code code = open_targets(run, err);
	size_t i;

	if (!code)
		code =
			check_targets(run, is_file ? NULL : restore->commit.meta, restore->commit.bytes, err);
	if (!code)
		code = save_all(run, err);
	if (!code && run->targets[0].live.empties)
		code = empty_all(run, err);
	else if (!code && mb_redis_of(run->component)->cluster && !is_file)
		code = from_shards(run, err);
	else if (!code)
		code = from_one(run, err);
	for (i = 0; i < run->target_count; i++)
		any_safe = any_safe || run->targets[i].safety;
	if (code && any_safe)
		mb_error_hint(err, "Run it again. The data from before is saved; the log says where, and "
						   "how to undo.");
	report(run);
	mb_error_clear(&ignored);
	if (mb_rmtree(run->directory, code ? &ignored : err) && !code)
		code = err->code;
	return code;
}

enum mb_code
mb_cluster_live_restore(struct mb_component *component, struct mb_restore *restore,
						struct mb_error *err)
{
	struct run run = {.component = component, .restore = restore};
	enum mb_code code;
	int lock_fd;

	run.directory = mb_redis_spool_path(mb_redis_of(component), ".scratch");
	code = mb_live_lock(component, &lock_fd, err);
	if (!code)
	{
		code = run_locked(&run, err);
		close(lock_fd);
	}
	close_targets(&run);
	mb_json_set_str(restore->result, "destination", restore->destination);
	if (restore->wishes->rdb)
		mb_json_set_str(restore->result, "backup", restore->wishes->rdb);
	free(run.directory);
	return code;
}

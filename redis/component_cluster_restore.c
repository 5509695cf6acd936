/*
 * component_cluster_restore.c - a cluster into a directory: one below it for each shard.
 *
 *     DIRECTORY/slot-0/appendonlydir/...    as a restore of a single server
 *     DIRECTORY/slot-0/nodes.conf           a new node that serves the shard's slots
 *     DIRECTORY/slot-5461/...
 *
 * Servers that are started on them each serve their slots at once; CLUSTER MEET makes a
 * cluster of them (measured with 7.0).  Each has a node id of its own and another config
 * epoch, as nodes must; addresses they find out by themselves.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "redis/component_cluster.h"
#include "redis/live.h"

#define NODES_CONF "nodes.conf"

struct layout
{
	struct mb_redis_component *redis;
	struct mb_restore *restore;
	const char *directory;
	uid_t uid; /* its owner, for what is made in it */
	gid_t gid;
};

static enum mb_code
open_root(struct layout *layout, struct mb_error *err)
{
	struct stat st;

	if (mb_restore_directory(layout->directory, MB_DIRECTORY_CHECK, 0700, err))
		return err->code;
	/* A directory that stands ready keeps its mode: the servers' user may need it so. */
	if (stat(layout->directory, &st) != 0)
	{
		if (mb_restore_directory(layout->directory, MB_DIRECTORY_CREATE, 0700, err))
			return err->code;
		if (stat(layout->directory, &st) != 0)
			return mb_fail_errno(err, errno, "could not look at \"%s\"", layout->directory);
	}
	mb_restore_made(layout->restore, layout->directory);
	layout->uid = st.st_uid;
	layout->gid = st.st_gid;
	return MB_OK;
}

static enum mb_code
make_directory(const struct layout *layout, const char *path, struct mb_error *err)
{
	if (mkdir(path, 0700) != 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", path);
	if (geteuid() == 0 && chown(path, layout->uid, layout->gid) != 0)
		return mb_fail_errno(err, errno, "could not give \"%s\" to the owner of \"%s\"", path,
							 layout->directory);
	return MB_OK;
}

static enum mb_code
write_nodes(const struct layout *layout, const char *directory,
			const struct mb_cluster_shard *shard, size_t epoch, struct mb_error *err)
{
	unsigned char random[MB_NODE_ID_LEN / 2];
	char id[MB_NODE_ID_LEN + 1];
	char *path = mb_path_join(directory, NODES_CONF);
	struct mb_buf text = {0};
	const char *slots = shard->slots;
	enum mb_code code;
	size_t i;

	mb_random(random, sizeof(random));
	for (i = 0; i < sizeof(random); i++)
		snprintf(id + 2 * i, 3, "%02x", random[i]);
	mb_buf_printf(&text, "%s :0@0 myself,master - 0 0 %zu connected ", id, epoch);
	for (; *slots; slots++)
		mb_buf_put_u8(&text, *slots == ',' ? ' ' : (unsigned char) *slots);
	mb_buf_printf(&text, "\nvars currentEpoch %zu lastVoteEpoch 0\n",
				  layout->redis->cluster->count);
	code = mb_file_write_durable(path, text.data, text.len, 0600, err);
	if (!code && geteuid() == 0 && chown(path, layout->uid, layout->gid) != 0)
		code = mb_fail_errno(err, errno, "could not give \"%s\" to the owner of \"%s\"", path,
							 layout->directory);
	mb_buf_release(&text);
	free(path);
	return code;
}

static enum mb_code
restore_shard(struct layout *layout, size_t i, json_t *reached, struct mb_error *err)
{
	struct mb_cluster_shard *shard = &layout->redis->cluster->shards[i];
	const char *path;
	struct mb_cluster_part part;
	bool append_only;
	enum mb_code code;

	mb_cluster_part_begin(&part, layout->redis, layout->restore, shard);
	path = mb_json_str(part.restore.plan, "directory", "");
	code = make_directory(layout, path, err);
	if (!code)
		code = mb_redis_write_files(&shard->redis->base, &part.restore, path, &append_only, err);
	if (!code)
		code = write_nodes(layout, path, shard, i + 1, err);
	if (!code)
		json_object_set(reached, shard->name, json_object_get(part.restore.result, "reached"));
	layout->restore->entries++;
	mb_cluster_part_end(&part, layout->restore);
	return code ? mb_error_context(err, "shard %s", shard->name) : MB_OK;
}

static void
report(struct layout *layout, json_t *shards)
{
	struct mb_restore *restore = layout->restore;
	json_t *reached = json_object();
	char *next;

	mb_json_set_time(reached, "time", mb_json_time(restore->plan, "reached"));
	json_object_set(reached, "shards", shards);
	json_object_set_new(restore->result, "reached", reached);
	next = mb_asprintf("redis-server --dir %s/slot-... --cluster-enabled yes --appendonly yes for "
					   "each of the %zu, then CLUSTER MEET",
					   layout->directory, layout->redis->cluster->count);
	mb_json_set_str(restore->result, "next", next);
	free(next);
}

enum mb_code
mb_cluster_restore(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct layout layout = {.redis = mb_redis_of(component),
							.restore = restore,
							.directory = mb_json_str(restore->plan, "directory", NULL)};
	json_t *reached;
	enum mb_code code;
	size_t i;

	if (!layout.directory)
		return mb_redis_live_restore(component, restore, err);
	mb_json_set_str(restore->result, "destination", layout.directory);
	code = open_root(&layout, err);
	if (!code && layout.redis->is_cache && !(restore->wishes->flags & MB_RESTORE_LOOK))
	{
		mb_restore_warn(restore,
						"role = cache: \"%s\" is left empty, the application fills it anew",
						layout.directory);
		mb_json_set_bool(restore->result, "empty", true);
		return MB_OK;
	}
	if (!code)
		code = mb_cluster_shards_from(layout.redis, json_object_get(restore->commit.meta, "shards"),
									  err);
	reached = json_object();
	for (i = 0; !code && i < layout.redis->cluster->count; i++)
		code = restore_shard(&layout, i, reached, err);
	if (!code)
		code = mb_fsync_path(layout.directory, err);
	if (!code)
		report(&layout, reached);
	json_decref(reached);
	return code;
}

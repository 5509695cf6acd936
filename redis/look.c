/*
 * look.c - see look.h: the data of a moment as an RDB file.
 *
 * SCAN of the private server was rejected: it hides keys whose time has passed since the moment, and
 * may name a key twice while a table shrinks.  Its own RDB has each key once, with its type, expiry
 * and size, and is walked in constant memory.
 */
#include "redis/look.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "core/base/fs.h"
#include "redis/component_cluster.h"
#include "redis/live.h"

/* Is it there, and not empty? */
static bool
has_bytes(const char *directory, const char *name)
{
	char *path = mb_path_join(directory, name);
	struct stat st;
	bool yes = stat(path, &st) == 0 && st.st_size > 0;

	free(path);
	return yes;
}

static enum mb_code
replay(struct mb_component *component, const char *directory, bool append_only,
	   struct mb_error *err)
{
	const char *program = mb_settings_get(component->settings, "redis-server");
	struct mb_scratch_options options = {.program = program ? program : "redis-server",
										 .directory = directory,
										 .databases = MB_LIVE_MAX_DBS,
										 .append_only = append_only,
										 .keep_expired = true,
										 .cancel = component->env->cancel};
	struct mb_progress *progress = mb_env_progress(component->env, component->name);
	struct mb_scratch *scratch = NULL;
	enum mb_code code;

	mb_progress_phase(progress, "loading into a private server");
	code = mb_scratch_start(&scratch, &options, err);
	if (!code)
	{
		mb_progress_phase(progress, "writing its keys");
		code = mb_scratch_save(scratch, err);
	}
	mb_scratch_stop(scratch);
	return code;
}

enum mb_redis_files
mb_redis_files_in(const char *directory)
{
	if (has_bytes(directory, MB_REDIS_AOF_DIR "/" MB_REDIS_AOF_BASE))
		return has_bytes(directory, MB_REDIS_AOF_DIR "/" MB_REDIS_AOF_INCR)
				   ? MB_REDIS_FILES_AOF
				   : MB_REDIS_FILES_AOF_RDB;
	if (has_bytes(directory, MB_REDIS_AOF_SINGLE))
		return MB_REDIS_FILES_AOF;
	return has_bytes(directory, MB_REDIS_RDB_NAME) ? MB_REDIS_FILES_RDB : MB_REDIS_FILES_NONE;
}

static enum mb_code
look_at_one(struct mb_component *component, const char *directory, mb_redis_look_fn fn, void *ctx,
			struct mb_error *err)
{
	enum mb_redis_files files = mb_redis_files_in(directory);
	enum mb_code code;
	char *path;

	/* Nothing to replay: no server is needed. */
	if (files == MB_REDIS_FILES_AOF && replay(component, directory, true, err))
		return err->code;
	path = mb_path_join(directory, files == MB_REDIS_FILES_AOF_RDB ? MB_REDIS_AOF_DIR
									   "/" MB_REDIS_AOF_BASE
																   : MB_REDIS_RDB_NAME);
	code = fn(ctx, path, err);
	free(path);
	return code;
}

enum mb_code
mb_redis_look(struct mb_component *component, const char *directory, mb_redis_look_fn fn, void *ctx,
			  struct mb_error *err)
{
	const struct mb_redis_cluster *cluster = mb_redis_of(component)->cluster;
	enum mb_code code = MB_OK;
	size_t i;

	if (!cluster)
		return look_at_one(component, directory, fn, ctx, err);
	/* The shards are still those of the restore that has just been made. */
	for (i = 0; !code && i < cluster->count; i++)
	{
		char *own = mb_path_join(directory, cluster->shards[i].prefix);

		code = look_at_one(component, own, fn, ctx, err);
		free(own);
	}
	return code;
}

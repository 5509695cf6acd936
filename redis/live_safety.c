/*
 * live_safety.c - the data of the destination as an RDB file in the spool, before anything
 * in it is changed.
 *
 * A file, not a backup in the repository: the newest backup is what "latest" means, and a
 * restore that is run again after it was killed must not take the half of its own work for it;
 * a server that is not the component's own has no place there; and a restore has to work from
 * a repository that cannot be written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "redis/live.h"
#include "redis/rdb_file.h"

struct save
{
	int fd;
	const char *path;
	struct mb_rdb *walker;
};

static enum mb_code
take(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct save *save = ctx;

	if (mb_rdb_feed(save->walker, data, len, err))
		return err->code;
	return mb_write_full(save->fd, data, len, save->path, err);
}

static enum mb_code
receive(struct mb_live *live, struct save *save, struct mb_error *err)
{
	struct mb_replica_options options = {.redis = &live->options};
	struct mb_replica *replica = NULL;
	struct mb_replica_start start;
	enum mb_code code = mb_replica_open(&replica, &options, &start, err);

	if (!code)
		code = mb_replica_rdb(replica, take, save, err);
	if (!code)
		code = mb_rdb_finish(save->walker, err);
	mb_replica_close(replica);
	if (!code && fsync(save->fd) != 0)
		code = mb_fail_errno(err, errno, "could not write \"%s\"", save->path);
	return code;
}

/* Under a name of its own until it is whole, which the next run writes over when we die. */
static enum mb_code
write_file(struct mb_live *live, const char *path, struct mb_error *err)
{
	char *part =
		mb_asprintf("%s/redis-%s-before.part", live->component->env->spool, live->component->name);
	struct save save = {.path = part};
	enum mb_code code = MB_OK;

	save.fd = mb_open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (save.fd < 0)
		code = mb_fail_errno(err, errno, "could not create \"%s\"", part);
	else
	{
		save.walker = mb_rdb_new();
		code = receive(live, &save, err);
		mb_rdb_free(save.walker);
		close(save.fd);
		if (!code && rename(part, path) != 0)
			code = mb_fail_errno(err, errno, "could not create \"%s\"", path);
		if (code)
			unlink(part); /* best effort: what is not whole is of no use */
	}
	if (!code)
		code = mb_fsync_path(live->component->env->spool, err);
	free(part);
	return code ? mb_error_context(err, "could not save the present data of %s",
								   mb_redis_name(live->redis))
				: MB_OK;
}

/* -- the way back --------------------------------------------------------------------------- */

static void
put_quoted(struct mb_buf *out, const char *text)
{
	mb_buf_put_str(out, "'");
	for (; *text; text++)
		mb_buf_put_str(out, *text == '\'' ? "'\\''" : (char[2]){*text, '\0'});
	mb_buf_put_str(out, "'");
}

/* The command that brings the present data back; free() it. */
static char *
undo_command(const struct mb_live *live, const char *path)
{
	const struct mb_restore *restore = live->restore;
	struct mb_buf text = {0};
	char *command;
	size_t i;

	mb_buf_put_str(&text, "mbackup ");
	if (live->component->env->config_path)
	{
		mb_buf_put_str(&text, "--config ");
		put_quoted(&text, live->component->env->config_path);
		mb_buf_put_str(&text, " ");
	}
	mb_buf_printf(&text, "restore --component %s=", restore->component);
	put_quoted(&text, restore->destination);
	mb_buf_put_str(&text, " --rdb ");
	put_quoted(&text, path);
	for (i = 0; i < restore->only_count; i++)
	{
		mb_buf_put_str(&text, " --only ");
		put_quoted(&text, restore->only[i]);
	}
	mb_buf_put_str(&text, " --yes");
	command = mb_strdup(mb_buf_cstr(&text));
	mb_buf_release(&text);
	return command;
}

enum mb_code
mb_live_save(struct mb_live *live, struct mb_live_dbs *before, char **out, struct mb_error *err)
{
	const struct mb_env *env = live->component->env;
	struct mb_restore *restore = live->restore;
	char *path = mb_asprintf("%s/redis-%s%s-before-%s.rdb", env->spool, restore->component,
							 live->tag ? live->tag : "", restore->id);
	char *undo;

	mb_progress_phase(restore->progress, "saving the present data");
	mb_live_dbs_release(before);
	if (mb_live_dbs_read(live->redis, before, err) || write_file(live, path, err))
	{
		free(path);
		return err->code;
	}
	undo = undo_command(live, path);
	/* Now, not at the end: whoever kills us has to know it. */
	mb_log_info(env->log, "%s: the present data is in \"%s\"; undo: %s", restore->component, path,
				undo);
	mb_json_set_str(restore->result, "safety_copy", path);
	mb_json_set_str(restore->result, "undo", undo);
	free(undo);
	*out = path;
	return MB_OK;
}

/* -- a file that is given ------------------------------------------------------------------- */

enum mb_code
mb_live_check_rdb(const char *path, struct mb_live_rdb *rdb, struct mb_error *err)
{
	struct mb_rdb_file_options options = {0};
	struct mb_rdb *walker;
	enum mb_code code = mb_rdb_file_walk(&walker, path, &options, err);

	if (code)
		return code;
	*rdb = (struct mb_live_rdb){mb_rdb_summary(walker)->version, mb_rdb_summary(walker)->bytes};
	mb_rdb_free(walker);
	return MB_OK;
}

/* snapshot_file.c - see look.h: the server's RDB into a file that is not of a backup. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "redis/component_private.h"
#include "redis/look.h"
#include "redis/rdb.h"
#include "redis/rdb_stats.h"
#include "redis/replica.h"

struct output
{
	const char *path; /* as it was given */
	char *part;       /* the temporary file beside it; NULL for the standard output */
	char *directory;
	int fd;
	bool replace;
	struct mb_rdb *walker;
	struct mb_replica_start start;
	struct mb_progress *progress;
};

static enum mb_code
exists(const char *path, struct mb_error *err)
{
	mb_fail(err, MB_CONFLICT, "\"%s\" exists", path);
	return mb_error_hint(err, "Choose another name, or replace it with --force.");
}

static enum mb_code
open_output(struct output *out, struct mb_error *err)
{
	const char *slash = strrchr(out->path, '/');
	struct stat st;

	if (strcmp(out->path, "-") == 0)
	{
		out->fd = STDOUT_FILENO;
		return MB_OK;
	}
	if (lstat(out->path, &st) == 0 && !out->replace)
		return exists(out->path, err);
	if (stat(out->path, &st) == 0 && !S_ISREG(st.st_mode))
		return mb_fail(err, MB_CONFLICT, "\"%s\" is not a regular file", out->path);
	out->directory =
		slash ? mb_strndup(out->path, (size_t) (slash - out->path) + 1) : mb_strdup(".");
	out->part = mb_asprintf("%s.part-XXXXXX", out->path);
	out->fd = mb_mkostemp(out->part, O_CLOEXEC);
	if (out->fd >= 0)
		return MB_OK;
	mb_fail_errno(err, errno, "could not create a file beside \"%s\"", out->path);
	free(out->part);
	out->part = NULL;
	return err->code;
}

/* Give it its name; one that appeared meanwhile is not replaced unless that was asked for. */
static enum mb_code
name_output(struct output *out, struct mb_error *err)
{
	unsigned flags = out->replace ? 0 : RENAME_NOREPLACE;
	int done;

	if (fsync(out->fd) != 0)
		return mb_fail_errno(err, errno, "could not write \"%s\"", out->path);
	done = renameat2(AT_FDCWD, out->part, AT_FDCWD, out->path, flags);
	/* Not every file system knows the flag. */
	if (done != 0 && flags && (errno == EINVAL || errno == ENOSYS))
		done = access(out->path, F_OK) == 0 ? (errno = EEXIST, -1) : rename(out->part, out->path);
	if (done != 0 && errno == EEXIST)
		return exists(out->path, err);
	if (done != 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", out->path);
	free(out->part);
	out->part = NULL;
	return mb_fsync_path(out->directory, err);
}

static void
close_output(struct output *out)
{
	if (out->part)
	{
		close(out->fd);
		unlink(out->part); /* best effort: what is not whole is of no use */
	}
	else if (out->fd > STDERR_FILENO)
		close(out->fd);
	free(out->part);
	free(out->directory);
	mb_rdb_free(out->walker);
}

static enum mb_code
take(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct output *out = ctx;

	if (mb_rdb_feed(out->walker, data, len, err))
		return err->code;
	atomic_fetch_add(&out->progress->done_bytes, len);
	return mb_write_full(out->fd, data, len, out->path, err);
}

static enum mb_code
receive(struct mb_component *component, struct output *out, struct mb_error *err)
{
	struct mb_replica_options options = {.redis = &mb_redis_of(component)->options,
										 .rdb_only = true};
	const struct mb_rdb_summary *summary = mb_rdb_summary(out->walker);
	struct mb_replica *replica = NULL;
	enum mb_code code = mb_replica_open(&replica, &options, &out->start, err);

	if (!code)
		code = mb_replica_rdb(replica, take, out, err);
	if (!code)
		code = mb_rdb_finish(out->walker, err);
	mb_replica_close(replica);
	if (!code && summary->has_offset &&
		(summary->offset != out->start.offset || strcmp(summary->replid, out->start.replid) != 0))
		code = mb_fail(err, MB_CORRUPT, "the RDB is not of the offset that the server announced");
	return code;
}

static json_t *
answer_json(const struct mb_component *component, const struct output *out, int64_t started_ms)
{
	const struct mb_rdb_summary *summary = mb_rdb_summary(out->walker);
	json_t *json = json_object(), *warnings = json_array();

	mb_json_set_str(json, "component", component->name);
	mb_json_set_str(json, "file", out->path);
	mb_json_set_int(json, "bytes", (int64_t) summary->bytes);
	mb_json_set_int(json, "keys", (int64_t) summary->keys);
	mb_json_set_int(json, "functions", (int64_t) summary->functions);
	json_object_set_new(json, "databases", mb_rdb_databases_json(summary));
	mb_json_set_str(json, "server_version", summary->server);
	mb_json_set_int(json, "rdb_version", summary->version);
	mb_json_set_str(json, "replid", out->start.replid);
	mb_json_set_int(json, "offset", (int64_t) out->start.offset);
	mb_json_set_bool(json, "checksum", summary->has_checksum);
	json_object_set_new(json, "seconds",
						json_real((double) (mb_monotonic_ms() - started_ms) / 1000));
	if (summary->opaque)
		json_array_append_new(warnings, json_string("its format is newer than this mbackup: only "
													"the checksum was verified"));
	if (!summary->has_checksum)
		json_array_append_new(warnings, json_string("the server writes no checksum (rdbchecksum "
													"no): only the structure was verified"));
	json_object_set_new(json, "warnings", warnings);
	return json;
}

enum mb_code
mb_redis_snapshot_file(struct mb_component *component, const char *path, unsigned flags,
					   json_t **answer, struct mb_error *err)
{
	struct output out = {.path = path, .replace = flags & MB_REDIS_FILE_FORCE};
	int64_t started_ms = mb_monotonic_ms();
	enum mb_code code;

	if (mb_redis_of(component)->cluster)
	{
		mb_fail(err, MB_UNSUPPORTED, "\"%s\" is a cluster: one file cannot hold it",
				component->name);
		return mb_error_hint(err,
							 "Take one of each node, from a section whose url is redis://NODE, or "
							 "\"mbackup redis snapshot\" without --output.");
	}
	out.progress = mb_env_progress(component->env, component->name);
	mb_progress_phase(out.progress, "snapshot");
	out.walker = mb_rdb_new_flags(MB_RDB_FOREIGN);
	code = open_output(&out, err);
	if (!code)
		code = receive(component, &out, err);
	if (!code && out.part)
		code = name_output(&out, err);
	if (!code)
		*answer = answer_json(component, &out, started_ms);
	close_output(&out);
	return code ? mb_error_context(err, "could not take a snapshot of \"%s\"", component->name)
				: MB_OK;
}

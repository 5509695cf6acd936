/* wal_push.c - see wal_push.h: what kind of file it is, and the batch. */
#include "walstreamer/wal_push.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "walstreamer/wal_push_private.h"

#define HEX "0123456789ABCDEF"

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool
is_segment(const char *name)
{
	return strlen(name) == 24 && strspn(name, HEX) == 24;
}

static bool
is_partial(const char *name)
{
	return strlen(name) == 32 && strspn(name, HEX) == 24 && strcmp(name + 24, ".partial") == 0;
}

/* 000000010000000000000004.00000028.backup */
bool
mb_wal_push_is_nothing(const char *path)
{
	const char *name = base_name(path);

	return strlen(name) == 40 && strspn(name, HEX) == 24 && mb_ends_with(name, ".backup");
}

/* -- history files --------------------------------------------------------------------------- */

static enum mb_code
push_history(const struct mb_env *env, const char *component, const char *path, uint32_t timeline,
			 struct mb_error *err)
{
	struct mb_blob_writer writer = {0};
	struct mb_buf content = {0};
	char name[MB_NAME_MAX];
	struct mb_data_dir dir;
	uint64_t switch_lsn;
	uint32_t parent;
	enum mb_code code = mb_data_dir_read(&dir, err);

	if (!code)
		code = mb_file_read(&content, path, MB_WAL_HISTORY_MAX, err);
	if (!code)
		code =
			mb_wal_history_parent(content.data, content.len, timeline, &parent, &switch_lsn, err);
	if (!code)
		code = mb_wal_history_put(&writer, env->repo, component, dir.system_id, timeline,
								  content.data, content.len, name, err);
	mb_blob_writer_release(&writer);
	mb_buf_release(&content);
	return code;
}

/* -- the end of a timeline ------------------------------------------------------------------- */

/* A younger timeline's history file beside the .partial tells where it ends. */
static enum mb_code
find_end(struct mb_push_file *file, struct mb_error *err)
{
	char *dir_path = mb_strndup(file->path, (size_t) (base_name(file->path) - file->path));
	DIR *dir = mb_opendir(*dir_path ? dir_path : ".");
	struct dirent *entry;
	uint32_t timeline, newest = 0;
	enum mb_code code = MB_OK;

	if (!dir)
		code = mb_fail_errno(err, errno, "could not list \"%s\"", dir_path);
	for (errno = 0; !code && (entry = readdir(dir)) != NULL; errno = 0)
	{
		struct mb_buf text = {0};
		uint64_t end = 0;
		char *path;

		if (!mb_wal_history_parse(entry->d_name, &timeline) || timeline <= file->timeline ||
			timeline <= newest)
			continue;
		path = mb_asprintf("%s%s", dir_path, entry->d_name);
		code = mb_file_read(&text, path, MB_WAL_HISTORY_MAX, err);
		if (!code && mb_wal_history_left(mb_buf_cstr(&text), text.len, file->timeline, &end) &&
			end > file->start_lsn && end <= file->start_lsn + file->segment_size)
		{
			newest = timeline;
			file->end_lsn = end;
		}
		mb_buf_release(&text);
		free(path);
	}
	/* One that was not seen may be the one that leaves this timeline. */
	if (!code && errno)
		code = mb_fail_errno(err, errno, "could not list \"%s\"", dir_path);
	if (dir)
		closedir(dir);
	free(dir_path);
	if (!code && newest == 0)
	{
		mb_fail(err, MB_NOT_FOUND,
				"could not tell where \"%s\" ends: no history file beside it leaves timeline %u "
				"in it",
				file->path, file->timeline);
		mb_error_hint(err, "PostgreSQL writes such a file when it is promoted; look for the "
						   "newest .history file in pg_wal.");
		code = err->code;
	}
	return code;
}

/* -- the batch ------------------------------------------------------------------------------- */

struct batch
{
	const struct mb_push_target *target;
	struct mb_push_file *files; /* the first is the one that was asked for, and open */
	char **paths;
	bool *stored;
	size_t count;
};

static bool
is_ready(const char *path)
{
	const char *name = base_name(path);
	char *ready = mb_asprintf("%.*sarchive_status/%s.ready", (int) (name - path), path, name);
	bool yes = access(ready, F_OK) == 0;

	free(ready);
	return yes;
}

/* The segments right behind the first one, as long as they are ready. */
static void
collect_batch(struct batch *batch, const struct mb_push_file *first)
{
	int dir_len = (int) (base_name(first->path) - first->path);
	uint64_t bytes = first->segment_size, lsn = first->start_lsn;

	batch->files[0] = *first;
	batch->count = 1;
	while (batch->count < MB_WAL_PUSH_FILES && bytes + first->segment_size <= MB_WAL_PUSH_BYTES)
	{
		char name[MB_WAL_FILE_TEXT];
		char *path;

		lsn += first->segment_size;
		bytes += first->segment_size;
		mb_wal_file_name(name, first->timeline, lsn, first->segment_size);
		path = mb_asprintf("%.*s%s", dir_len, first->path, name);
		if (!is_ready(path))
		{
			free(path);
			break;
		}
		batch->paths[batch->count++] = path;
	}
}

static enum mb_code
push_item(void *ctx, unsigned worker, size_t item, struct mb_error *err)
{
	struct batch *batch = ctx;
	struct mb_push_file *file = &batch->files[item];
	enum mb_code code = MB_OK;

	(void) worker;
	if (item > 0)
	{
		code = mb_push_open(file, batch->paths[item], err);
		if (!code && strcmp(file->system_id, batch->files[0].system_id) != 0)
		{
			close(file->fd);
			code = mb_fail(err, MB_CORRUPT, "another cluster's segment");
		}
		if (code)
			return MB_OK; /* it is asked for by itself and fails then */
	}
	code = mb_push_put(batch->target, file, err);
	batch->stored[item] = code == MB_OK;
	if (item > 0)
	{
		close(file->fd);
		code = MB_OK; /* the same */
	}
	return code;
}

static enum mb_code
push_batch(const struct mb_push_target *target, const struct mb_push_file *first,
		   struct mb_error *err)
{
	struct batch batch = {.target = target};
	json_t *segments;
	enum mb_code code;
	size_t i;

	batch.files = mb_calloc(MB_WAL_PUSH_FILES, sizeof(*batch.files));
	batch.paths = mb_calloc(MB_WAL_PUSH_FILES, sizeof(*batch.paths));
	batch.stored = mb_calloc(MB_WAL_PUSH_FILES, sizeof(*batch.stored));
	collect_batch(&batch, first);
	code =
		mb_pool_run(target->env->workers, batch.count, push_item, &batch, target->env->cancel, err);
	segments = json_object();
	for (i = 0; i < batch.count; i++)
		if (batch.stored[i])
			mb_push_note_add(segments, &batch.files[i]);
	if (batch.stored[0])
		mb_push_note_write(target, first, segments);
	json_decref(segments);
	for (i = 1; i < batch.count; i++)
		free(batch.paths[i]);
	free(batch.files);
	free(batch.paths);
	free(batch.stored);
	return code;
}

static enum mb_code
push_segment(const struct mb_env *env, const char *component, const char *path, bool partial,
			 struct mb_error *err)
{
	struct mb_push_target target = {.env = env, .component = component};
	struct mb_push_file file;
	enum mb_code code = mb_push_open(&file, path, err);

	if (code)
		return code;
	mb_data_dir_marker(target.marker);
	target.note = mb_push_note_read(env->spool, component, env->repo->id_text);
	if (partial)
		code = find_end(&file, err);
	if (!code)
		code = mb_push_choose(&target, &file, err);
	if (!code && partial)
		code = mb_push_put(&target, &file, err);
	else if (!code)
		code = push_batch(&target, &file, err);
	json_decref(target.note);
	close(file.fd);
	return code;
}

enum mb_code
mb_wal_push(const struct mb_env *env, const char *component, const char *path, struct mb_error *err)
{
	const char *name = base_name(path);
	uint32_t timeline;
	enum mb_code code;

	if (mb_wal_push_is_nothing(path))
		return MB_OK;
	if (mb_wal_history_parse(name, &timeline))
		code = push_history(env, component, path, timeline, err);
	else if (is_segment(name) || is_partial(name))
		code = push_segment(env, component, path, is_partial(name), err);
	else
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is not the name of a WAL file", name);
		code = mb_error_hint(err, "Write archive_command = 'mbackup wal-push %%p'.");
	}
	return code ? mb_error_context(err, "could not archive \"%s\"", name) : MB_OK;
}

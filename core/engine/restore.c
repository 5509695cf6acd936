/* restore.c - the helpers of restore.h that choose backups and destinations. */
#include "core/engine/restore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"

void
mb_restore_warn(struct mb_restore *restore, const char *fmt, ...)
{
	json_t *holder = json_object();
	json_t *list = json_object_get(restore->result, "warnings");
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mb_log_warning(restore->env->log, "%s: %s", restore->component, text);
	if (!list)
	{
		list = json_array();
		json_object_set_new(restore->result, "warnings", list);
	}
	mb_json_set_str(holder, "text", text);
	json_array_append(list, json_object_get(holder, "text"));
	json_decref(holder);
}

enum mb_code
mb_restore_in_the_way(struct mb_restore *restore, struct mb_error *err)
{
	if (err->code != MB_CONFLICT || !(restore->wishes->flags & MB_RESTORE_DRY_RUN))
		return err->code;
	mb_restore_warn(restore, "in the way now: %.700s%s%.300s", err->message,
					err->hint[0] ? ". " : "", err->hint);
	mb_error_clear(err);
	return MB_OK;
}

void
mb_restore_made(struct mb_restore *restore, const char *path)
{
	restore->made =
		mb_grow(restore->made, &restore->made_cap, restore->made_count + 1, sizeof(*restore->made));
	restore->made[restore->made_count++] = mb_strdup(path);
}

void
mb_restore_keep(struct mb_restore *restore)
{
	while (restore->made_count > 0)
		free(restore->made[--restore->made_count]);
}

int64_t
mb_commit_cut_time(const struct mb_commit *commit)
{
	int64_t time_us = mb_json_time(commit->meta, "cut_time");

	return time_us ? time_us : commit->finished_us;
}

size_t
mb_restore_newest_before(const struct mb_restore *restore, int64_t time_us)
{
	size_t best = SIZE_MAX, i;

	for (i = 0; i < restore->candidate_count; i++)
	{
		int64_t cut_us = mb_commit_cut_time(&restore->candidates[i]);

		if (cut_us <= time_us &&
			(best == SIZE_MAX || cut_us >= mb_commit_cut_time(&restore->candidates[best])))
			best = i;
	}
	return best;
}

size_t
mb_restore_oldest_after(const struct mb_restore *restore, int64_t time_us)
{
	size_t best = SIZE_MAX, i;

	for (i = 0; i < restore->candidate_count; i++)
	{
		int64_t cut_us = mb_commit_cut_time(&restore->candidates[i]);

		if (cut_us >= time_us &&
			(best == SIZE_MAX || cut_us < mb_commit_cut_time(&restore->candidates[best])))
			best = i;
	}
	return best;
}

enum mb_code
mb_restore_directory(const char *path, unsigned flags, mode_t mode, struct mb_error *err)
{
	enum mb_code code;
	struct stat st;
	bool empty;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return mb_fail(err, MB_CONFLICT, "\"%s\" exists but is not a directory", path);
	code = mb_dir_is_empty(path, &empty, err);
	if (code)
		return code;
	if (!empty)
	{
		mb_fail(err, MB_CONFLICT, "directory \"%s\" is not empty", path);
		return mb_error_hint(err, "Move its contents away, or restore into another directory "
								  "with --component NAME=DIRECTORY.");
	}
	if (!(flags & MB_DIRECTORY_CREATE))
		return MB_OK;
	code = mb_mkdirs(path, 0755, err);
	if (!code && chmod(path, mode) != 0)
		code = mb_fail_errno(err, errno, "could not set the mode of \"%s\"", path);
	return code;
}

/* -- the packs --------------------------------------------------------------------------------- */

struct present
{
	const struct mb_pack_refs *refs; /* sorted by pack id */
	bool *seen;
};

static enum mb_code
see_pack(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct present *present = ctx;
	size_t low = 0, high = present->refs->count;
	struct mb_pack_id id;

	(void) err;
	if (!mb_pack_name_parse(&id, info->name))
		return MB_OK;
	while (low < high)
	{
		size_t middle = low + (high - low) / 2;
		int order = memcmp(&id, &present->refs->items[middle].pack, sizeof(id));

		if (order == 0)
		{
			present->seen[middle] = true;
			return MB_OK;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return MB_OK;
}

enum mb_code
mb_restore_packs(struct mb_restore *restore, struct mb_error *err)
{
	const struct mb_pack_refs *refs = &restore->commit.refs;
	struct present present = {.refs = refs};
	char name[MB_PACK_NAME_TEXT], first[MB_PACK_NAME_TEXT] = "";
	size_t missing = 0, i;
	enum mb_code code;

	if (restore->packs_seen)
		return MB_OK;
	present.seen = mb_calloc(refs->count + 1, sizeof(bool));
	code = mb_store_list(restore->env->repo->store, "packs/", see_pack, &present, err);

	for (i = 0; !code && i < refs->count; i++)
	{
		if (present.seen[i])
			continue;
		mb_pack_name(name, &refs->items[i].pack);
		if (missing++ == 0)
			snprintf(first, sizeof(first), "%s", name);
	}
	free(present.seen);
	restore->packs_seen = !code && missing == 0;
	if (code || missing == 0)
		return code;
	mb_fail(err, MB_CORRUPT, "%zu of its %zu packs are missing, such as \"%s\"", missing,
			refs->count, first);
	return mb_error_hint(err, "Restore from another backup; \"mbackup verify --read-data none\" "
							  "says which ones are whole.");
}

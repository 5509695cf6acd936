/* objects_diff.c - see objects_diff.h. */
#include "objectstore/objects_diff.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "objectstore/bucket_walk.h"
#include "objectstore/component_bucket.h"

static enum mb_code
report(const struct mb_diff_request *request, enum mb_diff_kind kind, const char *key,
	   uint64_t was_bytes, uint64_t is_bytes, struct mb_error *err)
{
	struct mb_diff diff = {kind, key, was_bytes, is_bytes};

	return request->fn(request->ctx, &diff, err);
}

/* -- buckets ------------------------------------------------------------------------------------------ */

static bool
has_same_etag(const struct mb_entry *entry, const struct mb_s3_version *version)
{
	json_t *meta = mb_state_meta(entry);
	bool is_same = strcmp(mb_json_str(meta, "etag", ""), version->etag) == 0;

	json_decref(meta);
	return is_same;
}

static enum mb_code
compare_bucket_key(void *ctx, const char *target, const struct mb_state_key *wanted,
				   const struct mb_listed_key *there, struct mb_error *err)
{
	const struct mb_diff_request *request = ctx;
	const struct mb_entry *was = wanted && wanted->current ? &wanted->current->entry : NULL;
	const struct mb_s3_version *is = there ? &there->versions[0] : NULL;

	if (was && !is)
		return report(request, MB_DIFF_MISSING, target, was->size, 0, err);
	if (is && !was)
		return report(request, MB_DIFF_EXTRA, target, 0, is->size, err);
	if (was && is && (was->size != is->size || !has_same_etag(was, is)))
		return report(request, MB_DIFF_CHANGED, target, was->size, is->size, err);
	return MB_OK;
}

static enum mb_code
diff_bucket(const struct mb_diff_request *request, struct mb_error *err)
{
	struct mb_bucket *bucket = (struct mb_bucket *) request->component;
	struct mb_walk walk = {.repo = bucket->base.env->repo,
						   .commit = request->commit,
						   .time = request->time,
						   .only = request->only,
						   .only_count = request->only_count,
						   .bucket = bucket->name,
						   .prefix = "",
						   .within = bucket->prefix,
						   .listing = MB_LISTING_CURRENT,
						   .cancel = bucket->base.env->cancel,
						   .each = compare_bucket_key,
						   .ctx = (void *) (uintptr_t) request};
	enum mb_code code = mb_bucket_connect(bucket, err);

	walk.s3 = bucket->s3;
	if (!code)
		code = mb_walk_run(&walk, err);
	return code == MB_NOT_FOUND ? (err->code = MB_UNREACHABLE) : code;
}

/* -- directories ----------------------------------------------------------------------------------------- */

struct found
{
	char *name; /* relative */
	uint64_t bytes;
	int64_t mtime_ns;
};

struct found_files
{
	struct found *items;
	size_t count;
	size_t cap;
};

static int
compare_found(const void *a, const void *b)
{
	return strcmp(((const struct found *) a)->name, ((const struct found *) b)->name);
}

static enum mb_code
find_files(const char *root, struct found_files *files, struct mb_error *err)
{
	char *paths[] = {(char *) (uintptr_t) root, NULL};
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	enum mb_code code = MB_OK;
	FTSENT *entry;

	if (!fts)
		return mb_fail_errno(err, errno, "could not read \"%s\"", root);
	while (!code && (entry = fts_read(fts)) != NULL)
	{
		if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
			code = mb_fail_errno(err, entry->fts_errno, "could not read \"%s\"", entry->fts_path);
		if (code || entry->fts_info != FTS_F || !S_ISREG(entry->fts_statp->st_mode))
			continue;
		files->items = mb_grow(files->items, &files->cap, files->count + 1, sizeof(*files->items));
		files->items[files->count++] =
			(struct found){mb_strdup(entry->fts_path + strlen(root) + 1),
						   (uint64_t) entry->fts_statp->st_size,
						   (int64_t) entry->fts_statp->st_mtim.tv_sec * 1000000000 +
							   entry->fts_statp->st_mtim.tv_nsec};
	}
	fts_close(fts);
	if (files->count)
		qsort(files->items, files->count, sizeof(*files->items), compare_found);
	return code;
}

/* Files before `key` (NULL: all that are left) are in no backup. */
static enum mb_code
pass_extra(const struct mb_diff_request *request, const struct found_files *files, size_t *at,
		   const char *key, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	for (; !code && *at < files->count && (!key || strcmp(files->items[*at].name, key) < 0);
		 (*at)++)
		if (mb_state_wanted(request->only, request->only_count, files->items[*at].name))
			code = report(request, MB_DIFF_EXTRA, files->items[*at].name, 0,
						  files->items[*at].bytes, err);
	return code;
}

static enum mb_code
compare_file(const struct mb_diff_request *request, const struct mb_entry *was,
			 const struct found *is, const char *key, struct mb_error *err)
{
	if (!is)
		return report(request, MB_DIFF_MISSING, key, was->size, 0, err);
	if (was->size != is->bytes || was->mtime_ns != is->mtime_ns)
		return report(request, MB_DIFF_CHANGED, key, was->size, is->bytes, err);
	return MB_OK;
}

static enum mb_code
diff_directory(const struct mb_diff_request *request, struct mb_error *err)
{
	const char *root = mb_settings_get(request->component->settings, "url") + strlen("file://");
	struct mb_state *state =
		mb_state_new(request->component->env->repo, request->commit, request->time);
	struct found_files files = {0};
	const struct mb_state_key *key = NULL;
	enum mb_code code = find_files(root, &files, err);
	size_t at = 0, i;

	while (!code && (code = mb_state_next(state, &key, err)) == MB_OK && key)
	{
		const struct found *is = NULL;

		if (!key->current)
			continue;
		code = pass_extra(request, &files, &at, key->key, err);
		if (at < files.count && strcmp(files.items[at].name, key->key) == 0)
			is = &files.items[at++];
		if (!code && mb_state_wanted(request->only, request->only_count, key->key))
			code = compare_file(request, &key->current->entry, is, key->key, err);
	}
	if (!code)
		code = pass_extra(request, &files, &at, NULL, err);
	for (i = 0; i < files.count; i++)
		free(files.items[i].name);
	free(files.items);
	mb_state_free(state);
	return code;
}

enum mb_code
mb_objects_diff(const struct mb_diff_request *request, struct mb_error *err)
{
	if (request->component->ops == &mb_bucket_component_ops)
		return diff_bucket(request, err);
	return diff_directory(request, err);
}

/* store_mirror.c - see store_mirror.h: the driver.  Copies are mirror_copy.c's, the rest follows. */
#include "core/repo/store_mirror.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/repo/mirror_private.h"

#define RETRY_MS 30000
#define PATIENCE_MS 60000

/*
 * Leases say who writes to the first, provisional manifests what an unfinished backup has
 * put there: a copy is never continued, only read or made the first.  Tombstones say what of the
 * first will be removed; a copy that is made the first gets new ones.
 */
bool
mb_mirror_is_local(const char *name)
{
	return mb_starts_with(name, "leases/") || mb_starts_with(name, "provisional/") ||
		   mb_starts_with(name, "probes/") || mb_starts_with(name, "verified/") ||
		   mb_starts_with(name, "tombstones/");
}

static enum mb_code
check_writable(const struct mb_mirror *mirror, struct mb_error *err)
{
	if (!(mirror->options.flags & MB_MIRROR_READ_ONLY))
		return MB_OK;
	return mb_fail(err, MB_UNSUPPORTED, "this command does not write to the repository");
}

/* The copy could not be given something: it is left alone from now on. */
static void
left_behind(struct mb_mirror_copy *copy, const struct mb_error *why)
{
	mb_mirror_fall_behind(copy, why->message);
}

static void
put_copy(struct mb_mirror_copy *copy, const char *name, const void *data, size_t len)
{
	const struct mb_mirror *mirror = copy->mirror;
	struct mb_error why;
	enum mb_code code;

	mb_error_clear(&why);
	code = mb_mirror_copy_open(copy, false, mirror->options.patience_ms, &why);
	if (!code)
		code = mb_mirror_copy_put(copy, name, data, len, &why);
	if (code)
		left_behind(copy, &why);
}

static enum mb_code
mirror_put(struct mb_store *base, const char *name, const void *data, size_t len,
		   struct mb_error *err)
{
	struct mb_mirror *mirror = (struct mb_mirror *) base;
	enum mb_code code;
	size_t i;
	int lock;

	/* What stays with the first is no history: it may be put by whoever only reads, too. */
	if (mb_mirror_is_local(name))
		return mb_store_put(mirror->first, name, data, len, err);
	code = check_writable(mirror, err);
	if (code)
		return code;
	lock = mb_mirror_enter(mirror);
	code = mb_store_put(mirror->first, name, data, len, err);
	for (i = 0; !code && i < mirror->count; i++)
		if (!mb_mirror_is_behind(&mirror->copies[i]))
			put_copy(&mirror->copies[i], name, data, len);
	mb_mirror_leave(lock);
	return code;
}

/* A place that hangs is not asked again for every blob. */
static enum mb_code
open_to_read(struct mb_mirror_copy *copy, struct mb_error *err)
{
	enum mb_code code;

	if (mb_monotonic_ms() < atomic_load(&copy->pause_until_ms))
		return mb_fail(err, MB_UNREACHABLE, "the copy \"%s\" could not be opened", copy->name);
	code = mb_mirror_copy_open(copy, false, MB_MIRROR_OPEN_PATIENCE_MS, err);
	if (code)
		atomic_store(&copy->pause_until_ms, mb_monotonic_ms() + copy->mirror->options.retry_ms);
	return code;
}

/* The first that has it; the answer of the first when none has. */
static enum mb_code
get_from_copies(struct mb_mirror *mirror, const char *name, uint64_t offset, size_t len,
				struct mb_buf *out)
{
	enum mb_code code = MB_NOT_FOUND;
	struct mb_error why;
	size_t i;

	for (i = 0; code && i < mirror->count; i++)
	{
		struct mb_mirror_copy *copy = &mirror->copies[i];

		code = open_to_read(copy, &why);
		if (!code)
			code = mb_mirror_copy_get(copy, name, offset, len, out, &why);
		if (!code && !atomic_exchange(&mirror->told_fallback, true))
			mb_log_warning(mirror->options.log,
						   "\"%s\" could not be read from \"%s\": it comes from the copy \"%s\"",
						   name, mirror->base.url, copy->name);
	}
	return code;
}

static enum mb_code
mirror_get(struct mb_store *base, const char *name, uint64_t offset, size_t len, struct mb_buf *out,
		   struct mb_error *err)
{
	struct mb_mirror *mirror = (struct mb_mirror *) base;
	size_t before = out->len;
	enum mb_code code = mb_store_get(mirror->first, name, offset, len, out, err);

	if (!code || strcmp(name, MB_HEADER_NAME) == 0 || mb_mirror_is_local(name))
		return code;
	out->len = before;
	return get_from_copies(mirror, name, offset, len, out) ? code : MB_OK;
}

static enum mb_code
mirror_head(struct mb_store *base, const char *name, struct mb_blob_info *info,
			struct mb_error *err)
{
	return mb_store_head(((struct mb_mirror *) base)->first, name, info, err);
}

static enum mb_code
mirror_list(struct mb_store *base, const char *prefix, mb_store_list_fn fn, void *ctx,
			struct mb_error *err)
{
	return mb_store_list(((struct mb_mirror *) base)->first, prefix, fn, ctx, err);
}

static bool
all_local(const char *const *names, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!mb_mirror_is_local(names[i]))
			return false;
	return true;
}

/* What a copy that is behind keeps is noted, and removed once it has caught up. */
static void
remove_from_copy(struct mb_mirror_copy *copy, const char *const *names, size_t count)
{
	const struct mb_mirror *mirror = copy->mirror;
	struct mb_error why;
	enum mb_code code;

	if (mb_mirror_is_behind(copy))
	{
		mb_mirror_note_removed(copy, names, count);
		return;
	}
	mb_error_clear(&why);
	code = mb_mirror_copy_open(copy, false, mirror->options.patience_ms, &why);
	if (!code)
		code = mb_mirror_copy_remove(copy, names, count, &why);
	if (!code)
		return;
	mb_mirror_note_removed(copy, names, count);
	left_behind(copy, &why);
}

/*
 * The first comes last: a kill in between leaves a blob that it still has, which its copies
 * get back by comparing, and never one in a copy that nobody knows of.
 */
static enum mb_code
mirror_remove(struct mb_store *base, const char *const *names, size_t count, struct mb_error *err)
{
	struct mb_mirror *mirror = (struct mb_mirror *) base;
	enum mb_code code = check_writable(mirror, err);
	size_t i;
	int lock;

	if (code)
		return code;
	if (all_local(names, count))
		return mb_store_remove(mirror->first, names, count, err);
	lock = mb_mirror_enter(mirror);
	for (i = 0; i < mirror->count; i++)
		remove_from_copy(&mirror->copies[i], names, count);
	code = mb_store_remove(mirror->first, names, count, err);
	for (i = 0; code && i < mirror->count; i++)
		left_behind(&mirror->copies[i], err);
	mb_mirror_leave(lock);
	return code;
}

static enum mb_code
mirror_clock(struct mb_store *base, int64_t *now_us, struct mb_error *err)
{
	return mb_store_clock(((struct mb_mirror *) base)->first, now_us, err);
}

static void
mirror_free(struct mb_store *base)
{
	struct mb_mirror *mirror = (struct mb_mirror *) base;
	size_t i;

	mb_mirror_stop_thread(mirror);
	mb_mirror_end_writing(mirror);
	for (i = 0; i < mirror->count; i++)
	{
		struct mb_mirror_copy *copy = &mirror->copies[i];

		mb_mirror_copy_close(copy);
		pthread_mutex_destroy(&copy->lock);
		free(copy->name);
		free(copy->url);
		free(copy->state_path);
		free(copy->removed_path);
	}
	free(mirror->copies);
	free(mirror->lock_path);
	mb_store_free(mirror->first);
	pthread_mutex_destroy(&mirror->lock);
	pthread_cond_destroy(&mirror->wake);
	free(mirror->base.url);
	free(mirror);
}

static const struct mb_store_ops mirror_ops = {
	.driver = "mirror",
	.put = mirror_put,
	.get = mirror_get,
	.head = mirror_head,
	.list = mirror_list,
	.remove = mirror_remove,
	.clock = mirror_clock,
	.free = mirror_free,
};

struct mb_mirror *
mb_as_mirror(const struct mb_store *store)
{
	return store->ops == &mirror_ops ? (struct mb_mirror *) (uintptr_t) store : NULL;
}

/* -- opening --------------------------------------------------------------------------------- */

enum mb_code
mb_mirror_read_header(struct mb_store *store, struct mb_buf *bytes, struct mb_repo_header *header,
					  struct mb_error *err)
{
	enum mb_code code = mb_store_get(store, MB_HEADER_NAME, 0, MB_HEADER_MAX_BYTES, bytes, err);

	if (code == MB_NOT_FOUND)
	{
		mb_fail(err, code, "there is no repository at \"%s\"", store->url);
		return mb_error_hint(err, "Make one with mbackup init, or check that it is mounted.");
	}
	return code ? code : mb_repo_header_decode(header, bytes->data, bytes->len, err);
}

static void
init_copy(struct mb_mirror *mirror, struct mb_mirror_copy *copy,
		  const struct mb_mirror_place *place)
{
	const char *spool = mirror->options.spool ? mirror->options.spool : "/nonexistent";

	copy->mirror = mirror;
	copy->name = mb_strdup(place->name);
	copy->url = mb_strdup(place->url);
	copy->state_path = mb_asprintf("%s/copy-%s-%s", spool, mirror->id_text, place->name);
	copy->removed_path = mb_asprintf("%s.removed", copy->state_path);
	pthread_mutex_init(&copy->lock, NULL);
}

static struct mb_mirror *
new_mirror(struct mb_store *first, const struct mb_repo_header *header, const struct mb_buf *bytes,
		   const struct mb_mirror_options *options)
{
	struct mb_mirror *mirror = mb_calloc(1, sizeof(*mirror));
	pthread_condattr_t attr;

	mirror->base.ops = &mirror_ops;
	mirror->base.url = mb_strdup(first->url);
	mirror->first = first;
	mirror->options = *options;
	if (mirror->options.retry_ms == 0)
		mirror->options.retry_ms = RETRY_MS;
	if (mirror->options.patience_ms == 0)
		mirror->options.patience_ms = PATIENCE_MS;
	snprintf(mirror->id_text, sizeof(mirror->id_text), "%s", header->id_text);
	memcpy(mirror->header, bytes->data, bytes->len);
	mirror->header_len = bytes->len;
	mirror->lock_path =
		mb_asprintf("%s/mirror-%s.lock", options->spool ? options->spool : "", mirror->id_text);
	pthread_mutex_init(&mirror->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&mirror->wake, &attr);
	pthread_condattr_destroy(&attr);
	return mirror;
}

/* For writing: see who is there.  A wrong repository is the only fault that ends it. */
static enum mb_code
open_copies(struct mb_mirror *mirror, struct mb_error *err)
{
	bool all = (mirror->options.flags & MB_MIRROR_CATCH_UP) != 0;
	enum mb_code code = mb_mirror_begin_writing(mirror, err);
	size_t i;

	for (i = 0; !code && i < mirror->count; i++)
	{
		struct mb_mirror_copy *copy = &mirror->copies[i];
		struct mb_error why;

		if (!all && mb_mirror_is_behind(copy))
			continue;
		mb_error_clear(&why);
		code = mb_mirror_copy_open(copy, false, MB_MIRROR_OPEN_PATIENCE_MS, &why);
		if (code == MB_CONFIG)
		{
			*err = why;
			return mb_error_context(err, "[repository:%s]", copy->name);
		}
		if (code)
			left_behind(copy, &why);
		code = MB_OK;
	}
	if (!code && all)
		mb_mirror_start_thread(mirror);
	return code;
}

enum mb_code
mb_store_mirror_open(struct mb_store **out, struct mb_store *first,
					 const struct mb_mirror_place *places, size_t count,
					 const struct mb_mirror_options *options, struct mb_error *err)
{
	struct mb_repo_header header;
	struct mb_mirror *mirror;
	struct mb_buf bytes = {0};
	enum mb_code code = mb_mirror_read_header(first, &bytes, &header, err);
	size_t i;

	MB_ASSERT(options->spool || (options->flags & MB_MIRROR_READ_ONLY));
	if (code)
	{
		mb_buf_release(&bytes);
		mb_store_free(first);
		return code;
	}
	mirror = new_mirror(first, &header, &bytes, options);
	mb_buf_release(&bytes);
	mirror->copies = mb_calloc(count + 1, sizeof(*mirror->copies));
	mirror->count = count;
	for (i = 0; i < count; i++)
		init_copy(mirror, &mirror->copies[i], &places[i]);
	if (!(options->flags & MB_MIRROR_READ_ONLY))
		code = open_copies(mirror, err);
	if (code)
		mb_store_free(&mirror->base);
	else
		*out = &mirror->base;
	return code;
}

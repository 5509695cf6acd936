/*
 * place_fixture.h - places of a repository that can fail, for tests of mirrors.
 *
 * Every test program includes it once; it has no .c file.
 */
#ifndef MB_TESTS_PLACE_FIXTURE_H
#define MB_TESTS_PLACE_FIXTURE_H

#include "tests/lib/repo_fixture.h"

#include <stdatomic.h>

#include "core/base/time.h"

/* A place: memory that outlives the stores that are opened on it, with faults. */
struct place
{
	struct mb_store *memory;
	atomic_bool is_gone; /* nothing can be reached */
	atomic_bool hangs;   /* as a dead network mount */
	atomic_bool loses;   /* every get fails */
	atomic_int puts;
	atomic_int no_space_after; /* puts; -1: never */
	atomic_int disorders;      /* commits before their packs */
};

struct place_store
{
	struct mb_store base;
	struct place *place;
};

static enum mb_code
reach(struct mb_store *base, struct place **place, struct mb_error *err)
{
	*place = ((struct place_store *) base)->place;
	while (atomic_load(&(*place)->hangs))
		mb_sleep_ms(5);
	return atomic_load(&(*place)->is_gone) ? mb_fail(err, MB_UNREACHABLE, "the place is gone")
										   : MB_OK;
}

__attribute__((unused)) static bool
holds(struct place *place, const char *name)
{
	struct mb_blob_info info;
	struct mb_error err;

	return mb_store_head(place->memory, name, &info, &err) == MB_OK;
}

/* Commit N refers to packs/N/a and packs/N/b; set N to commit N. */
static void
judge_order(struct place *place, const char *name)
{
	char needed[64];
	int number;

	if (sscanf(name, "backups/c/%d/commit", &number) == 1)
	{
		snprintf(needed, sizeof(needed), "packs/%d/a", number);
		atomic_fetch_add(&place->disorders, !holds(place, needed));
		snprintf(needed, sizeof(needed), "packs/%d/b", number);
		atomic_fetch_add(&place->disorders, !holds(place, needed));
	}
	if (sscanf(name, "sets/%d", &number) == 1)
	{
		snprintf(needed, sizeof(needed), "backups/c/%d/commit", number);
		atomic_fetch_add(&place->disorders, !holds(place, needed));
	}
}

static enum mb_code
place_put(struct mb_store *base, const char *name, const void *data, size_t len,
		  struct mb_error *err)
{
	struct place *place;
	enum mb_code code = reach(base, &place, err);
	int limit;

	if (code)
		return code;
	limit = atomic_load(&place->no_space_after);
	if (limit >= 0 && atomic_load(&place->puts) >= limit)
		return mb_fail(err, MB_NO_SPACE, "no space");
	judge_order(place, name);
	code = mb_store_put(place->memory, name, data, len, err);
	atomic_fetch_add(&place->puts, !code);
	return code;
}

/* mbackup.json is in no listing, so that the contract of stores can be asked of a mirror. */
static enum mb_code
place_get(struct mb_store *base, const char *name, uint64_t offset, size_t len, struct mb_buf *out,
		  struct mb_error *err)
{
	struct place *place;
	enum mb_code code = reach(base, &place, err);

	if (!code && atomic_load(&place->loses) && strcmp(name, MB_HEADER_NAME) != 0)
	{
		mb_buf_put_str(out, "rubbish");
		return mb_fail(err, MB_IO, "this place reads nothing");
	}
	return code ? code : mb_store_get(place->memory, name, offset, len, out, err);
}

static enum mb_code
place_head(struct mb_store *base, const char *name, struct mb_blob_info *info, struct mb_error *err)
{
	struct place *place;
	enum mb_code code = reach(base, &place, err);

	return code ? code : mb_store_head(place->memory, name, info, err);
}

struct hiding
{
	mb_store_list_fn fn;
	void *ctx;
};

static enum mb_code
hide_header(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct hiding *hiding = ctx;

	return strcmp(info->name, MB_HEADER_NAME) == 0 ? MB_OK : hiding->fn(hiding->ctx, info, err);
}

static enum mb_code
place_list(struct mb_store *base, const char *prefix, mb_store_list_fn fn, void *ctx,
		   struct mb_error *err)
{
	struct hiding hiding = {fn, ctx};
	struct place *place;
	enum mb_code code = reach(base, &place, err);

	return code ? code : mb_store_list(place->memory, prefix, hide_header, &hiding, err);
}

static enum mb_code
place_remove(struct mb_store *base, const char *const *names, size_t count, struct mb_error *err)
{
	struct place *place;
	enum mb_code code = reach(base, &place, err);

	return code ? code : mb_store_remove(place->memory, names, count, err);
}

static enum mb_code
place_clock(struct mb_store *base, int64_t *now_us, struct mb_error *err)
{
	struct place *place;
	enum mb_code code = reach(base, &place, err);

	return code ? code : mb_store_clock(place->memory, now_us, err);
}

static void
place_free(struct mb_store *base)
{
	free(base->url);
	free(base);
}

static const struct mb_store_ops place_ops = {.driver = "place",
											  .put = place_put,
											  .get = place_get,
											  .head = place_head,
											  .list = place_list,
											  .remove = place_remove,
											  .clock = place_clock,
											  .free = place_free};

__attribute__((unused)) static struct mb_store *
place_store(struct place *place, const char *url)
{
	struct place_store *store = mb_calloc(1, sizeof(*store));

	store->base.ops = &place_ops;
	store->base.url = mb_strdup(url);
	store->place = place;
	return &store->base;
}

/* Make it a repository, the same one wherever this is called. */
__attribute__((unused)) static void
found(struct place *place)
{
	struct mb_repo_header header = {.suite = MB_SUITE_NONE, .created_us = 1000000};
	struct mb_buf bytes = {0};
	struct mb_error err;

	memset(header.id, 0x11, sizeof(header.id));
	snprintf(header.id_text, sizeof(header.id_text), "11111111-1111-1111-1111-111111111111");
	mb_repo_header_encode(&bytes, &header);
	assert_ok(mb_store_put(place->memory, MB_HEADER_NAME, bytes.data, bytes.len, &err), err);
	mb_buf_release(&bytes);
}

#endif

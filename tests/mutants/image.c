/* image.c - see mutants.h: a repository as bytes in memory. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "tests/mutants/mutants.h"

static int
compare_blobs(const void *a, const void *b)
{
	return strcmp(((const struct mutant_blob *) a)->name, ((const struct mutant_blob *) b)->name);
}

struct mutant_blob *
image_find(const struct mutant_image *image, const char *name)
{
	struct mutant_blob key = {.name = name};

	if (image->count == 0)
		return NULL;
	return bsearch(&key, image->items, image->count, sizeof(key), compare_blobs);
}

void
image_put(struct mutant_image *image, const char *name, const void *data, size_t len)
{
	struct mutant_blob *blob = image_find(image, name);

	if (blob)
	{
		blob->data = data;
		blob->len = len;
		return;
	}
	image->items = mb_grow(image->items, &image->cap, image->count + 1, sizeof(*image->items));
	image->items[image->count++] = (struct mutant_blob){name, data, len};
	qsort(image->items, image->count, sizeof(*image->items), compare_blobs);
}

void
image_remove(struct mutant_image *image, const char *name)
{
	struct mutant_blob *blob = image_find(image, name);

	if (!blob)
		return;
	memmove(blob, blob + 1, (size_t) (image->items + image->count - (blob + 1)) * sizeof(*blob));
	image->count--;
}

void
image_copy(struct mutant_image *image, const struct mutant_image *from)
{
	image->items = mb_grow(image->items, &image->cap, from->count, sizeof(*image->items));
	memcpy(image->items, from->items, from->count * sizeof(*image->items));
	image->count = from->count;
}

void
image_release(struct mutant_image *image)
{
	free(image->items);
	memset(image, 0, sizeof(*image));
}

/* -- from a directory -------------------------------------------------------------------------- */

static struct
{
	struct mutant_image *image;
	struct mb_arena *arena;
	size_t root_len;
} loading; /* nftw has no context */

static int
load_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct mb_buf bytes = {0};
	struct mb_error err;

	(void) st;
	(void) ftw;
	if (type != FTW_F)
		return 0;
	if (mb_file_read(&bytes, path, MB_BLOB_MAX_BYTES, &err))
	{
		fprintf(stderr, "%s\n", err.message);
		exit(2);
	}
	image_put(loading.image, mb_arena_strdup(loading.arena, path + loading.root_len + 1),
			  mb_arena_copy(loading.arena, bytes.data ? bytes.data : (unsigned char *) "",
							bytes.len),
			  bytes.len);
	mb_buf_release(&bytes);
	return 0;
}

void
image_load(struct mutant_image *image, struct mb_arena *arena, const char *directory)
{
	loading.image = image;
	loading.arena = arena;
	loading.root_len = strlen(directory);
	if (nftw(directory, load_one, 16, FTW_PHYS) != 0 || image->count == 0)
	{
		fprintf(stderr, "\"%s\" holds no repository\n", directory);
		exit(2);
	}
}

/* -- a store over it --------------------------------------------------------------------------- */

struct image_store
{
	struct mb_store base;
	const struct mutant_image *image;
};

static enum mb_code
store_put(struct mb_store *store, const char *name, const void *data, size_t len,
		  struct mb_error *err)
{
	(void) store;
	(void) data;
	(void) len;
	return mb_fail(err, MB_DENIED, "\"%s\" cannot be put: it is read-only", name);
}

static const struct mutant_blob *
look(struct mb_store *store, const char *name)
{
	return image_find(((struct image_store *) store)->image, name);
}

static enum mb_code
store_get(struct mb_store *store, const char *name, uint64_t offset, size_t len, struct mb_buf *out,
		  struct mb_error *err)
{
	const struct mutant_blob *blob = look(store, name);

	if (!blob)
		return mb_fail(err, MB_NOT_FOUND, "\"%s\" does not exist", name);
	if (offset < blob->len)
		mb_buf_put(out, blob->data + offset,
				   blob->len - offset < len ? blob->len - (size_t) offset : len);
	return MB_OK;
}

static enum mb_code
store_head(struct mb_store *store, const char *name, struct mb_blob_info *info,
		   struct mb_error *err)
{
	const struct mutant_blob *blob = look(store, name);

	if (!blob)
		return mb_fail(err, MB_NOT_FOUND, "\"%s\" does not exist", name);
	*info = (struct mb_blob_info){.name = name, .bytes = blob->len, .modified_us = 1};
	return MB_OK;
}

static enum mb_code
store_list(struct mb_store *store, const char *prefix, mb_store_list_fn fn, void *ctx,
		   struct mb_error *err)
{
	const struct mutant_image *image = ((struct image_store *) store)->image;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < image->count; i++)
	{
		struct mb_blob_info info = {.name = image->items[i].name,
									.bytes = image->items[i].len,
									.modified_us = 1};

		if (mb_starts_with(info.name, prefix))
			code = fn(ctx, &info, err);
	}
	return code;
}

static enum mb_code
store_remove(struct mb_store *store, const char *const *names, size_t count, struct mb_error *err)
{
	(void) store;
	(void) names;
	return count ? mb_fail(err, MB_DENIED, "nothing can be removed: it is read-only") : MB_OK;
}

static enum mb_code
store_clock(struct mb_store *store, int64_t *now_us, struct mb_error *err)
{
	(void) store;
	(void) err;
	*now_us = mb_time_now_us();
	return MB_OK;
}

static void
store_free(struct mb_store *store)
{
	free(store->url);
	free(store);
}

struct mb_store *
image_store_new(const struct mutant_image *image)
{
	static const struct mb_store_ops ops = {"image",    store_put,    store_get,   store_head,
											store_list, store_remove, store_clock, store_free};
	struct image_store *store = mb_calloc(1, sizeof(*store));

	store->base.ops = &ops;
	store->base.url = mb_strdup("image");
	store->image = image;
	return &store->base;
}

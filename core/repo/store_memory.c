/* store_memory.c - a store in memory, for tests; see store.h. */
#include "core/repo/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"

struct memory_blob
{
	char *name;
	unsigned char *data;
	size_t len;
	int64_t modified_us;
};

struct memory_store
{
	struct mb_store base;
	pthread_mutex_t lock;
	struct memory_blob *blobs; /* sorted by name */
	size_t count;
	size_t cap;
	int64_t clock_skew_us;
	int64_t stopped_us; /* 0: it goes */
	int64_t puts_left;
	enum mb_code fail_code;
};

static int64_t
memory_now(const struct memory_store *store)
{
	return store->stopped_us ? store->stopped_us : mb_time_now_us() + store->clock_skew_us;
}

/* The index of the first blob whose name is not below `name`. */
static size_t
lower_bound(const struct memory_store *store, const char *name)
{
	size_t low = 0, high = store->count;

	while (low < high)
	{
		size_t mid = low + (high - low) / 2;

		if (strcmp(store->blobs[mid].name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct memory_blob *
find(const struct memory_store *store, const char *name)
{
	size_t i = lower_bound(store, name);

	return i < store->count && strcmp(store->blobs[i].name, name) == 0 ? &store->blobs[i] : NULL;
}

/* Would the name be a directory prefix of another one, or the other way round? */
static bool
collides(const struct memory_store *store, const char *name)
{
	char *copy = mb_asprintf("%s/", name);
	size_t i = lower_bound(store, copy);
	bool hit = i < store->count && mb_starts_with(store->blobs[i].name, copy);
	char *slash;

	copy[strlen(name)] = '\0';
	while (!hit && (slash = strrchr(copy, '/')) != NULL)
	{
		*slash = '\0';
		hit = find(store, copy) != NULL;
	}
	free(copy);
	return hit;
}

static enum mb_code
memory_put(struct mb_store *base, const char *name, const void *data, size_t len,
		   struct mb_error *err)
{
	struct memory_store *store = (struct memory_store *) base;
	enum mb_code code = MB_OK;

	pthread_mutex_lock(&store->lock);
	if (find(store, name) || collides(store, name))
		code = mb_fail(err, MB_EXISTS, "blob \"%s\" exists", name);
	else if (store->fail_code && store->puts_left <= 0)
		code = mb_fail(err, store->fail_code, "could not put blob \"%s\": injected failure", name);
	else
	{
		size_t i = lower_bound(store, name);
		struct memory_blob *blob;

		store->blobs =
			mb_grow(store->blobs, &store->cap, store->count + 1, sizeof(store->blobs[0]));
		blob = &store->blobs[i];
		memmove(blob + 1, blob, (store->count - i) * sizeof(*blob));
		store->count++;
		blob->name = mb_strdup(name);
		blob->data = mb_malloc(len);
		if (len)
			memcpy(blob->data, data, len);
		blob->len = len;
		blob->modified_us = memory_now(store);
		if (store->fail_code)
			store->puts_left--;
	}
	pthread_mutex_unlock(&store->lock);
	return code;
}

static enum mb_code
memory_get(struct mb_store *base, const char *name, uint64_t offset, size_t len, struct mb_buf *out,
		   struct mb_error *err)
{
	struct memory_store *store = (struct memory_store *) base;
	enum mb_code code = MB_OK;
	const struct memory_blob *blob;

	pthread_mutex_lock(&store->lock);
	blob = find(store, name);
	if (!blob)
		code = mb_fail(err, MB_NOT_FOUND, "there is no blob \"%s\"", name);
	else if (offset < blob->len)
	{
		size_t left = blob->len - (size_t) offset;

		mb_buf_put(out, blob->data + offset, len < left ? len : left);
	}
	pthread_mutex_unlock(&store->lock);
	return code;
}

static enum mb_code
memory_head(struct mb_store *base, const char *name, struct mb_blob_info *info,
			struct mb_error *err)
{
	struct memory_store *store = (struct memory_store *) base;
	enum mb_code code = MB_OK;
	const struct memory_blob *blob;

	pthread_mutex_lock(&store->lock);
	blob = find(store, name);
	if (!blob)
		code = mb_fail(err, MB_NOT_FOUND, "there is no blob \"%s\"", name);
	else
	{
		info->name = name;
		info->bytes = blob->len;
		info->modified_us = blob->modified_us;
	}
	pthread_mutex_unlock(&store->lock);
	return code;
}

/* The call-back may use the store: names are looked up one by one, without the lock in between. */
static enum mb_code
memory_list(struct mb_store *base, const char *prefix, mb_store_list_fn fn, void *ctx,
			struct mb_error *err)
{
	struct memory_store *store = (struct memory_store *) base;
	enum mb_code code = MB_OK;
	char *last = NULL;

	while (!code)
	{
		struct mb_blob_info info;
		size_t i;
		bool end;

		pthread_mutex_lock(&store->lock);
		i = lower_bound(store, last ? last : prefix);
		if (last && i < store->count && strcmp(store->blobs[i].name, last) == 0)
			i++;
		end = i >= store->count || !mb_starts_with(store->blobs[i].name, prefix);
		if (!end)
		{
			free(last);
			last = mb_strdup(store->blobs[i].name);
			info.name = last;
			info.bytes = store->blobs[i].len;
			info.modified_us = store->blobs[i].modified_us;
		}
		pthread_mutex_unlock(&store->lock);
		if (end)
			break;
		code = fn(ctx, &info, err);
	}
	free(last);
	return code;
}

static enum mb_code
memory_remove(struct mb_store *base, const char *const *names, size_t count, struct mb_error *err)
{
	struct memory_store *store = (struct memory_store *) base;
	size_t i;

	(void) err;
	pthread_mutex_lock(&store->lock);
	for (i = 0; i < count; i++)
	{
		struct memory_blob *blob = find(store, names[i]);

		if (!blob)
			continue;
		free(blob->name);
		free(blob->data);
		store->count--;
		memmove(blob, blob + 1, (store->count - (size_t) (blob - store->blobs)) * sizeof(*blob));
	}
	pthread_mutex_unlock(&store->lock);
	return MB_OK;
}

static enum mb_code
memory_clock(struct mb_store *base, int64_t *now_us, struct mb_error *err)
{
	(void) err;
	*now_us = memory_now((struct memory_store *) base);
	return MB_OK;
}

static void
memory_free(struct mb_store *base)
{
	struct memory_store *store = (struct memory_store *) base;
	size_t i;

	for (i = 0; i < store->count; i++)
	{
		free(store->blobs[i].name);
		free(store->blobs[i].data);
	}
	free(store->blobs);
	free(store->base.url);
	pthread_mutex_destroy(&store->lock);
	free(store);
}

static const struct mb_store_ops memory_ops = {
	.driver = "memory",
	.put = memory_put,
	.get = memory_get,
	.head = memory_head,
	.list = memory_list,
	.remove = memory_remove,
	.clock = memory_clock,
	.free = memory_free,
};

struct mb_store *
mb_store_memory_new(int64_t clock_skew_us)
{
	struct memory_store *store = mb_calloc(1, sizeof(*store));

	store->base.ops = &memory_ops;
	store->base.url = mb_strdup("memory:");
	store->clock_skew_us = clock_skew_us;
	pthread_mutex_init(&store->lock, NULL);
	return &store->base;
}

void
mb_store_memory_fail_after(struct mb_store *base, int64_t puts, enum mb_code code)
{
	struct memory_store *store = (struct memory_store *) base;

	MB_ASSERT(base->ops == &memory_ops);
	pthread_mutex_lock(&store->lock);
	store->puts_left = puts;
	store->fail_code = code;
	pthread_mutex_unlock(&store->lock);
}

void
mb_store_memory_set_clock(struct mb_store *base, int64_t now_us)
{
	struct memory_store *store = (struct memory_store *) base;

	MB_ASSERT(base->ops == &memory_ops);
	pthread_mutex_lock(&store->lock);
	store->stopped_us = now_us;
	pthread_mutex_unlock(&store->lock);
}

/* bucket_listing.c - see bucket_listing.h. */
#include "objectstore/bucket_listing.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_AHEAD 2

/* A page that was read and waits for the caller. */
struct ready_page
{
	struct mb_s3_page page;
	struct ready_page *next;
};

struct mb_bucket_listing
{
	struct mb_s3 *s3;
	const char *bucket;
	const char *prefix;
	unsigned flags;
	const struct mb_cancel *cancel;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct ready_page *first; /* in order */
	size_t ready;
	bool is_over;   /* no page will come any more: code says why */
	bool is_closed; /* nobody wants any */
	enum mb_code code;
	struct mb_error failure;
	uint64_t pages;
	uint64_t broken;

	/* the thread's */
	char *next_key;
	char *next_version;

	/* the caller's */
	struct ready_page *page;
	size_t at; /* in page */
	struct mb_arena arena;
	struct mb_s3_version *versions;
	size_t cap;
	struct mb_listed_key key;
	size_t carried;     /* versions of the key that earlier pages had */
	struct mb_buf last; /* the key before */
};

/* -- the thread ------------------------------------------------------------------------------------ */

static void
describe_request(const struct mb_bucket_listing *listing, bool with_metadata, struct mb_s3_op *op)
{
	bool is_current = (listing->flags & MB_LISTING_CURRENT) != 0;

	memset(op, 0, sizeof(*op));
	op->method = "GET";
	op->bucket = listing->bucket;
	mb_s3_op_query(op, "encoding-type", "url");
	mb_s3_op_query(op, "max-keys", "1000");
	mb_s3_op_query(op, "prefix", listing->prefix);
	if (with_metadata)
		mb_s3_op_query(op, "metadata", "true");
	if (is_current)
	{
		mb_s3_op_query(op, "list-type", "2");
		if (listing->next_key)
			mb_s3_op_query(op, "continuation-token", listing->next_key);
		return;
	}
	mb_s3_op_query(op, "versions", NULL);
	if (listing->next_key)
		mb_s3_op_query(op, "key-marker", listing->next_key);
	if (listing->next_key && listing->next_version && listing->next_version[0])
		mb_s3_op_query(op, "version-id-marker", listing->next_version);
}

static enum mb_code
ask(struct mb_bucket_listing *listing, bool with_metadata, struct mb_s3_page *page,
	struct mb_error *err)
{
	struct mb_s3_op op;
	enum mb_code code;

	describe_request(listing, with_metadata, &op);
	code = mb_s3_perform(listing->s3, &op, err);
	if (!code)
		code = mb_s3_page_parse(page, op.http.response.body.data, op.http.response.body.len, err);
	mb_s3_op_release(&op);
	return code;
}

static void
set_text(char **at, const char *text)
{
	char *copy = text ? mb_strdup(text) : NULL;

	free(*at);
	*at = copy;
}

/* Where the next page begins. */
static enum mb_code
step(struct mb_bucket_listing *listing, const struct mb_s3_page *page, struct mb_error *err)
{
	const char *key = page->next_key;
	const char *version = page->next_version;

	if (!page->is_truncated)
		return MB_OK;
	/* Without markers the last name is one; a continuation token cannot be made up. */
	if (!(key && key[0]) && page->count > 0 && !(listing->flags & MB_LISTING_CURRENT))
	{
		key = page->versions[page->count - 1].key;
		version = page->versions[page->count - 1].version_id;
	}
	if (!(key && key[0]))
		return mb_fail(err, MB_CORRUPT, "the listing goes on, but does not say where");
	if (listing->next_key && strcmp(listing->next_key, key) == 0 &&
		strcmp(listing->next_version ? listing->next_version : "", version ? version : "") == 0)
		return mb_fail(err, MB_CORRUPT, "the listing does not get beyond \"%.256s\"", key);
	set_text(&listing->next_key, key);
	set_text(&listing->next_version, version);
	return MB_OK;
}

static enum mb_code
fetch_page(struct mb_bucket_listing *listing, struct mb_s3_page *page, struct mb_error *err)
{
	bool with_metadata = (listing->flags & MB_LISTING_METADATA) != 0;
	enum mb_code code = ask(listing, with_metadata, page, err);
	bool is_broken = code == MB_CORRUPT && with_metadata;

	if (is_broken)
	{
		mb_error_clear(err);
		code = ask(listing, false, page, err);
	}
	pthread_mutex_lock(&listing->lock);
	listing->pages += 1 + is_broken;
	listing->broken += is_broken;
	pthread_mutex_unlock(&listing->lock);
	if (!code)
	{
		code = step(listing, page, err);
		if (code)
			mb_s3_page_release(page);
	}
	if (code)
		return mb_error_context(err, "could not list bucket \"%s\"", listing->bucket);
	return MB_OK;
}

/* Hand a page over; false when nobody wants it. */
static bool
hand_over(struct mb_bucket_listing *listing, struct ready_page *ready)
{
	struct ready_page **end;
	bool is_wanted;

	pthread_mutex_lock(&listing->lock);
	while (listing->ready >= PAGES_AHEAD && !listing->is_closed)
		pthread_cond_wait(&listing->changed, &listing->lock);
	is_wanted = !listing->is_closed;
	if (is_wanted)
	{
		for (end = &listing->first; *end; end = &(*end)->next)
			;
		*end = ready;
		listing->ready++;
		pthread_cond_broadcast(&listing->changed);
	}
	pthread_mutex_unlock(&listing->lock);
	return is_wanted;
}

static void
free_page(struct ready_page *ready)
{
	if (!ready)
		return;
	mb_s3_page_release(&ready->page);
	free(ready);
}

static void *
list_all(void *arg)
{
	struct mb_bucket_listing *listing = arg;
	struct mb_error err;
	enum mb_code code;
	bool goes_on = true;

	mb_error_clear(&err);
	do
	{
		struct ready_page *ready = mb_calloc(1, sizeof(*ready));

		code = fetch_page(listing, &ready->page, &err);
		if (code)
		{
			free(ready);
			break;
		}
		goes_on = ready->page.is_truncated;
		if (!hand_over(listing, ready))
		{
			free_page(ready);
			break;
		}
	} while (goes_on);
	pthread_mutex_lock(&listing->lock);
	listing->code = code;
	listing->failure = err;
	listing->is_over = true;
	pthread_cond_broadcast(&listing->changed);
	pthread_mutex_unlock(&listing->lock);
	return NULL;
}

struct mb_bucket_listing *
mb_bucket_listing_new(struct mb_s3 *s3, const char *bucket, const char *prefix, unsigned flags,
					  const struct mb_cancel *cancel)
{
	struct mb_bucket_listing *listing = mb_calloc(1, sizeof(*listing));

	listing->s3 = s3;
	listing->bucket = bucket;
	listing->prefix = prefix;
	listing->flags = flags;
	listing->cancel = cancel;
	pthread_mutex_init(&listing->lock, NULL);
	pthread_cond_init(&listing->changed, NULL);
	if (pthread_create(&listing->thread, NULL, list_all, listing) != 0)
		MB_BUG("could not create a thread");
	return listing;
}

void
mb_bucket_listing_free(struct mb_bucket_listing *listing)
{
	if (!listing)
		return;
	pthread_mutex_lock(&listing->lock);
	listing->is_closed = true;
	pthread_cond_broadcast(&listing->changed);
	pthread_mutex_unlock(&listing->lock);
	pthread_join(listing->thread, NULL);
	while (listing->first)
	{
		struct ready_page *next = listing->first->next;

		free_page(listing->first);
		listing->first = next;
	}
	free_page(listing->page);
	pthread_mutex_destroy(&listing->lock);
	pthread_cond_destroy(&listing->changed);
	mb_arena_release(&listing->arena);
	mb_buf_release(&listing->last);
	free(listing->versions);
	free(listing->next_key);
	free(listing->next_version);
	free(listing);
}

uint64_t
mb_bucket_listing_pages(struct mb_bucket_listing *listing, uint64_t *broken)
{
	uint64_t pages;

	pthread_mutex_lock(&listing->lock);
	pages = listing->pages;
	*broken = listing->broken;
	pthread_mutex_unlock(&listing->lock);
	return pages;
}

/* -- the caller ------------------------------------------------------------------------------------- */

/* Make sure that page and at point to a version; *is_end when there is none any more. */
static enum mb_code
look_ahead(struct mb_bucket_listing *listing, bool *is_end, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	*is_end = false;
	while (!code && !*is_end && !(listing->page && listing->at < listing->page->page.count))
	{
		free_page(listing->page);
		listing->at = 0;
		pthread_mutex_lock(&listing->lock);
		while (!listing->first && !listing->is_over)
			pthread_cond_wait(&listing->changed, &listing->lock);
		listing->page = listing->first;
		if (listing->page)
		{
			listing->first = listing->page->next;
			listing->ready--;
			pthread_cond_broadcast(&listing->changed);
		}
		else
		{
			*is_end = true;
			code = listing->code;
			if (code)
				*err = listing->failure;
		}
		pthread_mutex_unlock(&listing->lock);
	}
	return code;
}

static struct mb_pair *
copy_pairs(struct mb_arena *arena, const struct mb_pair *pairs, size_t count)
{
	struct mb_pair *copy = mb_arena_alloc(arena, count * sizeof(*copy));
	size_t i;

	for (i = 0; i < count; i++)
	{
		copy[i].name = mb_arena_strdup(arena, pairs[i].name);
		copy[i].value = mb_arena_strdup(arena, pairs[i].value);
	}
	return copy;
}

void
mb_bucket_version_copy(struct mb_arena *arena, const struct mb_s3_version *from,
					   struct mb_s3_version *to)
{
	*to = *from;
	to->key = mb_arena_strdup(arena, from->key);
	to->version_id = mb_arena_strdup(arena, from->version_id);
	to->etag = mb_arena_strdup(arena, from->etag);
	to->storage_class = mb_arena_strdup(arena, from->storage_class);
	to->tags = from->tags ? mb_arena_strdup(arena, from->tags) : NULL;
	to->metadata = copy_pairs(arena, from->metadata, from->metadata_count);
}

/* A page may repeat what the one before ended with, when its marker has gone meanwhile. */
static bool
is_repeated(const struct mb_bucket_listing *listing, const struct mb_s3_version *version)
{
	size_t i = listing->carried;
	size_t look = i < 1000 ? i : 1000;

	for (; look > 0; look--)
		if (strcmp(listing->versions[--i].version_id, version->version_id) == 0)
			return true;
	return false;
}

static enum mb_code
take_version(struct mb_bucket_listing *listing, const struct mb_s3_version *version,
			 struct mb_error *err)
{
	if (listing->at == 0)
		listing->carried = listing->key.count;
	if (is_repeated(listing, version))
		return MB_OK;
	if (listing->key.count == MB_BUCKET_VERSIONS_MAX)
	{
		mb_fail(err, MB_UNSUPPORTED, "\"%.256s\" has more than %d versions", version->key,
				MB_BUCKET_VERSIONS_MAX);
		return mb_error_hint(err, "Let a lifecycle rule of the bucket remove old ones, or back up "
								  "with versions = current.");
	}
	listing->versions = mb_grow(listing->versions, &listing->cap, listing->key.count + 1,
								sizeof(*listing->versions));
	mb_bucket_version_copy(&listing->arena, version, &listing->versions[listing->key.count++]);
	return MB_OK;
}

static enum mb_code
check_order(struct mb_bucket_listing *listing, const char *key, struct mb_error *err)
{
	if (listing->last.len > 0 && strcmp(mb_buf_cstr(&listing->last), key) >= 0)
	{
		mb_fail(err, MB_UNSUPPORTED, "the server lists \"%.256s\" behind \"%.256s\"", key,
				mb_buf_cstr(&listing->last));
		return mb_error_hint(err, "mbackup needs listings in the order of the keys' bytes, as S3 "
								  "promises them; use another server, and report this one with its "
								  "version.");
	}
	mb_buf_reset(&listing->last);
	mb_buf_put_str(&listing->last, key);
	return MB_OK;
}

/* Some servers list the oldest first: what is_latest says is right. */
static void
put_newest_first(struct mb_bucket_listing *listing)
{
	size_t count = listing->key.count, i;

	if (count < 2 || listing->versions[0].is_latest || !listing->versions[count - 1].is_latest)
		return;
	for (i = 0; i < count / 2; i++)
	{
		struct mb_s3_version swap = listing->versions[i];

		listing->versions[i] = listing->versions[count - 1 - i];
		listing->versions[count - 1 - i] = swap;
	}
}

enum mb_code
mb_bucket_listing_next(struct mb_bucket_listing *listing, const struct mb_listed_key **key,
					   struct mb_error *err)
{
	enum mb_code code;
	bool is_end;

	*key = NULL;
	mb_arena_release(&listing->arena);
	listing->key.count = listing->carried = 0;
	code = look_ahead(listing, &is_end, err);
	if (code || is_end)
		return code;
	code = check_order(listing, listing->page->page.versions[listing->at].key, err);
	while (!code && !is_end &&
		   strcmp(listing->page->page.versions[listing->at].key, mb_buf_cstr(&listing->last)) == 0)
	{
		code = take_version(listing, &listing->page->page.versions[listing->at], err);
		listing->at++;
		if (!code)
			code = look_ahead(listing, &is_end, err);
	}
	if (code)
		return code;
	put_newest_first(listing);
	listing->key.key = listing->versions[0].key;
	listing->key.versions = listing->versions;
	*key = &listing->key;
	return MB_OK;
}

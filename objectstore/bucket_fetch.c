/* bucket_fetch.c - see bucket_fetch.h and bucket_fetch_private.h: jobs, and what is counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/entry.h"
#include "objectstore/bucket_fetch_private.h"

#define JOB_ITEMS_MAX 128
#define JOB_BYTES_MAX (16u << 20)
#define JOBS_PER_WORKER 4 /* waiting and under way */
#define NAMED_MAX 20      /* failures that get a warning of their own */
#define BROKEN_MAX 20     /* answers of 500 to the end, before the server is given up */

/* -- counting ------------------------------------------------------------------------------------- */

void
mb_fetch_count(struct mb_bucket_fetch *fetch, uint64_t *counter)
{
	pthread_mutex_lock(&fetch->lock);
	++*counter;
	pthread_mutex_unlock(&fetch->lock);
}

bool
mb_fetch_is_of_one_version(enum mb_code code)
{
	return code == MB_DENIED || code == MB_IO || code == MB_CONFLICT || code == MB_UNSUPPORTED ||
		   code == MB_CORRUPT;
}

enum mb_code
mb_fetch_judge(struct mb_bucket_fetch *fetch, const struct mb_s3_op *op)
{
	if (op->code == MB_UNREACHABLE && op->status >= 500 &&
		atomic_fetch_add(&fetch->broken, 1) < BROKEN_MAX)
		return MB_IO;
	return op->code;
}

enum mb_code
mb_fetch_trouble(struct mb_bucket_fetch *fetch, const struct mb_s3_version *version,
				 enum mb_code code, const struct mb_error *why, struct mb_error *err)
{
	struct mb_bucket_fetched *sum = &fetch->sum;
	bool is_gone = code == MB_NOT_FOUND || code == MB_EXISTS;
	bool is_named;

	if (!is_gone && !mb_fetch_is_of_one_version(code))
	{
		*err = *why;
		return mb_error_context(err, "could not read \"%.256s\"", version->key);
	}
	pthread_mutex_lock(&fetch->lock);
	is_named = !is_gone && sum->failed < NAMED_MAX;
	if (is_gone && sum->vanished++ == 0)
		snprintf(sum->first_vanished, sizeof(sum->first_vanished), "%s", version->key);
	sum->failed += !is_gone;
	pthread_mutex_unlock(&fetch->lock);
	if (!is_gone)
		atomic_store(&fetch->capture->incomplete, true);
	if (is_named)
		mb_capture_warn(fetch->capture, "not in this backup: version %.64s of \"%.256s\": %.512s",
						version->version_id[0] ? version->version_id : "null", version->key,
						why->message);
	return MB_OK;
}

void
mb_fetch_request(const struct mb_bucket_fetch *fetch, const struct mb_s3_version *version,
				 const char *method, char *if_match, size_t if_match_size, struct mb_s3_op *op)
{
	bool is_named = version->version_id[0] && strcmp(version->version_id, "null") != 0;

	op->method = method;
	op->bucket = fetch->bucket->name;
	op->key = version->key;
	if (version->version_id[0])
		mb_s3_op_query(op, "versionId", version->version_id);
	/* A version with an id is immutable; others may have been replaced since the listing. */
	if (!is_named && version->etag[0])
	{
		snprintf(if_match, if_match_size, "\"%s\"", version->etag);
		mb_s3_op_header(op, "If-Match", if_match);
	}
	mb_s3_op_header(op, "x-amz-checksum-mode", "ENABLED");
	if (fetch->tells_tags)
		mb_s3_op_header(op, "x-amz-tagging-directive", "ACCESS");
}

/* -- jobs -------------------------------------------------------------------------------------------- */

static void
free_job(struct job *job)
{
	size_t i;

	for (i = 0; i < job->count; i++)
		mb_fetch_big_unref(job->items[i].big);
	mb_fetch_big_unref(job->big);
	mb_arena_release(&job->arena);
	free(job->items);
	free(job);
}

static enum mb_code
work(void *ctx, unsigned worker, void *arg, struct mb_error *err)
{
	struct mb_bucket_fetch *fetch = ctx;
	struct job *job = arg;
	enum mb_code code = job->kind == JOB_ITEMS ? mb_fetch_items(fetch, worker, job, err)
											   : mb_fetch_stretch(fetch, worker, job, err);

	free_job(job);
	return code;
}

static void
drop(void *ctx, void *arg)
{
	struct job *job = arg;

	(void) ctx;
	free_job(job);
}

struct mb_bucket_fetch *
mb_bucket_fetch_new(const struct mb_bucket *bucket, struct mb_capture *capture)
{
	struct mb_bucket_fetch *fetch = mb_calloc(1, sizeof(*fetch));
	enum mb_s3_dialect dialect = mb_s3_dialect(bucket->s3);
	unsigned i;

	fetch->bucket = bucket;
	fetch->capture = capture;
	fetch->tells_tags = dialect == MB_S3_MINIO;
	fetch->knows_attributes = dialect == MB_S3_MINIO || dialect == MB_S3_AWS;
	pthread_mutex_init(&fetch->lock, NULL);
	fetch->lanes = mb_calloc(capture->workers, sizeof(struct mb_s3_lane *));
	for (i = 0; i < capture->workers; i++)
		fetch->lanes[i] = mb_s3_lane_open(bucket->s3);
	fetch->feed =
		mb_feed_new(capture->workers, capture->workers * JOBS_PER_WORKER, work, drop, fetch);
	return fetch;
}

void
mb_bucket_fetch_free(struct mb_bucket_fetch *fetch)
{
	unsigned i;

	if (!fetch)
		return;
	mb_feed_free(fetch->feed);
	for (i = 0; i < fetch->capture->workers; i++)
		mb_s3_lane_close(fetch->lanes[i]);
	free(fetch->lanes);
	if (fetch->open)
		free_job(fetch->open);
	pthread_mutex_destroy(&fetch->lock);
	free(fetch);
}

enum mb_code
mb_fetch_flush(struct mb_bucket_fetch *fetch, struct mb_error *err)
{
	struct job *job = fetch->open;

	fetch->open = NULL;
	return job ? mb_feed_put(fetch->feed, job, 1, err) : MB_OK;
}

enum mb_code
mb_fetch_add_item(struct mb_bucket_fetch *fetch, enum item_kind kind,
				  const struct mb_s3_version *version, const struct mb_entry *entry,
				  struct big *big, struct mb_error *err)
{
	struct job *job = fetch->open;
	struct item *item;

	if (!job)
		job = fetch->open = mb_calloc(1, sizeof(*job));
	job->items = mb_grow(job->items, &job->cap, job->count + 1, sizeof(*job->items));
	item = &job->items[job->count++];
	memset(item, 0, sizeof(*item));
	item->kind = kind;
	item->big = big;
	mb_bucket_version_copy(&job->arena, version, &item->version);
	mb_entry_copy(&job->arena, entry, &item->entry);
	job->bytes += kind == ITEM_READ ? version->size : 0;
	if (job->count >= JOB_ITEMS_MAX || job->bytes >= JOB_BYTES_MAX)
		return mb_fetch_flush(fetch, err);
	return MB_OK;
}

enum mb_code
mb_bucket_fetch_version(struct mb_bucket_fetch *fetch, const struct mb_s3_version *version,
						const struct mb_entry *entry, struct mb_error *err)
{
	if (version->size > SMALL_MAX_BYTES)
		return mb_fetch_big_put(fetch, version, entry, err);
	return mb_fetch_add_item(fetch, ITEM_READ, version, entry, NULL, err);
}

enum mb_code
mb_bucket_fetch_headers(struct mb_bucket_fetch *fetch, const struct mb_s3_version *version,
						const struct mb_entry *entry, struct mb_error *err)
{
	return mb_fetch_add_item(fetch, ITEM_LOOK, version, entry, NULL, err);
}

enum mb_code
mb_bucket_fetch_finish(struct mb_bucket_fetch *fetch, struct mb_bucket_fetched *sum,
					   struct mb_error *err)
{
	enum mb_code code = mb_fetch_flush(fetch, err);

	if (!code)
		code = mb_feed_drain(fetch->feed, err);
	if (code)
		return code;
	*sum = fetch->sum;
	if (sum->untold_tags > 0)
		mb_capture_warn(fetch->capture, "the server did not tell the tags of %llu versions",
						(unsigned long long) sum->untold_tags);
	if (sum->untold_parts > 0)
		mb_capture_warn(fetch->capture, "the server did not tell the parts of %llu versions",
						(unsigned long long) sum->untold_parts);
	if (sum->failed > NAMED_MAX)
		mb_capture_warn(fetch->capture, "%llu versions in all could not be read",
						(unsigned long long) sum->failed);
	return MB_OK;
}

/*
 * store_s3.c - see store_s3.h: opening, the clock, and what answers mean.
 *
 * A name and a directory prefix of it can both be objects, so this driver does not refuse what
 * store.h forbids its callers; a directory does.
 *
 * "Not found" is said only when the server said NoSuchKey: a bucket that went away, a web server
 * at a wrong address or a proxy answer 404 too.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "objectstore/s3_xml.h"
#include "objectstore/store_s3_private.h"

/* Who starts a command with a wrong endpoint should not wait for two minutes. */
#define OPEN_DEADLINE_MS 20000

/* -- what answers mean ------------------------------------------------------------------------- */

/* The answer of the op, in the words of store.h. */
enum mb_code
mb_store_s3_translate(const struct mb_store_s3 *store, const struct mb_s3_op *op,
					  struct mb_error *err)
{
	if (op->code == MB_OK)
		return MB_OK;
	*err = op->err;
	if (op->code != MB_NOT_FOUND || strcmp(op->error_code, "NoSuchKey") == 0)
		return op->code;
	if (strcmp(op->error_code, "NoSuchBucket") == 0)
	{
		mb_fail(err, MB_UNREACHABLE, "there is no bucket \"%s\" any more", store->bucket);
		return mb_error_hint(err, "Was it removed, or is this another server?");
	}
	mb_fail(err, MB_UNREACHABLE,
			"could not ask for \"%s\": the answer %d is not that of an S3 server",
			op->key ? op->key : store->bucket, op->status);
	return mb_error_hint(err, "Check endpoint and url.");
}

enum mb_code
mb_store_s3_ask(const struct mb_store_s3 *store, struct mb_s3_op *op, struct mb_error *err)
{
	return mb_s3_perform(store->s3, op, err) ? mb_store_s3_translate(store, op, err) : MB_OK;
}

char *
mb_store_s3_key(const struct mb_store_s3 *store, const char *name)
{
	return mb_asprintf("%s%s", store->prefix, name);
}

void
mb_store_s3_begin(const struct mb_store_s3 *store, struct mb_s3_op *op, const char *method,
				  const char *key)
{
	op->method = method;
	op->bucket = store->bucket;
	op->key = key;
}

/* -- the clock ------------------------------------------------------------------------------------------ */

/* Asked each time: a pause of the machine, or a clock that was set, must not be believed. */
static enum mb_code
s3_clock(struct mb_store *base, int64_t *now_us, struct mb_error *err)
{
	struct mb_store_s3 *store = mb_store_s3_from(base);
	struct mb_s3_op op = {0};
	int64_t low_us, high_us;
	enum mb_code code;

	mb_store_s3_begin(store, &op, "HEAD", NULL);
	code = mb_store_s3_ask(store, &op, err);
	mb_s3_op_release(&op);
	if (!code && !mb_s3_clock(store->s3, &low_us, &high_us))
		code = mb_fail(err, MB_UNREACHABLE, "the server of s3://%s does not tell the time",
					   store->bucket);
	if (code)
		return code;
	*now_us = mb_time_now_us() + low_us + (high_us - low_us) / 2;
	pthread_mutex_lock(&store->clock_lock);
	/* A better estimate may be an earlier one; a second is its greatest error. */
	if (*now_us <= store->told_us && store->told_us - *now_us < 2000000)
		*now_us = store->told_us + 1;
	store->told_us = *now_us;
	pthread_mutex_unlock(&store->clock_lock);
	return MB_OK;
}

/* -- open ------------------------------------------------------------------------------------------------- */

static void
s3_free(struct mb_store *base)
{
	struct mb_store_s3 *store = mb_store_s3_from(base);
	size_t i;

	mb_s3_free(store->s3);
	for (i = 0; i < MB_STORE_S3_STRIPES; i++)
		pthread_mutex_destroy(&store->stripes[i]);
	pthread_mutex_destroy(&store->first_put);
	pthread_mutex_destroy(&store->clock_lock);
	free(store->bucket);
	free(store->prefix);
	free(store->base.url);
	free(store);
}

static const struct mb_store_ops s3_ops = {.driver = "s3",
										   .put = mb_store_s3_put_op,
										   .get = mb_store_s3_get_op,
										   .head = mb_store_s3_head_op,
										   .list = mb_store_s3_list_op,
										   .remove = mb_store_s3_remove_op,
										   .clock = s3_clock,
										   .free = s3_free};

struct mb_store_s3 *
mb_store_s3_of(struct mb_store *store)
{
	return store->ops == &s3_ops ? mb_store_s3_from(store) : NULL;
}

static enum mb_code
set_lock(struct mb_store_s3 *store, const struct mb_store_s3_options *options, struct mb_error *err)
{
	const char *mode = options->lock_mode ? options->lock_mode : "none";

	if (strcmp(mode, "none") == 0)
		return MB_OK;
	store->lock_mode = strcmp(mode, "compliance") == 0 ? "COMPLIANCE" : "GOVERNANCE";
	store->lock_ms = options->lock_ms;
	if (store->lock_ms > 0)
		return MB_OK;
	mb_fail(err, MB_CONFIG, "object-lock = %s needs to know for how long", mode);
	return mb_error_hint(err, "Write object-lock-days = N.");
}

/* Some key that is there, but for those of a trial that was killed; NULL: there is none. */
static const char *
first_key(const struct mb_store_s3 *store, const struct mb_s3_page *page)
{
	size_t prefix_len = strlen(store->prefix), i;

	for (i = 0; i < page->count; i++)
		if (!mb_starts_with(page->versions[i].key + prefix_len, MB_STORE_S3_TRIALS) &&
			!mb_starts_with(page->versions[i].key + prefix_len, "keys/"))
			return page->versions[i].key;
	return NULL;
}

/* Is there a bucket, and, to create, nothing below the prefix?  A few keys are enough to know. */
static enum mb_code
look_at_bucket(struct mb_store_s3 *store, unsigned flags, struct mb_error *err)
{
	struct mb_s3_page page = {0};
	struct mb_s3_op op = {0};
	enum mb_code code;

	mb_store_s3_begin(store, &op, "GET", NULL);
	op.flags = MB_S3_XML_ANSWER;
	mb_s3_op_query(&op, "list-type", "2");
	mb_s3_op_query(&op, "encoding-type", "url");
	mb_s3_op_query(&op, "max-keys", "100");
	op.deadline_ms = OPEN_DEADLINE_MS;
	mb_s3_op_query(&op, "prefix", store->prefix);
	code = mb_s3_perform(store->s3, &op, err);
	if (code == MB_NOT_FOUND && strcmp(op.error_code, "NoSuchBucket") == 0)
	{
		mb_fail(err, code, "there is no bucket \"%s\"", store->bucket);
		mb_error_hint(err, "Create it, or correct the url; mbackup makes no buckets.");
	}
	else if (code)
		code = mb_store_s3_translate(store, &op, err);
	else if (mb_s3_page_parse(&page, op.http.response.body.data, op.http.response.body.len, err))
	{
		code = mb_fail(err, MB_CONFIG, "what answers for %s is no S3 server", store->base.url);
		mb_error_hint(err, "Check endpoint: an S3 port, not that of a console or a web server.");
	}
	else if ((flags & MB_STORE_CREATE) && first_key(store, &page))
	{
		code = mb_fail(err, MB_CONFLICT, "%s is not empty", store->base.url);
		mb_error_hint(err, "Choose another prefix, such as s3://%s/mbackup.", store->bucket);
	}
	mb_s3_page_release(&page);
	mb_s3_op_release(&op);
	return code;
}

enum mb_code
mb_store_s3_open(struct mb_store **store, const struct mb_store_s3_options *options,
				 struct mb_error *err)
{
	struct mb_store_s3 *made = mb_calloc(1, sizeof(*made));
	char *prefix = NULL;
	enum mb_code code;
	size_t i;

	made->base.ops = &s3_ops;
	made->base.url = mb_strdup(options->url);
	made->s3 = options->s3;
	for (i = 0; i < MB_STORE_S3_STRIPES; i++)
		pthread_mutex_init(&made->stripes[i], NULL);
	pthread_mutex_init(&made->first_put, NULL);
	pthread_mutex_init(&made->clock_lock, NULL);
	code = mb_s3_url_parse(options->url, &made->bucket, &prefix, err);
	if (!code && prefix[0] && !mb_name_is_safe(prefix, strlen(prefix)))
	{
		code = mb_fail(err, MB_CONFIG, "prefix \"%s\" is not possible", prefix);
		mb_error_hint(err, "Write it as s3://bucket/some/prefix, without empty parts, \".\" and "
						   "\"..\".");
	}
	if (!code && strlen(prefix) + 1 + MB_NAME_MAX > MB_S3_KEY_MAX)
		code = mb_fail(err, MB_CONFIG, "prefix \"%.40s...\" is too long", prefix);
	if (!code)
		made->prefix = mb_asprintf("%s%s", prefix, prefix[0] ? "/" : "");
	if (!code)
		code = set_lock(made, options, err);
	if (!code)
		code = look_at_bucket(made, options->flags, err);
	free(prefix);
	if (code)
		s3_free(&made->base);
	else
		*store = &made->base;
	return code;
}

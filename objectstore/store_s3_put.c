/*
 * store_s3_put.c - one object, once; see store_s3.h.
 *
 * What a server says and what it did are two things: an answer may be lost, and the next attempt
 * then finds the name taken, by us.  So "it is there" behind an unclear attempt is looked at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/repo/crypto.h"
#include "objectstore/s3_xml.h"
#include "objectstore/store_s3_private.h"

/* A larger blob is not sent a second time to try out the promise. */
#define TRIAL_MAX_BYTES 65536
#define DENIED_TRIES 4

static enum mb_code
taken(const char *name, struct mb_error *err)
{
	return mb_fail(err, MB_EXISTS, "blob \"%s\" exists already", name);
}

/* Are these the bytes that stand there?  MB_EXISTS: others. */
static enum mb_code
compare(struct mb_store_s3 *store, const char *name, const void *data, size_t len,
		struct mb_error *err)
{
	struct mb_buf there = {0};
	enum mb_code code = mb_store_s3_range(store, name, 0, SIZE_MAX, &there, err);

	if (!code && (there.len != len || (len > 0 && memcmp(there.data, data, len) != 0)))
		code = taken(name, err);
	mb_buf_release(&there);
	return code;
}

/* What only a lock keeps from being removed before its time; leases and the like come and go. */
static bool
is_locked_name(const char *name)
{
	return mb_starts_with(name, "packs/") || mb_ends_with(name, "/commit");
}

static enum mb_code
lock_until(struct mb_store_s3 *store, char out[40], struct mb_error *err)
{
	int64_t now_us;
	enum mb_code code = mb_store_clock(&store->base, &now_us, err);

	if (!code)
		mb_s3_time_format(out, (now_us / 1000000 + store->lock_ms / 1000) * 1000000000);
	return code;
}

/*
 * MinIO answers AccessDenied, for a moment, when the folder of an object is being removed because
 * its last other object was; a put then succeeds a moment later.
 */
static bool
may_be_passing(struct mb_store_s3 *store, enum mb_code code, unsigned tries)
{
	return code == MB_DENIED && tries < DENIED_TRIES && mb_s3_dialect(store->s3) == MB_S3_MINIO;
}

/* One conditional put.  *unclear: an attempt before the last one may have been carried out. */
static enum mb_code
send_put(struct mb_store_s3 *store, const char *name, const void *data, size_t len, bool *unclear,
		 struct mb_error *err)
{
	struct mb_s3_op op = {0};
	char *key = mb_store_s3_key(store, name);
	char until[40];
	enum mb_code code = MB_OK;

	mb_store_s3_begin(store, &op, "PUT", key);
	op.body = data;
	op.body_len = len;
	mb_s3_op_header(&op, "Content-Type", "application/octet-stream");
	mb_s3_op_header(&op, "If-None-Match", "*");
	if (store->lock_mode && is_locked_name(name))
	{
		code = lock_until(store, until, err);
		op.flags |= MB_S3_MD5;
		mb_s3_op_header(&op, "x-amz-object-lock-mode", store->lock_mode);
		mb_s3_op_header(&op, "x-amz-object-lock-retain-until-date", until);
	}
	if (!code)
		code = mb_store_s3_ask(store, &op, err);
	*unclear = op.maybe_done;
	if (code == MB_EXISTS)
		taken(name, err);
	mb_s3_op_release(&op);
	free(key);
	return code;
}

/*
 * After an attempt without an answer, "it is there" and "no answer" may both mean that it was
 * us: equal bytes are our own success.
 */
static enum mb_code
put_and_look(struct mb_store_s3 *store, const char *name, const void *data, size_t len,
			 struct mb_error *err)
{
	struct mb_error look;
	bool unclear = false;
	enum mb_code code = send_put(store, name, data, len, &unclear, err);
	enum mb_code seen;
	unsigned tries;

	for (tries = 1; !unclear && may_be_passing(store, code, tries); tries++)
	{
		mb_sleep_ms(10ll << tries);
		code = send_put(store, name, data, len, &unclear, err);
	}
	if (!unclear || (code != MB_EXISTS && code != MB_UNREACHABLE))
		return code;
	seen = compare(store, name, data, len, &look);
	if (seen == MB_OK)
		return MB_OK;
	if (code == MB_EXISTS && seen != MB_EXISTS)
		*err = look; /* it is there, but could not be looked at: whose it is is open */
	else if (seen == MB_EXISTS)
		return taken(name, err);
	return seen == MB_NOT_FOUND || code == MB_UNREACHABLE ? (err->code = MB_UNREACHABLE) : seen;
}

/* Is what stands there now ours?  An ETag is the MD5 of the bytes, unless the server encrypts. */
static enum mb_code
look_after(struct mb_store_s3 *store, const char *name, const void *data, size_t len,
		   struct mb_error *err)
{
	unsigned char md5[MB_MD5_BYTES];
	char hex[2 * MB_MD5_BYTES + 1];
	struct mb_store_s3_head head;
	enum mb_code code = mb_store_s3_look(store, name, &head, err);
	size_t i;

	if (code)
		return code;
	mb_md5(md5, data, len);
	for (i = 0; i < MB_MD5_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", md5[i]);
	if (head.bytes == len && strcmp(head.etag, hex) == 0)
		return MB_OK;
	return compare(store, name, data, len, err);
}

static enum mb_code
put_between_looks(struct mb_store_s3 *store, const char *name, const void *data, size_t len,
				  struct mb_error *err)
{
	struct mb_buf byte = {0};
	/* Not HEAD, whose "not found" would have to be explained by another request. */
	enum mb_code code = mb_store_s3_range(store, name, 0, 1, &byte, err);

	mb_buf_release(&byte);
	if (code == MB_OK)
		return taken(name, err);
	if (code != MB_NOT_FOUND)
		return code;
	code = put_and_look(store, name, data, len, err);
	return code ? code : look_after(store, name, data, len, err);
}

static pthread_mutex_t *
stripe_of(struct mb_store_s3 *store, const char *name)
{
	unsigned hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char) *name;
	return &store->stripes[hash % MB_STORE_S3_STRIPES];
}

/*
 * The first small blob of a process is put between two looks and then once more, the same bytes: a
 * server that keeps the promise refuses, and from then on one request is enough.
 */
static enum mb_code
put_and_try_out(struct mb_store_s3 *store, const char *name, const void *data, size_t len,
				struct mb_error *err)
{
	struct mb_error second;
	bool unclear = false;
	enum mb_code code = put_between_looks(store, name, data, len, err);

	if (!code && len <= TRIAL_MAX_BYTES)
	{
		enum mb_code again = send_put(store, name, data, len, &unclear, &second);

		/* With a lost answer in between nothing was learnt. */
		if (!unclear && again == MB_EXISTS)
			atomic_store(&store->promise, MB_PROMISE_KEPT);
		else if (!unclear && again == MB_OK)
			atomic_store(&store->promise, MB_PROMISE_BROKEN);
	}
	return code;
}

enum mb_code
mb_store_s3_put_op(struct mb_store *base, const char *name, const void *data, size_t len,
				   struct mb_error *err)
{
	struct mb_store_s3 *store = mb_store_s3_from(base);
	pthread_mutex_t *lock = &store->first_put;
	enum mb_code code;

	if (atomic_load(&store->promise) == MB_PROMISE_UNKNOWN)
	{
		pthread_mutex_lock(lock);
		if (atomic_load(&store->promise) == MB_PROMISE_UNKNOWN)
		{
			code = put_and_try_out(store, name, data, len, err);
			pthread_mutex_unlock(lock);
			return code;
		}
		pthread_mutex_unlock(lock);
	}
	if (atomic_load(&store->promise) == MB_PROMISE_KEPT)
		return put_and_look(store, name, data, len, err);
	lock = stripe_of(store, name);
	pthread_mutex_lock(lock);
	code = put_between_looks(store, name, data, len, err);
	pthread_mutex_unlock(lock);
	return code;
}

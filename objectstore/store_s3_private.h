/*
 * store_s3_private.h - what store_s3.c (opening, the clock, what answers mean), store_s3_get.c,
 * _put.c, _list.c, _remove.c and store_s3_probe.c (what the server really does) share.
 */
#ifndef MB_OBJECTSTORE_STORE_S3_PRIVATE_H
#define MB_OBJECTSTORE_STORE_S3_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "objectstore/store_s3.h"

#define MB_STORE_S3_STRIPES 32
/* Where the server is tried out.  Only who asks for it is told what is there. */
#define MB_STORE_S3_TRIALS "probe/"

/* Does the server refuse to write a name twice?  Found out by the first small put of a process. */
enum mb_promise
{
	MB_PROMISE_UNKNOWN,
	MB_PROMISE_KEPT,
	MB_PROMISE_BROKEN
};

struct mb_store_s3
{
	struct mb_store base;
	struct mb_s3 *s3;
	char *bucket;
	char *prefix;          /* "" or "some/prefix/" */
	const char *lock_mode; /* "GOVERNANCE", "COMPLIANCE"; NULL: lock nothing */
	int64_t lock_ms;
	atomic_int promise;         /* enum mb_promise */
	pthread_mutex_t first_put;  /* held while the promise is tried out */
	pthread_mutex_t clock_lock; /* of told_us */
	int64_t told_us;            /* the clock never goes back */
	/* With a broken promise at least the threads of this process keep it, name by name. */
	pthread_mutex_t stripes[MB_STORE_S3_STRIPES];
};

struct mb_store_s3_head
{
	uint64_t bytes;
	int64_t modified_us;
	char etag[80]; /* without quotes */
};

static inline struct mb_store_s3 *
mb_store_s3_from(struct mb_store *store)
{
	return (struct mb_store_s3 *) store;
}

/* The object's key for a name; free it. */
char *mb_store_s3_key(const struct mb_store_s3 *store, const char *name);
void mb_store_s3_begin(const struct mb_store_s3 *store, struct mb_s3_op *op, const char *method,
					   const char *key);
/* Perform the op; its answer in the words of store.h. */
enum mb_code mb_store_s3_ask(const struct mb_store_s3 *store, struct mb_s3_op *op,
							 struct mb_error *err) MB_MUST_CHECK;
/* The same for an op that was performed. */
enum mb_code mb_store_s3_translate(const struct mb_store_s3 *store, const struct mb_s3_op *op,
								   struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_store_s3_look(struct mb_store_s3 *store, const char *name,
							  struct mb_store_s3_head *head, struct mb_error *err) MB_MUST_CHECK;
/* As get of store.h, for len > 0 and an offset that may be. */
enum mb_code mb_store_s3_range(struct mb_store_s3 *store, const char *name, uint64_t offset,
							   size_t len, struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;

/* The members of struct mb_store_ops. */
enum mb_code mb_store_s3_put_op(struct mb_store *store, const char *name, const void *data,
								size_t len, struct mb_error *err);
enum mb_code mb_store_s3_get_op(struct mb_store *store, const char *name, uint64_t offset,
								size_t len, struct mb_buf *out, struct mb_error *err);
enum mb_code mb_store_s3_head_op(struct mb_store *store, const char *name,
								 struct mb_blob_info *info, struct mb_error *err);
enum mb_code mb_store_s3_list_op(struct mb_store *store, const char *prefix, mb_store_list_fn fn,
								 void *ctx, struct mb_error *err);
enum mb_code mb_store_s3_remove_op(struct mb_store *store, const char *const *names, size_t count,
								   struct mb_error *err);

/* The driver's own struct; NULL when the store is of another driver. */
struct mb_store_s3 *mb_store_s3_of(struct mb_store *store);

#endif

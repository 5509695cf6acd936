/*
 * bucket_fetch_private.h - what bucket_fetch.c (jobs, counting), bucket_fetch_small.c (versions up to
 * 8 MiB, headers) and bucket_fetch_big.c (versions in ranges) share.
 */
#ifndef MB_OBJECTSTORE_BUCKET_FETCH_PRIVATE_H
#define MB_OBJECTSTORE_BUCKET_FETCH_PRIVATE_H

#include <pthread.h>

#include "core/base/feed.h"
#include "core/base/json.h"
#include "objectstore/bucket_entry.h"
#include "objectstore/bucket_listing.h"
#include "objectstore/bucket_fetch.h"

#define SMALL_MAX_BYTES (8u << 20) /* and the length of a range */
#define STRETCH_BYTES (64u << 20)  /* ranges that one worker reads, so that its runs are long */
#define FETCH_SLOTS 16
#define FETCH_BYTES (24u << 20) /* under way for one worker */
#define FETCH_TRIES 3

enum item_kind
{
	ITEM_READ,
	ITEM_LOOK, /* headers; the contents are in entry */
	ITEM_BIG   /* headers of a version whose contents come in stretches */
};

struct big;

struct item
{
	enum item_kind kind;
	struct mb_s3_version version;
	struct mb_entry entry;
	struct big *big;
};

enum job_kind
{
	JOB_ITEMS,
	JOB_STRETCH
};

struct job
{
	enum job_kind kind;
	/* ITEMS */
	struct mb_arena arena;
	struct item *items;
	size_t count;
	size_t cap;
	uint64_t bytes;
	/* STRETCH */
	struct big *big;
	size_t stretch;
};

/* A version that comes in stretches, by any workers; the last to finish adds the entry. */
struct big
{
	struct mb_arena arena; /* of item */
	struct item item;
	size_t stretches;
	struct mb_runs *runs;
	uint32_t *crcs;
	json_t *meta;        /* from ITEM_BIG */
	atomic_size_t left;  /* stretches and the ITEM_BIG that are not over */
	atomic_size_t refs;  /* jobs that know it */
	atomic_bool is_gone; /* vanished, or failed: counted once */
};

struct mb_bucket_fetch
{
	const struct mb_bucket *bucket;
	struct mb_capture *capture;
	struct mb_feed *feed;
	struct mb_s3_lane **lanes; /* one for each worker */
	struct job *open;          /* is being filled */
	bool knows_attributes;     /* ?attributes is worth a question */
	bool tells_tags;           /* x-amz-tagging-directive */
	atomic_uint broken;        /* versions that the server has trouble with */
	pthread_mutex_t lock;      /* of sum */
	struct mb_bucket_fetched sum;
};

/* Fill the request for a version: GET or HEAD; if_match has room for a quoted ETag. */
void mb_fetch_request(const struct mb_bucket_fetch *fetch, const struct mb_s3_version *version,
					  const char *method, char *if_match, size_t if_match_size,
					  struct mb_s3_op *op);
/*
 * What became of a request.  A server that answers, but with 500 until the deadline, has trouble with
 * this version, unless it has it with many: MB_IO in place of MB_UNREACHABLE.
 */
enum mb_code mb_fetch_judge(struct mb_bucket_fetch *fetch, const struct mb_s3_op *op);
/* What a failure of one version means: MB_OK when it was counted, else it ends everything. */
enum mb_code mb_fetch_trouble(struct mb_bucket_fetch *fetch, const struct mb_s3_version *version,
							  enum mb_code code, const struct mb_error *why, struct mb_error *err);
void mb_fetch_count(struct mb_bucket_fetch *fetch, uint64_t *counter);
/* Does such a failure concern one version only? */
bool mb_fetch_is_of_one_version(enum mb_code code);

/* bucket_fetch_small.c: a job of items, by one worker. */
enum mb_code mb_fetch_items(struct mb_bucket_fetch *fetch, unsigned worker, struct job *job,
							struct mb_error *err) MB_MUST_CHECK;

/* bucket_fetch_big.c */
enum mb_code mb_fetch_big_put(struct mb_bucket_fetch *fetch, const struct mb_s3_version *version,
							  const struct mb_entry *entry, struct mb_error *err);
enum mb_code mb_fetch_stretch(struct mb_bucket_fetch *fetch, unsigned worker, struct job *job,
							  struct mb_error *err);
/* One of the parts of a big version is over; meta (or NULL) is taken. */
enum mb_code mb_fetch_big_done(struct mb_bucket_fetch *fetch, struct big *big, json_t *meta,
							   struct mb_error *err);
/* A job that knew it is over, whatever came of it. */
void mb_fetch_big_unref(struct big *big);
/* Put an item into the job that is being filled; big is NULL but for ITEM_BIG. */
enum mb_code mb_fetch_add_item(struct mb_bucket_fetch *fetch, enum item_kind kind,
							   const struct mb_s3_version *version, const struct mb_entry *entry,
							   struct big *big, struct mb_error *err);
/* Hand over the job that is being filled, if any. */
enum mb_code mb_fetch_flush(struct mb_bucket_fetch *fetch, struct mb_error *err);

#endif

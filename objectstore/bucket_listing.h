/*
 * bucket_listing.h - everything that a bucket lists, key by key, in the order of keys.
 *
 * A thread asks for pages and reads them, two ahead of the caller.  On MinIO pages come with
 * metadata; a page whose XML the metadata breaks, or makes too long, is asked for again without.
 *
 * Keys come in the order of their bytes, which every S3 server promises and a merge with the
 * parent's manifest needs.  A server that breaks it is refused (MB_UNSUPPORTED, naming the keys):
 * sorting would need room for the listing, and nobody has met such a server.
 *
 * All versions of one key are in memory at once, at most MB_BUCKET_VERSIONS_MAX.
 */
#ifndef MB_OBJECTSTORE_BUCKET_LISTING_H
#define MB_OBJECTSTORE_BUCKET_LISTING_H

#include "objectstore/bucket.h"
#include "objectstore/s3_xml.h"

#define MB_BUCKET_VERSIONS_MAX 200000

enum mb_listing_flags
{
	MB_LISTING_CURRENT = 1, /* ListObjectsV2: no versions, no markers */
	MB_LISTING_METADATA = 2 /* MinIO: metadata=true */
};

struct mb_listed_key
{
	const char *key;
	const struct mb_s3_version *versions; /* newest first, without repetitions */
	size_t count;                         /* at least 1 */
};

/* A copy whose memory is the arena's. */
void mb_bucket_version_copy(struct mb_arena *arena, const struct mb_s3_version *from,
							struct mb_s3_version *to);

struct mb_bucket_listing;

/* Begins at once.  All is borrowed and outlives the listing; prefix may be "". */
struct mb_bucket_listing *mb_bucket_listing_new(struct mb_s3 *s3, const char *bucket,
												const char *prefix, unsigned flags,
												const struct mb_cancel *cancel);
/* *key is NULL at the end; borrowed until the next call. */
enum mb_code mb_bucket_listing_next(struct mb_bucket_listing *listing,
									const struct mb_listed_key **key,
									struct mb_error *err) MB_MUST_CHECK;
/* How many pages were asked for so far, and how many of them without metadata for need. */
uint64_t mb_bucket_listing_pages(struct mb_bucket_listing *listing, uint64_t *broken);
void mb_bucket_listing_free(struct mb_bucket_listing *listing); /* NULL does nothing */

#endif

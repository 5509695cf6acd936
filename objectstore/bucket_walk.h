/*
 * bucket_walk.h - a state of the repository beside what a bucket holds now, key by key.
 *
 * Both come in the order of keys and are merged in constant memory.  A restore walks three times:
 * to plan, to write and to compare what came of it.
 */
#ifndef MB_OBJECTSTORE_BUCKET_WALK_H
#define MB_OBJECTSTORE_BUCKET_WALK_H

#include "objectstore/bucket_listing.h"
#include "objectstore/state.h"

struct mb_walk
{
	/* the repository's side */
	const struct mb_repo *repo;
	const struct mb_commit *commit;
	struct mb_state_time time;
	char *const *only;
	size_t only_count;
	/* the bucket's side; s3 NULL: it holds nothing */
	struct mb_s3 *s3;
	const char *bucket;
	const char *prefix; /* before every key */
	const char *within; /* only names that begin with it are looked at; begins with prefix */
	unsigned listing;   /* enum mb_listing_flags */
	const struct mb_cancel *cancel;
	/*
	 * Called for each key that one of the sides has; the other one is NULL.  target: its name in
	 * the bucket.  Everything is borrowed for the call.
	 */
	enum mb_code (*each)(void *ctx, const char *target, const struct mb_state_key *wanted,
						 const struct mb_listed_key *there, struct mb_error *err);
	void *ctx;
};

enum mb_code mb_walk_run(const struct mb_walk *walk, struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * bucket_merge.h - what bucket_capture.c (the listing, times, the whole), bucket_merge_parent.c and
 * bucket_merge_key.c share: a listing merged with the manifest of the parent backup.
 *
 * Both sides come in the order of keys; of one key everything is in memory.  A version of the
 * listing is the parent's when id, ETag, size and time are the same.  What the parent had and the
 * listing lacks was erased in between; it stays as long as a target could need it.
 */
#ifndef MB_OBJECTSTORE_BUCKET_MERGE_H
#define MB_OBJECTSTORE_BUCKET_MERGE_H

#include "objectstore/bucket_config.h"
#include "objectstore/bucket_fetch.h"
#include "objectstore/bucket_journal.h"

/* A version or marker of the parent, with what of its meta the comparison needs. */
struct known
{
	struct mb_entry entry;
	json_t *meta;
	bool is_taken;
};

struct merge
{
	struct mb_bucket *bucket;
	struct mb_capture *capture;
	struct mb_bucket_fetch *fetch;
	struct mb_bucket_config config;
	struct mb_bucket_journal journal;
	const struct mb_commit *parent;
	/* the parent's manifest, one entry ahead */
	struct mb_manifest_reader *reader;
	const struct mb_entry *ahead;
	/* the parent's entries of the key that is merged */
	struct mb_arena arena;
	struct known *known;
	size_t known_count;
	size_t known_cap;
	/* bucket/... of the parent */
	struct mb_arena data_arena;
	struct mb_entry *data;
	size_t data_count;
	size_t data_cap;
	/* new entries of one key */
	struct mb_entry *made;
	size_t made_cap;
	/* times of the server, in ns and us */
	uint64_t doubt_ns;       /* older versions are before the cut for certain */
	uint64_t limit_ns;       /* younger versions are after the cut */
	int64_t parent_from_us;  /* when the parent's listing began */
	int64_t parent_known_us; /* no target that needs this backup cares for what was gone then */
	int64_t known_us;        /* the same for the backup to come */
	bool asks_headers;       /* of what the listing says nothing about */
	bool is_partial;         /* only the keys that were heard of */
	uint64_t changes;
	uint64_t erased;
	uint64_t keys;
	uint64_t versions;
};

struct mb_listed_key;

/* -- bucket_merge_parent.c -------------------------------------------------------------------------- */

/* Begin to read the parent, unless it is of another bucket or of a directory. */
void mb_merge_use_parent(struct merge *merge, const char *url);
/* The next entry of a version becomes `ahead` (NULL at the end); data entries are put aside. */
enum mb_code mb_merge_advance(struct merge *merge, struct mb_error *err) MB_MUST_CHECK;
/* Take all entries of the key that is ahead to `known`. */
enum mb_code mb_merge_take_known(struct merge *merge, struct mb_error *err) MB_MUST_CHECK;
void mb_merge_forget_known(struct merge *merge);
int mb_merge_compare_key(const struct mb_entry *entry, const char *key);

/* -- bucket_merge_key.c ----------------------------------------------------------------------------- */

/* Add an entry for each listed version: the parent's, or one that is to be fetched. */
enum mb_code mb_merge_keep_key(struct merge *merge, const struct mb_listed_key *key,
							   struct mb_error *err) MB_MUST_CHECK;
/* Add what of `known` is not among the `listed` versions of the key. */
enum mb_code mb_merge_keep_missing(struct merge *merge, size_t listed,
								   struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_merge_keep_erased(struct merge *merge, struct known *known, size_t listed,
								  struct mb_error *err) MB_MUST_CHECK;
/* Say on which side of the cut an entry is, by its number. */
void mb_merge_place_by_time(const struct merge *merge, struct mb_entry *entry);

#endif

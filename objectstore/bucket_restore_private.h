/*
 * bucket_restore_private.h - what bucket_plan.c (where to, how, and what it will do),
 * bucket_preflight.c (what is refused), bucket_restore.c (the way of a restore), bucket_decide.c (what
 * each key needs) and bucket_files.c (into a directory) share.
 */
#ifndef MB_OBJECTSTORE_BUCKET_RESTORE_PRIVATE_H
#define MB_OBJECTSTORE_BUCKET_RESTORE_PRIVATE_H

#include "objectstore/bucket_config.h"
#include "objectstore/bucket_restore.h"
#include "objectstore/bucket_walk.h"
#include "objectstore/bucket_write.h"

enum restore_how
{
	HOW_EXACT,    /* into MinIO, from MinIO: ids, times, everything */
	HOW_IN_ORDER, /* the history, with ids that the server gives */
	HOW_DELTA,    /* what is current, over what is there */
	HOW_FILES
};

struct bucket_restore
{
	struct mb_bucket *bucket; /* whose backup it is, and whose server it goes to */
	struct mb_restore *restore;
	const char *url; /* of the destination */
	char *name;      /* its bucket ... */
	char *prefix;    /* ... what is put before every key ... */
	char *within;    /* ... and where all of them are */
	enum restore_how how;
	bool is_history; /* every version, not only what is current */
	bool is_own;     /* the bucket that was backed up: the same ids are the same versions */
	bool exists;     /* the bucket */
	bool is_full;    /* it is the component's own, is replaced, and holds something */
	struct mb_bucket_config source; /* of the backup */
	struct mb_bucket_config target; /* of the bucket, when it exists */
	struct mb_state_time time;
	struct mb_put_place place;
	struct mb_bucket_write *write; /* NULL: only count */

	/* what was counted by the last walk */
	uint64_t versions; /* wanted, markers included */
	uint64_t bytes;
	uint64_t there; /* of them */
	uint64_t put;
	uint64_t put_bytes;
	uint64_t deleted;
	uint64_t ambiguous;
	uint64_t odd; /* in the target, but not wanted; or names that it cannot hold */
	char first_odd[512];
	uint64_t unlike; /* metadata that came out otherwise */
	char first_unlike[512];
};

/* bucket_plan.c */
/* Everything that plan and restore both need to know; release it also when it failed. */
enum mb_code mb_bucket_run_prepare(struct bucket_restore *run, struct mb_error *err) MB_MUST_CHECK;
void mb_bucket_run_release(struct bucket_restore *run);
/* What the last walk counted. */
void mb_bucket_run_describe(const struct bucket_restore *run, json_t *out);

/* bucket_preflight.c */
enum mb_code mb_bucket_look_at_target(struct bucket_restore *run,
									  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_bucket_check_target(const struct bucket_restore *run,
									struct mb_error *err) MB_MUST_CHECK;
/* Names that the target cannot hold are told before anything is written. */
enum mb_code mb_bucket_check_names(struct bucket_restore *run, struct mb_error *err) MB_MUST_CHECK;
/* Keys in the target that the last walk did not want. */
enum mb_code mb_bucket_refuse_odd(const struct bucket_restore *run,
								  struct mb_error *err) MB_MUST_CHECK;

/* bucket_decide.c: what is to be done, from zero counters: a walk over what is wanted and what is there. */
enum mb_code mb_decide_all(struct bucket_restore *run, struct mb_error *err) MB_MUST_CHECK;

/* bucket_files.c */
enum mb_code mb_bucket_to_files(struct bucket_restore *run, struct mb_error *err) MB_MUST_CHECK;

#endif

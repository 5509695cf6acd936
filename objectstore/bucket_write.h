/*
 * bucket_write.h - many versions into a bucket, by all workers: the versions of a key one after
 * the other, oldest first, keys side by side, up to 16 requests for each worker.
 */
#ifndef MB_OBJECTSTORE_BUCKET_WRITE_H
#define MB_OBJECTSTORE_BUCKET_WRITE_H

#include "core/engine/restore.h"
#include "objectstore/bucket_put.h"

struct mb_bucket_write;

struct mb_bucket_written
{
	uint64_t versions;
	uint64_t markers;
	uint64_t bytes;
	uint64_t there;    /* the server said that it has it already */
	uint64_t failed;   /* refused by the server: a warning names the first ones */
	char *id_map_path; /* NULL: ids are the same; free it */
};

/* What is done to a key, in this order. */
struct mb_write_step
{
	enum
	{
		MB_WRITE_VERSION, /* an object, or a marker */
		MB_WRITE_DELETE,  /* a plain DELETE of what is current */
		MB_WRITE_LATE     /* what a server takes only when the version is there (mb_put_late) */
	} kind;
	const struct mb_entry *entry; /* of a version, or of LATE */
	const char *id;               /* of LATE: in the target */
};

/* id_map: where to write old and new ids, or NULL.  All is borrowed. */
struct mb_bucket_write *mb_bucket_write_new(struct mb_restore *restore,
											const struct mb_put_place *place, const char *id_map);
/*
 * Copies all; waits while much is under way.  there: how many versions the key has already, for
 * telling after an unclear outcome what happened.
 */
enum mb_code mb_bucket_write_key(struct mb_bucket_write *write, const char *target,
								 const struct mb_write_step *steps, size_t count, size_t there,
								 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_bucket_write_finish(struct mb_bucket_write *write, struct mb_bucket_written *sum,
									struct mb_error *err) MB_MUST_CHECK;
void mb_bucket_write_free(struct mb_bucket_write *write); /* NULL does nothing */

#endif

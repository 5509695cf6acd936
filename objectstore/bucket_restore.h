/*
 * bucket_restore.h - the way out of a bucket's backup; component_bucket.h says what it promises.
 *
 * plan() leaves in restore->plan:
 *     {"destination": url, "how": "exact"|"in order"|"delta"|"files", "versions": n, "bytes": n,
 *      "there": n, "put": n, "delete": n}
 * and restore() in restore->result the same with what was done, "ambiguous", and on servers
 * that give versions ids of their own "id_map": the path of a file with a line of JSON for each
 * version: {"key", "old", "new"}.
 */
#ifndef MB_OBJECTSTORE_BUCKET_RESTORE_H
#define MB_OBJECTSTORE_BUCKET_RESTORE_H

#include "objectstore/bucket.h"

enum mb_code mb_bucket_plan(struct mb_bucket *bucket, struct mb_restore *restore,
							struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_bucket_restore(struct mb_bucket *bucket, struct mb_restore *restore,
							   struct mb_error *err) MB_MUST_CHECK;
/* A restore over what is there: a scan into the repository, and back to it; see component.h. */
enum mb_code mb_bucket_keep(struct mb_bucket *bucket, struct mb_restore *restore,
							struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_bucket_undo(struct mb_bucket *bucket, struct mb_restore *restore,
							struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_bucket_health(struct mb_bucket *bucket, struct mb_restore *restore,
							  struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * bucket_locks.h - may retention and legal holds be read?
 *
 * Servers leave them out of headers, without a word, for who may not read them: a backup would
 * lose them in silence.  So they are asked for by themselves, of one version of a bucket with locks.
 */
#ifndef MB_OBJECTSTORE_BUCKET_LOCKS_H
#define MB_OBJECTSTORE_BUCKET_LOCKS_H

#include "objectstore/bucket.h"

/* Once for each bucket that was opened: a permission that is missing makes the capture incomplete. */
enum mb_code mb_bucket_check_locks(struct mb_bucket *bucket, struct mb_capture *capture,
								   struct mb_error *err) MB_MUST_CHECK;

#endif

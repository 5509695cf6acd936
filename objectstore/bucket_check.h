/*
 * bucket_check.h - what `mbackup check` says about a bucket: can it be reached, listed and read,
 * each permission by itself; does it keep versions, and long enough; are the clocks alike.
 */
#ifndef MB_OBJECTSTORE_BUCKET_CHECK_H
#define MB_OBJECTSTORE_BUCKET_CHECK_H

#include "objectstore/bucket.h"

enum mb_code mb_bucket_check(struct mb_bucket *bucket, struct mb_checks *checks,
							 struct mb_error *err) MB_MUST_CHECK;

#endif

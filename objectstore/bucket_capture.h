/*
 * bucket_capture.h - a backup of a bucket: its listing merged with the parent's manifest.
 */
#ifndef MB_OBJECTSTORE_BUCKET_CAPTURE_H
#define MB_OBJECTSTORE_BUCKET_CAPTURE_H

#include "objectstore/bucket.h"

/*
 * List the bucket, keep what the parent has, read what is new.  See component.h, settle.  Meta of
 * the commit:
 *     bucket          "s3://name/prefix"       server  "MinIO", "Ceph", "AWS", "other"
 *     versioned, lock, current_only            bool
 *     clock_skew_us   the server's clock minus the cut's, as measured
 *     margin_us       clock-margin plus what is not known about the clocks
 *     listed_from     when the look at the bucket began, by the server's clock
 *     reconciled      when the last one began that listed all of it: up to then nothing is missing that
 *                     no event told of
 *     ambiguous       versions that were erased between the parent and this listing
 *     read, looked_at, vanished, failed, keys, versions, pages
 */
enum mb_code mb_bucket_capture(struct mb_bucket *bucket, struct mb_capture *capture,
							   const struct mb_cut *cut, struct mb_error *err) MB_MUST_CHECK;

#endif

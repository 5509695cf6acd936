/*
 * bucket_stream.h - the continuous capture of a bucket: small backups of type "scan".
 *
 * Where the server tells what happens (MinIO), a scan follows what was heard within
 * scan-interval and lists only the keys concerned; every reconcile-interval, and after anything
 * was missed, all is listed.  Elsewhere, and while the server says nothing, all is listed every
 * scan-interval.  A bucket that takes long to list or to note is looked at less often: looking
 * never takes more than a tenth of the time.
 */
#ifndef MB_OBJECTSTORE_BUCKET_STREAM_H
#define MB_OBJECTSTORE_BUCKET_STREAM_H

#include "objectstore/bucket.h"

enum mb_code mb_bucket_stream(struct mb_bucket *bucket, struct mb_error *err) MB_MUST_CHECK;

#endif

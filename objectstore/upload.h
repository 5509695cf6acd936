/*
 * upload.h - one object into a bucket, as its bytes come: in one request, or when it is large in parts.
 *
 * What is in memory is one part.  A key that exists is replaced (in a versioned bucket: becomes an older
 * version).  One thread at a time; several uploads may share the client.
 */
#ifndef MB_OBJECTSTORE_UPLOAD_H
#define MB_OBJECTSTORE_UPLOAD_H

#include "core/base/json.h"
#include "objectstore/s3.h"

struct mb_upload;

/*
 * meta: headers, user metadata and tags as in component_bucket.h, or NULL.  Texts are copied.  Exactly
 * `size` bytes must follow.
 */
enum mb_code mb_upload_begin(struct mb_upload **upload, struct mb_s3 *s3, const char *bucket,
							 const char *key, uint64_t size, const json_t *meta,
							 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_upload_write(struct mb_upload *upload, const void *data, size_t len,
							 struct mb_error *err) MB_MUST_CHECK;
/* The object is there when this is MB_OK.  Frees the upload in any case. */
enum mb_code mb_upload_end(struct mb_upload *upload, struct mb_error *err) MB_MUST_CHECK;
void mb_upload_abort(struct mb_upload *upload); /* nothing of it stays; NULL does nothing */

/* Does the bucket exist, and does anything in it begin with the prefix? */
enum mb_code mb_upload_look(struct mb_s3 *s3, const char *bucket, const char *prefix, bool *exists,
							bool *is_empty, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_upload_make_bucket(struct mb_s3 *s3, const char *bucket,
								   struct mb_error *err) MB_MUST_CHECK;

#endif

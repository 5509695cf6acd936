/*
 * bucket_entry.h - what is kept about a version beside its contents: the meta of its entry
 * (members: component_bucket.h and docs/format.md).
 */
#ifndef MB_OBJECTSTORE_BUCKET_ENTRY_H
#define MB_OBJECTSTORE_BUCKET_ENTRY_H

#include "core/base/json.h"
#include "objectstore/s3.h"
#include "objectstore/s3_xml.h"

#define MB_LISTED_TEXT 17

/*
 * A hash of everything that the listing tells about a version and that may change in place; ""
 * when it tells nothing.  Equal hashes: nobody need ask the server again.
 */
void mb_version_listed(const struct mb_s3_version *version, char out[MB_LISTED_TEXT]);

/*
 * Does the listing, which has metadata, say the same as a meta that was made of headers alone, as far
 * as it may change in place?  Not for sure where only the listing tells values as they are.
 */
bool mb_version_agrees(const struct mb_s3_version *version, const json_t *meta);

/* What the listing alone says: id, etag, class, listed.  A new reference. */
json_t *mb_version_meta(const struct mb_s3_version *version);
/* Add what the headers of a GET or HEAD say. */
void mb_version_meta_headers(json_t *meta, const struct mb_http_response *response,
							 const struct mb_s3_version *version);
/* Add tags from the body of a GET ?tagging. */
enum mb_code mb_version_meta_tags(json_t *meta, const void *body, size_t len,
								  struct mb_error *err) MB_MUST_CHECK;
/* Add parts (and checksums) from the body of a GET ?attributes; MB_CORRUPT: it is none. */
enum mb_code mb_version_meta_parts(json_t *meta, const void *body, size_t len,
								   struct mb_error *err) MB_MUST_CHECK;

/* How many parts a multipart ETag ("...-7") speaks of; 0: it is none. */
unsigned mb_etag_parts(const char *etag);
/* Is this ETag the MD5 of the contents?  (32 hex digits, and no encryption that changes it.) */
bool mb_etag_is_md5(const json_t *meta, const char *etag);

#endif

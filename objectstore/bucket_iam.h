/*
 * bucket_iam.h - MinIO's identities (iam.h) between a bucket's server and its backups.
 *
 * A backup has them when `iam = yes`, in an entry of type MB_ENTRY_DATA named "bucket/iam": read with
 * the configuration of the bucket (bucket_config.h), written back only by mb_bucket_iam_import,
 * because they are the whole server's and not the bucket's.
 */
#ifndef MB_OBJECTSTORE_BUCKET_IAM_H
#define MB_OBJECTSTORE_BUCKET_IAM_H

#include "objectstore/bucket.h"
#include "objectstore/iam.h"

/* MB_CONFIG unless the repository is encrypted: the identities come with their secrets. */
enum mb_code mb_bucket_iam_allowed(const struct mb_bucket *bucket, const struct mb_repo *repo,
								   struct mb_error *err) MB_MUST_CHECK;

/*
 * What the server has.  MB_UNSUPPORTED: it is not MinIO; MB_DENIED: admin:ExportIAM is missing.
 */
enum mb_code mb_iam_export(struct mb_s3 *s3, json_t **iam, struct mb_error *err) MB_MUST_CHECK;

/* What the component's server has now.  MB_UNSUPPORTED also when it is a directory. */
enum mb_code mb_bucket_iam_now(struct mb_component *component, json_t **iam,
							   struct mb_error *err) MB_MUST_CHECK;
/* What a backup holds.  MB_NOT_FOUND: nothing. */
enum mb_code mb_bucket_iam_stored(const struct mb_repo *repo, const struct mb_commit *commit,
								  json_t **iam, struct mb_error *err) MB_MUST_CHECK;
/*
 * Import into the component's server.  On one without identities nobody has more rights meanwhile
 * than afterwards; it may be cut off anywhere and run again.  Adds what is not imported to left_out, {what, name, why}.
 * What the server silently does not take is for the caller to see in a new export.  MB_DENIED:
 * admin:ImportIAM or admin:EnableGroup is missing; MB_CONFLICT: a user has the name of the root key.
 */
enum mb_code mb_bucket_iam_import(struct mb_component *component, const json_t *iam,
								  json_t *left_out, struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * bucket_config.h - what is configured for a bucket as a whole: sub-resources of the S3 API
 * (?versioning, ?policy, ...) and MinIO's quota, each as the server gave it.
 *
 * On request also "iam", the identities of a whole MinIO (bucket_iam.h), which hold secrets.
 *
 * In a backup they are entries of type MB_ENTRY_DATA named "bucket/<what>".  What a server does
 * not have, or what we may not read, is absent; the latter is noted.
 */
#ifndef MB_OBJECTSTORE_BUCKET_CONFIG_H
#define MB_OBJECTSTORE_BUCKET_CONFIG_H

#include "core/engine/capture.h"
#include "objectstore/bucket.h"

#define MB_BUCKET_CONFIG_MAX_BYTES (1u << 20)

struct mb_config_item
{
	const char *what; /* "versioning" */
	bool is_there;
	bool is_denied;
	struct mb_buf body;
};

struct mb_bucket_config
{
	struct mb_config_item *items;
	size_t count;
	bool is_versioned; /* enabled or suspended: versions exist */
	bool is_suspended;
	bool has_lock;
};

/* MB_NOT_FOUND: there is no such bucket. */
enum mb_code mb_bucket_config_read(struct mb_bucket_config *config, struct mb_s3 *s3,
								   const char *bucket, struct mb_error *err) MB_MUST_CHECK;
/* Add "iam" to what was read; errors of mb_iam_export. */
enum mb_code mb_bucket_config_read_iam(struct mb_bucket_config *config, struct mb_s3 *s3,
									   struct mb_error *err) MB_MUST_CHECK;
/* From the entries of a backup. */
enum mb_code mb_bucket_config_load(struct mb_bucket_config *config, const struct mb_repo *repo,
								   const struct mb_commit *commit,
								   struct mb_error *err) MB_MUST_CHECK;
/* The body, or NULL. */
const struct mb_buf *mb_bucket_config_get(const struct mb_bucket_config *config, const char *what);
/*
 * Add the entries; the parent's contents (entries of type DATA) are referred to where they are the
 * same, else *changed is set.  Uses worker 0.
 */
enum mb_code mb_bucket_config_keep(const struct mb_bucket_config *config,
								   struct mb_capture *capture, const struct mb_entry *parents,
								   size_t parent_count, bool *changed,
								   struct mb_error *err) MB_MUST_CHECK;
void mb_bucket_config_release(struct mb_bucket_config *config);

#endif

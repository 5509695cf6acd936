/*
 * bucket_apply.h - a bucket for a restore: made, with versions and lock, before; its configuration
 * after everything is in it.
 */
#ifndef MB_OBJECTSTORE_BUCKET_APPLY_H
#define MB_OBJECTSTORE_BUCKET_APPLY_H

#include "core/engine/restore.h"
#include "objectstore/bucket_config.h"

/* Make the bucket (with object lock if the source had it).  That it exists is fine. */
enum mb_code mb_bucket_make(struct mb_s3 *s3, const char *name, bool with_lock,
							struct mb_error *err) MB_MUST_CHECK;
/* status: "Enabled" or "Suspended". */
enum mb_code mb_bucket_set_versioning(struct mb_s3 *s3, const char *name, const char *status,
									  struct mb_error *err) MB_MUST_CHECK;
/* Has the bucket a default retention?  It would be put on everything that is restored. */
bool mb_bucket_has_default_retention(const struct mb_bucket_config *config);

/*
 * Set what the source had; versioning last of all objects' needs, lifecycle rules disabled.  source: the
 * name that the bucket had: a policy that speaks of another one is not set.  What the server
 * does not take is a warning.
 */
enum mb_code mb_bucket_apply(struct mb_restore *restore, struct mb_s3 *s3, const char *name,
							 const char *source, const struct mb_bucket_config *config,
							 struct mb_error *err) MB_MUST_CHECK;

#endif

/* bucket_preflight.c - see bucket_restore_private.h: what is refused before anything is written. */
#include <stdio.h>
#include <string.h>

#include "objectstore/bucket_apply.h"
#include "objectstore/bucket_restore_private.h"

enum mb_code
mb_bucket_look_at_target(struct bucket_restore *run, struct mb_error *err)
{
	enum mb_code code = mb_bucket_config_read(&run->target, run->bucket->s3, run->name, err);

	run->exists = code == MB_OK;
	if (code == MB_NOT_FOUND)
	{
		mb_error_clear(err);
		code = MB_OK;
	}
	if (code == MB_DENIED)
		mb_error_hint(err, "Allow s3:GetBucketVersioning on arn:aws:s3:::%s.", run->name);
	return code;
}

/* Over what is there: is there a way back? */
static enum mb_code
check_delta(const struct bucket_restore *run, struct mb_error *err)
{
	if (!run->exists)
	{
		mb_fail(err, MB_NOT_FOUND, "bucket \"%s\" does not exist", run->name);
		return mb_error_hint(err, "Leave --delta out: the bucket is made.");
	}
	if (run->target.is_versioned && !run->target.is_suspended)
		return MB_OK;
	/* What is kept first is all that there is of such a bucket. */
	if (run->restore->own_place)
	{
		if (!run->restore->is_cleared)
			mb_restore_warn(run->restore,
							"bucket \"%s\" keeps no versions: a rollback puts back what is "
							"current now, and nothing older",
							run->name);
		return MB_OK;
	}
	if (run->restore->wishes->flags & MB_RESTORE_FORCE)
		return MB_OK;
	mb_fail(err, MB_CONFLICT, "bucket \"%s\" keeps no versions: a delta could not be undone",
			run->name);
	return mb_error_hint(err, "Enable versioning first, or add --force.");
}

enum mb_code
mb_bucket_check_target(const struct bucket_restore *run, struct mb_error *err)
{
	bool needs_lock = mb_json_bool(run->restore->commit.meta, "lock", false);

	if (run->how == HOW_DELTA)
		return check_delta(run, err);
	if (!run->exists)
		return MB_OK;
	if (needs_lock && !run->target.has_lock)
	{
		mb_fail(err, MB_CONFLICT, "bucket \"%s\" has no object lock, but the one in the backup had",
				run->name);
		return mb_error_hint(err,
							 "Name a bucket that does not exist: it is made with object lock.");
	}
	if (mb_bucket_has_default_retention(&run->target))
	{
		mb_fail(err, MB_CONFLICT,
				"bucket \"%s\" has a default retention, which would lock "
				"everything that is restored",
				run->name);
		return mb_error_hint(err, "Take it away for the restore; the one in the backup is set "
								  "when everything is there.");
	}
	return MB_OK;
}

/* What MinIO cannot hold: see "names" in docs/objects.md. */
static bool
is_name_for_minio(const char *key)
{
	const char *segment = key;

	if (strlen(key) > MB_S3_KEY_MAX || key[0] == '/')
		return false;
	for (;;)
	{
		size_t len = strcspn(segment, "/");

		if (len > 255 || (len == 1 && segment[0] == '.') ||
			(len == 2 && segment[0] == '.' && segment[1] == '.') || (len == 0 && segment[0] == '/'))
			return false;
		if (segment[len] == '\0')
			return true;
		segment += len + 1;
	}
}

static enum mb_code
check_name(void *ctx, const char *target, const struct mb_state_key *wanted,
		   const struct mb_listed_key *there, struct mb_error *err)
{
	struct bucket_restore *run = ctx;
	size_t len = strlen(run->first_odd);

	(void) there;
	(void) err;
	if (!wanted || is_name_for_minio(target))
		return MB_OK;
	if (run->odd++ < 5 && len < sizeof(run->first_odd) - 8)
		snprintf(run->first_odd + len, sizeof(run->first_odd) - len, "%s\"%.80s\"", len ? ", " : "",
				 target);
	return MB_OK;
}

enum mb_code
mb_bucket_check_names(struct bucket_restore *run, struct mb_error *err)
{
	struct mb_walk walk = {.repo = run->restore->env->repo,
						   .commit = &run->restore->commit,
						   .time = run->time,
						   .only = run->restore->only,
						   .only_count = run->restore->only_count,
						   .prefix = run->prefix,
						   .within = run->within,
						   .cancel = run->restore->env->cancel,
						   .each = check_name,
						   .ctx = run};
	enum mb_code code = MB_OK;

	if (run->how == HOW_EXACT || mb_s3_dialect(run->bucket->s3) != MB_S3_MINIO)
		return MB_OK;
	run->first_odd[0] = '\0';
	run->odd = 0;
	code = mb_walk_run(&walk, err);
	if (code || run->odd == 0)
		return code;
	mb_fail(err, MB_UNSUPPORTED, "MinIO cannot hold %llu of the keys, such as %s",
			(unsigned long long) run->odd, run->first_odd);
	return mb_error_hint(err, "Restore the others with --only PATTERN, or into another server.");
}

enum mb_code
mb_bucket_refuse_odd(const struct bucket_restore *run, struct mb_error *err)
{
	if (run->how == HOW_DELTA || run->odd == 0)
		return MB_OK;
	mb_fail(err, MB_CONFLICT,
			"bucket \"%s\" holds %llu keys that this restore would not put "
			"there, such as \"%s\"",
			run->name, (unsigned long long) run->odd, run->first_odd);
	return mb_error_hint(err,
						 "Restore into an empty or a new bucket with --component "
						 "%s=s3://BUCKET, or over it with --delta.",
						 run->restore->component);
}

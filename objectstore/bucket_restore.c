/*
 * bucket_restore.c - see bucket_restore.h and bucket_restore_private.h.
 *
 * A restore walks three times over the state and the target: the plan counts and refuses, the
 * restore writes, and when everything is written it is listed and compared once more.
 */
#include "objectstore/bucket_restore.h"

#include <stdlib.h>

#include "core/base/time.h"
#include "core/engine/stack.h"
#include "objectstore/bucket_apply.h"
#include "objectstore/bucket_listing.h"
#include "objectstore/bucket_restore_private.h"

/* Between the moment to go back to and the first write, beside the margins of both. */
#define PRESENT_SLACK_MS 500

/* -- the restore ------------------------------------------------------------------------------------------- */

static enum mb_code
prepare_bucket(struct bucket_restore *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (run->how == HOW_DELTA)
		return MB_OK;
	if (!run->exists)
		code = mb_bucket_make(run->bucket->s3, run->name,
							  mb_json_bool(run->restore->commit.meta, "lock", false), err);
	if (!code && run->is_history && (!run->target.is_versioned || run->target.is_suspended))
		code = mb_bucket_set_versioning(run->bucket->s3, run->name, "Enabled", err);
	run->exists = true;
	return code;
}

static enum mb_code
write_all(struct bucket_restore *run, struct mb_error *err)
{
	struct mb_restore *restore = run->restore;
	struct mb_bucket_written sum = {0};
	bool has_own_ids = run->is_history && !(run->place.flags & MB_PUT_IDS);
	char *id_map = has_own_ids ? mb_asprintf("%s/restore-%s.%s.ids.jsonl", restore->env->spool,
											 restore->id, restore->component)
							   : NULL;
	enum mb_code code;

	run->write = mb_bucket_write_new(restore, &run->place, id_map);
	code = mb_decide_all(run, err);
	/* Somebody has written into it since the plan. */
	if (!code)
		code = mb_bucket_refuse_odd(run, err);
	if (!code)
		code = mb_bucket_write_finish(run->write, &sum, err);
	mb_bucket_write_free(run->write);
	run->write = NULL;
	if (!code)
	{
		mb_bucket_run_describe(run, restore->result);
		restore->entries = run->versions;
		restore->bytes = run->bytes;
		restore->written_bytes = sum.bytes;
		restore->removed = run->deleted;
		mb_json_set_int(restore->result, "written", (int64_t) (sum.versions + sum.markers));
		mb_json_set_int(restore->result, "refused", (int64_t) sum.failed);
		if (sum.id_map_path)
			mb_json_set_str(restore->result, "id_map", sum.id_map_path);
	}
	free(sum.id_map_path);
	free(id_map);
	if (!code && sum.failed > 0)
	{
		mb_fail(err, MB_PARTIAL, "%llu keys of \"%s\" were refused by the server",
				(unsigned long long) sum.failed, restore->component);
		return mb_error_hint(err, "The warnings name them and say why.");
	}
	return code;
}

/* What the server lists now is what was to be there. */
static enum mb_code
compare_all(struct bucket_restore *run, struct mb_error *err)
{
	uint64_t ambiguous = run->ambiguous;
	enum mb_code code;

	/* What was written now has other ids. */
	run->is_own = false;
	code = mb_decide_all(run, err);
	run->ambiguous = ambiguous;
	if (code)
		return code;
	if (run->odd > 0 || run->put > 0 || run->deleted > 0)
	{
		mb_fail(err, MB_CORRUPT,
				"bucket \"%s\" does not hold what was restored: %llu versions are "
				"missing, %llu keys are otherwise, such as \"%s\"",
				run->name, (unsigned long long) run->put,
				(unsigned long long) (run->odd + run->deleted), run->first_odd);
		return mb_error_hint(err, "Run the restore again: what is there stays. Does anybody else "
								  "write into the bucket?");
	}
	if (run->unlike > 0)
		mb_restore_warn(run->restore,
						"the listing tells other metadata, tags or locks of %llu "
						"versions than it did then, such as one of \"%s\"",
						(unsigned long long) run->unlike, run->first_unlike);
	return MB_OK;
}

static bool
is_whole(const struct bucket_restore *run)
{
	return run->how != HOW_DELTA && run->restore->only_count == 0 && run->prefix[0] == '\0' &&
		   run->bucket->prefix[0] == '\0';
}

/*
 * Before the bucket itself is changed it is looked at once more, so that the way back is a restore to
 * now.  Nothing is written until that moment is past by more than the clocks may differ.
 */
static enum mb_code
keep_present(struct bucket_restore *run, struct mb_error *err)
{
	struct mb_restore *restore = run->restore;
	char id[MB_ID_TEXT] = "", now[MB_TIME_TEXT], *undo;

	if (run->how != HOW_DELTA || !run->is_own || restore->kept)
		return MB_OK;
	if (restore->env->is_copy)
	{
		mb_restore_warn(restore,
						"what was there was not kept first: this repository is a copy, into "
						"which nothing is put");
		return MB_OK;
	}
	mb_progress_phase(restore->progress, "keeping what is there");
	if (mb_scan_run(&run->bucket->base, id, err))
		return mb_error_context(err, "could not keep what is in \"%s\" now", run->name);
	mb_time_format(now, mb_time_now_us());
	mb_sleep_ms(2 * run->bucket->margin_us / 1000 + PRESENT_SLACK_MS);
	undo = mb_asprintf("mbackup restore --to-time '%s' --component %s --delta", now,
					   restore->component);
	json_object_set_new(restore->result, "before",
						json_pack("{s:s, s:s, s:s}", "backup", id, "time", now, "undo", undo));
	free(undo);
	return MB_OK;
}

static enum mb_code
restore_bucket(struct bucket_restore *run, struct mb_error *err)
{
	struct mb_restore *restore = run->restore;
	char *source = NULL, *prefix = NULL;
	enum mb_code code = keep_present(run, err);

	if (!code)
		code = prepare_bucket(run, err);
	if (!code)
		code = write_all(run, err);
	if (!code)
	{
		mb_progress_phase(restore->progress, "comparing");
		code = compare_all(run, err);
	}
	if (!code && is_whole(run))
	{
		code = mb_s3_url_parse(mb_json_str(restore->commit.meta, "bucket", run->url), &source,
							   &prefix, err);
		if (!code)
			code = mb_bucket_apply(restore, run->bucket->s3, run->name, source, &run->source, err);
		free(source);
		free(prefix);
	}
	return code;
}

enum mb_code
mb_bucket_restore(struct mb_bucket *bucket, struct mb_restore *restore, struct mb_error *err)
{
	struct bucket_restore run = {.bucket = bucket, .restore = restore};
	enum mb_code code = mb_bucket_run_prepare(&run, err);

	if (!code)
		code = run.how == HOW_FILES ? mb_bucket_to_files(&run, err) : restore_bucket(&run, err);
	if (!code && run.ambiguous > 0)
		mb_restore_warn(restore,
						"%llu keys were deleted around the target, nobody knows on which side: "
						"they were restored",
						(unsigned long long) run.ambiguous);
	mb_bucket_run_release(&run);
	return code;
}

/* -- over what is there --------------------------------------------------------------------------- */

enum mb_code
mb_bucket_keep(struct mb_bucket *bucket, struct mb_restore *restore, struct mb_error *err)
{
	struct bucket_restore run = {.bucket = bucket, .restore = restore};
	char id[MB_ID_TEXT] = "", now[MB_TIME_TEXT], *undo;
	enum mb_code code = MB_OK;

	if (!mb_json_str(restore->plan, "keep", NULL) || restore->env->is_copy)
		return MB_OK;
	mb_progress_phase(restore->progress, "keeping what is there");
	code = mb_scan_run(&run.bucket->base, id, err);
	if (code)
		return mb_error_context(err, "could not keep what is in \"%s\" now", bucket->name);
	mb_time_format(now, mb_time_now_us());
	/* Nothing is written until that moment is past by more than the clocks may differ. */
	mb_sleep_ms(2 * bucket->margin_us / 1000 + PRESENT_SLACK_MS);
	restore->kept = json_pack("{s:s, s:s}", "backup", id, "time", now);
	undo = mb_asprintf("mbackup rollback %s", restore->id);
	json_object_set_new(restore->result, "before",
						json_pack("{s:s, s:s, s:s}", "backup", id, "time", now, "undo", undo));
	free(undo);
	return MB_OK;
}

enum mb_code
mb_bucket_undo(struct mb_bucket *bucket, struct mb_restore *restore, struct mb_error *err)
{
	struct mb_restore_wishes wishes = *restore->wishes;
	const struct mb_restore_wishes *given = restore->wishes;
	const char *id = mb_json_str(restore->kept, "backup", "");
	enum mb_code code;

	code = mb_commit_get(restore->env->repo, restore->component, id, &restore->commit, err);
	if (code)
		return mb_error_context(err, "what was in \"%s\" is not in the repository any more",
								bucket->name);
	/*
	 * The bucket is brought to what that scan listed: what the restore has put is deleted, or marked so.  Not to
	 * the scan's time: what was deleted within the margin before it would be there again.
	 */
	wishes.flags |= MB_RESTORE_DELTA | MB_RESTORE_FORCE;
	restore->wishes = &wishes;
	restore->target.kind = MB_TARGET_LATEST;
	code = mb_bucket_restore(bucket, restore, err);
	restore->wishes = given;
	return code;
}

enum mb_code
mb_bucket_health(struct mb_bucket *bucket, struct mb_restore *restore, struct mb_error *err)
{
	const struct mb_listed_key *key;
	struct mb_bucket_listing *listing;
	enum mb_code code = mb_bucket_connect(bucket, err);

	if (!code)
	{
		listing = mb_bucket_listing_new(bucket->s3, bucket->name, bucket->prefix,
										MB_LISTING_CURRENT, bucket->base.env->cancel);
		code = mb_bucket_listing_next(listing, &key, err);
		mb_bucket_listing_free(listing);
	}
	if (code && code != MB_INTERRUPTED)
		err->code = code = MB_NEGATIVE;
	if (!code && restore)
		mb_json_set_str(restore->result, "health", "lists");
	return code;
}

/*
 * bucket_restore.c - see bucket_restore.h.
 *
 * A restore walks three times over the state and the target: the plan counts and refuses, the
 * restore writes, and when everything is written it is listed and compared once more.
 */
#include "objectstore/bucket_restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/engine/stack.h"
#include "objectstore/bucket_apply.h"
#include "objectstore/bucket_listing.h"
#include "objectstore/bucket_restore_private.h"
#include "objectstore/component_objects.h"

/* Between the moment to go back to and the first write, beside the margins of both. */
#define PRESENT_SLACK_MS 500

/* -- where to and how ------------------------------------------------------------------------------- */

static const char *
how_text(enum restore_how how)
{
	static const char *const texts[] = {"exact", "in order", "delta", "files"};

	return texts[how];
}

static void
release(struct bucket_restore *run)
{
	mb_bucket_write_free(run->write);
	mb_bucket_config_release(&run->source);
	mb_bucket_config_release(&run->target);
	free(run->name);
	free(run->prefix);
	free(run->within);
}

/* Into another bucket the whole keys go below the prefix; into its own they are what they are. */
static enum mb_code
parse_destination(struct bucket_restore *run, struct mb_error *err)
{
	const char *own = mb_settings_get(run->bucket->base.settings, "url");
	char *prefix = NULL;
	enum mb_code code;

	run->url = run->restore->destination ? run->restore->destination : own;
	if (run->url[0] == '/' || mb_starts_with(run->url, "file://"))
	{
		run->how = HOW_FILES;
		return MB_OK;
	}
	if (!mb_starts_with(run->url, "s3://"))
	{
		mb_fail(err, MB_CONFIG, "destination \"%s\" is not possible", run->url);
		return mb_error_hint(err, "Write --component %s=s3://bucket or %s=file:///a/directory",
							 run->restore->component, run->restore->component);
	}
	code = mb_s3_url_parse(run->url, &run->name, &prefix, err);
	if (code)
		return code;
	run->prefix =
		strcmp(run->url, own) == 0 || !prefix[0] ? mb_strdup("") : mb_asprintf("%s/", prefix);
	run->is_own = strcmp(run->url, own) == 0;
	run->within = mb_asprintf("%s%s", run->prefix, run->bucket->prefix);
	free(prefix);
	return MB_OK;
}

static void
choose_how(struct bucket_restore *run)
{
	const json_t *meta = run->restore->commit.meta;
	bool to_minio = mb_s3_dialect(run->bucket->s3) == MB_S3_MINIO;
	bool from_minio = strcmp(mb_json_str(meta, "server", ""), "MinIO") == 0;

	run->is_history =
		mb_json_bool(meta, "versioned", false) && !mb_json_bool(meta, "current_only", false);
	run->place.s3 = run->bucket->s3;
	run->place.bucket = run->name;
	if ((run->restore->wishes->flags & MB_RESTORE_DELTA) || run->is_full)
	{
		run->how = HOW_DELTA;
		run->is_history = false;
		run->place.is_versioned = run->target.is_versioned;
		return;
	}
	run->how = to_minio && from_minio ? HOW_EXACT : HOW_IN_ORDER;
	run->place.is_versioned = run->is_history;
	if (to_minio)
		run->place.flags |= MB_PUT_TIMES;
	if (run->how == HOW_EXACT && !mb_json_bool(meta, "current_only", false))
		run->place.flags |= MB_PUT_IDS;
}

/* A bucket that is replaced where it stands, and holds anything, gets what differs. */
static enum mb_code
look_inside(struct bucket_restore *run, struct mb_error *err)
{
	const struct mb_listed_key *key = NULL;
	struct mb_bucket_listing *listing;
	enum mb_code code;

	if (!run->restore->own_place || !run->exists)
		return MB_OK;
	listing = mb_bucket_listing_new(run->bucket->s3, run->name, run->within, 0,
									run->restore->env->cancel);
	code = mb_bucket_listing_next(listing, &key, err);
	mb_bucket_listing_free(listing);
	run->is_full = !code && key;
	return code;
}

static void
choose_time(struct bucket_restore *run)
{
	struct mb_restore *restore = run->restore;

	run->time =
		restore->target.kind == MB_TARGET_LATEST || !restore->stack_time_us
			? MB_STATE_LATEST
			: mb_state_of(&restore->commit, run->bucket->base.settings, restore->stack_time_us);
}

/* -- the preflight ------------------------------------------------------------------------------------- */

static enum mb_code
look_at_target(struct bucket_restore *run, struct mb_error *err)
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

static enum mb_code
check_bucket(const struct bucket_restore *run, struct mb_error *err)
{
	bool needs_lock = mb_json_bool(run->restore->commit.meta, "lock", false);

	if (run->how == HOW_DELTA)
	{
		if (!run->exists)
		{
			mb_fail(err, MB_NOT_FOUND, "bucket \"%s\" does not exist", run->name);
			return mb_error_hint(err, "Leave --delta out: the bucket is made.");
		}
		/* What is kept first is all that there is of such a bucket. */
		if ((!run->target.is_versioned || run->target.is_suspended) && run->restore->own_place)
		{
			if (!run->restore->is_cleared)
				mb_restore_warn(run->restore,
								"bucket \"%s\" keeps no versions: a rollback puts back what is "
								"current now, and nothing older",
								run->name);
			return MB_OK;
		}
		if ((!run->target.is_versioned || run->target.is_suspended) &&
			!(run->restore->wishes->flags & MB_RESTORE_FORCE))
		{
			mb_fail(err, MB_CONFLICT,
					"bucket \"%s\" keeps no versions: a delta could not be undone", run->name);
			return mb_error_hint(err, "Enable versioning first, or add --force.");
		}
		return MB_OK;
	}
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

/* Names that the target cannot hold are told before anything is written. */
static enum mb_code
check_names(struct bucket_restore *run, struct mb_error *err)
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

static enum mb_code
refuse_odd(const struct bucket_restore *run, struct mb_error *err)
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

/* -- the plan -------------------------------------------------------------------------------------------- */

static void
describe(const struct bucket_restore *run, json_t *out)
{
	mb_json_set_str(out, "destination", run->url);
	mb_json_set_str(out, "how", how_text(run->how));
	mb_json_set_int(out, "versions", (int64_t) run->versions);
	mb_json_set_int(out, "bytes", (int64_t) run->bytes);
	mb_json_set_int(out, "there", (int64_t) run->there);
	mb_json_set_int(out, "put", (int64_t) run->put);
	mb_json_set_int(out, "put_bytes", (int64_t) run->put_bytes);
	if (run->how == HOW_DELTA)
		mb_json_set_int(out, "delete", (int64_t) run->deleted);
	mb_json_set_int(out, "ambiguous", (int64_t) run->ambiguous);
}

/* Everything that plan and restore both need to know. */
static enum mb_code
prepare(struct bucket_restore *run, struct mb_error *err)
{
	struct mb_restore *restore = run->restore;
	enum mb_code code = parse_destination(run, err);

	if (!code && !restore->commit.id[0])
		code = mb_commit_get(restore->env->repo, restore->component,
							 restore->candidates[restore->chosen].id, &restore->commit, err);
	if (code)
		return code;
	choose_time(run);
	if (run->how == HOW_FILES)
		return MB_OK;
	code = mb_bucket_connect(run->bucket, err);
	if (!code)
		code = look_at_target(run, err);
	if (!code)
		code = mb_bucket_config_load(&run->source, restore->env->repo, &restore->commit, err);
	if (!code)
		code = look_inside(run, err);
	if (code)
		return code;
	choose_how(run);
	return check_bucket(run, err);
}

enum mb_code
mb_bucket_plan(struct mb_bucket *bucket, struct mb_restore *restore, struct mb_error *err)
{
	struct bucket_restore run = {.bucket = bucket, .restore = restore};
	enum mb_code code = mb_objects_choose_scan(restore, err);

	if (!code)
		code = prepare(&run, err);
	if (!code && run.how == HOW_FILES)
	{
		const char *path =
			mb_starts_with(run.url, "file://") ? run.url + strlen("file://") : run.url;

		code = mb_restore_directory(path, MB_DIRECTORY_CHECK, 0755, err);
		mb_json_set_str(restore->plan, "destination", run.url);
		mb_json_set_str(restore->plan, "how", how_text(run.how));
	}
	else if (!code)
	{
		code = check_names(&run, err);
		if (!code)
			code = mb_decide_all(&run, err);
		if (!code)
			code = refuse_odd(&run, err);
		if (!code)
			describe(&run, restore->plan);
		/* What is kept of it goes into the repository; a copy takes nothing. */
		if (!code && restore->own_place && run.exists)
			mb_json_set_str(restore->plan, "keep", restore->env->is_copy ? "none" : "scan");
	}
	release(&run);
	return code;
}

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
		code = refuse_odd(run, err);
	if (!code)
		code = mb_bucket_write_finish(run->write, &sum, err);
	mb_bucket_write_free(run->write);
	run->write = NULL;
	if (!code)
	{
		describe(run, restore->result);
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
	enum mb_code code = prepare(&run, err);

	if (!code)
		code = run.how == HOW_FILES ? mb_bucket_to_files(&run, err) : restore_bucket(&run, err);
	if (!code && run.ambiguous > 0)
		mb_restore_warn(restore,
						"%llu keys were deleted around the target, nobody knows on which side: "
						"they were restored",
						(unsigned long long) run.ambiguous);
	release(&run);
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
	/* The bucket is brought to that scan's state: what the restore has put is deleted, or marked so. */
	wishes.flags |= MB_RESTORE_DELTA | MB_RESTORE_FORCE;
	restore->wishes = &wishes;
	restore->target.kind = MB_TARGET_TIME;
	restore->stack_time_us = mb_json_time(restore->kept, "time");
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

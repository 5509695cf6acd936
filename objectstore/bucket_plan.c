/* bucket_plan.c - see bucket_restore_private.h: where a restore goes, how, and what it will do. */
#include <stdlib.h>
#include <string.h>

#include "objectstore/bucket_listing.h"
#include "objectstore/bucket_restore_private.h"
#include "objectstore/component_objects.h"

/* -- where to and how ------------------------------------------------------------------------------- */

static const char *
how_text(enum restore_how how)
{
	static const char *const texts[] = {"exact", "in order", "delta", "files"};

	return texts[how];
}

void
mb_bucket_run_release(struct bucket_restore *run)
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

/* -- the plan -------------------------------------------------------------------------------------------- */

void
mb_bucket_run_describe(const struct bucket_restore *run, json_t *out)
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

enum mb_code
mb_bucket_run_prepare(struct bucket_restore *run, struct mb_error *err)
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
		code = mb_bucket_look_at_target(run, err);
	if (!code)
		code = mb_bucket_config_load(&run->source, restore->env->repo, &restore->commit, err);
	if (!code)
		code = look_inside(run, err);
	if (code)
		return code;
	choose_how(run);
	return mb_bucket_check_target(run, err);
}

enum mb_code
mb_bucket_plan(struct mb_bucket *bucket, struct mb_restore *restore, struct mb_error *err)
{
	struct bucket_restore run = {.bucket = bucket, .restore = restore};
	enum mb_code code = mb_objects_choose_scan(restore, err);

	if (!code)
		code = mb_bucket_run_prepare(&run, err);
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
		code = mb_bucket_check_names(&run, err);
		if (!code)
			code = mb_decide_all(&run, err);
		if (!code)
			code = mb_bucket_refuse_odd(&run, err);
		if (!code)
			mb_bucket_run_describe(&run, restore->plan);
		/* What is kept of it goes into the repository; a copy takes nothing. */
		if (!code && restore->own_place && run.exists)
			mb_json_set_str(restore->plan, "keep", restore->env->is_copy ? "none" : "scan");
	}
	mb_bucket_run_release(&run);
	return code;
}

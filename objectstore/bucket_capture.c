/*
 * bucket_capture.c - see bucket_capture.h.
 *
 * Both sides, the listing and the parent's manifest, come in the order of keys (bucket_merge.h).
 * When a listener heard everything since the parent, only the keys that it heard of are listed, and
 * the others are the parent's.  A full listing makes up for what nobody was told of.
 */
#include "objectstore/bucket_capture.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "objectstore/bucket_iam.h"
#include "objectstore/bucket_listing.h"
#include "objectstore/bucket_locks.h"
#include "objectstore/bucket_merge.h"

/* A LIST of one key costs about what one of a thousand keys does. */
#define HEARD_MAX 1000

/* -- the merge -------------------------------------------------------------------------------------------- */

/* Keys of the parent before `key` (NULL: all that are left) are gone. */
static enum mb_code
pass_gone(struct merge *merge, const char *key, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && merge->ahead && (!key || mb_merge_compare_key(merge->ahead, key) < 0))
	{
		code = mb_merge_take_known(merge, err);
		if (!code)
			code = mb_merge_keep_missing(merge, 0, err);
	}
	return code;
}

static enum mb_code
merge_key(struct merge *merge, const struct mb_listed_key *key, struct mb_error *err)
{
	enum mb_code code = pass_gone(merge, key->key, err);

	mb_merge_forget_known(merge);
	if (!code && merge->ahead && mb_merge_compare_key(merge->ahead, key->key) == 0)
		code = mb_merge_take_known(merge, err);
	if (!code)
		code = mb_merge_keep_key(merge, key, err);
	if (!code)
		code = mb_merge_keep_missing(merge, key->count, err);
	merge->keys++;
	merge->versions += key->count;
	return code;
}

/* A key that nobody heard of is as the parent has it. */
static enum mb_code
keep_untouched(struct merge *merge, struct mb_error *err)
{
	enum mb_code code = mb_merge_take_known(merge, err);
	size_t i;

	for (i = 0; !code && i < merge->known_count; i++)
	{
		struct known *known = &merge->known[i];

		if (json_object_get(known->meta, "erased"))
		{
			code = mb_merge_keep_erased(merge, known, 0, err);
			continue;
		}
		known->is_taken = true;
		mb_merge_place_by_time(merge, &known->entry);
		code = mb_capture_add(merge->capture, &known->entry, err);
	}
	merge->keys++;
	merge->versions += merge->known_count;
	return code;
}

/* Keys of the parent before `key` (NULL: all that are left). */
static enum mb_code
pass_untouched(struct merge *merge, const char *key, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && merge->ahead && (!key || mb_merge_compare_key(merge->ahead, key) < 0))
		code = keep_untouched(merge, err);
	return code;
}

static unsigned
listing_flags(const struct merge *merge)
{
	unsigned flags = merge->bucket->is_current_only ? MB_LISTING_CURRENT : 0;

	/* Metadata makes a listing twice as dear, and of a prelude everything is listed again. */
	if (mb_s3_dialect(merge->bucket->s3) == MB_S3_MINIO && !merge->capture->is_prelude)
		flags |= MB_LISTING_METADATA;
	return flags;
}

/* List one key.  There may be none: then what the parent has of it is gone. */
static enum mb_code
merge_heard_key(struct merge *merge, const char *name, struct mb_error *err)
{
	struct mb_bucket *bucket = merge->bucket;
	struct mb_bucket_listing *listing;
	const struct mb_listed_key *key = NULL;
	enum mb_code code = pass_untouched(merge, name, err);

	if (code)
		return code;
	listing = mb_bucket_listing_new(bucket->s3, bucket->name, name, listing_flags(merge),
									merge->capture->env->cancel);
	code = mb_bucket_listing_next(listing, &key, err);
	if (!code && key && strcmp(key->key, name) == 0)
		code = merge_key(merge, key, err);
	else if (!code && merge->ahead && mb_merge_compare_key(merge->ahead, name) == 0)
	{
		code = mb_merge_take_known(merge, err);
		if (!code)
			code = mb_merge_keep_missing(merge, 0, err);
	}
	mb_bucket_listing_free(listing);
	return code;
}

static enum mb_code
merge_heard(struct merge *merge, struct mb_error *err)
{
	const struct mb_events *heard = merge->bucket->heard;
	enum mb_code code = mb_merge_advance(merge, err);
	size_t i;

	for (i = 0; !code && i < heard->count; i++)
	{
		code = mb_cancel_check(merge->capture->env->cancel, err);
		if (!code && (i == 0 || strcmp(heard->items[i].key, heard->items[i - 1].key) != 0))
			code = merge_heard_key(merge, heard->items[i].key, err);
	}
	if (!code)
		code = pass_untouched(merge, NULL, err);
	return code;
}

static enum mb_code
merge_all(struct merge *merge, struct mb_error *err)
{
	struct mb_bucket *bucket = merge->bucket;
	struct mb_bucket_listing *listing =
		mb_bucket_listing_new(bucket->s3, bucket->name, bucket->prefix, listing_flags(merge),
							  merge->capture->env->cancel);
	const struct mb_listed_key *key;
	uint64_t pages, broken;
	enum mb_code code = mb_merge_advance(merge, err);

	while (!code && !(code = mb_cancel_check(merge->capture->env->cancel, err)) &&
		   !(code = mb_bucket_listing_next(listing, &key, err)) && key)
		code = merge_key(merge, key, err);
	if (!code)
		code = pass_gone(merge, NULL, err);
	pages = mb_bucket_listing_pages(listing, &broken);
	mb_bucket_listing_free(listing);
	mb_json_set_int(merge->capture->meta, "pages", (int64_t) pages);
	if (broken > 0)
		mb_capture_note(merge->capture,
						"%llu pages of the listing were broken by metadata and "
						"asked for again without",
						(unsigned long long) broken);
	return code;
}

/* -- times ------------------------------------------------------------------------------------------------- */

static void
set_times(struct merge *merge, const struct mb_cut *cut)
{
	json_t *meta = merge->capture->meta;
	int64_t low_us = 0, high_us = 0, skew_us, margin_us;

	/* Without a Date in the answers nothing but the margin is left. */
	(void) mb_s3_clock(merge->bucket->s3, &low_us, &high_us);
	skew_us = cut->clock_skew_us + (low_us + high_us) / 2;
	margin_us = merge->bucket->margin_us + (high_us - low_us) / 2 + cut->clock_error_us;
	merge->limit_ns = (uint64_t) (cut->time_us + skew_us + margin_us) * 1000;
	merge->doubt_ns = (uint64_t) (cut->time_us + skew_us - margin_us) * 1000;
	merge->known_us = cut->time_us + skew_us - margin_us;
	mb_json_set_int(meta, "clock_skew_us", skew_us);
	mb_json_set_int(meta, "margin_us", margin_us);
	mb_json_set_time(meta, "listed_from", mb_time_now_us() + low_us);
}

static bool
asks_headers(const struct merge *merge)
{
	if (merge->capture->is_prelude)
		return false;
	switch (merge->bucket->check_tags)
	{
		case MB_BUCKET_TAGS_ALWAYS:
			return true;
		case MB_BUCKET_TAGS_NEVER:
			return false;
		case MB_BUCKET_TAGS_AUTO:
			break;
	}
	/* MinIO tells, but for broken pages: those few are asked about. */
	return mb_s3_dialect(merge->bucket->s3) == MB_S3_MINIO || merge->config.has_lock;
}

/* May the listing be left out?  Above some keys it is cheaper than asking for each. */
static bool
is_partial(const struct merge *merge)
{
	const struct mb_events *heard = merge->bucket->heard;

	return heard && !heard->has_gap && heard->count <= HEARD_MAX && merge->parent &&
		   strcmp(merge->parent->id, merge->bucket->heard_since) == 0;
}

/* -- the whole --------------------------------------------------------------------------------------------- */

static void
report(struct merge *merge, const struct mb_bucket_fetched *sum, const char *url)
{
	static const char *const dialects[] = {"unknown", "AWS", "MinIO", "Ceph", "other"};
	struct mb_capture *capture = merge->capture;
	json_t *meta = capture->meta;

	mb_json_set_str(meta, "bucket", url);
	mb_json_set_str(meta, "server", dialects[mb_s3_dialect(merge->bucket->s3)]);
	mb_json_set_bool(meta, "current_only", merge->bucket->is_current_only);
	mb_json_set_bool(meta, "versioned", merge->config.is_versioned);
	mb_json_set_bool(meta, "lock", merge->config.has_lock);
	mb_json_set_bool(meta, "unchanged", capture->parent && merge->changes == 0);
	mb_json_set_int(meta, "ambiguous", (int64_t) merge->erased);
	if (merge->is_partial)
		mb_json_set_time(meta, "reconciled", mb_json_time(merge->parent->meta, "reconciled"));
	else
		mb_json_set_time(meta, "reconciled", mb_json_time(meta, "listed_from"));
	mb_json_set_int(meta, "keys", (int64_t) merge->keys);
	mb_json_set_int(meta, "versions", (int64_t) merge->versions);
	mb_json_set_int(meta, "read", (int64_t) sum->read);
	mb_json_set_int(meta, "looked_at", (int64_t) sum->looked_at);
	mb_json_set_int(meta, "vanished", (int64_t) sum->vanished);
	mb_json_set_int(meta, "failed", (int64_t) sum->failed);
	if (sum->vanished > 0)
		mb_capture_warn(capture,
						"%llu versions were listed, but gone when they were to be read, such as "
						"one of \"%s\"",
						(unsigned long long) sum->vanished, sum->first_vanished);
	if (!merge->config.is_versioned && !merge->bucket->is_current_only)
		mb_capture_note(capture, "the bucket keeps no versions: what is overwritten or deleted "
								 "between two looks is not in the repository");
}

static enum mb_code
run_merge(struct merge *merge, const struct mb_cut *cut, const char *url, struct mb_error *err)
{
	struct mb_bucket_fetched sum = {0};
	bool config_changed = false;
	enum mb_code code;

	mb_merge_use_parent(merge, url);
	set_times(merge, cut);
	merge->asks_headers = asks_headers(merge);
	merge->is_partial = is_partial(merge);
	merge->fetch = mb_bucket_fetch_new(merge->bucket, merge->capture);
	code = mb_bucket_journal_read(&merge->journal, merge->bucket, merge->parent, cut,
								  merge->capture, err);
	if (!code)
		code = merge->is_partial ? merge_heard(merge, err) : merge_all(merge, err);
	if (!code)
		code = mb_bucket_fetch_finish(merge->fetch, &sum, err);
	if (!code)
		code = mb_bucket_config_keep(&merge->config, merge->capture, merge->data, merge->data_count,
									 &config_changed, err);
	merge->changes += config_changed + sum.looked_at;
	if (!code)
	{
		report(merge, &sum, url);
		mb_bucket_journal_report(&merge->journal, merge->bucket, merge->capture);
	}
	return code;
}

enum mb_code
mb_bucket_capture(struct mb_bucket *bucket, struct mb_capture *capture, const struct mb_cut *cut,
				  struct mb_error *err)
{
	struct merge merge = {.bucket = bucket, .capture = capture};
	const char *url = mb_settings_get(bucket->base.settings, "url");
	enum mb_code code;

	mb_progress_phase(capture->progress, "copying");
	code = mb_bucket_iam_allowed(bucket, capture->repo, err);
	if (!code)
		code = mb_bucket_connect(bucket, err);
	if (!code)
		code = mb_bucket_config_read(&merge.config, bucket->s3, bucket->name, err);
	/* A bucket that is not there must not look like an empty one. */
	if (code == MB_NOT_FOUND)
		return err->code = MB_UNREACHABLE;
	if (code)
		return code;
	if (bucket->has_iam)
		code = mb_bucket_config_read_iam(&merge.config, bucket->s3, err);
	if (!code && merge.config.has_lock)
		code = mb_bucket_check_locks(bucket, capture, err);
	if (!code)
		code = run_merge(&merge, cut, url, err);
	mb_bucket_fetch_free(merge.fetch);
	mb_manifest_reader_free(merge.reader);
	mb_merge_forget_known(&merge);
	mb_arena_release(&merge.data_arena);
	free(merge.known);
	free(merge.data);
	free(merge.made);
	mb_bucket_journal_release(&merge.journal);
	mb_bucket_config_release(&merge.config);
	return code;
}

/* component_bucket.c - see component_bucket.h: the operations; the work is in bucket_*.c. */
#include "objectstore/component_bucket.h"

#include <stdlib.h>
#include <string.h>

#include "objectstore/bucket.h"
#include "objectstore/bucket_capture.h"
#include "objectstore/bucket_check.h"
#include "objectstore/bucket_restore.h"
#include "objectstore/bucket_stream.h"
#include "objectstore/component_objects.h"
#include "objectstore/s3_settings.h"

static enum mb_bucket_tags
tags_setting(const struct mb_settings *settings)
{
	const char *text = mb_settings_get(settings, "check-tags");

	if (text && strcmp(text, "always") == 0)
		return MB_BUCKET_TAGS_ALWAYS;
	if (text && strcmp(text, "never") == 0)
		return MB_BUCKET_TAGS_NEVER;
	return MB_BUCKET_TAGS_AUTO;
}

static void
bucket_close(struct mb_component *component)
{
	struct mb_bucket *bucket = (struct mb_bucket *) component;

	if (!bucket)
		return;
	mb_s3_free(bucket->s3);
	free(bucket->name);
	free(bucket->prefix);
	free(bucket);
}

static enum mb_code
bucket_open(struct mb_component **component, const struct mb_settings *settings,
			const struct mb_env *env, struct mb_error *err)
{
	const char *url = mb_settings_get(settings, "url");
	const char *versions = mb_settings_get(settings, "versions");
	const char *consistency = mb_settings_get(settings, "consistency");
	const char *iam = mb_settings_get(settings, "iam");
	struct mb_bucket *bucket = mb_calloc(1, sizeof(*bucket));
	char *prefix = NULL;
	enum mb_code code;

	bucket->base = (struct mb_component){&mb_bucket_component_ops, settings, env, settings->name};
	bucket->margin_us = mb_settings_ms(settings, "clock-margin", 1000) * 1000;
	bucket->is_current_only = versions && strcmp(versions, "current") == 0;
	bucket->has_iam = iam && strcmp(iam, "yes") == 0;
	bucket->check_tags = tags_setting(settings);
	bucket->source = mb_objects_journal_source();
	bucket->is_journalled = consistency && strcmp(consistency, "journalled") == 0 && bucket->source;
	code = mb_s3_url_parse(url, &bucket->name, &prefix, err);
	if (code)
	{
		bucket_close(&bucket->base);
		return code;
	}
	/* A prefix is a folder: "logs" must not take "logs-old/" too. */
	bucket->prefix = prefix[0] ? mb_asprintf("%s/", prefix) : mb_strdup("");
	free(prefix);
	*component = &bucket->base;
	return MB_OK;
}

enum mb_code
mb_bucket_connect(struct mb_bucket *bucket, struct mb_error *err)
{
	if (bucket->s3)
		return MB_OK;
	return mb_s3_from_settings(&bucket->s3, bucket->base.settings, bucket->base.env, err);
}

static enum mb_code
bucket_settle(struct mb_component *component, struct mb_capture *capture, const struct mb_cut *cut,
			  struct mb_error *err)
{
	return mb_bucket_capture((struct mb_bucket *) component, capture, cut, err);
}

static enum mb_code
bucket_stream(struct mb_component *component, struct mb_error *err)
{
	return mb_bucket_stream((struct mb_bucket *) component, err);
}

static enum mb_code
bucket_check(struct mb_component *component, struct mb_checks *checks, struct mb_error *err)
{
	return mb_bucket_check((struct mb_bucket *) component, checks, err);
}

static enum mb_code
bucket_plan(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	return mb_bucket_plan((struct mb_bucket *) component, restore, err);
}

static enum mb_code
bucket_restore(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	return mb_bucket_restore((struct mb_bucket *) component, restore, err);
}

/* A directory for its objects as files. */
static enum mb_code
bucket_holds(struct mb_component *component, struct mb_restore *restore,
			 struct mb_holdings *holdings, struct mb_error *err)
{
	const char *path = mb_json_str(restore->plan, "destination", "");

	(void) component;
	(void) err;
	if (strcmp(mb_json_str(restore->plan, "how", ""), "files") == 0)
		mb_holdings_add(holdings,
						mb_safety_new(mb_starts_with(path, "file://") ? path + strlen("file://")
																	  : path,
									  NULL, MB_SAFETY_STAYS));
	return MB_OK;
}

static enum mb_code
bucket_keep(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	return mb_bucket_keep((struct mb_bucket *) component, restore, err);
}

static enum mb_code
bucket_undo(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	return mb_bucket_undo((struct mb_bucket *) component, restore, err);
}

static enum mb_code
bucket_health(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	return mb_bucket_health((struct mb_bucket *) component, restore, err);
}

static char *
bucket_describe(struct mb_component *component)
{
	const char *endpoint = mb_settings_get(component->settings, "endpoint");

	return mb_asprintf("bucket %s at %s", mb_settings_get(component->settings, "url"),
					   endpoint ? endpoint : "Amazon S3");
}

const struct mb_component_ops mb_bucket_component_ops = {
	.kind = "objects",
	.capabilities = MB_CAP_STREAM | MB_CAP_SCAN | MB_CAP_INCREMENTAL | MB_CAP_PRESCAN,
	.open = bucket_open,
	.close = bucket_close,
	.check = bucket_check,
	.snapshot = mb_nothing_snapshot,
	.hold = mb_no_hold,
	.release = mb_no_release,
	.position = mb_objects_position,
	.settle = bucket_settle,
	.await = mb_no_await,
	.stream = bucket_stream,
	.verify = mb_nothing_verify,
	.reach = mb_nothing_reach,
	.trim = mb_nothing_trim,
	.window = mb_scan_window,
	.plan = bucket_plan,
	.restore = bucket_restore,
	.revive = mb_tree_revive,
	.lay_down = mb_nothing_lay_down,
	.holds = bucket_holds,
	.keep = bucket_keep,
	.undo = bucket_undo,
	.health = bucket_health,
	.describe = bucket_describe,
};

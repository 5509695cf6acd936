/* component_objects.c - see component_objects.h. */
#include "objectstore/component_objects.h"

#include <string.h>

#include "core/base/time.h"
#include "objectstore/component_bucket.h"
#include "objectstore/component_directory.h"

static enum mb_code
objects_open(struct mb_component **component, const struct mb_settings *settings,
			 const struct mb_env *env, struct mb_error *err)
{
	const char *url = mb_settings_get(settings, "url");
	const char *iam = mb_settings_get(settings, "iam");

	if (url && mb_starts_with(url, "s3://"))
		return mb_bucket_component_ops.open(component, settings, env, err);
	if (iam && strcmp(iam, "yes") == 0)
	{
		mb_fail(err, MB_CONFIG, "iam = yes needs a bucket in MinIO");
		return mb_error_hint(err, "Remove it from [objects:%s].", settings->name);
	}
	if (url && mb_starts_with(url, "file:///"))
		return mb_directory_component_ops.open(component, settings, env, err);
	if (url)
		mb_fail(err, MB_CONFIG, "url \"%s\" is not possible", url);
	else
		mb_fail(err, MB_CONFIG, "there is no url");
	return mb_error_hint(err, "Write url = s3://bucket/prefix or url = file:///srv/objects");
}

enum mb_code
mb_objects_position(struct mb_component *component, struct mb_cut *cut, enum mb_moment moment,
					struct mb_error *err)
{
	int64_t margin_us = mb_settings_ms(component->settings, "clock-margin", 1000) * 1000;
	char text[MB_TIME_TEXT];
	const char *consistency = mb_settings_get(component->settings, "consistency");
	bool is_journalled = consistency && strcmp(consistency, "journalled") == 0;
	json_t *position, *window;

	(void) err;
	if (moment != MB_MOMENT_AFTER)
		return MB_OK;
	position = json_pack("{s:s, s:[]}", "journal", is_journalled ? "postgres" : "scan", "window");
	json_object_set_new(cut->positions, component->name, position);
	window = json_object_get(position, "window");
	mb_time_format(text, cut->time_us - margin_us);
	json_array_append_new(window, json_string(text));
	mb_time_format(text, cut->time_us + margin_us);
	json_array_append_new(window, json_string(text));
	return MB_OK;
}

/* The first scan is after the target: nothing is known about that time. */
static enum mb_code
too_early(const struct mb_restore *restore, int64_t first_us, struct mb_error *err)
{
	char text[MB_TIME_TEXT];

	mb_time_format(text, first_us);
	mb_fail(err, MB_NOT_FOUND, "the first scan of \"%s\" is of %s, after the target",
			restore->component, text);
	return mb_error_hint(err, "Choose a later target; \"mbackup list\" shows the window.");
}

enum mb_code
mb_objects_choose_scan(struct mb_restore *restore, struct mb_error *err)
{
	int64_t first_us = mb_commit_cut_time(&restore->candidates[0]);
	int64_t time_us = restore->stack_time_us, last_us;
	size_t i;

	if (restore->chosen != SIZE_MAX)
		return MB_OK;
	restore->chosen = restore->candidate_count - 1;
	if (restore->target.kind == MB_TARGET_LATEST || !time_us)
		return MB_OK;
	for (i = 1; i < restore->candidate_count; i++)
		if (mb_commit_cut_time(&restore->candidates[i]) < first_us)
			first_us = mb_commit_cut_time(&restore->candidates[i]);
	if (time_us < first_us)
		return too_early(restore, first_us, err);
	i = mb_restore_oldest_after(restore, time_us);
	if (i != SIZE_MAX)
	{
		restore->chosen = i;
		return MB_OK;
	}
	/* Not an error: nothing says that objects came after it.  But nobody looked. */
	last_us = mb_commit_cut_time(&restore->candidates[restore->chosen]);
	if (time_us - last_us > 1000000)
		mb_restore_warn(restore,
						"the last scan was %lld s before the target: objects written "
						"after it are not in the repository",
						(long long) ((time_us - last_us) / 1000000));
	return MB_OK;
}

static const struct mb_journal_source *journal_source;

const struct mb_journal_source *
mb_objects_journal_source(void)
{
	return journal_source;
}

const struct mb_component_ops *
mb_objects_component_ops(const struct mb_journal_source *source)
{
	static struct mb_component_ops ops;

	journal_source = source;
	ops = mb_directory_component_ops;
	ops.open = objects_open;
	return &ops;
}

/* import_check.c - see import.h: may the places of an import be written? */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "cli/import.h"
#include "core/base/fs.h"
#include "core/base/time.h"
#include "objectstore/s3_settings.h"

bool
import_is_forced(const struct import_run *run)
{
	return mb_config_flag(&run->cli->config, "force");
}

/* The part of a URL behind file://, or the path itself. */
static const char *
path_of(const char *text)
{
	return mb_starts_with(text, "file://") ? text + strlen("file://") : text;
}

static enum mb_code
check_database(struct import_run *run, struct import_target *target, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (!run->load)
		code = mb_pg_load_open(&run->load, target->component, target->destination,
							   import_is_forced(run) ? MB_PG_LOAD_ASIDE : 0, err);
	if (code)
		return code;
	target->place = target->database ? mb_asprintf("database \"%s\" on %s", target->database,
												   mb_pg_load_place(run->load))
									 : mb_asprintf("roles of %s", mb_pg_load_place(run->load));
	return target->database ? mb_pg_load_check(run->load, target->database, err) : MB_OK;
}

static enum mb_code
check_bucket(struct import_run *run, struct import_target *target, const char *url,
			 struct mb_error *err)
{
	const char *own = mb_settings_get(target->component->settings, "url");
	char *prefix = NULL, *own_bucket = NULL, *own_prefix = NULL, *within;
	bool exists = false, is_empty = true;
	enum mb_code code = mb_s3_url_parse(url, &target->bucket, &prefix, err);

	if (code)
		return code;
	/* Keys have the prefix of the place that they come from; another place puts its own before it. */
	target->prefix =
		strcmp(url, own) == 0 || !prefix[0] ? mb_strdup("") : mb_asprintf("%s/", prefix);
	free(prefix);
	if (mb_starts_with(own, "s3://"))
		code = mb_s3_url_parse(own, &own_bucket, &own_prefix, err);
	within = mb_asprintf("%s%s", target->prefix, own_prefix ? own_prefix : "");
	if (!code)
		code = mb_s3_from_settings(&target->s3, target->component->settings, &run->cli->env, err);
	if (!code)
		code = mb_upload_look(target->s3, target->bucket, within, &exists, &is_empty, err);
	target->makes_bucket = !exists;
	target->place = mb_asprintf("bucket %s", url);
	if (!code && !is_empty && !import_is_forced(run))
	{
		code = mb_fail(err, MB_CONFLICT, "bucket \"%s\" holds something already", target->bucket);
		mb_error_hint(err,
					  "Name another one with --component %s=s3://BUCKET, or add --force: keys "
					  "of the archive replace those of the same name, others stay.",
					  target->component->name);
	}
	free(within);
	free(own_bucket);
	free(own_prefix);
	return code;
}

static enum mb_code
check_space(const struct import_target *target, struct mb_error *err)
{
	char *at = mb_strdup(target->root);
	struct statvfs fs;
	enum mb_code code = MB_OK;
	char *slash;

	while (statvfs(at, &fs) != 0 && (slash = strrchr(at, '/')) != NULL && slash != at)
		*slash = '\0';
	if (statvfs(at, &fs) == 0 && (uint64_t) fs.f_bavail * fs.f_frsize < target->item->bytes)
		code = mb_fail(err, MB_NO_SPACE, "\"%s\" has %llu bytes free, the archive needs %llu there",
					   at, (unsigned long long) fs.f_bavail * fs.f_frsize,
					   (unsigned long long) target->item->bytes);
	free(at);
	return code;
}

static enum mb_code
check_tree(struct import_run *run, struct import_target *target, const char *root,
		   struct mb_error *err)
{
	bool is_own = target->item->kind == ARCHIVE_TREE && !target->destination;
	bool is_empty = true;
	enum mb_code code = MB_OK;

	if (root[0] != '/')
	{
		mb_fail(err, MB_CONFIG, "destination \"%s\" is not an absolute path", root);
		return mb_error_hint(err, "Write --component %s=/a/directory.", target->component->name);
	}
	target->root = mb_strdup(root);
	target->place = mb_asprintf("directory %s", root);
	/* In the files' own place other files are expected: those that would be replaced are looked for. */
	if (!is_own && !import_is_forced(run))
		code = mb_dir_is_empty(root, &is_empty, err);
	if (!code && !is_empty)
	{
		code = mb_fail(err, MB_CONFLICT, "\"%s\" is not empty", root);
		mb_error_hint(err,
					  "Name another directory with --component %s=DIRECTORY, or add --force: "
					  "files of the archive replace those of the same name, others stay.",
					  target->component->name);
	}
	return code ? code : check_space(target, err);
}

/* A restore of this file into the running server, as "mbackup redis restore --rdb" does it. */
enum mb_code
import_load_rdb(struct import_run *run, struct import_target *target, unsigned flags,
				struct mb_error *err)
{
	const char *url = target->destination ? target->destination
										  : mb_settings_get(target->component->settings, "url");
	char *path = import_rdb_path(run, target->item);
	struct mb_restore_wishes wishes = {.rdb = path, .flags = flags};
	struct mb_commit none = {0};
	struct mb_restore restore = {.env = &run->cli->env,
								 .component = target->component->name,
								 .destination = url ? url : "redis://127.0.0.1:6379",
								 .candidates = &none,
								 .candidate_count = 1,
								 .wishes = &wishes};
	const json_t *warnings;
	enum mb_code code;
	size_t i;

	none.meta = json_object();
	mb_id_new(restore.id, mb_time_now_us());
	restore.progress = mb_env_progress(&run->cli->env, target->component->name);
	restore.plan = json_object();
	restore.result = json_object();
	code = target->component->ops->plan(target->component, &restore, err);
	if (!code && !(flags & MB_RESTORE_DRY_RUN))
		code = target->component->ops->restore(target->component, &restore, err);
	if (!target->place)
		target->place =
			mb_asprintf("server %s", mb_json_str(restore.plan, "server", restore.destination));
	warnings = json_object_get(restore.result, "warnings");
	for (i = 0; !(flags & MB_RESTORE_DRY_RUN) && i < json_array_size(warnings); i++)
		json_array_append(run->warnings, json_array_get(warnings, i));
	target->loaded = restore.entries;
	json_decref(restore.plan);
	json_decref(restore.result);
	json_decref(none.meta);
	free(path);
	return code;
}

enum mb_code
import_target_check(struct import_run *run, struct import_target *target, struct mb_error *err)
{
	const char *text = target->destination;
	bool dry_run = mb_config_flag(&run->cli->config, "dry-run");

	if (!text && target->item->kind == ARCHIVE_BUCKET)
		text = mb_settings_get(target->component->settings, "url");
	switch (target->item->kind)
	{
		case ARCHIVE_DATABASE:
		case ARCHIVE_SQL:
		case ARCHIVE_GLOBALS:
			return check_database(run, target, err);
		case ARCHIVE_RDB:
			/* Nothing is kept of it in a dry run, so there is nothing to plan with. */
			return dry_run ? MB_OK : import_load_rdb(run, target, MB_RESTORE_DRY_RUN, err);
		case ARCHIVE_BUCKET:
			if (mb_starts_with(text, "s3://"))
				return check_bucket(run, target, text, err);
			return check_tree(run, target, path_of(text), err);
		case ARCHIVE_TREE:
			return check_tree(run, target, text ? text : "/", err);
	}
	MB_BUG("no such kind");
}

enum mb_code
import_target_look(struct import_run *run, struct import_target *target, const char *rest,
				   struct mb_error *err)
{
	char *path;
	struct stat st;
	bool exists;

	if (target->item->kind != ARCHIVE_TREE || target->destination || import_is_forced(run))
		return MB_OK;
	path = mb_asprintf("/%s", rest);
	exists = lstat(path, &st) == 0;
	if (exists)
	{
		mb_fail(err, MB_EXISTS, "\"%s\" exists already", path);
		mb_error_hint(err,
					  "Move it away, restore below a directory with --component %s=DIRECTORY, "
					  "or add --force to replace what is there.",
					  target->component->name);
	}
	free(path);
	return exists ? err->code : MB_OK;
}

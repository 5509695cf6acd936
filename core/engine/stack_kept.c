/* stack_kept.c - what restores that are over have kept: shown, and in the end removed (stack_restore.h). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/process.h"
#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/stack_restore_private.h"

typedef enum mb_code (*place_fn)(void *ctx, const struct mb_safety *safety, struct mb_error *err);

/* Every place that a restore keeps by itself. */
static enum mb_code
each_place(const struct mb_journal *journal, place_fn fn, void *ctx, struct mb_error *err)
{
	const json_t *list = json_object_get(journal->plan, "keeps");
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < json_array_size(list); i++)
	{
		struct mb_safety *safety;

		if (!json_object_get(json_array_get(list, i), "dev"))
			continue;
		code = mb_safety_from_json(&safety, json_array_get(list, i), err);
		if (code)
			break;
		code = fn(ctx, safety, err);
		mb_safety_free(safety);
	}
	return code;
}

/* What a component has kept by itself: {"rdb": PATH} or {"backup": ID, ...}; NULL: nothing. */
static const json_t *
kept_by(struct mb_journal *journal, size_t i)
{
	const json_t *parts = json_object_get(json_object_get(journal->plan, "session"), "parts");
	char name[MB_STEP_TEXT];

	snprintf(name, sizeof(name), "kept:%s", mb_json_str(json_array_get(parts, i), "name", ""));
	return json_object_get(mb_journal_data(journal, name), "kept");
}

static const char *
kept_file(struct mb_journal *journal, size_t i)
{
	return mb_json_str(kept_by(journal, i), "rdb", NULL);
}

static size_t
part_count(const struct mb_journal *journal)
{
	return json_array_size(json_object_get(json_object_get(journal->plan, "session"), "parts"));
}

static enum mb_code
add_bytes(void *ctx, const struct mb_safety *safety, struct mb_error *err)
{
	uint64_t *bytes = ctx;

	(void) err;
	if (mb_safety_is_kept(safety))
		*bytes += mb_tree_bytes(safety->kept);
	return MB_OK;
}

static json_t *
restore_json(struct mb_journal *journal)
{
	const char *status = mb_journal_status(journal);
	json_t *json = json_object();
	struct mb_error ignored;
	uint64_t bytes = 0;
	size_t i;

	mb_error_clear(&ignored);
	mb_json_set_str(json, "id", journal->id);
	mb_json_set_str(json, "status", status);
	mb_json_set_str(json, "started", mb_json_str(journal->plan, "started", ""));
	json_object_set(json, "target", json_object_get(journal->plan, "target"));
	if (mb_json_str(journal->plan, "reached", NULL))
		mb_json_set_str(json, "reached", mb_json_str(journal->plan, "reached", ""));
	if (mb_journal_time(journal, "finished"))
		mb_json_set_time(json, "finished", mb_journal_time(journal, "finished"));
	if (each_place(journal, add_bytes, &bytes, &ignored))
		mb_json_set_str(json, "problem", ignored.message);
	for (i = 0; i < part_count(journal); i++)
		if (kept_file(journal, i))
			bytes += mb_tree_bytes(kept_file(journal, i));
	mb_json_set_int(json, "kept_bytes", (int64_t) bytes);
	mb_json_set_bool(json, "rollback",
					 json_array_size(json_object_get(journal->plan, "cannot_undo")) == 0 &&
						 (strcmp(status, "finished") == 0 || strcmp(status, "unfinished") == 0 ||
						  strcmp(status, "rolling back") == 0));
	return json;
}

/* Every restore of a spool, oldest first. */
static enum mb_code
each_journal(const char *spool, void (*fn)(void *ctx, struct mb_journal *journal), void *ctx,
			 struct mb_error *err)
{
	struct mb_journal_ids ids = {0};
	enum mb_code code = mb_journal_list(&ids, spool, err);
	size_t i;

	for (i = 0; !code && i < ids.count; i++)
	{
		struct mb_journal *journal;

		code = mb_journal_open(&journal, spool, ids.items[i], err);
		if (code)
			break;
		fn(ctx, journal);
		mb_journal_close(journal);
	}
	mb_journal_ids_release(&ids);
	return code;
}

static void
add_restore(void *ctx, struct mb_journal *journal)
{
	json_array_append_new(ctx, restore_json(journal));
}

enum mb_code
mb_restores_list(const char *spool, json_t **list, struct mb_error *err)
{
	enum mb_code code;

	*list = json_array();
	code = each_journal(spool, add_restore, *list, err);
	if (code)
	{
		json_decref(*list);
		*list = NULL;
	}
	return code;
}

enum mb_code
mb_rollback_needs_repository(bool *needs, const char *spool, const char *which,
							 struct mb_error *err)
{
	struct mb_journal *journal;
	char id[MB_ID_TEXT] = "";
	enum mb_code code = MB_OK;
	size_t i;

	*needs = false;
	if (!which)
		code = mb_journal_unfinished(id, spool, err);
	if (!code && !id[0])
		code = mb_journal_find(id, spool, which, err);
	if (!code)
		code = mb_journal_open(&journal, spool, id, err);
	if (code)
		return code;
	for (i = 0; i < part_count(journal); i++)
		*needs = *needs || kept_by(journal, i);
	mb_journal_close(journal);
	return MB_OK;
}

struct needing
{
	mb_needed_fn fn;
	void *ctx;
};

static void
name_needed(void *ctx, struct mb_journal *journal)
{
	const struct needing *needing = ctx;
	const json_t *parts = json_object_get(json_object_get(journal->plan, "session"), "parts");
	const char *status = mb_journal_status(journal);
	bool goes_on = strcmp(status, "unfinished") == 0;
	size_t i;

	if (!goes_on && strcmp(status, "finished") != 0 && strcmp(status, "rolling back") != 0)
		return;
	for (i = 0; i < json_array_size(parts); i++)
	{
		const json_t *part = json_array_get(parts, i);
		const char *kept = mb_json_str(kept_by(journal, i), "backup", NULL);

		if (goes_on)
			needing->fn(needing->ctx, mb_json_str(part, "name", ""),
						mb_json_str(part, "backup", ""), true);
		if (kept)
			needing->fn(needing->ctx, mb_json_str(part, "name", ""), kept, false);
	}
}

enum mb_code
mb_restores_need(const char *spool, mb_needed_fn fn, void *ctx, struct mb_error *err)
{
	struct needing needing = {fn, ctx};

	return each_journal(spool, name_needed, &needing, err);
}

/* -- removing --------------------------------------------------------------------------------------- */

static enum mb_code
forget_place(void *ctx, const struct mb_safety *safety, struct mb_error *err)
{
	uint64_t *bytes = ctx;

	if (mb_safety_is_kept(safety))
		*bytes += mb_tree_bytes(safety->kept);
	return mb_safety_forget(safety, err);
}

static enum mb_code
forget(struct mb_journal *journal, uint64_t *bytes, struct mb_error *err)
{
	enum mb_code code = each_place(journal, forget_place, bytes, err);
	size_t i;

	for (i = 0; !code && i < part_count(journal); i++)
		if (kept_file(journal, i))
		{
			*bytes += mb_tree_bytes(kept_file(journal, i));
			code = mb_rmtree(kept_file(journal, i), err);
		}
	return code ? code : mb_journal_note(journal, "forgotten", MB_STEP_DONE, NULL, err);
}

static enum mb_code
lock_restores(const char *spool, int *fd, struct mb_error *err)
{
	char *path = mb_asprintf("%s/restores/lock", spool);
	enum mb_code code = mb_lock_file(fd, path, err);

	if (code == MB_CONFLICT)
		mb_fail(err, MB_CONFLICT, "a restore or rollback of this stack is running");
	free(path);
	return code;
}

enum mb_code
mb_restores_forget(const char *spool, const char *which, json_t **answer, struct mb_error *err)
{
	struct mb_journal *journal = NULL;
	char id[MB_ID_TEXT];
	uint64_t bytes = 0;
	int lock_fd = -1;
	enum mb_code code = mb_journal_find(id, spool, which, err);

	if (!code)
		code = lock_restores(spool, &lock_fd, err);
	if (!code)
		code = mb_journal_open(&journal, spool, id, err);
	if (!code && (strcmp(mb_journal_status(journal), "unfinished") == 0 ||
				  strcmp(mb_journal_status(journal), "rolling back") == 0))
	{
		mb_fail(err, MB_CONFLICT, "restore %s is not finished", id);
		code = mb_error_hint(err,
							 "Go on with \"mbackup restore --continue %s\", or back with "
							 "\"mbackup rollback %s\".",
							 id, id);
	}
	if (!code)
		code = forget(journal, &bytes, err);
	if (!code)
		*answer =
			json_pack("{s:{s:s, s:I}}", "forgotten", "id", id, "freed_bytes", (json_int_t) bytes);
	mb_journal_close(journal);
	if (lock_fd >= 0)
		close(lock_fd);
	return code;
}

static bool
is_younger(struct mb_journal *journal, int64_t backup_us)
{
	return mb_journal_time(journal, "finished") < backup_us &&
		   mb_json_time(journal->plan, "newest") < backup_us;
}

enum mb_code
mb_restores_expire(const struct mb_env *env, int64_t backup_us, json_t *forgotten,
				   struct mb_error *err)
{
	struct mb_journal_ids ids = {0};
	enum mb_code code = mb_journal_list(&ids, env->spool, err);
	int lock_fd = -1;
	size_t i;

	if (!code && ids.count > 0)
		code = lock_restores(env->spool, &lock_fd, err);
	for (i = 0; !code && i < ids.count; i++)
	{
		struct mb_journal *journal;
		struct mb_error why;
		uint64_t bytes = 0;
		char size[MB_SIZE_TEXT];

		mb_error_clear(&why);
		if (mb_journal_open(&journal, env->spool, ids.items[i], &why))
		{
			mb_log_warning(env->log, "%s", why.message);
			continue;
		}
		if (strcmp(mb_journal_status(journal), "finished") == 0 && is_younger(journal, backup_us))
		{
			if (forget(journal, &bytes, &why))
				mb_log_warning(env->log, "what restore %s has kept stays: %s", ids.items[i],
							   why.message);
			else
			{
				mb_size_format(size, bytes);
				mb_log_info(env->log,
							"a younger backup is whole: what restore %s had kept (%s) is removed",
							ids.items[i], size);
				json_array_append_new(forgotten, json_string(ids.items[i]));
			}
		}
		mb_journal_close(journal);
	}
	if (lock_fd >= 0)
		close(lock_fd);
	mb_journal_ids_release(&ids);
	return code;
}

/* -- findings ------------------------------------------------------------------------------------------ */

void
mb_restores_check(const char *spool, struct mb_checks *checks)
{
	json_t *list = NULL;
	struct mb_error why;
	size_t i;

	mb_error_clear(&why);
	if (mb_restores_list(spool, &list, &why))
	{
		char *word = mb_shell_word(spool);

		mb_check_add_fix(checks, MB_CHECK_WARNING, "stack", "restores",
						 mb_asprintf("chmod -R u+rwX %s", word), "%s", why.message);
		free(word);
		return;
	}
	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i);
		const char *status = mb_json_str(one, "status", ""), *id = mb_json_str(one, "id", "?");
		char size[MB_SIZE_TEXT], fix[256];

		mb_size_format(size, (uint64_t) mb_json_int(one, "kept_bytes", 0));
		snprintf(fix, sizeof(fix), "mbackup restore --continue %s, or mbackup rollback %s", id, id);
		if (strcmp(status, "unfinished") == 0)
			mb_check_add(checks, MB_CHECK_FAILED, "stack", "restore", fix,
						 "restore %s is not finished", id);
		else if (strcmp(status, "rolling back") == 0)
		{
			snprintf(fix, sizeof(fix), "mbackup rollback %s", id);
			mb_check_add(checks, MB_CHECK_FAILED, "stack", "restore", fix,
						 "the rollback of restore %s is not finished", id);
		}
		else if (strcmp(status, "finished") == 0)
			mb_check_add(checks, MB_CHECK_OK, "stack", "restore", "",
						 "restore %s can be rolled back: %s are kept until a younger backup is "
						 "verified",
						 id, size);
	}
	json_decref(list);
}

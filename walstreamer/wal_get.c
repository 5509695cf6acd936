/* wal_get.c - see wal_get.h. */
#include "walstreamer/wal_get.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "walstreamer/wal_fetch.h"
#include "walstreamer/wal_helper.h"

/* Only names that Postgres asks for; anything else would be a path from outside. */
static bool
is_wal_file_name(const char *name)
{
	size_t len = strlen(name);

	return (len == 24 && strspn(name, "0123456789ABCDEF") == 24) ||
		   (len == 16 && strspn(name, "0123456789ABCDEF") == 8 && mb_ends_with(name, ".history"));
}

/* -- without the repository -------------------------------------------------------------------- */

/* Recovery is over, or nearly: nothing more is needed ahead. */
static void
end_prefetch(const struct mb_wal_request *request)
{
	struct mb_error ignored;

	mb_wal_helper_end(request);
	/* Only a directory of ours in the current one; nothing is followed. */
	if (mb_rmtree(MB_WAL_PREFETCH_DIR, &ignored))
	{
		/* A helper that is just ending may still write into it; it removes it too. */
	}
}

static enum mb_code
get_planned_quickly(const struct mb_wal_request *request, const json_t *plan, struct mb_error *err)
{
	char path[MB_WAL_PREFETCH_PATH];
	struct mb_plan_item item;
	uint32_t timeline;
	enum mb_code code;

	if (mb_wal_history_parse(request->file_name, &timeline))
	{
		if (mb_plan_history(plan, timeline))
			return mb_fail(err, MB_NOT_FOUND, "it is in the repository");
		/* Asked for when recovery is over: the search for an unused timeline. */
		end_prefetch(request);
		return mb_fail(err, MB_NEGATIVE, "there is no timeline %u", timeline);
	}
	code = mb_plan_locate(plan, request->file_name, &item, err);
	if (code == MB_NEGATIVE)
		end_prefetch(request);
	if (code)
		return code;
	mb_plan_prefetch_path(plan, &item, path);
	return mb_wal_helper_ask(request, path, err);
}

enum mb_code
mb_wal_get_quickly(const struct mb_wal_request *request, struct mb_error *err)
{
	json_t *plan;
	enum mb_code code;

	if (!is_wal_file_name(request->file_name))
		return mb_fail(err, MB_NEGATIVE, "\"%.64s\" is not a WAL file", request->file_name);
	if (!request->restore_id)
		return mb_wal_helper_ask(request, NULL, err);
	code = mb_plan_read(&plan, request->restore_id, err);
	if (code)
		return code;
	code = get_planned_quickly(request, plan, err);
	json_decref(plan);
	return code;
}

/* -- from the repository ------------------------------------------------------------------------- */

static enum mb_code
deliver(const struct mb_env *env, const struct mb_wal_request *request, const json_t *plan,
		struct mb_error *err)
{
	struct mb_plan_item item;
	uint32_t timeline;
	enum mb_code code;

	if (strcmp(mb_json_str(plan, "repository", ""), env->repo->id_text) != 0)
		return mb_fail(err, MB_CONFIG, "this restore came from repository %s, not from %s",
					   mb_json_str(plan, "repository", "?"), env->repo->id_text);
	if (mb_wal_history_parse(request->file_name, &timeline))
	{
		const char *blob = mb_plan_history(plan, timeline);

		if (!blob)
			return mb_fail(err, MB_NEGATIVE, "there is no timeline %u", timeline);
		return mb_wal_fetch_history(env->repo, blob, request->target_path, err);
	}
	code = mb_plan_locate(plan, request->file_name, &item, err);
	if (!code && !request->restore_id && !mb_plan_is_whole(&item))
		code = mb_fail(err, MB_NEGATIVE, "segment %s is not complete yet", item.file);
	return code ? code : mb_wal_fetch_segment(env->repo, &item, request->target_path, err);
}

enum mb_code
mb_wal_get(const struct mb_env *env, const struct mb_wal_request *request, struct mb_error *err)
{
	json_t *plan;
	enum mb_code code;

	if (!is_wal_file_name(request->file_name))
		return mb_fail(err, MB_NEGATIVE, "\"%.64s\" is not a WAL file", request->file_name);
	if (request->restore_id)
		code = mb_plan_read(&plan, request->restore_id, err);
	else
		code = mb_wal_standby_plan(&plan, env, request->component, request->file_name, err);
	if (!code)
	{
		code = deliver(env, request, plan, err);
		json_decref(plan);
	}
	return code ? mb_error_context(err, "could not get \"%s\"", request->file_name) : MB_OK;
}

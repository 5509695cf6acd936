/* wal_get.c - see wal_get.h; what needs the repository. */
#include "walstreamer/wal_get.h"

#include <string.h>

#include "walstreamer/wal_fetch.h"

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

	if (!mb_wal_file_name_is_known(request->file_name))
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

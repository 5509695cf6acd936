/*
 * wal_get_quick.c - the part of wal_get.h that needs no repository.
 *
 * By itself, because mbackup-wal-get is linked with nothing else.
 */

#include "core/base/fs.h"
#include "walstreamer/restore_plan.h"
#include "walstreamer/wal_get.h"
#include "walstreamer/wal_helper.h"

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

	if (!mb_wal_file_name_is_known(request->file_name))
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

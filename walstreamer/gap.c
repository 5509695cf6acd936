/* gap.c - see gap.h. */
#include "walstreamer/gap.h"

#include <stdlib.h>

#include "core/base/time.h"
#include "walstreamer/inventory.h"

static enum mb_code
put_record(const struct mb_env *env, const struct mb_wal_where *where, uint64_t from_lsn,
		   uint64_t to_lsn, struct mb_error *err)
{
	json_t *json = json_object();
	char id[MB_ID_TEXT];
	char *name;
	enum mb_code code;

	mb_json_set_str(json, "system_id", where->system_id);
	mb_json_set_int(json, "timeline", where->timeline);
	mb_json_set_lsn(json, "from", from_lsn);
	mb_json_set_lsn(json, "to", to_lsn);
	mb_json_set_time(json, "time", mb_time_now_us());
	mb_json_set_str(json, "branch", where->branch);
	mb_id_new(id, mb_time_now_us());
	name = mb_asprintf("streams/%s/gaps/%s", where->component, id);
	code = mb_doc_put(env->repo, MB_ROLE_STREAM, name, json, err);
	free(name);
	json_decref(json);
	return code;
}

/* How far a branch holds WAL in the past of the new one; 0: none. */
static uint64_t
covered_by(const struct mb_wal_branch *branch, const struct mb_wal_where *where,
		   const struct mb_buf *history)
{
	uint64_t end = mb_wal_branch_end(branch), left;

	if (branch->timeline == where->timeline)
		return end;
	if (!history || history->len == 0 ||
		!mb_wal_history_left(history->data, history->len, branch->timeline, &left))
		return 0;
	return end < left ? end : left;
}

void
mb_wal_gap_note(const struct mb_env *env, const struct mb_wal_where *where,
				const struct mb_buf *history, uint64_t from_lsn)
{
	struct mb_wal_inventory *inventory;
	struct mb_error err;
	uint64_t end = 0;
	size_t i;

	if (mb_wal_inventory_load(&inventory, env->repo, where->component, where->system_id, &err))
	{
		mb_log_warning(env->log, "%s: could not look for a gap: %s", where->component, err.message);
		return;
	}
	for (i = 0; i < inventory->branch_count; i++)
	{
		uint64_t covered = covered_by(&inventory->branches[i], where, history);

		end = covered > end ? covered : end;
	}
	mb_wal_inventory_free(inventory);
	if (end == 0 || end >= from_lsn)
		return;
	mb_log_warning(env->log,
				   "%s: WAL from " LSN_FMT " to " LSN_FMT
				   " is not in the repository: no restore can cross it, make a new backup",
				   where->component, LSN_ARGS(end), LSN_ARGS(from_lsn));
	if (put_record(env, where, end, from_lsn, &err))
		mb_log_warning(env->log, "%s: could not record the gap: %s", where->component, err.message);
}

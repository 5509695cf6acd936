/* source.c - see source.h. */
#include "walstreamer/source.h"

#include "walstreamer/inventory.h"
#include "walstreamer/receiver.h"
#include "walstreamer/wal_name.h"

static enum mb_code
load_inventory(struct mb_wal_inventory **inventory, const struct mb_env *env, const char *component,
			   const char *system_id, struct mb_error *err)
{
	return mb_wal_inventory_load(inventory, env->repo, component, system_id, err);
}

static json_t *
needed_blobs(const char *component, const struct mb_wal_cursor *cursor, uint64_t to_lsn)
{
	struct mb_wal_where where = {component, cursor->system_id, cursor->timeline, cursor->branch,
								 cursor->segment_size};
	char from[MB_WAL_FILE_TEXT], to[MB_WAL_FILE_TEXT];
	char prefix[MB_NAME_MAX];

	mb_wal_branch_prefix(prefix, &where);
	mb_wal_file_name(from, cursor->timeline, cursor->from_lsn, cursor->segment_size);
	mb_wal_file_name(to, cursor->timeline, to_lsn - 1, cursor->segment_size);
	return json_pack("{s:s, s:s, s:s}", "prefix", prefix, "from", from, "to", to);
}

const struct mb_wal_ops mb_walstreamer_ops = {
	.run = mb_wal_receiver_run,
	.start = mb_wal_receiver_start,
	.status = mb_wal_receiver_status,
	.stop = mb_wal_receiver_stop,
	.advance = mb_wal_cursor_advance,
	.needs = needed_blobs,
	.inventory = load_inventory,
	.inventory_free = mb_wal_inventory_free,
	.chain = mb_wal_chain_find,
	.time_at = mb_wal_chain_time_at,
	.chain_release = mb_wal_chain_release,
	.plan = mb_wal_chain_plan,
	.trim = mb_wal_trim,
};

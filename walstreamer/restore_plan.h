/*
 * restore_plan.h - the document that wal-get serves from, and the segments in it.
 *
 * {"version", "restore", "repository", "component", "system_id", "segment_size", "end",
 *  "links": [{"timeline", "branch", "from", "to"}], "histories": {"<timeline>": "<blob>"}}
 * A restore writes it to mbackup_restore.json (mb_wal_chain_plan); for a standby it is made anew
 * from what the repository holds (mb_wal_standby_plan).
 */
#ifndef MB_WALSTREAMER_RESTORE_PLAN_H
#define MB_WALSTREAMER_RESTORE_PLAN_H

#include "core/base/json.h"
#include "walstreamer/inventory.h"

#define MB_WAL_PREFETCH_DIR "pg_wal/mbackup-prefetch"
#define MB_WAL_PREFETCH_PATH 160

/* One segment of a plan; the strings live as long as the plan. */
struct mb_plan_item
{
	struct mb_wal_where where;
	uint64_t start_lsn; /* of the segment */
	uint64_t to_lsn;    /* bytes up to here, the rest is zero */
	char file[MB_WAL_FILE_TEXT];
};

/*
 * Read mbackup_restore.json of the current directory.  MB_CONFIG when it is missing or of
 * another restore.
 */
enum mb_code mb_plan_read(json_t **plan, const char *restore_id,
						  struct mb_error *err) MB_MUST_CHECK;
/* MB_NEGATIVE: no segment of the plan. */
enum mb_code mb_plan_locate(const json_t *plan, const char *file_name, struct mb_plan_item *out,
							struct mb_error *err) MB_MUST_CHECK;
/* The segment that recovery asks for next; false at the end. */
bool mb_plan_next(const json_t *plan, const struct mb_plan_item *now, struct mb_plan_item *out);
bool mb_plan_is_whole(const struct mb_plan_item *item);
/* The blob of a timeline's history file, or NULL. */
const char *mb_plan_history(const json_t *plan, uint32_t timeline);
/*
 * Where it is kept when fetched ahead.  The name says which bytes these are (repository, branch,
 * range) and in which boot of the machine they were written: nothing is served that another plan
 * left there, and what was not synced before a crash of the machine is not trusted.
 */
void mb_plan_prefetch_path(const json_t *plan, const struct mb_plan_item *item,
						   char out[MB_WAL_PREFETCH_PATH]);

/*
 * A plan for whoever asks without --restore: the newest way that continues what the data
 * directory in the current directory is on, of whole segments.  component NULL: the only one that
 * has WAL of this system identifier.  MB_NEGATIVE: there is none; MB_CONFIG: the repository
 * holds other clusters only; MB_CONFLICT: several histories, and nothing tells which.
 */
enum mb_code mb_wal_standby_plan(json_t **plan, const struct mb_env *env, const char *component,
								 const char *file_name, struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * plan_private.h - planning a restore of Postgres, from the inside: plan.c chooses the base and
 * refuses, plan_refine.c knows the targets, plan_window.c says what could be restored.
 */
#ifndef MB_POSTGRES_PLAN_PRIVATE_H
#define MB_POSTGRES_PLAN_PRIVATE_H

#include "core/base/time.h"
#include "postgres/restore_private.h"

/* What a commit says about itself. */
struct base
{
	size_t index;
	uint64_t start_lsn;
	uint64_t stop_lsn;
	uint32_t timeline;
	int64_t stop_us;
	int64_t next_xid;
	const char *system_id;
	const char *branch;
};

struct planner
{
	struct mb_postgres *pg;
	struct mb_restore *restore;
	struct mb_wal_inventory *inventory;
	char system_id[MB_WAL_SYSID_TEXT]; /* of the inventory */
	struct base base;                  /* the one that is tried or was chosen */
	struct mb_wal_chain chain;
	const char *setting; /* recovery_target_..., NULL: to the end of the WAL */
	char value[MB_TIME_TEXT + 64];
	char note[256];
};

/* plan.c */
/* False when the commit does not say. */
bool mb_plan_read_base(const struct mb_commit *commit, size_t index, struct base *base);
/* Kept while the system stays the same. */
enum mb_code mb_plan_load_inventory(struct planner *planner, const char *system_id,
									struct mb_error *err) MB_MUST_CHECK;

/* plan_refine.c */
/* Was the base over before the target?  A base that is too new cannot go back. */
bool mb_plan_is_before(const struct base *base, const struct mb_target *target,
					   uint64_t mb_plan_cut_lsn);
enum mb_code mb_plan_query(const struct planner *planner, struct mb_wal_query *query,
						   struct mb_error *err) MB_MUST_CHECK;
/* Of the cut that is the target; 0: none. */
uint64_t mb_plan_cut_lsn(const struct planner *planner);
/* Fills setting, value, note and the time of the stack. */
enum mb_code mb_plan_refine(struct planner *planner, struct mb_error *err) MB_MUST_CHECK;

#endif

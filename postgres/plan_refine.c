/* plan_refine.c - see plan_private.h: what a target asks of the WAL, and of Postgres. */
#include "postgres/plan_private.h"

#include <stdio.h>
#include <string.h>

bool
mb_plan_is_before(const struct base *base, const struct mb_target *target, uint64_t mb_plan_cut_lsn)
{
	switch (target->kind)
	{
		case MB_TARGET_TIME:
			return base->stop_us <= target->time_us;
		case MB_TARGET_LSN:
			return base->stop_lsn <= target->lsn;
		case MB_TARGET_XID:
			/* 32-bit ids wrap around; the low half is compared as Postgres does. */
			return target->xid > UINT32_MAX
					   ? (int64_t) target->xid >= base->next_xid
					   : (int32_t) ((uint32_t) target->xid - (uint32_t) base->next_xid) >= 0;
		case MB_TARGET_BACKUP:
		case MB_TARGET_MARK:
			return base->stop_lsn <= mb_plan_cut_lsn;
		case MB_TARGET_LATEST:
		case MB_TARGET_NAME:
			break;
	}
	return true;
}

static const json_t *
cut_position(const struct planner *planner)
{
	const struct mb_cut *cut = planner->restore->target.cut;

	return cut ? json_object_get(cut->positions, planner->pg->base.name) : NULL;
}

enum mb_code
mb_plan_query(const struct planner *planner, struct mb_wal_query *query, struct mb_error *err)
{
	const struct mb_target *target = &planner->restore->target;
	const json_t *position = cut_position(planner);

	memset(query, 0, sizeof(*query));
	query->start_lsn = planner->base.start_lsn;
	query->timeline = planner->base.timeline;
	query->branch = planner->base.branch;
	query->target_timeline =
		target->timeline == MB_TIMELINE_CURRENT ? planner->base.timeline : target->timeline;
	query->need_lsn = planner->base.stop_lsn;
	if (target->kind == MB_TARGET_LSN)
		query->need_lsn = target->lsn;
	else if (target->kind == MB_TARGET_NAME)
	{
		query->need_lsn = 0;
		query->point = target->text;
	}
	else if (target->kind == MB_TARGET_BACKUP || target->kind == MB_TARGET_MARK)
	{
		if (!position || !mb_lsn_parse(&query->need_lsn, mb_json_str(position, "lsn", "")))
			return mb_fail(err, MB_NOT_FOUND, "the cut holds no position of \"%s\"",
						   planner->pg->base.name);
		query->point = target->cut->restore_point;
		if (!query->target_timeline)
			query->target_timeline = (uint32_t) mb_json_int(position, "timeline", 0);
	}
	return MB_OK;
}

uint64_t
mb_plan_cut_lsn(const struct planner *planner)
{
	const json_t *position = cut_position(planner);
	uint64_t lsn = 0;

	if (position && !mb_lsn_parse(&lsn, mb_json_str(position, "lsn", "")))
		lsn = 0;
	return lsn;
}

/* -- refusing and refining by target -------------------------------------------------------------------- */

static void
set_value(struct planner *planner, const char *setting, const char *value)
{
	planner->setting = setting;
	snprintf(planner->value, sizeof(planner->value), "%s", value);
}

/* Not more than Postgres can be asked for: a target that no record reaches is fatal to it. */
static enum mb_code
refine_time(struct planner *planner, struct mb_error *err)
{
	const struct mb_target *target = &planner->restore->target;
	const struct mb_wal_chain *chain = &planner->chain;
	int64_t end_us = chain->received_until_us > chain->last_commit_us ? chain->received_until_us
																	  : chain->last_commit_us;
	char from[MB_TIME_TEXT], to[MB_TIME_TEXT], want[MB_TIME_TEXT];
	bool reached = target->exclusive ? chain->last_commit_us >= target->time_us
									 : chain->last_commit_us > target->time_us;

	mb_time_format(want, target->time_us);
	if (target->time_us > end_us)
	{
		mb_time_format(from, planner->base.stop_us);
		mb_time_format(to, end_us);
		return mb_fail(err, MB_NOT_FOUND, "target time %s is after the last WAL (window %s .. %s)",
					   want, from, to);
	}
	planner->restore->stack_time_us = target->time_us;
	if (reached)
	{
		/* "Z" is a zone abbreviation, and those are not loaded yet when Postgres reads this. */
		char *zone = strchr(want, 'Z'), *separator = strchr(want, 'T');

		MB_ASSERT(zone && separator);
		snprintf(zone, 4, "+00");
		*separator = ' ';
		set_value(planner, "recovery_target_time", want);
	}
	else
		snprintf(planner->note, sizeof(planner->note),
				 "no transaction ended after %s: recovery goes to the end of the WAL", want);
	return MB_OK;
}

static enum mb_code
refine_lsn(struct planner *planner, struct mb_error *err)
{
	const struct mb_target *target = &planner->restore->target;
	char value[32];

	snprintf(value, sizeof(value), LSN_FMT, LSN_ARGS(target->lsn));
	/* Postgres stops at a record that begins at or behind the target. */
	if (planner->chain.last_record_lsn && target->lsn > planner->chain.last_record_lsn)
		snprintf(planner->note, sizeof(planner->note),
				 "no record begins at or after %s: recovery goes to the end of the WAL", value);
	else
		set_value(planner, "recovery_target_lsn", value);
	return planner->pg->wal->time_at(planner->inventory, &planner->chain, target->lsn,
									 &planner->restore->stack_time_us, err);
}

enum mb_code
mb_plan_refine(struct planner *planner, struct mb_error *err)
{
	const struct mb_target *target = &planner->restore->target;
	struct mb_restore *restore = planner->restore;
	char value[32];

	planner->setting = NULL;
	planner->note[0] = '\0';
	switch (target->kind)
	{
		case MB_TARGET_TIME:
			return refine_time(planner, err);
		case MB_TARGET_LSN:
			return refine_lsn(planner, err);
		case MB_TARGET_XID:
			snprintf(value, sizeof(value), "%llu", (unsigned long long) target->xid);
			set_value(planner, "recovery_target_xid", value);
			/* When it ended is not known; the others are brought to the end. */
			restore->stack_time_us = planner->chain.received_until_us;
			return MB_OK;
		case MB_TARGET_NAME:
			set_value(planner, "recovery_target_name", planner->chain.point.name);
			restore->stack_time_us = planner->chain.point.time_us;
			return MB_OK;
		case MB_TARGET_BACKUP:
		case MB_TARGET_MARK:
			set_value(planner, "recovery_target_name", target->cut->restore_point);
			restore->stack_time_us = target->cut->time_us;
			return MB_OK;
		case MB_TARGET_LATEST:
			restore->stack_time_us = planner->chain.received_until_us;
			break;
	}
	return MB_OK;
}

/*
 * plan.c - which base, which WAL, which recovery settings bring a target back; and what
 * cannot be had, said before anything is touched.
 */
#include "postgres/plan_private.h"

#include <stdio.h>
#include <string.h>

bool
mb_plan_read_base(const struct mb_commit *commit, size_t index, struct base *base)
{
	base->index = index;
	base->timeline = (uint32_t) mb_json_int(commit->meta, "timeline", 0);
	base->stop_us = mb_json_time(commit->meta, "stop_time");
	base->next_xid = mb_json_int(commit->meta, "next_xid", 0);
	base->system_id = mb_json_str(commit->meta, "system_id", "");
	base->branch = mb_json_str(commit->meta, "branch", "");
	return base->timeline && *base->system_id &&
		   mb_lsn_parse(&base->start_lsn, mb_json_str(commit->meta, "start_lsn", "")) &&
		   mb_lsn_parse(&base->stop_lsn, mb_json_str(commit->meta, "stop_lsn", ""));
}

enum mb_code
mb_plan_load_inventory(struct planner *planner, const char *system_id, struct mb_error *err)
{
	enum mb_code code;

	if (planner->inventory && strcmp(planner->system_id, system_id) == 0)
		return MB_OK;
	planner->pg->wal->inventory_free(planner->inventory);
	planner->inventory = NULL;
	code = planner->pg->wal->inventory(&planner->inventory, planner->pg->base.env,
									   planner->pg->base.name, system_id, err);
	if (!code)
		snprintf(planner->system_id, sizeof(planner->system_id), "%s", system_id);
	return code;
}

/* Can this base be brought to the target?  Fills chain, setting and value. */
static enum mb_code
try_base(struct planner *planner, struct mb_error *err)
{
	struct mb_wal_query query;
	enum mb_code code = mb_plan_load_inventory(planner, planner->base.system_id, err);

	if (!code)
		code = mb_plan_query(planner, &query, err);
	if (!code)
		code = planner->pg->wal->chain(planner->inventory, &query, &planner->chain, err);
	if (!code)
	{
		code = mb_plan_refine(planner, err);
		if (code)
			planner->pg->wal->chain_release(&planner->chain);
	}
	return code;
}

/* No base is old enough. */
static enum mb_code
before_first_backup(const struct planner *planner, struct mb_error *err)
{
	const struct mb_restore *restore = planner->restore;
	char first[MB_TIME_TEXT] = "?";
	struct base base;

	if (restore->candidate_count > 0 && mb_plan_read_base(&restore->candidates[0], 0, &base))
		mb_time_format(first, base.stop_us);
	mb_fail(err, MB_NOT_FOUND, "the target%s%s is before the first backup, which ended at %s",
			restore->target.text ? " " : "", restore->target.text ? restore->target.text : "",
			first);
	return mb_error_hint(err, "See the recovery windows of \"mbackup list\".");
}

static enum mb_code
choose_base(struct planner *planner, struct mb_error *err)
{
	struct mb_restore *restore = planner->restore;
	bool fixed = restore->chosen != SIZE_MAX, tried = false;
	size_t i = fixed ? restore->chosen + 1 : restore->candidate_count;
	struct mb_error first_err;
	enum mb_code code = MB_OK;

	mb_error_clear(&first_err);
	/* Newest first: the least WAL to replay. */
	while (i-- > 0)
	{
		if (!mb_plan_read_base(&restore->candidates[i], i, &planner->base))
		{
			if (fixed)
				return mb_fail(err, MB_CORRUPT, "backup %s does not say where it begins",
							   restore->candidates[i].id);
			continue;
		}
		if (mb_plan_is_before(&planner->base, &restore->target, mb_plan_cut_lsn(planner)))
		{
			tried = true;
			code = try_base(planner, err);
			if (!code)
			{
				restore->chosen = i;
				return MB_OK;
			}
			/* Another base may help against a hole or another history, not against an end. */
			if (code != MB_NOT_FOUND && code != MB_CORRUPT)
				return code;
			if (!first_err.code)
				first_err = *err;
		}
		if (fixed)
			break;
	}
	if (!tried)
	{
		if (fixed)
			return mb_fail(err, MB_NOT_FOUND, "the target is before the end of backup %s",
						   restore->candidates[restore->chosen].id);
		return before_first_backup(planner, err);
	}
	*err = first_err;
	return err->code;
}

/* For a name that is not there: the ones that are. */
static void
name_nearest(struct planner *planner, struct mb_error *err)
{
	struct mb_restore *restore = planner->restore;
	struct mb_wal_query query;
	struct mb_wal_chain chain;
	struct mb_error ignored;
	struct mb_buf names = {0};
	size_t i;

	if (restore->candidate_count == 0 ||
		!mb_plan_read_base(&restore->candidates[restore->candidate_count - 1], 0, &planner->base) ||
		mb_plan_load_inventory(planner, planner->base.system_id, &ignored) ||
		mb_plan_query(planner, &query, &ignored))
		return;
	query.point = NULL;
	query.want_points = true;
	if (planner->pg->wal->chain(planner->inventory, &query, &chain, &ignored))
		return;
	for (i = 0; i < chain.nearest_count; i++)
		mb_buf_printf(&names, "%s\"%s\"", i ? ", " : "", chain.nearest[i].name);
	if (names.len > 0)
		mb_error_hint(err, "Restore points in the newest WAL: %.400s.", mb_buf_cstr(&names));
	mb_buf_release(&names);
	planner->pg->wal->chain_release(&chain);
}

static void
write_plan(struct planner *planner)
{
	struct mb_restore *restore = planner->restore;
	const struct mb_wal_chain *chain = &planner->chain;
	json_t *wal = planner->pg->wal->plan(planner->inventory, chain, planner->pg->base.env,
										 planner->pg->base.name, restore->id);

	json_object_set_new(restore->plan, "wal", wal);
	mb_json_set_str(restore->plan, "backup", restore->candidates[restore->chosen].id);
	mb_json_set_lsn(restore->plan, "start_lsn", planner->base.start_lsn);
	mb_json_set_lsn(restore->plan, "stop_lsn", planner->base.stop_lsn);
	mb_json_set_lsn(restore->plan, "end_lsn", chain->end_lsn);
	mb_json_set_int(restore->plan, "base_timeline", planner->base.timeline);
	mb_json_set_int(restore->plan, "timeline",
					chain->count > 0 ? chain->links[chain->count - 1].timeline
									 : planner->base.timeline);
	if (planner->setting)
	{
		mb_json_set_str(restore->plan, "setting", planner->setting);
		mb_json_set_str(restore->plan, "value", planner->value);
	}
	if (planner->note[0])
		mb_json_set_str(restore->plan, "note", planner->note);
	if (restore->stack_time_us)
		mb_json_set_time(restore->plan, "time", restore->stack_time_us);
}

/*
 * A younger timeline left this way, but its first WAL is missing: without it recovery would
 * open on the old line as if nothing had happened since.
 */
static enum mb_code
refuse_broken_fork(const struct planner *planner, struct mb_error *err)
{
	const struct mb_wal_chain *chain = &planner->chain;
	enum mb_target_kind kind = planner->restore->target.kind;

	if (!chain->broken_timeline || planner->restore->target.timeline || kind == MB_TARGET_BACKUP ||
		kind == MB_TARGET_MARK)
		return MB_OK;
	mb_fail(err, MB_CORRUPT,
			"timeline %u left timeline %u at " LSN_FMT ", but its WAL there is missing: segment %s",
			chain->broken_timeline, chain->broken_parent, LSN_ARGS(chain->broken_lsn),
			chain->broken_file);
	return mb_error_hint(err,
						 "Choose a backup that is younger than that; or go along the old line on "
						 "purpose, with --timeline %u.",
						 chain->broken_parent);
}

/* "As far as there is WAL" must not mean as far as the first hole, unsaid. */
static enum mb_code
refuse_hole(struct planner *planner, struct mb_error *err)
{
	const struct mb_wal_chain *chain = &planner->chain;
	uint32_t timeline = chain->count > 0 ? chain->links[chain->count - 1].timeline : 0;

	if (!chain->hole_lsn || planner->restore->target.kind != MB_TARGET_LATEST)
		return MB_OK;
	if (!chain->hole_is_certain)
	{
		snprintf(planner->note, sizeof(planner->note),
				 "there is WAL of timeline %u behind a gap from " LSN_FMT " to " LSN_FMT
				 ": recovery ends before it",
				 timeline, LSN_ARGS(chain->end_lsn), LSN_ARGS(chain->hole_lsn));
		return MB_OK;
	}
	mb_fail(err, MB_CORRUPT, "WAL is missing from " LSN_FMT " to " LSN_FMT " on timeline %u: %s",
			LSN_ARGS(chain->end_lsn), LSN_ARGS(chain->hole_lsn), timeline, chain->hole_files);
	return mb_error_hint(err,
						 "The latest moment cannot be reached. As far as the hole: "
						 "--to-lsn " LSN_FMT ".",
						 LSN_ARGS(chain->end_lsn));
}

enum mb_code
mb_postgres_plan(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct planner planner = {.pg = (struct mb_postgres *) component, .restore = restore};
	enum mb_code code;

	if (restore->only_count > 0)
	{
		mb_fail(err, MB_UNSUPPORTED, "--only does not choose in a PostgreSQL cluster");
		return mb_error_hint(err,
							 "Use --database or --table; --only goes together with --component "
							 "for files and objects.");
	}
	code = choose_base(&planner, err);
	if (code == MB_NOT_FOUND && restore->target.kind == MB_TARGET_NAME)
		name_nearest(&planner, err);
	if (!code)
		code = refuse_broken_fork(&planner, err);
	if (!code)
		code = refuse_hole(&planner, err);
	if (!code)
	{
		write_plan(&planner);
		code = mb_pg_preflight(planner.pg, restore, err);
	}
	planner.pg->wal->chain_release(&planner.chain);
	planner.pg->wal->inventory_free(planner.inventory);
	return code;
}

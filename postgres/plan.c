/*
 * plan.c - which base, which WAL, which recovery settings bring a target back; and what
 * cannot be had, said before anything is touched.
 */
#include <stdlib.h>
#include <string.h>

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

static bool
read_base(const struct mb_commit *commit, size_t index, struct base *base)
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

static enum mb_code
load_inventory(struct planner *planner, const char *system_id, struct mb_error *err)
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

/* Was the base over before the target?  A base that is too new cannot go back. */
static bool
is_before_target(const struct base *base, const struct mb_target *target, uint64_t cut_lsn)
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
			return base->stop_lsn <= cut_lsn;
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

static enum mb_code
make_query(const struct planner *planner, struct mb_wal_query *query, struct mb_error *err)
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

static enum mb_code
refine(struct planner *planner, struct mb_error *err)
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

/* Can this base be brought to the target?  Fills chain, setting and value. */
static enum mb_code
try_base(struct planner *planner, struct mb_error *err)
{
	struct mb_wal_query query;
	enum mb_code code = load_inventory(planner, planner->base.system_id, err);

	if (!code)
		code = make_query(planner, &query, err);
	if (!code)
		code = planner->pg->wal->chain(planner->inventory, &query, &planner->chain, err);
	if (!code)
	{
		code = refine(planner, err);
		if (code)
			planner->pg->wal->chain_release(&planner->chain);
	}
	return code;
}

static uint64_t
cut_lsn(const struct planner *planner)
{
	const json_t *position = cut_position(planner);
	uint64_t lsn = 0;

	if (position && !mb_lsn_parse(&lsn, mb_json_str(position, "lsn", "")))
		lsn = 0;
	return lsn;
}

/* No base is old enough. */
static enum mb_code
before_first_backup(const struct planner *planner, struct mb_error *err)
{
	const struct mb_restore *restore = planner->restore;
	char first[MB_TIME_TEXT] = "?";
	struct base base;

	if (restore->candidate_count > 0 && read_base(&restore->candidates[0], 0, &base))
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
		if (!read_base(&restore->candidates[i], i, &planner->base))
		{
			if (fixed)
				return mb_fail(err, MB_CORRUPT, "backup %s does not say where it begins",
							   restore->candidates[i].id);
			continue;
		}
		if (is_before_target(&planner->base, &restore->target, cut_lsn(planner)))
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
		!read_base(&restore->candidates[restore->candidate_count - 1], 0, &planner->base) ||
		load_inventory(planner, planner->base.system_id, &ignored) ||
		make_query(planner, &query, &ignored))
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

/* -- verify and window -------------------------------------------------------------------------------------- */

/* The chain from a commit on, as far as it goes (need_lsn 0) or to its own cut. */
static enum mb_code
chain_of(struct planner *planner, const struct mb_commit *commit, bool to_cut, struct mb_error *err)
{
	struct mb_wal_query query = {0};
	enum mb_code code;

	if (!read_base(commit, 0, &planner->base))
		return mb_fail(err, MB_CORRUPT, "backup %s does not say where it begins", commit->id);
	code = load_inventory(planner, planner->base.system_id, err);
	if (code)
		return code;
	query.start_lsn = planner->base.start_lsn;
	query.timeline = planner->base.timeline;
	query.branch = planner->base.branch;
	query.need_lsn = planner->base.stop_lsn;
	if (to_cut)
	{
		query.target_timeline = query.timeline;
		if (!mb_lsn_parse(&query.need_lsn,
						  mb_json_str(json_object_get(commit->meta, "wal"), "to", "")))
			query.need_lsn = planner->base.stop_lsn;
	}
	return planner->pg->wal->chain(planner->inventory, &query, &planner->chain, err);
}

enum mb_code
mb_postgres_verify(struct mb_component *component, const struct mb_commit *commit,
				   struct mb_error *err)
{
	struct planner planner = {.pg = (struct mb_postgres *) component};
	enum mb_code code = chain_of(&planner, commit, true, err);

	if (code == MB_NOT_FOUND)
		code = err->code = MB_CORRUPT;
	if (code)
		mb_error_context(err, "backup %s cannot be restored to its own end", commit->id);
	planner.pg->wal->chain_release(&planner.chain);
	planner.pg->wal->inventory_free(planner.inventory);
	return code;
}

static void
add_gap(struct mb_window *window, int64_t from_us, int64_t to_us)
{
	char from[MB_TIME_TEXT], to[MB_TIME_TEXT];
	json_t *gap = json_array();

	if (!window->gaps)
		window->gaps = json_array();
	mb_time_format(from, from_us);
	mb_time_format(to, to_us);
	json_array_append_new(gap, json_string(from));
	json_array_append_new(gap, json_string(to));
	json_array_append_new(window->gaps, gap);
}

/* A backup's reach [cut, end] joins the window or opens a gap before it. */
static void
extend_window(struct mb_window *window, int64_t from_us, int64_t to_us)
{
	if (to_us < from_us)
		to_us = from_us;
	if (window->from_us == 0)
	{
		window->from_us = from_us;
		window->to_us = to_us;
		return;
	}
	if (from_us > window->to_us)
		add_gap(window, window->to_us, from_us);
	if (to_us > window->to_us)
		window->to_us = to_us;
}

enum mb_code
mb_postgres_window(struct mb_component *component, struct mb_window *window, struct mb_error *err)
{
	struct planner planner = {.pg = (struct mb_postgres *) component};
	struct mb_commit_names names = {0};
	enum mb_code code;
	size_t i;

	memset(window, 0, sizeof(*window));
	code = mb_commit_list(component->env->repo, component->name, &names, err);
	for (i = 0; !code && i < names.count; i++)
	{
		struct mb_commit commit = {0};
		struct mb_error why;

		code =
			mb_commit_head(component->env->repo, component->name, names.items[i].id, &commit, err);
		if (code)
			break;
		/* A backup whose WAL is damaged offers nothing; `verify` says so. */
		if (chain_of(&planner, &commit, false, &why) == MB_OK)
		{
			int64_t end_us = planner.chain.received_until_us;

			if (planner.chain.last_commit_us > end_us)
				end_us = planner.chain.last_commit_us;
			extend_window(window, mb_commit_cut_time(&commit), end_us);
			planner.pg->wal->chain_release(&planner.chain);
		}
		else if (why.code == MB_UNREACHABLE || why.code == MB_DENIED || why.code == MB_IO)
		{
			*err = why;
			code = why.code;
		}
		mb_commit_release(&commit);
	}
	mb_commit_names_release(&names);
	planner.pg->wal->inventory_free(planner.inventory);
	return code;
}

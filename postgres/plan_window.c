/* plan_window.c - see plan_private.h: how far the WAL carries each backup. */
#include "postgres/plan_private.h"

#include <string.h>

/* The chain from a commit on, as far as it goes (need_lsn 0) or to its own cut. */
static enum mb_code
chain_of(struct planner *planner, const struct mb_commit *commit, bool to_cut, struct mb_error *err)
{
	struct mb_wal_query query = {0};
	enum mb_code code;

	if (!mb_plan_read_base(commit, 0, &planner->base))
		return mb_fail(err, MB_CORRUPT, "backup %s does not say where it begins", commit->id);
	code = mb_plan_load_inventory(planner, planner->base.system_id, err);
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

/* As a restore to the mark would plan it: from this very backup. */
static enum mb_code
reach_cut(struct planner *planner, const struct mb_commit *commit, struct mb_error *err)
{
	struct mb_wal_query query;
	enum mb_code code;

	if (!mb_plan_read_base(commit, 0, &planner->base))
		return mb_fail(err, MB_CORRUPT, "backup %s does not say where it begins", commit->id);
	if (!mb_plan_is_before(&planner->base, &planner->restore->target, mb_plan_cut_lsn(planner)))
		return mb_fail(err, MB_CORRUPT, "the mark is before the end of backup %s", commit->id);
	code = mb_plan_load_inventory(planner, planner->base.system_id, err);
	if (!code)
		code = mb_plan_query(planner, &query, err);
	if (!code)
		code = planner->pg->wal->chain(planner->inventory, &query, &planner->chain, err);
	if (!code)
		planner->pg->wal->chain_release(&planner->chain);
	return code;
}

enum mb_code
mb_postgres_reach(struct mb_component *component, const struct mb_commit *commit,
				  struct mb_reach *reaches, size_t count, struct mb_error *err)
{
	struct planner planner = {.pg = (struct mb_postgres *) component};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < count; i++)
	{
		struct mb_restore restore = {.target = {.kind = MB_TARGET_MARK, .cut = reaches[i].cut}};

		planner.restore = &restore;
		if (!reach_cut(&planner, commit, &reaches[i].why))
			continue;
		mb_error_context(&reaches[i].why, "\"%s\" cannot be restored to this mark",
						 component->name);
		code = mb_reach_answer(&reaches[i], err);
	}
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

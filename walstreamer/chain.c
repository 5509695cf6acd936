/*
 * chain.c - the way from a base backup through the WAL: over pieces, branches and
 * timelines.  See inventory.h; chain_private.h names the files that help.
 *
 * A node of the way is a stretch of one branch.  From it one may go on
 *   - to a younger timeline whose history file says that it left this one inside the stretch
 *     (and whose recorded parent branch, or bytes up to the switch, agree);
 *   - to another branch of the same timeline that holds the same bytes around the
 *     stretch's end and goes further (two receivers at once, or own state lost).
 */
#include "walstreamer/chain_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PATHS 1000

/* Where a way may begin: in the branch that the backup names, or in another one. */
enum start
{
	START_NAMED,
	START_OTHER
};

/* The younger timeline is better, then what was received later, then what is longer. */
static bool
is_better(const struct search *search, const struct node *a, const struct node *b)
{
	int64_t a_us, b_us;

	if (a->branch->timeline != b->branch->timeline)
		return a->branch->timeline > b->branch->timeline;
	if (a->branch == b->branch)
		return a->to_lsn > b->to_lsn;
	a_us = mb_way_end_time(search, a);
	b_us = mb_way_end_time(search, b);
	return a_us != b_us ? a_us > b_us : a->to_lsn > b->to_lsn;
}

/* Is the path that stands in search->path an answer, and better than the best one? */
static enum mb_code
judge_path(struct search *search, struct mb_error *err)
{
	const struct mb_wal_query *query = search->query;
	const struct node *last = &search->path[search->depth - 1];
	const struct node *best = search->best_depth ? &search->best[search->best_depth - 1] : NULL;
	struct mb_wal_point point = {0};
	bool found = false;
	enum mb_code code;

	search->paths++;
	if (query->target_timeline && last->branch->timeline != query->target_timeline)
		return MB_OK;
	search->reached_timeline = true;
	if (last->to_lsn > search->furthest_lsn)
	{
		search->furthest_lsn = last->to_lsn;
		search->furthest_timeline = last->branch->timeline;
	}
	if (query->need_lsn && last->to_lsn < query->need_lsn)
		return MB_OK;
	if (best && !is_better(search, last, best))
		return MB_OK;
	if (query->point)
	{
		code = mb_way_find_point(search, search->path, search->depth, &found, &point, err);
		if (code)
			return code;
		if (!found)
		{
			search->point_missing = true;
			return MB_OK;
		}
	}
	memcpy(search->best, search->path, search->depth * sizeof(*search->path));
	search->best_depth = search->depth;
	search->best_point = point;
	search->best_has_point = found;
	return MB_OK;
}

/* All ways from the last node of search->path on, depth first. */
static enum mb_code
walk_ways(struct search *search, struct mb_error *err)
{
	struct node *node = &search->path[search->depth - 1];
	uint64_t whole_to = node->to_lsn;
	enum mb_code code = judge_path(search, err);
	size_t i;

	for (i = 0; !code && i < search->inventory->branch_count; i++)
	{
		struct mb_wal_branch *branch = &search->inventory->branches[i];
		uint64_t from_lsn = 0, to_lsn = 0;
		bool yes;

		if (search->depth == MAX_DEPTH || search->paths > MAX_PATHS)
			break;
		if (search->query->target_timeline && branch->timeline > search->query->target_timeline)
			continue;
		code = mb_way_continues(search, node, branch, &from_lsn, &to_lsn, &yes, err);
		if (code || !yes)
			continue;
		/* The segment of the switch comes from the younger one. */
		node->to_lsn = from_lsn > node->from_lsn ? from_lsn : node->from_lsn;
		search->path[search->depth++] = (struct node){branch, from_lsn, to_lsn};
		code = walk_ways(search, err);
		search->depth--;
		node->to_lsn = whole_to;
	}
	return code;
}

static void
add_link(struct mb_wal_chain *chain, const struct node *node)
{
	struct mb_wal_link *link;

	if (node->to_lsn <= node->from_lsn)
		return; /* its only segment comes from the younger timeline */
	chain->links = mb_realloc(chain->links, (chain->count + 1) * sizeof(*chain->links));
	link = &chain->links[chain->count++];
	memset(link, 0, sizeof(*link));
	link->timeline = node->branch->timeline;
	snprintf(link->branch, sizeof(link->branch), "%s", node->branch->branch);
	link->from_lsn = node->from_lsn;
	link->to_lsn = node->to_lsn;
	snprintf(link->history, sizeof(link->history), "%s", node->branch->history);
}

static enum mb_code
finish_chain(struct search *search, struct mb_wal_chain *chain, struct mb_error *err)
{
	struct mb_wal_chain made = {0};
	enum mb_code code = MB_OK;
	size_t i;

	snprintf(made.system_id, sizeof(made.system_id), "%s", search->inventory->system_id);
	made.segment_size = search->inventory->segment_size;
	for (i = 0; !code && i < search->best_depth; i++)
		code = mb_way_look_at_branch(search->inventory, search->best[i].branch, err);
	for (i = 0; !code && i < search->best_depth; i++)
		add_link(&made, &search->best[i]);
	if (search->broken_timeline > search->best[search->best_depth - 1].branch->timeline)
	{
		made.broken_timeline = search->broken_timeline;
		made.broken_parent = search->broken_parent;
		made.broken_lsn = search->broken_lsn;
		mb_wal_file_name(made.broken_file, made.broken_timeline, made.broken_lsn,
						 made.segment_size);
	}
	mb_way_note_hole(search, &made);
	made.end_lsn = search->best[search->best_depth - 1].to_lsn;
	made.has_point = search->best_has_point;
	made.point = search->best_point;
	if (!code)
		code = mb_way_gather_facts(search, &made, err);
	if (code)
		mb_wal_chain_release(&made);
	else
		*chain = made;
	return code;
}

/* Does a branch hold the WAL from which the base replays?  From its segment's first byte on. */
static bool
begins_here(const struct mb_wal_inventory *inventory, const struct mb_wal_query *query,
			struct mb_wal_branch *branch, struct node *node)
{
	uint64_t segment = query->start_lsn - query->start_lsn % inventory->segment_size;
	const struct mb_wal_span *span;

	if (branch->timeline != query->timeline)
		return false;
	span = mb_wal_branch_span(branch, segment);
	if (!span || span->to_lsn <= query->start_lsn)
		return false;
	*node = (struct node){branch, segment, span->to_lsn};
	return true;
}

/*
 * All ways that begin in the branch that the backup names, or in the first other one that can begin
 * them.  Where none is named, all branches are as good.
 */
static enum mb_code
walk_from(struct search *search, enum start start, bool *started, struct mb_error *err)
{
	const char *name = search->query->branch;
	bool is_named = name && *name;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < search->inventory->branch_count; i++)
	{
		struct mb_wal_branch *branch = &search->inventory->branches[i];

		if (is_named && (strcmp(branch->branch, name) == 0) != (start == START_NAMED))
			continue;
		if (!begins_here(search->inventory, search->query, branch, &search->path[0]))
			continue;
		*started = true;
		search->depth = 1;
		code = walk_ways(search, err);
	}
	return code;
}

static enum mb_code
explain(const struct search *search, bool started, struct mb_error *err)
{
	const struct mb_wal_query *query = search->query;
	uint32_t timeline = started ? search->furthest_timeline : query->timeline;
	uint64_t from_lsn = started ? search->furthest_lsn : query->start_lsn;

	return mb_way_explain(search, started,
						  mb_way_next_beginning(search->inventory, timeline, from_lsn,
												query->need_lsn),
						  err);
}

enum mb_code
mb_wal_chain_find(struct mb_wal_inventory *inventory, const struct mb_wal_query *query,
				  struct mb_wal_chain *chain, struct mb_error *err)
{
	struct search *search = mb_calloc(1, sizeof(*search));
	bool started = false;
	enum mb_code code;

	search->inventory = inventory;
	search->query = query;
	code = walk_from(search, START_NAMED, &started, err);
	/* When the named one exists, no other history may stand in for it. */
	if (!code && !started)
		code = walk_from(search, START_OTHER, &started, err);
	if (!code && search->best_depth == 0)
		code = explain(search, started, err);
	if (!code)
		code = finish_chain(search, chain, err);
	free(search);
	return code;
}

void
mb_wal_chain_release(struct mb_wal_chain *chain)
{
	free(chain->links);
	memset(chain, 0, sizeof(*chain));
}

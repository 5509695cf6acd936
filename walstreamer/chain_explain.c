/* chain_explain.c - see chain_private.h: why no way was found, and what is missing behind one. */
#include "walstreamer/chain_private.h"

#include <stdio.h>
#include <string.h>

/* A hole is also told by the names of its segments. */
static void
name_hole(char out[64], const struct mb_wal_inventory *inventory, uint64_t from_lsn,
		  uint64_t to_lsn, uint32_t timeline)
{
	char first[MB_WAL_FILE_TEXT], last[MB_WAL_FILE_TEXT];

	mb_wal_file_name(first, timeline, from_lsn, inventory->segment_size);
	mb_wal_file_name(last, timeline, to_lsn > from_lsn ? to_lsn - 1 : to_lsn,
					 inventory->segment_size);
	if (strcmp(first, last) == 0)
		snprintf(out, 64, "segment %s", first);
	else
		snprintf(out, 64, "segments %s to %s", first, last);
}

static enum mb_code
fail_hole(const struct search *search, uint64_t from_lsn, uint64_t to_lsn, uint32_t timeline,
		  struct mb_error *err)
{
	char files[64];

	name_hole(files, search->inventory, from_lsn, to_lsn, timeline);
	mb_fail(err, MB_CORRUPT, "WAL is missing from " LSN_FMT " to " LSN_FMT " on timeline %u",
			LSN_ARGS(from_lsn), LSN_ARGS(to_lsn), timeline);
	return mb_error_detail(err, "That is in %s.", files);
}

/* The timeline that was asked for was not reached. */
static enum mb_code
fail_timeline(const struct search *search, struct mb_error *err)
{
	char files[64];

	if (search->broken_timeline)
	{
		mb_wal_file_name(files, search->broken_timeline, search->broken_lsn,
						 search->inventory->segment_size);
		mb_fail(err, MB_CORRUPT,
				"timeline %u left timeline %u at " LSN_FMT ", but its WAL there is missing: "
				"segment %s",
				search->broken_timeline, search->broken_parent, LSN_ARGS(search->broken_lsn),
				files);
		return mb_error_hint(err, "Choose a backup that is younger than that.");
	}
	if (search->short_timeline)
	{
		name_hole(files, search->inventory, search->short_lsn, search->short_switch,
				  search->short_parent);
		mb_fail(err, MB_CORRUPT,
				"WAL is missing from " LSN_FMT " to " LSN_FMT
				" on timeline %u, where timeline %u left it",
				LSN_ARGS(search->short_lsn), LSN_ARGS(search->short_switch), search->short_parent,
				search->short_timeline);
		mb_error_detail(err, "That is in %s.", files);
		return mb_error_hint(err, "Choose a backup that is younger than that.");
	}
	return mb_fail(err, MB_NOT_FOUND,
				   "timeline %u cannot be reached from " LSN_FMT " on timeline %u with the WAL "
				   "in the repository",
				   search->query->target_timeline, LSN_ARGS(search->query->start_lsn),
				   search->query->timeline);
}

enum mb_code
mb_way_explain(const struct search *search, bool started, uint64_t hole_lsn, struct mb_error *err)
{
	const struct mb_wal_query *query = search->query;

	if (!started && hole_lsn)
		return fail_hole(search, query->start_lsn, hole_lsn, query->timeline, err);
	if (!started)
		return mb_fail(err, MB_NOT_FOUND,
					   "there is no WAL from " LSN_FMT " on timeline %u on in the repository",
					   LSN_ARGS(query->start_lsn), query->timeline);
	if (!search->reached_timeline)
		return fail_timeline(search, err);
	if (search->point_missing)
		return mb_fail(err, MB_NOT_FOUND,
					   "restore point \"%s\" is not in the WAL from " LSN_FMT " to " LSN_FMT,
					   query->point, LSN_ARGS(query->start_lsn), LSN_ARGS(search->furthest_lsn));
	/* Is there more behind a hole? */
	if (hole_lsn)
		return fail_hole(search, search->furthest_lsn, hole_lsn, search->furthest_timeline, err);
	return mb_fail(err, MB_NOT_FOUND,
				   LSN_FMT " is after the end of the WAL in the repository, " LSN_FMT
						   " on timeline %u",
				   LSN_ARGS(query->need_lsn), LSN_ARGS(search->furthest_lsn),
				   search->furthest_timeline);
}

uint64_t
mb_way_next_beginning(const struct mb_wal_inventory *inventory, uint32_t timeline, uint64_t lsn,
					  uint64_t need_lsn)
{
	uint64_t next = 0;
	size_t i, s;

	for (i = 0; i < inventory->branch_count; i++)
		for (s = 0; s < inventory->branches[i].span_count; s++)
		{
			const struct mb_wal_span *span = &inventory->branches[i].spans[s];

			if (inventory->branches[i].timeline == timeline && span->from_lsn > lsn &&
				span->to_lsn >= need_lsn && (next == 0 || span->from_lsn < next))
				next = span->from_lsn;
		}
	return next;
}

void
mb_way_note_hole(const struct search *search, struct mb_wal_chain *chain)
{
	const struct node *last = &search->best[search->best_depth - 1];
	const struct mb_wal_branch *branch = last->branch;
	size_t p;

	chain->hole_lsn = mb_way_next_beginning(search->inventory, branch->timeline, last->to_lsn, 0);
	for (p = 0; p < branch->piece_count; p++)
		if (branch->pieces[p].from_lsn > last->to_lsn)
			chain->hole_is_certain = true;
	if (chain->hole_lsn)
		name_hole(chain->hole_files, search->inventory, last->to_lsn, chain->hole_lsn,
				  branch->timeline);
}

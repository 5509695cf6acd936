/*
 * chain.c - the way from a base backup through the WAL: over pieces, branches and
 * timelines.  See inventory.h.
 *
 * A node of the way is a stretch of one branch.  From it one may go on
 *   - to a younger timeline whose history file says that it left this one inside the stretch
 *     (and whose recorded parent branch, or bytes up to the switch, agree);
 *   - to another branch of the same timeline that holds the same bytes around the
 *     stretch's end and goes further (two receivers at once, or own state lost).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "walstreamer/inventory.h"

#define MAX_DEPTH 64
#define MAX_PATHS 1000
/* Headers read when looking for the newest commit of an idle cluster. */
#define MAX_LOOK_BACK 4000

struct node
{
	struct mb_wal_branch *branch;
	uint64_t from_lsn;
	uint64_t to_lsn;
};

struct search
{
	struct mb_wal_inventory *inventory;
	const struct mb_wal_query *query;
	struct node path[MAX_DEPTH];
	size_t depth;
	size_t paths;
	struct node best[MAX_DEPTH];
	size_t best_depth; /* 0: none */
	struct mb_wal_point best_point;
	bool best_has_point;
	uint64_t furthest_lsn; /* the end of the longest way that was too short */
	uint32_t furthest_timeline;
	bool reached_timeline;
	bool point_missing;
	/* The stretch that leads furthest, of a timeline that a younger one left still later; 0: none. */
	uint32_t short_timeline;
	uint32_t short_parent;
	uint64_t short_lsn;
	uint64_t short_switch;
	uint32_t broken_timeline; /* the youngest that could not be followed for want of its WAL */
	uint32_t broken_parent;
	uint64_t broken_lsn;
};

static struct mb_wal_where
where_of(const struct mb_wal_inventory *inventory, const struct mb_wal_branch *branch)
{
	struct mb_wal_where where = {inventory->component, inventory->system_id, branch->timeline,
								 branch->branch, inventory->segment_size};

	return where;
}

static enum mb_code
piece_header(const struct mb_wal_inventory *inventory, const struct mb_wal_branch *branch,
			 const struct mb_wal_span *piece, json_t **header, struct mb_error *err)
{
	struct mb_wal_where where = where_of(inventory, branch);
	char name[MB_NAME_MAX];

	mb_wal_piece_name(name, &where, piece->from_lsn, piece->to_lsn);
	return mb_wal_piece_header(inventory->repo, name, header, err);
}

/* Learn from its first piece where a branch came from. */
static enum mb_code
look_at_branch(struct mb_wal_inventory *inventory, struct mb_wal_branch *branch,
			   struct mb_error *err)
{
	struct mb_buf content = {0};
	json_t *header;
	enum mb_code code;

	if (branch->looked || branch->timeline == 1 || branch->piece_count == 0)
		return MB_OK;
	/* The last piece: tail pieces may be removed meanwhile, and all say the same. */
	code = piece_header(inventory, branch, &branch->pieces[0], &header, err);
	if (code == MB_NOT_FOUND)
		code =
			piece_header(inventory, branch, &branch->pieces[branch->piece_count - 1], &header, err);
	if (code)
		return code;
	snprintf(branch->history, sizeof(branch->history), "%s", mb_json_str(header, "history", ""));
	snprintf(branch->parent_branch, sizeof(branch->parent_branch), "%s",
			 mb_json_str(header, "parent_branch", ""));
	json_decref(header);
	if (branch->history[0])
	{
		code = mb_blob_get(inventory->repo, MB_ROLE_STREAM, branch->history, MB_WAL_HISTORY_MAX,
						   &content, err);
		if (!code)
			code = mb_wal_history_parent(content.data, content.len, branch->timeline,
										 &branch->parent, &branch->switch_lsn, err);
	}
	mb_buf_release(&content);
	if (!code)
		branch->looked = true;
	return code;
}

/* Do two branches hold the same bytes in [from, to) of one segment? */
static enum mb_code
same_bytes(const struct mb_wal_inventory *inventory, const struct mb_wal_branch *a,
		   const struct mb_wal_branch *b, uint64_t from_lsn, uint64_t to_lsn, bool *same,
		   struct mb_error *err)
{
	struct mb_wal_where where_a = where_of(inventory, a), where_b = where_of(inventory, b);
	uint32_t unit = mb_wal_unit_bytes(inventory->segment_size);
	unsigned char *bytes_a, *bytes_b;
	enum mb_code code;

	*same = true;
	if (from_lsn >= to_lsn)
		return MB_OK;
	/* At most the last unit, from a page on: headers are found by their place below. */
	if (to_lsn - from_lsn > unit)
		from_lsn = (to_lsn - unit + MB_WAL_PAGE_BYTES - 1) / MB_WAL_PAGE_BYTES * MB_WAL_PAGE_BYTES;
	bytes_a = mb_malloc((size_t) (to_lsn - from_lsn));
	bytes_b = mb_malloc((size_t) (to_lsn - from_lsn));
	code = mb_wal_assemble(inventory->repo, &where_a, from_lsn, to_lsn, bytes_a, err);
	if (!code)
		code = mb_wal_assemble(inventory->repo, &where_b, from_lsn, to_lsn, bytes_b, err);
	if (!code)
		*same = a->timeline == b->timeline
					? memcmp(bytes_a, bytes_b, (size_t) (to_lsn - from_lsn)) == 0
					: true;
	if (!code && a->timeline != b->timeline)
	{
		/* A new timeline's first segment is a copy, but Postgres writes its own page headers. */
		size_t len = (size_t) (to_lsn - from_lsn), page;

		for (page = 0; *same && page < len; page += MB_WAL_PAGE_BYTES)
		{
			size_t at = page + 24;
			size_t end = page + MB_WAL_PAGE_BYTES < len ? page + MB_WAL_PAGE_BYTES : len;

			if (at < end && memcmp(bytes_a + at, bytes_b + at, end - at) != 0)
				*same = false;
		}
	}
	free(bytes_a);
	free(bytes_b);
	return code;
}

/* Bytes that a stretch and a branch both hold right before `at`, at most a unit, and equal? */
static enum mb_code
agree_before(const struct mb_wal_inventory *inventory, const struct node *node,
			 const struct mb_wal_branch *branch, uint64_t at, bool *yes, struct mb_error *err)
{
	const struct mb_wal_span *span = mb_wal_branch_span(branch, at);
	uint64_t from_lsn;

	*yes = false;
	if (!span || span->from_lsn >= at || at == 0)
		return MB_OK;
	from_lsn = (at - 1) - (at - 1) % inventory->segment_size;
	if (from_lsn < node->from_lsn)
		from_lsn = node->from_lsn;
	if (from_lsn < span->from_lsn)
		from_lsn = span->from_lsn;
	if (from_lsn >= at)
		return MB_OK;
	return same_bytes(inventory, node->branch, branch, from_lsn, at, yes, err);
}

/*
 * Did the younger timeline's branch leave this stretch at `at`?  It names the branch that its
 * receiver came along.  Another name is not another history: a stream that connects while a
 * restored server is still in recovery begins a branch of its own with the same bytes.  Then,
 * and when no name is there, the bytes before the switch decide.
 */
static enum mb_code
left_here(const struct mb_wal_inventory *inventory, const struct node *node,
		  const struct mb_wal_branch *branch, uint64_t at, bool *yes, struct mb_error *err)
{
	uint64_t segment = at - at % inventory->segment_size;
	size_t i;

	*yes = strcmp(branch->parent_branch, node->branch->branch) == 0;
	if (*yes)
		return MB_OK;
	for (i = 0; branch->parent_branch[0] && i < inventory->branch_count; i++)
	{
		const struct mb_wal_branch *named = &inventory->branches[i];

		if (named->timeline == branch->parent && strcmp(named->branch, branch->parent_branch) == 0)
			return agree_before(inventory, node, named, at, yes, err);
	}
	return same_bytes(inventory, node->branch, branch,
					  node->from_lsn > segment ? node->from_lsn : segment, at, yes, err);
}

/*
 * A younger timeline left this stretch, as far as one can tell without its first bytes: it names
 * this branch, or no branch, or one that held the same.
 */
static enum mb_code
note_broken(struct search *search, const struct node *node, const struct mb_wal_branch *branch,
			uint64_t at, struct mb_error *err)
{
	bool ours =
		!branch->parent_branch[0] || strcmp(branch->parent_branch, node->branch->branch) == 0;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && !ours && i < search->inventory->branch_count; i++)
	{
		const struct mb_wal_branch *named = &search->inventory->branches[i];

		if (named->timeline == branch->parent && strcmp(named->branch, branch->parent_branch) == 0)
			code = agree_before(search->inventory, node, named, at, &ours, err);
	}
	if (!code && ours && branch->timeline > search->broken_timeline)
	{
		search->broken_timeline = branch->timeline;
		search->broken_parent = node->branch->timeline;
		search->broken_lsn = at;
	}
	return code;
}

/* A younger timeline left this one behind the end of what is there of it. */
static void
note_short(struct search *search, const struct node *node, const struct mb_wal_branch *branch)
{
	if (node->to_lsn < search->short_lsn)
		return;
	search->short_lsn = node->to_lsn;
	search->short_parent = node->branch->timeline;
	search->short_timeline = branch->timeline;
	search->short_switch = branch->switch_lsn;
}

/* Can one go on from node to branch, and from where? */
static enum mb_code
continues(struct search *search, const struct node *node, struct mb_wal_branch *branch,
		  uint64_t *from_lsn, uint64_t *to_lsn, bool *yes, struct mb_error *err)
{
	struct mb_wal_inventory *inventory = search->inventory;
	bool same_timeline = branch->timeline == node->branch->timeline;
	const struct mb_wal_span *span;
	uint64_t at, inside;
	enum mb_code code;

	*yes = false;
	if (branch == node->branch || branch->timeline < node->branch->timeline)
		return MB_OK;
	if (same_timeline)
	{
		at = node->to_lsn;
		inside = at > node->from_lsn ? at - 1 : at;
	}
	else
	{
		code = look_at_branch(inventory, branch, err);
		if (code || branch->parent != node->branch->timeline)
			return code;
		at = inside = branch->switch_lsn;
		if (at > node->to_lsn)
			note_short(search, node, branch);
		if (at < node->from_lsn || at > node->to_lsn)
			return MB_OK;
	}
	*from_lsn = inside - inside % inventory->segment_size;
	span = mb_wal_branch_span(branch, *from_lsn);
	if (!same_timeline && (!span || span->to_lsn <= *from_lsn || span->to_lsn < at))
		return note_broken(search, node, branch, at, err);
	if (!span || span->to_lsn <= *from_lsn || span->to_lsn < at ||
		(same_timeline && span->to_lsn <= at))
		return MB_OK;
	*to_lsn = span->to_lsn;
	if (!same_timeline)
		return left_here(inventory, node, branch, at, yes, err);
	return same_bytes(inventory, node->branch, branch,
					  node->from_lsn > *from_lsn ? node->from_lsn : *from_lsn, at, yes, err);
}

static bool
take_point(const json_t *header, const char *name, struct mb_wal_point *out)
{
	const json_t *points = json_object_get(header, "restore_points");
	size_t i;

	for (i = 0; i < json_array_size(points); i++)
	{
		const json_t *point = json_array_get(points, i);

		if (name && strcmp(mb_json_str(point, "name", ""), name) != 0)
			continue;
		snprintf(out->name, sizeof(out->name), "%s", mb_json_str(point, "name", ""));
		if (!mb_lsn_parse(&out->lsn, mb_json_str(point, "lsn", "")))
			continue;
		out->time_us = mb_json_time(point, "time");
		return true;
	}
	return false;
}

/*
 * Look through a way's headers, newest first, for a restore point.  With need_lsn only at
 * the pieces where it must be.
 */
static enum mb_code
find_point(struct search *search, const struct node *path, size_t depth, bool *found,
		   struct mb_wal_point *point, struct mb_error *err)
{
	uint64_t near_lsn = search->query->need_lsn;
	size_t i, p;

	*found = false;
	for (i = depth; i-- > 0;)
		for (p = path[i].branch->piece_count; p-- > 0;)
		{
			const struct mb_wal_span *piece = &path[i].branch->pieces[p];
			json_t *header;
			enum mb_code code;

			if (piece->to_lsn <= path[i].from_lsn || piece->from_lsn >= path[i].to_lsn ||
				(near_lsn && (piece->from_lsn > near_lsn || piece->to_lsn + 8 < near_lsn)))
				continue;
			code = piece_header(search->inventory, path[i].branch, piece, &header, err);
			if (code == MB_NOT_FOUND)
				continue; /* a tail piece that has been removed */
			if (code)
				return code;
			*found = take_point(header, search->query->point, point);
			json_decref(header);
			if (*found)
				return MB_OK;
		}
	return MB_OK;
}

/* When the end of a stretch was received, by the server's clock. */
static int64_t
end_time(const struct search *search, const struct node *node)
{
	size_t p;

	for (p = node->branch->piece_count; p-- > 0;)
	{
		struct mb_error ignored;
		json_t *header;
		int64_t time_us;

		if (node->branch->pieces[p].from_lsn >= node->to_lsn ||
			piece_header(search->inventory, node->branch, &node->branch->pieces[p], &header,
						 &ignored))
			continue;
		time_us = mb_json_time(header, "server_time");
		json_decref(header);
		return time_us;
	}
	return 0;
}

/* The younger timeline is better, then what was received later, then what is longer. */
static bool
is_better(const struct search *search, const struct node *a, const struct node *b)
{
	int64_t a_us, b_us;

	if (a->branch->timeline != b->branch->timeline)
		return a->branch->timeline > b->branch->timeline;
	if (a->branch == b->branch)
		return a->to_lsn > b->to_lsn;
	a_us = end_time(search, a);
	b_us = end_time(search, b);
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
		code = find_point(search, search->path, search->depth, &found, &point, err);
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
		code = continues(search, node, branch, &from_lsn, &to_lsn, &yes, err);
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

/* Why nothing was found. */
static enum mb_code
explain(const struct search *search, bool started, uint64_t hole_lsn, struct mb_error *err)
{
	const struct mb_wal_query *query = search->query;

	if (!started && hole_lsn)
		return fail_hole(search, query->start_lsn, hole_lsn, query->timeline, err);
	if (!started)
		return mb_fail(err, MB_NOT_FOUND,
					   "there is no WAL from " LSN_FMT " on timeline %u on in the repository",
					   LSN_ARGS(query->start_lsn), query->timeline);
	if (!search->reached_timeline && search->broken_timeline)
	{
		char file[MB_WAL_FILE_TEXT];

		mb_wal_file_name(file, search->broken_timeline, search->broken_lsn,
						 search->inventory->segment_size);
		mb_fail(err, MB_CORRUPT,
				"timeline %u left timeline %u at " LSN_FMT ", but its WAL there is missing: "
				"segment %s",
				search->broken_timeline, search->broken_parent, LSN_ARGS(search->broken_lsn), file);
		return mb_error_hint(err, "Choose a backup that is younger than that.");
	}
	if (!search->reached_timeline && search->short_timeline)
	{
		char files[64];

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
	if (!search->reached_timeline)
		return mb_fail(err, MB_NOT_FOUND,
					   "timeline %u cannot be reached from " LSN_FMT " on timeline %u with the WAL "
					   "in the repository",
					   query->target_timeline, LSN_ARGS(query->start_lsn), query->timeline);
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

/* Where WAL goes on behind lsn on this timeline, before need_lsn; 0: nowhere. */
static uint64_t
next_beginning(const struct mb_wal_inventory *inventory, uint32_t timeline, uint64_t lsn,
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

/* -- facts about a chain ------------------------------------------------------------------- */

/* Newest times and the last record, from headers, newest piece first. */
static enum mb_code
gather_facts(struct search *search, struct mb_wal_chain *chain, struct mb_error *err)
{
	size_t i, p, looked = 0;

	for (i = search->best_depth; i-- > 0;)
	{
		const struct node *node = &search->best[i];

		for (p = node->branch->piece_count; p-- > 0;)
		{
			const struct mb_wal_span *piece = &node->branch->pieces[p];
			json_t *header;
			int64_t time_us;
			uint64_t lsn;
			size_t n;
			enum mb_code code;

			if (piece->to_lsn <= node->from_lsn || piece->from_lsn >= node->to_lsn)
				continue;
			if ((chain->last_commit_us && chain->last_record_lsn && chain->received_until_us &&
				 (!search->query->want_points || chain->nearest_count == 4)) ||
				++looked > MAX_LOOK_BACK)
				return MB_OK;
			code = piece_header(search->inventory, node->branch, piece, &header, err);
			if (code == MB_NOT_FOUND)
				continue;
			if (code)
				return code;
			time_us = mb_json_time(header, "last_commit_time");
			if (time_us > chain->last_commit_us)
				chain->last_commit_us = time_us;
			time_us = mb_json_time(header, "server_time");
			if (time_us > chain->received_until_us)
				chain->received_until_us = time_us;
			if (mb_lsn_parse(&lsn, mb_json_str(header, "last_record_lsn", "")) &&
				lsn > chain->last_record_lsn)
				chain->last_record_lsn = lsn;
			n = chain->nearest_count;
			if (n < 4 && take_point(header, NULL, &chain->nearest[n]))
				chain->nearest_count++;
			json_decref(header);
		}
	}
	return MB_OK;
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

/* What stands behind the end: of the same branch for certain, of another one perhaps. */
static void
note_hole(const struct search *search, struct mb_wal_chain *chain)
{
	const struct node *last = &search->best[search->best_depth - 1];
	const struct mb_wal_branch *branch = last->branch;
	size_t p;

	chain->hole_lsn = next_beginning(search->inventory, branch->timeline, last->to_lsn, 0);
	for (p = 0; p < branch->piece_count; p++)
		if (branch->pieces[p].from_lsn > last->to_lsn)
			chain->hole_is_certain = true;
	if (chain->hole_lsn)
		name_hole(chain->hole_files, search->inventory, last->to_lsn, chain->hole_lsn,
				  branch->timeline);
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
		code = look_at_branch(search->inventory, search->best[i].branch, err);
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
	note_hole(search, &made);
	made.end_lsn = search->best[search->best_depth - 1].to_lsn;
	made.has_point = search->best_has_point;
	made.point = search->best_point;
	if (!code)
		code = gather_facts(search, &made, err);
	if (code)
		mb_wal_chain_release(&made);
	else
		*chain = made;
	return code;
}

enum mb_code
mb_wal_chain_find(struct mb_wal_inventory *inventory, const struct mb_wal_query *query,
				  struct mb_wal_chain *chain, struct mb_error *err)
{
	struct search *search = mb_calloc(1, sizeof(*search));
	bool started = false;
	enum mb_code code = MB_OK;
	int pass;
	size_t i;

	search->inventory = inventory;
	search->query = query;
	/* First the branch that the backup names; another one only when that one does not do. */
	for (pass = 0; !code && pass < 2 && search->best_depth == 0; pass++)
		for (i = 0; !code && i < inventory->branch_count; i++)
		{
			struct mb_wal_branch *branch = &inventory->branches[i];
			uint64_t segment = query->start_lsn - query->start_lsn % inventory->segment_size;
			bool named = query->branch && *query->branch;
			const struct mb_wal_span *span;

			if (branch->timeline != query->timeline)
				continue;
			if (named && (strcmp(branch->branch, query->branch) == 0) != (pass == 0))
				continue;
			if (named && pass == 1 && started)
				continue; /* the named one exists: no other history may stand in for it */
			span = mb_wal_branch_span(branch, segment);
			if (!span || span->to_lsn <= query->start_lsn)
				continue;
			started = true;
			search->path[0] = (struct node){branch, segment, span->to_lsn};
			search->depth = 1;
			code = walk_ways(search, err);
		}
	if (!code && search->best_depth == 0)
		code =
			explain(search, started,
					next_beginning(inventory, started ? search->furthest_timeline : query->timeline,
								   started ? search->furthest_lsn : query->start_lsn,
								   query->need_lsn),
					err);
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

/* -- the time of an LSN ------------------------------------------------------------------------ */

/* Walk the unit that holds lsn up to it. */
static enum mb_code
walk_to(const struct mb_wal_inventory *inventory, const struct mb_wal_link *link, uint64_t lsn,
		int64_t *before_us, struct mb_error *err)
{
	struct mb_wal_where where = {inventory->component, inventory->system_id, link->timeline,
								 link->branch, inventory->segment_size};
	uint32_t unit = mb_wal_unit_bytes(inventory->segment_size);
	uint64_t from = lsn - lsn % unit;
	struct mb_wal_facts facts = {0};
	struct mb_wal_walk walk;
	unsigned char *bytes;
	enum mb_code code;

	if (from < link->from_lsn)
		from = link->from_lsn;
	if (lsn <= from)
		return MB_OK;
	bytes = mb_malloc((size_t) (lsn - from));
	code = mb_wal_assemble(inventory->repo, &where, from, lsn, bytes, err);
	if (!code)
	{
		mb_wal_walk_init(&walk, from, inventory->segment_size);
		mb_wal_walk_feed(&walk, bytes, (size_t) (lsn - from), &facts);
		*before_us = facts.newest_commit_us;
	}
	mb_wal_facts_release(&facts);
	free(bytes);
	return code;
}

enum mb_code
mb_wal_chain_time_at(struct mb_wal_inventory *inventory, const struct mb_wal_chain *chain,
					 uint64_t lsn, int64_t *before_us, struct mb_error *err)
{
	size_t i, b, p, looked = 0;
	enum mb_code code;

	*before_us = 0;
	for (i = chain->count; i-- > 0;)
	{
		const struct mb_wal_link *link = &chain->links[i];

		if (link->from_lsn > lsn)
			continue;
		if (lsn <= link->to_lsn)
		{
			code = walk_to(inventory, link, lsn, before_us, err);
			if (code || *before_us)
				return code;
		}
		for (b = 0; b < inventory->branch_count; b++)
		{
			const struct mb_wal_branch *branch = &inventory->branches[b];

			if (branch->timeline != link->timeline || strcmp(branch->branch, link->branch) != 0)
				continue;
			for (p = branch->piece_count; p-- > 0 && looked < MAX_LOOK_BACK;)
			{
				json_t *header;

				if (branch->pieces[p].to_lsn > lsn || branch->pieces[p].to_lsn <= link->from_lsn)
					continue;
				looked++;
				code = piece_header(inventory, branch, &branch->pieces[p], &header, err);
				if (code == MB_NOT_FOUND)
					continue;
				if (code)
					return code;
				*before_us = mb_json_time(header, "last_commit_time");
				json_decref(header);
				if (*before_us)
					return MB_OK;
			}
		}
	}
	return MB_OK;
}

/* -- the plan ------------------------------------------------------------------------------------ */

json_t *
mb_wal_chain_plan(struct mb_wal_inventory *inventory, const struct mb_wal_chain *chain,
				  const struct mb_env *env, const char *component, const char *restore_id)
{
	json_t *plan = json_object();
	json_t *links = json_array();
	json_t *histories = json_object();
	size_t i;

	mb_json_set_int(plan, "version", 1);
	mb_json_set_str(plan, "restore", restore_id);
	mb_json_set_str(plan, "repository", env->repo->id_text);
	mb_json_set_str(plan, "component", component);
	mb_json_set_str(plan, "system_id", chain->system_id);
	mb_json_set_int(plan, "segment_size", chain->segment_size);
	mb_json_set_lsn(plan, "end", chain->end_lsn);
	/*
	 * Later timelines are named too, as known: at the end of recovery Postgres asks for their
	 * history files only to choose a number that nobody has used.
	 */
	for (i = 0; i < inventory->history_count; i++)
	{
		char key[32];

		snprintf(key, sizeof(key), "%08X", inventory->histories[i].timeline);
		mb_json_set_str(histories, key, inventory->histories[i].name);
	}
	for (i = 0; i < chain->count; i++)
	{
		const struct mb_wal_link *link = &chain->links[i];
		json_t *json = json_object();
		char key[32];

		mb_json_set_int(json, "timeline", link->timeline);
		mb_json_set_str(json, "branch", link->branch);
		mb_json_set_lsn(json, "from", link->from_lsn);
		mb_json_set_lsn(json, "to", link->to_lsn);
		json_array_append_new(links, json);
		snprintf(key, sizeof(key), "%08X", link->timeline);
		if (link->history[0])
			mb_json_set_str(histories, key, link->history);
	}
	json_object_set_new(plan, "links", links);
	json_object_set_new(plan, "histories", histories);
	return plan;
}

/*
 * chain_match.c - see chain_private.h: can one go on from a stretch to another branch?
 */
#include "walstreamer/chain_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mb_code
mb_way_look_at_branch(struct mb_wal_inventory *inventory, struct mb_wal_branch *branch,
					  struct mb_error *err)
{
	struct mb_buf content = {0};
	json_t *header;
	enum mb_code code;

	if (branch->looked || branch->timeline == 1 || branch->piece_count == 0)
		return MB_OK;
	/* The last piece: tail pieces may be removed meanwhile, and all say the same. */
	code = mb_way_header(inventory, branch, &branch->pieces[0], &header, err);
	if (code == MB_NOT_FOUND)
		code = mb_way_header(inventory, branch, &branch->pieces[branch->piece_count - 1], &header,
							 err);
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
	struct mb_wal_where where_a = mb_way_where(inventory, a), where_b = mb_way_where(inventory, b);
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

enum mb_code
mb_way_continues(struct search *search, const struct node *node, struct mb_wal_branch *branch,
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
		code = mb_way_look_at_branch(inventory, branch, err);
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

/*
 * inventory.c - listing and coverage; the ways through it are in chain.c, waiting for more in cursor.c, the bytes in
 * assemble.c.
 */
#include "walstreamer/inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
compare_spans(const void *a, const void *b)
{
	const struct mb_wal_span *x = a, *y = b;

	if (x->from_lsn != y->from_lsn)
		return x->from_lsn < y->from_lsn ? -1 : 1;
	return x->to_lsn > y->to_lsn ? -1 : x->to_lsn < y->to_lsn;
}

/* Sort its pieces and join them to spans. */
static void
settle_branch(struct mb_wal_branch *branch)
{
	size_t i;

	if (branch->piece_count > 0)
		qsort(branch->pieces, branch->piece_count, sizeof(*branch->pieces), compare_spans);
	free(branch->spans);
	branch->spans = mb_calloc(branch->piece_count + 1, sizeof(*branch->spans));
	branch->span_count = 0;
	for (i = 0; i < branch->piece_count; i++)
	{
		const struct mb_wal_span *piece = &branch->pieces[i];
		struct mb_wal_span *last =
			branch->span_count > 0 ? &branch->spans[branch->span_count - 1] : NULL;

		if (!last || piece->from_lsn > last->to_lsn)
			branch->spans[branch->span_count++] = *piece;
		else if (piece->to_lsn > last->to_lsn)
			last->to_lsn = piece->to_lsn;
	}
}

const struct mb_wal_span *
mb_wal_branch_span(const struct mb_wal_branch *branch, uint64_t lsn)
{
	size_t i;

	for (i = branch->span_count; i-- > 0;)
		if (branch->spans[i].from_lsn <= lsn && lsn <= branch->spans[i].to_lsn)
			return &branch->spans[i];
	return NULL;
}

uint64_t
mb_wal_branch_end(const struct mb_wal_branch *branch)
{
	return branch->span_count > 0 ? branch->spans[branch->span_count - 1].to_lsn : 0;
}

static struct mb_wal_branch *
get_branch(struct mb_wal_inventory *inventory, uint32_t timeline, const char *name)
{
	struct mb_wal_branch *branch;
	size_t i;

	/* The listing is sorted: it is the last one or a new one. */
	for (i = inventory->branch_count; i-- > 0;)
		if (inventory->branches[i].timeline == timeline &&
			strcmp(inventory->branches[i].branch, name) == 0)
			return &inventory->branches[i];
	inventory->branches = mb_grow(inventory->branches, &inventory->branch_cap,
								  inventory->branch_count + 1, sizeof(*inventory->branches));
	branch = &inventory->branches[inventory->branch_count++];
	memset(branch, 0, sizeof(*branch));
	branch->timeline = timeline;
	snprintf(branch->branch, sizeof(branch->branch), "%s", name);
	return branch;
}

/* What a listing collects before the segment size is known. */
struct listing
{
	size_t skip; /* length of the system prefix */
	struct mb_wal_inventory *inventory;
	struct mb_wal_piece_parts *parts;
	size_t count;
	size_t cap;
	char *first; /* name of one piece */
};

static enum mb_code
take_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct listing *listing = ctx;
	struct mb_wal_inventory *inventory = listing->inventory;
	const char *rest = info->name + listing->skip;
	struct mb_wal_piece_parts parts;
	uint32_t timeline;

	(void) err;
	if (mb_wal_piece_parse(rest, &parts))
	{
		listing->parts = mb_grow(listing->parts, &listing->cap, listing->count + 1, sizeof(parts));
		listing->parts[listing->count++] = parts;
		if (!listing->first)
			listing->first = mb_strdup(info->name);
	}
	else if (mb_wal_history_blob_parse(rest, &timeline))
	{
		struct mb_wal_history *history;

		inventory->histories = mb_grow(inventory->histories, &inventory->history_cap,
									   inventory->history_count + 1, sizeof(*history));
		history = &inventory->histories[inventory->history_count++];
		history->timeline = timeline;
		history->name = mb_strdup(info->name);
	}
	return MB_OK;
}

/* The segment size is a property of the cluster; one header tells it. */
static enum mb_code
find_segment_size(struct mb_wal_inventory *inventory, const char *name, struct mb_error *err)
{
	json_t *header;
	enum mb_code code = mb_wal_piece_header(inventory->repo, name, &header, err);

	if (code)
		return code;
	inventory->segment_size = (uint32_t) mb_json_int(header, "segment_size", 0);
	json_decref(header);
	return MB_OK;
}

static void
add_pieces(struct mb_wal_inventory *inventory, const struct listing *listing)
{
	size_t i;

	for (i = 0; i < listing->count; i++)
	{
		const struct mb_wal_piece_parts *parts = &listing->parts[i];
		struct mb_wal_branch *branch;
		uint64_t lsn;

		if (!mb_wal_piece_lsn(parts, inventory->segment_size, &lsn))
			continue; /* not a name that we write */
		branch = get_branch(inventory, parts->timeline, parts->branch);
		branch->pieces = mb_grow(branch->pieces, &branch->piece_cap, branch->piece_count + 1,
								 sizeof(*branch->pieces));
		branch->pieces[branch->piece_count].from_lsn = lsn + parts->start;
		branch->pieces[branch->piece_count++].to_lsn = lsn + parts->end;
	}
	for (i = 0; i < inventory->branch_count; i++)
		settle_branch(&inventory->branches[i]);
}

/* List below prefix, which lies below the system's. */
static enum mb_code
load(struct mb_wal_inventory **inventory, const struct mb_repo *repo, const char *component,
	 const char *system_id, const char *prefix, uint32_t segment_size, struct mb_error *err)
{
	struct mb_wal_inventory *made = mb_calloc(1, sizeof(*made));
	struct listing listing = {.inventory = made};
	char system_prefix[MB_NAME_MAX];
	enum mb_code code;

	made->repo = repo;
	made->segment_size = segment_size;
	snprintf(made->component, sizeof(made->component), "%s", component);
	snprintf(made->system_id, sizeof(made->system_id), "%s", system_id);
	mb_wal_system_prefix(system_prefix, component, system_id);
	listing.skip = strlen(system_prefix);
	code = mb_store_list(repo->store, prefix ? prefix : system_prefix, take_name, &listing, err);
	if (!code && listing.count > 0 && segment_size == 0)
		code = find_segment_size(made, listing.first, err);
	if (!code && listing.count > 0)
		add_pieces(made, &listing);
	free(listing.parts);
	free(listing.first);
	if (code)
	{
		mb_wal_inventory_free(made);
		return mb_error_context(err, "could not list the WAL of \"%s\"", component);
	}
	*inventory = made;
	return MB_OK;
}

enum mb_code
mb_wal_inventory_load(struct mb_wal_inventory **inventory, const struct mb_repo *repo,
					  const char *component, const char *system_id, struct mb_error *err)
{
	return load(inventory, repo, component, system_id, NULL, 0, err);
}

enum mb_code
mb_wal_inventory_segment(struct mb_wal_inventory **inventory, const struct mb_repo *repo,
						 const struct mb_wal_where *where, uint64_t lsn, struct mb_error *err)
{
	char prefix[MB_NAME_MAX];

	mb_wal_segment_prefix(prefix, where, lsn);
	return load(inventory, repo, where->component, where->system_id, prefix, where->segment_size,
				err);
}

void
mb_wal_inventory_free(struct mb_wal_inventory *inventory)
{
	size_t i;

	if (!inventory)
		return;
	for (i = 0; i < inventory->branch_count; i++)
	{
		free(inventory->branches[i].pieces);
		free(inventory->branches[i].spans);
	}
	for (i = 0; i < inventory->history_count; i++)
		free(inventory->histories[i].name);
	free(inventory->branches);
	free(inventory->histories);
	free(inventory);
}

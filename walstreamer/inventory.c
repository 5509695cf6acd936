/* inventory.c - listing, coverage and assembly; the ways through it are in chain.c. */
#include "walstreamer/inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"

/*
 * How often a waiting cursor looks at everything again: for a branch that is new, and while there
 * is none that covers its beginning.  Then somebody waits for the first piece of a segment, and
 * where looking takes a millisecond it is worth a tenth of the time.
 */
#define RELIST_MS 5000
#define NEW_MS 500
#define NEW_SHARE 10
/* A cursor that is further behind lists the whole branch instead of segment by segment. */
#define STEP_SEGMENTS 8

static int
compare_spans(const void *a, const void *b)
{
	const struct mb_wal_span *x = a, *y = b;

	if (x->from_lsn != y->from_lsn)
		return x->from_lsn < y->from_lsn ? -1 : 1;
	return x->to_lsn > y->to_lsn ? -1 : x->to_lsn < y->to_lsn;
}

void
mb_wal_branch_settle(struct mb_wal_branch *branch)
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
		mb_wal_branch_settle(&inventory->branches[i]);
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

/* -- waiting for WAL ------------------------------------------------------------------------- */

/* Move the cursor along one branch of a listing. */
static bool
move_along(struct mb_wal_cursor *cursor, const struct mb_wal_inventory *inventory)
{
	uint64_t segment = cursor->from_lsn - cursor->from_lsn % cursor->segment_size;
	bool moved = false;
	size_t i;

	for (i = 0; i < inventory->branch_count; i++)
	{
		const struct mb_wal_branch *branch = &inventory->branches[i];
		uint64_t at = cursor->lsn > segment ? cursor->lsn : segment;
		const struct mb_wal_span *span;

		if (branch->timeline != cursor->timeline ||
			(cursor->branch[0] && strcmp(cursor->branch, branch->branch) != 0))
			continue;
		span = mb_wal_branch_span(branch, at);
		if (!span || span->to_lsn <= cursor->lsn || span->to_lsn <= segment)
			continue;
		cursor->lsn = span->to_lsn;
		moved = true;
		if (cursor->branch[0])
			break;
	}
	return moved;
}

static bool
is_refused(const struct mb_wal_cursor *cursor, const char *branch)
{
	size_t i;

	for (i = 0; i < cursor->refused_count; i++)
		if (strcmp(cursor->refused[i], branch) == 0)
			return true;
	return false;
}

/* Choose the branch that covers from the beginning and goes furthest. */
static void
choose_branch(struct mb_wal_cursor *cursor, const struct mb_wal_inventory *inventory)
{
	uint64_t segment = cursor->from_lsn - cursor->from_lsn % cursor->segment_size;
	uint64_t best = cursor->branch[0] ? cursor->lsn : 0;
	size_t i;

	for (i = 0; i < inventory->branch_count; i++)
	{
		const struct mb_wal_branch *branch = &inventory->branches[i];
		const struct mb_wal_span *span;

		if (branch->timeline != cursor->timeline || is_refused(cursor, branch->branch))
			continue;
		span = mb_wal_branch_span(branch, segment);
		if (!span || span->to_lsn <= cursor->from_lsn || span->to_lsn <= best)
			continue;
		best = cursor->lsn = span->to_lsn;
		snprintf(cursor->branch, sizeof(cursor->branch), "%s", branch->branch);
	}
}

/* The segment under the cursor, and the ones behind it as long as they are complete. */
static enum mb_code
step_segments(const struct mb_env *env, const char *component, struct mb_wal_cursor *cursor,
			  struct mb_error *err)
{
	struct mb_wal_where where = {component, cursor->system_id, cursor->timeline, cursor->branch,
								 cursor->segment_size};
	enum mb_code code = MB_OK;
	bool moved = true;
	int steps;

	for (steps = 0; !code && moved && steps < STEP_SEGMENTS; steps++)
	{
		struct mb_wal_inventory *inventory;
		char prefix[MB_NAME_MAX];

		mb_wal_segment_prefix(prefix, &where, cursor->lsn);
		code = load(&inventory, env->repo, component, cursor->system_id, prefix,
					cursor->segment_size, err);
		if (code)
			break;
		moved = move_along(cursor, inventory) && cursor->lsn % cursor->segment_size == 0;
		mb_wal_inventory_free(inventory);
	}
	return code;
}

/* Does this piece's header name the restore point? */
static enum mb_code
piece_has_point(const struct mb_repo *repo, const struct mb_wal_where *where,
				const struct mb_wal_span *piece, const char *point, bool *has, struct mb_error *err)
{
	char name[MB_NAME_MAX];
	json_t *header, *points;
	enum mb_code code;
	size_t i;

	mb_wal_piece_name(name, where, piece->from_lsn, piece->to_lsn);
	code = mb_wal_piece_header(repo, name, &header, err);
	if (code == MB_NOT_FOUND)
		return MB_OK; /* a tail piece, removed meanwhile */
	if (code)
		return code;
	points = json_object_get(header, "restore_points");
	for (i = 0; i < json_array_size(points); i++)
		*has |= strcmp(mb_json_str(json_array_get(points, i), "name", ""), point) == 0;
	json_decref(header);
	return MB_OK;
}

/*
 * The branch reaches the restore point's place: is it there?  If not it is another history
 * with the same numbers; begin again without it.
 */
static enum mb_code
check_point(const struct mb_env *env, const char *component, struct mb_wal_cursor *cursor,
			struct mb_error *err)
{
	struct mb_wal_where where = {component, cursor->system_id, cursor->timeline, cursor->branch,
								 cursor->segment_size};
	struct mb_wal_inventory *inventory;
	char prefix[MB_NAME_MAX];
	enum mb_code code;
	size_t i;

	mb_wal_segment_prefix(prefix, &where, cursor->point_lsn - 1);
	code = load(&inventory, env->repo, component, cursor->system_id, prefix, cursor->segment_size,
				err);
	if (code)
		return code;
	for (i = 0; !code && inventory->branch_count > 0 && !cursor->point_seen &&
				i < inventory->branches[0].piece_count;
		 i++)
	{
		const struct mb_wal_span *piece = &inventory->branches[0].pieces[i];

		if (piece->from_lsn < cursor->point_lsn && piece->to_lsn + 8 > cursor->point_lsn)
			code =
				piece_has_point(env->repo, &where, piece, cursor->point, &cursor->point_seen, err);
	}
	mb_wal_inventory_free(inventory);
	if (code || cursor->point_seen)
		return code;
	snprintf(cursor->refused[cursor->refused_count++ % 8], MB_WAL_BRANCH_TEXT, "%s",
			 cursor->branch);
	if (cursor->refused_count > 8)
		cursor->refused_count = 8;
	cursor->branch[0] = '\0';
	cursor->lsn = 0;
	cursor->listed_ms = 0;
	return MB_OK;
}

static enum mb_code advance_blindly(const struct mb_env *env, const char *component,
									struct mb_wal_cursor *cursor, struct mb_error *err);

enum mb_code
mb_wal_cursor_advance(const struct mb_env *env, const char *component, struct mb_wal_cursor *cursor,
					  struct mb_error *err)
{
	enum mb_code code = advance_blindly(env, component, cursor, err);

	if (!code && cursor->point && !cursor->point_seen && cursor->lsn >= cursor->point_lsn)
		code = check_point(env, component, cursor, err);
	return code;
}

/* Is it too early to look at everything again? */
static bool
is_listed(const struct mb_wal_cursor *cursor, int64_t now)
{
	int64_t wait_ms = RELIST_MS;

	if (!cursor->branch[0])
		wait_ms = cursor->listing_ms * NEW_SHARE < NEW_MS ? cursor->listing_ms * NEW_SHARE : NEW_MS;
	return cursor->listed_ms && now - cursor->listed_ms < wait_ms;
}

static enum mb_code
advance_blindly(const struct mb_env *env, const char *component, struct mb_wal_cursor *cursor,
				struct mb_error *err)
{
	struct mb_wal_inventory *inventory;
	int64_t now = mb_monotonic_ms();
	uint64_t before = cursor->lsn;
	enum mb_code code = MB_OK;

	if (cursor->branch[0])
		code = step_segments(env, component, cursor, err);
	if (code || cursor->lsn > before || is_listed(cursor, now))
		return code;
	code = mb_wal_inventory_load(&inventory, env->repo, component, cursor->system_id, err);
	if (code)
		return code;
	cursor->listed_ms = mb_monotonic_ms();
	cursor->listing_ms = cursor->listed_ms - now;
	if (inventory->segment_size != 0)
		choose_branch(cursor, inventory);
	mb_wal_inventory_free(inventory);
	return MB_OK;
}

/* -- bytes ----------------------------------------------------------------------------------- */

static enum mb_code
assemble_once(const struct mb_repo *repo, const struct mb_wal_where *where, uint64_t from_lsn,
			  uint64_t to_lsn, unsigned char *out, bool *vanished, struct mb_error *err)
{
	struct mb_wal_inventory *inventory;
	const struct mb_wal_branch *branch;
	struct mb_buf bytes = {0};
	char prefix[MB_NAME_MAX];
	uint64_t at = from_lsn;
	enum mb_code code;

	*vanished = false;
	mb_wal_segment_prefix(prefix, where, from_lsn);
	code = load(&inventory, repo, where->component, where->system_id, prefix, where->segment_size,
				err);
	if (code)
		return code;
	branch = inventory->branch_count > 0 ? &inventory->branches[0] : NULL;
	while (!code && at < to_lsn)
	{
		const struct mb_wal_span *best = NULL;
		char name[MB_NAME_MAX];
		size_t i, skip, take;

		for (i = 0; branch && i < branch->piece_count; i++)
			if (branch->pieces[i].from_lsn <= at && branch->pieces[i].to_lsn > at &&
				(!best || branch->pieces[i].to_lsn > best->to_lsn))
				best = &branch->pieces[i];
		if (!best)
		{
			char file[MB_WAL_FILE_TEXT];

			mb_wal_file_name(file, where->timeline, from_lsn, where->segment_size);
			code = mb_fail(err, MB_CORRUPT,
						   "WAL is missing at %X/%X (segment %s, branch %s) though it was there",
						   (unsigned) (at >> 32), (unsigned) at, file, where->branch);
			break;
		}
		mb_wal_piece_name(name, where, best->from_lsn, best->to_lsn);
		mb_buf_reset(&bytes);
		code = mb_wal_piece_get(repo, name, NULL, &bytes, err);
		*vanished = code == MB_NOT_FOUND;
		if (code)
			break;
		skip = (size_t) (at - best->from_lsn);
		take = bytes.len - skip;
		if (take > to_lsn - at)
			take = (size_t) (to_lsn - at);
		memcpy(out + (at - from_lsn), bytes.data + skip, take);
		at += take;
	}
	mb_buf_release(&bytes);
	mb_wal_inventory_free(inventory);
	return code;
}

enum mb_code
mb_wal_assemble(const struct mb_repo *repo, const struct mb_wal_where *where, uint64_t from_lsn,
				uint64_t to_lsn, unsigned char *out, struct mb_error *err)
{
	bool vanished;
	enum mb_code code = assemble_once(repo, where, from_lsn, to_lsn, out, &vanished, err);

	/* A tail piece may be removed, once the whole unit is there, between listing and get. */
	if (code == MB_NOT_FOUND && vanished)
		code = assemble_once(repo, where, from_lsn, to_lsn, out, &vanished, err);
	if (code == MB_NOT_FOUND)
	{
		err->code = MB_CORRUPT;
		code = MB_CORRUPT;
	}
	return code;
}

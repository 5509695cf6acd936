/* cursor.c - waiting for WAL: how far the repository holds it without a hole; see inventory.h. */
#include <stdio.h>
#include <string.h>

#include "core/base/time.h"
#include "walstreamer/inventory.h"

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

		code = mb_wal_inventory_segment(&inventory, env->repo, &where, cursor->lsn, err);
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
	enum mb_code code;
	size_t i;

	code = mb_wal_inventory_segment(&inventory, env->repo, &where, cursor->point_lsn - 1, err);
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

enum mb_code
mb_wal_cursor_advance(const struct mb_env *env, const char *component, struct mb_wal_cursor *cursor,
					  struct mb_error *err)
{
	enum mb_code code = advance_blindly(env, component, cursor, err);

	if (!code && cursor->point && !cursor->point_seen && cursor->lsn >= cursor->point_lsn)
		code = check_point(env, component, cursor, err);
	return code;
}

/*
 * page_plan.h - which pages of a range are referred to in the parent's packs, and which are
 * packed.
 *
 * Runs are counted: a map may have MB_MAP_MAX_RUNS, and a range in crumbs is slow to restore.
 * A range that would have more gets its shortest stretches packed again until it has half as
 * many, so that the same does not happen at every backup.
 */
#ifndef MB_ENGINE_PAGE_PLAN_H
#define MB_ENGINE_PAGE_PLAN_H

#include "core/engine/rehome.h"

/* A place in the parent's contents: walks its runs forwards only. */
struct mb_page_cursor
{
	const struct mb_runs *runs;
	size_t run;
	uint64_t start; /* of that run in the range */
};

/* Pages of the range that may be referred to. */
struct mb_page_plan
{
	const struct mb_page_map *old;
	size_t pages; /* of the new range, as far as they were added */
	bool *keep;
	size_t kept;
	struct mb_page_cursor cursor; /* of mb_page_plan_add */
};

static inline size_t
mb_page_bytes(uint64_t range_bytes, size_t page)
{
	uint64_t left = range_bytes - (uint64_t) page * MB_PAGE_BYTES;

	return left < MB_PAGE_BYTES ? (size_t) left : MB_PAGE_BYTES;
}

/* With plan->old set; room for max_pages.  Release with mb_page_plan_release. */
void mb_page_plan_begin(struct mb_page_plan *plan, size_t max_pages);
void mb_page_plan_release(struct mb_page_plan *plan);
/* The next page of the range: true when plan->old has it with the same hash and length. */
bool mb_page_plan_add(struct mb_page_plan *plan, uint64_t hash, size_t bytes,
					  struct mb_rehome *rehome);
/* See that the new map will not have too many runs; true when pages are no longer kept for it. */
bool mb_page_plan_limit(struct mb_page_plan *plan);
/* The end of the stretch of equal decisions that starts at page `from`. */
size_t mb_page_plan_stretch(const struct mb_page_plan *plan, size_t from);
/* Add the parent's runs of pages [from, to); the cursor starts at zero and goes forwards. */
void mb_page_plan_refer(const struct mb_page_plan *plan, struct mb_page_cursor *cursor, size_t from,
						size_t to, struct mb_runs *runs);

#endif

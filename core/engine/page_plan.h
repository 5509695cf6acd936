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
	size_t pages; /* of the new range */
	bool *keep;
	size_t kept;
};

static inline size_t
mb_page_bytes(uint64_t range_bytes, size_t page)
{
	uint64_t left = range_bytes - (uint64_t) page * MB_PAGE_BYTES;

	return left < MB_PAGE_BYTES ? (size_t) left : MB_PAGE_BYTES;
}

/* Refer to the pages that plan->old has with the same hash and length; free(plan->keep). */
void mb_page_plan_make(struct mb_page_plan *plan, const struct mb_page_map *map,
					   struct mb_rehome *rehome);
/* See that the new map will not have too many runs. */
void mb_page_plan_limit(struct mb_page_plan *plan);
/* The end of the stretch of equal decisions that starts at page `from`. */
size_t mb_page_plan_stretch(const struct mb_page_plan *plan, size_t from);
/* Add the parent's runs of pages [from, to); the cursor starts at zero and goes forwards. */
void mb_page_plan_refer(const struct mb_page_plan *plan, struct mb_page_cursor *cursor, size_t from,
						size_t to, struct mb_runs *runs);

#endif

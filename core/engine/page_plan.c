/* page_plan.c - see page_plan.h. */
#include "core/engine/page_plan.h"

#include <stdlib.h>
#include <string.h>

#define COMPACTED_RUNS (MB_MAP_MAX_RUNS / 2)

static void
move_to(struct mb_page_cursor *cursor, uint64_t offset)
{
	while (offset >= cursor->start + cursor->runs->items[cursor->run].length)
		cursor->start += cursor->runs->items[cursor->run++].length;
}

/* A page may begin in one run and end in the next. */
static bool
is_rehomed(struct mb_rehome *rehome, struct mb_page_cursor *cursor, size_t page, size_t bytes)
{
	const struct mb_run *first, *last;

	move_to(cursor, (uint64_t) page * MB_PAGE_BYTES);
	first = &cursor->runs->items[cursor->run];
	move_to(cursor, (uint64_t) page * MB_PAGE_BYTES + bytes - 1);
	last = &cursor->runs->items[cursor->run];
	return mb_rehome_takes(rehome, &first->pack, bytes) ||
		   (last != first && mb_rehome_takes(rehome, &last->pack, bytes));
}

void
mb_page_plan_begin(struct mb_page_plan *plan, size_t max_pages)
{
	plan->pages = plan->kept = 0;
	plan->keep = mb_calloc(max_pages + 1, sizeof(*plan->keep));
	plan->cursor = (struct mb_page_cursor){&plan->old->runs, 0, 0};
}

void
mb_page_plan_release(struct mb_page_plan *plan)
{
	free(plan->keep);
	memset(plan, 0, sizeof(*plan));
}

bool
mb_page_plan_add(struct mb_page_plan *plan, uint64_t hash, size_t bytes, struct mb_rehome *rehome)
{
	const struct mb_page_map *old = plan->old;
	size_t page = plan->pages++;
	bool keep =
		page < old->pages && hash == old->hashes[page] && bytes == mb_page_bytes(old->bytes, page);

	if (keep && rehome->avoid.count > 0)
		keep = !is_rehomed(rehome, &plan->cursor, page, bytes);
	plan->keep[page] = keep;
	plan->kept += keep;
	return keep;
}

size_t
mb_page_plan_stretch(const struct mb_page_plan *plan, size_t from)
{
	size_t to = from + 1;

	while (to < plan->pages && plan->keep[to] == plan->keep[from])
		to++;
	return to;
}

/*
 * What the map would have at most.  Packed stretches follow each other in the worker's
 * frames, so beyond one run for each there is one for every frame that they cross.
 */
static size_t
count_runs(const struct mb_page_plan *plan)
{
	struct mb_page_cursor cursor = {&plan->old->runs, 0, 0};
	uint64_t packed = 0;
	size_t count = 1, from, to;

	for (from = 0; from < plan->pages; from = to)
	{
		to = mb_page_plan_stretch(plan, from);
		if (plan->keep[from])
		{
			size_t first;

			move_to(&cursor, (uint64_t) from * MB_PAGE_BYTES);
			first = cursor.run;
			move_to(&cursor, (uint64_t) (to - 1) * MB_PAGE_BYTES +
								 mb_page_bytes(plan->old->bytes, to - 1) - 1);
			count += cursor.run - first + 1;
		}
		else
		{
			packed += (uint64_t) (to - from) * MB_PAGE_BYTES;
			count++;
		}
	}
	return count + (size_t) (packed / MB_FRAME_MAX_PLAIN) + 1;
}

/* Stop referring to stretches within one run that are shorter than min_pages. */
static void
drop_short(struct mb_page_plan *plan, size_t min_pages)
{
	struct mb_page_cursor cursor = {&plan->old->runs, 0, 0};
	size_t from = 0, to, run;

	while (from < plan->pages)
	{
		if (!plan->keep[from])
		{
			from++;
			continue;
		}
		move_to(&cursor, (uint64_t) from * MB_PAGE_BYTES);
		run = cursor.run;
		for (to = from + 1; to < plan->pages && plan->keep[to]; to++)
		{
			move_to(&cursor, (uint64_t) to * MB_PAGE_BYTES);
			if (cursor.run != run)
				break;
		}
		if (to - from < min_pages)
		{
			memset(plan->keep + from, 0, to - from);
			plan->kept -= to - from;
		}
		from = to;
	}
}

bool
mb_page_plan_limit(struct mb_page_plan *plan)
{
	size_t min_pages = 2, kept = plan->kept;

	if (count_runs(plan) <= MB_MAP_MAX_RUNS)
		return false;
	/* At the latest with everything dropped there are few enough. */
	for (; plan->kept > 0 && count_runs(plan) > COMPACTED_RUNS; min_pages *= 2)
		drop_short(plan, min_pages);
	return plan->kept < kept;
}

void
mb_page_plan_refer(const struct mb_page_plan *plan, struct mb_page_cursor *cursor, size_t from,
				   size_t to, struct mb_runs *runs)
{
	uint64_t at = (uint64_t) from * MB_PAGE_BYTES;
	uint64_t end = (uint64_t) (to - 1) * MB_PAGE_BYTES + mb_page_bytes(plan->old->bytes, to - 1);

	while (at < end)
	{
		struct mb_run run;
		uint64_t skip;

		move_to(cursor, at);
		run = cursor->runs->items[cursor->run];
		skip = at - cursor->start;
		run.offset += (uint32_t) skip;
		run.length -= (uint32_t) skip;
		if (run.length > end - at)
			run.length = (uint32_t) (end - at);
		mb_runs_add(runs, &run);
		at += run.length;
	}
}

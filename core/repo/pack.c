/* pack.c - see pack.h: names, runs and reference tables. */
#include "core/repo/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/repo/pack_private.h"

#define PACK_PREFIX "packs/"

void
mb_pack_name(char out[MB_PACK_NAME_TEXT], const struct mb_pack_id *id)
{
	char hex[2 * MB_PACK_ID_BYTES + 1];

	mb_hex(hex, id->bytes, MB_PACK_ID_BYTES);
	snprintf(out, MB_PACK_NAME_TEXT, PACK_PREFIX "%.2s/%s", hex, hex);
}

bool
mb_pack_name_parse(struct mb_pack_id *id, const char *name)
{
	char again[MB_PACK_NAME_TEXT];

	if (strlen(name) != strlen(PACK_PREFIX) + 3 + 2 * MB_PACK_ID_BYTES ||
		!mb_unhex(id->bytes, name + strlen(PACK_PREFIX) + 3, MB_PACK_ID_BYTES))
		return false;
	mb_pack_name(again, id);
	return strcmp(again, name) == 0;
}

bool
mb_run_is_valid(const struct mb_run *run)
{
	return run->length > 0 && run->frame < MB_PACK_MAX_FRAMES && run->offset < MB_FRAME_MAX_PLAIN &&
		   run->length <= MB_FRAME_MAX_PLAIN - run->offset;
}

void
mb_runs_add(struct mb_runs *runs, const struct mb_run *run)
{
	struct mb_run *last = runs->count ? &runs->items[runs->count - 1] : NULL;

	if (last && last->frame == run->frame &&
		memcmp(&last->pack, &run->pack, sizeof(last->pack)) == 0 &&
		(uint64_t) last->offset + last->length == run->offset &&
		(uint64_t) last->length + run->length <= MB_FRAME_MAX_PLAIN)
	{
		last->length += run->length;
		return;
	}
	runs->items = mb_grow(runs->items, &runs->cap, runs->count + 1, sizeof(runs->items[0]));
	runs->items[runs->count++] = *run;
}

void
mb_runs_release(struct mb_runs *runs)
{
	free(runs->items);
	memset(runs, 0, sizeof(*runs));
}

static uint64_t
saturating_add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void
mb_pack_refs_add(struct mb_pack_refs *refs, const struct mb_pack_id *pack, uint64_t bytes)
{
	struct mb_pack_ref *last = refs->count ? &refs->items[refs->count - 1] : NULL;

	if (last && memcmp(&last->pack, pack, sizeof(*pack)) == 0)
	{
		last->live_bytes = saturating_add(last->live_bytes, bytes);
		return;
	}
	/* Merge when the unsorted tail is as long as the sorted part: amortised O(log n). */
	if (refs->count - refs->sorted > refs->sorted + 1024)
		mb_pack_refs_settle(refs);
	refs->items = mb_grow(refs->items, &refs->cap, refs->count + 1, sizeof(refs->items[0]));
	refs->items[refs->count].pack = *pack;
	refs->items[refs->count++].live_bytes = bytes;
}

static int
compare_refs(const void *a, const void *b)
{
	return memcmp(&((const struct mb_pack_ref *) a)->pack, &((const struct mb_pack_ref *) b)->pack,
				  sizeof(struct mb_pack_id));
}

void
mb_pack_refs_settle(struct mb_pack_refs *refs)
{
	size_t kept = 0, i;

	if (refs->sorted == refs->count)
		return;
	qsort(refs->items, refs->count, sizeof(refs->items[0]), compare_refs);
	for (i = 1; i < refs->count; i++)
	{
		struct mb_pack_ref *last = &refs->items[kept];

		if (compare_refs(last, &refs->items[i]) == 0)
			last->live_bytes = saturating_add(last->live_bytes, refs->items[i].live_bytes);
		else
			refs->items[++kept] = refs->items[i];
	}
	refs->count = refs->sorted = kept + 1;
}

bool
mb_pack_refs_has(const struct mb_pack_refs *refs, const struct mb_pack_id *pack)
{
	struct mb_pack_ref wanted = {.pack = *pack};

	MB_ASSERT(refs->sorted == refs->count);
	return refs->count > 0 &&
		   bsearch(&wanted, refs->items, refs->count, sizeof(refs->items[0]), compare_refs) != NULL;
}

void
mb_pack_refs_release(struct mb_pack_refs *refs)
{
	free(refs->items);
	memset(refs, 0, sizeof(*refs));
}

void
mb_put_ref(struct mb_buf *out, const struct mb_pack_ref *ref)
{
	mb_buf_put(out, ref->pack.bytes, MB_PACK_ID_BYTES);
	mb_buf_put_u64(out, ref->live_bytes);
}

void
mb_get_ref(struct mb_rd *rd, struct mb_pack_ref *ref)
{
	const unsigned char *id = mb_rd_bytes(rd, MB_PACK_ID_BYTES);

	memset(ref, 0, sizeof(*ref));
	if (id)
		memcpy(ref->pack.bytes, id, MB_PACK_ID_BYTES);
	ref->live_bytes = mb_rd_u64(rd);
}

bool
mb_refs_are_sorted(const struct mb_pack_ref *refs, size_t count)
{
	size_t i;

	for (i = 1; i < count; i++)
		if (compare_refs(&refs[i - 1], &refs[i]) >= 0)
			return false;
	return true;
}

void
mb_put_run(struct mb_buf *out, const struct mb_run *run)
{
	mb_buf_put(out, run->pack.bytes, MB_PACK_ID_BYTES);
	mb_buf_put_u32(out, run->frame);
	mb_buf_put_u32(out, run->offset);
	mb_buf_put_u32(out, run->length);
}

void
mb_get_run(struct mb_rd *rd, struct mb_run *run)
{
	const unsigned char *id = mb_rd_bytes(rd, MB_PACK_ID_BYTES);

	memset(run, 0, sizeof(*run));
	if (id)
		memcpy(run->pack.bytes, id, MB_PACK_ID_BYTES);
	run->frame = mb_rd_u32(rd);
	run->offset = mb_rd_u32(rd);
	run->length = mb_rd_u32(rd);
}

/* Is `run` the whole (full) frame that follows the `more`-th frame behind `first`? */
static bool
continues(const struct mb_run *first, uint32_t more, const struct mb_run *run)
{
	return run->frame == first->frame + more + 1 && run->offset == 0 &&
		   run->length == MB_FRAME_MAX_PLAIN &&
		   memcmp(&run->pack, &first->pack, sizeof(run->pack)) == 0;
}

uint32_t
mb_put_spans(struct mb_buf *out, const struct mb_run *runs, size_t count)
{
	uint32_t spans = 0;
	size_t i = 0;

	while (i < count)
	{
		const struct mb_run *first = &runs[i++];
		uint32_t more = 0;

		for (; i < count && continues(first, more, &runs[i]); i++)
			more++;
		mb_put_run(out, first);
		mb_buf_put_u32(out, more);
		spans++;
	}
	return spans;
}

bool
mb_get_spans(struct mb_rd *rd, uint32_t spans, size_t max_runs, struct mb_runs *runs)
{
	uint32_t i, j;

	for (i = 0; i < spans; i++)
	{
		struct mb_run run;
		uint32_t more;

		mb_get_run(rd, &run);
		more = mb_rd_u32(rd);
		if (rd->bad || !mb_run_is_valid(&run) || more >= MB_PACK_MAX_FRAMES - run.frame ||
			runs->count >= max_runs || more > max_runs - runs->count - 1)
			return false;
		runs->items =
			mb_grow(runs->items, &runs->cap, runs->count + 1 + more, sizeof(runs->items[0]));
		for (j = 0; j <= more; j++)
		{
			runs->items[runs->count++] = run;
			run.frame++;
			run.offset = 0;
			run.length = MB_FRAME_MAX_PLAIN;
		}
	}
	return true;
}

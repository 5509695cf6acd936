/* rehome.c - see rehome.h. */
#include "core/engine/rehome.h"

#include <stdlib.h>

#define BUDGET_PART 8
/* A pack that is stored in N bytes has more than N plain ones, but hardly more than N times this. */
#define MAX_RATIO 16
#define MAX_INDEXES 1024

/* A pack of the parent that may be sparse. */
struct candidate
{
	const struct mb_pack_ref *ref;
	uint64_t stored_bytes;
};

static int
compare_fullness(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	double left = (double) x->ref->live_bytes * (double) y->stored_bytes;
	double right = (double) y->ref->live_bytes * (double) x->stored_bytes;

	return (left > right) - (left < right);
}

static enum mb_code
find_candidates(struct mb_rehome *rehome, const struct mb_repo *repo,
				const struct mb_commit *parent, struct candidate *candidates, size_t *count,
				struct mb_error *err)
{
	size_t i;

	*count = 0;
	for (i = 0; i < parent->refs.count; i++)
	{
		const struct mb_pack_ref *ref = &parent->refs.items[i];
		struct mb_blob_info info;
		char name[MB_PACK_NAME_TEXT];
		enum mb_code code;

		mb_pack_name(name, &ref->pack);
		code = mb_store_head(repo->store, name, &info, err);
		if (code == MB_NOT_FOUND)
		{
			mb_pack_refs_add(&rehome->missing, &ref->pack, ref->live_bytes);
			mb_pack_refs_add(&rehome->avoid, &ref->pack, ref->live_bytes);
			continue;
		}
		if (code)
			return code;
		if (ref->live_bytes / MAX_RATIO < info.bytes)
			candidates[(*count)++] = (struct candidate){ref, info.bytes};
	}
	return MB_OK;
}

/* Whether a pack is sparse its index knows; a damaged one is left to verify. */
static enum mb_code
judge(struct mb_rehome *rehome, struct mb_pack_reader *reader, const struct candidate *candidate,
	  struct mb_error *err)
{
	uint64_t plain_bytes;
	enum mb_code code =
		mb_pack_reader_plain_bytes(reader, &candidate->ref->pack, &plain_bytes, err);

	if (code)
		return code == MB_CORRUPT ? MB_OK : code;
	if (candidate->ref->live_bytes < plain_bytes / 2)
	{
		mb_pack_refs_add(&rehome->sparse, &candidate->ref->pack, candidate->ref->live_bytes);
		mb_pack_refs_add(&rehome->avoid, &candidate->ref->pack, candidate->ref->live_bytes);
	}
	return MB_OK;
}

enum mb_code
mb_rehome_plan(struct mb_rehome *rehome, const struct mb_repo *repo, const struct mb_commit *parent,
			   struct mb_error *err)
{
	struct candidate *candidates = mb_calloc(parent->refs.count + 1, sizeof(*candidates));
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	size_t count, i;
	enum mb_code code = find_candidates(rehome, repo, parent, candidates, &count, err);

	if (!code && count > 0)
		qsort(candidates, count, sizeof(*candidates), compare_fullness);
	for (i = 0; !code && i < count && i < MAX_INDEXES; i++)
		code = judge(rehome, reader, &candidates[i], err);
	mb_pack_refs_settle(&rehome->sparse);
	mb_pack_refs_settle(&rehome->missing);
	mb_pack_refs_settle(&rehome->avoid);
	atomic_store(&rehome->budget_bytes, (long long) (parent->bytes / BUDGET_PART));
	mb_pack_reader_free(reader);
	free(candidates);
	return code;
}

void
mb_rehome_release(struct mb_rehome *rehome)
{
	mb_pack_refs_release(&rehome->sparse);
	mb_pack_refs_release(&rehome->missing);
	mb_pack_refs_release(&rehome->avoid);
}

bool
mb_rehome_takes(struct mb_rehome *rehome, const struct mb_pack_id *pack, size_t bytes)
{
	if (rehome->avoid.count == 0)
		return false;
	if (mb_pack_refs_has(&rehome->missing, pack))
		return true;
	/* The last one may overdraw it a little. */
	return mb_pack_refs_has(&rehome->sparse, pack) && atomic_load(&rehome->budget_bytes) > 0 &&
		   atomic_fetch_sub(&rehome->budget_bytes, (long long) bytes) > 0;
}

bool
mb_rehome_wants(const struct mb_rehome *rehome, const struct mb_entry *entry)
{
	bool may = atomic_load(&rehome->budget_bytes) > 0;
	const struct mb_pack_refs *packs = may ? &rehome->avoid : &rehome->missing;
	size_t i, j;

	if (packs->count == 0)
		return false;
	for (i = 0; i < entry->run_count; i++)
		if (mb_pack_refs_has(packs, &entry->runs[i].pack))
			return true;
	for (i = 0; i < entry->map_count; i++)
	{
		const struct mb_map_ref *map = &entry->maps[i];

		if (!map->is_inline && mb_pack_refs_has(packs, &map->run.pack))
			return true;
		for (j = 0; j < map->ref_count; j++)
			if (mb_pack_refs_has(packs, &map->refs[j].pack))
				return true;
	}
	return false;
}

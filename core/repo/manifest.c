/* manifest.c - see manifest.h: blocks, order, and the runs of an entry. */
#include "core/repo/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "core/repo/manifest_private.h"

void
mb_blocks_release(struct mb_blocks *blocks)
{
	size_t i;

	for (i = 0; i < blocks->count; i++)
		free(blocks->items[i].first_path);
	free(blocks->items);
	memset(blocks, 0, sizeof(*blocks));
}

int
mb_entry_order(const char *path_a, size_t len_a, uint64_t version_a, const char *path_b,
			   size_t len_b, uint64_t version_b)
{
	int order = memcmp(path_a, path_b, len_a < len_b ? len_a : len_b);

	if (order)
		return order;
	if (len_a != len_b)
		return len_a < len_b ? -1 : 1;
	return version_a > version_b ? -1 : version_a < version_b;
}

void
mb_entry_add_refs(const struct mb_entry *entry, struct mb_pack_refs *refs)
{
	size_t i, j;

	for (i = 0; i < entry->run_count; i++)
		mb_pack_refs_add(refs, &entry->runs[i].pack, entry->runs[i].length);
	for (i = 0; i < entry->map_count; i++)
	{
		const struct mb_map_ref *map = &entry->maps[i];

		if (!map->is_inline)
			mb_pack_refs_add(refs, &map->run.pack, map->run.length);
		for (j = 0; j < map->ref_count; j++)
			mb_pack_refs_add(refs, &map->refs[j].pack, map->refs[j].live_bytes);
	}
}

enum mb_code
mb_block_parse(struct mb_block_view *view, const void *data, size_t len, struct mb_error *err)
{
	struct mb_rd rd = mb_rd_init(data, len);
	const unsigned char *magic = mb_rd_bytes(&rd, 4);
	struct mb_pack_id last;
	uint32_t i;

	memset(view, 0, sizeof(*view));
	view->entries = mb_rd_u32(&rd);
	view->ref_count = mb_rd_u32(&rd);
	if (rd.bad || memcmp(magic, MB_BLOCK_MAGIC, 4) != 0 ||
		view->ref_count > mb_rd_left(&rd) / MB_REF_BYTES)
		return mb_fail(err, MB_CORRUPT, "a manifest block is damaged: it has no valid header");
	view->refs = mb_rd_bytes(&rd, (size_t) view->ref_count * MB_REF_BYTES);
	for (i = 0; i < view->ref_count; i++)
	{
		const unsigned char *id = view->refs + (size_t) i * MB_REF_BYTES;

		if (i > 0 && memcmp(last.bytes, id, MB_PACK_ID_BYTES) >= 0)
			return mb_fail(err, MB_CORRUPT, "a manifest block is damaged: its table is not sorted");
		memcpy(last.bytes, id, MB_PACK_ID_BYTES);
	}
	view->records = rd.p;
	view->records_len = mb_rd_left(&rd);
	if (view->entries == 0 || view->entries > view->records_len / MB_RECORD_FIXED_BYTES)
		return mb_fail(err, MB_CORRUPT, "a manifest block is damaged: impossible entry count");
	return MB_OK;
}

static enum mb_code
does_not_add_up(const struct mb_entry *entry, struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "the contents of \"%.*s\" do not add up to its size",
				   (int) (entry->path_len < 512 ? entry->path_len : 512), entry->path);
}

enum mb_code
mb_entry_runs(const struct mb_entry *entry, struct mb_pack_reader *reader, struct mb_runs *runs,
			  struct mb_error *err)
{
	uint64_t sum = 0;
	size_t i, j;

	for (i = 0; i < entry->map_count; i++)
	{
		struct mb_page_map map = {0};
		enum mb_code code = mb_page_map_load(&map, &entry->maps[i], reader, err);

		if (code)
			return code;
		if (i + 1 < entry->map_count && map.bytes != MB_RANGE_BYTES)
		{
			mb_page_map_release(&map);
			return does_not_add_up(entry, err);
		}
		for (j = 0; j < map.runs.count; j++)
			mb_runs_add(runs, &map.runs.items[j]);
		sum += map.bytes;
		mb_page_map_release(&map);
	}
	for (i = 0; i < entry->run_count; i++)
	{
		mb_runs_add(runs, &entry->runs[i]);
		sum += entry->runs[i].length;
	}
	return sum == entry->size ? MB_OK : does_not_add_up(entry, err);
}

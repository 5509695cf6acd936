/* page_map.c - see manifest.h: the page hashes and runs of one 32 MiB range. */
#include <stdlib.h>
#include <string.h>

#include "core/repo/manifest_private.h"

static uint32_t
pages_of(uint64_t bytes)
{
	return (uint32_t) ((bytes + MB_PAGE_BYTES - 1) / MB_PAGE_BYTES);
}

void
mb_page_map_encode(struct mb_buf *out, const struct mb_page_map *map)
{
	size_t spans_at;
	uint32_t i;

	MB_ASSERT(map->bytes <= MB_RANGE_BYTES && map->pages == pages_of(map->bytes) &&
			  map->runs.count <= MB_MAP_MAX_RUNS);
	mb_buf_put(out, MB_MAP_MAGIC, 4);
	mb_buf_put_u32(out, (uint32_t) map->bytes);
	mb_buf_put_u32(out, map->crc32c);
	mb_buf_put_u32(out, map->pages);
	spans_at = out->len;
	mb_buf_put_u32(out, 0);
	for (i = 0; i < map->pages; i++)
		mb_buf_put_u64(out, map->hashes[i]);
	i = mb_put_spans(out, map->runs.items, map->runs.count);
	mb_set_u32(out->data + spans_at, i);
}

enum mb_code
mb_page_map_decode(struct mb_page_map *map, const void *data, size_t len, struct mb_error *err)
{
	struct mb_rd rd = mb_rd_init(data, len);
	const unsigned char *magic = mb_rd_bytes(&rd, 4);
	uint64_t sum = 0;
	uint32_t spans, i;
	bool ok;

	memset(map, 0, sizeof(*map));
	map->bytes = mb_rd_u32(&rd);
	map->crc32c = mb_rd_u32(&rd);
	map->pages = mb_rd_u32(&rd);
	spans = mb_rd_u32(&rd);
	ok = !rd.bad && memcmp(magic, MB_MAP_MAGIC, 4) == 0 && map->bytes <= MB_RANGE_BYTES &&
		 map->pages == pages_of(map->bytes) && spans <= MB_MAP_MAX_RUNS &&
		 mb_rd_left(&rd) == (size_t) map->pages * 8 + (size_t) spans * MB_SPAN_BYTES;
	if (ok)
	{
		map->hashes = mb_calloc(map->pages, sizeof(map->hashes[0]));
		for (i = 0; i < map->pages; i++)
			map->hashes[i] = mb_rd_u64(&rd);
		ok = mb_get_spans(&rd, spans, MB_MAP_MAX_RUNS, &map->runs);
		for (i = 0; i < map->runs.count; i++)
			sum += map->runs.items[i].length;
	}
	if (ok && !rd.bad && sum == map->bytes)
		return MB_OK;
	mb_page_map_release(map);
	return mb_fail(err, MB_CORRUPT, "a page map is damaged");
}

void
mb_page_map_release(struct mb_page_map *map)
{
	free(map->hashes);
	mb_runs_release(&map->runs);
	memset(map, 0, sizeof(*map));
}

enum mb_code
mb_page_map_load(struct mb_page_map *map, const struct mb_map_ref *ref,
				 struct mb_pack_reader *reader, struct mb_error *err)
{
	struct mb_buf bytes = {0};
	enum mb_code code;

	if (ref->is_inline)
		return mb_page_map_decode(map, ref->data, ref->data_len, err);
	memset(map, 0, sizeof(*map));
	code = mb_pack_reader_run(reader, &ref->run, &bytes, err);
	if (!code)
		code = mb_page_map_decode(map, bytes.data, bytes.len, err);
	mb_buf_release(&bytes);
	return code;
}

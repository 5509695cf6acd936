/*
 * capture_pages.c - see capture.h and capture_private.h: ranges with page maps, new or against a
 * parent's.
 *
 * Pages that the parent holds are referred to where they are, as runs into its packs.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/engine/capture_private.h"

/* -- the map ------------------------------------------------------------------------------------- */

uint64_t
mb_range_page_hash(const struct mb_range_work *work, const unsigned char *data, size_t len)
{
	return mb_xxh64_seed(data, len < MB_PAGE_BYTES ? len : MB_PAGE_BYTES,
						 work->capture->repo->page_seed);
}

void
mb_range_hash(struct mb_range_work *work, const unsigned char *data, size_t len)
{
	struct mb_page_map *map = &work->map;
	size_t at;

	for (at = 0; at < len; at += MB_PAGE_BYTES)
		map->hashes[map->pages++] = mb_range_page_hash(work, data + at, len - at);
	map->bytes += len;
}

void
mb_range_restart(struct mb_range_work *work, size_t len)
{
	mb_page_map_release(&work->map);
	work->map.crc32c = MB_CRC32C_INIT;
	work->map.hashes = mb_calloc(mb_pages_of(len), sizeof(*work->map.hashes));
}

/* Put the encoded map inline when it is small, else into a frame of its own. */
enum mb_code
mb_range_store(struct mb_range_work *work, struct mb_map_ref *ref, struct mb_error *err)
{
	const struct mb_page_map *map = &work->map;
	struct mb_buf encoded = {0};
	struct mb_pack_refs refs = {0};
	struct mb_map_ref made = {0};
	enum mb_code code = MB_OK;
	size_t i;

	mb_page_map_encode(&encoded, map);
	made.is_inline = map->pages <= MB_MAP_INLINE_PAGES;
	if (!made.is_inline)
		code = mb_packer_append_frame(work->capture->packers[work->worker], encoded.data,
									  encoded.len, &made.run, err);
	if (!code)
	{
		for (i = 0; i < map->runs.count; i++)
			mb_pack_refs_add(&refs, &map->runs.items[i].pack, map->runs.items[i].length);
		mb_pack_refs_settle(&refs);
		made.refs = refs.items;
		made.ref_count = (uint32_t) refs.count;
		if (made.is_inline)
		{
			made.data = encoded.data;
			made.data_len = (uint32_t) encoded.len;
			encoded.data = NULL;
		}
		*ref = made;
	}
	else
		mb_pack_refs_release(&refs);
	free(encoded.data);
	return code;
}

void
mb_map_ref_release(struct mb_map_ref *ref)
{
	free((void *) (uintptr_t) ref->data);
	free(ref->refs);
	memset(ref, 0, sizeof(*ref));
}

/* -- against a parent ---------------------------------------------------------------------------- */

struct mb_pack_reader *
mb_capture_reader(struct mb_capture *capture, unsigned worker)
{
	if (!capture->readers[worker])
		capture->readers[worker] = mb_pack_reader_new(capture->repo);
	return capture->readers[worker];
}

/* A damaged map of the parent must not stop a backup that can do without. */
static enum mb_code
load_parent(struct mb_range_work *work, struct mb_error *err)
{
	struct mb_error why;
	enum mb_code code;

	if (!work->parent)
		return MB_OK;
	code = mb_page_map_load(&work->old, work->parent,
							mb_capture_reader(work->capture, work->worker), &why);
	if (code == MB_CORRUPT)
	{
		mb_capture_warn(work->capture,
						"a page map of the parent backup cannot be used, its pages are stored "
						"again: %s",
						why.message);
		return MB_OK;
	}
	if (code)
		*err = why;
	return code;
}

enum mb_code
mb_range_begin(struct mb_range_work *work, size_t len, struct mb_error *err)
{
	enum mb_code code = load_parent(work, err);

	if (!code)
		mb_range_restart(work, len);
	return code;
}

void
mb_range_release(struct mb_range_work *work)
{
	mb_page_map_release(&work->old);
	mb_page_map_release(&work->map);
}

bool
mb_range_share(struct mb_range_work *work, const struct mb_page_plan *plan, struct mb_map_ref *ref)
{
	const struct mb_map_ref *parent = work->parent;

	if (work->map.bytes == 0 || plan->kept < work->map.pages ||
		work->map.bytes != work->old.bytes ||
		(!parent->is_inline && mb_pack_refs_has(&work->capture->rehome.avoid, &parent->run.pack)))
		return false;
	atomic_fetch_add(&work->capture->progress->done_bytes, work->map.bytes);
	*ref = *parent;
	ref->data = NULL;
	if (parent->is_inline)
	{
		unsigned char *data = mb_malloc(parent->data_len);

		memcpy(data, parent->data, parent->data_len);
		ref->data = data;
	}
	ref->refs = mb_calloc(parent->ref_count + 1, sizeof(*ref->refs));
	memcpy(ref->refs, parent->refs, parent->ref_count * sizeof(*ref->refs));
	return true;
}

enum mb_code
mb_range_pack(struct mb_range_work *work, const struct mb_page_plan *plan,
			  const unsigned char *data, enum mb_range_layout layout, struct mb_map_ref *ref,
			  struct mb_error *err)
{
	struct mb_page_cursor cursor = {&plan->old->runs, 0, 0};
	struct mb_page_map *map = &work->map;
	enum mb_code code = MB_OK;
	size_t from, to;

	for (from = 0; !code && from < plan->pages; from = to)
	{
		size_t bytes;

		to = mb_page_plan_stretch(plan, from);
		bytes = (to - 1 - from) * MB_PAGE_BYTES + mb_page_bytes(map->bytes, to - 1);
		if (plan->keep[from])
		{
			mb_page_plan_refer(plan, &cursor, from, to, &map->runs);
			atomic_fetch_add(&work->capture->progress->done_bytes, bytes);
		}
		else
			code = mb_capture_bytes(work->capture, work->worker, data, bytes, &map->runs, err);
		if (layout == MB_RANGE_WHOLE || !plan->keep[from])
			data += bytes;
	}
	return code ? code : mb_range_store(work, ref, err);
}

enum mb_code
mb_range_finish(struct mb_range_work *work, const unsigned char *data, struct mb_map_ref *ref,
				struct mb_error *err)
{
	struct mb_page_plan plan = {.old = &work->old};
	enum mb_code code = MB_OK;
	size_t i;

	mb_page_plan_begin(&plan, work->map.pages);
	for (i = 0; i < work->map.pages; i++)
		mb_page_plan_add(&plan, work->map.hashes[i], mb_page_bytes(work->map.bytes, i),
						 &work->capture->rehome);
	if (!mb_range_share(work, &plan, ref))
	{
		mb_page_plan_limit(&plan);
		code = mb_range_pack(work, &plan, data, MB_RANGE_WHOLE, ref, err);
	}
	mb_page_plan_release(&plan);
	return code;
}

enum mb_code
mb_capture_pages(struct mb_capture *capture, unsigned worker, const void *data, size_t len,
				 const struct mb_map_ref *parent, struct mb_map_ref *ref, uint32_t *crc32c,
				 struct mb_error *err)
{
	struct mb_range_work work = {.capture = capture, .worker = worker, .parent = parent};
	enum mb_code code;

	MB_ASSERT(worker < capture->workers && len <= MB_RANGE_BYTES);
	code = mb_range_begin(&work, len, err);
	if (code)
		return code;
	mb_range_hash(&work, data, len);
	work.map.crc32c = mb_crc32c(work.map.crc32c, data, len);
	code = mb_range_finish(&work, data, ref, err);
	if (!code)
		*crc32c = work.map.crc32c;
	mb_range_release(&work);
	return code;
}

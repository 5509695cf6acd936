/*
 * capture_pages.c - see capture.h: ranges with page maps, new or against a parent's.
 *
 * Pages that the parent holds are referred to where they are, as runs into its packs.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/capture_private.h"
#include "core/engine/page_plan.h"

#define READ_BYTES (1u << 20)

static size_t
pages_of(size_t bytes)
{
	return (bytes + MB_PAGE_BYTES - 1) / MB_PAGE_BYTES;
}

static uint64_t
page_hash(const struct mb_capture *capture, const unsigned char *data, size_t len)
{
	return mb_xxh64_seed(data, len < MB_PAGE_BYTES ? len : MB_PAGE_BYTES, capture->repo->page_seed);
}

static void
hash_pages(const struct mb_capture *capture, struct mb_page_map *map, const unsigned char *data,
		   size_t len)
{
	size_t at;

	for (at = 0; at < len; at += MB_PAGE_BYTES)
		map->hashes[map->pages++] = page_hash(capture, data + at, len - at);
	map->bytes += len;
}

/* Put the encoded map inline when it is small, else into a frame of its own. */
static enum mb_code
store_map(struct mb_capture *capture, unsigned worker, const struct mb_page_map *map,
		  struct mb_map_ref *ref, struct mb_error *err)
{
	struct mb_buf encoded = {0};
	struct mb_pack_refs refs = {0};
	struct mb_map_ref made = {0};
	enum mb_code code = MB_OK;
	size_t i;

	mb_page_map_encode(&encoded, map);
	made.is_inline = map->pages <= MB_MAP_INLINE_PAGES;
	if (!made.is_inline)
		code = mb_packer_append_frame(capture->packers[worker], encoded.data, encoded.len,
									  &made.run, err);
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

/* The parent's map as it is: nothing is written. */
static void
share_map(const struct mb_map_ref *parent, struct mb_map_ref *ref)
{
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
}

/* -- against a parent -------------------------------------------------------------------------- */

static enum mb_code
pack_by_plan(struct mb_capture *capture, unsigned worker, const struct mb_page_plan *plan,
			 const unsigned char *data, struct mb_page_map *map, struct mb_error *err)
{
	struct mb_page_cursor cursor = {&plan->old->runs, 0, 0};
	enum mb_code code = MB_OK;
	size_t from, to;

	for (from = 0; !code && from < plan->pages; from = to)
	{
		size_t at = from * MB_PAGE_BYTES, end;

		to = mb_page_plan_stretch(plan, from);
		end = (to - 1) * MB_PAGE_BYTES + mb_page_bytes(map->bytes, to - 1);
		if (plan->keep[from])
		{
			mb_page_plan_refer(plan, &cursor, from, to, &map->runs);
			atomic_fetch_add(&capture->progress->done_bytes, end - at);
		}
		else
			code = mb_capture_bytes(capture, worker, data + at, end - at, &map->runs, err);
	}
	return code;
}

struct mb_pack_reader *
mb_capture_reader(struct mb_capture *capture, unsigned worker)
{
	if (!capture->readers[worker])
		capture->readers[worker] = mb_pack_reader_new(capture->repo);
	return capture->readers[worker];
}

/* A damaged map of the parent must not stop a backup that can do without. */
static enum mb_code
load_parent(struct mb_capture *capture, unsigned worker, const struct mb_map_ref *parent,
			struct mb_page_map *old, struct mb_error *err)
{
	struct mb_error why;
	enum mb_code code;

	if (!parent)
		return MB_OK;
	code = mb_page_map_load(old, parent, mb_capture_reader(capture, worker), &why);
	if (code == MB_CORRUPT)
	{
		mb_capture_warn(capture,
						"a page map of the parent backup cannot be used, its pages are stored "
						"again: %s",
						why.message);
		return MB_OK;
	}
	if (code)
		*err = why;
	return code;
}

/* Share, refer to or pack a range whose pages are hashed in map. */
static enum mb_code
capture_hashed(struct mb_capture *capture, unsigned worker, const unsigned char *data,
			   struct mb_page_map *map, const struct mb_map_ref *parent,
			   const struct mb_page_map *old, struct mb_map_ref *ref, struct mb_error *err)
{
	struct mb_page_plan plan = {.old = old};
	enum mb_code code = MB_OK;

	mb_page_plan_make(&plan, map, &capture->rehome);
	if (map->bytes > 0 && plan.kept == map->pages && map->bytes == old->bytes &&
		(parent->is_inline || !mb_pack_refs_has(&capture->rehome.avoid, &parent->run.pack)))
	{
		atomic_fetch_add(&capture->progress->done_bytes, map->bytes);
		share_map(parent, ref);
	}
	else
	{
		mb_page_plan_limit(&plan);
		code = pack_by_plan(capture, worker, &plan, data, map, err);
		if (!code)
			code = store_map(capture, worker, map, ref, err);
	}
	free(plan.keep);
	return code;
}

enum mb_code
mb_capture_pages(struct mb_capture *capture, unsigned worker, const void *data, size_t len,
				 const struct mb_map_ref *parent, struct mb_map_ref *ref, uint32_t *crc32c,
				 struct mb_error *err)
{
	struct mb_page_map map = {.crc32c = MB_CRC32C_INIT}, old = {0};
	enum mb_code code;

	MB_ASSERT(worker < capture->workers && len <= MB_RANGE_BYTES);
	code = load_parent(capture, worker, parent, &old, err);
	if (code)
		return code;
	map.hashes = mb_calloc(pages_of(len), sizeof(*map.hashes));
	hash_pages(capture, &map, data, len);
	map.crc32c = mb_crc32c(map.crc32c, data, len);
	code = capture_hashed(capture, worker, data, &map, parent, &old, ref, err);
	if (!code)
		*crc32c = map.crc32c;
	mb_page_map_release(&old);
	mb_page_map_release(&map);
	return code;
}

/* -- from a file --------------------------------------------------------------------------------- */

/*
 * The worker's buffer for a range, made once: 32 MiB that are new each time cost as much
 * in page faults as reading and hashing them.
 */
static unsigned char *
range_buffer(struct mb_capture *capture, unsigned worker)
{
	if (!capture->ranges[worker])
		capture->ranges[worker] = mb_malloc(MB_RANGE_BYTES);
	return capture->ranges[worker];
}

/*
 * Let the filter see the pages of a piece that the parent does not hold with the same hash, and
 * hash them again; map->hashes has those of the piece from page `first` on.
 */
static enum mb_code
filter_new_pages(const struct mb_capture *capture, const struct mb_range_source *source,
				 const struct mb_page_map *old, struct mb_page_map *map, unsigned char *data,
				 size_t len, size_t first, struct mb_error *err)
{
	size_t count = pages_of(len), from, to, i;
	enum mb_code code = MB_OK;

#define IS_JUDGED(i) \
	(first + (i) < old->pages && old->hashes[first + (i)] == map->hashes[first + (i)])
	for (from = 0; !code && from < count; from = to + 1)
	{
		size_t at = from * MB_PAGE_BYTES, end;

		for (to = from; to < count && !IS_JUDGED(to);)
			to++;
		end = to * MB_PAGE_BYTES < len ? to * MB_PAGE_BYTES : len;
		if (to > from)
			code = source->filter(source->filter_ctx, source->fd, data + at, end - at,
								  source->offset + (int64_t) (first * MB_PAGE_BYTES + at), err);
		for (i = from; i < to; i++)
			map->hashes[first + i] =
				page_hash(capture, data + i * MB_PAGE_BYTES, len - i * MB_PAGE_BYTES);
	}
#undef IS_JUDGED
	return code;
}

/* The next piece of the range: filtered, hashed, added to the map. */
static enum mb_code
take_piece(const struct mb_capture *capture, const struct mb_range_source *source,
		   const struct mb_page_map *old, struct mb_page_map *map, unsigned char *data, size_t len,
		   struct mb_error *err)
{
	bool judged = (source->flags & MB_RANGE_JUDGED) != 0;
	size_t first = map->pages;
	enum mb_code code = MB_OK;

	if (source->filter && !judged)
		code = source->filter(source->filter_ctx, source->fd, data, len,
							  source->offset + (int64_t) map->bytes, err);
	hash_pages(capture, map, data, len);
	if (!code && source->filter && judged)
		code = filter_new_pages(capture, source, old, map, data, len, first, err);
	map->crc32c = mb_crc32c(map->crc32c, data, len);
	return code;
}

/*
 * Read, filter and hash one range piece by piece.  Against a parent the pieces are kept, because
 * runs are counted before anything is packed; else each is packed at once.
 */
static enum mb_code
read_range(struct mb_capture *capture, unsigned worker, const struct mb_range_source *source,
		   const struct mb_page_map *old, unsigned char *data, struct mb_page_map *map,
		   struct mb_error *err)
{
	unsigned char *buf = data ? data : mb_malloc(READ_BYTES);
	enum mb_code code = MB_OK;
	size_t done = 0, got = 0, want;

	map->hashes = mb_calloc(pages_of(source->len), sizeof(*map->hashes));
	for (; !code && done < source->len; done += got)
	{
		unsigned char *piece = data ? data + done : buf;
		int64_t offset = source->offset + (int64_t) done;

		want = source->len - done < READ_BYTES ? source->len - done : READ_BYTES;
		code = mb_cancel_check(capture->env->cancel, err);
		if (!code)
			code = mb_pread_full(source->fd, piece, want, offset, &got, source->path, err);
		if (code || got == 0)
			break;
		code = take_piece(capture, source, old, map, piece, got, err);
		if (!code && !data)
			code = mb_capture_bytes(capture, worker, piece, got, &map->runs, err);
		if (got < want)
			break;
	}
	if (!data)
		free(buf);
	return code;
}

enum mb_code
mb_capture_range(struct mb_capture *capture, unsigned worker, const struct mb_range_source *source,
				 const struct mb_map_ref *parent, struct mb_map_ref *ref, size_t *got,
				 uint32_t *crc32c, struct mb_error *err)
{
	struct mb_page_map map = {.crc32c = MB_CRC32C_INIT}, old = {0};
	unsigned char *data = NULL;
	enum mb_code code;

	MB_ASSERT(source->offset % MB_RANGE_BYTES == 0 && source->len <= MB_RANGE_BYTES);
	code = load_parent(capture, worker, parent, &old, err);
	if (code)
		return code;
	if (parent)
		data = range_buffer(capture, worker);
	code = read_range(capture, worker, source, &old, data, &map, err);
	if (!code && parent)
		code = capture_hashed(capture, worker, data, &map, parent, &old, ref, err);
	else if (!code)
		code = store_map(capture, worker, &map, ref, err);
	if (!code)
	{
		*got = map.bytes;
		*crc32c = map.crc32c;
	}
	mb_page_map_release(&old);
	mb_page_map_release(&map);
	return code;
}

void
mb_map_ref_release(struct mb_map_ref *ref)
{
	free((void *) (uintptr_t) ref->data);
	free(ref->refs);
	memset(ref, 0, sizeof(*ref));
}

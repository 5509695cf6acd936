/*
 * capture_range.c - see capture.h: a range of a file, read, judged, hashed and packed.
 *
 * Piece by piece through one small buffer, which stays in the processor's cache: hashing 32 MiB
 * behind reading them costs a third more, because each byte comes from memory twice.  So what is
 * to be packed is copied out of the piece, and nobody reads a page twice: what is packed is what
 * was judged and hashed.
 */
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/capture_private.h"

#define PIECE_BYTES (1u << 20)

struct reading
{
	struct mb_range_work work;
	const struct mb_range_source *source;
	const struct mb_page_map *judged; /* pages with these hashes need no filter; NULL: all do */
	unsigned char *piece;             /* PIECE_BYTES */
	unsigned char *range;             /* MB_RANGE_BYTES: what is packed behind the reading */
	size_t range_bytes;
	struct mb_page_plan plan;
};

/* What becomes of a piece that has been hashed. */
typedef enum mb_code (*piece_taker)(struct reading *reading, const unsigned char *data, size_t len,
									struct mb_error *err);

/*
 * The worker's buffers, made once: what is new each time costs as much in page faults as
 * reading and hashing it.
 */
static void
use_buffers(struct reading *reading)
{
	unsigned char **buffers = &reading->work.capture->ranges[reading->work.worker];

	if (!*buffers)
		*buffers = mb_malloc(PIECE_BYTES + MB_RANGE_BYTES);
	reading->piece = *buffers;
	reading->range = *buffers + PIECE_BYTES;
}

/* -- reading ------------------------------------------------------------------------------------- */

/*
 * Let the filter see the pages of a piece that have not been judged with the same hash, and
 * hash them again; map.hashes has those of the piece from page `first` on.
 */
static enum mb_code
filter_new_pages(struct reading *reading, unsigned char *data, size_t len, size_t first,
				 struct mb_error *err)
{
	const struct mb_range_source *source = reading->source;
	const struct mb_page_map *judged = reading->judged;
	uint64_t *hashes = reading->work.map.hashes;
	size_t count = mb_pages_of(len), from, to, i;
	enum mb_code code = MB_OK;

#define IS_JUDGED(i) \
	(first + (i) < judged->pages && judged->hashes[first + (i)] == hashes[first + (i)])
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
			hashes[first + i] = mb_range_page_hash(&reading->work, data + i * MB_PAGE_BYTES,
												   len - i * MB_PAGE_BYTES);
	}
#undef IS_JUDGED
	return code;
}

/* The next piece of the range: filtered, hashed, added to the map. */
static enum mb_code
judge_piece(struct reading *reading, unsigned char *data, size_t len, struct mb_error *err)
{
	const struct mb_range_source *source = reading->source;
	struct mb_page_map *map = &reading->work.map;
	size_t first = map->pages;
	enum mb_code code = MB_OK;

	if (source->filter && !reading->judged)
		code = source->filter(source->filter_ctx, source->fd, data, len,
							  source->offset + (int64_t) map->bytes, err);
	mb_range_hash(&reading->work, data, len);
	if (!code && source->filter && reading->judged)
		code = filter_new_pages(reading, data, len, first, err);
	map->crc32c = mb_crc32c(map->crc32c, data, len);
	return code;
}

static enum mb_code
read_pieces(struct reading *reading, piece_taker take, struct mb_error *err)
{
	const struct mb_range_source *source = reading->source;
	size_t done = 0, got = 0, want;
	enum mb_code code = MB_OK;

	for (; !code && done < source->len; done += got)
	{
		want = source->len - done < PIECE_BYTES ? source->len - done : PIECE_BYTES;
		code = mb_cancel_check(reading->work.capture->env->cancel, err);
		if (!code)
			code = mb_pread_full(source->fd, reading->piece, want, source->offset + (int64_t) done,
								 &got, source->path, err);
		if (code || got == 0)
			break;
		code = judge_piece(reading, reading->piece, got, err);
		if (!code)
			code = take(reading, reading->piece, got, err);
		if (got < want)
			break;
	}
	return code;
}

/* -- a new range: each piece is packed at once ------------------------------------------------- */

static enum mb_code
pack_piece(struct reading *reading, const unsigned char *data, size_t len, struct mb_error *err)
{
	struct mb_range_work *work = &reading->work;

	return mb_capture_bytes(work->capture, work->worker, data, len, &work->map.runs, err);
}

static enum mb_code
capture_new(struct reading *reading, struct mb_map_ref *ref, struct mb_error *err)
{
	enum mb_code code = read_pieces(reading, pack_piece, err);

	return code ? code : mb_range_store(&reading->work, ref, err);
}

/* -- against a parent: what is new is put aside, because runs are counted first ---------------- */

static enum mb_code
put_aside_new_pages(struct reading *reading, const unsigned char *data, size_t len,
					struct mb_error *err)
{
	struct mb_page_plan *plan = &reading->plan;
	size_t at, bytes;

	(void) err;
	for (at = 0; at < len; at += bytes)
	{
		bytes = len - at < MB_PAGE_BYTES ? len - at : MB_PAGE_BYTES;
		if (mb_page_plan_add(plan, reading->work.map.hashes[plan->pages], bytes,
							 &reading->work.capture->rehome))
			continue;
		memcpy(reading->range + reading->range_bytes, data + at, bytes);
		reading->range_bytes += bytes;
	}
	return MB_OK;
}

static enum mb_code
put_aside(struct reading *reading, const unsigned char *data, size_t len, struct mb_error *err)
{
	(void) err;
	memcpy(reading->range + reading->range_bytes, data, len);
	reading->range_bytes += len;
	return MB_OK;
}

/*
 * There would be too many runs, so pages are wanted that nobody kept: once more, as a whole.
 * Only what has changed since is judged again.
 */
static enum mb_code
capture_again(struct reading *reading, struct mb_map_ref *ref, struct mb_error *err)
{
	struct mb_page_map first = reading->work.map;
	enum mb_code code;

	memset(&reading->work.map, 0, sizeof(reading->work.map));
	mb_range_restart(&reading->work, reading->source->len);
	reading->judged = &first;
	reading->range_bytes = 0;
	code = read_pieces(reading, put_aside, err);
	if (!code)
		code = mb_range_finish(&reading->work, reading->range, ref, err);
	reading->judged = NULL;
	mb_page_map_release(&first);
	return code;
}

static enum mb_code
capture_changes(struct reading *reading, struct mb_map_ref *ref, struct mb_error *err)
{
	struct mb_page_plan *plan = &reading->plan;
	enum mb_code code;

	plan->old = &reading->work.old;
	mb_page_plan_begin(plan, mb_pages_of(reading->source->len));
	code = read_pieces(reading, put_aside_new_pages, err);
	if (!code && !mb_range_share(&reading->work, plan, ref))
		code = mb_page_plan_limit(plan)
				   ? capture_again(reading, ref, err)
				   : mb_range_pack(&reading->work, plan, reading->range, MB_RANGE_PACKED, ref, err);
	mb_page_plan_release(plan);
	return code;
}

enum mb_code
mb_capture_range(struct mb_capture *capture, unsigned worker, const struct mb_range_source *source,
				 const struct mb_map_ref *parent, struct mb_map_ref *ref, size_t *got,
				 uint32_t *crc32c, struct mb_error *err)
{
	struct reading reading = {.work = {.capture = capture, .worker = worker, .parent = parent},
							  .source = source};
	enum mb_code code;

	MB_ASSERT(source->offset % MB_RANGE_BYTES == 0 && source->len <= MB_RANGE_BYTES);
	code = mb_range_begin(&reading.work, source->len, err);
	if (code)
		return code;
	use_buffers(&reading);
	if (source->flags & MB_RANGE_JUDGED)
		reading.judged = &reading.work.old;
	code = reading.work.old.pages > 0 ? capture_changes(&reading, ref, err)
									  : capture_new(&reading, ref, err);
	if (!code)
	{
		*got = reading.work.map.bytes;
		*crc32c = reading.work.map.crc32c;
	}
	mb_range_release(&reading.work);
	return code;
}

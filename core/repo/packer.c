/* packer.c - see pack.h: data into frames, frames into packs. */
#include <stdlib.h>
#include <string.h>

#include "core/repo/pack_private.h"

#define PACK_MAX_PENDING 64
#define FRAME_MAX_BYTES (MB_FRAME_HEADER_BYTES + MB_FRAME_MAX_STORED)
/* A pack never grows beyond its target but for its index and tail. */
#define PACK_CAP_BYTES (MB_PACK_TARGET_BYTES + FRAME_MAX_BYTES + MB_PACK_TAIL_BYTES)

_Static_assert(MB_PACK_MAX_FRAMES *MB_INDEX_ENTRY_BYTES <= MB_FRAME_MAX_PLAIN,
			   "the index is one frame");

/*
 * Data is gathered in `frame` and becomes a frame when that is full.  Frames of their
 * own that come while it is half full wait in `pending`, numbered behind it, so that
 * small files do not end up in small frames.
 */
struct mb_packer
{
	const struct mb_repo *repo;
	struct mb_uploader *uploader;
	struct mb_blob_writer writer;
	struct mb_pack_id id;
	bool open;
	struct mb_buf index;
	unsigned char *frame; /* MB_FRAME_MAX_PLAIN */
	size_t frame_len;
	struct mb_buf pending;
	uint32_t pending_lens[PACK_MAX_PENDING];
	uint32_t pending_count;
};

struct mb_packer *
mb_packer_new(const struct mb_repo *repo, struct mb_uploader *uploader)
{
	struct mb_packer *packer = mb_calloc(1, sizeof(*packer));

	packer->repo = repo;
	packer->uploader = uploader;
	packer->frame = mb_malloc(MB_FRAME_MAX_PLAIN);
	return packer;
}

static void
open_pack(struct mb_packer *packer)
{
	char name[MB_PACK_NAME_TEXT];

	mb_random(packer->id.bytes, sizeof(packer->id.bytes));
	mb_pack_name(name, &packer->id);
	/* All it will ever need at once: doubling would take twice as much. */
	if (packer->writer.bytes.cap < PACK_CAP_BYTES)
	{
		mb_buf_release(&packer->writer.bytes);
		packer->writer.bytes.data = mb_malloc(PACK_CAP_BYTES);
		packer->writer.bytes.cap = PACK_CAP_BYTES;
	}
	mb_blob_begin(&packer->writer, packer->repo, MB_ROLE_PACK, name);
	mb_buf_reset(&packer->index);
	packer->open = true;
}

static void
write_frame(struct mb_packer *packer, const void *data, size_t len)
{
	size_t at = packer->writer.bytes.len;

	mb_blob_frame(&packer->writer, data, len, 0);
	mb_buf_put_u32(&packer->index, (uint32_t) at);
	mb_buf_put_u32(&packer->index,
				   (uint32_t) (packer->writer.bytes.len - at - MB_FRAME_HEADER_BYTES));
	mb_buf_put_u32(&packer->index, (uint32_t) len);
}

/* Write what has been gathered. */
static void
flush_frames(struct mb_packer *packer)
{
	size_t at = 0;
	uint32_t i;

	if (packer->frame_len > 0)
		write_frame(packer, packer->frame, packer->frame_len);
	for (i = 0; i < packer->pending_count; i++)
	{
		write_frame(packer, packer->pending.data + at, packer->pending_lens[i]);
		at += packer->pending_lens[i];
	}
	packer->frame_len = 0;
	packer->pending_count = 0;
	mb_buf_reset(&packer->pending);
}

enum mb_code
mb_packer_finish(struct mb_packer *packer, struct mb_error *err)
{
	uint32_t index_at;

	if (!packer->open)
		return MB_OK;
	flush_frames(packer);
	packer->open = false;
	if (packer->writer.frames == 0)
		return MB_OK;
	index_at = (uint32_t) packer->writer.bytes.len;
	mb_blob_frame(&packer->writer, packer->index.data, packer->index.len,
				  MB_FRAME_INDEX | MB_FRAME_LAST);
	mb_buf_put_u32(&packer->writer.bytes, index_at);
	mb_buf_put(&packer->writer.bytes, MB_PACK_TAIL_MAGIC, 4);
	return mb_uploader_put(packer->uploader, packer->writer.name, &packer->writer.bytes, err);
}

/* Have an open pack with room for a full frame and as many bytes of pending ones. */
static enum mb_code
make_room(struct mb_packer *packer, struct mb_error *err)
{
	size_t need = 2 * FRAME_MAX_BYTES + PACK_MAX_PENDING * (FRAME_MAX_BYTES - MB_FRAME_MAX_PLAIN);
	enum mb_code code = MB_OK;

	if (packer->open && (packer->writer.bytes.len + need > MB_PACK_TARGET_BYTES ||
						 packer->writer.frames + PACK_MAX_PENDING + 2 > MB_PACK_MAX_FRAMES))
		code = mb_packer_finish(packer, err);
	if (!code && !packer->open)
		open_pack(packer);
	return code;
}

enum mb_code
mb_packer_append(struct mb_packer *packer, const void *data, size_t len, struct mb_runs *runs,
				 struct mb_error *err)
{
	const unsigned char *p = data;

	while (len > 0)
	{
		size_t piece;
		struct mb_run run;

		if (packer->frame_len == 0)
		{
			enum mb_code code = make_room(packer, err);

			if (code)
				return code;
		}
		piece = MB_FRAME_MAX_PLAIN - packer->frame_len;
		if (piece > len)
			piece = len;
		run.pack = packer->id;
		run.frame = packer->writer.frames;
		run.offset = (uint32_t) packer->frame_len;
		run.length = (uint32_t) piece;
		mb_runs_add(runs, &run);
		if (piece == MB_FRAME_MAX_PLAIN)
			write_frame(packer, p, piece);
		else
		{
			memcpy(packer->frame + packer->frame_len, p, piece);
			packer->frame_len += piece;
			if (packer->frame_len == MB_FRAME_MAX_PLAIN)
				flush_frames(packer);
		}
		p += piece;
		len -= piece;
	}
	return MB_OK;
}

enum mb_code
mb_packer_append_frame(struct mb_packer *packer, const void *data, size_t len, struct mb_run *run,
					   struct mb_error *err)
{
	MB_ASSERT(len > 0 && len <= MB_FRAME_MAX_PLAIN);
	if (packer->frame_len > 0 && (packer->pending_count == PACK_MAX_PENDING ||
								  packer->pending.len + len > MB_FRAME_MAX_PLAIN))
		flush_frames(packer);
	if (packer->frame_len == 0)
	{
		enum mb_code code = make_room(packer, err);

		if (code)
			return code;
	}
	run->pack = packer->id;
	run->offset = 0;
	run->length = (uint32_t) len;
	if (packer->frame_len == 0)
	{
		run->frame = packer->writer.frames;
		write_frame(packer, data, len);
		return MB_OK;
	}
	run->frame = packer->writer.frames + 1 + packer->pending_count;
	mb_buf_put(&packer->pending, data, len);
	packer->pending_lens[packer->pending_count++] = (uint32_t) len;
	return MB_OK;
}

void
mb_packer_free(struct mb_packer *packer)
{
	if (!packer)
		return;
	mb_blob_writer_release(&packer->writer);
	mb_buf_release(&packer->index);
	mb_buf_release(&packer->pending);
	free(packer->frame);
	free(packer);
}

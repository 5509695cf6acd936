/* manifest_blocks.c - see manifest_private.h: sorted records become blocks. */
#include <stdlib.h>
#include <string.h>

#include "core/repo/manifest_private.h"

void
mb_block_writer_release(struct mb_block_writer *out)
{
	mb_pack_refs_release(&out->block_refs);
	mb_buf_release(&out->records);
	mb_buf_release(&out->frame);
	mb_buf_release(&out->first);
	mb_buf_release(&out->last);
	mb_arena_release(&out->arena);
}

enum mb_code
mb_block_flush(struct mb_block_writer *out, struct mb_error *err)
{
	struct mb_block block = {.entries = out->entries, .bytes = out->bytes};
	struct mb_arena arena = {0};
	struct mb_entry first;
	enum mb_code code;
	size_t used, i;

	if (out->entries == 0)
		return MB_OK;
	mb_pack_refs_settle(&out->block_refs);
	mb_buf_reset(&out->frame);
	mb_buf_put(&out->frame, MB_BLOCK_MAGIC, 4);
	mb_buf_put_u32(&out->frame, out->entries);
	mb_buf_put_u32(&out->frame, (uint32_t) out->block_refs.count);
	for (i = 0; i < out->block_refs.count; i++)
		mb_put_ref(&out->frame, &out->block_refs.items[i]);
	mb_buf_put(&out->frame, out->records.data, out->records.len);
	MB_ASSERT(out->frame.len <= MB_FRAME_MAX_PLAIN);
	code = mb_packer_append_frame(out->packer, out->frame.data, out->frame.len, &block.run, err);
	if (!code)
		code = mb_record_decode(&arena, &first, out->first.data, out->first.len, &used, err);
	if (!code)
	{
		block.first_path = mb_strndup(first.path, first.path_len);
		block.first_path_len = first.path_len;
		block.first_version = first.version;
		out->blocks->items = mb_grow(out->blocks->items, &out->blocks->cap, out->blocks->count + 1,
									 sizeof(out->blocks->items[0]));
		out->blocks->items[out->blocks->count++] = block;
		for (i = 0; i < out->block_refs.count; i++)
			mb_pack_refs_add(out->refs, &out->block_refs.items[i].pack,
							 out->block_refs.items[i].live_bytes);
		mb_pack_refs_add(out->refs, &block.run.pack, block.run.length);
	}
	mb_arena_release(&arena);
	out->entries = 0;
	out->bytes = 0;
	mb_buf_reset(&out->records);
	out->block_refs.count = out->block_refs.sorted = 0;
	return code;
}

enum mb_code
mb_block_add(struct mb_block_writer *out, const unsigned char *record, struct mb_error *err)
{
	size_t len = mb_record_bytes(record), used = 0, new_refs, i;
	struct mb_pack_refs refs = {0};
	enum mb_code code = MB_OK;
	struct mb_entry entry;

	if (out->last.len > 0 && mb_record_order(out->last.data, record) == 0)
	{
		uint16_t path_len = mb_get_u16(record + MB_RECORD_FIXED_BYTES - 2);

		return mb_fail(err, MB_CORRUPT, "\"%.*s\" was found twice by one backup",
					   path_len < 512 ? path_len : 512,
					   (const char *) record + MB_RECORD_FIXED_BYTES);
	}
	code = mb_record_decode(&out->arena, &entry, record, len, &used, err);
	if (code)
		return code;
	mb_entry_add_refs(&entry, &refs);
	mb_pack_refs_settle(&refs);
	new_refs = refs.count;
	/* Close the block when it is large enough, or when the frame might become too large. */
	if (out->entries > 0 && (out->records.len + len > MB_BLOCK_TARGET_BYTES ||
							 MB_BLOCK_HEADER_BYTES + out->records.len + len +
									 (out->block_refs.count + new_refs) * MB_REF_BYTES >
								 MB_FRAME_MAX_PLAIN))
		code = mb_block_flush(out, err);
	if (!code)
	{
		if (out->entries == 0)
		{
			mb_buf_reset(&out->first);
			mb_buf_put(&out->first, record, len);
		}
		for (i = 0; i < refs.count; i++)
			mb_pack_refs_add(&out->block_refs, &refs.items[i].pack, refs.items[i].live_bytes);
		mb_buf_put(&out->records, record, len);
		mb_buf_reset(&out->last);
		mb_buf_put(&out->last, record, len);
		out->entries++;
		out->bytes += entry.size;
	}
	mb_pack_refs_release(&refs);
	if (out->arena.total_bytes > (1u << 20))
		mb_arena_release(&out->arena);
	return code;
}

/*
 * manifest_blocks.c - see manifest_private.h: sorted records become blocks.
 *
 * Where a block ends is decided by the names at hand and not by counting, so that after a
 * change the same records make the same blocks again; those that the parent has already
 * are not written twice.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/repo/manifest_private.h"

void
mb_block_writer_release(struct mb_block_writer *out)
{
	mb_pack_refs_release(&out->block_refs);
	mb_buf_release(&out->records);
	mb_buf_release(&out->frame);
	mb_buf_release(&out->old);
	mb_pack_reader_free(out->reader);
	free(out->open.first_path);
	mb_buf_release(&out->last);
	mb_arena_release(&out->arena);
}

/* -- where to cut ------------------------------------------------------------------------------ */

/*
 * May a new block begin with this entry, when the open one has so many bytes?  In a small
 * block one name of 128 says yes, in a larger one it is easier to find one, so that most
 * blocks have 20 to 80 KiB, and one changed entry costs about that before compression.
 */
static bool
is_cut(const struct mb_entry *entry, size_t block_bytes)
{
	uint64_t hash = mb_xxh64_seed(entry->path, entry->path_len, entry->version);

	if (block_bytes < MB_BLOCK_MIN_BYTES)
		return false;
	return hash % (block_bytes < MB_BLOCK_EASY_BYTES ? 128 : 8) == 0;
}

/* -- what the parent has ------------------------------------------------------------------------ */

static int
block_order(const struct mb_block *a, const struct mb_block *b)
{
	return mb_entry_order(a->first_path, a->first_path_len, a->first_version, b->first_path,
						  b->first_path_len, b->first_version);
}

/* The parent's block that begins as this one does, or NULL; asked for in order. */
static const struct mb_block *
find_in_parent(struct mb_block_writer *out, const struct mb_block *block)
{
	const struct mb_block *candidate = NULL;
	int order = -1;

	while (out->parent && out->parent_next < out->parent->count)
	{
		candidate = &out->parent->items[out->parent_next];
		order = block_order(candidate, block);
		if (order >= 0)
			break;
		out->parent_next++;
	}
	return order == 0 ? candidate : NULL;
}

/* Take the parent's frame when its bytes are those of the open block. */
static enum mb_code
share_block(struct mb_block_writer *out, struct mb_block *block, bool *shared, struct mb_error *err)
{
	const struct mb_block *old = find_in_parent(out, block);
	enum mb_code code;

	*shared = false;
	if (!old || old->entries != block->entries || old->bytes != block->bytes ||
		old->run.length != out->frame.len ||
		(out->avoid && mb_pack_refs_has(out->avoid, &old->run.pack)))
		return MB_OK;
	mb_buf_reset(&out->old);
	code = mb_pack_reader_run(out->reader, &old->run, &out->old, err);
	/* What cannot be read any more is written again. */
	if (code)
		return code == MB_CORRUPT ? MB_OK : code;
	*shared = out->old.len == out->frame.len &&
			  memcmp(out->old.data, out->frame.data, out->frame.len) == 0;
	if (*shared)
		block->run = old->run;
	return MB_OK;
}

/* -- writing -------------------------------------------------------------------------------------- */

static void
encode_block(struct mb_block_writer *out)
{
	size_t i;

	mb_pack_refs_settle(&out->block_refs);
	mb_buf_reset(&out->frame);
	mb_buf_put(&out->frame, MB_BLOCK_MAGIC, 4);
	mb_buf_put_u32(&out->frame, (uint32_t) out->open.entries);
	mb_buf_put_u32(&out->frame, (uint32_t) out->block_refs.count);
	for (i = 0; i < out->block_refs.count; i++)
		mb_put_ref(&out->frame, &out->block_refs.items[i]);
	mb_buf_put(&out->frame, out->records.data, out->records.len);
	MB_ASSERT(out->frame.len <= MB_FRAME_MAX_PLAIN);
}

static void
list_block(struct mb_block_writer *out)
{
	size_t i;

	out->blocks->items = mb_grow(out->blocks->items, &out->blocks->cap, out->blocks->count + 1,
								 sizeof(out->blocks->items[0]));
	out->blocks->items[out->blocks->count++] = out->open;
	for (i = 0; i < out->block_refs.count; i++)
		mb_pack_refs_add(out->refs, &out->block_refs.items[i].pack,
						 out->block_refs.items[i].live_bytes);
	mb_pack_refs_add(out->refs, &out->open.run.pack, out->open.run.length);
	memset(&out->open, 0, sizeof(out->open));
	mb_buf_reset(&out->records);
	out->block_refs.count = out->block_refs.sorted = 0;
}

enum mb_code
mb_block_flush(struct mb_block_writer *out, struct mb_error *err)
{
	enum mb_code code;
	bool shared;

	if (out->open.entries == 0)
		return MB_OK;
	encode_block(out);
	code = share_block(out, &out->open, &shared, err);
	if (!code && !shared)
		code = mb_packer_append_frame(out->packer, out->frame.data, out->frame.len, &out->open.run,
									  err);
	if (!code)
		list_block(out);
	return code;
}

static void
open_block(struct mb_block_writer *out, const struct mb_entry *entry)
{
	out->open.first_path = mb_strndup(entry->path, entry->path_len);
	out->open.first_path_len = entry->path_len;
	out->open.first_version = entry->version;
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
	/* Close the block at a cut, or when the frame might become too large. */
	if (out->open.entries > 0 &&
		(is_cut(&entry, out->records.len) || out->records.len + len > MB_BLOCK_TARGET_BYTES ||
		 MB_BLOCK_HEADER_BYTES + out->records.len + len +
				 (out->block_refs.count + new_refs) * MB_REF_BYTES >
			 MB_FRAME_MAX_PLAIN))
		code = mb_block_flush(out, err);
	if (!code)
	{
		if (out->open.entries == 0)
			open_block(out, &entry);
		for (i = 0; i < refs.count; i++)
			mb_pack_refs_add(&out->block_refs, &refs.items[i].pack, refs.items[i].live_bytes);
		mb_buf_put(&out->records, record, len);
		mb_buf_reset(&out->last);
		mb_buf_put(&out->last, record, len);
		out->open.entries++;
		out->open.bytes += entry.size;
	}
	mb_pack_refs_release(&refs);
	if (out->arena.total_bytes > (1u << 20))
		mb_arena_release(&out->arena);
	return code;
}

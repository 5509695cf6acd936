/* manifest_reader.c - see manifest.h: iterates the entries of a commit's blocks. */
#include <stdlib.h>
#include <string.h>

#include "core/repo/manifest_private.h"

#define ARENA_MAX_BYTES (4u << 20)

struct mb_manifest_reader
{
	const struct mb_blocks *blocks;
	size_t next_block;
	struct mb_pack_reader *packs;
	struct mb_buf block; /* plain bytes of the block at hand */
	const struct mb_block *info;
	size_t at;
	uint32_t left;  /* records of this block */
	uint64_t bytes; /* sum of sizes so far in this block */
	struct mb_arena arena;
	struct mb_entry entry;
	struct mb_buf last_path;
	uint64_t last_version;
};

struct mb_manifest_reader *
mb_manifest_reader_new(const struct mb_repo *repo, const struct mb_blocks *blocks)
{
	struct mb_manifest_reader *reader = mb_calloc(1, sizeof(*reader));

	reader->blocks = blocks;
	reader->packs = mb_pack_reader_new(repo);
	return reader;
}

void
mb_manifest_reader_free(struct mb_manifest_reader *reader)
{
	if (!reader)
		return;
	mb_pack_reader_free(reader->packs);
	mb_buf_release(&reader->block);
	mb_buf_release(&reader->last_path);
	mb_arena_release(&reader->arena);
	free(reader);
}

static enum mb_code
damaged(const struct mb_manifest_reader *reader, const char *why, struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "manifest block %zu is damaged: %s", reader->next_block - 1,
				   why);
}

static enum mb_code
load_block(struct mb_manifest_reader *reader, struct mb_error *err)
{
	struct mb_block_view view;
	enum mb_code code;

	reader->info = &reader->blocks->items[reader->next_block++];
	mb_buf_reset(&reader->block);
	mb_arena_release(&reader->arena);
	code = mb_pack_reader_run(reader->packs, &reader->info->run, &reader->block, err);
	if (!code)
		code = mb_block_parse(&view, reader->block.data, reader->block.len, err);
	if (code)
		return mb_error_context(err, "could not read manifest block %zu", reader->next_block - 1);
	if (view.entries != reader->info->entries)
		return damaged(reader, "the commit counts its entries differently", err);
	reader->at = (size_t) (view.records - reader->block.data);
	reader->left = view.entries;
	reader->bytes = 0;
	return MB_OK;
}

static enum mb_code
check_entry(struct mb_manifest_reader *reader, bool first_of_block, struct mb_error *err)
{
	const struct mb_entry *entry = &reader->entry;
	const struct mb_block *info = reader->info;

	if (first_of_block &&
		(entry->path_len != info->first_path_len || entry->version != info->first_version ||
		 memcmp(entry->path, info->first_path, entry->path_len) != 0))
		return damaged(reader, "it starts with another entry than the commit says", err);
	if (reader->last_path.len > 0 &&
		mb_entry_order((const char *) reader->last_path.data, reader->last_path.len,
					   reader->last_version, entry->path, entry->path_len, entry->version) >= 0)
		return damaged(reader, "its entries are not sorted", err);
	mb_buf_reset(&reader->last_path);
	mb_buf_put(&reader->last_path, entry->path, entry->path_len);
	reader->last_version = entry->version;
	reader->bytes += entry->size;
	if (reader->left == 0 &&
		(reader->at != reader->block.len || reader->bytes != reader->info->bytes))
		return damaged(reader, "its entries do not add up", err);
	return MB_OK;
}

enum mb_code
mb_manifest_next(struct mb_manifest_reader *reader, const struct mb_entry **entry,
				 struct mb_error *err)
{
	bool first_of_block = false;
	enum mb_code code;
	size_t used = 0;

	*entry = NULL;
	if (reader->left == 0)
	{
		if (reader->next_block == reader->blocks->count)
			return MB_OK;
		code = load_block(reader, err);
		if (code)
			return code;
		first_of_block = true;
	}
	if (reader->arena.total_bytes > ARENA_MAX_BYTES)
		mb_arena_release(&reader->arena);
	code = mb_record_decode(&reader->arena, &reader->entry, reader->block.data + reader->at,
							reader->block.len - reader->at, &used, err);
	if (code)
		return mb_error_context(err, "could not read manifest block %zu", reader->next_block - 1);
	reader->at += used;
	reader->left--;
	code = check_entry(reader, first_of_block, err);
	if (code)
		return code;
	*entry = &reader->entry;
	return MB_OK;
}

/* commit_codec.c - see commit_private.h: a commit's parts to bytes and back. */
#include "core/repo/commit_private.h"

#include <string.h>

#include "core/repo/manifest_private.h"

#define BLOCK_FIXED_BYTES (MB_RUN_BYTES + 26)

/* -- encoding -------------------------------------------------------------------------------- */

static json_t *
part_json(uint64_t count, uint64_t bytes)
{
	json_t *part = json_object();

	mb_json_set_int(part, "count", (int64_t) count);
	mb_json_set_int(part, "bytes", (int64_t) bytes);
	return part;
}

json_t *
mb_commit_to_json(const struct mb_commit *commit, const struct mb_commit_parts *parts)
{
	char hash[2 * MB_SHA256_BYTES + 1];
	json_t *json = json_object();

	mb_hex(hash, commit->previous_hash, MB_SHA256_BYTES);
	mb_json_set_int(json, "format", MB_FORMAT_VERSION);
	mb_json_set_str(json, "id", commit->id);
	mb_json_set_str(json, "component", commit->component);
	mb_json_set_str(json, "kind", commit->kind);
	mb_json_set_str(json, "type", commit->type);
	mb_json_set_str(json, "parent", commit->parent);
	mb_json_set_int(json, "sequence", (int64_t) commit->sequence);
	mb_json_set_str(json, "previous", commit->previous);
	mb_json_set_str(json, "previous_hash", hash);
	mb_json_set_time(json, "started", commit->started_us);
	mb_json_set_time(json, "finished", commit->finished_us);
	mb_json_set_int(json, "entries", (int64_t) commit->entries);
	mb_json_set_int(json, "bytes", (int64_t) commit->bytes);
	mb_json_set_int(json, "changed_bytes", (int64_t) commit->changed_bytes);
	mb_json_set_int(json, "stored_bytes", (int64_t) commit->stored_bytes);
	json_object_set_new(json, "blocks", part_json(parts->block_count, parts->block_bytes));
	json_object_set_new(json, "refs", part_json(parts->ref_count, parts->ref_bytes));
	if (commit->meta)
		json_object_set(json, "meta", commit->meta);
	else
		json_object_set_new(json, "meta", json_object());
	return json;
}

void
mb_blocks_encode(struct mb_buf *out, const struct mb_blocks *blocks)
{
	size_t i;

	for (i = 0; i < blocks->count; i++)
	{
		const struct mb_block *block = &blocks->items[i];

		mb_put_run(out, &block->run);
		mb_buf_put_u64(out, block->entries);
		mb_buf_put_u64(out, block->bytes);
		mb_buf_put_u64(out, block->first_version);
		mb_buf_put_u16(out, (uint16_t) block->first_path_len);
		mb_buf_put(out, block->first_path, block->first_path_len);
	}
}

void
mb_refs_encode(struct mb_buf *out, const struct mb_pack_refs *refs)
{
	size_t i;

	for (i = 0; i < refs->count; i++)
		mb_put_ref(out, &refs->items[i]);
}

/* -- decoding -------------------------------------------------------------------------------- */

static bool
copy_text(char *out, size_t out_bytes, const json_t *json, const char *key)
{
	const char *text = mb_json_str(json, key, NULL);

	if (!text || strlen(text) >= out_bytes)
		return false;
	strcpy(out, text);
	return true;
}

static bool
get_u64(uint64_t *out, const json_t *json, const char *key)
{
	int64_t value = mb_json_int(json, key, -1);

	*out = (uint64_t) value;
	return value >= 0;
}

static bool
is_id_or_empty(const char *id)
{
	return id[0] == '\0' || mb_id_is_valid(id);
}

static bool
get_hash(unsigned char *out, const json_t *json, const char *key)
{
	const char *hex = mb_json_str(json, key, "");

	return strlen(hex) == 2 * MB_SHA256_BYTES && mb_unhex(out, hex, MB_SHA256_BYTES);
}

enum mb_code
mb_commit_from_json(struct mb_commit *commit, struct mb_commit_parts *parts, const json_t *json,
					struct mb_error *err)
{
	const json_t *blocks = json_object_get(json, "blocks");
	const json_t *refs = json_object_get(json, "refs");
	json_t *meta = json_object_get(json, "meta");
	int64_t format = mb_json_int(json, "format", 0);
	bool ok;

	memset(commit, 0, sizeof(*commit));
	if (format > MB_FORMAT_VERSION)
	{
		mb_fail(err, MB_UNSUPPORTED, "a commit has format %lld, and this mbackup knows %d",
				(long long) format, MB_FORMAT_VERSION);
		return mb_error_hint(err, "Upgrade mbackup on this machine.");
	}
	ok = format == MB_FORMAT_VERSION && copy_text(commit->id, sizeof(commit->id), json, "id") &&
		 copy_text(commit->component, sizeof(commit->component), json, "component") &&
		 copy_text(commit->kind, sizeof(commit->kind), json, "kind") &&
		 copy_text(commit->type, sizeof(commit->type), json, "type") &&
		 copy_text(commit->parent, sizeof(commit->parent), json, "parent") &&
		 copy_text(commit->previous, sizeof(commit->previous), json, "previous") &&
		 get_hash(commit->previous_hash, json, "previous_hash") && mb_id_is_valid(commit->id) &&
		 mb_component_name_is_valid(commit->component) && is_id_or_empty(commit->parent) &&
		 is_id_or_empty(commit->previous) && get_u64(&commit->sequence, json, "sequence") &&
		 commit->sequence > 0 && get_u64(&commit->entries, json, "entries") &&
		 get_u64(&commit->bytes, json, "bytes") &&
		 get_u64(&commit->changed_bytes, json, "changed_bytes") &&
		 get_u64(&commit->stored_bytes, json, "stored_bytes") &&
		 get_u64(&parts->block_count, blocks, "count") &&
		 get_u64(&parts->block_bytes, blocks, "bytes") &&
		 get_u64(&parts->ref_count, refs, "count") && get_u64(&parts->ref_bytes, refs, "bytes") &&
		 json_is_object(meta);
	if (!ok)
		return mb_fail(err, MB_CORRUPT, "a commit is damaged: its first frame makes no sense");
	commit->started_us = mb_json_time(json, "started");
	commit->finished_us = mb_json_time(json, "finished");
	commit->meta = json_incref(meta);
	return MB_OK;
}

enum mb_code
mb_blocks_decode(struct mb_blocks *blocks, uint64_t count, const void *data, size_t len,
				 struct mb_error *err)
{
	struct mb_rd rd = mb_rd_init(data, len);
	uint64_t i;

	memset(blocks, 0, sizeof(*blocks));
	if (count > len / BLOCK_FIXED_BYTES)
		return mb_fail(err, MB_CORRUPT, "a commit is damaged: impossible number of blocks");
	for (i = 0; i < count; i++)
	{
		struct mb_block block = {0};
		const unsigned char *path;

		mb_get_run(&rd, &block.run);
		block.entries = mb_rd_u64(&rd);
		block.bytes = mb_rd_u64(&rd);
		block.first_version = mb_rd_u64(&rd);
		block.first_path_len = mb_rd_u16(&rd);
		path = mb_rd_bytes(&rd, block.first_path_len);
		if (rd.bad || !mb_run_is_valid(&block.run) || block.run.offset != 0 || block.entries == 0 ||
			block.first_path_len == 0 || block.first_path_len > MB_PATH_MAX)
			break;
		if (i > 0)
		{
			const struct mb_block *last = &blocks->items[i - 1];

			if (mb_entry_order(last->first_path, last->first_path_len, last->first_version,
							   (const char *) path, block.first_path_len, block.first_version) >= 0)
				break;
		}
		block.first_path = mb_strndup((const char *) path, block.first_path_len);
		blocks->items =
			mb_grow(blocks->items, &blocks->cap, blocks->count + 1, sizeof(blocks->items[0]));
		blocks->items[blocks->count++] = block;
	}
	if (i < count || mb_rd_left(&rd) > 0)
	{
		mb_blocks_release(blocks);
		return mb_fail(err, MB_CORRUPT, "a commit is damaged: its block list makes no sense");
	}
	return MB_OK;
}

enum mb_code
mb_refs_decode(struct mb_pack_refs *refs, uint64_t count, const void *data, size_t len,
			   struct mb_error *err)
{
	struct mb_rd rd = mb_rd_init(data, len);
	uint64_t i;

	memset(refs, 0, sizeof(*refs));
	if (len % MB_REF_BYTES != 0 || count != len / MB_REF_BYTES)
		return mb_fail(err, MB_CORRUPT, "a commit is damaged: impossible number of packs");
	refs->items = mb_grow(NULL, &refs->cap, (size_t) count, sizeof(refs->items[0]));
	for (i = 0; i < count; i++)
		mb_get_ref(&rd, &refs->items[i]);
	refs->count = refs->sorted = (size_t) count;
	if (!mb_refs_are_sorted(refs->items, refs->count))
	{
		mb_pack_refs_release(refs);
		return mb_fail(err, MB_CORRUPT, "a commit is damaged: its pack table is not sorted");
	}
	return MB_OK;
}

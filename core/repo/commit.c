/* commit.c - see commit.h. */
#include "core/repo/commit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/repo/commit_private.h"
#include "core/repo/manifest_private.h"

#define PREFIX "backups/"
#define LEAF "/commit"
#define HEAD_GET_BYTES 65536
#define BLOCK_FIXED_BYTES (MB_RUN_BYTES + 26)

bool
mb_component_name_is_valid(const char *name)
{
	size_t i;

	if (name[0] < 'a' || name[0] > 'z')
		return false;
	for (i = 1; name[i]; i++)
		if (i + 1 >= MB_COMPONENT_MAX ||
			!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
			  name[i] == '_' || name[i] == '-'))
			return false;
	return true;
}

void
mb_commit_release(struct mb_commit *commit)
{
	json_decref(commit->meta);
	mb_blocks_release(&commit->blocks);
	mb_pack_refs_release(&commit->refs);
	memset(commit, 0, sizeof(*commit));
}

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

/* -- names ----------------------------------------------------------------------------------- */

void
mb_commit_blob_name(char out[MB_NAME_MAX], const char *component, const char *id)
{
	snprintf(out, MB_NAME_MAX, PREFIX "%s/%s" LEAF, component, id);
}

static enum mb_code
commit_blob_name(char out[MB_NAME_MAX], const char *component, const char *id, struct mb_error *err)
{
	if (!mb_component_name_is_valid(component) || !mb_id_is_valid(id))
		return mb_fail(err, MB_NOT_FOUND, "there is no backup \"%.64s\" of component \"%.64s\"", id,
					   component);
	mb_commit_blob_name(out, component, id);
	return MB_OK;
}

static bool
parse_commit_name(struct mb_commit_name *out, const char *name)
{
	const char *component = name + strlen(PREFIX);
	const char *slash;
	size_t len;

	if (!mb_starts_with(name, PREFIX) || !mb_ends_with(name, LEAF))
		return false;
	slash = strchr(component, '/');
	len = slash ? (size_t) (slash - component) : 0;
	if (len == 0 || len >= sizeof(out->component))
		return false;
	memcpy(out->component, component, len);
	out->component[len] = '\0';
	len = strlen(slash + 1);
	if (len < strlen(LEAF) || len - strlen(LEAF) >= sizeof(out->id))
		return false;
	len -= strlen(LEAF);
	memcpy(out->id, slash + 1, len);
	out->id[len] = '\0';
	return mb_component_name_is_valid(out->component) && mb_id_is_valid(out->id);
}

static enum mb_code
add_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_commit_names *names = ctx;
	struct mb_commit_name name;

	(void) err;
	if (!parse_commit_name(&name, info->name))
		return MB_OK;
	name.put_us = info->modified_us;
	names->items = mb_grow(names->items, &names->cap, names->count + 1, sizeof(names->items[0]));
	names->items[names->count++] = name;
	return MB_OK;
}

static int
compare_names(const void *a, const void *b)
{
	const struct mb_commit_name *x = a;
	const struct mb_commit_name *y = b;
	int order = strcmp(x->component, y->component);

	return order ? order : strcmp(x->id, y->id);
}

enum mb_code
mb_commit_list(const struct mb_repo *repo, const char *component, struct mb_commit_names *names,
			   struct mb_error *err)
{
	char prefix[MB_NAME_MAX] = PREFIX;
	enum mb_code code;

	memset(names, 0, sizeof(*names));
	if (component)
	{
		if (!mb_component_name_is_valid(component))
			return MB_OK;
		snprintf(prefix, sizeof(prefix), PREFIX "%s/", component);
	}
	code = mb_store_list(repo->store, prefix, add_name, names, err);
	if (code)
		mb_commit_names_release(names);
	else if (names->count > 1)
		qsort(names->items, names->count, sizeof(names->items[0]), compare_names);
	return code;
}

void
mb_commit_names_release(struct mb_commit_names *names)
{
	free(names->items);
	memset(names, 0, sizeof(*names));
}

/* -- get ------------------------------------------------------------------------------------- */

/* A commit being read frame by frame. */
struct commit_reader
{
	struct mb_blob_reader blob;
	const struct mb_buf *bytes;
	size_t at;
	uint32_t number;
	struct mb_frame_header header; /* of the last frame */
};

static enum mb_code
next_frame(struct commit_reader *in, struct mb_buf *out, struct mb_error *err)
{
	size_t used = 0;
	enum mb_code code;

	if (in->header.flags & MB_FRAME_LAST)
		return mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: a part is missing", in->blob.name);
	code = mb_blob_decode(&in->blob, in->number, in->bytes->data + in->at, in->bytes->len - in->at,
						  out, &in->header, &used, err);
	if (code)
		return code;
	if (in->header.flags & MB_FRAME_INDEX)
		return mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: it holds an index", in->blob.name);
	in->at += used;
	in->number++;
	return MB_OK;
}

/* A part takes whole frames: exactly as many bytes as frame 0 says. */
static enum mb_code
next_part(struct commit_reader *in, uint64_t want, struct mb_buf *out, struct mb_error *err)
{
	mb_buf_reset(out);
	mb_buf_reserve(out, 1); /* an empty part is no NULL pointer */
	while (out->len < want)
	{
		size_t before = out->len;
		enum mb_code code = next_frame(in, out, err);

		if (code)
			return code;
		if (out->len == before || out->len > want)
			return mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: a part has another length",
						   in->blob.name);
	}
	return MB_OK;
}

static enum mb_code
read_head(struct commit_reader *in, const char *component, const char *id, struct mb_commit *commit,
		  struct mb_commit_parts *parts, struct mb_error *err)
{
	struct mb_buf text = {0};
	json_t *json = NULL;
	enum mb_code code = next_frame(in, &text, err);

	if (!code)
		code = mb_json_parse(&json, (const char *) text.data, text.len, "a commit", err);
	if (!code)
		code = mb_commit_from_json(commit, parts, json, err);
	if (!code && (strcmp(commit->component, component) != 0 || strcmp(commit->id, id) != 0))
		code = mb_fail(err, MB_CORRUPT,
					   "blob \"%s\" is damaged: it is the commit of another backup", in->blob.name);
	json_decref(json);
	mb_buf_release(&text);
	return code;
}

static enum mb_code
read_parts(struct commit_reader *in, const struct mb_commit_parts *parts, struct mb_commit *commit,
		   struct mb_error *err)
{
	struct mb_buf part = {0};
	enum mb_code code = next_part(in, parts->block_bytes, &part, err);

	if (!code)
		code = mb_blocks_decode(&commit->blocks, parts->block_count, part.data, part.len, err);
	if (!code)
		code = next_part(in, parts->ref_bytes, &part, err);
	if (!code)
		code = mb_refs_decode(&commit->refs, parts->ref_count, part.data, part.len, err);
	if (!code && (!(in->header.flags & MB_FRAME_LAST) || in->at != in->bytes->len))
		code = mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: something follows its last part",
					   in->blob.name);
	mb_buf_release(&part);
	return code;
}

/* Get enough of the blob for its first frame. */
static enum mb_code
get_head_bytes(const struct mb_repo *repo, const char *name, struct mb_buf *bytes,
			   struct mb_error *err)
{
	const size_t headers = MB_BLOB_HEADER_BYTES + MB_FRAME_HEADER_BYTES;
	struct mb_frame_header frame;
	enum mb_code code = mb_store_get(repo->store, name, 0, HEAD_GET_BYTES, bytes, err);
	size_t want;

	if (code || bytes->len < HEAD_GET_BYTES)
		return code;
	code = mb_frame_header_parse(&frame, bytes->data + MB_BLOB_HEADER_BYTES,
								 bytes->len - MB_BLOB_HEADER_BYTES, name, err);
	if (code)
		return code;
	want = headers + frame.stored_len;
	if (want <= bytes->len)
		return MB_OK;
	return mb_store_get(repo->store, name, bytes->len, want - bytes->len, bytes, err);
}

enum commit_part
{
	COMMIT_HEAD,
	COMMIT_WHOLE
};

static enum mb_code
load_commit(const struct mb_repo *repo, const char *component, const char *id,
			enum commit_part wanted, struct mb_commit *commit, struct mb_error *err)
{
	struct mb_commit_parts parts;
	struct mb_buf bytes = {0};
	struct commit_reader in = {.bytes = &bytes, .at = MB_BLOB_HEADER_BYTES};
	char name[MB_NAME_MAX];
	enum mb_code code;

	memset(commit, 0, sizeof(*commit));
	code = commit_blob_name(name, component, id, err);
	if (!code)
		code = wanted == COMMIT_HEAD ? get_head_bytes(repo, name, &bytes, err)
									 : mb_store_get(repo->store, name, 0, SIZE_MAX, &bytes, err);
	if (!code)
		code = mb_blob_open(&in.blob, repo, MB_ROLE_COMMIT, name, bytes.data, bytes.len, err);
	if (!code)
		code = read_head(&in, component, id, commit, &parts, err);
	if (!code && wanted == COMMIT_WHOLE)
		code = read_parts(&in, &parts, commit, err);
	if (code)
		mb_commit_release(commit);
	mb_blob_reader_release(&in.blob);
	mb_buf_release(&bytes);
	return code;
}

enum mb_code
mb_commit_get(const struct mb_repo *repo, const char *component, const char *id,
			  struct mb_commit *commit, struct mb_error *err)
{
	return load_commit(repo, component, id, COMMIT_WHOLE, commit, err);
}

enum mb_code
mb_commit_head(const struct mb_repo *repo, const char *component, const char *id,
			   struct mb_commit *commit, struct mb_error *err)
{
	return load_commit(repo, component, id, COMMIT_HEAD, commit, err);
}

/* Two commits whose ids are so near may have been made the other way round. */
#define CLOCK_SPREAD_US 2000000

/* -- put ------------------------------------------------------------------------------------- */

/*
 * Ids sort by time, as well as a store can tell it (store.h): the newest commit is among those
 * within two seconds of the last readable one; among these the highest sequence decides.  A damaged
 * one, or one that was removed meanwhile, is passed over: it must not keep new backups from being
 * made.
 */
enum mb_code
mb_commit_newest(const struct mb_repo *repo, const char *component, char id[MB_ID_TEXT],
				 uint64_t *sequence, struct mb_error *err)
{
	struct mb_commit_names names;
	enum mb_code code = mb_commit_list(repo, component, &names, err);
	char best[MB_ID_TEXT] = "";
	uint64_t best_sequence = 0;
	int64_t from_us = 0;
	size_t i;

	if (code)
		return code;
	for (i = names.count; i > 0 && !code; i--)
	{
		struct mb_commit head;
		struct mb_error why;

		if (best[0] && mb_id_time_us(names.items[i - 1].id) < from_us)
			break;
		mb_error_clear(&why);
		code = mb_commit_head(repo, component, names.items[i - 1].id, &head, &why);
		if (code == MB_CORRUPT || code == MB_NOT_FOUND)
		{
			code = MB_OK;
			continue;
		}
		if (code)
			*err = why;
		else if (head.sequence > best_sequence)
		{
			if (!best[0])
				from_us = mb_id_time_us(head.id) - CLOCK_SPREAD_US;
			best_sequence = head.sequence;
			strcpy(best, head.id);
		}
		if (!code)
			mb_commit_release(&head);
	}
	mb_commit_names_release(&names);
	if (!code)
	{
		strcpy(id, best);
		*sequence = best_sequence;
	}
	return code;
}

static bool
is_whole(const struct mb_repo *repo, const char *name, const struct mb_buf *bytes)
{
	struct mb_blob_reader reader = {0};
	struct mb_frame_header header = {0};
	struct mb_error ignored;
	size_t at = MB_BLOB_HEADER_BYTES, used = 0;
	uint32_t number = 0;
	enum mb_code code =
		mb_blob_open(&reader, repo, MB_ROLE_COMMIT, name, bytes->data, bytes->len, &ignored);

	while (!code && !(header.flags & MB_FRAME_LAST))
	{
		code = mb_blob_check(&reader, number++, bytes->data + at, bytes->len - at, &header, &used,
							 &ignored);
		at += code ? 0 : used;
	}
	mb_blob_reader_release(&reader);
	return !code && at == bytes->len;
}

/* No hash of one that is damaged: mended from a copy it would be another one for ever. */
static enum mb_code
link_to_previous(const struct mb_repo *repo, struct mb_commit *commit, struct mb_error *err)
{
	struct mb_buf bytes = {0};
	char name[MB_NAME_MAX];
	uint64_t sequence = 0;
	enum mb_code code = mb_commit_newest(repo, commit->component, commit->previous, &sequence, err);

	memset(commit->previous_hash, 0, sizeof(commit->previous_hash));
	if (code)
		return code;
	commit->sequence = sequence + 1;
	if (!commit->previous[0])
		return MB_OK;
	code = commit_blob_name(name, commit->component, commit->previous, err);
	if (!code)
		code = mb_store_get(repo->store, name, 0, SIZE_MAX, &bytes, err);
	if (!code && is_whole(repo, name, &bytes))
		mb_sha256(commit->previous_hash, bytes.data, bytes.len);
	mb_buf_release(&bytes);
	return code;
}

/* Write the parts: a part begins with a frame of its own, an empty one has none. */
static void
write_parts(struct mb_blob_writer *writer, const char *text, const struct mb_buf *blocks,
			const struct mb_buf *refs)
{
	const struct
	{
		const void *data;
		size_t len;
	} parts[] = {{text, strlen(text)}, {blocks->data, blocks->len}, {refs->data, refs->len}};
	int last = refs->len ? 2 : (blocks->len ? 1 : 0);
	int i;

	for (i = 0; i <= last; i++)
	{
		const unsigned char *p = parts[i].data;
		size_t left = parts[i].len;

		while (left > 0)
		{
			size_t piece = left < MB_FRAME_MAX_PLAIN ? left : MB_FRAME_MAX_PLAIN;

			left -= piece;
			mb_blob_frame(writer, p, piece, left == 0 && i == last ? MB_FRAME_LAST : 0);
			p += piece;
		}
	}
}

enum mb_code
mb_commit_put(const struct mb_repo *repo, struct mb_commit *commit, struct mb_error *err)
{
	struct mb_commit_parts parts = {.block_count = commit->blocks.count};
	struct mb_blob_writer writer = {0};
	struct mb_buf blocks = {0};
	struct mb_buf refs = {0};
	char name[MB_NAME_MAX];
	enum mb_code code;
	char *text = NULL;
	json_t *json;

	MB_ASSERT(mb_component_name_is_valid(commit->component) && mb_id_is_valid(commit->id));
	code = commit_blob_name(name, commit->component, commit->id, err);
	if (!code)
		code = link_to_previous(repo, commit, err);
	if (code)
		return code;
	mb_pack_refs_settle(&commit->refs);
	mb_blocks_encode(&blocks, &commit->blocks);
	mb_refs_encode(&refs, &commit->refs);
	parts.block_bytes = blocks.len;
	parts.ref_count = commit->refs.count;
	parts.ref_bytes = refs.len;
	json = mb_commit_to_json(commit, &parts);
	text = mb_json_text(json);
	json_decref(json);
	if (strlen(text) > MB_FRAME_MAX_PLAIN)
		code = mb_fail(err, MB_UNSUPPORTED,
					   "what component \"%s\" says about its backup is larger than %u bytes",
					   commit->component, MB_FRAME_MAX_PLAIN);
	else
	{
		mb_blob_begin(&writer, repo, MB_ROLE_COMMIT, name);
		write_parts(&writer, text, &blocks, &refs);
		code = mb_blob_put(&writer, err);
	}
	mb_blob_writer_release(&writer);
	mb_buf_release(&blocks);
	mb_buf_release(&refs);
	free(text);
	return code;
}

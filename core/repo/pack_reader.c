/*
 * pack_reader.c - see pack.h: frames of packs, and the check of a whole pack.
 *
 * The index says where a frame starts; the frame says the same about itself under its
 * own seal, so that an index that lies is found out.
 */
#include "core/repo/pack.h"

#include <stdlib.h>
#include <string.h>

#include "core/repo/pack_private.h"

#define INDEX_CACHE 8
#define FRAME_CACHE 4
/* The tail and, nearly always, the index frame with it. */
#define TAIL_GET_BYTES 16384

struct index_entry
{
	uint32_t offset;
	uint32_t stored_len;
	uint32_t plain_len;
};

struct pack_index
{
	struct mb_pack_id pack;
	unsigned char header[MB_BLOB_HEADER_BYTES];
	struct index_entry *entries;
	uint32_t count;
	uint64_t last_use; /* 0: the slot is free */
};

struct cached_frame
{
	struct mb_pack_id pack;
	uint32_t frame;
	struct mb_buf plain;
	uint64_t last_use;
};

struct mb_pack_reader
{
	const struct mb_repo *repo;
	struct mb_blob_reader blob;
	struct mb_pack_id blob_pack; /* that `blob` is open for */
	bool blob_open;
	struct pack_index indexes[INDEX_CACHE];
	struct cached_frame frames[FRAME_CACHE];
	struct mb_buf whole; /* a loaded pack */
	struct mb_pack_id whole_pack;
	bool has_whole;
	struct mb_buf bytes; /* scratch */
	uint64_t clock;
};

struct mb_pack_reader *
mb_pack_reader_new(const struct mb_repo *repo)
{
	struct mb_pack_reader *reader = mb_calloc(1, sizeof(*reader));

	reader->repo = repo;
	return reader;
}

void
mb_pack_reader_free(struct mb_pack_reader *reader)
{
	size_t i;

	if (!reader)
		return;
	mb_blob_reader_release(&reader->blob);
	for (i = 0; i < INDEX_CACHE; i++)
		free(reader->indexes[i].entries);
	for (i = 0; i < FRAME_CACHE; i++)
		mb_buf_release(&reader->frames[i].plain);
	mb_buf_release(&reader->whole);
	mb_buf_release(&reader->bytes);
	free(reader);
}

static bool
same_pack(const struct mb_pack_id *a, const struct mb_pack_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static enum mb_code
damaged(const struct mb_pack_id *pack, const char *why, struct mb_error *err)
{
	char name[MB_PACK_NAME_TEXT];

	mb_pack_name(name, pack);
	return mb_fail(err, MB_CORRUPT, "pack \"%s\" is damaged: %s", name, why);
}

/* Something refers to the pack: that it is not there is damage. */
static enum mb_code
missing_is_damage(const struct mb_pack_id *pack, enum mb_code code, struct mb_error *err)
{
	char name[MB_PACK_NAME_TEXT];

	if (code != MB_NOT_FOUND)
		return code;
	mb_pack_name(name, pack);
	return mb_fail(err, MB_CORRUPT, "pack \"%s\" is missing", name);
}

/* Append bytes of a pack to out, from the loaded one if it is that; *size gets its full size. */
static enum mb_code
get_bytes(struct mb_pack_reader *reader, const struct mb_pack_id *pack, uint64_t offset, size_t len,
		  struct mb_buf *out, struct mb_error *err)
{
	char name[MB_PACK_NAME_TEXT];

	if (reader->has_whole && same_pack(&reader->whole_pack, pack))
	{
		if (offset < reader->whole.len)
		{
			size_t left = reader->whole.len - (size_t) offset;

			mb_buf_put(out, reader->whole.data + offset, len < left ? len : left);
		}
		return MB_OK;
	}
	mb_pack_name(name, pack);
	return missing_is_damage(pack, mb_store_get(reader->repo->store, name, offset, len, out, err),
							 err);
}

static enum mb_code
pack_size(struct mb_pack_reader *reader, const struct mb_pack_id *pack, uint64_t *size,
		  struct mb_error *err)
{
	struct mb_blob_info info;
	char name[MB_PACK_NAME_TEXT];
	enum mb_code code;

	if (reader->has_whole && same_pack(&reader->whole_pack, pack))
	{
		*size = reader->whole.len;
		return MB_OK;
	}
	mb_pack_name(name, pack);
	code = missing_is_damage(pack, mb_store_head(reader->repo->store, name, &info, err), err);
	if (code)
		return code;
	*size = info.bytes;
	return MB_OK;
}

static enum mb_code
open_blob(struct mb_pack_reader *reader, const struct mb_pack_id *pack, const void *header,
		  size_t len, struct mb_error *err)
{
	char name[MB_PACK_NAME_TEXT];
	enum mb_code code;

	reader->blob_open = false;
	mb_pack_name(name, pack);
	code = mb_blob_open(&reader->blob, reader->repo, MB_ROLE_PACK, name, header, len, err);
	if (code)
		return code;
	reader->blob_pack = *pack;
	reader->blob_open = true;
	return MB_OK;
}

/* The frames must stand one behind the other from the header to the index frame. */
static enum mb_code
parse_index(struct pack_index *index, const struct mb_buf *plain, uint32_t index_at,
			struct mb_error *err)
{
	struct mb_rd rd = mb_rd_init(plain->data, plain->len);
	uint64_t at = MB_BLOB_HEADER_BYTES;
	uint32_t i;

	if (plain->len == 0 || plain->len % MB_INDEX_ENTRY_BYTES != 0 ||
		plain->len / MB_INDEX_ENTRY_BYTES > MB_PACK_MAX_FRAMES)
		return damaged(&index->pack, "its index has an impossible length", err);
	index->count = (uint32_t) (plain->len / MB_INDEX_ENTRY_BYTES);
	index->entries = mb_calloc(index->count, sizeof(index->entries[0]));
	for (i = 0; i < index->count; i++)
	{
		struct index_entry *entry = &index->entries[i];

		entry->offset = mb_rd_u32(&rd);
		entry->stored_len = mb_rd_u32(&rd);
		entry->plain_len = mb_rd_u32(&rd);
		if (entry->offset != at || entry->stored_len > MB_FRAME_MAX_STORED ||
			entry->plain_len > MB_FRAME_MAX_PLAIN)
			return damaged(&index->pack, "its index does not fit its frames", err);
		at += MB_FRAME_HEADER_BYTES + entry->stored_len;
	}
	if (at != index_at)
		return damaged(&index->pack, "its index does not fit its frames", err);
	return MB_OK;
}

/* Where the index frame starts, from the last bytes of a pack. */
static enum mb_code
parse_tail(const struct mb_pack_id *pack, const unsigned char *tail, uint64_t size,
		   uint32_t *index_at, struct mb_error *err)
{
	*index_at = mb_get_u32(tail);
	if (memcmp(tail + 4, MB_PACK_TAIL_MAGIC, 4) != 0 || *index_at < MB_BLOB_HEADER_BYTES ||
		*index_at > size - MB_PACK_TAIL_BYTES)
		return damaged(pack, "it has no valid tail", err);
	return MB_OK;
}

static enum mb_code
decode_index(struct mb_pack_reader *reader, struct pack_index *index, const unsigned char *frame,
			 size_t len, uint32_t index_at, struct mb_error *err)
{
	struct mb_frame_header header;
	struct mb_buf plain = {0};
	enum mb_code code;
	size_t used = 0;

	/* Its number is the count of the data frames, which only it knows: it is sealed in. */
	code = mb_frame_header_parse(&header, frame, len, reader->blob.name, err);
	if (!code)
		code =
			mb_blob_decode(&reader->blob, header.number, frame, len, &plain, &header, &used, err);
	if (!code && (header.flags != (MB_FRAME_INDEX | MB_FRAME_LAST) || used != len))
		code = damaged(&index->pack, "its tail does not lead to its index", err);
	if (!code)
		code = parse_index(index, &plain, index_at, err);
	if (!code && header.number != index->count)
		code = damaged(&index->pack, "its index does not fit its frames", err);
	mb_buf_release(&plain);
	return code;
}

static enum mb_code
read_index(struct mb_pack_reader *reader, struct pack_index *index, struct mb_error *err)
{
	struct mb_buf header = {0};
	struct mb_buf *end = &reader->bytes;
	uint64_t size = 0, end_at = 0;
	uint32_t index_at = 0;
	enum mb_code code = pack_size(reader, &index->pack, &size, err);

	if (!code && (size > MB_BLOB_MAX_BYTES ||
				  size < MB_BLOB_HEADER_BYTES + MB_FRAME_HEADER_BYTES + MB_PACK_TAIL_BYTES))
		code = damaged(&index->pack, "it has an impossible size", err);
	if (!code)
		code = get_bytes(reader, &index->pack, 0, MB_BLOB_HEADER_BYTES, &header, err);
	if (!code)
		code = open_blob(reader, &index->pack, header.data, header.len, err);
	if (!code)
		memcpy(index->header, header.data, MB_BLOB_HEADER_BYTES);
	mb_buf_release(&header);
	mb_buf_reset(end);
	end_at = size > TAIL_GET_BYTES ? size - TAIL_GET_BYTES : 0;
	if (!code)
		code = get_bytes(reader, &index->pack, end_at, TAIL_GET_BYTES, end, err);
	if (!code && end->len != size - end_at)
		code = damaged(&index->pack, "it is shorter than it was", err);
	if (!code)
		code = parse_tail(&index->pack, end->data + end->len - MB_PACK_TAIL_BYTES, size, &index_at,
						  err);
	if (!code && index_at < end_at)
	{
		mb_buf_reset(end);
		end_at = index_at;
		code = get_bytes(reader, &index->pack, end_at, (size_t) (size - end_at), end, err);
		if (!code && end->len != size - end_at)
			code = damaged(&index->pack, "it is shorter than it was", err);
	}
	if (!code)
		code = decode_index(reader, index, end->data + (index_at - end_at),
							end->len - (size_t) (index_at - end_at) - MB_PACK_TAIL_BYTES, index_at,
							err);
	return code;
}

static enum mb_code
find_index(struct mb_pack_reader *reader, const struct mb_pack_id *pack, struct pack_index **out,
		   struct mb_error *err)
{
	struct pack_index *oldest = &reader->indexes[0];
	enum mb_code code;
	size_t i;

	for (i = 0; i < INDEX_CACHE; i++)
	{
		struct pack_index *index = &reader->indexes[i];

		if (index->last_use && same_pack(&index->pack, pack))
		{
			index->last_use = ++reader->clock;
			*out = index;
			return MB_OK;
		}
		if (index->last_use < oldest->last_use)
			oldest = index;
	}
	free(oldest->entries);
	memset(oldest, 0, sizeof(*oldest));
	oldest->pack = *pack;
	code = read_index(reader, oldest, err);
	if (code)
	{
		free(oldest->entries);
		memset(oldest, 0, sizeof(*oldest));
		return code;
	}
	oldest->last_use = ++reader->clock;
	*out = oldest;
	return MB_OK;
}

static enum mb_code
decode_frame(struct mb_pack_reader *reader, const struct pack_index *index, uint32_t frame,
			 struct mb_buf *plain, struct mb_error *err)
{
	const struct index_entry *entry = &index->entries[frame];
	size_t want = MB_FRAME_HEADER_BYTES + entry->stored_len;
	const unsigned char *bytes;
	struct mb_frame_header header;
	enum mb_code code = MB_OK;
	size_t used = 0;

	if (!reader->blob_open || !same_pack(&reader->blob_pack, &index->pack))
		code = open_blob(reader, &index->pack, index->header, sizeof(index->header), err);
	if (code)
		return code;
	if (reader->has_whole && same_pack(&reader->whole_pack, &index->pack) &&
		entry->offset + want <= reader->whole.len)
		bytes = reader->whole.data + entry->offset;
	else
	{
		mb_buf_reset(&reader->bytes);
		code = get_bytes(reader, &index->pack, entry->offset, want, &reader->bytes, err);
		if (code)
			return code;
		if (reader->bytes.len != want)
			return damaged(&index->pack, "it is shorter than its index says", err);
		bytes = reader->bytes.data;
	}
	code = mb_blob_decode(&reader->blob, frame, bytes, want, plain, &header, &used, err);
	if (!code && (used != want || header.flags != 0 || header.plain_len != entry->plain_len))
		code = damaged(&index->pack, "a frame does not fit its index", err);
	return code;
}

enum mb_code
mb_pack_reader_frame(struct mb_pack_reader *reader, const struct mb_pack_id *pack, uint32_t frame,
					 const unsigned char **data, size_t *len, struct mb_error *err)
{
	struct cached_frame *slot = &reader->frames[0];
	struct pack_index *index;
	enum mb_code code;
	size_t i;

	for (i = 0; i < FRAME_CACHE; i++)
	{
		struct cached_frame *cached = &reader->frames[i];

		if (cached->last_use && cached->frame == frame && same_pack(&cached->pack, pack))
		{
			slot = cached;
			goto found;
		}
		if (cached->last_use < slot->last_use)
			slot = cached;
	}
	code = find_index(reader, pack, &index, err);
	if (code)
		return code;
	if (frame >= index->count)
		return damaged(pack, "a frame that is referred to is not in it", err);
	slot->last_use = 0;
	mb_buf_reset(&slot->plain);
	code = decode_frame(reader, index, frame, &slot->plain, err);
	if (code)
		return code;
	slot->pack = *pack;
	slot->frame = frame;
found:
	slot->last_use = ++reader->clock;
	*data = slot->plain.data;
	*len = slot->plain.len;
	return MB_OK;
}

enum mb_code
mb_pack_reader_load(struct mb_pack_reader *reader, const struct mb_pack_id *pack,
					struct mb_error *err)
{
	enum mb_code code;

	if (reader->has_whole && same_pack(&reader->whole_pack, pack))
		return MB_OK;
	reader->has_whole = false;
	mb_buf_reset(&reader->whole);
	code = get_bytes(reader, pack, 0, SIZE_MAX, &reader->whole, err);
	if (code)
		return code;
	reader->whole_pack = *pack;
	reader->has_whole = true;
	return MB_OK;
}

enum mb_code
mb_pack_reader_run(struct mb_pack_reader *reader, const struct mb_run *run, struct mb_buf *out,
				   struct mb_error *err)
{
	const unsigned char *data;
	enum mb_code code;
	size_t len;

	code = mb_pack_reader_frame(reader, &run->pack, run->frame, &data, &len, err);
	if (code)
		return code;
	if (run->offset > len || run->length > len - run->offset)
		return damaged(&run->pack, "a frame is shorter than what is referred to", err);
	mb_buf_put(out, data + run->offset, run->length);
	return MB_OK;
}

enum mb_code
mb_pack_reader_plain_bytes(struct mb_pack_reader *reader, const struct mb_pack_id *pack,
						   uint64_t *plain_bytes, struct mb_error *err)
{
	struct pack_index *index;
	enum mb_code code = find_index(reader, pack, &index, err);
	uint32_t i;

	if (code)
		return code;
	*plain_bytes = 0;
	for (i = 0; i < index->count; i++)
		*plain_bytes += index->entries[i].plain_len;
	return MB_OK;
}

/* Walk the frames of the whole pack in `bytes`; the index is checked against them. */
static enum mb_code
verify_frames(struct mb_pack_reader *reader, struct pack_index *index, const struct mb_buf *bytes,
			  uint64_t *plain_bytes, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	uint32_t i;

	for (i = 0; i < index->count && !code; i++)
	{
		const struct index_entry *entry = &index->entries[i];
		struct mb_frame_header header = {0};
		size_t used = 0;

		code = mb_blob_check(&reader->blob, i, bytes->data + entry->offset,
							 bytes->len - entry->offset, &header, &used, err);
		if (!code && (used != MB_FRAME_HEADER_BYTES + (size_t) entry->stored_len ||
					  header.flags != 0 || header.plain_len != entry->plain_len))
			code = damaged(&index->pack, "a frame does not fit its index", err);
		*plain_bytes += header.plain_len;
	}
	return code;
}

enum mb_code
mb_pack_verify(struct mb_pack_reader *reader, const struct mb_pack_id *pack, uint64_t *plain_bytes,
			   uint32_t *frames, struct mb_error *err)
{
	struct pack_index index = {.pack = *pack};
	enum mb_code code;

	*plain_bytes = 0;
	*frames = 0;
	/* Always what is stored now. */
	reader->has_whole = false;
	code = mb_pack_reader_load(reader, pack, err);
	if (!code)
		code = read_index(reader, &index, err);
	if (!code)
		code = verify_frames(reader, &index, &reader->whole, plain_bytes, err);
	if (!code)
		*frames = index.count;
	free(index.entries);
	return code;
}

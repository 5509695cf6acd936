/* pieces.c - see pieces.h: one piece.  chain.c has what joins them. */
#include "redis/pieces.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/resp.h"

#define PIECE_FORMAT 1

static void
piece_path(char out[MB_NAME_MAX], const char *component, const struct mb_piece_name *name)
{
	snprintf(out, MB_NAME_MAX, "streams/%s/%s/%016" PRIx64 "-%016" PRIx64, component, name->replid,
			 name->start, name->end);
}

/* -- the header ------------------------------------------------------------------------------ */

static const char *const kind_names[] = {"data", "first", "continue", "gap"};

static json_t *
point_json(const struct mb_time_offset *point)
{
	return json_pack("[I,I]", (json_int_t) point->time_us, (json_int_t) point->offset);
}

static bool
parse_point(const json_t *json, struct mb_time_offset *point)
{
	const json_t *time = json_array_get(json, 0), *offset = json_array_get(json, 1);

	if (json_array_size(json) != 2 || !json_is_integer(time) || !json_is_integer(offset) ||
		json_integer_value(offset) < 0)
		return false;
	point->time_us = json_integer_value(time);
	point->offset = (uint64_t) json_integer_value(offset);
	return true;
}

static json_t *
header_json(const struct mb_piece *piece)
{
	json_t *json = json_object(), *index = json_array();
	size_t i;

	mb_json_set_int(json, "format", PIECE_FORMAT);
	mb_json_set_str(json, "kind", kind_names[piece->kind]);
	mb_json_set_str(json, "replid", piece->name.replid);
	mb_json_set_int(json, "start", (int64_t) piece->name.start);
	mb_json_set_int(json, "end", (int64_t) piece->name.end);
	mb_json_set_int(json, "command", (int64_t) piece->command);
	mb_json_set_int(json, "db", piece->db);
	mb_json_set_bool(json, "multi", piece->in_multi);
	if (piece->from_replid[0])
	{
		mb_json_set_str(json, "from_replid", piece->from_replid);
		mb_json_set_int(json, "from_offset", (int64_t) piece->from_offset);
	}
	if (piece->since.time_us)
		json_object_set_new(json, "since", point_json(&piece->since));
	for (i = 0; i < piece->index_count; i++)
		json_array_append_new(index, point_json(&piece->index[i]));
	json_object_set_new(json, "index", index);
	return json;
}

static bool
parse_kind(const char *text, enum mb_piece_kind *kind)
{
	unsigned i;

	for (i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++)
		if (strcmp(text, kind_names[i]) == 0)
		{
			*kind = (enum mb_piece_kind) i;
			return true;
		}
	return false;
}

static bool
parse_index(const json_t *json, struct mb_piece *piece)
{
	const json_t *index = json_object_get(json, "index"), *since = json_object_get(json, "since");
	size_t i;

	piece->index_count = json_array_size(index);
	if (piece->index_count > MB_PIECE_MAX_INDEX || (since && !parse_point(since, &piece->since)))
		return false;
	for (i = 0; i < piece->index_count; i++)
		if (!parse_point(json_array_get(index, i), &piece->index[i]) ||
			piece->index[i].offset > piece->name.end)
			return false;
	return true;
}

static bool
parse_header(const json_t *json, const struct mb_piece_name *name, struct mb_piece *piece)
{
	const char *from = mb_json_str(json, "from_replid", "");

	memset(piece, 0, sizeof(*piece));
	piece->name = *name;
	if (mb_json_int(json, "format", 0) != PIECE_FORMAT ||
		!parse_kind(mb_json_str(json, "kind", ""), &piece->kind) ||
		strcmp(mb_json_str(json, "replid", ""), name->replid) != 0 ||
		mb_json_int(json, "start", -1) != (int64_t) name->start ||
		mb_json_int(json, "end", -1) != (int64_t) name->end)
		return false;
	if (*from && !mb_replid_is_valid(from))
		return false;
	strcpy(piece->from_replid, from);
	piece->from_offset = (uint64_t) mb_json_int(json, "from_offset", 0);
	piece->command = (uint64_t) mb_json_int(json, "command", (int64_t) name->start);
	piece->db = mb_json_int(json, "db", MB_RESP_DB_UNKNOWN);
	piece->in_multi = mb_json_bool(json, "multi", false);
	return piece->command <= name->start && parse_index(json, piece);
}

/* -- writing and reading ----------------------------------------------------------------------- */

enum mb_code
mb_piece_put(const struct mb_repo *repo, const char *component, const struct mb_piece *piece,
			 const void *data, size_t len, struct mb_error *err)
{
	struct mb_blob_writer writer = {0};
	json_t *json = header_json(piece);
	char *text = mb_json_text(json);
	char path[MB_NAME_MAX];
	enum mb_code code;

	MB_ASSERT(len == piece->name.end - piece->name.start && len <= MB_PIECE_MAX_BYTES);
	piece_path(path, component, &piece->name);
	mb_blob_begin(&writer, repo, MB_ROLE_STREAM, path);
	mb_blob_frame(&writer, text, strlen(text), 0);
	mb_blob_frames_last(&writer, data, len);
	code = mb_blob_put(&writer, err);
	mb_blob_writer_release(&writer);
	free(text);
	json_decref(json);
	return code;
}

/* Frame 0 of the bytes that were got; *used is where the next frame begins. */
static enum mb_code
decode_header(struct mb_blob_reader *reader, const struct mb_buf *blob,
			  const struct mb_piece_name *name, struct mb_piece *piece, size_t *used,
			  struct mb_error *err)
{
	struct mb_frame_header header;
	struct mb_buf text = {0};
	json_t *json = NULL;
	enum mb_code code;
	size_t n;

	code = mb_blob_decode(reader, 0, blob->data + MB_BLOB_HEADER_BYTES,
						  blob->len - MB_BLOB_HEADER_BYTES, &text, &header, &n, err);
	if (!code && text.len > MB_PIECE_HEADER_MAX)
		code = mb_fail(err, MB_CORRUPT, "the header of \"%s\" is too large", reader->name);
	if (!code)
		code = mb_json_parse(&json, (const char *) text.data, text.len, reader->name, err);
	if (!code && !parse_header(json, name, piece))
		code = mb_fail(err, MB_CORRUPT, "the header of \"%s\" cannot be read", reader->name);
	*used = MB_BLOB_HEADER_BYTES + n;
	json_decref(json);
	mb_buf_release(&text);
	return code;
}

static enum mb_code
decode_data(struct mb_blob_reader *reader, const struct mb_buf *blob, size_t at,
			const struct mb_piece *piece, struct mb_buf *data, struct mb_error *err)
{
	uint64_t want = piece->name.end - piece->name.start;
	struct mb_frame_header header = {0};
	size_t before = data->len, used;
	uint32_t number;

	for (number = 1; !(header.flags & MB_FRAME_LAST); number++, at += used)
	{
		if (mb_blob_decode(reader, number, blob->data + at, blob->len - at, data, &header, &used,
						   err))
			return err->code;
		if (data->len - before > want)
			break;
	}
	if (data->len - before != want || at != blob->len)
		return mb_fail(err, MB_CORRUPT, "\"%s\" holds another number of bytes than its name says",
					   reader->name);
	return MB_OK;
}

/* Get the first `len` bytes of the blob and decode the header, and the data when asked for. */
static enum mb_code
get_piece(const struct mb_repo *repo, const char *component, const struct mb_piece_name *name,
		  size_t len, struct mb_piece *piece, struct mb_buf *data, struct mb_error *err)
{
	struct mb_blob_reader reader = {0};
	struct mb_piece *found = mb_calloc(1, sizeof(*found));
	struct mb_buf blob = {0};
	char path[MB_NAME_MAX];
	size_t used = 0, before = data ? data->len : 0;
	enum mb_code code;

	piece_path(path, component, name);
	code = mb_store_get(repo->store, path, 0, len, &blob, err);
	if (!code)
		code = mb_blob_open(&reader, repo, MB_ROLE_STREAM, path, blob.data, blob.len, err);
	if (!code)
		code = decode_header(&reader, &blob, name, found, &used, err);
	if (!code && data)
		code = decode_data(&reader, &blob, used, found, data, err);
	if (!code)
		*piece = *found;
	else if (data)
		data->len = before;
	mb_blob_reader_release(&reader);
	mb_buf_release(&blob);
	free(found);
	return code;
}

enum mb_code
mb_piece_head(const struct mb_repo *repo, const char *component, const struct mb_piece_name *name,
			  struct mb_piece *piece, struct mb_error *err)
{
	return get_piece(repo, component, name, MB_PIECE_HEADER_MAX, piece, NULL, err);
}

enum mb_code
mb_piece_get(const struct mb_repo *repo, const char *component, const struct mb_piece_name *name,
			 struct mb_piece *piece, struct mb_buf *data, struct mb_error *err)
{
	if (name->end - name->start > MB_PIECE_MAX_BYTES)
		return mb_fail(err, MB_CORRUPT, "a piece of the Redis stream is larger than any may be");
	return get_piece(repo, component, name, SIZE_MAX, piece, data, err);
}

/* -- listing ------------------------------------------------------------------------------------ */

static bool
parse_hex(const char *text, uint64_t *out)
{
	char digits[17];
	char *end;

	if (strspn(text, "0123456789abcdef") < 16)
		return false;
	memcpy(digits, text, 16);
	digits[16] = '\0';
	*out = strtoull(digits, &end, 16);
	return *end == '\0';
}

bool
mb_piece_name_parse(const char *text, struct mb_piece_name *name)
{
	if (strlen(text) != MB_REPLID_LEN + 1 + 16 + 1 + 16 || text[MB_REPLID_LEN] != '/' ||
		text[MB_REPLID_LEN + 17] != '-')
		return false;
	memcpy(name->replid, text, MB_REPLID_LEN);
	name->replid[MB_REPLID_LEN] = '\0';
	return mb_replid_is_valid(name->replid) && parse_hex(text + MB_REPLID_LEN + 1, &name->start) &&
		   parse_hex(text + MB_REPLID_LEN + 18, &name->end) && name->start <= name->end;
}

struct listing
{
	size_t skip; /* of the name: "streams/<component>/" */
	struct mb_pieces *pieces;
};

static enum mb_code
add_piece(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct listing *listing = ctx;
	struct mb_pieces *pieces = listing->pieces;
	struct mb_piece_name name;

	(void) err;
	/* Other names are not ours to judge: verify reports them. */
	if (!mb_piece_name_parse(info->name + listing->skip, &name))
		return MB_OK;
	pieces->items = mb_grow(pieces->items, &pieces->cap, pieces->count + 1, sizeof(*pieces->items));
	if (info->modified_us >= pieces->newest_us)
	{
		pieces->newest = pieces->count;
		pieces->newest_us = info->modified_us;
	}
	pieces->items[pieces->count++] = name;
	return MB_OK;
}

static enum mb_code
list_prefix(const struct mb_repo *repo, const char *component, const char *prefix,
			struct mb_pieces *pieces, struct mb_error *err)
{
	char full[MB_NAME_MAX];
	struct listing listing = {.pieces = pieces};

	listing.skip = strlen("streams/") + strlen(component) + 1;
	snprintf(full, sizeof(full), "streams/%s/%s", component, prefix);
	return mb_store_list(repo->store, full, add_piece, &listing, err);
}

enum mb_code
mb_pieces_list(const struct mb_repo *repo, const char *component, const char *replid,
			   struct mb_pieces *pieces, struct mb_error *err)
{
	struct mb_pieces found = {0};
	char prefix[MB_REPLID_TEXT + 1] = "";

	if (replid)
		snprintf(prefix, sizeof(prefix), "%.40s/", replid);
	if (list_prefix(repo, component, prefix, &found, err))
	{
		mb_pieces_release(&found);
		return err->code;
	}
	*pieces = found;
	return MB_OK;
}

void
mb_pieces_release(struct mb_pieces *pieces)
{
	free(pieces->items);
	memset(pieces, 0, sizeof(*pieces));
}

bool
mb_pieces_end(const struct mb_pieces *pieces, const char *replid, uint64_t *end)
{
	bool found = false;
	size_t i;

	for (i = 0; i < pieces->count; i++)
		if (strcmp(pieces->items[i].replid, replid) == 0 && (!found || pieces->items[i].end > *end))
		{
			*end = pieces->items[i].end;
			found = true;
		}
	return found;
}

enum mb_code
mb_pieces_hold(const struct mb_repo *repo, const char *component, const char *replid,
			   uint64_t offset, bool *held, struct mb_error *err)
{
	/*
	 * A piece is smaller than a window of 16 MiB (6 hex digits), so the one that holds the
	 * offset starts in the offset's window or in the one before.
	 */
	uint64_t window = offset >> 24;
	struct mb_pieces pieces = {0};
	enum mb_code code = MB_OK;
	bool found = false;
	size_t i;
	int back;

	_Static_assert(MB_PIECE_MAX_BYTES < 1u << 24, "a piece must be smaller than a window");
	for (back = 0; !code && back < 2 && (uint64_t) back <= window; back++)
	{
		char prefix[64];

		snprintf(prefix, sizeof(prefix), "%.40s/%010" PRIx64, replid, window - (uint64_t) back);
		code = list_prefix(repo, component, prefix, &pieces, err);
	}
	for (i = 0; !code && i < pieces.count; i++)
		found = found || (pieces.items[i].start <= offset && offset <= pieces.items[i].end);
	mb_pieces_release(&pieces);
	if (!code)
		*held = found;
	return code;
}

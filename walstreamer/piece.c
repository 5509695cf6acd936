/* piece.c - see piece.h. */
#include "walstreamer/piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"

void
mb_wal_hash(char out[MB_WAL_HASH_TEXT], const void *data, size_t len)
{
	unsigned char hash[MB_XXH128_BYTES];

	mb_xxh128(hash, data, len);
	mb_hex(out, hash, sizeof(hash));
}

static json_t *
points_json(const struct mb_wal_facts *facts)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; i < facts->point_count; i++)
	{
		json_t *point = json_object();

		mb_json_set_str(point, "name", facts->points[i].name);
		mb_json_set_lsn(point, "lsn", facts->points[i].lsn);
		mb_json_set_time(point, "time", facts->points[i].time_us);
		json_array_append_new(array, point);
	}
	return array;
}

static json_t *
header_json(const struct mb_wal_piece *piece)
{
	uint64_t segment = piece->from_lsn - piece->from_lsn % piece->where.segment_size;
	const struct mb_wal_facts *facts = piece->facts;
	json_t *json = json_object();
	char file[MB_WAL_FILE_TEXT], hex[MB_WAL_HASH_TEXT];

	mb_wal_file_name(file, piece->where.timeline, piece->from_lsn, piece->where.segment_size);
	mb_wal_hash(hex, piece->data, (size_t) (piece->to_lsn - piece->from_lsn));
	mb_json_set_int(json, "version", 1);
	mb_json_set_str(json, "system_id", piece->where.system_id);
	mb_json_set_int(json, "timeline", piece->where.timeline);
	mb_json_set_str(json, "branch", piece->where.branch);
	mb_json_set_str(json, "segment", file);
	mb_json_set_int(json, "segment_size", piece->where.segment_size);
	mb_json_set_int(json, "start", (int64_t) (piece->from_lsn - segment));
	mb_json_set_int(json, "end", (int64_t) (piece->to_lsn - segment));
	mb_json_set_str(json, "hash", hex);
	mb_json_set_time(json, "received", piece->received_us);
	mb_json_set_time(json, "server_time", piece->server_time_us);
	if (piece->history && *piece->history)
		mb_json_set_str(json, "history", piece->history);
	if (piece->parent_branch && *piece->parent_branch)
		mb_json_set_str(json, "parent_branch", piece->parent_branch);
	if (facts->commits > 0)
	{
		mb_json_set_time(json, "first_commit_time", facts->first_commit_us);
		mb_json_set_time(json, "last_commit_time", facts->newest_commit_us);
	}
	if (facts->records > 0)
		mb_json_set_lsn(json, "last_record_lsn", facts->last_record_lsn);
	if (facts->point_count > 0)
		json_object_set_new(json, "restore_points", points_json(facts));
	if (facts->points_dropped)
		mb_json_set_bool(json, "restore_points_dropped", true);
	return json;
}

/* Is what stands under this name the same WAL? */
static enum mb_code
compare_stored(const struct mb_repo *repo, const char *name, const struct mb_wal_piece *piece,
			   struct mb_error *err)
{
	struct mb_buf stored = {0};
	enum mb_code code = mb_wal_piece_get(repo, name, NULL, &stored, err);

	if (!code && (stored.len != piece->to_lsn - piece->from_lsn ||
				  memcmp(stored.data, piece->data, stored.len) != 0))
		code = mb_fail(err, MB_EXISTS, "\"%s\" holds other WAL", name);
	mb_buf_release(&stored);
	return code;
}

void
mb_wal_piece_seal(struct mb_blob_writer *writer, const struct mb_repo *repo,
				  const struct mb_wal_piece *piece)
{
	json_t *json = header_json(piece);
	char *text = mb_json_text(json);
	char name[MB_NAME_MAX];

	MB_ASSERT(strlen(text) <= MB_WAL_HEADER_MAX);
	mb_wal_piece_name(name, &piece->where, piece->from_lsn, piece->to_lsn);
	mb_blob_begin(writer, repo, MB_ROLE_STREAM, name);
	mb_blob_frame(writer, text, strlen(text), 0);
	mb_blob_frames_last(writer, piece->data, piece->to_lsn - piece->from_lsn);
	free(text);
	json_decref(json);
}

enum mb_code
mb_wal_piece_put_sealed(struct mb_blob_writer *writer, const struct mb_repo *repo,
						const struct mb_wal_piece *piece, struct mb_error *err)
{
	enum mb_code code = mb_blob_put(writer, err);
	char name[MB_NAME_MAX];

	if (code != MB_EXISTS)
		return code;
	mb_wal_piece_name(name, &piece->where, piece->from_lsn, piece->to_lsn);
	return compare_stored(repo, name, piece, err);
}

enum mb_code
mb_wal_piece_put(struct mb_blob_writer *writer, const struct mb_repo *repo,
				 const struct mb_wal_piece *piece, struct mb_error *err)
{
	mb_wal_piece_seal(writer, repo, piece);
	return mb_wal_piece_put_sealed(writer, repo, piece, err);
}

/* Decode frame 0 of the blob whose first bytes are in raw. */
static enum mb_code
decode_header(struct mb_blob_reader *reader, const struct mb_repo *repo, const char *name,
			  const struct mb_buf *raw, json_t **header, size_t *used, unsigned *flags,
			  struct mb_error *err)
{
	struct mb_frame_header frame;
	struct mb_buf text = {0};
	enum mb_code code;

	code = mb_blob_open(reader, repo, MB_ROLE_STREAM, name, raw->data, raw->len, err);
	if (!code)
		code = mb_blob_decode(reader, 0, raw->data + MB_BLOB_HEADER_BYTES,
							  raw->len - MB_BLOB_HEADER_BYTES, &text, &frame, used, err);
	if (!code)
		code = mb_json_parse(header, (const char *) text.data, text.len, name, err);
	if (!code)
	{
		*used += MB_BLOB_HEADER_BYTES;
		*flags = frame.flags;
	}
	mb_buf_release(&text);
	return code;
}

/* The header must say what the name says. */
static enum mb_code
check_header(const char *name, const json_t *header, struct mb_error *err)
{
	int64_t size = mb_json_int(header, "segment_size", 0);
	int64_t start = mb_json_int(header, "start", -1);
	int64_t end = mb_json_int(header, "end", -1);
	const char *file = mb_json_str(header, "segment", "");
	char tail[96];

	snprintf(tail, sizeof(tail), "/%08X/%.16s/%.24s/%08X-%08X",
			 (unsigned) mb_json_int(header, "timeline", 0), mb_json_str(header, "branch", ""), file,
			 (unsigned) start, (unsigned) end);
	if (size <= 0 || !mb_wal_segment_size_is_valid((uint64_t) size) || start < 0 || end <= start ||
		end > size || !mb_ends_with(name, tail))
		return mb_fail(err, MB_CORRUPT, "the header of \"%s\" does not belong to it", name);
	return MB_OK;
}

enum mb_code
mb_wal_piece_header(const struct mb_repo *repo, const char *name, json_t **header,
					struct mb_error *err)
{
	struct mb_blob_reader reader = {0};
	struct mb_buf raw = {0};
	enum mb_code code;
	json_t *made = NULL;
	size_t used;
	unsigned flags;

	code = mb_store_get(repo->store, name, 0, MB_WAL_HEADER_GET, &raw, err);
	if (!code && raw.len >= MB_BLOB_HEADER_BYTES + MB_FRAME_HEADER_BYTES)
	{
		struct mb_frame_header frame;

		/* A header with many restore points is longer: get the rest of its frame. */
		code = mb_frame_header_parse(&frame, raw.data + MB_BLOB_HEADER_BYTES,
									 raw.len - MB_BLOB_HEADER_BYTES, name, err);
		if (!code && raw.len == MB_WAL_HEADER_GET)
		{
			size_t want = MB_BLOB_HEADER_BYTES + MB_FRAME_HEADER_BYTES + (size_t) frame.stored_len +
						  MB_TAG_BYTES;

			if (want > raw.len)
				code = mb_store_get(repo->store, name, raw.len, want - raw.len, &raw, err);
		}
	}
	if (!code)
		code = decode_header(&reader, repo, name, &raw, &made, &used, &flags, err);
	if (!code)
		code = check_header(name, made, err);
	if (!code)
		*header = made;
	else
		json_decref(made);
	mb_blob_reader_release(&reader);
	mb_buf_release(&raw);
	return code;
}

enum mb_code
mb_wal_piece_get(const struct mb_repo *repo, const char *name, json_t **header, struct mb_buf *out,
				 struct mb_error *err)
{
	struct mb_blob_reader reader = {0};
	struct mb_buf raw = {0};
	json_t *made = NULL;
	uint32_t number = 0;
	unsigned flags = 0;
	size_t at = 0, before = out->len;
	enum mb_code code;

	code = mb_store_get(repo->store, name, 0, SIZE_MAX, &raw, err);
	if (!code)
		code = decode_header(&reader, repo, name, &raw, &made, &at, &flags, err);
	if (!code)
		code = check_header(name, made, err);
	while (!code && !(flags & MB_FRAME_LAST))
	{
		struct mb_frame_header frame;
		size_t used;

		if (out->len - before > MB_WAL_UNIT_MAX)
			code = mb_fail(err, MB_CORRUPT, "\"%s\" is too long", name);
		else
			code = mb_blob_decode(&reader, ++number, raw.data + at, raw.len - at, out, &frame,
								  &used, err);
		if (!code)
		{
			at += used;
			flags = frame.flags;
		}
	}
	if (!code && (at != raw.len || (int64_t) (out->len - before) !=
									   mb_json_int(made, "end", 0) - mb_json_int(made, "start", 0)))
		code =
			mb_fail(err, MB_CORRUPT, "\"%s\" does not have the length that its header says", name);
	if (code)
		out->len = before;
	else if (header)
	{
		*header = made;
		made = NULL;
	}
	json_decref(made);
	mb_blob_reader_release(&reader);
	mb_buf_release(&raw);
	return code;
}

enum mb_code
mb_wal_history_put(struct mb_blob_writer *writer, const struct mb_repo *repo, const char *component,
				   const char *system_id, uint32_t timeline, const void *content, size_t len,
				   char name[MB_NAME_MAX], struct mb_error *err)
{
	enum mb_code code;

	mb_wal_history_name(name, component, system_id, timeline, content, len);
	mb_blob_begin(writer, repo, MB_ROLE_STREAM, name);
	mb_blob_frames_last(writer, content, len);
	code = mb_blob_put(writer, err);
	return code == MB_EXISTS ? MB_OK : code;
}

/* -- tail pieces ----------------------------------------------------------------------------- */

#define REMOVE_AT_ONCE 256

struct removal
{
	struct mb_buf names; /* NUL-terminated, one behind the other */
	const char *keep;
	size_t prefix_len;
	uint32_t start;
	uint32_t end;
};

static enum mb_code
collect_tail(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct removal *removal = ctx;
	unsigned start, end;

	(void) err;
	if (strcmp(info->name, removal->keep) != 0 &&
		sscanf(info->name + removal->prefix_len, "%08X-%08X", &start, &end) == 2 &&
		start >= removal->start && end <= removal->end)
		mb_buf_put(&removal->names, info->name, strlen(info->name) + 1);
	return MB_OK;
}

void
mb_wal_tails_remove(const struct mb_repo *repo, const struct mb_wal_where *where, uint64_t from_lsn,
					uint64_t to_lsn)
{
	uint64_t segment = from_lsn - from_lsn % where->segment_size;
	struct removal removal = {0};
	char prefix[MB_NAME_MAX], keep[MB_NAME_MAX];
	struct mb_error ignored;
	size_t at = 0;

	mb_wal_segment_prefix(prefix, where, from_lsn);
	mb_wal_piece_name(keep, where, from_lsn, to_lsn);
	removal.keep = keep;
	removal.prefix_len = strlen(prefix);
	removal.start = (uint32_t) (from_lsn - segment);
	removal.end = (uint32_t) (to_lsn - segment);
	if (mb_store_list(repo->store, prefix, collect_tail, &removal, &ignored))
		removal.names.len = 0;
	/* At once: a synchronous standby has left hundreds, and each call costs an fsync. */
	while (at < removal.names.len)
	{
		const char *names[REMOVE_AT_ONCE];
		size_t count = 0;

		for (; at < removal.names.len && count < REMOVE_AT_ONCE; at += strlen(names[count++]) + 1)
			names[count] = (const char *) removal.names.data + at;
		if (mb_store_remove(repo->store, names, count, &ignored))
			break;
	}
	mb_buf_release(&removal.names);
}

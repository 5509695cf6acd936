/* commit_get.c - see commit.h: reading one commit, its head or all of it. */
#include <string.h>

#include "core/repo/commit_private.h"

#define HEAD_GET_BYTES 65536

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
	code = mb_commit_checked_name(name, component, id, err);
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

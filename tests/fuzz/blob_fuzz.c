/* blob_fuzz.c - a whole blob from an unencrypted repository, as its readers meet it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/repo/pack.h"
#include "core/repo/repo_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Make the tags fit, so that mutants come past them: what follows is not protected by a key. */
static void
fix_tags(struct mb_buf *blob, const struct mb_repo *repo, const char *name)
{
	size_t at = MB_BLOB_HEADER_BYTES;

	while (at < blob->len && blob->len - at >= MB_FRAME_HEADER_BYTES)
	{
		struct mb_buf ad = {0};
		size_t stored = mb_get_u32(blob->data + at + 12);
		unsigned char *frame = blob->data + at;

		if (stored < 32 || stored > blob->len - at - MB_FRAME_HEADER_BYTES)
			break;
		mb_buf_put(&ad, "mbackup frame", 14);
		mb_buf_put(&ad, repo->id, MB_REPO_ID_BYTES);
		mb_buf_put(&ad, blob->data, MB_BLOB_HEADER_BYTES);
		mb_buf_put(&ad, frame, MB_FRAME_HEADER_BYTES);
		mb_buf_put_str(&ad, name);
		if (frame[5] == MB_CODEC_RAW)
			mb_xxh128(frame + MB_FRAME_HEADER_BYTES, frame + MB_FRAME_HEADER_BYTES + 16,
					  stored - 32);
		mb_xxh128_2(frame + MB_FRAME_HEADER_BYTES + stored - 16, ad.data, ad.len,
					frame + MB_FRAME_HEADER_BYTES, stored - 16);
		mb_buf_release(&ad);
		at += MB_FRAME_HEADER_BYTES + stored;
	}
}

static void
read_everywhere(const struct mb_repo *repo, const struct mb_buf *blob, const char *pack_name)
{
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	struct mb_buf out = {0};
	struct mb_pack_id id;
	const unsigned char *bytes;
	uint64_t plain_bytes;
	uint32_t frames;
	struct mb_error err;
	size_t len;

	memset(&id, 0, sizeof(id));
	if (mb_store_put(repo->store, "sets/x", blob->data, blob->len, &err) == MB_OK &&
		mb_store_put(repo->store, pack_name, blob->data, blob->len, &err) == MB_OK)
	{
		if (mb_blob_get(repo, MB_ROLE_SET, "sets/x", 1 << 20, &out, &err) != MB_OK && out.len != 0)
			abort();
		if (mb_pack_reader_frame(reader, &id, 0, &bytes, &len, &err) == MB_OK &&
			len > MB_FRAME_MAX_PLAIN)
			abort();
		if (mb_pack_verify(reader, &id, &plain_bytes, &frames, &err) == MB_OK && frames == 0)
			abort();
	}
	mb_buf_release(&out);
	mb_pack_reader_free(reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_repo repo = {.suite = MB_SUITE_NONE};
	char pack_name[MB_PACK_NAME_TEXT];
	struct mb_buf blob = {0};
	struct mb_pack_id id;
	int fixed;

	memset(&id, 0, sizeof(id));
	mb_pack_name(pack_name, &id);
	mb_buf_reserve(&blob, size + 1);
	mb_buf_put(&blob, data, size);
	for (fixed = 0; fixed < 3; fixed++)
	{
		repo.store = mb_store_memory_new(0);
		if (fixed && size > 10)
		{
			blob.data[10] = fixed == 1 ? MB_ROLE_SET : MB_ROLE_PACK;
			fix_tags(&blob, &repo, fixed == 1 ? "sets/x" : pack_name);
		}
		read_everywhere(&repo, &blob, pack_name);
		mb_store_free(repo.store);
	}
	mb_buf_release(&blob);
	return 0;
}

/* blob_fuzz.c - a whole blob from an unencrypted repository, as its readers meet it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/repo/pack.h"
#include "tests/lib/frame_tags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
			/* So that mutants come past the tags: what follows is not protected by a key. */
			frame_tags_fix(&repo, fixed == 1 ? "sets/x" : pack_name, &blob);
		}
		read_everywhere(&repo, &blob, pack_name);
		mb_store_free(repo.store);
	}
	mb_buf_release(&blob);
	return 0;
}

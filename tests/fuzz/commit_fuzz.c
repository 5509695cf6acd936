/* commit_fuzz.c - the parts of a commit: the first byte says which one follows. */
#include <stdint.h>
#include <stdlib.h>

#include "core/repo/commit_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_json(const uint8_t *data, size_t size)
{
	struct mb_commit_parts parts;
	struct mb_commit commit;
	json_t *json = NULL;
	struct mb_error err;

	if (mb_json_parse(&json, (const char *) data, size, "a commit", &err) != MB_OK)
		return;
	if (mb_commit_from_json(&commit, &parts, json, &err) == MB_OK && !mb_id_is_valid(commit.id))
		abort();
	mb_commit_release(&commit);
	json_decref(json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_pack_refs refs;
	struct mb_blocks blocks;
	struct mb_error err;
	uint64_t count;

	if (size < 2)
		return 0;
	count = data[1];
	if (data[0] % 3 == 0)
	{
		try_json(data + 1, size - 1);
		return 0;
	}
	data += 2;
	size -= 2;
	if (count == 0)
		count = UINT64_MAX / 3;
	if (mb_blocks_decode(&blocks, count, data, size, &err) == MB_OK)
		mb_blocks_release(&blocks);
	if (mb_refs_decode(&refs, size / 24, data, size, &err) == MB_OK)
		mb_pack_refs_release(&refs);
	if (mb_refs_decode(&refs, count, data, size, &err) == MB_OK)
		mb_pack_refs_release(&refs);
	return 0;
}

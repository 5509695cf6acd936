/* frames.c - see mutants.h: blobs taken apart and put together again (docs/format.md, sections 4 to 6). */
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/repo/pack.h"
#include "tests/lib/frame_tags.h"
#include "tests/mutants/mutants.h"

#define CHECKSUM ",\"checksum\":\""

enum mb_role
mutant_role(const char *name)
{
	static const struct
	{
		const char *prefix;
		enum mb_role role;
	} roles[] = {{"packs/", MB_ROLE_PACK},
				 {"backups/", MB_ROLE_COMMIT},
				 {"sets/", MB_ROLE_SET},
				 {"marks/", MB_ROLE_MARK},
				 {"streams/", MB_ROLE_STREAM},
				 {"keys/", MB_ROLE_KEY},
				 {"leases/", MB_ROLE_LEASE},
				 {"tombstones/", MB_ROLE_TOMBSTONE},
				 {"provisional/", MB_ROLE_PROVISIONAL},
				 {"probes/", MB_ROLE_PROBE},
				 {"pins/", MB_ROLE_PIN},
				 {"reduced/", MB_ROLE_REDUCED},
				 {"verified/", MB_ROLE_VERIFIED},
				 {"drills/", MB_ROLE_DRILL}};
	size_t i;

	for (i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (mb_starts_with(name, roles[i].prefix))
			return roles[i].role;
	return 0;
}

size_t
frames_find(const struct mutant_blob *blob, size_t offsets[MUTANT_MAX_FRAMES + 1])
{
	size_t at = MB_BLOB_HEADER_BYTES, count = 0;

	if (mutant_role(blob->name) == 0)
		return 0;
	while (count < MUTANT_MAX_FRAMES && at <= blob->len && blob->len - at >= MB_FRAME_HEADER_BYTES)
	{
		size_t stored = mb_get_u32(blob->data + at + 12);

		if (stored < 32 || stored > blob->len - at - MB_FRAME_HEADER_BYTES)
			break;
		offsets[count++] = at;
		at += MB_FRAME_HEADER_BYTES + stored;
		offsets[count] = at;
		if (blob->data[offsets[count - 1] + 4] & MB_FRAME_LAST)
			break;
	}
	return count;
}

bool
frames_open(const struct mb_repo *repo, const struct mutant_blob *blob, struct mutant_plain *plain)
{
	struct mb_blob_reader reader = {0};
	struct mb_frame_header header = {0};
	size_t at = MB_BLOB_HEADER_BYTES, used;
	struct mb_error err;
	enum mb_code code = MB_OK;

	plain->count = 0;
	if (mutant_role(blob->name) == 0 || blob->len < at)
		return false;
	code = mb_blob_open(&reader, repo, mutant_role(blob->name), blob->name, blob->data, at, &err);
	while (!code && !(header.flags & MB_FRAME_LAST) && plain->count < MUTANT_MAX_FRAMES)
	{
		struct mb_buf *out = &plain->frames[plain->count];

		memset(out, 0, sizeof(*out));
		code = mb_blob_decode(&reader, (uint32_t) plain->count, blob->data + at, blob->len - at,
							  out, &header, &used, &err);
		plain->count++;
		at += code ? 0 : used;
	}
	mb_blob_reader_release(&reader);
	if (!code && (header.flags & MB_FRAME_INDEX))
		mb_buf_release(&plain->frames[--plain->count]);
	if (code)
		frames_release(plain);
	return !code;
}

void
frames_release(struct mutant_plain *plain)
{
	while (plain->count > 0)
		mb_buf_release(&plain->frames[--plain->count]);
}

void
frames_seal(const struct mb_repo *repo, const char *name, const struct mutant_plain *plain,
			struct mb_buf *out)
{
	bool is_pack = mutant_role(name) == MB_ROLE_PACK;
	struct mb_blob_writer writer = {0};
	struct mb_buf index = {0};
	size_t i;

	mb_blob_begin(&writer, repo, mutant_role(name), name);
	for (i = 0; i < plain->count; i++)
	{
		const struct mb_buf *frame = &plain->frames[i];
		size_t at = writer.bytes.len;
		bool last = !is_pack && i + 1 == plain->count;

		mb_blob_frame(&writer, frame->data ? frame->data : (unsigned char *) "", frame->len,
					  last ? MB_FRAME_LAST : 0);
		mb_buf_put_u32(&index, (uint32_t) at);
		mb_buf_put_u32(&index, (uint32_t) (writer.bytes.len - at - MB_FRAME_HEADER_BYTES));
		mb_buf_put_u32(&index, (uint32_t) frame->len);
	}
	if (is_pack)
	{
		uint32_t index_at = (uint32_t) writer.bytes.len;

		mb_blob_frame(&writer, index.data, index.len, MB_FRAME_INDEX | MB_FRAME_LAST);
		mb_buf_put_u32(&writer.bytes, index_at);
		mb_buf_put(&writer.bytes, "PACK", 4);
	}
	mb_buf_put(out, writer.bytes.data, writer.bytes.len);
	mb_buf_release(&index);
	mb_blob_writer_release(&writer);
}

/* mbackup.json: the checksum over what stands before it. */
static void
fix_header(struct mb_buf *blob)
{
	unsigned char sum[MB_XXH128_BYTES];
	char hex[2 * MB_XXH128_BYTES + 1];
	size_t tail = strlen(CHECKSUM) + 32 + strlen("\"}\n");

	if (blob->len <= tail)
		return;
	blob->len -= tail;
	mb_xxh128(sum, blob->data, blob->len);
	mb_hex(hex, sum, sizeof(sum));
	mb_buf_printf(blob, CHECKSUM "%s\"}\n", hex);
}

void
frames_fix(const struct mb_repo *repo, const char *name, struct mb_buf *blob)
{
	if (strcmp(name, MB_HEADER_NAME) == 0)
		fix_header(blob);
	if (blob->len >= MB_BLOB_HEADER_BYTES && blob->data[11] == MB_SUITE_NONE &&
		mutant_role(name) != 0)
		frame_tags_fix(repo, name, blob);
}

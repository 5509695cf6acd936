/*
 * frame_tags.h - blobs that were changed and whose frames say so no more: for repositories without
 * encryption, where the tags are checksums (docs/format.md, section 5).
 */
#ifndef MB_TESTS_FRAME_TAGS_H
#define MB_TESTS_FRAME_TAGS_H

#include "core/base/hash.h"
#include "core/repo/repo_private.h"

/* Make checksum and tag of each frame fit again, as far as the frames can be found. */
static inline void
frame_tags_fix(const struct mb_repo *repo, const char *name, struct mb_buf *blob)
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

#endif

/* blob.c - see repo.h: blob headers, frames, whole blobs and documents. */
#include "core/repo/repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "core/base/hash.h"
#include "core/repo/repo_private.h"

#define BLOB_MAGIC "MBACKUP\n"
#define BLOB_MAGIC_BYTES 8
#define SALT_OFFSET 16
#define SALT_BYTES 16
#define FRAME_AD_TEXT "mbackup frame"
#define BLOB_KEY_TEXT "mbackup blob"
/* Where the two headers stand in the additional data. */
#define AD_BLOB_HEADER (sizeof(FRAME_AD_TEXT) + MB_REPO_ID_BYTES)
#define AD_FRAME_HEADER (AD_BLOB_HEADER + MB_BLOB_HEADER_BYTES)
#define SEAL_BYTES (MB_XXH_BYTES + MB_TAG_BYTES)

_Static_assert(MB_XXH_BYTES == MB_XXH128_BYTES, "one checksum, one size");

/* -- what both directions share -------------------------------------------------------------- */

/* The key of one blob. */
static struct mb_aead *
blob_aead(const struct mb_repo *repo, const unsigned char *epoch_key, enum mb_role role,
		  const unsigned char salt[SALT_BYTES])
{
	unsigned char info[sizeof(BLOB_KEY_TEXT) + 1 + MB_REPO_ID_BYTES];
	unsigned char key[MB_KEY_BYTES];
	struct mb_aead *aead;

	memcpy(info, BLOB_KEY_TEXT, sizeof(BLOB_KEY_TEXT));
	info[sizeof(BLOB_KEY_TEXT)] = (unsigned char) role;
	memcpy(info + sizeof(BLOB_KEY_TEXT) + 1, repo->id, MB_REPO_ID_BYTES);
	mb_hkdf(key, epoch_key, MB_KEY_BYTES, salt, SALT_BYTES, info, sizeof(info));
	aead = mb_aead_new(key);
	mb_wipe(key, sizeof(key));
	return aead;
}

/* The additional data of a blob's frames, with room for the frame header. */
static void
start_ad(struct mb_buf *ad, const struct mb_repo *repo, const unsigned char *blob_header,
		 const char *name)
{
	static const unsigned char none[MB_FRAME_HEADER_BYTES];

	mb_buf_reset(ad);
	mb_buf_put(ad, FRAME_AD_TEXT, sizeof(FRAME_AD_TEXT)); /* with its NUL */
	mb_buf_put(ad, repo->id, MB_REPO_ID_BYTES);
	mb_buf_put(ad, blob_header, MB_BLOB_HEADER_BYTES);
	mb_buf_put(ad, none, sizeof(none));
	mb_buf_put_str(ad, name);
}

static void
set_name(char out[MB_NAME_MAX], const char *name)
{
	size_t len = strlen(name);

	MB_ASSERT(len < MB_NAME_MAX);
	memcpy(out, name, len + 1);
}

/* -- writing --------------------------------------------------------------------------------- */

void
mb_blob_begin(struct mb_blob_writer *writer, const struct mb_repo *repo, enum mb_role role,
			  const char *name)
{
	unsigned char header[MB_BLOB_HEADER_BYTES] = {0};

	writer->repo = repo;
	writer->suite = role == MB_ROLE_KEY ? MB_SUITE_NONE : repo->suite;
	writer->frames = 0;
	writer->finished = false;
	set_name(writer->name, name);
	mb_aead_free(writer->aead);
	writer->aead = NULL;
	memcpy(header, BLOB_MAGIC, BLOB_MAGIC_BYTES);
	mb_set_u16(header + 8, MB_FORMAT_VERSION);
	header[10] = (unsigned char) role;
	header[11] = (unsigned char) writer->suite;
	if (writer->suite != MB_SUITE_NONE)
	{
		const unsigned char *key = mb_repo_epoch_key(repo, repo->epoch);

		MB_ASSERT(key != NULL);
		mb_set_u32(header + 12, repo->epoch);
		mb_random(header + SALT_OFFSET, SALT_BYTES);
		writer->aead = blob_aead(repo, key, role, header + SALT_OFFSET);
	}
	mb_buf_reset(&writer->bytes);
	mb_buf_put(&writer->bytes, header, sizeof(header));
	start_ad(&writer->ad, repo, header, name);
}

/* Compress to out; the bytes that it took, or 0 when they would not be fewer. */
static size_t
compress(struct mb_blob_writer *writer, unsigned char *out, const void *data, size_t len)
{
	size_t got;

	if (writer->repo->zstd_level == 0 || len == 0)
		return 0;
	if (!writer->zstd)
		writer->zstd = ZSTD_createCCtx();
	MB_ASSERT(writer->zstd != NULL);
	/* One byte less than it has: zstd says "too small" for what does not shrink. */
	got = ZSTD_compressCCtx(writer->zstd, out, len - 1, data, len, writer->repo->zstd_level);
	return ZSTD_isError(got) ? 0 : got;
}

/* Everything happens where it will stand: a copy of each frame is what a fast disk would notice. */
void
mb_blob_frame(struct mb_blob_writer *writer, const void *data, size_t len, unsigned flags)
{
	unsigned char *frame_header = writer->ad.data + AD_FRAME_HEADER;
	size_t room = MB_FRAME_HEADER_BYTES + MB_XXH_BYTES + len + MB_TAG_BYTES;
	size_t packed, sealed_len;
	unsigned char *out;

	MB_ASSERT(!writer->finished && len <= MB_FRAME_MAX_PLAIN);
	MB_ASSERT((flags & ~(unsigned) (MB_FRAME_LAST | MB_FRAME_INDEX)) == 0);
	if (writer->bytes.cap - writer->bytes.len < room)
		mb_buf_reserve(&writer->bytes, room);
	out = writer->bytes.data + writer->bytes.len + MB_FRAME_HEADER_BYTES;
	mb_xxh128(out, data, len);
	packed = compress(writer, out + MB_XXH_BYTES, data, len);
	if (packed == 0 && len > 0)
		memcpy(out + MB_XXH_BYTES, data, len);
	sealed_len = MB_XXH_BYTES + (packed ? packed : len);
	mb_set_u32(frame_header, writer->frames);
	frame_header[4] = (unsigned char) flags;
	frame_header[5] = packed ? MB_CODEC_ZSTD : MB_CODEC_RAW;
	mb_set_u16(frame_header + 6, 0);
	mb_set_u32(frame_header + 8, (uint32_t) len);
	mb_set_u32(frame_header + 12, (uint32_t) (sealed_len + MB_TAG_BYTES));
	memcpy(out - MB_FRAME_HEADER_BYTES, frame_header, MB_FRAME_HEADER_BYTES);
	if (writer->suite == MB_SUITE_NONE)
		mb_xxh128_2(out + sealed_len, writer->ad.data, writer->ad.len, out, sealed_len);
	else
		mb_aead_seal(writer->aead, writer->frames, writer->ad.data, writer->ad.len, out, sealed_len,
					 out, out + sealed_len);
	writer->bytes.len += MB_FRAME_HEADER_BYTES + sealed_len + MB_TAG_BYTES;
	writer->frames++;
	writer->finished = (flags & MB_FRAME_LAST) != 0;
}

void
mb_blob_frames_last(struct mb_blob_writer *writer, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len > MB_FRAME_MAX_PLAIN)
	{
		mb_blob_frame(writer, p, MB_FRAME_MAX_PLAIN, 0);
		p += MB_FRAME_MAX_PLAIN;
		len -= MB_FRAME_MAX_PLAIN;
	}
	mb_blob_frame(writer, p, len, MB_FRAME_LAST);
}

enum mb_code
mb_blob_put(struct mb_blob_writer *writer, struct mb_error *err)
{
	MB_ASSERT(writer->finished);
	return mb_store_put(writer->repo->store, writer->name, writer->bytes.data, writer->bytes.len,
						err);
}

void
mb_blob_writer_release(struct mb_blob_writer *writer)
{
	mb_aead_free(writer->aead);
	ZSTD_freeCCtx(writer->zstd);
	mb_buf_release(&writer->bytes);
	mb_buf_release(&writer->ad);
	memset(writer, 0, sizeof(*writer));
}

/* -- reading --------------------------------------------------------------------------------- */

enum mb_code
mb_blob_open(struct mb_blob_reader *reader, const struct mb_repo *repo, enum mb_role role,
			 const char *name, const void *data, size_t len, struct mb_error *err)
{
	enum mb_suite want = role == MB_ROLE_KEY ? MB_SUITE_NONE : repo->suite;
	static const unsigned char zero_salt[SALT_BYTES];
	const unsigned char *header = data;
	const unsigned char *key = NULL;
	uint32_t epoch;

	mb_aead_free(reader->aead);
	reader->aead = NULL;
	reader->repo = NULL;
	if (len < MB_BLOB_HEADER_BYTES || memcmp(header, BLOB_MAGIC, BLOB_MAGIC_BYTES) != 0)
		return mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: it has no header", name);
	if (mb_get_u16(header + 8) > MB_FORMAT_VERSION)
		return mb_fail(err, MB_UNSUPPORTED, "blob \"%s\" has format %u, and this mbackup knows %d",
					   name, mb_get_u16(header + 8), MB_FORMAT_VERSION);
	epoch = mb_get_u32(header + 12);
	if (mb_get_u16(header + 8) != MB_FORMAT_VERSION || header[10] != role || header[11] != want ||
		(want == MB_SUITE_NONE &&
		 (epoch != 0 || memcmp(header + SALT_OFFSET, zero_salt, SALT_BYTES) != 0)))
		return mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: its header does not fit", name);
	if (want != MB_SUITE_NONE)
	{
		key = mb_repo_epoch_key(repo, epoch);
		if (!key)
		{
			mb_fail(err, MB_DENIED, "the key of epoch %u, which blob \"%s\" needs, is not ours",
					epoch, name);
			return mb_error_hint(err, "Open the repository with a passphrase of that epoch, or "
									  "check whether the blob was damaged.");
		}
		reader->aead = blob_aead(repo, key, role, header + SALT_OFFSET);
	}
	reader->repo = repo;
	reader->suite = want;
	memcpy(reader->header, header, MB_BLOB_HEADER_BYTES);
	set_name(reader->name, name);
	start_ad(&reader->ad, repo, header, name);
	return MB_OK;
}

enum mb_code
mb_frame_header_parse(struct mb_frame_header *out, const void *data, size_t len, const char *name,
					  struct mb_error *err)
{
	const unsigned char *p = data;
	uint32_t raw_stored;

	if (len < MB_FRAME_HEADER_BYTES)
		return mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: it ends in a frame header", name);
	out->number = mb_get_u32(p);
	out->flags = p[4];
	out->codec = p[5];
	out->plain_len = mb_get_u32(p + 8);
	out->stored_len = mb_get_u32(p + 12);
	if ((out->flags & ~(MB_FRAME_LAST | MB_FRAME_INDEX)) != 0 || out->flags == MB_FRAME_INDEX ||
		out->codec > MB_CODEC_ZSTD || mb_get_u16(p + 6) != 0)
		return mb_fail(err, MB_CORRUPT, "frame %u of blob \"%s\" is damaged: unknown fields",
					   out->number, name);
	raw_stored = out->plain_len + SEAL_BYTES;
	if (out->plain_len > MB_FRAME_MAX_PLAIN || out->stored_len < SEAL_BYTES ||
		(out->codec == MB_CODEC_RAW ? out->stored_len != raw_stored
									: out->stored_len >= raw_stored))
		return mb_fail(err, MB_CORRUPT, "frame %u of blob \"%s\" is damaged: impossible lengths",
					   out->number, name);
	return MB_OK;
}

static enum mb_code
damaged_frame(const struct mb_blob_reader *reader, uint32_t number, const char *why,
			  struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "frame %u of blob \"%s\" is damaged: %s", number, reader->name,
				   why);
}

/* Check the seal; *opened gets checksum and payload: where they stand, or in reader->scratch. */
static enum mb_code
unseal(struct mb_blob_reader *reader, uint32_t number, const unsigned char *sealed,
	   size_t sealed_len, const unsigned char **opened, struct mb_error *err)
{
	const unsigned char *tag = sealed + sealed_len;

	if (reader->suite == MB_SUITE_NONE)
	{
		unsigned char sum[MB_XXH_BYTES];

		mb_xxh128_2(sum, reader->ad.data, reader->ad.len, sealed, sealed_len);
		if (memcmp(sum, tag, MB_TAG_BYTES) != 0)
			return damaged_frame(reader, number, "checksum mismatch", err);
		*opened = sealed;
		return MB_OK;
	}
	mb_buf_reset(&reader->scratch);
	mb_buf_reserve(&reader->scratch, sealed_len);
	if (mb_aead_open(reader->aead, number, reader->ad.data, reader->ad.len, sealed, sealed_len,
					 reader->scratch.data, tag, err) != MB_OK)
		return damaged_frame(reader, number, "authentication failed", err);
	*opened = reader->scratch.data;
	return MB_OK;
}

/* Exactly one zstd frame that makes exactly plain_len bytes. */
static bool
decompress(struct mb_blob_reader *reader, const unsigned char *packed, size_t packed_len,
		   unsigned char *out, size_t plain_len)
{
	if (!reader->zstd)
		reader->zstd = ZSTD_createDCtx();
	MB_ASSERT(reader->zstd != NULL);
	return ZSTD_findFrameCompressedSize(packed, packed_len) == packed_len &&
		   ZSTD_decompressDCtx(reader->zstd, out, plain_len, packed, packed_len) == plain_len;
}

/*
 * Everything about a frame, checked: *plain gets its bytes, which were decompressed behind the
 * contents of `room`, or stand where they were.
 */
static enum mb_code
open_frame(struct mb_blob_reader *reader, uint32_t number, const unsigned char *frame, size_t len,
		   struct mb_buf *room, const unsigned char **plain, struct mb_frame_header *header,
		   struct mb_error *err)
{
	unsigned char sum[MB_XXH_BYTES];
	const unsigned char *opened = NULL;
	enum mb_code code;

	MB_ASSERT(reader->repo != NULL);
	code = mb_frame_header_parse(header, frame, len, reader->name, err);
	if (code)
		return code;
	if (header->number != number)
		return damaged_frame(reader, number, "another frame stands in its place", err);
	if (header->stored_len > len - MB_FRAME_HEADER_BYTES)
		return damaged_frame(reader, number, "it is cut off", err);
	memcpy(reader->ad.data + AD_FRAME_HEADER, frame, MB_FRAME_HEADER_BYTES);
	code = unseal(reader, number, frame + MB_FRAME_HEADER_BYTES, header->stored_len - MB_TAG_BYTES,
				  &opened, err);
	if (code)
		return code;
	*plain = opened + MB_XXH_BYTES;
	if (header->codec == MB_CODEC_ZSTD)
	{
		if (!room->data || room->cap - room->len < header->plain_len)
			mb_buf_reserve(room, header->plain_len ? header->plain_len : 1);
		if (!decompress(reader, *plain, header->stored_len - SEAL_BYTES, room->data + room->len,
						header->plain_len))
			return damaged_frame(reader, number, "it does not decompress", err);
		*plain = room->data + room->len;
	}
	mb_xxh128(sum, *plain, header->plain_len);
	if (memcmp(sum, opened, MB_XXH_BYTES) != 0)
		return damaged_frame(reader, number, "its contents do not match their checksum", err);
	return MB_OK;
}

enum mb_code
mb_blob_decode(struct mb_blob_reader *reader, uint32_t number, const void *data, size_t len,
			   struct mb_buf *out, struct mb_frame_header *header, size_t *used,
			   struct mb_error *err)
{
	const unsigned char *plain = NULL;
	enum mb_code code = open_frame(reader, number, data, len, out, &plain, header, err);

	if (code)
		return code;
	if (header->codec == MB_CODEC_ZSTD)
		out->len += header->plain_len;
	else
		mb_buf_put(out, plain, header->plain_len);
	*used = MB_FRAME_HEADER_BYTES + header->stored_len;
	return MB_OK;
}

enum mb_code
mb_blob_check(struct mb_blob_reader *reader, uint32_t number, const void *data, size_t len,
			  struct mb_frame_header *header, size_t *used, struct mb_error *err)
{
	const unsigned char *plain = NULL;
	enum mb_code code;

	mb_buf_reset(&reader->plain);
	code = open_frame(reader, number, data, len, &reader->plain, &plain, header, err);
	if (!code)
		*used = MB_FRAME_HEADER_BYTES + header->stored_len;
	return code;
}

void
mb_blob_reader_release(struct mb_blob_reader *reader)
{
	mb_aead_free(reader->aead);
	ZSTD_freeDCtx(reader->zstd);
	mb_buf_release(&reader->ad);
	mb_buf_release(&reader->scratch);
	mb_buf_release(&reader->plain);
	memset(reader, 0, sizeof(*reader));
}

static enum mb_code
decode_all(struct mb_blob_reader *reader, const struct mb_buf *bytes, size_t max_bytes,
		   struct mb_buf *out, struct mb_error *err)
{
	size_t at = MB_BLOB_HEADER_BYTES;
	size_t start = out->len;
	struct mb_frame_header header = {0};
	uint32_t number;

	for (number = 0; !(header.flags & MB_FRAME_LAST); number++)
	{
		size_t used = 0;
		enum mb_code code;

		if (at == bytes->len)
			return mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: its last frame is missing",
						   reader->name);
		code = mb_blob_decode(reader, number, bytes->data + at, bytes->len - at, out, &header,
							  &used, err);
		if (code)
			return code;
		if (header.flags & MB_FRAME_INDEX)
			return damaged_frame(reader, number, "it is an index outside of a pack", err);
		if (out->len - start > max_bytes)
			return mb_fail(err, MB_CORRUPT, "blob \"%s\" holds more than %zu bytes", reader->name,
						   max_bytes);
		at += used;
	}
	if (at != bytes->len)
		return mb_fail(err, MB_CORRUPT, "blob \"%s\" is damaged: %zu bytes follow its last frame",
					   reader->name, bytes->len - at);
	return MB_OK;
}

enum mb_code
mb_blob_get(const struct mb_repo *repo, enum mb_role role, const char *name, size_t max_bytes,
			struct mb_buf *out, struct mb_error *err)
{
	struct mb_blob_reader reader = {0};
	struct mb_buf bytes = {0};
	size_t start = out->len;
	enum mb_code code = mb_store_get(repo->store, name, 0, SIZE_MAX, &bytes, err);

	if (!code)
		code = mb_blob_open(&reader, repo, role, name, bytes.data, bytes.len, err);
	if (!code)
		code = decode_all(&reader, &bytes, max_bytes, out, err);
	if (code)
		out->len = start;
	mb_blob_reader_release(&reader);
	mb_buf_release(&bytes);
	return code;
}

/* -- documents ------------------------------------------------------------------------------- */

enum mb_code
mb_doc_put(const struct mb_repo *repo, enum mb_role role, const char *name, const json_t *json,
		   struct mb_error *err)
{
	struct mb_blob_writer writer = {0};
	char *text = mb_json_text(json);
	size_t len = strlen(text);
	enum mb_code code;

	if (len > MB_DOC_MAX_BYTES)
		code = mb_fail(err, MB_UNSUPPORTED, "document \"%s\" of %zu bytes is too large", name, len);
	else
	{
		mb_blob_begin(&writer, repo, role, name);
		mb_blob_frames_last(&writer, text, len);
		code = mb_blob_put(&writer, err);
	}
	mb_blob_writer_release(&writer);
	free(text);
	return code;
}

enum mb_code
mb_doc_get(const struct mb_repo *repo, enum mb_role role, const char *name, json_t **json,
		   struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code = mb_blob_get(repo, role, name, MB_DOC_MAX_BYTES, &text, err);
	char what[MB_NAME_MAX + 16];

	if (!code)
	{
		snprintf(what, sizeof(what), "document \"%s\"", name);
		code = mb_json_parse(json, (const char *) text.data, text.len, what, err);
	}
	mb_buf_release(&text);
	return code;
}

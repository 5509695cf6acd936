/*
 * repo.h - an open repository: a store, its identity, its keys, and the sealed
 * blobs and documents in it.
 *
 * mbackup.json (plain JSON, self-checksummed) says what the repository is; key
 * slots under keys/<epoch>/ wrap one random 256-bit epoch key each.  Everything
 * else is a *blob*: a 32-byte header and a run of frames.
 *
 * Blob header (all little-endian, see docs/format.md):
 *     magic[8] "MBACKUP\n"  version u16  role u8  suite u8  epoch u32  salt[16]
 * Frame:
 *     number u32  flags u8  codec u8  zero u16  plain_len u32  stored_len u32
 *     then stored_len bytes: sealed( XXH3-128(plain) | codec(plain) ) | tag[16]
 * The additional data of a frame is
 *     "mbackup frame\0" | repository id[16] | blob header[32] | frame header[16] | name
 * so that no blob can take another's place.  Suite 1 seals with AES-256-GCM under
 * HKDF(epoch key, salt = blob salt, info = "mbackup blob\0" | role | repository id) with
 * the frame number as nonce.  Suite 0 (no encryption) leaves the bytes plain and
 * the tag is XXH3-128(additional data | bytes): damage is found, tampering is not.
 * The last frame of a blob carries MB_FRAME_LAST; nothing follows it, but in a
 * pack the 8-byte tail.
 *
 * Threads: a struct mb_repo is immutable after open and may be shared.  Readers
 * and writers of blobs belong to one thread.
 */
#ifndef MB_REPO_REPO_H
#define MB_REPO_REPO_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/repo/crypto.h"
#include "core/repo/store.h"

#define MB_FORMAT_VERSION 1
#define MB_REPO_ID_BYTES 16
#define MB_BLOB_HEADER_BYTES 32
#define MB_FRAME_HEADER_BYTES 16
#define MB_FRAME_MAX_PLAIN (1u << 20)
/* A frame that does not shrink is stored raw: never more than this behind its header. */
#define MB_FRAME_MAX_STORED (MB_FRAME_MAX_PLAIN + MB_XXH_BYTES + MB_TAG_BYTES)
#define MB_XXH_BYTES 16

/* What a blob is; part of its key and of its additional data.  Numbers never change. */
enum mb_role
{
	MB_ROLE_PACK = 1,
	MB_ROLE_COMMIT = 2,
	MB_ROLE_SET = 3,
	MB_ROLE_MARK = 4,
	MB_ROLE_STREAM = 5,
	MB_ROLE_KEY = 6, /* always suite 0 */
	MB_ROLE_LEASE = 7,
	MB_ROLE_TOMBSTONE = 8,
	MB_ROLE_PROVISIONAL = 9,
	MB_ROLE_PROBE = 10,
	MB_ROLE_PIN = 11,
	MB_ROLE_REDUCED = 12,
	MB_ROLE_VERIFIED = 13,
	MB_ROLE_DRILL = 14
};

enum mb_suite
{
	MB_SUITE_NONE = 0,
	MB_SUITE_AES_256_GCM = 1
};

enum mb_codec
{
	MB_CODEC_RAW = 0,
	MB_CODEC_ZSTD = 1
};

enum mb_frame_flags
{
	MB_FRAME_LAST = 1,
	MB_FRAME_INDEX = 2 /* the frame table of a pack */
};

struct mb_repo
{
	struct mb_store *store; /* owned */
	unsigned char id[MB_REPO_ID_BYTES];
	char id_text[37]; /* as a UUID */
	int64_t created_us;
	enum mb_suite suite;
	uint32_t epoch;       /* for new blobs; 0 when not encrypted, else from 1 */
	uint64_t page_seed;   /* seed of page hashes: secret when encrypted */
	int zstd_level;       /* 1..19, 0: do not compress */
	struct mb_keys *keys; /* epoch keys, private to repo.c */
};

/* What unlocks a repository; exactly one is set, or none for an unencrypted one. */
struct mb_unlock
{
	struct mb_secret passphrase;
	struct mb_secret key_file; /* contents: at least 32 bytes */
};

/*
 * Make a new repository in an empty store: writes the first key slot, then
 * mbackup.json last (it is what makes the directory a repository).
 * MB_CONFLICT when the store already holds something, MB_CONFIG when suite asks
 * for encryption and unlock is empty (an empty passphrase counts as none).  Takes
 * the store: on failure too it is freed.
 */
enum mb_code mb_repo_create(struct mb_repo **repo, struct mb_store *store, enum mb_suite suite,
							const struct mb_unlock *unlock, struct mb_error *err) MB_MUST_CHECK;

/*
 * Open.  MB_NOT_FOUND: no mbackup.json (hint: mbackup init); MB_CORRUPT: it is
 * damaged, or every slot is; MB_UNSUPPORTED: a newer format; MB_DENIED: no slot
 * opens with what was given (after one scrypt for each passphrase slot);
 * MB_CONFIG: it is encrypted and nothing was given.  Takes the store, as above.
 */
enum mb_code mb_repo_open(struct mb_repo **repo, struct mb_store *store,
						  const struct mb_unlock *unlock, struct mb_error *err) MB_MUST_CHECK;

void mb_repo_free(struct mb_repo *repo); /* NULL does nothing */

/* The check that needs no key: parse and verify mbackup.json and every slot's checksum. */
enum mb_code mb_repo_verify_header(struct mb_store *store, struct mb_error *err) MB_MUST_CHECK;

/*
 * ids: 20261123T064402Z-b25a94f1d3c7, from the store's time: to the second in decimal, five
 * hex digits of microseconds, seven of chance.  They sort by time.
 */
#define MB_ID_TEXT 32
void mb_id_new(char out[MB_ID_TEXT], int64_t now_us);
bool mb_id_is_valid(const char *id);
/* The time in a valid id. */
int64_t mb_id_time_us(const char *id);

/* -- writing a blob ----------------------------------------------------------------------- */

struct mb_blob_writer
{
	const struct mb_repo *repo;
	struct mb_aead *aead;
	void *zstd;
	struct mb_buf bytes; /* the blob so far */
	struct mb_buf ad;
	char name[MB_NAME_MAX];
	enum mb_suite suite;
	uint32_t frames; /* written */
	bool finished;
};

/* Start a blob; the writer may be used again for the next one (contexts are kept). */
void mb_blob_begin(struct mb_blob_writer *writer, const struct mb_repo *repo, enum mb_role role,
				   const char *name);
/* Append one frame; len <= MB_FRAME_MAX_PLAIN; flags without MB_FRAME_LAST go on. */
void mb_blob_frame(struct mb_blob_writer *writer, const void *data, size_t len, unsigned flags);
/* Append data as ceil(len / 1 MiB) frames, at least one, the last with MB_FRAME_LAST. */
void mb_blob_frames_last(struct mb_blob_writer *writer, const void *data, size_t len);
/* Put writer->bytes under its name; the last frame must have been written. */
enum mb_code mb_blob_put(struct mb_blob_writer *writer, struct mb_error *err) MB_MUST_CHECK;
void mb_blob_writer_release(struct mb_blob_writer *writer);

/* -- reading a blob ----------------------------------------------------------------------- */

struct mb_frame_header
{
	uint32_t number;
	uint8_t flags;
	uint8_t codec;
	uint32_t plain_len;
	uint32_t stored_len;
};

struct mb_blob_reader
{
	const struct mb_repo *repo;
	struct mb_aead *aead;
	void *zstd;
	struct mb_buf ad;
	struct mb_buf scratch;
	struct mb_buf plain; /* of mb_blob_check */
	unsigned char header[MB_BLOB_HEADER_BYTES];
	char name[MB_NAME_MAX];
	enum mb_suite suite;
};

/*
 * Take the 32-byte header of the blob `name`, which must have this role.
 * MB_CORRUPT when it is not ours, too short, of another role, or suite 0 in an
 * encrypted repository (no downgrade); MB_UNSUPPORTED for a newer version;
 * MB_DENIED when its epoch key is not among ours.  May be called again for
 * another blob.
 */
enum mb_code mb_blob_open(struct mb_blob_reader *reader, const struct mb_repo *repo,
						  enum mb_role role, const char *name, const void *header, size_t len,
						  struct mb_error *err) MB_MUST_CHECK;
/* Parse a frame header; MB_CORRUPT when a length is over its cap or a field is unknown. */
enum mb_code mb_frame_header_parse(struct mb_frame_header *out, const void *data, size_t len,
								   const char *name, struct mb_error *err) MB_MUST_CHECK;
/*
 * Decode the frame at data (its header included, len bytes available), which must
 * have this number.  Appends plain_len bytes to out; *used gets the bytes it took.
 * MB_CORRUPT names the blob and the frame.
 */
enum mb_code mb_blob_decode(struct mb_blob_reader *reader, uint32_t number, const void *data,
							size_t len, struct mb_buf *out, struct mb_frame_header *header,
							size_t *used, struct mb_error *err) MB_MUST_CHECK;
/* The same checks, to the last one, for somebody who does not want the bytes: nothing is copied. */
enum mb_code mb_blob_check(struct mb_blob_reader *reader, uint32_t number, const void *data,
						   size_t len, struct mb_frame_header *header, size_t *used,
						   struct mb_error *err) MB_MUST_CHECK;
void mb_blob_reader_release(struct mb_blob_reader *reader);

/*
 * Get a whole blob and append the plain bytes of all its frames to out, checked to
 * the last bit (nothing may follow the last frame).  For every role but packs.
 * max_bytes caps the plain size.
 */
enum mb_code mb_blob_get(const struct mb_repo *repo, enum mb_role role, const char *name,
						 size_t max_bytes, struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;

/* -- documents: one JSON object in a blob -------------------------------------------------- */

#define MB_DOC_MAX_BYTES (16u << 20)

enum mb_code mb_doc_put(const struct mb_repo *repo, enum mb_role role, const char *name,
						const json_t *json, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_doc_get(const struct mb_repo *repo, enum mb_role role, const char *name,
						json_t **json, struct mb_error *err) MB_MUST_CHECK;

#endif

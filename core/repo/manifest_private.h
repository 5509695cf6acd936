/*
 * manifest_private.h - records and blocks, for the manifest's own files and its tests.
 */
#ifndef MB_REPO_MANIFEST_PRIVATE_H
#define MB_REPO_MANIFEST_PRIVATE_H

#include "core/repo/manifest.h"
#include "core/repo/pack_private.h"

#define MB_RECORD_MAX_BYTES (512u << 10)
#define MB_RECORD_FIXED_BYTES 70
#define MB_ENTRY_MAX_RUNS (1u << 20)
#define MB_SPILL_BYTES (64u << 20)
/* A block ends behind the first, more easily behind the second (manifest_blocks.c). */
#define MB_BLOCK_MIN_BYTES (16u << 10)
#define MB_BLOCK_EASY_BYTES (64u << 10)
#define MB_BLOCK_MAGIC "MBLK"
#define MB_BLOCK_HEADER_BYTES 12
#define MB_MAP_MAGIC "MMAP"
#define MB_MAP_HEADER_BYTES 20

#define MB_TAG_CRITICAL 0x8000u
enum mb_record_tag
{
	MB_TAG_USER = 0x0001,
	MB_TAG_GROUP = 0x0002,
	MB_TAG_META = 0x0003,
	MB_TAG_XATTRS = 0x0004,
	MB_TAG_CRC32C = 0x0005,
	MB_TAG_DAMAGED = 0x0006,
	MB_TAG_RUNS = 0x8001,
	MB_TAG_MAPS = 0x8002,
	MB_TAG_LINK = 0x8003
};

/* Append one record.  MB_CONFIG when the entry is too large or its path is no path. */
enum mb_code mb_record_encode(struct mb_buf *out, const struct mb_entry *entry,
							  struct mb_error *err) MB_MUST_CHECK;
/*
 * Decode one record (its length field included, len bytes available); *used gets its
 * bytes.  Everything that the entry points to lives in the arena or, as the path does,
 * in data.
 */
enum mb_code mb_record_decode(struct mb_arena *arena, struct mb_entry *entry, const void *data,
							  size_t len, size_t *used, struct mb_error *err) MB_MUST_CHECK;

/* Path bytes, shorter first, then version descending; 0 only for the same path and version. */
int mb_entry_order(const char *path_a, size_t len_a, uint64_t version_a, const char *path_b,
				   size_t len_b, uint64_t version_b);
/* The same for two encoded records of ours (in memory or from our temporary file). */
int mb_record_order(const unsigned char *a, const unsigned char *b);
/* Add what an entry refers to. */
void mb_entry_add_refs(const struct mb_entry *entry, struct mb_pack_refs *refs);

/* The parts of a block's plain bytes. */
struct mb_block_view
{
	uint32_t entries;
	uint32_t ref_count;
	const unsigned char *refs; /* MB_REF_BYTES each */
	const unsigned char *records;
	size_t records_len;
};
enum mb_code mb_block_parse(struct mb_block_view *view, const void *data, size_t len,
							struct mb_error *err) MB_MUST_CHECK;

/* Bytes of an encoded record, its length field included. */
static inline size_t
mb_record_bytes(const unsigned char *record)
{
	return 4 + (size_t) mb_get_u32(record);
}

/* Takes records in order and writes blocks. */
struct mb_block_writer
{
	struct mb_packer *packer;
	struct mb_blocks *blocks;
	struct mb_pack_refs *refs;      /* of the whole backup */
	struct mb_pack_refs block_refs; /* of the open block */
	struct mb_buf records;
	struct mb_buf frame;
	struct mb_block open; /* without entries: none; run is not known yet */
	struct mb_buf last;   /* the last record written, to notice duplicates */
	struct mb_arena arena;
	/* the parent's blocks, which may be shared */
	const struct mb_blocks *parent;
	size_t parent_next;
	struct mb_pack_reader *reader;
	const struct mb_pack_refs *avoid;
	struct mb_buf old;
};

enum mb_code mb_block_add(struct mb_block_writer *out, const unsigned char *record,
						  struct mb_error *err) MB_MUST_CHECK;
/* Write the open block, if any. */
enum mb_code mb_block_flush(struct mb_block_writer *out, struct mb_error *err) MB_MUST_CHECK;
void mb_block_writer_release(struct mb_block_writer *out);

/* As mb_manifest_writer_new, but spills above spill_bytes of records. */
struct mb_manifest_writer *mb_manifest_writer_new_sized(const char *tmp_dir, size_t spill_bytes);
unsigned mb_manifest_writer_spills(const struct mb_manifest_writer *writer);

#endif

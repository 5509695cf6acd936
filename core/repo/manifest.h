/*
 * manifest.h - the sorted entries of one backup, in blocks, and page maps.
 *
 * Entries are sorted by path bytes (memcmp, shorter first), then by version
 * descending (newest first).  They are written in blocks of 16 to 256 KiB of
 * records, cut at names, so that what did not change makes the same block; each is a frame of its own in a pack and starts with the table of
 * the packs that its records refer to (page maps included), so that expire adds up
 * tables and never reads records.
 *
 * A record has a fixed part and fields {tag u16, length u32, bytes}.  A reader that
 * meets an unknown tag with the critical bit (0x8000) must refuse the record; an
 * unknown tag without it is skipped.
 *
 * Postgres data files carry *page maps* instead of runs: one per 32 MiB range with
 * the hash of every 8 KiB page and the runs of the range; maps are frames of their
 * own, shareable between backups, and small ones (<= 16 pages) stand inline.
 */
#ifndef MB_REPO_MANIFEST_H
#define MB_REPO_MANIFEST_H

#include "core/repo/pack.h"

#define MB_BLOCK_TARGET_BYTES (256u << 10)
#define MB_PATH_MAX 4096
#define MB_RANGE_BYTES (32u << 20)
#define MB_PAGE_BYTES 8192u
#define MB_RANGE_PAGES (MB_RANGE_BYTES / MB_PAGE_BYTES)
#define MB_MAP_MAX_RUNS 512
#define MB_MAP_INLINE_PAGES 16

enum mb_entry_type
{
	MB_ENTRY_FILE = 'f',
	MB_ENTRY_DIR = 'd',
	MB_ENTRY_SYMLINK = 'l',
	MB_ENTRY_HARDLINK = 'h', /* link_target is the path of the first name */
	MB_ENTRY_OBJECT = 'o',   /* one version of an object */
	MB_ENTRY_MARKER = 'm',   /* a delete marker: the object was gone from then on */
	MB_ENTRY_DATA = 'x'      /* a named byte string (RDB, command tail, label) */
};

enum mb_entry_flags
{
	MB_ENTRY_MASKED = 1,    /* secrets were masked; size is that of the masked text */
	MB_ENTRY_CHANGING = 2,  /* changed while it was read: contents are of no single moment */
	MB_ENTRY_AFTER_CUT = 4, /* came to be after the cut of this backup: history, not state */
	MB_ENTRY_AMBIGUOUS = 8  /* inside the clock uncertainty around the cut */
};

/* Where the page map of one 32 MiB range is. */
struct mb_map_ref
{
	bool is_inline;
	struct mb_run run;         /* not inline: the map's frame */
	const unsigned char *data; /* inline: the encoded map */
	uint32_t data_len;
	struct mb_pack_ref *refs; /* packs that the map's runs refer to */
	uint32_t ref_count;
};

/* One entry.  Pointers are borrowed: from the caller on add, from the reader on next. */
struct mb_entry
{
	enum mb_entry_type type;
	unsigned flags;
	const char *path; /* not NUL-terminated by contract; path_len counts */
	size_t path_len;
	uint64_t version; /* objects: nanoseconds of the version's time; else 0 */
	uint32_t mode;    /* permission bits, as st_mode & 07777 */
	uint32_t uid;
	uint32_t gid;
	uint64_t size; /* as read */
	int64_t mtime_ns;
	int64_t ctime_ns;
	uint64_t inode;
	uint64_t fsid;
	const char *user; /* names, NULL when unknown */
	const char *group;
	const char *link_target; /* NULL but for links */
	const char *meta;        /* JSON text with more about it, or NULL */
	const struct mb_run *runs;
	size_t run_count;
	const struct mb_map_ref *maps; /* with maps there are no runs */
	size_t map_count;
	const uint32_t *damaged_pages; /* page numbers whose checksum was wrong in the source */
	size_t damaged_count;
	bool has_crc32c; /* of the whole contents, as read */
	uint32_t crc32c;
	/* Extended attributes: a sequence of {name_len u16, name, value_len u32, value}. */
	const unsigned char *xattrs;
	size_t xattrs_len;
};

/* A block as the commit lists it. */
struct mb_block
{
	struct mb_run run; /* its frame */
	uint64_t entries;
	uint64_t bytes;   /* sum of entry sizes */
	char *first_path; /* owned by the block array's owner */
	size_t first_path_len;
	uint64_t first_version;
};

struct mb_blocks
{
	struct mb_block *items;
	size_t count;
	size_t cap;
};
void mb_blocks_release(struct mb_blocks *blocks);

/* -- writing --------------------------------------------------------------------------------- */

/*
 * Takes entries in any order from any thread (a mutex inside), sorts them, above
 * 64 MiB through temporary files in tmp_dir (unlinked at once), and writes blocks.
 */
struct mb_manifest_writer;
struct mb_manifest_writer *mb_manifest_writer_new(const char *tmp_dir);
/* Copies the entry.  MB_CONFIG for a path over MB_PATH_MAX or an entry over 512 KiB. */
enum mb_code mb_manifest_add(struct mb_manifest_writer *writer, const struct mb_entry *entry,
							 struct mb_error *err) MB_MUST_CHECK;
/*
 * Refer to those blocks of a parent that come out with the same bytes, but to none in the
 * packs of `avoid` (settled; may be NULL).  All is borrowed until finish.
 */
void mb_manifest_share(struct mb_manifest_writer *writer, const struct mb_repo *repo,
					   const struct mb_blocks *blocks, const struct mb_pack_refs *avoid);
/*
 * Sort and write all blocks through the packer; then *blocks and *refs (settled,
 * with the blocks' own packs included) are owned by the caller.  Two entries with
 * the same path and version are MB_CORRUPT.
 */
enum mb_code mb_manifest_finish(struct mb_manifest_writer *writer, struct mb_packer *packer,
								struct mb_blocks *blocks, struct mb_pack_refs *refs,
								struct mb_error *err) MB_MUST_CHECK;
void mb_manifest_writer_free(struct mb_manifest_writer *writer);

/* -- reading --------------------------------------------------------------------------------- */

/* Iterates the entries of a commit's blocks in order, one block in memory at a time. */
struct mb_manifest_reader;
/* blocks are borrowed and must outlive the reader. */
struct mb_manifest_reader *mb_manifest_reader_new(const struct mb_repo *repo,
												  const struct mb_blocks *blocks);
/* *entry is NULL at the end; borrowed until the next call.  Order is checked: MB_CORRUPT. */
enum mb_code mb_manifest_next(struct mb_manifest_reader *reader, const struct mb_entry **entry,
							  struct mb_error *err) MB_MUST_CHECK;
void mb_manifest_reader_free(struct mb_manifest_reader *reader);

/* -- page maps -------------------------------------------------------------------------------- */

struct mb_page_map
{
	uint64_t bytes;  /* of the range, at most MB_RANGE_BYTES; pages = ceil(bytes / 8192) */
	uint32_t crc32c; /* of those bytes */
	uint32_t pages;
	uint64_t *hashes;    /* XXH3-64(page, seed = repo->page_seed); the last page may be short */
	struct mb_runs runs; /* in file order, their lengths add up to bytes */
};

void mb_page_map_encode(struct mb_buf *out, const struct mb_page_map *map);
/* MB_CORRUPT when anything does not add up.  Release with mb_page_map_release. */
enum mb_code mb_page_map_decode(struct mb_page_map *map, const void *data, size_t len,
								struct mb_error *err) MB_MUST_CHECK;
void mb_page_map_release(struct mb_page_map *map);
/* Load the map that a reference points to (inline or through the reader). */
enum mb_code mb_page_map_load(struct mb_page_map *map, const struct mb_map_ref *ref,
							  struct mb_pack_reader *reader, struct mb_error *err) MB_MUST_CHECK;

/*
 * All runs of an entry's contents in file order, through its page maps when it has
 * some; appended to runs.  Their lengths add up to entry->size (else MB_CORRUPT).
 */
enum mb_code mb_entry_runs(const struct mb_entry *entry, struct mb_pack_reader *reader,
						   struct mb_runs *runs, struct mb_error *err) MB_MUST_CHECK;

#endif

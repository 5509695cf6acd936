/*
 * archive_check.h - what is in an archive, read from end to end before any of it is used.
 *
 * Every member's SHA-256 is compared with the archive's own list, the list with what is there, the file
 * with FILE.sha256 beside it where there is one.  What is kept are a few lines for each database, bucket and
 * tree, and the indexes, in files without a name.  Archives of others, without a list of sums in
 * mbackup's form, are read for their structure only (`warnings` says so).
 */
#ifndef MB_CLI_ARCHIVE_CHECK_H
#define MB_CLI_ARCHIVE_CHECK_H

#include "cli/archive.h"
#include "core/base/pool.h"

enum archive_kind
{
	ARCHIVE_DATABASE, /* postgres/NAME.dump */
	ARCHIVE_SQL,      /* postgres/NAME.sql */
	ARCHIVE_GLOBALS,  /* postgres/globals.sql */
	ARCHIVE_RDB,      /* redis/NAME.rdb */
	ARCHIVE_BUCKET,   /* minio/NAME/... */
	ARCHIVE_TREE      /* configs/NAME/..., of others configs/... with an empty name */
};

struct archive_item
{
	enum archive_kind kind;
	char *name;
	char *prefix; /* of its members, or the one member */
	uint64_t entries;
	uint64_t lines; /* entries, and directories of a tree */
	uint64_t bytes;
	FILE *index; /* BUCKET and TREE, or NULL */
};

struct archive_inventory
{
	json_t *info; /* backup-info.json, {} when there is none */
	bool is_ours; /* its format is ours: everything adds up */
	bool encrypted;
	uint64_t members;
	uint64_t bytes;
	struct archive_item *items;
	size_t count;
	size_t cap;
	json_t *warnings;
	/* while it is made */
	FILE *sums_made;
	FILE *sums_read;
	uint64_t info_members;
	uint64_t info_bytes;
};

struct archive_check
{
	const char *path;
	int fd;
	const struct mb_secret *pass;
	const char *tmp_dir;
	const struct mb_cancel *cancel;
	struct mb_progress *progress; /* may be NULL */
};

/* MB_CORRUPT, MB_DENIED (passphrase), MB_NO_SPACE (indexes).  Release in any case. */
enum mb_code archive_inventory_read(struct archive_inventory *inventory,
									const struct archive_check *check,
									struct mb_error *err) MB_MUST_CHECK;
void archive_inventory_release(struct archive_inventory *inventory);

/* archive_items.c, for archive_check.c: note a member; of foreign archives join configs/; free one. */
enum mb_code archive_count_member(struct archive_inventory *inventory,
								  const struct mb_tar_member *member,
								  struct mb_error *err) MB_MUST_CHECK;
void archive_join_trees(struct archive_inventory *inventory);
void archive_release_item(struct archive_item *item);

/*
 * The item that a member belongs to, by its path; NULL: of none.  *rest is the path behind the item's
 * prefix.
 */
struct archive_item *archive_inventory_find(const struct archive_inventory *inventory,
											const char *path, const char **rest);

/*
 * The next line of an item's index, which must speak of this member; NULL without an index.  A new
 * reference.  MB_CORRUPT: it speaks of another one.
 */
enum mb_code archive_index_next(const struct archive_item *item, const char *member, json_t **line,
								struct mb_error *err) MB_MUST_CHECK;
/* A text of a line: "key", or "key_base64"; false when it has neither.  Appended. */
bool archive_line_text(const json_t *line, const char *key, struct mb_buf *out);

#endif

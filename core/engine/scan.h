/*
 * scan.h - look through a directory tree in manifest order, beside the parent backup.
 *
 * The tree is walked in the byte order of paths, so that it can be merged with the
 * parent's sorted manifest in constant memory.  For every path that exists now or stood
 * in the parent, the driver's decide() is called with both; it keeps entries of the
 * parent by adding them to the capture itself, and asks for files to be read.  Files
 * to be read are collected and packed by all workers.
 *
 * Paths are relative to root_fd.  `roots` limits the walk: each is a path; what lies
 * above them is passed through without being shown.  One empty root shows everything
 * below root_fd (but not the directory itself).
 *
 * A file that vanishes while it is read is left out; one that changes while it is read
 * is read again, and after three tries taken as it is, flagged MB_ENTRY_CHANGING, with
 * a warning.  One that cannot be read is a warning and makes the capture incomplete.
 * Devices, sockets and FIFOs are never read; decide() sees them by st_mode.
 */
#ifndef MB_ENGINE_SCAN_H
#define MB_ENGINE_SCAN_H

#include <sys/stat.h>

#include "core/engine/capture.h"

struct mb_scan_item
{
	const char *path; /* NUL-terminated, relative to root_fd */
	bool exists;
	struct stat st;                 /* by lstat, when it exists */
	const char *link_target;        /* of a symbolic link that exists */
	const struct mb_entry *parents; /* what the parent has at this path, newest first */
	size_t parent_count;
};

enum mb_scan_choice
{
	MB_SCAN_LEAVE, /* nothing more: decide() has added what shall be kept, if anything */
	MB_SCAN_READ,  /* take it as it is now: read the file */
	MB_SCAN_KEEP   /* the parent's newest entry stands */
};

enum mb_scan_wish
{
	MB_SCAN_SKIP, /* as if it were not there */
	MB_SCAN_SHOW, /* but do not descend */
	MB_SCAN_TAKE
};

enum mb_scan_flags
{
	/*
	 * Of a file with several names the first in order is the file, the others are entries
	 * that lead to it; decide() is not asked about those.
	 */
	MB_SCAN_LINKS = 1,
	MB_SCAN_ATTRIBUTES = 2, /* extended attributes and ACLs: core/engine/attributes.h */
	MB_SCAN_SPARSE = 4,     /* holes are not read; the entry's meta has "sparse": true */
	MB_SCAN_TOLERANT = 8    /* what cannot be looked at is a warning, and the capture incomplete */
};

/* Below this transform() is asked. */
#define MB_SCAN_TRANSFORM_MAX_BYTES (1u << 20)

struct mb_scan_ops
{
	/*
	 * Keep entries by mb_capture_add, or choose.  With MB_SCAN_READ, *entry (zeroed before,
	 * path, stat members and names are filled in afterwards) may get type, flags and
	 * version.
	 */
	enum mb_code (*decide)(void *ctx, const struct mb_scan_item *item, enum mb_scan_choice *choice,
						   struct mb_entry *entry, struct mb_error *err);
	/* Called for what lies at or below a root; twice for a directory. */
	enum mb_scan_wish (*wanted)(void *ctx, const char *path, const struct stat *st);
	/*
	 * May change contents before they are packed; returns entry flags to add
	 * (MB_ENTRY_MASKED).  Called for files below MB_SCAN_TRANSFORM_MAX_BYTES, by several threads.
	 * NULL: never.
	 */
	unsigned (*transform)(void *ctx, const char *path, struct mb_buf *contents);
	unsigned flags;
	/* With MB_SCAN_LINKS: a further name that the parent has not as one.  NULL: does not matter. */
	void (*renamed)(void *ctx, const struct mb_scan_item *item);
};

enum mb_code mb_scan_tree(struct mb_capture *capture, int root_fd, char *const *roots,
						  size_t root_count, const struct mb_scan_ops *ops, void *ctx,
						  struct mb_error *err) MB_MUST_CHECK;

/*
 * Is this the file that the parent read?  Same type, size, times, inode and filesystem,
 * and both times at least 2 s older than the parent's start, so that a write in the
 * same clock tick cannot hide.
 */
bool mb_scan_unchanged(const struct mb_scan_item *item, const struct mb_entry *parent,
					   const struct mb_commit *parent_commit);

/* Fill the members of an entry that come from stat (the type too, when it is 0). */
void mb_scan_fill_entry(struct mb_entry *entry, const char *path, const struct stat *st);

#endif

/*
 * unchanged.h - the skip rule: which files need not even be read, because they are those
 * that the parent backup read.
 *
 * All of this must hold, else a file is read (docs/postgres.md says why):
 *
 * - its size, mtime, ctime, inode and filesystem, mode and owner are those in the parent;
 * - mtime and ctime were 60 s old when the parent began to read, by the clock of that
 *   filesystem (a probe file), so that no later write can have left the same times;
 * - the same postmaster has been running since, on the same data directory, with
 *   full_page_writes on, and the parent was made by reading that directory;
 * - the parent found no damaged page in it, and it does not refer to packs that are to be left.
 *
 * Every `verify-unchanged` all files are read all the same, and one that differs although
 * the rule would have skipped it is told.
 */
#ifndef MB_POSTGRES_UNCHANGED_H
#define MB_POSTGRES_UNCHANGED_H

#include "postgres/data_directory.h"
#include "postgres/parent.h"
#include "postgres/private.h"

struct mb_pg_probe
{
	uint64_t fsid;
	int64_t settled_ns; /* 60 s before anything was read, by the filesystem's clock */
};

struct mb_pg_unchanged
{
	bool holds;                 /* the rule may be asked */
	bool verify;                /* and is only checked this time: everything is read */
	struct mb_pg_probe *probes; /* of the parent */
	size_t probe_count;
	size_t probe_cap;
};

/*
 * After the files were listed and before one is read: see whether the rule can be used, and
 * note in the capture's meta what the next backup needs for it.
 */
enum mb_code mb_pg_unchanged_begin(struct mb_pg_unchanged *unchanged, struct mb_postgres *pg,
								   struct mb_capture *capture, int root_fd,
								   const struct mb_pg_files *files,
								   struct mb_error *err) MB_MUST_CHECK;
void mb_pg_unchanged_release(struct mb_pg_unchanged *unchanged);

/* Is this what the parent read?  Says so in a verifying run too; parent may be NULL. */
bool mb_pg_unchanged_file(const struct mb_pg_unchanged *unchanged, const struct stat *st,
						  const struct mb_entry *parent);

#endif

/*
 * rdb_file.h - walk an RDB file that stands on disk (rdb.h does the walking).
 */
#ifndef MB_REDIS_RDB_FILE_H
#define MB_REDIS_RDB_FILE_H

#include "core/base/pool.h"
#include "redis/rdb.h"

struct mb_rdb_file_options
{
	unsigned flags;       /* enum mb_rdb_flags */
	mb_rdb_key_fn on_key; /* may be NULL */
	/* After each piece (1 MiB) of the file; its failure ends the walk.  May be NULL. */
	enum mb_code (*between)(void *ctx, struct mb_error *err);
	void *ctx;
	const struct mb_cancel *cancel; /* may be NULL */
};

/*
 * Walk the whole file.  *walker has its summary and is the caller's to free.  MB_NOT_FOUND and
 * such of the file; MB_CORRUPT and MB_UNSUPPORTED as mb_rdb_feed, naming file and byte.
 */
enum mb_code mb_rdb_file_walk(struct mb_rdb **walker, const char *path,
							  const struct mb_rdb_file_options *options,
							  struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * replace.h - which files a restore writes, and which stand there: for drivers whose restore replaces
 * single files rather than a directory (safety.h).
 */
#ifndef MB_ENGINE_REPLACE_H
#define MB_ENGINE_REPLACE_H

#include <sys/stat.h>

#include "core/engine/restore.h"
#include "core/engine/safety.h"

/* The names that select() takes of restore->commit, without directories; NULL: all. */
enum mb_code mb_restore_names(const struct mb_restore *restore, mb_tree_select select, void *ctx,
							  struct mb_names *names, struct mb_error *err) MB_MUST_CHECK;

/*
 * Everything below root/start that is no directory, as paths below root, in no order; start may be ""
 * or a file itself.  Only what wanted() takes is shown and gone into.  What is kept
 * of other restores (MB_KEPT_PREFIX) never is.  That start is not there is fine.
 */
typedef bool (*mb_walk_wanted)(void *ctx, const char *path, const struct stat *st);
enum mb_code mb_walk_names(int root_fd, const char *start, mb_walk_wanted wanted, void *ctx,
						   struct mb_names *names, struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * paths.h - the configured paths of a files component as roots of a scan.
 *
 * A path is absolute; it may have the signs of glob(7), and "**" for any number of directories.
 * What a link in front of the last part leads to is taken; the last part itself is never followed.
 */
#ifndef MB_FILES_PATHS_H
#define MB_FILES_PATHS_H

#include "files/patterns.h"

struct mb_roots
{
	char **items; /* without their leading slash */
	size_t count;
	size_t cap;
	char *unreadable; /* what could not be looked at, or into for a "**": the first; or NULL */
};

/*
 * Add what is at the path.  *found: how many names.  `exclude`: nothing of it is looked into (it
 * may still be named).  MB_CONFIG for a path that is not absolute.
 */
enum mb_code mb_roots_add(struct mb_roots *roots, const char *path,
						  const struct mb_patterns *exclude, size_t *found,
						  struct mb_error *err) MB_MUST_CHECK;
void mb_roots_release(struct mb_roots *roots);

#endif

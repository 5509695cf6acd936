/*
 * patterns.h - which paths are meant: globs with "**", and a list of them that includes again with "!".
 *
 * As in .gitignore:
 *   name      without a slash: a name, at any depth
 *   name/     a directory, at any depth
 *   /a/b      an absolute path from its beginning; "*" stays within a name
 *   a/b       with a slash but not at its beginning: the end of a path, at any depth
 *   ** /      (without the blank) any number of directories; "/a/" and two stars at the end: everything below
 *   !...      not excluded after all
 * The last pattern that matches decides.  Nothing below an excluded directory is looked at, so
 * nothing there can be included again.  "?", "[a-z]", "[!a-z]" and "\" are those of fnmatch(3); names
 * are bytes, and "*" matches a leading dot.  There are no braces: write two patterns.
 */
#ifndef MB_FILES_PATTERNS_H
#define MB_FILES_PATTERNS_H

#include <stdbool.h>

#include "core/base/mem.h"

struct mb_pattern
{
	char *text;      /* owned; cut into segments by zero bytes */
	char **segments; /* owned array */
	size_t count;
	bool is_negated;
	bool is_for_directories;
};

struct mb_patterns
{
	struct mb_pattern *items;
	size_t count;
	size_t cap;
};

/* MB_CONFIG for a pattern without a name in it. */
enum mb_code mb_patterns_add(struct mb_patterns *patterns, const char *text,
							 struct mb_error *err) MB_MUST_CHECK;
void mb_patterns_release(struct mb_patterns *patterns);

enum mb_path_kind
{
	MB_PATH_OTHER,
	MB_PATH_DIRECTORY
};

/* Does the last pattern that matches mean it?  False when none matches.  `path` without its leading slash. */
bool mb_patterns_match(const struct mb_patterns *patterns, const char *path,
					   enum mb_path_kind kind);

#endif

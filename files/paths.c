/* paths.c - see paths.h. */
#include "files/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ROOTS 100000

void
mb_roots_release(struct mb_roots *roots)
{
	size_t i;

	for (i = 0; i < roots->count; i++)
		free(roots->items[i]);
	free(roots->items);
	free(roots->unreadable);
	memset(roots, 0, sizeof(*roots));
}

/* Not because it is missing. */
static void
note_unreadable(struct mb_roots *roots, const char *path, int saved_errno)
{
	if (!roots->unreadable && saved_errno != ENOENT && saved_errno != ENOTDIR)
		roots->unreadable = mb_strdup(path);
}

/*
 * A path as the scan wants it: no leading slash, and no symbolic link above its last
 * part (the scan follows none).  NULL when it does not exist, or is noted as unreadable.
 */
static char *
root_of_path(struct mb_roots *roots, const char *path)
{
	char resolved[PATH_MAX];
	char *copy = mb_strdup(path);
	char *root = NULL;
	char *slash;
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (slash && slash[1] && faccessat(AT_FDCWD, copy, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		note_unreadable(roots, path, errno);
	else if (slash && slash[1])
	{
		*slash = '\0';
		if (realpath(copy[0] ? copy : "/", resolved))
			root = mb_asprintf("%s%s%s", resolved + 1, resolved[1] ? "/" : "", slash + 1);
		else
			note_unreadable(roots, path, errno);
	}
	free(copy);
	return root;
}

static enum mb_code
add_root(struct mb_roots *roots, const char *path, size_t *found, struct mb_error *err)
{
	char *root = root_of_path(roots, path);

	if (!root)
		return MB_OK;
	if (roots->count >= MAX_ROOTS)
	{
		free(root);
		mb_fail(err, MB_CONFIG, "more than %d paths match", MAX_ROOTS);
		return mb_error_hint(err,
							 "Name the directory they are in, and exclude what you do not want.");
	}
	roots->items = mb_grow(roots->items, &roots->cap, roots->count + 1, sizeof(*roots->items));
	roots->items[roots->count++] = root;
	(*found)++;
	return MB_OK;
}

/* glob(3) gives its callback no context. */
static _Thread_local struct mb_roots *globbed;

static int
note_closed(const char *path, int saved_errno)
{
	note_unreadable(globbed, path, saved_errno);
	return 0; /* and go on */
}

static enum mb_code
expand(struct mb_roots *roots, const char *path, int flags, glob_t *matches, struct mb_error *err)
{
	int got;

	memset(matches, 0, sizeof(*matches));
	globbed = roots;
	got = glob(path, flags | GLOB_NOSORT, note_closed, matches);
	globbed = NULL;
	if (got != 0 && got != GLOB_NOMATCH)
		return mb_fail(err, MB_IO, "could not expand \"%s\"", path);
	return MB_OK;
}

static enum mb_code
add_matches(struct mb_roots *roots, const char *path, size_t *found, struct mb_error *err)
{
	glob_t matches;
	enum mb_code code;
	size_t i;

	/* To glob(3) what cannot be looked at is no match. */
	if (!strpbrk(path, "*?[\\"))
		return add_root(roots, path, found, err);
	code = expand(roots, path, 0, &matches, err);
	for (i = 0; !code && i < matches.gl_pathc; i++)
		code = add_root(roots, matches.gl_pathv[i], found, err);
	globfree(&matches);
	return code;
}

/* -- any number of directories -------------------------------------------------------------------- */

/* Where the segment "**" begins, or NULL. */
static const char *
any_depth(const char *path)
{
	const char *p = path;

	while ((p = strstr(p, "/**")) != NULL)
	{
		if (p[3] == '/' || p[3] == '\0')
			return p;
		p += 3;
	}
	return NULL;
}

struct deep
{
	struct mb_roots *roots;
	const struct mb_patterns *exclude;
	struct mb_patterns wanted; /* one */
	size_t *found;
};

static enum mb_code
look_at(struct deep *deep, FTS *fts, FTSENT *entry, struct mb_error *err)
{
	bool is_directory = entry->fts_info == FTS_D;
	enum mb_path_kind kind = is_directory ? MB_PATH_DIRECTORY : MB_PATH_OTHER;
	const char *path = entry->fts_path + 1;

	switch (entry->fts_info)
	{
		case FTS_DNR:
		case FTS_ERR:
		case FTS_NS:
			note_unreadable(deep->roots, entry->fts_path, entry->fts_errno);
			return MB_OK;
		case FTS_DP:
			return MB_OK;
	}
	if (is_directory && mb_patterns_match(deep->exclude, path, kind))
	{
		(void) fts_set(fts, entry, FTS_SKIP);
		return MB_OK;
	}
	if (!mb_patterns_match(&deep->wanted, path, kind))
		return MB_OK;
	if (is_directory)
		(void) fts_set(fts, entry, FTS_SKIP); /* all of it is below the root that it becomes */
	return add_root(deep->roots, entry->fts_path, deep->found, err);
}

/* A path as a pattern that means it alone. */
static char *
escape(const char *path)
{
	struct mb_buf out = {0};
	char *text;

	for (; *path; path++)
	{
		if (strchr("*?[\\!", *path))
			mb_buf_put_u8(&out, '\\');
		mb_buf_put_u8(&out, (uint8_t) *path);
	}
	text = mb_strdup(mb_buf_cstr(&out));
	mb_buf_release(&out);
	return text;
}

/* One directory that stands before the "**". */
static enum mb_code
walk_below(struct deep *deep, const char *base, const char *rest, struct mb_error *err)
{
	char resolved[PATH_MAX];
	char *paths[] = {resolved, NULL};
	enum mb_code code;
	FTSENT *entry;
	char *escaped, *pattern;
	FTS *fts;

	if (!realpath(base, resolved))
	{
		note_unreadable(deep->roots, base, errno);
		return MB_OK;
	}
	escaped = escape(strcmp(resolved, "/") == 0 ? "" : resolved);
	pattern = mb_asprintf("%s%s", escaped, rest);
	free(escaped);
	mb_patterns_release(&deep->wanted);
	code = mb_patterns_add(&deep->wanted, pattern, err);
	free(pattern);
	if (code)
		return code;
	fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!fts)
		return mb_fail_errno(err, errno, "could not look below \"%s\"", base);
	for (errno = 0; !code && (entry = fts_read(fts)) != NULL; errno = 0)
		code = look_at(deep, fts, entry, err);
	if (!code && errno)
		code = mb_fail_errno(err, errno, "could not look below \"%s\"", base);
	fts_close(fts);
	return code;
}

static enum mb_code
add_deep(struct mb_roots *roots, const char *path, const char *rest,
		 const struct mb_patterns *exclude, size_t *found, struct mb_error *err)
{
	struct deep deep = {.roots = roots, .exclude = exclude, .found = found};
	char *before = mb_strndup(path, (size_t) (rest - path));
	enum mb_code code;
	glob_t bases;
	size_t i;

	code = expand(roots, before[0] ? before : "/", GLOB_ONLYDIR, &bases, err);
	free(before);
	for (i = 0; !code && i < bases.gl_pathc; i++)
		code = walk_below(&deep, bases.gl_pathv[i], rest, err);
	globfree(&bases);
	mb_patterns_release(&deep.wanted);
	return code;
}

enum mb_code
mb_roots_add(struct mb_roots *roots, const char *path, const struct mb_patterns *exclude,
			 size_t *found, struct mb_error *err)
{
	const char *rest = any_depth(path);

	*found = 0;
	if (path[0] != '/')
	{
		mb_fail(err, MB_CONFIG, "path \"%s\" is not absolute", path);
		return mb_error_hint(err, "Paths of [files] begin with a slash.");
	}
	if (rest)
		return add_deep(roots, path, rest, exclude, found, err);
	return add_matches(roots, path, found, err);
}

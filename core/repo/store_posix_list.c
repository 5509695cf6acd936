/* store_posix_list.c - see store_posix_private.h: the blobs below a prefix, in the order of their names. */
#include "core/repo/store_posix_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/names.h"

struct listing
{
	const struct posix_store *store;
	const char *prefix;
	mb_store_list_fn fn;
	void *ctx;
	struct mb_error *err;
	char path[MB_NAME_MAX + 2]; /* of the directory at hand, with its '/' */
};

/* Can a name that starts with path + entry start with the prefix, too? */
static bool
is_wanted(const struct listing *listing, size_t path_len, const char *entry)
{
	const char *prefix = listing->prefix;
	size_t i;

	for (i = 0; prefix[i]; i++)
	{
		char c = i < path_len ? listing->path[i] : entry[i - path_len];

		if (c == '\0')
			return entry[0] != '\0' && mb_ends_with(entry, "/");
		if (c != prefix[i])
			return false;
	}
	return true;
}

/* Is it a directory?  1 yes, 0 no, -1 it has vanished or cannot be looked at (errno). */
static int
is_directory(int dir_fd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	return S_ISDIR(st.st_mode);
}

/* Names that no blob has, and no directory of blobs. */
static bool
is_foreign(const char *name, size_t path_len)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || mb_starts_with(name, TMP_PREFIX) ||
		   (path_len == 0 && strcmp(name, "lost+found") == 0) ||
		   path_len + strlen(name) + 1 >= MB_NAME_MAX;
}

static enum mb_code
take_entry(const struct listing *listing, int dir_fd, const struct dirent *entry,
		   struct mb_names *entries)
{
	size_t path_len = strlen(listing->path);
	int directory;
	char *name;

	if (is_foreign(entry->d_name, path_len))
		return MB_OK;
	directory = is_directory(dir_fd, entry);
	if (directory < 0 && errno == ENOENT)
		return MB_OK;
	if (directory < 0)
		return mb_posix_fail(listing->store, errno, "look at", entry->d_name, listing->err);
	name = mb_asprintf(directory ? "%s/" : "%s", entry->d_name);
	if (is_wanted(listing, path_len, name))
		mb_names_add(entries, name, strlen(name));
	free(name);
	return MB_OK;
}

/*
 * The entries of one directory, to be sorted as their full names sort: a directory ends in '/'.
 * Takes dir_fd.
 */
static enum mb_code
read_entries(const struct listing *listing, int dir_fd, struct mb_names *entries)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;
	enum mb_code code = MB_OK;

	if (!dir)
	{
		code = mb_posix_fail(listing->store, errno, "list", listing->path, listing->err);
		close(dir_fd);
		return code;
	}
	while (!code)
	{
		errno = 0;
		entry = readdir(dir);
		if (entry)
		{
			code = take_entry(listing, dir_fd, entry, entries);
			continue;
		}
		if (errno)
			code = mb_posix_fail(listing->store, errno, "list", listing->path, listing->err);
		break;
	}
	closedir(dir);
	return code;
}

static enum mb_code list_directory(struct listing *listing, const char *dir);

static enum mb_code
list_entry(struct listing *listing, size_t path_len, const char *entry)
{
	struct mb_blob_info info;
	enum mb_code code;
	struct stat st;

	snprintf(listing->path + path_len, sizeof(listing->path) - path_len, "%s", entry);
	if (mb_ends_with(entry, "/"))
	{
		char *dir = mb_strndup(listing->path, strlen(listing->path) - 1);

		code = list_directory(listing, dir);
		free(dir);
		return code;
	}
	if (fstatat(listing->store->root_fd, listing->path, &st, AT_SYMLINK_NOFOLLOW) != 0)
	{
		if (errno == ENOENT)
			return mb_posix_check_root(listing->store, listing->err);
		return mb_posix_fail(listing->store, errno, "look at", listing->path, listing->err);
	}
	if (!S_ISREG(st.st_mode))
		return mb_fail(listing->err, MB_IO, "\"%s\" in repository \"%s\" is not a regular file",
					   listing->path, listing->store->base.url);
	info.name = listing->path;
	info.bytes = (uint64_t) st.st_size;
	info.modified_us = mb_posix_mtime_us(&st);
	return listing->fn(listing->ctx, &info, listing->err);
}

/* Everything wanted below a directory ("" is the root); one that is missing has nothing. */
static enum mb_code
list_directory(struct listing *listing, const char *dir)
{
	struct mb_names entries = {0};
	enum mb_code code;
	size_t path_len, i;
	int fd;

	snprintf(listing->path, sizeof(listing->path), *dir ? "%s/" : "%s", dir);
	path_len = strlen(listing->path);
	if (*dir)
	{
		struct mb_error why;

		mb_error_clear(&why);
		code = mb_open_beneath(&fd, listing->store->root_fd, dir,
							   O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &why);
		if (code == MB_NOT_FOUND)
			return mb_posix_check_root(listing->store, listing->err);
		if (code)
			return mb_posix_fail(listing->store, why.sys_errno ? why.sys_errno : EINVAL, "list",
								 dir, listing->err);
	}
	else
	{
		fd = mb_openat(listing->store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		if (fd < 0)
			return mb_posix_fail(listing->store, errno, "list", ".", listing->err);
	}
	code = read_entries(listing, fd, &entries);
	if (!code)
		mb_names_sort(&entries);
	for (i = 0; i < entries.count && !code; i++)
		code = list_entry(listing, path_len, entries.items[i]);
	mb_names_release(&entries);
	return code;
}

enum mb_code
mb_posix_list(struct mb_store *base, const char *prefix, mb_store_list_fn fn, void *ctx,
			  struct mb_error *err)
{
	struct listing listing = {.store = (const struct posix_store *) base,
							  .prefix = prefix,
							  .fn = fn,
							  .ctx = ctx,
							  .err = err};
	const char *slash = strrchr(prefix, '/');
	enum mb_code code = mb_posix_check_root(listing.store, err);
	char *dir;

	if (code)
		return code;
	/* Start in the deepest directory that the prefix names; no blob has an unsafe name. */
	dir = mb_strndup(prefix, slash ? (size_t) (slash - prefix) : 0);
	if (strlen(prefix) < MB_NAME_MAX && (!slash || mb_name_is_safe(dir, strlen(dir))))
		code = list_directory(&listing, dir);
	free(dir);
	/* What was seen counts only when the root was there to the end. */
	return code ? code : mb_posix_check_root(listing.store, err);
}

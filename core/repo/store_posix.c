/*
 * store_posix.c - a store in a directory; see store.h and store_posix_private.h.
 *
 * The root is held open, and compared with what its path leads to before an answer
 * that depends on it: an unmounted or replaced root is UNREACHABLE, never empty.
 * No symbolic link below the root is followed.
 */
#include "core/repo/store_posix_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"

#define READ_AHEAD_BYTES (1u << 20)

int64_t
mb_posix_mtime_us(const struct stat *st)
{
	return (int64_t) st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

enum mb_code
mb_posix_check_root(const struct posix_store *store, struct mb_error *err)
{
	struct stat held, named;

	if (fstat(store->root_fd, &held) == 0 && held.st_nlink > 0 && stat(store->root, &named) == 0 &&
		held.st_dev == named.st_dev && held.st_ino == named.st_ino)
		return MB_OK;
	mb_fail(err, MB_UNREACHABLE, "repository directory \"%s\" has gone away", store->base.url);
	return mb_error_hint(err, "Check that its file system is mounted.");
}

enum mb_code
mb_posix_fail(const struct posix_store *store, int sys_errno, const char *what, const char *name,
			  struct mb_error *err)
{
	if (mb_posix_check_root(store, err) != MB_OK)
		return err->code;
	mb_fail_errno(err, sys_errno, "could not %s \"%s\" in repository \"%s\"", what, name,
				  store->base.url);
	if (sys_errno == ESTALE || sys_errno == ENODEV || sys_errno == ENOTCONN)
		err->code = MB_UNREACHABLE;
	return err->code;
}

void
mb_posix_tmp_name(char out[TMP_NAME_MAX])
{
	unsigned char random[8];

	mb_random(random, sizeof(random));
	memcpy(out, TMP_PREFIX, sizeof(TMP_PREFIX));
	mb_hex(out + strlen(TMP_PREFIX), random, sizeof(random));
}

/* -- get and head ---------------------------------------------------------------------------- */

static enum mb_code
open_blob(const struct posix_store *store, const char *name, int *fd, struct stat *st,
		  struct mb_error *err)
{
	enum mb_code code =
		mb_open_beneath(fd, store->root_fd, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, err);

	if (code)
		return mb_posix_fail(store, err->sys_errno ? err->sys_errno : EINVAL, "open", name, err);
	if (fstat(*fd, st) != 0)
		code = mb_posix_fail(store, errno, "look at", name, err);
	else if (S_ISDIR(st->st_mode))
		code = mb_posix_fail(store, ENOENT, "open", name, err);
	else if (!S_ISREG(st->st_mode))
		code = mb_fail(err, MB_CORRUPT, "\"%s\" in repository \"%s\" is not a regular file", name,
					   store->base.url);
	if (code)
		close(*fd);
	return code;
}

static enum mb_code
posix_get(struct mb_store *base, const char *name, uint64_t offset, size_t len, struct mb_buf *out,
		  struct mb_error *err)
{
	const struct posix_store *store = (const struct posix_store *) base;
	enum mb_code code;
	struct stat st;
	int fd;

	code = open_blob(store, name, &fd, &st, err);
	if (code)
		return code;
	if ((uint64_t) st.st_size > MB_BLOB_MAX_BYTES)
		code = mb_fail(err, MB_CORRUPT, "blob \"%s\" has %lld bytes, more than the largest of ours",
					   name, (long long) st.st_size);
	else if (offset < (uint64_t) st.st_size)
	{
		size_t left = (size_t) ((uint64_t) st.st_size - offset);
		size_t got = 0;

		if (left > len)
			left = len;
		/* Nobody reads half of a large piece: let the kernel read far ahead. */
		if (left > READ_AHEAD_BYTES)
			posix_fadvise(fd, (off_t) offset, (off_t) left, POSIX_FADV_SEQUENTIAL);
		mb_buf_reserve(out, left);
		code = mb_pread_full(fd, out->data + out->len, left, (int64_t) offset, &got, name, err);
		if (code)
			code = mb_posix_fail(store, err->sys_errno, "read", name, err);
		else
			out->len += got;
	}
	close(fd);
	return code;
}

static enum mb_code
posix_head(struct mb_store *base, const char *name, struct mb_blob_info *info, struct mb_error *err)
{
	const struct posix_store *store = (const struct posix_store *) base;
	enum mb_code code;
	struct stat st;
	int fd;

	code = open_blob(store, name, &fd, &st, err);
	if (code)
		return code;
	close(fd);
	info->name = name;
	info->bytes = (uint64_t) st.st_size;
	info->modified_us = mb_posix_mtime_us(&st);
	return MB_OK;
}

/* -- remove, clock, open --------------------------------------------------------------------- */

/* Remove one name and then the directories that it leaves empty. */
static enum mb_code
remove_one(const struct posix_store *store, const char *name, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	char *dir = mb_strdup(name);
	char *slash = strrchr(dir, '/');
	int dir_fd = store->root_fd;

	if (slash)
	{
		struct mb_error why;

		*slash = '\0';
		code = mb_open_beneath(&dir_fd, store->root_fd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
							   &why);
		if (code)
		{
			if (code == MB_NOT_FOUND)
				code = MB_OK;
			else
				code = mb_posix_fail(store, why.sys_errno ? why.sys_errno : EINVAL, "remove", name,
									 err);
			free(dir);
			return code;
		}
	}
	if (unlinkat(dir_fd, slash ? slash + 1 : dir, 0) == 0)
	{
		if (TEMP_FAILURE_RETRY(fsync(dir_fd)) != 0)
			code = mb_posix_fail(store, errno, "remove", name, err);
	}
	else if (errno == EISDIR)
		code = MB_OK; /* no blob has this name */
	else if (errno != ENOENT)
		code = mb_posix_fail(store, errno, "remove", name, err);
	if (slash)
		close(dir_fd);
	while (slash && !code)
	{
		if (unlinkat(store->root_fd, dir, AT_REMOVEDIR) != 0)
			break;
		slash = strrchr(dir, '/');
		if (slash)
			*slash = '\0';
	}
	free(dir);
	return code;
}

static enum mb_code
posix_remove(struct mb_store *base, const char *const *names, size_t count, struct mb_error *err)
{
	const struct posix_store *store = (const struct posix_store *) base;
	enum mb_code code = mb_posix_check_root(store, err);
	size_t i;

	for (i = 0; i < count && !code; i++)
		code = remove_one(store, names[i], err);
	return code;
}

/* The time that the file system gives to a file made now. */
static enum mb_code
posix_clock(struct mb_store *base, int64_t *now_us, struct mb_error *err)
{
	const struct posix_store *store = (const struct posix_store *) base;
	enum mb_code code = mb_posix_check_root(store, err);
	char tmp[TMP_NAME_MAX] = "";
	struct stat st;
	int fd;

	if (code)
		return code;
	fd = mb_openat(store->root_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
	{
		mb_posix_tmp_name(tmp);
		fd = mb_openat(store->root_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	}
	if (fd < 0 || fstat(fd, &st) != 0)
		code = mb_posix_fail(store, errno, "read the clock by a file in", ".", err);
	else
		*now_us = mb_posix_mtime_us(&st);
	if (fd >= 0)
		close(fd);
	if (tmp[0])
		unlinkat(store->root_fd, tmp, 0);
	return code;
}

static void
posix_free(struct mb_store *base)
{
	struct posix_store *store = (struct posix_store *) base;

	close(store->root_fd);
	pthread_mutex_destroy(&store->lock);
	free(store->root);
	free(store->base.url);
	free(store);
}

static const struct mb_store_ops posix_ops = {
	.driver = "posix",
	.put = mb_posix_put,
	.get = posix_get,
	.head = posix_head,
	.list = mb_posix_list,
	.remove = posix_remove,
	.clock = posix_clock,
	.free = posix_free,
};

/*
 * Does a directory hold only what an init that was interrupted leaves?  Whether its keys are no more
 * than that is looked at when the repository is made.
 */
static bool
holds_only_remains(const char *dir)
{
	DIR *entries = mb_opendir(dir);
	struct dirent *entry;
	bool only = entries != NULL;

	for (errno = 0; only && (entry = readdir(entries)) != NULL; errno = 0)
		only = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			   strcmp(entry->d_name, "lost+found") == 0 || strcmp(entry->d_name, "keys") == 0 ||
			   mb_starts_with(entry->d_name, TMP_PREFIX);
	if (errno)
		only = false;
	if (entries)
		closedir(entries);
	return only;
}

static enum mb_code
make_root(const char *dir, struct mb_error *err)
{
	bool empty = true;
	enum mb_code code = mb_dir_is_empty(dir, &empty, err);

	if (!code && !empty && !holds_only_remains(dir))
	{
		mb_fail(err, MB_CONFLICT, "directory \"%s\" is not empty", dir);
		return mb_error_hint(err, "Choose a new or an empty directory for the repository.");
	}
	return code ? code : mb_mkdirs(dir, 0700, err);
}

enum mb_code
mb_store_posix_open(struct mb_store **out, const char *dir, unsigned flags, struct mb_error *err)
{
	enum mb_code code = flags & MB_STORE_CREATE ? make_root(dir, err) : MB_OK;
	struct posix_store *store;
	char *root;
	int fd;

	if (code)
		return code;
	fd = mb_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
	{
		code = mb_fail_errno(err, errno, "could not open repository directory \"%s\"", dir);
		if (code == MB_NOT_FOUND)
			mb_error_hint(err, "Make a repository with mbackup init, or check that it is mounted.");
		return code;
	}
	root = realpath(dir, NULL);
	if (!root)
	{
		code = mb_fail_errno(err, errno, "could not resolve repository directory \"%s\"", dir);
		close(fd);
		return code;
	}
	store = mb_calloc(1, sizeof(*store));
	store->base.ops = &posix_ops;
	store->base.url = mb_strdup(dir);
	store->root = root;
	store->root_fd = fd;
	pthread_mutex_init(&store->lock, NULL);
	*out = &store->base;
	return MB_OK;
}

/*
 * store_posix.c - a store in a directory; see store.h.
 *
 * The root is held open, and compared with what its path leads to before an answer
 * that depends on it: an unmounted or replaced root is UNREACHABLE, never empty.
 * No symbolic link below the root is followed.
 */
#include "core/repo/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"

#define READ_AHEAD_BYTES (1u << 20)
#define TMP_PREFIX ".tmp-"
#define TMP_NAME_MAX 32
#define TMP_MAX_AGE_S (24 * 3600)
#define CLEANED_MAX 64

struct posix_store
{
	struct mb_store base;
	char *root; /* absolute */
	int root_fd;
	pthread_mutex_t lock;
	uint64_t cleaned[CLEANED_MAX]; /* hashes of directories without leftovers, a ring */
	size_t cleaned_next;
};

static int64_t
mtime_us(const struct stat *st)
{
	return (int64_t) st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

/* Is the directory that we hold open still the one at our path? */
static enum mb_code
check_root(const struct posix_store *store, struct mb_error *err)
{
	struct stat held, named;

	if (fstat(store->root_fd, &held) == 0 && held.st_nlink > 0 && stat(store->root, &named) == 0 &&
		held.st_dev == named.st_dev && held.st_ino == named.st_ino)
		return MB_OK;
	mb_fail(err, MB_UNREACHABLE, "repository directory \"%s\" has gone away", store->base.url);
	return mb_error_hint(err, "Check that its file system is mounted.");
}

/* Like mb_fail_errno, but a missing root is no missing blob, and a stale handle is the network. */
static enum mb_code
fail(const struct posix_store *store, int sys_errno, const char *what, const char *name,
	 struct mb_error *err)
{
	if (check_root(store, err) != MB_OK)
		return err->code;
	mb_fail_errno(err, sys_errno, "could not %s \"%s\" in repository \"%s\"", what, name,
				  store->base.url);
	if (sys_errno == ESTALE || sys_errno == ENODEV || sys_errno == ENOTCONN)
		err->code = MB_UNREACHABLE;
	return err->code;
}

/* -- put ------------------------------------------------------------------------------------- */

#define DEPTH_MAX (MB_NAME_MAX / 2 + 1)

/* The directories of a name, from the root on; the fds behind the first are ours. */
struct dir_chain
{
	int fds[DEPTH_MAX];
	size_t count;
};

static void
chain_close(struct dir_chain *chain)
{
	while (chain->count > 1)
		close(chain->fds[--chain->count]);
}

/* 0 or an errno.  *leaf points into name. */
static int
chain_open(const struct posix_store *store, const char *name, struct dir_chain *chain,
		   const char **leaf)
{
	const char *slash;

	chain->fds[0] = store->root_fd;
	chain->count = 1;
	for (; (slash = strchr(name, '/')) != NULL; name = slash + 1)
	{
		int parent = chain->fds[chain->count - 1];
		char segment[256];
		int fd;

		snprintf(segment, sizeof(segment), "%.*s", (int) (slash - name), name);
		fd = openat(parent, segment, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
		{
			if (mkdirat(parent, segment, 0700) != 0 && errno != EEXIST)
				return errno;
			fd = openat(parent, segment, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		}
		if (fd < 0)
			return errno;
		chain->fds[chain->count++] = fd;
	}
	*leaf = name;
	return 0;
}

/*
 * Make every directory of the chain durable.  Always all of them: one that was there
 * before may have been made by a process that has not come to its own fsync yet.
 */
static int
chain_fsync(const struct dir_chain *chain)
{
	size_t i;

	for (i = chain->count; i-- > 0;)
		if (fsync(chain->fds[i]) != 0)
			return errno;
	return 0;
}

/* Remove temporary files that are a day older than the one just made. */
static void
remove_leftovers(struct posix_store *store, int dir_fd, const char *name, size_t dir_len,
				 const struct stat *fresh)
{
	uint64_t hash = mb_xxh64_seed(name, dir_len, 1);
	int fd = -1;
	struct dirent *entry;
	bool known = false;
	size_t i;
	DIR *dir;

	pthread_mutex_lock(&store->lock);
	for (i = 0; i < CLEANED_MAX && !known; i++)
		known = store->cleaned[i] == hash;
	if (!known)
	{
		store->cleaned[store->cleaned_next] = hash;
		store->cleaned_next = (store->cleaned_next + 1) % CLEANED_MAX;
	}
	pthread_mutex_unlock(&store->lock);
	if (known)
		return;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir)
	{
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
	{
		struct stat st;

		if (mb_starts_with(entry->d_name, TMP_PREFIX) &&
			fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
			fresh->st_mtim.tv_sec - st.st_mtim.tv_sec > TMP_MAX_AGE_S)
			unlinkat(dir_fd, entry->d_name, 0);
	}
	closedir(dir);
}

static void
tmp_name(char out[TMP_NAME_MAX])
{
	unsigned char random[8];

	mb_random(random, sizeof(random));
	memcpy(out, TMP_PREFIX, sizeof(TMP_PREFIX));
	mb_hex(out + strlen(TMP_PREFIX), random, sizeof(random));
}

/* For file systems that can neither rename nor link without replacing: under a lock. */
static int
publish_locked(const struct posix_store *store, int dir_fd, const char *tmp, const char *leaf)
{
	int fd = openat(store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int result = 0;

	if (fd < 0)
		return errno;
	if (flock(fd, LOCK_EX) != 0)
		result = errno;
	else if (fstatat(dir_fd, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0)
		result = EEXIST;
	else if (errno != ENOENT || renameat(dir_fd, tmp, dir_fd, leaf) != 0)
		result = errno;
	close(fd);
	return result;
}

/* Give the temporary file its name unless that is taken; 0 or an errno. */
static int
publish(const struct posix_store *store, int dir_fd, const char *tmp, const char *leaf)
{
	if (renameat2(dir_fd, tmp, dir_fd, leaf, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return errno;
	if (linkat(dir_fd, tmp, dir_fd, leaf, 0) == 0)
	{
		unlinkat(dir_fd, tmp, 0);
		return 0;
	}
	if (errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP && errno != EMLINK)
		return errno;
	return publish_locked(store, dir_fd, tmp, leaf);
}

static int
create_tmp(const struct dir_chain *chain, char tmp[TMP_NAME_MAX])
{
	tmp_name(tmp);
	return openat(chain->fds[chain->count - 1], tmp,
				  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static enum mb_code
posix_put(struct mb_store *base, const char *name, const void *data, size_t len,
		  struct mb_error *err)
{
	struct posix_store *store = (struct posix_store *) base;
	enum mb_code code = check_root(store, err);
	struct dir_chain chain = {.count = 0};
	char tmp[TMP_NAME_MAX];
	const char *leaf = name;
	int fd = -1, failed = 0, dir_fd, attempt;
	struct stat st;

	if (code)
		return code;
	/* Again when somebody removed the directory, empty as it was, between the two steps. */
	for (attempt = 0; attempt < 100 && fd < 0; attempt++)
	{
		chain_close(&chain);
		failed = chain_open(store, name, &chain, &leaf);
		if (!failed && (fd = create_tmp(&chain, tmp)) < 0)
			failed = errno;
		if (failed && failed != ENOENT)
			break;
	}
	dir_fd = chain.fds[chain.count - 1];
	if (fd >= 0)
	{
		code = mb_write_full(fd, data, len, name, err);
		if (!code && (fsync(fd) != 0 || fstat(fd, &st) != 0))
			code = fail(store, errno, "write", name, err);
		if (close(fd) != 0 && !code)
			code = fail(store, errno, "write", name, err);
		if (!code)
			failed = publish(store, dir_fd, tmp, leaf);
		if (code || failed)
			unlinkat(dir_fd, tmp, 0);
		else
			failed = chain_fsync(&chain);
		if (!code && !failed)
			remove_leftovers(store, dir_fd, name, (size_t) (leaf - name), &st);
	}
	/* A blob where a directory is needed, or a directory where the blob would be. */
	if (!code && (failed == EEXIST || failed == ENOTDIR))
		code = mb_fail(err, MB_EXISTS, "blob \"%s\" exists in repository \"%s\"", name, base->url);
	else if (!code && failed)
		code = fail(store, failed, "write", name, err);
	chain_close(&chain);
	return code;
}

/* -- get and head ---------------------------------------------------------------------------- */

static enum mb_code
open_blob(const struct posix_store *store, const char *name, int *fd, struct stat *st,
		  struct mb_error *err)
{
	enum mb_code code =
		mb_open_beneath(fd, store->root_fd, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, err);

	if (code)
		return fail(store, err->sys_errno ? err->sys_errno : EINVAL, "open", name, err);
	if (fstat(*fd, st) != 0)
		code = fail(store, errno, "look at", name, err);
	else if (S_ISDIR(st->st_mode))
		code = fail(store, ENOENT, "open", name, err);
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
			code = fail(store, err->sys_errno, "read", name, err);
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
	info->modified_us = mtime_us(&st);
	return MB_OK;
}

/* -- list ------------------------------------------------------------------------------------ */

/* The entries of one directory, sorted as their full names sort: a directory ends in '/'. */
struct entries
{
	char **names;
	size_t count;
	size_t cap;
};

struct listing
{
	const struct posix_store *store;
	const char *prefix;
	mb_store_list_fn fn;
	void *ctx;
	struct mb_error *err;
	char path[MB_NAME_MAX + 2]; /* of the directory at hand, with its '/' */
};

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
entries_release(struct entries *entries)
{
	size_t i;

	for (i = 0; i < entries->count; i++)
		free(entries->names[i]);
	free(entries->names);
}

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

/* Takes dir_fd. */
static enum mb_code
read_entries(const struct listing *listing, int dir_fd, struct entries *entries)
{
	size_t path_len = strlen(listing->path);
	DIR *dir = fdopendir(dir_fd);
	enum mb_code code = MB_OK;
	struct dirent *entry;

	if (!dir)
	{
		code = fail(listing->store, errno, "list", listing->path, listing->err);
		close(dir_fd);
		return code;
	}
	while (!code)
	{
		int directory;
		char *name;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
		{
			if (errno)
				code = fail(listing->store, errno, "list", listing->path, listing->err);
			break;
		}
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			mb_starts_with(entry->d_name, TMP_PREFIX) ||
			(path_len == 0 && strcmp(entry->d_name, "lost+found") == 0) ||
			path_len + strlen(entry->d_name) + 1 >= MB_NAME_MAX)
			continue;
		directory = is_directory(dir_fd, entry);
		if (directory < 0 && errno == ENOENT)
			continue;
		if (directory < 0)
		{
			code = fail(listing->store, errno, "look at", entry->d_name, listing->err);
			break;
		}
		name = mb_asprintf(directory ? "%s/" : "%s", entry->d_name);
		if (!is_wanted(listing, path_len, name))
		{
			free(name);
			continue;
		}
		entries->names = mb_grow(entries->names, &entries->cap, entries->count + 1, sizeof(char *));
		entries->names[entries->count++] = name;
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
			return check_root(listing->store, listing->err);
		return fail(listing->store, errno, "look at", listing->path, listing->err);
	}
	if (!S_ISREG(st.st_mode))
		return mb_fail(listing->err, MB_IO, "\"%s\" in repository \"%s\" is not a regular file",
					   listing->path, listing->store->base.url);
	info.name = listing->path;
	info.bytes = (uint64_t) st.st_size;
	info.modified_us = mtime_us(&st);
	return listing->fn(listing->ctx, &info, listing->err);
}

/* Everything wanted below a directory ("" is the root); one that is missing has nothing. */
static enum mb_code
list_directory(struct listing *listing, const char *dir)
{
	struct entries entries = {0};
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
			return check_root(listing->store, listing->err);
		if (code)
			return fail(listing->store, why.sys_errno ? why.sys_errno : EINVAL, "list", dir,
						listing->err);
	}
	else
	{
		fd = openat(listing->store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return fail(listing->store, errno, "list", ".", listing->err);
	}
	code = read_entries(listing, fd, &entries);
	if (!code && entries.count > 1)
		qsort(entries.names, entries.count, sizeof(char *), compare_names);
	for (i = 0; i < entries.count && !code; i++)
		code = list_entry(listing, path_len, entries.names[i]);
	entries_release(&entries);
	return code;
}

static enum mb_code
posix_list(struct mb_store *base, const char *prefix, mb_store_list_fn fn, void *ctx,
		   struct mb_error *err)
{
	struct listing listing = {.store = (const struct posix_store *) base,
							  .prefix = prefix,
							  .fn = fn,
							  .ctx = ctx,
							  .err = err};
	const char *slash = strrchr(prefix, '/');
	enum mb_code code = check_root(listing.store, err);
	char *dir;

	if (code)
		return code;
	/* Start in the deepest directory that the prefix names; no blob has an unsafe name. */
	dir = mb_strndup(prefix, slash ? (size_t) (slash - prefix) : 0);
	if (strlen(prefix) < MB_NAME_MAX && (!slash || mb_name_is_safe(dir, strlen(dir))))
		code = list_directory(&listing, dir);
	free(dir);
	/* What was seen counts only when the root was there to the end. */
	return code ? code : check_root(listing.store, err);
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
				code = fail(store, why.sys_errno ? why.sys_errno : EINVAL, "remove", name, err);
			free(dir);
			return code;
		}
	}
	if (unlinkat(dir_fd, slash ? slash + 1 : dir, 0) == 0)
	{
		if (fsync(dir_fd) != 0)
			code = fail(store, errno, "remove", name, err);
	}
	else if (errno == EISDIR)
		code = MB_OK; /* no blob has this name */
	else if (errno != ENOENT)
		code = fail(store, errno, "remove", name, err);
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
	enum mb_code code = check_root(store, err);
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
	enum mb_code code = check_root(store, err);
	char tmp[TMP_NAME_MAX] = "";
	struct stat st;
	int fd;

	if (code)
		return code;
	fd = openat(store->root_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
	{
		tmp_name(tmp);
		fd = openat(store->root_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	}
	if (fd < 0 || fstat(fd, &st) != 0)
		code = fail(store, errno, "read the clock by a file in", ".", err);
	else
		*now_us = mtime_us(&st);
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
	.put = posix_put,
	.get = posix_get,
	.head = posix_head,
	.list = posix_list,
	.remove = posix_remove,
	.clock = posix_clock,
	.free = posix_free,
};

static enum mb_code
make_root(const char *dir, struct mb_error *err)
{
	bool empty = true;
	enum mb_code code = mb_dir_is_empty(dir, &empty, err);

	if (!code && !empty)
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
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

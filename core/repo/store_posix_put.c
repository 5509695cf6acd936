/* store_posix_put.c - see store_posix_private.h: a blob is written beside its name, then gets it. */
#include "core/repo/store_posix_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"

#define TMP_MAX_AGE_S (24 * 3600)
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
		fd = mb_openat(parent, segment, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (fd < 0 && errno == ENOENT)
		{
			if (mkdirat(parent, segment, 0700) != 0 && errno != EEXIST)
				return errno;
			fd = mb_openat(parent, segment, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		}
		if (fd < 0)
			return errno;
		chain->fds[chain->count++] = fd;
	}
	*leaf = name;
	return 0;
}

static bool
holds(const struct posix_ring *ring, uint64_t hash)
{
	size_t i;

	for (i = 0; i < RING_MAX; i++)
		if (ring->hashes[i] == hash)
			return true;
	return false;
}

static bool
is_noted(struct posix_store *store, const struct posix_ring *ring, uint64_t hash)
{
	bool noted;

	pthread_mutex_lock(&store->lock);
	noted = holds(ring, hash);
	pthread_mutex_unlock(&store->lock);
	return noted;
}

/* Was it new? */
static bool
note(struct posix_store *store, struct posix_ring *ring, uint64_t hash)
{
	bool is_new;

	pthread_mutex_lock(&store->lock);
	is_new = !holds(ring, hash);
	if (is_new)
	{
		ring->hashes[ring->next] = hash;
		ring->next = (ring->next + 1) % RING_MAX;
	}
	pthread_mutex_unlock(&store->lock);
	return is_new;
}

/*
 * Which directory this is, by number and birth: another one may get its number later.  False where
 * the file system does not tell the birth, or that is so short ago that one which took its place
 * could have the same.
 */
static bool
identify(int fd, uint64_t *hash)
{
	struct timespec now;
	struct statx st;
	int64_t who[5];

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) != 0 ||
		!(st.stx_mask & STATX_BTIME) || clock_gettime(CLOCK_REALTIME, &now) != 0)
		return false;
	who[0] = st.stx_dev_major;
	who[1] = st.stx_dev_minor;
	who[2] = (int64_t) st.stx_ino;
	who[3] = st.stx_btime.tv_sec;
	who[4] = st.stx_btime.tv_nsec;
	*hash = mb_xxh64_seed(who, sizeof(who), 1);
	return now.tv_sec - st.stx_btime.tv_sec > 1;
}

/*
 * Make every directory of the chain durable: also those that were there before, which may have
 * been made by a process that has not come to its own fsync yet.  What we have done once for a
 * directory's name holds as long as that directory lives, and each fsync that is not needed would
 * still make a disk empty its cache, ten times for one piece of WAL that a commit waits for.
 */
static int
chain_fsync(struct posix_store *store, const struct dir_chain *chain)
{
	size_t i;

	for (i = chain->count; i-- > 0;)
	{
		uint64_t below;
		bool known = i + 1 < chain->count && identify(chain->fds[i + 1], &below);

		if (known && is_noted(store, &store->durable, below))
			continue;
		if (TEMP_FAILURE_RETRY(fsync(chain->fds[i])) != 0)
			return errno;
		if (known)
			(void) note(store, &store->durable, below);
	}
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
	DIR *dir;

	if (!note(store, &store->cleaned, hash))
		return;
	fd = mb_openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
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

/* For file systems that can neither rename nor link without replacing: under a lock. */
static int
publish_locked(const struct posix_store *store, int dir_fd, const char *tmp, const char *leaf)
{
	int fd = mb_openat(store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
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
	mb_posix_tmp_name(tmp);
	return mb_openat(chain->fds[chain->count - 1], tmp,
					 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

enum mb_code
mb_posix_put(struct mb_store *base, const char *name, const void *data, size_t len,
			 struct mb_error *err)
{
	struct posix_store *store = (struct posix_store *) base;
	enum mb_code code = mb_posix_check_root(store, err);
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
		if (!code && (TEMP_FAILURE_RETRY(fsync(fd)) != 0 || fstat(fd, &st) != 0))
			code = mb_posix_fail(store, errno, "write", name, err);
		if (close(fd) != 0 && !code)
			code = mb_posix_fail(store, errno, "write", name, err);
		if (!code)
			failed = publish(store, dir_fd, tmp, leaf);
		if (code || failed)
			unlinkat(dir_fd, tmp, 0);
		else
			failed = chain_fsync(store, &chain);
		if (!code && !failed)
			remove_leftovers(store, dir_fd, name, (size_t) (leaf - name), &st);
	}
	/* A blob where a directory is needed, or a directory where the blob would be. */
	if (!code && (failed == EEXIST || failed == ENOTDIR))
		code = mb_fail(err, MB_EXISTS, "blob \"%s\" exists in repository \"%s\"", name, base->url);
	else if (!code && failed)
		code = mb_posix_fail(store, failed, "write", name, err);
	chain_close(&chain);
	return code;
}

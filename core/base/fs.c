/* fs.c - see fs.h. */
#include "core/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

char *
mb_path_join(const char *dir, const char *name)
{
	return mb_asprintf(mb_ends_with(dir, "/") ? "%s%s" : "%s/%s", dir, name);
}

int
mb_open(const char *path, int flags, mode_t mode)
{
	return TEMP_FAILURE_RETRY(open(path, flags, mode));
}

int
mb_openat(int dir_fd, const char *name, int flags, mode_t mode)
{
	return TEMP_FAILURE_RETRY(openat(dir_fd, name, flags, mode));
}

DIR *
mb_opendir(const char *path)
{
	DIR *dir;

	do
		dir = opendir(path);
	while (!dir && errno == EINTR);
	return dir;
}

int
mb_mkostemp(char *path, int flags)
{
	char *end = path + strlen(path) - strlen("XXXXXX");
	int fd;

	/* A failure may leave a name behind. */
	do
	{
		memcpy(end, "XXXXXX", strlen("XXXXXX"));
		fd = mkostemp(path, flags);
	} while (fd < 0 && errno == EINTR);
	return fd;
}

enum mb_code
mb_pread_full(int fd, void *buf, size_t len, int64_t offset, size_t *got, const char *path,
			  struct mb_error *err)
{
	size_t done = 0;

	while (done < len)
	{
		ssize_t n = pread(fd, (char *) buf + done, len - done, offset + (int64_t) done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return mb_fail_errno(err, errno, "could not read \"%s\"", path);
		if (n == 0)
			break;
		done += (size_t) n;
	}
	*got = done;
	return MB_OK;
}

/* All of buf, at the file's position (offset -1) or at an offset. */
static enum mb_code
write_all(int fd, const void *buf, size_t len, int64_t offset, const char *path,
		  struct mb_error *err)
{
	size_t done = 0;

	while (done < len)
	{
		const char *p = (const char *) buf + done;
		ssize_t n = offset < 0 ? write(fd, p, len - done)
							   : pwrite(fd, p, len - done, offset + (int64_t) done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return mb_fail_errno(err, n < 0 ? errno : ENOSPC, "could not write \"%s\"", path);
		done += (size_t) n;
	}
	return MB_OK;
}

enum mb_code
mb_write_full(int fd, const void *buf, size_t len, const char *path, struct mb_error *err)
{
	return write_all(fd, buf, len, -1, path, err);
}

enum mb_code
mb_pwrite_full(int fd, const void *buf, size_t len, int64_t offset, const char *path,
			   struct mb_error *err)
{
	MB_ASSERT(offset >= 0);
	return write_all(fd, buf, len, offset, path, err);
}

enum mb_code
mb_file_read(struct mb_buf *out, const char *path, size_t max_bytes, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t start = out->len;
	int fd = mb_open(path, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	for (;;)
	{
		ssize_t n;

		mb_buf_reserve(out, 65536);
		n = read(fd, out->data + out->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			code = mb_fail_errno(err, errno, "could not read \"%s\"", path);
		if (n <= 0)
			break;
		out->len += (size_t) n;
		if (out->len - start > max_bytes)
		{
			code = mb_fail(err, MB_CORRUPT, "\"%s\" is larger than %zu bytes", path, max_bytes);
			break;
		}
	}
	close(fd);
	return code;
}

/* The directory part of a path; free() it. */
static char *
parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mb_strdup(".");
	if (slash == path)
		return mb_strdup("/");
	return mb_strndup(path, (size_t) (slash - path));
}

enum mb_code
mb_fsync_path(const char *path, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	int fd = mb_open(path, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	if (TEMP_FAILURE_RETRY(fsync(fd)) != 0)
		code = mb_fail_errno(err, errno, "could not fsync \"%s\"", path);
	close(fd);
	return code;
}

enum mb_code
mb_file_write_durable(const char *path, const void *data, size_t len, mode_t mode,
					  struct mb_error *err)
{
	char *tmp = mb_asprintf("%s.tmp-XXXXXX", path);
	char *parent = parent_of(path);
	enum mb_code code = MB_OK;
	int fd = mb_mkostemp(tmp, O_CLOEXEC);

	if (fd < 0)
	{
		code = mb_fail_errno(err, errno, "could not create a file beside \"%s\"", path);
		goto done;
	}
	code = mb_write_full(fd, data, len, tmp, err);
	if (!code && (fchmod(fd, mode) != 0 || TEMP_FAILURE_RETRY(fsync(fd)) != 0))
		code = mb_fail_errno(err, errno, "could not write \"%s\"", tmp);
	close(fd);
	if (!code && rename(tmp, path) != 0)
		code = mb_fail_errno(err, errno, "could not rename \"%s\" to \"%s\"", tmp, path);
	if (!code)
		code = mb_fsync_path(parent, err);
	else
		unlink(tmp);
done:
	free(parent);
	free(tmp);
	return code;
}

enum mb_code
mb_mkdirs(const char *dir, mode_t mode, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	struct stat st;
	char *parent;

	if (stat(dir, &st) == 0)
	{
		if (!S_ISDIR(st.st_mode))
			return mb_fail(err, MB_CONFLICT, "\"%s\" exists but is not a directory", dir);
		return MB_OK;
	}
	if (errno != ENOENT)
		return mb_fail_errno(err, errno, "could not look at \"%s\"", dir);
	parent = parent_of(dir);
	if (strcmp(parent, dir) != 0)
		code = mb_mkdirs(parent, mode, err);
	if (!code && mkdir(dir, mode) != 0 && errno != EEXIST)
		code = mb_fail_errno(err, errno, "could not create directory \"%s\"", dir);
	if (!code)
		code = mb_fsync_path(parent, err);
	free(parent);
	return code;
}

enum mb_code
mb_dir_next(DIR *dir, const char *path, struct dirent **entry, struct mb_error *err)
{
	do
	{
		errno = 0;
		*entry = readdir(dir);
	} while (*entry && (strcmp((*entry)->d_name, ".") == 0 || strcmp((*entry)->d_name, "..") == 0));
	if (!*entry && errno)
		return mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	return MB_OK;
}

enum mb_code
mb_dir_names(const char *path, const char *prefix, struct mb_names *names, struct mb_error *err)
{
	DIR *dir = mb_opendir(path);
	enum mb_code code = MB_OK;
	struct dirent *entry;

	if (!dir && errno == ENOENT)
		return MB_OK;
	if (!dir)
		return mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	while (!(code = mb_dir_next(dir, path, &entry, err)) && entry)
		if (mb_starts_with(entry->d_name, prefix))
			mb_names_add(names, entry->d_name, strlen(entry->d_name));
	closedir(dir);
	return code;
}

enum mb_code
mb_rmtree_at(int dir_fd, const char *name, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return MB_OK;
	if (errno != EISDIR && errno != EPERM)
		return mb_fail_errno(err, errno, "could not remove \"%s\"", name);
	fd = mb_openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return mb_fail_errno(err, errno, "could not open directory \"%s\"", name);
	dir = fdopendir(fd);
	if (!dir)
	{
		close(fd);
		return mb_fail_errno(err, errno, "could not read directory \"%s\"", name);
	}
	while (!code && !(code = mb_dir_next(dir, name, &entry, err)) && entry)
		code = mb_rmtree_at(fd, entry->d_name, err);
	closedir(dir);
	if (!code && unlinkat(dir_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
		code = mb_fail_errno(err, errno, "could not remove directory \"%s\"", name);
	return code;
}

enum mb_code
mb_rmtree(const char *path, struct mb_error *err)
{
	return mb_rmtree_at(AT_FDCWD, path, err);
}

enum mb_code
mb_name_exists(int dir_fd, const char *name, bool *exists, struct mb_error *err)
{
	struct stat st;

	*exists = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!*exists && errno != ENOENT)
		return mb_fail_errno(err, errno, "could not look at \"%s\"", name);
	return MB_OK;
}

enum mb_code
mb_dir_is_empty(const char *path, bool *empty, struct mb_error *err)
{
	struct dirent *entry;
	enum mb_code code = MB_OK;
	DIR *dir = mb_opendir(path);
	bool found = false;

	if (!dir && errno == ENOENT)
	{
		*empty = true;
		return MB_OK;
	}
	if (!dir)
		return mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	while (!found && !(code = mb_dir_next(dir, path, &entry, err)) && entry)
		found = strcmp(entry->d_name, "lost+found") != 0 &&
				!mb_starts_with(entry->d_name, MB_KEPT_PREFIX);
	if (!code)
		*empty = !found;
	closedir(dir);
	return code;
}

bool
mb_name_is_safe(const char *name, size_t len)
{
	size_t start = 0, i;

	if (len == 0 || len > 4095 || memchr(name, '\0', len))
		return false;
	for (i = 0; i <= len; i++)
	{
		size_t segment = i - start;

		if (i < len && name[i] != '/')
			continue;
		if (segment == 0 || segment > 255 || (segment == 1 && name[start] == '.') ||
			(segment == 2 && name[start] == '.' && name[start + 1] == '.'))
			return false;
		start = i + 1;
	}
	return true;
}

/* The same promise without openat2 (before Linux 5.6): one O_NOFOLLOW step for each segment. */
static int
open_by_walking(int root_fd, const char *name, int flags, mode_t mode)
{
	char *copy = mb_strdup(name);
	char *segment = copy;
	int dir_fd = root_fd;
	int fd = -1;
	char *slash;

	while ((slash = strchr(segment, '/')) != NULL)
	{
		int next;

		*slash = '\0';
		next = mb_openat(dir_fd, segment, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (dir_fd != root_fd)
			close(dir_fd);
		dir_fd = next;
		if (next < 0)
			goto done;
		segment = slash + 1;
	}
	fd = mb_openat(dir_fd, segment, flags | O_NOFOLLOW, mode);
	if (dir_fd != root_fd)
	{
		int saved = errno;

		close(dir_fd);
		errno = saved;
	}
done:
	free(copy);
	return fd;
}

enum mb_code
mb_open_beneath(int *fd, int root_fd, const char *name, int flags, mode_t mode,
				struct mb_error *err)
{
	struct open_how how = {.flags = (unsigned) flags | O_CLOEXEC,
						   .mode = flags & O_CREAT ? mode : 0,
						   .resolve =
							   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long got;

	if (!mb_name_is_safe(name, strlen(name)))
		return mb_fail(err, MB_CORRUPT, "\"%s\" is not a safe relative name", name);
	got = TEMP_FAILURE_RETRY(syscall(SYS_openat2, root_fd, name, &how, sizeof(how)));
	if (got < 0 && (errno == ENOSYS || errno == EPERM))
		got = open_by_walking(root_fd, name, flags | O_CLOEXEC, mode);
	if (got < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", name);
	*fd = (int) got;
	return MB_OK;
}

enum mb_code
mb_lock_file(int *fd, const char *path, struct mb_error *err)
{
	int lock_fd = mb_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (lock_fd < 0)
		return mb_fail_errno(err, errno, "could not open lock file \"%s\"", path);
	if (flock(lock_fd, LOCK_EX | LOCK_NB) != 0)
	{
		int saved = errno;

		close(lock_fd);
		if (saved == EWOULDBLOCK)
			return mb_fail(err, MB_CONFLICT, "another process holds the lock \"%s\"", path);
		return mb_fail_errno(err, saved, "could not lock \"%s\"", path);
	}
	*fd = lock_fd;
	return MB_OK;
}

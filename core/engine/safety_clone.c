/* safety_clone.c - copies that share their blocks with the original (see safety.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/safety_private.h"

#define MAX_DEPTH 256
#define LINK_MAX_BYTES 4096

bool
mb_can_clone(int dir_fd)
{
	static const char text[] = "block";
	/* In the directory, since nothing else is surely of its filesystem; without a name. */
	int from = mb_openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int to = mb_openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	bool can = from >= 0 && to >= 0 && write(from, text, sizeof(text)) == sizeof(text) &&
			   ioctl(to, FICLONE, from) == 0;

	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return can;
}

/* Owner, mode, times of what was just made; the mode last, which chown may change. */
static enum mb_code
like(int fd, const struct stat *st, const char *name, struct mb_error *err)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};

	if ((geteuid() == 0 && fchown(fd, st->st_uid, st->st_gid) != 0) ||
		fchmod(fd, st->st_mode & 07777) != 0 || futimens(fd, times) != 0)
		return mb_fail_errno(err, errno, "could not set owner and mode of the copy of \"%s\"",
							 name);
	return MB_OK;
}

static enum mb_code
clone_file(int from_dir, int to_dir, const char *name, const struct stat *st, struct mb_error *err)
{
	int from = mb_openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0), to = -1;
	enum mb_code code = MB_OK;

	if (from < 0)
		return errno == ENOENT ? MB_OK : mb_fail_errno(err, errno, "could not open \"%s\"", name);
	to = mb_openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		code = mb_fail_errno(err, errno, "could not create a copy of \"%s\"", name);
	else if (ioctl(to, FICLONE, from) != 0)
		code = mb_fail_errno(err, errno, "could not share the blocks of \"%s\"", name);
	if (!code)
		code = like(to, st, name, err);
	if (to >= 0)
		close(to);
	close(from);
	return code;
}

static enum mb_code
clone_link(int from_dir, int to_dir, const char *name, const struct stat *st, struct mb_error *err)
{
	char target[LINK_MAX_BYTES + 1];
	ssize_t len = readlinkat(from_dir, name, target, LINK_MAX_BYTES);

	if (len < 0)
		return mb_fail_errno(err, errno, "could not read link \"%s\"", name);
	target[len] = '\0';
	if (symlinkat(target, to_dir, name) != 0 ||
		(geteuid() == 0 &&
		 fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) != 0))
		return mb_fail_errno(err, errno, "could not copy link \"%s\"", name);
	return MB_OK;
}

static enum mb_code clone_directory(int from_fd, int to_fd, int depth, struct mb_error *err);

static enum mb_code
clone_below(int from_dir, int to_dir, const char *name, const struct stat *st, int depth,
			struct mb_error *err)
{
	int from = mb_openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0), to;
	enum mb_code code;

	if (from < 0)
		return mb_fail_errno(err, errno, "could not open directory \"%s\"", name);
	code = mb_open_or_make(to_dir, name, &to, err);
	if (!code)
	{
		code = clone_directory(from, to, depth + 1, err);
		if (!code)
			code = like(to, st, name, err);
		close(to);
	}
	close(from);
	return code;
}

static enum mb_code
clone_directory(int from_fd, int to_fd, int depth, struct mb_error *err)
{
	int fd = mb_openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd >= 0 && depth < MAX_DEPTH ? fdopendir(fd) : NULL;
	struct dirent *entry;
	enum mb_code code = MB_OK;

	if (!dir)
	{
		if (fd >= 0)
			close(fd);
		return mb_fail(err, MB_IO, "could not read a directory %d levels down", depth);
	}
	for (errno = 0; !code && (entry = readdir(dir)) != NULL; errno = 0)
	{
		const char *name = entry->d_name;
		struct stat st;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
			mb_starts_with(name, MB_KEPT_PREFIX))
			continue;
		if (fstatat(from_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			code = mb_fail_errno(err, errno, "could not look at \"%s\"", name);
		else if (S_ISREG(st.st_mode))
			code = clone_file(from_fd, to_fd, name, &st, err);
		else if (S_ISLNK(st.st_mode))
			code = clone_link(from_fd, to_fd, name, &st, err);
		else if (S_ISDIR(st.st_mode))
			code = clone_below(from_fd, to_fd, name, &st, depth, err);
		/* Sockets and pipes belong to a process that is gone. */
	}
	if (!code && errno)
		code = mb_fail_errno(err, errno, "could not read a directory %d levels down", depth);
	closedir(dir);
	return code;
}

enum mb_code
mb_clone_tree(int from_fd, const char *to, struct mb_error *err)
{
	enum mb_code code = mb_rmtree(to, err);
	struct stat st;
	int fd;

	if (code)
		return code;
	if (fstat(from_fd, &st) != 0)
		return mb_fail_errno(err, errno, "could not look at what \"%s\" copies", to);
	code = mb_open_or_make(AT_FDCWD, to, &fd, err);
	if (code)
		return code;
	code = clone_directory(from_fd, fd, 0, err);
	if (!code)
		code = like(fd, &st, to, err);
	if (!code && syncfs(fd) != 0)
		code = mb_fail_errno(err, errno, "could not sync \"%s\" to disk", to);
	close(fd);
	return code;
}

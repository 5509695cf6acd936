/* safety_choose.c - see safety.h: what there is, and the best way to keep it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/safety_private.h"

#define MAX_DEPTH 256

/* -- how much ------------------------------------------------------------------------------------ */

static uint64_t
bytes_below(int fd, int depth)
{
	DIR *dir = depth < MAX_DEPTH ? fdopendir(fd) : NULL;
	struct dirent *entry;
	uint64_t sum = 0;

	if (!dir)
	{
		close(fd);
		return 0;
	}
	while ((entry = readdir(dir)) != NULL)
	{
		struct stat st;
		int below;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		sum += (uint64_t) st.st_blocks * 512;
		if (!S_ISDIR(st.st_mode))
			continue;
		below = mb_openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (below >= 0)
			sum += bytes_below(below, depth + 1);
	}
	closedir(dir);
	return sum;
}

uint64_t
mb_tree_bytes(const char *path)
{
	int fd = mb_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	struct stat st;

	if (fd >= 0)
		return bytes_below(fd, 0);
	return lstat(path, &st) == 0 ? (uint64_t) st.st_blocks * 512 : 0;
}

/* -- choosing ------------------------------------------------------------------------------------ */

static bool
is_mount_point(const char *path, const struct stat *st)
{
	char *parent = mb_asprintf("%s/..", path);
	struct stat above;
	struct statx more;
	bool is;

	is = stat(parent, &above) == 0 && above.st_dev != st->st_dev;
	free(parent);
	if (is || statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &more) != 0)
		return is;
	/* A bind mount of a directory of the same filesystem. */
	return (more.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
		   (more.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static bool
is_parent_writable(const char *path)
{
	char *parent = mb_strdup(path), *slash = strrchr(parent, '/');
	bool is;

	slash[slash == parent] = '\0';
	is = access(parent, W_OK | X_OK) == 0;
	free(parent);
	return is;
}

static void
say_why(struct mb_safety *safety, const char *text)
{
	free(safety->why);
	safety->why = mb_strdup(text);
}

/* Where it will stand, for the method that was chosen. */
static void
name_kept(struct mb_safety *safety, const char *id)
{
	bool beside = safety->method == MB_SAFETY_RENAME || safety->method == MB_SAFETY_REFLINK;

	free(safety->kept);
	safety->kept = mb_asprintf("%s%s.mbackup-old-%s", safety->path, beside ? "" : "/", id);
}

static enum mb_code
choose_method(struct mb_safety *safety, const struct stat *st, int fd, bool was_link)
{
	bool mounted = is_mount_point(safety->path, st);
	bool may_rename = !mounted && !was_link && !(safety->wishes & MB_SAFETY_STAYS) &&
					  !safety->only && is_parent_writable(safety->path);

	if (safety->wishes & MB_SAFETY_IS_USED)
	{
		safety->method = !mounted && !safety->only && is_parent_writable(safety->path) &&
								 !(safety->wishes & MB_SAFETY_UNKEPT) && mb_can_clone(fd)
							 ? MB_SAFETY_REFLINK
							 : MB_SAFETY_NONE;
		if (safety->method == MB_SAFETY_NONE)
			say_why(safety, "it is used by the delta, and the filesystem shares no blocks");
	}
	else if (safety->wishes & MB_SAFETY_UNKEPT)
		safety->method = MB_SAFETY_NONE;
	else if (safety->is_list)
		safety->method = MB_SAFETY_FILES;
	else if (may_rename)
		safety->method = MB_SAFETY_RENAME;
	else
	{
		safety->method = MB_SAFETY_MOVE;
		say_why(safety, mounted    ? "a mount point"
						: was_link ? "reached by a link"
						: (safety->wishes & MB_SAFETY_STAYS)
							? "the directory stays the same one"
							: "its parent directory may not be written");
	}
	return MB_OK;
}

/* Is there anything that would be moved? */
static enum mb_code
look_inside(struct mb_safety *safety, int fd, bool *empty, struct mb_error *err)
{
	struct mb_names names = {0};
	struct stat st;
	enum mb_code code = MB_OK;

	if (safety->is_list)
		*empty = safety->keep.count == 0 && safety->put.count == 0;
	else if (safety->only)
	{
		code = mb_name_exists(fd, safety->only, empty, err);
		*empty = !*empty;
	}
	else
	{
		code = mb_safety_read(fd, safety->path, &names, err);
		*empty = names.count == 0;
	}
	mb_names_release(&names);
	if (code || *empty)
		return code;
	if (safety->only)
	{
		char *path = mb_path_join(safety->path, safety->only);

		safety->bytes = mb_tree_bytes(path);
		free(path);
	}
	else if (!safety->is_list)
		safety->bytes = mb_tree_bytes(safety->path);
	else
	{
		size_t i;

		for (i = 0; i < safety->keep.count; i++)
			if (fstatat(fd, safety->keep.items[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
				safety->bytes += (uint64_t) st.st_blocks * 512;
	}
	return MB_OK;
}

/* A link at the end of the path is gone along once, now; later none is. */
static enum mb_code
resolve(struct mb_safety *safety, bool *was_link, struct stat *st, struct mb_error *err)
{
	char real[PATH_MAX];
	size_t len = strlen(safety->path);

	while (len > 1 && safety->path[len - 1] == '/')
		safety->path[--len] = '\0';
	*was_link = false;
	safety->existed = false;
	if (safety->path[0] != '/' || len < 2)
		return mb_fail(err, MB_CONFIG, "\"%s\" is no directory that a restore could replace",
					   safety->path);
	if (safety->only &&
		(!mb_name_is_safe(safety->only, strlen(safety->only)) || strchr(safety->only, '/')))
		return mb_fail(err, MB_CONFIG, "\"%s\" is no name in \"%s\"", safety->only, safety->path);
	if (lstat(safety->path, st) != 0)
		return errno == ENOENT
				   ? MB_OK
				   : mb_fail_errno(err, errno, "could not look at \"%s\"", safety->path);
	if (S_ISLNK(st->st_mode))
	{
		*was_link = true;
		if (!realpath(safety->path, real) || lstat(real, st) != 0)
			return mb_fail_errno(err, errno, "could not follow the link \"%s\"", safety->path);
		free(safety->path);
		safety->path = mb_strdup(real);
	}
	safety->existed = true;
	if (S_ISDIR(st->st_mode))
		return MB_OK;
	mb_fail(err, MB_CONFLICT, "\"%s\" is no directory", safety->path);
	return mb_error_hint(err, "Move it away, or give another destination.");
}

enum mb_code
mb_safety_choose(struct mb_safety *safety, const char *id, struct mb_error *err)
{
	bool was_link, is_taken, empty = true;
	struct stat st;
	int fd;
	enum mb_code code = resolve(safety, &was_link, &st, err);

	safety->method = MB_SAFETY_EMPTY;
	safety->bytes = 0;
	if (code || !safety->existed)
		return code;
	safety->mode = st.st_mode & 07777;
	safety->uid = st.st_uid;
	safety->gid = st.st_gid;
	safety->dev = (uint64_t) st.st_dev;
	safety->ino = (uint64_t) st.st_ino;
	code = mb_safety_open(safety, &fd, err);
	if (code)
		return code;
	code = look_inside(safety, fd, &empty, err);
	if (!code && !empty)
		code = choose_method(safety, &st, fd, was_link);
	close(fd);
	if (code || empty)
		return code;
	if (safety->method != MB_SAFETY_NONE)
		name_kept(safety, id);
	if (safety->method != MB_SAFETY_RENAME && access(safety->path, W_OK | X_OK) != 0)
	{
		mb_fail_errno(err, errno, "could not move what is in \"%s\"", safety->path);
		return mb_error_hint(err, "Restore as its owner or as root.");
	}
	if (safety->kept)
		code = mb_name_exists(AT_FDCWD, safety->kept, &is_taken, err);
	if (safety->kept && !code && is_taken)
		code = mb_fail(err, MB_CONFLICT, "\"%s\" exists already", safety->kept);
	return code;
}

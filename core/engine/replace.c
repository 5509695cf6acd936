/* replace.c - see replace.h. */
#include "core/engine/replace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"

#define MAX_DEPTH 256

enum mb_code
mb_restore_names(const struct mb_restore *restore, mb_tree_select select, void *ctx,
				 struct mb_names *names, struct mb_error *err)
{
	struct mb_manifest_reader *reader =
		mb_manifest_reader_new(restore->env->repo, &restore->commit.blocks);
	const struct mb_entry *entry;
	struct mb_buf name = {0};
	enum mb_code code;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		int dir_fd = -1;

		if (entry->type == MB_ENTRY_DIR || entry->type == MB_ENTRY_DATA)
			continue;
		mb_buf_reset(&name);
		mb_buf_put(&name, entry->path, entry->path_len);
		/* A marker has no file, but tells select() about the versions behind it. */
		if ((select ? select(ctx, entry, &name, &dir_fd)
					: (entry->flags & MB_ENTRY_AFTER_CUT) == 0) &&
			entry->type != MB_ENTRY_MARKER)
			mb_names_add(names, mb_buf_cstr(&name), name.len);
	}
	mb_buf_release(&name);
	mb_manifest_reader_free(reader);
	return code;
}

struct walk
{
	mb_walk_wanted wanted;
	void *ctx;
	struct mb_names *names;
};

static enum mb_code walk_directory(const struct walk *walk, int fd, const char *path, int depth,
								   struct mb_error *err);

/* One name in an open directory; path is its whole path. */
static enum mb_code
walk_name(const struct walk *walk, int dir_fd, const char *name, const char *path, int depth,
		  struct mb_error *err)
{
	struct stat st;
	int fd;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? MB_OK
							   : mb_fail_errno(err, errno, "could not look at \"%s\"", path);
	if (!walk->wanted(walk->ctx, path, &st))
		return MB_OK;
	if (!S_ISDIR(st.st_mode))
	{
		mb_names_add(walk->names, path, strlen(path));
		return MB_OK;
	}
	fd = mb_openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return mb_fail_errno(err, errno, "could not open directory \"%s\"", path);
	return walk_directory(walk, fd, path, depth + 1, err);
}

/* Takes fd. */
static enum mb_code
walk_directory(const struct walk *walk, int fd, const char *path, int depth, struct mb_error *err)
{
	DIR *dir = depth < MAX_DEPTH ? fdopendir(fd) : NULL;
	enum mb_code code = MB_OK;
	struct dirent *entry;

	if (!dir)
	{
		close(fd);
		return mb_fail(err, MB_IO, "could not read directory \"%s\"", path);
	}
	/* A name that is overlooked would be replaced without being kept. */
	for (errno = 0; !code && (entry = readdir(dir)) != NULL; errno = 0)
	{
		char *below;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			mb_starts_with(entry->d_name, MB_KEPT_PREFIX))
			continue;
		below = *path ? mb_path_join(path, entry->d_name) : mb_strdup(entry->d_name);
		code = walk_name(walk, dirfd(dir), entry->d_name, below, depth, err);
		free(below);
	}
	if (!code && errno)
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	closedir(dir);
	return code;
}

enum mb_code
mb_walk_names(int root_fd, const char *start, mb_walk_wanted wanted, void *ctx,
			  struct mb_names *names, struct mb_error *err)
{
	struct walk walk = {wanted, ctx, names};
	const char *slash = strrchr(start, '/');
	enum mb_code code;
	char *above;
	int fd;

	if (!*start)
	{
		fd = mb_openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		return fd < 0 ? mb_fail_errno(err, errno,
									  "could not open the directory of the destination again")
					  : walk_directory(&walk, fd, "", 0, err);
	}
	above = slash ? mb_strndup(start, (size_t) (slash - start)) : mb_strdup(".");
	code = slash ? mb_open_beneath(&fd, root_fd, above, O_RDONLY | O_DIRECTORY, 0, err) : MB_OK;
	if (!slash && (fd = mb_openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)) < 0)
		code = mb_fail_errno(err, errno, "could not open the directory of the destination again");
	free(above);
	if (code == MB_NOT_FOUND)
	{
		mb_error_clear(err);
		return MB_OK;
	}
	if (code)
		return code;
	code = walk_name(&walk, fd, slash ? slash + 1 : start, start, 0, err);
	close(fd);
	return code;
}

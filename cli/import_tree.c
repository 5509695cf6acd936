/* import_tree.c - see import_tree.h. */
#include "cli/import_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"

enum mb_code
import_tree_open(struct import_tree *tree, const char *root, unsigned flags, struct mb_error *err)
{
	enum mb_code code;

	memset(tree, 0, sizeof(*tree));
	tree->root = root;
	tree->flags = flags;
	tree->fd = tree->root_fd = -1;
	code = mb_mkdirs(root, 0755, err);
	if (code)
		return code;
	tree->root_fd = mb_open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	return tree->root_fd < 0 ? mb_fail_errno(err, errno, "could not open \"%s\"", root) : MB_OK;
}

/* The directory that a name stands in, made when missing; *name is its last part. */
static enum mb_code
open_parent(struct import_tree *tree, const char *path, int *fd, const char **name,
			struct mb_error *err)
{
	const char *slash = path;
	enum mb_code code = MB_OK;
	int at = dup(tree->root_fd);

	if (at < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", tree->root);
	while (!code && (slash = strchr(slash, '/')) != NULL)
	{
		char *dir = mb_strndup(path, (size_t) (slash - path));
		const char *last = strrchr(dir, '/');
		int next = -1;

		if (mkdirat(at, last ? last + 1 : dir, 0755) != 0 && errno != EEXIST)
			code = mb_fail_errno(err, errno, "could not create \"%s/%s\"", tree->root, dir);
		if (!code)
			code = mb_open_beneath(&next, tree->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, err);
		if (!code)
		{
			close(at);
			at = next;
		}
		free(dir);
		slash++;
	}
	if (code)
	{
		close(at);
		return code;
	}
	slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	*fd = at;
	return MB_OK;
}

static enum mb_code
set_attributes(int fd, const struct mb_tar_member *member, const char *path, struct mb_error *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
								{.tv_sec = member->mtime_ns / 1000000000,
								 .tv_nsec = member->mtime_ns % 1000000000}};

	if (times[1].tv_nsec < 0)
		times[1].tv_nsec = 0;
	if (geteuid() == 0 && fchown(fd, member->uid, member->gid) != 0)
		return mb_fail_errno(err, errno, "could not set the owner of \"%s\"", path);
	/* Nobody else's program runs with our rights because of an archive. */
	if (fchmod(fd, member->mode & 01777u) != 0)
		return mb_fail_errno(err, errno, "could not set the mode of \"%s\"", path);
	if (futimens(fd, times) != 0)
		return mb_fail_errno(err, errno, "could not set the time of \"%s\"", path);
	return MB_OK;
}

enum mb_code
import_tree_begin(struct import_tree *tree, const char *path, const struct mb_tar_member *member,
				  struct mb_error *err)
{
	unsigned char noise[6];
	char hex[2 * sizeof(noise) + 1];
	const char *name;
	int dir_fd;
	enum mb_code code = open_parent(tree, path, &dir_fd, &name, err);

	if (code)
		return code;
	mb_random(noise, sizeof(noise));
	mb_hex(hex, noise, sizeof(noise));
	tree->path = mb_strdup(path);
	tree->member = *member;
	tree->part = mb_asprintf("%.*s.mbackup-%s", (int) (strlen(path) - strlen(name)), path, hex);
	tree->fd =
		mb_openat(dir_fd, strrchr(tree->part, '/') ? strrchr(tree->part, '/') + 1 : tree->part,
				  O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (tree->fd < 0)
		code = mb_fail_errno(err, errno, "could not create \"%s/%s\"", tree->root, path);
	close(dir_fd);
	return code;
}

enum mb_code
import_tree_write(struct import_tree *tree, const void *data, size_t len, struct mb_error *err)
{
	return mb_write_full(tree->fd, data, len, tree->path, err);
}

static void
forget_file(struct import_tree *tree)
{
	if (tree->fd >= 0)
		close(tree->fd);
	free(tree->path);
	free(tree->part);
	tree->fd = -1;
	tree->path = tree->part = NULL;
}

enum mb_code
import_tree_end(struct import_tree *tree, struct mb_error *err)
{
	unsigned flags = tree->flags & IMPORT_TREE_REPLACE ? 0 : RENAME_NOREPLACE;
	const char *name, *part = strrchr(tree->part, '/');
	int dir_fd, done;
	enum mb_code code = set_attributes(tree->fd, &tree->member, tree->path, err);

	if (!code)
		code = open_parent(tree, tree->path, &dir_fd, &name, err);
	if (code)
		return code;
	part = part ? part + 1 : tree->part;
	done = renameat2(dir_fd, part, dir_fd, name, flags);
	if (done != 0 && flags && (errno == EINVAL || errno == ENOSYS))
		done = linkat(dir_fd, part, dir_fd, name, 0) || unlinkat(dir_fd, part, 0);
	if (done != 0)
	{
		code = mb_fail_errno(err, errno, "could not create \"%s/%s\"", tree->root, tree->path);
		unlinkat(dir_fd, part, 0);
	}
	close(dir_fd);
	forget_file(tree);
	return code;
}

enum mb_code
import_tree_directory(struct import_tree *tree, const char *path,
					  const struct mb_tar_member *member, struct mb_error *err)
{
	struct mb_tar_member as = *member;
	const char *name;
	int dir_fd, fd;
	enum mb_code code = open_parent(tree, path, &dir_fd, &name, err);
	bool is_new;

	if (code)
		return code;
	is_new = mkdirat(dir_fd, name, 0700) == 0;
	/* One that is there stays as it is. */
	if (!is_new && errno != EEXIST)
		code = mb_fail_errno(err, errno, "could not create \"%s/%s\"", tree->root, path);
	if (!code && is_new)
	{
		code = mb_open_beneath(&fd, tree->root_fd, path, O_RDONLY | O_DIRECTORY, 0, err);
		/* We have to get in until the end, whatever it says. */
		as.mode |= 0700;
		if (!code)
		{
			code = set_attributes(fd, &as, path, err);
			close(fd);
		}
	}
	close(dir_fd);
	return code;
}

void
import_tree_symlink(struct import_tree *tree, const char *path, const char *target)
{
	mb_buf_put(&tree->links, path, strlen(path) + 1);
	mb_buf_put(&tree->links, target, strlen(target) + 1);
}

enum mb_code
import_tree_hard_link(struct import_tree *tree, const char *path, const char *target,
					  struct mb_error *err)
{
	const char *name, *old;
	int dir_fd, old_fd = -1;
	enum mb_code code = open_parent(tree, path, &dir_fd, &name, err);

	if (code)
		return code;
	code = open_parent(tree, target, &old_fd, &old, err);
	if (!code && (tree->flags & IMPORT_TREE_REPLACE) && unlinkat(dir_fd, name, 0) != 0 &&
		errno != ENOENT)
		code = mb_fail_errno(err, errno, "could not replace \"%s/%s\"", tree->root, path);
	if (!code && linkat(old_fd, old, dir_fd, name, 0) != 0)
		code = mb_fail_errno(err, errno, "could not create \"%s/%s\"", tree->root, path);
	if (old_fd >= 0)
		close(old_fd);
	close(dir_fd);
	return code;
}

enum mb_code
import_tree_finish(struct import_tree *tree, struct mb_error *err)
{
	const char *p = (const char *) tree->links.data;
	const char *end = p ? p + tree->links.len : NULL;
	enum mb_code code = MB_OK;

	while (!code && p < end)
	{
		const char *path = p, *target = p + strlen(p) + 1, *name;
		int dir_fd;

		p = target + strlen(target) + 1;
		code = open_parent(tree, path, &dir_fd, &name, err);
		if (code)
			break;
		if ((tree->flags & IMPORT_TREE_REPLACE) && unlinkat(dir_fd, name, 0) != 0 &&
			errno != ENOENT)
			code = mb_fail_errno(err, errno, "could not replace \"%s/%s\"", tree->root, path);
		if (!code && symlinkat(target, dir_fd, name) != 0)
			code = mb_fail_errno(err, errno, "could not create \"%s/%s\"", tree->root, path);
		close(dir_fd);
	}
	if (!code && syncfs(tree->root_fd) != 0)
		code = mb_fail_errno(err, errno, "could not sync \"%s\" to disk", tree->root);
	return code;
}

void
import_tree_close(struct import_tree *tree)
{
	if (tree->part && tree->root_fd >= 0)
		unlinkat(tree->root_fd, tree->part, 0);
	forget_file(tree);
	if (tree->root_fd >= 0)
		close(tree->root_fd);
	mb_buf_release(&tree->links);
	tree->root_fd = -1;
}

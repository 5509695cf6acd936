/* safety.c - see safety.h: keeping directories as a whole; safety_back.c puts them back. */
#include "core/engine/safety.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/safety_private.h"

#define OLD "-old-"

static const char *const methods[] = {"empty", "rename", "move", "files", "reflink", "none"};

/* -- small ones --------------------------------------------------------------------------------- */

struct mb_safety *
mb_safety_new(const char *path, const char *only, unsigned wishes)
{
	struct mb_safety *safety = mb_calloc(1, sizeof(*safety));

	safety->path = mb_strdup(path);
	safety->only = only ? mb_strdup(only) : NULL;
	safety->wishes = wishes;
	return safety;
}

void
mb_safety_free(struct mb_safety *safety)
{
	if (!safety)
		return;
	mb_names_release(&safety->keep);
	mb_names_release(&safety->put);
	free(safety->path);
	free(safety->only);
	free(safety->kept);
	free(safety->why);
	free(safety);
}

const char *
mb_safety_method_name(enum mb_safety_method method)
{
	return methods[method];
}

enum mb_code
mb_rename_new(int from_fd, const char *from, int to_fd, const char *to, struct mb_error *err)
{
	bool exists;

	if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
		return MB_OK;
	/* A filesystem without the flag: looked at before, which is all that can be done there. */
	if (errno == EINVAL || errno == ENOSYS)
	{
		if (mb_name_exists(to_fd, to, &exists, err))
			return err->code;
		if (exists)
			errno = EEXIST;
		else if (renameat(from_fd, from, to_fd, to) == 0)
			return MB_OK;
	}
	return mb_fail_errno(err, errno, "could not rename \"%s\" to \"%s\"", from, to);
}

static bool
is_name_left_alone(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0 ||
		   mb_starts_with(name, MB_KEPT_PREFIX);
}

/* The names in a directory, all at once: it is changed while they are gone through. */
enum mb_code
mb_safety_read(int dir_fd, const char *path, struct mb_names *names, struct mb_error *err)
{
	int fd = mb_openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	enum mb_code code = MB_OK;
	struct dirent *entry;

	if (!dir)
	{
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
		if (fd >= 0)
			close(fd);
		return code;
	}
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
		if (!is_name_left_alone(entry->d_name))
			mb_names_add(names, entry->d_name, strlen(entry->d_name));
	if (errno)
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	closedir(dir);
	return code;
}

char *
mb_safety_other(const struct mb_safety *safety, const char *word)
{
	char *at = NULL, *p = safety->kept, *made;

	while ((p = strstr(p, OLD)) != NULL)
		at = p++;
	MB_ASSERT(at);
	made = mb_asprintf("%.*s%s%s", (int) (at - safety->kept), safety->kept, word, at + strlen(OLD));
	return made;
}

const char *
mb_safety_base(const char *path)
{
	return strrchr(path, '/') + 1;
}

enum mb_code
mb_safety_open_above(const char *path, int *fd, struct mb_error *err)
{
	char *parent = mb_strdup(path), *slash = strrchr(parent, '/');
	enum mb_code code = MB_OK;

	slash[slash == parent] = '\0';
	*fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		code = mb_fail_errno(err, errno, "could not open directory \"%s\"", parent);
	free(parent);
	return code;
}

enum mb_code
mb_open_or_make(int dir_fd, const char *name, int *fd, struct mb_error *err)
{
	if (mkdirat(dir_fd, name, 0700) != 0 && errno != EEXIST)
		return mb_fail_errno(err, errno, "could not create directory \"%s\"", name);
	*fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		return mb_fail_errno(err, errno, "could not open directory \"%s\"", name);
	return MB_OK;
}

enum mb_code
mb_safety_sync(int fd, const char *path, struct mb_error *err)
{
	return fsync(fd) == 0 ? MB_OK : mb_fail_errno(err, errno, "could not sync \"%s\"", path);
}

enum mb_code
mb_safety_open(const struct mb_safety *safety, int *fd, struct mb_error *err)
{
	struct stat st;

	*fd = open(safety->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		return mb_fail_errno(err, errno, "could not open directory \"%s\"", safety->path);
	if (fstat(*fd, &st) == 0 && (!safety->existed || ((uint64_t) st.st_dev == safety->dev &&
													  (uint64_t) st.st_ino == safety->ino)))
		return MB_OK;
	close(*fd);
	mb_fail(err, MB_CONFLICT, "\"%s\" is another directory than the one that was looked at",
			safety->path);
	return mb_error_hint(err, "Somebody has replaced it. Look at it, then run the restore again.");
}

/* -- keeping ------------------------------------------------------------------------------------- */

static enum mb_code
keep_by_rename(const struct mb_safety *safety, struct mb_error *err)
{
	bool is_there, is_kept;
	int above, fd;
	enum mb_code code = mb_safety_open_above(safety->path, &above, err);

	if (code)
		return code;
	code = mb_name_exists(above, mb_safety_base(safety->path), &is_there, err);
	if (!code)
		code = mb_name_exists(above, mb_safety_base(safety->kept), &is_kept, err);
	/* Else done by a run that died before it could say so. */
	if (!code && (is_there || !is_kept))
	{
		code = mb_safety_open(safety, &fd, err);
		if (!code)
			close(fd);
		if (!code)
			code = mb_rename_new(above, mb_safety_base(safety->path), above,
								 mb_safety_base(safety->kept), err);
	}
	if (!code)
		code = mb_safety_sync(above, safety->path, err);
	close(above);
	return code;
}

enum mb_code
mb_safety_move_names(int from_fd, const char *from, int to_fd, const char *only,
					 struct mb_error *err)
{
	struct mb_names names = {0};
	enum mb_code code = MB_OK;
	size_t i;

	if (only)
		mb_names_add(&names, only, strlen(only));
	else
		code = mb_safety_read(from_fd, from, &names, err);
	for (i = 0; !code && i < names.count; i++)
	{
		code = mb_rename_new(from_fd, names.items[i], to_fd, names.items[i], err);
		if (code == MB_NOT_FOUND && only)
			code = MB_OK;
	}
	mb_names_release(&names);
	/* Both directories: on a crash no name may be in neither. */
	if (!code)
		code = mb_safety_sync(to_fd, from, err);
	if (!code)
		code = mb_safety_sync(from_fd, from, err);
	return code;
}

/*
 * Under "-part-" until all of it is there: what is still beside such a directory is nobody's but the
 * owner's, and a rollback must not take it for the restore's work.
 */
static enum mb_code
keep_inside(const struct mb_safety *safety, struct mb_error *err)
{
	char *part = mb_safety_other(safety, "-part-");
	bool is_kept;
	int fd, to;
	enum mb_code code = mb_safety_open(safety, &fd, err);

	if (code)
	{
		free(part);
		return code;
	}
	code = mb_name_exists(fd, mb_safety_base(safety->kept), &is_kept, err);
	if (!code && !is_kept)
	{
		code = mb_open_or_make(fd, mb_safety_base(part), &to, err);
		if (!code)
		{
			code = safety->is_list ? mb_safety_files_move(safety, fd, to, err)
								   : mb_safety_move_names(fd, safety->path, to, safety->only, err);
			close(to);
		}
		if (!code)
			code = mb_rename_new(fd, mb_safety_base(part), fd, mb_safety_base(safety->kept), err);
		if (!code)
			code = mb_safety_sync(fd, safety->path, err);
	}
	close(fd);
	free(part);
	if (code && err->sys_errno == EXDEV && !safety->is_list)
		mb_error_hint(err,
					  "Something below \"%.300s\" is a filesystem of its own. Restore into "
					  "another place, or add --no-snapshot.",
					  safety->path);
	return code;
}

static enum mb_code
keep_by_clone(const struct mb_safety *safety, struct mb_error *err)
{
	char *part = mb_asprintf("%s.part", safety->kept);
	bool is_kept;
	int fd;
	enum mb_code code = mb_name_exists(AT_FDCWD, safety->kept, &is_kept, err);

	if (code || is_kept)
	{
		free(part);
		return code;
	}
	code = mb_safety_open(safety, &fd, err);
	if (!code)
	{
		code = mb_clone_tree(fd, part, err);
		close(fd);
	}
	if (!code)
		code = mb_rename_new(AT_FDCWD, part, AT_FDCWD, safety->kept, err);
	free(part);
	return code;
}

enum mb_code
mb_safety_keep(const struct mb_safety *safety, struct mb_error *err)
{
	switch (safety->method)
	{
		case MB_SAFETY_EMPTY:
			return MB_OK;
		case MB_SAFETY_RENAME:
			return keep_by_rename(safety, err);
		case MB_SAFETY_MOVE:
		case MB_SAFETY_FILES:
			return keep_inside(safety, err);
		case MB_SAFETY_REFLINK:
			return keep_by_clone(safety, err);
		case MB_SAFETY_NONE:
			return safety->wishes & MB_SAFETY_IS_USED ? MB_OK : mb_safety_clear(safety, err);
	}
	MB_BUG("safety method %d", (int) safety->method);
}

enum mb_code
mb_safety_forget(const struct mb_safety *safety, struct mb_error *err)
{
	static const char *const words[] = {OLD, "-new-", "-back-", "-part-"};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && safety->kept && i < sizeof(words) / sizeof(*words); i++)
	{
		char *path = mb_safety_other(safety, words[i]);

		code = mb_rmtree(path, err);
		free(path);
	}
	return code;
}

bool
mb_safety_is_kept(const struct mb_safety *safety)
{
	struct stat st;

	return safety->kept && lstat(safety->kept, &st) == 0;
}

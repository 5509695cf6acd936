/* safety_back.c - see safety.h: putting back what was kept of directories. */
#include "core/engine/safety.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/safety_private.h"

/* Everything in it but what is kept. */
static enum mb_code
empty_directory(const struct mb_safety *safety, struct mb_error *err)
{
	struct mb_names names = {0};
	enum mb_code code = MB_OK;
	size_t i;
	int fd = mb_open(safety->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);

	if (fd < 0)
		return errno == ENOENT ? MB_OK
							   : mb_fail_errno(err, errno, "could not open \"%s\"", safety->path);
	if (safety->only)
		code = mb_rmtree_at(fd, safety->only, err);
	else
		code = mb_safety_read(fd, safety->path, &names, err);
	for (i = 0; !code && i < names.count; i++)
		code = mb_rmtree_at(fd, names.items[i], err);
	mb_names_release(&names);
	close(fd);
	return code;
}

enum mb_code
mb_safety_clear(const struct mb_safety *safety, struct mb_error *err)
{
	if (safety->method == MB_SAFETY_REFLINK || (safety->wishes & MB_SAFETY_IS_USED))
		return MB_OK;
	if (safety->is_list)
		return mb_safety_files_clear(safety, err);
	return empty_directory(safety, err);
}

/* Owner and mode of the directory itself, which a restore may have set. */
static enum mb_code
set_as_it_was(const struct mb_safety *safety, int fd, struct mb_error *err)
{
	if (geteuid() == 0 && fchown(fd, safety->uid, safety->gid) != 0)
		return mb_fail_errno(err, errno, "could not set the owner of \"%s\"", safety->path);
	if (fchmod(fd, safety->mode) != 0)
		return mb_fail_errno(err, errno, "could not set the mode of \"%s\"", safety->path);
	return MB_OK;
}

/* Nothing is kept (any more): that is right when what was kept stands in its place. */
static enum mb_code
check_is_back(const struct mb_safety *safety, int above, struct mb_error *err)
{
	struct stat st;
	bool exists = fstatat(above, mb_safety_base(safety->path), &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (!exists && errno != ENOENT)
		return mb_fail_errno(err, errno, "could not look at \"%s\"", safety->path);
	if (exists && (safety->method != MB_SAFETY_RENAME || (uint64_t) st.st_ino == safety->ino))
		return MB_OK;
	mb_fail(err, MB_NOT_FOUND, "what was in \"%s\" is not in \"%s\" any more", safety->path,
			safety->kept);
	return mb_error_hint(err, "Somebody has moved or removed it.");
}

/* PATH -> PATH.mbackup-new-<id>, PATH.mbackup-old-<id> -> PATH, and the first removed. */
static enum mb_code
put_back_by_rename(const struct mb_safety *safety, struct mb_error *err)
{
	char *away = mb_safety_other(safety, "-new-");
	bool is_kept = false;
	int above;
	enum mb_code code = mb_safety_open_above(safety->path, &above, err);

	if (code)
	{
		free(away);
		return code;
	}
	code = mb_name_exists(above, mb_safety_base(safety->kept), &is_kept, err);
	if (is_kept)
	{
		code = mb_rename_new(above, mb_safety_base(safety->path), above, mb_safety_base(away), err);
		if (code == MB_NOT_FOUND)
			code = MB_OK;
		if (!code)
			code = mb_rename_new(above, mb_safety_base(safety->kept), above,
								 mb_safety_base(safety->path), err);
		if (!code)
			code = mb_safety_sync(above, safety->path, err);
	}
	else if (!code)
		code = check_is_back(safety, above, err);
	if (!code)
		code = mb_rmtree_at(above, mb_safety_base(away), err);
	close(above);
	free(away);
	return code;
}

/* Names from one of our directories in `fd` back beside it, and it removed; that it is gone is fine. */
static enum mb_code
move_out(int fd, const char *path, struct mb_error *err)
{
	int from =
		mb_openat(fd, mb_safety_base(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	enum mb_code code;

	if (from < 0)
		return errno == ENOENT ? MB_OK : mb_fail_errno(err, errno, "could not open \"%s\"", path);
	code = mb_safety_move_names(from, path, fd, NULL, err);
	close(from);
	if (!code && unlinkat(fd, mb_safety_base(path), AT_REMOVEDIR) != 0)
		code = mb_fail_errno(err, errno, "could not remove \"%s\"", path);
	return code;
}

/*
 * While the kept directory is called "-old-", what is beside it is the restore's; from the moment
 * that it is called "-back-" what is beside it is its own.
 */
static enum mb_code
put_back_by_move(const struct mb_safety *safety, struct mb_error *err)
{
	char *back = mb_safety_other(safety, "-back-"), *part = mb_safety_other(safety, "-part-");
	bool is_kept;
	int fd;
	enum mb_code code = mb_safety_open(safety, &fd, err);

	if (!code)
	{
		code = move_out(fd, part, err);
		if (!code)
			code = mb_name_exists(fd, mb_safety_base(safety->kept), &is_kept, err);
		if (!code && is_kept)
		{
			code = empty_directory(safety, err);
			if (!code)
				code =
					mb_rename_new(fd, mb_safety_base(safety->kept), fd, mb_safety_base(back), err);
			if (!code)
				code = mb_safety_sync(fd, safety->path, err);
		}
		if (!code)
			code = move_out(fd, back, err);
		if (!code)
			code = set_as_it_was(safety, fd, err);
		close(fd);
	}
	free(back);
	free(part);
	return code;
}

static enum mb_code
put_back_nothing(const struct mb_safety *safety, struct mb_error *err)
{
	enum mb_code code = mb_safety_clear(safety, err);
	int fd;

	if (code || safety->only || safety->is_list)
		return code;
	if (!safety->existed)
		return rmdir(safety->path) == 0 || errno == ENOENT || errno == ENOTEMPTY
				   ? MB_OK
				   : mb_fail_errno(err, errno, "could not remove \"%s\"", safety->path);
	if (mb_safety_open(safety, &fd, err))
		return err->code;
	code = set_as_it_was(safety, fd, err);
	close(fd);
	return code;
}

enum mb_code
mb_safety_put_back(const struct mb_safety *safety, struct mb_error *err)
{
	switch (safety->method)
	{
		case MB_SAFETY_EMPTY:
			return put_back_nothing(safety, err);
		case MB_SAFETY_RENAME:
		case MB_SAFETY_REFLINK:
			return put_back_by_rename(safety, err);
		case MB_SAFETY_MOVE:
			return put_back_by_move(safety, err);
		case MB_SAFETY_FILES:
			return mb_safety_files_put_back(safety, err);
		case MB_SAFETY_NONE:
			break;
	}
	return mb_fail(err, MB_UNSUPPORTED, "what was in \"%s\" was not kept", safety->path);
}

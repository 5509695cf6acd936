/*
 * safety_files.c - a list of files moved aside, each under its own path, and how all of this is
 * written down (see safety.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/safety_private.h"

#define LIST_MAX_BYTES (1u << 30)

/* -- one file -------------------------------------------------------------------------------------- */

/* The directory that a name stands in, beneath root; *base is borrowed from name. */
static enum mb_code
open_parent(int root_fd, const char *name, bool make, int *fd, const char **base,
			struct mb_error *err)
{
	const char *slash = strrchr(name, '/'), *p;
	enum mb_code code = MB_OK;
	char *parent;

	*base = slash ? slash + 1 : name;
	if (!mb_name_is_safe(name, strlen(name)))
		return mb_fail(err, MB_CORRUPT, "\"%s\" is no name of a file below a directory", name);
	parent = slash ? mb_strndup(name, (size_t) (slash - name)) : mb_strdup(".");
	for (p = make && slash ? parent : NULL; p && !code;)
	{
		char *part;

		p = strchr(p + (p != parent), '/');
		part = p ? mb_strndup(parent, (size_t) (p - parent)) : mb_strdup(parent);
		if (mkdirat(root_fd, part, 0700) != 0 && errno != EEXIST)
			code = mb_fail_errno(err, errno, "could not create directory \"%s\"", part);
		free(part);
		if (p)
			p++;
	}
	if (!code && !slash)
	{
		*fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*fd < 0)
			code = mb_fail_errno(err, errno, "could not open the directory of what is kept again");
	}
	else if (!code)
		code = mb_open_beneath(fd, root_fd, parent, O_RDONLY | O_DIRECTORY, 0, err);
	free(parent);
	return code;
}

/* One name from below one root to below another; one that is not there (any more) is fine. */
static enum mb_code
move_file(int from_root, int to_root, const char *name, struct mb_error *err)
{
	int from, to;
	const char *base;
	enum mb_code code = open_parent(from_root, name, false, &from, &base, err);
	struct stat st;

	if (code)
		return code == MB_NOT_FOUND ? MB_OK : code;
	if (fstatat(from, base, &st, AT_SYMLINK_NOFOLLOW) != 0)
		code =
			errno == ENOENT ? MB_OK : mb_fail_errno(err, errno, "could not look at \"%s\"", name);
	else
	{
		code = open_parent(to_root, name, true, &to, &base, err);
		if (!code)
		{
			code = mb_rename_new(from, base, to, base, err);
			if (!code && (fsync(to) != 0 || fsync(from) != 0))
				code = mb_fail_errno(err, errno, "could not sync the directory of \"%s\"", name);
			close(to);
		}
	}
	close(from);
	return code;
}

static enum mb_code
remove_file(int root_fd, const char *name, struct mb_error *err)
{
	const char *base;
	struct stat st;
	int fd;
	enum mb_code code = open_parent(root_fd, name, false, &fd, &base, err);

	if (code)
		return code == MB_NOT_FOUND ? MB_OK : code;
	if (fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) != 0)
		code =
			errno == ENOENT ? MB_OK : mb_fail_errno(err, errno, "could not look at \"%s\"", name);
	/* A directory there is not what the restore has written. */
	else if (!S_ISDIR(st.st_mode) && unlinkat(fd, base, 0) != 0 && errno != ENOENT)
		code = mb_fail_errno(err, errno, "could not remove \"%s\"", name);
	close(fd);
	return code;
}

static enum mb_code
each(const struct mb_names *names, int from, int to, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < names->count; i++)
		code = to >= 0 ? move_file(from, to, names->items[i], err)
					   : remove_file(from, names->items[i], err);
	return code;
}

/* -- the list -------------------------------------------------------------------------------------- */

enum mb_code
mb_safety_files_move(const struct mb_safety *safety, int from_fd, int to_fd, struct mb_error *err)
{
	return each(&safety->keep, from_fd, to_fd, err);
}

enum mb_code
mb_safety_files_clear(const struct mb_safety *safety, struct mb_error *err)
{
	int fd;
	enum mb_code code = mb_safety_open(safety, &fd, err);

	if (code == MB_NOT_FOUND && !safety->existed)
		return MB_OK;
	if (code)
		return code;
	code = each(&safety->put, fd, -1, err);
	/* Without a snapshot what was there goes too. */
	if (!code && safety->method == MB_SAFETY_NONE)
		code = each(&safety->keep, fd, -1, err);
	close(fd);
	return code;
}

static enum mb_code
move_out(const struct mb_safety *safety, int fd, const char *word, struct mb_error *err)
{
	char *path = mb_safety_other(safety, word);
	int from =
		mb_openat(fd, mb_safety_base(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	enum mb_code code = MB_OK;

	if (from >= 0)
	{
		code = each(&safety->keep, from, fd, err);
		close(from);
		/* Directories without files are left of it. */
		if (!code)
			code = mb_rmtree_at(fd, mb_safety_base(path), err);
	}
	else if (errno != ENOENT)
		code = mb_fail_errno(err, errno, "could not open \"%s\"", path);
	free(path);
	return code;
}

enum mb_code
mb_safety_files_put_back(const struct mb_safety *safety, struct mb_error *err)
{
	char *back = mb_safety_other(safety, "-back-");
	bool is_kept;
	int fd;
	enum mb_code code = mb_safety_open(safety, &fd, err);

	if (!code)
	{
		code = move_out(safety, fd, "-part-", err);
		if (!code)
			code = mb_name_exists(fd, mb_safety_base(safety->kept), &is_kept, err);
		if (!code && is_kept)
		{
			code = each(&safety->put, fd, -1, err);
			if (!code)
				code =
					mb_rename_new(fd, mb_safety_base(safety->kept), fd, mb_safety_base(back), err);
		}
		if (!code)
			code = move_out(safety, fd, "-back-", err);
		if (!code && fsync(fd) != 0)
			code = mb_fail_errno(err, errno, "could not sync \"%s\"", safety->path);
		close(fd);
	}
	free(back);
	return code;
}

/* -- written down --------------------------------------------------------------------------------- */

/* Names may be any bytes: 'K' or 'P', the name, NUL. */
enum mb_code
mb_safety_write_list(const struct mb_safety *safety, const char *path, struct mb_error *err)
{
	struct mb_buf out = {0};
	enum mb_code code;
	size_t i;

	for (i = 0; i < safety->keep.count; i++)
	{
		mb_buf_put_u8(&out, 'K');
		mb_buf_put(&out, safety->keep.items[i], strlen(safety->keep.items[i]) + 1);
	}
	for (i = 0; i < safety->put.count; i++)
	{
		mb_buf_put_u8(&out, 'P');
		mb_buf_put(&out, safety->put.items[i], strlen(safety->put.items[i]) + 1);
	}
	code = mb_file_write_durable(path, out.data ? out.data : (const unsigned char *) "", out.len,
								 0600, err);
	mb_buf_release(&out);
	return code;
}

static enum mb_code
read_list(struct mb_safety *safety, const char *path, struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code = mb_file_read(&text, path, LIST_MAX_BYTES, err);
	size_t at = 0;

	while (!code && at < text.len)
	{
		const unsigned char *end = memchr(text.data + at, '\0', text.len - at);
		const char *name = (const char *) text.data + at + 1;

		if (!end || (text.data[at] != 'K' && text.data[at] != 'P') ||
			!mb_name_is_safe(name, strlen(name)))
			code = mb_fail(err, MB_CORRUPT, "\"%s\" is damaged", path);
		else
		{
			mb_names_add(text.data[at] == 'K' ? &safety->keep : &safety->put, name, strlen(name));
			at = (size_t) (end - text.data) + 1;
		}
	}
	mb_buf_release(&text);
	return code;
}

json_t *
mb_safety_to_json(const struct mb_safety *safety, const char *list_path)
{
	json_t *json = json_object();

	mb_json_set_str(json, "path", safety->path);
	if (safety->only)
		mb_json_set_str(json, "only", safety->only);
	mb_json_set_str(json, "method", mb_safety_method_name(safety->method));
	if (safety->kept)
		mb_json_set_str(json, "kept", safety->kept);
	if (safety->why)
		mb_json_set_str(json, "why", safety->why);
	if (safety->is_list)
	{
		mb_json_set_int(json, "files", (int64_t) safety->keep.count);
		if (list_path)
			mb_json_set_str(json, "list", list_path);
	}
	mb_json_set_int(json, "bytes", (int64_t) safety->bytes);
	mb_json_set_bool(json, "existed", safety->existed);
	mb_json_set_int(json, "wishes", safety->wishes);
	mb_json_set_int(json, "mode", safety->mode);
	mb_json_set_int(json, "uid", safety->uid);
	mb_json_set_int(json, "gid", safety->gid);
	mb_json_set_int(json, "dev", (int64_t) safety->dev);
	mb_json_set_int(json, "ino", (int64_t) safety->ino);
	return json;
}

enum mb_code
mb_safety_from_json(struct mb_safety **out, const json_t *json, struct mb_error *err)
{
	const char *path = mb_json_str(json, "path", ""), *method = mb_json_str(json, "method", "");
	const char *kept = mb_json_str(json, "kept", NULL), *list = mb_json_str(json, "list", NULL);
	struct mb_safety *safety = mb_safety_new(path, mb_json_str(json, "only", NULL),
											 (unsigned) mb_json_int(json, "wishes", 0));
	enum mb_code code = MB_OK;
	int i = MB_SAFETY_EMPTY;

	while (i <= MB_SAFETY_NONE && strcmp(method, mb_safety_method_name(i)) != 0)
		i++;
	safety->method = i;
	safety->kept = kept ? mb_strdup(kept) : NULL;
	safety->is_list = list != NULL;
	safety->existed = mb_json_bool(json, "existed", false);
	safety->mode = (mode_t) mb_json_int(json, "mode", 0);
	safety->uid = (uid_t) mb_json_int(json, "uid", 0);
	safety->gid = (gid_t) mb_json_int(json, "gid", 0);
	safety->dev = (uint64_t) mb_json_int(json, "dev", 0);
	safety->ino = (uint64_t) mb_json_int(json, "ino", 0);
	safety->bytes = (uint64_t) mb_json_int(json, "bytes", 0);
	if (path[0] != '/' || i > MB_SAFETY_NONE || (kept && !strstr(kept, ".mbackup-old-")) ||
		(!kept && i >= MB_SAFETY_RENAME && i <= MB_SAFETY_REFLINK))
		code = mb_fail(err, MB_CORRUPT, "the journal does not say how \"%s\" was kept", path);
	if (!code && list)
		code = read_list(safety, list, err);
	if (code)
		mb_safety_free(safety);
	else
		*out = safety;
	return code;
}

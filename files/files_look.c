/* files_look.c - what of the trees below the configured paths is wanted: for a backup, and for a restore in place. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "files/files_private.h"
#include "files/paths.h"

/* CACHEDIR.TAG: https://bford.info/cachedir/ */
static bool
is_cache(const struct files_look *look, const char *path)
{
	static const char signature[] = "Signature: 8a477f597d28d172789f06886806bc55";
	char *name = mb_path_join(path, "CACHEDIR.TAG");
	char found[sizeof(signature) - 1];
	struct mb_error err;
	bool is_one = false;
	size_t got = 0;
	int fd;

	mb_error_clear(&err);
	if (mb_open_beneath(&fd, look->root_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &err) ==
		MB_OK)
	{
		is_one = mb_pread_full(fd, found, sizeof(found), 0, &got, name, &err) == MB_OK &&
				 got == sizeof(found) && memcmp(found, signature, sizeof(found)) == 0;
		close(fd);
	}
	free(name);
	return is_one;
}

bool
files_is_repository(const struct files_look *look, const char *path)
{
	char *id = mb_path_join(path, "mbackup.json"), *packs = mb_path_join(path, "packs");
	bool is_one = faccessat(look->root_fd, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
				  faccessat(look->root_fd, packs, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	free(id);
	free(packs);
	return is_one;
}

static bool
is_on_other_filesystem(const struct files_look *look, const struct stat *st)
{
	size_t i;

	if (!look->files->stays_on_filesystem)
		return false;
	for (i = 0; i < look->device_count; i++)
		if (look->devices[i] == st->st_dev)
			return false;
	return true;
}

/* Our own temporary files are nobody's configuration. */
static bool
is_in_spool(const struct mb_env *env, const char *path)
{
	size_t len = env->spool ? strlen(env->spool + 1) : 0;

	return len > 0 && strncmp(path, env->spool + 1, len) == 0 &&
		   (path[len] == '\0' || path[len] == '/');
}

enum mb_scan_wish
files_wish(const struct files_look *look, const char *path, const struct stat *st)
{
	const struct files_component *files = look->files;
	const char *slash = strrchr(path, '/');
	bool is_directory = S_ISDIR(st->st_mode);

	/* What a restore has moved aside is nobody's configuration either. */
	if (is_in_spool(files->base.env, path) ||
		mb_starts_with(slash ? slash + 1 : path, MB_KEPT_PREFIX) ||
		mb_patterns_match(&files->exclude, path,
						  is_directory ? MB_PATH_DIRECTORY : MB_PATH_OTHER) ||
		(!is_directory && is_on_other_filesystem(look, st)))
		return MB_SCAN_SKIP;
	if (!is_directory)
		return MB_SCAN_TAKE;
	if (is_on_other_filesystem(look, st) || (files->skips_caches && is_cache(look, path)))
		return MB_SCAN_SHOW;
	return files_is_repository(look, path) ? MB_SCAN_SKIP : MB_SCAN_TAKE;
}

bool
files_look_root(struct files_look *look, const char *root)
{
	struct stat st;
	size_t i;

	if (fstatat(look->root_fd, root, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT;
	for (i = 0; i < look->device_count; i++)
		if (look->devices[i] == st.st_dev)
			return true;
	if (look->device_count < FILES_ROOT_DEVICES)
		look->devices[look->device_count++] = st.st_dev;
	return true;
}

/* What a backup would have the contents of: no sockets, no devices. */
static bool
is_captured(void *ctx, const char *path, const struct stat *st)
{
	return (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode) || S_ISDIR(st->st_mode)) &&
		   files_wish(ctx, path, st) == MB_SCAN_TAKE;
}

enum mb_code
files_walk(struct files_component *files, int root_fd, struct mb_names *roots,
		   struct mb_names *names, struct mb_error *err)
{
	struct files_look look = {.files = files, .root_fd = root_fd};
	struct mb_roots found = {0};
	enum mb_code code = MB_OK;
	char *path;
	size_t i;

	for (i = 0; !code && (path = mb_settings_list(files->base.settings, "paths", i)); i++)
	{
		size_t count;

		code = mb_roots_add(&found, path, &files->exclude, &count, err);
		/* What is replaced is kept first: all of it has to be seen, but for what a pattern could not look into. */
		if (!code && found.unreadable && strcmp(found.unreadable, path) == 0)
			code = mb_fail(err, MB_DENIED, "could not look at \"%s\"", path);
		free(path);
	}
	for (i = 0; !code && i < found.count; i++)
		if (!files_look_root(&look, found.items[i]))
			code = mb_fail_errno(err, errno, "could not look at \"/%s\"", found.items[i]);
	for (i = 0; !code && i < found.count; i++)
	{
		mb_names_add(roots, found.items[i], strlen(found.items[i]));
		code = mb_walk_names(root_fd, found.items[i], is_captured, &look, names, err);
	}
	mb_roots_release(&found);
	return code;
}

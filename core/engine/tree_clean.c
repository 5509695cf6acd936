/*
 * tree_clean.c - remove from directories what a manifest does not want there (see MB_TREE_DELTA in
 * restore.h).
 *
 * The manifest is read for its names, and everything else goes: that makes room before anything is
 * written, and nothing that remains is a link.  Names are kept as 128-bit hashes, so that a million files
 * cost 17 MB.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/tree_private.h"

#define MAX_CLEAN_DEPTH 200

struct wanted
{
	unsigned char hash[MB_XXH128_BYTES];
	char type; /* 'd' or 'f' */
};

struct wanted_set
{
	struct wanted *items;
	size_t count;
	size_t cap;
};

/* -- what the manifest wants -------------------------------------------------------------------- */

static void
hash_name(unsigned char out[MB_XXH128_BYTES], int root_fd, const char *name, size_t len)
{
	mb_xxh128_2(out, &root_fd, sizeof(root_fd), name, len);
}

static void
want(struct wanted_set *set, int root_fd, const char *name, size_t len, char type)
{
	struct wanted *item;

	set->items = mb_grow(set->items, &set->cap, set->count + 1, sizeof(*set->items));
	item = &set->items[set->count++];
	hash_name(item->hash, root_fd, name, len);
	item->type = type;
}

/* A name, and the directories above it that may have no entry of their own. */
static void
want_with_parents(struct wanted_set *set, int root_fd, const char *name, char type,
				  struct mb_buf *last_parent, int *last_root)
{
	const char *slash = strrchr(name, '/'), *p;
	size_t parent_len = slash ? (size_t) (slash - name) : 0;

	want(set, root_fd, name, strlen(name), type);
	if (!slash || (*last_root == root_fd && last_parent->len == parent_len &&
				   memcmp(last_parent->data, name, parent_len) == 0))
		return;
	for (p = strchr(name, '/'); p; p = strchr(p + 1, '/'))
		want(set, root_fd, name, (size_t) (p - name), 'd');
	mb_buf_reset(last_parent);
	mb_buf_put(last_parent, name, parent_len);
	*last_root = root_fd;
}

static int
compare_wanted(const void *a, const void *b)
{
	return memcmp(((const struct wanted *) a)->hash, ((const struct wanted *) b)->hash,
				  MB_XXH128_BYTES);
}

static bool
is_taken(const struct mb_tree *spec, const struct mb_entry *entry, struct mb_buf *name, int *dir_fd)
{
	mb_buf_reset(name);
	mb_buf_put(name, entry->path, entry->path_len);
	*dir_fd = spec->root_fd;
	return spec->select ? spec->select(spec->ctx, entry, name, dir_fd)
						: (entry->flags & MB_ENTRY_AFTER_CUT) == 0;
}

static enum mb_code
collect(struct mb_tree_run *tree, struct wanted_set *set, struct mb_error *err)
{
	struct mb_manifest_reader *reader =
		mb_manifest_reader_new(tree->restore->env->repo, &tree->restore->commit.blocks);
	struct mb_buf name = {0}, last_parent = {0};
	const struct mb_entry *entry;
	int dir_fd, last_root = -1;
	enum mb_code code;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		code = mb_cancel_check(tree->restore->env->cancel, err);
		if (code)
			break;
		/* Links are made anew: none may stand there while files are written. */
		if (entry->type == MB_ENTRY_MARKER || entry->type == MB_ENTRY_SYMLINK ||
			entry->type == MB_ENTRY_HARDLINK || !is_taken(tree->spec, entry, &name, &dir_fd))
			continue;
		want_with_parents(set, dir_fd, mb_buf_cstr(&name), entry->type == MB_ENTRY_DIR ? 'd' : 'f',
						  &last_parent, &last_root);
	}
	if (set->count > 1)
		qsort(set->items, set->count, sizeof(*set->items), compare_wanted);
	mb_buf_release(&name);
	mb_buf_release(&last_parent);
	mb_manifest_reader_free(reader);
	return code;
}

/* -- removing ------------------------------------------------------------------------------------- */

struct cleaner
{
	struct mb_tree_run *tree;
	struct wanted_set wanted;
	const struct mb_tree_root *root;
};

static char
wanted_type(const struct cleaner *cleaner, const char *path)
{
	struct wanted key;
	const struct wanted *found;

	hash_name(key.hash, cleaner->root->fd, path, strlen(path));
	found =
		bsearch(&key, cleaner->wanted.items, cleaner->wanted.count, sizeof(key), compare_wanted);
	return found ? found->type : '\0';
}

/* Is this top-level name none of our business? */
static bool
is_left_alone(const struct cleaner *cleaner, const char *prefix, const char *name)
{
	const struct mb_tree *spec = cleaner->tree->spec;
	size_t i;

	if (*prefix)
		return false;
	/* What is kept of a restore (safety.h) is nobody's to clean. */
	if (strcmp(name, "lost+found") == 0 || mb_starts_with(name, MB_KEPT_PREFIX))
		return true;
	if (cleaner->root->only)
		return strcmp(name, cleaner->root->only) != 0;
	if (cleaner->root == spec->roots && spec->keep)
		for (i = 0; spec->keep[i]; i++)
			if (strcmp(name, spec->keep[i]) == 0)
				return true;
	return false;
}

/* What its owner may not write, or look into, is made writable: it gets its mode at the end. */
static void
open_up(const struct mb_tree_run *tree, int dir_fd, const char *name, mode_t wanted)
{
	struct stat st;
	char proc[64];
	int fd;

	if (tree->is_root)
		return;
	fd = mb_openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return; /* what needs it says why it cannot */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode) && (st.st_mode & wanted) != wanted)
		(void) chmod(proc, (st.st_mode & 07777) | wanted);
	close(fd);
}

static enum mb_code clean_directory(struct cleaner *cleaner, int fd, const char *prefix, int depth,
									struct mb_error *err);

static enum mb_code
clean_name(struct cleaner *cleaner, int dir_fd, const char *prefix, const char *name, int depth,
		   struct mb_error *err)
{
	char *path = *prefix ? mb_path_join(prefix, name) : mb_strdup(name);
	char type = wanted_type(cleaner, path);
	enum mb_code code = MB_OK;
	struct stat st;
	int fd;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		code = mb_fail_errno(err, errno, "could not look at \"%s\"", path);
	else if (type == 'd' && S_ISDIR(st.st_mode))
	{
		open_up(cleaner->tree, dir_fd, name, S_IRWXU);
		fd = mb_openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (fd < 0)
			code = mb_fail_errno(err, errno, "could not open directory \"%s\"", path);
		else
			code = clean_directory(cleaner, fd, path, depth + 1, err);
	}
	else if (type == 'f' && S_ISREG(st.st_mode) && st.st_nlink == 1)
		open_up(cleaner->tree, dir_fd, name, S_IRUSR | S_IWUSR);
	else
	{
		code = mb_rmtree_at(dir_fd, name, err);
		if (code)
			mb_error_context(err, "could not remove \"%s\"", path);
		cleaner->tree->restore->removed++;
	}
	free(path);
	return code;
}

/* Closes fd. */
static enum mb_code
clean_directory(struct cleaner *cleaner, int fd, const char *prefix, int depth,
				struct mb_error *err)
{
	DIR *dir = depth > MAX_CLEAN_DEPTH ? NULL : fdopendir(fd);
	struct dirent *entry;
	enum mb_code code;

	if (!dir)
	{
		close(fd);
		return mb_fail(err, MB_IO, "could not read directory \"%s\"", prefix);
	}
	code = mb_cancel_check(cleaner->tree->restore->env->cancel, err);
	for (errno = 0; !code && (entry = readdir(dir)); errno = 0)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			!is_left_alone(cleaner, prefix, entry->d_name))
			code = clean_name(cleaner, fd, prefix, entry->d_name, depth, err);
	if (!code && errno)
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", prefix);
	closedir(dir);
	return code;
}

enum mb_code
mb_tree_clean(struct mb_tree_run *tree, struct mb_error *err)
{
	struct cleaner cleaner = {.tree = tree};
	enum mb_code code = collect(tree, &cleaner.wanted, err);
	size_t i;

	for (i = 0; !code && i < tree->spec->root_count; i++)
	{
		int fd;

		cleaner.root = &tree->spec->roots[i];
		fd = mb_openat(cleaner.root->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		code = fd < 0 ? mb_fail_errno(err, errno,
									  "could not open the directory of the destination again, to "
									  "clean it")
					  : clean_directory(&cleaner, fd, "", 0, err);
	}
	free(cleaner.wanted.items);
	return code;
}

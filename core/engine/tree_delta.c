/*
 * tree_delta.c - bring directories that hold something to a manifest's state (see
 * MB_TREE_DELTA in restore.h).
 *
 * First the manifest is read for its names, and everything else is removed: that makes
 * room before anything is written, and nothing that remains is a link.  Names are kept as
 * 128-bit hashes, so that a million files cost 17 MB.  Then, window by window, the files
 * that stay are compared on all workers; only what differs becomes jobs of the writer.
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
#include "core/engine/entry.h"
#include "core/engine/tree_private.h"

#define COMPARE_BYTES (1u << 20)
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

/* -- taking over ------------------------------------------------------------------------------------ */

static void
add_check(struct mb_tree_run *tree, uint32_t file, uint32_t range)
{
	tree->checks =
		mb_grow(tree->checks, &tree->check_cap, tree->check_count + 1, sizeof(*tree->checks));
	tree->checks[tree->check_count++] = (struct mb_tree_check){file, range};
}

/* The right size; a hollow file loses what it held. */
static enum mb_code
fit(int fd, uint64_t size, bool hollow, const char *name, struct mb_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return mb_fail_errno(err, errno, "could not look at \"%s\"", name);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return mb_fail(err, MB_CONFLICT, "\"%s\" was changed by somebody else meanwhile", name);
	if (hollow && st.st_size > 0 && ftruncate(fd, 0) != 0)
		return mb_fail_errno(err, errno, "could not empty \"%s\"", name);
	if ((hollow || (uint64_t) st.st_size != size) && ftruncate(fd, (off_t) size) != 0)
		return mb_fail_errno(err, errno, "could not set the size of \"%s\"", name);
	return MB_OK;
}

enum mb_code
mb_tree_take_over(struct mb_tree_run *tree, const struct mb_entry *entry, const char *name,
				  int dir_fd, bool *found, struct mb_error *err)
{
	bool hollow = tree->spec->hollow && tree->spec->hollow(tree->spec->ctx, entry);
	uint32_t file = (uint32_t) tree->files.count;
	struct mb_entry copy;
	enum mb_code code;
	uint32_t i;
	int fd;

	*found = false;
	code = mb_open_beneath(&fd, dir_fd, name, O_RDWR | O_NONBLOCK, 0, err);
	if (code == MB_NOT_FOUND)
		return MB_OK;
	if (code)
		return code;
	code = fit(fd, entry->size, hollow, name, err);
	close(fd);
	if (code)
		return code;
	mb_entry_copy(&tree->window_arena, entry, &copy);
	mb_tree_add_item(&tree->files, &copy, mb_arena_strdup(&tree->window_arena, name), dir_fd);
	if (!hollow && entry->map_count > 0)
		for (i = 0; i < entry->map_count; i++)
			add_check(tree, file, i);
	else if (!hollow && entry->size > 0)
		add_check(tree, file, MB_TREE_WHOLE);
	tree->check_bytes += hollow ? 0 : entry->size;
	tree->attribute_bytes += entry->xattrs_len;
	*found = true;
	return MB_OK;
}

/* -- comparing ---------------------------------------------------------------------------------------- */

static void
add_jobs(struct mb_tree_run *tree, uint32_t file, const struct mb_runs *runs)
{
	pthread_mutex_lock(&tree->lock);
	mb_tree_add_jobs(tree, file, runs);
	pthread_mutex_unlock(&tree->lock);
}

static void
add_job(struct mb_tree_run *tree, uint32_t file, const struct mb_run *run, uint64_t offset)
{
	pthread_mutex_lock(&tree->lock);
	tree->jobs = mb_grow(tree->jobs, &tree->job_cap, tree->job_count + 1, sizeof(*tree->jobs));
	tree->jobs[tree->job_count++] = (struct mb_tree_job){*run, file, offset};
	pthread_mutex_unlock(&tree->lock);
}

/* Which pages of a range differ from their hashes? */
static enum mb_code
compare_pages(const struct mb_tree_run *tree, int fd, uint64_t start, const char *name,
			  const struct mb_page_map *map, bool *differs, struct mb_error *err)
{
	uint64_t seed = tree->restore->env->repo->page_seed, at;
	unsigned char *buf = mb_malloc(COMPARE_BYTES);
	enum mb_code code = MB_OK;
	uint32_t page = 0;

	for (at = 0; !code && at < map->bytes; at += COMPARE_BYTES)
	{
		size_t len = map->bytes - at < COMPARE_BYTES ? (size_t) (map->bytes - at) : COMPARE_BYTES;
		size_t got = 0, in;

		code = mb_pread_full(fd, buf, len, (int64_t) (start + at), &got, name, err);
		for (in = 0; !code && in < len; in += MB_PAGE_BYTES, page++)
		{
			size_t page_len = len - in < MB_PAGE_BYTES ? len - in : MB_PAGE_BYTES;

			differs[page] =
				in + page_len > got || mb_xxh64_seed(buf + in, page_len, seed) != map->hashes[page];
		}
	}
	free(buf);
	return code;
}

/* The parts of a range's runs that lie in pages that differ, neighbours joined. */
static void
add_page_jobs(struct mb_tree_run *tree, uint32_t file, uint64_t start,
			  const struct mb_page_map *map, const bool *differs)
{
	uint64_t at = 0, same = 0;
	size_t i;

	for (i = 0; i < map->runs.count; i++)
	{
		struct mb_run run = map->runs.items[i];
		uint64_t end = at + run.length, from = at, to;

		while (from < end)
		{
			bool wanted = differs[from / MB_PAGE_BYTES];

			to = from;
			while (to < end && differs[to / MB_PAGE_BYTES] == wanted)
				to = (to / MB_PAGE_BYTES + 1) * MB_PAGE_BYTES;
			if (to > end)
				to = end;
			run.offset = map->runs.items[i].offset + (uint32_t) (from - at);
			run.length = (uint32_t) (to - from);
			if (wanted)
				add_job(tree, file, &run, start + from);
			else
				same += run.length;
			from = to;
		}
		at = end;
	}
	atomic_fetch_add(&tree->restore->progress->done_bytes, same);
}

static enum mb_code
check_range(struct mb_tree_run *tree, struct mb_tree_worker *worker,
			const struct mb_tree_check *check, int fd, struct mb_error *err)
{
	const struct mb_tree_item *item = &tree->files.items[check->file];
	uint64_t start = (uint64_t) check->range * MB_RANGE_BYTES;
	struct mb_page_map map;
	enum mb_code code =
		mb_page_map_load(&map, &item->entry.maps[check->range], worker->reader, err);
	bool *differs;

	if (code)
		return code;
	differs = mb_calloc(map.pages + 1, sizeof(*differs));
	code = compare_pages(tree, fd, start, item->name, &map, differs, err);
	if (!code)
		add_page_jobs(tree, check->file, start, &map, differs);
	free(differs);
	mb_page_map_release(&map);
	return code;
}

static enum mb_code
check_whole(struct mb_tree_run *tree, struct mb_tree_worker *worker,
			const struct mb_tree_check *check, int fd, struct mb_error *err)
{
	const struct mb_tree_item *item = &tree->files.items[check->file];
	unsigned char *buf = mb_malloc(COMPARE_BYTES);
	uint32_t crc = MB_CRC32C_INIT;
	struct mb_runs runs = {0};
	enum mb_code code = MB_OK;
	uint64_t at = 0;
	size_t got = 1;

	while (!code && item->entry.has_crc32c && got > 0)
	{
		code = mb_pread_full(fd, buf, COMPARE_BYTES, (int64_t) at, &got, item->name, err);
		if (!code)
			crc = mb_crc32c(crc, buf, got);
		at += got;
	}
	free(buf);
	if (code)
		return code;
	if (item->entry.has_crc32c && at == item->entry.size && crc == item->entry.crc32c)
	{
		atomic_fetch_add(&tree->restore->progress->done_bytes, at);
		return MB_OK;
	}
	/* Its holes are made by not writing them. */
	if (item->is_sparse && (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t) item->entry.size) != 0))
		return mb_fail_errno(err, errno, "could not empty \"%s\"", item->name);
	code = mb_entry_runs(&item->entry, worker->reader, &runs, err);
	if (!code)
		add_jobs(tree, check->file, &runs);
	mb_runs_release(&runs);
	return code;
}

static enum mb_code
run_check(void *ctx, unsigned worker_index, size_t index, struct mb_error *err)
{
	struct mb_tree_run *tree = ctx;
	struct mb_tree_worker *worker = &tree->workers[worker_index];
	const struct mb_tree_check *check = &tree->checks[index];
	enum mb_code code;
	int fd;

	code = mb_tree_file_fd(tree, worker, check->file, &fd, err);
	if (!code)
		code = check->range == MB_TREE_WHOLE ? check_whole(tree, worker, check, fd, err)
											 : check_range(tree, worker, check, fd, err);
	if (code)
		return mb_error_context(err, "could not compare \"%s\"",
								tree->files.items[check->file].name);
	return MB_OK;
}

enum mb_code
mb_tree_compare(struct mb_tree_run *tree, struct mb_error *err)
{
	const struct mb_env *env = tree->restore->env;

	return mb_pool_run(env->workers, tree->check_count, run_check, tree, env->cancel, err);
}

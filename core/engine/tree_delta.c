/*
 * tree_delta.c - bring directories that hold something to a manifest's state (see
 * MB_TREE_DELTA in restore.h).
 *
 * First everything that the manifest does not want is removed (tree_clean.c).  Then, window by window, the
 * files that stay are compared on all workers; only what differs becomes jobs of the writer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/entry.h"
#include "core/engine/tree_private.h"

#define COMPARE_BYTES (1u << 20)

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

/* tree_window.c - see tree_private.h: the runs of a window's files, written by all workers. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/tree_private.h"

#define EARLY_WRITE_BYTES (256u << 10)
#define HOLE_BYTES 4096u

enum mb_code
mb_tree_file_fd(struct mb_tree_run *tree, struct mb_tree_worker *worker, uint32_t file, int *fd,
				struct mb_error *err)
{
	const struct mb_tree_item *item = &tree->files.items[file];
	enum mb_code code;
	unsigned i;

	for (i = 0; i < MB_TREE_OPEN_FILES; i++)
		if (worker->open[i].fd >= 0 && worker->open[i].file == file)
		{
			*fd = worker->open[i].fd;
			return MB_OK;
		}
	i = worker->next;
	worker->next = (i + 1) % MB_TREE_OPEN_FILES;
	if (worker->open[i].fd >= 0)
		close(worker->open[i].fd);
	worker->open[i].fd = -1;
	code =
		mb_open_beneath(&worker->open[i].fd, item->dir_fd, item->name, O_RDWR | O_NONBLOCK, 0, err);
	if (code)
	{
		worker->open[i].fd = -1;
		return code;
	}
	worker->open[i].file = file;
	*fd = worker->open[i].fd;
	return MB_OK;
}

/* Of a sparse file, which has been made as one hole: only what is not zero. */
static enum mb_code
write_around_holes(int fd, const unsigned char *data, size_t len, uint64_t offset, const char *name,
				   struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t at = 0, from = 0;

	while (!code && at < len)
	{
		size_t block = HOLE_BYTES - (size_t) ((offset + at) % HOLE_BYTES);

		if (block > len - at)
			block = len - at;
		if (data[at] == 0 && memcmp(data + at, data + at + 1, block - 1) == 0)
		{
			if (at > from)
				code = mb_pwrite_full(fd, data + from, at - from, (int64_t) (offset + from), name,
									  err);
			from = at + block;
		}
		at += block;
	}
	if (!code && len > from)
		code = mb_pwrite_full(fd, data + from, len - from, (int64_t) (offset + from), name, err);
	return code;
}

static enum mb_code
write_all(int fd, const unsigned char *data, size_t len, uint64_t offset, const char *name,
		  struct mb_error *err)
{
	return mb_pwrite_full(fd, data, len, (int64_t) offset, name, err);
}

static enum mb_code
run_job(struct mb_tree_run *tree, struct mb_tree_worker *worker, const struct mb_tree_job *job,
		struct mb_error *err)
{
	const struct mb_tree_item *item = &tree->files.items[job->file];
	const unsigned char *data;
	enum mb_code code;
	size_t len;
	int fd;

	code = mb_pack_reader_frame(worker->reader, &job->run.pack, job->run.frame, &data, &len, err);
	if (!code && (job->run.offset > len || job->run.length > len - job->run.offset))
		code = mb_fail(err, MB_CORRUPT, "a run points outside of its frame");
	if (!code)
		code = mb_tree_file_fd(tree, worker, job->file, &fd, err);
	if (!code)
		code = (item->is_sparse ? write_around_holes : write_all)(fd, data + job->run.offset,
																  job->run.length, job->offset,
																  item->name, err);
	if (code)
		return mb_error_context(err, "could not restore \"%s\"", item->name);
	/* Let the disk begin now, beside the decoding; the sync at the end says whether it worked. */
	if (job->run.length >= EARLY_WRITE_BYTES)
		(void) sync_file_range(fd, (off_t) job->offset, job->run.length, SYNC_FILE_RANGE_WRITE);
	atomic_fetch_add(&tree->restore->progress->done_bytes, job->run.length);
	atomic_fetch_add(&tree->written_bytes, job->run.length);
	return MB_OK;
}

/* Does a pack's share of the jobs justify fetching all of it? */
static bool
worth_loading(const struct mb_tree_run *tree, size_t first, size_t end)
{
	uint64_t wanted = 0;
	size_t i;

	for (i = first; i < end; i++)
		wanted += tree->jobs[i].run.length;
	return wanted >= 4u << 20;
}

static enum mb_code
run_pack(void *ctx, unsigned worker_index, size_t pack, struct mb_error *err)
{
	struct mb_tree_run *tree = ctx;
	struct mb_tree_worker *worker = &tree->workers[worker_index];
	size_t first = tree->pack_starts[pack];
	size_t end = pack + 1 < tree->pack_count ? tree->pack_starts[pack + 1] : tree->job_count;
	enum mb_code code = MB_OK;
	size_t i;

	if (worth_loading(tree, first, end))
		code = mb_pack_reader_load(worker->reader, &tree->jobs[first].run.pack, err);
	for (i = first; !code && i < end; i++)
		code = run_job(tree, worker, &tree->jobs[i], err);
	return code;
}

static int
compare_jobs(const void *a, const void *b)
{
	const struct mb_tree_job *x = a;
	const struct mb_tree_job *y = b;
	int order = memcmp(&x->run.pack, &y->run.pack, sizeof(x->run.pack));

	if (order)
		return order;
	if (x->run.frame != y->run.frame)
		return x->run.frame < y->run.frame ? -1 : 1;
	return (x->run.offset > y->run.offset) - (x->run.offset < y->run.offset);
}

static void
find_packs(struct mb_tree_run *tree)
{
	size_t cap = 0, i;

	free(tree->pack_starts);
	tree->pack_starts = NULL;
	tree->pack_count = 0;
	for (i = 0; i < tree->job_count; i++)
		if (i == 0 || memcmp(&tree->jobs[i].run.pack, &tree->jobs[i - 1].run.pack,
							 sizeof(tree->jobs[i].run.pack)) != 0)
		{
			tree->pack_starts =
				mb_grow(tree->pack_starts, &cap, tree->pack_count + 1, sizeof(size_t));
			tree->pack_starts[tree->pack_count++] = i;
		}
}

void
mb_tree_close_files(struct mb_tree_worker *worker)
{
	unsigned i;

	for (i = 0; i < MB_TREE_OPEN_FILES; i++)
	{
		if (worker->open[i].fd >= 0)
			close(worker->open[i].fd);
		worker->open[i].fd = -1;
	}
}

enum mb_code
mb_tree_flush_window(struct mb_tree_run *tree, struct mb_error *err)
{
	const struct mb_env *env = tree->restore->env;
	enum mb_code code = MB_OK;
	size_t i;

	if (tree->check_count > 0)
		code = mb_tree_compare(tree, err);
	if (code)
		return code;
	if (tree->job_count > 1)
		qsort(tree->jobs, tree->job_count, sizeof(*tree->jobs), compare_jobs);
	find_packs(tree);
	if (tree->pack_count > 0)
		code = mb_pool_run(env->workers, tree->pack_count, run_pack, tree, env->cancel, err);
	for (i = 0; i < env->workers; i++)
		mb_tree_close_files(&tree->workers[i]);
	for (i = 0; !code && i < tree->files.count; i++)
	{
		const struct mb_tree_item *item = &tree->files.items[i];

		code = mb_tree_finish_item(tree, item, err);
		if (!code && tree->spec->done)
			code = tree->spec->done(tree->spec->ctx, &item->entry, item->name, err);
	}
	tree->files.count = 0;
	tree->job_count = 0;
	tree->check_count = 0;
	tree->check_bytes = 0;
	tree->attribute_bytes = 0;
	mb_arena_release(&tree->window_arena);
	return code;
}

/*
 * copy_files.c - see copy_files.h: who reads what of a data directory.
 *
 * Workers take items: ranges of big files, or batches of small ones.
 */
#include "postgres/copy_files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Small files are handed out in batches. */
#define BATCH_FILES 64

struct item
{
	struct mb_pg_reading *reading; /* of one range, or NULL for a batch */
	size_t range;
	const struct mb_pg_file **batch;
	size_t batch_count;
	uint64_t bytes; /* for the order */
};

struct copy
{
	struct mb_pg_copy *base;
	struct mb_postgres *pg;
	struct mb_capture *capture;
	struct mb_pg_files files;
	struct mb_pg_reading *readings;
	size_t reading_count;
	const struct mb_pg_file **small; /* the batches' storage */
	size_t small_count;
	struct item *items;
	size_t item_count;
	size_t item_cap;
	atomic_size_t next_item;
	uint64_t skipped_files; /* by the skip rule */
	uint64_t skipped_bytes;
};

/* -- the work list ------------------------------------------------------------------------------------- */

static bool
is_small(const struct mb_pg_file *file)
{
	return file->st.st_size <= MB_PG_SMALL_BYTES;
}

static bool
is_ranged(const struct mb_pg_file *file)
{
	return (file->kind == MB_PG_RELATION || file->kind == MB_PG_PAGED) && file->st.st_size > 0;
}

static struct item *
new_item(struct copy *copy)
{
	struct item *item;

	copy->items = mb_grow(copy->items, &copy->item_cap, copy->item_count + 1, sizeof(*copy->items));
	item = &copy->items[copy->item_count++];
	memset(item, 0, sizeof(*item));
	return item;
}

/* Big files first, so that no worker is left alone with one at the end; batches last. */
static int
compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->reading != y->reading)
		return x->reading < y->reading ? -1 : 1;
	return (x->range > y->range) - (x->range < y->range);
}

/* A file that need not be read: its entry is the parent's. */
static enum mb_code
skip_unchanged(struct copy *copy, const struct mb_pg_file *file, bool *skipped,
			   struct mb_error *err)
{
	const struct mb_pg_unchanged *unchanged = &copy->base->unchanged;
	const struct mb_entry *parent;
	struct mb_entry entry;

	*skipped = false;
	if (!unchanged->holds || unchanged->verify || file->st.st_size == 0)
		return MB_OK;
	parent = mb_pg_parent_find(copy->base->parent, file->path);
	if (!mb_pg_unchanged_file(unchanged, &file->st, parent) ||
		mb_rehome_wants(&copy->capture->rehome, parent))
		return MB_OK;
	*skipped = true;
	copy->skipped_files++;
	copy->skipped_bytes += parent->size;
	entry = *parent;
	entry.user = copy->base->user;
	entry.group = copy->base->group;
	return mb_capture_add(copy->capture, &entry, err);
}

static void
say_skipped(const struct copy *copy)
{
	const struct mb_capture *capture = copy->capture;

	if (!copy->base->unchanged.holds)
		return;
	mb_json_set_int(capture->meta, "skipped_files", (int64_t) copy->skipped_files);
	mb_json_set_int(capture->meta, "skipped_bytes", (int64_t) copy->skipped_bytes);
	mb_log_info(capture->env->log, "%s: %llu of %zu files are as backup %s read them",
				capture->component, (unsigned long long) copy->skipped_files, copy->files.count,
				capture->parent->id);
}

/* One item for each of its ranges. */
static void
add_ranges(struct copy *copy, const struct mb_pg_file *file)
{
	struct mb_pg_reading *reading = &copy->readings[copy->reading_count++];
	size_t r;

	mb_pg_reading_begin(copy->base, reading, file);
	for (r = 0; r < reading->ranges; r++)
	{
		struct item *item = new_item(copy);

		item->reading = reading;
		item->range = r;
		item->bytes = (uint64_t) file->st.st_size;
	}
}

/* What is not read in ranges, many files in an item. */
static void
add_batches(struct copy *copy)
{
	size_t i;

	for (i = 0; i < copy->small_count; i += BATCH_FILES)
	{
		struct item *item = new_item(copy);

		item->batch = &copy->small[i];
		item->batch_count =
			copy->small_count - i < BATCH_FILES ? copy->small_count - i : BATCH_FILES;
	}
}

static enum mb_code
make_items(struct copy *copy, struct mb_error *err)
{
	uint64_t total = 0;
	enum mb_code code = MB_OK;
	size_t i;

	copy->readings = mb_calloc(copy->files.count + 1, sizeof(*copy->readings));
	copy->small = mb_calloc(copy->files.count + 1, sizeof(*copy->small));
	for (i = 0; !code && i < copy->files.count; i++)
	{
		const struct mb_pg_file *file = &copy->files.items[i];
		bool skipped;

		if (file->kind == MB_PG_CONTROL)
			continue;
		if (file->kind == MB_PG_DIRECTORY || file->kind == MB_PG_LINK)
		{
			code = mb_pg_add_empty(copy->base, file, err);
			continue;
		}
		code = skip_unchanged(copy, file, &skipped, err);
		if (code || skipped)
			continue;
		total += (uint64_t) file->st.st_size;
		if (is_small(file) || !is_ranged(file))
			copy->small[copy->small_count++] = file;
		else
			add_ranges(copy, file);
	}
	add_batches(copy);
	if (copy->item_count > 0)
		qsort(copy->items, copy->item_count, sizeof(*copy->items), compare_items);
	atomic_store(&copy->capture->progress->total_bytes, total);
	return code;
}

static enum mb_code
read_small(struct copy *copy, unsigned worker, const struct mb_pg_file *file, struct mb_error *err)
{
	struct mb_pg_reading reading = {0};
	enum mb_code code;

	if (file->st.st_size == 0 && file->kind != MB_PG_PLAIN)
		return mb_pg_add_empty(copy->base, file, err);
	if (!is_ranged(file))
		return mb_pg_read_plain(copy->base, worker, file, err);
	mb_pg_reading_begin(copy->base, &reading, file);
	code = mb_pg_read_range(copy->base, worker, &reading, 0, err);
	mb_pg_reading_end(&reading);
	return code;
}

static enum mb_code
run_item(void *ctx, unsigned worker, size_t index, struct mb_error *err)
{
	struct copy *copy = ctx;
	const struct item *item = &copy->items[index];
	enum mb_code code = MB_OK;
	size_t i;

	if (atomic_load(&copy->base->session_lost))
		return mb_fail(err, MB_UNREACHABLE,
					   "lost the session that holds the base backup: it cannot be completed");
	if (item->reading)
		return mb_pg_read_range(copy->base, worker, item->reading, item->range, err);
	for (i = 0; !code && i < item->batch_count; i++)
		code = read_small(copy, worker, item->batch[i], err);
	return code;
}

/* -- all of it ---------------------------------------------------------------------------------------------- */

/* Workers take items until all are taken, or until it is time to save what is finished. */
static enum mb_code
run_slice(void *ctx, unsigned worker, size_t slice, struct mb_error *err)
{
	struct copy *copy = ctx;
	enum mb_code code = MB_OK;

	(void) slice;
	while (!code && !mb_capture_save_due(copy->capture))
	{
		size_t next = atomic_fetch_add(&copy->next_item, 1);

		if (next >= copy->item_count)
			break;
		code = mb_cancel_check(copy->capture->env->cancel, err);
		if (!code)
			code = run_item(copy, worker, next, err);
	}
	return code;
}

static enum mb_code
run_items(struct copy *copy, struct mb_error *err)
{
	struct mb_capture *capture = copy->capture;
	enum mb_code code = MB_OK;

	mb_capture_save_begin(capture);
	while (!code && atomic_load(&copy->next_item) < copy->item_count)
	{
		code = mb_pool_run(capture->workers, capture->workers, run_slice, copy,
						   capture->env->cancel, err);
		if (!code && mb_capture_save_due(capture))
			code = mb_capture_save(capture, err);
	}
	return code;
}

static void
release_copy(struct copy *copy)
{
	size_t i;

	for (i = 0; i < copy->reading_count; i++)
		mb_pg_reading_end(&copy->readings[i]);
	free(copy->readings);
	free(copy->items);
	free(copy->small);
	mb_pg_files_release(&copy->files);
}

enum mb_code
mb_pg_copy_files(struct mb_pg_copy *base, struct mb_error *err)
{
	struct copy made = {.base = base, .pg = base->pg, .capture = base->capture};
	struct copy *copy = &made;
	struct mb_postgres *pg = copy->pg;
	char version[64];
	enum mb_code code;
	size_t i;

	mb_progress_phase(copy->capture->progress, "copying");
	snprintf(version, sizeof(version), "PG_%d_%lld", pg->server.version / 10000,
			 (long long) pg->server.catalog_version);
	code = mb_pg_files_scan(&copy->files, pg->server.data_directory, version, err);
	for (i = 0; i < copy->files.skipped_count; i++)
		mb_capture_warn(copy->capture, "\"%s\" is not a file or directory and was left out",
						copy->files.skipped[i]);
	if (!code)
		code = mb_pg_unchanged_begin(&base->unchanged, pg, base->capture, base->root_fd,
									 &copy->files, err);
	if (!code)
		code = make_items(copy, err);
	if (!code)
		say_skipped(copy);
	if (!code)
		code = run_items(copy, err);
	release_copy(copy);
	return code;
}

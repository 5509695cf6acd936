/*
 * read_file.c - see copy_files.h: read one file of a data directory while it is in use.
 *
 * Files that vanish, shrink or grow meanwhile are normal: WAL from the start LSN on brings
 * them right.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/time.h"
#include "postgres/copy_files.h"
#include "postgres/page_checksum.h"

/* Reads of a page whose checksum is wrong, before it is judged. */
#define PAGE_TRIES 5
#define PAGE_WAIT_MS 10

/* -- pages ----------------------------------------------------------------------------------------- */

struct page_check
{
	struct mb_pg_copy *copy;
	struct mb_pg_reading *reading;
};

/*
 * The page at `offset` has a wrong checksum.  Read it again a few times: a page that is being
 * written is whole soon.  One that stays wrong is torn only if WAL since our start
 * holds a full image of it, so only if its LSN lies behind the start; else it is damaged.
 */
static enum mb_code
judge_page(struct page_check *check, int fd, unsigned char *page, int64_t offset,
		   struct mb_error *err)
{
	struct mb_pg_reading *reading = check->reading;
	uint32_t number = (uint32_t) (offset / MB_PG_PAGE_BYTES);
	bool torn = false;
	enum mb_code code = MB_OK;
	int tries;

	for (tries = 0; tries < PAGE_TRIES; tries++)
	{
		unsigned char again[MB_PG_PAGE_BYTES];
		size_t got;

		mb_sleep_ms(PAGE_WAIT_MS);
		code = mb_pread_full(fd, again, sizeof(again), offset, &got, reading->file->path, err);
		if (code)
			return code;
		if (got < sizeof(again))
		{
			torn = true; /* truncated meanwhile: WAL says so */
			break;
		}
		memcpy(page, again, sizeof(again));
		if (mb_page_is_good(page, reading->file->first_block + number))
			return MB_OK;
	}
	if (!torn)
		code =
			mb_postgres_page_is_torn(check->copy->pg, check->copy->pg->start_lsn, page, &torn, err);
	if (code)
		return code;
	pthread_mutex_lock(&check->copy->lock);
	reading->is_torn |= torn;
	if (!torn)
		mb_pg_damaged_add(&reading->damaged, number);
	pthread_mutex_unlock(&check->copy->lock);
	return MB_OK;
}

static enum mb_code
check_pages(void *ctx, int fd, unsigned char *data, size_t len, int64_t offset,
			struct mb_error *err)
{
	struct page_check *check = ctx;
	enum mb_code code = MB_OK;
	size_t at;

	for (at = 0; !code && at + MB_PG_PAGE_BYTES <= len; at += MB_PG_PAGE_BYTES)
	{
		uint32_t number = (uint32_t) ((offset + (int64_t) at) / MB_PG_PAGE_BYTES);

		if (!mb_page_is_good(data + at, check->reading->file->first_block + number))
			code = judge_page(check, fd, data + at, offset + (int64_t) at, err);
	}
	return code;
}

/* -- entries ----------------------------------------------------------------------------------------- */

void
mb_pg_copy_fill_entry(const struct mb_pg_copy *copy, const struct mb_pg_file *file,
					  struct mb_entry *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->type = MB_ENTRY_FILE;
	entry->path = file->path;
	entry->path_len = strlen(file->path);
	entry->mode = file->st.st_mode & 07777;
	entry->uid = file->st.st_uid;
	entry->gid = file->st.st_gid;
	entry->user = copy->user;
	entry->group = copy->group;
	entry->mtime_ns = file->st.st_mtim.tv_sec * 1000000000LL + file->st.st_mtim.tv_nsec;
	entry->ctime_ns = file->st.st_ctim.tv_sec * 1000000000LL + file->st.st_ctim.tv_nsec;
	entry->inode = file->st.st_ino;
	entry->fsid = file->st.st_dev;
}

/*
 * The skip rule would not have read this file.  Was it right?  A file that is being written
 * now has other times now: only those that still look untouched count.
 */
static void
check_unchanged(struct mb_pg_copy *copy, const struct mb_pg_file *file,
				const struct mb_entry *parent, const struct mb_entry *entry)
{
	struct stat st;

	if (entry->size == parent->size && entry->crc32c == parent->crc32c)
		return;
	if (fstatat(copy->root_fd, file->path, &st, 0) != 0 ||
		!mb_pg_unchanged_file(&copy->unchanged, &st, parent))
		return;
	mb_capture_warn(copy->capture,
					"\"%s\" is not what backup %s read, although its size, times and inode are the "
					"same: it is stored as it is now; set verify-unchanged = 0 and look for what "
					"changes files behind their times",
					file->path, copy->capture->parent->id);
}

/* All ranges are read: put them together.  Behind a short range nothing counts. */
static enum mb_code
finish_reading(struct mb_pg_copy *copy, struct mb_pg_reading *reading, struct mb_error *err)
{
	struct mb_entry entry;
	enum mb_code code = MB_OK;
	size_t i, maps = 0;

	mb_pg_copy_fill_entry(copy, reading->file, &entry);
	for (i = 0; i < reading->ranges; i++)
	{
		if (reading->got[i] == 0)
			break;
		entry.crc32c = i == 0 ? reading->crcs[0]
							  : mb_crc32c_combine(entry.crc32c, reading->crcs[i], reading->got[i]);
		entry.size += reading->got[i];
		maps++;
		if (reading->got[i] < MB_RANGE_BYTES)
			break;
	}
	entry.has_crc32c = true;
	entry.maps = reading->maps;
	entry.map_count = maps;
	while (reading->damaged.count > 0 &&
		   (uint64_t) reading->damaged.pages[reading->damaged.count - 1] * MB_PG_PAGE_BYTES >=
			   entry.size)
		reading->damaged.count--;
	entry.damaged_pages = reading->damaged.pages;
	entry.damaged_count = reading->damaged.count;
	/* The next backup judges all of it anew. */
	if (reading->is_torn)
		entry.flags |= MB_ENTRY_CHANGING;
	if (!reading->vanished && reading->is_unchanged)
		check_unchanged(copy, reading->file, reading->parent, &entry);
	if (!reading->vanished)
		code = mb_capture_add(copy->capture, &entry, err);
	if (!reading->vanished && reading->damaged.count > 0)
		mb_capture_warn(copy->capture,
						"%zu page(s) of \"%s\" have a wrong checksum in the source, the first is "
						"block %u",
						reading->damaged.count, reading->file->path, reading->damaged.pages[0]);
	for (i = 0; i < reading->ranges; i++)
		mb_map_ref_release(&reading->maps[i]);
	mb_pg_damaged_release(&reading->damaged);
	return code;
}

static enum mb_code
open_file(const struct mb_pg_copy *copy, const char *path, int *fd, struct mb_error *err)
{
	*fd = openat(copy->root_fd, path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0 && errno != ENOENT)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	return MB_OK;
}

enum mb_code
mb_pg_read_range(struct mb_pg_copy *copy, unsigned worker, struct mb_pg_reading *reading,
				 size_t range, struct mb_error *err)
{
	bool check = reading->file->kind == MB_PG_RELATION && copy->pg->server.checksums;
	struct page_check ctx = {copy, reading};
	const struct mb_entry *parent = reading->parent;
	const struct mb_map_ref *map =
		parent && range < parent->map_count ? &parent->maps[range] : NULL;
	uint64_t offset = (uint64_t) range * MB_RANGE_BYTES;
	uint64_t size = (uint64_t) reading->file->st.st_size;
	size_t len = size - offset < MB_RANGE_BYTES ? (size_t) (size - offset) : MB_RANGE_BYTES;
	enum mb_code code;
	bool last;
	int fd;

	code = open_file(copy, reading->file->path, &fd, err);
	if (!code && fd >= 0)
	{
		struct mb_range_source source = {.fd = fd,
										 .path = reading->file->path,
										 .offset = (int64_t) offset,
										 .len = len,
										 .filter = check ? check_pages : NULL,
										 .filter_ctx = &ctx,
										 .flags = mb_pg_was_judged(parent) ? MB_RANGE_JUDGED : 0};

		code = mb_capture_range(copy->capture, worker, &source, map, &reading->maps[range],
								&reading->got[range], &reading->crcs[range], err);
		close(fd);
	}
	if (code)
		return code;
	pthread_mutex_lock(&copy->lock);
	reading->vanished |= fd < 0;
	last = --reading->left == 0;
	pthread_mutex_unlock(&copy->lock);
	if (!last)
		return MB_OK;
	mb_pg_damaged_sort(&reading->damaged);
	return finish_reading(copy, reading, err);
}

/* Small ones are compared with the parent's as a whole. */
static enum mb_code
read_contents(struct mb_pg_copy *copy, unsigned worker, int fd, const struct mb_pg_file *file,
			  const struct mb_entry *parent, struct mb_runs *runs, struct mb_entry *entry,
			  struct mb_error *err)
{
	unsigned char *data;
	enum mb_code code;
	size_t got;

	if (!parent || file->st.st_size >= MB_PG_SMALL_BYTES)
		return mb_capture_fd(copy->capture, worker, fd, file->path, runs, &entry->size,
							 &entry->crc32c, err);
	data = mb_malloc(MB_PG_SMALL_BYTES);
	code = mb_pread_full(fd, data, MB_PG_SMALL_BYTES, 0, &got, file->path, err);
	/* It may have grown meanwhile. */
	if (!code && got == MB_PG_SMALL_BYTES)
		code = mb_capture_fd(copy->capture, worker, fd, file->path, runs, &entry->size,
							 &entry->crc32c, err);
	else if (!code)
	{
		code =
			mb_capture_small(copy->capture, worker, data, got, parent, runs, &entry->crc32c, err);
		entry->size = got;
	}
	free(data);
	return code;
}

enum mb_code
mb_pg_read_plain(struct mb_pg_copy *copy, unsigned worker, const struct mb_pg_file *file,
				 struct mb_error *err)
{
	const struct mb_entry *parent = mb_pg_parent_find(copy->parent, file->path);
	struct mb_runs runs = {0};
	struct mb_entry entry;
	enum mb_code code;
	int fd;

	code = open_file(copy, file->path, &fd, err);
	if (code || fd < 0)
		return code;
	mb_pg_copy_fill_entry(copy, file, &entry);
	code = read_contents(copy, worker, fd, file, parent, &runs, &entry, err);
	close(fd);
	entry.has_crc32c = true;
	entry.runs = runs.items;
	entry.run_count = runs.count;
	if (!code && mb_pg_unchanged_file(&copy->unchanged, &file->st, parent))
		check_unchanged(copy, file, parent, &entry);
	if (!code)
		code = mb_capture_add(copy->capture, &entry, err);
	mb_runs_release(&runs);
	return code;
}

enum mb_code
mb_pg_add_empty(struct mb_pg_copy *copy, const struct mb_pg_file *file, struct mb_error *err)
{
	struct mb_entry entry;

	mb_pg_copy_fill_entry(copy, file, &entry);
	if (file->kind == MB_PG_DIRECTORY)
		entry.type = MB_ENTRY_DIR;
	else if (file->kind == MB_PG_LINK)
	{
		entry.type = MB_ENTRY_SYMLINK;
		entry.link_target = file->link;
	}
	else
		entry.has_crc32c = true;
	return mb_capture_add(copy->capture, &entry, err);
}

void
mb_pg_reading_begin(struct mb_pg_copy *copy, struct mb_pg_reading *reading,
					const struct mb_pg_file *file)
{
	reading->file = file;
	reading->parent = mb_pg_parent_find(copy->parent, file->path);
	reading->is_unchanged = mb_pg_unchanged_file(&copy->unchanged, &file->st, reading->parent);
	reading->ranges = ((size_t) file->st.st_size + MB_RANGE_BYTES - 1) / MB_RANGE_BYTES;
	reading->left = reading->ranges;
	reading->maps = mb_calloc(reading->ranges, sizeof(*reading->maps));
	reading->got = mb_calloc(reading->ranges, sizeof(*reading->got));
	reading->crcs = mb_calloc(reading->ranges, sizeof(*reading->crcs));
}

void
mb_pg_reading_end(struct mb_pg_reading *reading)
{
	size_t i;

	for (i = 0; reading->maps && i < reading->ranges; i++)
		mb_map_ref_release(&reading->maps[i]);
	free(reading->maps);
	free(reading->got);
	free(reading->crcs);
	mb_pg_damaged_release(&reading->damaged);
}

/*
 * scan_read.c - from a name that the walk has found to an entry: owners, attributes, contents.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/attributes.h"
#include "core/engine/entry.h"
#include "core/engine/scan_private.h"

#define BATCH_ITEMS 4096
#define BATCH_BYTES (256u << 20)
#define READ_TRIES 3
#define SPARSE_META "{\"sparse\":true}"

/* What one file is made of while it is read. */
struct reading
{
	struct mb_runs runs;
	struct mb_buf attributes;
};

bool
mb_scan_is_file_trouble(enum mb_code code)
{
	return code == MB_DENIED || code == MB_IO;
}

void
mb_scan_left_out(struct mb_tree_scan *scan, const char *what)
{
	atomic_store(&scan->capture->incomplete, true);
	mb_capture_warn(scan->capture, "not in this backup: %s", what);
}

/* -- contents ------------------------------------------------------------------------------------ */

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
		   a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
		   a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static enum mb_code
read_transformed(struct mb_tree_scan *scan, unsigned worker, int fd, struct mb_scan_todo *todo,
				 struct mb_runs *runs, struct mb_error *err)
{
	struct mb_buf contents = {0};
	enum mb_code code;
	size_t got;

	mb_buf_reserve(&contents, MB_SCAN_TRANSFORM_MAX_BYTES);
	code = mb_pread_full(fd, contents.data, MB_SCAN_TRANSFORM_MAX_BYTES, 0, &got, todo->path, err);
	if (!code)
	{
		contents.len = got;
		todo->entry.flags &= ~(unsigned) MB_ENTRY_MASKED;
		todo->entry.flags |= scan->ops->transform(scan->ctx, todo->path, &contents);
		todo->entry.size = contents.len;
		todo->entry.crc32c = mb_crc32c(MB_CRC32C_INIT, contents.data, contents.len);
		code = mb_capture_bytes(scan->capture, worker, contents.data, contents.len, runs, err);
	}
	mb_buf_release(&contents);
	return code;
}

/* Does it take less room than it has bytes? */
static bool
is_sparse(const struct mb_tree_scan *scan, const struct stat *st)
{
	return (scan->ops->flags & MB_SCAN_SPARSE) &&
		   (uint64_t) st->st_blocks * 512 < (uint64_t) st->st_size;
}

static enum mb_code
read_once(struct mb_tree_scan *scan, unsigned worker, int fd, struct mb_scan_todo *todo,
		  const struct stat *st, struct mb_runs *runs, struct mb_error *err)
{
	todo->entry.meta = NULL;
	if (scan->ops->transform && st->st_size < (off_t) MB_SCAN_TRANSFORM_MAX_BYTES)
		return read_transformed(scan, worker, fd, todo, runs, err);
	if (!is_sparse(scan, st))
		return mb_capture_fd(scan->capture, worker, fd, todo->path, runs, &todo->entry.size,
							 &todo->entry.crc32c, err);
	todo->entry.meta = SPARSE_META;
	return mb_capture_sparse(scan->capture, worker, fd, todo->path, runs, &todo->entry.size,
							 &todo->entry.crc32c, err);
}

static enum mb_code
read_attributes(struct mb_tree_scan *scan, int fd, const char *path, struct mb_buf *out,
				struct mb_error *err)
{
	unsigned left_out = 0;
	enum mb_code code;

	if (!(scan->ops->flags & MB_SCAN_ATTRIBUTES))
		return MB_OK;
	mb_buf_reset(out);
	code = mb_attributes_read(out, fd, path, &left_out, err);
	if (!code && left_out > 0)
	{
		atomic_store(&scan->capture->incomplete, true);
		mb_capture_warn(scan->capture, "%u extended attributes of \"/%s\" are too large to be kept",
						left_out, path);
	}
	return code;
}

static enum mb_code
read_contents(struct mb_tree_scan *scan, unsigned worker, int fd, struct mb_scan_todo *todo,
			  struct reading *reading, struct mb_error *err)
{
	struct stat before, after;
	enum mb_code code;
	int tries;

	for (tries = 1;; tries++)
	{
		reading->runs.count = 0;
		if (fstat(fd, &before) != 0)
			return mb_fail_errno(err, errno, "could not look at \"%s\"", todo->path);
		code = read_attributes(scan, fd, todo->path, &reading->attributes, err);
		if (!code)
			code = read_once(scan, worker, fd, todo, &before, &reading->runs, err);
		if (code)
			return code;
		if (fstat(fd, &after) != 0)
			return mb_fail_errno(err, errno, "could not look at \"%s\"", todo->path);
		if (same_file(&before, &after) || tries == READ_TRIES)
			break;
	}
	if (!same_file(&before, &after))
	{
		todo->entry.flags |= MB_ENTRY_CHANGING;
		mb_capture_warn(scan->capture, "\"%s\" changed while it was read, %d times", todo->path,
						READ_TRIES);
	}
	/* What was read is what these say: the file may have changed since the walk saw it. */
	todo->entry.mtime_ns = (int64_t) before.st_mtim.tv_sec * 1000000000 + before.st_mtim.tv_nsec;
	todo->entry.ctime_ns = (int64_t) before.st_ctim.tv_sec * 1000000000 + before.st_ctim.tv_nsec;
	return MB_OK;
}

/* -- batches ------------------------------------------------------------------------------------- */

static enum mb_code
open_to_read(struct mb_tree_scan *scan, struct mb_scan_todo *todo, int *fd, struct mb_error *err)
{
	/* O_NONBLOCK: the name may have become a FIFO since we looked. */
	enum mb_code code =
		mb_open_beneath(fd, scan->root_fd, todo->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);
	struct stat st;

	if (code)
		return code;
	if (fstat(*fd, &st) != 0)
		code = mb_fail_errno(err, errno, "could not look at \"%s\"", todo->path);
	else if (!S_ISREG(st.st_mode))
		code = mb_fail(err, MB_NOT_FOUND, "\"%s\" is no regular file any more", todo->path);
	if (code)
		close(*fd);
	return code;
}

static enum mb_code
keep_what_was_read(struct mb_tree_scan *scan, struct mb_scan_todo *todo,
				   const struct reading *reading, struct mb_error *err)
{
	enum mb_code code;

	todo->entry.runs = reading->runs.items;
	todo->entry.run_count = reading->runs.count;
	todo->entry.xattrs = reading->attributes.data;
	todo->entry.xattrs_len = reading->attributes.len;
	todo->entry.has_crc32c = true;
	code = mb_capture_add(scan->capture, &todo->entry, err);
	todo->is_kept = !code;
	/* Too many runs for one entry (a hole of terabytes), or too many attributes. */
	if (code == MB_CONFIG)
	{
		mb_scan_left_out(scan, err->message);
		code = MB_OK;
	}
	return code;
}

static enum mb_code
read_todo(void *ctx, unsigned worker, size_t item, struct mb_error *err)
{
	struct mb_tree_scan *scan = ctx;
	struct mb_scan_todo *todo = &scan->todos[item];
	struct reading reading = {0};
	enum mb_code code;
	int fd;

	code = open_to_read(scan, todo, &fd, err);
	if (code == MB_NOT_FOUND)
		return MB_OK; /* gone since the walk saw it: as if it had gone before */
	if (!code)
	{
		code = read_contents(scan, worker, fd, todo, &reading, err);
		close(fd);
	}
	if (!code)
		code = keep_what_was_read(scan, todo, &reading, err);
	else if (mb_scan_is_file_trouble(code))
	{
		mb_scan_left_out(scan, err->message);
		code = MB_OK;
	}
	mb_runs_release(&reading.runs);
	mb_buf_release(&reading.attributes);
	return code;
}

enum mb_code
mb_scan_read_batch(struct mb_tree_scan *scan, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && scan->todo_count > 0)
	{
		code = mb_pool_run(scan->capture->workers, scan->todo_count, read_todo, scan,
						   scan->capture->env->cancel, err);
		if (!code)
			code = mb_scan_links_settle(scan, err);
	}
	scan->todo_count = 0;
	mb_arena_release(&scan->todo_arena);
	return code;
}

/* -- entries ------------------------------------------------------------------------------------- */

static const char *
owner_name(struct mb_scan_owner *cache, uint32_t id, bool is_group)
{
	struct mb_scan_owner *slot = &cache[id % MB_SCAN_OWNER_CACHE];
	char buf[4096];
	struct passwd pw, *pw_found = NULL;
	struct group gr, *gr_found = NULL;
	const char *name = "";

	if (!slot->known || slot->id != id)
	{
		if (is_group && getgrgid_r(id, &gr, buf, sizeof(buf), &gr_found) == 0 && gr_found)
			name = gr.gr_name;
		else if (!is_group && getpwuid_r(id, &pw, buf, sizeof(buf), &pw_found) == 0 && pw_found)
			name = pw.pw_name;
		slot->known = true;
		slot->id = id;
		snprintf(slot->name, sizeof(slot->name), "%s", name);
	}
	return slot->name[0] ? slot->name : NULL;
}

void
mb_scan_fill_entry(struct mb_entry *entry, const char *path, const struct stat *st)
{
	if (entry->type == 0)
		entry->type = S_ISDIR(st->st_mode)   ? MB_ENTRY_DIR
					  : S_ISLNK(st->st_mode) ? MB_ENTRY_SYMLINK
											 : MB_ENTRY_FILE;
	entry->path = path;
	entry->path_len = strlen(path);
	entry->mode = st->st_mode & 07777;
	entry->uid = st->st_uid;
	entry->gid = st->st_gid;
	entry->size = S_ISREG(st->st_mode) ? (uint64_t) st->st_size : 0;
	entry->mtime_ns = (int64_t) st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	entry->ctime_ns = (int64_t) st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
	entry->inode = st->st_ino;
	entry->fsid = st->st_dev;
}

void
mb_scan_add_todo(struct mb_tree_scan *scan, const struct mb_entry *entry, size_t link)
{
	struct mb_scan_todo *todo;

	scan->todos = mb_grow(scan->todos, &scan->todo_cap, scan->todo_count + 1, sizeof(*scan->todos));
	todo = &scan->todos[scan->todo_count++];
	*todo = (struct mb_scan_todo){.link = link};
	mb_entry_copy_head(&scan->todo_arena, entry, &todo->entry);
	todo->path = todo->entry.path;
	scan->todo_bytes += entry->size;
}

/* A directory or a symbolic link: all of it is what stat and its attributes say. */
static enum mb_code
add_without_contents(struct mb_tree_scan *scan, struct mb_entry *entry, const char *path,
					 struct mb_error *err)
{
	struct mb_buf attributes = {0};
	enum mb_code code = MB_OK;
	int fd;

	if (scan->ops->flags & MB_SCAN_ATTRIBUTES)
	{
		code = mb_open_beneath(&fd, scan->root_fd, path, O_PATH | O_NOFOLLOW, 0, err);
		if (!code)
		{
			code = read_attributes(scan, fd, path, &attributes, err);
			close(fd);
		}
		if (code == MB_NOT_FOUND)
			return MB_OK; /* gone since the walk saw it */
		if (mb_scan_is_file_trouble(code))
		{
			mb_scan_left_out(scan, err->message);
			code = MB_OK;
		}
	}
	entry->xattrs = attributes.data;
	entry->xattrs_len = attributes.len;
	if (!code)
		code = mb_capture_add(scan->capture, entry, err);
	mb_buf_release(&attributes);
	return code;
}

enum mb_code
mb_scan_take(struct mb_tree_scan *scan, const struct mb_scan_item *item, struct mb_entry *entry,
			 size_t link, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	mb_scan_fill_entry(entry, item->path, &item->st);
	entry->user = owner_name(scan->users, item->st.st_uid, false);
	entry->group = owner_name(scan->groups, item->st.st_gid, true);
	entry->link_target = item->link_target;
	if (!S_ISREG(item->st.st_mode))
		return add_without_contents(scan, entry, item->path, err);
	if (link == MB_NO_LINK && item->st.st_nlink > 1 && (scan->ops->flags & MB_SCAN_LINKS))
		mb_scan_add_todo(scan, entry, mb_scan_link_new(scan, item, MB_LINK_WAITING));
	else if (link != MB_NO_LINK)
		code = mb_scan_link_add(scan, entry, link, err);
	else
		mb_scan_add_todo(scan, entry, MB_NO_LINK);
	if (!code && (scan->todo_count >= BATCH_ITEMS || scan->todo_bytes >= BATCH_BYTES))
		return mb_scan_read_batch(scan, err);
	return code;
}

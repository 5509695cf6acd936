/* scan.c - see scan.h. */
#include "core/engine/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/entry.h"

#define BATCH_ITEMS 4096
#define BATCH_BYTES (256u << 20)
#define READ_TRIES 3
#define TRANSFORM_MAX_BYTES (1u << 20)
#define RACY_NS (2LL * 1000000000)
#define OWNER_CACHE 64

/* Names of owners, looked up once; a scan is one thread, so no lock. */
struct owner
{
	uint32_t id;
	bool known;
	char name[64]; /* "" when the id has no name */
};

/* A file to be read by the workers. */
struct todo
{
	struct mb_entry entry;
	const char *path;
};

struct scan
{
	struct mb_capture *capture;
	int root_fd;
	char *const *roots;
	size_t root_count;
	const struct mb_scan_ops *ops;
	void *ctx;
	/* the parent's manifest, one group of versions ahead */
	struct mb_manifest_reader *parent;
	const struct mb_entry *parent_next; /* borrowed from the reader */
	struct mb_arena group_arena;
	struct mb_entry *group;
	size_t group_count;
	size_t group_cap;
	/* to be read */
	struct mb_arena todo_arena;
	struct todo *todos;
	size_t todo_count;
	size_t todo_cap;
	uint64_t todo_bytes;
	struct owner users[OWNER_CACHE];
	struct owner groups[OWNER_CACHE];
};

/* -- the parent --------------------------------------------------------------------------------- */

static enum mb_code
advance_parent(struct scan *scan, struct mb_error *err)
{
	if (!scan->parent)
	{
		scan->parent_next = NULL;
		return MB_OK;
	}
	return mb_manifest_next(scan->parent, &scan->parent_next, err);
}

static int
compare_paths(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	if (order)
		return order;
	return (a_len > b_len) - (a_len < b_len);
}

/* Collect all versions that the parent has at the path of parent_next. */
static enum mb_code
take_group(struct scan *scan, struct mb_error *err)
{
	const char *path;
	size_t len;
	enum mb_code code;

	mb_arena_release(&scan->group_arena);
	scan->group_count = 0;
	do
	{
		scan->group =
			mb_grow(scan->group, &scan->group_cap, scan->group_count + 1, sizeof(*scan->group));
		mb_entry_copy(&scan->group_arena, scan->parent_next, &scan->group[scan->group_count++]);
		path = scan->group[0].path;
		len = scan->group[0].path_len;
		code = advance_parent(scan, err);
	} while (!code && scan->parent_next &&
			 compare_paths(scan->parent_next->path, scan->parent_next->path_len, path, len) == 0);
	return code;
}

/* -- reading ------------------------------------------------------------------------------------- */

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
		   a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
		   a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static enum mb_code
read_transformed(struct scan *scan, unsigned worker, int fd, struct todo *todo,
				 struct mb_runs *runs, struct mb_error *err)
{
	struct mb_buf contents = {0};
	enum mb_code code;
	size_t got;

	mb_buf_reserve(&contents, TRANSFORM_MAX_BYTES);
	code = mb_pread_full(fd, contents.data, TRANSFORM_MAX_BYTES, 0, &got, todo->path, err);
	if (!code)
	{
		contents.len = got;
		todo->entry.flags |= scan->ops->transform(scan->ctx, todo->path, &contents);
		todo->entry.size = contents.len;
		todo->entry.crc32c = mb_crc32c(MB_CRC32C_INIT, contents.data, contents.len);
		code = mb_capture_bytes(scan->capture, worker, contents.data, contents.len, runs, err);
	}
	mb_buf_release(&contents);
	return code;
}

static enum mb_code
read_contents(struct scan *scan, unsigned worker, int fd, struct todo *todo, struct mb_runs *runs,
			  struct mb_error *err)
{
	struct stat before, after;
	enum mb_code code;
	int tries;

	for (tries = 1;; tries++)
	{
		runs->count = 0;
		if (fstat(fd, &before) != 0)
			return mb_fail_errno(err, errno, "could not look at \"%s\"", todo->path);
		if (scan->ops->transform && before.st_size < (off_t) TRANSFORM_MAX_BYTES)
			code = read_transformed(scan, worker, fd, todo, runs, err);
		else
			code = mb_capture_fd(scan->capture, worker, fd, todo->path, runs, &todo->entry.size,
								 &todo->entry.crc32c, err);
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

/* Failures of one file that must not fail the whole backup. */
static bool
is_file_trouble(enum mb_code code)
{
	return code == MB_DENIED || code == MB_IO;
}

static enum mb_code
open_to_read(struct scan *scan, struct todo *todo, int *fd, struct mb_error *err)
{
	/* O_NONBLOCK: the name may have become a FIFO since we looked. */
	enum mb_code code =
		mb_open_beneath(fd, scan->root_fd, todo->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);
	struct stat st;

	if (code)
		return code;
	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
		return MB_OK;
	close(*fd);
	return mb_fail(err, MB_NOT_FOUND, "\"%s\" is no regular file any more", todo->path);
}

static enum mb_code
read_todo(void *ctx, unsigned worker, size_t item, struct mb_error *err)
{
	struct scan *scan = ctx;
	struct todo *todo = &scan->todos[item];
	struct mb_runs runs = {0};
	enum mb_code code;
	int fd;

	code = open_to_read(scan, todo, &fd, err);
	if (code == MB_NOT_FOUND)
		return MB_OK; /* gone since the walk saw it: as if it had gone before */
	if (!code)
	{
		code = read_contents(scan, worker, fd, todo, &runs, err);
		close(fd);
	}
	if (is_file_trouble(code))
	{
		atomic_store(&scan->capture->incomplete, true);
		mb_capture_warn(scan->capture, "not in this backup: %s", err->message);
		code = MB_OK;
	}
	else if (!code)
	{
		todo->entry.runs = runs.items;
		todo->entry.run_count = runs.count;
		todo->entry.has_crc32c = true;
		code = mb_capture_add(scan->capture, &todo->entry, err);
	}
	mb_runs_release(&runs);
	return code;
}

static enum mb_code
read_batch(struct scan *scan, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (scan->todo_count > 0)
		code = mb_pool_run(scan->capture->workers, scan->todo_count, read_todo, scan,
						   scan->capture->env->cancel, err);
	scan->todo_count = 0;
	scan->todo_bytes = 0;
	mb_arena_release(&scan->todo_arena);
	return code;
}

/* -- deciding -------------------------------------------------------------------------------------- */

static const char *
owner_name(struct owner *cache, uint32_t id, bool is_group)
{
	struct owner *slot = &cache[id % OWNER_CACHE];
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

static enum mb_code
add_todo(struct scan *scan, const struct mb_scan_item *item, struct mb_entry *entry,
		 struct mb_error *err)
{
	struct todo *todo;

	mb_scan_fill_entry(entry, item->path, &item->st);
	entry->user = owner_name(scan->users, item->st.st_uid, false);
	entry->group = owner_name(scan->groups, item->st.st_gid, true);
	entry->link_target = item->link_target;
	if (!S_ISREG(item->st.st_mode))
		return mb_capture_add(scan->capture, entry, err);
	scan->todos = mb_grow(scan->todos, &scan->todo_cap, scan->todo_count + 1, sizeof(*scan->todos));
	todo = &scan->todos[scan->todo_count++];
	mb_entry_copy_head(&scan->todo_arena, entry, &todo->entry);
	todo->path = todo->entry.path;
	scan->todo_bytes += entry->size;
	if (scan->todo_count >= BATCH_ITEMS || scan->todo_bytes >= BATCH_BYTES)
		return read_batch(scan, err);
	return MB_OK;
}

static enum mb_code
decide(struct scan *scan, struct mb_scan_item *item, struct mb_error *err)
{
	struct mb_entry entry = {0};
	bool read = false;
	enum mb_code code;

	code = scan->ops->decide(scan->ctx, item, &read, &entry, err);
	if (!code && read)
		code = add_todo(scan, item, &entry, err);
	return code;
}

/* Paths of the parent before `path` (NULL: all that are left) are gone. */
static enum mb_code
decide_gone(struct scan *scan, const char *path, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && scan->parent_next &&
		   (!path || compare_paths(scan->parent_next->path, scan->parent_next->path_len, path,
								   strlen(path)) < 0))
	{
		struct mb_scan_item item = {0};

		code = take_group(scan, err);
		if (code)
			break;
		item.path = scan->group[0].path;
		item.parents = scan->group;
		item.parent_count = scan->group_count;
		code = decide(scan, &item, err);
	}
	return code;
}

static enum mb_code
decide_found(struct scan *scan, struct mb_scan_item *item, struct mb_error *err)
{
	enum mb_code code = decide_gone(scan, item->path, err);

	if (!code && scan->parent_next &&
		compare_paths(scan->parent_next->path, scan->parent_next->path_len, item->path,
					  strlen(item->path)) == 0)
	{
		code = take_group(scan, err);
		item->parents = scan->group;
		item->parent_count = scan->group_count;
	}
	return code ? code : decide(scan, item, err);
}

/* -- walking ------------------------------------------------------------------------------------------ */

/* A step of the walk in one directory: show a name, or (key with a slash) descend into it. */
struct step
{
	char *key;
	bool descend;
};

struct steps
{
	struct step *items;
	size_t count;
	size_t cap;
};

static int
compare_steps(const void *a, const void *b)
{
	return strcmp(((const struct step *) a)->key, ((const struct step *) b)->key);
}

static void
add_step(struct steps *steps, const char *name, bool descend)
{
	steps->items = mb_grow(steps->items, &steps->cap, steps->count + 1, sizeof(*steps->items));
	steps->items[steps->count++] =
		(struct step){mb_asprintf(descend ? "%s/" : "%s", name), descend};
}

enum place
{
	PLACE_OUTSIDE,
	PLACE_ABOVE_ROOT, /* pass through */
	PLACE_INSIDE
};

static enum place
place_of(const struct scan *scan, const char *path)
{
	enum place place = PLACE_OUTSIDE;
	size_t len = strlen(path);
	size_t i;

	for (i = 0; i < scan->root_count; i++)
	{
		const char *root = scan->roots[i];
		size_t root_len = strlen(root);

		if (root_len == 0 || (strncmp(path, root, root_len) == 0 &&
							  (path[root_len] == '\0' || path[root_len] == '/')))
			return PLACE_INSIDE;
		if (len == 0 || (strncmp(root, path, len) == 0 && root[len] == '/'))
			place = PLACE_ABOVE_ROOT;
	}
	return place;
}

/* Above the roots only what leads to one is looked at, so that nothing need be listed. */
static void
steps_towards_roots(const struct scan *scan, const char *path, struct steps *steps)
{
	size_t len = strlen(path);
	size_t i, j;

	for (i = 0; i < scan->root_count; i++)
	{
		const char *rest = scan->roots[i] + len + (len > 0);
		char *name;
		bool known = false;

		if (len > 0 && (strncmp(scan->roots[i], path, len) != 0 || scan->roots[i][len] != '/'))
			continue;
		name = mb_strndup(rest, strcspn(rest, "/"));
		for (j = 0; j < steps->count; j++)
			known = known || (!steps->items[j].descend && strcmp(steps->items[j].key, name) == 0);
		if (!known)
		{
			add_step(steps, name, false);
			add_step(steps, name, true);
		}
		free(name);
	}
}

static enum mb_code
steps_of_directory(int dir_fd, const char *path, struct steps *steps, struct mb_error *err)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
	{
		int saved = errno;

		if (fd >= 0)
			close(fd);
		return mb_fail_errno(err, saved, "could not read directory \"%s\"", path);
	}
	errno = 0;
	while ((entry = readdir(dir)) != NULL)
	{
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		add_step(steps, entry->d_name, false);
		if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)
			add_step(steps, entry->d_name, true);
		errno = 0;
	}
	if (errno)
	{
		int saved = errno;

		closedir(dir);
		return mb_fail_errno(err, saved, "could not read directory \"%s\"", path);
	}
	closedir(dir);
	return MB_OK;
}

static enum mb_code walk(struct scan *scan, int dir_fd, const char *path, struct mb_error *err);

static enum mb_code
descend(struct scan *scan, int dir_fd, const char *name, const char *path, struct mb_error *err)
{
	enum place place = place_of(scan, path);
	struct stat st;
	enum mb_code code;
	int fd;

	if (place == PLACE_OUTSIDE || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		!S_ISDIR(st.st_mode))
		return MB_OK;
	if (place == PLACE_INSIDE && !scan->ops->wanted(scan->ctx, path, &st))
		return MB_OK;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && place == PLACE_ABOVE_ROOT)
		fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return MB_OK;
	if (fd < 0)
	{
		atomic_store(&scan->capture->incomplete, true);
		mb_capture_warn(scan->capture, "not in this backup: could not open directory \"%s\": %s",
						path, strerror(errno));
		return MB_OK;
	}
	code = walk(scan, fd, path, err);
	close(fd);
	return code;
}

static enum mb_code
show(struct scan *scan, int dir_fd, const char *name, const char *path, struct mb_error *err)
{
	struct mb_scan_item item = {.path = path, .exists = true};
	char target[MB_PATH_MAX];
	ssize_t len;

	if (place_of(scan, path) != PLACE_INSIDE)
		return MB_OK;
	if (fstatat(dir_fd, name, &item.st, AT_SYMLINK_NOFOLLOW) != 0)
	{
		if (errno == ENOENT)
			return MB_OK;
		return mb_fail_errno(err, errno, "could not look at \"%s\"", path);
	}
	if (!scan->ops->wanted(scan->ctx, path, &item.st))
		return MB_OK;
	if (S_ISLNK(item.st.st_mode))
	{
		len = readlinkat(dir_fd, name, target, sizeof(target) - 1);
		if (len < 0)
			return MB_OK; /* changed under our eyes; the next backup sees what it is */
		target[len] = '\0';
		item.link_target = target;
	}
	return decide_found(scan, &item, err);
}

static enum mb_code
walk(struct scan *scan, int dir_fd, const char *path, struct mb_error *err)
{
	struct steps steps = {0};
	enum mb_code code = mb_cancel_check(scan->capture->env->cancel, err);
	size_t i;

	if (!code && place_of(scan, path) == PLACE_ABOVE_ROOT)
		steps_towards_roots(scan, path, &steps);
	else if (!code)
		code = steps_of_directory(dir_fd, path, &steps, err);
	if (steps.count > 0)
		qsort(steps.items, steps.count, sizeof(*steps.items), compare_steps);
	for (i = 0; !code && i < steps.count; i++)
	{
		const struct step *step = &steps.items[i];
		size_t len = strlen(step->key) - step->descend;
		char *name = mb_strndup(step->key, len);
		char *child = path[0] ? mb_asprintf("%s/%s", path, name) : mb_strdup(name);

		code = (step->descend ? descend : show)(scan, dir_fd, name, child, err);
		free(child);
		free(name);
	}
	for (i = 0; i < steps.count; i++)
		free(steps.items[i].key);
	free(steps.items);
	return code;
}

enum mb_code
mb_scan_tree(struct mb_capture *capture, int root_fd, char *const *roots, size_t root_count,
			 const struct mb_scan_ops *ops, void *ctx, struct mb_error *err)
{
	struct scan scan = {.capture = capture,
						.root_fd = root_fd,
						.roots = roots,
						.root_count = root_count,
						.ops = ops,
						.ctx = ctx};
	enum mb_code code;

	if (capture->parent)
		scan.parent = mb_manifest_reader_new(capture->repo, &capture->parent->blocks);
	code = advance_parent(&scan, err);
	/* Without a root there is nothing to see, and everything of the parent is gone. */
	if (!code && root_count > 0)
		code = walk(&scan, root_fd, "", err);
	if (!code)
		code = decide_gone(&scan, NULL, err);
	if (!code)
		code = read_batch(&scan, err);
	mb_manifest_reader_free(scan.parent);
	mb_arena_release(&scan.group_arena);
	mb_arena_release(&scan.todo_arena);
	free(scan.group);
	free(scan.todos);
	return code;
}

bool
mb_scan_unchanged(const struct mb_scan_item *item, const struct mb_entry *parent,
				  const struct mb_commit *parent_commit)
{
	struct mb_entry now = {.type = parent->type};
	int64_t limit_ns = parent_commit->started_us * 1000 - RACY_NS;

	mb_scan_fill_entry(&now, item->path, &item->st);
	if (S_ISREG(item->st.st_mode) !=
		(parent->type == MB_ENTRY_FILE || parent->type == MB_ENTRY_OBJECT))
		return false;
	/* The size of a masked file is that of the masked text. */
	return (parent->flags & MB_ENTRY_CHANGING) == 0 &&
		   (now.size == parent->size || (parent->flags & MB_ENTRY_MASKED)) &&
		   now.mtime_ns == parent->mtime_ns && now.ctime_ns == parent->ctime_ns &&
		   now.inode == parent->inode && now.fsid == parent->fsid && now.mode == parent->mode &&
		   now.uid == parent->uid && now.gid == parent->gid && now.mtime_ns < limit_ns &&
		   now.ctime_ns < limit_ns;
}

/* scan.c - see scan.h: the walk, and what the parent has beside it. */
#include "core/engine/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/entry.h"
#include "core/engine/scan_private.h"

#define RACY_NS (2LL * 1000000000)

/* -- the parent --------------------------------------------------------------------------------- */

static enum mb_code
advance_parent(struct mb_tree_scan *scan, struct mb_error *err)
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
take_group(struct mb_tree_scan *scan, struct mb_error *err)
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

/* -- deciding -------------------------------------------------------------------------------------- */

/* A further name of a file that was seen: it is decided already. */
static enum mb_code
add_name(struct mb_tree_scan *scan, struct mb_scan_item *item, size_t link, struct mb_error *err)
{
	struct mb_entry entry = {0};
	bool is_new = item->parent_count == 0 || item->parents[0].type != MB_ENTRY_HARDLINK;

	if (is_new && scan->ops->renamed)
		scan->ops->renamed(scan->ctx, item);
	return mb_scan_take(scan, item, &entry, link, err);
}

static enum mb_code
decide(struct mb_tree_scan *scan, struct mb_scan_item *item, struct mb_error *err)
{
	bool has_names = (scan->ops->flags & MB_SCAN_LINKS) && item->exists &&
					 S_ISREG(item->st.st_mode) && item->st.st_nlink > 1;
	size_t link = has_names ? mb_scan_link_find(scan, &item->st) : MB_NO_LINK;
	enum mb_scan_choice choice = MB_SCAN_LEAVE;
	struct mb_entry entry = {0};
	enum mb_code code;

	if (link != MB_NO_LINK)
		return add_name(scan, item, link, err);
	code = scan->ops->decide(scan->ctx, item, &choice, &entry, err);
	if (code || choice == MB_SCAN_LEAVE)
		return code;
	if (choice == MB_SCAN_READ)
		return mb_scan_take(scan, item, &entry, MB_NO_LINK, err);
	if (has_names)
		mb_scan_link_new(scan, item, MB_LINK_STORED);
	return mb_capture_add(scan->capture, &item->parents[0], err);
}

/* Paths of the parent before `path` (NULL: all that are left) are gone. */
static enum mb_code
decide_gone(struct mb_tree_scan *scan, const char *path, struct mb_error *err)
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
decide_found(struct mb_tree_scan *scan, struct mb_scan_item *item, struct mb_error *err)
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

/* The first root at or behind this text, in the order of bytes. */
static size_t
first_root(const struct mb_tree_scan *scan, const char *text)
{
	size_t low = 0, high = scan->root_count;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (strcmp(scan->roots[middle], text) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
is_root(const struct mb_tree_scan *scan, const char *path)
{
	size_t at = first_root(scan, path);

	return at < scan->root_count && strcmp(scan->roots[at], path) == 0;
}

/* At or below a root: the path or something above it is one. */
static bool
is_inside(const struct mb_tree_scan *scan, const char *path)
{
	bool inside = is_root(scan, path) || is_root(scan, "");
	char *above = mb_strdup(path);
	char *slash;

	while (!inside && (slash = strrchr(above, '/')) != NULL)
	{
		*slash = '\0';
		inside = is_root(scan, above);
	}
	free(above);
	return inside;
}

/* The first root below the path, and how long what they begin with is. */
static size_t
first_below(const struct mb_tree_scan *scan, const char *path, size_t *len)
{
	char *prefix = mb_asprintf("%s%s", path, path[0] ? "/" : "");
	size_t at = first_root(scan, prefix);

	*len = strlen(prefix);
	if (at < scan->root_count && strncmp(scan->roots[at], prefix, *len) != 0)
		at = scan->root_count;
	free(prefix);
	return at;
}

static enum place
place_of(const struct mb_tree_scan *scan, const char *path)
{
	size_t len;

	if (is_inside(scan, path))
		return PLACE_INSIDE;
	return first_below(scan, path, &len) < scan->root_count ? PLACE_ABOVE_ROOT : PLACE_OUTSIDE;
}

/* Above the roots only what leads to one is looked at, so that nothing need be listed. */
static void
steps_towards_roots(const struct mb_tree_scan *scan, const char *path, struct steps *steps)
{
	size_t len, i = first_below(scan, path, &len);
	const char *first = i < scan->root_count ? scan->roots[i] : NULL;

	for (; i < scan->root_count && strncmp(scan->roots[i], first, len) == 0; i++)
	{
		const char *rest = scan->roots[i] + len;
		char *name = mb_strndup(rest, strcspn(rest, "/"));
		/* Roots with this part in common are neighbours. */
		bool known = steps->count > 0 && strcmp(steps->items[steps->count - 2].key, name) == 0;

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
	int fd = mb_openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
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

/* A directory of which only a part can be read is taken so far, and said to be incomplete. */
static enum mb_code
steps_inside(struct mb_tree_scan *scan, int dir_fd, const char *path, struct steps *steps,
			 struct mb_error *err)
{
	enum mb_code code = steps_of_directory(dir_fd, path, steps, err);

	if (!mb_scan_is_file_trouble(code) || !(scan->ops->flags & MB_SCAN_TOLERANT))
		return code;
	mb_scan_left_out(scan, err->message);
	mb_error_clear(err);
	return MB_OK;
}

static enum mb_code walk(struct mb_tree_scan *scan, int dir_fd, const char *path,
						 struct mb_error *err);

/* Something that is there cannot be looked at. */
static enum mb_code
trouble(struct mb_tree_scan *scan, const char *doing, const char *path, int saved_errno,
		struct mb_error *err)
{
	enum mb_code code = mb_fail_errno(err, saved_errno, "could not %s \"%s\"", doing, path);

	if (!(scan->ops->flags & MB_SCAN_TOLERANT))
		return code;
	mb_scan_left_out(scan, err->message);
	mb_error_clear(err);
	return MB_OK;
}

static enum mb_code
descend(struct mb_tree_scan *scan, int dir_fd, const char *name, const char *path,
		struct mb_error *err)
{
	enum place place = place_of(scan, path);
	struct stat st;
	enum mb_code code;
	int fd;

	if (place == PLACE_OUTSIDE || strlen(path) >= MB_PATH_MAX)
		return MB_OK; /* show() has said what there is to say */
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT || (scan->unseen && strcmp(scan->unseen, path) == 0)
				   ? MB_OK
				   : trouble(scan, "look at", path, errno, err);
	if (!S_ISDIR(st.st_mode))
		return MB_OK;
	if (place == PLACE_INSIDE && scan->ops->wanted(scan->ctx, path, &st) != MB_SCAN_TAKE)
		return MB_OK;
	fd = mb_openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0 && place == PLACE_ABOVE_ROOT)
		fd = mb_openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0 && errno == ENOENT)
		return MB_OK;
	/* In a bucket what is not seen is deleted: there it is no trouble to go on with. */
	if (fd < 0)
		return trouble(scan, "open directory", path, errno, err);
	code = walk(scan, fd, path, err);
	close(fd);
	return code;
}

static enum mb_code
show(struct mb_tree_scan *scan, int dir_fd, const char *name, const char *path,
	 struct mb_error *err)
{
	struct mb_scan_item item = {.path = path, .exists = true};
	char target[MB_PATH_MAX];
	ssize_t len;

	if (place_of(scan, path) != PLACE_INSIDE)
		return MB_OK;
	if (strlen(path) >= MB_PATH_MAX)
		return trouble(scan, "take", path, ENAMETOOLONG, err);
	if (fstatat(dir_fd, name, &item.st, AT_SYMLINK_NOFOLLOW) != 0)
	{
		int saved = errno;

		free(scan->unseen);
		scan->unseen = mb_strdup(path);
		return saved == ENOENT ? MB_OK : trouble(scan, "look at", path, saved, err);
	}
	if (scan->ops->wanted(scan->ctx, path, &item.st) == MB_SCAN_SKIP)
		return MB_OK;
	if (S_ISLNK(item.st.st_mode))
	{
		len = readlinkat(dir_fd, name, target, sizeof(target) - 1);
		/* Gone or no link any more: the next backup sees what it is. */
		if (len < 0)
			return errno == ENOENT || errno == EINVAL
					   ? MB_OK
					   : trouble(scan, "read link", path, errno, err);
		target[len] = '\0';
		item.link_target = target;
	}
	return decide_found(scan, &item, err);
}

static enum mb_code
walk(struct mb_tree_scan *scan, int dir_fd, const char *path, struct mb_error *err)
{
	struct steps steps = {0};
	enum mb_code code = mb_cancel_check(scan->capture->env->cancel, err);
	size_t i;

	if (!code && place_of(scan, path) == PLACE_ABOVE_ROOT)
		steps_towards_roots(scan, path, &steps);
	else if (!code)
		code = steps_inside(scan, dir_fd, path, &steps, err);
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

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* A copy that is sorted, without those that lie below another one. */
static void
take_roots(struct mb_tree_scan *scan, char *const *roots, size_t count)
{
	char **sorted = mb_calloc(count + 1, sizeof(*sorted));
	size_t i, kept = 0;

	for (i = 0; i < count; i++)
		sorted[i] = roots[i];
	if (count > 1)
		qsort(sorted, count, sizeof(*sorted), compare_texts);
	scan->roots = mb_calloc(count + 1, sizeof(*scan->roots));
	for (i = 0; i < count; i++)
	{
		scan->root_count = kept;
		if (!is_inside(scan, sorted[i]))
			scan->roots[kept++] = sorted[i];
	}
	scan->root_count = kept;
	free(sorted);
}

enum mb_code
mb_scan_tree(struct mb_capture *capture, int root_fd, char *const *roots, size_t root_count,
			 const struct mb_scan_ops *ops, void *ctx, struct mb_error *err)
{
	struct mb_tree_scan scan = {.capture = capture, .root_fd = root_fd, .ops = ops, .ctx = ctx};
	enum mb_code code;

	take_roots(&scan, roots, root_count);
	if (capture->parent)
		scan.parent = mb_manifest_reader_new(capture->repo, &capture->parent->blocks);
	code = advance_parent(&scan, err);
	/* Without a root there is nothing to see, and everything of the parent is gone. */
	if (!code && root_count > 0)
		code = walk(&scan, root_fd, "", err);
	if (!code)
		code = decide_gone(&scan, NULL, err);
	if (!code)
		code = mb_scan_read_batch(&scan, err);
	mb_manifest_reader_free(scan.parent);
	mb_arena_release(&scan.group_arena);
	mb_arena_release(&scan.todo_arena);
	mb_scan_links_release(&scan.links);
	free(scan.roots);
	free(scan.unseen);
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

/*
 * tree.c - mb_restore_tree: write a manifest's entries below a directory.
 *
 * Entries are taken in windows of bounded size.  In a window the files are created
 * first, then the runs of all of them are sorted by pack and frame, and workers take
 * whole packs: each pack is fetched once and each frame decoded once, whatever file
 * its bytes belong to.  Links come after all files, so that no file is ever written
 * through one; directories get their modes and times last, deepest first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/engine/entry.h"
#include "core/engine/tree_private.h"

#define WINDOW_MAX_JOBS (256u << 10)
#define WINDOW_MAX_FILES (32u << 10)
/* A page that differs may become a job of its own: 4 GiB are at most half a million. */
#define WINDOW_MAX_CHECK_BYTES (4ull << 30)
#define WINDOW_MAX_ATTRIBUTE_BYTES (16u << 20)

static bool
is_sparse(const struct mb_entry *entry)
{
	struct mb_error err;
	json_t *meta = NULL;
	bool sparse;

	mb_error_clear(&err);
	if (entry->type != MB_ENTRY_FILE || !entry->meta ||
		mb_json_parse(&meta, entry->meta, strlen(entry->meta), "an entry", &err))
		return false;
	sparse = mb_json_bool(meta, "sparse", false);
	json_decref(meta);
	return sparse;
}

/* The entry and the name must live as long as the list. */
void
mb_tree_add_item(struct mb_tree_items *items, const struct mb_entry *entry, const char *name,
				 int dir_fd)
{
	items->items = mb_grow(items->items, &items->cap, items->count + 1, sizeof(*items->items));
	items->items[items->count++] = (struct mb_tree_item){*entry, name, dir_fd, is_sparse(entry)};
}

static void
add_item(struct mb_tree_items *items, struct mb_arena *arena, const struct mb_entry *entry,
		 const char *name, int dir_fd)
{
	struct mb_entry copy;

	mb_entry_copy_head(arena, entry, &copy);
	copy.xattrs = mb_arena_copy(arena, entry->xattrs, entry->xattrs_len);
	copy.xattrs_len = entry->xattrs_len;
	mb_tree_add_item(items, &copy, mb_arena_strdup(arena, name), dir_fd);
}

static enum mb_code
remember_root(struct mb_tree_run *tree, int dir_fd, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < tree->root_count; i++)
		if (tree->root_fds[i] == dir_fd)
			return MB_OK;
	if (tree->root_count == sizeof(tree->root_fds) / sizeof(tree->root_fds[0]))
		return mb_fail(err, MB_UNSUPPORTED, "more than %zu tablespaces", tree->root_count);
	tree->root_fds[tree->root_count++] = dir_fd;
	return MB_OK;
}

/* Make one directory; one that exists already is fine, anything else there is not. */
static enum mb_code
make_directory(int dir_fd, const char *name, struct mb_error *err)
{
	const char *base;
	enum mb_code code;
	int parent_fd;

	code = mb_tree_open_parent(dir_fd, name, &parent_fd, &base, err);
	if (code)
		return code;
	if (mkdirat(parent_fd, base, 0700) != 0 && errno != EEXIST)
		code = mb_fail_errno(err, errno, "could not create directory \"%s\"", name);
	mb_tree_close_parent(dir_fd, parent_fd);
	return code;
}

/* Make the directories above name (an object key may have none of its own). */
static enum mb_code
make_parents(struct mb_tree_run *tree, int dir_fd, const char *name, struct mb_error *err)
{
	const char *slash = strrchr(name, '/');
	enum mb_code code = MB_OK;
	char *parent, *p;

	if (!slash)
		return MB_OK;
	parent = mb_strndup(name, (size_t) (slash - name));
	if (tree->last_parent && tree->last_parent_fd == dir_fd &&
		strcmp(tree->last_parent, parent) == 0)
	{
		free(parent);
		return MB_OK;
	}
	for (p = strchr(parent, '/'); !code && p; p = strchr(p + 1, '/'))
	{
		*p = '\0';
		code = make_directory(dir_fd, parent, err);
		*p = '/';
	}
	if (!code)
		code = make_directory(dir_fd, parent, err);
	free(tree->last_parent);
	tree->last_parent = code ? NULL : parent;
	tree->last_parent_fd = dir_fd;
	if (code)
		free(parent);
	return code;
}

void
mb_tree_add_jobs(struct mb_tree_run *tree, uint32_t file, const struct mb_runs *runs)
{
	uint64_t offset = 0;
	size_t i;

	for (i = 0; i < runs->count; i++)
	{
		tree->jobs = mb_grow(tree->jobs, &tree->job_cap, tree->job_count + 1, sizeof(*tree->jobs));
		tree->jobs[tree->job_count++] = (struct mb_tree_job){runs->items[i], file, offset};
		offset += runs->items[i].length;
	}
}

static bool
is_hollow(const struct mb_tree_run *tree, const struct mb_entry *entry)
{
	return tree->spec->hollow && tree->spec->hollow(tree->spec->ctx, entry);
}

static enum mb_code
create_file(struct mb_tree_run *tree, const struct mb_entry *entry, const char *name, int dir_fd,
			struct mb_error *err)
{
	struct mb_runs runs = {0};
	enum mb_code code;
	int fd;

	code = mb_open_beneath(&fd, dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600, err);
	if (code)
		return code;
	if (entry->size > 0 && ftruncate(fd, (off_t) entry->size) != 0)
		code = mb_fail_errno(err, errno, "could not set the size of \"%s\"", name);
	close(fd);
	if (!code && !is_hollow(tree, entry))
		code = mb_entry_runs(entry, tree->map_reader, &runs, err);
	if (!code)
	{
		mb_tree_add_jobs(tree, (uint32_t) tree->files.count, &runs);
		add_item(&tree->files, &tree->window_arena, entry, name, dir_fd);
		tree->attribute_bytes += entry->xattrs_len;
	}
	mb_runs_release(&runs);
	return code;
}

static enum mb_code
place_file(struct mb_tree_run *tree, const struct mb_entry *entry, const char *name, int dir_fd,
		   struct mb_error *err)
{
	bool found = false;
	enum mb_code code = MB_OK;

	if (tree->spec->flags & MB_TREE_DELTA)
		code = mb_tree_take_over(tree, entry, name, dir_fd, &found, err);
	if (!code && !found)
		code = create_file(tree, entry, name, dir_fd, err);
	return code;
}

/* -- windows ---------------------------------------------------------------------------------- */

static enum mb_code
take_entry(struct mb_tree_run *tree, const struct mb_entry *entry, struct mb_error *err)
{
	int dir_fd = tree->spec->root_fd;
	struct mb_buf name = {0};
	const char *text;
	enum mb_code code;

	mb_buf_put(&name, entry->path, entry->path_len);
	if (tree->spec->select ? !tree->spec->select(tree->spec->ctx, entry, &name, &dir_fd)
						   : (entry->flags & MB_ENTRY_AFTER_CUT) != 0)
	{
		mb_buf_release(&name);
		return MB_OK;
	}
	text = mb_buf_cstr(&name);
	code = mb_name_is_safe(text, name.len)
			   ? MB_OK
			   : mb_fail(err, MB_CORRUPT, "\"%s\" is not a safe name to restore", text);
	if (!code)
		code = remember_root(tree, dir_fd, err);
	if (!code)
		code = make_parents(tree, dir_fd, text, err);
	if (!code)
		switch (entry->type)
		{
			case MB_ENTRY_DIR:
				code = make_directory(dir_fd, text, err);
				if (!code)
					add_item(&tree->dirs, &tree->late_arena, entry, text, dir_fd);
				break;
			case MB_ENTRY_SYMLINK:
			case MB_ENTRY_HARDLINK:
				add_item(&tree->links, &tree->late_arena, entry, text, dir_fd);
				break;
			case MB_ENTRY_MARKER:
				break;
			default:
				code = place_file(tree, entry, text, dir_fd, err);
		}
	tree->restore->entries++;
	tree->restore->bytes += entry->size;
	atomic_fetch_add(&tree->restore->progress->done_entries, 1);
	mb_buf_release(&name);
	return code;
}

/* Entries are sorted, so a directory stands before what is in it: finish in reverse order. */
static enum mb_code
finish_late(struct mb_tree_run *tree, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < tree->links.count; i++)
	{
		code = mb_tree_make_link(tree, &tree->links.items[i], err);
		if (!code && tree->links.items[i].entry.type == MB_ENTRY_SYMLINK)
			code = mb_tree_finish_item(tree, &tree->links.items[i], err);
	}
	for (i = tree->dirs.count; !code && i > 0; i--)
		code = mb_tree_finish_item(tree, &tree->dirs.items[i - 1], err);
	for (i = 0; !code && i < tree->root_count; i++)
		if (syncfs(tree->root_fds[i]) != 0)
			code = mb_fail_errno(err, errno, "could not sync the restored files to disk");
	return code;
}

static void
start_workers(struct mb_tree_run *tree)
{
	unsigned i, j;

	tree->workers = mb_calloc(tree->restore->env->workers, sizeof(*tree->workers));
	for (i = 0; i < tree->restore->env->workers; i++)
	{
		tree->workers[i].reader = mb_pack_reader_new(tree->restore->env->repo);
		for (j = 0; j < MB_TREE_OPEN_FILES; j++)
			tree->workers[i].open[j].fd = -1;
	}
}

static void
release_tree(struct mb_tree_run *tree)
{
	unsigned i;

	for (i = 0; i < tree->restore->env->workers; i++)
	{
		mb_tree_close_files(&tree->workers[i]);
		mb_pack_reader_free(tree->workers[i].reader);
	}
	free(tree->workers);
	mb_pack_reader_free(tree->map_reader);
	free(tree->files.items);
	free(tree->dirs.items);
	free(tree->links.items);
	free(tree->jobs);
	free(tree->checks);
	pthread_mutex_destroy(&tree->lock);
	free(tree->pack_starts);
	free(tree->last_parent);
	mb_arena_release(&tree->window_arena);
	mb_arena_release(&tree->late_arena);
}

enum mb_code
mb_restore_tree(struct mb_restore *restore, const struct mb_tree *spec, struct mb_error *err)
{
	struct mb_tree_run tree = {.restore = restore, .spec = spec, .is_root = geteuid() == 0};
	struct mb_manifest_reader *reader;
	const struct mb_entry *entry;
	enum mb_code code;

	pthread_mutex_init(&tree.lock, NULL);
	start_workers(&tree);
	tree.map_reader = mb_pack_reader_new(restore->env->repo);
	if (spec->flags & MB_TREE_DELTA)
	{
		code = mb_tree_clean(&tree, err);
		if (code)
		{
			release_tree(&tree);
			return code;
		}
	}
	reader = mb_manifest_reader_new(restore->env->repo, &restore->commit.blocks);
	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		code = mb_cancel_check(restore->env->cancel, err);
		if (!code)
			code = take_entry(&tree, entry, err);
		if (!code && (tree.job_count >= WINDOW_MAX_JOBS || tree.files.count >= WINDOW_MAX_FILES ||
					  tree.check_bytes >= WINDOW_MAX_CHECK_BYTES ||
					  tree.attribute_bytes >= WINDOW_MAX_ATTRIBUTE_BYTES))
			code = mb_tree_flush_window(&tree, err);
		if (code)
			break;
	}
	if (!code)
		code = mb_tree_flush_window(&tree, err);
	if (!code)
		code = finish_late(&tree, err);
	mb_tree_tell_not_set(&tree);
	restore->written_bytes += atomic_load(&tree.written_bytes);
	mb_manifest_reader_free(reader);
	release_tree(&tree);
	return code;
}

/* files_restore.c - where files go, and which of them (see component_files.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/names.h"
#include "core/base/time.h"
#include "files/files_private.h"

#define MAX_MASKED_NAMED 20
/* Names of one file that "--only" takes without the first of them. */
#define MAX_PROMOTED 100000

/* Nobody looked at the files between their last backup and the target. */
static void
warn_if_old(struct mb_restore *restore)
{
	int64_t cut_us = mb_commit_cut_time(&restore->candidates[restore->chosen]);
	char text[MB_TIME_TEXT];

	mb_time_format(text, cut_us);
	if (restore->stack_time_us - cut_us > 60 * 1000000LL)
		mb_restore_warn(restore,
						"these are the files of %s, the last time that they had changed "
						"when somebody looked",
						text);
}

/* Over what is there: in a directory of its own only, since the rest of that is removed. */
static bool
is_delta(const struct mb_restore *restore)
{
	return restore->destination && (restore->wishes->flags & MB_RESTORE_DELTA);
}

static enum mb_code
plan_delta(const struct mb_restore *restore, struct mb_error *err)
{
	if (restore->only_count == 0)
		return MB_OK;
	mb_fail(err, MB_CONFIG, "--delta and --only together would remove all that does not match");
	return mb_error_hint(err, "Restore what matches into an empty directory.");
}

enum mb_code
files_plan(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	if (restore->chosen == SIZE_MAX)
		restore->chosen = restore->target.kind == MB_TARGET_LATEST || !restore->stack_time_us
							  ? restore->candidate_count - 1
							  : mb_restore_newest_before(restore, restore->stack_time_us);
	if (restore->chosen == SIZE_MAX)
	{
		mb_fail(err, MB_NOT_FOUND, "the first backup of \"%s\" is younger than the target",
				component->name);
		return mb_error_hint(err, "Choose a later target; \"mbackup list\" shows the window.");
	}
	if (restore->target.kind == MB_TARGET_TIME)
		warn_if_old(restore);
	if (is_delta(restore))
		return plan_delta(restore, err);
	if (!restore->destination)
		return MB_OK;
	if (mb_restore_directory(restore->destination, MB_DIRECTORY_CHECK, 0755, err))
		return mb_restore_in_the_way(restore, err);
	return MB_OK;
}

/* -- which ------------------------------------------------------------------------------------- */

/* A file of which "--only" takes other names than the first: one of those stands for it. */
struct promotion
{
	char *first; /* that carries the contents in the backup */
	char *name;  /* that carries them in the restore */
};

struct files_restore
{
	struct mb_restore *restore;
	bool is_quiet; /* only asks: nothing is warned of */
	size_t masked;
	size_t stayed;
	struct promotion *promotions; /* sorted by first */
	size_t promotion_count;
	size_t promotion_cap;
};

bool
files_is_wanted(const struct mb_restore *restore, const char *path)
{
	bool wanted = restore->only_count == 0;
	size_t i;

	for (i = 0; i < restore->only_count && !wanted; i++)
	{
		const char *pattern = restore->only[i];

		wanted = fnmatch(pattern[0] == '/' ? pattern + 1 : pattern, path, 0) == 0;
	}
	return wanted;
}

static int
compare_promotions(const void *a, const void *b)
{
	const struct promotion *x = a, *y = b;
	int order = strcmp(x->first, y->first);

	return order ? order : strcmp(x->name, y->name);
}

static const struct promotion *
promoted(const struct files_restore *files, const char *first)
{
	size_t low = 0, high = files->promotion_count;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (strcmp(files->promotions[middle].first, first) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < files->promotion_count && strcmp(files->promotions[low].first, first) == 0
			   ? &files->promotions[low]
			   : NULL;
}

/* Look for names that would lead to nothing. */
static enum mb_code
find_promotions(struct files_restore *files, struct mb_error *err)
{
	struct mb_restore *restore = files->restore;
	struct mb_manifest_reader *reader =
		mb_manifest_reader_new(restore->env->repo, &restore->commit.blocks);
	const struct mb_entry *entry;
	enum mb_code code;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		char *path;

		if (entry->type != MB_ENTRY_HARDLINK || !entry->link_target ||
			files_is_wanted(restore, entry->link_target))
			continue;
		path = mb_strndup(entry->path, entry->path_len);
		if (files_is_wanted(restore, path) && files->promotion_count < MAX_PROMOTED)
		{
			files->promotions = mb_grow(files->promotions, &files->promotion_cap,
										files->promotion_count + 1, sizeof(*files->promotions));
			files->promotions[files->promotion_count++] =
				(struct promotion){mb_strdup(entry->link_target), path};
		}
		else
			free(path);
	}
	mb_manifest_reader_free(reader);
	if (files->promotion_count > 1)
		qsort(files->promotions, files->promotion_count, sizeof(*files->promotions),
			  compare_promotions);
	return code;
}

static void
release_promotions(struct files_restore *files)
{
	size_t i;

	for (i = 0; i < files->promotion_count; i++)
	{
		free(files->promotions[i].first);
		free(files->promotions[i].name);
	}
	free(files->promotions);
}

static const char *
files_link_to(void *ctx, const struct mb_entry *entry)
{
	const struct promotion *promotion = promoted(ctx, entry->link_target);

	return promotion ? promotion->name : entry->link_target;
}

/* Take it, or under the name that stands for it; false when it is not wanted, or stands already. */
static bool
choose(struct files_restore *files, const struct mb_entry *entry, struct mb_buf *name)
{
	const struct promotion *promotion = NULL;

	if (entry->type == MB_ENTRY_HARDLINK && entry->link_target)
	{
		promotion = promoted(files, entry->link_target);
		return files_is_wanted(files->restore, mb_buf_cstr(name)) &&
			   !(promotion && strcmp(promotion->name, mb_buf_cstr(name)) == 0);
	}
	if (entry->type == MB_ENTRY_FILE)
		promotion = promoted(files, mb_buf_cstr(name));
	if (!promotion)
		return files_is_wanted(files->restore, mb_buf_cstr(name));
	mb_buf_reset(name);
	mb_buf_put_str(name, promotion->name);
	return true;
}

/* In its own place a file with its secrets is worth more than one without. */
static bool
stays(struct files_restore *files, const struct mb_entry *entry, struct mb_buf *name)
{
	char *path;
	bool is_there;

	if (!files->restore->own_place || !(entry->flags & MB_ENTRY_MASKED))
		return false;
	path = mb_asprintf("/%s", mb_buf_cstr(name));
	is_there = faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (is_there && !files->is_quiet && files->stayed++ < MAX_MASKED_NAMED)
		mb_restore_warn(files->restore,
						"\"%s\" stays as it is now: the backup has it with masked secrets", path);
	free(path);
	return is_there;
}

static bool
files_select(void *ctx, const struct mb_entry *entry, struct mb_buf *name, int *dir_fd)
{
	(void) dir_fd;
	return choose(ctx, entry, name) && !stays(ctx, entry, name);
}

static enum mb_code
files_done(void *ctx, const struct mb_entry *entry, const char *name, struct mb_error *err)
{
	struct files_restore *files = ctx;

	(void) err;
	if ((entry->flags & MB_ENTRY_MASKED) && files->masked++ < MAX_MASKED_NAMED)
		mb_restore_warn(files->restore, "\"/%s\": its secrets were masked, fill them in", name);
	return MB_OK;
}

/* -- where ------------------------------------------------------------------------------------- */

/* Into the files' own place nothing may be overwritten: look before the first write. */
static enum mb_code
refuse_existing(struct mb_restore *restore, int root_fd, struct mb_error *err)
{
	struct mb_manifest_reader *reader =
		mb_manifest_reader_new(restore->env->repo, &restore->commit.blocks);
	const struct mb_entry *entry;
	enum mb_code code;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		char *path = mb_strndup(entry->path, entry->path_len);

		if (entry->type != MB_ENTRY_DIR &&
			!(restore->own_place && (entry->flags & MB_ENTRY_MASKED)) &&
			files_is_wanted(restore, path) &&
			faccessat(root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		{
			code = mb_fail(err, MB_CONFLICT, "\"/%s\" exists already", path);
			mb_error_hint(err,
						  "A restore into the files' own place never overwrites: move them "
						  "away, or restore with --component %s=DIRECTORY.",
						  restore->component);
		}
		free(path);
		if (code)
			break;
	}
	mb_manifest_reader_free(reader);
	return code;
}

/* -- a delta ------------------------------------------------------------------------------------ */

static bool
has_name(const struct mb_names *names, const char *name, size_t len)
{
	size_t i;

	for (i = names->count; i > 0; i--)
		if (strlen(names->items[i - 1]) == len && memcmp(names->items[i - 1], name, len) == 0)
			return true;
	return false;
}

/* The first parts of all paths: a few. */
static enum mb_code
top_names(struct mb_restore *restore, struct mb_names *names, struct mb_error *err)
{
	struct mb_manifest_reader *reader =
		mb_manifest_reader_new(restore->env->repo, &restore->commit.blocks);
	const struct mb_entry *entry;
	enum mb_code code;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		const char *slash = memchr(entry->path, '/', entry->path_len);
		size_t len = slash ? (size_t) (slash - entry->path) : entry->path_len;

		if (has_name(names, entry->path, len))
			continue;
		mb_names_add(names, entry->path, len);
	}
	mb_manifest_reader_free(reader);
	return code;
}

/* A directory that holds something of somebody else's is not ours to clean. */
static enum mb_code
refuse_strangers(struct mb_restore *restore, int root_fd, struct mb_error *err)
{
	int fd = mb_openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct mb_names names = {0};
	struct dirent *found;
	enum mb_code code;

	if (!dir)
		return mb_fail_errno(err, errno, "could not read \"%s\"", restore->destination);
	code = top_names(restore, &names, err);
	for (errno = 0; !code && (found = readdir(dir)) != NULL; errno = 0)
	{
		const char *name = found->d_name;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0 ||
			mb_starts_with(name, MB_KEPT_PREFIX) || has_name(&names, name, strlen(name)))
			continue;
		code = mb_fail(err, MB_CONFLICT, "\"%s\" holds \"%s\", which the backup has not",
					   restore->destination, name);
		mb_error_hint(err, "A delta removes everything else from the directory. If that is what "
						   "you want, add --force.");
	}
	if (!code && errno)
		code = mb_fail_errno(err, errno, "could not read \"%s\"", restore->destination);
	closedir(dir);
	mb_names_release(&names);
	return code;
}

/* -- for others ------------------------------------------------------------------------------------- */

enum mb_code
files_names(struct mb_restore *restore, struct mb_names *names, struct mb_error *err)
{
	struct files_restore files = {.restore = restore, .is_quiet = true};
	enum mb_code code = restore->only_count > 0 ? find_promotions(&files, err) : MB_OK;

	if (!code)
		code = mb_restore_names(restore, files_select, &files, names, err);
	release_promotions(&files);
	return code;
}

/* -- all of it ------------------------------------------------------------------------------------ */

static enum mb_code
open_root(struct mb_restore *restore, const char *root, int *fd, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (is_delta(restore))
		code = mb_mkdirs(root, 0755, err);
	else if (restore->destination)
	{
		mb_restore_made(restore, restore->destination);
		code = mb_restore_directory(root, MB_DIRECTORY_CREATE, 0755, err);
	}
	if (code)
		return code;
	*fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? mb_fail_errno(err, errno, "could not open \"%s\"", root) : MB_OK;
}

/* What must be known before the first write. */
static enum mb_code
look_before(struct files_restore *files, int root_fd, struct mb_error *err)
{
	struct mb_restore *restore = files->restore;
	enum mb_code code = MB_OK;

	if (!restore->destination)
		code = refuse_existing(restore, root_fd, err);
	else if (is_delta(restore) && !(restore->wishes->flags & MB_RESTORE_FORCE))
		code = refuse_strangers(restore, root_fd, err);
	if (!code && restore->only_count > 0)
		code = find_promotions(files, err);
	return code;
}

static void
tell(const struct files_restore *files, const char *root)
{
	if (files->masked > MAX_MASKED_NAMED)
		mb_restore_warn(files->restore, "... and %zu further files whose secrets were masked",
						files->masked - MAX_MASKED_NAMED);
	if (files->masked > 0)
		mb_json_set_int(files->restore->result, "masked_files", (int64_t) files->masked);
	mb_json_set_str(files->restore->result, "destination", root);
}

enum mb_code
files_restore(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct files_restore files = {.restore = restore};
	struct mb_tree tree = {.flags = MB_TREE_OWNER | MB_TREE_TIMES | MB_TREE_ATTRIBUTES,
						   .select = files_select,
						   .done = files_done,
						   .link_to = files_link_to,
						   .ctx = &files};
	const char *root = restore->destination ? restore->destination : "/";
	struct mb_tree_root place;
	enum mb_code code;

	(void) component;
	code = open_root(restore, root, &tree.root_fd, err);
	if (code)
		return code;
	place = (struct mb_tree_root){tree.root_fd, NULL};
	if (is_delta(restore))
	{
		tree.flags |= MB_TREE_DELTA;
		tree.roots = &place;
		tree.root_count = 1;
	}
	code = look_before(&files, tree.root_fd, err);
	if (!code)
		code = mb_restore_tree(restore, &tree, err);
	close(tree.root_fd);
	if (!code)
		tell(&files, root);
	release_promotions(&files);
	return code;
}

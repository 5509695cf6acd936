/* component_files.c - see component_files.h. */
#include "files/component_files.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/scan.h"
#include "files/mask.h"

struct files_component
{
	struct mb_component base; /* first */
	char **exclude;
	size_t exclude_count;
	bool mask;
};

/* What one settle() carries through the scan. */
struct files_scan
{
	struct files_component *files;
	struct mb_capture *capture;
	bool trust_parent; /* the parent was taken with the same rule for secrets */
	atomic_uint_fast64_t changes;
};

static enum mb_code
files_open(struct mb_component **component, const struct mb_settings *settings,
		   const struct mb_env *env, struct mb_error *err)
{
	struct files_component *files;
	char *first = mb_settings_list(settings, "paths", 0);
	char *text;

	if (!first)
	{
		mb_fail(err, MB_CONFIG, "there are no paths");
		return mb_error_hint(err, "Write paths = /etc/shop, /opt/shop/*.env");
	}
	free(first);
	files = mb_calloc(1, sizeof(*files));
	files->base = (struct mb_component){&mb_files_component_ops, settings, env, settings->name};
	files->mask = strcmp(mb_settings_get(settings, "secrets"), "mask") == 0;
	while ((text = mb_settings_list(settings, "exclude", files->exclude_count)) != NULL)
	{
		files->exclude =
			mb_realloc(files->exclude, (files->exclude_count + 1) * sizeof(*files->exclude));
		files->exclude[files->exclude_count++] = text;
	}
	*component = &files->base;
	return MB_OK;
}

static void
files_close(struct mb_component *component)
{
	struct files_component *files = (struct files_component *) component;
	size_t i;

	if (!files)
		return;
	for (i = 0; i < files->exclude_count; i++)
		free(files->exclude[i]);
	free(files->exclude);
	free(files);
}

/* -- paths --------------------------------------------------------------------------------------- */

struct roots
{
	char **items;
	size_t count;
	size_t cap;
};

static void
release_roots(struct roots *roots)
{
	size_t i;

	for (i = 0; i < roots->count; i++)
		free(roots->items[i]);
	free(roots->items);
}

/*
 * A path as the scan wants it: no leading slash, and no symbolic link above its last
 * part (the scan follows none).  NULL when it does not exist.
 */
static char *
root_of_path(const char *path)
{
	char resolved[PATH_MAX];
	char *copy = mb_strdup(path);
	char *root = NULL;
	char *slash;
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (slash && slash[1] && faccessat(AT_FDCWD, copy, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
	{
		*slash = '\0';
		if (realpath(copy[0] ? copy : "/", resolved))
			root = mb_asprintf("%s%s%s", resolved + 1, resolved[1] ? "/" : "", slash + 1);
	}
	free(copy);
	return root;
}

/* Expand one configured path; says when nothing is there. */
static enum mb_code
expand_path(const char *path, struct roots *roots, size_t *found, struct mb_error *err)
{
	glob_t matches;
	size_t i;
	int got;

	*found = 0;
	if (path[0] != '/')
	{
		mb_fail(err, MB_CONFIG, "path \"%s\" is not absolute", path);
		return mb_error_hint(err, "Paths of [files] begin with a slash.");
	}
	got = glob(path, GLOB_NOSORT, NULL, &matches);
	if (got == GLOB_NOMATCH)
		return MB_OK;
	if (got != 0)
		return mb_fail(err, MB_IO, "could not expand \"%s\"", path);
	for (i = 0; i < matches.gl_pathc; i++)
	{
		char *root = root_of_path(matches.gl_pathv[i]);

		if (!root)
			continue;
		roots->items = mb_grow(roots->items, &roots->cap, roots->count + 1, sizeof(*roots->items));
		roots->items[roots->count++] = root;
		(*found)++;
	}
	globfree(&matches);
	return MB_OK;
}

static bool
is_excluded(const struct files_component *files, const char *path)
{
	char *absolute = mb_asprintf("/%s", path);
	const char *slash = strrchr(absolute, '/');
	bool excluded = false;
	size_t i;

	for (i = 0; i < files->exclude_count && !excluded; i++)
	{
		const char *pattern = files->exclude[i];

		/* A pattern without a slash means the name alone, as in .gitignore. */
		excluded = fnmatch(pattern, strchr(pattern, '/') ? absolute : slash + 1, 0) == 0;
	}
	free(absolute);
	return excluded;
}

/* -- backup ---------------------------------------------------------------------------------------- */

static bool
files_wanted(void *ctx, const char *path, const struct stat *st)
{
	struct files_scan *scan = ctx;
	const struct mb_env *env = scan->files->base.env;
	const char *spool = env->spool;

	(void) st;
	/* Our own temporary files are nobody's configuration. */
	if (spool && strncmp(path, spool + 1, strlen(spool + 1)) == 0 &&
		(path[strlen(spool + 1)] == '\0' || path[strlen(spool + 1)] == '/'))
		return false;
	return !is_excluded(scan->files, path);
}

static enum mb_code
files_decide(void *ctx, const struct mb_scan_item *item, bool *read, struct mb_entry *entry,
			 struct mb_error *err)
{
	struct files_scan *scan = ctx;
	mode_t kind = item->st.st_mode & S_IFMT;

	(void) entry;
	if (!item->exists)
	{
		atomic_fetch_add(&scan->changes, 1);
		return MB_OK;
	}
	if (kind != S_IFREG && kind != S_IFDIR && kind != S_IFLNK)
	{
		mb_capture_warn(scan->capture, "\"/%s\" is a device, socket or FIFO: left out", item->path);
		return MB_OK;
	}
	if (kind == S_IFREG && item->parent_count > 0 && scan->trust_parent &&
		mb_scan_unchanged(item, &item->parents[0], scan->capture->parent))
		return mb_capture_add(scan->capture, &item->parents[0], err);
	if (kind == S_IFREG || item->parent_count == 0)
		atomic_fetch_add(&scan->changes, 1);
	*read = true;
	return MB_OK;
}

static unsigned
files_transform(void *ctx, const char *path, struct mb_buf *contents)
{
	(void) ctx;
	return mb_mask_applies(path) && mb_mask_contents(contents) ? MB_ENTRY_MASKED : 0;
}

static const struct mb_scan_ops masking_scan = {files_decide, files_wanted, files_transform};
static const struct mb_scan_ops plain_scan = {files_decide, files_wanted, NULL};

static enum mb_code
collect_roots(struct files_component *files, struct mb_capture *capture, struct roots *roots,
			  struct mb_error *err)
{
	enum mb_code code = MB_OK;
	char *path;
	size_t i;

	for (i = 0; !code && (path = mb_settings_list(files->base.settings, "paths", i)); i++)
	{
		size_t found;

		code = expand_path(path, roots, &found, err);
		if (!code && found == 0)
			mb_capture_warn(capture, "there is nothing at \"%s\"", path);
		free(path);
	}
	return code;
}

static enum mb_code
files_settle(struct mb_component *component, struct mb_capture *capture, const struct mb_cut *cut,
			 struct mb_error *err)
{
	struct files_component *files = (struct files_component *) component;
	struct files_scan scan = {.files = files, .capture = capture};
	const char *secrets = files->mask ? "mask" : "include";
	struct roots roots = {0};
	enum mb_code code;
	int root_fd;

	(void) cut;
	if (!files->mask && capture->repo->suite == MB_SUITE_NONE)
	{
		mb_fail(err, MB_CONFIG, "secrets = include needs an encrypted repository");
		return mb_error_hint(err, "Write secrets = mask in [%s].", component->name);
	}
	mb_json_set_str(capture->meta, "secrets", secrets);
	scan.trust_parent =
		capture->parent && strcmp(mb_json_str(capture->parent->meta, "secrets", ""), secrets) == 0;
	mb_progress_phase(capture->progress, "copying");
	code = collect_roots(files, capture, &roots, err);
	if (code)
		goto done;
	root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
	{
		code = mb_fail_errno(err, errno, "could not open \"/\"");
		goto done;
	}
	code = mb_scan_tree(capture, root_fd, roots.items, roots.count,
						files->mask ? &masking_scan : &plain_scan, &scan, err);
	close(root_fd);
	if (!code)
		mb_json_set_bool(capture->meta, "unchanged",
						 capture->parent && atomic_load(&scan.changes) == 0);
done:
	release_roots(&roots);
	return code;
}

/* -- restore ------------------------------------------------------------------------------------------ */

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

static enum mb_code
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
	if (!restore->destination)
		return MB_OK;
	if (mb_restore_directory(restore->destination, MB_DIRECTORY_CHECK, 0755, err))
		return mb_restore_in_the_way(restore, err);
	return MB_OK;
}

struct files_restore
{
	struct mb_restore *restore;
	size_t masked;
};

static bool
files_select(void *ctx, const struct mb_entry *entry, struct mb_buf *name, int *dir_fd)
{
	struct files_restore *files = ctx;
	bool wanted = files->restore->only_count == 0;
	size_t i;

	(void) dir_fd;
	for (i = 0; i < files->restore->only_count && !wanted; i++)
	{
		const char *pattern = files->restore->only[i];

		wanted = fnmatch(pattern[0] == '/' ? pattern + 1 : pattern, mb_buf_cstr(name), 0) == 0;
	}
	if (wanted && (entry->flags & MB_ENTRY_MASKED))
	{
		files->masked++;
		if (files->masked <= 20)
			mb_restore_warn(files->restore, "\"/%s\": its secrets were masked, fill them in",
							mb_buf_cstr(name));
	}
	return wanted;
}

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

		if (entry->type != MB_ENTRY_DIR && faccessat(root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
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

static enum mb_code
files_restore(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct files_restore files = {.restore = restore};
	struct mb_tree tree = {.flags = MB_TREE_OWNER | MB_TREE_TIMES,
						   .select = files_select,
						   .ctx = &files};
	const char *root = restore->destination ? restore->destination : "/";
	enum mb_code code = MB_OK;

	(void) component;
	if (restore->destination)
	{
		mb_restore_made(restore, restore->destination);
		code = mb_restore_directory(restore->destination, MB_DIRECTORY_CREATE, 0755, err);
	}
	if (code)
		return code;
	tree.root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree.root_fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", root);
	if (!restore->destination)
		code = refuse_existing(restore, tree.root_fd, err);
	if (!code)
		code = mb_restore_tree(restore, &tree, err);
	close(tree.root_fd);
	if (!code)
		mb_json_set_str(restore->result, "destination", root);
	return code;
}

/* -- check --------------------------------------------------------------------------------------------- */

static enum mb_code
files_check(struct mb_component *component, struct mb_checks *checks, struct mb_error *err)
{
	struct files_component *files = (struct files_component *) component;
	enum mb_code code = MB_OK;
	char *path;
	size_t i;

	for (i = 0; !code && (path = mb_settings_list(component->settings, "paths", i)); i++)
	{
		struct roots roots = {0};
		char *root;
		size_t found;

		code = expand_path(path, &roots, &found, err);
		root = !code && found ? mb_asprintf("/%s", roots.items[0]) : NULL;
		if (!code && found == 0)
			mb_check_add(checks, MB_CHECK_WARNING, component->name, "path",
						 "Create it, or take it out of paths.", "there is nothing at %s", path);
		else if (!code && access(root, R_OK) != 0)
			mb_check_add(checks, MB_CHECK_FAILED, component->name, "path",
						 "Run mbackup as a user who may read it.", "%s cannot be read: %s", path,
						 strerror(errno));
		else if (!code)
			mb_check_add(checks, MB_CHECK_OK, component->name, "path", "", "%s can be read", path);
		free(root);
		release_roots(&roots);
		free(path);
	}
	if (!files->mask && component->env->repo->suite == MB_SUITE_NONE)
		mb_check_add(checks, MB_CHECK_FAILED, component->name, "secrets", "Write secrets = mask.",
					 "secrets = include needs an encrypted repository");
	return code;
}

static char *
files_describe(struct mb_component *component)
{
	return mb_asprintf("files %s", mb_settings_get(component->settings, "paths"));
}

const struct mb_component_ops mb_files_component_ops = {
	.kind = "files",
	.capabilities = MB_CAP_SCAN | MB_CAP_INCREMENTAL,
	.open = files_open,
	.close = files_close,
	.check = files_check,
	.snapshot = mb_nothing_snapshot,
	.hold = mb_no_hold,
	.release = mb_no_release,
	.position = mb_nothing_position,
	.settle = files_settle,
	.await = mb_no_await,
	.stream = mb_no_stream,
	.verify = mb_nothing_verify,
	.window = mb_scan_window,
	.plan = files_plan,
	.restore = files_restore,
	.revive = mb_tree_revive,
	.lay_down = mb_nothing_lay_down,
	.health = mb_nothing_health,
	.describe = files_describe,
};

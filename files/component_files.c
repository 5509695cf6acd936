/* component_files.c - see component_files.h: opening and backup. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/scan.h"
#include "files/files_private.h"
#include "files/paths.h"

/* Changes whenever the same rules hide something else, so that everything is read again. */
#define MASK_VERSION 2

/* What one settle() carries through the scan. */
struct files_scan
{
	struct files_look look;
	struct files_component *files;
	struct mb_capture *capture;
	struct mb_roots roots;
	bool trust_parent; /* the parent was taken by the same rules */
	atomic_uint_fast64_t changes;
	pthread_mutex_t lock; /* hits, masked_files */
	struct mb_mask_hits hits;
	uint64_t masked_files;
};

/* -- opening -------------------------------------------------------------------------------------- */

static enum mb_code
read_patterns(const struct mb_settings *settings, const char *key, struct mb_patterns *patterns,
			  struct mb_error *err)
{
	enum mb_code code = MB_OK;
	char *text;
	size_t i;

	for (i = 0; !code && (text = mb_settings_list(settings, key, i)) != NULL; i++)
	{
		code = mb_patterns_add(patterns, text, err);
		free(text);
	}
	return code ? mb_error_context(err, "%s", key) : MB_OK;
}

static enum mb_code
read_rules(const struct mb_settings *settings, struct mb_mask *mask, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	char *text;
	size_t i;

	mb_mask_init(mask);
	for (i = 0; !code && (text = mb_settings_list(settings, "mask", i)) != NULL; i++)
	{
		code = mb_mask_add(mask, text, err);
		free(text);
	}
	return code ? mb_error_context(err, "mask") : MB_OK;
}

static void
files_close(struct mb_component *component)
{
	struct files_component *files = (struct files_component *) component;

	if (!files)
		return;
	mb_patterns_release(&files->exclude);
	mb_patterns_release(&files->mask_files);
	mb_mask_release(&files->mask);
	free(files);
}

static bool
is_yes(const struct mb_settings *settings, const char *key)
{
	const char *value = mb_settings_get(settings, key);

	return value && strcmp(value, "yes") == 0;
}

static enum mb_code
files_open(struct mb_component **component, const struct mb_settings *settings,
		   const struct mb_env *env, struct mb_error *err)
{
	const char *secrets = mb_settings_get(settings, "secrets");
	char *first = mb_settings_list(settings, "paths", 0);
	struct files_component *files;
	enum mb_code code;

	if (!first)
	{
		mb_fail(err, MB_CONFIG, "there are no paths");
		return mb_error_hint(err, "Write paths = /etc/shop, /opt/shop/*.env");
	}
	free(first);
	files = mb_calloc(1, sizeof(*files));
	files->base = (struct mb_component){&mb_files_component_ops, settings, env, settings->name};
	files->is_masking = !secrets || strcmp(secrets, "mask") == 0;
	files->skips_caches = is_yes(settings, "exclude-caches");
	files->stays_on_filesystem = is_yes(settings, "one-file-system");
	code = read_patterns(settings, "exclude", &files->exclude, err);
	if (!code)
		code = read_patterns(settings, "mask-files", &files->mask_files, err);
	if (!code)
		code = read_rules(settings, &files->mask, err);
	if (code)
		files_close(&files->base);
	else
		*component = &files->base;
	return code;
}

/* -- deciding ---------------------------------------------------------------------------------------- */

/* A directory or a link as the parent has it: what changes anything of it changes its ctime. */
static bool
is_same(const struct mb_scan_item *item)
{
	struct mb_entry now = {0};

	if (item->parent_count == 0)
		return false;
	mb_scan_fill_entry(&now, item->path, &item->st);
	return now.type == item->parents[0].type && now.ctime_ns == item->parents[0].ctime_ns &&
		   now.inode == item->parents[0].inode;
}

/* What is too large is not looked into. */
static void
warn_if_unmasked(const struct files_scan *scan, const struct mb_scan_item *item)
{
	if (scan->files->is_masking && item->st.st_size >= (off_t) MB_SCAN_TRANSFORM_MAX_BYTES &&
		(mb_mask_format_of(item->path) != MB_MASK_NONE ||
		 mb_patterns_match(&scan->files->mask_files, item->path, MB_PATH_OTHER)))
		mb_capture_warn(scan->capture, "\"/%s\" has 1 MiB or more: no secret in it is masked",
						item->path);
}

static enum mb_code
files_decide(void *ctx, const struct mb_scan_item *item, enum mb_scan_choice *choice,
			 struct mb_entry *entry, struct mb_error *err)
{
	struct files_scan *scan = ctx;
	mode_t kind = item->st.st_mode & S_IFMT;

	(void) entry;
	(void) err;
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
	*choice = MB_SCAN_READ;
	if (kind != S_IFREG)
	{
		atomic_fetch_add(&scan->changes, !is_same(item));
		return MB_OK;
	}
	if (item->parent_count > 0 && scan->trust_parent &&
		mb_scan_unchanged(item, &item->parents[0], scan->capture->parent))
		*choice = MB_SCAN_KEEP;
	else
	{
		atomic_fetch_add(&scan->changes, 1);
		warn_if_unmasked(scan, item);
	}
	return MB_OK;
}

static enum mb_scan_wish
files_wanted(void *ctx, const char *path, const struct stat *st)
{
	return files_wish(&((struct files_scan *) ctx)->look, path, st);
}

static void
files_renamed(void *ctx, const struct mb_scan_item *item)
{
	struct files_scan *scan = ctx;

	(void) item;
	atomic_fetch_add(&scan->changes, 1);
}

static unsigned
files_transform(void *ctx, const char *path, struct mb_buf *contents)
{
	struct files_scan *scan = ctx;
	enum mb_mask_format format = mb_mask_format_of(path);
	struct mb_mask_hits hits = {0};
	size_t i;

	if (format == MB_MASK_NONE && mb_patterns_match(&scan->files->mask_files, path, MB_PATH_OTHER))
		format = MB_MASK_TEXT;
	if (!mb_mask_contents(&scan->files->mask, format, contents, &hits))
		return 0;
	pthread_mutex_lock(&scan->lock);
	for (i = 0; i < MB_MASK_MAX_RULES; i++)
		scan->hits.counts[i] += hits.counts[i];
	scan->masked_files++;
	pthread_mutex_unlock(&scan->lock);
	return MB_ENTRY_MASKED;
}

#define SCAN_FLAGS (MB_SCAN_LINKS | MB_SCAN_ATTRIBUTES | MB_SCAN_SPARSE | MB_SCAN_TOLERANT)

static const struct mb_scan_ops masking_scan = {.decide = files_decide,
												.wanted = files_wanted,
												.transform = files_transform,
												.flags = SCAN_FLAGS,
												.renamed = files_renamed};
static const struct mb_scan_ops plain_scan = {.decide = files_decide,
											  .wanted = files_wanted,
											  .flags = SCAN_FLAGS,
											  .renamed = files_renamed};

/* -- backup ------------------------------------------------------------------------------------------ */

static enum mb_code
collect_roots(struct files_scan *scan, struct mb_error *err)
{
	struct files_component *files = scan->files;
	enum mb_code code = MB_OK;
	char *path;
	size_t i;

	for (i = 0; !code && (path = mb_settings_list(files->base.settings, "paths", i)); i++)
	{
		size_t found;

		code = mb_roots_add(&scan->roots, path, &files->exclude, &found, err);
		if (!code && found == 0 && !scan->roots.unreadable)
			mb_capture_warn(scan->capture, "there is nothing at \"%s\"", path);
		free(path);
	}
	for (i = 0; !code && i < scan->roots.count; i++)
	{
		if (!files_look_root(&scan->look, scan->roots.items[i]) && !scan->roots.unreadable)
			scan->roots.unreadable = mb_asprintf("/%s", scan->roots.items[i]);
		if (files_is_repository(&scan->look, scan->roots.items[i]))
			mb_capture_warn(scan->capture, "\"/%s\" is a repository of mbackup: left out",
							scan->roots.items[i]);
	}
	if (scan->roots.unreadable)
	{
		atomic_store(&scan->capture->incomplete, true);
		mb_capture_warn(scan->capture, "could not look for files at or below \"%s\"",
						scan->roots.unreadable);
	}
	return code;
}

/* The rules that decide what of a file is stored, as a text to be compared. */
static void
describe_rules(const struct files_component *files, json_t *meta)
{
	unsigned char hash[MB_XXH128_BYTES];
	const char *names = mb_settings_get(files->base.settings, "mask-files");
	struct mb_buf rules = {0}, hex = {0};
	size_t i;

	mb_buf_printf(&rules, "%d\n%s\n", MASK_VERSION, names ? names : "");
	for (i = 0; i < files->mask.count; i++)
		mb_buf_printf(&rules, "%s\n", files->mask.rules[i]);
	mb_xxh128_2(hash, rules.data, rules.len, "", 0);
	for (i = 0; i < sizeof(hash); i++)
		mb_buf_printf(&hex, "%02x", hash[i]);
	mb_json_set_str(meta, "mask_rules", mb_buf_cstr(&hex));
	mb_buf_release(&rules);
	mb_buf_release(&hex);
}

/* What the parent read is what we would read. */
static bool
is_by_same_rules(const json_t *meta, const json_t *parent)
{
	return strcmp(mb_json_str(parent, "secrets", ""), mb_json_str(meta, "secrets", "")) == 0 &&
		   strcmp(mb_json_str(parent, "mask_rules", ""), mb_json_str(meta, "mask_rules", "")) ==
			   0 &&
		   mb_json_bool(parent, "attributes", false);
}

static void
describe_hits(struct files_scan *scan)
{
	json_t *masked = json_object(), *rules = json_object();
	struct mb_buf text = {0};
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < scan->files->mask.count; i++)
	{
		uint64_t count = scan->hits.counts[i];

		sum += count;
		if (count == 0)
			continue;
		mb_json_set_int(rules, scan->files->mask.rules[i], (int64_t) count);
		mb_buf_printf(&text, "%s%s %llu", text.len ? ", " : "", scan->files->mask.rules[i],
					  (unsigned long long) count);
	}
	mb_json_set_int(masked, "files", (int64_t) scan->masked_files);
	json_object_set_new(masked, "rules", rules);
	if (sum > 0)
	{
		mb_capture_note(scan->capture, "masked %llu secrets in %llu files: %s",
						(unsigned long long) sum, (unsigned long long) scan->masked_files,
						mb_buf_cstr(&text));
		json_object_set(scan->capture->meta, "masked", masked);
	}
	json_decref(masked);
	mb_buf_release(&text);
}

static enum mb_code
scan_files(struct files_scan *scan, struct mb_error *err)
{
	struct files_component *files = scan->files;
	struct mb_capture *capture = scan->capture;
	enum mb_code code;

	code = collect_roots(scan, err);
	if (!code)
		code = mb_scan_tree(capture, scan->look.root_fd, scan->roots.items, scan->roots.count,
							files->is_masking ? &masking_scan : &plain_scan, scan, err);
	if (code)
		return code;
	if (files->is_masking)
		describe_hits(scan);
	mb_json_set_bool(capture->meta, "unchanged",
					 capture->parent && atomic_load(&scan->changes) == 0);
	return MB_OK;
}

static enum mb_code
files_settle(struct mb_component *component, struct mb_capture *capture, const struct mb_cut *cut,
			 struct mb_error *err)
{
	struct files_component *files = (struct files_component *) component;
	struct files_scan scan = {.look = {.files = files}, .files = files, .capture = capture};
	enum mb_code code;

	(void) cut;
	if (!files->is_masking && capture->repo->suite == MB_SUITE_NONE)
	{
		mb_fail(err, MB_CONFIG, "secrets = include needs an encrypted repository");
		return mb_error_hint(err, "Write secrets = mask in [%s].", component->name);
	}
	mb_json_set_str(capture->meta, "secrets", files->is_masking ? "mask" : "include");
	mb_json_set_bool(capture->meta, "attributes", true);
	if (files->is_masking)
		describe_rules(files, capture->meta);
	scan.trust_parent = capture->parent && is_by_same_rules(capture->meta, capture->parent->meta);
	mb_progress_phase(capture->progress, "copying");
	scan.look.root_fd = mb_open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (scan.look.root_fd < 0)
		return mb_fail_errno(err, errno, "could not open \"/\"");
	pthread_mutex_init(&scan.lock, NULL);
	code = scan_files(&scan, err);
	pthread_mutex_destroy(&scan.lock);
	close(scan.look.root_fd);
	mb_roots_release(&scan.roots);
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
	.check = mb_files_check,
	.snapshot = mb_nothing_snapshot,
	.hold = mb_no_hold,
	.release = mb_no_release,
	.position = mb_nothing_position,
	.settle = files_settle,
	.await = mb_no_await,
	.stream = mb_no_stream,
	.verify = mb_nothing_verify,
	.reach = mb_nothing_reach,
	.trim = mb_nothing_trim,
	.window = mb_scan_window,
	.plan = files_plan,
	.restore = files_restore,
	.revive = mb_tree_revive,
	.lay_down = mb_nothing_lay_down,
	.holds = mb_files_holds,
	.keep = mb_nothing_kept,
	.undo = mb_nothing_kept,
	.health = mb_files_health,
	.describe = files_describe,
};

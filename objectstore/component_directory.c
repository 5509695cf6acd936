/* component_directory.c - opening, backup and check; restoring: directory_restore.c. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/check.h"
#include "core/engine/scan.h"
#include "objectstore/component_objects.h"
#include "objectstore/directory_private.h"

#define FUTURE_NS 1000000000ull /* what is later than now by more was written by another clock */

/* What one settle() carries through the scan.  Times in nanoseconds, by this machine's clock. */
struct directory_scan
{
	struct mb_capture *capture;
	uint64_t limit_ns; /* the cut plus the margin: younger versions are after the cut */
	uint64_t now_ns;   /* when this scan began */
	uint64_t parent_cut_ns;
	atomic_uint_fast64_t changes;
	atomic_uint_fast64_t ambiguous;
	atomic_size_t from_the_future;
	size_t others; /* links, devices: not objects */
};

static enum mb_code
directory_open(struct mb_component **component, const struct mb_settings *settings,
			   const struct mb_env *env, struct mb_error *err)
{
	const char *url = mb_settings_get(settings, "url");
	struct directory *directory;

	(void) err;
	directory = mb_calloc(1, sizeof(*directory));
	directory->base =
		(struct mb_component){&mb_directory_component_ops, settings, env, settings->name};
	directory->path = url + strlen("file://");
	directory->margin_us = mb_settings_ms(settings, "clock-margin", 1000) * 1000;
	*component = &directory->base;
	return MB_OK;
}

static void
directory_close(struct mb_component *component)
{
	free(component);
}

/* -- backup --------------------------------------------------------------------------------------- */

static enum mb_scan_wish
directory_wanted(void *ctx, const char *path, const struct stat *st)
{
	(void) ctx;
	(void) st;
	/* What a restore has moved aside. */
	return mb_starts_with(path, MB_KEPT_PREFIX) ? MB_SCAN_SKIP : MB_SCAN_TAKE;
}

static bool
is_object_version(const struct mb_entry *entry)
{
	return entry->type == MB_ENTRY_OBJECT;
}

/* Keep a version of the parent, with its flags as they are at this cut. */
static enum mb_code
keep_version(struct directory_scan *scan, const struct mb_entry *version, unsigned flags,
			 struct mb_error *err)
{
	struct mb_entry kept = *version;

	kept.flags = (version->flags & MB_ENTRY_CHANGING) | flags;
	return mb_capture_add(scan->capture, &kept, err);
}

/*
 * The version that was current at the parent's cut, and everything younger, is history
 * that a restore to a time between the two cuts needs.  Older ones belong to older
 * backups.
 */
static enum mb_code
keep_history(struct directory_scan *scan, const struct mb_scan_item *item, size_t first,
			 struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = first; !code && i < item->parent_count; i++)
	{
		code =
			keep_version(scan, &item->parents[i],
						 item->parents[i].version > scan->limit_ns ? MB_ENTRY_AFTER_CUT : 0, err);
		if (item->parents[i].version <= scan->parent_cut_ns)
			break;
	}
	return code;
}

static uint64_t
ctime_ns(const struct stat *st)
{
	return (uint64_t) st->st_ctim.tv_sec * 1000000000 + (uint64_t) st->st_ctim.tv_nsec;
}

/*
 * A version is named by its time, but is never older than what the parent knew of the
 * key, whatever the clock did meanwhile.
 */
static uint64_t
name_version(uint64_t time_ns, const struct mb_scan_item *item)
{
	if (item->parent_count > 0 && time_ns < item->parents[0].version)
		return item->parents[0].version + 1;
	return time_ns;
}

static enum mb_code
decide_missing(struct directory_scan *scan, const struct mb_scan_item *item, struct mb_error *err)
{
	const struct mb_entry *newest = &item->parents[0];
	struct mb_entry marker = {.type = MB_ENTRY_MARKER,
							  .path = item->path,
							  .path_len = strlen(item->path),
							  .version = name_version(scan->now_ns, item),
							  .flags = MB_ENTRY_AFTER_CUT};
	enum mb_code code;

	atomic_fetch_add(&scan->changes, 1);
	/* The parent knew that it was gone: no target between the cuts has it either. */
	if (!is_object_version(newest))
		return MB_OK;
	atomic_fetch_add(&scan->ambiguous, 1);
	code = mb_capture_add(scan->capture, &marker, err);
	if (!code)
		code = keep_version(scan, newest, MB_ENTRY_AMBIGUOUS, err);
	if (!code && newest->version > scan->parent_cut_ns)
		code = keep_history(scan, item, 1, err);
	return code;
}

/* The clock was set back since it was written: then it is behind the cut, whenever it came. */
static void
note_time(struct directory_scan *scan, uint64_t version)
{
	if (version > scan->now_ns && version > (uint64_t) mb_time_now_us() * 1000 + FUTURE_NS)
		atomic_fetch_add(&scan->from_the_future, 1);
}

static enum mb_code
directory_decide(void *ctx, const struct mb_scan_item *item, enum mb_scan_choice *choice,
				 struct mb_entry *entry, struct mb_error *err)
{
	struct directory_scan *scan = ctx;

	if (!item->exists)
		return decide_missing(scan, item, err);
	if (!S_ISREG(item->st.st_mode))
	{
		scan->others += !S_ISDIR(item->st.st_mode);
		return MB_OK;
	}
	if (item->parent_count > 0 && is_object_version(&item->parents[0]) &&
		mb_scan_unchanged(item, &item->parents[0], scan->capture->parent))
	{
		note_time(scan, item->parents[0].version);
		/* What was superseded before the parent's cut is of no use to this one. */
		atomic_fetch_add(&scan->changes, item->parent_count > 1);
		return keep_history(scan, item, 0, err);
	}
	atomic_fetch_add(&scan->changes, 1);
	entry->type = MB_ENTRY_OBJECT;
	entry->version = name_version(ctime_ns(&item->st), item);
	entry->flags = entry->version > scan->limit_ns ? MB_ENTRY_AFTER_CUT : 0;
	note_time(scan, entry->version);
	*choice = MB_SCAN_READ;
	/* Too young to be trusted, or rewritten within one tick: what is read now replaces it. */
	if (item->parent_count > 0 && item->parents[0].version == entry->version)
		return keep_history(scan, item, 1, err);
	return keep_history(scan, item, 0, err);
}

static const struct mb_scan_ops directory_scan_ops = {.decide = directory_decide,
													  .wanted = directory_wanted};

static enum mb_code
directory_settle(struct mb_component *component, struct mb_capture *capture,
				 const struct mb_cut *cut, struct mb_error *err)
{
	struct directory *directory = (struct directory *) component;
	struct directory_scan scan = {.capture = capture};
	int64_t local_cut_us = cut->time_us + cut->clock_skew_us;
	char *everything[] = {(char *) ""};
	enum mb_code code;
	int root_fd;

	mb_progress_phase(capture->progress, "copying");
	scan.limit_ns = (uint64_t) (local_cut_us + directory->margin_us) * 1000;
	scan.now_ns = (uint64_t) mb_time_now_us() * 1000;
	if (capture->parent)
		scan.parent_cut_ns = (uint64_t) mb_commit_cut_time(capture->parent) * 1000;
	root_fd = mb_open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (root_fd < 0)
	{
		code = mb_fail_errno(err, errno, "could not open bucket directory \"%s\"", directory->path);
		/* A bucket that is not there must not look like an empty one. */
		return err->code = code == MB_NOT_FOUND ? MB_UNREACHABLE : code;
	}
	code = mb_scan_tree(capture, root_fd, everything, 1, &directory_scan_ops, &scan, err);
	close(root_fd);
	if (code)
		return code;
	if (scan.others > 0)
		mb_capture_warn(capture, "%zu links, devices or sockets are no objects: left out",
						scan.others);
	if (atomic_load(&scan.from_the_future) > 0)
		mb_capture_warn(
			capture,
			"the clock was set back: %zu objects were written later than it is now, so a "
			"restore to this backup leaves them out, and one with --to-latest does not; "
			"back up again when the time has passed",
			atomic_load(&scan.from_the_future));
	mb_json_set_bool(capture->meta, "unchanged",
					 capture->parent && atomic_load(&scan.changes) == 0);
	mb_json_set_int(capture->meta, "ambiguous", (int64_t) atomic_load(&scan.ambiguous));
	mb_json_set_int(capture->meta, "clock_skew_us", cut->clock_skew_us);
	return MB_OK;
}

/* -- check ------------------------------------------------------------------------------------------- */

static enum mb_code
directory_check(struct mb_component *component, struct mb_checks *checks, struct mb_error *err)
{
	struct directory *directory = (struct directory *) component;
	struct stat st;

	(void) err;
	if (stat(directory->path, &st) != 0 || !S_ISDIR(st.st_mode))
		mb_check_add_fix(checks, MB_CHECK_FAILED, component->name, "reachable",
						 mb_asprintf("mkdir -p %s, or the right url in its section",
									 directory->path),
						 "%s is no directory that we can see", directory->path);
	else if (access(directory->path, R_OK | X_OK) != 0)
		mb_check_add_fix(checks, MB_CHECK_FAILED, component->name, "readable",
						 mb_asprintf("chmod -R u+rX %s", directory->path), "%s cannot be read: %s",
						 directory->path, strerror(errno));
	else
	{
		mb_check_add(checks, MB_CHECK_OK, component->name, "readable", "", "%s can be read",
					 directory->path);
		mb_check_same_disk(component->env, directory->path, checks);
		mb_check_add(checks, MB_CHECK_WARNING, component->name, "versioning",
					 "mbackup stream, which looks every scan-interval",
					 "a directory keeps no versions: what is overwritten or deleted between two "
					 "scans is not in the repository");
	}
	return MB_OK;
}

static char *
directory_describe(struct mb_component *component)
{
	return mb_asprintf("directory %s", ((struct directory *) component)->path);
}

const struct mb_component_ops mb_directory_component_ops = {
	.kind = "objects",
	.capabilities = MB_CAP_SCAN | MB_CAP_INCREMENTAL | MB_CAP_PRESCAN,
	.open = directory_open,
	.close = directory_close,
	.check = directory_check,
	.snapshot = mb_nothing_snapshot,
	.hold = mb_no_hold,
	.release = mb_no_release,
	.position = mb_objects_position,
	.settle = directory_settle,
	.await = mb_no_await,
	.stream = mb_no_stream,
	.verify = mb_nothing_verify,
	.reach = mb_nothing_reach,
	.trim = mb_nothing_trim,
	.window = mb_scan_window,
	.plan = mb_directory_plan,
	.restore = mb_directory_restore,
	.revive = mb_tree_revive,
	.lay_down = mb_nothing_lay_down,
	.holds = mb_directory_holds,
	.keep = mb_nothing_kept,
	.undo = mb_nothing_kept,
	.health = mb_directory_health,
	.describe = directory_describe,
};

/* directory_restore.c - where the objects of a directory go, and which of them; see component_directory.h. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/replace.h"
#include "objectstore/component_objects.h"
#include "objectstore/directory_private.h"

static const char *
destination_path(const struct directory *directory, const struct mb_restore *restore)
{
	const char *destination = restore->destination ? restore->destination : directory->path;

	return mb_starts_with(destination, "file://") ? destination + strlen("file://") : destination;
}

enum mb_code
mb_directory_plan(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct directory *directory = (struct directory *) component;
	const char *path = destination_path(directory, restore);
	enum mb_code code;

	if (mb_starts_with(path, "s3://"))
		return mb_fail(err, MB_UNSUPPORTED, "a restore into S3 is not supported yet (%s)", path);
	if (path[0] != '/')
	{
		mb_fail(err, MB_CONFIG, "destination \"%s\" is not an absolute path", path);
		return mb_error_hint(err, "Write --component %s=/a/directory", component->name);
	}
	mb_json_set_str(restore->plan, "destination", path);
	code = mb_objects_choose_scan(restore, err);
	/* What is in its own directory is moved aside first. */
	if (!code && !(restore->own_place && !restore->is_cleared) &&
		mb_restore_directory(path, MB_DIRECTORY_CHECK, 0755, err))
		code = mb_restore_in_the_way(restore, err);
	return code;
}

/* Picks one version of each key while the entries pass by, newest first. */
struct picker
{
	struct mb_restore *restore;
	uint64_t newest_ns;  /* T + margin */
	uint64_t deleted_ns; /* T - margin */
	struct mb_buf key;   /* decided already */
	bool decided;
	size_t ambiguous;
};

static bool
matches_only(const struct mb_restore *restore, const char *key)
{
	size_t i;

	for (i = 0; i < restore->only_count; i++)
		if (fnmatch(restore->only[i], key, 0) == 0)
			return true;
	return restore->only_count == 0;
}

static bool
directory_select(void *ctx, const struct mb_entry *entry, struct mb_buf *name, int *dir_fd)
{
	struct picker *picker = ctx;

	(void) dir_fd;
	if (picker->key.len != entry->path_len ||
		memcmp(picker->key.data, entry->path, entry->path_len) != 0)
	{
		mb_buf_reset(&picker->key);
		mb_buf_put(&picker->key, entry->path, entry->path_len);
		picker->decided = false;
	}
	if (picker->decided)
		return false;
	if (entry->type == MB_ENTRY_MARKER)
	{
		picker->decided = entry->version <= picker->deleted_ns;
		return false;
	}
	if (entry->version > picker->newest_ns)
		return false;
	picker->decided = true;
	picker->ambiguous += (entry->flags & MB_ENTRY_AMBIGUOUS) != 0;
	return matches_only(picker->restore, mb_buf_cstr(name));
}

/* Which version of a key it is: by this machine's clock. */
static struct picker
begin_picker(const struct directory *directory, struct mb_restore *restore)
{
	struct picker picker = {.restore = restore, .newest_ns = UINT64_MAX, .deleted_ns = UINT64_MAX};
	int64_t local_us =
		restore->stack_time_us + mb_json_int(restore->commit.meta, "clock_skew_us", 0);

	if (restore->stack_time_us && restore->target.kind != MB_TARGET_LATEST)
	{
		picker.newest_ns = (uint64_t) (local_us + directory->margin_us) * 1000;
		picker.deleted_ns = (uint64_t) (local_us - directory->margin_us) * 1000;
	}
	return picker;
}

/* Some keys of the component's own directory: the others stay beside them. */
static bool
is_part(const struct mb_restore *restore)
{
	return restore->own_place && restore->only_count > 0;
}

enum mb_code
mb_directory_restore(struct mb_component *component, struct mb_restore *restore,
					 struct mb_error *err)
{
	struct directory *directory = (struct directory *) component;
	const char *path = destination_path(directory, restore);
	struct picker picker = begin_picker(directory, restore);
	struct mb_tree tree = {.flags = MB_TREE_OWNER | MB_TREE_TIMES,
						   .select = directory_select,
						   .ctx = &picker};
	enum mb_code code = MB_OK;

	if (is_part(restore))
		code = mb_mkdirs(path, 0755, err);
	else
	{
		mb_restore_made(restore, path);
		code = mb_restore_directory(path, MB_DIRECTORY_CREATE, 0755, err);
	}
	if (code)
		return code;
	tree.root_fd = mb_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (tree.root_fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	code = mb_restore_tree(restore, &tree, err);
	close(tree.root_fd);
	mb_buf_release(&picker.key);
	if (code)
		return code;
	mb_json_set_str(restore->result, "destination", path);
	mb_json_set_int(restore->result, "ambiguous", (int64_t) picker.ambiguous);
	if (picker.ambiguous > 0)
		mb_restore_warn(restore,
						"%zu objects were deleted around the target, nobody knows on which "
						"side: they were restored",
						picker.ambiguous);
	return MB_OK;
}

/* -- over what is there ------------------------------------------------------------------------------- */

static bool
is_named(void *ctx, const char *path, const struct stat *st)
{
	return S_ISDIR(st->st_mode) || matches_only(ctx, path);
}

/* Who writes into it has it mounted or open: the directory itself stays the same one. */
enum mb_code
mb_directory_holds(struct mb_component *component, struct mb_restore *restore,
				   struct mb_holdings *holdings, struct mb_error *err)
{
	struct directory *directory = (struct directory *) component;
	const char *path = destination_path(directory, restore);
	struct picker picker = begin_picker(directory, restore);
	struct mb_safety *safety = mb_safety_new(path, NULL, MB_SAFETY_STAYS);
	enum mb_code code = MB_OK;
	int fd;

	mb_holdings_add(holdings, safety);
	if (!is_part(restore))
		return MB_OK;
	safety->is_list = true;
	code = mb_restore_names(restore, directory_select, &picker, &safety->put, err);
	fd = mb_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (!code && fd >= 0)
		code = mb_walk_names(fd, "", is_named, restore, &safety->keep, err);
	if (fd >= 0)
		close(fd);
	mb_buf_release(&picker.key);
	return code;
}

enum mb_code
mb_directory_health(struct mb_component *component, struct mb_restore *restore,
					struct mb_error *err)
{
	struct directory *directory = (struct directory *) component;
	const char *path = restore ? destination_path(directory, restore) : directory->path;

	if (access(path, R_OK | X_OK) != 0)
		return mb_fail(err, MB_NEGATIVE, "%s cannot be read: %s", path, strerror(errno));
	if (restore)
		mb_json_set_str(restore->result, "health", "can be read");
	return MB_OK;
}

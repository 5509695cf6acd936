/*
 * trial_tree.c - a restored tree, held against the manifest: the drill of files and buckets.
 *
 * The writer of trees is not asked.  Every regular file is read once more from where it now stands, and
 * has to have the size and the CRC-32C that were taken when its source was read.  Of a key with several
 * versions any of them will do: which one belongs to the moment is the driver's to choose, and how many
 * files there are must then be what it says to have restored.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/component.h"

#define READ_BYTES (1u << 20)

struct tree
{
	struct mb_component *component;
	struct mb_trial *trial;
	int root_fd;
	unsigned char *buffer;
	/* of the path at hand */
	struct mb_buf path;
	bool exists;
	bool is_matched;
	bool is_link;     /* a hard link: its first name is compared */
	bool is_expected; /* one of its entries is state, not history */
	uint64_t size;
	uint32_t crc;
	/* sums */
	uint64_t files;
	uint64_t bytes;
	uint64_t links;
	uint64_t without_sum; /* compared by their size only */
};

static enum mb_code
read_sum(struct tree *tree, int fd, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	int64_t at = 0;
	size_t got;

	tree->crc = MB_CRC32C_INIT;
	do
	{
		code = mb_cancel_check(tree->component->env->cancel, err);
		if (!code)
			code = mb_pread_full(fd, tree->buffer, READ_BYTES, at, &got, mb_buf_cstr(&tree->path),
								 err);
		if (code)
			return code;
		tree->crc = mb_crc32c(tree->crc, tree->buffer, got);
		at += (int64_t) got;
		atomic_fetch_add(&tree->trial->progress->done_bytes, got);
	} while (got == READ_BYTES);
	tree->size = (uint64_t) at;
	return MB_OK;
}

/* Look at what stands under the name of an entry, the first of its path. */
static enum mb_code
open_path(struct tree *tree, const struct mb_entry *entry, struct mb_error *err)
{
	struct mb_error why;
	struct stat st;
	enum mb_code code;
	int fd;

	mb_buf_reset(&tree->path);
	mb_buf_put(&tree->path, entry->path, entry->path_len);
	tree->exists = tree->is_matched = tree->is_link = tree->is_expected = false;
	if (!mb_name_is_safe(mb_buf_cstr(&tree->path), tree->path.len))
		return MB_OK; /* a key that is no name of a file: left out by the restore, which says so */
	mb_error_clear(&why);
	code = mb_open_beneath(&fd, tree->root_fd, mb_buf_cstr(&tree->path), O_RDONLY | O_NONBLOCK, 0,
						   &why);
	/* A link on the way, or in its place, is as good as nothing: nobody has backed that up. */
	if (code == MB_NOT_FOUND || why.sys_errno == ENOTDIR || why.sys_errno == ENOENT ||
		why.sys_errno == ELOOP || why.sys_errno == EXDEV)
		return MB_OK;
	if (code)
	{
		*err = why;
		return code;
	}
	if (fstat(fd, &st) != 0)
		code = mb_fail_errno(err, errno, "could not look at \"%s\"", mb_buf_cstr(&tree->path));
	tree->exists = !code && S_ISREG(st.st_mode);
	if (tree->exists)
		code = read_sum(tree, fd, err);
	close(fd);
	return code;
}

static void
compare(struct tree *tree, const struct mb_entry *entry)
{
	bool has_sum = entry->has_crc32c;

	if (!tree->exists || tree->size != entry->size || (has_sum && tree->crc != entry->crc32c))
		return;
	if (!tree->is_matched && !has_sum)
		tree->without_sum++;
	tree->is_matched = true;
}

/* All versions of a path have been seen. */
static enum mb_code
end_path(struct tree *tree, struct mb_error *err)
{
	/* Whether an object was there at the moment is for the driver to say. */
	bool must_exist = tree->is_expected && strcmp(tree->component->ops->kind, "files") == 0;

	if (tree->path.len == 0)
		return MB_OK;
	if (!tree->exists && must_exist)
		return mb_trial_check(tree->trial, "contents", MB_TRIAL_FAILED, err, "\"%s\" is missing",
							  mb_buf_cstr(&tree->path));
	if (tree->exists && !tree->is_matched && !tree->is_link)
		return mb_trial_check(tree->trial, "contents", MB_TRIAL_FAILED, err,
							  "\"%s\" is not what was backed up (%llu bytes, CRC-32C %08x)",
							  mb_buf_cstr(&tree->path), (unsigned long long) tree->size, tree->crc);
	if (tree->exists)
	{
		tree->files++;
		tree->bytes += tree->size;
	}
	mb_buf_reset(&tree->path);
	return MB_OK;
}

static enum mb_code
walk(struct tree *tree, struct mb_error *err)
{
	struct mb_manifest_reader *reader =
		mb_manifest_reader_new(tree->component->env->repo, &tree->trial->commit->blocks);
	const struct mb_entry *entry;
	enum mb_code code;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		bool has_contents = entry->type == MB_ENTRY_FILE || entry->type == MB_ENTRY_OBJECT ||
							entry->type == MB_ENTRY_HARDLINK;

		if (!has_contents)
			continue;
		if (tree->path.len != entry->path_len ||
			memcmp(tree->path.data, entry->path, entry->path_len) != 0)
		{
			code = end_path(tree, err);
			if (!code)
				code = open_path(tree, entry, err);
		}
		if (code)
			break;
		tree->is_link = tree->is_link || entry->type == MB_ENTRY_HARDLINK;
		tree->is_expected = tree->is_expected || !(entry->flags & MB_ENTRY_AFTER_CUT);
		compare(tree, entry);
	}
	if (!code)
		code = end_path(tree, err);
	mb_manifest_reader_free(reader);
	return code;
}

/* -- what is there beside it ---------------------------------------------------------------------- */

/* nftw() has no context of its own, and components are looked at one after the other. */
static _Thread_local uint64_t counted;

static int
count_file(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void) path;
	(void) where;
	counted += type == FTW_F && S_ISREG(st->st_mode);
	return 0;
}

static enum mb_code
check_count(struct tree *tree, struct mb_error *err)
{
	counted = 0;
	if (nftw(tree->trial->directory, count_file, 64, FTW_PHYS) != 0)
		return mb_fail_errno(err, errno, "could not walk \"%s\"", tree->trial->directory);
	if (counted != tree->files)
		return mb_trial_check(tree->trial, "count", MB_TRIAL_FAILED, err,
							  "there are %llu files, and the backup explains %llu of them",
							  (unsigned long long) counted, (unsigned long long) tree->files);
	return MB_OK;
}

enum mb_code
mb_tree_revive(struct mb_component *component, struct mb_trial *trial, struct mb_error *err)
{
	struct tree tree = {.component = component, .trial = trial};
	enum mb_code code;

	tree.root_fd = mb_open(trial->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (tree.root_fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", trial->directory);
	tree.buffer = mb_malloc(READ_BYTES);
	mb_progress_phase(trial->progress, "comparing");
	code = walk(&tree, err);
	if (!code)
		code = check_count(&tree, err);
	if (!code)
		code = mb_trial_check(trial, "contents", MB_TRIAL_OK, err,
							  "%llu files are what was backed up, by size and CRC-32C%s",
							  (unsigned long long) tree.files,
							  tree.without_sum ? " (some by their size only)" : "");
	mb_json_set_int(trial->report, "files", (int64_t) tree.files);
	mb_json_set_int(trial->report, "file_bytes", (int64_t) tree.bytes);
	mb_json_set_int(trial->report, "without_checksum", (int64_t) tree.without_sum);
	mb_buf_release(&tree.path);
	free(tree.buffer);
	close(tree.root_fd);
	return code;
}

void
mb_nothing_lay_down(struct mb_component *component, struct mb_trial *trial)
{
	(void) component;
	(void) trial;
}

enum mb_code
mb_trial_check(struct mb_trial *trial, const char *name, enum mb_trial_status status,
			   struct mb_error *err, const char *message_fmt, ...)
{
	static const char *const names[] = {"ok", "failed", "skipped"};
	json_t *checks = json_object_get(trial->report, "checks"), *check = json_object();
	char message[1024];
	va_list ap;

	va_start(ap, message_fmt);
	vsnprintf(message, sizeof(message), message_fmt, ap);
	va_end(ap);
	if (!checks)
		json_object_set_new(trial->report, "checks", checks = json_array());
	mb_json_set_str(check, "name", name);
	mb_json_set_str(check, "status", names[status]);
	mb_json_set_str(check, "message", message);
	json_array_append_new(checks, check);
	return status == MB_TRIAL_FAILED ? mb_fail(err, MB_NEGATIVE, "%s", message) : MB_OK;
}

/*
 * bucket_files.c - the current state of a bucket as files of a directory.
 *
 * Metadata, tags and versions do not come along.  Keys that are no names of files ("a/", "a//b",
 * "..", both "a" and "a/b") are left out, and said.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "objectstore/bucket_restore_private.h"

struct files
{
	struct bucket_restore *run;
	struct mb_state *state; /* goes along with the tree writer's own reading */
	const struct mb_state_key *key;
	struct mb_buf last; /* the file before */
	uint64_t left_out;
	char first[256];
	enum mb_code code;
	struct mb_error *err;
};

static bool
is_key(const struct mb_state_key *key, const struct mb_entry *entry)
{
	return key && key->key_len == entry->path_len &&
		   memcmp(key->key, entry->path, entry->path_len) == 0;
}

static int
compare(const struct mb_state_key *key, const struct mb_entry *entry)
{
	size_t len = key->key_len < entry->path_len ? key->key_len : entry->path_len;
	int order = memcmp(key->key, entry->path, len);

	return order ? order : (key->key_len > entry->path_len) - (key->key_len < entry->path_len);
}

/* "a" before "a/b", in the order of keys: the second has no directory to be in. */
static bool
is_below_a_file(struct files *files, const char *name)
{
	size_t len = files->last.len;

	return len > 0 && strncmp(name, mb_buf_cstr(&files->last), len) == 0 && name[len] == '/';
}

static bool
files_select(void *ctx, const struct mb_entry *entry, struct mb_buf *name, int *dir_fd)
{
	struct files *files = ctx;
	const char *text = mb_buf_cstr(name);

	(void) dir_fd;
	while (!files->code && files->key && compare(files->key, entry) < 0)
		files->code = mb_state_next(files->state, &files->key, files->err);
	if (files->code || !is_key(files->key, entry) || entry->type != MB_ENTRY_OBJECT ||
		!files->key->current || files->key->current->entry.version != entry->version)
		return false;
	if (!mb_state_wanted(files->run->restore->only, files->run->restore->only_count,
						 files->key->key))
		return false;
	/* A folder's own mark has no contents to lose. */
	if (mb_ends_with(text, "/") && entry->size == 0)
		return false;
	if (!mb_name_is_safe(text, name->len) || is_below_a_file(files, text))
	{
		if (files->left_out++ == 0)
			snprintf(files->first, sizeof(files->first), "%s", text);
		return false;
	}
	files->run->ambiguous += files->key->is_ambiguous;
	mb_buf_reset(&files->last);
	mb_buf_put_str(&files->last, text);
	return true;
}

enum mb_code
mb_bucket_to_files(struct bucket_restore *run, struct mb_error *err)
{
	struct mb_restore *restore = run->restore;
	const char *path =
		mb_starts_with(run->url, "file://") ? run->url + strlen("file://") : run->url;
	struct mb_error state_err;
	struct files files = {.run = run, .err = &state_err};
	struct mb_tree tree = {.flags = MB_TREE_TIMES, .select = files_select, .ctx = &files};
	enum mb_code code;

	mb_error_clear(&state_err);
	mb_restore_made(restore, path);
	code = mb_restore_directory(path, MB_DIRECTORY_CREATE, 0755, err);
	if (code)
		return code;
	tree.root_fd = mb_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (tree.root_fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	files.state = mb_state_new(restore->env->repo, &restore->commit, run->time);
	code = mb_state_next(files.state, &files.key, err);
	if (!code)
		code = mb_restore_tree(restore, &tree, err);
	if (!code && files.code)
	{
		*err = state_err;
		code = files.code;
	}
	mb_state_free(files.state);
	mb_buf_release(&files.last);
	close(tree.root_fd);
	if (code)
		return code;
	mb_json_set_str(restore->result, "destination", path);
	mb_json_set_str(restore->result, "how", "files");
	mb_json_set_int(restore->result, "ambiguous", (int64_t) run->ambiguous);
	mb_json_set_int(restore->result, "left_out", (int64_t) files.left_out);
	if (files.left_out > 0)
		mb_restore_warn(restore,
						"%llu keys cannot be names of files and were left out, such as "
						"\"%s\"",
						(unsigned long long) files.left_out, files.first);
	return MB_OK;
}

/* entry.c - reading single entries: their contents, copies of them (see restore.h). */
#include "core/engine/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/entry.h"

static const char *
copy_text(struct mb_arena *arena, const char *text)
{
	return text ? mb_arena_strdup(arena, text) : NULL;
}

void
mb_entry_copy_head(struct mb_arena *arena, const struct mb_entry *from, struct mb_entry *to)
{
	char *path = mb_arena_alloc(arena, from->path_len + 1);

	memcpy(path, from->path, from->path_len);
	*to = *from;
	to->path = path;
	to->user = copy_text(arena, from->user);
	to->group = copy_text(arena, from->group);
	to->link_target = copy_text(arena, from->link_target);
	to->meta = copy_text(arena, from->meta);
	to->runs = NULL;
	to->maps = NULL;
	to->damaged_pages = NULL;
	to->xattrs = NULL;
	to->run_count = to->map_count = to->damaged_count = to->xattrs_len = 0;
}

void
mb_entry_copy(struct mb_arena *arena, const struct mb_entry *from, struct mb_entry *to)
{
	struct mb_map_ref *maps;
	size_t i;

	mb_entry_copy_head(arena, from, to);
	to->runs = mb_arena_copy(arena, from->runs, from->run_count * sizeof(*from->runs));
	to->run_count = from->run_count;
	maps = mb_arena_copy(arena, from->maps, from->map_count * sizeof(*from->maps));
	for (i = 0; i < from->map_count; i++)
	{
		maps[i].data = mb_arena_copy(arena, maps[i].data, maps[i].data_len);
		maps[i].refs =
			mb_arena_copy(arena, maps[i].refs, maps[i].ref_count * sizeof(*maps[i].refs));
	}
	to->maps = maps;
	to->map_count = from->map_count;
	to->damaged_pages = mb_arena_copy(arena, from->damaged_pages,
									  from->damaged_count * sizeof(*from->damaged_pages));
	to->damaged_count = from->damaged_count;
	to->xattrs = mb_arena_copy(arena, from->xattrs, from->xattrs_len);
	to->xattrs_len = from->xattrs_len;
}

/* Call fn with every piece of the contents, in order. */
typedef enum mb_code (*piece_fn)(void *ctx, const unsigned char *data, size_t len,
								 struct mb_error *err);

static enum mb_code
each_piece(const struct mb_repo *repo, const struct mb_entry *entry, piece_fn fn, void *ctx,
		   struct mb_error *err)
{
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	struct mb_runs runs = {0};
	enum mb_code code = mb_entry_runs(entry, reader, &runs, err);
	size_t i;

	for (i = 0; !code && i < runs.count; i++)
	{
		const struct mb_run *run = &runs.items[i];
		const unsigned char *data;
		size_t len;

		code = mb_pack_reader_frame(reader, &run->pack, run->frame, &data, &len, err);
		if (!code && (run->offset > len || run->length > len - run->offset))
			code = mb_fail(err, MB_CORRUPT, "a run points outside of its frame");
		if (!code)
			code = fn(ctx, data + run->offset, run->length, err);
	}
	mb_runs_release(&runs);
	mb_pack_reader_free(reader);
	if (code)
		return mb_error_context(err, "could not read \"%.*s\" from the repository",
								(int) entry->path_len, entry->path);
	return MB_OK;
}

static enum mb_code
append_piece(void *ctx, const unsigned char *data, size_t len, struct mb_error *err)
{
	(void) err;
	mb_buf_put(ctx, data, len);
	return MB_OK;
}

enum mb_code
mb_entry_contents(const struct mb_repo *repo, const struct mb_entry *entry, uint64_t max_bytes,
				  struct mb_buf *out, struct mb_error *err)
{
	if (entry->size > max_bytes)
		return mb_fail(err, MB_CORRUPT, "\"%.*s\" has %llu bytes, more than %llu",
					   (int) entry->path_len, entry->path, (unsigned long long) entry->size,
					   (unsigned long long) max_bytes);
	return each_piece(repo, entry, append_piece, out, err);
}

struct file_sink
{
	int fd;
	const char *name;
};

static enum mb_code
write_piece(void *ctx, const unsigned char *data, size_t len, struct mb_error *err)
{
	struct file_sink *sink = ctx;

	return mb_write_full(sink->fd, data, len, sink->name, err);
}

enum mb_code
mb_entry_to_file(const struct mb_repo *repo, const struct mb_entry *entry, int dir_fd,
				 const char *name, mode_t mode, struct mb_error *err)
{
	struct file_sink sink = {.name = name};
	enum mb_code code;

	code = mb_open_beneath(&sink.fd, dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, mode, err);
	if (code)
		return code;
	code = each_piece(repo, entry, write_piece, &sink, err);
	if (!code && (fchmod(sink.fd, mode) != 0 || fsync(sink.fd) != 0))
		code = mb_fail_errno(err, errno, "could not write \"%s\"", name);
	close(sink.fd);
	return code;
}

enum mb_code
mb_commit_find(const struct mb_repo *repo, const struct mb_commit *commit, const char *path,
			   struct mb_arena *arena, struct mb_entry *entry, bool *found, struct mb_error *err)
{
	struct mb_manifest_reader *reader = mb_manifest_reader_new(repo, &commit->blocks);
	const struct mb_entry *next;
	size_t len = strlen(path);
	bool seen = false;
	enum mb_code code;

	/* Entries come in order, newest version first: the first match is the one. */
	while (!(code = mb_manifest_next(reader, &next, err)) && next && !seen)
		if (next->path_len == len && memcmp(next->path, path, len) == 0)
		{
			mb_entry_copy(arena, next, entry);
			seen = true;
		}
	mb_manifest_reader_free(reader);
	if (code)
		return code;
	*found = seen;
	return MB_OK;
}

/* import_target.c - see import.h: the members of an archive into their places. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive_name.h"
#include "cli/import.h"
#include "core/base/fs.h"

typedef enum mb_code (*piece_fn)(void *ctx, const void *data, size_t len, struct mb_error *err);

static enum mb_code
copy_member(struct archive_reader *reader, uint64_t size, piece_fn fn, void *ctx,
			struct mb_progress *progress, struct mb_error *err)
{
	unsigned char *chunk = mb_malloc(ARCHIVE_CHUNK);
	enum mb_code code = MB_OK;
	uint64_t done = 0;
	size_t got;

	while (!code && done < size)
	{
		code = mb_cancel_check(&mb_interrupt, err);
		if (!code)
			code = archive_read(reader, chunk, ARCHIVE_CHUNK, &got, err);
		/* It was as long as it should be when it was checked. */
		if (!code && (got == 0 || got > size - done))
			code = mb_fail(err, MB_CORRUPT, "the archive is another one than a moment ago");
		if (!code)
			code = fn(ctx, chunk, got, err);
		done += code ? 0 : got;
		atomic_fetch_add(&progress->done_bytes, code ? 0 : got);
	}
	free(chunk);
	return code;
}

static enum mb_code
database_piece(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	return mb_pg_load_write(ctx, data, len, err);
}

static enum mb_code
upload_piece(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	return mb_upload_write(ctx, data, len, err);
}

static enum mb_code
tree_piece(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	return import_tree_write(ctx, data, len, err);
}

static enum mb_code
buf_piece(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct mb_buf *buf = ctx;

	if (buf->len + len > ARCHIVE_INFO_MAX_BYTES)
		return mb_fail(err, MB_CORRUPT, "the roles have more bytes than they may have");
	mb_buf_put(buf, data, len);
	return MB_OK;
}

static enum mb_code
take_database(struct import_run *run, struct import_target *target, struct archive_reader *reader,
			  const struct mb_tar_member *member, struct mb_progress *progress,
			  struct mb_error *err)
{
	enum mb_code code;

	if (target->item->kind == ARCHIVE_GLOBALS)
	{
		mb_buf_reset(&run->globals);
		code = copy_member(reader, member->size, buf_piece, &run->globals, progress, err);
		if (!code)
			code = mb_pg_load_globals(run->load, mb_buf_cstr(&run->globals), run->warnings, err);
		mb_buf_wipe(&run->globals);
		return code;
	}
	code =
		mb_pg_load_begin(run->load, target->database,
						 target->item->kind == ARCHIVE_DATABASE ? MB_PG_LOAD_DUMP : MB_PG_LOAD_SQL,
						 err);
	if (!code)
		code = copy_member(reader, member->size, database_piece, run->load, progress, err);
	return code ? code : mb_pg_load_end(run->load, &target->aside, err);
}

/* What a member is called outside: the index says it, or its name. */
static enum mb_code
name_of(const struct import_run *run, const json_t *line, const char *key, const char *rest,
		struct mb_buf *out, struct mb_error *err)
{
	if (line ? archive_line_text(line, key, out)
			 : run->inventory.is_ours && archive_name_decode(out, rest))
		return MB_OK;
	if (line || run->inventory.is_ours)
		return mb_fail(err, MB_CORRUPT, "nothing says what \"%s\" is called", rest);
	mb_buf_put_str(out, rest);
	return MB_OK;
}

/* Contents into the tree under a name. */
static enum mb_code
put_file(struct import_target *target, struct archive_reader *reader,
		 const struct mb_tar_member *member, const char *name, struct mb_progress *progress,
		 struct mb_error *err)
{
	struct import_tree *tree = &target->tree;
	enum mb_code code = import_tree_begin(tree, name, member, err);

	if (!code)
		code = copy_member(reader, member->size, tree_piece, tree, progress, err);
	return code ? code : import_tree_end(tree, err);
}

/* Mode and owner, when the index has them: the headers of tar have seconds and no more. */
static void
take_line(struct mb_tar_member *member, const json_t *line)
{
	const char *mode = mb_json_str(line, "mode", NULL);

	member->mtime_ns = mb_json_int(line, "modified_ns", member->mtime_ns);
	if (!mode)
		return;
	member->mode = (mode_t) strtoul(mode, NULL, 8) & 07777u;
	member->uid = (uint32_t) mb_json_int(line, "uid", member->uid);
	member->gid = (uint32_t) mb_json_int(line, "gid", member->gid);
}

static enum mb_code
take_object(struct import_run *run, struct import_target *target, struct archive_reader *reader,
			const struct mb_tar_member *member, const char *rest, const json_t *line,
			struct mb_progress *progress, struct mb_error *err)
{
	struct mb_tar_member as = *member;
	struct mb_buf key = {0};
	enum mb_code code = name_of(run, line, "key", rest, &key, err);
	char *full;

	if (!code && target->s3)
	{
		full = mb_asprintf("%s%s", target->prefix, mb_buf_cstr(&key));
		code = mb_upload_begin(&target->upload, target->s3, target->bucket, full, member->size,
							   json_object_get(line, "meta"), err);
		free(full);
		if (!code)
			code = copy_member(reader, member->size, upload_piece, target->upload, progress, err);
		if (!code)
		{
			struct mb_upload *upload = target->upload;

			target->upload = NULL;
			code = mb_upload_end(upload, err);
		}
		target->loaded += !code;
	}
	else if (!code && !mb_name_is_safe(mb_buf_cstr(&key), key.len))
		target->left_out++;
	else if (!code)
	{
		as.mode = 0644;
		as.uid = geteuid();
		as.gid = getegid();
		take_line(&as, line);
		code = put_file(target, reader, &as, mb_buf_cstr(&key), progress, err);
		target->loaded += !code;
		/* "a/b" where "a" is an object too: there is no directory for it. */
		if (code && err->sys_errno == ENOTDIR)
		{
			mb_error_clear(err);
			code = MB_OK;
			target->left_out++;
		}
	}
	mb_buf_release(&key);
	return code;
}

static enum mb_code
take_config(struct import_run *run, struct import_target *target, struct archive_reader *reader,
			const struct mb_tar_member *member, const char *rest, const json_t *line,
			struct mb_progress *progress, struct mb_error *err)
{
	struct mb_tar_member as = *member;
	struct mb_buf path = {0}, link = {0};
	enum mb_code code = name_of(run, line, "path", rest, &path, err);
	const char *name = mb_buf_cstr(&path);

	take_line(&as, line);
	if (!code && !mb_name_is_safe(name, path.len))
		code = mb_fail(err, MB_CORRUPT, "\"%s\" leads out of its directory", name);
	if (!code && member->hard_link)
	{
		const char *target_name = strlen(member->hard_link) > strlen(target->item->prefix)
									  ? member->hard_link + strlen(target->item->prefix)
									  : "";

		if (!line || !archive_line_text(line, "hard_link", &link))
			mb_buf_put_str(&link, target_name);
		if (!mb_name_is_safe(mb_buf_cstr(&link), link.len))
			code = mb_fail(err, MB_CORRUPT, "\"%s\" is a link out of its directory", name);
		else
			code = import_tree_hard_link(&target->tree, name, mb_buf_cstr(&link), err);
	}
	else if (!code && S_ISLNK(member->type))
	{
		if (!line || !archive_line_text(line, "link", &link))
			mb_buf_put_str(&link, member->link ? member->link : "");
		import_tree_symlink(&target->tree, name, mb_buf_cstr(&link));
	}
	else if (!code && S_ISDIR(member->type))
		code = import_tree_directory(&target->tree, name, &as, err);
	else if (!code)
		code = put_file(target, reader, &as, name, progress, err);
	if (mb_json_bool(line, "masked", false))
	{
		char *warning = mb_asprintf("\"/%s\": its secrets were masked, fill them in", name);

		json_array_append_new(run->warnings, json_string(warning));
		free(warning);
	}
	target->loaded += !code && !S_ISDIR(member->type);
	mb_buf_release(&path);
	mb_buf_release(&link);
	return code;
}

/* Before the first member of a bucket or tree. */
static enum mb_code
prepare(struct import_run *run, struct import_target *target, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (target->root && target->tree.root_fd < 0)
		code = import_tree_open(&target->tree, target->root,
								import_is_forced(run) ? IMPORT_TREE_REPLACE : 0, err);
	if (!code && target->makes_bucket)
		code = mb_upload_make_bucket(target->s3, target->bucket, err);
	target->makes_bucket = false;
	return code;
}

enum mb_code
import_target_take(struct import_run *run, struct import_target *target,
				   struct archive_reader *reader, const struct mb_tar_member *member,
				   const char *rest, struct mb_error *err)
{
	struct mb_progress *progress = mb_env_progress(&run->cli->env, target->component->name);
	json_t *line = NULL;
	enum mb_code code = MB_OK;

	mb_progress_phase(progress, "loading");
	switch (target->item->kind)
	{
		case ARCHIVE_DATABASE:
		case ARCHIVE_SQL:
		case ARCHIVE_GLOBALS:
			return take_database(run, target, reader, member, progress, err);
		case ARCHIVE_RDB:
			return import_load_rdb(run, target, 0, err);
		case ARCHIVE_BUCKET:
			if (!S_ISREG(member->type))
				return MB_OK;
			code = archive_index_next(target->item, member->path, &line, err);
			if (!code)
				code = prepare(run, target, err);
			if (!code)
				code = take_object(run, target, reader, member, rest, line, progress, err);
			break;
		case ARCHIVE_TREE:
			code = archive_index_next(target->item, member->path, &line, err);
			if (!code)
				code = prepare(run, target, err);
			if (!code)
				code = take_config(run, target, reader, member, rest, line, progress, err);
			break;
	}
	json_decref(line);
	return code;
}

enum mb_code
import_target_finish(struct import_run *run, struct import_target *target, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (target->component)
		mb_progress_phase(mb_env_progress(&run->cli->env, target->component->name), "done");
	if (target->tree.root_fd >= 0)
		code = import_tree_finish(&target->tree, err);
	if (!code && target->left_out > 0)
	{
		char *warning =
			mb_asprintf("%llu keys of \"%s\" cannot be names of files and were left out",
						(unsigned long long) target->left_out, target->item->prefix);

		json_array_append_new(run->warnings, json_string(warning));
		free(warning);
	}
	return code;
}

void
import_target_release(struct import_target *target)
{
	mb_upload_abort(target->upload);
	import_tree_close(&target->tree);
	mb_s3_free(target->s3);
	free(target->place);
	free(target->database);
	free(target->bucket);
	free(target->prefix);
	free(target->root);
	free(target->aside);
}

/*
 * export_data.c - objects and files from the repository into an archive, as they are read: nothing of
 * them touches a disk on its way.  What is known about each beside its contents goes into an
 * index, one line of JSON each, in the order of the members.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/archive_name.h"
#include "cli/export.h"
#include "cli/objects.h"
#include "core/base/time.h"

struct data_export
{
	struct export_run *run;
	struct mb_component *component;
	struct mb_commit commit;
	struct mb_pack_reader *reader;
	struct archive_keys keys;
	struct mb_buf name;
	size_t prefix_len; /* of name: what stays for all members */
	FILE *index;
	uint64_t entries;
	uint64_t bytes;
	uint64_t left_out; /* versions that are not the current one */
	uint64_t written;  /* of the contents under way */
};

/* -- one member ----------------------------------------------------------------------------------- */

/* An objects_contents_fn. */
static enum mb_code
take_contents(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct data_export *data_export = ctx;

	data_export->written += len;
	atomic_fetch_add(&data_export->run->progress->done_bytes, len);
	return archive_write(&data_export->run->archive, data, len, err);
}

static enum mb_code
add_contents(struct data_export *data, const struct mb_entry *entry,
			 const struct mb_tar_member *member, struct mb_error *err)
{
	enum mb_code code = archive_begin(&data->run->archive, member, err);

	data->written = 0;
	if (!code)
		code = objects_contents(data->reader, entry, take_contents, data, err);
	if (!code && data->written != entry->size)
		code = mb_fail(err, MB_CORRUPT, "the contents of \"%s\" are not as long as they should be",
					   member->path);
	if (!code)
		code = archive_end(&data->run->archive, err);
	data->entries++;
	data->bytes += entry->size;
	atomic_fetch_add(&data->run->progress->done_entries, 1);
	return code;
}

/* Text that may be no UTF-8. */
static void
set_bytes(json_t *line, const char *key, const char *text)
{
	json_t *value = json_string(text);
	struct mb_buf base64 = {0};
	char *name;

	if (value)
	{
		json_object_set_new(line, key, value);
		return;
	}
	name = mb_asprintf("%s_base64", key);
	mb_base64(&base64, text, strlen(text));
	mb_json_set_str(line, name, mb_buf_cstr(&base64));
	mb_buf_release(&base64);
	free(name);
}

static void
set_owner(json_t *line, const struct mb_entry *entry)
{
	char mode[8];

	snprintf(mode, sizeof(mode), "%04o", entry->mode & 07777u);
	mb_json_set_str(line, "mode", mode);
	mb_json_set_int(line, "uid", entry->uid);
	mb_json_set_int(line, "gid", entry->gid);
	if (entry->user)
		mb_json_set_str(line, "user", entry->user);
	if (entry->group)
		mb_json_set_str(line, "group", entry->group);
}

static enum mb_code
write_line(struct data_export *data, json_t *line, struct mb_error *err)
{
	char *text = mb_json_text(line);
	int done = fprintf(data->index, "%s\n", text);

	free(text);
	json_decref(line);
	return done < 0 ? mb_fail_errno(err, errno, "could not write an index") : MB_OK;
}

/* -- objects ---------------------------------------------------------------------------------------- */

static enum mb_code
add_object(struct data_export *data, const struct mb_state_key *key, struct mb_error *err)
{
	const struct mb_entry *entry = &key->current->entry;
	struct mb_tar_member member = {.type = S_IFREG, .mode = 0644, .size = entry->size};
	char modified[MB_TIME_TEXT];
	json_t *line = json_object();
	enum mb_code code;

	data->name.len = data->prefix_len;
	archive_keys_encode(&data->keys, &data->name, key->key, key->key_len);
	member.path = mb_buf_cstr(&data->name);
	member.mtime_ns = entry->mtime_ns ? entry->mtime_ns : (int64_t) entry->version;
	code = add_contents(data, entry, &member, err);
	mb_json_set_str(line, "file", member.path);
	set_bytes(line, "key", key->key);
	mb_json_set_int(line, "size", (int64_t) entry->size);
	mb_time_format(modified, member.mtime_ns / 1000);
	mb_json_set_str(line, "modified", modified);
	mb_json_set_int(line, "modified_ns", member.mtime_ns);
	if (key->is_ambiguous)
		mb_json_set_bool(line, "ambiguous", true);
	if (entry->mode)
		set_owner(line, entry);
	json_object_set_new(line, "meta", mb_state_meta(entry));
	data->left_out += key->count - 1;
	if (code)
	{
		json_decref(line);
		return code;
	}
	return write_line(data, line, err);
}

static enum mb_code
add_objects(struct data_export *data, struct mb_error *err)
{
	const struct mb_restore_options *options = &data->run->options;
	int64_t time_us = mb_json_time(json_object_get(data->run->plan, "restore"), "reached");
	struct mb_state_time time =
		options->target.kind == MB_TARGET_LATEST || !time_us
			? MB_STATE_LATEST
			: mb_state_of(&data->commit, data->component->settings, time_us);
	struct mb_state *state = mb_state_new(data->run->cli->env.repo, &data->commit, time);
	const struct mb_state_key *key;
	enum mb_code code;

	while (!(code = mb_cancel_check(&mb_interrupt, err)) &&
		   !(code = mb_state_next(state, &key, err)) && key)
		if (key->current && !(code = add_object(data, key, err)))
			continue;
		else if (code)
			break;
	mb_state_free(state);
	return code;
}

/* -- files ------------------------------------------------------------------------------------------ */

static void
name_file(struct data_export *data, struct mb_buf *name, const char *path, size_t len)
{
	name->len = 0;
	mb_buf_printf(name, "configs/%s/", data->component->name);
	archive_name_encode(name, path, len, 0);
}

/* The member that stands for an entry, and what its line says of the kind. */
static enum mb_code
add_member(struct data_export *data, const struct mb_entry *entry, struct mb_tar_member *member,
		   json_t *line, struct mb_error *err)
{
	struct mb_buf target = {0};
	enum mb_code code;

	switch (entry->type)
	{
		case MB_ENTRY_FILE:
			member->type = S_IFREG;
			member->size = entry->size;
			mb_json_set_int(line, "size", (int64_t) entry->size);
			return add_contents(data, entry, member, err);
		case MB_ENTRY_HARDLINK:
			member->type = S_IFREG;
			name_file(data, &target, entry->link_target, strlen(entry->link_target));
			member->hard_link = mb_buf_cstr(&target);
			set_bytes(line, "hard_link", entry->link_target);
			break;
		case MB_ENTRY_SYMLINK:
			member->type = S_IFLNK;
			member->link = entry->link_target;
			set_bytes(line, "link", entry->link_target);
			break;
		default:
			member->type = S_IFDIR;
			break;
	}
	code = archive_add(&data->run->archive, member, err);
	mb_buf_release(&target);
	return code;
}

static enum mb_code
add_entry(struct data_export *data, const struct mb_entry *entry, struct mb_error *err)
{
	struct mb_tar_member member = {.mode = entry->mode & 07777u,
								   .uid = entry->uid,
								   .gid = entry->gid,
								   .user = entry->user,
								   .group = entry->group,
								   .mtime_ns = entry->mtime_ns};
	char *path = mb_strndup(entry->path, entry->path_len);
	json_t *line = json_object();
	enum mb_code code;

	name_file(data, &data->name, entry->path, entry->path_len);
	member.path = mb_buf_cstr(&data->name);
	mb_json_set_str(line, "file", member.path);
	set_bytes(line, "path", path);
	mb_json_set_int(line, "modified_ns", entry->mtime_ns);
	set_owner(line, entry);
	if (entry->flags & MB_ENTRY_MASKED)
		mb_json_set_bool(line, "masked", true);
	code = add_member(data, entry, &member, line, err);
	free(path);
	if (code)
	{
		json_decref(line);
		return code;
	}
	return write_line(data, line, err);
}

static enum mb_code
add_files(struct data_export *data, struct mb_error *err)
{
	struct mb_manifest_reader *reader =
		mb_manifest_reader_new(data->run->cli->env.repo, &data->commit.blocks);
	const struct mb_entry *entry;
	enum mb_code code;

	while (!(code = mb_cancel_check(&mb_interrupt, err)) &&
		   !(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		bool has_place = entry->type == MB_ENTRY_FILE || entry->type == MB_ENTRY_DIR ||
						 entry->type == MB_ENTRY_SYMLINK || entry->type == MB_ENTRY_HARDLINK;

		if (has_place && !(entry->flags & MB_ENTRY_AFTER_CUT))
			code = add_entry(data, entry, err);
		if (code)
			break;
	}
	mb_manifest_reader_free(reader);
	return code;
}

/* -- both ------------------------------------------------------------------------------------------- */

static enum mb_code
export_with(struct export_run *run, struct mb_component *component, const char *folder,
			enum mb_code (*fill)(struct data_export *, struct mb_error *), struct mb_error *err)
{
	struct data_export data = {.run = run, .component = component};
	char *index = mb_asprintf("metadata/%s.jsonl", folder);
	const char *id = mb_json_str(export_part(run, component->name), "backup", "");
	enum mb_code code = mb_commit_get(run->cli->env.repo, component->name, id, &data.commit, err);

	run->progress = mb_env_progress(&run->cli->env, component->name);
	mb_progress_phase(run->progress, "exporting");
	mb_buf_printf(&data.name, "%s/", folder);
	data.prefix_len = data.name.len;
	data.reader = mb_pack_reader_new(run->cli->env.repo);
	if (!code)
		code = archive_temporary(&data.index, run->cli->env.spool, err);
	if (!code)
		code = fill(&data, err);
	if (!code && fflush(data.index) != 0)
		code = mb_fail_errno(err, errno, "could not write an index");
	if (!code)
		code = archive_add_fd(&run->archive, index, fileno(data.index), err);
	if (!code)
	{
		json_t *more = json_object();

		mb_json_set_str(more, "folder", folder);
		mb_json_set_str(more, "index", index);
		mb_json_set_int(more, "entries", (int64_t) data.entries);
		mb_json_set_int(more, "bytes", (int64_t) data.bytes);
		if (data.left_out > 0)
			mb_json_set_int(more, "other_versions", (int64_t) data.left_out);
		export_describe(run, component, &data.commit, more);
		mb_progress_phase(run->progress, "done");
	}
	if (data.index)
		fclose(data.index);
	mb_pack_reader_free(data.reader);
	mb_commit_release(&data.commit);
	archive_keys_release(&data.keys);
	mb_buf_release(&data.name);
	free(index);
	return code ? mb_error_context(err, "could not export \"%s\"", component->name) : MB_OK;
}

enum mb_code
export_objects(struct export_run *run, struct mb_component *component, struct mb_error *err)
{
	char *name = export_folder(run, component);
	char *folder = mb_asprintf("minio/%s", name);
	enum mb_code code = export_with(run, component, folder, add_objects, err);

	free(folder);
	free(name);
	return code;
}

enum mb_code
export_files(struct export_run *run, struct mb_component *component, struct mb_error *err)
{
	char *folder = mb_asprintf("configs/%s", component->name);
	enum mb_code code = export_with(run, component, folder, add_files, err);

	free(folder);
	return code;
}

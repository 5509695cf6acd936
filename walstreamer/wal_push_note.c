/*
 * wal_push_note.c - the spool's memory of wal-push: <spool>/wal-push-<component>.json
 *     {"repository", "cluster" (mb_data_dir_marker), "system_id",
 *      "branches": {"<timeline>": "<branch>"},
 *      "segments": {"<file>": {"inode", "size", "modified", "system_id"}}}
 * A hint that may be lost: without it bytes are compared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "walstreamer/wal_push_private.h"

#define NOTE_MAX_BYTES (1u << 20)

static char *
note_path(const char *spool, const char *component)
{
	return mb_asprintf("%s/wal-push-%s.json", spool, component);
}

json_t *
mb_push_note_read(const char *spool, const char *component, const char *repository_id)
{
	char *path = note_path(spool, component);
	char marker[MB_DATA_DIR_MARKER];
	struct mb_buf text = {0};
	struct mb_error ignored;
	json_t *note = NULL;

	mb_data_dir_marker(marker);
	if (!marker[0] || mb_file_read(&text, path, NOTE_MAX_BYTES, &ignored) ||
		mb_json_parse(&note, (const char *) text.data, text.len, path, &ignored))
		note = NULL;
	if (note && (strcmp(mb_json_str(note, "repository", ""), repository_id) != 0 ||
				 strcmp(mb_json_str(note, "cluster", ""), marker) != 0))
	{
		json_decref(note);
		note = NULL;
	}
	mb_buf_release(&text);
	free(path);
	return note ? note : json_object();
}

void
mb_push_note_add(json_t *segments, const struct mb_push_file *file)
{
	json_t *json = json_object();

	mb_json_set_int(json, "inode", (int64_t) file->inode);
	mb_json_set_int(json, "size", file->segment_size);
	mb_json_set_int(json, "modified", file->modified_us);
	mb_json_set_str(json, "system_id", file->system_id);
	json_object_set_new(segments, file->file, json);
}

void
mb_push_note_write(const struct mb_push_target *target, const struct mb_push_file *file,
				   json_t *segments)
{
	json_t *json = json_object(), *branches, *old;
	char *text, *path, timeline[16];
	struct mb_error err;

	old = json_object_get(target->note, "branches");
	branches = old && strcmp(mb_json_str(target->note, "system_id", ""), file->system_id) == 0
				   ? json_copy(old)
				   : json_object();
	snprintf(timeline, sizeof(timeline), "%u", file->timeline);
	mb_json_set_str(branches, timeline, target->branch);
	mb_json_set_str(json, "repository", target->env->repo->id_text);
	mb_json_set_str(json, "cluster", target->marker);
	mb_json_set_str(json, "system_id", file->system_id);
	json_object_set_new(json, "branches", branches);
	json_object_set(json, "segments", segments);
	text = mb_json_text(json);
	path = note_path(target->env->spool, target->component);
	if (target->marker[0] && mb_file_write_durable(path, text, strlen(text), 0600, &err))
		mb_log_warning(target->env->log, "%s: %s", target->component, err.message);
	free(path);
	free(text);
	json_decref(json);
}

bool
mb_wal_push_is_noted(const char *spool, const char *component, const char *repository_id,
					 const char *path)
{
	json_t *note = mb_push_note_read(spool, component, repository_id);
	const char *slash = strrchr(path, '/');
	const json_t *segment =
		json_object_get(json_object_get(note, "segments"), slash ? slash + 1 : path);
	struct mb_push_file file;
	struct mb_error ignored;
	bool noted = false;

	if (segment && mb_push_open(&file, path, &ignored) == MB_OK)
	{
		noted = mb_json_int(segment, "inode", -1) == (int64_t) file.inode &&
				mb_json_int(segment, "size", -1) == file.segment_size &&
				mb_json_int(segment, "modified", -1) == file.modified_us &&
				strcmp(mb_json_str(segment, "system_id", ""), file.system_id) == 0;
		close(file.fd);
	}
	json_decref(note);
	return noted;
}

/* resync.c - see resync.h. */
#include "redis/resync.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/base/time.h"

#define FILE_MAX_BYTES 4096

static char *
file_path(const char *spool, const char *component)
{
	char *path = mb_asprintf("%s/redis-%s.resync", spool, component);
	char *slash = strchr(path + strlen(spool) + 1, '/'); /* of a shard's name */

	if (slash)
		*slash = '.';
	return path;
}

/* *json is NULL when there is none. */
static enum mb_code
read_note(const char *path, json_t **json, struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code = mb_file_read(&text, path, FILE_MAX_BYTES, err);

	*json = NULL;
	if (!code)
		code = mb_json_parse(json, (const char *) text.data, text.len, path, err);
	mb_buf_release(&text);
	/* Damaged: written anew by the next one, which it must not forbid for ever. */
	if (code != MB_NOT_FOUND && code != MB_CORRUPT)
		return code;
	/* Nothing of it may be left: a stream goes on with this err for hours. */
	mb_error_clear(err);
	return MB_OK;
}

/* The times of the note, when it is of the last hour. */
static bool
is_recent(const json_t *note, int64_t now_us, char last[MB_TIME_TEXT], char next[MB_TIME_TEXT])
{
	int64_t last_us = mb_json_time(note, "time");

	if (last_us <= 0 || last_us > now_us || now_us - last_us >= MB_RESYNC_INTERVAL_US)
		return false;
	mb_time_format(last, last_us);
	mb_time_format(next, last_us + MB_RESYNC_INTERVAL_US);
	return true;
}

enum mb_code
mb_resync_check(const char *spool, const char *component, const char *run_id, int64_t now_us,
				struct mb_error *err)
{
	char *path = file_path(spool, component);
	char last_text[MB_TIME_TEXT], next_text[MB_TIME_TEXT];
	json_t *note;
	enum mb_code code = read_note(path, &note, err);

	if (!code && is_recent(note, now_us, last_text, next_text) &&
		(!mb_json_bool(note, "complete", false) ||
		 strcmp(mb_json_str(note, "run_id", ""), run_id) == 0))
	{
		code = mb_fail(err, MB_UNREACHABLE,
					   "the stream needs a full resync, but one was begun at %s: the next is "
					   "allowed at %s",
					   last_text, next_text);
		mb_error_hint(err, "\"mbackup backup\" makes one now; the stream then goes on from there.");
	}
	json_decref(note);
	free(path);
	return code;
}

static enum mb_code
write_note(const char *spool, const char *component, json_t *note, struct mb_error *err)
{
	char *path = file_path(spool, component), *text = mb_json_text(note);
	enum mb_code code = mb_file_write_durable(path, text, strlen(text), 0600, err);

	free(text);
	json_decref(note);
	free(path);
	return code;
}

enum mb_code
mb_resync_note(const char *spool, const char *component, const char *run_id, int64_t now_us,
			   enum mb_resync_state state, struct mb_error *err)
{
	json_t *note = json_object();

	mb_json_set_time(note, "time", now_us);
	mb_json_set_str(note, "run_id", run_id);
	json_object_set_new(note, "complete", json_boolean(state == MB_RESYNC_COMPLETE));
	return write_note(spool, component, note, err);
}

enum mb_code
mb_resync_refuse(const char *spool, const char *component, const char *run_id, int64_t now_us,
				 uint64_t backlog_bytes, struct mb_error *err)
{
	json_t *note = json_object();

	mb_json_set_time(note, "time", now_us);
	mb_json_set_str(note, "run_id", run_id);
	/* A restarted server is not forbidden one of its own. */
	json_object_set_new(note, "complete", json_true());
	json_object_set_new(note, "refused", json_true());
	mb_json_set_int(note, "backlog", (int64_t) backlog_bytes);
	return write_note(spool, component, note, err);
}

enum mb_code
mb_resync_check_psync(const char *spool, const char *component, const char *run_id, int64_t now_us,
					  uint64_t backlog_bytes, struct mb_error *err)
{
	char *path = file_path(spool, component);
	char last_text[MB_TIME_TEXT], next_text[MB_TIME_TEXT];
	json_t *note;
	enum mb_code code = read_note(path, &note, err);

	if (!code && is_recent(note, now_us, last_text, next_text) &&
		mb_json_bool(note, "refused", false) &&
		strcmp(mb_json_str(note, "run_id", ""), run_id) == 0 &&
		backlog_bytes <= (uint64_t) mb_json_int(note, "backlog", 0))
	{
		code = mb_fail(err, MB_UNREACHABLE,
					   "the server began a full resync that was not asked for, last at %s, because "
					   "its backlog (repl-backlog-size) is too small for its writes: the stream "
					   "stays away until %s, or until the backlog is larger",
					   last_text, next_text);
		mb_error_hint(err, "Raise repl-backlog-size: the stream then goes on.");
	}
	json_decref(note);
	free(path);
	return code;
}

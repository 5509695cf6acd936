/* restore_journal.c - see restore_journal.h. */
#include "core/engine/restore_journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"

#define PLAN_MAX_BYTES (1u << 30)
#define JOURNAL_MAX_BYTES (256u << 20)

static const char *const state_names[] = {"new", "begun", "done"};

static char *
directory_of(const char *spool, const char *id)
{
	return mb_asprintf("%s/restores%s%s", spool, id ? "/" : "", id ? id : "");
}

static struct mb_journal *
new_journal(const char *spool, const char *id)
{
	struct mb_journal *journal = mb_calloc(1, sizeof(*journal));

	snprintf(journal->id, sizeof(journal->id), "%s", id);
	journal->directory = directory_of(spool, id);
	journal->steps = json_object();
	journal->fd = -1;
	pthread_mutex_init(&journal->lock, NULL);
	return journal;
}

void
mb_journal_close(struct mb_journal *journal)
{
	if (!journal)
		return;
	if (journal->fd >= 0)
		close(journal->fd);
	json_decref(journal->plan);
	json_decref(journal->steps);
	free(journal->directory);
	pthread_mutex_destroy(&journal->lock);
	free(journal);
}

char *
mb_journal_path(const struct mb_journal *journal, const char *name)
{
	return mb_path_join(journal->directory, name);
}

enum mb_code
mb_journal_write(struct mb_journal *journal, const char *name, const json_t *json,
				 struct mb_error *err)
{
	char *path = mb_journal_path(journal, name), *text = mb_json_text(json);
	enum mb_code code = mb_file_write_durable(path, text, strlen(text), 0600, err);

	free(text);
	free(path);
	return code;
}

/* -- beginning and reading ------------------------------------------------------------------------ */

static enum mb_code
open_lines(struct mb_journal *journal, int flags, struct mb_error *err)
{
	char *path = mb_journal_path(journal, "journal");
	enum mb_code code = MB_OK;

	journal->fd = mb_open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (journal->fd < 0)
		code = mb_fail_errno(err, errno, "could not open \"%s\"", path);
	free(path);
	return code;
}

enum mb_code
mb_journal_create(struct mb_journal **out, const char *spool, const char *id, json_t *plan,
				  struct mb_error *err)
{
	struct mb_journal *journal = new_journal(spool, id);
	enum mb_code code = mb_mkdirs(journal->directory, 0700, err);

	journal->plan = json_incref(plan);
	if (!code)
		code = open_lines(journal, O_CREAT | O_EXCL, err);
	if (!code)
		code = mb_fsync_path(journal->directory, err);
	/* Last: without it the directory is none of a restore. */
	if (!code)
		code = mb_journal_write(journal, "plan.json", plan, err);
	if (code)
	{
		mb_journal_close(journal);
		return mb_error_context(err, "could not begin the journal of the restore");
	}
	*out = journal;
	return MB_OK;
}

static void
take_line(struct mb_journal *journal, const char *text, size_t len)
{
	struct mb_error ignored;
	json_t *line;

	if (mb_json_parse(&line, text, len, "journal", &ignored))
		return;
	if (mb_json_str(line, "step", NULL))
		json_object_set(journal->steps, mb_json_str(line, "step", ""), line);
	json_decref(line);
}

/*
 * A line that was not written whole is none; who notes the next one cuts it off.  Not who only reads: it may be
 * a line that somebody else is just writing.
 */
static enum mb_code
read_lines(struct mb_journal *journal, struct mb_error *err)
{
	char *path = mb_journal_path(journal, "journal");
	struct mb_buf text = {0};
	size_t at = 0;
	enum mb_code code = mb_file_read(&text, path, JOURNAL_MAX_BYTES, err);

	while (!code && at < text.len)
	{
		const unsigned char *end = memchr(text.data + at, '\n', text.len - at);
		size_t len;

		if (!end)
			break;
		len = (size_t) (end - text.data) - at;
		take_line(journal, (const char *) text.data + at, len);
		at += len + 1;
	}
	journal->whole_bytes = at;
	journal->is_torn = at < text.len;
	mb_buf_release(&text);
	free(path);
	return code;
}

static enum mb_code
read_plan(struct mb_journal *journal, struct mb_error *err)
{
	char *path = mb_journal_path(journal, "plan.json");
	struct mb_buf text = {0};
	enum mb_code code = mb_file_read(&text, path, PLAN_MAX_BYTES, err);

	if (!code)
		code = mb_json_parse(&journal->plan, (const char *) text.data, text.len, path, err);
	mb_buf_release(&text);
	free(path);
	return code;
}

enum mb_code
mb_journal_open(struct mb_journal **out, const char *spool, const char *id, struct mb_error *err)
{
	struct mb_journal *journal = new_journal(spool, id);
	enum mb_code code = read_plan(journal, err);

	if (!code)
		code = open_lines(journal, 0, err);
	if (!code)
		code = read_lines(journal, err);
	if (code)
	{
		mb_journal_close(journal);
		return mb_error_context(err, "could not read the journal of restore %s", id);
	}
	*out = journal;
	return MB_OK;
}

/* -- steps --------------------------------------------------------------------------------------------- */

/* Behind the whole lines: the next line would be none if it began within a half one.  Under the lock. */
static enum mb_code
append(struct mb_journal *journal, const char *text, struct mb_error *err)
{
	enum mb_code code;

	if (journal->is_torn && ftruncate(journal->fd, (off_t) journal->whole_bytes) != 0)
		return mb_fail_errno(err, errno, "could not cut the restore's journal");
	journal->is_torn = true;
	code = mb_write_full(journal->fd, text, strlen(text), "the restore's journal", err);
	if (code)
		return code;
	journal->is_torn = false;
	journal->whole_bytes += strlen(text);
	if (fsync(journal->fd) != 0)
		return mb_fail_errno(err, errno, "could not sync the restore's journal");
	return MB_OK;
}

enum mb_code
mb_journal_note(struct mb_journal *journal, const char *step, enum mb_step_state state,
				const json_t *data, struct mb_error *err)
{
	json_t *line = json_object();
	enum mb_code code;
	char *text, *with_end;

	mb_json_set_str(line, "step", step);
	mb_json_set_str(line, "state", state_names[state]);
	mb_json_set_time(line, "time", mb_time_now_us());
	if (data)
		json_object_set_new(line, "data", json_deep_copy(data));
	text = mb_json_text(line);
	with_end = mb_asprintf("%s\n", text);
	pthread_mutex_lock(&journal->lock);
	code = append(journal, with_end, err);
	if (!code)
		json_object_set(journal->steps, step, line);
	pthread_mutex_unlock(&journal->lock);
	free(with_end);
	free(text);
	json_decref(line);
	return code;
}

static const json_t *
find_step(struct mb_journal *journal, const char *step)
{
	const json_t *line;

	pthread_mutex_lock(&journal->lock);
	line = json_object_get(journal->steps, step);
	pthread_mutex_unlock(&journal->lock);
	return line;
}

enum mb_step_state
mb_journal_state(struct mb_journal *journal, const char *step)
{
	const char *state = mb_json_str(find_step(journal, step), "state", "new");

	return strcmp(state, "done") == 0    ? MB_STEP_DONE
		   : strcmp(state, "begun") == 0 ? MB_STEP_BEGUN
										 : MB_STEP_NEW;
}

const json_t *
mb_journal_data(struct mb_journal *journal, const char *step)
{
	return json_object_get(find_step(journal, step), "data");
}

int64_t
mb_journal_time(struct mb_journal *journal, const char *step)
{
	return mb_json_time(find_step(journal, step), "time");
}

const char *
mb_journal_status(struct mb_journal *journal)
{
	static const char *const ends[][2] = {{"forgotten", "forgotten"},
										  {"rolled back", "rolled back"},
										  {"aborted", "aborted"}};
	size_t i;

	for (i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (mb_journal_state(journal, ends[i][0]) == MB_STEP_DONE)
			return ends[i][1];
	if (mb_journal_state(journal, "rolled back") == MB_STEP_BEGUN ||
		mb_journal_state(journal, "aborted") == MB_STEP_BEGUN)
		return "rolling back";
	return mb_journal_state(journal, "finished") == MB_STEP_DONE ? "finished" : "unfinished";
}

/* -- which there are ---------------------------------------------------------------------------------- */

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

enum mb_code
mb_journal_list(struct mb_journal_ids *ids, const char *spool, struct mb_error *err)
{
	char *path = directory_of(spool, NULL);
	DIR *dir = mb_opendir(path);
	enum mb_code code = MB_OK;
	struct dirent *entry;

	if (!dir && errno != ENOENT)
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	/* One that is overlooked could never be finished: a failure to look is none. */
	for (errno = 0; dir && !code && (entry = readdir(dir)) != NULL; errno = 0)
	{
		char *plan = mb_asprintf("%s/%s/plan.json", path, entry->d_name);
		bool exists = false;

		if (mb_id_is_valid(entry->d_name))
			code = mb_name_exists(AT_FDCWD, plan, &exists, err);
		if (exists)
		{
			ids->items = mb_grow(ids->items, &ids->cap, ids->count + 1, sizeof(*ids->items));
			memcpy(ids->items[ids->count++], entry->d_name, strlen(entry->d_name) + 1);
		}
		free(plan);
	}
	if (dir && !code && errno)
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	if (dir)
		closedir(dir);
	free(path);
	if (ids->count > 1)
		qsort(ids->items, ids->count, sizeof(*ids->items), compare_ids);
	return code;
}

void
mb_journal_ids_release(struct mb_journal_ids *ids)
{
	free(ids->items);
	memset(ids, 0, sizeof(*ids));
}

enum mb_code
mb_journal_unfinished(char id[MB_ID_TEXT], const char *spool, struct mb_error *err)
{
	struct mb_journal_ids ids = {0};
	enum mb_code code = mb_journal_list(&ids, spool, err);
	size_t i;

	id[0] = '\0';
	for (i = ids.count; !code && !id[0] && i > 0; i--)
	{
		struct mb_journal *journal;
		const char *status;

		code = mb_journal_open(&journal, spool, ids.items[i - 1], err);
		if (code)
			break;
		status = mb_journal_status(journal);
		if (strcmp(status, "unfinished") == 0 || strcmp(status, "rolling back") == 0)
			snprintf(id, MB_ID_TEXT, "%s", ids.items[i - 1]);
		mb_journal_close(journal);
	}
	mb_journal_ids_release(&ids);
	return code;
}

enum mb_code
mb_journal_find(char id[MB_ID_TEXT], const char *spool, const char *which, struct mb_error *err)
{
	struct mb_journal_ids ids = {0};
	enum mb_code code = mb_journal_list(&ids, spool, err);
	size_t found = 0, i;

	for (i = 0; !code && i < ids.count; i++)
		if (!which || mb_starts_with(ids.items[i], which))
		{
			snprintf(id, MB_ID_TEXT, "%s", ids.items[i]);
			found++;
		}
	if (!code && found == 0)
	{
		code = mb_fail(err, MB_NOT_FOUND,
					   which ? "there is no restore \"%s\"" : "there is no restore", which);
		mb_error_hint(err, "See \"mbackup rollback --list\".");
	}
	else if (!code && which && found > 1)
		code = mb_fail(err, MB_CONFIG, "\"%s\" could be %zu restores", which, found);
	mb_journal_ids_release(&ids);
	return code;
}

/*
 * daemon_jobs.c - jobs: from a row to a command line, and from its end to the row.
 *
 * What a row may hold was checked by the function that made it (sql/); it is checked
 * here again, because a command line is made of it: every word that comes from a row stands
 * behind an option that takes it, or is refused when it could be an option itself.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/daemon.h"
#include "core/base/fs.h"
#include "core/base/time.h"

#define MAX_WORDS 200

/* -- the command line ----------------------------------------------------------------------- */

struct words
{
	char *items[MAX_WORDS + 1];
	size_t count;
	bool bad; /* something of the row makes no sense */
};

static void
add(struct words *words, const char *text)
{
	if (!text || words->count == MAX_WORDS)
		words->bad = true;
	else
		words->items[words->count++] = mb_strdup(text);
}

/* --name=value: whatever the value begins with, it is no option. */
static void
add_option(struct words *words, const char *name, const char *value)
{
	char *text = mb_asprintf("--%s=%s", name, value ? value : "");

	words->bad = words->bad || !value;
	add(words, text);
	free(text);
}

static void
add_name(struct words *words, const char *name)
{
	words->bad = words->bad || !name || !*name || *name == '-';
	add(words, name);
}

static void
add_components(struct words *words, const json_t *arguments)
{
	json_t *name;
	size_t i;

	json_array_foreach(json_object_get(arguments, "components"), i, name)
		add_option(words, "component", json_string_value(name));
}

static void
backup_words(struct words *words, const json_t *arguments, const char *job_label)
{
	json_t *labels = json_object_get(arguments, "labels"), *value;
	const char *key;

	add(words, "backup");
	if (json_object_get(arguments, "type"))
		add_option(words, "type", mb_json_str(arguments, "type", NULL));
	add_components(words, arguments);
	json_object_foreach(labels, key, value)
	{
		char *text =
			mb_asprintf("%s=%s", key, json_string_value(value) ? json_string_value(value) : "");

		words->bad = words->bad || !json_is_string(value);
		add_option(words, "label", text);
		free(text);
	}
	add_option(words, "label", job_label);
	if (mb_json_bool(arguments, "pause", false))
		add(words, "--pause");
}

static void
plan_words(struct words *words, const json_t *target)
{
	static const char *const options[] = {"time", "mark", "lsn", "xid", "name"};
	const char *kind = mb_json_str(target, "kind", "");
	const char *value = mb_json_str(target, "value", NULL);
	size_t i;

	add(words, "restore");
	add(words, "--dry-run");
	if (strcmp(kind, "backup") == 0)
		add_name(words, value);
	else if (strcmp(kind, "latest") == 0)
		add(words, "--to-latest");
	else
	{
		for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
			if (strcmp(kind, options[i]) == 0)
			{
				char *name = mb_asprintf("to-%s", kind);

				add_option(words, name, value);
				free(name);
				return;
			}
		words->bad = true;
	}
}

static void
verify_words(struct words *words, const json_t *arguments)
{
	json_t *backup;
	size_t i;

	add(words, "verify");
	if (mb_json_bool(arguments, "restore", false))
		add(words, "--restore");
	if (json_object_get(arguments, "older-than"))
		add_option(words, "older-than", mb_json_str(arguments, "older-than", NULL));
	if (json_object_get(arguments, "budget"))
		add_option(words, "budget", mb_json_str(arguments, "budget", NULL));
	if (json_object_get(arguments, "read-data"))
		add_option(words, "read-data", mb_json_str(arguments, "read-data", NULL));
	json_array_foreach(json_object_get(arguments, "backups"), i, backup)
		add_name(words, json_string_value(backup));
}

static void
make_words(struct words *words, const char *kind, const json_t *arguments, const char *job_label)
{
	if (strcmp(kind, "backup") == 0)
		backup_words(words, arguments, job_label);
	else if (strcmp(kind, "mark") == 0)
	{
		add(words, "mark");
		add_name(words, mb_json_str(arguments, "name", NULL));
		if (mb_json_bool(arguments, "pause", false))
			add(words, "--pause");
	}
	else if (strcmp(kind, "verify") == 0)
		verify_words(words, arguments);
	else if (strcmp(kind, "expire") == 0)
	{
		add(words, "expire");
		if (mb_json_bool(arguments, "dry-run", false))
			add(words, "--dry-run");
	}
	else if (strcmp(kind, "pin") == 0)
	{
		add(words, mb_json_bool(arguments, "pinned", true) ? "pin" : "unpin");
		add_name(words, mb_json_str(arguments, "backup", NULL));
	}
	else if (strcmp(kind, "plan") == 0)
		plan_words(words, json_object_get(arguments, "target"));
	else
		words->bad = true;
	add(words, "--json");
	add(words, "--quiet");
}

/* -- the end -------------------------------------------------------------------------------- */

static json_t *
error_of(enum mb_code code, const char *message, const char *hint)
{
	return json_pack("{s:s,s:s,s:s,s:s}", "code", mb_code_name(code), "message", message, "detail",
					 "", "hint", hint);
}

static void
end_job(struct daemon_job *job, const char *state, json_t *result, json_t *error)
{
	job->ended = true;
	snprintf(job->state, sizeof(job->state), "%s", state);
	job->result = result;
	job->error = error;
}

/* From its exit status, and its answer, which is one JSON object. */
static void
take_end(struct daemon *daemon, struct daemon_job *job)
{
	int status = child_exit_status(&job->child);
	json_t *answer = child_answer(&job->child);
	json_t *error = json_object_get(answer, "error");
	const char *state = status == MB_OK        ? "done"
						: status == MB_PARTIAL ? "partial"
						: job->cancel          ? "cancelled"
											   : "failed";

	/* It has said nothing, and may have come to its end all the same, a moment before. */
	if (!answer && status != MB_OK && status != MB_PARTIAL &&
		!(job->child.stop_ms && status == 128 + SIGTERM))
	{
		job->is_unsure = true;
		job->killed_ms = mb_monotonic_ms();
		sync_soon(daemon);
		return;
	}
	json_incref(error);
	json_object_del(answer, "error");
	/* Asked to stop before it could listen: the signal has killed it, at its start. */
	if (!answer && strcmp(state, "failed") == 0)
		error = error_of(MB_INTERRUPTED, "stopped by signal", "");
	if (answer && json_object_size(answer) == 0)
	{
		json_decref(answer);
		answer = NULL;
	}
	mb_log_info(&daemon->cli->log, "job %" PRId64 " (%s): %s%s%s", job->id, job->kind, state,
				error ? ": " : "", mb_json_str(error, "message", ""));
	end_job(job, state, answer, error);
	sync_soon(daemon);
}

/* Once the repository was looked at again. */
static void
settle_unsure(struct daemon *daemon, struct daemon_job *job)
{
	json_t *result = NULL;
	char text[160];

	if (!daemon->repository_up || daemon->list_asked_ms < job->killed_ms)
		return;
	job->is_unsure = false;
	if (job_has_ended_well(daemon, job->row, &result))
	{
		mb_log_info(&daemon->cli->log, "job %" PRId64 " (%s) was killed at its end: done", job->id,
					job->kind);
		end_job(job, "done", result, NULL);
		return;
	}
	snprintf(text, sizeof(text), "mbackup %s ended with status %d and gave no answer", job->kind,
			 child_exit_status(&job->child));
	mb_log_info(&daemon->cli->log, "job %" PRId64 " (%s): failed: %s", job->id, job->kind, text);
	end_job(job, job->cancel ? "cancelled" : "failed", NULL,
			error_of(MB_IO, text, "The log of the daemon says more."));
}

void
job_forget(struct daemon *daemon, size_t i)
{
	struct daemon_job *job = &daemon->jobs[i];
	char *path = mb_asprintf("%s/job-%" PRId64 ".lock", daemon->cli->env.spool, job->id);

	child_release(&job->child);
	if (job->lock_fd >= 0)
	{
		unlink(path);
		close(job->lock_fd);
	}
	free(path);
	json_decref(job->row);
	json_decref(job->result);
	json_decref(job->error);
	memmove(job, job + 1, (--daemon->job_count - i) * sizeof(*job));
}

/* -- life ----------------------------------------------------------------------------------- */

static void
lock_job(struct daemon *daemon, struct daemon_job *job)
{
	char *path = mb_asprintf("%s/job-%" PRId64 ".lock", daemon->cli->env.spool, job->id);
	struct mb_error err;

	mb_error_clear(&err);
	job->lock_fd = -1;
	/* Without it a later daemon only knows less. */
	if (mb_lock_file(&job->lock_fd, path, &err))
		mb_log_warning(&daemon->cli->log, "%s", err.message);
	free(path);
}

void
job_start(struct daemon *daemon, const json_t *row)
{
	struct daemon_job *job = &daemon->jobs[daemon->job_count++];
	int64_t id = mb_json_int(row, "id", 0);
	const char *kind = mb_json_str(row, "kind", ""), *key = mb_json_str(row, "key", "");
	char *label = mb_asprintf("job=%s", key);
	struct words words = {.count = 0};
	struct mb_error err;
	char **argv;
	size_t i;

	MB_ASSERT(daemon->job_count <= DAEMON_MAX_JOBS);
	*job = (struct daemon_job){.id = id,
							   .lock_fd = -1,
							   .row = json_deep_copy(row),
							   .child = {.answer_fd = -1, .progress_fd = -1}};
	snprintf(job->kind, sizeof(job->kind), "%s", kind);
	snprintf(job->key, sizeof(job->key), "%s", key);
	make_words(&words, kind, json_object_get(row, "arguments"), label);
	mb_error_clear(&err);
	if (words.bad)
		end_job(job, "failed", NULL,
				error_of(MB_CONFIG, "the job's arguments make no sense",
						 "Start jobs by the functions of the extension."));
	else
	{
		argv = daemon_argv(daemon, (const char *const *) words.items);
		lock_job(daemon, job);
		mb_log_info(&daemon->cli->log, "job %" PRId64 " (%s) begins", id, kind);
		if (child_start(&job->child, argv, job->lock_fd, &err))
			end_job(job, "failed", NULL, error_of(err.code, err.message, err.hint));
		free(argv);
	}
	for (i = 0; i < words.count; i++)
		free(words.items[i]);
	free(label);
}

void
jobs_turn(struct daemon *daemon)
{
	size_t i;

	for (i = 0; i < daemon->job_count; i++)
	{
		struct daemon_job *job = &daemon->jobs[i];

		if (job->is_unsure)
			settle_unsure(daemon, job);
		else if (!job->ended && child_pump(&job->child))
			take_end(daemon, job);
	}
}

void
jobs_stop(struct daemon *daemon)
{
	size_t i;

	for (i = 0; i < daemon->job_count; i++)
		child_stop(&daemon->jobs[i].child);
}

bool
jobs_are_running(const struct daemon *daemon)
{
	size_t i;

	for (i = 0; i < daemon->job_count; i++)
		if (daemon->jobs[i].child.pid)
			return true;
	return false;
}

/* -- jobs of a daemon that is gone ---------------------------------------------------------- */

bool
job_is_alive(const struct daemon *daemon, int64_t id)
{
	char *path = mb_asprintf("%s/job-%" PRId64 ".lock", daemon->cli->env.spool, id);
	int fd = mb_open(path, O_RDONLY | O_CLOEXEC, 0);
	bool alive = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;

	if (fd >= 0)
	{
		if (!alive)
			unlink(path);
		close(fd);
	}
	free(path);
	return alive;
}

/* A mark has no labels: it is the one of that name that was made since. */
static bool
is_mark_of(const json_t *mark, const json_t *row)
{
	const char *name = mb_json_str(json_object_get(row, "arguments"), "name", "?");

	return strcmp(mb_json_str(mark, "name", ""), name) == 0 &&
		   mb_json_time(mark, "time") >= mb_json_time(row, "started");
}

static bool
is_backup_of(const json_t *backup, const json_t *row)
{
	const char *key = mb_json_str(row, "key", "?");

	return strcmp(mb_json_str(json_object_get(backup, "labels"), "job", ""), key) == 0;
}

bool
job_has_ended_well(const struct daemon *daemon, const json_t *row, json_t **result)
{
	const char *kind = mb_json_str(row, "kind", "");
	bool is_mark = strcmp(kind, "mark") == 0;
	json_t *item;
	size_t i;

	if (!is_mark && strcmp(kind, "backup") != 0)
		return false;
	json_array_foreach(json_object_get(daemon->list, is_mark ? "marks" : "backups"), i,
					   item) if (is_mark ? is_mark_of(item, row) : is_backup_of(item, row))
	{
		*result = json_pack("{s:O}", kind, item);
		return true;
	}
	return false;
}

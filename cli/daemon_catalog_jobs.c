/* daemon_catalog_jobs.c - what the catalog and the daemon tell each other of jobs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon_catalog.h"
#include "core/base/time.h"

/* Does it run here?  By its key: an id may be given again by a database that was restored. */
static bool
is_ours(const struct daemon *daemon, const json_t *row)
{
	size_t i;

	for (i = 0; i < daemon->job_count; i++)
		if (strcmp(daemon->jobs[i].key, mb_json_str(row, "key", "?")) == 0)
			return true;
	return false;
}

static enum mb_code
end_row(struct catalog *catalog, int64_t id, const char *state, const json_t *result,
		const json_t *error, struct mb_error *err)
{
	char number[24];
	char *result_text = result ? mb_json_text(result) : NULL;
	char *error_text = error ? mb_json_text(error) : NULL;
	const char *params[] = {catalog->daemon->uuid, number, state, result_text, error_text};
	enum mb_code code;

	catalog_number(number, id);
	code = catalog_call(catalog, "SELECT mbackup.daemon_end($1, $2, $3, $4, $5)", 5, params, NULL,
						err);
	free(result_text);
	free(error_text);
	return code;
}

static enum mb_code
settle_orphan(struct catalog *catalog, const json_t *row, struct mb_error *err)
{
	struct daemon *daemon = catalog->daemon;
	int64_t id = mb_json_int(row, "id", 0);
	bool other = mb_json_int(row, "timeline", 0) != catalog->timeline;
	json_t *result = NULL, *error = NULL;
	const char *state = "done";
	enum mb_code code;

	if (is_ours(daemon, row))
		return MB_OK;
	if (!job_has_ended_well(daemon, row, &result))
	{
		state = other ? "abandoned" : "failed";
		error =
			json_pack("{s:s,s:s,s:s,s:s}", "code", mb_code_name(MB_INTERRUPTED), "message",
					  other ? "the job was running in a past that this database does not continue"
							: "the daemon that ran this job was killed before it ended",
					  "detail", "", "hint", "Start it again if it is still wanted.");
	}
	mb_log_info(&daemon->cli->log, "job %" PRId64 " of a daemon that is gone: %s", id, state);
	code = end_row(catalog, id, state, result, error, err);
	json_decref(result);
	json_decref(error);
	return code;
}

/* Not before the repository was looked at: a backup may be there that nobody wrote down. */
enum mb_code
catalog_settle_orphans(struct catalog *catalog, struct mb_error *err)
{
	struct daemon *daemon = catalog->daemon;
	enum mb_code code = MB_OK;
	bool alive = false;
	size_t i;

	if (!catalog->orphans || json_array_size(catalog->orphans) == 0)
		return MB_OK;
	if (!daemon->repository_up || daemon->list_asked_ms < catalog->hello_ms)
		return MB_OK;
	for (i = 0; !code && i < json_array_size(catalog->orphans); i++)
	{
		const json_t *row = json_array_get(catalog->orphans, i);

		if (job_is_alive(daemon, mb_json_int(row, "id", 0)))
			alive = true;
		else
			code = settle_orphan(catalog, row, err);
	}
	if (!code && !alive)
		json_array_clear(catalog->orphans);
	if (alive)
	{
		/* Its process was asked to stop, but may still finish: look again when it is gone. */
		catalog->hello_ms = mb_monotonic_ms();
		sync_soon(daemon);
	}
	return code;
}

enum mb_code
catalog_take_jobs(struct catalog *catalog, struct mb_error *err)
{
	struct daemon *daemon = catalog->daemon;
	const char *params[] = {daemon->uuid};
	enum mb_code code = MB_OK;
	bool more = true;

	while (!code && more && daemon->job_count < DAEMON_MAX_JOBS)
	{
		json_t *row = NULL;

		code = catalog_call(catalog, "SELECT to_jsonb(j) FROM mbackup.daemon_take($1) j", 1, params,
							&row, err);
		more = !code && json_is_object(row);
		if (more)
		{
			job_start(daemon, row);
			catalog->next_report_ms = 0;
		}
		json_decref(row);
	}
	return code;
}

/* Tell the progress of a job, and learn whether somebody wants it to stop. */
static enum mb_code
tell_progress(struct catalog *catalog, struct daemon_job *job, struct mb_error *err)
{
	char number[24];
	char *text = job->child.progress ? mb_json_text(job->child.progress) : mb_strdup("{}");
	const char *params[] = {catalog->daemon->uuid, number, text};
	json_t *cancel = NULL;
	enum mb_code code;

	catalog_number(number, job->id);
	code = catalog_call(catalog, "SELECT to_json(mbackup.daemon_progress($1, $2, $3))", 3, params,
						&cancel, err);
	if (!code && json_is_true(cancel) && !job->cancel)
	{
		mb_log_info(&catalog->daemon->cli->log, "job %" PRId64 " is cancelled", job->id);
		job->cancel = true;
		child_stop(&job->child);
	}
	free(text);
	json_decref(cancel);
	return code;
}

/* at_once: somebody may have said mbackup_stop(). */
enum mb_code
catalog_tell_jobs(struct catalog *catalog, bool at_once, struct mb_error *err)
{
	struct daemon *daemon = catalog->daemon;
	int64_t now = mb_monotonic_ms();
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < daemon->job_count; i++)
	{
		struct daemon_job *job = &daemon->jobs[i];

		if (!job->ended && (at_once || now - job->told_ms >= PROGRESS_MS))
		{
			code = tell_progress(catalog, job, err);
			job->told_ms = now;
		}
		else if (job->ended)
		{
			code = end_row(catalog, job->id, job->state, job->result, job->error, err);
			if (!code)
			{
				job_forget(daemon, i--);
				catalog->next_report_ms = 0;
			}
		}
	}
	return code;
}

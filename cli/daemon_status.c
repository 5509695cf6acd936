/*
 * daemon_status.c - what is wrong, and the status document (docs/daemon.md).
 *
 * A problem is a state, not an event: it is found anew each time, keeps the moment since when
 * it was found without a break, and is gone when it is gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/daemon.h"
#include "core/base/time.h"

#define DATABASE_GRACE_US 15000000
#define STREAM_GRACE_US 60000000
#define JOINED_BYTES 1000 /* enough is told */
#define GAP_NEWS_US INT64_C(86400000000)

/* -- problems ------------------------------------------------------------------------------- */

static const json_t *
find_problem(const json_t *problems, const char *component, const char *name)
{
	json_t *problem;
	size_t i;

	json_array_foreach((json_t *) problems, i,
					   problem) if (strcmp(mb_json_str(problem, "component", ""), component) == 0 &&
									strcmp(mb_json_str(problem, "name", ""), name) ==
										0) return problem;
	return NULL;
}

/* The same found once more (a second gap): the catalog has one of a name, with what both say. */
static void
join_problem(json_t *problem, const char *severity, const char *message)
{
	const char *said = mb_json_str(problem, "message", "");
	char *text;

	if (strcmp(severity, "failed") == 0)
		mb_json_set_str(problem, "severity", severity);
	if (strlen(said) > JOINED_BYTES || strstr(said, message))
		return;
	text = mb_asprintf("%s; %s", said, message);
	mb_json_set_str(problem, "message", text);
	free(text);
}

static void
add(const struct daemon *daemon, json_t *problems, const char *component, const char *name,
	const char *severity, const char *fix, const char *message)
{
	const json_t *before = find_problem(daemon->problems, component, name);
	json_t *twin = (json_t *) (uintptr_t) find_problem(problems, component, name);
	json_t *problem;

	if (twin)
	{
		join_problem(twin, severity, message);
		return;
	}
	problem = json_object();

	mb_json_set_str(problem, "component", component);
	mb_json_set_str(problem, "name", name);
	mb_json_set_str(problem, "severity", severity);
	mb_json_set_str(problem, "message", message);
	mb_json_set_str(problem, "fix", fix);
	if (before)
		mb_json_set_str(problem, "since", mb_json_str(before, "since", ""));
	else
		mb_json_set_time(problem, "since", mb_time_now_us());
	json_array_append_new(problems, problem);
}

static void
add_places(const struct daemon *daemon, json_t *problems)
{
	bool is_up = catalog_is_up(daemon->catalog);

	if (!is_up && mb_time_now_us() - catalog_since_us(daemon->catalog) > DATABASE_GRACE_US)
		add(daemon, problems, "daemon", "catalog", "failed",
			"Start the database, or see the message; jobs wait until it is back.",
			catalog_message(daemon->catalog));
	if (!daemon->repository_up && daemon->repository_message[0])
		add(daemon, problems, "repository", "reachable", "failed",
			"\"mbackup check\" says what is wrong with it.", daemon->repository_message);
}

/* The newest backup that is whole. */
static void
add_backup_age(const struct daemon *daemon, json_t *problems)
{
	int64_t limit_us = daemon_duration_ms(daemon, "backup-age") * 1000, newest_us = 0;
	char message[160], when[MB_TIME_TEXT];
	json_t *backup;
	size_t i;

	if (!daemon->list || limit_us == 0)
		return;
	json_array_foreach(json_object_get(daemon->list, "backups"), i,
					   backup) if (strcmp(mb_json_str(backup, "status", ""), "complete") == 0 &&
								   mb_json_time(backup, "finished") > newest_us) newest_us =
		mb_json_time(backup, "finished");
	if (newest_us && mb_time_now_us() - newest_us <= limit_us)
		return;
	mb_time_format(when, newest_us);
	snprintf(message, sizeof(message),
			 newest_us ? "the newest complete backup is of %s" : "there is no complete backup",
			 when);
	add(daemon, problems, "stack", "backup-age", "failed",
		"Run \"mbackup backup\" and see why it does not end well, or SELECT mbackup_start().",
		message);
}

static void
add_windows(const struct daemon *daemon, json_t *problems)
{
	json_t *window;
	size_t i;

	json_array_foreach(json_object_get(daemon->list, "windows"), i, window)
	{
		const json_t *gaps = json_object_get(window, "gaps");
		const json_t *gap = json_array_get(gaps, json_array_size(gaps) - 1);
		const char *end = json_string_value(json_array_get(gap, 1));
		char message[160];
		struct mb_error err;
		int64_t end_us;

		mb_error_clear(&err);
		if (!end || mb_time_parse(&end_us, end, &err) || mb_time_now_us() - end_us > GAP_NEWS_US)
			continue;
		snprintf(message, sizeof(message), "no moment between %s and %s can be restored",
				 json_string_value(json_array_get(gap, 0)), end);
		add(daemon, problems, mb_json_str(window, "component", "?"), "window-gap", "warning",
			"Take a backup now: what comes after it can be restored. The log of the streams says "
			"why.",
			message);
	}
}

static void
add_streams(const struct daemon *daemon, json_t *problems, const json_t *streams)
{
	int64_t limit_s = daemon_duration_ms(daemon, "max-lag") / 1000;
	json_t *stream;
	size_t i;

	json_array_foreach((json_t *) streams, i, stream)
	{
		const char *component = mb_json_str(stream, "component", "?");
		int64_t lag_s = mb_json_int(stream, "lag_seconds", 0);
		bool runs = strcmp(mb_json_str(stream, "state", ""), "running") == 0;
		char message[160];

		if (!runs && mb_time_now_us() - mb_json_time(stream, "since") > STREAM_GRACE_US)
			add(daemon, problems, component, "stream", "failed",
				"The message says why; \"mbackup check\" looks at every precondition.",
				*mb_json_str(stream, "message", "") ? mb_json_str(stream, "message", "")
													: "the stream waits for its server");
		else if (runs && limit_s && lag_s > limit_s)
		{
			snprintf(message, sizeof(message), "the repository is %lld s behind",
					 (long long) lag_s);
			add(daemon, problems, component, "stream-lag", "warning",
				"See the log of the daemon, and whether the repository is slow.", message);
		}
	}
}

/* The newest job of each schedule. */
static void
add_schedules(const struct daemon *daemon, json_t *problems)
{
	json_t *schedule, *job = NULL;
	size_t i, at;

	json_array_foreach(json_object_get(daemon->rows, "schedules"), i, schedule)
	{
		const char *name = mb_json_str(schedule, "name", "");

		json_array_foreach(json_object_get(daemon->rows, "jobs"), at,
						   job) if (strcmp(mb_json_str(job, "schedule", ""), name) == 0 &&
									mb_json_str(job, "finished", NULL)) break;
		if (at == json_array_size(json_object_get(daemon->rows, "jobs")))
			continue;
		if (strcmp(mb_json_str(job, "state", ""), "failed") == 0 ||
			strcmp(mb_json_str(job, "state", ""), "partial") == 0)
		{
			char own[80], message[256];

			snprintf(own, sizeof(own), "schedule-%.60s", name);
			snprintf(message, sizeof(message), "its last job was %s: %.180s",
					 mb_json_str(job, "state", ""),
					 mb_json_str(json_object_get(job, "error"), "message", "see the job"));
			add(daemon, problems, "stack", own, "failed",
				"SELECT * FROM mbackup.jobs says more; mend it and start the job again.", message);
		}
	}
}

static void
add_checks(const struct daemon *daemon, json_t *problems)
{
	json_t *check;
	size_t i;

	json_array_foreach(daemon->checks, i, check)
	{
		const char *status = mb_json_str(check, "status", "");

		/* The daemon looks at that itself, each time. */
		if (strcmp(mb_json_str(check, "id", ""), "repository.backup-age") == 0)
			continue;

		if (strcmp(status, "failed") == 0 || strcmp(status, "warning") == 0)
			add(daemon, problems, mb_json_str(check, "component", "?"),
				mb_json_str(check, "name", "?"), status, mb_json_str(check, "fix", ""),
				mb_json_str(check, "message", ""));
	}
}

/* -- the document --------------------------------------------------------------------------- */

static json_t *
database_json(const struct daemon *daemon)
{
	json_t *json = json_object();

	mb_json_set_str(json, "state", catalog_is_up(daemon->catalog) ? "up" : "down");
	mb_json_set_str(json, "message", catalog_message(daemon->catalog));
	mb_json_set_time(json, "since", catalog_since_us(daemon->catalog));
	return json;
}

static json_t *
repository_json(const struct daemon *daemon)
{
	char *url = document_url(mb_config_get(&daemon->cli->config, SCOPE_REPOSITORY, "url"));
	json_t *json = json_object();

	mb_json_set_str(json, "url", url);
	free(url);
	mb_json_set_str(json, "state", daemon->repository_up ? "up" : "down");
	mb_json_set_str(json, "message", daemon->repository_message);
	if (daemon->list)
		mb_json_set_time(json, "synced",
						 mb_time_now_us() - (mb_monotonic_ms() - daemon->list_asked_ms) * 1000);
	return json;
}

/* A member of what the catalog said last. */
static json_t *
row(const struct daemon *daemon, const char *name)
{
	json_t *value = json_object_get(daemon->rows, name);

	return value ? json_incref(value) : json_array();
}

static json_t *
daemon_json(void)
{
	json_t *json = json_object();

	mb_json_set_str(json, "state", "up");
	mb_json_set_time(json, "seen", mb_time_now_us());
	mb_json_set_int(json, "pid", (int64_t) getpid());
	return json;
}

/* The last drill, in a few members; NULL: there was none. */
static json_t *
drill_json(const struct daemon *daemon)
{
	static const char *const members[] = {"id", "started", "status", "rto_seconds", "rpo_seconds"};
	const json_t *drill = json_object_get(daemon->list, "drill");
	json_t *json = drill ? json_object() : NULL;
	size_t i;

	for (i = 0; drill && i < sizeof(members) / sizeof(members[0]); i++)
		if (json_object_get(drill, members[i]))
			json_object_set(json, members[i], json_object_get(drill, members[i]));
	return json;
}

/* Of the repository as it is, and of the jobs as the catalog knows them. */
static json_t *
last_json(const struct daemon *daemon)
{
	json_t *json = json_object();
	json_t *jobs = json_object_get(json_object_get(daemon->rows, "last"), "jobs");

	json_object_set_new(json, "backups", document_last_backups(daemon->list));
	json_object_set_new(json, "jobs", jobs ? json_incref(jobs) : json_array());
	if (json_object_get(daemon->list, "drill"))
		json_object_set_new(json, "drill", drill_json(daemon));
	return json;
}

void
status_turn(struct daemon *daemon)
{
	json_t *problems = json_array(), *status = json_object(), *streams = streams_json(daemon);

	add_places(daemon, problems);
	add_backup_age(daemon, problems);
	add_windows(daemon, problems);
	add_streams(daemon, problems, streams);
	add_schedules(daemon, problems);
	add_checks(daemon, problems);
	json_decref(daemon->problems);
	daemon->problems = problems;

	mb_json_set_str(status, "version", MB_VERSION);
	mb_json_set_time(status, "time", mb_time_now_us());
	mb_json_set_str(status, "stack", daemon->cli->config.path ? daemon->cli->config.path : "");
	mb_json_set_str(status, "host", daemon->host);
	json_object_set_new(status, "daemon", daemon_json());
	json_object_set_new(status, "database", database_json(daemon));
	json_object_set_new(status, "repository", repository_json(daemon));
	json_object_set_new(status, "windows", document_windows(daemon->list, &daemon->cli->stack));
	json_object_set_new(status, "backups", document_backups(daemon->list));
	json_object_set_new(status, "marks", document_marks(daemon->list));
	json_object_set_new(status, "streams", streams);
	json_object_set_new(status, "jobs", row(daemon, "jobs"));
	json_object_set_new(status, "schedules", row(daemon, "schedules"));
	json_object_set(status, "problems", problems);
	json_object_set_new(status, "last", last_json(daemon));
	json_decref(daemon->status);
	daemon->status = status;
}

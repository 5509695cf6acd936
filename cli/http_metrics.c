/*
 * http_metrics.c - the status document as OpenMetrics 1.0 text.
 *
 * A family is a few comment lines and its samples, all together and each set of labels once.
 * What the document does not know has no sample: a zero would be a lie.  The names are a
 * contract: docs/daemon.md.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/http.h"

#define ENTRY(list, i, item) json_array_foreach((json_t *) (uintptr_t) (list), i, item)

/* -- text ------------------------------------------------------------------------------------ */

static void
family(struct mb_buf *out, const char *name, const char *type, const char *unit, const char *help)
{
	mb_buf_printf(out, "# TYPE %s %s\n", name, type);
	if (unit)
		mb_buf_printf(out, "# UNIT %s %s\n", name, unit);
	mb_buf_printf(out, "# HELP %s %s\n", name, help);
}

static void
put_escaped(struct mb_buf *out, const char *value)
{
	for (; *value; value++)
		if (*value == '\n')
			mb_buf_put_str(out, "\\n");
		else if (*value == '"' || *value == '\\')
		{
			mb_buf_put_u8(out, '\\');
			mb_buf_put_u8(out, (uint8_t) *value);
		}
		else
			mb_buf_put_u8(out, (uint8_t) *value);
}

/* A name and its labels, taken from members of an object; keys end with NULL. */
static void
put_name(struct mb_buf *out, const char *name, const json_t *object, const char *const *keys)
{
	size_t i;

	mb_buf_put_str(out, name);
	for (i = 0; keys && keys[i]; i++)
	{
		mb_buf_printf(out, "%s%s=\"", i ? "," : "{", keys[i]);
		put_escaped(out, mb_json_str(object, keys[i], ""));
		mb_buf_put_u8(out, '"');
	}
	mb_buf_put_str(out, i ? "} " : " ");
}

static void
put_int(struct mb_buf *out, const char *name, const json_t *object, const char *const *keys,
		int64_t value)
{
	put_name(out, name, object, keys);
	mb_buf_printf(out, "%" PRId64 "\n", value);
}

/* Microseconds as seconds; not by a floating point number, whose text knows locales. */
static void
put_seconds(struct mb_buf *out, const char *name, const json_t *object, const char *const *keys,
			int64_t us)
{
	put_name(out, name, object, keys);
	mb_buf_printf(out, "%s%" PRId64 ".%06" PRId64 "\n", us < 0 ? "-" : "",
				  us < 0 ? -us / 1000000 : us / 1000000, us < 0 ? -us % 1000000 : us % 1000000);
}

/* A member that is a time; nothing when there is none. */
static void
put_time(struct mb_buf *out, const char *name, const json_t *object, const char *const *keys,
		 const char *member)
{
	if (mb_json_time(object, member))
		put_seconds(out, name, object, keys, mb_json_time(object, member));
}

static const char *const by_component[] = {"component", NULL};
static const char *const by_name[] = {"name", NULL};

/* -- the daemon and its places ----------------------------------------------------------------- */

static bool
is(const json_t *object, const char *member, const char *value)
{
	return strcmp(mb_json_str(object, member, ""), value) == 0;
}

static void
put_places(struct mb_buf *out, const json_t *status)
{
	static const char *const info[] = {"version", "host", "stack", NULL};
	const json_t *repository = json_object_get(status, "repository");

	family(out, "mbackup", "info", NULL, "The daemon, and the configuration that it serves.");
	put_int(out, "mbackup_info", status, info, 1);
	family(out, "mbackup_database_up", "gauge", NULL, "Is the catalog in the database served?");
	put_int(out, "mbackup_database_up", NULL, NULL,
			is(json_object_get(status, "database"), "state", "up"));
	family(out, "mbackup_repository_up", "gauge", NULL, "Did the repository answer the last time?");
	put_int(out, "mbackup_repository_up", NULL, NULL, is(repository, "state", "up"));
	family(out, "mbackup_repository_synced_timestamp_seconds", "gauge", "seconds",
		   "When the repository was looked into.");
	put_time(out, "mbackup_repository_synced_timestamp_seconds", repository, NULL, "synced");
}

/* -- backups ----------------------------------------------------------------------------------- */

/* The newest entry of each component, with its name as "component"; a new array. */
static json_t *
newest_components(const json_t *status)
{
	json_t *seen = json_object(), *list = json_array(), *backup, *component, *made;
	size_t i, j;

	ENTRY(json_object_get(status, "backups"), i, backup)
	ENTRY(json_object_get(backup, "components"), j, component)
	{
		const char *name = mb_json_str(component, "name", "");

		if (!*name || json_object_get(seen, name))
			continue;
		json_object_set_new(seen, name, json_true());
		made = json_copy(component);
		mb_json_set_str(made, "component", name);
		json_array_append_new(list, made);
	}
	json_decref(seen);
	return list;
}

static void
put_backups(struct mb_buf *out, const json_t *status)
{
	static const char *const kinds[] = {"type", "status", NULL};
	json_t *components = newest_components(status), *item;
	size_t i;

	family(out, "mbackup_last_backup_timestamp_seconds", "gauge", "seconds",
		   "End of the newest backup.");
	ENTRY(json_object_get(json_object_get(status, "last"), "backups"), i, item)
	put_time(out, "mbackup_last_backup_timestamp_seconds", item, kinds, "finished");
	family(out, "mbackup_backup_bytes", "gauge", "bytes", "Size in the newest backup.");
	ENTRY(components, i, item)
	put_int(out, "mbackup_backup_bytes", item, by_component, mb_json_int(item, "bytes", 0));
	family(out, "mbackup_backup_stored_bytes", "gauge", "bytes",
		   "What the newest backup added to the repository.");
	ENTRY(components, i, item)
	put_int(out, "mbackup_backup_stored_bytes", item, by_component,
			mb_json_int(item, "stored_bytes", 0));
	family(out, "mbackup_backup_duration_seconds", "gauge", "seconds",
		   "How long the newest backup took.");
	ENTRY(components, i, item)
	put_seconds(out, "mbackup_backup_duration_seconds", item, by_component,
				(int64_t) (json_number_value(json_object_get(item, "seconds")) * 1e6 + 0.5));
	json_decref(components);
}

static void
put_windows(struct mb_buf *out, const json_t *windows)
{
	json_t *window;
	size_t i;

	family(out, "mbackup_recovery_window_start_timestamp_seconds", "gauge", "seconds",
		   "From when on a restore is possible.");
	ENTRY(windows, i, window)
	put_time(out, "mbackup_recovery_window_start_timestamp_seconds", window, by_component, "from");
	family(out, "mbackup_recovery_window_end_timestamp_seconds", "gauge", "seconds",
		   "Up to when a restore is possible.");
	ENTRY(windows, i, window)
	put_time(out, "mbackup_recovery_window_end_timestamp_seconds", window, by_component, "to");
	family(out, "mbackup_recovery_window_gaps", "gauge", NULL,
		   "Spans inside the window that no restore leads to.");
	ENTRY(windows, i, window)
	put_int(out, "mbackup_recovery_window_gaps", window, by_component,
			(int64_t) json_array_size(json_object_get(window, "gaps")));
}

static void
put_streams(struct mb_buf *out, const json_t *streams)
{
	static const char *const kinds[] = {"component", "kind", NULL};
	json_t *stream;
	size_t i;

	family(out, "mbackup_stream_running", "gauge", NULL, "Does the stream run?");
	ENTRY(streams, i, stream)
	put_int(out, "mbackup_stream_running", stream, kinds, is(stream, "state", "running"));
	family(out, "mbackup_stream_lag_seconds", "gauge", "seconds",
		   "How far the repository is behind.");
	ENTRY(streams, i, stream)
	if (json_is_number(json_object_get(stream, "lag_seconds")))
		put_seconds(out, "mbackup_stream_lag_seconds", stream, by_component,
					(int64_t) (json_number_value(json_object_get(stream, "lag_seconds")) * 1e6 +
							   0.5));
}

/* -- jobs --------------------------------------------------------------------------------------- */

/* How many of a list have this value, for each value there is. */
static void
put_counts(struct mb_buf *out, const char *name, const json_t *list, const char *member,
		   const char *const *values)
{
	const char *const keys[] = {member, NULL};
	json_t *item, *label;
	size_t i;

	for (; *values; values++)
	{
		int64_t count = 0;

		ENTRY(list, i, item)
		count += is(item, member, *values);
		label = json_pack("{s:s}", member, *values);
		put_int(out, name, label, keys, count);
		json_decref(label);
	}
}

static void
put_jobs(struct mb_buf *out, const json_t *status)
{
	static const char *const states[] = {"queued", "running",   "done",      "partial",
										 "failed", "cancelled", "abandoned", NULL};
	static const char *const kinds[] = {"kind", "state", NULL};
	const json_t *last = json_object_get(json_object_get(status, "last"), "jobs");
	json_t *item;
	size_t i;

	family(out, "mbackup_jobs", "gauge", NULL, "How many of the newest 50 jobs are in a state.");
	put_counts(out, "mbackup_jobs", json_object_get(status, "jobs"), "state", states);
	family(out, "mbackup_job_last_finished_timestamp_seconds", "gauge", "seconds",
		   "End of the newest job that ended so.");
	ENTRY(last, i, item)
	put_time(out, "mbackup_job_last_finished_timestamp_seconds", item, kinds, "finished");
	family(out, "mbackup_verify_last_success_timestamp_seconds", "gauge", "seconds",
		   "End of the newest verification that found nothing wrong.");
	ENTRY(last, i, item)
	if (is(item, "kind", "verify") && is(item, "state", "done"))
		put_time(out, "mbackup_verify_last_success_timestamp_seconds", item, NULL, "finished");
}

static void
put_drill(struct mb_buf *out, const json_t *drill)
{
	static const char *const by_status[] = {"status", NULL};
	static const char *const names[] = {"mbackup_drill_rto_seconds", "mbackup_drill_rpo_seconds"};
	static const char *const helps[] = {"How long the restore of the last drill took.",
										"How far what it reached was behind what was asked for."};
	size_t i;

	family(out, "mbackup_drill_timestamp_seconds", "gauge", "seconds",
		   "When the last drill began.");
	put_time(out, "mbackup_drill_timestamp_seconds", drill, by_status, "started");
	for (i = 0; i < 2; i++)
	{
		const json_t *value = json_object_get(drill, names[i] + strlen("mbackup_drill_"));

		family(out, names[i], "gauge", "seconds", helps[i]);
		if (value)
			put_seconds(out, names[i], NULL, NULL,
						(int64_t) (json_number_value(value) * 1e6 + 0.5));
	}
}

static void
put_schedules(struct mb_buf *out, const json_t *schedules)
{
	json_t *schedule;
	size_t i;

	family(out, "mbackup_schedule_next_timestamp_seconds", "gauge", "seconds",
		   "When the schedule runs next.");
	ENTRY(schedules, i, schedule)
	put_time(out, "mbackup_schedule_next_timestamp_seconds", schedule, by_name, "next");
	family(out, "mbackup_schedule_missed", "counter", NULL, "Times that passed without a job.");
	ENTRY(schedules, i, schedule)
	put_int(out, "mbackup_schedule_missed_total", schedule, by_name,
			mb_json_int(schedule, "missed", 0));
}

/* mbackup check may find the same twice. */
static bool
is_first(const json_t *list, size_t at, const char *const *keys)
{
	const json_t *mine = json_array_get(list, at);
	size_t i, k;

	for (i = 0; i < at; i++)
	{
		for (k = 0; keys[k]; k++)
			if (!is(json_array_get(list, i), keys[k], mb_json_str(mine, keys[k], "")))
				break;
		if (!keys[k])
			return false;
	}
	return true;
}

static void
put_problems(struct mb_buf *out, const json_t *problems)
{
	static const char *const severities[] = {"warning", "failed", NULL};
	static const char *const keys[] = {"component", "name", "severity", NULL};
	json_t *problem;
	size_t i;

	family(out, "mbackup_problems", "gauge", NULL, "How many problems there are.");
	put_counts(out, "mbackup_problems", problems, "severity", severities);
	family(out, "mbackup_problem", "gauge", NULL, "1 for each problem.");
	ENTRY(problems, i, problem)
	if (is_first(problems, i, keys))
		put_int(out, "mbackup_problem", problem, keys, 1);
}

/* -- all ----------------------------------------------------------------------------------------- */

void
http_metrics(struct mb_buf *out, const json_t *status)
{
	put_places(out, status);
	put_backups(out, status);
	put_windows(out, json_object_get(status, "windows"));
	put_streams(out, json_object_get(status, "streams"));
	put_jobs(out, status);
	put_drill(out, json_object_get(json_object_get(status, "last"), "drill"));
	put_schedules(out, json_object_get(status, "schedules"));
	put_problems(out, json_object_get(status, "problems"));
}

void
http_metrics_end(struct mb_buf *out, bool is_up)
{
	family(out, "mbackup_up", "gauge", NULL, "Does the daemon's loop turn?");
	put_int(out, "mbackup_up", NULL, NULL, is_up);
	mb_buf_put_str(out, "# EOF\n");
}

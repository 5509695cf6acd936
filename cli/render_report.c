/* render_report.c - the report as text: what the page shows, from the same object. */
#include <string.h>

#include "cli/render.h"
#include "cli/report.h"

#define RETENTION_SHOWN 20

static const json_t *
window_of(const json_t *report, const char *component)
{
	const json_t *windows = json_object_get(report, "windows");
	size_t i;

	for (i = 0; i < json_array_size(windows); i++)
		if (strcmp(mb_json_str(json_array_get(windows, i), "component", ""), component) == 0)
			return json_array_get(windows, i);
	return NULL;
}

static void
render_verdict(const json_t *report, FILE *out)
{
	const json_t *stack = window_of(report, "stack");
	size_t problems = json_array_size(json_object_get(report, "problems"));
	char from[MB_TIME_TEXT], to[MB_TIME_TEXT], now[MB_TIME_TEXT];

	fprintf(out, "%s, %s, %s\n\n", mb_json_str(report, "host", "?"),
			mb_json_str(report, "stack", ""), render_time(report, "time", now));
	if (mb_json_str(stack, "from", NULL))
		fprintf(out, "You can go back to any moment from %s to %s%s.\n",
				render_time(stack, "from", from), render_time(stack, "to", to),
				json_array_size(json_object_get(stack, "gaps")) > 0 ? ", but for the gaps below"
																	: "");
	else
		fprintf(out, "Nothing can be restored yet: run \"mbackup backup\".\n");
	fprintf(out, problems == 0 ? "No problems.\n" : "%zu problem%s.\n", problems,
			problems == 1 ? "" : "s");
}

static void
render_problems(const json_t *report, FILE *out)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(report, "problems"), i, one)
	{
		fprintf(out, "%s%s: %s %s: %s\n", i == 0 ? "\nProblems\n" : "",
				mb_json_str(one, "severity", "?"), mb_json_str(one, "component", "?"),
				mb_json_str(one, "name", "?"), mb_json_str(one, "message", ""));
		if (mb_json_str(one, "fix", "")[0])
			fprintf(out, "  to do: %s\n", mb_json_str(one, "fix", ""));
	}
}

static void
render_report_windows(const json_t *report, FILE *out)
{
	json_t *one, *gap;
	size_t i, k;

	fprintf(out, "\n%-20s %-21s %-21s %s\n", "Window", "From", "To", "Gaps");
	json_array_foreach(json_object_get(report, "windows"), i, one)
	{
		const json_t *gaps = json_object_get(one, "gaps");
		char from[MB_TIME_TEXT], to[MB_TIME_TEXT];

		fprintf(out, "%-20s %-21s %-21s %zu\n", mb_json_str(one, "component", "?"),
				render_time(one, "from", from), render_time(one, "to", to), json_array_size(gaps));
		json_array_foreach((json_t *) (uintptr_t) gaps, k, gap)
			fprintf(out, "  nothing between %s and %s\n", json_string_value(json_array_get(gap, 0)),
					json_string_value(json_array_get(gap, 1)));
	}
}

static void
render_backups(const json_t *report, FILE *out)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(report, "backups"), i, one)
	{
		char bytes[MB_SIZE_TEXT], stored[MB_SIZE_TEXT], time[MB_TIME_TEXT];

		if (i == 0)
			fprintf(out, "\n%-30s %-12s %-9s %-21s %10s %10s %9s\n", "Backup", "Type", "Status",
					"Started", "Size", "Stored", "Took");
		fprintf(out, "%-30s %-12s %-9s %-21s %10s %10s %7.1f s\n", mb_json_str(one, "id", "?"),
				mb_json_str(one, "type", "?"), mb_json_str(one, "status", "?"),
				render_time(one, "started", time), render_size(one, "bytes", bytes),
				render_size(one, "stored_bytes", stored),
				(double) (mb_json_time(one, "finished") - mb_json_time(one, "started")) / 1e6);
	}
}

static void
render_marks(const json_t *report, FILE *out)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(report, "marks"), i, one)
	{
		char time[MB_TIME_TEXT];

		if (i == 0)
			fprintf(out, "\n%-30s %-21s %s\n", "Mark", "Time", "Consistency");
		fprintf(out, "%-30s %-21s %s\n", mb_json_str(one, "name", "?"),
				render_time(one, "time", time), mb_json_str(one, "consistency", "?"));
	}
}

static void
render_proof(const json_t *report, FILE *out)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(report, "verified"), i, one)
		fprintf(out, "%s%s: %s\n", i == 0 ? "\nVerified\n" : "", mb_json_str(one, "component", "?"),
				mb_json_str(one, "message", ""));
	json_array_foreach(json_object_get(report, "drills"), i, one)
	{
		char time[MB_TIME_TEXT], bytes[MB_SIZE_TEXT];

		if (i == 0)
			fprintf(out, "\n%-21s %-9s %12s %12s %10s\n", "Drill", "Result", "RTO", "RPO", "Size");
		fprintf(out, "%-21s %-9s %10.1f s %10.1f s %10s\n", render_time(one, "started", time),
				mb_json_str(one, "status", "?"), render_number(one, "rto_seconds"),
				render_number(one, "rpo_seconds"), render_size(one, "bytes", bytes));
	}
	if (i == 0)
		fprintf(out, "\nNo drill yet: \"mbackup verify --restore\" tries a restore.\n");
}

static void
render_retention(const json_t *report, FILE *out)
{
	const json_t *retention = json_object_get(report, "retention");
	json_t *one, *value;
	const char *name;
	size_t i;

	fprintf(out, "\nRetention:");
	if (json_object_size(json_object_get(retention, "policy")) == 0)
		fprintf(out, " none, nothing expires");
	json_object_foreach(json_object_get(retention, "policy"), name, value)
	{
		if (json_is_integer(value))
			fprintf(out, " %s = %lld", name, (long long) json_integer_value(value));
		else if (json_is_string(value))
			fprintf(out, " %s = %s", name, json_string_value(value));
	}
	fputc('\n', out);
	json_array_foreach(json_object_get(retention, "backups"), i, one)
	{
		const json_t *reasons = json_object_get(one, "reasons");
		size_t k;

		if (i == RETENTION_SHOWN)
		{
			fprintf(out, "  and %zu more: mbackup expire --dry-run\n",
					json_array_size(json_object_get(retention, "backups")) - i);
			break;
		}
		fprintf(out, "  %-30s", mb_json_str(one, "id", "?"));
		for (k = 0; k < json_array_size(reasons); k++)
			fprintf(out, "%s %s", k ? "," : "", json_string_value(json_array_get(reasons, k)));
		fputc('\n', out);
	}
}

static void
render_report_schedules(const json_t *report, FILE *out)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(report, "schedules"), i, one)
	{
		char next[MB_TIME_TEXT], last[MB_TIME_TEXT];

		if (i == 0)
			fprintf(out, "\n%-14s %-20s %-21s %-21s %s\n", "Schedule", "When", "Next", "Last",
					"Result");
		fprintf(out, "%-14s %-20s %-21s %-21s %s\n", mb_json_str(one, "name", "?"),
				mb_json_str(one, "expression", "?"), render_time(one, "next", next),
				render_time(one, "last", last), mb_json_str(one, "result", "-"));
	}
}

void
render_report(const json_t *answer, FILE *out)
{
	const json_t *report = json_object_get(answer, "report");

	if (!report)
		return;
	render_verdict(report, out);
	render_problems(report, out);
	render_report_windows(report, out);
	render_backups(report, out);
	render_marks(report, out);
	render_proof(report, out);
	render_retention(report, out);
	render_report_schedules(report, out);
	if (mb_json_str(report, "page", NULL))
		fprintf(out, "\nThe page is \"%s\".\n", mb_json_str(report, "page", ""));
}

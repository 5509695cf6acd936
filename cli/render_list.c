/* render_list.c - mbackup list, as text for people: backups, marks, and how far back one can go. */
#include "cli/cli.h"
#include "cli/render.h"

/* What a set does not hold any more. */
static void
render_expired_parts(const json_t *set, FILE *out)
{
	const json_t *parts = json_object_get(set, "components");
	size_t i;

	for (i = 0; i < json_array_size(parts); i++)
		if (mb_json_str(json_array_get(parts, i), "expired", NULL))
			fprintf(out, "  without %s, which has expired\n",
					mb_json_str(json_array_get(parts, i), "name", "?"));
}

static void
render_windows(const json_t *windows, FILE *out)
{
	size_t i, j;

	fprintf(out, "\nRecovery window\n");
	if (json_array_size(windows) <= 1)
		fprintf(out, "  (the configuration names no component)\n");
	for (i = 0; i < json_array_size(windows); i++)
	{
		const json_t *window = json_array_get(windows, i);
		const json_t *gaps = json_object_get(window, "gaps");
		char from[MB_TIME_TEXT], to[MB_TIME_TEXT];

		if (!mb_json_str(window, "from", NULL))
			fprintf(out, "  %-12s nothing can be restored yet\n",
					mb_json_str(window, "component", "?"));
		else
			fprintf(out, "  %-12s %s to %s\n", mb_json_str(window, "component", "?"),
					render_time(window, "from", from), render_time(window, "to", to));
		for (j = 0; j < json_array_size(gaps); j++)
			fprintf(out, "    gap: %s to %s\n",
					json_string_value(json_array_get(json_array_get(gaps, j), 0)),
					json_string_value(json_array_get(json_array_get(gaps, j), 1)));
	}
}

static void
render_sets(const json_t *sets, FILE *out)
{
	size_t i;

	fprintf(out, "%-30s %-12s %-9s %-21s %10s %10s\n", "Backup", "Type", "Status", "Cut", "Size",
			"Stored");
	for (i = 0; i < json_array_size(sets); i++)
	{
		const json_t *set = json_array_get(sets, i);
		char bytes[MB_SIZE_TEXT], stored[MB_SIZE_TEXT], time[MB_TIME_TEXT];

		fprintf(out, "%-30s %-12s %-9s %-21s %10s %10s\n", mb_json_str(set, "id", "?"),
				mb_json_str(set, "type", "?"), mb_json_str(set, "status", "?"),
				render_time(json_object_get(set, "cut"), "time", time),
				render_size(set, "bytes", bytes), render_size(set, "stored_bytes", stored));
		render_pinned(set, "  ", out);
		render_expired_parts(set, out);
	}
	if (json_array_size(sets) == 0)
		fprintf(out, "(none: run \"mbackup backup\")\n");
}

static void
render_marks(const json_t *marks, FILE *out)
{
	size_t i;

	if (json_array_size(marks) > 0)
		fprintf(out, "\n%-30s %-21s %s\n", "Mark", "Time", "Consistency");
	for (i = 0; i < json_array_size(marks); i++)
	{
		const json_t *mark = json_array_get(marks, i);
		const json_t *why;
		const char *name;
		char time[MB_TIME_TEXT];

		fprintf(out, "%-30s %-21s %s", mb_json_str(mark, "name", "?"),
				render_time(mark, "time", time),
				mb_json_str(json_object_get(mark, "cut"), "consistency", "?"));
		json_object_foreach(json_object_get(mark, "uncovered"), name, why)
			fprintf(out, ", does not hold %s", name);
		fputc('\n', out);
		render_pinned(mark, "  ", out);
	}
}

/* Restores in place that are not over, or keep what was there. */
static void
render_restores(const json_t *restores, FILE *out)
{
	size_t i;

	for (i = 0; i < json_array_size(restores); i++)
	{
		const json_t *one = json_array_get(restores, i);
		bool keeps = mb_json_int(one, "kept_bytes", 0) > 0;
		char kept[MB_SIZE_TEXT];

		fprintf(out, "\nRestore %s is %s%s%s: mbackup rollback --list\n",
				mb_json_str(one, "id", "?"), mb_json_str(one, "status", "?"),
				keeps ? ", keeps " : "", keeps ? render_size(one, "kept_bytes", kept) : "");
	}
}

void
render_list(const json_t *answer, FILE *out)
{
	const json_t *drill = json_object_get(answer, "drill");
	char drilled[MB_TIME_TEXT];

	render_sets(json_object_get(answer, "backups"), out);
	render_marks(json_object_get(answer, "marks"), out);
	render_windows(json_object_get(answer, "windows"), out);
	if (drill)
		fprintf(out, "\nlast drill: %s, %s, RTO %.1f s\n", render_time(drill, "started", drilled),
				mb_json_str(drill, "status", "?"), render_number(drill, "rto_seconds"));
	render_restores(json_object_get(answer, "restores"), out);
}

/* render_stack.c - a restore over what is there, and a rollback, as text for people. */
#include <string.h>

#include "cli/cli.h"
#include "cli/render.h"
#include "core/base/time.h"

void
render_restore_target(const json_t *restore, FILE *out)
{
	const json_t *target = json_object_get(restore, "target");
	const char *value = mb_json_str(target, "value", NULL);
	char time[MB_TIME_TEXT];

	fprintf(out, ": to %s%s%s", mb_json_str(target, "kind", "?"), value ? " " : "",
			value ? value : "");
	if (mb_json_str(restore, "reached", NULL))
		fprintf(out, ", that is %s", render_time(restore, "reached", time));
	fprintf(out, "\n");
}

/* "3 h 12 min": for what is lost. */
static void
print_duration(double seconds, FILE *out)
{
	if (seconds < 120)
		fprintf(out, "%.1f s", seconds);
	else if (seconds < 7200)
		fprintf(out, "%.0f min", seconds / 60);
	else
		fprintf(out, "%.1f h", seconds / 3600);
}

static void
print_keeps(const json_t *plan, FILE *out)
{
	const json_t *list = json_object_get(plan, "keeps");
	const json_t *cannot = json_object_get(plan, "cannot_undo");
	char bytes[MB_SIZE_TEXT];
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i);
		const char *method = mb_json_str(one, "method", "?"),
				   *kept = mb_json_str(one, "kept", NULL);

		if (strcmp(method, "empty") == 0 || strcmp(method, "none") == 0)
			continue;
		fprintf(out, "  keeps        %s%s%s (%s) by %s%s%s", mb_json_str(one, "path", "?"),
				mb_json_str(one, "only", NULL) ? "/" : "", mb_json_str(one, "only", ""),
				render_size(one, "bytes", bytes), method, kept ? " as " : "", kept ? kept : "");
		if (mb_json_str(one, "why", NULL))
			fprintf(out, ": %s", mb_json_str(one, "why", ""));
		fprintf(out, "\n");
	}
	for (i = 0; i < json_array_size(cannot); i++)
		fprintf(out, "  LOSES        %s\n", json_string_value(json_array_get(cannot, i)));
}

static void
print_services(const json_t *plan, FILE *out)
{
	const json_t *list = json_object_get(plan, "services");
	size_t i;

	for (i = json_array_size(list); i > 0; i--)
	{
		const json_t *one = json_array_get(list, i - 1);

		fprintf(out, "  stops        %s%s\n", mb_json_str(one, "service", "?"),
				mb_json_bool(one, "running", false) ? "" : " (does not run now)");
	}
}

void
render_restore_plan(const json_t *plan, FILE *out)
{
	const json_t *parts = json_object_get(plan, "components");
	const json_t *lost = json_object_get(plan, "lost");
	char time[MB_TIME_TEXT], bytes[MB_SIZE_TEXT];
	size_t i;

	fprintf(out, "Restore %s", mb_json_str(plan, "id", "?"));
	render_restore_target(plan, out);
	for (i = 0; i < json_array_size(parts); i++)
	{
		const json_t *part = json_array_get(parts, i);

		fprintf(out, "  %-12s %s from backup %s of %s, into %s\n", mb_json_str(part, "name", "?"),
				render_size(part, "bytes", bytes), mb_json_str(part, "backup", "?"),
				render_time(part, "backup_time", time), mb_json_str(part, "destination", "/"));
		render_warnings(part, "               ", out);
	}
	fprintf(out, "  in all       %s, about %.0f s\n", render_size(plan, "bytes", bytes),
			render_number(plan, "estimate_seconds"));
	if (lost)
	{
		fprintf(out, "  loses        what was written since %s (", render_time(lost, "from", time));
		print_duration(render_number(lost, "seconds"), out);
		fprintf(out, ")\n");
	}
	print_services(plan, out);
	print_keeps(plan, out);
}

static void
print_references(const json_t *references, FILE *out)
{
	const json_t *list = json_object_get(references, "buckets");
	size_t i, j;

	if (mb_json_str(references, "error", NULL))
		fprintf(out, "  references: not checked: %s\n", mb_json_str(references, "error", ""));
	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i), *examples = json_object_get(one, "examples");

		fprintf(out, "  references into %s: %lld rows", mb_json_str(one, "bucket", "?"),
				(long long) mb_json_int(one, "rows", 0));
		if (mb_json_str(one, "problem", NULL))
			fprintf(out, ", not checked: %s\n", mb_json_str(one, "problem", ""));
		else
			fprintf(out, ", %lld dangling, %lld mismatched, %lld ambiguous, %lld orphaned\n",
					(long long) mb_json_int(one, "dangling", 0),
					(long long) mb_json_int(one, "mismatched", 0),
					(long long) mb_json_int(one, "ambiguous", 0),
					(long long) mb_json_int(one, "orphaned", 0));
		for (j = 0; j < json_array_size(examples); j++)
			fprintf(out, "    %s: %s\n", mb_json_str(json_array_get(examples, j), "key", "?"),
					mb_json_str(json_array_get(examples, j), "what", "?"));
	}
}

static void
print_part(const json_t *part, FILE *out)
{
	char bytes[MB_SIZE_TEXT];

	fprintf(out, "  %-12s from %s: %lld entries, %s, %.1f s, in %s\n",
			mb_json_str(part, "name", "?"), mb_json_str(part, "backup", "?"),
			(long long) mb_json_int(part, "entries", 0), render_size(part, "bytes", bytes),
			render_number(part, "seconds"), mb_json_str(part, "destination", "/"));
	if (mb_json_str(part, "health", NULL))
		fprintf(out, "    health: %s%s", mb_json_str(part, "health", ""),
				json_object_get(part, "rto_seconds") ? "" : "\n");
	if (mb_json_str(part, "health", NULL) && json_object_get(part, "rto_seconds"))
		fprintf(out, " after %.1f s\n", render_number(part, "rto_seconds"));
	if (mb_json_str(part, "next", NULL))
		fprintf(out, "    next: %s\n", mb_json_str(part, "next", ""));
	render_warnings(part, "    ", out);
}

void
render_stack_restore(const json_t *restore, FILE *out)
{
	const json_t *parts = json_object_get(restore, "components");
	size_t i;

	fprintf(out, "restore %s", mb_json_str(restore, "id", "?"));
	render_restore_target(restore, out);
	for (i = 0; i < json_array_size(parts); i++)
		print_part(json_array_get(parts, i), out);
	print_references(json_object_get(restore, "references"), out);
	render_warnings(restore, "  ", out);
	fprintf(out, "  recovery time %.1f s; lost: ", render_number(restore, "rto_seconds"));
	if (json_is_number(json_object_get(restore, "rpo_seconds")))
		print_duration(render_number(restore, "rpo_seconds"), out);
	else
		fprintf(out, "unknown");
	fprintf(out, "\n");
	if (mb_json_str(restore, "undo", NULL))
		fprintf(out, "  undo: %s   (until a younger backup is verified)\n",
				mb_json_str(restore, "undo", ""));
	else
		fprintf(out, "  there is no way back: %s\n",
				json_array_size(json_object_get(restore, "cannot_undo"))
					? json_string_value(json_array_get(json_object_get(restore, "cannot_undo"), 0))
					: "nothing was kept");
	fprintf(out, "  next: take a backup (mbackup backup)\n");
}

static void
render_restores(const json_t *list, FILE *out)
{
	size_t i;

	if (json_array_size(list) == 0)
		fprintf(out, "there was no restore over what was there\n");
	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i);
		const json_t *target = json_object_get(one, "target");
		char time[MB_TIME_TEXT], bytes[MB_SIZE_TEXT];

		fprintf(out, "%-30s %-13s %s to %s%s%s, keeps %s%s\n", mb_json_str(one, "id", "?"),
				mb_json_str(one, "status", "?"), render_time(one, "started", time),
				mb_json_str(target, "kind", "?"), mb_json_str(target, "value", NULL) ? " " : "",
				mb_json_str(target, "value", ""), render_size(one, "kept_bytes", bytes),
				mb_json_bool(one, "rollback", false) ? "" : " (no way back)");
	}
}

void
render_rollback(const json_t *answer, FILE *out)
{
	const json_t *rollback = json_object_get(answer, "rollback");
	const json_t *list = json_object_get(answer, "restores");
	const json_t *forgotten = json_object_get(answer, "forgotten");
	const json_t *places = json_object_get(rollback, "places");
	char bytes[MB_SIZE_TEXT];
	size_t i;

	if (list)
	{
		render_restores(list, out);
		return;
	}
	if (forgotten)
	{
		fprintf(out, "restore %s: %s freed; it cannot be rolled back any more\n",
				mb_json_str(forgotten, "id", "?"), render_size(forgotten, "freed_bytes", bytes));
		return;
	}
	if (mb_json_bool(rollback, "dry_run", false))
		fprintf(out,
				"restore %s (%s) would be rolled back; lost would be what was written since %s\n",
				mb_json_str(rollback, "id", "?"), mb_json_str(rollback, "status", "?"),
				mb_json_str(rollback, "lost_since", "?"));
	else if (!mb_json_bool(rollback, "changed", true))
		fprintf(out, "restore %s is rolled back already: nothing to do\n",
				mb_json_str(rollback, "id", "?"));
	else
		fprintf(out, "restore %s rolled back in %.1f s: everything is as it was before\n",
				mb_json_str(rollback, "id", "?"), render_number(rollback, "seconds"));
	for (i = 0; i < json_array_size(places); i++)
		fprintf(out, "  %-12s %s\n", mb_json_str(json_array_get(places, i), "component", "?"),
				mb_json_str(json_array_get(places, i), "path", "?"));
	render_warnings(rollback, "  ", out);
	if (mb_json_bool(rollback, "changed", false))
		fprintf(out, "  next: take a backup (mbackup backup)\n");
}

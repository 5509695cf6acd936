/* render.c - answers as text for people; everything printed here is in the JSON too. */
#include <string.h>

#include "cli/cli.h"
#include "cli/render.h"
#include "core/base/time.h"

/* What became of the variables of older scripts. */
static void
render_take_over(const json_t *init, FILE *out)
{
	const json_t *taken = json_object_get(init, "taken");
	const json_t *not_taken = json_object_get(init, "not_taken");
	size_t i;

	for (i = 0; i < json_array_size(taken); i++)
	{
		const json_t *item = json_array_get(taken, i);

		fprintf(out, "taken     %-20s %s: %s\n", mb_json_str(item, "name", "?"),
				mb_json_str(item, "value", "(secret)"), mb_json_str(item, "becomes", "?"));
	}
	for (i = 0; i < json_array_size(not_taken); i++)
	{
		const json_t *item = json_array_get(not_taken, i);
		char line[32] = "";

		if (mb_json_int(item, "line", 0) > 0)
			snprintf(line, sizeof(line), "line %lld: ", (long long) mb_json_int(item, "line", 0));
		fprintf(out, "left out  %-20s %s%s\n", mb_json_str(item, "name", "?"), line,
				mb_json_str(item, "why", "?"));
	}
}

void
render_init(const json_t *answer, FILE *out)
{
	const json_t *init = json_object_get(answer, "init");

	fprintf(out, "repository %s made (id %s, encryption %s)\nconfiguration: %s\n",
			mb_json_str(init, "repository", "?"), mb_json_str(init, "id", "?"),
			mb_json_str(init, "encryption", "?"), mb_json_str(init, "config", "?"));
	if (strcmp(mb_json_str(init, "encryption", ""), "none") != 0)
		fprintf(out, "Keep the passphrase or key file in a second place: without it nothing can be "
					 "restored.\n");
	render_take_over(init, out);
	fprintf(out, "Next: mbackup check, then mbackup backup.\n");
}

static void
render_conditions(const json_t *list, FILE *out)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		fprintf(out, "%s\n    %s\n    why: %s\n    fix: %s\n", mb_json_str(item, "id", "?"),
				mb_json_str(item, "what", ""), mb_json_str(item, "why", ""),
				mb_json_str(item, "fix", ""));
}

void
render_check(const json_t *answer, FILE *out)
{
	const json_t *list = json_object_get(answer, "checks"), *item;
	size_t i;

	render_conditions(json_object_get(answer, "conditions"), out);
	json_array_foreach(list, i, item)
	{
		const char *fix = mb_json_str(item, "fix", "");

		fprintf(out, "%-8s %-12s %-28s %s\n", mb_json_str(item, "status", "?"),
				mb_json_str(item, "component", "?"), mb_json_str(item, "id", "?"),
				mb_json_str(item, "message", ""));
		/* Somebody has read it. */
		if (fix[0] && strcmp(mb_json_str(item, "status", ""), "accepted") != 0)
			fprintf(out, "         fix: %s\n", fix);
	}
}

static void
render_component(const json_t *part, FILE *out)
{
	const json_t *error = json_object_get(part, "error");
	char bytes[MB_SIZE_TEXT], stored[MB_SIZE_TEXT], expired[MB_TIME_TEXT];

	if (mb_json_str(part, "expired", NULL))
		fprintf(out, "  %-12s expired %s\n", mb_json_str(part, "name", "?"),
				render_time(part, "expired", expired));
	else if (error)
		fprintf(out, "  %-12s FAILED: %s\n", mb_json_str(part, "name", "?"),
				mb_json_str(error, "message", "?"));
	else
		fprintf(out, "  %-12s %-9s %-12s %8lld entries %10s, stored %10s, %.1f s\n",
				mb_json_str(part, "name", "?"), mb_json_str(part, "kind", "?"),
				mb_json_str(part, "type", "?"), (long long) mb_json_int(part, "entries", 0),
				render_size(part, "bytes", bytes), render_size(part, "stored_bytes", stored),
				render_number(part, "seconds"));
	render_warnings(part, "    ", out);
}

static void
render_cut(const json_t *cut, FILE *out)
{
	char time[MB_TIME_TEXT];
	const json_t *position;
	const char *name;

	fprintf(out, "  cut: %s, %s", render_time(cut, "time", time),
			mb_json_str(cut, "consistency", "?"));
	if (render_number(cut, "pause_ms") > 0)
		fprintf(out, ", writes paused %.1f ms", render_number(cut, "pause_ms"));
	fputc('\n', out);
	json_object_foreach(json_object_get(cut, "positions"), name, position)
	{
		if (mb_json_str(position, "lsn", NULL))
			fprintf(out, "    %-12s LSN %s, timeline %lld\n", name,
					mb_json_str(position, "lsn", "?"),
					(long long) mb_json_int(position, "timeline", 0));
		else if (json_object_get(position, "offset"))
			fprintf(out, "    %-12s offset %lld of %.12s...\n", name,
					(long long) mb_json_int(position, "offset", 0),
					mb_json_str(position, "replid", "?"));
	}
}

void
render_pinned(const json_t *doc, const char *indent, FILE *out)
{
	const json_t *pin = json_object_get(doc, "pin");
	const char *reason = mb_json_str(pin, "reason", "");
	char until[MB_TIME_TEXT];

	if (!pin)
		return;
	fprintf(out, "%spinned", indent);
	if (mb_json_str(pin, "until", NULL))
		fprintf(out, " until %s", render_time(pin, "until", until));
	fprintf(out, "%s%s\n", *reason ? ": " : "", reason);
}

void
render_backup(const json_t *answer, FILE *out)
{
	const json_t *set = json_object_get(answer, "backup");
	const json_t *parts = json_object_get(set, "components");
	char bytes[MB_SIZE_TEXT], stored[MB_SIZE_TEXT], started[MB_TIME_TEXT], finished[MB_TIME_TEXT];
	size_t i;

	fprintf(out, "backup %s: %s, %s\n", mb_json_str(set, "id", "?"), mb_json_str(set, "type", "?"),
			mb_json_str(set, "status", "?"));
	fprintf(out, "  %s to %s, %s, stored %s\n", render_time(set, "started", started),
			render_time(set, "finished", finished), render_size(set, "bytes", bytes),
			render_size(set, "stored_bytes", stored));
	render_pinned(set, "  ", out);
	for (i = 0; i < json_array_size(parts); i++)
		render_component(json_array_get(parts, i), out);
	render_cut(json_object_get(set, "cut"), out);
}

/* What a driver knows of the contents: keys of a Redis. */
static void
render_statistics(const json_t *statistics, FILE *out)
{
	const json_t *types = json_object_get(statistics, "types");
	const json_t *biggest = json_object_get(statistics, "biggest");
	const json_t *expires = json_object_get(statistics, "expires");
	char bytes[MB_SIZE_TEXT], nearest[MB_TIME_TEXT], furthest[MB_TIME_TEXT];
	size_t i;

	for (i = 0; i < json_array_size(types); i++)
	{
		const json_t *item = json_array_get(types, i);

		fprintf(out, "    database %lld: %lld %s, %s\n", (long long) mb_json_int(item, "db", 0),
				(long long) mb_json_int(item, "keys", 0), mb_json_str(item, "type", "?"),
				render_size(item, "bytes", bytes));
	}
	if (mb_json_int(expires, "keys", 0) > 0)
		fprintf(out, "    %lld keys expire, from %s to %s\n",
				(long long) mb_json_int(expires, "keys", 0),
				render_time(expires, "nearest", nearest),
				render_time(expires, "furthest", furthest));
	for (i = 0; i < json_array_size(biggest); i++)
	{
		const json_t *item = json_array_get(biggest, i);

		fprintf(out, "    biggest: %s (database %lld, %s), %s\n", mb_json_str(item, "key", "?"),
				(long long) mb_json_int(item, "db", 0), mb_json_str(item, "type", "?"),
				render_size(item, "bytes", bytes));
	}
}

/* How far a component's data is of one moment, where that is not the cut's. */
static void
render_consistency(const json_t *part, FILE *out)
{
	const char *consistency = mb_json_str(part, "consistency", "");

	if (strcmp(consistency, "keys") == 0)
		fprintf(out, "    consistency: read key by key, not of one moment\n");
	else if (strcmp(consistency, "snapshot") == 0)
		fprintf(out, "    consistency: a snapshot of one moment, not of the cut\n");
}

void
render_info(const json_t *answer, FILE *out)
{
	const json_t *parts = json_object_get(json_object_get(answer, "backup"), "components");
	size_t i;

	render_backup(answer, out);
	for (i = 0; i < json_array_size(parts); i++)
	{
		const json_t *part = json_array_get(parts, i);
		const json_t *statistics = json_object_get(part, "statistics");

		if (statistics)
			fprintf(out, "  in %s\n", mb_json_str(part, "name", "?"));
		render_statistics(statistics, out);
		render_consistency(part, out);
	}
}

void
render_mark(const json_t *answer, FILE *out)
{
	const json_t *mark = json_object_get(answer, "mark");
	const json_t *uncovered = json_object_get(mark, "uncovered");
	const json_t *why;
	const char *name;
	char time[MB_TIME_TEXT];

	fprintf(out, "mark \"%s\": %s\n", mb_json_str(mark, "name", "?"),
			render_time(mark, "time", time));
	render_cut(json_object_get(mark, "cut"), out);
	json_object_foreach((json_t *) (uintptr_t) uncovered, name, why)
		fprintf(out, "  %s is not held at this mark: %s\n", name, json_string_value(why));
}

/* A running Redis: what became of its keys, and the way back. */
static void
render_live(const json_t *part, FILE *out)
{
	const char *undo = mb_json_str(part, "undo", NULL);
	const json_t *plan = json_object_get(part, "plan");

	if (mb_json_str(plan, "server", NULL))
		fprintf(out, "    %s holds %lld keys now\n", mb_json_str(plan, "server", "?"),
				(long long) mb_json_int(plan, "live_keys", 0));
	if (!undo)
		return;
	fprintf(out, "    in place of %lld keys; %lld removed, %lld expired since\n",
			(long long) mb_json_int(part, "replaced", 0),
			(long long) mb_json_int(part, "removed", 0),
			(long long) mb_json_int(part, "expired", 0));
	fprintf(out, "    undo: %s\n", undo);
}

static void
render_restored(const json_t *part, bool dry_run, FILE *out)
{
	const char *next = mb_json_str(part, "next", NULL);
	const char *undo = mb_json_str(json_object_get(part, "before"), "undo", NULL);
	char bytes[MB_SIZE_TEXT];

	fprintf(out, "  %-12s from %s: ", mb_json_str(part, "name", "?"),
			mb_json_str(part, "backup", "?"));
	if (dry_run)
		fprintf(out, "would be restored%s%s\n",
				mb_json_str(part, "destination", NULL) ? " to " : "",
				mb_json_str(part, "destination", ""));
	else
		fprintf(out, "%lld entries, %s, %.1f s, in %s\n",
				(long long) mb_json_int(part, "entries", 0), render_size(part, "bytes", bytes),
				render_number(part, "seconds"), mb_json_str(part, "destination", "?"));
	if (next)
		fprintf(out, "    next: %s\n", next);
	if (undo)
		fprintf(out, "    undo: %s\n", undo);
	render_live(part, out);
	render_warnings(part, "    ", out);
}

void
render_restore(const json_t *answer, FILE *out)
{
	const json_t *restore = json_object_get(answer, "restore");
	const json_t *parts = json_object_get(restore, "components");
	bool dry_run = mb_json_bool(restore, "dry_run", false);
	size_t i;

	if (!restore)
	{
		/* It failed and was rolled back. */
		if (json_object_get(answer, "rollback"))
			render_rollback(answer, out);
		return;
	}
	if (json_object_get(restore, "keeps"))
	{
		if (dry_run || mb_json_bool(restore, "verify_only", false))
			render_restore_plan(restore, out);
		else
			render_stack_restore(restore, out);
		return;
	}
	fprintf(out, "restore %s%s", mb_json_str(restore, "id", "?"), dry_run ? " (planned only)" : "");
	render_restore_target(restore, out);
	for (i = 0; i < json_array_size(parts); i++)
		render_restored(json_array_get(parts, i), dry_run, out);
}

void
render_version(const json_t *answer, FILE *out)
{
	fprintf(out, "mbackup %s (repository format %lld)\n", mb_json_str(answer, "version", "?"),
			(long long) mb_json_int(answer, "format", 0));
}

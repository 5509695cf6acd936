/* render_verify.c - the answers of verify for people: problems, drills, their history. */

#include "cli/cli.h"
#include "cli/render.h"
#include "core/base/time.h"

static void
render_problems(const json_t *problems, FILE *out)
{
	const json_t *problem, *name;
	size_t i, j;

	json_array_foreach(problems, i, problem)
	{
		fprintf(out, "  %s: %s: %s\n", mb_json_str(problem, "kind", "?"),
				mb_json_str(problem, "where", "?"), mb_json_str(problem, "message", "?"));
		json_array_foreach(json_object_get(problem, "backups"), j, name)
			fprintf(out, "    concerns %s\n", json_string_value(name));
	}
}

static void
render_reading(const json_t *verify, FILE *out)
{
	const json_t *problems = json_object_get(verify, "problems");
	long long left = mb_json_int(verify, "left", 0), blobs = mb_json_int(verify, "blobs", 0);
	char bytes[MB_SIZE_TEXT], text[MB_TIME_TEXT];

	mb_size_format(bytes, (uint64_t) mb_json_int(verify, "bytes", 0));
	fprintf(out, "%lld component backups, %lld packs, %lld frames, %s read in %.1f s: ",
			(long long) mb_json_int(verify, "backups", 0),
			(long long) mb_json_int(verify, "packs", 0),
			(long long) mb_json_int(verify, "frames", 0), bytes, render_number(verify, "seconds"));
	if (json_array_size(problems) > 0)
		fprintf(out, "%zu problem%s\n", json_array_size(problems),
				json_array_size(problems) == 1 ? "" : "s");
	else
		fprintf(out, "no problem\n");
	if (left > 0)
		fprintf(out, "%lld of %lld blobs are left for the next run\n", left, left + blobs);
	if (mb_json_str(verify, "since", NULL))
		fprintf(out, "everything was read or stored since %s\n",
				render_time(verify, "since", text));
	render_problems(problems, out);
}

/* -- drills --------------------------------------------------------------------------------------- */

static void
render_component(const json_t *part, FILE *out)
{
	const json_t *check, *table, *warning;
	char bytes[MB_SIZE_TEXT];
	size_t i;

	mb_size_format(bytes, (uint64_t) mb_json_int(part, "bytes", 0));
	fprintf(out,
			"  %-12s %-9s %s, %s restored in %.1f s, up after %.1f s more, looked at for %.1f s\n",
			mb_json_str(part, "name", "?"), mb_json_str(part, "kind", "?"),
			mb_json_str(part, "backup", "?"), bytes, render_number(part, "restore_seconds"),
			render_number(part, "start_seconds"), render_number(part, "check_seconds"));
	json_array_foreach(json_object_get(part, "checks"), i, check)
		fprintf(out, "    %-6s %s: %s\n", mb_json_str(check, "status", "?"),
				mb_json_str(check, "name", "?"), mb_json_str(check, "message", "?"));
	json_array_foreach(json_object_get(part, "warnings"), i, warning)
		fprintf(out, "    warning: %s\n", json_string_value(warning));
	json_array_foreach(json_object_get(part, "biggest"), i, table)
		fprintf(out, "           %12lld rows in %s\n", (long long) mb_json_int(table, "rows", 0),
				mb_json_str(table, "table", "?"));
}

static void
render_drill(const json_t *drill, FILE *out)
{
	const json_t *health = json_object_get(drill, "health"), *part;
	const json_t *error = json_object_get(drill, "error");
	char text[MB_TIME_TEXT];
	size_t i;

	fprintf(out, "drill %s: %s in %.1f s\n", mb_json_str(drill, "id", "?"),
			mb_json_str(drill, "status", "?"), render_number(drill, "seconds"));
	json_array_foreach(json_object_get(drill, "components"), i, part) render_component(part, out);
	if (health)
		fprintf(out, "  health check: status %lld after %.1f s\n",
				(long long) mb_json_int(health, "status", -1), render_number(health, "seconds"));
	if (json_object_get(drill, "rto_seconds"))
		fprintf(out, "  RTO %.1f s: from the first byte until everything was up\n",
				render_number(drill, "rto_seconds"));
	if (json_object_get(drill, "rpo_seconds"))
		fprintf(out, "  RPO %.1f s: it is the state of %s\n", render_number(drill, "rpo_seconds"),
				render_time(drill, "reached", text));
	if (error)
		fprintf(out, "  %s: %s\n", mb_json_str(error, "code", "?"),
				mb_json_str(error, "message", "?"));
}

static void
render_history(const json_t *drills, FILE *out)
{
	const json_t *drill;
	char started[MB_TIME_TEXT], reached[MB_TIME_TEXT], bytes[MB_SIZE_TEXT];
	size_t i;

	if (json_array_size(drills) == 0)
		fprintf(out, "there was no drill yet: mbackup verify --restore\n");
	json_array_foreach(drills, i, drill)
	{
		const json_t *error = json_object_get(drill, "error");

		mb_size_format(bytes, (uint64_t) mb_json_int(drill, "bytes", 0));
		fprintf(out, "%s  %-6s  to %-20s  %10s", render_time(drill, "started", started),
				mb_json_str(drill, "status", "?"), render_time(drill, "reached", reached), bytes);
		if (json_object_get(drill, "rto_seconds"))
			fprintf(out, "  RTO %.1f s", render_number(drill, "rto_seconds"));
		if (json_object_get(drill, "rpo_seconds"))
			fprintf(out, "  RPO %.1f s", render_number(drill, "rpo_seconds"));
		fprintf(out, "%s%s\n", error ? "  " : "", error ? mb_json_str(error, "message", "") : "");
	}
}

void
render_verify(const json_t *answer, FILE *out)
{
	if (json_object_get(answer, "drills"))
		render_history(json_object_get(answer, "drills"), out);
	else if (json_object_get(answer, "drill"))
		render_drill(json_object_get(answer, "drill"), out);
	else if (json_object_get(answer, "verify"))
		render_reading(json_object_get(answer, "verify"), out);
}

/* render_expire.c - the answers of expire, pin and unpin as text. */
#include <string.h>

#include "cli/cli.h"
#include "cli/render.h"
#include "core/base/time.h"

static const char *
plural(const json_t *object, const char *key, const char *none)
{
	return mb_json_int(object, key, 0) == 1 ? "" : none;
}

/* Name and reasons: the first beside the name, the others below. */
static void
render_decision(const json_t *item, const char *name, FILE *out)
{
	const json_t *reasons = json_object_get(item, "reasons");
	char time[MB_TIME_TEXT];
	size_t i;

	fprintf(out, "%-30s %-21s", name, render_time(item, "time", time));
	for (i = 0; i < json_array_size(reasons); i++)
		fprintf(out, "%s%*s %s\n", "", i > 0 ? 52 : 0, "",
				json_string_value(json_array_get(reasons, i)));
	if (json_array_size(reasons) == 0)
		fputc('\n', out);
}

static void
render_decisions(const json_t *list, const char *member, const char *title, FILE *out)
{
	size_t i;

	if (json_array_size(list) == 0)
		return;
	fprintf(out, "%-30s %-21s %s\n", title, "Time", "Decision");
	for (i = 0; i < json_array_size(list); i++)
		render_decision(json_array_get(list, i), mb_json_str(json_array_get(list, i), member, "?"),
						out);
	fputc('\n', out);
}

static void
render_windows(const json_t *windows, FILE *out)
{
	size_t i;

	for (i = 0; i < json_array_size(windows); i++)
	{
		const json_t *window = json_array_get(windows, i);
		char time[MB_TIME_TEXT];

		fprintf(out, "%s: any moment since %s\n", mb_json_str(window, "component", "?"),
				mb_json_str(window, "from", NULL) ? render_time(window, "from", time)
												  : "the first backup");
	}
}

void
render_expire(const json_t *answer, FILE *out)
{
	const json_t *expire = json_object_get(answer, "expire");
	const json_t *removed = json_object_get(expire, "removed");
	const json_t *pending = json_object_get(expire, "pending");
	const json_t *warnings = json_object_get(expire, "warnings");
	bool is_dry = mb_json_bool(expire, "dry_run", false);
	char size[MB_SIZE_TEXT], time[MB_TIME_TEXT];
	size_t i;

	render_decisions(json_object_get(expire, "backups"), "id", "Backup", out);
	render_decisions(json_object_get(expire, "marks"), "name", "Mark", out);
	render_windows(json_object_get(expire, "windows"), out);
	fprintf(out, "%s: %lld backup%s, %lld mark%s, %s in %lld blob%s\n",
			is_dry ? "would be removed" : "removed", (long long) mb_json_int(removed, "backups", 0),
			plural(removed, "backups", "s"), (long long) mb_json_int(removed, "marks", 0),
			plural(removed, "marks", "s"), render_size(removed, "bytes", size),
			(long long) mb_json_int(removed, "blobs", 0), plural(removed, "blobs", "s"));
	if (mb_json_int(pending, "blobs", 0) > 0)
		fprintf(out, "%s: %s in %lld blob%s, by an expire after %s\n",
				is_dry ? "would follow" : "to follow", render_size(pending, "bytes", size),
				(long long) mb_json_int(pending, "blobs", 0), plural(pending, "blobs", "s"),
				render_time(pending, "after", time));
	for (i = 0; i < json_array_size(warnings); i++)
		fprintf(out, "warning: %s\n", json_string_value(json_array_get(warnings, i)));
}

static void
render_target(const json_t *item, const char *done, FILE *out)
{
	if (strcmp(mb_json_str(item, "kind", ""), "mark") == 0)
		fprintf(out, "mark \"%s\" is %s\n", mb_json_str(item, "name", "?"), done);
	else
		fprintf(out, "backup %s is %s\n", mb_json_str(item, "id", "?"), done);
}

void
render_pin(const json_t *answer, FILE *out)
{
	const json_t *pin = json_object_get(answer, "pin");
	char done[MB_TIME_TEXT + 32], time[MB_TIME_TEXT];

	if (mb_json_str(pin, "until", NULL))
		snprintf(done, sizeof(done), "pinned until %s", render_time(pin, "until", time));
	else
		snprintf(done, sizeof(done), "pinned");
	render_target(pin, done, out);
}

void
render_unpin(const json_t *answer, FILE *out)
{
	const json_t *unpin = json_object_get(answer, "unpin");

	render_target(unpin,
				  mb_json_bool(unpin, "was_pinned", false) ? "not pinned any more" : "not pinned",
				  out);
}

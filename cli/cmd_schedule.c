/* cmd_schedule.c - mbackup schedule show|install|uninstall|run|run-due: [schedule] without a daemon. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/schedule_private.h"
#include "core/base/time.h"

enum mb_code
schedule_read(const struct mb_cli *cli, struct schedule_set *set, struct mb_error *err)
{
	size_t i;

	set->count = 0;
	for (i = 0; i < SCHEDULE_KINDS; i++)
	{
		const char *name = schedule_kinds[i].name;
		const char *text = mb_config_get(&cli->config, SCOPE_SCHEDULE, name);
		struct schedule *schedule = &set->items[set->count];

		if (!text || !text[0])
			continue;
		*schedule = (struct schedule){.kind = &schedule_kinds[i], .text = text};
		if (mb_cron_parse(&schedule->cron, text, err))
			return mb_error_context(err, "[schedule] %s", name);
		set->count++;
	}
	if (set->count > 0)
		return MB_OK;
	mb_fail(err, MB_CONFIG, "there is no schedule in the configuration");
	return mb_error_hint(err, "Write for example full = 0 2 * * 0 and incremental = 0 2 * * 1-6 in "
							  "[schedule].");
}

char *
schedule_state_path(const struct mb_cli *cli)
{
	return mb_asprintf("%s/schedule.json", mb_config_get(&cli->config, SCOPE_GLOBAL, "spool"));
}

/* -- show -------------------------------------------------------------------------------------- */

static json_t *
last_of(const json_t *state, const char *name)
{
	json_t *one = json_object_get(json_object_get(state, "schedules"), name), *last;

	if (!json_object_get(one, "started"))
		return json_null();
	last = json_deep_copy(one);
	json_object_del(last, "seen");
	json_object_del(last, "attempts");
	json_object_del(last, "expression");
	return last;
}

static json_t *
show_one(const struct schedule *schedule, const json_t *state)
{
	json_t *one = json_object();

	mb_json_set_str(one, "name", schedule->kind->name);
	mb_json_set_str(one, "expression", schedule->text);
	if (schedule->next_us)
		mb_json_set_time(one, "next", schedule->next_us);
	mb_json_set_bool(one, "due", schedule->is_due);
	json_object_set_new(one, "last", last_of(state, schedule->kind->name));
	return one;
}

static enum mb_code
schedule_show(struct mb_cli *cli, struct mb_error *err)
{
	int64_t now_us = mb_time_now_us();
	char *path = schedule_state_path(cli);
	struct schedule_set set;
	json_t *state = NULL, *list;
	enum mb_code code = schedule_read(cli, &set, err);
	size_t i;

	if (!code)
		code = schedule_state_read(&state, path, err);
	free(path);
	if (code)
		return code;
	schedule_take_state(set.items, set.count, state, now_us);
	schedule_look(set.items, set.count, now_us);
	list = json_array();
	for (i = 0; i < set.count; i++)
		json_array_append_new(list, show_one(&set.items[i], state));
	json_decref(state);
	cli->answer = json_pack("{s:o}", "schedules", list);
	return MB_OK;
}

/* -- the command ---------------------------------------------------------------------------------- */

static enum mb_code
run_named(struct mb_cli *cli, struct mb_error *err)
{
	if (cli->words.count == 2)
		return schedule_run_one(cli, cli->words.items[1], err);
	mb_fail(err, MB_CONFIG, "\"mbackup schedule run\" needs the name of one");
	return mb_error_hint(err, "\"mbackup schedule run-due\" runs those whose time has come.");
}

enum mb_code
cmd_schedule(struct mb_cli *cli, struct mb_error *err)
{
	static const struct
	{
		const char *verb;
		enum mb_code (*run)(struct mb_cli *cli, struct mb_error *err);
		size_t words;
	} verbs[] = {{"show", schedule_show, 1},
				 {"install", schedule_install, 1},
				 {"uninstall", schedule_uninstall, 1},
				 {"run", run_named, 2},
				 {"run-due", schedule_run_due, 1}};
	const char *verb = cli->words.items[0];
	struct mb_nearest nearest = {.word = verb};
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
	{
		mb_nearest_try(&nearest, verbs[i].verb);
		if (strcmp(verbs[i].verb, verb) != 0)
			continue;
		if (cli->words.count <= verbs[i].words)
			return verbs[i].run(cli, err);
		mb_fail(err, MB_CONFIG, "\"%s\" is one word too many for \"mbackup schedule %s\"",
				cli->words.items[verbs[i].words], verb);
		return mb_error_hint(err, "Run \"mbackup help schedule\".");
	}
	return cli_unknown_verb("schedule", verb, nearest.best,
							"show, install, uninstall, run and run-due", err);
}

/* -- for people -------------------------------------------------------------------------------------- */

/* In the local zone, as the expressions are. */
static void
print_time(const json_t *object, const char *key, int width, FILE *out)
{
	time_t t = (time_t) (mb_json_time(object, key) / 1000000);
	char text[64] = "-";
	struct tm tm;

	if (t != 0 && localtime_r(&t, &tm))
		strftime(text, sizeof(text), "%a %Y-%m-%d %H:%M %Z", &tm);
	fprintf(out, "%-*s", width, text);
}

static void
render_runs(const json_t *schedule, FILE *out)
{
	json_t *run;
	size_t i;

	if (mb_json_bool(schedule, "busy", false))
		fprintf(out, "another call is still at work\n");
	json_array_foreach(json_object_get(schedule, "runs"), i, run)
	{
		const char *message = mb_json_str(run, "message", "");

		fprintf(out, "%-12s %s%s%s\n", mb_json_str(run, "name", ""), mb_json_str(run, "result", ""),
				message[0] ? ": " : "", message);
	}
}

static void
render_files(const json_t *installed, FILE *out)
{
	json_t *file, *command;
	size_t i;

	json_array_foreach(json_object_get(installed, "files"), i, file)
	{
		const char *text = mb_json_str(file, "text", "");

		fprintf(out, "%-9s %s\n", mb_json_str(file, "action", ""), mb_json_str(file, "path", ""));
		if (mb_json_bool(installed, "dry_run", false) && text[0])
			fprintf(out, "\n%s\n", text);
	}
	if (json_array_size(json_object_get(installed, "next")) > 0)
		fprintf(out, "\nNow run:\n");
	json_array_foreach(json_object_get(installed, "next"), i, command)
		fprintf(out, "    %s\n", json_string_value(command));
}

void
render_schedule(const json_t *answer, FILE *out)
{
	const json_t *schedules = json_object_get(answer, "schedules");
	json_t *one;
	size_t i;

	if (schedules)
		fprintf(out, "%-12s %-22s %-26s %-26s %s\n", "Schedule", "When", "Next", "Last", "Result");
	json_array_foreach(schedules, i, one)
	{
		const json_t *last = json_object_get(one, "last");

		fprintf(out, "%-12s %-22s ", mb_json_str(one, "name", ""),
				mb_json_str(one, "expression", ""));
		if (mb_json_bool(one, "due", false))
			fprintf(out, "%-26s", "now");
		else
			print_time(one, "next", 26, out);
		fprintf(out, " ");
		print_time(last, "started", 26, out);
		fprintf(out, " %s\n", mb_json_str(last, "result", "-"));
	}
	if (json_object_get(answer, "schedule"))
		render_runs(json_object_get(answer, "schedule"), out);
	if (json_object_get(answer, "installed"))
		render_files(json_object_get(answer, "installed"), out);
}

/*
 * cmd_report.c - see report.h.
 *
 * Each part is the answer of a command of ours that runs as a process of its own, all at once: what
 * cannot be had (a repository that is away, a lock that is held) is a problem in the report, and no
 * end of it.  It is for the day on which something is wrong.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/daemon.h"
#include "cli/report.h"
#include "core/base/fs.h"
#include "core/base/time.h"

#define MAX_ARGUMENTS 200
#define DRILLS_SHOWN 20
#define STEP_US 10000

/* -- asking ------------------------------------------------------------------------------------ */

enum part
{
	PART_LIST,
	PART_CHECK,
	PART_HISTORY,
	PART_EXPIRE,
	PART_SCHEDULE,
	PART_COUNT
};

static const struct
{
	const char *words[3];
	bool takes_copy;       /* --repository */
	const char *component; /* to which a failure belongs */
	const char *name;
} parts[PART_COUNT] = {
	[PART_LIST] = {{"list"}, true, "repository", "list"},
	[PART_CHECK] = {{"check"}, true, "stack", "check"},
	[PART_HISTORY] = {{"verify", "--history"}, true, "repository", "drills"},
	[PART_EXPIRE] = {{"expire", "--dry-run"}, false, "repository", "retention"},
	[PART_SCHEDULE] = {{"schedule", "show"}, false, "schedule", "schedule"},
};

struct asking
{
	struct child children[PART_COUNT];
	json_t *answers[PART_COUNT]; /* owned, or NULL */
};

/* What we were called with, but for what is ours alone; words end with NULL; free all of them. */
static char **
arguments(const struct mb_cli *cli, enum part part)
{
	char **argv = mb_calloc(MAX_ARGUMENTS, sizeof(*argv));
	size_t count = 0, i;

	argv[count++] = mb_strdup(cli->env.program);
	for (i = 0; i < 3 && parts[part].words[i]; i++)
		argv[count++] = mb_strdup(parts[part].words[i]);
	argv[count++] = mb_strdup("--json");
	argv[count++] = mb_strdup("--quiet");
	if (cli->config.path)
		argv[count++] = mb_asprintf("--config=%s", cli->config.path);
	for (i = 0; i < cli->config.command_line.count && count + 1 < MAX_ARGUMENTS; i++)
	{
		const struct mb_value *value = &cli->config.command_line.items[i];
		const char *text = value->text, *colon = strchr(text, ':');
		bool is_copy = strcmp(value->option->name, "repository") == 0;
		char name[80];

		if (value->option->scope == SCOPE_COMMAND && !(is_copy && parts[part].takes_copy))
			continue;
		mb_option_long_name(value->option, name);
		/* Of a secret: "-file:/etc/pass". */
		if (value->option->type == OPT_SECRET && colon)
			argv[count++] = mb_asprintf("--%s%.*s=%s", name, (int) (colon - text), text, colon + 1);
		else
			argv[count++] = mb_asprintf("--%s=%s", name, text);
	}
	return argv;
}

static enum mb_code
ask_all(const struct mb_cli *cli, struct asking *asking, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	bool running = true;
	size_t i, k;

	for (i = 0; !code && i < PART_COUNT; i++)
	{
		char **argv = arguments(cli, (enum part) i);

		code = child_start(&asking->children[i], argv, -1, err);
		for (k = 0; argv[k]; k++)
			free(argv[k]);
		free(argv);
	}
	while (!code && running)
	{
		running = false;
		for (i = 0; i < PART_COUNT; i++)
			running = !child_pump(&asking->children[i]) || running;
		code = mb_cancel_check(&mb_interrupt, err);
		if (!code && running)
			usleep(STEP_US);
	}
	for (i = 0; i < PART_COUNT; i++)
	{
		if (!code)
			asking->answers[i] = child_answer(&asking->children[i]);
		child_release(&asking->children[i]);
	}
	return code;
}

/* -- the parts --------------------------------------------------------------------------------- */

static void
add_problem(json_t *problems, const char *component, const char *name, const char *severity,
			const char *message, const char *fix)
{
	json_t *problem = json_object();

	mb_json_set_str(problem, "component", component);
	mb_json_set_str(problem, "name", name);
	mb_json_set_str(problem, "severity", severity);
	mb_json_set_str(problem, "message", message);
	mb_json_set_str(problem, "fix", fix);
	json_array_append_new(problems, problem);
}

/* Parts that could not be had, once each message; then what check has found. */
static json_t *
make_problems(const struct asking *asking)
{
	json_t *problems = json_array(), *check, *seen = json_object();
	size_t i;

	for (i = 0; i < PART_COUNT; i++)
	{
		const json_t *error = json_object_get(asking->answers[i], "error");
		const char *message = mb_json_str(error, "message", "it said nothing");

		/* A check that failed is in its findings; a gap in the schedule is told by its absence. */
		if (asking->answers[i] &&
			(!error || strcmp(mb_json_str(error, "code", ""), "NEGATIVE") == 0))
			continue;
		if (json_object_get(seen, message) || (i == PART_SCHEDULE && error))
			continue;
		mb_json_set_bool(seen, message, true);
		add_problem(problems, parts[i].component, parts[i].name, "failed", message,
					mb_json_str(error, "hint", ""));
	}
	json_array_foreach(json_object_get(asking->answers[PART_CHECK], "checks"), i, check)
	{
		const char *status = mb_json_str(check, "status", "");

		if (strcmp(status, "failed") == 0 || strcmp(status, "warning") == 0)
			add_problem(problems, mb_json_str(check, "component", "?"),
						mb_json_str(check, "name", "?"), status, mb_json_str(check, "message", ""),
						mb_json_str(check, "fix", ""));
	}
	json_decref(seen);
	return problems;
}

/* The newest first. */
static json_t *
make_drills(const json_t *history)
{
	static const char *const members[] = {"id",          "started",     "finished", "status",
										  "rto_seconds", "rpo_seconds", "bytes",    "host"};
	const json_t *all = json_object_get(history, "drills");
	size_t count = json_array_size(all), i, k;
	bool oldest_first = count > 1 && mb_json_time(json_array_get(all, 0), "started") <
										 mb_json_time(json_array_get(all, count - 1), "started");
	json_t *out = json_array();

	for (i = 0; i < count && i < DRILLS_SHOWN; i++)
	{
		const json_t *drill = json_array_get(all, oldest_first ? count - 1 - i : i);
		json_t *made = json_object();

		for (k = 0; k < sizeof(members) / sizeof(members[0]); k++)
			if (json_object_get(drill, members[k]))
				json_object_set(made, members[k], json_object_get(drill, members[k]));
		json_array_append_new(out, made);
	}
	return out;
}

/* What check says about reading: of the repository and its copies. */
static json_t *
make_verified(const json_t *checks)
{
	json_t *out = json_array(), *check;
	size_t i;

	json_array_foreach(json_object_get(checks, "checks"), i, check)
	{
		if (mb_ends_with(mb_json_str(check, "name", ""), "verified"))
			json_array_append(out, check);
	}
	return out;
}

static json_t *
make_retention(const json_t *answer)
{
	static const char *const members[] = {"policy", "policies", "pending"};
	const json_t *expire = json_object_get(answer, "expire");
	json_t *out = json_object(), *decisions = json_array(), *one;
	size_t i;

	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (json_object_get(expire, members[i]))
			json_object_set(out, members[i], json_object_get(expire, members[i]));
	json_array_foreach(json_object_get(expire, "backups"), i, one)
	{
		json_t *made = json_object();

		mb_json_set_str(made, "id", mb_json_str(one, "id", "?"));
		mb_json_set_str(made, "action", mb_json_str(one, "action", "?"));
		json_object_set(made, "time", json_object_get(one, "time"));
		json_object_set(made, "reasons", json_object_get(one, "reasons"));
		json_array_append_new(decisions, made);
	}
	json_object_set_new(out, "backups", decisions);
	return out;
}

/* Null when there is none. */
static void
copy_member(json_t *to, const char *name, const json_t *from, const char *key)
{
	json_t *value = json_object_get(from, key);

	json_object_set_new(to, name, value ? json_incref(value) : json_null());
}

static json_t *
make_schedules(const json_t *answer)
{
	json_t *out = json_array(), *one;
	size_t i;

	json_array_foreach(json_object_get(answer, "schedules"), i, one)
	{
		const json_t *last = json_object_get(one, "last");
		json_t *made = json_object();

		mb_json_set_str(made, "name", mb_json_str(one, "name", "?"));
		mb_json_set_str(made, "expression", mb_json_str(one, "expression", "?"));
		copy_member(made, "next", one, "next");
		copy_member(made, "last", last, "started");
		copy_member(made, "result", last, "result");
		json_array_append_new(out, made);
	}
	return out;
}

static json_t *
make_repository(const struct mb_cli *cli, const json_t *list)
{
	const json_t *error = json_object_get(list, "error");
	const char *url = mb_config_get(&cli->config, SCOPE_REPOSITORY, "url");
	json_t *out = json_object();
	char *shown = document_url(url ? url : "");

	mb_json_set_str(out, "url", shown);
	mb_json_set_str(out, "state", list && !error ? "up" : "down");
	mb_json_set_str(out, "message", mb_json_str(error, "message", ""));
	free(shown);
	return out;
}

static json_t *
make_report(const struct mb_cli *cli, const struct asking *asking)
{
	const json_t *list = asking->answers[PART_LIST];
	json_t *report = json_object();
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	mb_json_set_str(report, "version", MB_VERSION);
	mb_json_set_time(report, "time", mb_time_now_us());
	mb_json_set_str(report, "host", host);
	mb_json_set_str(report, "stack", cli->config.path ? cli->config.path : "");
	json_object_set_new(report, "repository", make_repository(cli, list));
	json_object_set_new(report, "windows", document_windows(list, &cli->stack));
	json_object_set_new(report, "backups", document_backups(list));
	json_object_set_new(report, "marks", document_marks(list));
	json_object_set_new(report, "problems", make_problems(asking));
	json_object_set_new(report, "verified", make_verified(asking->answers[PART_CHECK]));
	json_object_set_new(report, "drills", make_drills(asking->answers[PART_HISTORY]));
	json_object_set_new(report, "retention", make_retention(asking->answers[PART_EXPIRE]));
	json_object_set_new(report, "schedules", make_schedules(asking->answers[PART_SCHEDULE]));
	return report;
}

/* -- the page ----------------------------------------------------------------------------------- */

/* The text for who has no JavaScript is what the terminal would have shown. */
static enum mb_code
write_page(const char *path, const json_t *answer, struct mb_error *err)
{
	struct mb_buf page = {0};
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);
	enum mb_code code = MB_OK;

	MB_ASSERT(stream);
	render_report(answer, stream);
	fclose(stream);
	report_page(&page, json_object_get(answer, "report"), text);
	if (strcmp(path, "-") == 0)
	{
		if (fwrite(page.data, 1, page.len, stdout) != page.len || fflush(stdout) != 0)
			code = mb_fail(err, MB_IO, "could not write the report to the standard output");
	}
	else
	{
		code = mb_file_write_durable(path, page.data, page.len, 0644, err);
		if (code)
		{
			mb_error_context(err, "could not write the report");
			mb_error_hint(err, "Name a file in a directory that this user may write, or - for the "
							   "standard output.");
		}
	}
	free(text);
	mb_buf_release(&page);
	return code;
}

enum mb_code
cmd_report(struct mb_cli *cli, struct mb_error *err)
{
	const char *path = cli_option(cli, "html");
	struct asking asking = {0};
	enum mb_code code = ask_all(cli, &asking, err);
	size_t i;

	if (!code)
	{
		cli->answer = json_object();
		json_object_set_new(cli->answer, "report", make_report(cli, &asking));
	}
	if (!code && path)
	{
		code = write_page(path, cli->answer, err);
		if (strcmp(path, "-") == 0)
		{
			json_decref(cli->answer);
			cli->answer = NULL;
		}
		else if (!code)
			mb_json_set_str(json_object_get(cli->answer, "report"), "page", path);
	}
	for (i = 0; i < PART_COUNT; i++)
		json_decref(asking.answers[i]);
	return code;
}

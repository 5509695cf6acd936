/* cmd_objects.c - mbackup objects VERB NAME ...: one bucket by itself. */
#include <stdlib.h>
#include <string.h>

#include "cli/objects.h"
#include "cli/object_journal.h"
#include "core/base/time.h"

#define LATE_MAX_US 1000000

enum mb_code
objects_component(struct mb_cli *cli, struct mb_component **component, struct mb_error *err)
{
	const char *name = cli->words.items[1];
	struct mb_buf names = {0};
	size_t i;

	*component = mb_stack_find(&cli->stack, name);
	if (*component && strcmp((*component)->ops->kind, "objects") == 0)
		return MB_OK;
	if (*component)
		return mb_fail(err, MB_CONFIG, "\"%s\" is no bucket, it is of kind %s", name,
					   (*component)->ops->kind);
	for (i = 0; i < cli->stack.count; i++)
		if (strcmp(cli->stack.components[i]->ops->kind, "objects") == 0)
			mb_buf_printf(&names, "%s%s", names.len ? ", " : "", cli->stack.components[i]->name);
	mb_fail(err, MB_NOT_FOUND, "there is no bucket \"%s\" in the configuration", name);
	if (names.len)
		mb_error_hint(err, "There is: %s.", mb_buf_cstr(&names));
	else
		mb_error_hint(err, "Add a section [objects:NAME] with its url to mbackup.conf.");
	mb_buf_release(&names);
	return err->code;
}

/* What was written behind the last look is not in the repository: an empty answer may be no empty bucket. */
static void
warn_of_late(const struct mb_cli *cli, const struct objects_view *view)
{
	int64_t late_us = view->look.time_us - mb_commit_cut_time(&view->look.commit);

	if (view->look.kind == MB_LOOK_TIME && late_us > LATE_MAX_US)
		mb_log_warning(&cli->log,
					   "%s: the last look was %lld s before this moment: what was written since is "
					   "not in the repository",
					   view->component->name, (long long) (late_us / 1000000));
}

enum mb_code
objects_open(struct mb_cli *cli, struct objects_view *view, struct mb_error *err)
{
	enum mb_code code = objects_component(cli, &view->component, err);

	if (!code)
		code = mb_look_find(cli->env.repo, view->component->name, cli_option(cli, "at"),
							&view->look, err);
	if (!code)
		view->time =
			view->look.kind == MB_LOOK_LATEST
				? MB_STATE_LATEST
				: mb_state_of(&view->look.commit, view->component->settings, view->look.time_us);
	if (!code)
		warn_of_late(cli, view);
	return code;
}

void
objects_close(struct objects_view *view)
{
	mb_look_release(&view->look);
}

/* -- the verbs that other commands do ------------------------------------------------------------- */

static enum mb_code
objects_snapshot(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_component *component;
	enum mb_code code = objects_component(cli, &component, err);

	if (code)
		return code;
	cli_add_option(cli, "component", component->name);
	return cmd_backup(cli, err);
}

/* restore --component NAME[=DESTINATION] to what --at says. */
static enum mb_code
objects_restore(struct mb_cli *cli, struct mb_error *err)
{
	const char *destination = cli->words.count > 2 ? cli->words.items[2] : NULL;
	struct objects_view view = {0};
	char time[MB_TIME_TEXT];
	enum mb_code code = objects_open(cli, &view, err);
	char *text;

	if (code)
		return code;
	text = destination ? mb_asprintf("%s=%s", view.component->name, destination)
					   : mb_strdup(view.component->name);
	cli_add_option(cli, "component", text);
	free(text);
	cli->words.count = 0;
	switch (view.look.kind)
	{
		case MB_LOOK_LATEST:
			cli_add_option(cli, "to-latest", "on");
			break;
		case MB_LOOK_MARK:
			cli_add_option(cli, "to-mark", view.look.id);
			break;
		case MB_LOOK_BACKUP:
			if (view.look.id[0])
			{
				cli->words.items[0] = view.look.id;
				cli->words.count = 1;
				break;
			}
			/* A scan belongs to no set: its time says the same. */
			/* FALLTHROUGH */
		case MB_LOOK_TIME:
			mb_time_format(time, view.look.time_us);
			cli_add_option(cli, "to-time", time);
			break;
	}
	code = cmd_restore(cli, err);
	objects_close(&view);
	return code;
}

/* -- the command ------------------------------------------------------------------------------------ */

struct verb
{
	const char *name;
	enum mb_code (*run)(struct mb_cli *cli, struct mb_error *err);
	size_t max_words; /* with the verb and the name */
	size_t min_words;
	const char *words;
	void (*render)(const json_t *answer, FILE *out);
};

static const struct verb verbs[] = {
	{"snapshot", objects_snapshot, 2, 2, "NAME", render_backup},
	{"ls", objects_ls, 3, 2, "NAME [PREFIX]", NULL},
	{"cat", objects_cat, 3, 3, "NAME KEY", NULL},
	{"diff", objects_diff, 2, 2, "NAME", NULL},
	{"restore", objects_restore, 3, 2, "NAME [DESTINATION]", render_restore},
	{"verify", objects_verify, 2, 2, "NAME", NULL},
	{"iam", objects_iam, 2, 2, "NAME", NULL},
	{"journal", objects_journal, 3, 3, "install NAME", NULL},
};
static const size_t verb_count = sizeof(verbs) / sizeof(verbs[0]);

static enum mb_code
unknown_verb(const char *name, struct mb_error *err)
{
	struct mb_nearest nearest = {.word = name};
	size_t i;

	for (i = 0; i < verb_count; i++)
		mb_nearest_try(&nearest, verbs[i].name);
	return cli_unknown_verb("objects", name, nearest.best,
							"snapshot, ls, cat, diff, restore, verify, iam and journal", err);
}

enum mb_code
cmd_objects(struct mb_cli *cli, struct mb_error *err)
{
	const struct verb *verb = NULL;
	size_t i;

	for (i = 0; i < verb_count && !verb; i++)
		if (strcmp(verbs[i].name, cli->words.items[0]) == 0)
			verb = &verbs[i];
	if (!verb)
		return unknown_verb(cli->words.items[0], err);
	if (cli->words.count < verb->min_words || cli->words.count > verb->max_words)
	{
		mb_fail(err, MB_CONFIG, "\"mbackup objects %s\" takes %s", verb->name, verb->words);
		return mb_error_hint(err, "Write: mbackup objects %s %s", verb->name, verb->words);
	}
	return verb->run(cli, err);
}

/* The answers of backup and restore are theirs; the others have printed theirs already. */
void
render_objects(const json_t *answer, FILE *out)
{
	if (json_object_get(answer, "backup"))
		render_backup(answer, out);
	else if (json_object_get(answer, "restore"))
		render_restore(answer, out);
	else if (json_object_get(answer, "iam"))
		render_iam(json_object_get(answer, "iam"), out);
	else
		render_objects_answer(answer, out);
}

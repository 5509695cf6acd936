/* cmd_redis.c - mbackup redis VERB [NAME] ...: one Redis by itself. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/redis.h"
#include "core/base/time.h"
#include "core/engine/look.h"
#include "redis/look.h"

/* -- the component ----------------------------------------------------------------------------- */

static bool
is_redis(const struct mb_component *component)
{
	return strcmp(component->ops->kind, "redis") == 0;
}

/* A word that could be the name of a component is taken for one, so that a slip is not a pattern. */
static bool
could_be_name(const char *word)
{
	return word[0] >= 'a' && word[0] <= 'z' &&
		   strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(word);
}

static enum mb_code
no_such_redis(const struct mb_cli *cli, const char *name, struct mb_error *err)
{
	struct mb_buf names = {0};
	size_t i;

	for (i = 0; i < cli->stack.count; i++)
		if (is_redis(cli->stack.components[i]))
			mb_buf_printf(&names, "%s%s", names.len ? ", " : "", cli->stack.components[i]->name);
	if (name)
		mb_fail(err, MB_NOT_FOUND, "there is no Redis \"%s\" in the configuration", name);
	else
		mb_fail(err, names.len ? MB_CONFIG : MB_NOT_FOUND, "%s",
				names.len ? "there are several Redis in the configuration"
						  : "there is no Redis in the configuration");
	if (names.len)
		mb_error_hint(err, name ? "There is: %s." : "Name one of: %s.", mb_buf_cstr(&names));
	else
		mb_error_hint(err, "Add a section [redis] with its url to mbackup.conf.");
	mb_buf_release(&names);
	return err->code;
}

enum mb_code
redis_component(struct mb_cli *cli, struct mb_component **component, size_t *next,
				struct mb_error *err)
{
	const char *name = cli->words.count > 1 ? cli->words.items[1] : NULL;
	size_t i;

	*next = name && could_be_name(name) ? 2 : 1;
	*component = NULL;
	if (*next == 2)
	{
		*component = mb_stack_find(&cli->stack, name);
		if (!*component)
			return no_such_redis(cli, name, err);
		if (!is_redis(*component))
		{
			mb_fail(err, MB_CONFIG, "\"%s\" is no Redis, it is of kind %s", name,
					(*component)->ops->kind);
			return mb_error_hint(err, "\"mbackup check\" names the components.");
		}
		return MB_OK;
	}
	for (i = 0; i < cli->stack.count; i++)
	{
		if (!is_redis(cli->stack.components[i]))
			continue;
		if (*component)
			return no_such_redis(cli, NULL, err);
		*component = cli->stack.components[i];
	}
	return *component ? MB_OK : no_such_redis(cli, NULL, err);
}

/* -- wrong words ------------------------------------------------------------------------------- */

enum mb_code
redis_exclude(const char *one, const char *other, struct mb_error *err)
{
	mb_fail(err, MB_CONFIG, "%s and %s exclude each other", one, other);
	return mb_error_hint(err, "Give one of them.");
}

enum mb_code
redis_too_many(const struct mb_cli *cli, size_t word, struct mb_error *err)
{
	mb_fail(err, MB_CONFIG, "\"%s\" is one word too many", cli->words.items[word]);
	return mb_error_hint(err,
						 "A first word that could be a name is taken for one: see \"mbackup help "
						 "redis\".");
}

/* -- the moment -------------------------------------------------------------------------------- */

enum mb_code
redis_moment(struct mb_cli *cli, const struct mb_component *component, struct redis_moment *moment,
			 struct mb_error *err)
{
	const char *at = cli_option(cli, "at");
	struct mb_error ignored;
	struct mb_look look;
	enum mb_code code;

	*moment = (struct redis_moment){.target.kind = MB_TARGET_BACKUP};
	mb_error_clear(&ignored);
	if (!at)
		return MB_OK;
	if (mb_time_parse(&moment->target.time_us, at, &ignored) == MB_OK)
	{
		moment->target.kind = MB_TARGET_TIME;
		moment->target.text = at;
		return MB_OK;
	}
	code = mb_look_find(cli->env.repo, component->name, at, &look, err);
	if (code)
		return code;
	snprintf(moment->id, sizeof(moment->id), "%s", look.kind == MB_LOOK_MARK ? at : look.id);
	if (look.kind == MB_LOOK_MARK)
		moment->target.kind = MB_TARGET_MARK;
	else if (!look.id[0])
	{
		/* The component's own backup id: its cut says the same. */
		moment->target.kind = MB_TARGET_TIME;
		moment->target.time_us = look.time_us;
	}
	moment->target.text = moment->target.kind == MB_TARGET_BACKUP ? NULL : at;
	mb_look_release(&look);
	return MB_OK;
}

enum mb_code
redis_restore_to(struct mb_cli *cli, struct mb_component *component,
				 const struct redis_moment *moment, const char *directory, unsigned flags,
				 json_t **part, struct mb_error *err)
{
	struct mb_restore_destination destination = {(char *) (uintptr_t) component->name,
												 (char *) (uintptr_t) directory};
	struct mb_restore_options options = {.target = moment->target,
										 .destinations = &destination,
										 .destination_count = 1,
										 .wishes.flags = flags | MB_RESTORE_LOOK};
	json_t *answer = NULL;

	if (moment->target.kind == MB_TARGET_BACKUP && moment->id[0])
		options.backup = moment->id;
	if (mb_restore_run(&cli->stack, &options, &answer, err))
		return err->code;
	*part = json_incref(
		json_array_get(json_object_get(json_object_get(answer, "restore"), "components"), 0));
	json_decref(answer);
	return MB_OK;
}

/* -- the verbs that other commands do ------------------------------------------------------------ */

static enum mb_code
snapshot_to_file(struct mb_cli *cli, struct mb_component *component, struct mb_error *err)
{
	unsigned flags = mb_config_flag(&cli->config, "force") ? MB_REDIS_FILE_FORCE : 0;
	const char *path = cli_option(cli, "output");
	bool is_stdout = strcmp(path, "-") == 0;
	json_t *answer;
	enum mb_code code;

	if (is_stdout && mb_config_flag(&cli->config, "json"))
		return redis_exclude("--json", "--output -", err);
	if (is_stdout && isatty(STDOUT_FILENO))
	{
		mb_fail(err, MB_CONFIG, "an RDB file is nothing for a terminal");
		return mb_error_hint(err, "Redirect the standard output, or name a file.");
	}
	code = mb_redis_snapshot_file(component, path, flags, &answer, err);
	if (code)
		return code;
	if (is_stdout)
	{
		mb_log_info(&cli->log, "%s: %lld keys, %lld bytes", component->name,
					(long long) mb_json_int(answer, "keys", 0),
					(long long) mb_json_int(answer, "bytes", 0));
		json_decref(answer);
		return MB_OK;
	}
	cli->answer = json_pack("{s:o}", "snapshot", answer);
	return MB_OK;
}

static enum mb_code
redis_snapshot(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_component *component;
	size_t next;

	if (redis_component(cli, &component, &next, err))
		return err->code;
	if (next < cli->words.count)
		return redis_too_many(cli, next, err);
	if (cli_option(cli, "output"))
	{
		if (cli_option(cli, "label") || cli_option(cli, "pause"))
		{
			mb_fail(err, MB_CONFIG, "--label and --pause are for backups, not for --output");
			return mb_error_hint(err, "Leave them out.");
		}
		return snapshot_to_file(cli, component, err);
	}
	if (cli_option(cli, "force"))
	{
		mb_fail(err, MB_CONFIG, "--force goes together with --output");
		return mb_error_hint(err, "A backup replaces nothing: leave it out.");
	}
	cli_add_option(cli, "component", component->name);
	return cmd_backup(cli, err);
}

/* restore --component NAME[=DESTINATION] to what --at says. */
static enum mb_code
redis_restore(struct mb_cli *cli, struct mb_error *err)
{
	struct redis_moment moment;
	struct mb_component *component;
	char time[MB_TIME_TEXT];
	size_t next;
	char *text;

	if (redis_component(cli, &component, &next, err))
		return err->code;
	if (cli->words.count > next + 1)
		return redis_too_many(cli, next + 1, err);
	if (cli_option(cli, "rdb") && cli_option(cli, "at"))
		return redis_exclude("--rdb", "--at", err);
	if (redis_moment(cli, component, &moment, err))
		return err->code;
	text = next < cli->words.count ? mb_asprintf("%s=%s", component->name, cli->words.items[next])
								   : mb_strdup(component->name);
	cli_add_option(cli, "component", text);
	free(text);
	cli->words.count = 0;
	if (moment.target.kind == MB_TARGET_MARK)
		cli_add_option(cli, "to-mark", moment.id);
	else if (moment.target.kind == MB_TARGET_TIME)
	{
		mb_time_format(time, moment.target.time_us);
		cli_add_option(cli, "to-time", time);
	}
	else if (moment.id[0])
	{
		cli->words.items[0] = moment.id;
		cli->words.count = 1;
	}
	return cmd_restore(cli, err);
}

/* -- the command --------------------------------------------------------------------------------- */

struct verb
{
	const char *name;
	enum mb_code (*run)(struct mb_cli *cli, struct mb_error *err);
	size_t max_words; /* with the verb and the name */
	const char *words;
	const char *options; /* that have a meaning here */
};

static const struct verb verbs[] = {
	{"snapshot", redis_snapshot, 2, "[NAME]", " output force label pause "},
	{"info", redis_info, 2, "[NAME]", " at rdb repository "},
	{"ls", redis_ls, 3, "[NAME] [PATTERN]", " at rdb db long repository "},
	{"restore", redis_restore, 3, "[NAME] [DESTINATION]", " at only rdb dry-run yes repository "},
};
static const size_t verb_count = sizeof(verbs) / sizeof(verbs[0]);

static const struct verb *
find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < verb_count; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

unsigned
redis_needs(const struct mb_cli *cli)
{
	const char *verb = cli->words.count > 0 ? cli->words.items[0] : "";

	/* A word too many or an unknown verb is told before anything is opened. */
	if (!find_verb(verb) || (cli_option(cli, "rdb") && strcmp(verb, "restore") != 0))
		return 0;
	if (cli_option(cli, "output") && strcmp(verb, "snapshot") == 0)
		return NEEDS_CONFIG | NEEDS_STACK;
	return NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL;
}

static enum mb_code
unknown_verb(const char *name, struct mb_error *err)
{
	struct mb_nearest nearest = {.word = name};
	size_t i;

	for (i = 0; i < verb_count; i++)
		mb_nearest_try(&nearest, verbs[i].name);
	return cli_unknown_verb("redis", name, nearest.best, "snapshot, info, ls and restore", err);
}

static enum mb_code
check_options(const struct mb_cli *cli, const struct verb *verb, struct mb_error *err)
{
	const struct mb_values *values = &cli->config.command_line;
	size_t i;

	for (i = 0; i < values->count; i++)
	{
		const struct mb_option *row = values->items[i].option;
		char word[64];

		snprintf(word, sizeof(word), " %s ", row->name);
		if (row->scope != SCOPE_COMMAND || row->commands == CMD_ANY || strstr(verb->options, word))
			continue;
		mb_fail(err, MB_CONFIG, "--%s has no meaning for \"mbackup redis %s\"", row->name,
				verb->name);
		return mb_error_hint(err, "Run \"mbackup help redis\" to see what it is for.");
	}
	return MB_OK;
}

enum mb_code
cmd_redis(struct mb_cli *cli, struct mb_error *err)
{
	const struct verb *verb = find_verb(cli->words.items[0]);

	if (!verb)
		return unknown_verb(cli->words.items[0], err);
	if (check_options(cli, verb, err))
		return err->code;
	if (cli->words.count > verb->max_words)
	{
		mb_fail(err, MB_CONFIG, "\"mbackup redis %s\" takes %s", verb->name, verb->words);
		return mb_error_hint(err, "Write: mbackup redis %s %s", verb->name, verb->words);
	}
	return verb->run(cli, err);
}

static void
render_snapshot(const json_t *snapshot, FILE *out)
{
	const json_t *warnings = json_object_get(snapshot, "warnings");
	double seconds = json_number_value(json_object_get(snapshot, "seconds"));
	char bytes[MB_SIZE_TEXT];
	size_t i;

	mb_size_format(bytes, (uint64_t) mb_json_int(snapshot, "bytes", 0));
	fprintf(out, "%s: %lld keys, %s in %.1f s, Redis %s, offset %lld of %.12s...\n",
			mb_json_str(snapshot, "file", "?"), (long long) mb_json_int(snapshot, "keys", 0), bytes,
			seconds, mb_json_str(snapshot, "server_version", "?"),
			(long long) mb_json_int(snapshot, "offset", 0), mb_json_str(snapshot, "replid", "?"));
	for (i = 0; i < json_array_size(warnings); i++)
		fprintf(out, "  warning: %s\n", json_string_value(json_array_get(warnings, i)));
}

void
render_redis(const json_t *answer, FILE *out)
{
	if (json_object_get(answer, "backup"))
		render_backup(answer, out);
	else if (json_object_get(answer, "restore"))
		render_restore(answer, out);
	else if (json_object_get(answer, "snapshot"))
		render_snapshot(json_object_get(answer, "snapshot"), out);
	else if (json_object_get(answer, "info"))
		render_redis_info(json_object_get(answer, "info"), out);
}

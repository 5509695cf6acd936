/* options_parse.c - the command line, by the table in options.c; see options.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"

const struct mb_option *
mb_option_find_long(const char *name, unsigned command, const char **suffix)
{
	static const enum mb_scope scopes[] = {SCOPE_COMMAND, SCOPE_GLOBAL, SCOPE_REPOSITORY};
	size_t i, j;

	for (i = 0; i < 3; i++)
	{
		const char *key = name;
		const struct mb_option *option;

		if (scopes[i] == SCOPE_REPOSITORY)
		{
			if (!mb_starts_with(name, "repository-"))
				continue;
			key += strlen("repository-");
		}
		option = mb_option_find_key(scopes[i], key, suffix);
		/* Two commands may use one name in different ways: look for the row of ours. */
		for (j = 0; option && !(option->commands & command) && j < mb_option_count; j++)
			if (mb_options[j].scope == scopes[i] && strcmp(mb_options[j].name, key) == 0 &&
				(mb_options[j].commands & command))
				option = &mb_options[j];
		if (option && (option->commands & command))
			return option;
	}
	return NULL;
}

static enum mb_code
unknown_option(const char *name, enum mb_command_id command, struct mb_error *err)
{
	char long_names[256][80];
	struct mb_nearest nearest = {.word = name};
	size_t i;

	MB_ASSERT(mb_option_count <= 256);
	for (i = 0; i < mb_option_count; i++)
	{
		mb_option_long_name(&mb_options[i], long_names[i]);
		if (mb_options[i].commands & command)
			mb_nearest_try(&nearest, long_names[i]);
	}
	mb_fail(err, MB_CONFIG, "there is no option \"--%s\" here", name);
	if (nearest.best)
		return mb_error_hint(err, "Did you mean --%s?", nearest.best);
	return mb_error_hint(err, "Run the command with --help to see its options.");
}

static enum mb_code
refuse_secret(const struct mb_option *option, const char *name, struct mb_error *err)
{
	char variable[100];

	mb_option_variable(option, variable);
	mb_fail(err, MB_CONFIG,
			"a secret is not taken from the command line, where everybody can "
			"read it (--%s)",
			name);
	return mb_error_hint(err,
						 "Use --%s-file, --%s-command, the configuration file or the "
						 "environment variable %s.",
						 name, name, variable);
}

struct parser
{
	int argc;
	char **argv;
	int at;
	enum mb_command_id command;
	struct mb_values *values;
};

static enum mb_code
take_long(struct parser *parser, struct mb_error *err)
{
	const char *arg = parser->argv[parser->at] + 2;
	const char *equals = strchr(arg, '=');
	char *name = equals ? mb_strndup(arg, (size_t) (equals - arg)) : mb_strdup(arg);
	char *origin = mb_asprintf("option --%s", name);
	const char *suffix = "";
	const struct mb_option *option = mb_option_find_long(name, parser->command, &suffix);
	const char *text = equals ? equals + 1 : NULL;
	enum mb_code code = MB_OK;

	if (!option)
		code = unknown_option(name, parser->command, err);
	else if (option->type == OPT_SECRET && suffix[0] == '\0')
		code = refuse_secret(option, name, err);
	else if (option->type == OPT_FLAG)
		text = text ? text : "on";
	else if (!text)
	{
		if (parser->at + 1 >= parser->argc)
		{
			code = mb_fail(err, MB_CONFIG, "option --%s needs a value", name);
			mb_error_hint(err, "Write --%s %s.", name, option->metavar);
		}
		else
			text = parser->argv[++parser->at];
	}
	if (!code && suffix[0] == '\0')
		code = mb_option_check(option, text, origin, err);
	if (!code)
	{
		/* The suffix of a secret travels in front of the value: "-file:/etc/pass". */
		char *value = suffix[0] ? mb_asprintf("%s:%s", suffix, text) : mb_strdup(text);

		mb_values_add(parser->values, option, value, origin);
		free(value);
	}
	free(origin);
	free(name);
	return code;
}

static enum mb_code
take_short(struct parser *parser, struct mb_error *err)
{
	const char *arg = parser->argv[parser->at];
	const struct mb_option *option = NULL;
	const char *text = arg[2] ? arg + 2 : NULL;
	char origin[32];
	enum mb_code code;
	size_t i;

	for (i = 0; i < mb_option_count && !option; i++)
		if (mb_options[i].letter == arg[1] && (mb_options[i].commands & parser->command))
			option = &mb_options[i];
	if (!option)
	{
		mb_fail(err, MB_CONFIG, "there is no option \"-%c\" here", arg[1]);
		return mb_error_hint(err, "Run the command with --help to see its options.");
	}
	if (option->type == OPT_FLAG)
		text = "on";
	else if (!text && parser->at + 1 < parser->argc)
		text = parser->argv[++parser->at];
	if (!text)
		return mb_fail(err, MB_CONFIG, "option -%c needs a value", arg[1]);
	snprintf(origin, sizeof(origin), "option -%c", arg[1]);
	code = mb_option_check(option, text, origin, err);
	if (!code)
		mb_values_add(parser->values, option, text, origin);
	return code;
}

enum mb_code
mb_options_parse(int argc, char **argv, enum mb_command_id command, struct mb_values *values,
				 struct mb_words *words, struct mb_error *err)
{
	struct parser parser = {argc, argv, 1, command, values};
	enum mb_code code = MB_OK;
	bool only_words = false;

	for (; !code && parser.at < argc; parser.at++)
	{
		const char *arg = argv[parser.at];

		if (!only_words && strcmp(arg, "--") == 0)
			only_words = true;
		else if (!only_words && mb_starts_with(arg, "--"))
			code = take_long(&parser, err);
		else if (!only_words && arg[0] == '-' && arg[1])
			code = take_short(&parser, err);
		else
		{
			words->items = mb_grow(words->items, &words->cap, words->count + 1, sizeof(char *));
			words->items[words->count++] = argv[parser.at];
		}
	}
	return code;
}

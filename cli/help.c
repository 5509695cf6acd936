/* help.c - the overview and the page of one command, made from the tables. */
#include <string.h>

#include "cli/manual.h"

static void
print_option(const struct mb_option *row, FILE *out)
{
	char name[80];
	char left[240];

	mb_option_long_name(row, name);
	if (row->type == OPT_SECRET)
		snprintf(left, sizeof(left), "    --%s-file FILE, --%s-command COMMAND", name, name);
	else if (row->letter)
		snprintf(left, sizeof(left), "-%c, --%s %s", row->letter, name,
				 row->type == OPT_FLAG ? "" : row->metavar);
	else
		snprintf(left, sizeof(left), "    --%s %s", name,
				 row->type == OPT_FLAG ? "" : row->metavar);
	if (strlen(left) > 32)
		fprintf(out, "  %s\n  %-32s  ", left, "");
	else
		fprintf(out, "  %-32s  ", left);
	fprintf(out, "%s", row->help);
	if (row->type == OPT_CHOICE)
		fprintf(out, " (%s)", row->choices);
	if (row->dflt && row->dflt[0])
		fprintf(out, " [%s]", row->dflt);
	fputc('\n', out);
}

enum option_group
{
	OPTIONS_OWN,    /* of this command */
	OPTIONS_COMMON, /* of every command, on the command line only */
	OPTIONS_KEYS    /* keys of [global] and [repository] */
};

static enum option_group
group_of(const struct mb_option *row)
{
	if (row->scope != SCOPE_COMMAND)
		return OPTIONS_KEYS;
	return row->commands == CMD_ANY ? OPTIONS_COMMON : OPTIONS_OWN;
}

static void
print_options(const struct mb_command *command, enum option_group group, const char *title,
			  FILE *out)
{
	bool any = false;
	size_t i;

	for (i = 0; i < mb_option_count; i++)
		if ((mb_options[i].commands & command->id) && group_of(&mb_options[i]) == group)
		{
			if (!any)
				fprintf(out, "\n%s\n", title);
			any = true;
			print_option(&mb_options[i], out);
		}
}

static void
print_examples(const struct mb_command *command, FILE *out)
{
	struct manual manual = {0};
	struct manual_part line;

	if (!manual_find(&manual, command->name) || manual.examples.len == 0)
		return;
	fprintf(out, "\nExamples:\n");
	while (manual_line(&manual.examples, &line))
		fprintf(out, "  %.*s\n", (int) line.len, line.text);
}

static void
print_command(const struct mb_command *command, FILE *out)
{
	fprintf(out, "mbackup %s - %s\n\nUsage: mbackup %s [OPTION]...%s%s\n", command->name,
			command->help, command->name, command->words[0] ? " " : "", command->words);
	print_options(command, OPTIONS_OWN, "Options:", out);
	print_options(command, OPTIONS_COMMON, "Options of every command:", out);
	print_options(command, OPTIONS_KEYS,
				  "Keys of mbackup.conf that are options too, and MBACKUP_... variables:", out);
	print_examples(command, out);
}

void
cli_print_help(const struct mb_command *command, FILE *out)
{
	size_t i;

	if (command)
	{
		print_command(command, out);
		return;
	}
	fprintf(out, "mbackup %s - one recovery point for Postgres, buckets, Redis and files\n\n",
			MB_VERSION);
	fprintf(out, "Usage: mbackup COMMAND [OPTION]...\n\nCommands:\n");
	for (i = 0; i < mb_command_count; i++)
	{
		char left[80];

		snprintf(left, sizeof(left), "%s %s", mb_commands[i].name, mb_commands[i].words);
		fprintf(out, "  %-25s %s\n", left, mb_commands[i].help);
	}
	fprintf(out, "\nRun \"mbackup help COMMAND\" or \"mbackup COMMAND --help\" for its options.\n"
				 "Exit status: 0 done, 1 no, 2 configuration, 3 partial, 4 conflict, 5 "
				 "unreachable,\n6 corrupt, 7 denied, 8 no space, 9 unsupported, 10 not found, 11 "
				 "I/O error.\n");
}

/* manual.c - see manual.h: the walk over a page. */
#include "cli/manual.h"

#include <stdlib.h>
#include <string.h>

/* -- rows of the table ---------------------------------------------------------------------------- */

enum row_group
{
	ROWS_OWN,    /* options of some commands */
	ROWS_COMMON, /* of every command */
	ROWS_KEYS    /* keys of [global] and [repository] that every command takes */
};

static enum row_group
group_of(const struct mb_option *row)
{
	if (row->commands != CMD_ANY)
		return ROWS_OWN;
	return row->scope == SCOPE_COMMAND ? ROWS_COMMON : ROWS_KEYS;
}

/* What a row does, with its choices and default. */
static char *
row_text(const struct mb_option *row)
{
	struct mb_buf out = {0};
	const char *p = row->help;
	char *text;

	mb_buf_put_str(&out, p);
	if (row->type == OPT_CHOICE)
	{
		mb_buf_put_str(&out, ": `");
		for (p = row->choices; *p; p++)
			if (*p == '|')
				mb_buf_put_str(&out, "`, `");
			else
				mb_buf_put_u8(&out, (uint8_t) *p);
		mb_buf_put_str(&out, "`");
	}
	if (row->dflt && row->dflt[0])
		mb_buf_printf(&out, " (default: `%s`)", row->dflt);
	text = mb_strdup(mb_buf_cstr(&out));
	mb_buf_release(&out);
	return text;
}

static void
write_option(struct mb_buf *out, const struct manual_style *style, const struct mb_option *row)
{
	char name[80];
	char *text = row_text(row), *term;

	mb_option_long_name(row, name);
	if (row->type == OPT_SECRET)
	{
		term = mb_asprintf("--%s-file", name);
		style->item(out, term, "FILE", text);
		free(term);
		term = mb_asprintf("--%s-command", name);
		style->item(out, term, "COMMAND", "the same, as what this command prints");
	}
	else
	{
		term =
			row->letter ? mb_asprintf("-%c, --%s", row->letter, name) : mb_asprintf("--%s", name);
		style->item(out, term, row->type == OPT_FLAG ? "" : row->metavar, text);
	}
	free(term);
	free(text);
}

static void
write_options(struct mb_buf *out, const struct manual_style *style, unsigned commands,
			  enum row_group group, const char *title)
{
	bool any = false;
	size_t i;

	for (i = 0; i < mb_option_count; i++)
		if ((mb_options[i].commands & commands) && group_of(&mb_options[i]) == group)
		{
			if (!any)
			{
				style->subheading(out, title);
				style->items_begin(out, "Option", "Meaning");
			}
			any = true;
			write_option(out, style, &mb_options[i]);
		}
	if (any)
		style->items_end(out);
}

/* -- pages --------------------------------------------------------------------------------------- */

static void
write_paragraphs(struct mb_buf *out, const struct manual_style *style, struct manual_part part)
{
	struct manual_part line;

	while (manual_line(&part, &line))
		if (line.len > 0)
			style->paragraph(out, line.text, line.len);
}

static void
write_statuses(struct mb_buf *out, const struct manual_style *style)
{
	static const struct
	{
		enum mb_code code;
		const char *meaning;
	} table[] = {
		{MB_OK, "done"},
		{MB_NEGATIVE, "the honest answer is no: a check failed, there is no such WAL"},
		{MB_CONFIG, "command line or configuration"},
		{MB_PARTIAL, "finished, but something is missing; it is named"},
		{MB_CONFLICT, "somebody else is doing it; a place that is not empty; a name that is taken"},
		{MB_UNREACHABLE, "repository or component cannot be reached"},
		{MB_CORRUPT, "stored data is damaged, missing or not the repository it should be"},
		{MB_DENIED, "wrong passphrase, missing privilege, a secret that everybody may read"},
		{MB_NO_SPACE, "no space"},
		{MB_UNSUPPORTED, "version or feature"},
		{MB_NOT_FOUND, "no such backup, mark, component, file; a target outside of the window"},
		{MB_IO, "a read, a write or a child process failed"},
	};
	size_t i;

	style->items_begin(out, "Exit", "Meaning");
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		char status[8];

		snprintf(status, sizeof(status), "%d", mb_code_exit_status(table[i].code, 0));
		style->item(out, status, "", table[i].meaning);
	}
	style->item(out, "128 + n", "", "stopped cleanly by signal n: 130 SIGINT, 143 SIGTERM");
	style->items_end(out);
}

/* What this command means by some of them. */
static void
write_own_statuses(struct mb_buf *out, const struct manual_style *style, struct manual_part exits)
{
	struct manual_part line;
	bool any = false;

	while (manual_line(&exits, &line))
	{
		size_t word = 0;
		char *status, *meaning;

		while (word < line.len && line.text[word] != ' ')
			word++;
		status = mb_strndup(line.text, word);
		meaning = mb_strndup(line.text + word + 1, line.len - word - 1);
		if (!any)
			style->items_begin(out, "Exit", "Meaning");
		any = true;
		style->item(out, status, "", meaning);
		free(status);
		free(meaning);
	}
	if (any)
		style->items_end(out);
}

static void
write_end(struct mb_buf *out, const struct manual_style *style, const struct manual *manual)
{
	if (manual->examples.len > 0)
	{
		style->heading(out, "Examples");
		style->code(out, manual->examples);
	}
	style->heading(out, "See also");
	style->see(out, manual->see);
}

static void
write_command(struct mb_buf *out, const struct manual_style *style,
			  const struct mb_command *command, const struct manual *manual)
{
	static const char rest[] =
		"Also the options of every command, `--config`, `--json`, `--quiet` and `--help`, and "
		"every "
		"key of `[global]` and `[repository]`, such as `--workers` and `--repository-url`.";
	static const char statuses[] = "The statuses of all commands are explained with `mbackup`.";
	char *page = mb_asprintf("mbackup-%s", command->name);
	char *usage = mb_asprintf("mbackup %s [OPTION]...%s%s", command->name,
							  command->words[0] ? " " : "", command->words);

	style->title(out, page, command->help);
	style->heading(out, "Synopsis");
	style->usage(out, usage);
	style->heading(out, "Description");
	write_paragraphs(out, style, manual->description);
	style->heading(out, "Options");
	write_options(out, style, command->id, ROWS_OWN, "Options of this command");
	style->paragraph(out, rest, strlen(rest));
	style->heading(out, "Exit status");
	write_own_statuses(out, style, manual->exits);
	style->paragraph(out, statuses, strlen(statuses));
	write_end(out, style, manual);
	free(usage);
	free(page);
}

static void
write_overview(struct mb_buf *out, const struct manual_style *style, const struct manual *manual)
{
	size_t i;

	style->title(out, "mbackup", "one recovery point for PostgreSQL, buckets, Redis and files");
	style->heading(out, "Synopsis");
	style->usage(out, "mbackup COMMAND [OPTION]... [WORD]...");
	style->heading(out, "Description");
	write_paragraphs(out, style, manual->description);
	style->heading(out, "Commands");
	style->items_begin(out, "Command", "Does");
	for (i = 0; i < mb_command_count; i++)
		style->item(out, mb_commands[i].name, mb_commands[i].words, mb_commands[i].help);
	style->items_end(out);
	style->heading(out, "Options");
	write_options(out, style, CMD_ANY, ROWS_COMMON, "Options of every command");
	write_options(out, style, CMD_ANY, ROWS_KEYS,
				  "Keys of the configuration that are options of every command");
	style->heading(out, "Exit status");
	write_statuses(out, style);
	write_end(out, style, manual);
}

static const struct
{
	enum mb_scope scope;
	const char *section;
} sections[] = {
	{SCOPE_GLOBAL, "[global]"},
	{SCOPE_REPOSITORY, "[repository]"},
	{SCOPE_RETENTION, "[retention], [retention:COMPONENT]"},
	{SCOPE_POSTGRES, "[postgres], [postgres:NAME]"},
	{SCOPE_OBJECTS, "[objects], [objects:NAME]"},
	{SCOPE_REDIS, "[redis], [redis:NAME]"},
	{SCOPE_FILES, "[files], [files:NAME]"},
	{SCOPE_SERVICES, "[services]"},
	{SCOPE_HOOKS, "[hooks]"},
	{SCOPE_REFERENCE, "[reference:BUCKET]"},
	{SCOPE_SCHEDULE, "[schedule]"},
	{SCOPE_DAEMON, "[daemon]"},
};

static void
write_keys(struct mb_buf *out, const struct manual_style *style, enum mb_scope scope)
{
	size_t i;

	style->items_begin(out, "Key", "Meaning");
	for (i = 0; i < mb_option_count; i++)
		if (mb_options[i].scope == scope)
		{
			char *text = row_text(&mb_options[i]);

			style->item(out, mb_options[i].name, mb_options[i].metavar, text);
			free(text);
		}
	style->items_end(out);
}

static void
write_configuration(struct mb_buf *out, const struct manual_style *style,
					const struct manual *manual)
{
	size_t i;

	style->title(out, "mbackup.conf", "what mbackup protects, and where it keeps it");
	style->heading(out, "Description");
	write_paragraphs(out, style, manual->description);
	style->heading(out, "Keys");
	for (i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
	{
		style->subheading(out, sections[i].section);
		write_keys(out, style, sections[i].scope);
	}
	write_end(out, style, manual);
}

bool
manual_write(struct mb_buf *out, const struct manual_style *style, const char *name)
{
	const struct mb_command *command = cli_find_command(name);
	struct manual manual = {0};

	if (!manual_find(&manual, name))
		return false;
	if (strcmp(name, "mbackup") == 0)
		write_overview(out, style, &manual);
	else if (strcmp(name, "mbackup.conf") == 0)
		write_configuration(out, style, &manual);
	if (command)
		write_command(out, style, command, &manual);
	return true;
}

void
manual_write_all(struct mb_buf *out)
{
	size_t i;

	mb_buf_put_str(
		out, "# Reference\n\nEvery command, option and key, as `mbackup help` and the manual pages "
			 "say it. "
			 "Made by\n`mbackup help --format markdown >docs/commands.md`: change `cli/options.c`, "
			 "`cli/main.c` or `cli/manual.txt`, never this page.\nWhat the JSON answers are is in "
			 "[configuration.md](configuration.md#json).\n\n[mbackup](#mbackup), "
			 "[mbackup.conf](#mbackupconf)");
	for (i = 0; i < mb_command_count; i++)
		mb_buf_printf(out, ",%s[%s](#mbackup-%s)", i % 8 == 0 ? "\n" : " ", mb_commands[i].name,
					  mb_commands[i].name);
	mb_buf_put_str(out, "\n");
	manual_write(out, &manual_markdown, "mbackup");
	manual_write(out, &manual_markdown, "mbackup.conf");
	for (i = 0; i < mb_command_count; i++)
		manual_write(out, &manual_markdown, mb_commands[i].name);
}

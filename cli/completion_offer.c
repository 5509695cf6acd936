/* completion_offer.c - what could stand at the end of a line: words, options, values. */
#include <stdlib.h>
#include <string.h>

#include "cli/completion_private.h"

/* -- candidates --------------------------------------------------------------------------------- */

static bool
is_harmless(const char *text)
{
	static const char others[] = "-_.:@%+=/,";

	for (; *text; text++)
		if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
			  (*text >= '0' && *text <= '9') || strchr(others, *text)))
			return false;
	return true;
}

void
completion_offer(struct completion_line *line, const char *text, const char *meaning)
{
	if (!text[0] || !is_harmless(text) || !mb_starts_with(text, line->current))
		return;
	mb_buf_printf(&line->candidates, "%.*s%s\t", (int) line->lead, line->whole, text);
	for (; *meaning; meaning++)
		mb_buf_put_u8(&line->candidates, *meaning < ' ' ? ' ' : (uint8_t) *meaning);
	mb_buf_put_str(&line->candidates, "\n");
}

static void
offer_files(struct completion_line *line)
{
	line->files = true;
	line->file_lead = line->lead;
}

/* "a|b|c"; what is no word itself ("1..64") is left out. */
static void
offer_choices(struct completion_line *line, const char *choices, const char *meaning)
{
	while (choices)
	{
		size_t len = strcspn(choices, "|");
		char *one = mb_strndup(choices, len);

		if (!strstr(one, ".."))
			completion_offer(line, one, meaning);
		free(one);
		choices = choices[len] ? choices + len + 1 : NULL;
	}
}

/* -- options ------------------------------------------------------------------------------------- */

unsigned
completion_command(const struct completion_line *line)
{
	return line->command ? (unsigned) line->command->id : CMD_ANY;
}

void
completion_offer_options(struct completion_line *line)
{
	size_t i;

	for (i = 0; i < mb_option_count; i++)
	{
		const struct mb_option *row = &mb_options[i];
		char name[80], *option;

		if (!(row->commands & completion_command(line)) ||
			(line->used[i] && row->type != OPT_LIST) ||
			(!line->command && row->commands != CMD_ANY))
			continue;
		/* Three dozen keys would hide the options of the command until they are asked for. */
		if (row->scope != SCOPE_COMMAND && row->commands == CMD_ANY && strlen(line->current) < 3)
			continue;
		mb_option_long_name(row, name);
		option = mb_asprintf(row->type == OPT_SECRET ? "--%s-file" : "--%s", name);
		completion_offer(line, option, row->help);
		free(option);
		if (row->type == OPT_SECRET)
		{
			option = mb_asprintf("--%s-command", name);
			completion_offer(line, option, row->help);
			free(option);
		}
	}
}

/* "NAME=": what follows is a place. */
static bool
is_destination(struct completion_line *line)
{
	const char *equals = strchr(line->current, '=');

	if (!equals)
		return false;
	line->lead += (size_t) (equals + 1 - line->current);
	line->current = equals + 1;
	offer_files(line);
	return true;
}

void
completion_offer_value(struct completion_line *line)
{
	static const char *const places[] = {"FILE", "DIR", "FILE.html", "PATH", "PROGRAM"};
	const struct mb_option *row = line->pending;
	size_t i;

	if (strcmp(line->pending_suffix, "-command") == 0)
		return;
	if (row->type == OPT_SECRET)
		offer_files(line);
	else if (row->choices && (row->type == OPT_CHOICE || row->type == OPT_INTEGER ||
							  strcmp(row->name, "timeline") == 0))
		offer_choices(line, row->choices, "");
	else if (row->scope == SCOPE_COMMAND && strcmp(row->name, "component") == 0)
	{
		if (!is_destination(line))
			completion_offer_components(line, NULL);
	}
	else if (strcmp(row->name, "to-mark") == 0)
		completion_offer_marks(line);
	else if (strcmp(row->name, "at") == 0)
	{
		completion_offer_marks(line);
		completion_offer_backups(line);
	}
	else if (row->scope == SCOPE_COMMAND && strcmp(row->name, "repository") == 0)
		completion_offer_copies(line);
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (row->metavar && strcmp(row->metavar, places[i]) == 0)
			offer_files(line);
}

/* -- words ------------------------------------------------------------------------------------------ */

/* What follows the verbs of commands that have some: a kind of component, or what else. */
static const struct
{
	enum mb_command_id command;
	const char *verb;
	const char *next;
	const char *meaning;
} verbs[] = {
	{CMD_OBJECTS, "snapshot", "objects", "back up this bucket"},
	{CMD_OBJECTS, "ls", "objects", "the objects of a moment"},
	{CMD_OBJECTS, "cat", "objects", "the contents of one object"},
	{CMD_OBJECTS, "diff", "objects", "what the bucket has otherwise"},
	{CMD_OBJECTS, "restore", "objects", "bring this bucket back"},
	{CMD_OBJECTS, "verify", "objects", "read every version of a moment"},
	{CMD_OBJECTS, "iam", "objects", "users, groups and policies"},
	{CMD_OBJECTS, "journal", "install", "the table for the events of a bucket"},
	{CMD_REDIS, "snapshot", "redis", "back up this Redis"},
	{CMD_REDIS, "info", "redis", "what is in the backup"},
	{CMD_REDIS, "ls", "redis", "the keys of a moment"},
	{CMD_REDIS, "restore", "redis", "bring this Redis back"},
	{CMD_KEY, "list", "", "who can open the repository"},
	{CMD_KEY, "add", "", "let another secret open it"},
	{CMD_KEY, "remove", "", "let a key open it no more"},
	{CMD_KEY, "rotate", "", "write under a new key from now on"},
	{CMD_KEY, "export", "", "a new passphrase on paper"},
	{CMD_SCHEDULE, "show", "", "what comes when"},
	{CMD_SCHEDULE, "run-due", "", "what has become due"},
	{CMD_SCHEDULE, "run", "schedule", "one of them, now"},
	{CMD_SCHEDULE, "install", "", "timers of systemd, or a line of cron"},
	{CMD_SCHEDULE, "uninstall", "", "remove them"},
	{CMD_COMPAT, "backup", "", "as the scripts did"},
	{CMD_COMPAT, "restore", "files", "as the scripts did"},
};

static void
offer_after_verb(struct completion_line *line)
{
	const char *next = "";
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (verbs[i].command == line->command->id && strcmp(verbs[i].verb, line->words[0]) == 0)
			next = verbs[i].next;
	if (strcmp(next, "install") == 0 && line->word_count == 1)
		completion_offer(line, next, "make it");
	else if (strcmp(next, "install") == 0 && line->word_count == 2)
		completion_offer_components(line, "objects");
	else if (strcmp(next, "files") == 0)
		offer_files(line);
	else if (strcmp(next, "schedule") == 0)
	{
		for (i = 0; i < mb_option_count; i++)
			if (mb_options[i].scope == SCOPE_SCHEDULE)
				completion_offer(line, mb_options[i].name, mb_options[i].help);
	}
	else if (next[0] && line->word_count == 1)
		completion_offer_components(line, next);
	else if (next[0] && strcmp(line->words[0], "restore") == 0)
		offer_files(line);
}

static void
offer_verbs(struct completion_line *line)
{
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (verbs[i].command == line->command->id)
			completion_offer(line, verbs[i].verb, verbs[i].meaning);
}

void
completion_offer_commands(struct completion_line *line)
{
	size_t i;

	for (i = 0; i < mb_command_count; i++)
		completion_offer(line, mb_commands[i].name, mb_commands[i].help);
}

/* The n-th word of a usage such as "[BACKUP] FILE", without brackets; free() it. */
static char *
usage_word(const char *usage, size_t n)
{
	size_t len;

	for (; n > 0 && *usage; n--)
	{
		/* The last one is repeated. */
		if (!strchr(usage, ' '))
			return mb_strdup(strstr(usage, "...") ? "BACKUP" : "");
		usage = strchr(usage, ' ') + 1;
	}
	usage += strspn(usage, "[");
	len = strcspn(usage, "] .");
	return mb_strndup(usage, len);
}

void
completion_offer_words(struct completion_line *line)
{
	char *what = usage_word(line->command->words, line->word_count);

	if (strcmp(what, "VERB") == 0)
		offer_verbs(line);
	else if (line->word_count > 0 && mb_starts_with(line->command->words, "VERB"))
		offer_after_verb(line);
	else if (strcmp(what, "BACKUP") == 0)
	{
		completion_offer_backups(line);
		if (line->command->id & (CMD_PIN | CMD_UNPIN))
			completion_offer_marks(line);
		else if (line->command->id == CMD_EXPORT)
			offer_files(line);
	}
	else if (strcmp(what, "COMMAND") == 0)
	{
		completion_offer_commands(line);
		completion_offer(line, "mbackup.conf", "every key of the configuration");
	}
	else if (strcmp(what, "FILE") == 0 || strcmp(what, "DIRECTORY") == 0)
		offer_files(line);
	else if (strchr(what, '|'))
		offer_choices(line, what, "");
	else if (what[0] >= 'a' && what[0] <= 'z')
		completion_offer(line, what, "");
	free(what);
}

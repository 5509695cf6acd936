/*
 * completion.c - mbackup completion: a script for each shell, and the answer that it asks for.
 *
 * The scripts know nothing: they call "mbackup completion answer -- WORD..." with the words of the
 * line up to the cursor, the last of which may be unfinished or empty.  So what is completed is what
 * the tables say, in one place for three shells, and never older than the program.  The first line
 * of the answer is "words 0" or "files N": also files, for what stands behind N bytes of the word.
 * Then come candidates, one a line, with a tab before what they mean.
 *
 * Nothing here fails: who presses a key wants no error.  Names from outside go to a shell only when
 * no shell sees anything in them.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/cli.h"
#include "core/base/time.h"

__asm__(".section .rodata\n"
		"mb_completion_bash:\n"
		".incbin \"cli/completion/mbackup.bash\"\n"
		".byte 0\n"
		"mb_completion_zsh:\n"
		".incbin \"cli/completion/mbackup.zsh\"\n"
		".byte 0\n"
		"mb_completion_fish:\n"
		".incbin \"cli/completion/mbackup.fish\"\n"
		".byte 0\n"
		".text\n");

extern const char mb_completion_bash[], mb_completion_zsh[], mb_completion_fish[];

#define PATIENCE_MS 3000 /* for the repository; a finger waits no longer */
#define STEP_US 5000

/* The line, understood as far as it goes. */
struct line
{
	const struct mb_command *command; /* NULL: not yet */
	const char *words[3];             /* behind it, the first of them */
	size_t word_count;
	const struct mb_option *pending; /* the last word is its value */
	const char *pending_suffix;
	bool only_words;         /* behind "--" */
	const char *current;     /* the last word, or its part behind "--name=" */
	size_t lead;             /* how many bytes stand before that part */
	const char *whole;       /* the last word */
	const char *config;      /* --config, or NULL */
	unsigned char used[256]; /* rows that are there */
	struct mb_buf candidates;
	bool files;
	size_t file_lead;
	json_t *list; /* of the repository; NULL: not asked */
	bool asked;
};

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

static void
offer(struct line *line, const char *text, const char *meaning)
{
	if (!text[0] || !is_harmless(text) || !mb_starts_with(text, line->current))
		return;
	mb_buf_printf(&line->candidates, "%.*s%s\t", (int) line->lead, line->whole, text);
	for (; *meaning; meaning++)
		mb_buf_put_u8(&line->candidates, *meaning < ' ' ? ' ' : (uint8_t) *meaning);
	mb_buf_put_str(&line->candidates, "\n");
}

static void
offer_files(struct line *line)
{
	line->files = true;
	line->file_lead = line->lead;
}

/* "a|b|c"; what is no word itself ("1..64") is left out. */
static void
offer_choices(struct line *line, const char *choices, const char *meaning)
{
	while (choices)
	{
		size_t len = strcspn(choices, "|");
		char *one = mb_strndup(choices, len);

		if (!strstr(one, ".."))
			offer(line, one, meaning);
		free(one);
		choices = choices[len] ? choices + len + 1 : NULL;
	}
}

/* -- what only the configuration and the repository know ----------------------------------------------- */

/* "~/": the shell that hands us the word has not looked into it. */
static char *
config_path(const struct line *line)
{
	const char *home = getenv("HOME");

	if (mb_starts_with(line->config, "~/") && home)
		return mb_asprintf("%s%s", home, line->config + 1);
	return mb_strdup(line->config);
}

static void
read_config(const struct line *line, struct mb_config *config)
{
	struct mb_error err;

	if (line->config)
	{
		char *path = config_path(line);

		mb_values_add(&config->command_line, mb_option_find(SCOPE_COMMAND, "config"), path,
					  "option --config");
		free(path);
	}
	mb_error_clear(&err);
	/* What could be read before an error is offered all the same. */
	if (mb_config_read(config, MB_CONFIG_MAY_BE_MISSING | MB_CONFIG_NAMES_ONLY, &err))
		return;
}

/* kind: only of this kind, or NULL. */
static void
offer_components(struct line *line, const char *kind)
{
	struct mb_config config = {0};
	size_t i;

	read_config(line, &config);
	for (i = 0; i < config.component_count; i++)
		if (strcmp(config.components[i].kind, "reference") != 0 &&
			(!kind || strcmp(config.components[i].kind, kind) == 0))
			offer(line, config.components[i].name, config.components[i].kind);
	mb_config_release(&config);
}

static void
offer_copies(struct line *line)
{
	struct mb_config config = {0};
	size_t i;

	read_config(line, &config);
	for (i = 0; i < config.copy_count; i++)
		offer(line, config.copies[i].name, "copy of the repository");
	mb_config_release(&config);
}

/* "mbackup list", unless it takes too long. */
static const json_t *
ask_list(struct line *line)
{
	char program[4096];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *argv[] = {program, "list", "--json", "--quiet", NULL, NULL, NULL};
	int64_t until = mb_monotonic_ms() + PATIENCE_MS;
	struct child child = {0};
	struct mb_error err;
	char *path = NULL;

	if (line->asked || len <= 0)
		return line->list;
	line->asked = true;
	program[len] = '\0';
	if (line->config)
	{
		path = config_path(line);
		argv[4] = "--config";
		argv[5] = path;
	}
	mb_error_clear(&err);
	if (!child_start(&child, argv, -1, &err))
	{
		while (!child_pump(&child) && mb_monotonic_ms() < until)
			usleep(STEP_US);
		if (child.ended && child_exit_status(&child) == 0)
			line->list = child_answer(&child);
		child_release(&child);
	}
	free(path);
	return line->list;
}

static void
offer_backups(struct line *line)
{
	const json_t *backups = json_object_get(ask_list(line), "backups");
	size_t i;

	offer(line, "latest", "the newest backup");
	for (i = 0; i < json_array_size(backups); i++)
	{
		const json_t *backup = json_array_get(backups, i);
		char *meaning = mb_asprintf("%s, %s", mb_json_str(backup, "type", "backup"),
									mb_json_str(backup, "finished", ""));

		offer(line, mb_json_str(backup, "id", ""), meaning);
		free(meaning);
	}
}

static void
offer_marks(struct line *line)
{
	const json_t *marks = json_object_get(ask_list(line), "marks");
	size_t i;

	for (i = 0; i < json_array_size(marks); i++)
	{
		char *meaning = mb_asprintf("mark, %s", mb_json_str(json_array_get(marks, i), "time", ""));

		offer(line, mb_json_str(json_array_get(marks, i), "name", ""), meaning);
		free(meaning);
	}
}

/* -- options ------------------------------------------------------------------------------------- */

static unsigned
command_of(const struct line *line)
{
	return line->command ? (unsigned) line->command->id : CMD_ANY;
}

static void
offer_options(struct line *line)
{
	size_t i;

	for (i = 0; i < mb_option_count; i++)
	{
		const struct mb_option *row = &mb_options[i];
		char name[80], *option;

		if (!(row->commands & command_of(line)) || (line->used[i] && row->type != OPT_LIST) ||
			(!line->command && row->commands != CMD_ANY))
			continue;
		/* Three dozen keys would hide the options of the command until they are asked for. */
		if (row->scope != SCOPE_COMMAND && row->commands == CMD_ANY && strlen(line->current) < 3)
			continue;
		mb_option_long_name(row, name);
		option = mb_asprintf(row->type == OPT_SECRET ? "--%s-file" : "--%s", name);
		offer(line, option, row->help);
		free(option);
		if (row->type == OPT_SECRET)
		{
			option = mb_asprintf("--%s-command", name);
			offer(line, option, row->help);
			free(option);
		}
	}
}

/* "NAME=": what follows is a place. */
static bool
is_destination(struct line *line)
{
	const char *equals = strchr(line->current, '=');

	if (!equals)
		return false;
	line->lead += (size_t) (equals + 1 - line->current);
	line->current = equals + 1;
	offer_files(line);
	return true;
}

static void
offer_value(struct line *line)
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
			offer_components(line, NULL);
	}
	else if (strcmp(row->name, "to-mark") == 0)
		offer_marks(line);
	else if (strcmp(row->name, "at") == 0)
	{
		offer_marks(line);
		offer_backups(line);
	}
	else if (row->scope == SCOPE_COMMAND && strcmp(row->name, "repository") == 0)
		offer_copies(line);
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
offer_after_verb(struct line *line)
{
	const char *next = "";
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (verbs[i].command == line->command->id && strcmp(verbs[i].verb, line->words[0]) == 0)
			next = verbs[i].next;
	if (strcmp(next, "install") == 0 && line->word_count == 1)
		offer(line, next, "make it");
	else if (strcmp(next, "install") == 0 && line->word_count == 2)
		offer_components(line, "objects");
	else if (strcmp(next, "files") == 0)
		offer_files(line);
	else if (strcmp(next, "schedule") == 0)
	{
		for (i = 0; i < mb_option_count; i++)
			if (mb_options[i].scope == SCOPE_SCHEDULE)
				offer(line, mb_options[i].name, mb_options[i].help);
	}
	else if (next[0] && line->word_count == 1)
		offer_components(line, next);
	else if (next[0] && strcmp(line->words[0], "restore") == 0)
		offer_files(line);
}

static void
offer_verbs(struct line *line)
{
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (verbs[i].command == line->command->id)
			offer(line, verbs[i].verb, verbs[i].meaning);
}

static void
offer_commands(struct line *line)
{
	size_t i;

	for (i = 0; i < mb_command_count; i++)
		offer(line, mb_commands[i].name, mb_commands[i].help);
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

static void
offer_words(struct line *line)
{
	char *what = usage_word(line->command->words, line->word_count);

	if (strcmp(what, "VERB") == 0)
		offer_verbs(line);
	else if (line->word_count > 0 && mb_starts_with(line->command->words, "VERB"))
		offer_after_verb(line);
	else if (strcmp(what, "BACKUP") == 0)
	{
		offer_backups(line);
		if (line->command->id & (CMD_PIN | CMD_UNPIN))
			offer_marks(line);
		else if (line->command->id == CMD_EXPORT)
			offer_files(line);
	}
	else if (strcmp(what, "COMMAND") == 0)
	{
		offer_commands(line);
		offer(line, "mbackup.conf", "every key of the configuration");
	}
	else if (strcmp(what, "FILE") == 0 || strcmp(what, "DIRECTORY") == 0)
		offer_files(line);
	else if (strchr(what, '|'))
		offer_choices(line, what, "");
	else if (what[0] >= 'a' && what[0] <= 'z')
		offer(line, what, "");
	free(what);
}

/* -- the line ------------------------------------------------------------------------------------------ */

static void
take_option(struct line *line, const char *word)
{
	const char *equals = strchr(word, '='), *suffix = "";
	char *name = equals ? mb_strndup(word, (size_t) (equals - word)) : mb_strdup(word);
	const struct mb_option *row = NULL;
	size_t i;

	if (mb_starts_with(name, "--"))
		row = mb_option_find_long(name + 2, command_of(line), &suffix);
	else
		for (i = 0; i < mb_option_count && !row; i++)
			if (mb_options[i].letter == name[1] && (mb_options[i].commands & command_of(line)))
				row = &mb_options[i];
	free(name);
	if (!row)
		return;
	line->used[row - mb_options] = 1;
	if (strcmp(row->name, "config") == 0 && equals)
		line->config = equals + 1;
	if (row->type != OPT_FLAG && !equals && (word[1] == '-' || !word[2]))
	{
		line->pending = row;
		line->pending_suffix = suffix;
	}
}

static void
take_word(struct line *line, const char *word)
{
	if (line->pending)
	{
		if (strcmp(line->pending->name, "config") == 0)
			line->config = word;
		line->pending = NULL;
	}
	else if (!line->only_words && strcmp(word, "--") == 0)
		line->only_words = true;
	else if (!line->only_words && word[0] == '-' && word[1])
		take_option(line, word);
	else if (!line->command)
		line->command = cli_find_command(word);
	else
	{
		if (line->word_count < 3)
			line->words[line->word_count] = word;
		line->word_count++;
	}
}

static void
complete_last(struct line *line)
{
	const char *equals = strchr(line->whole, '=');

	line->current = line->whole;
	if (!line->pending && !line->only_words && mb_starts_with(line->whole, "--") && equals)
	{
		char *name = mb_strndup(line->whole + 2, (size_t) (equals - line->whole - 2));

		line->pending = mb_option_find_long(name, command_of(line), &line->pending_suffix);
		free(name);
		if (!line->pending)
			return;
		line->lead = (size_t) (equals + 1 - line->whole);
		line->current = equals + 1;
	}
	if (line->pending)
		offer_value(line);
	else if (!line->only_words && line->current[0] == '-')
		offer_options(line);
	else if (!line->command)
		offer_commands(line);
	else
		offer_words(line);
}

static void
answer(const struct mb_words *words)
{
	struct line line = {.pending_suffix = ""};
	size_t i;

	MB_ASSERT(mb_option_count <= sizeof(line.used));
	for (i = 1; i + 1 < words->count; i++)
		take_word(&line, words->items[i]);
	line.whole = words->count > 1 ? words->items[words->count - 1] : "";
	/* A command that there is not has nothing. */
	if (line.command || !words->count || words->count <= 2 || line.pending ||
		line.whole[0] == '-' || words->items[1][0] == '-')
		complete_last(&line);
	printf("%s %zu\n", line.files ? "files" : "words", line.files ? line.file_lead : 0);
	fwrite(line.candidates.data, 1, line.candidates.len, stdout);
	mb_buf_release(&line.candidates);
	json_decref(line.list);
}

enum mb_code
cmd_completion(struct mb_cli *cli, struct mb_error *err)
{
	const char *word = cli->words.items[0];

	if (strcmp(word, "answer") == 0)
		answer(&cli->words);
	else if (cli->words.count > 1)
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is one word too many for \"mbackup completion\"",
				cli->words.items[1]);
		return mb_error_hint(err, "Write: mbackup completion bash|zsh|fish");
	}
	else if (strcmp(word, "bash") == 0)
		fputs(mb_completion_bash, stdout);
	else if (strcmp(word, "zsh") == 0)
		fputs(mb_completion_zsh, stdout);
	else if (strcmp(word, "fish") == 0)
		fputs(mb_completion_fish, stdout);
	else
	{
		mb_fail(err, MB_CONFIG, "there is no completion for the shell \"%s\"", word);
		return mb_error_hint(err, "Write: mbackup completion bash|zsh|fish");
	}
	return MB_OK;
}

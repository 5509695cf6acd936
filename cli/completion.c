/*
 * completion.c - mbackup completion: a script for each shell, and the answer that it asks for.
 *
 * The scripts know nothing: they call "mbackup completion answer -- WORD..." with the words of the
 * line up to the cursor, the last of which may be unfinished or empty.  So what is completed is what
 * the tables say, in one place for three shells, and never older than the program.  The first line
 * of the answer is "words 0" or "files N": also files, for what stands behind N bytes of the word.
 * Then come candidates, one a line, with a tab before what they mean.
 *
 * This file understands the line; completion_offer.c says what could stand where it ends, of which
 * completion_names.c knows what is named by the configuration and in the repository.
 *
 * Nothing here fails: who presses a key wants no error.  Names from outside go to a shell only when
 * no shell sees anything in them.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/completion_private.h"

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

static void
take_option(struct completion_line *line, const char *word)
{
	const char *equals = strchr(word, '='), *suffix = "";
	char *name = equals ? mb_strndup(word, (size_t) (equals - word)) : mb_strdup(word);
	const struct mb_option *row = NULL;
	size_t i;

	if (mb_starts_with(name, "--"))
		row = mb_option_find_long(name + 2, completion_command(line), &suffix);
	else
		for (i = 0; i < mb_option_count && !row; i++)
			if (mb_options[i].letter == name[1] &&
				(mb_options[i].commands & completion_command(line)))
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
take_word(struct completion_line *line, const char *word)
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
complete_last(struct completion_line *line)
{
	const char *equals = strchr(line->whole, '=');

	line->current = line->whole;
	if (!line->pending && !line->only_words && mb_starts_with(line->whole, "--") && equals)
	{
		char *name = mb_strndup(line->whole + 2, (size_t) (equals - line->whole - 2));

		line->pending = mb_option_find_long(name, completion_command(line), &line->pending_suffix);
		free(name);
		if (!line->pending)
			return;
		line->lead = (size_t) (equals + 1 - line->whole);
		line->current = equals + 1;
	}
	if (line->pending)
		completion_offer_value(line);
	else if (!line->only_words && line->current[0] == '-')
		completion_offer_options(line);
	else if (!line->command)
		completion_offer_commands(line);
	else
		completion_offer_words(line);
}

static void
answer(const struct mb_words *words)
{
	struct completion_line line = {.pending_suffix = ""};
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

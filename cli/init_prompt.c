/* init_prompt.c - one question on the terminal, and its answer; see init.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/init.h"

#define MAX_ANSWER 4096
#define MAX_TRIES 20 /* nobody is there, but something types */

static bool
is_plain(void)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	return !term || strcmp(term, "dumb") == 0 || (no_color && no_color[0]);
}

void
init_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void
init_title(const char *text)
{
	fprintf(stderr, is_plain() ? "\n%s\n" : "\n\033[1m%s\033[0m\n", text);
}

void
init_say_failure(const struct mb_error *err)
{
	fprintf(stderr, "  That does not work: %s\n", err->message);
	if (err->hint[0])
		fprintf(stderr, "  %s\n", err->hint);
}

/* A line without its newline; bytes beyond MAX_ANSWER are dropped. */
static enum mb_code
read_line(struct mb_buf *line, struct mb_error *err)
{
	char byte;
	ssize_t got;

	mb_buf_reset(line);
	for (;;)
	{
		enum mb_code code = mb_cancel_check(&mb_interrupt, err);

		if (code)
		{
			fputc('\n', stderr);
			return mb_error_context(err, "nothing was written");
		}
		got = read(STDIN_FILENO, &byte, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
		{
			fputc('\n', stderr);
			mb_fail(err, MB_CONFIG, "the input ended before all was answered: nothing was written");
			return mb_error_hint(err, "Run \"mbackup init\" again, or say everything by options: "
									  "\"mbackup help init\" has an example.");
		}
		if (byte == '\n')
			return MB_OK;
		if (line->len < MAX_ANSWER)
			mb_buf_put_u8(line, (uint8_t) byte);
	}
}

/* What a line of mbackup.conf can hold as a value; NULL when it can. */
static const char *
why_not(const char *text, size_t len)
{
	size_t i;

	if (len >= MAX_ANSWER)
		return "it is too long";
	for (i = 0; i < len; i++)
		if ((unsigned char) text[i] < ' ' || text[i] == 0x7F)
			return "there is a control character in it";
	if (text[0] == '#' || text[0] == ';' || strstr(text, " #") || strstr(text, " ;"))
		return "behind a blank, # and ; begin a comment in mbackup.conf";
	return NULL;
}

enum mb_code
init_ask_text(const char *question, const char *dflt, char **answer, struct mb_error *err)
{
	struct mb_buf line = {0};
	enum mb_code code = MB_OK;
	int tries;

	for (tries = 0; !code && tries < MAX_TRIES; tries++)
	{
		const char *text, *why;
		size_t len;

		fprintf(stderr, "%s [%s]: ", question, dflt);
		code = read_line(&line, err);
		if (code)
			break;
		text = mb_buf_cstr(&line);
		len = line.len;
		while (len > 0 && text[len - 1] == ' ')
			len--;
		while (*text == ' ' && len > 0)
		{
			text++;
			len--;
		}
		why = strlen(text) < len ? "there is a control character in it" : why_not(text, len);
		if (!why)
		{
			*answer = len > 0 ? mb_strndup(text, len) : mb_strdup(dflt);
			mb_buf_release(&line);
			return MB_OK;
		}
		init_say("  That cannot be taken: %s.", why);
	}
	mb_buf_release(&line);
	if (code)
		return code;
	return mb_fail(err, MB_CONFIG, "no answer could be understood: nothing was written");
}

enum mb_code
init_ask_yes(const char *question, bool dflt, bool *yes, struct mb_error *err)
{
	int tries;

	for (tries = 0; tries < MAX_TRIES; tries++)
	{
		char *answer = NULL, first;
		enum mb_code code = init_ask_text(question, dflt ? "Y/n" : "y/N", &answer, err);

		if (code)
			return code;
		first = answer[0];
		if (strcmp(answer, "Y/n") == 0 || strcmp(answer, "y/N") == 0)
			first = dflt ? 'y' : 'n';
		free(answer);
		if (first == 'y' || first == 'Y' || first == 'n' || first == 'N')
		{
			*yes = first == 'y' || first == 'Y';
			return MB_OK;
		}
		init_say("  y or n?");
	}
	return mb_fail(err, MB_CONFIG, "no answer could be understood: nothing was written");
}

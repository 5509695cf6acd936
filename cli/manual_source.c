/* manual_source.c - cli/manual.txt, which is part of the program, and how it is taken apart. */
#include "cli/manual.h"

#include <stdlib.h>
#include <string.h>

__asm__(".section .rodata\n"
		"mb_manual_text:\n"
		".incbin \"cli/manual.txt\"\n"
		".byte 0\n"
		".text\n");

extern const char mb_manual_text[];

/* From a line that is `what` (or begins so) behind `from` to the next such line, or to `end`. */
static struct manual_part
part_between(const char *from, const char *end, const char *what)
{
	size_t len = strlen(what);
	const char *p = from, *stop;

	while (p < end && !(strncmp(p, what, len) == 0 && p[len] == '\n'))
	{
		p = memchr(p, '\n', (size_t) (end - p));
		p = p ? p + 1 : end;
	}
	if (p >= end)
		return (struct manual_part){0};
	p += len + 1;
	for (stop = p; stop < end && *stop != '%';)
	{
		stop = memchr(stop, '\n', (size_t) (end - stop));
		stop = stop ? stop + 1 : end;
	}
	while (stop > p && stop[-1] == '\n')
		stop--;
	return (struct manual_part){p, (size_t) (stop - p)};
}

bool
manual_find(struct manual *manual, const char *name)
{
	char *title = mb_asprintf("@%s", name);
	const char *all = mb_manual_text, *end;
	size_t len = strlen(title);

	while (all && !(strncmp(all, title, len) == 0 && all[len] == '\n'))
	{
		all = strstr(all, "\n@");
		if (all)
			all++;
	}
	if (all)
	{
		end = strstr(all, "\n@");
		end = end ? end + 1 : all + strlen(all);
		manual->description = part_between(all, end, title);
		manual->examples = part_between(all, end, "%examples");
		manual->exits = part_between(all, end, "%exit");
		manual->see = part_between(all, end, "%see");
	}
	free(title);
	return all != NULL;
}

bool
manual_line(struct manual_part *part, struct manual_part *line)
{
	const char *newline;

	if (part->len == 0)
		return false;
	newline = memchr(part->text, '\n', part->len);
	line->text = part->text;
	line->len = newline ? (size_t) (newline - part->text) : part->len;
	part->text += line->len + (newline ? 1 : 0);
	part->len -= line->len + (newline ? 1 : 0);
	return true;
}

char *
manual_word(struct manual_part *part)
{
	const char *from = part->text;
	size_t len = 0;

	while (len < part->len && from[len] != ' ')
		len++;
	if (len == 0)
		return NULL;
	part->text += len + (len < part->len);
	part->len -= len + (len < part->len);
	return mb_strndup(from, len);
}

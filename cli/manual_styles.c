/* manual_styles.c - a page as a manual page (man(7) macros), as Markdown, as text. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/manual.h"

/* The section of the manual that a page is in. */
static int
section_of(const char *page)
{
	return strcmp(page, "mbackup.conf") == 0 ? 5 : 1;
}

/* -- man ------------------------------------------------------------------------------------------ */

/* Text of which nothing is markup, as roff. */
static void
man_put(struct mb_buf *out, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
	{
		bool begins = out->len == 0 || out->data[out->len - 1] == '\n';

		if (begins && (text[i] == '.' || text[i] == '\''))
			mb_buf_put_str(out, "\\&");
		if (text[i] == '\\')
			mb_buf_put_str(out, "\\e");
		else if (text[i] == '-')
			mb_buf_put_str(out, "\\-");
		else
			mb_buf_put_u8(out, (uint8_t) text[i]);
	}
}

/* With `literal` words, in bold. */
static void
man_put_marked(struct mb_buf *out, const char *text, size_t len)
{
	bool literal = false;
	size_t i, from = 0;

	for (i = 0; i <= len; i++)
		if (i == len || text[i] == '`')
		{
			man_put(out, text + from, i - from);
			if (i < len)
				mb_buf_put_str(out, literal ? "\\fR" : "\\fB");
			literal = !literal;
			from = i + 1;
		}
	mb_buf_put_str(out, "\n");
}

static void
man_title(struct mb_buf *out, const char *page, const char *what)
{
	const char *p;

	mb_buf_put_str(out,
				   ".\\\" Made by \"mbackup help --format man\": change cli/manual.txt.\n.TH \"");
	for (p = page; *p; p++)
		mb_buf_put_u8(out, (uint8_t) toupper((unsigned char) *p));
	mb_buf_printf(out, "\" %d \"%s\" \"mbackup %s\" \"mbackup\"\n.SH NAME\n", section_of(page),
				  MB_VERSION_DATE, MB_VERSION);
	man_put(out, page, strlen(page));
	mb_buf_put_str(out, " \\- ");
	man_put(out, what, strlen(what));
	mb_buf_put_str(out, "\n");
}

static void
man_heading(struct mb_buf *out, const char *text)
{
	mb_buf_put_str(out, ".SH ");
	for (; *text; text++)
		mb_buf_put_u8(out, (uint8_t) toupper((unsigned char) *text));
	mb_buf_put_str(out, "\n");
}

static void
man_subheading(struct mb_buf *out, const char *text)
{
	mb_buf_printf(out, ".SS %s\n", text);
}

static void
man_paragraph(struct mb_buf *out, const char *text, size_t len)
{
	/* Right behind a heading a paragraph begins by itself. */
	const char *last;

	mb_buf_cstr(out);
	last = out->len > 1 ? memrchr(out->data, '\n', out->len - 1) : NULL;
	if (!last || strncmp(last + 1, ".S", 2) != 0)
		mb_buf_put_str(out, ".PP\n");
	man_put_marked(out, text, len);
}

static void
man_usage(struct mb_buf *out, const char *text)
{
	mb_buf_put_str(out, "\\fB");
	man_put(out, text, strcspn(text, "["));
	mb_buf_put_str(out, "\\fR");
	man_put(out, text + strcspn(text, "["), strlen(text + strcspn(text, "[")));
	mb_buf_put_str(out, "\n");
}

static void
man_code(struct mb_buf *out, struct manual_part lines)
{
	struct manual_part line;
	bool blank = false;

	mb_buf_put_str(out, ".nf\n");
	while (manual_line(&lines, &line))
	{
		blank = line.len == 0 || (line.len == 4 && line.text[0] == ' ');
		if (blank)
			mb_buf_put_str(out, "\\&");
		else
			man_put(out, line.text, line.len);
		mb_buf_put_str(out, "\n");
	}
	mb_buf_put_str(out, ".fi\n");
}

static void
man_items_begin(struct mb_buf *out, const char *term, const char *meaning)
{
	(void) out, (void) term, (void) meaning;
}

static void
man_item(struct mb_buf *out, const char *term, const char *value, const char *text)
{
	mb_buf_put_str(out, ".TP\n\\fB");
	man_put(out, term, strlen(term));
	mb_buf_put_str(out, "\\fR");
	if (value && value[0])
	{
		mb_buf_put_str(out, " \\fI");
		man_put(out, value, strlen(value));
		mb_buf_put_str(out, "\\fR");
	}
	mb_buf_put_str(out, "\n");
	man_put_marked(out, text, strlen(text));
}

static void
man_items_end(struct mb_buf *out)
{
	(void) out;
}

/* The next word of a list with blanks between; NULL at the end; free() it. */
static char *
next_word(struct manual_part *part)
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

static void
man_see(struct mb_buf *out, struct manual_part pages)
{
	char *word, *after = next_word(&pages);

	while ((word = after) != NULL)
	{
		bool conf = strcmp(word, "mbackup.conf") == 0;

		after = next_word(&pages);
		mb_buf_put_str(out, ".BR ");
		man_put(out, conf ? "" : "mbackup-", conf ? 0 : 8);
		man_put(out, word, strlen(word));
		mb_buf_printf(out, " (%d)%s\n", conf ? 5 : 1, ",");
		free(word);
	}
	mb_buf_put_str(out, ".BR mbackup (1)\n");
}

const struct manual_style manual_man = {
	man_title, man_heading,     man_subheading, man_paragraph, man_usage,
	man_code,  man_items_begin, man_item,       man_items_end, man_see,
};

/* -- Markdown ------------------------------------------------------------------------------------- */

static void
markdown_title(struct mb_buf *out, const char *page, const char *what)
{
	/* "mbackup backup": as it is typed. */
	char *title = mb_strdup(page);

	if (mb_starts_with(title, "mbackup-"))
		title[strlen("mbackup")] = ' ';
	mb_buf_printf(out, "\n## %s\n\n*%s*\n", title, what);
	free(title);
}

static void
markdown_heading(struct mb_buf *out, const char *text)
{
	/* What follows speaks for itself. */
	if (strcmp(text, "Synopsis") != 0 && strcmp(text, "Description") != 0 &&
		strcmp(text, "Options") != 0 && strcmp(text, "Keys") != 0)
		mb_buf_printf(out, "\n**%s**\n", text);
}

static void
markdown_subheading(struct mb_buf *out, const char *text)
{
	mb_buf_printf(out, "\n**%s**\n", text);
}

static void
markdown_paragraph(struct mb_buf *out, const char *text, size_t len)
{
	mb_buf_put_str(out, "\n");
	mb_buf_put(out, text, len);
	mb_buf_put_str(out, "\n");
}

static void
markdown_usage(struct mb_buf *out, const char *text)
{
	mb_buf_printf(out, "\n    %s\n", text);
}

static void
markdown_code(struct mb_buf *out, struct manual_part lines)
{
	bool is_text = lines.len > 4 && strncmp(lines.text, "    ", 4) == 0;
	struct manual_part line;

	mb_buf_put_str(out, is_text ? "\n```\n" : "\n```sh\n");
	while (manual_line(&lines, &line))
	{
		bool shown = line.len >= 4 && strncmp(line.text, "    ", 4) == 0;

		mb_buf_put(out, line.text + (shown ? 4 : 0), line.len - (shown ? 4 : 0));
		mb_buf_put_str(out, "\n");
	}
	mb_buf_put_str(out, "```\n");
}

static void
markdown_items_begin(struct mb_buf *out, const char *term, const char *meaning)
{
	mb_buf_printf(out, "\n| %s | %s |\n|---|---|\n", term, meaning);
}

/* In a cell of a table. */
static void
markdown_put(struct mb_buf *out, const char *text, bool literal)
{
	for (; *text; text++)
	{
		if (*text == '`')
			literal = !literal;
		if (*text == '|' ||
			(!literal && (*text == '*' || *text == '<' || *text == '_' || *text == '[')))
			mb_buf_put_str(out, "\\");
		mb_buf_put_u8(out, (uint8_t) *text);
	}
}

static void
markdown_item(struct mb_buf *out, const char *term, const char *value, const char *text)
{
	mb_buf_put_str(out, "| `");
	markdown_put(out, term, true);
	if (value && value[0])
	{
		mb_buf_put_str(out, " ");
		markdown_put(out, value, true);
	}
	mb_buf_put_str(out, "` | ");
	markdown_put(out, text, false);
	mb_buf_put_str(out, " |\n");
}

static void
markdown_see(struct mb_buf *out, struct manual_part pages)
{
	char *word;

	mb_buf_put_str(out, "\n");
	while ((word = next_word(&pages)) != NULL)
	{
		bool conf = strcmp(word, "mbackup.conf") == 0;

		mb_buf_printf(out, "[%s](#mbackup%s%s), ", word, conf ? "conf" : "-", conf ? "" : word);
		free(word);
	}
	mb_buf_put_str(out, "[mbackup](#mbackup)\n");
}

const struct manual_style manual_markdown = {
	markdown_title, markdown_heading,     markdown_subheading, markdown_paragraph, markdown_usage,
	markdown_code,  markdown_items_begin, markdown_item,       man_items_end,      markdown_see,
};

/* -- text ------------------------------------------------------------------------------------------- */

#define TEXT_COLUMNS 96

/* Broken between words, without backquotes. */
static void
text_fill(struct mb_buf *out, const char *text, size_t len, size_t indent)
{
	size_t at = 0, column = indent;

	mb_buf_printf(out, "%*s", (int) indent, "");
	while (at < len)
	{
		size_t word = 0, shown = 0, i;

		while (at + word < len && text[at + word] != ' ')
			shown += text[at + word++] != '`';
		if (column > indent && column + shown >= TEXT_COLUMNS)
		{
			mb_buf_printf(out, "\n%*s", (int) indent, "");
			column = indent;
		}
		else if (column > indent)
		{
			mb_buf_put_str(out, " ");
			column++;
		}
		for (i = 0; i < word; i++)
			if (text[at + i] != '`')
				mb_buf_put_u8(out, (uint8_t) text[at + i]);
		column += shown;
		at += word;
		while (at < len && text[at] == ' ')
			at++;
	}
	mb_buf_put_str(out, "\n");
}

static void
text_title(struct mb_buf *out, const char *page, const char *what)
{
	mb_buf_printf(out, "%s - %s\n", page, what);
}

static void
text_heading(struct mb_buf *out, const char *text)
{
	if (strcmp(text, "Description") != 0 && strcmp(text, "Keys") != 0)
		mb_buf_printf(out, "\n%s:\n", text);
}

static void
text_subheading(struct mb_buf *out, const char *text)
{
	mb_buf_printf(out, "\n%s\n", text);
}

static void
text_paragraph(struct mb_buf *out, const char *text, size_t len)
{
	mb_buf_put_str(out, "\n");
	text_fill(out, text, len, 0);
}

static void
text_usage(struct mb_buf *out, const char *text)
{
	mb_buf_printf(out, "  %s\n", text);
}

static void
text_code(struct mb_buf *out, struct manual_part lines)
{
	struct manual_part line;

	while (manual_line(&lines, &line))
		mb_buf_printf(out, "%s%.*s\n", line.len ? "  " : "", (int) line.len, line.text);
}

static void
text_item(struct mb_buf *out, const char *term, const char *value, const char *text)
{
	size_t from = out->len;
	bool has_value = value && value[0];

	mb_buf_printf(out, "  %s%s%s", term, has_value ? " " : "", has_value ? value : "");
	if (out->len - from > 32)
		mb_buf_put_str(out, "\n");
	else
	{
		/* The first line stands beside the term. */
		struct mb_buf rest = {0};
		size_t used = out->len - from;

		text_fill(&rest, text, strlen(text), 34);
		mb_buf_put_str(out, mb_buf_cstr(&rest) + used);
		mb_buf_release(&rest);
		return;
	}
	text_fill(out, text, strlen(text), 34);
}

static void
text_see(struct mb_buf *out, struct manual_part pages)
{
	mb_buf_printf(out, "  mbackup help %.*s\n", (int) (pages.len ? strcspn(pages.text, " \n") : 0),
				  pages.len ? pages.text : "");
}

const struct manual_style manual_text = {
	text_title, text_heading,    text_subheading, text_paragraph, text_usage,
	text_code,  man_items_begin, text_item,       man_items_end,  text_see,
};

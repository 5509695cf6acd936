/* manual_text.c - a page as text, for a terminal: mbackup help, --help. */
#include <string.h>

#include "cli/manual.h"

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
text_items_begin(struct mb_buf *out, const char *term, const char *meaning)
{
	(void) out, (void) term, (void) meaning;
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
text_items_end(struct mb_buf *out)
{
	(void) out;
}

static void
text_see(struct mb_buf *out, struct manual_part pages)
{
	mb_buf_printf(out, "  mbackup help %.*s\n", (int) (pages.len ? strcspn(pages.text, " \n") : 0),
				  pages.len ? pages.text : "");
}

const struct manual_style manual_text = {
	text_title, text_heading,     text_subheading, text_paragraph, text_usage,
	text_code,  text_items_begin, text_item,       text_items_end, text_see,
};

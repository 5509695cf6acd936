/* manual_man.c - a page as a manual page: man(7) macros. */
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

static void
man_see(struct mb_buf *out, struct manual_part pages)
{
	char *word, *after = manual_word(&pages);

	while ((word = after) != NULL)
	{
		bool conf = strcmp(word, "mbackup.conf") == 0;

		after = manual_word(&pages);
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

/* manual_markdown.c - a page as Markdown: docs/commands.md. */
#include <stdlib.h>
#include <string.h>

#include "cli/manual.h"

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
markdown_items_end(struct mb_buf *out)
{
	(void) out;
}

static void
markdown_see(struct mb_buf *out, struct manual_part pages)
{
	char *word;

	mb_buf_put_str(out, "\n");
	while ((word = manual_word(&pages)) != NULL)
	{
		bool conf = strcmp(word, "mbackup.conf") == 0;

		mb_buf_printf(out, "[%s](#mbackup%s%s), ", word, conf ? "conf" : "-", conf ? "" : word);
		free(word);
	}
	mb_buf_put_str(out, "[mbackup](#mbackup)\n");
}

const struct manual_style manual_markdown = {
	markdown_title, markdown_heading,     markdown_subheading, markdown_paragraph, markdown_usage,
	markdown_code,  markdown_items_begin, markdown_item,       markdown_items_end, markdown_see,
};

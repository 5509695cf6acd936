/*
 * manual.h - the manual: what cli/manual.txt says in words, and what the tables say of options.
 *
 * One walk (manual.c) makes every page; a style writes it down as a manual page (man(7), manual_man.c), as
 * Markdown (manual_markdown.c) or as plain text (manual_text.c).  A page is that of a command, "mbackup" (the whole), or
 * "mbackup.conf" (every key).
 *
 * cli/manual.txt: "@NAME" begins a page, then come paragraphs; "%examples" are lines of shell with
 * comments (those that begin with four blanks are shown, not run), "%exit" lines "STATUS meaning",
 * "%see" names of pages.  Words in `backquotes` are literal.  tests/check_docs.sh and
 * tests/integration/170_manual.t hold it against the tables, and run the examples.
 */
#ifndef MB_CLI_MANUAL_H
#define MB_CLI_MANUAL_H

#include "cli/cli.h"

/* Borrowed from the program; a part that is missing has length 0. */
struct manual_part
{
	const char *text;
	size_t len;
};

struct manual
{
	struct manual_part description;
	struct manual_part examples;
	struct manual_part exits;
	struct manual_part see;
};

/* False: the manual has no such page. */
bool manual_find(struct manual *manual, const char *name);
/* Cut the next line (without its newline) off a part; false at the end. */
bool manual_line(struct manual_part *part, struct manual_part *line);
/* The same for the next word of a list with blanks between: NULL at the end; free() it. */
char *manual_word(struct manual_part *part);

struct manual_style
{
	void (*title)(struct mb_buf *out, const char *page, const char *what);
	void (*heading)(struct mb_buf *out, const char *text);
	void (*subheading)(struct mb_buf *out, const char *text);
	/* With `literal` words. */
	void (*paragraph)(struct mb_buf *out, const char *text, size_t len);
	/* The usage: "mbackup backup [OPTION]...". */
	void (*usage)(struct mb_buf *out, const char *text);
	void (*code)(struct mb_buf *out, struct manual_part lines);
	/* A list of terms, between begin and end: what is literal of the term, what stands for a value. */
	void (*items_begin)(struct mb_buf *out, const char *term, const char *meaning);
	void (*item)(struct mb_buf *out, const char *term, const char *value, const char *text);
	void (*items_end)(struct mb_buf *out);
	void (*see)(struct mb_buf *out, struct manual_part pages);
};

extern const struct manual_style manual_man;
extern const struct manual_style manual_markdown;
extern const struct manual_style manual_text;

/* One page; false: there is none of this name. */
bool manual_write(struct mb_buf *out, const struct manual_style *style, const char *name);
/* All pages, with a table of contents, as one document of Markdown. */
void manual_write_all(struct mb_buf *out);

#endif

/* mask_private.h - what mask.c (rules), mask_text.c (texts), mask_line.c (lines, keys) and mask_value.c (values) share. */
#ifndef MB_FILES_MASK_PRIVATE_H
#define MB_FILES_MASK_PRIVATE_H

#include <ctype.h>
#include <string.h>

#include "files/mask.h"

/* The first rules are no globs. */
enum mb_mask_special
{
	MB_RULE_URL,
	MB_RULE_PRIVATE_KEY,
	MB_RULE_PASSWORD_FILE,
	MB_RULE_SPECIALS
};

#define MB_NO_RULE SIZE_MAX

/* The rule that means a key of this name, or MB_NO_RULE. */
size_t mb_mask_rule_of(const struct mb_mask *mask, const char *key, size_t len);
/* Is it one of the few whose value may follow without a sign ("requirepass x")? */
bool mb_mask_is_plain(const char *key, size_t len);

/* A text on its way from what is read to `out`. */
struct mb_mask_text
{
	const struct mb_mask *mask;
	struct mb_mask_hits *hits;
	enum mb_mask_format format;
	const char *end; /* of all */
	struct mb_buf out;
	bool has_hidden;
	unsigned unclosed;
	/* what a key of YAML has below it */
	size_t block_rule; /* or MB_NO_RULE */
	size_t block_indent;
	bool block_is_text; /* "key: |" */
};

/* What surrounds a key and its value in a line. */
struct mb_mask_place
{
	char quote;    /* of a quoted text that both stand in, or 0 */
	bool in_query; /* ?key=value& */
	bool in_flow;  /* between brackets */
};

static inline bool
mb_mask_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static inline const char *
mb_mask_skip_blanks(const char *p, const char *end)
{
	while (p < end && mb_mask_is_blank(*p))
		p++;
	return p;
}

static inline bool
mb_mask_is_key_char(char c)
{
	return isalnum((unsigned char) c) || (c && strchr("_.-$@/", c)) || (unsigned char) c >= 0x80;
}

void mb_mask_copy(struct mb_mask_text *text, const char *from, const char *to);
void mb_mask_hide(struct mb_mask_text *text, size_t rule);
/* true, null, ${NAME}: nobody's secret. */
bool mb_mask_is_no_secret(const char *from, const char *to);
/* A key that says where the secret is, and a path. */
bool mb_mask_is_place(const char *key, size_t len, const char *value, const char *to);
/* A line; where reading goes on: its end, or that of a later one. */
const char *mb_mask_line(struct mb_mask_text *text, const char *line, const char *end);
/* Hide the value at p; where reading goes on, which may be in a later line. */
const char *mb_mask_hide_value(struct mb_mask_text *text, const char *p, const char *line_end,
							   struct mb_mask_place place, size_t rule);

#endif

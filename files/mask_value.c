/* mask_value.c - where the value of a key ends, in any of the formats, and hiding it. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "files/mask_private.h"

#define HIDDEN "********"
/* Brackets that never close are looked for to the end of the text. */
#define MAX_UNCLOSED 100

void
mb_mask_copy(struct mb_mask_text *text, const char *from, const char *to)
{
	mb_buf_put(&text->out, from, (size_t) (to - from));
}

void
mb_mask_hide(struct mb_mask_text *text, size_t rule)
{
	mb_buf_put_str(&text->out, HIDDEN);
	text->hits->counts[rule]++;
	text->has_hidden = true;
}

static bool
is_word(const char *from, const char *to, const char *const *words, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strlen(words[i]) == (size_t) (to - from) &&
			strncasecmp(words[i], from, (size_t) (to - from)) == 0)
			return true;
	return false;
}

/* -- values ---------------------------------------------------------------------------------- */

bool
mb_mask_is_no_secret(const char *from, const char *to)
{
	static const char *const words[] = {"true", "false", "null", "none", "nil", "~",
										"yes",  "no",    "on",   "off",  "''",  "\"\""};
	const char *p;

	while (to > from && (mb_mask_is_blank(to[-1]) || to[-1] == ',' || to[-1] == ';'))
		to--;
	if (to == from || is_word(from, to, words, sizeof(words) / sizeof(words[0])))
		return true;
	if (to - from < 4 || from[0] != '$' || from[1] != '{' || to[-1] != '}')
		return false;
	for (p = from + 2; p < to - 1; p++)
		if (!isalnum((unsigned char) *p) && *p != '_')
			return false;
	return true;
}

bool
mb_mask_is_place(const char *key, size_t len, const char *value, const char *to)
{
	bool is_named = (len >= 4 && strncasecmp(key + len - 4, "file", 4) == 0) ||
					(len >= 4 && strncasecmp(key + len - 4, "path", 4) == 0);

	if (value < to && (*value == '"' || *value == '\''))
		value++;
	return is_named && value < to && (*value == '/' || *value == '.');
}

/* The quote that ends what begins at p, or NULL; '' and \" do not end it. */
static const char *
closing_quote(const char *p, const char *end)
{
	char quote = *p;

	for (p++; p < end; p++)
		if (*p == '\\' && quote != '\'' && p + 1 < end)
			p++;
		else if (*p == quote && quote == '\'' && p + 1 < end && p[1] == quote)
			p++;
		else if (*p == quote)
			return p;
	return NULL;
}

/* The end of a line that looks like another assignment ends the search for a quote. */
static bool
is_assignment(const char *line, const char *end)
{
	const char *p = mb_mask_skip_blanks(line, end);
	const char *key = p;

	while (p < end && (mb_mask_is_key_char(*p)))
		p++;
	return p > key && p < end && mb_mask_skip_blanks(p, end) < end &&
		   (*mb_mask_skip_blanks(p, end) == '=' || *mb_mask_skip_blanks(p, end) == ':');
}

/* The same over several lines. */
static const char *
closing_quote_far(const char *p, const char *line_end, const char *end)
{
	const char *close = closing_quote(p, end);
	const char *line = line_end;

	if (end - p > 6 && p[1] == *p && p[2] == *p)
	{
		char three[3] = {*p, *p, *p};
		const char *found = memmem(p + 3, (size_t) (end - p - 3), three, 3);

		return found ? found + 2 : NULL;
	}
	while (close && line < close)
	{
		const char *next = line + 1;
		const char *next_end = memchr(next, '\n', (size_t) (end - next));

		if (!next_end)
			next_end = end;
		if (is_assignment(next, next_end))
			return NULL;
		line = next_end;
	}
	return close;
}

/* The bracket that ends what begins at p, or NULL. */
static const char *
closing_bracket(const char *p, const char *end)
{
	size_t depth = 0;

	for (; p < end; p++)
		if (*p == '"' || *p == '\'')
		{
			const char *close = closing_quote(p, end);

			if (!close)
				return NULL;
			p = close;
		}
		else if (*p == '[' || *p == '{')
			depth++;
		else if ((*p == ']' || *p == '}') && --depth == 0)
			return p;
	return NULL;
}

/* Everything between brackets but the keys. */
static void
hide_structure(struct mb_mask_text *text, const char *p, const char *to, size_t rule)
{
	while (p < to)
	{
		const char *from = p, *next;
		bool is_quoted = *p == '"' || *p == '\'';

		if (is_quoted)
			p = closing_quote(p, to) ? closing_quote(p, to) + 1 : to;
		else
			while (p < to && !isspace((unsigned char) *p) && !strchr(",:=[]{}\"'", *p))
				p++;
		if (p == from)
		{
			mb_mask_copy(text, p, p + 1);
			p++;
			continue;
		}
		for (next = p; next < to && isspace((unsigned char) *next); next++)
			;
		if ((next < to && (*next == ':' || *next == '=')) ||
			mb_mask_is_no_secret(from + is_quoted, p - is_quoted))
		{
			mb_mask_copy(text, from, p);
			continue;
		}
		if (is_quoted || text->format == MB_MASK_JSON)
			mb_buf_put_u8(&text->out, is_quoted ? (uint8_t) *from : '"');
		mb_mask_hide(text, rule);
		if (is_quoted || text->format == MB_MASK_JSON)
			mb_buf_put_u8(&text->out, is_quoted ? (uint8_t) *from : '"');
	}
}

/* Where a value without quotes of its own ends. */
static const char *
end_of_plain(const struct mb_mask_text *text, const char *p, const char *line_end,
			 struct mb_mask_place place)
{
	const char *stops = place.in_query                                  ? "& \t\"'"
						: place.in_flow || text->format == MB_MASK_JSON ? ",]} \t"
																		: "";

	for (; p < line_end; p++)
	{
		if (place.quote && *p == '\\' && p + 1 < line_end)
			p++;
		else if ((place.quote && *p == place.quote) || (*stops && strchr(stops, *p)))
			return p;
	}
	return line_end;
}

/* What follows at once behind the closing quote belongs to the value, as in a shell. */
static const char *
end_of_word(const char *p, const char *line_end)
{
	while (p < line_end && !isspace((unsigned char) *p) && !strchr(",;)]}&", *p))
		p++;
	return p;
}

/* In quotes: from p, which is the first of them. */
static const char *
hide_quoted(struct mb_mask_text *text, const char *p, const char *close, const char *line_end,
			size_t rule)
{
	bool is_triple = close - p >= 5 && p[1] == *p && p[2] == *p;
	int quotes = is_triple ? 3 : 1;

	if (mb_mask_is_no_secret(p + quotes, close - quotes + 1))
	{
		mb_mask_copy(text, p, close + 1);
		return close + 1;
	}
	mb_mask_copy(text, p, p + quotes);
	mb_mask_hide(text, rule);
	mb_mask_copy(text, p, p + quotes);
	return close + 1 >= line_end ? close + 1 : end_of_word(close + 1, line_end);
}

const char *
mb_mask_hide_value(struct mb_mask_text *text, const char *p, const char *line_end,
				   struct mb_mask_place place, size_t rule)
{
	bool has_structures = text->format == MB_MASK_JSON || text->format == MB_MASK_YAML ||
						  text->format == MB_MASK_TOML;
	const char *close = NULL, *to;

	if ((*p == '"' || *p == '\'') && *p != place.quote)
		close = closing_quote_far(p, line_end, text->end);
	if (close)
		return hide_quoted(text, p, close, line_end, rule);
	if (has_structures && (*p == '[' || *p == '{') && text->unclosed < MAX_UNCLOSED)
	{
		close = closing_bracket(p, text->end);
		text->unclosed += !close;
	}
	if (close)
	{
		hide_structure(text, p, close + 1, rule);
		return close + 1;
	}
	to = end_of_plain(text, p, line_end, place);
	if (mb_mask_is_no_secret(p, to))
	{
		mb_mask_copy(text, p, to);
		return to;
	}
	if (text->format == MB_MASK_JSON && !place.quote)
		mb_buf_put_u8(&text->out, '"');
	mb_mask_hide(text, rule);
	if (text->format == MB_MASK_JSON && !place.quote)
		mb_buf_put_u8(&text->out, '"');
	return to;
}

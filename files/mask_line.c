/*
 * mask_line.c - a line of configuration: secrets behind keys, in URLs, and below a key of YAML.
 *
 * No parser of any of the formats: files are often nearly right, templates, or of a kind of their own, and a
 * parser that gives up would let everything pass.  What is looked for is a key that is a secret's and a
 * sign behind it, wherever that stands.
 */
#include <strings.h>

#include "files/mask_private.h"

/* How far behind "://" a password may end; a line of nothing else must not take forever. */
#define URL_MAX 2048

static const struct mb_mask_place nowhere = {0};

/* -- keys -------------------------------------------------------------------------------------- */

struct key
{
	const char *at;
	size_t len;
	bool is_quoted;
};

/* The word in front of a sign: letters, digits, "_", "-", "."; in quotes anything but quotes. */
static struct key
key_before(const char *line, const char *sign)
{
	const char *to = sign, *from;
	char quote;

	while (to > line && mb_mask_is_blank(to[-1]))
		to--;
	if (to > line && (to[-1] == ':' || to[-1] == '?' || to[-1] == '+'))
		to--; /* := ?= += */
	while (to > line && mb_mask_is_blank(to[-1]))
		to--;
	quote = to > line && (to[-1] == '"' || to[-1] == '\'') ? *--to : '\0';
	from = to;
	while (from > line && (quote ? from[-1] != quote : mb_mask_is_key_char(from[-1])))
		from--;
	return (struct key){from, (size_t) (to - from), quote != '\0'};
}

/* All that stands before the sign: the name of a key may have blanks. */
static struct key
whole_before(const char *line, const char *sign)
{
	while (line < sign && (isspace((unsigned char) *line) || *line == '-'))
		line++;
	return (struct key){line, (size_t) (sign - line), false};
}

static bool
is_comment(const char *line, const char *end)
{
	const char *p = mb_mask_skip_blanks(line, end);

	return p < end && (*p == '#' || *p == ';' || (*p == '/' && p + 1 < end && p[1] == '/'));
}

/* The rule of what stands before a sign of this line. */
static size_t
rule_before(const struct mb_mask_text *text, const char *line, const char *sign, bool is_first,
			struct key *key)
{
	const char *end = sign + 1;
	size_t rule;

	*key = key_before(line, sign);
	rule = mb_mask_rule_of(text->mask, key->at, key->len);
	/* In a comment "=" says that something was commented out; ":" is prose. */
	if (is_comment(line, end))
		return *sign == '=' ? rule : MB_NO_RULE;
	if (rule == MB_NO_RULE && is_first)
	{
		struct key whole = whole_before(line, sign);

		if (whole.len > key->len && memchr(whole.at, ' ', whole.len))
			rule = mb_mask_rule_of(text->mask, whole.at, whole.len);
	}
	return rule;
}

/* -- URLs -------------------------------------------------------------------------------------- */

static bool
is_number(const char *from, const char *to)
{
	while (from < to && isdigit((unsigned char) *from))
		from++;
	return from == to;
}

/* scheme:// at p, which is the colon -> where the password is, or NULL. */
static const char *
url_password(const char *p, const char *end, size_t *len)
{
	const char *at = NULL, *colon = NULL, *to;

	if (end - p < 6 || p[1] != '/' || p[2] != '/')
		return NULL;
	if (end - p > URL_MAX)
		end = p + URL_MAX;
	for (to = p + 3; to < end && !isspace((unsigned char) *to) && !strchr("\"'<>", *to); to++)
	{
		if (*to == ':' && !colon && !at)
			colon = to;
		/* Behind a port, or nothing, comes the path. */
		if (strchr("/?#", *to) && (!colon || is_number(colon + 1, to)))
			break;
		if (*to == '@' && colon)
			at = to;
	}
	if (!at || at == colon + 1)
		return NULL;
	*len = (size_t) (at - colon - 1);
	return colon + 1;
}

/* -- lines ------------------------------------------------------------------------------------- */

/* A key of YAML without a value on its line: what is further to the right belongs to it. */
static void
begin_block(struct mb_mask_text *text, const char *line, const char *value, const char *line_end,
			size_t rule)
{
	const char *p = line;

	if (text->format != MB_MASK_YAML || is_comment(line, line_end))
		return;
	while (p < line_end && (*p == ' ' || *p == '-'))
		p++;
	text->block_rule = rule;
	text->block_indent = (size_t) (p - line);
	text->block_is_text = value < line_end && (*value == '|' || *value == '>');
}

/* Is this value nothing, or what announces lines below it ("|-", ">2", "&name", "!type")? */
static bool
is_block(const struct mb_mask_text *text, const char *value, const char *line_end)
{
	const char *p = value;

	if (p == line_end || text->format != MB_MASK_YAML || *p == '#')
		return p == line_end || (text->format == MB_MASK_YAML && *p == '#');
	if (*p == '|' || *p == '>')
		for (p++; p < line_end && (isdigit((unsigned char) *p) || *p == '-' || *p == '+'); p++)
			;
	else if (*p == '&' || *p == '!')
		while (p < line_end && !mb_mask_is_blank(*p))
			p++;
	else
		return false;
	p = mb_mask_skip_blanks(p, line_end);
	return p == line_end || *p == '#';
}

struct cursor
{
	const char *p;    /* what is read */
	const char *from; /* not yet copied */
	const char *line;
	const char *end; /* of the line */
	char quote;      /* that we are in, or 0 */
	bool is_first;   /* no sign yet in this line */
	long depth;      /* of brackets that are open at `counted` */
	const char *counted;
};

/* Does this stand between brackets?  Asked in the order of the line, so that it is read once. */
static bool
is_in_flow(struct cursor *at, const char *p)
{
	for (; at->counted < p; at->counted++)
		at->depth += (*at->counted == '{' || *at->counted == '[') -
					 (*at->counted == '}' || *at->counted == ']');
	return at->depth > 0;
}

static void
take_url(struct mb_mask_text *text, struct cursor *at)
{
	size_t len;
	const char *password = url_password(at->p, at->end, &len);

	if (!password || mb_mask_is_no_secret(password, password + len))
	{
		at->p++;
		return;
	}
	mb_mask_copy(text, at->from, password);
	mb_mask_hide(text, MB_RULE_URL);
	at->p = at->from = password + len;
}

/* A sign that has a key before it. */
static void
take_sign(struct mb_mask_text *text, struct cursor *at)
{
	struct mb_mask_place place = {.quote = at->quote};
	const char *value = at->p + 1;
	struct key key;
	size_t rule = rule_before(text, at->line, at->p, at->is_first, &key);

	at->is_first = false;
	if (value < at->end && (*value == '=' || *value == '>'))
		value++;
	value = mb_mask_skip_blanks(value, at->end);
	if (rule == MB_NO_RULE || mb_mask_is_place(key.at, key.len, value, at->end))
	{
		at->p++;
		return;
	}
	if (is_block(text, value, at->end))
	{
		begin_block(text, at->line, value, at->end, rule);
		at->p = at->end;
		return;
	}
	place.in_query = key.at > at->line && (key.at[-1] == '?' || key.at[-1] == '&');
	place.in_flow =
		(text->format == MB_MASK_YAML || text->format == MB_MASK_TOML) && is_in_flow(at, key.at);
	mb_mask_copy(text, at->from, value);
	at->p = at->from = mb_mask_hide_value(text, value, at->end, place, rule);
}

/* A value that stands alone in its line: what comes behind it is a comma, a bracket, a comment. */
static const char *
hide_to_end(struct mb_mask_text *text, const char *p, const char *end, size_t rule)
{
	const char *stop = mb_mask_hide_value(text, p, end, nowhere, rule);

	if (stop >= end)
		return stop;
	mb_mask_copy(text, stop, end);
	return end;
}

/* What a secret's key has below it: values of lists and maps, or text. */
static const char *
hide_block_line(struct mb_mask_text *text, const char *line, const char *end)
{
	const char *p = mb_mask_skip_blanks(line, end), *sign;

	while (!text->block_is_text && p + 1 < end && p[0] == '-' && p[1] == ' ')
		p = mb_mask_skip_blanks(p + 1, end);
	for (sign = p; sign < end; sign++)
		if (*sign == ':' && (sign + 1 == end || sign[1] == ' '))
			break;
	if (!text->block_is_text && sign < end)
		p = mb_mask_skip_blanks(sign + 1, end);
	mb_mask_copy(text, line, p);
	if (p < end && *p != '#' && !is_block(text, p, end))
		return hide_to_end(text, p, end, text->block_rule);
	mb_mask_copy(text, p, end);
	return end;
}

/* Does the line still belong to the key above? */
static bool
is_in_block(struct mb_mask_text *text, const char *line, const char *end)
{
	const char *p = mb_mask_skip_blanks(line, end);
	size_t indent = (size_t) (p - line);

	if (text->block_rule == MB_NO_RULE)
		return false;
	if (p == end || indent > text->block_indent ||
		(!text->block_is_text && indent == text->block_indent && *p == '-'))
		return true;
	text->block_rule = MB_NO_RULE;
	return false;
}

/* "user NAME on >password #hash" of Redis. */
static void
hide_redis_user(struct mb_mask_text *text, const char *p, const char *end)
{
	while (p < end)
	{
		const char *word = mb_mask_skip_blanks(p, end), *to = word;

		while (to < end && !mb_mask_is_blank(*to))
			to++;
		mb_mask_copy(text, p, word);
		if (to > word + 1 && strchr("><#", *word))
		{
			mb_mask_copy(text, word, word + 1);
			mb_mask_hide(text, MB_RULE_PASSWORD_FILE);
		}
		else
			mb_mask_copy(text, word, to);
		p = to;
	}
}

/* "requirepass x"; where reading goes on, or NULL when the line is none such. */
static const char *
hide_words(struct mb_mask_text *text, const char *line, const char *end)
{
	const char *word = mb_mask_skip_blanks(line, end), *p = word, *value;
	size_t len, rule;

	while (p < end && mb_mask_is_key_char(*p))
		p++;
	len = (size_t) (p - word);
	value = mb_mask_skip_blanks(p, end);
	if (value == p || value == end || *value == '=' || *value == ':')
		return NULL;
	if (len == 4 && strncasecmp(word, "user", 4) == 0)
	{
		hide_redis_user(text, line, end);
		return end;
	}
	rule = mb_mask_is_plain(word, len) ? mb_mask_rule_of(text->mask, word, len) : MB_NO_RULE;
	if (rule == MB_NO_RULE || mb_mask_is_place(word, len, value, end))
		return NULL;
	mb_mask_copy(text, line, value);
	return hide_to_end(text, value, end, rule);
}

const char *
mb_mask_line(struct mb_mask_text *text, const char *line, const char *end)
{
	struct cursor at = {line, line, line, end, '\0', true, 0, line};
	const char *stop = NULL;

	if (is_in_block(text, line, end))
		return hide_block_line(text, line, end);
	if (text->format == MB_MASK_CONF && !is_comment(line, end))
		stop = hide_words(text, line, end);
	if (stop)
		return stop;
	while (at.p < end)
	{
		if (*at.p == '\\' && at.p + 1 < end)
			at.p++;
		else if (*at.p == '"' || *at.p == '\'')
			at.quote = at.quote == *at.p ? '\0' : at.quote ? at.quote : *at.p;
		else if (*at.p == ':' && end - at.p > 2 && at.p[1] == '/' && at.p[2] == '/')
		{
			take_url(text, &at);
			continue;
		}
		else if (*at.p == '=' || *at.p == ':')
		{
			take_sign(text, &at);
			continue;
		}
		at.p++;
	}
	if (at.from > end)
		return at.from; /* a value of several lines */
	mb_mask_copy(text, at.from, end);
	return end;
}

/* mask_text.c - mb_mask_contents: one pass over a text, which copies it and leaves out secrets. */
#include "files/mask_private.h"

/* -- formats of their own ------------------------------------------------------------------------- */

/* host:port:database:user:password */
static const char *
read_pgpass(struct mb_mask_text *text, const char *line, const char *end)
{
	const char *p = line;
	int fields = 0;

	for (; p < end && *line != '#' && fields < 4; p++)
	{
		fields += *p == ':';
		if (*p == '\\' && p + 1 < end)
			p++;
	}
	mb_mask_copy(text, line, fields == 4 ? p : end);
	if (fields == 4 && p < end)
		mb_mask_hide(text, MB_RULE_PASSWORD_FILE);
	return end;
}

/* Words: machine x login y password z */
static const char *
read_netrc(struct mb_mask_text *text, const char *line, const char *end)
{
	const char *p = line;
	bool is_next = false;

	while (p < end)
	{
		const char *word = mb_mask_skip_blanks(p, end), *to = word;

		mb_mask_copy(text, p, word);
		while (to < end && !mb_mask_is_blank(*to))
			to++;
		if (is_next && to > word)
			mb_mask_hide(text, MB_RULE_PASSWORD_FILE);
		else
			mb_mask_copy(text, word, to);
		is_next = to - word == 8 && strncmp(word, "password", 8) == 0;
		p = to;
	}
	return end;
}

/* -- private keys ----------------------------------------------------------------------------------- */

static const char *
find(const char *p, const char *end, const char *what)
{
	return memmem(p, (size_t) (end - p), what, strlen(what));
}

/* What stands between the lines BEGIN ... PRIVATE KEY and END, into out; false when nothing does. */
static bool
hide_private_keys(const struct mb_buf *contents, struct mb_buf *out, struct mb_mask_hits *hits)
{
	const char *p = (const char *) contents->data, *end = p + contents->len, *from = p;
	uint64_t before = hits->counts[MB_RULE_PRIVATE_KEY];

	while ((p = find(p, end, "PRIVATE KEY-----")) != NULL)
	{
		const char *body = p + strlen("PRIVATE KEY-----"), *close = find(body, end, "-----END ");
		bool has_lines = body < end && (*body == '\n' || *body == '\r');

		p = body;
		if (!close)
			close = end;
		/* The line that ends one is no beginning. */
		if (close == body || !memmem(from, (size_t) (body - from), "-----BEGIN ", 11))
			continue;
		mb_buf_put(out, from, (size_t) (body - from));
		mb_buf_put_str(out, has_lines ? "\n********\n" : "********");
		hits->counts[MB_RULE_PRIVATE_KEY]++;
		/* Behind the line that ends it, so that its words are not taken for another one's. */
		p = find(close, end, "PRIVATE KEY-----");
		p = p ? p + strlen("PRIVATE KEY-----") : end;
		mb_buf_put(out, close, (size_t) (p - close));
		from = p;
	}
	mb_buf_put(out, from, (size_t) (end - from));
	return hits->counts[MB_RULE_PRIVATE_KEY] > before;
}

/* -- all of it --------------------------------------------------------------------------------------- */

static void
read_text(struct mb_mask_text *text, const char *p)
{
	const char *end = text->end;

	while (p < end)
	{
		const char *newline = memchr(p, '\n', (size_t) (end - p));
		const char *line_end = newline ? newline : end;
		const char *stop;

		if (line_end > p && line_end[-1] == '\r')
			line_end--;
		if (text->format == MB_MASK_PGPASS)
			stop = read_pgpass(text, p, line_end);
		else if (text->format == MB_MASK_NETRC)
			stop = read_netrc(text, p, line_end);
		else
			stop = mb_mask_line(text, p, line_end);
		/* Behind a value of several lines: on with the rest of its last line, as a line. */
		p = stop;
		if (stop == line_end)
		{
			mb_mask_copy(text, line_end, newline ? newline + 1 : end);
			p = newline ? newline + 1 : end;
		}
	}
}

static void
replace(struct mb_buf *contents, const struct mb_buf *by)
{
	mb_wipe(contents->data, contents->len);
	mb_buf_reset(contents);
	mb_buf_put(contents, by->data, by->len);
}

bool
mb_mask_contents(const struct mb_mask *mask, enum mb_mask_format format, struct mb_buf *contents,
				 struct mb_mask_hits *hits)
{
	struct mb_mask_text text = {.mask = mask,
								.hits = hits,
								.format = format,
								.block_rule = MB_NO_RULE};
	struct mb_buf without_keys = {0};
	bool masked;

	if (contents->len == 0 || memchr(contents->data, '\0', contents->len))
		return false;
	masked = hide_private_keys(contents, &without_keys, hits);
	if (masked)
		replace(contents, &without_keys);
	mb_buf_wipe(&without_keys);
	if (format == MB_MASK_NONE)
		return masked;
	text.end = (const char *) contents->data + contents->len;
	read_text(&text, (const char *) contents->data);
	if (text.has_hidden)
		replace(contents, &text.out);
	mb_buf_wipe(&text.out);
	return masked || text.has_hidden;
}

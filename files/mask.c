/* mask.c - see mask.h. */
#include "files/mask.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *const secret_words[] = {"password", "passwd", "passphrase", "secret",
										   "key",      "token",  "credential"};

bool
mb_mask_applies(const char *path)
{
	static const char *const endings[] = {".env",        ".conf", ".ini",  ".cnf", ".cfg",
										  ".properties", ".yml",  ".yaml", ".toml"};
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t i;

	for (i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		if (mb_ends_with(name, endings[i]))
			return true;
	return strncmp(name, ".env.", 5) == 0 || strcmp(name, "env") == 0 ||
		   strcmp(name, ".pgpass") == 0;
}

static bool
is_secret_key(const char *key, size_t len)
{
	size_t i, j;

	for (i = 0; i < sizeof(secret_words) / sizeof(secret_words[0]); i++)
		for (j = 0; j + strlen(secret_words[i]) <= len; j++)
			if (strncasecmp(key + j, secret_words[i], strlen(secret_words[i])) == 0)
				return true;
	return false;
}

/* Where the value of a line begins, or NULL when it is no "key = value" with a secret key. */
static const char *
secret_value(const char *line, const char *end)
{
	const char *key = line;
	const char *p;

	while (key < end && (isspace((unsigned char) *key) || *key == '-'))
		key++;
	if (key >= end || *key == '#' || *key == ';')
		return NULL;
	for (p = key; p < end && *p != '=' && *p != ':'; p++)
		;
	if (p == end || !is_secret_key(key, (size_t) (p - key)))
		return NULL;
	for (p++; p < end && (*p == ' ' || *p == '\t'); p++)
		;
	return p < end ? p : NULL;
}

/* scheme://user:password@ -> where the password is, or NULL. */
static const char *
url_password(const char *line, const char *end, size_t *len)
{
	const char *p = line;

	while ((p = memmem(p, (size_t) (end - p), "://", 3)) != NULL)
	{
		const char *colon = NULL;

		for (p += 3; p < end && !isspace((unsigned char) *p) && *p != '/' && *p != '"'; p++)
		{
			if (*p == ':' && !colon)
				colon = p;
			if (*p == '@' && colon)
			{
				*len = (size_t) (p - colon - 1);
				return colon + 1;
			}
		}
	}
	return NULL;
}

static bool
mask_line(const char *line, const char *end, struct mb_buf *out)
{
	const char *text_end = end > line && end[-1] == '\r' ? end - 1 : end;
	const char *value = secret_value(line, text_end);
	size_t len = value ? (size_t) (text_end - value) : 0;

	if (!value)
		value = url_password(line, text_end, &len);
	if (!value || len == 0)
	{
		mb_buf_put(out, line, (size_t) (end - line));
		return false;
	}
	mb_buf_put(out, line, (size_t) (value - line));
	mb_buf_put_str(out, "********");
	mb_buf_put(out, value + len, (size_t) (end - value) - len);
	return true;
}

bool
mb_mask_contents(struct mb_buf *contents)
{
	const char *p = (const char *) contents->data;
	const char *end = p + contents->len;
	struct mb_buf out = {0};
	bool masked = false;

	if (contents->len == 0 || memchr(p, '\0', contents->len))
		return false;
	while (p < end)
	{
		const char *newline = memchr(p, '\n', (size_t) (end - p));
		const char *line_end = newline ? newline : end;

		masked = mask_line(p, line_end, &out) || masked;
		if (newline)
			mb_buf_put_u8(&out, '\n');
		p = newline ? newline + 1 : end;
	}
	if (masked)
	{
		mb_wipe(contents->data, contents->len);
		mb_buf_reset(contents);
		mb_buf_put(contents, out.data, out.len);
	}
	mb_buf_release(&out);
	return masked;
}

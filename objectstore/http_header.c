/* http_header.c - see http.h: the headers of an answer. */
#include "objectstore/http.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* What is between two ends, without the white space there; NUL-terminated. */
static void
put_value(struct mb_buf *value, const char *begin, const char *end)
{
	for (; begin < end && (*begin == ' ' || *begin == '\t'); begin++)
		;
	while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	mb_buf_reset(value);
	mb_buf_put(value, begin, (size_t) (end - begin));
	mb_buf_cstr(value);
}

bool
mb_http_next_header(const struct mb_http_response *response, size_t *at, struct mb_buf *name,
					struct mb_buf *value)
{
	const struct mb_buf *headers = &response->headers;
	const char *line, *end, *colon;

	if (*at >= headers->len)
		return false;
	line = (const char *) headers->data + *at;
	end = memchr(line, '\n', headers->len - *at);
	colon = memchr(line, ':', (size_t) (end - line));
	*at += (size_t) (end - line) + 1;
	mb_buf_reset(name);
	mb_buf_put(name, line, (size_t) (colon - line));
	mb_buf_cstr(name);
	put_value(value, colon + 1, end);
	return true;
}

bool
mb_http_header(const struct mb_http_response *response, const char *name, struct mb_buf *out)
{
	const struct mb_buf *headers = &response->headers;
	size_t len = strlen(name), at = 0;
	const char *end;

	for (; at < headers->len; at = (size_t) (end - (const char *) headers->data) + 1)
	{
		const char *line = (const char *) headers->data + at;

		end = memchr(line, '\n', headers->len - at);
		if ((size_t) (end - line) > len && line[len] == ':' && memcmp(line, name, len) == 0)
		{
			put_value(out, line + len + 1, end);
			return true;
		}
	}
	return false;
}

int64_t
mb_http_date(const char *text)
{
	static const char *const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = {0};
	char month[4] = "";
	const char *found;

	if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT", &tm.tm_mday, month,
			   &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6 ||
		strlen(month) != 3)
		return -1;
	found = strstr(months, month);
	if (!found || (found - months) % 3 != 0 || tm.tm_year < 1970)
		return -1;
	tm.tm_mon = (int) (found - months) / 3;
	tm.tm_year -= 1900;
	return (int64_t) timegm(&tm);
}

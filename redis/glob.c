/*
 * glob.c - see glob.h.
 *
 * The rules are those of stringmatchlen() in util.c of Redis, quirks included (a class
 * without its ] ends with the pattern).  Only the last * is ever gone back to, so that the
 * time is at most the product of the lengths.
 */
#include "redis/glob.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DB 1000000000L

/* The class at *p (behind its "[") against c; *p moves to its last byte. */
static bool
match_class(const unsigned char **p, const unsigned char *end, unsigned char c)
{
	const unsigned char *at = *p;
	bool negated = at < end && *at == '^', found = false;

	if (negated)
		at++;
	for (; at < end && *at != ']'; at++)
	{
		if (*at == '\\' && end - at >= 2)
			found |= *++at == c;
		else if (end - at >= 3 && at[1] == '-')
		{
			unsigned char low = at[0] < at[2] ? at[0] : at[2];
			unsigned char high = at[0] < at[2] ? at[2] : at[0];

			found |= low <= c && c <= high;
			at += 2;
		}
		else
			found |= *at == c;
	}
	*p = at < end ? at : end - 1;
	return found != negated;
}

/* One element at *p, which is no *, against c; *p moves behind it. */
static bool
match_one(const unsigned char **p, const unsigned char *end, unsigned char c)
{
	const unsigned char *at = *p;
	bool yes;

	switch (*at)
	{
		case '?':
			yes = true;
			break;
		case '[':
			at++;
			yes = match_class(&at, end, c);
			break;
		case '\\':
			if (end - at >= 2)
				at++;
			yes = *at == c;
			break;
		default:
			yes = *at == c;
	}
	*p = at + 1;
	return yes;
}

bool
mb_redis_glob(const char *pattern, size_t pattern_len, const void *key, size_t len)
{
	const unsigned char *p = (const unsigned char *) pattern, *end = p + pattern_len;
	const unsigned char *k = key, *key_end = k + len;
	const unsigned char *star = NULL, *star_key = NULL, *next;

	while (k < key_end)
	{
		if (p < end && *p == '*')
		{
			star = ++p;
			star_key = k;
			continue;
		}
		next = p;
		if (p < end && match_one(&next, end, *k))
		{
			p = next;
			k++;
		}
		else if (star)
		{
			p = star;
			k = ++star_key;
		}
		else
			return false;
	}
	while (p < end && *p == '*')
		p++;
	return p == end;
}

enum mb_code
mb_redis_only_parse(struct mb_redis_only *only, const char *text, struct mb_error *err)
{
	size_t digits = strspn(text, "0123456789");

	*only = (struct mb_redis_only){MB_GLOB_EVERY_DB, text};
	if (digits > 0 && text[digits] == ':')
	{
		only->db = digits < 10 ? strtol(text, NULL, 10) : MAX_DB;
		only->pattern = text + digits + 1;
	}
	if (only->db >= MAX_DB || !*only->pattern)
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is no pattern of Redis keys", text);
		return mb_error_hint(err, "Write PATTERN or DB:PATTERN, such as --only 'session:*' or "
								  "--only '3:cart:*'.");
	}
	return MB_OK;
}

bool
mb_redis_only_match(const struct mb_redis_only *only, size_t count, int64_t db, const void *key,
					size_t len)
{
	size_t i;

	for (i = 0; i < count; i++)
		if ((only[i].db == MB_GLOB_EVERY_DB || only[i].db == db) &&
			mb_redis_glob(only[i].pattern, strlen(only[i].pattern), key, len))
			return true;
	return count == 0;
}

bool
mb_redis_only_db(const struct mb_redis_only *only, size_t count, int64_t db)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (only[i].db == MB_GLOB_EVERY_DB || only[i].db == db)
			return true;
	return count == 0;
}

/* patterns.c - see patterns.h. */
#include "files/patterns.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_MAX 256 /* of a path: NAME_MAX and a zero byte */
#define MAX_SEGMENTS 64

static void
add_segment(struct mb_pattern *pattern, char *segment)
{
	/* "**" twice in a row means the same as once, and would only cost time. */
	if (strcmp(segment, "**") == 0 && pattern->count > 0 &&
		strcmp(pattern->segments[pattern->count - 1], "**") == 0)
		return;
	pattern->segments[pattern->count++] = segment;
}

static enum mb_code
refuse(const char *text, const char *why, struct mb_error *err)
{
	mb_fail(err, MB_CONFIG, "\"%s\" is no pattern: %s", text, why);
	return mb_error_hint(err,
						 "Write a name (*.bak), a directory (cache/), a path (/srv/**/tmp), or "
						 "any of them behind a \"!\".");
}

enum mb_code
mb_patterns_add(struct mb_patterns *patterns, const char *text, struct mb_error *err)
{
	static char any[] = "**";
	struct mb_pattern pattern = {.is_negated = text[0] == '!'};
	size_t len;
	char *p, *next;

	pattern.text = mb_strdup(text + pattern.is_negated);
	len = strlen(pattern.text);
	pattern.is_for_directories = len > 0 && pattern.text[len - 1] == '/';
	while (len > 0 && pattern.text[len - 1] == '/')
		pattern.text[--len] = '\0';
	pattern.segments = mb_calloc(MAX_SEGMENTS + 2, sizeof(*pattern.segments));
	if (pattern.text[0] != '/')
		add_segment(&pattern, any);
	for (p = pattern.text; p && pattern.count <= MAX_SEGMENTS; p = next)
	{
		next = strchr(p, '/');
		if (next)
			*next++ = '\0';
		if (*p)
			add_segment(&pattern, p);
	}
	patterns->items =
		mb_grow(patterns->items, &patterns->cap, patterns->count + 1, sizeof(*patterns->items));
	patterns->items[patterns->count++] = pattern;
	if (len == 0)
		return refuse(text, "there is no name in it", err);
	if (pattern.count > MAX_SEGMENTS)
		return refuse(text, "it has too many parts", err);
	return MB_OK;
}

void
mb_patterns_release(struct mb_patterns *patterns)
{
	size_t i;

	for (i = 0; i < patterns->count; i++)
	{
		free(patterns->items[i].text);
		free(patterns->items[i].segments);
	}
	free(patterns->items);
	memset(patterns, 0, sizeof(*patterns));
}

/* A path as its parts. */
struct parts
{
	const char *at[2048]; /* a path has 4095 bytes */
	size_t len[2048];
	size_t count;
};

static void
split(const char *path, struct parts *parts)
{
	parts->count = 0;
	while (*path && parts->count < sizeof(parts->at) / sizeof(parts->at[0]))
	{
		size_t len = strcspn(path, "/");

		parts->at[parts->count] = path;
		parts->len[parts->count] = len;
		parts->count++;
		path += len + (path[len] == '/');
	}
}

static bool
part_matches(const char *segment, const struct parts *parts, size_t i)
{
	char part[SEGMENT_MAX];

	if (parts->len[i] >= sizeof(part))
		return false;
	memcpy(part, parts->at[i], parts->len[i]);
	part[parts->len[i]] = '\0';
	return fnmatch(segment, part, 0) == 0;
}

/*
 * As a glob in one string is matched with "*": go on, and where that fails let the last "**" take one
 * part more.  Earlier ones need not be tried again.
 */
static bool
parts_match(const struct mb_pattern *pattern, const struct parts *parts)
{
	size_t i = 0, s = 0, star = SIZE_MAX, taken = 0;

	while (i < parts->count)
	{
		bool is_any = s < pattern->count && strcmp(pattern->segments[s], "**") == 0;

		if (is_any && s + 1 == pattern->count)
			return true; /* everything below, and there is something */
		if (is_any)
		{
			star = s++;
			taken = i;
		}
		else if (s < pattern->count && part_matches(pattern->segments[s], parts, i))
		{
			s++;
			i++;
		}
		else if (star != SIZE_MAX)
		{
			s = star + 1;
			i = ++taken;
		}
		else
			return false;
	}
	return s == pattern->count;
}

static bool
matches(const struct mb_pattern *pattern, const struct parts *parts, enum mb_path_kind kind)
{
	return (!pattern->is_for_directories || kind == MB_PATH_DIRECTORY) &&
		   parts_match(pattern, parts);
}

bool
mb_patterns_match(const struct mb_patterns *patterns, const char *path, enum mb_path_kind kind)
{
	struct parts parts;
	size_t i;

	if (patterns->count == 0)
		return false;
	split(path, &parts);
	for (i = patterns->count; i > 0; i--)
		if (matches(&patterns->items[i - 1], &parts, kind))
			return !patterns->items[i - 1].is_negated;
	return false;
}

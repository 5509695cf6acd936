/* s3_page.c - pages of ListObjectVersions and ListObjectsV2; see s3_xml.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "objectstore/s3_xml.h"

#define NS_PER_S 1000000000LL
#define METADATA_MAX 1024 /* pairs of one version: servers allow 2 to 8 KiB in all */

/* An entry as it comes; texts are raw until the end says whether they are encoded. */
struct reading
{
	struct mb_s3_page *page;
	bool is_versions; /* not ListObjectsV2 */
	bool is_encoded;  /* EncodingType, which MinIO sends last */
	bool has_size;
	bool has_time;
	struct mb_pair *pairs; /* of the version that is being read */
	size_t pair_count;
	size_t pair_cap;
};

/* -- times ----------------------------------------------------------------------------------------- */

static bool
parse_fraction(const char **text, int64_t *ns)
{
	int64_t unit = NS_PER_S / 10;

	*ns = 0;
	if (**text != '.')
		return true;
	(*text)++;
	if (**text < '0' || **text > '9')
		return false;
	for (; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
		*ns += (**text - '0') * unit; /* digits beyond nanoseconds count as nothing */
	return true;
}

bool
mb_s3_time_parse(int64_t *time_ns, const char *text)
{
	struct tm tm = {0};
	int used = 0;
	int64_t fraction;
	const char *rest;
	int64_t seconds;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
			   &tm.tm_min, &tm.tm_sec, &used) != 6 ||
		used != 19)
		return false;
	rest = text + used;
	if (!parse_fraction(&rest, &fraction) || strcmp(rest, "Z") != 0)
		return false;
	/* What fits into 64 bits of nanoseconds. */
	if (tm.tm_year < 1678 || tm.tm_year > 2261 || tm.tm_mon < 1 || tm.tm_mon > 12 ||
		tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 ||
		tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	seconds = (int64_t) timegm(&tm);
	*time_ns = seconds * NS_PER_S + fraction;
	return true;
}

void
mb_s3_time_format(char out[40], int64_t time_ns)
{
	int64_t fraction = time_ns % NS_PER_S;
	time_t seconds;
	struct tm tm;

	if (fraction < 0)
		fraction += NS_PER_S;
	seconds = (time_t) ((time_ns - fraction) / NS_PER_S);
	gmtime_r(&seconds, &tm);
	snprintf(out, 40, "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", (tm.tm_year + 1900) % 10000,
			 (tm.tm_mon + 1) % 100, tm.tm_mday % 100, tm.tm_hour % 100, tm.tm_min % 100,
			 tm.tm_sec % 100, (int) fraction);
}

/* -- reading a page ---------------------------------------------------------------------------------- */

/* The part of a path behind "ListVersionsResult/" or "ListBucketResult/"; NULL: not in one. */
static const char *
below_root(const char *path)
{
	const char *slash = strchr(path, '/');

	return slash ? slash + 1 : NULL;
}

static struct mb_s3_version *
current(struct reading *reading)
{
	return &reading->page->versions[reading->page->count - 1];
}

static void
begin_version(struct reading *reading, bool is_marker)
{
	struct mb_s3_page *page = reading->page;

	page->versions = mb_grow(page->versions, &page->cap, page->count + 1, sizeof(*page->versions));
	page->versions[page->count++] = (struct mb_s3_version){.version_id = "",
														   .etag = "",
														   .storage_class = "",
														   .is_marker = is_marker};
	reading->has_size = reading->has_time = false;
	reading->pair_count = 0;
}

static enum mb_code
page_begin(void *ctx, const char *path, struct mb_error *err)
{
	struct reading *reading = ctx;
	const char *name = below_root(path);

	if (!name)
	{
		reading->is_versions = strcmp(path, "ListVersionsResult") == 0;
		if (!reading->is_versions && strcmp(path, "ListBucketResult") != 0)
			return mb_fail(err, MB_CORRUPT, "the answer is a <%.64s>, not a listing", path);
	}
	else if (strcmp(name, "Version") == 0 || strcmp(name, "Contents") == 0)
		begin_version(reading, false);
	else if (strcmp(name, "DeleteMarker") == 0)
		begin_version(reading, true);
	else if (strcmp(name, "Version/UserMetadata") == 0 ||
			 strcmp(name, "Contents/UserMetadata") == 0)
		current(reading)->has_metadata = true;
	return MB_OK;
}

/* The ETag without its quotes. */
static const char *
unquote(struct mb_arena *arena, const char *text, size_t len)
{
	char *copy;

	if (len >= 2 && text[0] == '"' && text[len - 1] == '"')
	{
		text++;
		len -= 2;
	}
	copy = mb_arena_copy(arena, text, len + 1);
	copy[len] = '\0';
	return copy;
}

static bool
parse_size(uint64_t *size, const char *text, size_t len)
{
	uint64_t value = 0;
	size_t i;

	if (len == 0 || len > 18)
		return false;
	for (i = 0; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t) (text[i] - '0');
	}
	*size = value;
	return true;
}

static enum mb_code
bad_value(const char *name, const char *text, struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "the listing says <%s>%.64s", name, text);
}

static enum mb_code
add_pair(struct reading *reading, const char *name, const char *text, struct mb_error *err)
{
	struct mb_arena *arena = &reading->page->arena;

	if (reading->pair_count == METADATA_MAX)
		return mb_fail(err, MB_CORRUPT, "the listing has more than %d metadata of one object",
					   METADATA_MAX);
	reading->pairs = mb_grow(reading->pairs, &reading->pair_cap, reading->pair_count + 1,
							 sizeof(*reading->pairs));
	reading->pairs[reading->pair_count++] =
		(struct mb_pair){mb_arena_strdup(arena, name), mb_arena_strdup(arena, text)};
	return MB_OK;
}

/* A member of a version; texts are NUL-terminated. */
static enum mb_code
version_text(struct reading *reading, const char *name, const char *text, size_t len,
			 struct mb_error *err)
{
	struct mb_s3_version *version = current(reading);
	struct mb_arena *arena = &reading->page->arena;

	if (mb_starts_with(name, "UserMetadata/"))
		return add_pair(reading, name + strlen("UserMetadata/"), text, err);
	if (strcmp(name, "Key") == 0)
		version->key = mb_arena_strdup(arena, text);
	else if (strcmp(name, "VersionId") == 0)
		version->version_id = mb_arena_strdup(arena, text);
	else if (strcmp(name, "ETag") == 0)
		version->etag = unquote(arena, text, len);
	else if (strcmp(name, "StorageClass") == 0)
		version->storage_class = mb_arena_strdup(arena, text);
	else if (strcmp(name, "UserTags") == 0)
		version->tags = mb_arena_strdup(arena, text);
	else if (strcmp(name, "IsLatest") == 0)
		version->is_latest = strcmp(text, "true") == 0;
	else if (strcmp(name, "Size") == 0)
	{
		if (!parse_size(&version->size, text, len))
			return bad_value(name, text, err);
		reading->has_size = true;
	}
	else if (strcmp(name, "LastModified") == 0)
	{
		if (!mb_s3_time_parse(&version->modified_ns, text))
			return bad_value(name, text, err);
		reading->has_time = true;
	}
	return MB_OK;
}

static enum mb_code
end_version(struct reading *reading, struct mb_error *err)
{
	struct mb_s3_version *version = current(reading);

	if (!version->key || !version->key[0])
		return mb_fail(err, MB_CORRUPT, "the listing has an entry without a key");
	if (!reading->has_time || (!version->is_marker && !reading->has_size))
		return mb_fail(err, MB_CORRUPT, "the listing has \"%.256s\" without its time or size",
					   version->key);
	version->metadata = mb_arena_copy(&reading->page->arena, reading->pairs,
									  reading->pair_count * sizeof(*reading->pairs));
	version->metadata_count = reading->pair_count;
	return MB_OK;
}

static void
add_prefix(struct mb_s3_page *page, const char *text)
{
	page->prefixes =
		mb_grow(page->prefixes, &page->prefix_cap, page->prefix_count + 1, sizeof(char *));
	page->prefixes[page->prefix_count++] = mb_arena_strdup(&page->arena, text);
}

static enum mb_code
page_text(void *ctx, const char *path, const char *text, size_t len, struct mb_error *err)
{
	struct reading *reading = ctx;
	struct mb_s3_page *page = reading->page;
	const char *name = below_root(path);
	const char *member;

	if (!name)
		return MB_OK;
	if (strlen(text) != len)
		return mb_fail(err, MB_CORRUPT, "the listing has a NUL in <%.64s>", name);
	if (strcmp(name, "Version") == 0 || strcmp(name, "Contents") == 0 ||
		strcmp(name, "DeleteMarker") == 0)
		return end_version(reading, err);
	member = strchr(name, '/');
	if (member && strcmp(name, "CommonPrefixes/Prefix") == 0)
		add_prefix(page, text);
	else if (mb_starts_with(name, "Version/") || mb_starts_with(name, "Contents/") ||
			 mb_starts_with(name, "DeleteMarker/"))
		return version_text(reading, member + 1, text, len, err);
	else if (strcmp(name, "EncodingType") == 0)
		reading->is_encoded = strcmp(text, "url") == 0;
	else if (strcmp(name, "IsTruncated") == 0)
		page->is_truncated = strcmp(text, "true") == 0;
	else if (strcmp(name, "NextKeyMarker") == 0 || strcmp(name, "NextContinuationToken") == 0)
		page->next_key = mb_arena_strdup(&page->arena, text);
	else if (strcmp(name, "NextVersionIdMarker") == 0)
		page->next_version = mb_arena_strdup(&page->arena, text);
	return MB_OK;
}

/* -- decoding ------------------------------------------------------------------------------------------ */

static enum mb_code
decode(struct mb_s3_page *page, struct mb_buf *buf, const char **text, struct mb_error *err)
{
	mb_buf_reset(buf);
	mb_xml_url_decode(buf, *text, strlen(*text));
	if (memchr(buf->data, '\0', buf->len))
		return mb_fail(err, MB_CORRUPT, "the listing has a key with a NUL: \"%.256s\"", *text);
	*text = mb_arena_strdup(&page->arena, mb_buf_cstr(buf));
	return MB_OK;
}

static enum mb_code
decode_page(struct mb_s3_page *page, bool is_versions, struct mb_error *err)
{
	struct mb_buf buf = {0};
	enum mb_code code = MB_OK;
	size_t i;

	mb_buf_reserve(&buf, 1024);
	for (i = 0; !code && i < page->count; i++)
		code = decode(page, &buf, &page->versions[i].key, err);
	for (i = 0; !code && i < page->prefix_count; i++)
		code = decode(page, &buf, &page->prefixes[i], err);
	/* A continuation token is not a name: it comes as it must be sent back. */
	if (!code && page->next_key && is_versions)
		code = decode(page, &buf, &page->next_key, err);
	mb_buf_release(&buf);
	return code;
}

enum mb_code
mb_s3_page_parse(struct mb_s3_page *page, const void *data, size_t len, struct mb_error *err)
{
	static const struct mb_xml_handler handler = {page_begin, page_text};
	struct reading reading = {.page = page};
	enum mb_code code;

	memset(page, 0, sizeof(*page));
	code = mb_xml_parse(data, len, &handler, &reading, "listing", err);
	if (!code && reading.is_encoded)
		code = decode_page(page, reading.is_versions, err);
	free(reading.pairs);
	if (code)
		mb_s3_page_release(page);
	return code;
}

void
mb_s3_page_release(struct mb_s3_page *page)
{
	free(page->versions);
	free(page->prefixes);
	mb_arena_release(&page->arena);
	memset(page, 0, sizeof(*page));
}

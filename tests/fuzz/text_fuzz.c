/*
 * text_fuzz.c - any text where a person or a server writes a time, a size, a URL, a pattern or a name: what is taken
 * means the same when it is written again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/base/time.h"
#include "core/engine/service.h"
#include "core/repo/pack.h"
#include "core/repo/repo.h"
#include "files/patterns.h"
#include "objectstore/http.h"
#include "objectstore/s3.h"
#include "redis/glob.h"
#include "redis/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
touch_numbers(const char *text)
{
	char again[MB_TIME_TEXT];
	int64_t time_us, same_us, ms;
	struct mb_error err;
	uint64_t bytes;

	mb_error_clear(&err);
	if (mb_time_parse(&time_us, text, &err) == MB_OK)
	{
		mb_time_format(again, time_us);
		MB_ASSERT(mb_time_parse(&same_us, again, &err) != MB_OK || same_us == time_us);
		mb_time_compact(again, time_us);
	}
	if (mb_duration_parse(&ms, text, &err) == MB_OK)
		MB_ASSERT(ms >= 0);
	if (mb_size_parse(&bytes, text, &err) == MB_OK)
		mb_size_format(again, bytes);
	if (mb_lsn_parse(&bytes, text))
	{
		json_t *json = json_object();

		mb_json_set_lsn(json, "lsn", bytes);
		MB_ASSERT(mb_lsn_parse((uint64_t *) &time_us, mb_json_str(json, "lsn", "")) &&
				  (uint64_t) time_us == bytes);
		json_decref(json);
	}
	(void) mb_http_date(text);
}

static void
touch_names(const char *text, size_t len)
{
	struct mb_settings settings = {0};
	struct mb_service service = {0};
	struct mb_pack_id pack;
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_name_is_safe(text, len))
		MB_ASSERT(text[0] != '/' && !strstr(text, "//") && strcmp(text, "..") != 0 &&
				  !mb_starts_with(text, "../") && !mb_ends_with(text, "/..") &&
				  !strstr(text, "/../"));
	if (mb_pack_name_parse(&pack, text))
	{
		char again[MB_PACK_NAME_TEXT];

		mb_pack_name(again, &pack);
		MB_ASSERT(strcmp(again, text) == 0);
	}
	if (mb_id_is_valid(text))
		MB_ASSERT(strlen(text) == 29 && mb_id_time_us(text) != INT64_MIN);
	if (mb_service_parse(&service, text, &settings, &err) == MB_OK)
		mb_service_release(&service);
	mb_settings_release(&settings);
}

static void
touch_urls(const char *text)
{
	struct mb_redis_url url = {0};
	char *bucket = NULL, *prefix = NULL;
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_redis_url_parse(&url, text, &err) == MB_OK)
		mb_redis_url_release(&url);
	if (mb_s3_url_parse(text, &bucket, &prefix, &err) == MB_OK)
	{
		MB_ASSERT(bucket[0] && !strchr(bucket, '/'));
		free(bucket);
		free(prefix);
	}
}

/* A line with the pattern, the next one with the path. */
static void
touch_patterns(const char *text)
{
	const char *path = strchr(text, '\n');
	struct mb_patterns patterns = {0};
	struct mb_redis_only only = {0};
	char *pattern = mb_strndup(text, strcspn(text, "\n"));
	struct mb_error err;

	path = path ? path + 1 : "etc/shop/shop.env";
	mb_error_clear(&err);
	if (strlen(pattern) < 200 && strlen(path) < 200)
	{
		if (mb_patterns_add(&patterns, pattern, &err) == MB_OK)
			(void) mb_patterns_match(&patterns, path, MB_PATH_OTHER);
		if (mb_redis_only_parse(&only, pattern, &err) == MB_OK)
			(void) mb_redis_only_match(&only, 1, 0, path, strlen(path));
	}
	mb_patterns_release(&patterns);
	free(pattern);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mb_strndup((const char *) data, size);

	touch_numbers(text);
	touch_names(text, size);
	touch_urls(text);
	touch_patterns(text);
	free(text);
	return 0;
}

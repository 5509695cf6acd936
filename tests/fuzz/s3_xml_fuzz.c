/*
 * s3_xml_fuzz.c - the readers of S3 answers on any bytes: no crash, and what a page says is
 * complete (keys, NUL-terminated texts, counts).
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "objectstore/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
touch(const char *text)
{
	return text ? strlen(text) : 0;
}

static void
touch_page(const struct mb_s3_page *page)
{
	size_t sum = touch(page->next_key) + touch(page->next_version);
	size_t i, j;

	for (i = 0; i < page->count; i++)
	{
		const struct mb_s3_version *version = &page->versions[i];

		MB_ASSERT(version->key && version->version_id && version->etag && version->storage_class);
		sum += touch(version->key) + touch(version->tags) + touch(version->etag);
		for (j = 0; j < version->metadata_count; j++)
			sum += touch(version->metadata[j].name) + touch(version->metadata[j].value);
	}
	for (i = 0; i < page->prefix_count; i++)
		sum += touch(page->prefixes[i]);
	MB_ASSERT(sum < (64u << 20));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_s3_page page;
	struct mb_buf out = {0};
	struct mb_error err;
	int64_t time_ns;
	char text[64];

	mb_error_clear(&err);
	if (mb_s3_page_parse(&page, data, size, &err) == MB_OK)
	{
		touch_page(&page);
		mb_s3_page_release(&page);
	}
	if (mb_xml_find(data, size, "Error/Code", &out))
		MB_ASSERT(strlen(mb_buf_cstr(&out)) <= out.len);
	mb_buf_reset(&out);
	mb_xml_url_decode(&out, (const char *) data, size);
	MB_ASSERT(out.len <= size);
	snprintf(text, sizeof(text), "%.*s", (int) (size < 60 ? size : 60), (const char *) data);
	if (mb_s3_time_parse(&time_ns, text))
	{
		int64_t again_ns;

		mb_s3_time_format(text, time_ns);
		MB_ASSERT(mb_s3_time_parse(&again_ns, text) && again_ns == time_ns);
	}
	mb_buf_release(&out);
	return 0;
}

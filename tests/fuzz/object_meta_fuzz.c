/*
 * object_meta_fuzz.c - any bytes as what a server of buckets says about one object: headers, tags, parts; and as what a
 * repository has about it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/bucket_entry.h"
#include "objectstore/http.h"
#include "objectstore/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mb_s3_version
a_version(void)
{
	struct mb_s3_version version = {.key = (char *) (uintptr_t) "key",
									.version_id = (char *) (uintptr_t) "null",
									.etag =
										(char *) (uintptr_t) "0123456789abcdef0123456789abcdef-7",
									.storage_class = (char *) (uintptr_t) ""};

	return version;
}

/* As http.c keeps them: lines with a name, which end. */
static void
put_headers(struct mb_buf *headers, const char *data, size_t size)
{
	const char *end = data + size, *line = data, *next;

	for (; line < end; line = next)
	{
		const char *stop = memchr(line, '\n', (size_t) (end - line));

		stop = stop ? stop : end;
		next = stop < end ? stop + 1 : end;
		if (memchr(line, ':', (size_t) (stop - line)))
		{
			mb_buf_put(headers, line, (size_t) (stop - line));
			mb_buf_put_u8(headers, '\n');
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_s3_version version = a_version();
	struct mb_http_response response = {.status = 200};
	struct mb_buf name = {0}, value = {0};
	struct mb_entry entry = {.type = MB_ENTRY_OBJECT};
	json_t *meta = mb_version_meta(&version);
	struct mb_error err;
	size_t at = 0;

	mb_error_clear(&err);
	put_headers(&response.headers, (const char *) data, size);
	while (mb_http_next_header(&response, &at, &name, &value))
		MB_ASSERT(at <= response.headers.len);
	(void) mb_http_header(&response, "etag", &value);
	mb_version_meta_headers(meta, &response, &version);
	(void) mb_version_agrees(&version, meta);
	(void) mb_etag_is_md5(meta, version.etag);
	(void) !mb_version_meta_tags(meta, data, size, &err);
	(void) !mb_version_meta_parts(meta, data, size, &err);
	json_decref(meta);
	entry.meta = mb_strndup((const char *) data, size);
	meta = mb_state_meta(&entry);
	MB_ASSERT(json_is_object(meta));
	(void) mb_version_agrees(&version, meta);
	json_decref(meta);
	free((char *) (uintptr_t) entry.meta);
	mb_buf_release(&response.headers);
	mb_buf_release(&name);
	mb_buf_release(&value);
	return 0;
}

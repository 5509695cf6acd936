/*
 * iam_fuzz.c - any bytes as a zip archive, as an export of the IAM and as a document of it: what is taken
 * can be written and read again, and is the same then.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/zip.h"
#include "objectstore/iam.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
touch_zip(const uint8_t *data, size_t size)
{
	static const struct mb_zip_limits limits = {"fuzz", 16, 1 << 20};
	struct mb_zip zip = {0}, again = {0};
	struct mb_buf out = {0};
	struct mb_error err;
	size_t bytes = 0, i;

	if (mb_zip_read(&zip, data, size, &limits, &err) == MB_OK)
	{
		MB_ASSERT(zip.count <= limits.members);
		for (i = 0; i < zip.count; i++)
		{
			MB_ASSERT(mb_zip_find(&zip, zip.members[i].name) == &zip.members[i].data);
			bytes += zip.members[i].data.len;
		}
		MB_ASSERT(bytes <= limits.bytes);
		MB_ASSERT(mb_zip_write(&zip, &out, &err) == MB_OK);
		MB_ASSERT(zip.count == 0 || mb_zip_read(&again, out.data, out.len, &limits, &err) == MB_OK);
		MB_ASSERT(again.count == zip.count);
	}
	mb_zip_release(&zip);
	mb_zip_release(&again);
	mb_buf_wipe(&out);
}

static void
touch_iam(const json_t *iam)
{
	json_t *summary = mb_iam_summary(iam), *differences = mb_iam_differences(iam, iam);
	json_t *again = NULL;
	struct mb_buf text = {0}, text_again = {0};
	struct mb_error err;

	MB_ASSERT(json_array_size(differences) == 0);
	mb_iam_text(iam, &text);
	MB_ASSERT(mb_iam_parse(&again, text.data, text.len, &err) == MB_OK);
	mb_iam_text(again, &text_again);
	MB_ASSERT(text.len == text_again.len && memcmp(text.data, text_again.data, text.len) == 0);
	mb_buf_wipe(&text);
	mb_buf_wipe(&text_again);
	json_decref(again);
	json_decref(summary);
	json_decref(differences);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_error err;
	json_t *iam = NULL;

	touch_zip(data, size);
	if (mb_iam_from_zip(&iam, data, size, &err) == MB_OK)
		touch_iam(iam);
	json_decref(iam);
	iam = NULL;
	if (mb_iam_parse(&iam, data, size, &err) == MB_OK)
		touch_iam(iam);
	json_decref(iam);
	return 0;
}

/*
 * tar_fuzz.c - any bytes as a tar archive as a PostgreSQL server sends it (base backup by wire): in pieces of byte 0,
 * and no member gives more than its size.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_READ (4u << 20) /* of one input: it may be a bomb */

struct source
{
	const uint8_t *data;
	size_t size;
	size_t step;
};

static enum mb_code
give(void *ctx, const void **data, size_t *len, struct mb_error *err)
{
	struct source *source = ctx;

	(void) err;
	*data = source->data;
	*len = source->size < source->step ? source->size : source->step;
	source->data += *len;
	source->size -= *len;
	return MB_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char bytes[65536];
	struct source source = {data + 1, size - 1, 0};
	struct mb_tar_member member;
	struct mb_tar *tar = NULL;
	size_t total = 0;
	struct mb_error err;
	bool more = true;

	if (size < 1)
		return 0;
	source.step = (size_t) data[0] * 16 + 1;
	mb_error_clear(&err);
	if (mb_tar_open(&tar, "fuzz", give, &source, &err) == MB_OK)
		while (total < MAX_READ && mb_tar_next(tar, &member, &more, &err) == MB_OK && more)
		{
			uint64_t of_member = 0, member_size = member.size;
			size_t got = sizeof(bytes);

			total += strlen(member.path) + 512;
			while (total < MAX_READ && got == sizeof(bytes) &&
				   mb_tar_read(tar, bytes, sizeof(bytes), &got, &err) == MB_OK)
			{
				of_member += got;
				total += got;
			}
			MB_ASSERT(total >= MAX_READ || of_member <= member_size);
		}
	mb_tar_close(tar);
	return 0;
}

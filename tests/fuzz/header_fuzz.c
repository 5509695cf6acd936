/* header_fuzz.c - mbackup.json: what is accepted is exactly what would be written. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/repo/repo_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try(const void *data, size_t size)
{
	struct mb_repo_header header;
	struct mb_buf again = {0};
	struct mb_error err;

	if (mb_repo_header_decode(&header, data, size, &err) != MB_OK)
		return;
	mb_repo_header_encode(&again, &header);
	if (again.len != size || memcmp(again.data, data, size) != 0)
		abort();
	mb_buf_release(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char sum[MB_XXH128_BYTES];
	char hex[2 * MB_XXH128_BYTES + 1];
	struct mb_buf bytes = {0};
	size_t tail = strlen(",\"checksum\":\"") + 32 + strlen("\"}\n");

	try(data, size);
	/* Again with a checksum that fits. */
	size = size > tail ? size - tail : size;
	mb_buf_reserve(&bytes, size + 1);
	mb_buf_put(&bytes, data, size);
	mb_xxh128(sum, bytes.data, size);
	mb_hex(hex, sum, sizeof(sum));
	mb_buf_printf(&bytes, ",\"checksum\":\"%s\"}\n", hex);
	try(bytes.data, bytes.len);
	mb_buf_release(&bytes);
	return 0;
}

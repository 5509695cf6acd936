/* page_map_fuzz.c - a page map; one that is understood is written and understood again. */
#include <stdint.h>
#include <stdlib.h>

#include "core/repo/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_page_map map, back;
	struct mb_buf bytes = {0};
	struct mb_error err;

	if (mb_page_map_decode(&map, data, size, &err) != MB_OK)
		return 0;
	mb_page_map_encode(&bytes, &map);
	if (mb_page_map_decode(&back, bytes.data, bytes.len, &err) != MB_OK ||
		back.bytes != map.bytes || back.runs.count != map.runs.count)
		abort();
	mb_page_map_release(&back);
	mb_page_map_release(&map);
	mb_buf_release(&bytes);
	return 0;
}

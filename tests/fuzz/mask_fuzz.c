/* mask_fuzz.c - hiding secrets in any text: the first byte chooses the format. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "files/mask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_mask_hits hits = {0};
	struct mb_buf buf = {0};
	struct mb_mask mask;
	uint64_t sum = 0;
	size_t i;
	bool hidden;

	if (size < 2)
		return 0;
	mb_mask_init(&mask);
	/* Exactly as long as it is, so that a look behind its end is seen. */
	buf.data = mb_malloc(size - 1);
	memcpy(buf.data, data + 1, size - 1);
	buf.len = buf.cap = size - 1;
	hidden =
		mb_mask_contents(&mask, (enum mb_mask_format)(data[0] % (MB_MASK_NETRC + 1)), &buf, &hits);
	for (i = 0; i < MB_MASK_MAX_RULES; i++)
		sum += hits.counts[i];
	if (hidden != (sum > 0))
		abort();
	/* Nothing but stars comes to what was there. */
	if (hidden ? buf.len > (size - 1) + sum * 12
			   : buf.len != size - 1 || memcmp(buf.data, data + 1, size - 1) != 0)
		abort();
	mb_buf_release(&buf);
	mb_mask_release(&mask);
	return 0;
}

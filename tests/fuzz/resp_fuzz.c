/*
 * resp_fuzz.c - the scanner of the replication stream on any bytes: no crash, and the
 * same state whether the input comes whole or in pieces.  Byte 0 chooses their size.
 */
#include <stdint.h>

#include "redis/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum mb_code
scan(struct mb_resp *resp, const uint8_t *data, size_t size, size_t step)
{
	enum mb_code code = MB_OK;
	struct mb_error err;
	size_t at;

	mb_error_clear(&err);
	mb_resp_init(resp, 0, MB_RESP_DB_UNKNOWN, false);
	for (at = 0; !code && at < size; at += step)
		code = mb_resp_feed(resp, data + at, size - at < step ? size - at : step, &err);
	return code;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_resp whole, pieces;

	if (size < 2)
		return 0;
	MB_ASSERT(scan(&whole, data + 1, size - 1, size - 1) ==
			  scan(&pieces, data + 1, size - 1, (size_t) data[0] + 1));
	MB_ASSERT(whole.offset == pieces.offset && whole.command == pieces.command &&
			  whole.boundary == pieces.boundary && whole.last_write == pieces.last_write &&
			  whole.db == pieces.db && whole.in_multi == pieces.in_multi &&
			  whole.commands == pieces.commands);
	MB_ASSERT(whole.boundary <= whole.command && whole.command <= whole.offset);
	return 0;
}

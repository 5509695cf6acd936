/*
 * resp_fuzz.c - the scanner of the replication stream on any bytes: no crash, and the
 * same state whether the input comes whole or in pieces.  Byte 0 chooses their size.
 * The same for what moves the expiries in it: its output is as good a stream, with a boundary.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "redis/expiry.h"
#include "redis/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void mb_fuzz_describe(const uint8_t *data, size_t size);

static enum mb_code
scan_for(struct mb_resp *resp, const uint8_t *data, size_t size, size_t step, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t at;

	mb_error_clear(err);
	mb_resp_init(resp, 0, MB_RESP_DB_UNKNOWN, false);
	for (at = 0; !code && at < size; at += step)
		code = mb_resp_feed(resp, data + at, size - at < step ? size - at : step, err);
	return code;
}

static enum mb_code
scan(struct mb_resp *resp, const uint8_t *data, size_t size, size_t step)
{
	struct mb_error err;

	return scan_for(resp, data, size, step, &err);
}

static enum mb_code
gather(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	(void) err;
	mb_buf_put(ctx, data, len);
	return MB_OK;
}

static void
move(const uint8_t *data, size_t size, size_t step, struct mb_buf *out, uint64_t *boundary)
{
	struct mb_expiry expiry = {.shift_ms = 86400000, .fn = gather, .ctx = out};
	struct mb_error err;
	size_t at;

	for (at = 0; at < size; at += step)
		MB_ASSERT(mb_expiry_feed(&expiry, data + at, size - at < step ? size - at : step, &err) ==
				  MB_OK);
	*boundary = expiry.boundary;
	mb_expiry_release(&expiry);
}

/* Of a stream that the scanner takes. */
static void
move_both_ways(const uint8_t *data, size_t size, size_t step)
{
	struct mb_buf whole = {0}, pieces = {0};
	uint64_t boundary, other;
	struct mb_resp resp;

	move(data, size, size, &whole, &boundary);
	move(data, size, step, &pieces, &other);
	MB_ASSERT(boundary == other && whole.len == pieces.len &&
			  (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
	MB_ASSERT(whole.len == 0 || scan(&resp, whole.data, whole.len, whole.len) == MB_OK);
	MB_ASSERT(whole.len == 0 || resp.boundary == boundary);
	mb_buf_release(&whole);
	mb_buf_release(&pieces);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_resp whole, pieces;
	enum mb_code code;

	if (size < 2)
		return 0;
	code = scan(&whole, data + 1, size - 1, size - 1);
	MB_ASSERT(code == scan(&pieces, data + 1, size - 1, (size_t) data[0] + 1));
	if (!code)
		move_both_ways(data + 1, size - 1, (size_t) data[0] + 1);
	MB_ASSERT(whole.offset == pieces.offset && whole.command == pieces.command &&
			  whole.boundary == pieces.boundary && whole.last_write == pieces.last_write &&
			  whole.db == pieces.db && whole.in_multi == pieces.in_multi &&
			  whole.commands == pieces.commands);
	MB_ASSERT(whole.boundary <= whole.command && whole.command <= whole.offset);
	return 0;
}

/* "where the last command outside MULTI ended, the bytes seen, commands, the error or -". */
void
mb_fuzz_describe(const uint8_t *data, size_t size)
{
	struct mb_resp resp;
	struct mb_error err;
	enum mb_code code;

	if (size < 2)
		return;
	code = scan_for(&resp, data + 1, size - 1, size - 1, &err);
	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", resp.boundary, resp.offset, resp.commands,
		   code ? err.message : "-");
}

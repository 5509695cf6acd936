/* rdb_shift.c - see rdb_shift.h. */
#include "redis/rdb_shift.h"

#include <stdlib.h>
#include <string.h>

#include "redis/crc64.h"
#include "redis/rdb.h"

#define HELD_BYTES 8

struct mb_rdb_shift
{
	struct mb_rdb *walker;
	int64_t shift_ms;
	mb_payload_fn fn;
	void *ctx;
	struct mb_buf work; /* what was held, then the piece */
	uint64_t work_at;   /* where its first byte stands in the file */
	uint64_t crc;       /* of what went out */
	uint64_t count;
};

int64_t
mb_expiry_moved(int64_t at, int64_t by)
{
	int64_t moved;

	if (__builtin_add_overflow(at, by, &moved))
		return by > 0 ? INT64_MAX : INT64_MIN;
	return moved;
}

static void
move_expiry(void *ctx, const struct mb_rdb_expiry *expiry)
{
	struct mb_rdb_shift *shift = ctx;
	unsigned char *p = shift->work.data + (expiry->end - expiry->len - shift->work_at);
	int64_t at;
	size_t i;

	MB_ASSERT(expiry->end - expiry->len >= shift->work_at &&
			  expiry->end - shift->work_at <= shift->work.len);
	shift->count++;
	if (expiry->len == 8)
		at = mb_expiry_moved((int64_t) mb_get_u64(p), shift->shift_ms);
	else
	{
		/* Whole seconds, rather later than too early, and no more than it holds. */
		at = mb_expiry_moved((int32_t) mb_get_u32(p), (shift->shift_ms + 999) / 1000);
		at = at > INT32_MAX ? INT32_MAX : at;
	}
	for (i = 0; i < expiry->len; i++)
		p[i] = (unsigned char) ((uint64_t) at >> (8 * i));
}

struct mb_rdb_shift *
mb_rdb_shift_new(int64_t shift_ms, mb_payload_fn fn, void *ctx)
{
	struct mb_rdb_shift *shift = mb_calloc(1, sizeof(*shift));

	shift->walker = mb_rdb_new_flags(MB_RDB_FOREIGN);
	mb_rdb_on_expiry(shift->walker, move_expiry, shift);
	shift->shift_ms = shift_ms;
	shift->fn = fn;
	shift->ctx = ctx;
	return shift;
}

void
mb_rdb_shift_free(struct mb_rdb_shift *shift)
{
	if (!shift)
		return;
	mb_rdb_free(shift->walker);
	mb_buf_release(&shift->work);
	free(shift);
}

enum mb_code
mb_rdb_shift_feed(struct mb_rdb_shift *shift, const void *data, size_t len, struct mb_error *err)
{
	struct mb_buf *work = &shift->work;
	size_t out;

	mb_buf_put(work, data, len);
	if (mb_rdb_feed(shift->walker, data, len, err))
		return err->code;
	if (mb_rdb_summary(shift->walker)->opaque)
	{
		mb_fail(err, MB_UNSUPPORTED,
				"expiries of the RDB format \"%s\" cannot be moved: it is newer than this mbackup",
				mb_rdb_summary(shift->walker)->magic);
		return mb_error_hint(err, "Restore without --expired shift.");
	}
	if (work->len <= HELD_BYTES)
		return MB_OK;
	out = work->len - HELD_BYTES;
	shift->crc = mb_crc64(shift->crc, work->data, out);
	if (shift->fn(shift->ctx, work->data, out, err))
		return err->code;
	memmove(work->data, work->data + out, HELD_BYTES);
	work->len = HELD_BYTES;
	shift->work_at += out;
	return MB_OK;
}

enum mb_code
mb_rdb_shift_finish(struct mb_rdb_shift *shift, struct mb_error *err)
{
	unsigned char *footer = shift->work.data;
	size_t i;

	if (mb_rdb_finish(shift->walker, err))
		return err->code;
	/* A whole file has more than these 8 bytes. */
	MB_ASSERT(shift->work.len == HELD_BYTES);
	for (i = 0; mb_rdb_summary(shift->walker)->has_checksum && i < HELD_BYTES; i++)
		footer[i] = (unsigned char) (shift->crc >> (8 * i));
	return shift->fn(shift->ctx, footer, HELD_BYTES, err);
}

uint64_t
mb_rdb_shift_count(const struct mb_rdb_shift *shift)
{
	return shift->count;
}

/*
 * rdb_shift.h - an RDB on its way, with the expiry of every key moved by so many ms and the
 * checksum of what came of that.
 *
 * A filter on top of the walker (rdb.h), which tells where an expiry stands: bytes come in and go
 * out in pieces of any size, the last 8 are held back (an expiry that is not complete, in the end
 * the checksum).  A file without a checksum stays without one.  Memory is that of one piece.
 *
 * Expiries of hash fields (Redis 7.4, types 24 and 25) are inside values and stay as they are.
 */
#ifndef MB_REDIS_RDB_SHIFT_H
#define MB_REDIS_RDB_SHIFT_H

#include "redis/replica.h" /* mb_payload_fn */

struct mb_rdb_shift;

struct mb_rdb_shift *mb_rdb_shift_new(int64_t shift_ms, mb_payload_fn fn, void *ctx);
void mb_rdb_shift_free(struct mb_rdb_shift *shift); /* NULL does nothing */
/* As mb_rdb_feed; MB_UNSUPPORTED also for what only a newer version understands. */
enum mb_code mb_rdb_shift_feed(struct mb_rdb_shift *shift, const void *data, size_t len,
							   struct mb_error *err) MB_MUST_CHECK;
/* The end: what was held goes out.  MB_CORRUPT: not whole, or its checksum did not match. */
enum mb_code mb_rdb_shift_finish(struct mb_rdb_shift *shift, struct mb_error *err) MB_MUST_CHECK;
uint64_t mb_rdb_shift_count(const struct mb_rdb_shift *shift); /* of expiries */

/* A time moved, without going over; in the unit of both. */
int64_t mb_expiry_moved(int64_t at, int64_t by);

#endif

/*
 * replica.h - a connection that a Redis server takes for a replica.
 *
 * Life: _open (login, REPLCONF, PSYNC, up to the answer), on a full resync _rdb (the
 * snapshot), then _read for the stream and _ack once a second.
 *
 * What the wire does (measured on 7.0):
 * - the answer to PSYNC comes when the server forks; bare newlines may stand before it
 *   and before the header of the payload, one a second, to keep the line alive;
 * - the payload is "$<len>" or "$EOF:<40 bytes>", the mark stands behind the data and
 *   may straddle reads;
 * - +FULLRESYNC <replid> O: the first stream byte is number O + 1.  Every byte counts;
 * - without a disk on the server's side no stream byte comes before the first REPLCONF
 *   ACK, and one that comes before the server has reaped its child starts nothing: so
 *   acknowledge every second, whatever the number;
 * - a replica that never acknowledges is dropped after repl-timeout (60 s).
 *
 * Never acknowledge an offset that is not durable, and never the exact one: with
 * exactly the master's offset we would satisfy WAIT and be picked by FAILOVER.
 * mb_replica_ack takes the durable offset and subtracts one.
 *
 * Threads: one at a time.
 */
#ifndef MB_REDIS_REPLICA_H
#define MB_REDIS_REPLICA_H

#include "redis/point.h"

#define MB_REPLICA_BUFFER (64u << 10)
#define MB_REPLICA_SILENCE_MS 60000 /* as repl-timeout: nothing for so long is a dead line */
#define MB_REPLICA_ACK_MS 1000

/* -- the payload frame, apart from any socket --------------------------------------------- */

#define MB_PAYLOAD_MARK 40
#define MB_PAYLOAD_MAX (UINT64_C(1) << 50)

typedef enum mb_code (*mb_payload_fn)(void *ctx, const void *data, size_t len,
									  struct mb_error *err);

struct mb_payload
{
	bool by_mark;
	bool ended;
	uint64_t left; /* by length */
	size_t held;   /* by mark: bytes at the start of work that may belong to it */
	char mark[MB_PAYLOAD_MARK];
	unsigned char work[MB_PAYLOAD_MARK + MB_REPLICA_BUFFER];
};

/* line is the header without "$" and line end: a length or "EOF:<40 bytes>".  MB_CORRUPT else. */
enum mb_code mb_payload_begin(struct mb_payload *payload, const char *line,
							  struct mb_error *err) MB_MUST_CHECK;
/* Hand data on to fn up to the end of the payload; *used is what belonged to it. */
enum mb_code mb_payload_feed(struct mb_payload *payload, const void *data, size_t len,
							 mb_payload_fn fn, void *ctx, size_t *used,
							 struct mb_error *err) MB_MUST_CHECK;

/* -- the connection ------------------------------------------------------------------------ */

struct mb_replica_options
{
	const struct mb_redis_options *redis;
	const char *replid; /* continue this history; NULL: a full resync */
	uint64_t offset;    /* ... behind this offset */
	/*
	 * A full resync, asked for or forced by the server, carries an empty RDB:
	 * "REPLCONF rdb-filter-only" with nothing in the filter (7.0+; older servers refuse it
	 * and send everything, which the caller reads and drops).  Not "rdb-only": that one
	 * closes the connection behind the RDB and keeps no stream for us.
	 */
	bool no_data;
	/*
	 * Only the RDB, as redis-cli --rdb: "REPLCONF rdb-only 1" (7.0+), so that the server keeps
	 * nothing for us behind it, and SYNC where PSYNC is refused.  A server that refuses both
	 * is MB_DENIED or MB_UNSUPPORTED, whatever words it has for that.
	 */
	bool rdb_only;
};

struct mb_replica_start
{
	bool full;                   /* an RDB follows */
	char replid[MB_REPLID_TEXT]; /* "" by SYNC, which tells no place */
	uint64_t offset;             /* bytes before the first stream byte */
};

struct mb_replica;

/* MB_UNREACHABLE, MB_DENIED, MB_UNSUPPORTED (no PSYNC), MB_INTERRUPTED. */
enum mb_code mb_replica_open(struct mb_replica **replica, const struct mb_replica_options *options,
							 struct mb_replica_start *start, struct mb_error *err) MB_MUST_CHECK;
void mb_replica_close(struct mb_replica *replica); /* NULL does nothing */
/* Read the whole RDB through fn. */
enum mb_code mb_replica_rdb(struct mb_replica *replica, mb_payload_fn fn, void *ctx,
							struct mb_error *err) MB_MUST_CHECK;
/* Stream bytes: at least one, or *got == 0 after wait_ms. */
enum mb_code mb_replica_read(struct mb_replica *replica, void *buf, size_t cap, int64_t wait_ms,
							 size_t *got, struct mb_error *err) MB_MUST_CHECK;
/* Everything up to `durable` is safe: tells the server durable - 1. */
enum mb_code mb_replica_ack(struct mb_replica *replica, uint64_t durable,
							struct mb_error *err) MB_MUST_CHECK;

#endif

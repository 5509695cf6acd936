/*
 * point.h - where a Redis server is: (time, replid, offset) of one instant.
 *
 * INFO server replication runs as one step of the server and adds no byte to the replication
 * stream.  The offset it gives is the boundary of a command outside MULTI (measured), so that a cut
 * may be made there; its server_time_usec is the time at which the command began.  Servers whose
 * INFO does not tell the time are asked by MULTI; TIME; INFO replication; EXEC: not the first
 * choice, because a server beyond its maxmemory queues nothing.
 */
#ifndef MB_REDIS_POINT_H
#define MB_REDIS_POINT_H

#include "redis/connection.h"

#define MB_REPLID_LEN 40
#define MB_REPLID_TEXT (MB_REPLID_LEN + 1)

struct mb_redis_point
{
	int64_t time_us; /* the server's clock */
	char replid[MB_REPLID_TEXT];
	uint64_t offset;
	bool is_replica;
	bool link_up; /* a replica's own link to its master */
	/* The history before a failover or restart: replid2 holds up to `until` bytes. */
	char replid2[MB_REPLID_TEXT];
	uint64_t until; /* second_repl_offset - 1; 0 when there is none */
	/* Bytes [backlog_first, backlog_end] can be had by PSYNC without a full resync. */
	bool backlog;
	uint64_t backlog_first;
	uint64_t backlog_end;
	uint64_t backlog_size;
};

enum mb_code mb_redis_point_read(struct mb_redis *redis, struct mb_redis_point *point,
								 struct mb_error *err) MB_MUST_CHECK;

/* Can PSYNC <replid> <offset + 1> be answered with +CONTINUE, by what the point knows? */
bool mb_redis_point_serves(const struct mb_redis_point *point, const char *replid, uint64_t offset);

/* The value of "key:value" in an INFO text, cut to cap; false when there is no such line. */
bool mb_redis_info_field(const char *info, const char *key, char *out, size_t cap);
uint64_t mb_redis_info_number(const char *info, const char *key, uint64_t dflt);

/* 40 lower-case hex digits? */
bool mb_replid_is_valid(const char *replid);

#endif

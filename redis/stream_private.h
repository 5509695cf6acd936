/*
 * stream_private.h - what component_redis_stream.c (capture) and component_redis_attach.c
 * (finding the place to go on from) share.
 */
#ifndef MB_REDIS_STREAM_PRIVATE_H
#define MB_REDIS_STREAM_PRIVATE_H

#include "redis/component_private.h"
#include "redis/pieces.h"
#include "redis/resp.h"

struct mb_redis_stream
{
	struct mb_redis_component *redis;
	const struct mb_repo *repo;
	const char *component;
	struct mb_redis *control;
	struct mb_spool *spool;
	char replid[MB_REPLID_TEXT];
	struct mb_resp resp;   /* fed up to resp.offset */
	struct mb_buf pending; /* bytes (durable, resp.offset] */
	uint64_t durable;      /* in the repository up to here */
	/* State at `durable`, for the header of the next piece. */
	uint64_t command;
	int64_t db;
	bool in_multi;
	struct mb_time_offset since;
	struct mb_time_offset index[MB_PIECE_MAX_INDEX];
	size_t index_count;
	int64_t next_index_ms;
	int64_t next_flush_ms;
	/* A time-out must not hide a cancel: the spool has its own. */
	int64_t backoff_ms;
	char said[sizeof(((struct mb_error *) 0)->message)]; /* the last reason to back off */
};

/*
 * Connect and start to receive: behind what the repository has, or anew with a record that
 * says so.  What can pass is MB_UNREACHABLE.
 */
enum mb_code mb_redis_attach(struct mb_redis_stream *stream, struct mb_error *err) MB_MUST_CHECK;
/* Stop receiving and close; what was not put is forgotten. */
void mb_redis_detach(struct mb_redis_stream *stream);

#endif

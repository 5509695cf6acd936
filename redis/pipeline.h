/*
 * pipeline.h - many commands in flight on one connection, with words and replies of any bytes.
 *
 * mb_redis_call (connection.h) takes texts and builds a tree of each reply; keys and
 * values are neither texts nor small.  Here a command is words with lengths, and a reply
 * is pulled piece by piece: an array gives its count, the next calls give its items.
 *
 * Memory is one reply without its items, and the commands that are not flushed yet.
 *
 * A pipeline borrows its connection, belongs to one thread, and must not be mixed with
 * mb_redis_call on that connection while replies are outstanding.
 */
#ifndef MB_REDIS_PIPELINE_H
#define MB_REDIS_PIPELINE_H

#include "redis/connection.h"

#define MB_PIPE_MAX_BULK (UINT64_C(1) << 30) /* of one reply */
#define MB_PIPE_MAX_ITEMS (1 << 20)          /* of one array */

struct mb_word
{
	const void *data;
	size_t len;
};

struct mb_pipe_reply
{
	enum mb_redis_type type;
	int64_t integer;  /* INTEGER; of an ARRAY the number of items, which are replies of their own */
	const char *data; /* STRING and ERROR: valid until the next call on this pipeline */
	size_t len;
};

/* {.redis = connection} is a valid start. */
struct mb_pipe
{
	struct mb_redis *redis;
	struct mb_buf out;
	struct mb_buf in;
	size_t at; /* bytes of `in` before it are used up */
};

void mb_pipe_release(struct mb_pipe *pipe); /* the connection stays open */

/* Append one command; nothing is sent before mb_pipe_flush. */
void mb_pipe_add(struct mb_pipe *pipe, const struct mb_word *words, size_t count);
/* The same of texts; NULL ends the list. */
void mb_pipe_add_texts(struct mb_pipe *pipe, ...) __attribute__((sentinel));
enum mb_code mb_pipe_flush(struct mb_pipe *pipe, struct mb_error *err) MB_MUST_CHECK;

/* The next reply or item, errors included.  MB_UNREACHABLE; MB_CORRUPT: no RESP2. */
enum mb_code mb_pipe_reply(struct mb_pipe *pipe, struct mb_pipe_reply *reply,
						   struct mb_error *err) MB_MUST_CHECK;
/* The same; an error reply becomes a failure (as mb_redis_reply_fail) that names `command`. */
enum mb_code mb_pipe_expect(struct mb_pipe *pipe, const char *command, struct mb_pipe_reply *reply,
							struct mb_error *err) MB_MUST_CHECK;

/*
 * Take one reply or item from bytes: *used is how many it took, 0 when it is not complete.
 * reply->data points into the bytes.  MB_CORRUPT.
 */
enum mb_code mb_pipe_parse(const char *bytes, size_t len, struct mb_pipe_reply *reply, size_t *used,
						   struct mb_error *err) MB_MUST_CHECK;

#endif

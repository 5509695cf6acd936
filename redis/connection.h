/*
 * connection.h - one connection to a Redis server: login, commands, raw bytes.
 *
 * connection.c is the only file that includes hiredis, and uses only its protocol
 * half (format a command, parse a reply).  The socket is our own (socket.h, tls.h),
 * and the replication stream needs the raw bytes anyway (hiredis takes the bare
 * newlines of the handshake for a protocol error).
 *
 * RESP2 only: HELLO is never sent.  A connection belongs to one thread at a time.
 */
#ifndef MB_REDIS_CONNECTION_H
#define MB_REDIS_CONNECTION_H

#include "core/base/pool.h"
#include "redis/tls.h"
#include "redis/url.h"

#define MB_REDIS_CONNECT_MS 10000
#define MB_REDIS_IO_MS 30000

/* All borrowed; they outlive the connection. */
struct mb_redis_options
{
	const struct mb_redis_url *url;
	struct mb_redis_tls_options tls;  /* for a url with TLS */
	const char *user;                 /* overrides url->user; NULL: the default user */
	const struct mb_secret *password; /* NULL or empty: no AUTH */
	const char *sentinel_user;        /* the same two for the sentinels of the url */
	const struct mb_secret *sentinel_password;
	const struct mb_cancel *cancel; /* may be NULL */
	int64_t connect_ms;             /* 0: MB_REDIS_CONNECT_MS */
	int64_t io_ms;                  /* 0: MB_REDIS_IO_MS */
};

struct mb_redis;

/* Connect and log in.  MB_UNREACHABLE, MB_DENIED (login refused), MB_INTERRUPTED; tls.h. */
enum mb_code mb_redis_connect(struct mb_redis **redis, const struct mb_redis_options *options,
							  struct mb_error *err) MB_MUST_CHECK;
void mb_redis_close(struct mb_redis *redis); /* NULL does nothing */
/* Where it leads: with Sentinel, to the master that was found.  Lives as long as the connection. */
const struct mb_redis_url *mb_redis_where(const struct mb_redis *redis);
/* "127.0.0.1:6379" or the socket's path, for messages; borrowed. */
const char *mb_redis_name(const struct mb_redis *redis);

/* -- commands -------------------------------------------------------------------------- */

enum mb_redis_type
{
	MB_REDIS_NIL,
	MB_REDIS_INTEGER,
	MB_REDIS_STRING, /* bulk strings and status lines */
	MB_REDIS_ERROR,
	MB_REDIS_ARRAY
};

struct mb_redis_reply
{
	enum mb_redis_type type;
	int64_t integer;
	char *text; /* STRING and ERROR; NUL-terminated, may contain more NULs */
	size_t len;
	struct mb_redis_reply *items;
	size_t count;
};
void mb_redis_reply_release(struct mb_redis_reply *reply);

/*
 * Send one command and wait for its reply (caps: 16 MiB in all).  An error reply
 * becomes a failure: MB_DENIED for NOAUTH, NOPERM and WRONGPASS, MB_UNREACHABLE for
 * LOADING, MASTERDOWN and BUSY, MB_UNSUPPORTED for an unknown command, else MB_IO.
 * Errors inside an array are left to the caller.  *reply is owned by the caller and
 * only set on success.
 */
enum mb_code mb_redis_call(struct mb_redis *redis, const char *const *words, size_t count,
						   struct mb_redis_reply *reply, struct mb_error *err) MB_MUST_CHECK;
#define MB_REDIS_CALL(redis, reply, err, ...)                  \
	mb_redis_call((redis), (const char *const[]){__VA_ARGS__}, \
				  sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), (reply), (err))
/* Turn an ERROR reply into a failure of the class above. */
enum mb_code mb_redis_reply_fail(const struct mb_redis_reply *reply, const char *command,
								 struct mb_error *err);

/* -- raw bytes ------------------------------------------------------------------------- */

/* Write all of it within the I/O time limit. */
enum mb_code mb_redis_write(struct mb_redis *redis, const void *data, size_t len,
							struct mb_error *err) MB_MUST_CHECK;
/* Format a command and write it without waiting for a reply. */
enum mb_code mb_redis_send(struct mb_redis *redis, const char *const *words, size_t count,
						   struct mb_error *err) MB_MUST_CHECK;
/*
 * Read what is there, at least one byte, waiting at most wait_ms; *got is 0 when
 * nothing came.  The end of the connection is MB_UNREACHABLE.
 */
enum mb_code mb_redis_read(struct mb_redis *redis, void *buf, size_t cap, int64_t wait_ms,
						   size_t *got, struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * socket.h - a connected socket to a Redis server, in the clear or by TLS.
 *
 * Every wait is a poll in slices of 100 ms that asks the cancel flag and honours a time
 * limit, whatever the thread.  One thread at a time.
 */
#ifndef MB_REDIS_SOCKET_H
#define MB_REDIS_SOCKET_H

#include "core/base/pool.h"
#include "redis/tls.h"
#include "redis/url.h"

struct mb_redis_socket;

/*
 * Connect within limit_ms, TLS handshake included.  cancel is borrowed and may be NULL.
 * MB_UNREACHABLE, MB_INTERRUPTED, and those of tls.h.
 */
enum mb_code mb_redis_socket_open(struct mb_redis_socket **out, const struct mb_redis_url *url,
								  const struct mb_redis_tls_options *tls,
								  const struct mb_cancel *cancel, int64_t limit_ms,
								  struct mb_error *err) MB_MUST_CHECK;
void mb_redis_socket_close(struct mb_redis_socket *socket); /* NULL does nothing */
/* "127.0.0.1:6379" or the path; borrowed. */
const char *mb_redis_socket_name(const struct mb_redis_socket *socket);

/* Write all of it within limit_ms. */
enum mb_code mb_redis_socket_write(struct mb_redis_socket *socket, const void *data, size_t len,
								   int64_t limit_ms, struct mb_error *err) MB_MUST_CHECK;
/* At least one byte, or *got == 0 after wait_ms.  The end of the connection is MB_UNREACHABLE. */
enum mb_code mb_redis_socket_read(struct mb_redis_socket *socket, void *buf, size_t cap,
								  int64_t wait_ms, size_t *got, struct mb_error *err) MB_MUST_CHECK;

#endif

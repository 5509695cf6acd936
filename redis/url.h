/*
 * url.h - where a Redis server is.
 *
 *     redis://[user@]host[:port][/db]     rediss://...: the same, by TLS
 *     unix:///path/to/socket              or the path alone
 */
#ifndef MB_REDIS_URL_H
#define MB_REDIS_URL_H

#include <stdbool.h>

#include "core/base/mem.h"

#define MB_REDIS_PORT 6379

/* Where a server is. */
struct mb_redis_url
{
	char *host; /* TCP; NULL for a unix socket */
	unsigned port;
	char *path;  /* unix socket; NULL for TCP */
	char *user;  /* from the URL, or NULL */
	unsigned db; /* accepted, not used: replication carries every database */
	bool tls;
};

/*
 * MB_CONFIG for what is none of these or carries a password: secrets do not belong in a
 * URL, and the message does not repeat it.
 */
enum mb_code mb_redis_url_parse(struct mb_redis_url *url, const char *text,
								struct mb_error *err) MB_MUST_CHECK;
void mb_redis_url_release(struct mb_redis_url *url);

#endif

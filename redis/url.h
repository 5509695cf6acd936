/*
 * url.h - where a Redis server is.
 *
 *     redis://[user@]host[:port][/db]     rediss://...: the same, by TLS
 *     unix:///path/to/socket              or the path alone
 *     sentinel://[user@]host[:port][,host[:port]...]/MASTER    the master of that name
 *     sentinel+tls://...: the same, sentinels and servers by TLS
 *     cluster://[user@]host[:port][,host[:port]...]    a Redis Cluster: whom to ask for its nodes
 *     cluster+tls://...: the same, by TLS
 */
#ifndef MB_REDIS_URL_H
#define MB_REDIS_URL_H

#include <stdbool.h>

#include "core/base/mem.h"

#define MB_REDIS_PORT 6379
#define MB_SENTINEL_PORT 26379
#define MB_REDIS_SEEDS_MAX 32

/* Where a server is. */
struct mb_redis_url
{
	char *host; /* TCP; NULL for a unix socket */
	unsigned port;
	char *path;  /* unix socket; NULL for TCP */
	char *user;  /* from the URL, or NULL */
	unsigned db; /* accepted, not used: replication carries every database */
	bool tls;
	/* By Sentinel or as a cluster, host and path are NULL: whom to ask ... */
	struct mb_redis_url *seeds;
	size_t seed_count;
	char *master; /* ... for the master of this name, or NULL */
	bool cluster; /* ... for the master of this slot */
	unsigned slot;
};

/*
 * MB_CONFIG for what is none of these or carries a password: secrets do not belong in a
 * URL, and the message does not repeat it.
 */
enum mb_code mb_redis_url_parse(struct mb_redis_url *url, const char *text,
								struct mb_error *err) MB_MUST_CHECK;
void mb_redis_url_copy(struct mb_redis_url *to, const struct mb_redis_url *from);
/* "host:port", the path, "MASTER by Sentinel" or "cluster at host:port"; free() it. */
char *mb_redis_url_name(const struct mb_redis_url *url);
void mb_redis_url_release(struct mb_redis_url *url);

#endif

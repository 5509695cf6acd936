/*
 * sentinel.h - finding the master that Redis Sentinel watches.
 *
 * The sentinels of the URL are asked in turn (SENTINEL GET-MASTER-ADDR-BY-NAME), and
 * what one names is believed only when it calls itself a master: in the seconds of a
 * failover a sentinel still names the old one.  That is asked by INFO replication, not
 * by ROLE: it says the same and needs no further right.
 *
 * Bounded: a few rounds with a second between them, then it is for the caller to try
 * again (a stream does).  Nothing is remembered: each connection asks anew.
 */
#ifndef MB_REDIS_SENTINEL_H
#define MB_REDIS_SENTINEL_H

#include "redis/connection.h"

/*
 * As mb_redis_connect, which calls it, for a url with a master.  MB_CONFIG when no
 * sentinel knows the name.
 */
enum mb_code mb_redis_sentinel_connect(struct mb_redis **redis,
									   const struct mb_redis_options *options,
									   struct mb_error *err) MB_MUST_CHECK;

/*
 * Connect to what a sentinel (or a node of a cluster) has named; MB_UNREACHABLE when it does not
 * call itself a master, any more or yet.  TLS, user and password of `options`.
 */
enum mb_code mb_redis_connect_master(struct mb_redis **redis,
									 const struct mb_redis_options *options,
									 const struct mb_redis_url *master,
									 struct mb_error *err) MB_MUST_CHECK;

/* One look for the master: MB_UNREACHABLE when another one a moment later may find it. */
typedef enum mb_code mb_redis_round(struct mb_redis **redis, const struct mb_redis_options *options,
									struct mb_error *err);

/* A few rounds with a second between them, until one finds it or says for good that it cannot. */
enum mb_code mb_redis_connect_rounds(struct mb_redis **redis,
									 const struct mb_redis_options *options,
									 mb_redis_round *one_round, struct mb_error *err) MB_MUST_CHECK;

#endif

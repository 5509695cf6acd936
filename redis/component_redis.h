/*
 * component_redis.h - the Redis component: a replica over the wire.
 *
 * A backup is the RDB of a full resync plus the commands up to the cut; a stream is
 * every command since; a restore is files that a stock redis-server loads, or goes into
 * a running server (live.h).  What it promises, its settings and recipes: docs/redis.md.
 *
 * Settings: url, user, password (secret), side = before | after (default before),
 * role = data | cache, capture = replica | rdb (a snapshot and no stream), dir (the server's data directory), redis-server (the program that
 * loads what goes into a running server).
 *
 * Why `before` is the default: keys mostly refer to rows (a session to its user, a job
 * to its order), and they are written after the commit.  Read before the restore point,
 * Redis may lack the last milliseconds, but no key speaks of a row that the database
 * does not have.  Choose `after` where rows refer to keys (ids drawn by INCR).
 */
#ifndef MB_REDIS_COMPONENT_REDIS_H
#define MB_REDIS_COMPONENT_REDIS_H

#include "core/engine/component.h"

extern const struct mb_component_ops mb_redis_component_ops;

#endif

/*
 * rdb_stats.h - what is in an RDB: keys and bytes by database and type, the biggest keys,
 * the expiries.
 *
 * Fed by the walker (rdb.h) while the bytes pass by.  "Bytes" are those of the serialized
 * value, compressed as the server wrote it: what a key costs in a backup, not in memory.
 * Memory is constant: counters per database and type, and MB_RDB_BIGGEST keys.
 */
#ifndef MB_REDIS_RDB_STATS_H
#define MB_REDIS_RDB_STATS_H

#include "core/base/json.h"
#include "redis/rdb.h"

#define MB_RDB_BIGGEST 10

struct mb_rdb_stats;

struct mb_rdb_stats *mb_rdb_stats_new(void);
void mb_rdb_stats_free(struct mb_rdb_stats *stats); /* NULL does nothing */
/* An mb_rdb_key_fn; ctx is the stats. */
void mb_rdb_stats_add(void *ctx, const struct mb_rdb_key *key);
/* The members of "statistics" in the commit (docs/format.md); a new reference. */
json_t *mb_rdb_stats_json(const struct mb_rdb_stats *stats);
/*
 * Add the statistics of another part (a shard) to a sum, NULL at first; takes over `sum` and
 * returns it, or a new one.
 */
json_t *mb_rdb_stats_sum(json_t *sum, const json_t *part);
/* Likewise "databases"; what is in the summary of the walker. */
json_t *mb_rdb_databases_json(const struct mb_rdb_summary *summary);

#endif

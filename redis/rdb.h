/*
 * rdb.h - a structural walk over an RDB file that arrives in pieces.
 *
 * It answers, while the bytes pass by: is this a whole RDB file (every length adds
 * up, nothing behind the end), does its checksum match, how many keys are in which
 * database, and what does it say about itself.  Values are skipped, not decoded: a
 * listpack that is damaged inside is the business of redis-check-rdb.
 *
 * Each value type and opcode is a short program (rdb.c) over a handful of primitives;
 * a stack of at most MB_RDB_DEPTH loops runs it, so that memory is constant and input
 * may be cut anywhere.
 *
 * Known: magic "REDIS", versions 5 to 12, types 0-5, 7, 9-25; modules (type 7 and
 * aux) are skipped without the module.  Source: rdb.h and rdb.c of Redis 7.0 to 7.4.
 * Dispatch is on the magic, since Valkey gives the same numbers other meanings.
 */
#ifndef MB_REDIS_RDB_H
#define MB_REDIS_RDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#define MB_RDB_DEPTH 6
#define MB_RDB_MAX_LENGTH (UINT64_C(1) << 40) /* of a string and of a collection */
#define MB_RDB_MAX_DBS 65536
#define MB_RDB_TEXT 64

struct mb_rdb_db
{
	uint64_t db;
	uint64_t keys;
	uint64_t expires;
};

/* What the file says and what was counted. */
struct mb_rdb_summary
{
	unsigned version;
	char server[MB_RDB_TEXT]; /* aux redis-ver, or "" */
	char replid[MB_RDB_TEXT]; /* aux repl-id, or "" */
	bool has_offset;
	uint64_t offset;       /* aux repl-offset */
	int64_t stream_db;     /* aux repl-stream-db; 0 when absent */
	struct mb_rdb_db *dbs; /* in order of appearance */
	size_t db_count;
	size_t db_cap;
	uint64_t keys; /* in all databases */
	uint64_t functions;
	uint64_t bytes;
	bool has_checksum; /* the footer was not zero */
};

struct mb_rdb; /* the walker */

struct mb_rdb *mb_rdb_new(void);
void mb_rdb_free(struct mb_rdb *rdb); /* NULL does nothing */

/*
 * Take the next piece.  MB_CORRUPT names the byte offset; MB_UNSUPPORTED: another
 * magic, a newer version, a module of the old encoding.  After a failure the walker is
 * of no more use.
 */
enum mb_code mb_rdb_feed(struct mb_rdb *rdb, const void *data, size_t len,
						 struct mb_error *err) MB_MUST_CHECK;
/* The end of the input: MB_CORRUPT when the file is not complete. */
enum mb_code mb_rdb_finish(const struct mb_rdb *rdb, struct mb_error *err) MB_MUST_CHECK;
/* Valid until mb_rdb_free; complete after mb_rdb_finish. */
const struct mb_rdb_summary *mb_rdb_summary(const struct mb_rdb *rdb);

#endif

/*
 * rdb.h - a structural walk over an RDB file that arrives in pieces.
 *
 * It answers, while the bytes pass by: is this a whole RDB file (every length adds
 * up, nothing behind the end), does its checksum match, how many keys are in which
 * database, and what does it say about itself.  Values are skipped, not decoded (what is
 * compressed is followed, without the bytes): a listpack that is damaged inside is the
 * business of redis-check-rdb.  What a server loads is taken, and nothing else, but for bytes
 * behind the end and a compressed string of no bytes, by which data was lost.
 *
 * Each value type and opcode is a short program (rdb_types.c) over a handful of primitives;
 * a stack of at most MB_RDB_DEPTH loops runs it, so that memory is constant and input
 * may be cut anywhere.
 *
 * Known: magic "REDIS", versions 5 to 12, types 0-5, 7, 9-25; modules (type 7 and
 * aux) are skipped without the module.  Source: rdb.h and rdb.c of Redis 7.0 to 7.4.
 *
 * Foreign: magic "REDIS" with a later version, and "VALKEY" (from Valkey 9.0), which gives
 * the same numbers other meanings.  These are MB_UNSUPPORTED, unless the walker was made to
 * take them as they are: then it walks while it meets what it knows with certainty, takes
 * everything behind for opaque, and checks only the checksum, which all have in the last 8
 * bytes.  A snapshot does that with a warning: the server that wrote the file can load it.
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
#define MB_RDB_KEY 128
#define MB_RDB_NAME_MAX \
	(UINT64_C(512) << 20) /* no server takes a longer key (proto-max-bulk-len) */

struct mb_rdb_db
{
	uint64_t db;
	uint64_t keys;
	uint64_t expires;
};

/* What the file says and what was counted. */
struct mb_rdb_summary
{
	char magic[16]; /* "REDIS0010", "VALKEY080" */
	unsigned version;
	bool opaque; /* from some byte on nothing was understood: keys are not all counted */
	char server[MB_RDB_TEXT]; /* aux redis-ver or valkey-ver, or "" */
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

/* A key whose value has passed by. */
struct mb_rdb_key
{
	uint64_t db;
	const char *type; /* as the TYPE command: "string", "list", ...; "module" */
	unsigned char name[MB_RDB_KEY];
	size_t name_kept; /* bytes of it in name */
	size_t name_len;
	const unsigned char *whole; /* with MB_RDB_NAMES: all of the name, else NULL */
	size_t whole_len;
	uint64_t bytes; /* of the serialized value */
	bool expires;
	int64_t expiry_ms; /* since 1970 */
};
typedef void (*mb_rdb_key_fn)(void *ctx, const struct mb_rdb_key *key);

/* The expiry of a key has passed by. */
struct mb_rdb_expiry
{
	uint64_t end; /* of its bytes in the file */
	size_t len;   /* 8: ms, 4: s; little-endian */
};
typedef void (*mb_rdb_expiry_fn)(void *ctx, const struct mb_rdb_expiry *expiry);

struct mb_rdb; /* the walker */

enum mb_rdb_flags
{
	MB_RDB_FOREIGN = 1, /* take foreign files, see above */
	MB_RDB_NAMES = 2    /* keep whole names of keys: memory is one name more */
};

struct mb_rdb *mb_rdb_new(void); /* strict */
struct mb_rdb *mb_rdb_new_flags(unsigned flags);
void mb_rdb_free(struct mb_rdb *rdb); /* NULL does nothing */

/* Call fn for each key; *key is valid during the call. */
void mb_rdb_on_key(struct mb_rdb *rdb, mb_rdb_key_fn fn, void *ctx);
/* Call fn for each expiry of a key, in the very mb_rdb_feed that its last byte came by. */
void mb_rdb_on_expiry(struct mb_rdb *rdb, mb_rdb_expiry_fn fn, void *ctx);

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

/*
 * rdb_write.h - an RDB file made of what DUMP and FUNCTION DUMP give.
 *
 * A payload of DUMP is the type and the value as they stand in an RDB file of the version
 * in its footer (2 bytes), and a CRC64 of all that (8 bytes): nothing is decoded, a file is
 * the payloads one after the other with names, expiries and databases between them.
 *
 * The writer hands pieces of any size to a function and keeps one small buffer: a value is
 * never copied.
 */
#ifndef MB_REDIS_RDB_WRITE_H
#define MB_REDIS_RDB_WRITE_H

#include "core/base/mem.h"
#include "redis/replica.h" /* mb_payload_fn */

enum mb_rdb_magic
{
	MB_RDB_REDIS,
	MB_RDB_VALKEY /* from format 80 on, which gives the same numbers other meanings */
};

#define MB_RDB_NO_EXPIRY 0

struct mb_rdb_writer
{
	mb_payload_fn fn;
	void *ctx;
	unsigned version; /* 0: not begun */
	uint64_t crc;
	struct mb_buf buf;
};

void mb_rdb_writer_init(struct mb_rdb_writer *writer, mb_payload_fn fn, void *ctx);
void mb_rdb_writer_release(struct mb_rdb_writer *writer);

/* In this order: begin, aux, functions, then for each database select and its keys, end. */
enum mb_code mb_rdb_write_begin(struct mb_rdb_writer *writer, enum mb_rdb_magic magic,
								unsigned version, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_rdb_write_aux(struct mb_rdb_writer *writer, const char *key, const char *value,
							  struct mb_error *err) MB_MUST_CHECK;
/* A whole payload of FUNCTION DUMP. */
enum mb_code mb_rdb_write_functions(struct mb_rdb_writer *writer, const void *payload, size_t len,
									struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_rdb_write_select(struct mb_rdb_writer *writer, uint64_t db,
								 struct mb_error *err) MB_MUST_CHECK;
/* A whole payload of DUMP; expiry_ms since 1970 or MB_RDB_NO_EXPIRY. */
enum mb_code mb_rdb_write_key(struct mb_rdb_writer *writer, const void *name, size_t name_len,
							  int64_t expiry_ms, const void *payload, size_t len,
							  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_rdb_write_end(struct mb_rdb_writer *writer, struct mb_error *err) MB_MUST_CHECK;

/* Footer and checksum of a payload: MB_CORRUPT.  *version is that of its format. */
enum mb_code mb_rdb_payload_check(const void *payload, size_t len, unsigned *version,
								  struct mb_error *err) MB_MUST_CHECK;

#endif

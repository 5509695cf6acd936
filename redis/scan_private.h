/*
 * scan_private.h - what the files of scan_dump.h share: scan_dump.c (the server, its
 * databases, SCAN) and scan_key.c (expiry and value of a key).
 */
#ifndef MB_REDIS_SCAN_PRIVATE_H
#define MB_REDIS_SCAN_PRIVATE_H

#include "redis/key_set.h"
#include "redis/live.h"
#include "redis/pipeline.h"
#include "redis/rdb_write.h"
#include "redis/scan_dump.h"

#define WORD(text) ((struct mb_word){(text), sizeof(text) - 1})

struct mb_scan_name
{
	size_t at;
	size_t len;
};

struct mb_scan
{
	const struct mb_scan_dump_options *options;
	struct mb_scan_dump_result result;
	struct mb_redis *redis;
	struct mb_pipe pipe;
	struct mb_rdb_writer writer;
	struct mb_key_set *seen; /* of the present database */
	int64_t db;
	int64_t file_db; /* selected in the file; -1: none */
	char server[64];
	char run_id[64];
	bool is_valkey;
	bool is_cluster;
	bool by_pttl; /* before 7.0: PTTL and TIME in place of PEXPIRETIME */
	struct mb_buf names;
	struct mb_scan_name *items; /* one step of SCAN */
	size_t count;
	size_t cap;
	size_t way; /* how many values may be on their way */
	size_t largest;
	struct mb_buf value;
};

/* The first payload tells the format of the file: begins it, unless it is begun. */
enum mb_code mb_scan_begin_file(struct mb_scan *scan, const void *payload, size_t len,
								struct mb_error *err) MB_MUST_CHECK;
/* Keys [from, to) of the step into the file, all on their way at once. */
enum mb_code mb_scan_take_keys(struct mb_scan *scan, size_t from, size_t to,
							   struct mb_error *err) MB_MUST_CHECK;
/* The answer to TIME. */
enum mb_code mb_scan_read_time(struct mb_scan *scan, int64_t *time_us,
							   struct mb_error *err) MB_MUST_CHECK;

#endif

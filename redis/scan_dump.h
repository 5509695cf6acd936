/*
 * scan_dump.h - the data of a server that lets nobody be its replica, as an RDB: SCAN, then
 * DUMP and the expiry of each key, and FUNCTION DUMP, over a normal connection.
 *
 * What that is: every key that is there from the beginning to the end is in it, once, with
 * a value and an expiry that it had at one and the same moment between them.  What is written
 * meanwhile is in it or not, key by key: two keys need not be of the same moment.  A key that
 * is renamed, moved or swapped to another database meanwhile may be missing or be there under
 * both names.
 *
 * Expiry and value are two commands; the expiry is asked for before and after the value, and
 * the key is taken anew when the two differ.  (MULTI would do, but a server beyond its maxmemory
 * queues nothing.)
 *
 * Memory: two copies of the largest value, key_set.h, and one step of SCAN.  The server holds
 * the values that are on their way: as many as would make 8 MiB by the largest of the last ones.
 */
#ifndef MB_REDIS_SCAN_DUMP_H
#define MB_REDIS_SCAN_DUMP_H

#include "redis/replica.h" /* mb_payload_fn */

struct mb_scan_dump_options
{
	const struct mb_redis_options *redis;
	mb_payload_fn fn; /* gets the RDB */
	void *ctx;
};

struct mb_scan_dump_result
{
	int64_t from_us; /* by the server's clock */
	int64_t to_us;
	uint64_t keys;
	uint64_t repeated; /* given twice by SCAN */
	uint64_t vanished; /* between SCAN and DUMP */
	uint64_t retaken;  /* changed while they were read */
	bool no_functions; /* the user may not read them */
};

/*
 * MB_DENIED (a right or a key), MB_UNREACHABLE, MB_CONFLICT (another version in the middle),
 * MB_CORRUPT: names the key that could not be taken.
 */
enum mb_code mb_scan_dump(const struct mb_scan_dump_options *options,
						  struct mb_scan_dump_result *result, struct mb_error *err) MB_MUST_CHECK;

/* A name for people: what is no printable ASCII as \xNN, and its first bytes only. */
#define MB_KEY_TEXT 160
void mb_key_text(char out[MB_KEY_TEXT], const void *name, size_t len);

#endif

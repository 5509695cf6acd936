/*
 * expiry.h - the commands of a replication stream on their way, with every absolute expiry in
 * them moved by so many ms.
 *
 * Redis 7 replicates expiries as absolute times only, since a replica must not depend on when it
 * hears of them:
 *
 *     SET key value ... PXAT ms | EXAT s        EX, PX, SETEX, PSETEX come as these
 *     PEXPIREAT key ms, EXPIREAT key s          EXPIRE, PEXPIRE, GETEX come as these
 *     GETEX key PXAT ms | EXAT s
 *     RESTORE key ms payload ... ABSTTL         ms is 0 when it does not expire; RESTORE-ASKING too
 *
 * Everything else goes through byte by byte, values of any size too: memory is the size of this struct.
 * Bytes come in pieces of any size.  A command that sets a field of a hash to expire (7.4) stays as it is.
 */
#ifndef MB_REDIS_EXPIRY_H
#define MB_REDIS_EXPIRY_H

#include "redis/replica.h" /* mb_payload_fn */

#define MB_EXPIRY_WORD 24 /* of a name, an option or a number that counts */

enum mb_expiry_command
{
	MB_EXPIRY_OTHER,
	MB_EXPIRY_SET,   /* options from the 4th word on */
	MB_EXPIRY_GETEX, /* options from the 3rd word on */
	MB_EXPIRY_AT_MS, /* the 3rd word, ms; 0: none */
	MB_EXPIRY_AT_S   /* the 3rd word, s */
};

/* {.shift_ms, .fn, .ctx} is a valid start, at the beginning of a command. */
struct mb_expiry
{
	int64_t shift_ms;
	mb_payload_fn fn;
	void *ctx;

	uint64_t out;      /* bytes that went out */
	uint64_t boundary; /* of them, up to the last end of a command outside MULTI */
	uint64_t moved;    /* expiries */

	/* Private. */
	struct mb_buf buf; /* what goes out with this piece */
	bool in_body;
	char line[MB_EXPIRY_WORD + 8]; /* of a header */
	size_t line_len;
	uint64_t args_left;
	uint64_t arg;
	uint64_t body_left; /* with its CR LF */
	uint64_t body_len;
	char word[MB_EXPIRY_WORD]; /* the first bytes of the argument */
	size_t word_len;
	enum mb_expiry_command command;
	int64_t unit; /* the argument is a time: 1 in ms, 1000 in s; 0: it is none */
	int64_t next_unit;
	bool opens, closes; /* MULTI, EXEC */
	bool in_multi;
};

/* MB_CORRUPT for what no server sends (resp.h has checked it before). */
enum mb_code mb_expiry_feed(struct mb_expiry *expiry, const void *data, size_t len,
							struct mb_error *err) MB_MUST_CHECK;
void mb_expiry_release(struct mb_expiry *expiry);

#endif

/*
 * resp.h - an incremental scanner over a replication stream.
 *
 * The stream is a sequence of commands, each an array of bulk strings (RESP2).  The
 * scanner takes the bytes in pieces of any size and keeps what a cut needs to know:
 * how many bytes it has seen, where the last command ended, which database is
 * selected, whether a MULTI is open.  It keeps no argument but the first
 * MB_RESP_NAME bytes of the first two, so that its memory is the size of this struct.
 *
 * After +CONTINUE a server repeats neither SELECT nor MULTI: db and in_multi are
 * state that belongs to an offset, and whoever resumes has to bring it along.
 *
 * Lengths are capped to keep the arithmetic sane; nothing is allocated from them.
 */
#ifndef MB_REDIS_RESP_H
#define MB_REDIS_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#define MB_RESP_MAX_ARGS INT32_MAX           /* as networking.c of Redis 7.0 for a master link */
#define MB_RESP_MAX_BULK (UINT64_C(1) << 40) /* a server takes any length from its master */
#define MB_RESP_NAME 32
#define MB_RESP_DB_UNKNOWN (-1)

enum mb_resp_phase
{
	MB_RESP_COMMAND, /* "*<args>\r\n" */
	MB_RESP_LENGTH,  /* "$<len>\r\n" */
	MB_RESP_BODY,    /* len bytes and \r\n */
};

/* What a command is, as far as a cut cares. */
enum mb_resp_kind
{
	MB_RESP_WRITE, /* everything that is none of the others */
	MB_RESP_NOISE, /* PING, REPLCONF, PUBLISH, SPUBLISH: changes no data */
	MB_RESP_SELECT,
	MB_RESP_MULTI,
	MB_RESP_EXEC /* and DISCARD */
};

/* mb_resp_init makes one; the first block may be read by anybody. */
struct mb_resp
{
	uint64_t offset;     /* replication offset: bytes before the next one */
	uint64_t command;    /* offset at which the last complete command ended */
	uint64_t boundary;   /* the same, outside MULTI */
	uint64_t last_write; /* offset at which the last command ended that was no noise */
	uint64_t commands;   /* complete ones seen */
	int64_t db;          /* selected at `command`; MB_RESP_DB_UNKNOWN before the first SELECT */
	bool in_multi;       /* at `command` */

	enum mb_resp_phase phase;
	char line[24]; /* of a header, without its CR LF */
	size_t line_len;
	uint64_t args_left;
	uint64_t arg;       /* index of the argument */
	uint64_t body_left; /* with its CR LF */
	char name[2][MB_RESP_NAME];
	size_t name_len[2]; /* true length, may be larger than what is kept */
};

/* Start at an offset that is the boundary of a command. */
void mb_resp_init(struct mb_resp *resp, uint64_t offset, int64_t db, bool in_multi);

/* MB_CORRUPT, naming the offset, for what no server sends; the scanner is then of no more use. */
enum mb_code mb_resp_feed(struct mb_resp *resp, const void *data, size_t len,
						  struct mb_error *err) MB_MUST_CHECK;

/* Is the last byte seen the end of a command outside MULTI: may a cut be here? */
bool mb_resp_at_boundary(const struct mb_resp *resp);

#endif

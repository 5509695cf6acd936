/* replica.c - see replica.h. */
#include "redis/replica.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 512

struct mb_replica
{
	struct mb_redis *redis;
	unsigned char buffer[MB_REPLICA_BUFFER];
	size_t at; /* bytes [at, end) of the buffer are not taken yet */
	size_t end;
	char header[LINE_MAX_BYTES]; /* the answer to SYNC is the header of the payload already */
};

/* -- the payload frame ---------------------------------------------------------------------- */

enum mb_code
mb_payload_begin(struct mb_payload *payload, const char *line, struct mb_error *err)
{
	char *end;

	payload->by_mark = mb_starts_with(line, "EOF:");
	payload->ended = false;
	payload->held = 0;
	payload->left = 0;
	if (payload->by_mark)
	{
		if (strlen(line) != 4 + MB_PAYLOAD_MARK)
			return mb_fail(err, MB_CORRUPT, "the end mark of the RDB transfer has a bad length");
		memcpy(payload->mark, line + 4, MB_PAYLOAD_MARK);
		return MB_OK;
	}
	payload->left = strtoull(line, &end, 10);
	if (*line < '0' || *line > '9' || *end || payload->left > MB_PAYLOAD_MAX)
		return mb_fail(err, MB_CORRUPT, "the length of the RDB transfer cannot be read");
	payload->ended = payload->left == 0;
	return MB_OK;
}

/* At most MB_REPLICA_BUFFER bytes of a payload that ends with a mark. */
static enum mb_code
feed_by_mark(struct mb_payload *payload, const void *data, size_t len, mb_payload_fn fn, void *ctx,
			 size_t *used, struct mb_error *err)
{
	size_t have = payload->held + len, pass;
	unsigned char *found;

	memcpy(payload->work + payload->held, data, len);
	found = memmem(payload->work, have, payload->mark, MB_PAYLOAD_MARK);
	if (found)
	{
		pass = (size_t) (found - payload->work);
		*used = pass + MB_PAYLOAD_MARK - payload->held;
		payload->held = 0;
		payload->ended = true;
		return pass > 0 ? fn(ctx, payload->work, pass, err) : MB_OK;
	}
	/* All but the last 39 bytes cannot belong to the mark any more. */
	*used = len;
	pass = have < MB_PAYLOAD_MARK ? 0 : have - (MB_PAYLOAD_MARK - 1);
	if (pass > 0 && fn(ctx, payload->work, pass, err))
		return err->code;
	payload->held = have - pass;
	memmove(payload->work, payload->work + pass, payload->held);
	return MB_OK;
}

enum mb_code
mb_payload_feed(struct mb_payload *payload, const void *data, size_t len, mb_payload_fn fn,
				void *ctx, size_t *used, struct mb_error *err)
{
	const unsigned char *p = data;
	size_t left = len, n;
	enum mb_code code = MB_OK;

	while (!code && left > 0 && !payload->ended)
	{
		n = left < MB_REPLICA_BUFFER ? left : MB_REPLICA_BUFFER;
		if (payload->by_mark)
			code = feed_by_mark(payload, p, n, fn, ctx, &n, err);
		else
		{
			n = n < payload->left ? n : (size_t) payload->left;
			code = fn(ctx, p, n, err);
			payload->left -= n;
			payload->ended = payload->left == 0;
		}
		p += n;
		left -= n;
	}
	*used = len - left;
	return code;
}

/* -- the handshake -------------------------------------------------------------------------- */

static enum mb_code
fill(struct mb_replica *replica, struct mb_error *err)
{
	size_t got = 0;

	if (mb_redis_read(replica->redis, replica->buffer, sizeof(replica->buffer),
					  MB_REPLICA_SILENCE_MS, &got, err))
		return err->code;
	if (got == 0)
		return mb_fail(err, MB_UNREACHABLE, "Redis at %s said nothing for %d s",
					   mb_redis_name(replica->redis), MB_REPLICA_SILENCE_MS / 1000);
	replica->at = 0;
	replica->end = got;
	return MB_OK;
}

/* A line without its end; empty lines (keepalives) before it are skipped. */
static enum mb_code
read_line(struct mb_replica *replica, char line[LINE_MAX_BYTES], struct mb_error *err)
{
	size_t len = 0;

	for (;;)
	{
		char c;

		if (replica->at == replica->end && fill(replica, err))
			return err->code;
		c = (char) replica->buffer[replica->at++];
		if (c == '\n' && len > 0)
			break;
		if (c == '\n')
			continue;
		if (len == LINE_MAX_BYTES - 1)
			return mb_fail(err, MB_CORRUPT, "Redis at %s sends a line without end",
						   mb_redis_name(replica->redis));
		line[len++] = c;
	}
	if (line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	return MB_OK;
}

enum line_flags
{
	LINE_OPTIONAL = 1 /* an error reply is fine: the server is too old for this */
};

static enum mb_code
refused(const char *line, const char *command, struct mb_error *err)
{
	struct mb_redis_reply reply = {.type = MB_REDIS_ERROR, .text = (char *) line + 1};

	return mb_redis_reply_fail(&reply, command, err);
}

static enum mb_code
announce(struct mb_replica *replica, const char *const *words, size_t count, unsigned flags,
		 struct mb_error *err)
{
	char line[LINE_MAX_BYTES];

	if (mb_redis_send(replica->redis, words, count, err) || read_line(replica, line, err))
		return err->code;
	if (line[0] == '+')
		return MB_OK;
	if (line[0] != '-')
		return mb_fail(err, MB_CORRUPT, "Redis at %s breaks the replication protocol",
					   mb_redis_name(replica->redis));
	if ((flags & LINE_OPTIONAL) && mb_starts_with(line, "-ERR"))
		return MB_OK;
	return refused(line, words[0], err);
}

static enum mb_code
introduce(struct mb_replica *replica, const struct mb_replica_options *options,
		  struct mb_error *err)
{
	/* Port 0: nobody can be sent here.  Without the line INFO would show the client's own port. */
	static const char *const port[] = {"REPLCONF", "listening-port", "0"};
	/* Only what this code understands: other capabilities change the format of the transfer. */
	static const char *const capa[] = {"REPLCONF", "capa", "eof", "capa", "psync2"};
	static const char *const filter[] = {"REPLCONF", "rdb-filter-only", ""};
	static const char *const only[] = {"REPLCONF", "rdb-only", "1"};

	if (announce(replica, port, 3, 0, err) || announce(replica, capa, 5, 0, err))
		return err->code;
	if (options->rdb_only)
		return announce(replica, only, 3, LINE_OPTIONAL, err);
	return options->no_data ? announce(replica, filter, 3, LINE_OPTIONAL, err) : MB_OK;
}

static enum mb_code
parse_answer(const char *line, const struct mb_replica_options *options,
			 struct mb_replica_start *start, struct mb_error *err)
{
	unsigned long long offset;
	int end = 0;

	memset(start, 0, sizeof(*start));
	if (line[0] == '-')
		return refused(line, "PSYNC", err);
	if (sscanf(line, "+FULLRESYNC %40s %llu%n", start->replid, &offset, &end) == 2 &&
		line[end] == '\0' && mb_replid_is_valid(start->replid))
	{
		start->full = true;
		start->offset = offset;
		return MB_OK;
	}
	/* "+CONTINUE" alone (before 4.0.?) means the same history. */
	if (options->replid && mb_starts_with(line, "+CONTINUE"))
	{
		start->offset = options->offset;
		if (sscanf(line, "+CONTINUE %40s", start->replid) != 1)
			strcpy(start->replid, options->replid);
		if (mb_replid_is_valid(start->replid))
			return MB_OK;
	}
	return mb_fail(err, MB_CORRUPT, "Redis gave an answer to PSYNC that cannot be read: \"%.100s\"",
				   line);
}

/*
 * Does the server not let us have a snapshot, as against not being able to now?  Managed services
 * have errors of their own for that, without a class of its own.
 */
static bool
is_refusal(struct mb_error *err)
{
	static const char *const words[] = {"not allowed",   "not support", "not available",
										"not permitted", "disabled",    "forbidden"};
	size_t i;

	for (i = 0; err->code == MB_IO && i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasestr(err->message, words[i]))
			err->code = MB_UNSUPPORTED;
	return err->code == MB_DENIED || err->code == MB_UNSUPPORTED;
}

/* SYNC: the header of the payload is the answer. */
static enum mb_code
synchronize_plainly(struct mb_replica *replica, struct mb_replica_start *start,
					struct mb_error *err)
{
	static const char *const words[] = {"SYNC"};

	memset(start, 0, sizeof(*start));
	start->full = true;
	if (mb_redis_send(replica->redis, words, 1, err) || read_line(replica, replica->header, err))
		return err->code;
	if (replica->header[0] != '-')
		return MB_OK;
	refused(replica->header, "PSYNC and SYNC", err);
	(void) is_refusal(err);
	return err->code;
}

static enum mb_code
synchronize(struct mb_replica *replica, const struct mb_replica_options *options,
			struct mb_replica_start *start, struct mb_error *err)
{
	const char *words[] = {"PSYNC", "?", "-1"};
	char offset[24], line[LINE_MAX_BYTES];
	enum mb_code code;

	if (options->replid)
	{
		snprintf(offset, sizeof(offset), "%" PRIu64, options->offset + 1);
		words[1] = options->replid;
		words[2] = offset;
	}
	if (mb_redis_send(replica->redis, words, 3, err) || read_line(replica, line, err))
		return err->code;
	code = parse_answer(line, options, start, err);
	if (!code || !options->rdb_only || !is_refusal(err))
		return code;
	mb_error_clear(err);
	return synchronize_plainly(replica, start, err);
}

enum mb_code
mb_replica_open(struct mb_replica **out, const struct mb_replica_options *options,
				struct mb_replica_start *start, struct mb_error *err)
{
	struct mb_replica *replica = mb_calloc(1, sizeof(*replica));
	struct mb_replica_start found;
	enum mb_code code;

	code = mb_redis_connect(&replica->redis, options->redis, err);
	if (!code)
		code = introduce(replica, options, err);
	if (!code)
		code = synchronize(replica, options, &found, err);
	if (code)
	{
		mb_replica_close(replica);
		return mb_error_context(err, "could not attach to Redis as a replica");
	}
	*out = replica;
	*start = found;
	return MB_OK;
}

void
mb_replica_close(struct mb_replica *replica)
{
	if (replica)
		mb_redis_close(replica->redis);
	free(replica);
}

/* -- data ----------------------------------------------------------------------------------- */

enum mb_code
mb_replica_rdb(struct mb_replica *replica, mb_payload_fn fn, void *ctx, struct mb_error *err)
{
	struct mb_payload *payload = mb_calloc(1, sizeof(*payload));
	char line[LINE_MAX_BYTES];
	enum mb_code code;
	size_t used;

	if (replica->header[0])
	{
		strcpy(line, replica->header);
		code = MB_OK;
	}
	else
		code = read_line(replica, line, err);
	if (!code && line[0] == '-')
		code = refused(line, "PSYNC", err);
	else if (!code && line[0] != '$')
		code = mb_fail(err, MB_CORRUPT, "Redis sends no RDB behind +FULLRESYNC");
	else if (!code)
		code = mb_payload_begin(payload, line + 1, err);
	while (!code && !payload->ended)
	{
		if (replica->at == replica->end && (code = fill(replica, err)))
			break;
		code = mb_payload_feed(payload, replica->buffer + replica->at, replica->end - replica->at,
							   fn, ctx, &used, err);
		replica->at += used;
	}
	free(payload);
	return code ? mb_error_context(err, "could not receive the RDB") : MB_OK;
}

enum mb_code
mb_replica_read(struct mb_replica *replica, void *buf, size_t cap, int64_t wait_ms, size_t *got,
				struct mb_error *err)
{
	size_t n = replica->end - replica->at;

	if (n == 0)
		return mb_redis_read(replica->redis, buf, cap, wait_ms, got, err);
	n = n < cap ? n : cap;
	memcpy(buf, replica->buffer + replica->at, n);
	replica->at += n;
	*got = n;
	return MB_OK;
}

enum mb_code
mb_replica_ack(struct mb_replica *replica, uint64_t durable, struct mb_error *err)
{
	char offset[24];
	const char *words[] = {"REPLCONF", "ACK", offset};

	snprintf(offset, sizeof(offset), "%" PRIu64, durable > 0 ? durable - 1 : 0);
	return mb_redis_send(replica->redis, words, 3, err);
}

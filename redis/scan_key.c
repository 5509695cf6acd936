/* scan_key.c - expiry and value of the keys of scan_dump.h, many on their way at once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/scan_private.h"

#define WAY_BYTES (8u << 20) /* of values that are on their way */
#define WAY_KEYS 128
#define KEEP_BYTES (4u << 20)
#define KEY_TRIES 8
/* Two moments computed from PTTL and TIME are the same when no further apart. */
#define CLOSE_MS 100

/* An expiry in ms since 1970, or one of these. */
#define EXPIRY_ABSENT (-2)
#define EXPIRY_NONE (-1)

void
mb_key_text(char out[MB_KEY_TEXT], const void *name, size_t len)
{
	const unsigned char *p = name;
	size_t at = 0, i;

	for (i = 0; i < len && at + 8 < MB_KEY_TEXT; i++)
		if (p[i] >= ' ' && p[i] < 127 && p[i] != '\\' && p[i] != '"')
			out[at++] = (char) p[i];
		else
			at += (size_t) snprintf(out + at, 5, "\\x%02x", p[i]);
	strcpy(out + at, i < len ? "..." : "");
}

static struct mb_word
word_of(const struct mb_scan *scan, size_t i)
{
	return (struct mb_word){scan->names.data + scan->items[i].at, scan->items[i].len};
}

static enum mb_code
not_taken(const struct mb_scan *scan, size_t i, struct mb_error *err)
{
	struct mb_word key = word_of(scan, i);
	char text[MB_KEY_TEXT];

	mb_key_text(text, key.data, key.len);
	if (err->code == MB_CORRUPT)
		mb_error_hint(err, "Values of more than 1 GiB cannot be read key by key.");
	return mb_error_context(err, "could not take key \"%s\" of database %" PRId64, text, scan->db);
}

/* -- expiries ------------------------------------------------------------------------------- */

static void
ask_expiry(struct mb_scan *scan, struct mb_word key)
{
	if (!scan->by_pttl)
	{
		mb_pipe_add(&scan->pipe, (struct mb_word[]){WORD("PEXPIRETIME"), key}, 2);
		return;
	}
	mb_pipe_add(&scan->pipe, (struct mb_word[]){WORD("PTTL"), key}, 2);
	mb_pipe_add_texts(&scan->pipe, "TIME", NULL);
}

/* Two strings: seconds and microseconds. */
enum mb_code
mb_scan_read_time(struct mb_scan *scan, int64_t *time_us, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	int64_t parts[2] = {0, 0};
	char text[24];
	int i;

	if (mb_pipe_expect(&scan->pipe, "TIME", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_ARRAY || reply.integer != 2)
		return mb_fail(err, MB_CORRUPT, "the answer of Redis to TIME cannot be read");
	for (i = 0; i < 2; i++)
	{
		if (mb_pipe_expect(&scan->pipe, "TIME", &reply, err))
			return err->code;
		snprintf(text, sizeof(text), "%.*s", (int) (reply.len < 20 ? reply.len : 20), reply.data);
		parts[i] = strtoll(text, NULL, 10);
	}
	*time_us = parts[0] * 1000000 + parts[1];
	return MB_OK;
}

static enum mb_code
read_expiry(struct mb_scan *scan, int64_t *expiry_ms, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	int64_t left_ms, time_us;

	if (mb_pipe_expect(&scan->pipe, scan->by_pttl ? "PTTL" : "PEXPIRETIME", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_INTEGER)
		return mb_fail(err, MB_CORRUPT, "the expiry that Redis gave cannot be read");
	*expiry_ms = left_ms = reply.integer;
	if (!scan->by_pttl)
		return MB_OK;
	if (mb_scan_read_time(scan, &time_us, err))
		return err->code;
	if (left_ms >= 0)
		*expiry_ms = time_us / 1000 + left_ms;
	return MB_OK;
}

static bool
is_same_expiry(const struct mb_scan *scan, int64_t a, int64_t b)
{
	if (a == b)
		return true;
	return scan->by_pttl && a > 0 && b > 0 && llabs(a - b) <= CLOSE_MS;
}

/* -- keys ----------------------------------------------------------------------------------- */

static void
ask_key(struct mb_scan *scan, size_t i)
{
	struct mb_word key = word_of(scan, i);

	ask_expiry(scan, key);
	mb_pipe_add(&scan->pipe, (struct mb_word[]){WORD("DUMP"), key}, 2);
	ask_expiry(scan, key);
}

static enum mb_code
write_key(struct mb_scan *scan, size_t i, int64_t expiry_ms, struct mb_error *err)
{
	struct mb_word key = word_of(scan, i);
	enum mb_code code = mb_scan_begin_file(scan, scan->value.data, scan->value.len, err);

	if (!code && scan->file_db != scan->db)
		code = mb_rdb_write_select(&scan->writer, (uint64_t) scan->db, err);
	scan->file_db = scan->db;
	scan->result.keys++;
	return code ? code
				: mb_rdb_write_key(&scan->writer, key.data, key.len,
								   expiry_ms > 0 ? expiry_ms : MB_RDB_NO_EXPIRY, scan->value.data,
								   scan->value.len, err);
}

enum taken
{
	TAKEN,
	VANISHED,
	CHANGED /* in the middle: ask again */
};

/* The three answers of one key; the value is left in scan->value. */
static enum mb_code
read_key(struct mb_scan *scan, enum taken *taken, int64_t *expiry_ms, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	int64_t before, after;
	bool is_there;

	if (read_expiry(scan, &before, err) || mb_pipe_expect(&scan->pipe, "DUMP", &reply, err))
		return err->code;
	is_there = reply.type == MB_REDIS_STRING;
	if (scan->value.cap > KEEP_BYTES)
		mb_buf_release(&scan->value);
	mb_buf_reset(&scan->value);
	if (is_there)
		mb_buf_put(&scan->value, reply.data, reply.len);
	if (reply.len > scan->largest)
		scan->largest = reply.len;
	if (read_expiry(scan, &after, err))
		return err->code;
	*taken = !is_there || after == EXPIRY_ABSENT   ? VANISHED
			 : is_same_expiry(scan, before, after) ? TAKEN
												   : CHANGED;
	/* Should it never stand still: the later one, which loses nothing. */
	*expiry_ms = before == EXPIRY_NONE || after == EXPIRY_NONE ? EXPIRY_NONE
				 : before > after                              ? before
															   : after;
	return MB_OK;
}

/* One key that changed while it was read, by itself. */
static enum mb_code
take_again(struct mb_scan *scan, size_t i, struct mb_error *err)
{
	enum taken taken = CHANGED;
	int64_t expiry_ms = EXPIRY_NONE;
	unsigned tries;

	for (tries = 0; tries < KEY_TRIES && taken == CHANGED; tries++)
	{
		ask_key(scan, i);
		if (mb_pipe_flush(&scan->pipe, err) || read_key(scan, &taken, &expiry_ms, err))
			return err->code;
	}
	if (taken != VANISHED)
		return write_key(scan, i, expiry_ms, err);
	scan->result.vanished++;
	return MB_OK;
}

/*
 * The line broke while keys [from, to) were on their way.  A server closes it on a client whose answers
 * are too large for it, and which of them that was is seen when each is asked for by itself.
 */
static enum mb_code
not_taken_of(struct mb_scan *scan, size_t from, size_t to, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	struct mb_redis *again = NULL;
	struct mb_pipe old = scan->pipe;
	struct mb_error found;
	bool broke = false;
	size_t i = from;

	mb_error_clear(&found);
	scan->pipe = (struct mb_pipe){0};
	if (err->code == MB_UNREACHABLE && to - from > 1 &&
		mb_redis_connect(&again, scan->options->redis, &found) == MB_OK)
	{
		scan->pipe.redis = again;
		broke = !scan->is_cluster && mb_live_select(&scan->pipe, scan->db, &found) != MB_OK;
		for (; !broke && i < to; i += !broke)
		{
			mb_pipe_add(&scan->pipe, (struct mb_word[]){WORD("DUMP"), word_of(scan, i)}, 2);
			broke = mb_pipe_flush(&scan->pipe, &found) != MB_OK ||
					mb_pipe_reply(&scan->pipe, &reply, &found) != MB_OK;
		}
	}
	mb_pipe_release(&scan->pipe);
	mb_redis_close(again);
	scan->pipe = old;
	return not_taken(scan, broke && i < to ? i : from, err);
}

enum mb_code
mb_scan_take_keys(struct mb_scan *scan, size_t from, size_t to, struct mb_error *err)
{
	size_t changed[WAY_KEYS], changed_count = 0, i;

	for (i = from; i < to; i++)
		ask_key(scan, i);
	if (mb_pipe_flush(&scan->pipe, err))
		return not_taken_of(scan, from, to, err);
	scan->largest = 1;
	for (i = from; i < to; i++)
	{
		enum taken taken;
		int64_t expiry_ms;

		if (read_key(scan, &taken, &expiry_ms, err))
			return not_taken_of(scan, i, err->code == MB_UNREACHABLE ? to : i + 1, err);
		if (taken == CHANGED)
			changed[changed_count++] = i;
		else if (taken == VANISHED)
			scan->result.vanished++;
		else if (write_key(scan, i, expiry_ms, err))
			return not_taken(scan, i, err);
	}
	scan->result.retaken += changed_count;
	for (i = 0; i < changed_count; i++)
		if (take_again(scan, changed[i], err))
			return not_taken(scan, changed[i], err);
	scan->way = WAY_BYTES / scan->largest;
	scan->way = scan->way < 1 ? 1 : scan->way > WAY_KEYS ? WAY_KEYS : scan->way;
	return MB_OK;
}

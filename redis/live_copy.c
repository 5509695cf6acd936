/*
 * live_copy.c - keys from the scratch server into the destination: SCAN, then PEXPIRETIME
 * and DUMP of each, then RESTORE ... REPLACE ABSTTL.
 *
 * Expiries are absolute, so that the time the copy takes does not lengthen them.  A key
 * whose time passes between SCAN and DUMP is left out, as it would have been.
 *
 * Memory: one value, and STEP_BYTES of commands on their way.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "redis/live.h"

#define SCAN_COUNT "256"
#define STEP_BYTES (1u << 20)
#define STEP_COMMANDS 512
#define MAX_VALUE_BYTES (UINT64_C(512) << 20) /* proto-max-bulk-len: no server takes more */

#define WORD(text) ((struct mb_word){(text), sizeof(text) - 1})

void
mb_live_copy_release(struct mb_live_copy *copy)
{
	mb_pipe_release(&copy->from);
	mb_pipe_release(&copy->to);
	mb_buf_release(&copy->batch.bytes);
	free(copy->batch.ends);
	copy->batch = (struct mb_live_keys){0};
}

static struct mb_word
key_at(const struct mb_live_keys *keys, size_t i)
{
	size_t from = i > 0 ? keys->ends[i - 1] : 0;

	return (struct mb_word){keys->bytes.data + from, keys->ends[i] - from};
}

enum mb_code
mb_live_select(struct mb_pipe *pipe, int64_t db, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	char number[24];

	snprintf(number, sizeof(number), "%" PRId64, db);
	mb_pipe_add_texts(pipe, "SELECT", number, NULL);
	if (mb_pipe_flush(pipe, err))
		return err->code;
	return mb_pipe_expect(pipe, "SELECT", &reply, err);
}

/* -- scanning ------------------------------------------------------------------------------- */

static void
take_key(const struct mb_live *live, int64_t db, struct mb_live_keys *keys,
		 const struct mb_pipe_reply *key)
{
	bool ours =
		key->len == strlen(MB_LIVE_MARKER) && memcmp(key->data, MB_LIVE_MARKER, key->len) == 0;

	if (live->slots && !mb_slots_has(live->slots, mb_key_slot(key->data, key->len)))
		return;
	if (ours || !mb_redis_only_match(live->only, live->only_count, db, key->data, key->len))
		return;
	mb_buf_put(&keys->bytes, key->data, key->len);
	keys->ends = mb_grow(keys->ends, &keys->cap, keys->count + 1, sizeof(*keys->ends));
	keys->ends[keys->count++] = keys->bytes.len;
}

/* One step of SCAN; cursor is "0" again behind the last. */
static enum mb_code
scan_step(struct mb_live_copy *copy, struct mb_pipe *pipe, int64_t db, char cursor[24],
		  struct mb_error *err)
{
	struct mb_live_keys *keys = &copy->batch;
	struct mb_pipe_reply reply;
	int64_t left;

	mb_buf_reset(&keys->bytes);
	keys->count = 0;
	if (mb_cancel_check(copy->live->component->env->cancel, err))
		return err->code;
	mb_pipe_add_texts(pipe, "SCAN", cursor, "COUNT", SCAN_COUNT, NULL);
	if (mb_pipe_flush(pipe, err) || mb_pipe_expect(pipe, "SCAN", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_ARRAY || reply.integer != 2)
		return mb_fail(err, MB_CORRUPT, "the answer of Redis to SCAN cannot be read");
	if (mb_pipe_reply(pipe, &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_STRING || reply.len == 0 || reply.len >= 24)
		return mb_fail(err, MB_CORRUPT, "the cursor of SCAN cannot be read");
	memcpy(cursor, reply.data, reply.len);
	cursor[reply.len] = '\0';
	if (mb_pipe_reply(pipe, &reply, err))
		return err->code;
	for (left = reply.integer; left > 0; left--)
	{
		if (mb_pipe_reply(pipe, &reply, err))
			return err->code;
		take_key(copy->live, db, keys, &reply);
	}
	return MB_OK;
}

enum mb_code
mb_live_count(struct mb_live_copy *copy, struct mb_pipe *pipe, int64_t db, uint64_t *keys,
			  uint64_t *memory, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	char cursor[24] = "0";
	size_t i;

	if (mb_live_select(pipe, db, err))
		return err->code;
	do
	{
		if (scan_step(copy, pipe, db, cursor, err))
			return err->code;
		*keys += copy->batch.count;
		for (i = 0; memory && i < copy->batch.count; i++)
			mb_pipe_add(pipe,
						(struct mb_word[]){WORD("MEMORY"), WORD("USAGE"), key_at(&copy->batch, i)},
						3);
		if (memory && mb_pipe_flush(pipe, err))
			return err->code;
		for (i = 0; memory && i < copy->batch.count; i++)
		{
			if (mb_pipe_expect(pipe, "MEMORY USAGE", &reply, err))
				return err->code;
			*memory += (uint64_t) reply.integer; /* nil, so 0, when it has expired */
		}
	} while (strcmp(cursor, "0") != 0);
	return MB_OK;
}

/* -- copying -------------------------------------------------------------------------------- */

/* Send what was gathered for the destination and read the answers. */
static enum mb_code
settle(struct mb_live_copy *copy, const char *command, struct mb_error *err)
{
	struct mb_pipe_reply reply;

	if (copy->outstanding > 0 && mb_pipe_flush(&copy->to, err))
		return err->code;
	for (; copy->outstanding > 0; copy->outstanding--)
	{
		if (mb_pipe_expect(&copy->to, command, &reply, err))
			return err->code;
		if (reply.type == MB_REDIS_INTEGER)
			copy->removed += (uint64_t) reply.integer; /* of UNLINK */
	}
	return MB_OK;
}

static enum mb_code
sent(struct mb_live_copy *copy, const char *command, struct mb_error *err)
{
	copy->outstanding++;
	if (copy->outstanding < STEP_COMMANDS && copy->to.out.len < STEP_BYTES)
		return MB_OK;
	return settle(copy, command, err);
}

/* The replies to PEXPIRETIME and DUMP of one key become a RESTORE. */
static enum mb_code
copy_key(struct mb_live_copy *copy, struct mb_word key, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	char expiry[24];
	int64_t at_ms;

	if (mb_pipe_expect(&copy->from, "PEXPIRETIME", &reply, err))
		return err->code;
	at_ms = reply.integer > 0 ? reply.integer : 0;
	if (mb_pipe_expect(&copy->from, "DUMP", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_STRING)
		return MB_OK; /* expired since the SCAN */
	if (reply.len + key.len > MAX_VALUE_BYTES)
		return mb_fail(err, MB_UNSUPPORTED,
					   "a value of %zu bytes is too large to be sent to a running server",
					   reply.len);
	snprintf(expiry, sizeof(expiry), "%" PRId64, at_ms);
	mb_pipe_add(&copy->to,
				(struct mb_word[]){WORD("RESTORE"),
								   key,
								   {expiry, strlen(expiry)},
								   {reply.data, reply.len},
								   WORD("REPLACE"),
								   WORD("ABSTTL")},
				6);
	copy->keys++;
	copy->bytes += reply.len;
	atomic_fetch_add(&copy->live->restore->progress->done_bytes, reply.len);
	return sent(copy, "RESTORE", err);
}

enum mb_code
mb_live_copy_db(struct mb_live_copy *copy, int64_t from, int64_t to, struct mb_error *err)
{
	const struct mb_live_keys *batch = &copy->batch;
	char cursor[24] = "0";
	size_t i;

	if (mb_live_select(&copy->from, from, err) || mb_live_select(&copy->to, to, err))
		return err->code;
	do
	{
		if (scan_step(copy, &copy->from, from, cursor, err))
			return err->code;
		for (i = 0; i < batch->count; i++)
		{
			mb_pipe_add(&copy->from, (struct mb_word[]){WORD("PEXPIRETIME"), key_at(batch, i)}, 2);
			mb_pipe_add(&copy->from, (struct mb_word[]){WORD("DUMP"), key_at(batch, i)}, 2);
		}
		if (mb_pipe_flush(&copy->from, err))
			return err->code;
		for (i = 0; i < batch->count; i++)
			if (copy_key(copy, key_at(batch, i), err))
				return err->code;
	} while (strcmp(cursor, "0") != 0);
	return settle(copy, "RESTORE", err);
}

enum mb_code
mb_live_remove_extra(struct mb_live_copy *copy, int64_t db, struct mb_error *err)
{
	const struct mb_live_keys *batch = &copy->batch;
	struct mb_pipe_reply reply;
	char cursor[24] = "0";
	size_t i;

	if (mb_live_select(&copy->from, db, err) || mb_live_select(&copy->to, db, err))
		return err->code;
	do
	{
		if (scan_step(copy, &copy->to, db, cursor, err))
			return err->code;
		for (i = 0; i < batch->count; i++)
			mb_pipe_add(&copy->from, (struct mb_word[]){WORD("EXISTS"), key_at(batch, i)}, 2);
		if (mb_pipe_flush(&copy->from, err))
			return err->code;
		for (i = 0; i < batch->count; i++)
		{
			if (mb_pipe_expect(&copy->from, "EXISTS", &reply, err))
				return err->code;
			if (reply.integer != 0)
				continue;
			mb_pipe_add(&copy->to, (struct mb_word[]){WORD("UNLINK"), key_at(batch, i)}, 2);
			copy->outstanding++;
		}
		/* SCAN goes over the same connection, so nothing may stay outstanding. */
		if (settle(copy, "UNLINK", err))
			return err->code;
	} while (strcmp(cursor, "0") != 0);
	return MB_OK;
}

/* bucket_write_keys.c - see bucket_write_private.h: the keys of a job, side by side. */
#include "objectstore/bucket_write_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 16
#define SLOT_BYTES (24u << 20) /* of bodies under way for one worker */
#define LOOKS_MAX 5            /* after unclear outcomes of one request */

struct batch;

/* A key under way. */
struct slot
{
	struct batch *batch;
	struct todo_key *key;
	size_t at;    /* todo */
	size_t there; /* versions that the key has now */
	unsigned looks;
	json_t *meta;
	struct mb_put_texts texts;
	struct mb_buf body;
	uint64_t bytes; /* counted in the batch */
	struct mb_s3_op op;
};

struct batch
{
	struct mb_bucket_write *write;
	unsigned worker;
	struct job *job;
	size_t next; /* key */
	uint64_t bytes;
	struct slot slots[SLOTS];
	enum mb_code code;
	struct mb_error *err;
};

static void start_keys(struct batch *batch);
static void do_todo(struct slot *slot);

static struct todo *
todo_of(const struct slot *slot)
{
	return &slot->key->todos[slot->at];
}

static void
forget_request(struct slot *slot)
{
	json_decref(slot->meta);
	slot->meta = NULL;
	mb_arena_release(&slot->texts.arena);
	memset(&slot->texts, 0, sizeof(slot->texts));
	slot->batch->bytes -= slot->bytes;
	slot->bytes = 0;
	if (slot->body.cap > (1u << 20))
		mb_buf_release(&slot->body);
}

static void
end_slot(struct slot *slot, enum mb_code code)
{
	struct batch *batch = slot->batch;

	forget_request(slot);
	if (code && !batch->code)
		batch->code = code;
	slot->key = NULL;
	start_keys(batch);
}

/* The next thing to do with the key. */
static void
advance(struct slot *slot)
{
	forget_request(slot);
	slot->at++;
	slot->looks = 0;
	if (slot->at < slot->key->count && !slot->batch->code)
		do_todo(slot);
	else
		end_slot(slot, MB_OK);
}

static void
succeed(struct slot *slot, const char *new_id, bool was_there)
{
	enum mb_code code = mb_write_count(slot->batch->write, slot->key->target, todo_of(slot),
									   slot->meta, new_id, was_there, slot->batch->err);

	slot->there++;
	if (code)
		end_slot(slot, code);
	else
		advance(slot);
}

/* Versions of a key build on each other: behind one that was refused none is written. */
static void
fail(struct slot *slot, enum mb_code code, const struct mb_error *why)
{
	end_slot(slot,
			 mb_write_refused(slot->batch->write, slot->key->target, code, why, slot->batch->err));
}

/* No answer: look whether it was done. */
static void
look(struct slot *slot, const struct mb_error *why)
{
	const struct todo *todo = todo_of(slot);
	const char *id = (slot->batch->write->place->flags & MB_PUT_IDS)
						 ? mb_json_str(slot->meta, "id", NULL)
						 : NULL;
	struct mb_put_found found;
	struct mb_error err;
	bool is_marker = todo->step.kind == MB_WRITE_DELETE || todo->entry.type == MB_ENTRY_MARKER;
	bool is_done;
	enum mb_code code;

	mb_error_clear(&err);
	if (++slot->looks > LOOKS_MAX)
	{
		fail(slot, why->code, why);
		return;
	}
	code = mb_put_look(slot->batch->write->place, slot->key->target, id, &found, &err);
	if (code)
	{
		fail(slot, code, &err);
		return;
	}
	is_done = id ? found.has_id
				 : found.count > slot->there && found.is_marker == is_marker &&
					   (is_marker || found.size == todo->entry.size);
	if (is_done)
	{
		succeed(slot, found.id, false);
		return;
	}
	forget_request(slot);
	do_todo(slot);
}

static void
on_answer(struct mb_s3_op *op)
{
	struct slot *slot = op->ctx;
	struct mb_error why = op->err;
	enum mb_code code = op->code;
	bool is_unclear = code == MB_UNREACHABLE && op->maybe_done;
	const char *told = code ? NULL : mb_s3_op_answer(op, "x-amz-version-id");
	char new_id[256];

	snprintf(new_id, sizeof(new_id), "%s", told ? told : "");
	mb_s3_op_release(op);
	if (!code)
		succeed(slot, new_id[0] ? new_id : NULL, false);
	else if (code == MB_EXISTS)
		succeed(slot, NULL, true);
	else if (is_unclear)
		look(slot, &why);
	else
		fail(slot, code, &why);
}

static void
do_todo(struct slot *slot)
{
	struct mb_bucket_write *write = slot->batch->write;
	const struct todo *todo = todo_of(slot);
	struct mb_put_version version = {.key = slot->key->target, .entry = &todo->entry};
	struct mb_error why;
	enum mb_code code = MB_OK;

	mb_error_clear(&why);
	if (todo->step.kind == MB_WRITE_DELETE)
	{
		slot->meta = json_object();
		slot->op.method = "DELETE";
		slot->op.bucket = write->place->bucket;
		slot->op.key = slot->key->target;
		slot->op.flags = MB_S3_ONCE;
	}
	else
	{
		code = mb_json_parse(&slot->meta, todo->entry.meta ? todo->entry.meta : "{}",
							 todo->entry.meta ? strlen(todo->entry.meta) : 2, "meta", &why);
		version.meta = slot->meta;
		if (!code && todo->entry.type == MB_ENTRY_MARKER)
			mb_put_marker(write->place, &version, &slot->texts, &slot->op);
		else if (!code)
		{
			mb_put_object(write->place, &version, &slot->texts, &slot->op);
			mb_buf_reset(&slot->body);
			slot->bytes = todo->entry.size;
			slot->batch->bytes += slot->bytes;
			code = mb_put_contents(write->readers[slot->batch->worker], &todo->entry, &slot->body,
								   &why);
			slot->op.body = slot->body.len ? (const void *) slot->body.data : "";
			slot->op.body_len = slot->body.len;
		}
	}
	if (!code && slot->texts.is_too_much)
		code = mb_fail(&why, MB_UNSUPPORTED, "it has more metadata than a request has room for");
	if (code)
	{
		memset(&slot->op, 0, sizeof(slot->op));
		fail(slot, code, &why);
		return;
	}
	slot->op.done = on_answer;
	slot->op.ctx = slot;
	mb_s3_start(write->lanes[slot->batch->worker], &slot->op);
}

static void
start_keys(struct batch *batch)
{
	size_t i;

	for (i = 0; i < SLOTS && !batch->code && batch->next < batch->job->count; i++)
	{
		struct slot *slot = &batch->slots[i];

		if (slot->key)
			continue;
		if (batch->bytes >= SLOT_BYTES)
			return;
		slot->key = &batch->job->keys[batch->next++];
		slot->at = 0;
		slot->looks = 0;
		slot->there = slot->key->there;
		do_todo(slot);
	}
}

enum mb_code
mb_write_keys(struct mb_bucket_write *write, unsigned worker, struct job *job, struct mb_error *err)
{
	struct batch *batch = mb_calloc(1, sizeof(*batch));
	enum mb_code code;
	size_t i;

	batch->write = write;
	batch->worker = worker;
	batch->job = job;
	batch->err = err;
	for (i = 0; i < SLOTS; i++)
		batch->slots[i].batch = batch;
	start_keys(batch);
	code = mb_s3_run(write->lanes[worker], 0, err);
	if (batch->code)
		code = batch->code;
	for (i = 0; i < SLOTS; i++)
	{
		mb_s3_op_release(&batch->slots[i].op);
		mb_buf_release(&batch->slots[i].body);
		mb_arena_release(&batch->slots[i].texts.arena);
		json_decref(batch->slots[i].meta);
	}
	free(batch);
	return code;
}

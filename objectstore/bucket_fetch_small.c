/* bucket_fetch_small.c - see bucket_fetch_private.h: the items of a job, side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/engine/entry.h"
#include "core/repo/crypto.h"
#include "objectstore/bucket_fetch_private.h"

#define ETAG_TEXT 300

/* What a slot waits for. */
enum step
{
	STEP_OBJECT,
	STEP_TAGS,
	STEP_PARTS
};

struct batch;

struct slot
{
	struct batch *batch;
	struct mb_s3_op op;
	struct item *item;
	enum step step;
	unsigned tries;
	struct mb_buf body;
	json_t *meta;
	char if_match[ETAG_TEXT];
};

/* One job under way. */
struct batch
{
	struct mb_bucket_fetch *fetch;
	unsigned worker;
	struct job *job;
	size_t next; /* item */
	uint64_t bytes;
	struct slot slots[FETCH_SLOTS];
	enum mb_code code; /* the first failure that ends everything */
	struct mb_error *err;
};

/* -- requests --------------------------------------------------------------------------------------- */

static enum mb_code
take_body(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct slot *slot = ctx;

	(void) err;
	mb_buf_put(&slot->body, data, len);
	return MB_OK;
}

static void
restart_body(void *ctx)
{
	mb_buf_reset(&((struct slot *) ctx)->body);
}

static void on_answer(struct mb_s3_op *op);

static void
send(struct slot *slot)
{
	slot->op.done = on_answer;
	slot->op.ctx = slot;
	mb_s3_start(slot->batch->fetch->lanes[slot->batch->worker], &slot->op);
}

static void
ask_object(struct slot *slot)
{
	struct item *item = slot->item;
	bool with_body = item->kind == ITEM_READ;

	slot->step = STEP_OBJECT;
	mb_buf_reset(&slot->body);
	mb_fetch_request(slot->batch->fetch, &item->version, with_body ? "GET" : "HEAD", slot->if_match,
					 sizeof(slot->if_match), &slot->op);
	if (with_body)
	{
		mb_buf_reserve(&slot->body, item->version.size);
		slot->op.sink = take_body;
		slot->op.restart = restart_body;
		slot->op.sink_ctx = slot;
		slot->op.max_bytes = item->version.size + 1;
	}
	send(slot);
}

static void
ask_more(struct slot *slot, enum step step)
{
	struct mb_s3_op *op = &slot->op;
	const char *id = slot->item->version.version_id;

	slot->step = step;
	op->method = "GET";
	op->bucket = slot->batch->fetch->bucket->name;
	op->key = slot->item->version.key;
	mb_s3_op_query(op, step == STEP_TAGS ? "tagging" : "attributes", NULL);
	if (id[0])
		mb_s3_op_query(op, "versionId", id);
	if (step == STEP_PARTS)
	{
		mb_s3_op_header(op, "x-amz-object-attributes", "Checksum,ObjectParts");
		mb_s3_op_header(op, "x-amz-max-parts", "10000");
	}
	send(slot);
}

/* -- a version that is there ---------------------------------------------------------------------- */

static enum mb_code
check_body(const struct slot *slot, struct mb_error *err)
{
	const struct mb_s3_version *version = &slot->item->version;
	const char *etag = mb_json_str(slot->meta, "etag", "");
	unsigned char md5[MB_MD5_BYTES];
	char hex[2 * MB_MD5_BYTES + 1];

	if (slot->body.len != version->size)
		return mb_fail(err, MB_CORRUPT, "%zu bytes came, the listing says %llu", slot->body.len,
					   (unsigned long long) version->size);
	if (!mb_etag_is_md5(slot->meta, etag))
		return MB_OK;
	mb_md5(md5, slot->body.data, slot->body.len);
	mb_hex(hex, md5, sizeof(md5));
	if (strcmp(hex, etag) != 0)
		return mb_fail(err, MB_CORRUPT, "the MD5 of what came is %s, the ETag says %s", hex, etag);
	return MB_OK;
}

static enum mb_code
keep_body(struct slot *slot, struct mb_error *err)
{
	struct mb_bucket_fetch *fetch = slot->batch->fetch;
	struct mb_entry *entry = &slot->item->entry;
	struct mb_runs runs = {0};
	char *meta = mb_json_text(slot->meta);
	enum mb_code code = mb_capture_bytes(fetch->capture, slot->batch->worker, slot->body.data,
										 slot->body.len, &runs, err);

	entry->runs = runs.items;
	entry->run_count = runs.count;
	entry->has_crc32c = true;
	entry->crc32c = mb_crc32c(MB_CRC32C_INIT, slot->body.data, slot->body.len);
	entry->meta = meta;
	if (!code)
		code = mb_capture_add(fetch->capture, entry, err);
	mb_runs_release(&runs);
	free(meta);
	mb_fetch_count(fetch, &fetch->sum.read);
	return code;
}

static enum mb_code
keep_headers(struct slot *slot, struct mb_error *err)
{
	struct mb_bucket_fetch *fetch = slot->batch->fetch;
	struct mb_entry *entry = &slot->item->entry;
	char *meta = mb_json_text(slot->meta);
	enum mb_code code;

	entry->meta = meta;
	code = mb_capture_add(fetch->capture, entry, err);
	free(meta);
	mb_fetch_count(fetch, &fetch->sum.looked_at);
	return code;
}

static enum mb_code
keep(struct slot *slot, struct mb_error *err)
{
	if (slot->item->kind == ITEM_LOOK)
		return keep_headers(slot, err);
	if (slot->item->kind == ITEM_BIG)
		return mb_fetch_big_done(slot->batch->fetch, slot->item->big, json_incref(slot->meta), err);
	return keep_body(slot, err);
}

/* -- the way of a slot ------------------------------------------------------------------------------- */

static void start_items(struct batch *batch);

static void
end_slot(struct slot *slot, enum mb_code code)
{
	struct batch *batch = slot->batch;

	if (code && !batch->code)
		batch->code = code;
	batch->bytes -= slot->item->kind == ITEM_READ ? slot->item->version.size : 0;
	json_decref(slot->meta);
	slot->meta = NULL;
	slot->item = NULL;
	/* A large one is not kept for a small one to come. */
	if (slot->body.cap > (1u << 20))
		mb_buf_release(&slot->body);
	start_items(batch);
}

/* It failed: count it, or let it end everything. */
static void
give_up(struct slot *slot, enum mb_code code, const struct mb_error *why)
{
	struct batch *batch = slot->batch;
	struct item *item = slot->item;
	bool is_first = item->kind != ITEM_BIG || !atomic_exchange(&item->big->is_gone, true);
	enum mb_code end = MB_OK;

	if (is_first)
		end = mb_fetch_trouble(batch->fetch, &item->version, code, why, batch->err);
	if (item->kind == ITEM_BIG && !end)
		end = mb_fetch_big_done(batch->fetch, item->big, NULL, batch->err);
	end_slot(slot, end);
}

/* The object, then its tags where headers only count them, then its parts. */
static void
go_on(struct slot *slot, const char *tag_count)
{
	struct mb_bucket_fetch *fetch = slot->batch->fetch;
	bool has_tags = tag_count && strcmp(tag_count, "0") != 0;

	if (slot->step == STEP_OBJECT && has_tags && !json_object_get(slot->meta, "tags"))
		ask_more(slot, STEP_TAGS);
	else if (slot->step != STEP_PARTS && fetch->knows_attributes &&
			 mb_etag_parts(mb_json_str(slot->meta, "etag", "")) > 0)
		ask_more(slot, STEP_PARTS);
	else
		end_slot(slot, keep(slot, slot->batch->err));
}

static void
take_object(struct slot *slot)
{
	struct mb_error why;
	enum mb_code code = MB_OK;
	char count[16];
	const char *told;

	mb_error_clear(&why);
	slot->meta = mb_version_meta(&slot->item->version);
	mb_version_meta_headers(slot->meta, &slot->op.http.response, &slot->item->version);
	told = mb_s3_op_answer(&slot->op, "x-amz-tagging-count");
	snprintf(count, sizeof(count), "%s", told ? told : "");
	mb_s3_op_release(&slot->op);
	if (slot->item->kind == ITEM_READ)
		code = check_body(slot, &why);
	if (!code)
		go_on(slot, count[0] ? count : NULL);
	else if (++slot->tries < FETCH_TRIES)
	{
		json_decref(slot->meta);
		slot->meta = NULL;
		ask_object(slot);
	}
	else
		give_up(slot, code, &why);
}

static void
take_more(struct slot *slot)
{
	struct mb_bucket_fetched *sum = &slot->batch->fetch->sum;
	struct mb_buf *body = &slot->op.http.response.body;
	struct mb_error why;
	enum mb_code code;

	mb_error_clear(&why);
	if (slot->step == STEP_TAGS)
		code = mb_version_meta_tags(slot->meta, body->data, body->len, &why);
	else
		code = mb_version_meta_parts(slot->meta, body->data, body->len, &why);
	if (code == MB_CORRUPT && ++slot->tries < FETCH_TRIES)
	{
		mb_s3_op_release(&slot->op);
		ask_more(slot, slot->step);
		return;
	}
	/*
	 * Without parts a restore makes the same ETag, but other parts.  Ceph answers nothing when tags came
	 * with a multipart upload: it has lost them.  Neither is a reason to lose the contents too.
	 */
	if (code == MB_CORRUPT && (slot->step == STEP_PARTS ||
							   (body->len == 0 && mb_etag_parts(slot->item->version.etag) > 0)))
	{
		mb_fetch_count(slot->batch->fetch,
					   slot->step == STEP_TAGS ? &sum->untold_tags : &sum->untold_parts);
		code = MB_OK;
	}
	mb_s3_op_release(&slot->op);
	if (code)
		give_up(slot, code, &why);
	else
		go_on(slot, NULL);
}

static void
on_answer(struct mb_s3_op *op)
{
	struct slot *slot = op->ctx;
	struct mb_error why = op->err;
	enum mb_code code = mb_fetch_judge(slot->batch->fetch, op);
	enum step step = slot->step;

	if (!code && step == STEP_OBJECT)
		take_object(slot);
	else if (!code)
		take_more(slot);
	else
	{
		mb_s3_op_release(op);
		if (step == STEP_PARTS && mb_fetch_is_of_one_version(code))
			go_on(slot, NULL);
		else
			give_up(slot, code, &why);
	}
}

static void
start_items(struct batch *batch)
{
	size_t i;

	for (i = 0; i < FETCH_SLOTS && !batch->code && batch->next < batch->job->count; i++)
	{
		struct slot *slot = &batch->slots[i];
		struct item *item = &batch->job->items[batch->next];
		uint64_t size = item->kind == ITEM_READ ? item->version.size : 0;

		if (slot->item)
			continue;
		if (batch->bytes > 0 && batch->bytes + size > FETCH_BYTES)
			return;
		batch->next++;
		batch->bytes += size;
		slot->item = item;
		slot->tries = 0;
		ask_object(slot);
	}
}

enum mb_code
mb_fetch_items(struct mb_bucket_fetch *fetch, unsigned worker, struct job *job,
			   struct mb_error *err)
{
	struct batch *batch = mb_calloc(1, sizeof(*batch));
	enum mb_code code;
	size_t i;

	batch->fetch = fetch;
	batch->worker = worker;
	batch->job = job;
	batch->err = err;
	for (i = 0; i < FETCH_SLOTS; i++)
		batch->slots[i].batch = batch;
	start_items(batch);
	code = mb_s3_run(fetch->lanes[worker], 0, err);
	if (batch->code)
		code = batch->code;
	for (i = 0; i < FETCH_SLOTS; i++)
	{
		mb_s3_op_release(&batch->slots[i].op);
		mb_buf_release(&batch->slots[i].body);
		json_decref(batch->slots[i].meta);
	}
	free(batch);
	return code;
}

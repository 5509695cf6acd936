/*
 * bucket_fetch_big.c - versions above 8 MiB: their headers as an item, their contents in
 * stretches of 64 MiB, each read by one worker in ranges of 8 MiB.
 *
 * The ranges of a stretch are packed in order, so that its runs are as long as packs: a record of
 * the manifest has room for some 14,000 of them, which is more than 200 GiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "objectstore/bucket_fetch_private.h"

#define WINDOW (FETCH_BYTES / SMALL_MAX_BYTES)
#define ETAG_TEXT 300

/* -- the whole ------------------------------------------------------------------------------------ */

void
mb_fetch_big_unref(struct big *big)
{
	size_t i;

	if (!big || atomic_fetch_sub(&big->refs, 1) > 1)
		return;
	for (i = 0; i < big->stretches; i++)
		mb_runs_release(&big->runs[i]);
	free(big->runs);
	free(big->crcs);
	json_decref(big->meta);
	mb_arena_release(&big->arena);
	free(big);
}

static uint64_t
stretch_bytes(const struct big *big, size_t stretch)
{
	uint64_t left = big->item.version.size - (uint64_t) stretch * STRETCH_BYTES;

	return left < STRETCH_BYTES ? left : STRETCH_BYTES;
}

/* Is there a CRC-32C of the whole by the server, and is it another one? */
static bool
has_wrong_checksum(const struct big *big, uint32_t crc32c)
{
	json_t *checksums = json_object_get(big->meta, "checksums");
	const char *told = mb_json_str(checksums, "crc32c", NULL);
	struct mb_buf ours = {0};
	unsigned char bytes[4] = {(unsigned char) (crc32c >> 24), (unsigned char) (crc32c >> 16),
							  (unsigned char) (crc32c >> 8), (unsigned char) crc32c};
	bool is_wrong;

	if (!told || strcmp(mb_json_str(checksums, "type", "FULL_OBJECT"), "FULL_OBJECT") != 0 ||
		strchr(told, '-'))
		return false;
	mb_base64(&ours, bytes, sizeof(bytes));
	is_wrong = strcmp(mb_buf_cstr(&ours), told) != 0;
	mb_buf_release(&ours);
	return is_wrong;
}

static enum mb_code
add_big(struct mb_bucket_fetch *fetch, struct big *big, struct mb_error *err)
{
	struct mb_entry *entry = &big->item.entry;
	struct mb_runs runs = {0};
	struct mb_error why;
	enum mb_code code;
	char *meta;
	size_t i, j;

	entry->has_crc32c = true;
	entry->crc32c = big->crcs[0];
	for (i = 0; i < big->stretches; i++)
	{
		for (j = 0; j < big->runs[i].count; j++)
			mb_runs_add(&runs, &big->runs[i].items[j]);
		if (i > 0)
			entry->crc32c = mb_crc32c_combine(entry->crc32c, big->crcs[i], stretch_bytes(big, i));
	}
	entry->runs = runs.items;
	entry->run_count = runs.count;
	meta = mb_json_text(big->meta);
	entry->meta = meta;
	mb_error_clear(&why);
	if (has_wrong_checksum(big, entry->crc32c))
		code = mb_fail(&why, MB_CORRUPT, "what came does not have the CRC-32C that the server has");
	else
	{
		code = mb_capture_add(fetch->capture, entry, &why);
		/* Too many runs for a record. */
		if (code == MB_CONFIG)
			code = MB_UNSUPPORTED;
	}
	if (!code)
		mb_fetch_count(fetch, &fetch->sum.read);
	else
		code = mb_fetch_trouble(fetch, &big->item.version, code, &why, err);
	mb_runs_release(&runs);
	free(meta);
	return code;
}

enum mb_code
mb_fetch_big_done(struct mb_bucket_fetch *fetch, struct big *big, json_t *meta,
				  struct mb_error *err)
{
	if (meta)
		big->meta = meta;
	if (atomic_fetch_sub(&big->left, 1) > 1 || atomic_load(&big->is_gone))
		return MB_OK;
	return add_big(fetch, big, err);
}

enum mb_code
mb_fetch_big_put(struct mb_bucket_fetch *fetch, const struct mb_s3_version *version,
				 const struct mb_entry *entry, struct mb_error *err)
{
	struct big *big = mb_calloc(1, sizeof(*big));
	enum mb_code code;
	size_t i;

	mb_bucket_version_copy(&big->arena, version, &big->item.version);
	big->item.entry = *entry;
	big->item.entry.path = big->item.version.key;
	big->stretches = (size_t) ((version->size + STRETCH_BYTES - 1) / STRETCH_BYTES);
	big->runs = mb_calloc(big->stretches, sizeof(*big->runs));
	big->crcs = mb_calloc(big->stretches, sizeof(*big->crcs));
	atomic_store(&big->left, big->stretches + 1);
	/* This call knows it too, so that it outlives the first jobs. */
	atomic_store(&big->refs, 2);
	code = mb_fetch_add_item(fetch, ITEM_BIG, version, entry, big, err);
	if (!code)
		code = mb_fetch_flush(fetch, err);
	for (i = 0; !code && i < big->stretches && !atomic_load(&big->is_gone); i++)
	{
		struct job *job = mb_calloc(1, sizeof(*job));

		job->kind = JOB_STRETCH;
		job->big = big;
		job->stretch = i;
		atomic_fetch_add(&big->refs, 1);
		code = mb_feed_put(fetch->feed, job, 1, err);
	}
	mb_fetch_big_unref(big);
	return code;
}

/* -- one stretch ------------------------------------------------------------------------------------ */

struct stretch;

struct range
{
	struct stretch *stretch;
	struct mb_s3_op op;
	uint64_t offset; /* in the version */
	size_t len;
	struct mb_buf body;
	bool is_whole;
	char if_match[ETAG_TEXT];
	char bytes[64];
};

struct stretch
{
	struct mb_bucket_fetch *fetch;
	unsigned worker;
	struct big *big;
	size_t number;
	size_t ranges;
	size_t started;
	size_t packed;
	struct range window[WINDOW];
	enum mb_code code;   /* of this machine: ends everything */
	enum mb_code failed; /* of the version */
	struct mb_error why;
	struct mb_error *err;
};

static enum mb_code
take_range(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct range *range = ctx;

	(void) err;
	mb_buf_put(&range->body, data, len);
	return MB_OK;
}

static void
restart_range(void *ctx)
{
	mb_buf_reset(&((struct range *) ctx)->body);
}

static void start_ranges(struct stretch *stretch);

static void
pack_range(struct stretch *stretch, struct range *range)
{
	struct big *big = stretch->big;
	uint32_t *crc = &big->crcs[stretch->number];

	*crc = mb_crc32c(*crc, range->body.data, range->body.len);
	stretch->code = mb_capture_bytes(stretch->fetch->capture, stretch->worker, range->body.data,
									 range->body.len, &big->runs[stretch->number], stretch->err);
	range->is_whole = false;
	stretch->packed++;
}

static void
on_range(struct mb_s3_op *op)
{
	struct range *range = op->ctx;
	struct stretch *stretch = range->stretch;
	struct range *next;

	if (!op->code && range->body.len != range->len)
		op->code = mb_fail(&op->err, MB_CORRUPT, "%zu bytes came, %zu were asked for",
						   range->body.len, range->len);
	if (op->code && !stretch->failed)
	{
		stretch->failed = mb_fetch_judge(stretch->fetch, op);
		stretch->why = op->err;
	}
	range->is_whole = !op->code;
	mb_s3_op_release(op);
	next = &stretch->window[stretch->packed % WINDOW];
	while (!stretch->code && !stretch->failed && next->is_whole)
	{
		pack_range(stretch, next);
		next = &stretch->window[stretch->packed % WINDOW];
	}
	start_ranges(stretch);
}

static void
ask_range(struct stretch *stretch, size_t number)
{
	struct range *range = &stretch->window[number % WINDOW];
	uint64_t all = stretch_bytes(stretch->big, stretch->number);
	uint64_t at = (uint64_t) number * SMALL_MAX_BYTES;

	range->stretch = stretch;
	range->offset = (uint64_t) stretch->number * STRETCH_BYTES + at;
	range->len = (size_t) (all - at < SMALL_MAX_BYTES ? all - at : SMALL_MAX_BYTES);
	mb_buf_reset(&range->body);
	mb_buf_reserve(&range->body, range->len);
	mb_fetch_request(stretch->fetch, &stretch->big->item.version, "GET", range->if_match,
					 sizeof(range->if_match), &range->op);
	snprintf(range->bytes, sizeof(range->bytes), "bytes=%llu-%llu",
			 (unsigned long long) range->offset,
			 (unsigned long long) (range->offset + range->len - 1));
	mb_s3_op_header(&range->op, "Range", range->bytes);
	range->op.sink = take_range;
	range->op.restart = restart_range;
	range->op.sink_ctx = range;
	range->op.max_bytes = range->len + 1;
	range->op.done = on_range;
	range->op.ctx = range;
	mb_s3_start(stretch->fetch->lanes[stretch->worker], &range->op);
}

static void
start_ranges(struct stretch *stretch)
{
	while (!stretch->code && !stretch->failed && stretch->started < stretch->ranges &&
		   stretch->started < stretch->packed + WINDOW)
		ask_range(stretch, stretch->started++);
}

/* Failed: once for the whole version, whatever its other stretches say. */
static enum mb_code
end_stretch(struct stretch *stretch)
{
	struct big *big = stretch->big;
	enum mb_code code = MB_OK;

	if (stretch->failed && !atomic_exchange(&big->is_gone, true))
		code = mb_fetch_trouble(stretch->fetch, &big->item.version, stretch->failed, &stretch->why,
								stretch->err);
	if (!code)
		code = mb_fetch_big_done(stretch->fetch, big, NULL, stretch->err);
	return code;
}

enum mb_code
mb_fetch_stretch(struct mb_bucket_fetch *fetch, unsigned worker, struct job *job,
				 struct mb_error *err)
{
	struct stretch *stretch;
	enum mb_code code;
	size_t i;

	if (atomic_load(&job->big->is_gone))
		return mb_fetch_big_done(fetch, job->big, NULL, err);
	stretch = mb_calloc(1, sizeof(*stretch));
	stretch->fetch = fetch;
	stretch->worker = worker;
	stretch->big = job->big;
	stretch->number = job->stretch;
	stretch->err = err;
	stretch->ranges =
		(size_t) ((stretch_bytes(job->big, job->stretch) + SMALL_MAX_BYTES - 1) / SMALL_MAX_BYTES);
	start_ranges(stretch);
	code = mb_s3_run(fetch->lanes[worker], 0, err);
	if (!code)
		code = stretch->code;
	if (!code)
		code = end_stretch(stretch);
	for (i = 0; i < WINDOW; i++)
	{
		mb_s3_op_release(&stretch->window[i].op);
		mb_buf_release(&stretch->window[i].body);
	}
	free(stretch);
	return code;
}

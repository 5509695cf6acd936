/* store_s3_get.c - reading one object; see store_s3.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/store_s3_private.h"

struct taker
{
	struct mb_buf *out;
	size_t base; /* out->len before */
};

static enum mb_code
take_bytes(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct taker *taker = ctx;

	(void) err;
	mb_buf_put(taker->out, data, len);
	return MB_OK;
}

static void
take_again(void *ctx)
{
	struct taker *taker = ctx;

	taker->out->len = taker->base;
}

static enum mb_code
too_large(const char *name, struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "blob \"%s\" is larger than %u bytes", name, MB_BLOB_MAX_BYTES);
}

/* "bytes 6-8/11": what came is what was asked for, and the whole is not too large. */
static enum mb_code
check_range(struct mb_s3_op *op, const char *name, uint64_t offset, size_t got,
			struct mb_error *err)
{
	const char *range = mb_s3_op_answer(op, "content-range");
	unsigned long long first, last, whole;

	if (!range || sscanf(range, "bytes %llu-%llu/%llu", &first, &last, &whole) != 3 ||
		first != offset || last < first || last - first + 1 != got)
		return mb_fail(err, MB_CORRUPT, "the server answered another range of \"%s\" than asked",
					   name);
	return whole > MB_BLOB_MAX_BYTES ? too_large(name, err) : MB_OK;
}

/* The server did not care for the range: the bytes that were wanted, out of all. */
static void
cut_range(struct taker *taker, uint64_t offset, size_t len)
{
	struct mb_buf *out = taker->out;
	size_t got = out->len - taker->base;
	size_t skip = offset < got ? (size_t) offset : got;
	size_t take = got - skip < len ? got - skip : len;

	if (take > 0)
		memmove(out->data + taker->base, out->data + taker->base + skip, take);
	out->len = taker->base + take;
}

enum mb_code
mb_store_s3_range(struct mb_store_s3 *store, const char *name, uint64_t offset, size_t len,
				  struct mb_buf *out, struct mb_error *err)
{
	struct taker taker = {out, out->len};
	struct mb_s3_op op = {0};
	char *key = mb_store_s3_key(store, name);
	char range[64];
	enum mb_code code;

	mb_store_s3_begin(store, &op, "GET", key);
	op.max_bytes = MB_BLOB_MAX_BYTES;
	op.sink = take_bytes;
	op.restart = take_again;
	op.sink_ctx = &taker;
	if (len > MB_BLOB_MAX_BYTES)
		snprintf(range, sizeof(range), "bytes=%llu-", (unsigned long long) offset);
	else
		snprintf(range, sizeof(range), "bytes=%llu-%llu", (unsigned long long) offset,
				 (unsigned long long) (offset + len - 1));
	if (offset > 0 || len <= MB_BLOB_MAX_BYTES)
		mb_s3_op_header(&op, "Range", range);
	code = mb_store_s3_ask(store, &op, err);
	if (op.status == 416)
		code = MB_OK; /* the blob ends before */
	else if (!code && op.status == 206)
		code = check_range(&op, name, offset, out->len - taker.base, err);
	else if (!code)
		cut_range(&taker, offset, len);
	if (code || op.status == 416)
		out->len = taker.base;
	mb_s3_op_release(&op);
	free(key);
	return code;
}

/*
 * An answer to HEAD has no body that could tell a missing object from a missing bucket: a GET
 * of one byte tells.
 */
static enum mb_code
explain_missing(struct mb_store_s3 *store, const char *name, struct mb_error *err)
{
	struct mb_buf byte = {0};
	enum mb_code code = mb_store_s3_range(store, name, 0, 1, &byte, err);

	mb_buf_release(&byte);
	if (!code)
		code = mb_fail(err, MB_UNREACHABLE, "\"%s\" is there and is not there", name);
	return code;
}

enum mb_code
mb_store_s3_look(struct mb_store_s3 *store, const char *name, struct mb_store_s3_head *head,
				 struct mb_error *err)
{
	struct mb_s3_op op = {0};
	char *key = mb_store_s3_key(store, name);
	const char *text;
	enum mb_code code;

	mb_store_s3_begin(store, &op, "HEAD", key);
	code = mb_s3_perform(store->s3, &op, err);
	if (code == MB_NOT_FOUND)
		code = explain_missing(store, name, err);
	if (!code)
	{
		int64_t modified_s;

		text = mb_s3_op_answer(&op, "content-length");
		head->bytes = text ? strtoull(text, NULL, 10) : 0;
		if (!text)
			code = mb_fail(err, MB_CORRUPT, "the server did not tell the size of \"%s\"", name);
		text = mb_s3_op_answer(&op, "last-modified");
		modified_s = text ? mb_http_date(text) : -1;
		head->modified_us = modified_s * 1000000;
		if (!code && modified_s < 0)
			code = mb_fail(err, MB_CORRUPT, "the server did not tell the time of \"%s\"", name);
		text = mb_s3_op_answer(&op, "etag");
		snprintf(head->etag, sizeof(head->etag), "%.*s", text ? (int) strcspn(text + 1, "\"") : 0,
				 text ? text + 1 : "");
	}
	mb_s3_op_release(&op);
	free(key);
	return code;
}

enum mb_code
mb_store_s3_get_op(struct mb_store *base, const char *name, uint64_t offset, size_t len,
				   struct mb_buf *out, struct mb_error *err)
{
	struct mb_store_s3_head head;
	enum mb_code code;

	if (len > 0 && offset < MB_BLOB_MAX_BYTES)
		return mb_store_s3_range(mb_store_s3_from(base), name, offset, len, out, err);
	code = mb_store_s3_look(mb_store_s3_from(base), name, &head, err);
	return !code && head.bytes > MB_BLOB_MAX_BYTES ? too_large(name, err) : code;
}

enum mb_code
mb_store_s3_head_op(struct mb_store *base, const char *name, struct mb_blob_info *info,
					struct mb_error *err)
{
	struct mb_store_s3_head head;
	enum mb_code code = mb_store_s3_look(mb_store_s3_from(base), name, &head, err);

	if (!code)
		*info = (struct mb_blob_info){name, head.bytes, head.modified_us};
	return code;
}

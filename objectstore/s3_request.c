/* s3_request.c - an op as a signed HTTP request; see s3.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "objectstore/s3_private.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* Below, our own clock is good enough and a lying Date does no harm. */
#define TRUSTED_SKEW_US 30000000

void
mb_s3_op_query(struct mb_s3_op *op, const char *name, const char *value)
{
	MB_ASSERT(op->query_count < sizeof(op->query) / sizeof(op->query[0]));
	op->query[op->query_count++] = (struct mb_query){name, value};
}

void
mb_s3_op_header(struct mb_s3_op *op, const char *name, const char *value)
{
	MB_ASSERT(op->header_count < sizeof(op->headers) / sizeof(op->headers[0]));
	op->headers[op->header_count++] = (struct mb_header){name, value};
}

/* A line break would let stored metadata write headers of its own. */
enum mb_code
mb_s3_check_op(const struct mb_s3_op *op, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < op->header_count; i++)
		if (op->headers[i].name[0] == '\0' || strpbrk(op->headers[i].name, "\r\n:; \t") ||
			strpbrk(op->headers[i].value, "\r\n"))
			return mb_fail(err, MB_CONFIG, "header \"%.100s\" cannot be sent", op->headers[i].name);
	if (op->bucket && (op->bucket[0] == '\0' || strchr(op->bucket, '/')))
		return mb_fail(err, MB_CONFIG, "\"%.100s\" is no name of a bucket", op->bucket);
	return MB_OK;
}

void
mb_s3_unbuild(struct mb_s3_attempt *attempt)
{
	/* The session token is among the lines. */
	if (attempt->text.data)
		mb_wipe(attempt->text.data, attempt->text.cap);
	mb_buf_release(&attempt->text);
	mb_buf_release(&attempt->url);
	free(attempt->lines);
	attempt->lines = NULL;
	attempt->line_count = 0;
}

static void
put_host(struct mb_buf *out, const struct mb_s3 *s3, const struct mb_s3_op *op, const char *region)
{
	if (s3->is_virtual && op->bucket)
		mb_buf_printf(out, "%s.", op->bucket);
	if (s3->is_aws)
		mb_buf_printf(out, "s3.%s.amazonaws.com%s", region,
					  mb_starts_with(region, "cn-") ? ".cn" : "");
	else
		mb_buf_put_str(out, s3->host);
}

static void
put_path(struct mb_buf *out, const struct mb_s3 *s3, const struct mb_s3_op *op)
{
	mb_buf_put_str(out, s3->base_path);
	mb_buf_put_str(out, "/");
	if (op->bucket && !s3->is_virtual)
		mb_buf_printf(out, "%s/", op->bucket);
	if (op->key)
		mb_buf_put_str(out, op->key);
}

/* The lines that are signed: "Name: value" each, NUL-terminated behind each other. */
static void
put_lines(struct mb_buf *text, const struct mb_s3_op *op)
{
	size_t i;

	for (i = 0; i < op->header_count; i++)
	{
		const struct mb_header *header = &op->headers[i];

		if (header->value[0])
			mb_buf_printf(text, "%s: %s", header->name, header->value);
		else
			mb_buf_printf(text, "%s;", header->name);
		mb_buf_put_u8(text, '\0');
	}
	if (op->flags & MB_S3_MD5)
	{
		unsigned char md5[MB_MD5_BYTES];

		mb_md5(md5, op->body, op->body_len);
		mb_buf_put_str(text, "content-md5: ");
		mb_base64(text, md5, sizeof(md5));
		mb_buf_put_u8(text, '\0');
	}
}

/* Pointers to the NUL-terminated lines of text; *count of them. */
static char **
split_lines(const struct mb_buf *text, size_t *count)
{
	char **lines;
	size_t i, n = 0;
	char *p = (char *) text->data;

	for (i = 0; i < text->len; i++)
		n += text->data[i] == '\0';
	lines = mb_calloc(n + 1, sizeof(*lines));
	for (i = 0; i < n; i++, p += strlen(p) + 1)
		lines[i] = p;
	*count = n;
	return lines;
}

static int64_t
signing_time_s(const struct mb_s3 *s3)
{
	int64_t now_us = mb_time_now_us();
	int64_t low_us, high_us;

	if (mb_s3_clock(s3, &low_us, &high_us))
	{
		int64_t skew_us = low_us + (high_us - low_us) / 2;

		if (skew_us > TRUSTED_SKEW_US || skew_us < -TRUSTED_SKEW_US)
			now_us += skew_us;
	}
	return now_us / 1000000;
}

/* Sign what stands in attempt->text, and add the lines that make up the signature. */
static void
sign(struct mb_s3_attempt *attempt, const struct mb_s3_keys *keys, const char *host,
	 const char *path)
{
	const struct mb_s3_op *op = attempt->op;
	struct mb_sigv4_identity identity = {(const char *) keys->access_key.data,
										 (const char *) keys->secret_key.data,
										 keys->session_token.len
											 ? (const char *) keys->session_token.data
											 : NULL};
	struct mb_sigv4_request request = {.method = op->method,
									   .host = host,
									   .path = path,
									   .query = op->query,
									   .query_count = op->query_count,
									   .region = attempt->region,
									   .service = "s3",
									   .time_s = signing_time_s(attempt->lane->s3)};
	char hash[2 * MB_SHA256_BYTES + 1] = EMPTY_HASH;
	struct mb_buf lines = {0};
	size_t i;

	if (op->body_hash)
		snprintf(hash, sizeof(hash), "%s", op->body_hash);
	else if (op->body_len)
	{
		unsigned char sum[MB_SHA256_BYTES];

		mb_sha256(sum, op->body, op->body_len);
		mb_hex(hash, sum, sizeof(sum));
	}
	request.payload_hash = hash;
	request.lines = split_lines(&attempt->text, &request.line_count);
	mb_sigv4_sign(&request, &identity, &attempt->lane->key, &lines);
	for (i = 0; i < lines.len; i++)
		if (lines.data[i] == '\n')
			lines.data[i] = '\0';
	mb_buf_put(&attempt->text, lines.data, lines.len);
	mb_wipe(lines.data, lines.cap);
	mb_buf_release(&lines);
	free((void *) request.lines);
}

enum mb_code
mb_s3_build(struct mb_s3_attempt *attempt, struct mb_error *err)
{
	struct mb_s3 *s3 = attempt->lane->s3;
	struct mb_s3_op *op = attempt->op;
	struct mb_s3_keys keys = {0};
	struct mb_buf host = {0}, path = {0};
	enum mb_code code = mb_credentials_get(s3->credentials, &keys, err);

	if (code)
		return code;
	mb_s3_unbuild(attempt);
	pthread_mutex_lock(&s3->lock);
	snprintf(attempt->region, sizeof(attempt->region), "%s", s3->region);
	pthread_mutex_unlock(&s3->lock);
	attempt->keys_serial = keys.serial;
	put_host(&host, s3, op, attempt->region);
	put_path(&path, s3, op);
	put_lines(&attempt->text, op);
	if (keys.access_key.len)
		sign(attempt, &keys, mb_buf_cstr(&host), mb_buf_cstr(&path));
	attempt->lines = split_lines(&attempt->text, &attempt->line_count);
	mb_buf_printf(&attempt->url, "%s://%s", s3->is_tls ? "https" : "http", mb_buf_cstr(&host));
	mb_sigv4_url(&attempt->url, mb_buf_cstr(&path), op->query, op->query_count);

	op->http.method = op->method;
	op->http.url = mb_buf_cstr(&attempt->url);
	op->http.lines = attempt->lines;
	op->http.line_count = attempt->line_count;
	op->http.body = op->body;
	op->http.body_len = op->body_len;
	op->http.sink = op->sink;
	op->http.sink_ctx = op->sink_ctx;
	op->http.max_bytes = op->flags & MB_S3_ENDLESS ? SIZE_MAX
						 : op->max_bytes           ? op->max_bytes
												   : MB_S3_ANSWER_MAX_BYTES;
	op->http.deadline_ms = op->flags & MB_S3_ENDLESS            ? 0
						   : op->deadline_ms || s3->patience_ms ? mb_s3_deadline_ms(s3, op)
																: 0;
	op->http.ctx = attempt;
	mb_s3_keys_release(&keys);
	mb_buf_release(&host);
	mb_buf_release(&path);
	return MB_OK;
}

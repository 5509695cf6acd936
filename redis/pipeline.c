/* pipeline.c - see pipeline.h. */
#include "redis/pipeline.h"

#include <stdlib.h>
#include <string.h>

#define READ_BYTES (64u << 10)
#define NUMBER_BYTES 24 /* of a line that holds a number */
#define MAX_WORDS 16
/* A reply's memory is given back when one was larger than this. */
#define KEEP_BYTES (4u << 20)

void
mb_pipe_release(struct mb_pipe *pipe)
{
	mb_buf_release(&pipe->out);
	mb_buf_release(&pipe->in);
	pipe->at = 0;
}

/* -- commands ------------------------------------------------------------------------------- */

void
mb_pipe_add(struct mb_pipe *pipe, const struct mb_word *words, size_t count)
{
	size_t i;

	mb_buf_printf(&pipe->out, "*%zu\r\n", count);
	for (i = 0; i < count; i++)
	{
		mb_buf_printf(&pipe->out, "$%zu\r\n", words[i].len);
		mb_buf_put(&pipe->out, words[i].data, words[i].len);
		mb_buf_put(&pipe->out, "\r\n", 2);
	}
}

void
mb_pipe_add_texts(struct mb_pipe *pipe, ...)
{
	struct mb_word words[MAX_WORDS];
	const char *text;
	size_t count = 0;
	va_list ap;

	va_start(ap, pipe);
	while ((text = va_arg(ap, const char *)) != NULL)
	{
		MB_ASSERT(count < MAX_WORDS);
		words[count++] = (struct mb_word){text, strlen(text)};
	}
	va_end(ap);
	mb_pipe_add(pipe, words, count);
}

enum mb_code
mb_pipe_flush(struct mb_pipe *pipe, struct mb_error *err)
{
	enum mb_code code = mb_redis_write(pipe->redis, pipe->out.data, pipe->out.len, err);

	if (pipe->out.cap > KEEP_BYTES)
		mb_buf_release(&pipe->out);
	mb_buf_reset(&pipe->out);
	return code;
}

/* -- replies -------------------------------------------------------------------------------- */

static enum mb_code
parse_number(const char *text, size_t len, int64_t max, int64_t *out, struct mb_error *err)
{
	char copy[NUMBER_BYTES], *end = copy;

	if (len > 0 && len < sizeof(copy))
	{
		memcpy(copy, text, len);
		copy[len] = '\0';
		*out = strtoll(copy, &end, 10);
	}
	if (end == copy || *end || *out > max)
		return mb_fail(err, MB_CORRUPT, "Redis gave a number that cannot be read");
	return MB_OK;
}

enum mb_code
mb_pipe_parse(const char *bytes, size_t len, struct mb_pipe_reply *reply, size_t *used,
			  struct mb_error *err)
{
	const char *end = memchr(bytes, '\n', len);
	int64_t number = 0;
	size_t line;

	*used = 0;
	memset(reply, 0, sizeof(*reply));
	if (!end && len < READ_BYTES)
		return MB_OK;
	if (!end || end - bytes < 2 || end[-1] != '\r')
		return mb_fail(err, MB_CORRUPT, "Redis gave a reply that cannot be read");
	line = (size_t) (end - bytes) - 2; /* without the type and the line end */
	*used = line + 3;
	reply->data = bytes + 1;
	reply->len = line;
	switch (bytes[0])
	{
		case '+':
			reply->type = MB_REDIS_STRING;
			return MB_OK;
		case '-':
			reply->type = MB_REDIS_ERROR;
			return MB_OK;
		case ':':
			reply->type = MB_REDIS_INTEGER;
			return parse_number(bytes + 1, line, INT64_MAX, &reply->integer, err);
		case '*':
			reply->type = MB_REDIS_ARRAY;
			if (parse_number(bytes + 1, line, MB_PIPE_MAX_ITEMS, &reply->integer, err))
				return err->code;
			if (reply->integer < 0)
				reply->type = MB_REDIS_NIL;
			return MB_OK;
		case '$':
			if (parse_number(bytes + 1, line, MB_PIPE_MAX_BULK, &number, err))
				return err->code;
			reply->type = number < 0 ? MB_REDIS_NIL : MB_REDIS_STRING;
			if (number < 0)
				return MB_OK;
			reply->data = end + 1;
			reply->len = (size_t) number;
			*used = len - *used >= reply->len + 2 ? *used + reply->len + 2 : 0;
			return MB_OK;
		default:
			return mb_fail(err, MB_CORRUPT, "Redis gave a reply of an unknown type");
	}
}

/* Read up to `want` bytes more, at least one. */
static enum mb_code
read_more(struct mb_pipe *pipe, size_t want, struct mb_error *err)
{
	size_t got = 0;

	mb_buf_reserve(&pipe->in, want);
	if (mb_redis_read(pipe->redis, pipe->in.data + pipe->in.len, want, MB_REDIS_IO_MS, &got, err))
		return err->code;
	if (got == 0)
		return mb_fail(err, MB_UNREACHABLE, "Redis at %s did not answer in %d s",
					   mb_redis_name(pipe->redis), MB_REDIS_IO_MS / 1000);
	pipe->in.len += got;
	return MB_OK;
}

/* Forget what is used up: the bytes of the last reply end with this call. */
static void
drop_used(struct mb_pipe *pipe)
{
	if (pipe->at < pipe->in.len && pipe->at < READ_BYTES)
		return;
	if (pipe->at < pipe->in.len)
		memmove(pipe->in.data, pipe->in.data + pipe->at, pipe->in.len - pipe->at);
	pipe->in.len -= pipe->at;
	pipe->at = 0;
	if (pipe->in.len == 0 && pipe->in.cap > KEEP_BYTES)
		mb_buf_release(&pipe->in);
}

/* How much to read for a reply that is not complete: of a string its length is known. */
static size_t
missing(const struct mb_pipe *pipe, const struct mb_pipe_reply *reply)
{
	const char *end = (const char *) pipe->in.data + pipe->in.len;
	size_t want = 0;

	if (reply->type == MB_REDIS_STRING)
		want = reply->len + 2 - (size_t) (end - reply->data);
	return want > READ_BYTES ? want : READ_BYTES;
}

enum mb_code
mb_pipe_reply(struct mb_pipe *pipe, struct mb_pipe_reply *reply, struct mb_error *err)
{
	size_t used = 0;

	drop_used(pipe);
	memset(reply, 0, sizeof(*reply));
	for (;;)
	{
		if (pipe->in.len > pipe->at && mb_pipe_parse((const char *) pipe->in.data + pipe->at,
													 pipe->in.len - pipe->at, reply, &used, err))
			return err->code;
		if (used > 0)
			break;
		if (read_more(pipe, missing(pipe, reply), err))
			return err->code;
	}
	pipe->at += used;
	return MB_OK;
}

enum mb_code
mb_pipe_expect(struct mb_pipe *pipe, const char *command, struct mb_pipe_reply *reply,
			   struct mb_error *err)
{
	struct mb_redis_reply error = {.type = MB_REDIS_ERROR};
	enum mb_code code = mb_pipe_reply(pipe, reply, err);

	if (code || reply->type != MB_REDIS_ERROR)
		return code;
	error.text = mb_strndup(reply->data, reply->len);
	code = mb_redis_reply_fail(&error, command, err);
	free(error.text);
	if (code == MB_DENIED)
		mb_error_hint(err, "docs/redis.md lists the rights that a restore into a running server "
						   "needs.");
	return code;
}

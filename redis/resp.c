/* resp.c - see resp.h. */
#include "redis/resp.h"

#include <string.h>
#include <strings.h>

#include "core/base/mem.h"

void
mb_resp_init(struct mb_resp *resp, uint64_t offset, int64_t db, bool in_multi)
{
	memset(resp, 0, sizeof(*resp));
	resp->offset = resp->command = resp->last_write = offset;
	resp->boundary = offset;
	resp->db = db;
	resp->in_multi = in_multi;
}

bool
mb_resp_at_boundary(const struct mb_resp *resp)
{
	return resp->offset == resp->command && !resp->in_multi;
}

static enum mb_code
fail_at(const struct mb_resp *resp, const char *what, struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "the replication stream is damaged at offset %llu: %s",
				   (unsigned long long) resp->offset, what);
}

/* A decimal number without sign or leading zero games, as servers write it. */
static bool
parse_decimal(const char *text, size_t len, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	size_t i;

	if (len == 0 || len > 19)
		return false;
	for (i = 0; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t) (text[i] - '0');
	}
	*out = value;
	return value <= max;
}

static bool
name_is(const struct mb_resp *resp, const char *name)
{
	size_t len = strlen(name);

	return resp->name_len[0] == len && strncasecmp(resp->name[0], name, len) == 0;
}

static enum mb_resp_kind
classify(const struct mb_resp *resp)
{
	/* Names come in any case: GEOADD is rewritten to a lower-case zadd. */
	if (name_is(resp, "SELECT"))
		return MB_RESP_SELECT;
	if (name_is(resp, "MULTI"))
		return MB_RESP_MULTI;
	if (name_is(resp, "EXEC") || name_is(resp, "DISCARD"))
		return MB_RESP_EXEC;
	if (name_is(resp, "PING") || name_is(resp, "REPLCONF") || name_is(resp, "PUBLISH") ||
		name_is(resp, "SPUBLISH"))
		return MB_RESP_NOISE;
	return MB_RESP_WRITE;
}

static enum mb_code
end_command(struct mb_resp *resp, struct mb_error *err)
{
	enum mb_resp_kind kind = classify(resp);
	uint64_t db;

	switch (kind)
	{
		case MB_RESP_SELECT:
			if (resp->arg != 2 || resp->name_len[1] > MB_RESP_NAME ||
				!parse_decimal(resp->name[1], resp->name_len[1], INT32_MAX, &db))
				return fail_at(resp, "a SELECT without a database number", err);
			resp->db = (int64_t) db;
			break;
		case MB_RESP_MULTI:
			if (resp->in_multi)
				return fail_at(resp, "MULTI inside MULTI", err);
			resp->in_multi = true;
			break;
		case MB_RESP_EXEC:
			if (!resp->in_multi)
				return fail_at(resp, "EXEC without MULTI", err);
			resp->in_multi = false;
			break;
		case MB_RESP_WRITE:
		case MB_RESP_NOISE:
			break;
	}
	resp->commands++;
	resp->command = resp->offset;
	if (!resp->in_multi)
		resp->boundary = resp->offset;
	if (kind != MB_RESP_NOISE)
		resp->last_write = resp->offset;
	resp->phase = MB_RESP_COMMAND;
	return MB_OK;
}

static enum mb_code
end_header(struct mb_resp *resp, struct mb_error *err)
{
	char expected = resp->phase == MB_RESP_COMMAND ? '*' : '$';
	uint64_t max = resp->phase == MB_RESP_COMMAND ? MB_RESP_MAX_ARGS : MB_RESP_MAX_BULK;
	uint64_t value;

	if (resp->line[0] != expected ||
		!parse_decimal(resp->line + 1, resp->line_len - 1, max, &value))
		return fail_at(resp, "a bad length", err);
	resp->line_len = 0;
	if (resp->phase == MB_RESP_COMMAND)
	{
		if (value == 0)
			return fail_at(resp, "an empty command", err);
		resp->args_left = value;
		resp->arg = 0;
		resp->name_len[0] = resp->name_len[1] = 0;
		resp->phase = MB_RESP_LENGTH;
		return MB_OK;
	}
	if (resp->arg < 2)
		resp->name_len[resp->arg] = value;
	resp->body_left = value + 2;
	resp->phase = MB_RESP_BODY;
	return MB_OK;
}

/* One byte of a header line. */
static enum mb_code
header_byte(struct mb_resp *resp, char c, struct mb_error *err)
{
	bool after_cr = resp->line_len > 0 && resp->line[resp->line_len - 1] == '\r';

	if (resp->line_len == 0 && c != (resp->phase == MB_RESP_COMMAND ? '*' : '$'))
		return fail_at(resp, "no command starts here", err);
	resp->offset++;
	if (after_cr)
	{
		if (c != '\n')
			return fail_at(resp, "a carriage return without a line feed", err);
		resp->line_len--;
		return end_header(resp, err);
	}
	if (resp->line_len == sizeof(resp->line))
		return fail_at(resp, "a length line without end", err);
	resp->line[resp->line_len++] = c;
	return MB_OK;
}

/* As much of a body as there is; *used of len bytes. */
static enum mb_code
body_bytes(struct mb_resp *resp, const char *data, size_t len, size_t *used, struct mb_error *err)
{
	size_t n = 0;

	if (resp->body_left > 2)
	{
		n = resp->body_left - 2 < len ? (size_t) (resp->body_left - 2) : len;
		if (resp->arg < 2)
		{
			uint64_t at = resp->name_len[resp->arg] - (resp->body_left - 2);

			if (at < MB_RESP_NAME)
				memcpy(resp->name[resp->arg] + at, data,
					   n < MB_RESP_NAME - at ? n : (size_t) (MB_RESP_NAME - at));
		}
	}
	else
	{
		if (*data != (resp->body_left == 2 ? '\r' : '\n'))
			return fail_at(resp, "an argument that is longer than it says", err);
		n = 1;
	}
	resp->body_left -= n;
	resp->offset += n;
	*used = n;
	if (resp->body_left > 0)
		return MB_OK;
	resp->arg++;
	resp->phase = MB_RESP_LENGTH;
	return --resp->args_left == 0 ? end_command(resp, err) : MB_OK;
}

enum mb_code
mb_resp_feed(struct mb_resp *resp, const void *data, size_t len, struct mb_error *err)
{
	const char *p = data, *end = p + len;

	while (p < end)
	{
		size_t used = 1;
		enum mb_code code = resp->phase == MB_RESP_BODY
								? body_bytes(resp, p, (size_t) (end - p), &used, err)
								: header_byte(resp, *p, err);

		if (code)
			return code;
		p += used;
	}
	return MB_OK;
}

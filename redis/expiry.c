/* expiry.c - see expiry.h. */
#include "redis/expiry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "redis/rdb_shift.h"

#define OUT_BYTES (64u << 10)
#define MAX_ARGS INT32_MAX
#define MAX_BULK (INT64_C(1) << 40)

void
mb_expiry_release(struct mb_expiry *expiry)
{
	mb_buf_release(&expiry->buf);
}

static enum mb_code
hand_on(struct mb_expiry *expiry, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (expiry->buf.len > 0)
		code = expiry->fn(expiry->ctx, expiry->buf.data, expiry->buf.len, err);
	mb_buf_reset(&expiry->buf);
	return code;
}

static enum mb_code
put(struct mb_expiry *expiry, const void *data, size_t len, struct mb_error *err)
{
	mb_buf_put(&expiry->buf, data, len);
	expiry->out += len;
	return expiry->buf.len < OUT_BYTES ? MB_OK : hand_on(expiry, err);
}

static bool
is_word(const struct mb_expiry *expiry, const char *word)
{
	size_t len = strlen(word);

	return expiry->body_len == len && strncasecmp(expiry->word, word, len) == 0;
}

/* -- what an argument means ------------------------------------------------------------------ */

static void
begin_command(struct mb_expiry *expiry)
{
	static const struct
	{
		const char *name;
		enum mb_expiry_command command;
	} names[] = {{"SET", MB_EXPIRY_SET},
				 {"GETEX", MB_EXPIRY_GETEX},
				 {"PEXPIREAT", MB_EXPIRY_AT_MS},
				 {"RESTORE", MB_EXPIRY_AT_MS},
				 {"RESTORE-ASKING", MB_EXPIRY_AT_MS},
				 {"EXPIREAT", MB_EXPIRY_AT_S}};
	size_t i;

	expiry->command = MB_EXPIRY_OTHER;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is_word(expiry, names[i].name))
			expiry->command = names[i].command;
	expiry->opens = is_word(expiry, "MULTI");
	expiry->closes = is_word(expiry, "EXEC") || is_word(expiry, "DISCARD");
}

/* An argument that is no time has passed by: is the next one? */
static void
look_at_argument(struct mb_expiry *expiry)
{
	uint64_t first = expiry->command == MB_EXPIRY_SET ? 3 : 2; /* option */

	if (expiry->arg == 0)
		begin_command(expiry);
	expiry->next_unit = 0;
	switch (expiry->command)
	{
		case MB_EXPIRY_AT_MS:
		case MB_EXPIRY_AT_S:
			if (expiry->arg == 1)
				expiry->next_unit = expiry->command == MB_EXPIRY_AT_MS ? 1 : 1000;
			return;
		case MB_EXPIRY_SET:
		case MB_EXPIRY_GETEX:
			if (expiry->arg >= first && is_word(expiry, "PXAT"))
				expiry->next_unit = 1;
			else if (expiry->arg >= first && is_word(expiry, "EXAT"))
				expiry->next_unit = 1000;
			return;
		case MB_EXPIRY_OTHER:
			return;
	}
}

/* The whole argument is in word: in its place goes the moved time. */
static enum mb_code
put_time(struct mb_expiry *expiry, struct mb_error *err)
{
	char text[MB_EXPIRY_WORD], head[MB_EXPIRY_WORD], *end;
	int64_t at, by = expiry->shift_ms;
	size_t len = (size_t) expiry->body_len;

	expiry->word[len] = '\0'; /* over its CR */
	at = strtoll(expiry->word, &end, 10);
	if (len > 0 && end == expiry->word + len && at > 0)
	{
		by = expiry->unit == 1 ? by : (by + 999) / 1000;
		len = (size_t) snprintf(text, sizeof(text), "%" PRId64, mb_expiry_moved(at, by));
		expiry->moved++;
	}
	else
		/* 0 of a RESTORE; what is no number is for the server to refuse. */
		memcpy(text, expiry->word, len);
	if (put(expiry, head, (size_t) snprintf(head, sizeof(head), "$%zu\r\n", len), err) ||
		put(expiry, text, len, err))
		return err->code;
	return put(expiry, "\r\n", 2, err);
}

/* -- the walk -------------------------------------------------------------------------------- */

static enum mb_code
corrupt(struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "the stored stream is no sequence of commands");
}

static void
end_command(struct mb_expiry *expiry)
{
	expiry->in_multi = (expiry->in_multi || expiry->opens) && !expiry->closes;
	expiry->opens = expiry->closes = false;
	if (!expiry->in_multi)
		expiry->boundary = expiry->out;
}

static enum mb_code
end_argument(struct mb_expiry *expiry, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (expiry->unit)
		code = put_time(expiry, err);
	if (expiry->unit)
		expiry->next_unit = 0;
	else
		look_at_argument(expiry);
	expiry->in_body = false;
	expiry->arg++;
	if (--expiry->args_left == 0)
		end_command(expiry);
	return code;
}

/* A header without its CR LF. */
static enum mb_code
end_line(struct mb_expiry *expiry, struct mb_error *err)
{
	int64_t number;
	char *end;

	expiry->line[expiry->line_len] = '\0';
	number = strtoll(expiry->line + 1, &end, 10);
	if (expiry->line_len < 2 || *end || number < 0)
		return corrupt(err);
	if (expiry->args_left == 0)
	{
		if (expiry->line[0] != '*' || number == 0 || number > MAX_ARGS)
			return corrupt(err);
		expiry->args_left = (uint64_t) number;
		expiry->arg = 0;
		expiry->next_unit = 0;
	}
	else
	{
		if (expiry->line[0] != '$' || number > MAX_BULK)
			return corrupt(err);
		expiry->body_len = (uint64_t) number;
		expiry->body_left = expiry->body_len + 2;
		expiry->word_len = 0;
		/* A number that is too long is none. */
		expiry->unit = number < MB_EXPIRY_WORD - 1 ? expiry->next_unit : 0;
		expiry->in_body = true;
		if (expiry->unit)
			return MB_OK; /* its header goes out with it */
	}
	if (put(expiry, expiry->line, expiry->line_len, err))
		return err->code;
	return put(expiry, "\r\n", 2, err);
}

static enum mb_code
take_line(struct mb_expiry *expiry, const char *p, size_t len, size_t *used, struct mb_error *err)
{
	enum mb_code code;
	bool ended = false;

	for (*used = 0; *used < len && !ended; ++*used)
	{
		if (expiry->line_len == sizeof(expiry->line))
			return corrupt(err);
		expiry->line[expiry->line_len++] = p[*used];
		ended = expiry->line_len >= 2 && expiry->line[expiry->line_len - 1] == '\n' &&
				expiry->line[expiry->line_len - 2] == '\r';
	}
	if (!ended)
		return MB_OK;
	expiry->line_len -= 2;
	code = end_line(expiry, err);
	expiry->line_len = 0;
	return code;
}

static enum mb_code
take_body(struct mb_expiry *expiry, const char *p, size_t len, size_t *used, struct mb_error *err)
{
	size_t n = len < expiry->body_left ? len : (size_t) expiry->body_left;
	size_t room = sizeof(expiry->word) - expiry->word_len;

	*used = n;
	memcpy(expiry->word + expiry->word_len, p, n < room ? n : room);
	expiry->word_len += n < room ? n : room;
	expiry->body_left -= n;
	if (!expiry->unit && put(expiry, p, n, err))
		return err->code;
	return expiry->body_left == 0 ? end_argument(expiry, err) : MB_OK;
}

enum mb_code
mb_expiry_feed(struct mb_expiry *expiry, const void *data, size_t len, struct mb_error *err)
{
	const char *p = data;
	enum mb_code code = MB_OK;
	size_t used;

	for (; !code && len > 0; p += used, len -= used)
		code = expiry->in_body ? take_body(expiry, p, len, &used, err)
							   : take_line(expiry, p, len, &used, err);
	return code ? code : hand_on(expiry, err);
}

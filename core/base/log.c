/* log.c - see log.h. */
#include "core/base/log.h"

#include <stdio.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/time.h"

static const char *const level_names[] = {"error", "warning", "info", "debug"};

/* Length of the valid UTF-8 sequence at s (1 to 4), or 0. */
static size_t
utf8_len(const unsigned char *s)
{
	static const unsigned min_code[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80       ? 1
				 : s[0] >> 5 == 6  ? 2
				 : s[0] >> 4 == 14 ? 3
				 : s[0] >> 3 == 30 ? 4
								   : 0;
	unsigned code;
	size_t i;

	if (len <= 1)
		return len;
	code = s[0] & (0xFFu >> (len + 1));
	for (i = 1; i < len; i++)
	{
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3F);
	}
	if (code < min_code[len] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		return 0;
	return len;
}

void
mb_json_quote(struct mb_buf *out, const char *s)
{
	const unsigned char *p = (const unsigned char *) s;

	mb_buf_put_u8(out, '"');
	while (*p)
	{
		size_t len = utf8_len(p);

		if (len == 0)
		{
			mb_buf_put_str(out, "\xEF\xBF\xBD");
			p++;
		}
		else if (*p == '"' || *p == '\\')
		{
			mb_buf_put_u8(out, '\\');
			mb_buf_put_u8(out, *p++);
		}
		else if (*p < 0x20)
			mb_buf_printf(out, "\\u%04x", *p++);
		else
		{
			mb_buf_put(out, p, len);
			p += len;
		}
	}
	mb_buf_put_u8(out, '"');
}

void
mb_log(const struct mb_log *log, enum mb_log_level level, const char *fmt, ...)
{
	char text[2048];
	char when[MB_TIME_TEXT];
	struct mb_buf line = {0};
	va_list ap;

	if (!log || level > log->level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mb_time_format(when, mb_time_now_us());
	if (log->before)
		mb_buf_put_str(&line, log->before);
	if (log->format == MB_LOG_JSON)
	{
		mb_buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", when,
					  level_names[level]);
		mb_json_quote(&line, text);
		mb_buf_put_str(&line, "}\n");
	}
	else
		mb_buf_printf(&line, "%s %s: %s\n", when, level_names[level], text);
	/* There is nobody to tell when stderr itself is gone. */
	if (write(log->fd, line.data, line.len) < 0)
	{
	}
	mb_buf_release(&line);
}

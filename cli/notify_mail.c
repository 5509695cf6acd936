/*
 * notify_mail.c - a message as mail (RFC 5322), for sendmail -t -i.
 *
 * The subject has words of servers in it: whatever is not plain ASCII is encoded (RFC 2047), and
 * no header has a control character, so that none can begin another header.
 */
#include <string.h>
#include <time.h>

#include "cli/notify.h"

#define WORD_BYTES 45 /* 60 of base64; an encoded word has 75 at most */
#define LINE_MAX_CHARS 74

/* A value without anything that could end its line. */
static void
put_value(struct mb_buf *out, const char *text)
{
	for (; *text; text++)
		mb_buf_put_u8(out, (unsigned char) *text < 32 || *text == 127 ? ' ' : (uint8_t) *text);
}

static bool
is_plain(const char *text)
{
	const char *p;

	for (p = text; *p; p++)
		if (*p < 32 || *p > 126)
			return false;
	return !strstr(text, "=?");
}

static void
put_subject(struct mb_buf *out, const char *text)
{
	size_t left = strlen(text), len;
	struct mb_buf clean = {0};
	const char *p;

	mb_buf_put_str(out, "Subject: ");
	if (is_plain(text))
	{
		mb_buf_printf(out, "%s\n", text);
		return;
	}
	put_value(&clean, text);
	for (p = mb_buf_cstr(&clean); left > 0; p += len, left -= len)
	{
		len = left < WORD_BYTES ? left : WORD_BYTES;
		/* A character is not split between two words (RFC 2047, 5). */
		while (len < left && len > WORD_BYTES - 4 && ((unsigned char) p[len] & 0xc0) == 0x80)
			len--;
		mb_buf_put_str(out, "=?UTF-8?B?");
		mb_base64(out, p, len);
		mb_buf_put_str(out, len < left ? "?=\n " : "?=\n");
	}
	mb_buf_release(&clean);
}

/* Quoted-printable (RFC 2045, 6.7). */
static void
put_body(struct mb_buf *out, const char *text)
{
	size_t column = 0;
	const char *p;

	for (p = text; *p; p++)
	{
		unsigned char c = (unsigned char) *p;
		bool is_last_space = c == ' ' && (p[1] == '\n' || p[1] == '\0');
		bool is_quoted = c < 32 || c > 126 || c == '=' || is_last_space;

		if (c == '\n')
		{
			mb_buf_put_u8(out, c);
			column = 0;
			continue;
		}
		if (column + (is_quoted ? 3 : 1) > LINE_MAX_CHARS)
		{
			mb_buf_put_str(out, "=\n");
			column = 0;
		}
		if (is_quoted)
			mb_buf_printf(out, "=%02X", c);
		else
			mb_buf_put_u8(out, c);
		column += is_quoted ? 3 : 1;
	}
}

void
notify_mail(struct mb_buf *out, const char *to, const json_t *message, int64_t now_us)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
										 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t seconds = (time_t) (now_us / 1000000);
	struct mb_buf summary = {0}, text = {0};
	struct tm tm;

	gmtime_r(&seconds, &tm);
	notify_summary(&summary, message);
	notify_text(&text, message);
	mb_buf_put_str(out, "To: ");
	put_value(out, to);
	mb_buf_put_str(out, "\n");
	put_subject(out, mb_buf_cstr(&summary));
	mb_buf_printf(out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\n", days[tm.tm_wday], tm.tm_mday,
				  months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	mb_buf_put_str(out, "Message-ID: <");
	put_value(out, mb_json_str(message, "id", "0"));
	mb_buf_put_str(out, "@mbackup>\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"
						"Content-Type: text/plain; charset=utf-8\n"
						"Content-Transfer-Encoding: quoted-printable\n\n");
	put_body(out, mb_buf_cstr(&text));
	mb_buf_release(&summary);
	mb_buf_release(&text);
}

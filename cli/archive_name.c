/* archive_name.c - see archive_name.h. */
#include "cli/archive_name.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/repo/crypto.h"

#define SEGMENT_MAX 255
#define LONG_PREFIX "%long/"

/* Length of the UTF-8 character at p, 0 when it is none. */
static size_t
utf8_len(const unsigned char *p, size_t left)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
	uint32_t c = len == 1 ? p[0] : p[0] & (0x7Fu >> len);
	size_t i;

	if (len == 1)
		return 1;
	if (p[0] < 0xC2 || p[0] > 0xF4 || len > left)
		return 0;
	for (i = 1; i < len; i++)
	{
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3F);
	}
	if ((len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10FFFF)) ||
		(c >= 0xD800 && c <= 0xDFFF))
		return 0;
	return len;
}

static bool
is_hex_pair(const char *p, size_t left)
{
	return left >= 2 && isxdigit((unsigned char) p[0]) && isxdigit((unsigned char) p[1]);
}

/* Is the segment that begins here "." or ".."? */
static bool
is_dots(const char *p, size_t left)
{
	size_t len = 0;

	while (len < left && p[len] != '/')
		len++;
	return (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.');
}

/* Is the slash at this place written as one? */
static bool
stays_slash(const char *text, size_t len, size_t at, unsigned flags,
			const struct archive_keys *keys)
{
	size_t i;

	if ((flags & ARCHIVE_NAME_SEGMENT) || at == 0 || at + 1 == len || text[at + 1] == '/')
		return false;
	for (i = 0; keys && i < keys->count; i++)
		if (keys->prefixes[i] == at)
			return false;
	return true;
}

static void
put_hex(struct mb_buf *out, unsigned char byte)
{
	mb_buf_printf(out, "%%%02X", byte);
}

static void
encode(struct mb_buf *out, const char *text, size_t len, unsigned flags,
	   const struct archive_keys *keys)
{
	size_t begin = out->len, segment = out->len, longest = 0, i = 0, n;
	bool dots = is_dots(text, len);

	while (i < len)
	{
		unsigned char byte = (unsigned char) text[i];

		n = utf8_len((const unsigned char *) text + i, len - i);
		if (byte == '/' && stays_slash(text, len, i, flags, keys))
		{
			mb_buf_put_u8(out, '/');
			segment = out->len;
			dots = is_dots(text + i + 1, len - i - 1);
		}
		else if (n == 0 || byte == '/' || byte == '\\' || byte < 0x20 || byte == 0x7F ||
				 (byte == '.' && dots) ||
				 (byte == '%' && (is_hex_pair(text + i + 1, len - i - 1) ||
								  (i == 0 && len >= strlen(LONG_PREFIX) &&
								   memcmp(text, LONG_PREFIX, strlen(LONG_PREFIX)) == 0))))
		{
			put_hex(out, byte);
			n = 1;
		}
		else
			mb_buf_put(out, text + i, n);
		if (out->len - segment > longest)
			longest = out->len - segment;
		i += n;
	}
	if (longest > SEGMENT_MAX)
	{
		unsigned char sum[MB_SHA256_BYTES];
		char hex[2 * MB_SHA256_BYTES + 1];

		mb_sha256(sum, text, len);
		mb_hex(hex, sum, sizeof(sum));
		out->len = begin;
		mb_buf_put_str(out, LONG_PREFIX);
		mb_buf_put_str(out, hex);
	}
}

void
archive_name_encode(struct mb_buf *out, const char *text, size_t len, unsigned flags)
{
	encode(out, text, len, flags, NULL);
}

void
archive_keys_encode(struct archive_keys *keys, struct mb_buf *out, const char *key, size_t len)
{
	size_t same = 0;

	while (same < len && same < keys->last.len &&
		   keys->last.data[same] == (unsigned char) key[same])
		same++;
	/* Only what this key begins with can be in its way. */
	while (keys->count > 0 && keys->prefixes[keys->count - 1] > same)
		keys->count--;
	encode(out, key, len, 0, keys);
	keys->prefixes = mb_grow(keys->prefixes, &keys->cap, keys->count + 1, sizeof(*keys->prefixes));
	keys->prefixes[keys->count++] = len;
	mb_buf_reset(&keys->last);
	mb_buf_put(&keys->last, key, len);
}

void
archive_keys_release(struct archive_keys *keys)
{
	mb_buf_release(&keys->last);
	free(keys->prefixes);
	memset(keys, 0, sizeof(*keys));
}

static unsigned
hex_digit(char c)
{
	return (unsigned) mb_hex_digit((char) tolower((unsigned char) c));
}

bool
archive_name_decode(struct mb_buf *out, const char *name)
{
	size_t len = strlen(name), i;

	if (mb_starts_with(name, LONG_PREFIX))
		return false;
	for (i = 0; i < len; i++)
		if (name[i] == '%' && is_hex_pair(name + i + 1, len - i - 1))
		{
			unsigned byte = hex_digit(name[i + 1]) << 4 | hex_digit(name[i + 2]);

			if (byte == 0)
				return false;
			mb_buf_put_u8(out, (uint8_t) byte);
			i += 2;
		}
		else
			mb_buf_put_u8(out, (uint8_t) name[i]);
	return true;
}

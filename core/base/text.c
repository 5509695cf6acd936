/* text.c - see mem.h: hexadecimal and base 64, beginnings and ends, the nearest word. */
#include "core/base/mem.h"

#include <string.h>

void
mb_hex(char *out, const unsigned char *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < len; i++)
	{
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * len] = '\0';
}

int
mb_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool
mb_unhex(unsigned char *out, const char *hex, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
	{
		int hi = mb_hex_digit(hex[2 * i]);
		int lo = hi < 0 ? -1 : mb_hex_digit(hex[2 * i + 1]);

		if (lo < 0)
			return false;
		out[i] = (unsigned char) (hi << 4 | lo);
	}
	return hex[2 * len] == '\0';
}

void
mb_base64(struct mb_buf *out, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = data;
	size_t i;

	for (i = 0; i < len; i += 3)
	{
		uint32_t v = (uint32_t) p[i] << 16 | (i + 1 < len ? (uint32_t) p[i + 1] << 8 : 0) |
					 (i + 2 < len ? p[i + 2] : 0);

		mb_buf_put_u8(out, (uint8_t) digits[v >> 18]);
		mb_buf_put_u8(out, (uint8_t) digits[v >> 12 & 63]);
		mb_buf_put_u8(out, i + 1 < len ? (uint8_t) digits[v >> 6 & 63] : '=');
		mb_buf_put_u8(out, i + 2 < len ? (uint8_t) digits[v & 63] : '=');
	}
}

bool
mb_starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool
mb_ends_with(const char *s, const char *suffix)
{
	size_t s_len = strlen(s);
	size_t suffix_len = strlen(suffix);

	return s_len >= suffix_len && strcmp(s + s_len - suffix_len, suffix) == 0;
}

unsigned
mb_distance(const char *a, const char *b)
{
	unsigned row[64];
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);
	size_t i, j;

	if (a_len > 63 || b_len > 63)
		return 1000;
	for (j = 0; j <= b_len; j++)
		row[j] = (unsigned) j;
	for (i = 1; i <= a_len; i++)
	{
		unsigned diagonal = row[0];

		row[0] = (unsigned) i;
		for (j = 1; j <= b_len; j++)
		{
			unsigned substitute = diagonal + (a[i - 1] != b[j - 1]);
			unsigned best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

			diagonal = row[j];
			row[j] = best < substitute ? best : substitute;
		}
	}
	return row[b_len];
}

void
mb_nearest_try(struct mb_nearest *nearest, const char *candidate)
{
	unsigned distance = mb_distance(nearest->word, candidate);

	if (distance < 4 && (!nearest->best || distance < nearest->distance))
	{
		nearest->best = candidate;
		nearest->distance = distance;
	}
}

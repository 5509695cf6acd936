/* mem.c - see mem.h. */
#include "core/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

void *
mb_malloc(size_t len_bytes)
{
	void *p = malloc(len_bytes ? len_bytes : 1);

	if (!p)
		MB_BUG("out of memory (%zu bytes)", len_bytes);
	return p;
}

void *
mb_calloc(size_t count, size_t size_bytes)
{
	void *p = calloc(count ? count : 1, size_bytes ? size_bytes : 1);

	if (!p)
		MB_BUG("out of memory (%zu x %zu bytes)", count, size_bytes);
	return p;
}

void *
mb_realloc(void *old, size_t len_bytes)
{
	void *p = realloc(old, len_bytes ? len_bytes : 1);

	if (!p)
		MB_BUG("out of memory (%zu bytes)", len_bytes);
	return p;
}

char *
mb_strdup(const char *s)
{
	return mb_strndup(s, strlen(s));
}

char *
mb_strndup(const char *s, size_t len_bytes)
{
	char *p = mb_malloc(len_bytes + 1);

	memcpy(p, s, len_bytes);
	p[len_bytes] = '\0';
	return p;
}

char *
mb_asprintf(const char *fmt, ...)
{
	va_list ap;
	char *out = NULL;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&out, fmt, ap);
	va_end(ap);
	if (len < 0)
		MB_BUG("out of memory");
	return out;
}

void *
mb_grow(void *p, size_t *cap, size_t want, size_t size_bytes)
{
	size_t new_cap = *cap ? *cap : 16;

	if (want <= *cap)
		return p;
	while (new_cap < want)
		new_cap *= 2;
	if (new_cap > SIZE_MAX / size_bytes)
		MB_BUG("array of %zu elements is too large", want);
	*cap = new_cap;
	return mb_realloc(p, new_cap * size_bytes);
}

void
mb_buf_release(struct mb_buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}

void
mb_buf_reset(struct mb_buf *buf)
{
	buf->len = 0;
}

void
mb_buf_reserve(struct mb_buf *buf, size_t more_bytes)
{
	buf->data = mb_grow(buf->data, &buf->cap, buf->len + more_bytes, 1);
}

void
mb_buf_put(struct mb_buf *buf, const void *data, size_t len)
{
	if (len == 0)
		return;
	mb_buf_reserve(buf, len);
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}

void
mb_buf_put_str(struct mb_buf *buf, const char *s)
{
	mb_buf_put(buf, s, strlen(s));
}

void
mb_buf_printf(struct mb_buf *buf, const char *fmt, ...)
{
	size_t room = buf->cap - buf->len;
	va_list ap;
	int need;

	va_start(ap, fmt);
	need = vsnprintf(room ? (char *) buf->data + buf->len : NULL, room, fmt, ap);
	va_end(ap);
	MB_ASSERT(need >= 0);
	if ((size_t) need >= room)
	{
		mb_buf_reserve(buf, (size_t) need + 1);
		va_start(ap, fmt);
		vsnprintf((char *) buf->data + buf->len, (size_t) need + 1, fmt, ap);
		va_end(ap);
	}
	buf->len += (size_t) need;
}

void
mb_buf_put_u8(struct mb_buf *buf, uint8_t v)
{
	mb_buf_reserve(buf, 1);
	buf->data[buf->len++] = v;
}

void
mb_buf_put_u16(struct mb_buf *buf, uint16_t v)
{
	unsigned char b[2];

	mb_set_u16(b, v);
	mb_buf_put(buf, b, sizeof(b));
}

void
mb_buf_put_u32(struct mb_buf *buf, uint32_t v)
{
	unsigned char b[4];

	mb_set_u32(b, v);
	mb_buf_put(buf, b, sizeof(b));
}

void
mb_buf_put_u64(struct mb_buf *buf, uint64_t v)
{
	unsigned char b[8];

	mb_set_u64(b, v);
	mb_buf_put(buf, b, sizeof(b));
}

const char *
mb_buf_cstr(struct mb_buf *buf)
{
	mb_buf_reserve(buf, 1);
	buf->data[buf->len] = '\0';
	return (const char *) buf->data;
}

size_t
mb_rd_left(const struct mb_rd *rd)
{
	return (size_t) (rd->end - rd->p);
}

const unsigned char *
mb_rd_bytes(struct mb_rd *rd, size_t len)
{
	const unsigned char *p = rd->p;

	if (rd->bad || mb_rd_left(rd) < len)
	{
		rd->bad = true;
		return NULL;
	}
	rd->p += len;
	return p;
}

uint8_t
mb_rd_u8(struct mb_rd *rd)
{
	const unsigned char *p = mb_rd_bytes(rd, 1);

	return p ? *p : 0;
}

uint16_t
mb_rd_u16(struct mb_rd *rd)
{
	const unsigned char *p = mb_rd_bytes(rd, 2);

	return p ? mb_get_u16(p) : 0;
}

uint32_t
mb_rd_u32(struct mb_rd *rd)
{
	const unsigned char *p = mb_rd_bytes(rd, 4);

	return p ? mb_get_u32(p) : 0;
}

uint64_t
mb_rd_u64(struct mb_rd *rd)
{
	const unsigned char *p = mb_rd_bytes(rd, 8);

	return p ? mb_get_u64(p) : 0;
}

uint64_t
mb_rd_u64_be(struct mb_rd *rd)
{
	return __builtin_bswap64(mb_rd_u64(rd));
}

uint16_t
mb_get_u16(const unsigned char *p)
{
	return (uint16_t) (p[0] | p[1] << 8);
}

uint32_t
mb_get_u32(const unsigned char *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

uint64_t
mb_get_u64(const unsigned char *p)
{
	return (uint64_t) mb_get_u32(p) | (uint64_t) mb_get_u32(p + 4) << 32;
}

void
mb_set_u16(unsigned char *p, uint16_t v)
{
	p[0] = (unsigned char) v;
	p[1] = (unsigned char) (v >> 8);
}

void
mb_set_u32(unsigned char *p, uint32_t v)
{
	mb_set_u16(p, (uint16_t) v);
	mb_set_u16(p + 2, (uint16_t) (v >> 16));
}

void
mb_set_u64(unsigned char *p, uint64_t v)
{
	mb_set_u32(p, (uint32_t) v);
	mb_set_u32(p + 4, (uint32_t) (v >> 32));
}

struct mb_arena_block
{
	struct mb_arena_block *next;
	size_t used;
	size_t cap;
	_Alignas(16) unsigned char data[];
};

void *
mb_arena_alloc(struct mb_arena *arena, size_t len_bytes)
{
	struct mb_arena_block *block = arena->head;
	size_t len = (len_bytes + 15) & ~(size_t) 15;
	void *p;

	if (!block || block->cap - block->used < len)
	{
		size_t cap = len > 65536 ? len : 65536;

		block = mb_malloc(sizeof(*block) + cap);
		block->next = arena->head;
		block->used = 0;
		block->cap = cap;
		arena->head = block;
		arena->total_bytes += sizeof(*block) + cap;
	}
	p = block->data + block->used;
	block->used += len;
	memset(p, 0, len);
	return p;
}

void *
mb_arena_copy(struct mb_arena *arena, const void *data, size_t len_bytes)
{
	void *p = mb_arena_alloc(arena, len_bytes);

	if (len_bytes)
		memcpy(p, data, len_bytes);
	return p;
}

char *
mb_arena_strdup(struct mb_arena *arena, const char *s)
{
	return mb_arena_copy(arena, s, strlen(s) + 1);
}

void
mb_arena_release(struct mb_arena *arena)
{
	struct mb_arena_block *block = arena->head;

	while (block)
	{
		struct mb_arena_block *next = block->next;

		free(block);
		block = next;
	}
	memset(arena, 0, sizeof(*arena));
}

/* Secrets get whole pages of their own, so that they can be locked and kept out of core files. */
static size_t
secret_map_bytes(size_t len)
{
	return (len + 1 + 4095) & ~(size_t) 4095;
}

void
mb_secret_set(struct mb_secret *secret, const void *data, size_t len)
{
	size_t map_bytes = secret_map_bytes(len);
	unsigned char *p;

	if (len > MB_SECRET_MAX)
		MB_BUG("secret of %zu bytes", len);
	p = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		MB_BUG("out of memory");
	/* Best effort: an unprivileged user may have no lockable memory left. */
	(void) mlock(p, map_bytes);
	(void) madvise(p, map_bytes, MADV_DONTDUMP);
	if (len)
		memcpy(p, data, len);
	p[len] = '\0';
	mb_secret_release(secret);
	secret->data = p;
	secret->len = len;
}

void
mb_secret_release(struct mb_secret *secret)
{
	if (secret->data)
	{
		size_t map_bytes = secret_map_bytes(secret->len);

		mb_wipe(secret->data, map_bytes);
		munmap(secret->data, map_bytes);
	}
	secret->data = NULL;
	secret->len = 0;
}

void
mb_wipe(void *data, size_t len)
{
	explicit_bzero(data, len);
}

void
mb_buf_wipe(struct mb_buf *buf)
{
	if (buf->data)
		mb_wipe(buf->data, buf->cap);
	mb_buf_release(buf);
}

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

void
mb_random(void *out, size_t len)
{
	unsigned char *p = out;

	while (len > 0)
	{
		ssize_t got = getrandom(p, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			MB_BUG("the kernel has no random bytes");
		p += got;
		len -= (size_t) got;
	}
}

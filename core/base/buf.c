/* buf.c - see mem.h: growing buffers, readers of bytes that may lie, integers. */
#include "core/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void
mb_buf_wipe(struct mb_buf *buf)
{
	if (buf->data)
		mb_wipe(buf->data, buf->cap);
	mb_buf_release(buf);
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

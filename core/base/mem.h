/*
 * mem.h - memory, arenas and secrets (mem.c), growing buffers and bounded readers (buf.c), and small
 * helpers for strings (text.c).
 *
 * Small allocations cannot fail: they abort with a message.  A length that was
 * read from outside must be checked against a stated maximum before it comes here.
 * All integers on disk and on our own wire are little-endian; the _be readers
 * serve foreign protocols (Postgres replication).
 */
#ifndef MB_BASE_MEM_H
#define MB_BASE_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

/* -- allocation: never NULL; free with free() -------------------------------------------- */
void *mb_malloc(size_t len_bytes);
void *mb_calloc(size_t count, size_t size_bytes);
void *mb_realloc(void *p, size_t len_bytes);
char *mb_strdup(const char *s);
char *mb_strndup(const char *s, size_t len_bytes);
char *mb_asprintf(const char *fmt, ...) MB_PRINTF(1, 2);

/* Grow an array to hold at least want elements of size_bytes; doubles, keeps contents. */
void *mb_grow(void *p, size_t *cap, size_t want, size_t size_bytes);

/* -- struct mb_buf: a growing byte buffer; all zero is a valid empty one ------------------ */
struct mb_buf
{
	unsigned char *data;
	size_t len;
	size_t cap;
};

void mb_buf_release(struct mb_buf *buf); /* frees and zeroes */
void mb_buf_reset(struct mb_buf *buf);   /* len = 0, memory kept */
void mb_buf_reserve(struct mb_buf *buf, size_t more_bytes);
void mb_buf_put(struct mb_buf *buf, const void *data, size_t len);
void mb_buf_put_str(struct mb_buf *buf, const char *s); /* without the NUL */
void mb_buf_printf(struct mb_buf *buf, const char *fmt, ...) MB_PRINTF(2, 3);
void mb_buf_put_u8(struct mb_buf *buf, uint8_t v);
void mb_buf_put_u16(struct mb_buf *buf, uint16_t v);
void mb_buf_put_u32(struct mb_buf *buf, uint32_t v);
void mb_buf_put_u64(struct mb_buf *buf, uint64_t v);
/* The contents as a NUL-terminated string, owned by the buffer until it changes. */
const char *mb_buf_cstr(struct mb_buf *buf);

/* -- struct mb_rd: a cursor over bytes that may lie -------------------------------------- */
/* Reading past the end yields zeroes and sets bad, so that one check at the end suffices.  */
struct mb_rd
{
	const unsigned char *p;
	const unsigned char *end;
	bool bad;
};

static inline struct mb_rd
mb_rd_init(const void *data, size_t len)
{
	struct mb_rd rd = {(const unsigned char *) data, (const unsigned char *) data + len, false};

	return rd;
}

size_t mb_rd_left(const struct mb_rd *rd);
const unsigned char *mb_rd_bytes(struct mb_rd *rd, size_t len); /* NULL when too short */
uint8_t mb_rd_u8(struct mb_rd *rd);
uint16_t mb_rd_u16(struct mb_rd *rd);
uint32_t mb_rd_u32(struct mb_rd *rd);
uint64_t mb_rd_u64(struct mb_rd *rd);
uint64_t mb_rd_u64_be(struct mb_rd *rd);

uint16_t mb_get_u16(const unsigned char *p);
uint32_t mb_get_u32(const unsigned char *p);
uint64_t mb_get_u64(const unsigned char *p);
void mb_set_u16(unsigned char *p, uint16_t v);
void mb_set_u32(unsigned char *p, uint32_t v);
void mb_set_u64(unsigned char *p, uint64_t v);

/* -- struct mb_arena: memory that dies together ------------------------------------------ */
struct mb_arena
{
	struct mb_arena_block *head;
	size_t total_bytes; /* taken from the system */
};

void *mb_arena_alloc(struct mb_arena *arena, size_t len_bytes); /* zeroed, 16-byte aligned */
void *mb_arena_copy(struct mb_arena *arena, const void *data, size_t len_bytes);
char *mb_arena_strdup(struct mb_arena *arena, const char *s);
void mb_arena_release(struct mb_arena *arena); /* frees all, zeroes the struct */

/* -- struct mb_secret: wiped on release, kept out of core files -------------------------- */
#define MB_SECRET_MAX 4096

struct mb_secret
{
	unsigned char *data; /* always followed by a NUL that len does not count */
	size_t len;
};

/* Copies; MB_BUG above MB_SECRET_MAX.  The caller wipes its own copy (mb_wipe). */
void mb_secret_set(struct mb_secret *secret, const void *data, size_t len);
void mb_secret_release(struct mb_secret *secret);
void mb_wipe(void *data, size_t len);
void mb_buf_wipe(struct mb_buf *buf); /* zeroes the memory, then releases it */

/* -- small string helpers ---------------------------------------------------------------- */
void mb_hex(char *out, const unsigned char *data, size_t len); /* out: 2 * len + 1 bytes */
int mb_hex_digit(char c); /* of a lower-case digit; -1: it is none */
bool mb_unhex(unsigned char *out, const char *hex, size_t len);   /* exactly 2 * len lower-case */
void mb_base64(struct mb_buf *out, const void *data, size_t len); /* RFC 4648, padded, appended */
bool mb_starts_with(const char *s, const char *prefix);
bool mb_ends_with(const char *s, const char *suffix);
/* Edit distance; strings above 63 bytes count as far away. */
unsigned mb_distance(const char *a, const char *b);
/*
 * "Did you mean": try candidates one by one; best is the nearest to word within three
 * edits, or NULL.  Start with {.word = word}.
 */
struct mb_nearest
{
	const char *word;
	const char *best; /* borrowed from the caller's candidates */
	unsigned distance;
};
void mb_nearest_try(struct mb_nearest *nearest, const char *candidate);
/* Random bytes from the kernel; aborts when there are none. */
void mb_random(void *out, size_t len);

#endif

/* mem.c - see mem.h: memory, arenas, secrets and random bytes. */
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

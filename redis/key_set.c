/* key_set.c - see key_set.h. */
#include "redis/key_set.h"

#include <stdlib.h>

#include "core/base/hash.h"
#include "core/base/mem.h"

#define PART_KEYS 1024
#define MAX_PARTS (UINT64_C(1) << 22)
#define FIRST_SLOTS 8

/* Open addressing; 0 is an empty slot.  A slot is chosen by the upper half of the fingerprint. */
struct part
{
	uint64_t *slots;
	uint32_t cap;
	uint32_t count;
};

struct mb_key_set
{
	struct part *parts;
	uint64_t mask;
	uint64_t seeds[2];
	size_t bytes;
};

struct mb_key_set *
mb_key_set_new(uint64_t expected)
{
	struct mb_key_set *set = mb_calloc(1, sizeof(*set));
	uint64_t count = 1;

	while (count < MAX_PARTS && count * PART_KEYS < expected)
		count *= 2;
	set->parts = mb_calloc((size_t) count, sizeof(*set->parts));
	set->bytes = (size_t) count * sizeof(*set->parts);
	set->mask = count - 1;
	mb_random(set->seeds, sizeof(set->seeds));
	return set;
}

void
mb_key_set_free(struct mb_key_set *set)
{
	uint64_t i;

	if (!set)
		return;
	for (i = 0; i <= set->mask; i++)
		free(set->parts[i].slots);
	free(set->parts);
	free(set);
}

/* The slot of a fingerprint, or the empty one where it belongs. */
static uint64_t *
find(const struct part *part, uint64_t print)
{
	uint64_t i = (print >> 32) * part->cap >> 32;

	while (part->slots[i] != 0 && part->slots[i] != print)
		i = i + 1 < part->cap ? i + 1 : 0;
	return &part->slots[i];
}

static void
grow(struct mb_key_set *set, struct part *part)
{
	struct part larger = {.cap = part->cap ? part->cap + part->cap / 4 : FIRST_SLOTS,
						  .count = part->count};
	uint32_t i;

	MB_ASSERT(larger.cap > part->cap);
	larger.slots = mb_calloc(larger.cap, sizeof(*larger.slots));
	for (i = 0; i < part->cap; i++)
		if (part->slots[i] != 0)
			*find(&larger, part->slots[i]) = part->slots[i];
	set->bytes += (size_t) (larger.cap - part->cap) * sizeof(*larger.slots);
	free(part->slots);
	*part = larger;
}

bool
mb_key_set_add(struct mb_key_set *set, const void *name, size_t len)
{
	struct part *part = &set->parts[mb_xxh64_seed(name, len, set->seeds[0]) & set->mask];
	uint64_t print = mb_xxh64_seed(name, len, set->seeds[1]), *slot;

	print += print == 0;
	if (part->count + 1 > part->cap - part->cap / 6)
		grow(set, part);
	slot = find(part, print);
	if (*slot == print)
		return false;
	*slot = print;
	part->count++;
	return true;
}

size_t
mb_key_set_bytes(const struct mb_key_set *set)
{
	return set->bytes;
}

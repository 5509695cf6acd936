/* page_checksum.c - see page_checksum.h. */
#include "postgres/page_checksum.h"

#include "core/base/mem.h"

#define LANES 32
#define ROUNDS (MB_PG_PAGE_BYTES / (4 * LANES))
#define FNV_PRIME 16777619u
#define CHECKSUM_AT 8 /* the low half of the third word */
#define UPPER_AT 14

/* Where each lane starts; numbers that only have to differ, fixed by the page format. */
static const uint32_t lane_start[LANES] = {0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A,
										   0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
										   0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA,
										   0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
										   0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE,
										   0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
										   0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E,
										   0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

/* Eight lanes: a type, because not every compiler makes vectors of an array of words, or keeps it in registers. */
typedef uint32_t lanes8 __attribute__((vector_size(32)));
typedef uint32_t lanes8_anywhere __attribute__((vector_size(32), aligned(1), may_alias));

/* Eight words of the page into their lanes. */
#define MIX(lanes, words)                      \
	do                                         \
	{                                          \
		lanes8 x_ = (lanes) ^ (words);         \
		(lanes) = x_ * FNV_PRIME ^ (x_ >> 17); \
	} while (0)
#define LOAD(from) (*(const lanes8_anywhere *) (const void *) (from))

__attribute__((always_inline)) static inline uint16_t
checksum(const unsigned char page[MB_PG_PAGE_BYTES], uint32_t block)
{
	/* pd_checksum counts as zero. */
	static const lanes8 without_checksum = {~0u, ~0u, 0xFFFF0000u, ~0u, ~0u, ~0u, ~0u, ~0u};
	const lanes8 zeroes = {0};
	lanes8 a = LOAD(lane_start), b = LOAD(lane_start + 8);
	lanes8 c = LOAD(lane_start + 16), d = LOAD(lane_start + 24);
	uint32_t sum = 0;
	unsigned round;
	int i;

	MIX(a, LOAD(page) & without_checksum);
	MIX(b, LOAD(page + 32));
	MIX(c, LOAD(page + 64));
	MIX(d, LOAD(page + 96));
	for (round = 1; round < ROUNDS; round++)
	{
		page += 4 * LANES;
		MIX(a, LOAD(page));
		MIX(b, LOAD(page + 32));
		MIX(c, LOAD(page + 64));
		MIX(d, LOAD(page + 96));
	}
	for (round = 0; round < 2; round++)
	{
		MIX(a, zeroes);
		MIX(b, zeroes);
		MIX(c, zeroes);
		MIX(d, zeroes);
	}
	a ^= b ^ c ^ d;
	for (i = 0; i < 8; i++)
		sum ^= a[i];
	return (uint16_t) ((sum ^ block) % 65535 + 1);
}

#if defined(__x86_64__)
/* What every x86-64 has lacks the multiplication of 32-bit words in vectors: three times as slow. */
__attribute__((target("avx2"))) static uint16_t
checksum_avx2(const unsigned char page[MB_PG_PAGE_BYTES], uint32_t block)
{
	return checksum(page, block);
}
#endif

uint16_t
mb_page_checksum(const unsigned char page[MB_PG_PAGE_BYTES], uint32_t block)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return checksum_avx2(page, block);
#endif
	return checksum(page, block);
}

bool
mb_page_is_good(const unsigned char page[MB_PG_PAGE_BYTES], uint32_t block)
{
	return mb_get_u16(page + UPPER_AT) == 0 ||
		   mb_get_u16(page + CHECKSUM_AT) == mb_page_checksum(page, block);
}

uint64_t
mb_page_lsn(const unsigned char page[MB_PG_PAGE_BYTES])
{
	return (uint64_t) mb_get_u32(page) << 32 | mb_get_u32(page + 4);
}

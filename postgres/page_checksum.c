/* page_checksum.c - see page_checksum.h. */
#include "postgres/page_checksum.h"

#include <string.h>

#include "core/base/mem.h"

#define LANES 32
#define ROUNDS (MB_PG_PAGE_BYTES / (4 * LANES))
#define FNV_PRIME 16777619u
#define CHECKSUM_AT 8
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

/* One word into each lane; written so that compilers make vectors of it. */
static void
mix(uint32_t lanes[LANES], const uint32_t words[LANES])
{
	int i;

	for (i = 0; i < LANES; i++)
	{
		uint32_t x = lanes[i] ^ words[i];

		lanes[i] = x * FNV_PRIME ^ (x >> 17);
	}
}

uint16_t
mb_page_checksum(const unsigned char page[MB_PG_PAGE_BYTES], uint32_t block)
{
	static const uint32_t zeroes[LANES];
	uint32_t lanes[LANES], words[LANES], sum = 0;
	unsigned round;
	int i;

	memcpy(lanes, lane_start, sizeof(lanes));
	for (round = 0; round < ROUNDS; round++)
	{
		memcpy(words, page + round * sizeof(words), sizeof(words));
		if (round == 0)
			words[CHECKSUM_AT / 4] &= 0xFFFF0000u; /* pd_checksum counts as zero */
		mix(lanes, words);
	}
	mix(lanes, zeroes);
	mix(lanes, zeroes);
	for (i = 0; i < LANES; i++)
		sum ^= lanes[i];
	return (uint16_t) ((sum ^ block) % 65535 + 1);
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

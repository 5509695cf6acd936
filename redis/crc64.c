/* crc64.c - see crc64.h.  Slicing by eight: the walk over an RDB must not be slower than the wire. */
#include "redis/crc64.h"

#include <pthread.h>

#include "core/base/mem.h"

#define POLY UINT64_C(0x95ac9329ac4bc9b5)

static uint64_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void
fill_table(void)
{
	unsigned i, k;

	for (i = 0; i < 256; i++)
	{
		uint64_t crc = i;

		for (k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ POLY : crc >> 1;
		table[0][i] = crc;
	}
	for (k = 1; k < 8; k++)
		for (i = 0; i < 256; i++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

uint64_t
mb_crc64(uint64_t crc, const void *data, size_t len)
{
	const unsigned char *p = data;

	pthread_once(&table_once, fill_table);
	for (; len >= 8; len -= 8, p += 8)
	{
		crc ^= mb_get_u64(p);
		crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^ table[5][crc >> 16 & 0xff] ^
			  table[4][crc >> 24 & 0xff] ^ table[3][crc >> 32 & 0xff] ^ table[2][crc >> 40 & 0xff] ^
			  table[1][crc >> 48 & 0xff] ^ table[0][crc >> 56];
	}
	for (; len > 0; len--, p++)
		crc = table[0][(crc ^ *p) & 0xff] ^ crc >> 8;
	return crc;
}

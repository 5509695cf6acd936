/*
 * crc64.c - see crc64.h.  The walk over an RDB must not be slower than the wire.
 *
 * By tables, eight bytes at a time; where the processor multiplies without carries
 * (PCLMULQDQ), by folding: a message is a polynomial, and its first 128 bits may be replaced by
 * anything that is congruent to them, moved to where the next 128 bits are.  What is left at the
 * end is 128 bits, whose checksum the tables find.
 *
 * In this reflected order bit i of a word is x^(63-i), and the product of two words is one power of x
 * short; so to move a word by n bits it is multiplied by x^(n-1) mod P.  Source: V. Gopal et
 * al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009).
 */
#include "redis/crc64.h"

#include <pthread.h>
#include <stdbool.h>

#include "core/base/mem.h"

#define POLY UINT64_C(0x95ac9329ac4bc9b5)

static uint64_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

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

static uint64_t
by_tables(uint64_t crc, const unsigned char *p, size_t len)
{
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

#if defined(__x86_64__)

#include <immintrin.h>

#define LANE 16u
#define STRIDE (4 * LANE)
#define FOLDING __attribute__((target("pclmul,sse4.1")))

static bool can_fold;
/* For a move by one lane and by a stride: of the first word of a lane, and of the second. */
static uint64_t by_lane[2], by_stride[2];

/* x^n mod P. */
static uint64_t
power_of_x(unsigned n)
{
	uint64_t power = UINT64_C(1) << 63;

	while (n-- > 0)
		power = power & 1 ? power >> 1 ^ POLY : power >> 1;
	return power;
}

static void
prepare(void)
{
	fill_table();
	can_fold = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
	by_lane[0] = power_of_x(128 + 64 - 1);
	by_lane[1] = power_of_x(128 - 1);
	by_stride[0] = power_of_x(4 * 128 + 64 - 1);
	by_stride[1] = power_of_x(4 * 128 - 1);
}

FOLDING static __m128i
fold(__m128i lane, __m128i powers, __m128i next)
{
	return _mm_xor_si128(next, _mm_xor_si128(_mm_clmulepi64_si128(lane, powers, 0x00),
											 _mm_clmulepi64_si128(lane, powers, 0x11)));
}

FOLDING static __m128i
load(const unsigned char *p)
{
	return _mm_loadu_si128((const __m128i *) p);
}

/* At least one stride. */
FOLDING static uint64_t
by_folding(uint64_t crc, const unsigned char *p, size_t len)
{
	__m128i stride = _mm_set_epi64x((long long) by_stride[1], (long long) by_stride[0]);
	__m128i lane = _mm_set_epi64x((long long) by_lane[1], (long long) by_lane[0]);
	__m128i a = _mm_xor_si128(load(p), _mm_set_epi64x(0, (long long) crc));
	__m128i b = load(p + LANE), c = load(p + 2 * LANE), d = load(p + 3 * LANE);
	unsigned char rest[LANE];

	for (p += STRIDE, len -= STRIDE; len >= STRIDE; p += STRIDE, len -= STRIDE)
	{
		a = fold(a, stride, load(p));
		b = fold(b, stride, load(p + LANE));
		c = fold(c, stride, load(p + 2 * LANE));
		d = fold(d, stride, load(p + 3 * LANE));
	}
	a = fold(fold(fold(a, lane, b), lane, c), lane, d);
	_mm_storeu_si128((__m128i *) rest, a);
	return by_tables(by_tables(0, rest, sizeof(rest)), p, len);
}

#else

static void
prepare(void)
{
	fill_table();
}

#endif

uint64_t
mb_crc64(uint64_t crc, const void *data, size_t len)
{
	pthread_once(&once, prepare);
#if defined(__x86_64__)
	if (can_fold && len >= STRIDE)
		return by_folding(crc, data, len);
#endif
	return by_tables(crc, data, len);
}

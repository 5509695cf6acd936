/* hash.c - see hash.h; the only file that includes xxhash.h. */
#include "core/base/hash.h"

#include <pthread.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/base/error.h"

/* The library chooses AVX2 or AVX-512 at run time; what is inlined here has SSE2 only. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
XXH64_hash_t XXH3_64bits_withSeed_dispatch(const void *data, size_t len, XXH64_hash_t seed);
XXH128_hash_t XXH3_128bits_dispatch(const void *data, size_t len);
#define HASH_64(data, len, seed) XXH3_64bits_withSeed_dispatch(data, len, seed)
#define HASH_128(data, len) XXH3_128bits_dispatch(data, len)
/* For pieces the library's own state, all of whose layout is its business. */
XXH3_state_t *lib_new_state(void) __asm__("XXH3_createState");
XXH_errorcode lib_free_state(XXH3_state_t *state) __asm__("XXH3_freeState");
XXH_errorcode lib_reset(XXH3_state_t *state) __asm__("XXH3_128bits_reset");
XXH_errorcode XXH3_128bits_update_dispatch(XXH3_state_t *state, const void *data, size_t len);
XXH128_hash_t lib_digest(const XXH3_state_t *state) __asm__("XXH3_128bits_digest");
#define HAVE_LIBRARY_STATE 1
#else
#define HASH_64(data, len, seed) XXH3_64bits_withSeed(data, len, seed)
#define HASH_128(data, len) XXH3_128bits(data, len)
#endif

void
mb_xxh128(unsigned char out[MB_XXH128_BYTES], const void *data, size_t len)
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, HASH_128(data, len));
	memcpy(out, canonical.digest, MB_XXH128_BYTES);
}

static XXH128_hash_t
hash_two(const void *a, size_t a_len, const void *b, size_t b_len)
{
#ifdef HAVE_LIBRARY_STATE
	XXH3_state_t *state = lib_new_state();
	XXH128_hash_t hash;

	MB_ASSERT(state != NULL);
	lib_reset(state);
	XXH3_128bits_update_dispatch(state, a, a_len);
	XXH3_128bits_update_dispatch(state, b, b_len);
	hash = lib_digest(state);
	lib_free_state(state);
	return hash;
#else
	XXH3_state_t state;

	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, a, a_len);
	XXH3_128bits_update(&state, b, b_len);
	return XXH3_128bits_digest(&state);
#endif
}

void
mb_xxh128_2(unsigned char out[MB_XXH128_BYTES], const void *a, size_t a_len, const void *b,
			size_t b_len)
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, hash_two(a, a_len, b, b_len));
	memcpy(out, canonical.digest, MB_XXH128_BYTES);
}

uint64_t
mb_xxh64_seed(const void *data, size_t len, uint64_t seed)
{
	return HASH_64(data, len, seed);
}

/* Slicing-by-8 tables (Kounavis and Berry, 2005); the SSE 4.2 instruction where there is one. */
static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void
crc_build(void)
{
	unsigned i, j;

	for (i = 0; i < 256; i++)
	{
		uint32_t crc = i;

		for (j = 0; j < 8; j++)
			crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
		crc_table[0][i] = crc;
	}
	for (i = 0; i < 256; i++)
		for (j = 1; j < 8; j++)
			crc_table[j][i] = (crc_table[j - 1][i] >> 8) ^ crc_table[0][crc_table[j - 1][i] & 0xFF];
}

static uint32_t
crc_by_table(uint32_t crc, const unsigned char *p, size_t len)
{
	pthread_once(&crc_once, crc_build);
	for (; len >= 8; p += 8, len -= 8)
	{
		uint32_t lo = crc ^ ((uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 |
							 (uint32_t) p[3] << 24);

		crc = crc_table[7][lo & 0xFF] ^ crc_table[6][(lo >> 8) & 0xFF] ^
			  crc_table[5][(lo >> 16) & 0xFF] ^ crc_table[4][lo >> 24] ^ crc_table[3][p[4]] ^
			  crc_table[2][p[5]] ^ crc_table[1][p[6]] ^ crc_table[0][p[7]];
	}
	for (; len > 0; p++, len--)
		crc = (crc >> 8) ^ crc_table[0][(crc ^ *p) & 0xFF];
	return crc;
}

/* -- combination --------------------------------------------------------------------------------- */

/* Combination by squaring the "append one zero bit" matrix over GF(2), as zlib's crc32_combine. */
static uint32_t
gf2_times(const uint32_t *matrix, uint32_t vector)
{
	uint32_t sum = 0;

	for (; vector; vector >>= 1, matrix++)
		if (vector & 1)
			sum ^= *matrix;
	return sum;
}

static void
gf2_square(uint32_t *square, const uint32_t *matrix)
{
	int i;

	for (i = 0; i < 32; i++)
		square[i] = gf2_times(matrix, matrix[i]);
}

uint32_t
mb_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t b_len)
{
	uint32_t even[32], odd[32];
	int i;

	if (b_len == 0)
		return crc_a;
	odd[0] = 0x82F63B78u; /* one zero bit */
	for (i = 1; i < 32; i++)
		odd[i] = 1u << (i - 1);
	gf2_square(even, odd); /* two */
	gf2_square(odd, even); /* four; the loop starts with eight: one byte */
	for (;;)
	{
		gf2_square(even, odd);
		if (b_len & 1)
			crc_a = gf2_times(even, crc_a);
		b_len >>= 1;
		if (b_len == 0)
			break;
		gf2_square(odd, even);
		if (b_len & 1)
			crc_a = gf2_times(odd, crc_a);
		b_len >>= 1;
		if (b_len == 0)
			break;
	}
	return crc_a ^ crc_b;
}

/* -- by instruction ------------------------------------------------------------------------------ */

#if defined(__x86_64__)
/*
 * The instruction has a latency of three cycles and can start in each, so three stretches are
 * worked on at once and put together by a table (Gopal et al., "Fast CRC Computation for iSCSI
 * Polynomial Using CRC32 Instruction", 2011).
 */
#define STRETCH 4096u

static uint32_t shift_table[4][256]; /* the CRC behind STRETCH zero bytes */
static pthread_once_t shift_once = PTHREAD_ONCE_INIT;

/* Shifting is linear, so the 32 single bits (0.03 ms each) give all the others. */
static void
shift_build(void)
{
	uint32_t i, j, bit;

	for (j = 0; j < 4; j++)
		for (bit = 0; bit < 8; bit++)
		{
			uint32_t shifted = mb_crc32c_combine(1u << (8 * j + bit), 0, STRETCH);

			for (i = 0; i < 1u << bit; i++)
				shift_table[j][i | 1u << bit] = shift_table[j][i] ^ shifted;
		}
}

static uint32_t
shift_stretch(uint32_t crc)
{
	return shift_table[0][crc & 0xFF] ^ shift_table[1][(crc >> 8) & 0xFF] ^
		   shift_table[2][(crc >> 16) & 0xFF] ^ shift_table[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t
crc_of_three(uint32_t crc, const unsigned char *p)
{
	uint64_t a = crc, b = 0, c = 0;
	size_t at;

	for (at = 0; at < STRETCH; at += 8)
	{
		uint64_t word_a, word_b, word_c;

		memcpy(&word_a, p + at, 8);
		memcpy(&word_b, p + STRETCH + at, 8);
		memcpy(&word_c, p + 2 * STRETCH + at, 8);
		a = __builtin_ia32_crc32di(a, word_a);
		b = __builtin_ia32_crc32di(b, word_b);
		c = __builtin_ia32_crc32di(c, word_c);
	}
	return shift_stretch(shift_stretch((uint32_t) a) ^ (uint32_t) b) ^ (uint32_t) c;
}

__attribute__((target("sse4.2"))) static uint32_t
crc_by_instruction(uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t wide;

	if (len >= 3 * STRETCH)
		pthread_once(&shift_once, shift_build);
	for (; len >= 3 * STRETCH; p += 3 * STRETCH, len -= 3 * STRETCH)
		crc = crc_of_three(crc, p);
	for (wide = crc; len >= 8; p += 8, len -= 8)
	{
		uint64_t word;

		memcpy(&word, p, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	for (crc = (uint32_t) wide; len > 0; p++, len--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#endif

uint32_t
mb_crc32c(uint32_t crc, const void *data, size_t len)
{
	crc = ~crc;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_by_instruction(crc, data, len);
#endif
	return ~crc_by_table(crc, data, len);
}

/* redis_crc64_test.c - the checksum, whatever way it is found, against its definition bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "core/base/mem.h"
#include "redis/crc64.h"

static uint64_t
bit_by_bit(uint64_t crc, const unsigned char *p, size_t len)
{
	for (; len > 0; len--, p++)
	{
		unsigned bit;

		crc ^= *p;
		for (bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ UINT64_C(0x95ac9329ac4bc9b5) : crc >> 1;
	}
	return crc;
}

static void
test_known(void **state)
{
	static const char sentence[] = "This is a test of the emergency broadcast system.";

	(void) state;
	assert_true(mb_crc64(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
	assert_true(mb_crc64(0, sentence, sizeof(sentence) - 1) ==
				bit_by_bit(0, (const unsigned char *) sentence, sizeof(sentence) - 1));
	assert_true(mb_crc64(7, "", 0) == 7);
}

/* Every length from none to some strides, at every alignment of the first. */
static void
test_every_length(void **state)
{
	unsigned char bytes[800];
	uint64_t start;
	size_t at, len;

	(void) state;
	mb_random(bytes, sizeof(bytes));
	mb_random(&start, sizeof(start));
	for (at = 0; at < 17; at++)
		for (len = 0; at + len <= sizeof(bytes); len += at == 0 ? 1 : 13)
		{
			assert_true(mb_crc64(0, bytes + at, len) == bit_by_bit(0, bytes + at, len));
			assert_true(mb_crc64(start, bytes + at, len) == bit_by_bit(start, bytes + at, len));
		}
}

static void
test_in_pieces(void **state)
{
	size_t size = 300000, at, len;
	unsigned char *bytes = mb_malloc(size);
	uint64_t whole, pieces;
	unsigned round;

	(void) state;
	mb_random(bytes, size);
	whole = bit_by_bit(0, bytes, size);
	assert_true(mb_crc64(0, bytes, size) == whole);
	for (round = 0; round < 20; round++)
	{
		for (pieces = 0, at = 0; at < size; at += len)
		{
			uint16_t chance;

			mb_random(&chance, sizeof(chance));
			len = chance % (round % 2 ? 300 : 20000) + 1;
			len = len < size - at ? len : size - at;
			pieces = mb_crc64(pieces, bytes + at, len);
		}
		assert_true(pieces == whole);
	}
	free(bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

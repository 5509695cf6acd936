/* page_checksum_test.c - pd_checksum against a page that a real server wrote (pg_class, block 2). */
#include "tests/lib/repo_fixture.h"

#include "core/base/fs.h"
#include "postgres/page_checksum.h"

#define FIXTURE "tests/fixtures/heap_page_block_2.bin"

static void
load_page(unsigned char page[MB_PG_PAGE_BYTES])
{
	struct mb_buf bytes = {0};
	struct mb_error err;

	assert_ok(mb_file_read(&bytes, FIXTURE, MB_PG_PAGE_BYTES, &err), err);
	assert_int_equal(bytes.len, MB_PG_PAGE_BYTES);
	memcpy(page, bytes.data, MB_PG_PAGE_BYTES);
	mb_buf_release(&bytes);
}

static void
page_checksum__agrees_with_the_server(void **state)
{
	unsigned char page[MB_PG_PAGE_BYTES], before[MB_PG_PAGE_BYTES];

	(void) state;
	load_page(page);
	memcpy(before, page, sizeof(page));
	assert_int_equal(mb_page_checksum(page, 2), mb_get_u16(page + 8));
	assert_memory_equal(before, page, sizeof(page));
	assert_true(mb_page_is_good(page, 2));
}

static void
page_checksum__sees_every_flipped_bit_and_a_wrong_place(void **state)
{
	unsigned char page[MB_PG_PAGE_BYTES];
	size_t bit;

	(void) state;
	load_page(page);
	assert_false(mb_page_is_good(page, 3));
	for (bit = 0; bit < MB_PG_PAGE_BYTES * 8; bit += 7)
	{
		/* pd_upper of zero would make it a page that was never written. */
		page[bit / 8] ^= (unsigned char) (1 << bit % 8);
		assert_false(mb_page_is_good(page, 2));
		page[bit / 8] ^= (unsigned char) (1 << bit % 8);
	}
}

static void
page_checksum__takes_a_page_never_written(void **state)
{
	unsigned char page[MB_PG_PAGE_BYTES] = {0};

	(void) state;
	assert_true(mb_page_is_good(page, 77));
	mb_set_u32(page, 0x12);
	mb_set_u32(page + 4, 0x3456789A);
	assert_true(mb_page_lsn(page) == 0x123456789AULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_checksum__agrees_with_the_server),
		cmocka_unit_test(page_checksum__sees_every_flipped_bit_and_a_wrong_place),
		cmocka_unit_test(page_checksum__takes_a_page_never_written),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("page_checksum", tests, NULL, NULL);
}

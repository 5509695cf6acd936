/*
 * wal_walk_test.c - the walker on WAL made by hand.  With arguments SEGMENT_SIZE CHUNK FILE...
 * it prints what it finds in real WAL instead; tests/integration/220_wal_walk.t compares that
 * with pg_waldump.
 */
#include "tests/lib/repo_fixture.h"

#include "core/base/fs.h"
#include "core/base/time.h"
#include "walstreamer/wal_walk.h"

#define SEGMENT (1u << 20)
#define PG_EPOCH_US 946684800000000LL

/* -- WAL by hand ------------------------------------------------------------------------------ */

struct maker
{
	unsigned char wal[4 * 8192];
	size_t at;
	uint64_t base;
};

static void
page_header(struct maker *maker, uint32_t rest)
{
	unsigned char *page = maker->wal + maker->at;
	bool is_long = (maker->base + maker->at) % SEGMENT == 0;

	mb_set_u16(page, 0xD110);
	mb_set_u16(page + 2, (uint16_t) ((rest ? 1 : 0) | (is_long ? 2 : 0)));
	mb_set_u32(page + 4, 1);
	mb_set_u64(page + 8, maker->base + maker->at);
	mb_set_u32(page + 16, rest);
	if (is_long)
	{
		mb_set_u64(page + 24, 42);
		mb_set_u32(page + 32, SEGMENT);
		mb_set_u32(page + 36, 8192);
	}
	maker->at += is_long ? 40 : 24;
}

/* Returns the LSN of the record's end. */
static uint64_t
put_record(struct maker *maker, unsigned manager, unsigned info, const void *data, uint32_t len)
{
	unsigned char record[40000] = {0};
	uint32_t total, done = 0;

	if (len < 256)
	{
		record[24] = 255;
		record[25] = (unsigned char) len;
		total = 26;
	}
	else
	{
		record[24] = 254;
		mb_set_u32(record + 25, len);
		total = 29;
	}
	memcpy(record + total, data, len);
	total += len;
	mb_set_u32(record, total);
	record[16] = (unsigned char) info;
	record[17] = (unsigned char) manager;
	maker->at = (maker->at + 7) & ~(size_t) 7;
	while (done < total)
	{
		uint32_t room;

		if (maker->at % 8192 == 0)
			page_header(maker, done ? total - done : 0);
		room = 8192 - maker->at % 8192;
		if (room > total - done)
			room = total - done;
		memcpy(maker->wal + maker->at, record + done, room);
		maker->at += room;
		done += room;
	}
	return maker->base + ((maker->at + 7) & ~(size_t) 7);
}

static void
set_time(unsigned char out[8], int64_t us)
{
	mb_set_u64(out, (uint64_t) (us - PG_EPOCH_US));
}

static uint64_t
make_wal(struct maker *maker)
{
	unsigned char point[72] = {0}, commit[8], big[9000] = {0};
	uint64_t end;

	memset(maker, 0, sizeof(*maker));
	maker->base = 5ull * SEGMENT;
	set_time(commit, 1700000001000000);
	put_record(maker, 1, 0x00, commit, 8);
	put_record(maker, 10, 0x00, big, sizeof(big)); /* over a page boundary */
	set_time(commit, 1700000003000000);
	put_record(maker, 1, 0x20 | 0x80, commit, 8); /* an abort with more info */
	set_time(point, 1700000004000000);
	memcpy(point + 8, "here", 4);
	end = put_record(maker, 0, 0x70, point, sizeof(point));
	set_time(commit, 1700000002000000);
	put_record(maker, 1, 0x30, commit, 8); /* prepared, and out of order */
	put_record(maker, 1, 0x10, commit, 8); /* PREPARE is not an end */
	put_record(maker, 10, 0x00, big, sizeof(big));
	return end;
}

static void
wal_walk__finds_the_same_whatever_the_pieces(void **state)
{
	static const size_t chunks[] = {1, 7, 8, 23, 24, 40, 4096, 8191, 8192, 8193, 1 << 20};
	struct maker maker;
	uint64_t end = make_wal(&maker);
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(chunks) / sizeof(*chunks); i++)
	{
		struct mb_wal_facts facts = {0};
		struct mb_wal_walk walk;
		size_t at;

		mb_wal_walk_init(&walk, maker.base, SEGMENT);
		for (at = 0; at < maker.at; at += chunks[i])
			mb_wal_walk_feed(&walk, maker.wal + at,
							 maker.at - at < chunks[i] ? maker.at - at : chunks[i], &facts);
		assert_int_equal(walk.lost_count, 0);
		assert_true(walk.system_id == 42 && walk.timeline == 1);
		assert_int_equal(facts.records, 7);
		assert_int_equal(facts.commits, 3);
		assert_true(facts.first_commit_us == 1700000001000000);
		assert_true(facts.last_commit_us == 1700000002000000);
		assert_true(facts.newest_commit_us == 1700000003000000);
		assert_int_equal(facts.point_count, 1);
		assert_string_equal(facts.points[0].name, "here");
		assert_true(facts.points[0].lsn == end && facts.points[0].time_us == 1700000004000000);
		mb_wal_facts_release(&facts);
	}
}

static void
wal_walk__begins_in_the_middle_of_a_record(void **state)
{
	struct maker maker;
	struct mb_wal_facts facts = {0};
	struct mb_wal_walk walk;

	(void) state;
	make_wal(&maker);
	mb_wal_walk_init(&walk, maker.base + 8192, SEGMENT);
	mb_wal_walk_feed(&walk, maker.wal + 8192, maker.at - 8192, &facts);
	assert_int_equal(walk.lost_count, 0);
	assert_int_equal(facts.commits, 2);
	assert_int_equal(facts.point_count, 1);
	mb_wal_facts_release(&facts);
}

static void
wal_walk__finds_its_way_again_after_nonsense(void **state)
{
	struct maker maker;
	struct mb_wal_facts facts = {0};
	struct mb_wal_walk walk;

	(void) state;
	make_wal(&maker);
	mb_set_u32(maker.wal + 40, 3); /* the first record's length */
	mb_wal_walk_init(&walk, maker.base, SEGMENT);
	mb_wal_walk_feed(&walk, maker.wal, maker.at, &facts);
	assert_int_equal(walk.lost_count, 1);
	assert_int_equal(facts.point_count, 1);
	mb_wal_facts_release(&facts);
}

static void
wal_walk__skips_the_rest_after_a_switch(void **state)
{
	struct maker maker = {.base = 5ull * SEGMENT};
	struct mb_wal_facts facts = {0};
	struct mb_wal_walk walk;
	unsigned char *rest = mb_calloc(1, SEGMENT);

	(void) state;
	put_record(&maker, 0, 0x40, "", 0);
	memcpy(rest, maker.wal, maker.at);
	mb_wal_walk_init(&walk, maker.base, SEGMENT);
	mb_wal_walk_feed(&walk, rest, SEGMENT, &facts);
	assert_int_equal(walk.lost_count, 0);
	assert_int_equal(facts.records, 1);
	assert_true(walk.lsn == 6ull * SEGMENT);
	free(rest);
	mb_wal_facts_release(&facts);
}

static void
wal_walk__merges_facts(void **state)
{
	struct mb_wal_facts a = {0}, b = {.first_commit_us = 5,
									  .last_commit_us = 4,
									  .newest_commit_us = 6,
									  .commits = 2,
									  .records = 3,
									  .last_record_lsn = 99};

	(void) state;
	mb_wal_facts_merge(&a, &b);
	mb_wal_facts_merge(&a, &(struct mb_wal_facts){0});
	assert_true(a.first_commit_us == 5 && a.last_commit_us == 4 && a.newest_commit_us == 6);
	assert_true(a.records == 3 && a.last_record_lsn == 99);
	mb_wal_facts_release(&a);
}

static void
wal_segment__knows_its_own(void **state)
{
	struct maker maker;
	const char *why;

	(void) state;
	make_wal(&maker);
	assert_true(mb_wal_segment_is(maker.wal, 8192, 42, maker.base, SEGMENT, &why));
	assert_false(mb_wal_segment_is(maker.wal, 8192, 43, maker.base, SEGMENT, &why));
	assert_false(mb_wal_segment_is(maker.wal, 8192, 42, maker.base + SEGMENT, SEGMENT, &why));
	assert_false(mb_wal_segment_is(maker.wal, 8192, 42, maker.base, 2 * SEGMENT, &why));
	assert_false(mb_wal_segment_is(maker.wal, 39, 42, maker.base, SEGMENT, &why));
	maker.wal[0] ^= 1;
	assert_false(mb_wal_segment_is(maker.wal, 8192, 42, maker.base, SEGMENT, &why));
	assert_non_null(why);
}

/* -- real WAL ------------------------------------------------------------------------------------ */

static int
print_facts(int count, char **words)
{
	uint32_t size = (uint32_t) strtoul(words[1], NULL, 10);
	size_t chunk = strtoul(words[2], NULL, 10), i;
	struct mb_wal_facts facts = {0};
	struct mb_wal_walk walk;
	char first[MB_TIME_TEXT], newest[MB_TIME_TEXT];
	int f;

	for (f = 3; f < count; f++)
	{
		struct mb_buf bytes = {0};
		struct mb_error err;
		size_t at;

		if (mb_file_read(&bytes, words[f], size, &err))
			return 1;
		if (f == 3)
			mb_wal_walk_init(&walk, mb_get_u64(bytes.data + 8), size);
		for (at = 0; at < bytes.len; at += chunk)
			mb_wal_walk_feed(&walk, bytes.data + at,
							 bytes.len - at < chunk ? bytes.len - at : chunk, &facts);
		mb_buf_release(&bytes);
	}
	mb_time_format(first, facts.first_commit_us);
	mb_time_format(newest, facts.newest_commit_us);
	printf("records %llu\ncommits %llu\nlast record %X/%08X\nfirst %s\nnewest %s\n",
		   (unsigned long long) facts.records, (unsigned long long) facts.commits,
		   (unsigned) (facts.last_record_lsn >> 32), (unsigned) facts.last_record_lsn, first,
		   newest);
	for (i = 0; i < facts.point_count; i++)
		printf("point %s %X/%X\n", facts.points[i].name, (unsigned) (facts.points[i].lsn >> 32),
			   (unsigned) facts.points[i].lsn);
	mb_wal_facts_release(&facts);
	return 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wal_walk__finds_the_same_whatever_the_pieces),
		cmocka_unit_test(wal_walk__begins_in_the_middle_of_a_record),
		cmocka_unit_test(wal_walk__finds_its_way_again_after_nonsense),
		cmocka_unit_test(wal_walk__skips_the_rest_after_a_switch),
		cmocka_unit_test(wal_walk__merges_facts),
		cmocka_unit_test(wal_segment__knows_its_own),
	};

	if (argc > 3)
		return print_facts(argc, argv);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("wal_walk", tests, NULL, NULL);
}

/*
 * capture_test.c - ranges against a parent: what equals it is referred to, what does not is
 * packed, and whatever came of it reads back as the bytes that went in.
 */
#include "tests/lib/repo_fixture.h"

#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/session.h"

#define PAGE MB_PAGE_BYTES
#define RANGE ((size_t) MB_RANGE_BYTES)

static struct mb_env env;
static char work[] = "/tmp/mb-capture-XXXXXX";
static struct mb_session session;

static const struct mb_component_ops test_ops = {.kind = "test"};

static int
set_up(void **state)
{
	struct mb_error err;

	(void) state;
	assert_non_null(mkdtemp(work));
	env.spool = work;
	env.workers = 1;
	env.repo = memory_repo(MB_SUITE_NONE);
	assert_ok(mb_session_open(&session, &env, "backup", &err), err);
	return 0;
}

static int
tear_down(void **state)
{
	struct mb_error err;

	(void) state;
	mb_session_close(&session);
	mb_repo_free(env.repo);
	return mb_rmtree(work, &err) != MB_OK;
}

static struct mb_capture *
begin(void)
{
	static struct mb_component component = {&test_ops, NULL, &env, "test"};
	struct mb_capture *capture;
	struct mb_error err;

	assert_ok(mb_capture_begin(&session, &component, MB_PARENT_NONE, &capture, &err), err);
	return capture;
}

/* From memory, as from a stream. */
static void
capture_memory(struct mb_capture *capture, const unsigned char *data, size_t len,
			   const struct mb_map_ref *parent, struct mb_map_ref *ref, uint32_t *crc)
{
	struct mb_error err;

	assert_ok(mb_capture_pages(capture, 0, data, len, parent, ref, crc, &err), err);
}

/* From a file; filter is NULL or called with ctx. */
static void
capture_file(struct mb_capture *capture, const unsigned char *data, size_t len,
			 const struct mb_map_ref *parent, struct mb_map_ref *ref, uint32_t *crc,
			 mb_page_filter filter, void *ctx, unsigned flags)
{
	char path[] = "/tmp/mbackup-capture.XXXXXX";
	int fd = mkstemp(path);
	struct mb_range_source source =
		{.fd = fd, .path = path, .len = len, .filter = filter, .filter_ctx = ctx, .flags = flags};
	struct mb_error err;
	size_t got;

	assert_ok(mb_pwrite_full(fd, data, len, 0, path, &err), err);
	unlink(path);
	assert_ok(mb_capture_range(capture, 0, &source, parent, ref, &got, crc, &err), err);
	assert_int_equal(got, len);
	close(fd);
}

static size_t check_range(const struct mb_map_ref *ref, const unsigned char *data, size_t len);

/* Capture a range both ways, to the same end; *packed gets the bytes that were not referred to. */
static void
capture_range(const unsigned char *data, size_t len, const struct mb_map_ref *parent,
			  struct mb_map_ref *ref, size_t *packed)
{
	size_t packed_by[2], runs[2];
	int way;

	for (way = 0; way < 2; way++)
	{
		struct mb_capture *capture = begin();
		uint64_t done = capture->progress->done_bytes;
		struct mb_error err;
		uint32_t crc = 0;

		memset(ref, 0, sizeof(*ref));
		if (way == 0)
			capture_memory(capture, data, len, parent, ref, &crc);
		else
			capture_file(capture, data, len, parent, ref, &crc, NULL, NULL, 0);
		assert_int_equal(crc, mb_crc32c(MB_CRC32C_INIT, data, len));
		assert_ok(mb_capture_flush(&session, capture, &err), err);
		packed_by[way] = (size_t) capture->changed_bytes;
		assert_int_equal(capture->progress->done_bytes - done, len);
		mb_capture_free(capture);
		runs[way] = check_range(ref, data, len);
		if (way == 0)
			mb_map_ref_release(ref);
	}
	assert_int_equal(packed_by[0], packed_by[1]);
	assert_int_equal(runs[0], runs[1]);
	*packed = packed_by[0];
}

/* The range reads back as data; returns the runs of its map. */
static size_t
check_range(const struct mb_map_ref *ref, const unsigned char *data, size_t len)
{
	struct mb_pack_reader *reader = mb_pack_reader_new(env.repo);
	struct mb_pack_refs refs = {0};
	struct mb_page_map map;
	struct mb_buf got = {0};
	struct mb_error err;
	size_t i, runs;

	assert_ok(mb_page_map_load(&map, ref, reader, &err), err);
	assert_int_equal(map.bytes, len);
	for (i = 0; i < map.runs.count; i++)
	{
		assert_ok(mb_pack_reader_run(reader, &map.runs.items[i], &got, &err), err);
		mb_pack_refs_add(&refs, &map.runs.items[i].pack, map.runs.items[i].length);
	}
	assert_int_equal(got.len, len);
	assert_memory_equal(got.data, data, len);
	for (i = 0; i < map.pages; i++)
		assert_true(map.hashes[i] == mb_xxh64_seed(data + i * PAGE,
												   len - i * PAGE < PAGE ? len - i * PAGE : PAGE,
												   env.repo->page_seed));
	mb_pack_refs_settle(&refs);
	assert_int_equal(refs.count, ref->ref_count);
	for (i = 0; i < refs.count; i++)
	{
		assert_memory_equal(&refs.items[i].pack, &ref->refs[i].pack, MB_PACK_ID_BYTES);
		assert_true(refs.items[i].live_bytes == ref->refs[i].live_bytes);
	}
	runs = map.runs.count;
	mb_pack_refs_release(&refs);
	mb_buf_release(&got);
	mb_page_map_release(&map);
	mb_pack_reader_free(reader);
	assert_true(runs <= MB_MAP_MAX_RUNS);
	return runs;
}

struct range
{
	unsigned char *data;
	size_t len;
	struct mb_map_ref ref;
};

static void
first_range(struct range *range, size_t len)
{
	size_t packed;

	range->data = mb_malloc(RANGE);
	range->len = len;
	fill_random(range->data, RANGE, 7);
	capture_range(range->data, len, NULL, &range->ref, &packed);
	assert_int_equal(packed, len);
	check_range(&range->ref, range->data, len);
}

/* Capture against itself as it was; returns the packed bytes, *runs the new map's runs. */
static size_t
next_range(struct range *range, size_t *runs)
{
	struct mb_map_ref ref;
	size_t packed;

	capture_range(range->data, range->len, &range->ref, &ref, &packed);
	*runs = check_range(&ref, range->data, range->len);
	mb_map_ref_release(&range->ref);
	range->ref = ref;
	return packed;
}

static void
end_range(struct range *range)
{
	mb_map_ref_release(&range->ref);
	free(range->data);
}

static void
change_page(struct range *range, size_t page)
{
	range->data[page * PAGE + 100] ^= 1;
}

/* -- tests ------------------------------------------------------------------------------------- */

static void
test_capture__an_unchanged_range_shares_the_map(void **state)
{
	struct range range;
	struct mb_run before;
	size_t runs;

	(void) state;
	first_range(&range, RANGE);
	before = range.ref.run;
	assert_int_equal(next_range(&range, &runs), 0);
	assert_memory_equal(&before, &range.ref.run, sizeof(before));
	end_range(&range);
	first_range(&range, 3 * PAGE + 17); /* inline */
	assert_true(range.ref.is_inline);
	assert_int_equal(next_range(&range, &runs), 0);
	end_range(&range);
}

static void
test_capture__one_page_costs_one_page(void **state)
{
	struct range range;
	size_t runs, before;

	(void) state;
	first_range(&range, RANGE);
	before = check_range(&range.ref, range.data, RANGE);
	change_page(&range, 0);
	assert_int_equal(next_range(&range, &runs), PAGE);
	change_page(&range, RANGE / PAGE - 1);
	assert_int_equal(next_range(&range, &runs), PAGE);
	change_page(&range, 1000);
	assert_int_equal(next_range(&range, &runs), PAGE);
	assert_true(runs <= before + 4);
	assert_int_equal(next_range(&range, &runs), 0);
	end_range(&range);
}

static void
test_capture__every_other_page_of_a_small_range(void **state)
{
	struct range range;
	size_t runs, i;

	(void) state;
	first_range(&range, 200 * PAGE);
	for (i = 0; i < 200; i += 2)
		change_page(&range, i);
	assert_int_equal(next_range(&range, &runs), 100 * PAGE);
	assert_true(runs >= 200);
	end_range(&range);
}

static void
test_capture__too_many_runs_are_compacted(void **state)
{
	struct range range;
	size_t runs, i, packed;

	(void) state;
	first_range(&range, RANGE);
	for (i = 0; i < RANGE / PAGE; i += 2)
		change_page(&range, i);
	/* Each of the 2048 stretches is one page long, so all is written again. */
	assert_int_equal(next_range(&range, &runs), RANGE);
	assert_true(runs <= MB_MAP_MAX_RUNS / 2);
	/* Changes here and there for a long time: never a whole range at once. */
	srand(5);
	for (i = 0; i < 40; i++)
	{
		size_t j;

		for (j = 0; j < 41; j++)
			change_page(&range, (size_t) rand() % (RANGE / PAGE));
		packed = next_range(&range, &runs);
		assert_true(packed <= RANGE / 2);
	}
	end_range(&range);
}

static void
test_capture__shrunk_and_grown(void **state)
{
	struct range range;
	size_t runs;

	(void) state;
	first_range(&range, 100 * PAGE + 10);
	range.len = 50 * PAGE; /* a page boundary: all of it is known */
	assert_int_equal(next_range(&range, &runs), 0);
	range.len = 50 * PAGE - 1; /* the last page is short now */
	assert_int_equal(next_range(&range, &runs), PAGE - 1);
	range.len = 80 * PAGE;
	assert_int_equal(next_range(&range, &runs), 31 * PAGE);
	range.len = PAGE;
	assert_int_equal(next_range(&range, &runs), 0);
	end_range(&range);
}

static void
test_capture__a_damaged_parent_map_is_done_without(void **state)
{
	struct range range;
	size_t runs;

	(void) state;
	first_range(&range, 100 * PAGE);
	assert_false(range.ref.is_inline);
	range.ref.run.pack.bytes[3] ^= 1;
	assert_int_equal(next_range(&range, &runs), 100 * PAGE);
	end_range(&range);
}

static void
test_capture__a_file_against_its_parent(void **state)
{
	struct range range;
	struct mb_capture *capture = begin();
	struct mb_map_ref ref;
	char *path = mb_path_join(work, "file");
	struct mb_error err;
	uint32_t crc;
	size_t got;
	FILE *file = fopen(path, "w+");

	(void) state;
	first_range(&range, 40 * PAGE);
	change_page(&range, 11);
	assert_int_equal(fwrite(range.data, 1, 39 * PAGE, file), 39 * PAGE);
	assert_int_equal(fflush(file), 0);
	assert_ok(mb_capture_range(capture, 0,
							   &(struct mb_range_source){.fd = fileno(file),
														 .path = path,
														 .len = 40 * PAGE},
							   &range.ref, &ref, &got, &crc, &err),
			  err);
	assert_int_equal(got, 39 * PAGE);
	assert_int_equal(capture->changed_bytes, PAGE);
	assert_ok(mb_capture_flush(&session, capture, &err), err);
	check_range(&ref, range.data, 39 * PAGE);
	mb_capture_free(capture);
	mb_map_ref_release(&ref);
	end_range(&range);
	fclose(file);
	free(path);
}

/* Notes which pages it is shown, and repairs page 20, as a torn page that is read again. */
struct seen
{
	bool pages[MB_RANGE_BYTES / PAGE];
	size_t count;
	size_t change_at; /* when this one is shown, page 1 of the file changes; 0: never */
};

static enum mb_code
see_pages(void *ctx, int fd, unsigned char *data, size_t len, int64_t offset, struct mb_error *err)
{
	struct seen *seen = ctx;
	size_t at;

	for (at = 0; at < len; at += PAGE)
	{
		size_t page = (size_t) (offset + (int64_t) at) / PAGE;

		assert_false(seen->pages[page]);
		seen->pages[page] = true;
		seen->count++;
		if (page == 20)
			memset(data + at, 'r', PAGE);
		if (seen->change_at && page == seen->change_at)
			assert_ok(mb_pwrite_full(fd, "changed", 7, PAGE + 50, "file", err), *err);
	}
	return MB_OK;
}

static void
test_capture__only_new_pages_are_judged_again(void **state)
{
	size_t len = 60 * PAGE + 100, page;
	struct range range;
	unsigned char *torn;
	int pass;

	(void) state;
	first_range(&range, len);
	change_page(&range, 3);
	change_page(&range, 20);
	change_page(&range, 21);
	range.data[60 * PAGE + 5] ^= 1;
	torn = mb_malloc(len);
	memcpy(torn, range.data, len);
	memset(range.data + 20 * PAGE, 'r', PAGE);
	for (pass = 0; pass < 2; pass++)
	{
		struct seen seen = {.count = 0};
		struct mb_capture *capture = begin();
		struct mb_map_ref ref = {0};
		struct mb_error err;
		uint32_t crc;

		capture_file(capture, torn, len, &range.ref, &ref, &crc, see_pages, &seen,
					 pass ? 0 : MB_RANGE_JUDGED);
		assert_ok(mb_capture_flush(&session, capture, &err), err);
		assert_int_equal(crc, mb_crc32c(MB_CRC32C_INIT, range.data, len));
		mb_capture_free(capture);
		check_range(&ref, range.data, len);
		for (page = 0; page < 61; page++)
			assert_int_equal(seen.pages[page],
							 pass || page == 3 || page == 20 || page == 21 || page == 60);
		mb_map_ref_release(&ref);
	}
	free(torn);
	end_range(&range);
}

/* Read twice because of its runs, and changed in between: all is as the second reading saw it. */
static void
test_capture__a_file_that_changes_between_two_readings(void **state)
{
	size_t pages = RANGE / PAGE, page;
	struct seen seen = {.change_at = pages - 2};
	struct mb_capture *capture = begin();
	struct mb_map_ref ref = {0};
	struct range range;
	struct mb_error err;
	uint32_t crc;

	(void) state;
	first_range(&range, RANGE);
	for (page = 0; page < pages; page += 2)
		change_page(&range, page);
	memset(range.data + 20 * PAGE, 'r', PAGE);
	capture_file(capture, range.data, RANGE, &range.ref, &ref, &crc, see_pages, &seen,
				 MB_RANGE_JUDGED);
	assert_ok(mb_capture_flush(&session, capture, &err), err);
	memcpy(range.data + PAGE + 50, "changed", 7);
	assert_int_equal(crc, mb_crc32c(MB_CRC32C_INIT, range.data, RANGE));
	assert_int_equal(capture->changed_bytes, RANGE);
	mb_capture_free(capture);
	assert_true(check_range(&ref, range.data, RANGE) <= MB_MAP_MAX_RUNS / 2);
	/* None twice (see_pages), none too few. */
	assert_int_equal(seen.count, pages / 2 + 1);
	assert_true(seen.pages[1]);
	mb_map_ref_release(&ref);
	end_range(&range);
}

static void
test_capture__small_contents_are_shared_by_their_bytes(void **state)
{
	struct mb_capture *capture = begin();
	struct mb_runs first = {0}, second = {0};
	struct mb_entry parent = {.size = 5, .has_crc32c = true};
	struct mb_error err;
	uint32_t crc;

	(void) state;
	assert_ok(mb_capture_small(capture, 0, "hello", 5, NULL, &first, &parent.crc32c, &err), err);
	assert_int_equal(capture->changed_bytes, 5);
	assert_ok(mb_capture_flush(&session, capture, &err), err);
	parent.runs = first.items;
	parent.run_count = first.count;
	assert_ok(mb_capture_small(capture, 0, "hello", 5, &parent, &second, &crc, &err), err);
	assert_int_equal(capture->changed_bytes, 5);
	assert_int_equal(second.count, 1);
	assert_memory_equal(&first.items[0], &second.items[0], sizeof(first.items[0]));
	/* A checksum that lies is not believed. */
	parent.crc32c = mb_crc32c(MB_CRC32C_INIT, "other", 5);
	second.count = 0;
	assert_ok(mb_capture_small(capture, 0, "other", 5, &parent, &second, &crc, &err), err);
	assert_int_equal(capture->changed_bytes, 10);
	assert_ok(mb_capture_flush(&session, capture, &err), err);
	mb_capture_free(capture);
	mb_runs_release(&first);
	mb_runs_release(&second);
}

/* -- re-homing ---------------------------------------------------------------------------------- */

/* 200 pages of which 150 changed since: 50 live in a pack with 200. */
static void
sparse_range(struct range *range)
{
	size_t runs, i;

	first_range(range, 200 * PAGE);
	for (i = 0; i < 150; i++)
		change_page(range, i);
	assert_int_equal(next_range(range, &runs), 150 * PAGE);
	assert_int_equal(range->ref.ref_count, 2);
}

/*
 * Capture the unchanged range both ways with a plan for a parent of so many bytes; returns what
 * was packed.
 */
static size_t
rehome_range(struct range *range, uint64_t parent_bytes, size_t avoided)
{
	struct mb_commit parent = {.bytes = parent_bytes};
	struct mb_map_ref refs[2] = {{0}};
	size_t packed[2];
	int way;

	parent.refs.items = range->ref.refs;
	parent.refs.count = parent.refs.sorted = range->ref.ref_count;
	for (way = 0; way < 2; way++)
	{
		struct mb_capture *capture = begin();
		struct mb_error err;
		uint32_t crc;

		assert_ok(mb_rehome_plan(&capture->rehome, env.repo, &parent, &err), err);
		assert_int_equal(capture->rehome.avoid.count, avoided);
		if (way == 0)
			capture_memory(capture, range->data, range->len, &range->ref, &refs[way], &crc);
		else
			capture_file(capture, range->data, range->len, &range->ref, &refs[way], &crc, NULL,
						 NULL, 0);
		assert_ok(mb_capture_flush(&session, capture, &err), err);
		packed[way] = (size_t) capture->changed_bytes;
		mb_capture_free(capture);
		check_range(&refs[way], range->data, range->len);
	}
	assert_int_equal(packed[0], packed[1]);
	mb_map_ref_release(&refs[0]);
	mb_map_ref_release(&range->ref);
	range->ref = refs[1];
	return packed[0];
}

static void
test_rehome__a_sparse_pack_is_left(void **state)
{
	struct range range;
	struct mb_pack_id old;
	size_t i;

	(void) state;
	sparse_range(&range);
	old = range.ref.refs[range.ref.refs[0].live_bytes == 50 * PAGE ? 0 : 1].pack;
	assert_int_equal(rehome_range(&range, 200 * PAGE * 8, 1), 50 * PAGE);
	for (i = 0; i < range.ref.ref_count; i++)
		assert_memory_not_equal(&range.ref.refs[i].pack, &old, sizeof(old));
	/* Now nothing is sparse. */
	assert_int_equal(rehome_range(&range, 200 * PAGE * 8, 0), 0);
	end_range(&range);
}

static void
test_rehome__no_more_than_the_budget(void **state)
{
	struct range range;

	(void) state;
	sparse_range(&range);
	assert_int_equal(rehome_range(&range, 10 * PAGE * 8, 1), 10 * PAGE);
	assert_int_equal(rehome_range(&range, 10 * PAGE * 8, 1), 10 * PAGE);
	assert_int_equal(rehome_range(&range, 0, 1), 0);
	end_range(&range);
}

static void
test_rehome__half_a_pack_is_not_sparse(void **state)
{
	struct range range;
	size_t runs, i;

	(void) state;
	first_range(&range, 200 * PAGE);
	for (i = 0; i < 99; i++)
		change_page(&range, i);
	assert_int_equal(next_range(&range, &runs), 99 * PAGE);
	assert_int_equal(rehome_range(&range, 200 * PAGE * 8, 0), 0);
	end_range(&range);
}

static void
test_rehome__a_missing_pack_is_made_good(void **state)
{
	struct range range;
	struct mb_error err;
	char name[MB_PACK_NAME_TEXT];
	const char *names[] = {name};

	(void) state;
	sparse_range(&range);
	mb_pack_name(name, &range.ref.refs[range.ref.refs[0].live_bytes == 50 * PAGE ? 0 : 1].pack);
	assert_ok(mb_store_remove(env.repo->store, names, 1, &err), err);
	assert_int_equal(rehome_range(&range, 0, 1), 50 * PAGE);
	end_range(&range);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capture__an_unchanged_range_shares_the_map),
		cmocka_unit_test(test_capture__one_page_costs_one_page),
		cmocka_unit_test(test_capture__every_other_page_of_a_small_range),
		cmocka_unit_test(test_capture__too_many_runs_are_compacted),
		cmocka_unit_test(test_capture__shrunk_and_grown),
		cmocka_unit_test(test_capture__a_damaged_parent_map_is_done_without),
		cmocka_unit_test(test_capture__a_file_against_its_parent),
		cmocka_unit_test(test_capture__only_new_pages_are_judged_again),
		cmocka_unit_test(test_capture__a_file_that_changes_between_two_readings),
		cmocka_unit_test(test_capture__small_contents_are_shared_by_their_bytes),
		cmocka_unit_test(test_rehome__a_sparse_pack_is_left),
		cmocka_unit_test(test_rehome__no_more_than_the_budget),
		cmocka_unit_test(test_rehome__half_a_pack_is_not_sparse),
		cmocka_unit_test(test_rehome__a_missing_pack_is_made_good),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

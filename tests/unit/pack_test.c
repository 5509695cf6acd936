/* pack_test.c - packs: packer, uploader, reader, verification, runs and reference tables. */
#include "tests/lib/repo_fixture.h"

#include "core/base/hash.h"
#include "core/repo/pack_private.h"

struct piece
{
	uint64_t seed;
	size_t len;
	struct mb_runs runs;
};

static void
assert_piece(struct mb_pack_reader *reader, const struct piece *piece)
{
	unsigned char *want = malloc(piece->len + 1);
	struct mb_buf got = {0};
	struct mb_error err;
	size_t i;

	assert_non_null(want);
	fill_random(want, piece->len, piece->seed);
	for (i = 0; i < piece->runs.count; i++)
	{
		assert_true(mb_run_is_valid(&piece->runs.items[i]));
		assert_ok(mb_pack_reader_run(reader, &piece->runs.items[i], &got, &err), err);
	}
	assert_int_equal(got.len, piece->len);
	if (got.len)
		assert_memory_equal(got.data, want, got.len);
	mb_buf_release(&got);
	free(want);
}

static void
append_piece(struct mb_packer *packer, struct piece *piece)
{
	unsigned char *data = malloc(piece->len + 1);
	struct mb_error err;

	assert_non_null(data);
	fill_random(data, piece->len, piece->seed);
	assert_ok(mb_packer_append(packer, data, piece->len, &piece->runs, &err), err);
	free(data);
}

static enum mb_code
count_packs(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_pack_id id;

	(void) err;
	assert_true(mb_pack_name_parse(&id, info->name));
	/* Packs never grow beyond their target but for the index. */
	assert_true(info->bytes <= MB_PACK_TARGET_BYTES + (1 << 20));
	++*(int *) ctx;
	return MB_OK;
}

static void
pieces_of_all_sizes_come_back(void **state)
{
	static const size_t sizes[] = {0,       1,        8192, 1 << 20, (1 << 20) + 1,
								   3 << 20, 40 << 20, 17,   100,     (2 << 20) - 5};
	enum mb_suite suite;

	(void) state;
	for (suite = MB_SUITE_NONE; suite <= MB_SUITE_AES_256_GCM; suite++)
	{
		struct mb_repo *repo = memory_repo(suite);
		struct mb_uploader *uploader = mb_uploader_new(repo->store, 2);
		struct mb_packer *packer = mb_packer_new(repo, uploader);
		struct mb_pack_reader *reader = mb_pack_reader_new(repo);
		struct piece pieces[sizeof(sizes) / sizeof(sizes[0])] = {{0}};
		struct mb_error err;
		size_t i;
		int packs = 0;

		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		{
			pieces[i].seed = i + 1;
			pieces[i].len = sizes[i];
			append_piece(packer, &pieces[i]);
		}
		assert_ok(mb_packer_finish(packer, &err), err);
		assert_ok(mb_packer_finish(packer, &err), err);
		assert_ok(mb_uploader_drain(uploader, &err), err);
		assert_ok(mb_store_list(repo->store, "packs/", count_packs, &packs, &err), err);
		assert_true(packs >= 3 && packs <= 5);
		for (i = sizeof(sizes) / sizeof(sizes[0]); i-- > 0;)
			assert_piece(reader, &pieces[i]);
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			mb_runs_release(&pieces[i].runs);
		mb_pack_reader_free(reader);
		mb_packer_free(packer);
		mb_uploader_free(uploader);
		mb_repo_free(repo);
	}
}

#define MANY 5000

static void
many_small_pieces_share_frames(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	struct mb_uploader *uploader = mb_uploader_new(repo->store, 1);
	struct mb_packer *packer = mb_packer_new(repo, uploader);
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	struct piece *pieces = mb_calloc(MANY, sizeof(*pieces));
	struct mb_run *own = mb_calloc(MANY, sizeof(*own));
	struct mb_error err;
	uint32_t top_frame = 0;
	size_t i, owns = 0;

	(void) state;
	for (i = 0; i < MANY; i++)
	{
		pieces[i].seed = i + 7;
		pieces[i].len = (i * 37) % 700;
		append_piece(packer, &pieces[i]);
		if (i % 10 == 9)
		{
			unsigned char frame[300];

			fill_random(frame, sizeof(frame), i);
			assert_ok(mb_packer_append_frame(packer, frame, sizeof(frame), &own[owns++], &err),
					  err);
		}
	}
	assert_ok(mb_packer_finish(packer, &err), err);
	assert_ok(mb_uploader_drain(uploader, &err), err);
	for (i = 0; i < MANY; i++)
		assert_piece(reader, &pieces[i]);
	for (i = 0; i < owns; i++)
	{
		struct piece piece = {.seed = i * 10 + 9, .len = 300};

		mb_runs_add(&piece.runs, &own[i]);
		assert_int_equal(own[i].offset, 0);
		assert_piece(reader, &piece);
		mb_runs_release(&piece.runs);
		if (own[i].frame > top_frame)
			top_frame = own[i].frame;
	}
	/* Frames of their own (500) do not break up the data into as many small ones. */
	assert_true(top_frame < owns + 20);
	for (i = 0; i < MANY; i++)
		mb_runs_release(&pieces[i].runs);
	free(pieces);
	free(own);
	mb_pack_reader_free(reader);
	mb_packer_free(packer);
	mb_uploader_free(uploader);
	mb_repo_free(repo);
}

/* A pack with some frames; its id and bytes. */
static void
small_pack(struct mb_repo *repo, struct mb_pack_id *id, struct mb_buf *bytes)
{
	struct mb_uploader *uploader = mb_uploader_new(repo->store, 1);
	struct mb_packer *packer = mb_packer_new(repo, uploader);
	char name[MB_PACK_NAME_TEXT];
	struct mb_error err;
	struct mb_run run;

	assert_ok(mb_packer_append_frame(packer, "the first frame", 15, &run, &err), err);
	assert_ok(mb_packer_append_frame(packer, "second", 6, &run, &err), err);
	assert_ok(mb_packer_finish(packer, &err), err);
	assert_ok(mb_uploader_drain(uploader, &err), err);
	mb_packer_free(packer);
	mb_uploader_free(uploader);
	*id = run.pack;
	mb_pack_name(name, id);
	assert_ok(mb_store_get(repo->store, name, 0, SIZE_MAX, bytes, &err), err);
}

static void
every_flipped_bit_of_a_pack_is_found(void **state)
{
	enum mb_suite suite;

	(void) state;
	for (suite = MB_SUITE_NONE; suite <= MB_SUITE_AES_256_GCM; suite++)
	{
		struct mb_repo *repo = memory_repo(suite);
		struct mb_buf bytes = {0};
		struct mb_pack_reader *reader = mb_pack_reader_new(repo);
		char name[MB_PACK_NAME_TEXT];
		struct mb_pack_id id;
		uint64_t plain_bytes;
		uint32_t frames;
		struct mb_error err;
		size_t bit, cut;

		small_pack(repo, &id, &bytes);
		mb_pack_name(name, &id);
		assert_ok(mb_pack_verify(reader, &id, &plain_bytes, &frames, &err), err);
		assert_int_equal(plain_bytes, 21);
		assert_int_equal(frames, 2);
		for (bit = 0; bit < 8 * bytes.len; bit++)
		{
			bytes.data[bit / 8] ^= (unsigned char) (1u << (bit % 8));
			replace_blob(repo->store, name, bytes.data, bytes.len);
			if (mb_pack_verify(reader, &id, &plain_bytes, &frames, &err) == MB_OK)
				fail_msg("flipped bit %zu was not noticed", bit);
			bytes.data[bit / 8] ^= (unsigned char) (1u << (bit % 8));
		}
		for (cut = 0; cut < bytes.len; cut++)
		{
			struct mb_pack_reader *fresh = mb_pack_reader_new(repo);
			const unsigned char *data;
			size_t len;

			replace_blob(repo->store, name, bytes.data, cut);
			assert_code(MB_CORRUPT, mb_pack_verify(reader, &id, &plain_bytes, &frames, &err), err);
			assert_code(MB_CORRUPT, mb_pack_reader_frame(fresh, &id, 0, &data, &len, &err), err);
			mb_pack_reader_free(fresh);
		}
		mb_buf_put(&bytes, "x", 1);
		replace_blob(repo->store, name, bytes.data, bytes.len);
		assert_code(MB_CORRUPT, mb_pack_verify(reader, &id, &plain_bytes, &frames, &err), err);
		mb_buf_release(&bytes);
		mb_pack_reader_free(reader);
		mb_repo_free(repo);
	}
}

static void
references_into_nothing(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	struct mb_buf bytes = {0}, out = {0};
	const unsigned char *data;
	struct mb_pack_id id, none = {{1, 2, 3}};
	struct mb_run run = {.length = 16};
	struct mb_error err;
	uint64_t plain_bytes;
	uint32_t frames;
	size_t len;

	(void) state;
	small_pack(repo, &id, &bytes);
	assert_code(MB_CORRUPT, mb_pack_reader_frame(reader, &none, 0, &data, &len, &err), err);
	assert_non_null(strstr(err.message, "missing"));
	assert_code(MB_CORRUPT, mb_pack_reader_load(reader, &none, &err), err);
	assert_code(MB_CORRUPT, mb_pack_verify(reader, &none, &plain_bytes, &frames, &err), err);
	assert_code(MB_CORRUPT, mb_pack_reader_frame(reader, &id, 2, &data, &len, &err), err);
	assert_code(MB_CORRUPT, mb_pack_reader_frame(reader, &id, UINT32_MAX, &data, &len, &err), err);
	run.pack = id;
	assert_code(MB_CORRUPT, mb_pack_reader_run(reader, &run, &out, &err), err);
	run.offset = UINT32_MAX;
	assert_code(MB_CORRUPT, mb_pack_reader_run(reader, &run, &out, &err), err);
	run.offset = 4;
	run.length = 5;
	assert_ok(mb_pack_reader_run(reader, &run, &out, &err), err);
	assert_string_equal(mb_buf_cstr(&out), "first");
	mb_buf_release(&bytes);
	mb_buf_release(&out);
	mb_pack_reader_free(reader);
	mb_repo_free(repo);
}

static void
a_loaded_pack_needs_no_store(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	struct mb_buf bytes = {0};
	const unsigned char *data;
	char name[MB_PACK_NAME_TEXT];
	const char *names[] = {name};
	struct mb_pack_id id;
	struct mb_error err;
	size_t len;

	(void) state;
	small_pack(repo, &id, &bytes);
	mb_pack_name(name, &id);
	assert_ok(mb_pack_reader_load(reader, &id, &err), err);
	assert_ok(mb_store_remove(repo->store, names, 1, &err), err);
	assert_ok(mb_pack_reader_frame(reader, &id, 1, &data, &len, &err), err);
	assert_int_equal(len, 6);
	assert_memory_equal(data, "second", 6);
	assert_ok(mb_pack_reader_frame(reader, &id, 0, &data, &len, &err), err);
	assert_int_equal(len, 15);
	mb_buf_release(&bytes);
	mb_pack_reader_free(reader);
	mb_repo_free(repo);
}

/* More packs than the reader keeps, in an order that defeats its caches. */
static void
the_reader_switches_between_packs(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	struct mb_pack_id ids[20];
	struct mb_error err;
	int round, i;

	(void) state;
	for (i = 0; i < 20; i++)
	{
		struct mb_buf bytes = {0};

		small_pack(repo, &ids[i], &bytes);
		mb_buf_release(&bytes);
	}
	for (round = 0; round < 3; round++)
		for (i = 0; i < 20; i++)
		{
			const unsigned char *data;
			size_t len;

			if (i % 7 == 3)
				assert_ok(mb_pack_reader_load(reader, &ids[i], &err), err);
			assert_ok(mb_pack_reader_frame(reader, &ids[i], (uint32_t) (i + round) % 2, &data, &len,
										   &err),
					  err);
			assert_int_equal(len, (i + round) % 2 ? 6 : 15);
		}
	mb_pack_reader_free(reader);
	mb_repo_free(repo);
}

static void
a_failed_upload_is_remembered(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_uploader *uploader = mb_uploader_new(repo->store, 2);
	struct mb_error err;
	enum mb_code code = MB_OK;
	int i;

	(void) state;
	mb_store_memory_fail_after(repo->store, 1, MB_NO_SPACE);
	for (i = 0; i < 50 && !code; i++)
	{
		struct mb_buf bytes = {0};
		char name[32];

		mb_buf_put_str(&bytes, "12345");
		snprintf(name, sizeof(name), "packs/%d", i);
		code = mb_uploader_put(uploader, name, &bytes, &err);
		assert_null(bytes.data);
	}
	assert_code(MB_NO_SPACE, mb_uploader_drain(uploader, &err), err);
	assert_int_equal(mb_uploader_bytes(uploader), 5);
	mb_uploader_free(uploader);
	mb_repo_free(repo);
}

static void
runs_join_and_tables_merge(void **state)
{
	struct mb_run run = {.frame = 1, .offset = 10, .length = 5};
	struct mb_pack_refs refs = {0};
	struct mb_runs runs = {0};
	int i;

	(void) state;
	mb_runs_add(&runs, &run);
	run.offset = 15;
	mb_runs_add(&runs, &run);
	assert_int_equal(runs.count, 1);
	assert_int_equal(runs.items[0].length, 10);
	mb_runs_add(&runs, &run);
	run.frame = 2;
	run.offset = 20;
	mb_runs_add(&runs, &run);
	assert_int_equal(runs.count, 3);
	mb_runs_release(&runs);
	for (i = 0; i < 100000; i++)
	{
		struct mb_pack_id id = {{(unsigned char) (i * 7919 % 251)}};

		mb_pack_refs_add(&refs, &id, 3);
	}
	mb_pack_refs_settle(&refs);
	assert_int_equal(refs.count, 251);
	assert_true(refs.cap < 10000);
	assert_true(mb_refs_are_sorted(refs.items, refs.count));
	for (i = 0; i < 251; i++)
		assert_true(refs.items[i].live_bytes == 3 * 398 || refs.items[i].live_bytes == 3 * 399);
	mb_pack_refs_release(&refs);
}

static void
spans_both_ways(void **state)
{
	struct mb_runs runs = {0}, back = {0};
	struct mb_buf bytes = {0};
	struct mb_rd rd;
	uint32_t spans, i;

	(void) state;
	for (i = 0; i < 40; i++)
	{
		struct mb_run run = {.pack = {{(unsigned char) (i / 15)}},
							 .frame = 3 + i % 15,
							 .length = MB_FRAME_MAX_PLAIN};

		if (i == 0)
		{
			run.offset = 77;
			run.length -= 77;
		}
		if (i == 39)
			run.length = 5;
		mb_runs_add(&runs, &run);
	}
	spans = mb_put_spans(&bytes, runs.items, runs.count);
	assert_int_equal(spans, 4);
	rd = mb_rd_init(bytes.data, bytes.len);
	assert_true(mb_get_spans(&rd, spans, 40, &back));
	assert_int_equal(back.count, 40);
	assert_memory_equal(back.items, runs.items, 40 * sizeof(struct mb_run));
	back.count = 0;
	rd = mb_rd_init(bytes.data, bytes.len);
	assert_false(mb_get_spans(&rd, spans, 39, &back));
	back.count = 0;
	mb_set_u32(bytes.data + 28, 0xFFFFFFFFu);
	rd = mb_rd_init(bytes.data, bytes.len);
	assert_false(mb_get_spans(&rd, spans, SIZE_MAX, &back));
	mb_buf_release(&bytes);
	mb_runs_release(&runs);
	mb_runs_release(&back);
}

static void
pack_names(void **state)
{
	struct mb_pack_id id, back;
	char name[MB_PACK_NAME_TEXT];

	(void) state;
	fill_random(id.bytes, sizeof(id.bytes), 1);
	mb_pack_name(name, &id);
	assert_true(mb_pack_name_parse(&back, name));
	assert_memory_equal(&id, &back, sizeof(id));
	name[6] = name[6] == 'a' ? 'b' : 'a';
	assert_false(mb_pack_name_parse(&back, name));
	assert_false(mb_pack_name_parse(&back, "packs/"));
	assert_false(mb_pack_name_parse(&back, ""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_of_all_sizes_come_back),
		cmocka_unit_test(many_small_pieces_share_frames),
		cmocka_unit_test(every_flipped_bit_of_a_pack_is_found),
		cmocka_unit_test(references_into_nothing),
		cmocka_unit_test(a_loaded_pack_needs_no_store),
		cmocka_unit_test(the_reader_switches_between_packs),
		cmocka_unit_test(a_failed_upload_is_remembered),
		cmocka_unit_test(runs_join_and_tables_merge),
		cmocka_unit_test(spans_both_ways),
		cmocka_unit_test(pack_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

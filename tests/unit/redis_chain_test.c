/* redis_chain_test.c - what of the captured stream is replayed behind an offset. */
#include "tests/lib/repo_fixture.h"

#include "redis/pieces.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const char zeros[1000];

static void
put(const struct mb_repo *repo, const char *replid, uint64_t start, uint64_t end,
	enum mb_piece_kind kind, const char *from, uint64_t from_offset)
{
	struct mb_piece *piece = mb_calloc(1, sizeof(*piece));
	struct mb_error err;

	strcpy(piece->name.replid, replid);
	piece->name.start = piece->command = start;
	piece->name.end = end;
	piece->kind = kind;
	strcpy(piece->from_replid, from);
	piece->from_offset = from_offset;
	assert_ok(mb_piece_put(repo, "redis", piece, zeros, end - start, &err), err);
	free(piece);
}

static void
follow(const struct mb_repo *repo, uint64_t from, struct mb_chain *chain)
{
	struct mb_pieces pieces = {0};
	struct mb_error err;

	assert_ok(mb_pieces_list(repo, "redis", NULL, &pieces, &err), err);
	assert_ok(mb_chain_follow(repo, "redis", &pieces, A, from, chain, &err), err);
	mb_pieces_release(&pieces);
}

static void
test_chain__goes_on_in_the_next_history(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_chain chain = {0};

	(void) state;
	put(repo, A, 0, 100, MB_PIECE_DATA, "", 0);
	put(repo, A, 100, 200, MB_PIECE_DATA, "", 0);
	put(repo, B, 200, 200, MB_PIECE_CONTINUE, A, 200);
	put(repo, B, 200, 300, MB_PIECE_DATA, "", 0);
	follow(repo, 50, &chain);
	assert_int_equal(chain.span_count, 2);
	assert_int_equal(mb_chain_end(&chain), 300);
	assert_true(mb_chain_holds(&chain, A, 200) && mb_chain_holds(&chain, B, 300));
	assert_false(mb_chain_holds(&chain, B, 199) || mb_chain_holds(&chain, A, 49));
	mb_chain_release(&chain);
	mb_repo_free(repo);
}

static void
test_chain__leaves_a_dead_branch_where_the_next_history_begins(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_chain chain = {0};
	size_t i;

	(void) state;
	put(repo, A, 0, 100, MB_PIECE_DATA, "", 0);
	put(repo, A, 100, 150, MB_PIECE_DATA, "", 0); /* the cut copy of the next */
	put(repo, A, 100, 200, MB_PIECE_DATA, "", 0);
	put(repo, A, 200, 250, MB_PIECE_DATA, "", 0);
	put(repo, B, 150, 150, MB_PIECE_CONTINUE, A, 150);
	put(repo, B, 150, 300, MB_PIECE_DATA, "", 0);
	follow(repo, 50, &chain);
	assert_int_equal(mb_chain_end(&chain), 300);
	assert_true(mb_chain_holds(&chain, A, 150) && mb_chain_holds(&chain, B, 160));
	assert_false(mb_chain_holds(&chain, A, 160));
	for (i = 0; i < chain.count; i++)
		assert_true(strcmp(chain.items[i].replid, B) == 0 || chain.items[i].end <= 150);
	mb_chain_release(&chain);
	/* A backup that was taken in the dead branch stays in it. */
	follow(repo, 160, &chain);
	assert_int_equal(mb_chain_end(&chain), 250);
	assert_true(mb_chain_holds(&chain, A, 250));
	assert_false(mb_chain_holds(&chain, B, 160));
	mb_chain_release(&chain);
	mb_repo_free(repo);
}

static void
test_chain__is_not_spliced_without_the_cut_or_over_a_gap(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_chain chain = {0};

	(void) state;
	put(repo, A, 0, 100, MB_PIECE_DATA, "", 0);
	put(repo, B, 50, 50, MB_PIECE_CONTINUE, A, 50); /* no piece of A ends there */
	put(repo, B, 50, 300, MB_PIECE_DATA, "", 0);
	follow(repo, 0, &chain);
	assert_int_equal(mb_chain_end(&chain), 100);
	mb_chain_release(&chain);
	mb_repo_free(repo);

	repo = memory_repo(MB_SUITE_NONE);
	put(repo, A, 0, 100, MB_PIECE_DATA, "", 0);
	put(repo, B, 100, 100, MB_PIECE_GAP, A, 100);
	put(repo, B, 100, 300, MB_PIECE_DATA, "", 0);
	follow(repo, 0, &chain);
	assert_int_equal(mb_chain_end(&chain), 100);
	mb_chain_release(&chain);
	mb_repo_free(repo);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain__goes_on_in_the_next_history),
		cmocka_unit_test(test_chain__leaves_a_dead_branch_where_the_next_history_begins),
		cmocka_unit_test(test_chain__is_not_spliced_without_the_cut_or_over_a_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

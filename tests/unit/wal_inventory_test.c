/*
 * wal_inventory_test.c - names, pieces, coverage, cursors and the ways over branches and
 * timelines, in a repository in memory.
 */
#include "tests/lib/repo_fixture.h"

#include "core/base/time.h"
#include "walstreamer/inventory.h"

#define MIB (1u << 20)
#define SYSID "7711270949123918848"
#define BRANCH_A "aaaaaaaaaaaaaaaa"
#define BRANCH_B "bbbbbbbbbbbbbbbb"
#define BRANCH_C "cccccccccccccccc"

static struct mb_repo *repo;
static struct mb_env env;

static int
set_up(void **state)
{
	(void) state;
	repo = memory_repo(MB_SUITE_AES_256_GCM);
	env.repo = repo;
	env.workers = 1;
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	mb_repo_free(repo);
	return 0;
}

/* The history of a branch is its seed: equal seeds give equal bytes at equal places. */
static void
fill(unsigned char *out, uint64_t from, size_t len, unsigned seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		out[i] = (unsigned char) ((from + i) * 31 + ((from + i) >> 13) + seed);
}

struct extra
{
	const char *point;
	const char *history;
	const char *parent_branch;
	int64_t commit_us;
	int64_t server_us;
};

static enum mb_code
try_piece(uint32_t timeline, const char *branch, uint64_t from, uint64_t to, unsigned seed,
		  const struct extra *extra, struct mb_error *err)
{
	struct mb_wal_fact_point point = {.lsn = to, .time_us = 1000000};
	struct mb_wal_facts facts = {0};
	struct mb_wal_piece piece = {.where = {"pg", SYSID, timeline, branch, MIB},
								 .from_lsn = from,
								 .to_lsn = to,
								 .received_us = 5000000,
								 .server_time_us =
									 extra && extra->server_us ? extra->server_us : 5000000,
								 .facts = &facts};
	struct mb_blob_writer writer = {0};
	unsigned char *data = mb_malloc((size_t) (to - from));
	enum mb_code code;

	fill(data, from, (size_t) (to - from), seed);
	piece.data = data;
	if (extra && extra->point)
	{
		snprintf(point.name, sizeof(point.name), "%s", extra->point);
		facts.points = &point;
		facts.point_count = 1;
	}
	if (extra && extra->commit_us)
	{
		facts.commits = 1;
		facts.first_commit_us = facts.newest_commit_us = extra->commit_us;
	}
	piece.history = extra ? extra->history : NULL;
	piece.parent_branch = extra ? extra->parent_branch : NULL;
	code = mb_wal_piece_put(&writer, repo, &piece, err);
	mb_blob_writer_release(&writer);
	free(data);
	return code;
}

static void
put_piece(uint32_t timeline, const char *branch, uint64_t from, uint64_t to, unsigned seed,
		  const struct extra *extra)
{
	struct mb_error err;

	assert_ok(try_piece(timeline, branch, from, to, seed, extra, &err), err);
}

static void
names__round_trip(void **state)
{
	struct mb_wal_where where = {"pg", SYSID, 10, BRANCH_A, 16 * MIB};
	struct mb_wal_piece_parts parts;
	char name[MB_NAME_MAX], prefix[MB_NAME_MAX], file[MB_WAL_FILE_TEXT];
	uint32_t timeline;
	uint64_t lsn;

	(void) state;
	mb_wal_piece_name(name, &where, 0xA12345678, 0xA13000000);
	assert_string_equal(name, "streams/pg/wal/" SYSID "/0000000A/" BRANCH_A
							  "/0000000A0000000A00000012/00345678-01000000");
	mb_wal_system_prefix(prefix, "pg", SYSID);
	assert_true(mb_wal_piece_parse(name + strlen(prefix), &parts));
	assert_true(parts.timeline == 10 && parts.start == 0x345678 && parts.end == 0x1000000);
	assert_true(mb_wal_piece_lsn(&parts, 16 * MIB, &lsn) && lsn == 0xA12000000);
	assert_false(mb_wal_piece_lsn(&parts, MIB, &lsn)); /* its end is behind the segment */
	mb_wal_file_name(file, 1, 0x1FF000000, 16 * MIB);
	assert_string_equal(file, "0000000100000001000000FF");
	assert_true(mb_wal_file_parse(file, 16 * MIB, &timeline, &lsn) && lsn == 0x1FF000000);
	assert_false(mb_wal_file_parse("000000010000000100000100", 16 * MIB, &timeline, &lsn));
	assert_true(mb_wal_history_parse("0000000B.history", &timeline) && timeline == 11);
	assert_false(mb_wal_history_parse("0000000b.history", &timeline));
}

static void
history__gives_the_parent(void **state)
{
	static const char good[] =
		"1\t0/3000028\tno recovery target specified\n\n# note\n2\t1/20\tx y\n";
	static const char *const bad[] = {"",
									  "# only\n",
									  "3\t0/10\tx\n",
									  "1\tnonsense\n",
									  "2\t0/10\tx\n1\t0/20\tx\n",
									  "1\t0/20\tx\n2\t0/10\tx\n"};
	struct mb_error err;
	uint32_t parent;
	uint64_t lsn;
	size_t i;

	(void) state;
	assert_ok(mb_wal_history_parent(good, strlen(good), 3, &parent, &lsn, &err), err);
	assert_true(parent == 2 && lsn == 0x100000020);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_code(MB_CORRUPT,
					mb_wal_history_parent(bad[i], strlen(bad[i]), 3, &parent, &lsn, &err), err);
}

static void
piece__again_is_fine_and_other_bytes_are_not(void **state)
{
	unsigned char want[3000], got[3000];
	struct mb_wal_where where = {"pg", SYSID, 1, BRANCH_A, MIB};
	struct mb_error err;

	(void) state;
	put_piece(1, BRANCH_A, 5 * MIB, 5 * MIB + 3000, 1, NULL);
	put_piece(1, BRANCH_A, 5 * MIB, 5 * MIB + 3000, 1, NULL);
	assert_code(MB_EXISTS, try_piece(1, BRANCH_A, 5 * MIB, 5 * MIB + 3000, 2, NULL, &err), err);
	put_piece(1, BRANCH_A, 5 * MIB + 3000, 5 * MIB + 4000, 1, NULL);
	fill(want, 5 * MIB + 1500, 2000, 1);
	assert_ok(mb_wal_assemble(repo, &where, 5 * MIB + 1500, 5 * MIB + 3500, got, &err), err);
	assert_memory_equal(want, got, 2000);
	assert_code(MB_CORRUPT,
				mb_wal_assemble(repo, &where, 5 * MIB + 1500, 5 * MIB + 4001, got, &err), err);
}

static void
cursor__follows_pieces_and_knows_its_history(void **state)
{
	struct mb_wal_cursor cursor = {.system_id = SYSID,
								   .timeline = 1,
								   .segment_size = MIB,
								   .from_lsn = 5 * MIB + 100,
								   .point = "cut",
								   .point_lsn = 7 * MIB + 50};
	struct mb_error err;

	(void) state;
	/* Another history with the same numbers, and longer. */
	put_piece(1, BRANCH_A, 5 * MIB, 6 * MIB, 1, NULL);
	put_piece(1, BRANCH_A, 6 * MIB, 7 * MIB, 1, NULL);
	put_piece(1, BRANCH_A, 7 * MIB, 7 * MIB + 500, 1, NULL);
	put_piece(1, BRANCH_B, 5 * MIB, 6 * MIB, 2, NULL);
	assert_ok(mb_wal_cursor_advance(&env, "pg", &cursor, &err), err);
	assert_string_equal(cursor.branch, "");
	assert_ok(mb_wal_cursor_advance(&env, "pg", &cursor, &err), err);
	assert_string_equal(cursor.branch, BRANCH_B);
	assert_true(cursor.lsn == 6 * MIB);
	put_piece(1, BRANCH_B, 6 * MIB, 7 * MIB, 2, NULL);
	put_piece(1, BRANCH_B, 7 * MIB, 7 * MIB + 50, 2, &(struct extra){.point = "cut"});
	assert_ok(mb_wal_cursor_advance(&env, "pg", &cursor, &err), err);
	assert_true(cursor.lsn == 7 * MIB + 50 && cursor.point_seen);
}

static enum mb_code
find(const struct mb_wal_query *query, struct mb_wal_chain *chain, struct mb_error *err)
{
	struct mb_wal_inventory *inventory;
	enum mb_code code = mb_wal_inventory_load(&inventory, repo, "pg", SYSID, err);

	if (!code)
		code = mb_wal_chain_find(inventory, query, chain, err);
	mb_wal_inventory_free(inventory);
	return code;
}

static void
chain__refuses_a_hole_and_an_end(void **state)
{
	struct mb_wal_query query = {.start_lsn = 5 * MIB + 100, .timeline = 1, .branch = BRANCH_A};
	struct mb_wal_chain chain = {0};
	struct mb_error err;

	(void) state;
	assert_code(MB_NOT_FOUND, find(&query, &chain, &err), err);
	put_piece(1, BRANCH_A, 5 * MIB, 6 * MIB, 1, NULL);
	put_piece(1, BRANCH_A, 8 * MIB, 9 * MIB, 1, NULL);
	query.need_lsn = 5 * MIB + 500;
	assert_ok(find(&query, &chain, &err), err);
	assert_true(chain.count == 1 && chain.end_lsn == 6 * MIB);
	mb_wal_chain_release(&chain);
	query.need_lsn = 8 * MIB + 1;
	assert_code(MB_CORRUPT, find(&query, &chain, &err), err);
	assert_non_null(strstr(err.message, "WAL is missing from 0/600000 to 0/800000 on timeline 1"));
	query.need_lsn = 20 * MIB;
	assert_code(MB_NOT_FOUND, find(&query, &chain, &err), err);
	query.start_lsn = 7 * MIB;
	query.need_lsn = 0;
	assert_code(MB_CORRUPT, find(&query, &chain, &err), err);
}

/* Timeline 1 is left twice, at the same place; the restore point tells which is meant. */
static void
chain__finds_its_timeline_2(void **state)
{
	static const char text[] = "1\t0/680000\tat restore point\n";
	struct mb_wal_query query = {.start_lsn = 5 * MIB, .timeline = 1, .branch = BRANCH_A};
	struct extra first = {.parent_branch = BRANCH_A, .server_us = 6000000};
	struct extra second = {.server_us = 7000000, .point = "second"};
	struct mb_blob_writer writer = {0};
	struct mb_wal_chain chain = {0};
	char history[MB_NAME_MAX];
	struct mb_error err;

	(void) state;
	assert_ok(mb_wal_history_put(&writer, repo, "pg", SYSID, 2, text, strlen(text), history, &err),
			  err);
	assert_ok(mb_wal_history_put(&writer, repo, "pg", SYSID, 2, text, strlen(text), history, &err),
			  err);
	mb_blob_writer_release(&writer);
	first.history = second.history = history;
	put_piece(1, BRANCH_A, 5 * MIB, 6 * MIB, 1, NULL);
	put_piece(1, BRANCH_A, 6 * MIB, 6 * MIB + MIB / 2, 1, NULL);
	put_piece(2, BRANCH_B, 6 * MIB, 7 * MIB, 1, &first);
	put_piece(2, BRANCH_C, 6 * MIB, 6 * MIB + MIB * 3 / 4, 1, &second);
	assert_ok(find(&query, &chain, &err), err);
	assert_int_equal(chain.count, 2);
	assert_string_equal(chain.links[1].branch, BRANCH_C); /* received last */
	assert_true(chain.links[0].to_lsn == 6 * MIB && chain.links[1].from_lsn == 6 * MIB);
	assert_string_equal(chain.links[1].history, history);
	mb_wal_chain_release(&chain);
	query.need_lsn = 6 * MIB + MIB * 7 / 8;
	assert_ok(find(&query, &chain, &err), err);
	assert_string_equal(chain.links[1].branch, BRANCH_B);
	mb_wal_chain_release(&chain);
	query.need_lsn = 0;
	query.point = "second";
	assert_ok(find(&query, &chain, &err), err);
	assert_true(chain.has_point && strcmp(chain.links[1].branch, BRANCH_C) == 0);
	mb_wal_chain_release(&chain);
	query.point = NULL;
	query.target_timeline = 1;
	assert_ok(find(&query, &chain, &err), err);
	assert_true(chain.count == 1 && chain.end_lsn == 6 * MIB + MIB / 2);
	mb_wal_chain_release(&chain);
	query.target_timeline = 3;
	assert_code(MB_NOT_FOUND, find(&query, &chain, &err), err);
}

/* A stream that met the server in recovery came along a branch of its own. */
static void
chain__takes_another_parent_with_equal_bytes(void **state)
{
	static const char text[] = "1\t0/680000\tat restore point\n";
	struct mb_wal_query query = {.start_lsn = 5 * MIB, .timeline = 1, .branch = BRANCH_A};
	struct mb_blob_writer writer = {0};
	struct mb_wal_chain chain = {0};
	struct extra extra = {.parent_branch = BRANCH_B};
	char history[MB_NAME_MAX];
	struct mb_error err;
	unsigned seed;

	(void) state;
	for (seed = 2; seed > 0; seed--)
	{
		/* First the parent is another history, then (in a new repository) the same. */
		assert_ok(mb_wal_history_put(&writer, repo, "pg", SYSID, 2, text, strlen(text), history,
									 &err),
				  err);
		extra.history = history;
		put_piece(1, BRANCH_A, 5 * MIB, 6 * MIB, 1, NULL);
		put_piece(1, BRANCH_A, 6 * MIB, 7 * MIB, 1, NULL);
		put_piece(1, BRANCH_B, 6 * MIB, 6 * MIB + MIB / 2, seed, NULL);
		put_piece(2, BRANCH_C, 6 * MIB, 7 * MIB, seed, &extra);
		assert_ok(find(&query, &chain, &err), err);
		assert_int_equal(chain.links[chain.count - 1].timeline, seed == 1 ? 2 : 1);
		mb_wal_chain_release(&chain);
		mb_blob_writer_release(&writer);
		memset(&writer, 0, sizeof(writer));
		if (seed == 2)
		{
			tear_down(state);
			set_up(state);
		}
	}
}

/* Own state lost: another branch of the same timeline joins only where its bytes are the same. */
static void
chain__joins_equal_branches_only(void **state)
{
	struct mb_wal_query query = {.start_lsn = 5 * MIB, .timeline = 1, .branch = BRANCH_A};
	struct mb_wal_chain chain = {0};
	struct mb_error err;

	(void) state;
	put_piece(1, BRANCH_A, 5 * MIB, 6 * MIB, 1, NULL);
	put_piece(1, BRANCH_A, 6 * MIB, 6 * MIB + 900, 1, NULL);
	put_piece(1, BRANCH_B, 6 * MIB, 7 * MIB, 2, NULL);
	assert_ok(find(&query, &chain, &err), err);
	assert_true(chain.count == 1 && chain.end_lsn == 6 * MIB + 900);
	mb_wal_chain_release(&chain);
	put_piece(1, BRANCH_C, 6 * MIB, 6 * MIB + 5000, 1, &(struct extra){.commit_us = 1234567});
	assert_ok(find(&query, &chain, &err), err);
	assert_true(chain.count == 2 && chain.end_lsn == 6 * MIB + 5000);
	assert_true(chain.last_commit_us == 1234567 && chain.received_until_us == 5000000);
	mb_wal_chain_release(&chain);
}

/* The branch of a backup has no WAL: each other one of its timeline may be the way. */
static void
chain__tries_every_other_beginning(void **state)
{
	struct mb_wal_query query = {.start_lsn = 5 * MIB,
								 .need_lsn = 6 * MIB + 4000,
								 .timeline = 1,
								 .branch = BRANCH_A};
	struct mb_wal_chain chain = {0};
	struct mb_error err;

	(void) state;
	put_piece(1, BRANCH_B, 5 * MIB, 6 * MIB, 3, NULL);
	put_piece(1, BRANCH_C, 5 * MIB, 6 * MIB, 1, NULL);
	put_piece(1, BRANCH_C, 6 * MIB, 7 * MIB, 2, NULL);
	assert_ok(find(&query, &chain, &err), err);
	assert_true(chain.count == 1 && chain.end_lsn == 7 * MIB);
	assert_string_equal(chain.links[0].branch, BRANCH_C);
	mb_wal_chain_release(&chain);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names__round_trip),
		cmocka_unit_test(history__gives_the_parent),
		TEST(piece__again_is_fine_and_other_bytes_are_not),
		TEST(cursor__follows_pieces_and_knows_its_history),
		TEST(chain__refuses_a_hole_and_an_end),
		TEST(chain__finds_its_timeline_2),
		TEST(chain__takes_another_parent_with_equal_bytes),
		TEST(chain__joins_equal_branches_only),
		TEST(chain__tries_every_other_beginning),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("wal_inventory", tests, NULL, NULL);
}

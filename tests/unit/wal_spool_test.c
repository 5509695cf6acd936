/*
 * wal_spool_test.c - the spool of received WAL: what a crash cuts or damages ends a file, the
 * rest reaches its branch, and what disagrees with the branch goes to another one.
 */
#include "tests/lib/repo_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "walstreamer/inventory.h"
#include "walstreamer/wal_spool_private.h"

#define MIB (1u << 20)
#define SYSID "7711270949123918848"
#define BRANCH "aaaaaaaaaaaaaaaa"

static struct mb_repo *repo;
static struct mb_env env;
static char spool_dir[64];
static unsigned char bytes[MIB];
static const struct mb_wal_where where = {"pg", SYSID, 1, BRANCH, MIB};

static int
set_up(void **state)
{
	size_t i;

	(void) state;
	repo = memory_repo(MB_SUITE_NONE);
	snprintf(spool_dir, sizeof(spool_dir), "/tmp/wal-spool-test.XXXXXX");
	assert_non_null(mkdtemp(spool_dir));
	env = (struct mb_env){.repo = repo, .workers = 1, .spool = spool_dir};
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char) (i * 7 + (i >> 9));
	return 0;
}

static int
tear_down(void **state)
{
	struct mb_error err;

	(void) state;
	assert_int_equal(mb_rmtree(spool_dir, &err), MB_OK);
	mb_repo_free(repo);
	return 0;
}

static struct mb_wal_spool *
open_spool(uint64_t limit_bytes)
{
	struct mb_wal_spool *spool;
	struct mb_error err;

	assert_int_equal(mb_wal_spool_open(&spool, &env, "pg", limit_bytes, &err), MB_OK);
	return spool;
}

/* One unit at lsn in records of the given size, up to len. */
static void
write_unit(struct mb_wal_spool *spool, uint64_t lsn, size_t len, size_t record)
{
	struct mb_wal_piece piece = {.where = where,
								 .from_lsn = lsn,
								 .history = "",
								 .parent_branch = ""};
	struct mb_error err;
	size_t at, now;

	assert_int_equal(mb_wal_spool_begin(spool, &piece, &err), MB_OK);
	for (at = 0; at < len; at += now)
	{
		now = len - at < record ? len - at : record;
		assert_int_equal(mb_wal_spool_append(spool, lsn + at, bytes + at, now, &err), MB_OK);
	}
	assert_int_equal(mb_wal_spool_sync(spool, &err), MB_OK);
}

/* How many branches hold WAL, and where the first ends. */
static size_t
branches(uint64_t *end)
{
	struct mb_wal_inventory *inventory;
	struct mb_error err;
	size_t count;

	assert_int_equal(mb_wal_inventory_load(&inventory, repo, "pg", SYSID, &err), MB_OK);
	count = inventory->branch_count;
	*end = count > 0 ? mb_wal_branch_end(&inventory->branches[0]) : 0;
	mb_wal_inventory_free(inventory);
	return count;
}

static void
test_wal_spool__stores_what_was_left(void **state)
{
	struct mb_wal_spool *spool = open_spool(64 * MIB);
	unsigned char *got = malloc(MIB);
	struct mb_error err;
	uint64_t end;

	(void) state;
	write_unit(spool, MIB, MIB, 8192);
	write_unit(spool, 2 * MIB, 300000, 100000);
	mb_wal_spool_close(spool);
	spool = open_spool(64 * MIB);
	assert_int_equal(mb_wal_spool_flush(spool, &err), MB_OK);
	assert_int_equal(branches(&end), 1);
	assert_int_equal(end, 2 * MIB + 300000);
	assert_int_equal(mb_wal_assemble(repo, &where, MIB, 2 * MIB, got, &err), MB_OK);
	assert_memory_equal(got, bytes, MIB);
	/* Nothing is left, and again is nothing. */
	assert_int_equal(spool->used_bytes, 0);
	assert_int_equal(mb_wal_spool_flush(spool, &err), MB_OK);
	mb_wal_spool_close(spool);
	free(got);
}

static void
test_wal_spool__a_damaged_record_ends_the_file(void **state)
{
	struct mb_wal_spool *spool = open_spool(64 * MIB);
	char path[MB_SPOOL_PATH];
	struct mb_error err;
	struct stat st;
	uint64_t end;
	int fd;

	(void) state;
	write_unit(spool, MIB, 300000, 100000);
	snprintf(path, sizeof(path), "%s", spool->path);
	mb_wal_spool_close(spool);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	/* A byte of the second record, and the third is cut. */
	assert_int_equal(pwrite(fd, "!", 1, st.st_size - 150000), 1);
	assert_int_equal(ftruncate(fd, st.st_size - 10), 0);
	close(fd);
	spool = open_spool(64 * MIB);
	assert_int_equal(mb_wal_spool_flush(spool, &err), MB_OK);
	assert_int_equal(branches(&end), 1);
	assert_int_equal(end, MIB + 100000);
	mb_wal_spool_close(spool);
}

static void
test_wal_spool__other_bytes_go_to_another_branch(void **state)
{
	struct mb_wal_spool *spool = open_spool(64 * MIB);
	unsigned char *got = malloc(MIB);
	struct mb_error err;
	uint64_t end;

	(void) state;
	write_unit(spool, MIB, 200000, 100000);
	assert_int_equal(mb_wal_spool_flush(spool, &err), MB_OK);
	bytes[150000] ^= 1;
	write_unit(spool, MIB, 300000, 100000);
	assert_int_equal(mb_wal_spool_flush(spool, &err), MB_OK);
	assert_int_equal(branches(&end), 2);
	bytes[150000] ^= 1;
	assert_int_equal(mb_wal_assemble(repo, &where, MIB, MIB + 200000, got, &err), MB_OK);
	assert_memory_equal(got, bytes, 200000);
	mb_wal_spool_close(spool);
	free(got);
}

static void
test_wal_spool__has_a_limit_and_one_writer(void **state)
{
	struct mb_wal_spool *spool = open_spool(MIB), *second;
	struct mb_error err;

	(void) state;
	assert_false(mb_wal_spool_is_full(spool));
	write_unit(spool, MIB, MIB, 8192);
	assert_true(mb_wal_spool_is_full(spool));
	assert_int_equal(mb_wal_spool_open(&second, &env, "pg", MIB, &err), MB_CONFLICT);
	mb_wal_spool_remove(spool, &where, MIB);
	assert_false(mb_wal_spool_is_full(spool));
	mb_wal_spool_close(spool);
}

/* After a failed sync a unit is written again: until that is durable the first file must stay. */
static void
test_wal_spool__what_is_acknowledged_stays_while_it_is_rewritten(void **state)
{
	struct mb_wal_piece piece = {.where = where,
								 .from_lsn = MIB,
								 .history = "",
								 .parent_branch = ""};
	struct mb_wal_spool *spool = open_spool(64 * MIB), *next;
	struct mb_error err;
	uint64_t end;

	(void) state;
	write_unit(spool, MIB, 300000, 100000);
	assert_int_equal(mb_wal_spool_begin(spool, &piece, &err), MB_OK);
	assert_int_equal(mb_wal_spool_append(spool, MIB, bytes, 100000, &err), MB_OK);
	/* As if it were killed here. */
	close(spool->lock_fd);
	spool->lock_fd = -1;
	next = open_spool(64 * MIB);
	assert_int_equal(mb_wal_spool_flush(next, &err), MB_OK);
	assert_int_equal(branches(&end), 1);
	assert_int_equal(end, MIB + 300000);
	assert_int_equal(next->used_bytes, 0);
	/* Written twice, it counts once. */
	write_unit(next, MIB, 300000, 100000);
	write_unit(next, MIB, 300000, 100000);
	assert_in_range(next->used_bytes, 300000, 310000);
	mb_wal_spool_close(next);
	mb_wal_spool_close(spool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_wal_spool__stores_what_was_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wal_spool__a_damaged_record_ends_the_file, set_up,
										tear_down),
		cmocka_unit_test_setup_teardown(test_wal_spool__other_bytes_go_to_another_branch, set_up,
										tear_down),
		cmocka_unit_test_setup_teardown(test_wal_spool__has_a_limit_and_one_writer, set_up,
										tear_down),
		cmocka_unit_test_setup_teardown(
			test_wal_spool__what_is_acknowledged_stays_while_it_is_rewritten, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("wal_spool", tests, NULL, NULL);
}

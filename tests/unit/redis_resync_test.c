/* redis_resync_test.c - when a full resync that nobody asked for is allowed. */
#include "tests/lib/repo_fixture.h"

#include "core/base/fs.h"
#include "redis/resync.h"

#define NOW (INT64_C(1795000000) * 1000000)
#define MINUTE (INT64_C(60) * 1000000)

static char dir[] = "/tmp/mb-resync-XXXXXX";

static enum mb_code
check(const char *run_id, int64_t now_us)
{
	struct mb_error err;
	enum mb_code code;

	mb_error_clear(&err);
	code = mb_resync_check(dir, "redis", run_id, now_us, &err);
	/* What is no error leaves none. */
	assert_int_equal(err.code, code);
	if (code)
		assert_non_null(strstr(err.message, "the next is allowed at 2026-"));
	return code;
}

static void
note(const char *run_id, enum mb_resync_state state)
{
	struct mb_error err;

	assert_ok(mb_resync_note(dir, "redis", run_id, NOW, state, &err), err);
}

static void
test_resync__one_an_hour(void **state)
{
	(void) state;
	assert_int_equal(check("a", NOW), MB_OK);
	note("a", MB_RESYNC_COMPLETE);
	assert_int_equal(check("a", NOW + 59 * MINUTE), MB_UNREACHABLE);
	assert_int_equal(check("a", NOW + 60 * MINUTE), MB_OK);
}

static void
test_resync__a_restarted_server_has_one_of_its_own(void **state)
{
	(void) state;
	note("a", MB_RESYNC_COMPLETE);
	assert_int_equal(check("b", NOW + MINUTE), MB_OK);
}

static void
test_resync__not_when_the_last_one_ended_badly(void **state)
{
	(void) state;
	note("a", MB_RESYNC_BEGUN);
	assert_int_equal(check("b", NOW + MINUTE), MB_UNREACHABLE);
	assert_int_equal(check("b", NOW + 61 * MINUTE), MB_OK);
	/* A clock that was set back must not forbid it for ever. */
	assert_int_equal(check("b", NOW - MINUTE), MB_OK);
}

static void
test_resync__a_damaged_note_forbids_nothing(void **state)
{
	char path[64];
	struct mb_error err;

	(void) state;
	snprintf(path, sizeof(path), "%s/redis-redis.resync", dir);
	assert_ok(mb_file_write_durable(path, "{\"time", 6, 0600, &err), err);
	assert_int_equal(check("a", NOW), MB_OK);
}

static void
test_resync__a_refused_one_keeps_psync_away(void **state)
{
	struct mb_error err;

	(void) state;
	note("a", MB_RESYNC_COMPLETE);
	assert_ok(mb_resync_check_psync(dir, "redis", "a", NOW + MINUTE, 100, &err), err);
	assert_ok(mb_resync_refuse(dir, "redis", "a", NOW, 100, &err), err);
	assert_int_equal(mb_resync_check_psync(dir, "redis", "a", NOW + MINUTE, 100, &err),
					 MB_UNREACHABLE);
	assert_int_equal(check("a", NOW + MINUTE), MB_UNREACHABLE);
	/* A larger backlog, a restarted server, an hour. */
	assert_ok(mb_resync_check_psync(dir, "redis", "a", NOW + MINUTE, 101, &err), err);
	assert_ok(mb_resync_check_psync(dir, "redis", "b", NOW + MINUTE, 100, &err), err);
	assert_ok(mb_resync_check_psync(dir, "redis", "a", NOW + 60 * MINUTE, 100, &err), err);
	assert_int_equal(check("b", NOW + MINUTE), MB_OK);
}

static int
make_dir(void **state)
{
	(void) state;
	return mkdtemp(dir) ? 0 : -1;
}

static int
remove_dir(void **state)
{
	struct mb_error err;

	(void) state;
	return mb_rmtree(dir, &err) ? -1 : 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resync__one_an_hour),
		cmocka_unit_test(test_resync__a_restarted_server_has_one_of_its_own),
		cmocka_unit_test(test_resync__not_when_the_last_one_ended_badly),
		cmocka_unit_test(test_resync__a_refused_one_keeps_psync_away),
		cmocka_unit_test(test_resync__a_damaged_note_forbids_nothing),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

/* store_mirror_test.c - a repository in several places: what the copies get, and in which order. */
#include "tests/lib/place_fixture.h"

#include <pthread.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/repo/mirror_private.h"

#define PLACES 2
#define FIRST 0
#define COPY 1
#define PATIENCE_MS 400
#define RETRY_MS 30

struct fixture
{
	char spool[64];
	struct place places[PLACES];
	struct mb_store *mirror;
	int64_t patience_ms;
};

/* The url of a place is its number. */
static enum mb_code
open_place(void *ctx, const char *url, struct mb_store **store, struct mb_error *err)
{
	struct fixture *f = ctx;

	*store = place_store(&f->places[atoi(url)], url);
	(void) err;
	return MB_OK;
}

/* -- the fixture ----------------------------------------------------------------------------- */

static enum mb_code
open_mirror(struct fixture *f, struct mb_store **mirror, unsigned flags, struct mb_error *err)
{
	static const struct mb_mirror_place places[] = {{"offsite", "1"}};
	struct mb_mirror_options options = {.flags = flags,
										.spool = f->spool,
										.open = open_place,
										.open_ctx = f,
										.retry_ms = RETRY_MS,
										.patience_ms = f->patience_ms};

	return mb_store_mirror_open(mirror, place_store(&f->places[FIRST], "0"), places, 1, &options,
								err);
}

static void
reopen(struct fixture *f, unsigned flags)
{
	struct mb_error err;

	mb_store_free(f->mirror);
	f->mirror = NULL;
	assert_ok(open_mirror(f, &f->mirror, flags, &err), err);
}

static int
setup_bare(void **state)
{
	struct fixture *f = mb_calloc(1, sizeof(*f));
	size_t i;

	f->patience_ms = 20000;
	strcpy(f->spool, "/tmp/mb-mirror-XXXXXX");
	if (!mkdtemp(f->spool))
		return -1;
	for (i = 0; i < PLACES; i++)
	{
		f->places[i].memory = mb_store_memory_new(0);
		atomic_store(&f->places[i].no_space_after, -1);
	}
	found(&f->places[FIRST]);
	*state = f;
	return 0;
}

/* Two places that are equal, and known to be. */
static int
setup(void **state)
{
	struct mb_error err;
	struct fixture *f;

	setup_bare(state);
	f = *state;
	found(&f->places[COPY]);
	reopen(f, 0);
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	struct mb_error err;
	size_t i;

	mb_store_free(f->mirror);
	/* Calls that were given up end by themselves, once their place answers. */
	mb_sleep_ms(20);
	for (i = 0; i < PLACES; i++)
		mb_store_free(f->places[i].memory);
	assert_ok(mb_rmtree(f->spool, &err), err);
	free(f);
	return 0;
}

static void
put(struct mb_store *store, const char *name)
{
	struct mb_error err;

	assert_ok(mb_store_put(store, name, name, strlen(name), &err), err);
}

static enum mb_code
add_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	(void) err;
	if (!mb_mirror_is_local(info->name))
		mb_buf_printf(ctx, "%s %llu\n", info->name, (unsigned long long) info->bytes);
	return MB_OK;
}

static void
assert_equal_places(struct fixture *f)
{
	struct mb_buf names[PLACES] = {{0}, {0}};
	struct mb_error err;
	size_t i;

	for (i = 0; i < PLACES; i++)
		assert_ok(mb_store_list(f->places[i].memory, "", add_name, &names[i], &err), err);
	assert_string_equal(mb_buf_cstr(&names[FIRST]), mb_buf_cstr(&names[COPY]));
	for (i = 0; i < PLACES; i++)
		mb_buf_release(&names[i]);
}

static bool
is_behind(struct fixture *f)
{
	struct mb_mirror_status status;

	mb_mirror_status(f->mirror, 0, &status);
	return status.is_behind;
}

static void
wait_until_current(struct fixture *f)
{
	int64_t end_ms = mb_monotonic_ms() + 20000;
	struct mb_mirror_status status;

	do
	{
		mb_sleep_ms(5);
		mb_mirror_status(f->mirror, 0, &status);
	} while (status.is_behind && mb_monotonic_ms() < end_ms);
	if (status.is_behind)
		fail_msg("still behind: %s", status.why);
}

/* -- tests ----------------------------------------------------------------------------------- */

static void
every_put_is_in_both(void **state)
{
	struct fixture *f = *state;
	struct mb_error err;

	assert_int_equal(mb_mirror_count(f->mirror), 1);
	assert_false(is_behind(f));
	put(f->mirror, "packs/1/a");
	assert_true(holds(&f->places[COPY], "packs/1/a"));
	assert_code(MB_EXISTS, mb_store_put(f->mirror, "packs/1/a", "x", 1, &err), err);
	put(f->mirror, "leases/l/0");
	put(f->mirror, "provisional/c/0");
	assert_false(holds(&f->places[COPY], "leases/l/0"));
	assert_false(holds(&f->places[COPY], "provisional/c/0"));
	assert_ok(mb_store_remove(f->mirror, (const char *[]){"packs/1/a"}, 1, &err), err);
	assert_false(holds(&f->places[COPY], "packs/1/a"));
	assert_equal_places(f);
}

static void
a_copy_that_fails_falls_behind_and_catches_up(void **state)
{
	struct fixture *f = *state;
	struct mb_mirror_status status;
	struct mb_error err;
	int n;

	for (n = 0; n < 12; n++)
	{
		char name[64];

		/* Every number of puts between the last good one and the commit. */
		atomic_store(&f->places[COPY].no_space_after, atomic_load(&f->places[COPY].puts) + n % 4);
		snprintf(name, sizeof(name), "packs/%d/a", n);
		put(f->mirror, name);
		snprintf(name, sizeof(name), "packs/%d/b", n);
		put(f->mirror, name);
		snprintf(name, sizeof(name), "backups/c/%d/commit", n);
		put(f->mirror, name);
		snprintf(name, sizeof(name), "sets/%d", n);
		put(f->mirror, name);
		mb_mirror_status(f->mirror, 0, &status);
		assert_true(status.is_behind);
		assert_true(status.since_us > 0);
		assert_string_equal(status.why, "no space");
		assert_code(MB_PARTIAL, mb_mirror_reconcile(f->mirror, &err), err);
		atomic_store(&f->places[COPY].no_space_after, -1);
		assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
		assert_false(is_behind(f));
		assert_equal_places(f);
	}
	assert_int_equal(atomic_load(&f->places[COPY].disorders), 0);
}

struct putter
{
	struct fixture *f;
	int from;
	atomic_bool *stop;
};

static void *
put_backups(void *ctx)
{
	static const char *const forms[] = {"packs/%d/a", "packs/%d/b", "streams/w/%d",
										"backups/c/%d/commit", "sets/%d"};
	struct putter *putter = ctx;
	struct mb_error err;
	int n, i;

	for (n = putter->from; !atomic_load(putter->stop); n++, mb_sleep_ms(20))
		for (i = 0; i < 5; i++)
		{
			char name[64];

			snprintf(name, sizeof(name), forms[i], n);
			if (mb_store_put(putter->f->mirror, name, name, strlen(name), &err))
				abort();
			/* Tail pieces: removed soon after. */
			snprintf(name, sizeof(name), "streams/w/%d", n - 1);
			if (i == 3 && n > putter->from &&
				mb_store_remove(putter->f->mirror, (const char *[]){name}, 1, &err))
				abort();
		}
	return NULL;
}

static void
it_catches_up_beside_puts_in_order(void **state)
{
	struct fixture *f = *state;
	struct putter putters[3];
	pthread_t threads[3];
	atomic_bool stop;
	int round, i;

	reopen(f, MB_MIRROR_CATCH_UP);
	for (round = 0; round < 10; round++)
	{
		atomic_store(&stop, false);
		for (i = 0; i < 3; i++)
		{
			putters[i] = (struct putter){f, 100000000 * (i + 1) + 1000000 * round, &stop};
			assert_int_equal(pthread_create(&threads[i], NULL, put_backups, &putters[i]), 0);
		}
		for (i = 0; i < 3; i++)
		{
			atomic_store(&f->places[COPY].is_gone, true);
			mb_sleep_ms(3);
			atomic_store(&f->places[COPY].is_gone, false);
			wait_until_current(f);
		}
		atomic_store(&stop, true);
		for (i = 0; i < 3; i++)
			pthread_join(threads[i], NULL);
		wait_until_current(f);
		assert_equal_places(f);
		assert_int_equal(atomic_load(&f->places[COPY].disorders), 0);
	}
}

static void
a_copy_that_hangs_is_left_alone(void **state)
{
	struct fixture *f = *state;
	int64_t start_ms;

	f->patience_ms = PATIENCE_MS;
	reopen(f, 0);
	start_ms = mb_monotonic_ms();
	atomic_store(&f->places[COPY].hangs, true);
	put(f->mirror, "packs/1/a");
	assert_true(mb_monotonic_ms() - start_ms >= PATIENCE_MS);
	start_ms = mb_monotonic_ms();
	put(f->mirror, "packs/1/b");
	put(f->mirror, "backups/c/1/commit");
	assert_true(mb_monotonic_ms() - start_ms < PATIENCE_MS);
	atomic_store(&f->places[COPY].hangs, false);
	reopen(f, MB_MIRROR_CATCH_UP);
	wait_until_current(f);
	assert_equal_places(f);
	assert_int_equal(atomic_load(&f->places[COPY].disorders), 0);
}

static void
nothing_is_removed_because_the_first_lost_it(void **state)
{
	struct fixture *f = *state;
	struct mb_error err;

	put(f->mirror, "packs/1/a");
	put(f->mirror, "packs/1/b");
	assert_ok(mb_store_remove(f->places[FIRST].memory, (const char *[]){"packs/1/a"}, 1, &err),
			  err);
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	assert_true(holds(&f->places[COPY], "packs/1/a"));
	/* Also when it has to be compared from the start. */
	mb_mirror_fall_behind(&((struct mb_mirror *) f->mirror)->copies[0], "test");
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	assert_true(holds(&f->places[COPY], "packs/1/a"));
}

static void
what_was_removed_while_it_was_behind_goes(void **state)
{
	struct fixture *f = *state;
	struct mb_error err;

	put(f->mirror, "streams/w/1");
	put(f->mirror, "streams/w/2");
	atomic_store(&f->places[COPY].is_gone, true);
	put(f->mirror, "streams/w/3");
	assert_true(is_behind(f));
	assert_ok(mb_store_remove(f->mirror, (const char *[]){"streams/w/1", "streams/w/3"}, 2, &err),
			  err);
	atomic_store(&f->places[COPY].is_gone, false);
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	assert_false(holds(&f->places[COPY], "streams/w/1"));
	assert_true(holds(&f->places[COPY], "streams/w/2"));
	assert_equal_places(f);
}

/* As a kill in the middle of it does: never a blob in a copy that the first does not know. */
static void
a_removal_that_ends_halfway_leaves_both_equal(void **state)
{
	struct fixture *f = *state;
	struct mb_error err;

	put(f->mirror, "streams/w/1");
	atomic_store(&f->places[FIRST].is_gone, true);
	assert_code(MB_UNREACHABLE,
				mb_store_remove(f->mirror, (const char *[]){"streams/w/1"}, 1, &err), err);
	atomic_store(&f->places[FIRST].is_gone, false);
	assert_true(holds(&f->places[FIRST], "streams/w/1"));
	assert_true(is_behind(f));
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	assert_equal_places(f);
	assert_ok(mb_store_remove(f->mirror, (const char *[]){"streams/w/1"}, 1, &err), err);
	assert_false(holds(&f->places[COPY], "streams/w/1"));
	assert_equal_places(f);
}

static void
a_hole_is_found_by_comparing(void **state)
{
	struct fixture *f = *state;
	struct mb_error err;

	put(f->mirror, "packs/1/a");
	put(f->mirror, "packs/1/b");
	assert_ok(mb_store_remove(f->places[COPY].memory, (const char *[]){"packs/1/a"}, 1, &err), err);
	assert_false(is_behind(f));
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	assert_true(holds(&f->places[COPY], "packs/1/a"));
}

static void
a_different_blob_is_never_replaced(void **state)
{
	struct fixture *f = *state;
	struct mb_buf out = {0};
	struct mb_error err;

	assert_ok(mb_store_put(f->places[COPY].memory, "packs/1/a", "other", 5, &err), err);
	put(f->mirror, "packs/1/a");
	assert_true(is_behind(f));
	assert_code(MB_PARTIAL, mb_mirror_reconcile(f->mirror, &err), err);
	assert_non_null(strstr(err.message, "packs/1/a"));
	assert_ok(mb_store_get(f->places[COPY].memory, "packs/1/a", 0, 9, &out, &err), err);
	assert_string_equal(mb_buf_cstr(&out), "other");
	mb_buf_release(&out);
}

/* A writer that did not know the copy has put into the first alone. */
static void
a_hole_is_found_at_the_start(void **state)
{
	struct fixture *f = *state;
	int64_t end_ms = mb_monotonic_ms() + 20000;

	put(f->places[FIRST].memory, "packs/1/a");
	assert_false(is_behind(f));
	reopen(f, MB_MIRROR_CATCH_UP);
	while (!holds(&f->places[COPY], "packs/1/a") && mb_monotonic_ms() < end_ms)
		mb_sleep_ms(5);
	wait_until_current(f);
	assert_equal_places(f);
}

static void
a_killed_writer_leaves_no_copy_believed(void **state)
{
	struct fixture *f = *state;
	char *path = mb_asprintf("%s/writing-11111111-1111-1111-1111-111111111111-1-aa", f->spool);
	struct mb_error err;
	struct mb_store *other;

	/* One that lives does not count. */
	assert_ok(open_mirror(f, &other, 0, &err), err);
	assert_false(is_behind(f));
	/* What a killed one leaves: a file without a lock, and a blob that only the first has. */
	assert_ok(mb_file_write_durable(path, "", 0, 0600, &err), err);
	put(f->places[FIRST].memory, "packs/1/a");
	put(f->places[FIRST].memory, "packs/1/b");
	mb_store_free(other);
	reopen(f, 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_true(is_behind(f));
	put(f->mirror, "backups/c/1/commit");
	assert_false(holds(&f->places[COPY], "backups/c/1/commit"));
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	assert_equal_places(f);
	assert_int_equal(atomic_load(&f->places[COPY].disorders), 0);
	free(path);
}

static void
a_lost_spool_leads_to_a_comparison(void **state)
{
	struct fixture *f = *state;
	struct mb_error err;

	put(f->places[FIRST].memory, "packs/1/a");
	put(f->places[FIRST].memory, "packs/1/b");
	assert_int_equal(unlink(((struct mb_mirror *) f->mirror)->copies[0].state_path), 0);
	assert_true(is_behind(f));
	put(f->mirror, "backups/c/1/commit");
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	assert_equal_places(f);
	assert_int_equal(atomic_load(&f->places[COPY].disorders), 0);
}

static void
a_get_falls_over(void **state)
{
	struct fixture *f = *state;
	struct mb_buf out = {0};
	struct mb_error err;

	put(f->mirror, "packs/1/a");
	mb_buf_put_str(&out, ">");
	atomic_store(&f->places[FIRST].loses, true);
	assert_ok(mb_store_get(f->mirror, "packs/1/a", 6, 3, &out, &err), err);
	assert_string_equal(mb_buf_cstr(&out), ">1/a");
	atomic_store(&f->places[FIRST].loses, false);
	assert_ok(mb_store_remove(f->places[FIRST].memory, (const char *[]){"packs/1/a"}, 1, &err),
			  err);
	mb_buf_reset(&out);
	reopen(f, MB_MIRROR_READ_ONLY);
	assert_ok(mb_store_get(f->mirror, "packs/1/a", 0, 5, &out, &err), err);
	assert_string_equal(mb_buf_cstr(&out), "packs");
	/* The answer of the first stands when no copy has it. */
	atomic_store(&f->places[COPY].is_gone, true);
	assert_code(MB_NOT_FOUND, mb_store_get(f->mirror, "packs/1/b", 0, 5, &out, &err), err);
	assert_code(MB_UNSUPPORTED, mb_store_put(f->mirror, "packs/1/c", "x", 1, &err), err);
	mb_buf_release(&out);
}

static void
a_place_without_the_repository_is_not_filled(void **state)
{
	struct fixture *f = *state;
	struct mb_mirror_status status;
	struct mb_error err;

	reopen(f, MB_MIRROR_CATCH_UP);
	put(f->mirror, "packs/1/a");
	mb_sleep_ms(3 * RETRY_MS);
	assert_code(MB_PARTIAL, mb_mirror_reconcile(f->mirror, &err), err);
	mb_mirror_status(f->mirror, 0, &status);
	assert_true(status.is_behind);
	assert_int_equal(status.access.code, MB_NOT_FOUND);
	assert_int_equal(atomic_load(&f->places[COPY].puts), 0);
	assert_code(MB_NOT_FOUND,
				mb_mirror_check_place(f->places[FIRST].memory, f->places[COPY].memory, &err), err);
	assert_ok(mb_mirror_found_place(f->places[FIRST].memory, f->places[COPY].memory, &err), err);
	assert_ok(mb_mirror_reconcile(f->mirror, &err), err);
	assert_equal_places(f);
}

static void
another_repository_is_refused(void **state)
{
	struct fixture *f = *state;
	struct mb_repo_header header = {.suite = MB_SUITE_NONE, .created_us = 1000000};
	struct mb_buf bytes = {0};
	struct mb_error err;

	memset(header.id, 0x22, sizeof(header.id));
	strcpy(header.id_text, "22222222-2222-2222-2222-222222222222");
	mb_repo_header_encode(&bytes, &header);
	assert_ok(mb_store_put(f->places[COPY].memory, MB_HEADER_NAME, bytes.data, bytes.len, &err),
			  err);
	assert_code(MB_CONFIG, open_mirror(f, &f->mirror, MB_MIRROR_CATCH_UP, &err), err);
	assert_non_null(strstr(err.message, "[repository:offsite]"));
	f->mirror = NULL;
	mb_buf_release(&bytes);
}

int
main(void)
{
#define MIRROR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BARE(test) cmocka_unit_test_setup_teardown(test, setup_bare, teardown)
	const struct CMUnitTest tests[] = {
		MIRROR(every_put_is_in_both),
		MIRROR(a_copy_that_fails_falls_behind_and_catches_up),
		MIRROR(it_catches_up_beside_puts_in_order),
		MIRROR(a_copy_that_hangs_is_left_alone),
		MIRROR(nothing_is_removed_because_the_first_lost_it),
		MIRROR(what_was_removed_while_it_was_behind_goes),
		MIRROR(a_removal_that_ends_halfway_leaves_both_equal),
		MIRROR(a_hole_is_found_by_comparing),
		MIRROR(a_hole_is_found_at_the_start),
		MIRROR(a_different_blob_is_never_replaced),
		MIRROR(a_killed_writer_leaves_no_copy_believed),
		MIRROR(a_lost_spool_leads_to_a_comparison),
		MIRROR(a_get_falls_over),
		BARE(a_place_without_the_repository_is_not_filled),
		BARE(another_repository_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

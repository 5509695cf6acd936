/* verified_test.c - reading by age: every blob has its turn, and damage never looks like anything else. */
#include "tests/lib/repo_fixture.h"

#include "core/base/time.h"
#include "core/engine/docs.h"
#include "core/engine/pins.h"
#include "core/engine/stack.h"
#include "core/engine/verified.h"

#define BLOBS 40

static struct mb_repo *repo;
static struct mb_env env;
static struct mb_stack stack;
static int64_t
	clock_us; /* the store's: what is asked about is order, which no real clock promises */

static void
blob_name(char out[MB_NAME_MAX], unsigned i)
{
	snprintf(out, MB_NAME_MAX, "streams/redis/%040x/%016x-%016x", 7u, i, i + 1);
}

static void
put_blob(unsigned i)
{
	struct mb_blob_writer writer = {0};
	unsigned char data[1000];
	struct mb_error err;
	char name[MB_NAME_MAX];

	fill_random(data, sizeof(data), i);
	blob_name(name, i);
	mb_blob_begin(&writer, repo, MB_ROLE_STREAM, name);
	mb_blob_frames_last(&writer, data, sizeof(data));
	assert_ok(mb_blob_put(&writer, &err), err);
	mb_blob_writer_release(&writer);
}

/* Flip a bit of a blob; twice makes it whole again. */
static void
flip(unsigned i)
{
	struct mb_buf bytes = {0};
	struct mb_error err;
	char name[MB_NAME_MAX];

	blob_name(name, i);
	assert_ok(mb_store_get(repo->store, name, 0, SIZE_MAX, &bytes, &err), err);
	bytes.data[bytes.len / 2] ^= 1;
	replace_blob(repo->store, name, bytes.data, bytes.len);
	mb_buf_release(&bytes);
}

static int
set_up(void **state)
{
	unsigned i;

	(void) state;
	repo = memory_repo(MB_SUITE_AES_256_GCM);
	clock_us = mb_time_now_us();
	mb_store_memory_set_clock(repo->store, clock_us);
	env = (struct mb_env){.repo = repo, .workers = 2};
	stack = (struct mb_stack){.env = &env};
	for (i = 0; i < BLOBS; i++)
		put_blob(i);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	mb_repo_free(repo);
	return 0;
}

/* One run; gives what is asked of its answer. */
static int64_t
verify(int64_t older_than_ms, uint64_t budget_bytes, const char *member, size_t *problems)
{
	struct mb_verify_options options = {.read_data = MB_READ_FULL,
										.older_than_ms = older_than_ms,
										.budget_bytes = budget_bytes};
	struct mb_error err;
	json_t *answer = NULL, *inner;
	enum mb_code code;
	int64_t value;

	mb_error_clear(&err);
	clock_us += 2000; /* each run has a time of its own */
	mb_store_memory_set_clock(repo->store, clock_us);
	code = mb_verify_run(&stack, &options, &answer, &err);
	if (code != MB_OK && code != MB_CORRUPT)
		fail_msg("%s", err.message);
	inner = json_object_get(answer, "verify");
	*problems = json_array_size(json_object_get(inner, "problems"));
	value = mb_json_int(inner, member, -1);
	json_decref(answer);
	return value;
}

static struct mb_verified *
load(void)
{
	struct mb_verified *verified;
	struct mb_error err;

	assert_ok(mb_verified_load(&verified, repo, &err), err);
	return verified;
}

static enum mb_code
count_one(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	(void) info;
	(void) err;
	(*(size_t *) ctx)++;
	return MB_OK;
}

static size_t
documents(void)
{
	size_t count = 0;
	struct mb_error err;

	assert_ok(mb_store_list(repo->store, "verified/", count_one, &count, &err), err);
	return count;
}

static void
what_was_read_is_not_read_again(void **state)
{
	size_t problems;

	(void) state;
	assert_int_equal(verify(0, 0, "blobs", &problems), BLOBS);
	assert_int_equal(problems, 0);
	assert_int_equal(documents(), 1);
	assert_int_equal(verify(3600000, 0, "blobs", &problems), 0);
	put_blob(BLOBS);
	assert_int_equal(verify(3600000, 0, "blobs", &problems), 1);
	assert_int_equal(verify(1, 0, "blobs", &problems), BLOBS + 1);
	/* What nothing is left of is gone. */
	assert_int_equal(documents(), 1);
}

/* However it is cut into runs: no blob is read twice before every other one is read once. */
static void
every_blob_has_its_turn(void **state)
{
	unsigned round;

	(void) state;
	for (round = 0; round < 5; round++)
	{
		int64_t read = 0;
		size_t problems, runs;

		for (runs = 0; read < BLOBS; runs++)
		{
			struct mb_verified *before = load(), *after;
			int64_t oldest_read = 0, got;
			unsigned i;

			/* Up to what is left of this round, so that the next one begins at the beginning. */
			got = verify(0, 1 + (uint64_t) (round * 1100), "blobs", &problems);
			assert_true(got >= 1 && problems == 0);
			read += got;
			after = load();
			for (i = 0; i < BLOBS; i++)
			{
				char name[MB_NAME_MAX];

				blob_name(name, i);
				if (mb_verified_time(after, name) != mb_verified_time(before, name) &&
					mb_verified_time(before, name) > oldest_read)
					oldest_read = mb_verified_time(before, name);
			}
			for (i = 0; i < BLOBS; i++)
			{
				char name[MB_NAME_MAX];

				blob_name(name, i);
				assert_true(mb_verified_time(after, name) >= oldest_read);
			}
			mb_verified_free(before);
			mb_verified_free(after);
			assert_true(runs <= BLOBS && documents() <= BLOBS + 1);
		}
	}
}

static void
damage_is_found_and_stays_known(void **state)
{
	size_t problems, found = 0;
	struct mb_verified *verified;
	char name[MB_NAME_MAX];
	unsigned runs;

	(void) state;
	assert_int_equal(verify(0, 0, "blobs", &problems), BLOBS);
	flip(17);
	/* By age it was read just now: it is its turn at the latest when all others had theirs. */
	for (runs = 0; !found && runs < BLOBS; runs++)
		verify(1, 3000, "blobs", &found);
	assert_int_equal(found, 1);
	verified = load();
	blob_name(name, 17);
	assert_int_equal(mb_verified_time(verified, name), 0);
	mb_verified_free(verified);
	/* Whatever is asked for, it comes first from now on. */
	verify(3600000, 1, "blobs", &problems);
	assert_int_equal(problems, 1);
	verify(3600000, 1, "blobs", &problems);
	assert_int_equal(problems, 1);
	flip(17);
	assert_int_equal(verify(3600000, 1, "blobs", &problems), 1);
	assert_int_equal(problems, 0);
	verified = load();
	assert_true(mb_verified_time(verified, name) > 0);
	mb_verified_free(verified);
}

/* Another run, here or elsewhere, has found damage after we began: ours does not undo it. */
static void
the_newest_statement_counts(void **state)
{
	int64_t now_us = clock_us + 2000000;
	struct mb_verified_notes *ours = mb_verified_notes_new(repo, now_us);
	struct mb_verified_notes *theirs = mb_verified_notes_new(repo, now_us - 1000000);
	struct mb_verified *verified;
	char name[MB_NAME_MAX], other[MB_NAME_MAX], *names[2] = {name, other};
	struct mb_error err;

	(void) state;
	blob_name(name, 1);
	blob_name(other, 2);
	assert_ok(mb_verified_note_damaged(theirs, name, now_us, &err), err);
	verified = load();
	assert_ok(mb_verified_note(ours, name, &err), err);
	assert_ok(mb_verified_note(ours, other, &err), err);
	assert_ok(mb_verified_finish(ours, verified, now_us, names, 2, &err), err);
	mb_verified_free(verified);
	verified = load();
	assert_int_equal(mb_verified_time(verified, name), 0);
	assert_int_equal(mb_verified_time(verified, other), now_us);
	assert_int_equal(mb_verified_since(verified), now_us);
	mb_verified_free(verified);
	mb_verified_notes_free(ours);
	mb_verified_notes_free(theirs);
}

/* A killed run has written some of its notes; a damaged note says nothing. */
static void
what_a_killed_run_has_noted_counts(void **state)
{
	struct mb_verified_notes *notes = mb_verified_notes_new(repo, clock_us);
	struct mb_verified *verified;
	char name[MB_NAME_MAX];
	struct mb_error err;
	size_t problems;
	unsigned i;

	(void) state;
	for (i = 0; i < 10; i++)
	{
		blob_name(name, i);
		assert_ok(mb_verified_note(notes, name, &err), err);
	}
	assert_ok(mb_verified_flush(notes, &err), err);
	mb_verified_notes_free(notes);
	assert_int_equal(verify(3600000, 0, "blobs", &problems), BLOBS - 10);
	assert_ok(mb_store_put(repo->store, "verified/20261123T064402Z-b25a94f1d3c7", "x", 1, &err),
			  err);
	verified = load();
	assert_true(mb_verified_time(verified, name) > 0);
	mb_verified_free(verified);
	assert_int_equal(verify(3600000, 0, "blobs", &problems), 0);
	assert_int_equal(problems, 1);
}

/* What cannot be noted fails a run that goes by the notes, and no other; the next one just works. */
static void
a_store_that_cannot_be_written(void **state)
{
	struct mb_verify_options options = {.read_data = MB_READ_FULL};
	struct mb_error err;
	json_t *answer = NULL;
	size_t problems;

	(void) state;
	mb_store_memory_fail_after(repo->store, 1, MB_NO_SPACE);
	put_blob(BLOBS);
	assert_ok(mb_verify_run(&stack, &options, &answer, &err), err);
	json_decref(answer);
	options.older_than_ms = 3600000;
	answer = NULL;
	assert_int_equal(mb_verify_run(&stack, &options, &answer, &err), MB_NO_SPACE);
	assert_null(answer);
	mb_store_memory_fail_after(repo->store, 0, MB_OK);
	assert_int_equal(verify(3600000, 0, "blobs", &problems), BLOBS + 1);
}

/* Since when is everything known to be good? */
static void
since_is_what_it_says(void **state)
{
	struct mb_verified *verified;
	int64_t before_us, since_us;
	size_t problems;

	(void) state;
	before_us = clock_us;
	verify(0, 0, "blobs", &problems);
	verified = load();
	since_us = mb_verified_since(verified);
	assert_true(since_us >= before_us && since_us <= clock_us);
	mb_verified_free(verified);
	verify(0, 1, "blobs", &problems);
	verified = load();
	assert_true(mb_verified_since(verified) == since_us);
	mb_verified_free(verified);
}

/* A stranger has put things there: they are told, and nothing is killed by them. */
static void
what_strangers_put_is_told(void **state)
{
	json_t *mark = json_pack("{s:s, s:{s:i}}", "name", "m", "bases", "redis", 1);
	struct mb_error err;
	size_t problems;

	(void) state;
	assert_ok(mb_store_put(repo->store, "backups/redis/20261123T064401Z-b25a94f1d3c7/commit", "x",
						   1, &err),
			  err);
	assert_ok(mb_store_put(repo->store, "streams/a/\xFF\xFE", "x", 1, &err), err);
	assert_ok(mb_doc_put(repo, MB_ROLE_MARK, "marks/20261123T064402Z-b25a94f1d3c7", mark, &err),
			  err);
	json_decref(mark);
	/* Of the mark two: its base, and that it says of no moment. */
	verify(0, 0, "blobs", &problems);
	assert_int_equal(problems, 4);
	verify(0, 0, "blobs", &problems);
	assert_int_equal(problems, 4);
}

/* Nothing names a set or mark but a pin. */
static void
a_pin_that_keeps_nothing_is_told(void **state)
{
	static const char id[] = "20261123T064402Z-b25a94f1d3c7";
	struct mb_error err;
	json_t *set = json_pack("{s:s}", "id", id);
	size_t problems;

	(void) state;
	assert_ok(mb_set_put(repo, set, &err), err);
	json_decref(set);
	assert_ok(mb_pin_put(repo, id, "the year's end", 0, &err), err);
	verify(0, 0, "blobs", &problems);
	assert_int_equal(problems, 0);
	assert_ok(mb_store_remove(repo->store, (const char *[]){"sets/20261123T064402Z-b25a94f1d3c7"},
							  1, &err),
			  err);
	verify(0, 0, "blobs", &problems);
	assert_int_equal(problems, 1);
	/* One that is over keeps nothing. */
	assert_ok(mb_pin_put(repo, id, "until then", clock_us + 1, &err), err);
	verify(0, 0, "blobs", &problems);
	assert_int_equal(problems, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_read_is_not_read_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_blob_has_its_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damage_is_found_and_stays_known, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_newest_statement_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_killed_run_has_noted_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_store_that_cannot_be_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(since_is_what_it_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_strangers_put_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_pin_that_keeps_nothing_is_told, set_up, tear_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

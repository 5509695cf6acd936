/*
 * sweep_test.c - tombstones and the sweep: the moments at which a writer and a sweeper could hurt
 * each other, one by one.
 */
#include "core/base/time.h"
#include "core/repo/lease_private.h"
#include "core/repo/provisional.h"
#include "core/repo/sweep.h"
#include "tests/lib/repo_fixture.h"
#include "tests/lib/sim_store.h"

#define HOUR_US (3600LL * 1000000)
#define DAY_US (24 * HOUR_US)

static struct sim_store *sim;
static struct mb_repo *repo;
static int64_t now_us;

static void
set_clock(int64_t time_us)
{
	now_us = time_us;
	mb_store_memory_set_clock(sim->inner, time_us);
}

static int
set_up(void **state)
{
	struct mb_unlock unlock = {0};
	struct mb_error err;

	(void) state;
	sim = sim_store_new();
	set_clock(1767225600LL * 1000000);
	assert_ok(mb_repo_create(&repo, &sim->base, MB_SUITE_NONE, &unlock, &err), err);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	mb_repo_free(repo);
	return 0;
}

static struct mb_pack_id
put_pack(unsigned char number)
{
	char name[MB_PACK_NAME_TEXT];
	struct mb_pack_id id = {{number}};
	struct mb_error err;

	mb_pack_name(name, &id);
	assert_ok(mb_store_put(&sim->base, name, "pack", 4, &err), err);
	return id;
}

static bool
pack_exists(struct mb_pack_id id)
{
	char name[MB_PACK_NAME_TEXT];
	struct mb_blob_info info;
	struct mb_error err;

	mb_pack_name(name, &id);
	return mb_store_head(&sim->base, name, &info, &err) == MB_OK;
}

static void
make_commit(struct mb_commit *commit, struct mb_pack_id pack)
{
	memset(commit, 0, sizeof(*commit));
	mb_id_new(commit->id, now_us);
	strcpy(commit->component, "files");
	strcpy(commit->kind, "files");
	strcpy(commit->type, "full");
	mb_pack_refs_add(&commit->refs, &pack, 1);
	mb_pack_refs_settle(&commit->refs);
}

static void
put_commit(struct mb_pack_id pack)
{
	struct mb_commit commit;
	struct mb_error err;

	make_commit(&commit, pack);
	assert_ok(mb_commit_put(repo, &commit, &err), err);
	mb_commit_release(&commit);
}

static struct mb_lease *
begin_lease(const char *kind)
{
	struct mb_lease *lease;
	struct mb_error err;
	char id[MB_ID_TEXT];

	mb_id_new(id, now_us);
	assert_ok(mb_lease_start_every(&lease, repo, id, kind, 1000000000, DAY_US, &err), err);
	return lease;
}

/* One run over all commits that are there. */
static void
sweep(struct mb_sweep *out, int64_t grace_us)
{
	struct mb_sweep_options options = {.grace_us = grace_us};
	struct mb_commit_names names;
	struct mb_error err;
	size_t i;

	assert_ok(mb_sweep_begin(out, repo, &options, &err), err);
	assert_ok(mb_commit_list(repo, NULL, &names, &err), err);
	for (i = 0; i < names.count; i++)
	{
		struct mb_commit commit;

		assert_ok(mb_commit_get(repo, names.items[i].component, names.items[i].id, &commit, &err),
				  err);
		mb_sweep_count(out, &commit);
		mb_commit_release(&commit);
	}
	mb_commit_names_release(&names);
	assert_ok(mb_sweep_run(out, NULL, 0, &err), err);
}

static void
sweep_once(void)
{
	struct mb_sweep made;

	sweep(&made, MB_GRACE_US);
	mb_sweep_end(&made);
}

static size_t
count_blobs(const char *prefix)
{
	struct mb_tombstones tombstones;
	struct mb_leases leases;
	struct mb_error err;
	size_t count;

	if (strcmp(prefix, "leases/") == 0)
	{
		assert_ok(mb_leases_list(repo, &leases, &err), err);
		count = leases.count;
		mb_leases_release(&leases);
		return count;
	}
	assert_ok(mb_tombstones_list(repo, &tombstones, &err), err);
	count = tombstones.count;
	mb_tombstones_release(&tombstones);
	return count;
}

/* -- the two phases -------------------------------------------------------------------------- */

static void
test_sweep__in_two_phases(void **state)
{
	struct mb_pack_id garbage = put_pack(1), needed = put_pack(2);

	(void) state;
	put_commit(needed);
	set_clock(now_us + HOUR_US);
	sweep_once();
	assert_int_equal(count_blobs("tombstones/"), 1);
	set_clock(now_us + 23 * HOUR_US);
	sweep_once();
	assert_true(pack_exists(garbage));
	assert_int_equal(count_blobs("tombstones/"), 1); /* named once */
	set_clock(now_us + 2 * HOUR_US);
	sweep_once();
	assert_false(pack_exists(garbage));
	assert_true(pack_exists(needed));
	assert_int_equal(count_blobs("tombstones/"), 0);
}

static void
test_sweep__nothing_of_a_moment_ago(void **state)
{
	(void) state;
	put_pack(1);
	sweep_once();
	assert_int_equal(count_blobs("tombstones/"), 0);
}

static void
test_sweep__nothing_that_a_writer_has_put(void **state)
{
	struct mb_lease *lease = begin_lease("backup");

	(void) state;
	set_clock(now_us + HOUR_US);
	put_pack(1);
	set_clock(now_us + HOUR_US);
	sweep_once();
	assert_int_equal(count_blobs("tombstones/"), 0);
	mb_lease_stop(lease);
	sweep_once();
	assert_int_equal(count_blobs("tombstones/"), 1);
}

/* An expire is no writer. */
static void
test_sweep__beside_another_expire(void **state)
{
	struct mb_lease *lease = begin_lease("expire");

	(void) state;
	put_pack(1);
	set_clock(now_us + HOUR_US);
	sweep_once();
	assert_int_equal(count_blobs("tombstones/"), 1);
	mb_lease_stop(lease);
}

/* It may have chosen the pack before the tombstone was there. */
static void
test_sweep__waits_for_a_writer_that_began_before(void **state)
{
	struct mb_pack_id pack = put_pack(1);
	struct mb_lease *lease;
	struct mb_error err;
	char id[MB_ID_TEXT], name[MB_NAME_MAX];
	json_t *json = json_pack("{s:s}", "kind", "backup");

	(void) state;
	set_clock(now_us + HOUR_US);
	lease = begin_lease("backup");
	sweep_once();
	assert_int_equal(count_blobs("tombstones/"), 1);
	set_clock(now_us + 23 * HOUR_US);
	/* It renews: another blob of the same lease. */
	{
		struct mb_leases leases;

		assert_ok(mb_leases_list(repo, &leases, &err), err);
		strcpy(id, leases.items[0].id);
		mb_leases_release(&leases);
	}
	snprintf(name, sizeof(name), "leases/%s/00000001", id);
	assert_ok(mb_doc_put(repo, MB_ROLE_LEASE, name, json, &err), err);
	json_decref(json);
	set_clock(now_us + 2 * HOUR_US);
	sweep_once();
	assert_true(pack_exists(pack));
	/* Dead for a day: it would refuse to commit. */
	set_clock(now_us + DAY_US);
	sweep_once();
	assert_false(pack_exists(pack));
	mb_lease_stop(lease);
}

static void
test_sweep__what_is_needed_again_is_dropped(void **state)
{
	struct mb_pack_id pack = put_pack(1);

	(void) state;
	set_clock(now_us + HOUR_US);
	sweep_once();
	put_commit(pack);
	set_clock(now_us + DAY_US + HOUR_US);
	sweep_once();
	assert_true(pack_exists(pack));
	/* And so is the tombstone: its age says nothing about the next time. */
	assert_int_equal(count_blobs("tombstones/"), 0);
}

static void
commit_now(void *ctx)
{
	set_clock(now_us + 2 * 60 * 1000000LL);
	put_commit(*(struct mb_pack_id *) ctx);
}

/* The sweeper was stopped for minutes between looking and removing. */
static void
test_sweep__looks_again(void **state)
{
	struct mb_pack_id pack = put_pack(1);
	int64_t call;

	(void) state;
	set_clock(now_us + HOUR_US);
	sweep_once();
	/* Whatever call it is before: the commit is there when the pack would go, or came too late. */
	for (call = 1; call < 40; call++)
	{
		struct mb_commit_names names;
		struct mb_error err;

		set_clock(now_us + DAY_US + HOUR_US);
		sim->calls = 0;
		sim->hook = commit_now;
		sim->hook_ctx = &pack;
		sim->hook_at = call;
		sweep_once();
		sim->hook = NULL;
		assert_ok(mb_commit_list(repo, NULL, &names, &err), err);
		if (names.count > 0)
			assert_true(pack_exists(pack) || call > 8);
		mb_commit_names_release(&names);
		if (!pack_exists(pack))
			break;
		/* Back to the beginning: nothing needs it, a tombstone names it. */
		assert_ok(mb_commit_list(repo, NULL, &names, &err), err);
		while (names.count > 0)
		{
			char name[MB_NAME_MAX];
			const char *list[] = {name};

			names.count--;
			mb_commit_blob_name(name, names.items[names.count].component,
								names.items[names.count].id);
			assert_ok(mb_store_remove(&sim->base, list, 1, &err), err);
		}
		mb_commit_names_release(&names);
		sweep_once();
	}
	printf("# looked again before each of %lld calls\n", (long long) call);
}

static void
test_sweep__an_unreadable_commit_stops_it(void **state)
{
	struct mb_pack_id garbage = put_pack(1), needed = put_pack(2);
	struct mb_commit_names names;
	char name[MB_NAME_MAX];
	struct mb_sweep made;
	struct mb_sweep_options options = {.grace_us = MB_GRACE_US};
	struct mb_error err;
	int i;

	(void) state;
	put_commit(needed);
	assert_ok(mb_commit_list(repo, NULL, &names, &err), err);
	mb_commit_blob_name(name, "files", names.items[0].id);
	replace_blob(&sim->base, name, "damaged", 7);
	for (i = 0; i < 3; i++)
	{
		set_clock(now_us + DAY_US + HOUR_US);
		assert_ok(mb_sweep_begin(&made, repo, &options, &err), err);
		mb_sweep_cannot_read(&made, "files", names.items[0].id);
		assert_ok(mb_sweep_run(&made, NULL, 0, &err), err);
		assert_true(made.blind[0] != '\0');
		mb_sweep_end(&made);
	}
	assert_true(pack_exists(garbage) && pack_exists(needed));
	mb_commit_names_release(&names);
}

static void
test_sweep__provisional_packs_for_a_day(void **state)
{
	struct mb_pack_id pack = put_pack(1);
	struct mb_pack_refs refs = {0};
	struct mb_blocks blocks = {0};
	struct mb_provisionals found;
	struct mb_error err;

	(void) state;
	mb_pack_refs_add(&refs, &pack, 1);
	mb_pack_refs_settle(&refs);
	assert_ok(mb_provisional_put(repo, "pg", "20260101T000000Z-000000000000", 1, &blocks, &refs,
								 &err),
			  err);
	mb_pack_refs_release(&refs);
	set_clock(now_us + 23 * HOUR_US);
	sweep_once();
	assert_int_equal(count_blobs("tombstones/"), 0);
	set_clock(now_us + 2 * HOUR_US);
	sweep_once(); /* the document goes, the pack is named */
	assert_ok(mb_provisionals_get(repo, "pg", &found, &err), err);
	assert_int_equal(found.count, 0);
	mb_provisionals_release(&found);
	sweep_once();
	assert_int_equal(count_blobs("tombstones/"), 1);
	set_clock(now_us + DAY_US + HOUR_US);
	sweep_once();
	assert_false(pack_exists(pack));
}

static void
test_sweep__dead_leases_go(void **state)
{
	struct mb_error err;
	json_t *json = json_pack("{s:s}", "kind", "backup");

	(void) state;
	assert_ok(mb_doc_put(repo, MB_ROLE_LEASE, "leases/20260101T000000Z-000000000000/00000000", json,
						 &err),
			  err);
	json_decref(json);
	set_clock(now_us + DAY_US);
	sweep_once();
	assert_int_equal(count_blobs("leases/"), 1);
	set_clock(now_us + 2 * DAY_US);
	sweep_once();
	assert_int_equal(count_blobs("leases/"), 0);
}

static enum mb_code
refuse(struct mb_store *store, const char *const *names, size_t count, struct mb_error *err)
{
	(void) store;
	(void) names;
	(void) count;
	return mb_fail(err, MB_DENIED, "locked");
}

static void
test_sweep__a_lock_loses_nothing(void **state)
{
	struct mb_store_ops locked = sim_ops;
	struct mb_pack_id pack = put_pack(1);
	struct mb_sweep made;

	(void) state;
	set_clock(now_us + HOUR_US);
	sweep_once();
	set_clock(now_us + DAY_US + HOUR_US);
	locked.remove = refuse;
	sim->base.ops = &locked;
	sweep(&made, MB_GRACE_US);
	assert_int_equal(made.refused.code, MB_DENIED);
	assert_int_equal(made.removed_blobs, 0);
	assert_int_equal(made.pending_blobs, 1);
	mb_sweep_end(&made);
	sim->base.ops = &sim_ops;
	assert_true(pack_exists(pack));
	sweep_once();
	assert_false(pack_exists(pack));
}

/* -- the writer's questions ------------------------------------------------------------------ */

static void
remove_pack(void *ctx)
{
	char name[MB_PACK_NAME_TEXT];
	const char *names[] = {name};
	struct mb_error err;

	mb_pack_name(name, ctx);
	assert_ok(mb_store_remove(sim->inner, names, 1, &err), err);
}

static void
forget_tombstones(void)
{
	struct mb_tombstones tombstones;
	struct mb_error err;
	size_t i;

	assert_ok(mb_tombstones_list(repo, &tombstones, &err), err);
	for (i = 0; i < tombstones.count; i++)
	{
		const char *names[] = {tombstones.items[i].name};

		assert_ok(mb_store_remove(sim->inner, names, 1, &err), err);
	}
	mb_tombstones_release(&tombstones);
}

/* Before whatever call the pack goes: there is a whole backup, or none. */
static void
test_guard__no_commit_without_its_packs(void **state)
{
	int64_t call;
	bool committed = false;

	(void) state;
	for (call = 1; !committed && call < 60; call++)
	{
		struct mb_pack_id pack = put_pack((unsigned char) call);
		struct mb_lease *lease = begin_lease("backup");
		struct mb_commit_names names;
		struct mb_commit commit;
		struct mb_error err;
		enum mb_code code;
		json_t *blobs = json_array();
		char name[MB_PACK_NAME_TEXT];

		forget_tombstones();
		mb_pack_name(name, &pack);
		json_array_append_new(blobs, json_string(name));
		assert_ok(mb_tombstone_put(repo, blobs, &err), err);
		json_decref(blobs);
		make_commit(&commit, pack);
		sim->calls = 0;
		sim->hook = remove_pack;
		sim->hook_ctx = &pack;
		sim->hook_at = call;
		code = mb_commit_put_guarded(repo, lease, &commit, &err);
		assert_ok(mb_commit_list(repo, NULL, &names, &err), err);
		committed = sim->hook != NULL || (code == MB_OK);
		if (code)
		{
			assert_int_equal(code, MB_CONFLICT);
			assert_int_equal(names.count, 0);
		}
		sim->hook = NULL;
		mb_commit_names_release(&names);
		mb_commit_release(&commit);
		mb_lease_stop(lease);
	}
	assert_true(committed && call > 5);
	printf("# taken back or refused before each of %lld calls\n", (long long) call - 2);
}

/* Everything is looked at again when the clock was set. */
static void
test_guard__after_the_clock_jumped(void **state)
{
	struct mb_pack_id pack = put_pack(1);
	struct mb_lease *lease = begin_lease("backup");
	struct mb_commit commit;
	struct mb_error err;

	(void) state;
	make_commit(&commit, pack);
	remove_pack(&pack); /* and no tombstone tells of it any more */
	assert_ok(mb_refs_guard(repo, lease, &commit.refs, &err), err);
	set_clock(now_us + 2 * DAY_US);
	assert_code(MB_CONFLICT, mb_refs_guard(repo, lease, &commit.refs, &err), err);
	mb_commit_release(&commit);
	mb_lease_stop(lease);
}

#define SWEEP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SWEEP_TEST(test_sweep__in_two_phases),
		SWEEP_TEST(test_sweep__nothing_of_a_moment_ago),
		SWEEP_TEST(test_sweep__nothing_that_a_writer_has_put),
		SWEEP_TEST(test_sweep__beside_another_expire),
		SWEEP_TEST(test_sweep__waits_for_a_writer_that_began_before),
		SWEEP_TEST(test_sweep__what_is_needed_again_is_dropped),
		SWEEP_TEST(test_sweep__looks_again),
		SWEEP_TEST(test_sweep__an_unreadable_commit_stops_it),
		SWEEP_TEST(test_sweep__provisional_packs_for_a_day),
		SWEEP_TEST(test_sweep__dead_leases_go),
		SWEEP_TEST(test_sweep__a_lock_loses_nothing),
		SWEEP_TEST(test_guard__no_commit_without_its_packs),
		SWEEP_TEST(test_guard__after_the_clock_jumped),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* commit_test.c - commits and their chain, and leases. */
#include "tests/lib/repo_fixture.h"

#include "core/base/time.h"
#include "core/repo/commit_private.h"
#include "core/repo/lease_private.h"

static void
make_commit(struct mb_commit *commit, const char *component, int64_t time_us, size_t blocks,
			size_t refs)
{
	size_t i;

	memset(commit, 0, sizeof(*commit));
	mb_id_new(commit->id, time_us);
	strcpy(commit->component, component);
	strcpy(commit->kind, "files");
	strcpy(commit->type, "full");
	commit->started_us = time_us;
	commit->finished_us = time_us + 1234567;
	commit->entries = 10;
	commit->bytes = 1ULL << 50;
	commit->changed_bytes = 5;
	commit->stored_bytes = 4;
	commit->meta = json_object();
	mb_json_set_str(commit->meta, "note", "hello");
	commit->blocks.items = mb_calloc(blocks, sizeof(struct mb_block));
	commit->blocks.count = blocks;
	for (i = 0; i < blocks; i++)
	{
		struct mb_block *block = &commit->blocks.items[i];

		block->run = (struct mb_run){.pack = {{1}}, .frame = (uint32_t) (i % 60000), .length = 9};
		block->entries = i + 1;
		block->bytes = i * 1000;
		block->first_path = mb_asprintf("path/%08zu", i);
		block->first_path_len = strlen(block->first_path);
		block->first_version = i;
	}
	for (i = 0; i < refs; i++)
	{
		struct mb_pack_id id = {{0}};

		mb_set_u32(id.bytes, (uint32_t) i);
		mb_pack_refs_add(&commit->refs, &id, i);
	}
}

static void
put_commit(const struct mb_repo *repo, struct mb_commit *commit, const char *component,
		   int64_t time_us)
{
	struct mb_error err;

	make_commit(commit, component, time_us, 2, 3);
	assert_ok(mb_commit_put(repo, commit, &err), err);
}

static void
commits_come_back(void **state)
{
	/* Small, without parts, and with parts of several frames. */
	static const size_t sizes[][2] = {{2, 3}, {0, 0}, {0, 5}, {5, 0}, {40000, 100000}};
	enum mb_suite suite;
	size_t i, j;

	(void) state;
	for (suite = MB_SUITE_NONE; suite <= MB_SUITE_AES_256_GCM; suite++)
	{
		struct mb_repo *repo = memory_repo(suite);

		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		{
			struct mb_commit a, b, head;
			struct mb_error err;

			make_commit(&a, "etc", 1795416242123456 + (int64_t) i * 1000000, sizes[i][0],
						sizes[i][1]);
			strcpy(a.parent, a.id);
			assert_ok(mb_commit_put(repo, &a, &err), err);
			assert_int_equal(a.sequence, i + 1);
			assert_ok(mb_commit_get(repo, "etc", a.id, &b, &err), err);
			assert_string_equal(a.id, b.id);
			assert_string_equal(a.component, b.component);
			assert_string_equal(a.kind, b.kind);
			assert_string_equal(a.type, b.type);
			assert_string_equal(a.parent, b.parent);
			assert_string_equal(a.previous, b.previous);
			assert_memory_equal(a.previous_hash, b.previous_hash, MB_SHA256_BYTES);
			assert_true(a.sequence == b.sequence && a.started_us == b.started_us &&
						a.finished_us == b.finished_us && a.entries == b.entries &&
						a.bytes == b.bytes && a.changed_bytes == b.changed_bytes &&
						a.stored_bytes == b.stored_bytes);
			assert_true(json_equal(a.meta, b.meta));
			assert_int_equal(b.blocks.count, sizes[i][0]);
			for (j = 0; j < b.blocks.count; j++)
			{
				const struct mb_block *x = &a.blocks.items[j], *y = &b.blocks.items[j];

				assert_memory_equal(&x->run, &y->run, sizeof(x->run));
				assert_true(x->entries == y->entries && x->bytes == y->bytes &&
							x->first_version == y->first_version);
				assert_string_equal(x->first_path, y->first_path);
			}
			assert_int_equal(b.refs.count, sizes[i][1]);
			for (j = 0; j < b.refs.count; j++)
				assert_memory_equal(&a.refs.items[j].pack, &b.refs.items[j].pack, 16);
			assert_ok(mb_commit_head(repo, "etc", a.id, &head, &err), err);
			assert_string_equal(head.id, a.id);
			assert_true(json_equal(head.meta, a.meta));
			assert_int_equal(head.blocks.count, 0);
			mb_commit_release(&a);
			mb_commit_release(&b);
			mb_commit_release(&head);
		}
		mb_repo_free(repo);
	}
}

static void
heads_with_much_to_say(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	unsigned char *noise = mb_malloc(200001);
	char *text = mb_calloc(1, 400003);
	struct mb_commit a, head;
	struct mb_error err;

	(void) state;
	fill_random(noise, 200001, 1);
	mb_hex(text, noise, 200001);
	make_commit(&a, "etc", 1795416242123456, 2, 3);
	mb_json_set_str(a.meta, "much", text);
	assert_ok(mb_commit_put(repo, &a, &err), err);
	assert_ok(mb_commit_head(repo, "etc", a.id, &head, &err), err);
	assert_string_equal(mb_json_str(head.meta, "much", ""), text);
	mb_commit_release(&head);
	mb_commit_release(&a);
	make_commit(&a, "etc", 1795416243123456, 2, 3);
	free(text);
	text = mb_calloc(1, (1 << 20) + 1);
	memset(text, 'x', 1 << 20);
	mb_json_set_str(a.meta, "much", text);
	assert_code(MB_UNSUPPORTED, mb_commit_put(repo, &a, &err), err);
	mb_commit_release(&a);
	free(text);
	free(noise);
	mb_repo_free(repo);
}

static void
commits_form_a_chain(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	static const unsigned char zero[MB_SHA256_BYTES];
	unsigned char hash[MB_SHA256_BYTES];
	struct mb_commit a, b, c, other;
	struct mb_buf bytes = {0};
	char name[MB_NAME_MAX];
	uint64_t sequence = 0;
	char id[MB_ID_TEXT];
	struct mb_error err;

	(void) state;
	assert_ok(mb_commit_newest(repo, "db", id, &sequence, &err), err);
	assert_string_equal(id, "");
	put_commit(repo, &a, "db", 1795416242000000);
	put_commit(repo, &b, "db", 1795416243000000);
	put_commit(repo, &other, "db-2", 1795416250000000);
	put_commit(repo, &c, "db", 1795416243500000);
	assert_int_equal(a.sequence, 1);
	assert_string_equal(a.previous, "");
	assert_memory_equal(a.previous_hash, zero, sizeof(zero));
	assert_int_equal(b.sequence, 2);
	assert_string_equal(b.previous, a.id);
	assert_int_equal(c.sequence, 3);
	assert_string_equal(c.previous, b.id);
	assert_int_equal(other.sequence, 1);
	snprintf(name, sizeof(name), "backups/db/%s/commit", b.id);
	assert_ok(mb_store_get(repo->store, name, 0, SIZE_MAX, &bytes, &err), err);
	mb_sha256(hash, bytes.data, bytes.len);
	assert_memory_equal(c.previous_hash, hash, sizeof(hash));
	assert_ok(mb_commit_newest(repo, "db", id, &sequence, &err), err);
	assert_string_equal(id, c.id);
	/* A damaged newest one is passed over. */
	snprintf(name, sizeof(name), "backups/db/%s/commit", c.id);
	replace_blob(repo->store, name, bytes.data, bytes.len);
	mb_commit_release(&a);
	assert_code(MB_CORRUPT, mb_commit_get(repo, "db", c.id, &a, &err), err);
	assert_ok(mb_commit_newest(repo, "db", id, &sequence, &err), err);
	assert_string_equal(id, b.id);
	assert_int_equal(sequence, 2);
	mb_buf_release(&bytes);
	mb_commit_release(&b);
	mb_commit_release(&c);
	mb_commit_release(&other);
	mb_repo_free(repo);
}

/* A server tells its time to half a second: an id may lie before the one that was made before it. */
static void
the_newest_is_found_by_its_sequence(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_commit a, b, c;
	uint64_t sequence;
	char id[MB_ID_TEXT];
	struct mb_error err;

	(void) state;
	put_commit(repo, &a, "db", 1795416242100000);
	put_commit(repo, &b, "db", 1795416241900000);
	put_commit(repo, &c, "db", 1795416240600000);
	assert_string_equal(b.previous, a.id);
	assert_string_equal(c.previous, b.id);
	assert_int_equal(c.sequence, 3);
	assert_ok(mb_commit_newest(repo, "db", id, &sequence, &err), err);
	assert_string_equal(id, c.id);
	assert_int_equal(mb_id_time_us(a.id), 1795416242100000);
	mb_commit_release(&a);
	mb_commit_release(&b);
	mb_commit_release(&c);
	mb_repo_free(repo);
}

static void
commits_are_listed(void **state)
{
	static const char *const components[] = {"db", "db-2", "etc", "db", "a"};
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_commit_names names;
	struct mb_error err;
	int i;

	(void) state;
	for (i = 0; i < 5; i++)
	{
		struct mb_commit commit;

		put_commit(repo, &commit, components[i], 1795416242000000 + i);
		mb_commit_release(&commit);
	}
	assert_ok(mb_store_put(repo->store, "backups/db/x/commit", "x", 1, &err), err);
	assert_ok(mb_store_put(repo->store, "backups/db/20261123T064402Z-b25a94f1d3c7/other", "x", 1,
						   &err),
			  err);
	assert_ok(mb_store_put(repo->store, "backups/Db/20261123T064402Z-b25a94f1d3c7/commit", "x", 1,
						   &err),
			  err);
	assert_ok(mb_store_put(repo->store, "backups/commit", "x", 1, &err), err);
	assert_ok(mb_commit_list(repo, NULL, &names, &err), err);
	assert_int_equal(names.count, 5);
	for (i = 0; i < 5; i++)
		assert_string_equal(names.items[i].component,
							((const char *[]){"a", "db", "db", "db-2", "etc"})[i]);
	assert_true(strcmp(names.items[1].id, names.items[2].id) < 0);
	mb_commit_names_release(&names);
	assert_ok(mb_commit_list(repo, "db", &names, &err), err);
	assert_int_equal(names.count, 2);
	mb_commit_names_release(&names);
	assert_ok(mb_commit_list(repo, "none", &names, &err), err);
	assert_int_equal(names.count, 0);
	mb_commit_names_release(&names);
	mb_repo_free(repo);
}

static void
what_is_no_commit(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_commit a, b;
	struct mb_buf bytes = {0};
	struct mb_error err;
	char name[MB_NAME_MAX];
	size_t bit, cut;

	(void) state;
	put_commit(repo, &a, "db", 1795416242000000);
	assert_code(MB_NOT_FOUND, mb_commit_get(repo, "db", "../../etc", &b, &err), err);
	assert_code(MB_NOT_FOUND, mb_commit_head(repo, "..", a.id, &b, &err), err);
	assert_code(MB_NOT_FOUND, mb_commit_head(repo, "other", a.id, &b, &err), err);
	snprintf(name, sizeof(name), "backups/db/%s/commit", a.id);
	assert_ok(mb_store_get(repo->store, name, 0, SIZE_MAX, &bytes, &err), err);
	for (bit = 0; bit < 8 * bytes.len; bit++)
	{
		bytes.data[bit / 8] ^= (unsigned char) (1u << (bit % 8));
		replace_blob(repo->store, name, bytes.data, bytes.len);
		if (mb_commit_get(repo, "db", a.id, &b, &err) == MB_OK)
			fail_msg("flipped bit %zu was not noticed", bit);
		bytes.data[bit / 8] ^= (unsigned char) (1u << (bit % 8));
	}
	for (cut = 0; cut < bytes.len; cut++)
	{
		replace_blob(repo->store, name, bytes.data, cut);
		assert_code(MB_CORRUPT, mb_commit_get(repo, "db", a.id, &b, &err), err);
	}
	mb_buf_release(&bytes);
	mb_commit_release(&a);
	mb_repo_free(repo);
}

static void
parts_that_do_not_add_up(void **state)
{
	struct mb_pack_refs refs;
	struct mb_blocks blocks;
	struct mb_buf bytes = {0};
	struct mb_commit a;
	struct mb_error err;
	size_t cut;

	(void) state;
	make_commit(&a, "db", 1795416242000000, 3, 3);
	mb_pack_refs_settle(&a.refs);
	mb_blocks_encode(&bytes, &a.blocks);
	for (cut = 0; cut < bytes.len; cut++)
		assert_code(MB_CORRUPT, mb_blocks_decode(&blocks, 3, bytes.data, cut, &err), err);
	assert_code(MB_CORRUPT, mb_blocks_decode(&blocks, 2, bytes.data, bytes.len, &err), err);
	assert_code(MB_CORRUPT, mb_blocks_decode(&blocks, UINT64_MAX, bytes.data, bytes.len, &err),
				err);
	mb_buf_reset(&bytes);
	mb_refs_encode(&bytes, &a.refs);
	assert_code(MB_CORRUPT, mb_refs_decode(&refs, 2, bytes.data, bytes.len, &err), err);
	assert_code(MB_CORRUPT, mb_refs_decode(&refs, UINT64_MAX / 24 + 4, bytes.data, bytes.len, &err),
				err);
	memcpy(bytes.data, bytes.data + 24, 16); /* not sorted */
	assert_code(MB_CORRUPT, mb_refs_decode(&refs, 3, bytes.data, bytes.len, &err), err);
	mb_buf_release(&bytes);
	mb_commit_release(&a);
}

static void
component_names(void **state)
{
	char longest[MB_COMPONENT_MAX + 1];

	(void) state;
	assert_true(mb_component_name_is_valid("a"));
	assert_true(mb_component_name_is_valid("pg-main_2"));
	assert_false(mb_component_name_is_valid(""));
	assert_false(mb_component_name_is_valid("2a"));
	assert_false(mb_component_name_is_valid("A"));
	assert_false(mb_component_name_is_valid("a/b"));
	assert_false(mb_component_name_is_valid("a.b"));
	memset(longest, 'a', sizeof(longest));
	longest[MB_COMPONENT_MAX] = '\0';
	assert_false(mb_component_name_is_valid(longest));
	longest[MB_COMPONENT_MAX - 1] = '\0';
	assert_true(mb_component_name_is_valid(longest));
}

/* -- leases ---------------------------------------------------------------------------------- */

static enum mb_code
count(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	(void) info;
	(void) err;
	++*(int *) ctx;
	return MB_OK;
}

static int
count_leases(const struct mb_repo *repo)
{
	struct mb_error err;
	int leases = 0;

	assert_ok(mb_store_list(repo->store, "leases/", count, &leases, &err), err);
	return leases;
}

static void
leases_are_renewed_and_removed(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	char id[MB_ID_TEXT], name[MB_NAME_MAX];
	struct mb_lease *lease = NULL;
	struct mb_error err;
	json_t *json = NULL;
	int64_t before;

	(void) state;
	mb_id_new(id, mb_time_now_us());
	assert_ok(mb_lease_start_every(&lease, repo, id, "backup", 20, MB_GRACE_US / 2, &err), err);
	assert_true(count_leases(repo) >= 1);
	snprintf(name, sizeof(name), "leases/%s/00000000", id);
	assert_ok(mb_doc_get(repo, MB_ROLE_LEASE, name, &json, &err), err);
	assert_string_equal(mb_json_str(json, "kind", ""), "backup");
	json_decref(json);
	while (count_leases(repo) < 4)
		mb_sleep_ms(5);
	assert_ok(mb_lease_check(lease, &err), err);
	mb_lease_stop(lease);
	assert_int_equal(count_leases(repo), 0);
	/* With the real rhythm, stopping does not wait for it. */
	assert_ok(mb_lease_start(&lease, repo, id, "backup", &err), err);
	before = mb_monotonic_ms();
	mb_lease_stop(lease);
	assert_true(mb_monotonic_ms() - before < 2000);
	mb_lease_stop(NULL);
	mb_repo_free(repo);
}

static void
a_lease_that_was_not_renewed(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_lease *lease = NULL;
	struct mb_error err;
	char id[MB_ID_TEXT];
	int i;

	(void) state;
	mb_id_new(id, mb_time_now_us());
	assert_ok(mb_lease_start_every(&lease, repo, id, "backup", 10, 100000, &err), err);
	mb_store_memory_fail_after(repo->store, 0, MB_NO_SPACE);
	for (i = 0; i < 1000 && mb_lease_check(lease, &err) == MB_OK; i++)
		mb_sleep_ms(10);
	assert_code(MB_CONFLICT, mb_lease_check(lease, &err), err);
	assert_non_null(strstr(err.detail, "injected"));
	/* Once the store works again, so does the lease. */
	mb_store_memory_fail_after(repo->store, 0, MB_OK);
	for (i = 0; i < 1000 && mb_lease_check(lease, &err) != MB_OK; i++)
		mb_sleep_ms(10);
	assert_ok(mb_lease_check(lease, &err), err);
	mb_lease_stop(lease);
	mb_store_memory_fail_after(repo->store, 0, MB_NO_SPACE);
	assert_code(MB_NO_SPACE, mb_lease_start(&lease, repo, id, "backup", &err), err);
	mb_repo_free(repo);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commits_come_back),
		cmocka_unit_test(heads_with_much_to_say),
		cmocka_unit_test(commits_form_a_chain),
		cmocka_unit_test(the_newest_is_found_by_its_sequence),
		cmocka_unit_test(commits_are_listed),
		cmocka_unit_test(what_is_no_commit),
		cmocka_unit_test(parts_that_do_not_add_up),
		cmocka_unit_test(component_names),
		cmocka_unit_test(leases_are_renewed_and_removed),
		cmocka_unit_test(a_lease_that_was_not_renewed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

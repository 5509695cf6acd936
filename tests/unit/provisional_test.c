/* provisional_test.c - what killed backups leave for the next: found again, or left out when damaged. */
#include "tests/lib/repo_fixture.h"

#include "core/repo/pack_private.h"
#include "core/repo/provisional.h"

#define ID_1 "20261123T064402Z-123451234567"
#define ID_2 "20261123T074402Z-123451234567"

/* A pack, and a block list and table of references that name it. */
static void
make_pack(struct mb_repo *repo, struct mb_blocks *blocks, struct mb_pack_refs *refs,
		  const char *path)
{
	struct mb_uploader *uploader = mb_uploader_new(repo->store, 1);
	struct mb_packer *packer = mb_packer_new(repo, uploader);
	struct mb_block block = {.entries = 1, .bytes = 3};
	struct mb_error err;

	assert_ok(mb_packer_append_frame(packer, "abc", 3, &block.run, &err), err);
	assert_ok(mb_packer_finish(packer, &err), err);
	assert_ok(mb_uploader_drain(uploader, &err), err);
	mb_packer_free(packer);
	mb_uploader_free(uploader);
	memset(blocks, 0, sizeof(*blocks));
	memset(refs, 0, sizeof(*refs));
	block.first_path = mb_strdup(path);
	block.first_path_len = strlen(path);
	blocks->items = mb_grow(NULL, &blocks->cap, 1, sizeof(block));
	blocks->items[blocks->count++] = block;
	mb_pack_refs_add(refs, &block.run.pack, 3);
	mb_pack_refs_settle(refs);
}

static void
put(struct mb_repo *repo, const char *component, const char *id, unsigned seq, const char *path,
	char pack[MB_PACK_NAME_TEXT])
{
	struct mb_blocks blocks;
	struct mb_pack_refs refs;
	struct mb_error err;

	make_pack(repo, &blocks, &refs, path);
	mb_pack_name(pack, &refs.items[0].pack);
	assert_ok(mb_provisional_put(repo, component, id, seq, &blocks, &refs, &err), err);
	mb_blocks_release(&blocks);
	mb_pack_refs_release(&refs);
}

/* The first paths of what is found, in order, with spaces between. */
static void
assert_found(struct mb_repo *repo, const char *component, const char *want)
{
	struct mb_provisionals found;
	struct mb_buf got = {0};
	struct mb_error err;
	size_t i;

	assert_ok(mb_provisionals_get(repo, component, &found, &err), err);
	for (i = 0; i < found.count; i++)
		mb_buf_printf(&got, "%s%s", i ? " " : "", found.parts[i].items[0].first_path);
	assert_string_equal(mb_buf_cstr(&got), want);
	mb_buf_release(&got);
	mb_provisionals_release(&found);
}

static void
test_provisional__all_attempts_in_order(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	char pack[MB_PACK_NAME_TEXT];
	struct mb_error err;

	(void) state;
	assert_found(repo, "postgres", "");
	put(repo, "postgres", ID_2, 1, "c", pack);
	put(repo, "postgres", ID_1, 1, "a", pack);
	put(repo, "postgres", ID_1, 2, "b", pack);
	put(repo, "postgres2", ID_1, 1, "other", pack);
	assert_found(repo, "postgres", "a b c");
	assert_ok(mb_provisionals_remove(repo, "postgres", &err), err);
	assert_found(repo, "postgres", "");
	assert_found(repo, "postgres2", "other");
	assert_ok(mb_provisionals_remove(repo, "postgres", &err), err);
	mb_repo_free(repo);
}

static void
test_provisional__what_cannot_be_used_is_left_out(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	char pack[MB_PACK_NAME_TEXT];
	const char *names[] = {pack};
	struct mb_error err;

	(void) state;
	put(repo, "postgres", ID_1, 1, "lost", pack);
	assert_ok(mb_store_remove(repo->store, names, 1, &err), err);
	put(repo, "postgres", ID_1, 2, "damaged", pack);
	replace_blob(repo->store, "provisional/postgres/" ID_1 "/00000002", "rubbish", 7);
	put(repo, "postgres", ID_1, 3, "good", pack);
	assert_found(repo, "postgres", "good");
	mb_repo_free(repo);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_provisional__all_attempts_in_order),
		cmocka_unit_test(test_provisional__what_cannot_be_used_is_left_out),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("provisional", tests, NULL, NULL);
}

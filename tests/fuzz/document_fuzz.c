/*
 * document_fuzz.c - any text as one of the repository's documents: byte 0 says which.  Whoever lists, merges or
 * verifies them meets it as it would in a repository that somebody else has written.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/docs.h"
#include "core/engine/pins.h"
#include "core/engine/retention.h"
#include "core/engine/verified.h"
#include "core/repo/provisional.h"
#include "core/repo/repo_private.h"
#include "core/repo/tombstone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "20261123T064402Z-b25a94f1d3c7"

static const struct
{
	enum mb_role role;
	const char *name;
} documents[] = {{MB_ROLE_SET, "sets/" ID},
				 {MB_ROLE_MARK, "marks/" ID},
				 {MB_ROLE_LEASE, "leases/" ID "/00000000"},
				 {MB_ROLE_TOMBSTONE, "tombstones/" ID},
				 {MB_ROLE_PROVISIONAL, "provisional/config/" ID "/00000001"},
				 {MB_ROLE_PROBE, "probes/" ID},
				 {MB_ROLE_PIN, "pins/" ID "/" ID},
				 {MB_ROLE_REDUCED, "reduced/" ID "/config"},
				 {MB_ROLE_VERIFIED, "verified/" ID},
				 {MB_ROLE_DRILL, "drills/" ID},
				 {MB_ROLE_KEY, "keys/00000001/0123456789abcdef"}};
#define DOCUMENTS (sizeof(documents) / sizeof(documents[0]))

static void
put(const struct mb_repo *repo, size_t which, const void *data, size_t len)
{
	struct mb_blob_writer writer = {0};
	struct mb_error err;

	mb_blob_begin(&writer, repo, documents[which].role, documents[which].name);
	mb_blob_frames_last(&writer, data, len);
	MB_ASSERT(mb_blob_put(&writer, &err) == MB_OK);
	mb_blob_writer_release(&writer);
}

static void
touch_cuts(const json_t *list)
{
	struct mb_cut cut;
	struct mb_error err;
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *document = json_array_get(list, i);

		(void) mb_set_commit_id(document, "config");
		memset(&cut, 0, sizeof(cut));
		if (mb_cut_from_json(&cut, json_object_get(document, "cut"), &err) == MB_OK)
			json_decref(mb_cut_to_json(&cut));
		mb_cut_release(&cut);
	}
}

static void
touch_lists(const struct mb_repo *repo)
{
	json_t *sets = NULL, *marks = NULL, *probes = NULL;
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_sets_list(repo, &sets, &err) == MB_OK && mb_marks_list(repo, &marks, &err) == MB_OK)
	{
		MB_ASSERT(mb_pins_merge(repo, sets, &err) != MB_IO);
		MB_ASSERT(mb_pins_merge(repo, marks, &err) != MB_IO);
		MB_ASSERT(mb_reduced_merge(repo, sets, &err) != MB_IO);
		touch_cuts(sets);
		touch_cuts(marks);
	}
	if (mb_probes_list(repo, &probes, &err) == MB_OK)
		json_decref(probes);
	json_decref(sets);
	json_decref(marks);
}

static void
touch_others(const struct mb_repo *repo)
{
	struct mb_slot_name slot_name = {1, "0123456789abcdef"};
	struct mb_tombstones tombstones = {0};
	struct mb_provisionals provisionals = {0};
	struct mb_pack_refs refs = {0};
	struct mb_leases leases = {0};
	struct mb_verified *verified;
	struct mb_slot slot;
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_tombstones_list(repo, &tombstones, &err) == MB_OK)
		mb_tombstones_release(&tombstones);
	if (mb_leases_list(repo, &leases, &err) == MB_OK)
		mb_leases_release(&leases);
	if (mb_provisionals_get(repo, "config", &provisionals, &err) == MB_OK)
		mb_provisionals_release(&provisionals);
	if (mb_provisional_refs(repo, documents[4].name, &refs, &err) == MB_OK)
		mb_pack_refs_release(&refs);
	if (mb_verified_load(&verified, repo, &err) == MB_OK)
	{
		(void) mb_verified_time(verified, "packs/x");
		mb_verified_free(verified);
	}
	if (mb_slot_read(repo, &slot_name, &slot, &err) == MB_OK)
		MB_ASSERT(!slot.is_scrypt ||
				  (slot.n >= 2 && slot.n <= 1u << 20 && slot.r <= 64 && slot.p <= 64));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_repo repo = {.suite = MB_SUITE_NONE, .id_text = "x"};
	struct mb_env env = {.repo = &repo, .workers = 1};
	struct mb_stack stack = {.env = &env};
	struct mb_verify_options options = {.read_data = MB_READ_FULL};
	struct mb_error err;
	json_t *answer = NULL;

	if (size < 1)
		return 0;
	repo.store = mb_store_memory_new(0);
	put(&repo, data[0] % DOCUMENTS, data + 1, size - 1);
	touch_lists(&repo);
	touch_others(&repo);
	mb_error_clear(&err);
	if (mb_verify_run(&stack, &options, &answer, &err) == MB_IO)
		abort();
	json_decref(answer);
	mb_store_free(repo.store);
	return 0;
}

/*
 * tombstone.h - "these blobs are garbage": the first half of a deletion, and what a writer asks
 * before and after it commits.
 *
 * tombstones/<id> is a document {blobs: [names]} of packs and stream blobs that nothing refers to.  Its
 * age is that of the blob in the store's own time.  It deletes nothing by itself: a later run
 * (core/repo/sweep.h) looks again whether anything needs them.
 */
#ifndef MB_REPO_TOMBSTONE_H
#define MB_REPO_TOMBSTONE_H

#include "core/repo/commit.h"
#include "core/repo/lease.h"

/* A document stays well below MB_DOC_MAX_BYTES. */
#define MB_TOMBSTONE_MAX_BLOBS 50000

struct mb_tombstone
{
	char name[MB_NAME_MAX];
	int64_t put_us; /* by the store */
	json_t *blobs;  /* array of names, owned; empty for one that is damaged */
};

struct mb_tombstones
{
	struct mb_tombstone *items; /* by name, that is oldest first */
	size_t count;
	size_t cap;
};

/* A damaged one counts as empty: what it named will be named again. */
enum mb_code mb_tombstones_list(const struct mb_repo *repo, struct mb_tombstones *tombstones,
								struct mb_error *err) MB_MUST_CHECK;
void mb_tombstones_release(struct mb_tombstones *tombstones);
/* blobs: an array of at most MB_TOMBSTONE_MAX_BLOBS names. */
enum mb_code mb_tombstone_put(const struct mb_repo *repo, json_t *blobs,
							  struct mb_error *err) MB_MUST_CHECK;

/*
 * A writer under a lease asks, right before and right after its commit is put: is everything
 * there that the commit refers to?  Looked for is what a tombstone names; all of it when the clock
 * jumped (mb_lease_clock_jumped).  MB_CONFLICT: expire was there first.  Then there must be no
 * such commit.
 */
enum mb_code mb_refs_guard(const struct mb_repo *repo, const struct mb_lease *lease,
						   const struct mb_pack_refs *refs, struct mb_error *err) MB_MUST_CHECK;

/*
 * mb_commit_put between two mb_refs_guard: the second one that fails takes the commit back.
 * commit->refs need not be settled.
 */
enum mb_code mb_commit_put_guarded(const struct mb_repo *repo, const struct mb_lease *lease,
								   struct mb_commit *commit, struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * rehome.h - packs of the parent that a new backup had better not refer to.
 *
 * A pack of which less than half is still needed keeps dead bytes in the repository for as
 * long as anything refers to it.  What an incremental backup needs of such packs it packs
 * again instead of referring to it: at most an eighth of the backup's bytes each time.  A
 * pack that is not there any more is never referred to.
 *
 * Threads: after mb_rehome_plan, from any.
 */
#ifndef MB_ENGINE_REHOME_H
#define MB_ENGINE_REHOME_H

#include <stdatomic.h>

#include "core/repo/commit.h"

struct mb_rehome
{
	struct mb_pack_refs sparse;
	struct mb_pack_refs missing;
	struct mb_pack_refs avoid; /* both: for what is small, as blocks of the manifest */
	atomic_llong budget_bytes; /* what may still be packed again because of sparse packs */
};

/*
 * Look at the packs that the parent refers to: one question to the store for each, and the
 * index of those that seem to be the emptiest, 1024 at most.  All zero: nothing to avoid.
 */
enum mb_code mb_rehome_plan(struct mb_rehome *rehome, const struct mb_repo *repo,
							const struct mb_commit *parent, struct mb_error *err) MB_MUST_CHECK;
void mb_rehome_release(struct mb_rehome *rehome);

/*
 * Must these bytes of a pack be packed again?  Takes them from the budget when the answer
 * is yes because of a sparse pack.
 */
bool mb_rehome_takes(struct mb_rehome *rehome, const struct mb_pack_id *pack, size_t bytes);
/* Does an entry refer to a pack that is to be avoided, so that its file must be read? */
bool mb_rehome_wants(const struct mb_rehome *rehome, const struct mb_entry *entry);

#endif

/*
 * provisional.h - what a long backup has finished so far, so that the next attempt need not
 * store it again when this one is killed.
 *
 * provisional/<component>/<backup id>/<seq> is a document: the blocks of a manifest of the
 * entries that were finished since the one before, and the packs that they refer to,
 * which are durable.  A commit of the component removes all.
 */
#ifndef MB_REPO_PROVISIONAL_H
#define MB_REPO_PROVISIONAL_H

#include "core/repo/commit.h"

/* seq counts from 1.  Everything that blocks and refs (settled) name must be durable. */
enum mb_code mb_provisional_put(const struct mb_repo *repo, const char *component, const char *id,
								unsigned seq, const struct mb_blocks *blocks,
								const struct mb_pack_refs *refs,
								struct mb_error *err) MB_MUST_CHECK;

struct mb_provisionals
{
	struct mb_blocks *parts; /* the newest last */
	size_t count;
	size_t cap;
};
/*
 * Those of all attempts since the last commit.  One that is damaged, or that refers to a pack that is not
 * there, is left out: it is a help and no promise.
 */
enum mb_code mb_provisionals_get(const struct mb_repo *repo, const char *component,
								 struct mb_provisionals *found, struct mb_error *err) MB_MUST_CHECK;
/* Which packs one document names; MB_CORRUPT, MB_NOT_FOUND.  Release them. */
enum mb_code mb_provisional_refs(const struct mb_repo *repo, const char *name,
								 struct mb_pack_refs *refs, struct mb_error *err) MB_MUST_CHECK;
void mb_provisionals_release(struct mb_provisionals *found);
enum mb_code mb_provisionals_remove(const struct mb_repo *repo, const char *component,
									struct mb_error *err) MB_MUST_CHECK;

#endif

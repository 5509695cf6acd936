/*
 * chain_check.h - is the history of a component the one that was written?  Commits carry a sequence number
 * and the hash of the one before (core/repo/commit.h); a machine that commits remembers in its spool what
 * it wrote last.  Old commits may be missing, since they expire; what is there must fit, and the newest must
 * not be older than what this machine has written.
 */
#ifndef MB_ENGINE_CHAIN_CHECK_H
#define MB_ENGINE_CHAIN_CHECK_H

#include "core/engine/env.h"
#include "core/repo/commit.h"

/* After a commit: remember it.  Best effort: what is lost here is a witness, no backup. */
void mb_chain_remember(const struct mb_env *env, const struct mb_commit *commit);

/*
 * Does the commit before `commit`, if it is there, have the hash that it states?  MB_CORRUPT when not.
 */
enum mb_code mb_chain_check(const struct mb_repo *repo, const struct mb_commit *commit,
							struct mb_error *err) MB_MUST_CHECK;

/*
 * Is the newest commit of a component (its sequence; 0: there is none) at least what this machine
 * wrote last?  MB_CORRUPT: the repository was set back.  MB_OK without a spool, or when it
 * remembers nothing.
 */
enum mb_code mb_chain_check_newest(const struct mb_env *env, const char *component,
								   uint64_t sequence, struct mb_error *err) MB_MUST_CHECK;

#endif

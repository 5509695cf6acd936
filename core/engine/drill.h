/*
 * drill.h - the drill: a restore that is tried.
 *
 * Everything is restored into a scratch directory and brought to life there in private
 * (component.h: revive), the user's health hook says whether the application would be content, and all
 * of it is torn down again.  How long each step took and how far it got is kept in the repository, as a
 * document drills/<id>, whether it went well or not: docs/verify.md.
 *
 * A scratch directory is locked by its drill.  One that nobody holds was left by a drill that was killed (its servers
 * have died with it); the next one removes it.
 */
#ifndef MB_ENGINE_DRILL_H
#define MB_ENGINE_DRILL_H

#include "core/engine/stack.h"

/* Unix sockets are made below it. */
#define MB_DRILL_PARENT_MAX 60
/* So many are kept. */
#define MB_DRILLS_KEPT 100

struct mb_drill_options
{
	const char *backup; /* as in mb_restore_options */
	struct mb_target target;
	const char
		*parent; /* absolute: where the scratch directory is made, MB_DRILL_PARENT_MAX at most */
	const char *health;        /* run by /bin/sh when everything is up, or NULL */
	int64_t health_timeout_ms; /* 0: none */
};

/*
 * *answer is the drill object of docs/configuration.md, also when it failed (which is in it); NULL when it did not
 * come to a verdict (interrupted, or could not be begun).  MB_NEGATIVE: what was restored is not good;
 * MB_CORRUPT and others: what the restore said.
 */
enum mb_code mb_drill_run(const struct mb_stack *stack, const struct mb_drill_options *options,
						  json_t **answer, struct mb_error *err) MB_MUST_CHECK;

/* All drills, oldest first, as their "drill" objects; limit 0: all, else the newest ones. */
enum mb_code mb_drills_list(const struct mb_repo *repo, size_t limit, json_t **drills,
							struct mb_error *err) MB_MUST_CHECK;

#endif

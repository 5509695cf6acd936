/* retention_private.h - what retention.c (rules) and retention_judge.c (a stack) share. */
#ifndef MB_ENGINE_RETENTION_PRIVATE_H
#define MB_ENGINE_RETENTION_PRIVATE_H

#include "core/engine/retention.h"

/* One backup of the component that is judged. */
struct mb_candidate
{
	int64_t time_us;
	bool is_future;     /* by the store's clock: kept, and no rule counts it */
	bool is_incomplete; /* something could not be read: it counts, but is not the last good one */
	bool opens_window;
	struct mb_kept_part *part;
};

/*
 * Apply the policy to the backups of one component, oldest first.  Returns where its window begins;
 * INT64_MIN: everything is in it.
 */
int64_t mb_candidates_judge(struct mb_candidate *candidates, size_t count,
							const struct mb_policy *policy, int64_t now_us);

#endif

/*
 * check.h - what `mbackup check` finds about the repository; components tell of themselves
 * (component.h).  What a finding may be called stands in conditions.h.
 */
#ifndef MB_ENGINE_CHECK_H
#define MB_ENGINE_CHECK_H

#include "core/engine/stack.h"

/* How many findings are FAILED? */
size_t mb_checks_failed(const struct mb_checks *checks);

/* Can it be written, is it read and tried, are its copies whole? */
void mb_check_repository(const struct mb_stack *stack, struct mb_checks *checks);
/*
 * check_age.c: backups that are missing, old, partial or unfinished, and who else writes.  The newest
 * set should not be older than age_ms (0: whatever its age).  *full_bytes: what the newest full one
 * has stored, 0: there is none.
 */
void mb_check_age(const struct mb_env *env, int64_t age_ms, uint64_t *full_bytes,
				  struct mb_checks *checks);
/*
 * For drivers: path, a directory on this host, holds what they protect.  A finding, once, when the
 * repository is on the same filesystem and no copy of it is elsewhere.
 */
void mb_check_same_disk(const struct mb_env *env, const char *path, struct mb_checks *checks);
/* Every component of the stack. */
void mb_check_components(const struct mb_stack *stack, struct mb_checks *checks);

#endif

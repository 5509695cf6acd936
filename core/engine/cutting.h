/*
 * cutting.h - take the positions that belong together (docs/architecture.md).
 */
#ifndef MB_ENGINE_CUTTING_H
#define MB_ENGINE_CUTTING_H

#include "core/engine/stack.h"

/*
 * hold / position / release over the whole stack.  flags: MB_CUT_PAUSE.  The
 * consistency that was reached is written in the cut: "paused" only when every holder
 * held until the end.  Fails when the clock or, with a pause, a holder fails; another
 * component that cannot tell its position is put into `failed` (parallel to
 * stack->components) and left out of the cut.  failed[i].code is MB_OK for the rest;
 * components that are marked failed on entry are not asked.
 */
enum mb_code mb_cut_take(const struct mb_stack *stack, unsigned flags, struct mb_error *failed,
						 struct mb_cut *cut, struct mb_error *err) MB_MUST_CHECK;

/* Why the clock is among the failed, or NULL; borrowed from there. */
const struct mb_error *mb_cut_clock_failure(const struct mb_stack *stack,
											const struct mb_error *failed);

/* A cut without positions at this machine's time: for scans between marks. */
enum mb_code mb_cut_now(const struct mb_env *env, struct mb_cut *cut,
						struct mb_error *err) MB_MUST_CHECK;

#endif

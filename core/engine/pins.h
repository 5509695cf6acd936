/*
 * pins.h - what is noted about sets and marks after they were made: pins, and components that have
 * expired alone.  Sets and marks never change; these are documents of their own.
 *
 *     pins/<id of a set or mark>/<id>      {time, reason, until}: keep it whatever the retention says
 *     reduced/<id of a set>/<component>    {time}: the set does not hold this component any more
 */
#ifndef MB_ENGINE_PINS_H
#define MB_ENGINE_PINS_H

#include "core/repo/commit.h"

/*
 * Into the documents of an array as mb_sets_list and mb_marks_list make it: "pin" {time, reason,
 * until} and "pinned": true, unless the pin is over.
 */
enum mb_code mb_pins_merge(const struct mb_repo *repo, json_t *docs,
						   struct mb_error *err) MB_MUST_CHECK;
/* Into sets: a component that is gone has "expired" (a time) and "error" in place of "backup". */
enum mb_code mb_reduced_merge(const struct mb_repo *repo, json_t *sets,
							  struct mb_error *err) MB_MUST_CHECK;

/* reason may be NULL, until_us 0: for good.  A second pin replaces the first. */
enum mb_code mb_pin_put(const struct mb_repo *repo, const char *target, const char *reason,
						int64_t until_us, struct mb_error *err) MB_MUST_CHECK;
/* *count: how many there were. */
enum mb_code mb_pins_remove(const struct mb_repo *repo, const char *target, size_t *count,
							struct mb_error *err) MB_MUST_CHECK;
/* MB_OK when it is noted already. */
enum mb_code mb_reduced_put(const struct mb_repo *repo, const char *set, const char *component,
							struct mb_error *err) MB_MUST_CHECK;
/* Remove the notes on sets and marks that are not in these arrays. */
enum mb_code mb_notes_sweep(const struct mb_repo *repo, const json_t *sets, const json_t *marks,
							struct mb_error *err) MB_MUST_CHECK;

#endif

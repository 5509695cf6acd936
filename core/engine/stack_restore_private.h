/*
 * stack_restore_private.h - what the files of stack_restore.h share:
 *
 *     stack_restore.c    the entry points, the lock, the answer
 *     stack_look.c       what there is to stop and to keep
 *     stack_space.c      whether there is room
 *     stack_plan.c       what is shown
 *     stack_steps.c      forward, and the abort before any harm
 *     stack_rollback.c   the way back
 *     stack_kept.c       what is kept of restores that are over
 */
#ifndef MB_ENGINE_STACK_RESTORE_PRIVATE_H
#define MB_ENGINE_STACK_RESTORE_PRIVATE_H

#include "core/engine/restore_journal.h"
#include "core/engine/restore_session.h"
#include "core/engine/safety.h"
#include "core/engine/stack_restore.h"

#define MB_STEP_TEXT 128

struct mb_kept_place
{
	struct mb_safety *safety;
	char component[64];
};

/* In the order of starting: Redis, buckets and files, the clock, the application. */
struct mb_served
{
	struct mb_service service;
	bool was_running;
};

struct mb_restoration
{
	const struct mb_env *env;
	const struct mb_stack_restore_options *options;
	struct mb_restore_session session; /* not of a rollback */
	struct mb_journal *journal;
	struct mb_kept_place *places;
	size_t place_count;
	size_t place_cap;
	struct mb_served *services;
	size_t service_count;
	size_t service_cap;
	struct mb_service_env service_env;
	char *output_path;
	json_t *plan;     /* what is shown, and kept in the journal */
	json_t *warnings; /* array */
	json_t *references;
	double *healthy_after; /* seconds from the start on, parallel to the parts; 0: not known */
	int64_t started_us;
};

void mb_restoration_warn(struct mb_restoration *run, const char *fmt, ...) MB_PRINTF(2, 3);
/* The event for hooks; a new reference. */
json_t *mb_restoration_event(const struct mb_restoration *run, const char *status,
							 const struct mb_error *err);

/* stack_plan.c: after the session has planned.  Looks at everything, touches nothing. */
enum mb_code mb_restoration_plan(struct mb_restoration *run, struct mb_error *err) MB_MUST_CHECK;
/* The list of files of a place goes beside the journal. */
enum mb_code mb_restoration_begin_journal(struct mb_restoration *run,
										  struct mb_error *err) MB_MUST_CHECK;

/* stack_look.c: fill services and places. */
enum mb_code mb_restoration_find_services(struct mb_restoration *run,
										  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_restoration_find_places(struct mb_restoration *run,
										struct mb_error *err) MB_MUST_CHECK;
/* Can every hook be run that may be needed? */
enum mb_code mb_restoration_check_hooks(const struct mb_restoration *run,
										struct mb_error *err) MB_MUST_CHECK;
/* Services and places as a journal's plan has them. */
enum mb_code mb_restoration_load(struct mb_restoration *run, const struct mb_stack *stack,
								 struct mb_error *err) MB_MUST_CHECK;

/* stack_space.c: MB_NO_SPACE; what was found goes into the plan. */
enum mb_code mb_restoration_check_space(struct mb_restoration *run,
										struct mb_error *err) MB_MUST_CHECK;

/* stack_steps.c */
enum mb_code mb_restoration_run(struct mb_restoration *run, struct mb_error *err) MB_MUST_CHECK;
/* Has anything been restored, or removed for good? */
bool mb_restoration_has_harmed(struct mb_restoration *run);
/* Undo what was done before any harm; err (the cause) stays as it is, but for a hint. */
void mb_restoration_abort(struct mb_restoration *run, struct mb_error *err);
enum mb_code mb_restoration_stop(struct mb_restoration *run, const char *prefix,
								 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_restoration_start(struct mb_restoration *run, const char *prefix, bool only_running,
								  struct mb_error *err) MB_MUST_CHECK;
void mb_restoration_hook(struct mb_restoration *run, enum mb_hook hook, const char *status,
						 const struct mb_error *cause);

/* stack_rollback.c: with the lock held and the journal open. */
enum mb_code mb_restoration_roll_back(struct mb_restoration *run, const struct mb_stack *stack,
									  json_t **answer, struct mb_error *err) MB_MUST_CHECK;

#endif

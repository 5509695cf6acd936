/*
 * stack_restore.h - a restore of a stack over what is there, with a way back.
 *
 *     plan -> confirm -> journal -> hook before-restore -> stop services -> keep what is there
 *          -> restore, components beside each other -> start services -> health -> references
 *          -> hook after-restore -> report
 *
 * Nothing is touched before all of it is planned and looked at.  Up to the first byte that is restored
 * a failure undoes by itself what was done (aborted); from then on the journal
 * (restore_journal.h) lets another process go on, or back: mb_stack_continue, mb_stack_rollback.
 *
 * A rollback needs no repository, but for a bucket (what was in it is kept there).
 */
#ifndef MB_ENGINE_STACK_RESTORE_H
#define MB_ENGINE_STACK_RESTORE_H

#include "core/engine/hooks.h"
#include "core/engine/service.h"
#include "core/engine/stack.h"

enum mb_stack_restore_flags
{
	MB_STACK_NO_SNAPSHOT = 1,
	MB_STACK_NO_HOOKS = 2,
	MB_STACK_ROLLBACK_ON_FAILURE = 4,
	MB_STACK_VERIFY_ONLY = 8 /* plan, preflight, and read everything that would be restored */
};

struct mb_stack_restore_options
{
	struct mb_restore_options restore;
	unsigned flags;
	struct mb_hooks hooks;
	char **application; /* services of the application, as mb_service_parse reads them */
	size_t application_count;
	int64_t service_timeout_ms; /* 0: none */
	void *ctx;
	/* Show the plan and ask; NULL: nobody is asked. */
	enum mb_code (*confirm)(void *ctx, const json_t *plan, struct mb_error *err);
	/*
	 * Do the rows of the restored database find their objects?  *found is the "references" member of
	 * the answer; MB_PARTIAL when something is missing.  NULL, or *found NULL: nothing to check.
	 */
	enum mb_code (*references)(void *ctx, json_t **found, struct mb_error *err);
	bool has_references;
};

/* MB_CONFLICT when another restore is unfinished, or runs.  *answer also comes with MB_PARTIAL. */
enum mb_code mb_stack_restore(const struct mb_stack *stack,
							  const struct mb_stack_restore_options *options, json_t **answer,
							  struct mb_error *err) MB_MUST_CHECK;
/* id: or a unique prefix; NULL: the unfinished one.  MB_CONFLICT when it is finished. */
enum mb_code mb_stack_continue(const struct mb_stack *stack,
							   const struct mb_stack_restore_options *options, const char *id,
							   json_t **answer, struct mb_error *err) MB_MUST_CHECK;
/* id NULL: the unfinished one, else the newest.  One that is rolled back already is fine. */
enum mb_code mb_stack_rollback(const struct mb_stack *stack,
							   const struct mb_stack_restore_options *options, const char *id,
							   json_t **answer, struct mb_error *err) MB_MUST_CHECK;

/* What a rollback of this restore would do: {"id", "status", ...}; needs no stack. */
enum mb_code mb_restores_list(const char *spool, json_t **list, struct mb_error *err) MB_MUST_CHECK;
/* Does rolling it back need the repository?  id as for mb_stack_rollback. */
enum mb_code mb_rollback_needs_repository(bool *needs, const char *spool, const char *id,
										  struct mb_error *err) MB_MUST_CHECK;
/*
 * The backups that restores of this spool still need: those that an unfinished one restores
 * (with all that is behind them, is_open), and those in which a bucket was kept for a rollback.
 */
typedef void (*mb_needed_fn)(void *ctx, const char *component, const char *backup, bool is_open);
enum mb_code mb_restores_need(const char *spool, mb_needed_fn fn, void *ctx,
							  struct mb_error *err) MB_MUST_CHECK;
/* Remove what a finished restore has kept.  MB_CONFLICT when it is unfinished. */
enum mb_code mb_restores_forget(const char *spool, const char *id, json_t **answer,
								struct mb_error *err) MB_MUST_CHECK;
/*
 * A backup that began at backup_us was found whole: what restores have kept that were finished
 * before it is removed.  Adds their ids to *forgotten (array).  What cannot be removed is left.
 */
enum mb_code mb_restores_expire(const struct mb_env *env, int64_t backup_us, json_t *forgotten,
								struct mb_error *err) MB_MUST_CHECK;
/* Findings for `check`: an unfinished restore, what is kept. */
void mb_restores_check(const char *spool, struct mb_checks *checks);

#endif

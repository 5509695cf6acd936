/*
 * hooks.h - the user's own commands around a backup or a restore: [hooks] of mbackup.conf.
 *
 * Each is run by /bin/sh -c with MBACKUP_EVENT, MBACKUP_ID, MBACKUP_COMPONENTS, MBACKUP_STATUS and
 * MBACKUP_ERROR (and MBACKUP_TARGET of a restore) in its environment and the event as JSON on its
 * stdin; see docs/restore.md.  Killed with its process group when we are cancelled.
 */
#ifndef MB_ENGINE_HOOKS_H
#define MB_ENGINE_HOOKS_H

#include "core/base/json.h"
#include "core/engine/env.h"

enum mb_hook
{
	MB_HOOK_BEFORE_BACKUP,
	MB_HOOK_AFTER_BACKUP,
	MB_HOOK_BEFORE_RESTORE,
	MB_HOOK_AFTER_RESTORE,
	MB_HOOK_STOP_SERVICES,
	MB_HOOK_START_SERVICES,
	MB_HOOK_HEALTH_CHECK,
	MB_HOOK_ON_FAILURE,
	MB_HOOK_ON_SUCCESS
};
#define MB_HOOK_COUNT 9

struct mb_hooks
{
	const char *commands[MB_HOOK_COUNT]; /* NULL: none */
	int64_t timeout_ms;                  /* 0: none */
};

const char *mb_hook_name(enum mb_hook hook);
/* Can it be run, as far as one can tell: its first word is a program?  MB_CONFIG. */
enum mb_code mb_hook_check(const struct mb_hooks *hooks, enum mb_hook hook,
						   struct mb_error *err) MB_MUST_CHECK;
/*
 * Run it; none is MB_OK.  event: members id, components (array of texts), target, status and error
 * go into the environment, all of it to its stdin.  MB_NEGATIVE: it ended with another status than 0.
 * output_path (may be NULL) gets what it says; the log too.
 */
enum mb_code mb_hook_run(const struct mb_hooks *hooks, enum mb_hook hook, const json_t *event,
						 const struct mb_env *env, const char *output_path,
						 struct mb_error *err) MB_MUST_CHECK;

#endif

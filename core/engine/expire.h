/*
 * expire.h - mb_expire_run: what the retention does not keep is taken out of the repository.
 *
 * One run: judge (retention.h); remove the documents of marks and sets that go, then the commits that
 * nothing names any more; ask every driver which blobs of its streams are still needed; sweep
 * (core/repo/sweep.h).  So a backup that expires is gone at once, and its bytes a day later, at the
 * next run: whoever restores or verifies it meanwhile can go on.
 *
 * May be killed anywhere and run on two hosts at once; one at a time on a machine.
 */
#ifndef MB_ENGINE_EXPIRE_H
#define MB_ENGINE_EXPIRE_H

#include "core/engine/retention.h"
#include "core/engine/stack.h"

struct mb_expire_options
{
	struct mb_policy policy;
	const struct mb_override *overrides;
	size_t override_count;
	int64_t lock_us;  /* how long the place locks blobs; 0: it does not */
	int64_t grace_us; /* MB_GRACE_US */
	bool is_dry;      /* say what would be done, write nothing */
	int64_t local_us; /* this machine's time; 0: ask it */
};

/*
 * *answer: the expire object of docs/configuration.md.  MB_CONFLICT: an expire of this repository runs
 * on this machine, or its clock and the repository's differ by more than a day; MB_PARTIAL with an
 * answer: the store would not remove something, or something cannot be judged.
 */
enum mb_code mb_expire_run(const struct mb_stack *stack, const struct mb_expire_options *options,
						   json_t **answer, struct mb_error *err) MB_MUST_CHECK;

/*
 * Pin or unpin a set (id, prefix, "latest") or a mark (by name or id); *answer is the pin object.
 * MB_CONFLICT beside an expire, since it may be removing what is to be kept.
 */
enum mb_code mb_pin_run(const struct mb_stack *stack, const char *which, const char *reason,
						int64_t until_us, json_t **answer, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_unpin_run(const struct mb_stack *stack, const char *which, json_t **answer,
						  struct mb_error *err) MB_MUST_CHECK;

#endif

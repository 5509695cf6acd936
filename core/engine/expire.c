/* expire.c - see expire.h: the order of one run. */
#include "core/engine/expire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "core/engine/docs.h"
#include "core/engine/expire_private.h"
#include "core/engine/pins.h"
#include "core/engine/session.h"

#define CLOCK_LIMIT_US (24LL * 3600 * 1000000)

void
expire_warn(struct expire *expire, const char *fmt, ...)
{
	char text[1200];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_array_append_new(expire->warnings, json_string(text));
}

const struct mb_policy *
expire_policy(const struct expire *expire, const char *component)
{
	size_t i;

	for (i = 0; i < expire->options->override_count; i++)
		if (strcmp(expire->options->overrides[i].component, component) == 0)
			return &expire->options->overrides[i].policy;
	return &expire->options->policy;
}

enum mb_code
expire_remove(struct expire *expire, const char *const *names, size_t count, bool *done,
			  struct mb_error *err)
{
	struct mb_error why;
	enum mb_code code;

	*done = true;
	if (expire->options->is_dry || count == 0)
		return MB_OK;
	mb_error_clear(&why);
	code = mb_cancel_check(expire->stack->env->cancel, &why);
	if (!code)
		code = mb_store_remove(expire->repo->store, names, count, &why);
	if (code == MB_DENIED)
	{
		*done = false;
		if (!expire->refused.code)
			expire->refused = why;
		return MB_OK;
	}
	if (code)
		*err = why;
	return code;
}

/* -- documents ------------------------------------------------------------------------------- */

static enum mb_code
remove_marks(struct expire *expire, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < expire->verdict.mark_count; i++)
	{
		char name[MB_NAME_MAX];
		const char *names[] = {name};
		bool done = false;

		if (expire->verdict.marks[i].is_kept)
			continue;
		snprintf(name, sizeof(name), "marks/%s",
				 mb_json_str(expire->verdict.marks[i].mark, "id", ""));
		code = expire_remove(expire, names, 1, &done, err);
		expire->removed_marks += !code && done;
		expire->verdict.marks[i].is_kept = !code && !done;
	}
	return code;
}

/* A set that stays without some of its components says so before their commits go. */
static enum mb_code
reduce_set(struct expire *expire, const struct mb_kept_set *set, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < set->part_count; i++)
	{
		if (set->parts[i].is_kept)
			continue;
		if (!expire->options->is_dry)
			code = mb_reduced_put(expire->repo, set->id, set->parts[i].component, err);
		expire->removed_parts += !code;
	}
	return code;
}

static enum mb_code
remove_sets(struct expire *expire, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i, j;

	for (i = 0; !code && i < expire->verdict.set_count; i++)
	{
		const struct mb_kept_set *set = &expire->verdict.sets[i];
		char name[MB_NAME_MAX];
		const char *names[] = {name};
		bool done = false;

		if (set->is_kept)
		{
			code = reduce_set(expire, set, err);
			continue;
		}
		snprintf(name, sizeof(name), "sets/%s", set->id);
		code = expire_remove(expire, names, 1, &done, err);
		expire->removed_sets += !code && done;
		for (j = 0; !code && !done && j < set->part_count; j++)
			set->parts[j].is_kept = true;
	}
	return code;
}

/* Notes on what is gone; the documents are listed anew, because another host may have removed some. */
static enum mb_code
sweep_notes(struct expire *expire, struct mb_error *err)
{
	json_t *sets = NULL, *marks = NULL;
	enum mb_code code = MB_OK;

	if (expire->options->is_dry)
		return MB_OK;
	code = mb_sets_list(expire->repo, &sets, err);
	if (!code)
		code = mb_marks_list(expire->repo, &marks, err);
	if (!code)
		code = mb_notes_sweep(expire->repo, sets, marks, err);
	json_decref(sets);
	json_decref(marks);
	return code;
}

/* -- the whole ------------------------------------------------------------------------------- */

static enum mb_code
check_policies(const struct mb_expire_options *options, struct mb_error *err)
{
	size_t i;

	if (options->policy.is_set && !mb_policy_keeps_something(&options->policy))
	{
		mb_fail(err, MB_CONFIG, "[retention] keeps nothing");
		return mb_error_hint(err, "Write at least one of days, last, hourly, daily, weekly, "
								  "monthly, yearly and window.");
	}
	for (i = 0; i < options->override_count; i++)
		if (!mb_policy_keeps_something(&options->overrides[i].policy))
		{
			mb_fail(err, MB_CONFIG, "[retention:%s] keeps nothing",
					options->overrides[i].component);
			return mb_error_hint(err, "Write at least one of days, last, hourly, daily, weekly, "
									  "monthly, yearly and window.");
		}
	return MB_OK;
}

/*
 * A clock that was set a year ahead would expire everything by age.  Two clocks that agree to a day
 * are not both so wrong.
 */
static enum mb_code
check_clock(struct expire *expire, struct mb_error *err)
{
	int64_t local_us = expire->options->local_us ? expire->options->local_us : mb_time_now_us();
	int64_t apart_us;
	enum mb_code code = mb_store_clock(expire->repo->store, &expire->now_us, err);

	if (code)
		return code;
	apart_us = expire->now_us - local_us;
	if (apart_us < CLOCK_LIMIT_US && apart_us > -CLOCK_LIMIT_US)
		return MB_OK;
	mb_fail(err, MB_CONFLICT, "the repository's clock and this machine's differ by %lld hours",
			(long long) (apart_us / 3600000000LL));
	return mb_error_hint(err, "Set them right (chrony, systemd-timesyncd): backups expire by age.");
}

static enum mb_code
look(struct expire *expire, struct mb_error *err)
{
	const struct mb_expire_options *options = expire->options;
	struct mb_sweep_options sweep = {.grace_us = options->grace_us,
									 .lock_us = options->lock_us,
									 .is_dry = options->is_dry,
									 .cancel = expire->stack->env->cancel,
									 .log = expire->stack->env->log};
	/* Packs and leases are listed before sets and commits: see sweep.h. */
	enum mb_code code = mb_sweep_begin(&expire->sweep, expire->repo, &sweep, err);

	if (!code)
		code = mb_sets_list(expire->repo, &expire->sets, err);
	if (!code)
		code = mb_marks_list(expire->repo, &expire->marks, err);
	if (!code)
		code = expire_load_commits(expire, err);
	if (code)
		return code;
	expire->retention = (struct mb_retention){.policy = options->policy,
											  .overrides = options->overrides,
											  .override_count = options->override_count,
											  .now_us = expire->now_us,
											  .lock_us = options->lock_us,
											  .sets = expire->sets,
											  .marks = expire->marks};
	mb_retention_judge(&expire->retention, &expire->verdict);
	expire_judge_commits(expire);
	return expire_keep_for_restores(expire, err);
}

static enum mb_code
act(struct expire *expire, struct mb_error *err)
{
	enum mb_code code = remove_marks(expire, err);

	if (!code)
		code = remove_sets(expire, err);
	/* What the place did not let go keeps what it names, or it would be a backup that is damaged. */
	if (!code && expire->refused.code)
		expire_judge_commits(expire);
	if (!code)
		code = expire_remove_commits(expire, err);
	if (!code)
		code = sweep_notes(expire, err);
	if (!code)
		code = expire_judge_streams(expire, err);
	if (!code)
		code = mb_sweep_run(&expire->sweep, expire->blobs, expire->blob_count, err);
	return code;
}

static void
tell(struct expire *expire)
{
	if (!expire->options->policy.is_set && expire->options->override_count == 0)
		expire_warn(expire, "no retention is configured: nothing expires.  Write a section "
							"[retention], such as days = 30");
	if (expire->verdict.is_damaged)
		expire_warn(expire, "a document cannot be read: what no other one names stays too");
}

/* Something that should have gone could not. */
static enum mb_code
say_refused(const struct expire *expire, struct mb_error *err)
{
	const struct mb_error *refused =
		expire->refused.code ? &expire->refused : &expire->sweep.refused;

	if (refused->code)
	{
		*err = *refused;
		mb_error_context(err, "the place of the repository refused to remove something");
		mb_error_hint(err,
					  "Nothing is lost.  A bucket with object lock lets go when the lock ends: "
					  "write object-lock and object-lock-days in [repository]; else allow "
					  "this user to delete.");
		return err->code = MB_PARTIAL;
	}
	if (expire->sweep.blind[0])
	{
		mb_fail(err, MB_PARTIAL, "no pack was removed: %s", expire->sweep.blind);
		return mb_error_hint(err, "Run \"mbackup verify\"; with another key or a newer mbackup it "
								  "may be readable.");
	}
	return MB_OK;
}

static void
release(struct expire *expire)
{
	size_t i;

	for (i = 0; i < expire->commit_count; i++)
		mb_commit_release(&expire->commits[i].head);
	free(expire->commits);
	for (i = 0; i < expire->blob_count; i++)
		free(expire->blobs[i].name);
	free(expire->blobs);
	mb_verdict_release(&expire->verdict);
	mb_sweep_end(&expire->sweep);
	json_decref(expire->sets);
	json_decref(expire->marks);
	json_decref(expire->warnings);
}

static enum mb_code
run(struct expire *expire, json_t **answer, struct mb_error *err)
{
	struct mb_progress *progress = mb_env_progress(expire->stack->env, "repository");
	int64_t started_ms = mb_monotonic_ms();
	enum mb_code code = check_clock(expire, err);

	mb_progress_phase(progress, "looking");
	if (!code)
		code = look(expire, err);
	mb_progress_phase(progress, expire->options->is_dry ? "judging" : "removing");
	if (!code)
		code = act(expire, err);
	mb_progress_phase(progress, code ? "failed" : "done");
	if (code)
		return code;
	tell(expire);
	*answer = expire_answer(expire, started_ms);
	return say_refused(expire, err);
}

/* Who pins on another machine sees by the lease that an expire runs. */
static enum mb_code
run_under_lease(struct expire *expire, json_t **answer, struct mb_error *err)
{
	struct mb_lease *lease = NULL;
	char id[MB_ID_TEXT];
	int64_t now_us = 0;
	enum mb_code code = mb_store_clock(expire->repo->store, &now_us, err);

	if (code)
		return code;
	mb_id_new(id, now_us);
	code = mb_lease_start(&lease, expire->repo, id, "expire", err);
	if (!code)
		code = run(expire, answer, err);
	mb_lease_stop(lease);
	return code;
}

enum mb_code
mb_expire_run(const struct mb_stack *stack, const struct mb_expire_options *options,
			  json_t **answer, struct mb_error *err)
{
	struct expire expire = {.stack = stack,
							.repo = stack->env->repo,
							.options = options,
							.warnings = json_array()};
	enum mb_code code = check_policies(options, err);
	int lock_fd = -1;

	if (!code && options->is_dry)
		code = run(&expire, answer, err);
	else if (!code)
	{
		code = mb_session_lock(stack->env, "expire", 0, &lock_fd, err);
		if (code == MB_CONFLICT)
			mb_error_hint(err, "Another expire of this repository is running on this machine.");
		if (!code)
			code = run_under_lease(&expire, answer, err);
	}
	if (lock_fd >= 0)
		close(lock_fd);
	release(&expire);
	return code;
}

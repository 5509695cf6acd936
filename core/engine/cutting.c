/* cutting.c - see cutting.h. */
#include "core/engine/cutting.h"

#include "core/base/time.h"

struct cutter
{
	const struct mb_stack *stack;
	struct mb_error *failed;
	struct mb_cut *cut;
};

enum mb_code
mb_cut_now(const struct mb_env *env, struct mb_cut *cut, struct mb_error *err)
{
	struct mb_cut made = {.consistency = "ordered"};
	enum mb_code code;
	int64_t store_us;

	code = mb_store_clock(env->repo->store, &store_us, err);
	if (code)
		return code;
	mb_id_new(made.id, store_us);
	snprintf(made.restore_point, sizeof(made.restore_point), "mbackup_%s", made.id);
	made.time_us = mb_time_now_us();
	made.positions = json_object();
	*cut = made;
	return MB_OK;
}

/* Ask every component of one sort (the clock, or all others) for its position. */
static void
ask_positions(struct cutter *cutter, enum mb_moment moment)
{
	size_t i;

	for (i = 0; i < cutter->stack->count; i++)
	{
		struct mb_component *component = cutter->stack->components[i];
		bool is_clock = (component->ops->capabilities & MB_CAP_CLOCK) != 0;

		if (is_clock != (moment == MB_MOMENT_AT) || cutter->failed[i].code)
			continue;
		if (component->ops->position(component, cutter->cut, moment, &cutter->failed[i]) == MB_OK)
			mb_error_clear(&cutter->failed[i]);
	}
}

static bool
can_hold(const struct cutter *cutter, size_t i)
{
	return (cutter->stack->components[i]->ops->capabilities & MB_CAP_HOLD) &&
		   !cutter->failed[i].code;
}

/* Release all that hold (the first `count` components); true when there were some and all lasted. */
static bool
release_all(struct cutter *cutter, size_t count)
{
	bool all_held = true;
	size_t holders = 0, i;

	for (i = 0; i < count; i++)
	{
		struct mb_component *component = cutter->stack->components[i];
		struct mb_error err;
		bool held = false;

		if (!can_hold(cutter, i))
			continue;
		holders++;
		mb_error_clear(&err);
		/* A failed release ends by itself at the limit; it only costs the claim. */
		if (component->ops->release(component, &held, &err))
			mb_log_warning(cutter->stack->env->log, "%s: %s", component->name, err.message);
		all_held = all_held && held;
	}
	return all_held && holders > 0;
}

/* A component whose writes went on, whatever the others did; NULL: there is none. */
static const struct mb_component *
find_unheld(const struct mb_stack *stack)
{
	size_t i;

	for (i = 0; i < stack->count; i++)
		if (stack->components[i]->ops->capabilities & MB_CAP_UNHELD)
			return stack->components[i];
	return NULL;
}

static enum mb_code
hold_all(struct cutter *cutter, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < cutter->stack->count; i++)
		if (can_hold(cutter, i))
		{
			struct mb_component *component = cutter->stack->components[i];

			code = component->ops->hold(component, MB_PAUSE_LIMIT_MS, err);
			if (code)
			{
				mb_error_context(err, "could not pause \"%s\"", component->name);
				release_all(cutter, i);
			}
		}
	return code;
}

/* A cut is paused only when every pause was in force until the end. */
static void
end_pause(struct cutter *cutter, int64_t held_from_us)
{
	const struct mb_stack *stack = cutter->stack;
	const struct mb_component *unheld = find_unheld(stack);
	bool held = release_all(cutter, stack->count);

	if (held && !unheld)
	{
		cutter->cut->consistency = "paused";
		cutter->cut->pause_us = mb_time_now_us() - held_from_us;
	}
	else if (unheld)
		mb_log_warning(stack->env->log,
					   "the writes to \"%s\" cannot be stopped: the cut is an ordered one",
					   unheld->name);
	else
		mb_log_warning(stack->env->log, "no pause held until the end: the cut is an ordered one");
}

const struct mb_error *
mb_cut_clock_failure(const struct mb_stack *stack, const struct mb_error *failed)
{
	size_t i;

	for (i = 0; i < stack->count; i++)
		if (failed[i].code && (stack->components[i]->ops->capabilities & MB_CAP_CLOCK))
			return &failed[i];
	return NULL;
}

enum mb_code
mb_cut_take(const struct mb_stack *stack, unsigned flags, struct mb_error *failed,
			struct mb_cut *cut, struct mb_error *err)
{
	struct mb_cut made = {0};
	struct cutter cutter = {stack, failed, &made};
	const struct mb_error *clock_failure;
	int64_t held_from_us = 0;
	enum mb_code code;

	code = mb_cut_now(stack->env, &made, err);
	if (!code && (flags & MB_CUT_PAUSE))
	{
		code = hold_all(&cutter, err);
		held_from_us = mb_time_now_us();
	}
	if (code)
	{
		mb_cut_release(&made);
		return code;
	}
	ask_positions(&cutter, MB_MOMENT_BEFORE);
	ask_positions(&cutter, MB_MOMENT_AT);
	ask_positions(&cutter, MB_MOMENT_AFTER);
	if (flags & MB_CUT_PAUSE)
		end_pause(&cutter, held_from_us);
	clock_failure = mb_cut_clock_failure(stack, failed);
	if (clock_failure)
	{
		*err = *clock_failure;
		code = err->code;
	}
	if (code)
		mb_cut_release(&made);
	else
		*cut = made;
	return code;
}

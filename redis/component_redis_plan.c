/*
 * component_redis_plan.c - which backup, and how far to replay; see component_redis_window.c too.
 *
 * A backup can be brought to any offset of its own tail, and from its end to any offset
 * that pieces reach without a gap (pieces.h, chain).  A mark is an offset, so it is met
 * exactly; a time is met by the newest indexed point at or before it.  Where nothing
 * reaches the target, the newest backup before it is restored as it is, and the plan
 * says by how much that misses.
 */
#include <string.h>

#include "core/base/time.h"
#include "redis/component_private.h"
#include "redis/live.h"
#include "redis/pieces.h"

/* Closer than two steps of the index is as good as it gets. */
#define CLOSE_US 2500000

struct plan
{
	struct mb_component *component;
	struct mb_restore *restore;
	struct mb_pieces pieces;
	size_t chosen;
	uint64_t offset; /* to restore to */
	int64_t reached_us;
	bool to_end; /* as far as whole commands go, not exactly to offset */
};

/* Of what moment its data is; with capture = rdb that is not the cut, but some time before it. */
static int64_t
moment_of(const struct mb_commit *commit)
{
	if (strcmp(mb_json_str(commit->meta, "capture", ""), "rdb") == 0)
		return mb_json_time(commit->meta, "server_time");
	return mb_commit_cut_time(commit);
}

static const struct mb_commit *
candidate(const struct plan *plan, size_t i)
{
	return &plan->restore->candidates[i];
}

/* The newest backup whose data is of this time or before; SIZE_MAX: none. */
static size_t
newest_before(const struct plan *plan, int64_t time_us)
{
	size_t i = mb_restore_newest_before(plan->restore, time_us);

	while (i != SIZE_MAX && moment_of(candidate(plan, i)) > time_us)
		i = i > 0 ? i - 1 : SIZE_MAX;
	return i;
}

static enum mb_code
follow(const struct plan *plan, size_t i, struct mb_chain *chain, struct mb_error *err)
{
	struct mb_redis_base base = mb_redis_base_of(candidate(plan, i));

	return mb_chain_follow(plan->component->env->repo, plan->component->name, &plan->pieces,
						   base.replid, base.offset, chain, err);
}

static void
difference_text(char out[64], int64_t us)
{
	snprintf(out, 64, "%.1f s", (double) us / 1e6);
}

/* The backup as it is, with a warning that says what is missing. */
static void
fall_back(struct plan *plan, size_t i, int64_t wanted_us, const char *why)
{
	const struct mb_commit *commit = candidate(plan, i);
	char difference[64];

	plan->chosen = i;
	plan->offset = mb_redis_base_of(commit).offset;
	plan->reached_us = moment_of(commit);
	difference_text(difference, wanted_us - plan->reached_us);
	mb_restore_warn(plan->restore,
					"%s: Redis is restored to the moment of backup %s, %s before the target", why,
					commit->id, difference);
}

static enum mb_code
nothing_before(const struct plan *plan, int64_t wanted_us, struct mb_error *err)
{
	char text[MB_TIME_TEXT];

	mb_time_format(text, wanted_us);
	mb_fail(err, MB_NOT_FOUND, "there is no backup of \"%s\" from before %s", plan->component->name,
			text);
	return mb_error_hint(err, "\"mbackup list\" shows how far back each component goes.");
}

/* -- an offset: a mark ------------------------------------------------------------------------ */

enum mb_code
mb_redis_commit_reaches(struct mb_component *component, const struct mb_commit *commit,
						const struct mb_pieces *pieces, const char *replid, uint64_t offset,
						bool *yes, struct mb_error *err)
{
	struct mb_redis_base base = mb_redis_base_of(commit);
	struct mb_chain chain = {0};

	/* What was read key by key has no place in any stream. */
	*yes = false;
	if (!mb_replid_is_valid(replid) || !mb_replid_is_valid(base.replid))
		return MB_OK;
	*yes = strcmp(base.replid, replid) == 0 && base.rdb_offset <= offset && offset <= base.offset;
	if (*yes)
		return MB_OK;
	if (mb_chain_follow(component->env->repo, component->name, pieces, base.replid, base.offset,
						&chain, err))
		return err->code;
	*yes = mb_chain_holds(&chain, replid, offset);
	mb_chain_release(&chain);
	return MB_OK;
}

static enum mb_code
plan_cut(struct plan *plan, struct mb_error *err)
{
	const struct mb_cut *cut = plan->restore->target.cut;
	const json_t *position = json_object_get(cut->positions, plan->component->name);
	const char *replid = mb_json_str(position, "replid", "");
	const char *side = mb_json_str(position, "side", "before");
	uint64_t offset = (uint64_t) mb_json_int(position, "offset", 0);
	size_t i;

	for (i = plan->restore->candidate_count; position && i-- > 0;)
	{
		bool yes;

		if (mb_redis_commit_reaches(plan->component, candidate(plan, i), &plan->pieces, replid,
									offset, &yes, err))
			return err->code;
		if (!yes)
			continue;
		plan->chosen = i;
		plan->offset = offset;
		plan->reached_us = mb_json_time(json_object_get(position, side), "time");
		if (!plan->reached_us)
			plan->reached_us = cut->time_us;
		return MB_OK;
	}
	i = newest_before(plan, cut->time_us);
	if (i == SIZE_MAX)
		return nothing_before(plan, cut->time_us, err);
	fall_back(plan, i, cut->time_us,
			  position ? "no stream holds the commands up to this mark"
					   : "the mark holds no position of this component");
	return MB_OK;
}

/* The cut of a backup: its own end, whatever the others do. */
static void
plan_backup(struct plan *plan)
{
	const struct mb_commit *commit = candidate(plan, plan->restore->chosen);

	plan->chosen = plan->restore->chosen;
	plan->offset = mb_redis_base_of(commit).offset;
	plan->reached_us = moment_of(commit);
}

/* -- a time ------------------------------------------------------------------------------------- */

static enum mb_code
plan_time(struct plan *plan, int64_t time_us, struct mb_error *err)
{
	const struct mb_env *env = plan->component->env;
	size_t i = newest_before(plan, time_us);
	struct mb_time_offset point = {0};
	struct mb_chain chain = {0};
	enum mb_code code;

	if (i == SIZE_MAX)
		return nothing_before(plan, time_us, err);
	code = follow(plan, i, &chain, err);
	if (!code)
		code = mb_chain_at_time(env->repo, plan->component->name, &chain, time_us, &point, err);
	if (!code && (chain.count == 0 || point.offset < mb_redis_base_of(candidate(plan, i)).offset))
	{
		/* Nothing behind the backup: a warning unless the target is the backup's own moment. */
		plan->chosen = i;
		plan->offset = mb_redis_base_of(candidate(plan, i)).offset;
		plan->reached_us = moment_of(candidate(plan, i));
		if (time_us - plan->reached_us > CLOSE_US)
			fall_back(plan, i, time_us, "no stream goes on from this backup");
	}
	else if (!code)
	{
		char difference[64];

		plan->chosen = i;
		plan->offset = point.offset;
		plan->reached_us = point.time_us;
		difference_text(difference, time_us - point.time_us);
		if (time_us - point.time_us > CLOSE_US)
			mb_restore_warn(plan->restore,
							"the stream of Redis has no point nearer than %s before the target",
							difference);
	}
	mb_chain_release(&chain);
	return code;
}

/* As far as it goes. */
static enum mb_code
plan_latest(struct plan *plan, struct mb_error *err)
{
	const struct mb_env *env = plan->component->env;
	size_t i = mb_restore_newest_before(plan->restore, INT64_MAX);
	struct mb_time_offset point = {0};
	struct mb_chain chain = {0};
	enum mb_code code = follow(plan, i, &chain, err);

	if (!code)
		code = mb_chain_at_time(env->repo, plan->component->name, &chain, INT64_MAX, &point, err);
	if (!code)
	{
		plan->chosen = i;
		plan->offset = mb_chain_end(&chain);
		plan->to_end = true;
		plan->reached_us = moment_of(candidate(plan, i));
		if (point.time_us > plan->reached_us)
			plan->reached_us = point.time_us;
		if (chain.count == 0)
			mb_restore_warn(plan->restore,
							"no stream goes on from backup %s: the latest state is that of the "
							"backup",
							candidate(plan, i)->id);
	}
	mb_chain_release(&chain);
	return code;
}

/* -- plan ----------------------------------------------------------------------------------------- */

enum mb_code
mb_redis_plan_place(struct mb_component *component, struct mb_restore *restore,
					const char **directory, struct mb_error *err)
{
	const char *place;

	if (restore->own_place && !restore->destination &&
		mb_redis_choose_own_place(component, restore, err))
		return err->code;
	place = restore->destination;
	if (!place)
		place = mb_settings_get(component->settings, "dir");
	if (!place)
	{
		mb_fail(err, MB_CONFIG, "there is no directory to restore \"%s\" into", component->name);
		return mb_error_hint(err, "Give one: --component %s=DIRECTORY, or set dir in its section.",
							 component->name);
	}
	if (restore->candidate_count == 0)
		return mb_fail(err, MB_NOT_FOUND, "there is no backup of \"%s\"", component->name);
	*directory = NULL;
	mb_json_set_str(restore->plan, "destination", place);
	if (restore->destination && mb_live_is_destination(place))
		return MB_OK;
	*directory = place;
	if (restore->only_count > 0)
		mb_restore_warn(restore,
						"--only selects keys when the destination is a running server: all "
						"of Redis is restored");
	/* What is in its own directory is moved aside first. */
	if (!(restore->own_place && !restore->is_cleared) &&
		mb_restore_directory(place, MB_DIRECTORY_CHECK, 0700, err))
		return mb_restore_in_the_way(restore, err);
	return MB_OK;
}

static enum mb_code
plan_target(struct plan *plan, struct mb_error *err)
{
	const struct mb_restore *restore = plan->restore;
	int64_t time_us = restore->stack_time_us;

	switch (restore->target.kind)
	{
		case MB_TARGET_BACKUP:
			if (restore->chosen < restore->candidate_count)
			{
				plan_backup(plan);
				return MB_OK;
			}
			return plan_cut(plan, err);
		case MB_TARGET_MARK:
			return plan_cut(plan, err);
		case MB_TARGET_LATEST:
			return time_us ? plan_time(plan, time_us, err) : plan_latest(plan, err);
		case MB_TARGET_TIME:
			return plan_time(plan, time_us ? time_us : restore->target.time_us, err);
		case MB_TARGET_LSN:
		case MB_TARGET_XID:
		case MB_TARGET_NAME:
			break;
	}
	if (time_us)
		return plan_time(plan, time_us, err);
	mb_fail(err, MB_UNSUPPORTED, "the time of this target is not known, so \"%s\" cannot follow it",
			plan->component->name);
	return mb_error_hint(err, "Restore it to a time or to a mark.");
}

/* A backup that is of no one moment says so again where it is restored. */
static void
warn_of_keys(const struct plan *plan)
{
	const json_t *meta = candidate(plan, plan->chosen)->meta;

	if (strcmp(mb_json_str(meta, "consistency", ""), "keys") != 0 ||
		mb_redis_of(plan->component)->is_cache)
		return;
	mb_restore_warn(plan->restore,
					"backup %s was read key by key from %s to %s: Redis is restored to no one "
					"moment",
					candidate(plan, plan->chosen)->id, mb_json_str(meta, "scan_began", "?"),
					mb_json_str(meta, "server_time", "?"));
}

static void
publish(const struct plan *plan, const char *directory, json_t *json)
{
	const struct mb_commit *commit = candidate(plan, plan->chosen);
	struct mb_redis_base base = mb_redis_base_of(commit);

	mb_json_set_str(json, "base", commit->id);
	if (directory)
		mb_json_set_str(json, "directory", directory);
	mb_json_set_int(json, "rdb_offset", (int64_t) base.rdb_offset);
	mb_json_set_int(json, "offset", (int64_t) plan->offset);
	mb_json_set_int(json, "replay_bytes", (int64_t) (plan->offset - base.rdb_offset));
	mb_json_set_time(json, "reached", plan->reached_us);
	mb_json_set_bool(json, "to_end", plan->to_end);
	if (mb_redis_shifts(plan->restore))
		mb_json_set_str(json, "expired", "shift");
}

enum mb_code
mb_redis_plan_target(struct mb_component *component, struct mb_restore *restore,
					 const char *directory, struct mb_error *err)
{
	struct plan plan = {.component = component, .restore = restore};
	enum mb_code code;

	code = mb_pieces_list(component->env->repo, component->name, NULL, &plan.pieces, err);
	if (!code)
		code = plan_target(&plan, err);
	if (!code)
	{
		publish(&plan, directory, restore->plan);
		warn_of_keys(&plan);
		restore->chosen = plan.chosen;
		code = mb_redis_plan_shift(component, restore, candidate(&plan, plan.chosen), plan.offset,
								   err);
	}
	mb_pieces_release(&plan.pieces);
	return code;
}

enum mb_code
mb_redis_plan(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	const char *directory = NULL;
	enum mb_code code;

	code = mb_redis_plan_place(component, restore, &directory, err);
	if (code)
		return code;
	if (restore->wishes->rdb)
	{
		/* The engine wants one; it is the file that is restored. */
		restore->chosen = restore->candidate_count - 1;
		code =
			mb_redis_plan_shift(component, restore, &restore->candidates[restore->chosen], 0, err);
	}
	else
		code = mb_redis_plan_target(component, restore, directory, err);
	if (!code && !directory)
		code = mb_redis_live_plan(component, restore, &restore->candidates[restore->chosen], err);
	return code;
}

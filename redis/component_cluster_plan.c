/*
 * component_cluster_plan.c - plan, window and await of a cluster: each shard for itself, over
 * backups of one layout.
 *
 * A backup can be brought to a cut only if both have the same shards with the same slots.
 * Moving slots moves keys from one stream to another, and to follow that would need the
 * streams of all nodes from before to behind it, at one moment; instead a backup after a
 * resharding is asked for, and what cannot be reached without is said.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/component_cluster.h"
#include "redis/live.h"

static const json_t *
shards_of(const struct mb_commit *commit)
{
	return json_object_get(commit->meta, "shards");
}

/* -- await ---------------------------------------------------------------------------------- */

static enum mb_code
no_backup_of_layout(const struct mb_component *component, struct mb_error *err)
{
	mb_fail(err, MB_NEGATIVE, "slots of \"%s\" were moved since its newest backup",
			component->name);
	return mb_error_hint(err, "Run \"mbackup backup\": marks after it are held.");
}

enum mb_code
mb_cluster_await(struct mb_component *component, const struct mb_cut *cut, int64_t timeout_ms,
				 struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_cut own = mb_cluster_cut(redis, cut);
	int64_t end_ms = mb_monotonic_ms() + timeout_ms;
	struct mb_commit newest = {0};
	bool any = false;
	enum mb_code code = mb_redis_newest(component, &newest, &any, err);
	size_t i;

	if (!code && !own.positions)
		code = mb_fail(err, MB_NEGATIVE, "the cut holds no position of \"%s\"", component->name);
	if (!code && any && !mb_cluster_same_layout(own.positions, shards_of(&newest)))
		code = no_backup_of_layout(component, err);
	for (i = 0; !code && i < redis->cluster->count; i++)
	{
		struct mb_cluster_shard *shard = &redis->cluster->shards[i];
		int64_t left_ms = end_ms - mb_monotonic_ms();
		struct mb_commit view = {0};

		if (any)
			mb_cluster_view(&view, &newest, shard->name);
		code = mb_redis_await_position(&shard->redis->base,
									   json_object_get(own.positions, shard->name),
									   left_ms > 0 ? left_ms : 1, any ? &view : NULL, err);
		mb_cluster_view_release(&view);
	}
	mb_commit_release(&newest);
	return code;
}

/* -- window --------------------------------------------------------------------------------- */

/* What both windows have: the gaps of either are gaps. */
static void
intersect(struct mb_window *window, struct mb_window *other)
{
	if (other->from_us > window->from_us)
		window->from_us = other->from_us;
	if (other->to_us < window->to_us)
		window->to_us = other->to_us;
	if (!window->gaps)
		window->gaps = other->gaps;
	else if (other->gaps)
	{
		json_array_extend(window->gaps, other->gaps);
		json_decref(other->gaps);
	}
}

/* The window of commits that have one layout. */
static enum mb_code
layout_window(struct mb_redis_component *redis, const struct mb_commit *commits, size_t count,
			  struct mb_window *window, struct mb_error *err)
{
	struct mb_commit *views = mb_calloc(count, sizeof(*views));
	enum mb_code code = mb_cluster_shards_from(redis, shards_of(&commits[0]), err);
	size_t i, at;

	for (i = 0; !code && i < redis->cluster->count; i++)
	{
		struct mb_cluster_shard *shard = &redis->cluster->shards[i];
		struct mb_window own = {0};

		for (at = 0; at < count; at++)
			mb_cluster_view(&views[at], &commits[at], shard->name);
		code = mb_redis_window_of(&shard->redis->base, views, count, &own, err);
		for (at = 0; at < count; at++)
			mb_cluster_view_release(&views[at]);
		if (!code && i == 0)
			*window = own;
		else if (!code)
			intersect(window, &own);
	}
	free(views);
	return code;
}

enum mb_code
mb_cluster_window(struct mb_component *component, struct mb_window *window, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_redis_commits commits = {0};
	struct mb_window found = {0};
	enum mb_code code = mb_redis_commits_read(component, &commits, err);
	size_t from, to;

	for (from = 0; !code && from < commits.count; from = to)
	{
		struct mb_window own = {0};

		for (to = from + 1;
			 to < commits.count && mb_cluster_same_layout(shards_of(&commits.items[from]),
														  shards_of(&commits.items[to]));)
			to++;
		code = layout_window(redis, &commits.items[from], to - from, &own, err);
		if (code)
			break;
		mb_redis_window_extend(&found, own.from_us, own.to_us);
		if (own.gaps && found.gaps)
			json_array_extend(found.gaps, own.gaps);
		else if (own.gaps)
			found.gaps = json_incref(own.gaps);
		json_decref(own.gaps);
	}
	mb_cluster_shards_drop(redis);
	mb_redis_commits_release(&commits);
	if (code)
		json_decref(found.gaps);
	else
		*window = found;
	return code;
}

/* -- plan ----------------------------------------------------------------------------------- */

/* The shards that the target speaks of: of its cut, or of the backup that it starts from. */
static const json_t *
target_layout(const struct mb_component *component, const struct mb_restore *restore)
{
	const struct mb_target *target = &restore->target;
	int64_t time_us = restore->stack_time_us;
	const json_t *of_cut = NULL;
	size_t i;

	if (target->cut)
		of_cut =
			json_object_get(json_object_get(target->cut->positions, component->name), "shards");
	if (target->kind == MB_TARGET_BACKUP && restore->chosen < restore->candidate_count)
		return shards_of(&restore->candidates[restore->chosen]);
	if (of_cut)
		return of_cut;
	if (!time_us && target->cut)
		time_us = target->cut->time_us;
	if (!time_us && target->kind == MB_TARGET_TIME)
		time_us = target->time_us;
	i = mb_restore_newest_before(restore, time_us ? time_us : INT64_MAX);
	return i == SIZE_MAX ? NULL : shards_of(&restore->candidates[i]);
}

/* The candidates of that layout, and where they were in the list of all. */
struct fitting
{
	struct mb_restore restore;
	size_t *index;
};

static void
find_fitting(struct fitting *fitting, const struct mb_restore *restore, const json_t *layout)
{
	size_t i;

	*fitting = (struct fitting){.restore = *restore};
	fitting->restore.candidates =
		mb_calloc(restore->candidate_count + 1, sizeof(*fitting->restore.candidates));
	fitting->index = mb_calloc(restore->candidate_count + 1, sizeof(*fitting->index));
	fitting->restore.candidate_count = 0;
	fitting->restore.chosen = SIZE_MAX;
	for (i = 0; i < restore->candidate_count; i++)
		if (mb_cluster_same_layout(layout, shards_of(&restore->candidates[i])))
		{
			size_t at = fitting->restore.candidate_count++;

			fitting->restore.candidates[at] = restore->candidates[i];
			fitting->index[at] = i;
			if (restore->chosen == i)
				fitting->restore.chosen = at;
		}
}

/* Plan every shard over the first `count` candidates; *lowest: the oldest that one of them chose. */
static enum mb_code
plan_shards(struct mb_redis_component *redis, struct fitting *fitting, size_t count,
			const char *directory, json_t *warnings, json_t *plans, size_t *lowest,
			struct mb_error *err)
{
	struct mb_restore *whole = &fitting->restore;
	enum mb_code code = MB_OK;
	size_t i;

	*lowest = SIZE_MAX;
	whole->candidate_count = count;
	for (i = 0; !code && i < redis->cluster->count; i++)
	{
		struct mb_cluster_shard *shard = &redis->cluster->shards[i];
		struct mb_cluster_part part;

		mb_cluster_part_begin(&part, redis, whole, shard);
		if (directory)
			part.destination =
				mb_asprintf("%s/%.*s", directory, (int) strlen(shard->prefix) - 1, shard->prefix);
		code = mb_redis_plan_target(&shard->redis->base, &part.restore, part.destination, err);
		if (!code)
			json_object_set(plans, shard->name, part.restore.plan);
		if (!code && part.restore.chosen < *lowest)
			*lowest = part.restore.chosen;
		json_array_extend(warnings, json_object_get(part.restore.result, "warnings"));
		json_object_del(part.restore.result, "warnings");
		mb_cluster_part_end(&part, whole);
	}
	return code;
}

static void
publish(struct mb_restore *restore, json_t *plans, const char *directory)
{
	int64_t reached_us = INT64_MAX, replay = 0;
	const char *name;
	json_t *item;

	json_object_foreach(plans, name, item)
	{
		int64_t at_us = mb_json_time(item, "reached");

		reached_us = at_us < reached_us ? at_us : reached_us;
		replay += mb_json_int(item, "replay_bytes", 0);
	}
	mb_json_set_str(restore->plan, "base", restore->candidates[restore->chosen].id);
	if (directory)
		mb_json_set_str(restore->plan, "directory", directory);
	mb_json_set_int(restore->plan, "replay_bytes", replay);
	mb_json_set_time(restore->plan, "reached", reached_us);
	json_object_set(restore->plan, "shards", plans);
}

/*
 * All shards must start from one backup.  Where one of them has to go further back than the
 * others (its stream has a gap), all do; that ends, for the list gets shorter each time.
 */
static enum mb_code
plan_layout(struct mb_redis_component *redis, struct mb_restore *restore, struct fitting *fitting,
			const char *directory, struct mb_error *err)
{
	size_t count = fitting->restore.candidate_count, lowest = SIZE_MAX;
	enum mb_code code = MB_OK;

	fitting->restore.plan = json_object();
	while (!code)
	{
		json_t *warnings = json_array(), *plans = json_object(), *warning;
		size_t i;

		code = plan_shards(redis, fitting, count, directory, warnings, plans, &lowest, err);
		if (!code && lowest + 1 == count)
		{
			restore->chosen = fitting->index[lowest];
			publish(restore, plans, directory);
			/* Mostly the same of every shard: once is enough. */
			json_array_foreach(warnings, i,
							   warning) if (i == 0 ||
											!json_equal(warning, json_array_get(warnings, i - 1)))
				mb_restore_warn(restore, "%s", json_string_value(warning));
		}
		json_decref(warnings);
		json_decref(plans);
		if (lowest + 1 == count)
			break;
		count = lowest + 1;
	}
	json_decref(fitting->restore.plan);
	return code;
}

static enum mb_code
plan_target(struct mb_redis_component *redis, struct mb_restore *restore, const char *directory,
			struct mb_error *err)
{
	const json_t *layout = target_layout(&redis->base, restore);
	struct fitting fitting;
	enum mb_code code;

	if (!layout)
	{
		mb_fail(err, MB_NOT_FOUND, "there is no backup of \"%s\" from before the target",
				redis->base.name);
		return mb_error_hint(err, "\"mbackup list\" shows how far back each component goes.");
	}
	find_fitting(&fitting, restore, layout);
	if (fitting.restore.candidate_count == 0)
	{
		code = mb_fail(err, MB_NOT_FOUND,
					   "no backup of \"%s\" has the slots where they were at the target",
					   redis->base.name);
		mb_error_hint(err, "Restore to a moment behind the next backup, or before the slots were "
						   "moved.");
	}
	else
		code = mb_cluster_shards_from(redis, layout, err);
	if (!code)
		code = plan_layout(redis, restore, &fitting, directory, err);
	free(fitting.restore.candidates);
	free(fitting.index);
	return code;
}

enum mb_code
mb_cluster_plan(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	const char *directory = NULL;
	enum mb_code code = mb_redis_plan_place(component, restore, &directory, err);

	if (code)
		return code;
	if (restore->wishes->rdb)
		restore->chosen = restore->candidate_count - 1;
	else
		code = plan_target(redis, restore, directory, err);
	if (!code && !directory)
		code = mb_redis_live_plan(component, restore, &restore->candidates[restore->chosen], err);
	return code;
}

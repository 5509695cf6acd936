/* component_redis_window.c - from when to when a Redis can be brought back. */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/component_private.h"
#include "redis/pieces.h"

struct mb_redis_base
mb_redis_base_of(const struct mb_commit *commit)
{
	struct mb_redis_base base = {.replid = mb_json_str(commit->meta, "replid", ""),
								 .rdb_offset =
									 (uint64_t) mb_json_int(commit->meta, "rdb_offset", 0),
								 .offset = (uint64_t) mb_json_int(commit->meta, "offset", 0)};

	return base;
}

/*
 * How far one backup can be brought: its own moment, the last point of its chain, or the
 * moment of the next backup when the chain holds its position too.  (Nothing is written to an
 * idle server, so its chain may end before that in time, but misses nothing.)
 */
static enum mb_code
reach_of(struct mb_component *component, const struct mb_pieces *pieces,
		 const struct mb_commit *commit, const struct mb_commit *next, int64_t *reach_us,
		 struct mb_error *err)
{
	struct mb_redis_base base = mb_redis_base_of(commit);
	struct mb_redis_base next_base = mb_redis_base_of(next);
	struct mb_time_offset point = {0};
	struct mb_chain chain = {0};
	enum mb_code code;
	bool holds_next;

	code = mb_chain_follow(component->env->repo, component->name, pieces, base.replid, base.offset,
						   &chain, err);
	if (!code)
		code =
			mb_chain_at_time(component->env->repo, component->name, &chain, INT64_MAX, &point, err);
	holds_next = !code && mb_replid_is_valid(next_base.replid) &&
				 mb_chain_holds(&chain, next_base.replid, next_base.offset);
	mb_chain_release(&chain);
	if (code)
		return code;
	*reach_us = mb_commit_cut_time(commit);
	if (point.time_us > *reach_us)
		*reach_us = point.time_us;
	if (holds_next && mb_commit_cut_time(next) > *reach_us)
		*reach_us = mb_commit_cut_time(next);
	return MB_OK;
}

void
mb_redis_window_extend(struct mb_window *window, int64_t from_us, int64_t to_us)
{
	char from[MB_TIME_TEXT], to[MB_TIME_TEXT];

	if (window->from_us == 0)
		window->from_us = from_us;
	else if (from_us > window->to_us)
	{
		if (!window->gaps)
			window->gaps = json_array();
		mb_time_format(from, window->to_us);
		mb_time_format(to, from_us);
		json_array_append_new(window->gaps, json_pack("[s,s]", from, to));
	}
	if (to_us > window->to_us)
		window->to_us = to_us;
}

enum mb_code
mb_redis_window_of(struct mb_component *component, const struct mb_commit *commits, size_t count,
				   struct mb_window *window, struct mb_error *err)
{
	struct mb_pieces pieces = {0};
	struct mb_window found = {0};
	enum mb_code code;
	size_t i;

	code = mb_pieces_list(component->env->repo, component->name, NULL, &pieces, err);
	for (i = 0; !code && i < count; i++)
	{
		const struct mb_commit *next = &commits[i + 1 < count ? i + 1 : i];
		int64_t reach_us;

		code = reach_of(component, &pieces, &commits[i], next, &reach_us, err);
		if (!code)
			mb_redis_window_extend(&found, mb_commit_cut_time(&commits[i]), reach_us);
	}
	mb_pieces_release(&pieces);
	if (code)
		json_decref(found.gaps);
	else
		*window = found;
	return code;
}

void
mb_redis_commits_release(struct mb_redis_commits *commits)
{
	size_t i;

	for (i = 0; i < commits->count; i++)
		mb_commit_release(&commits->items[i]);
	free(commits->items);
	memset(commits, 0, sizeof(*commits));
}

enum mb_code
mb_redis_commits_read(struct mb_component *component, struct mb_redis_commits *commits,
					  struct mb_error *err)
{
	const struct mb_repo *repo = component->env->repo;
	struct mb_commit_names names = {0};
	enum mb_code code = mb_commit_list(repo, component->name, &names, err);
	size_t i;

	commits->items = mb_calloc(names.count + 1, sizeof(*commits->items));
	for (i = 0; !code && i < names.count; i++)
	{
		code = mb_commit_head(repo, component->name, names.items[i].id, &commits->items[i], err);
		commits->count += !code;
	}
	mb_commit_names_release(&names);
	return code;
}

enum mb_code
mb_redis_window(struct mb_component *component, struct mb_window *window, struct mb_error *err)
{
	struct mb_redis_commits commits = {0};
	enum mb_code code = mb_redis_commits_read(component, &commits, err);

	if (!code)
		code = mb_redis_window_of(component, commits.items, commits.count, window, err);
	mb_redis_commits_release(&commits);
	return code;
}

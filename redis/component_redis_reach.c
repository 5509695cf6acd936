/*
 * component_redis_reach.c - verify: do the pieces of the stream still lead to the marks?
 *
 * As a restore does it: from the backup that the mark names, else from any other one.
 */
#include "redis/component_cluster.h"
#include "redis/component_private.h"

/* One server, or one shard. */
static enum mb_code
server_reaches(struct mb_component *server, const struct mb_commit *commit, const json_t *position,
			   bool *yes, struct mb_error *err)
{
	struct mb_pieces pieces = {0};
	enum mb_code code = mb_pieces_list(server->env->repo, server->name, NULL, &pieces, err);

	*yes = false;
	if (!code)
		code = mb_redis_commit_reaches(server, commit, &pieces, mb_json_str(position, "replid", ""),
									   (uint64_t) mb_json_int(position, "offset", 0), yes, err);
	mb_pieces_release(&pieces);
	return code;
}

static enum mb_code
cluster_reaches(struct mb_redis_component *redis, const struct mb_commit *commit,
				const struct mb_cut *cut, bool *yes, struct mb_error *err)
{
	struct mb_cut own = mb_cluster_cut(redis, cut);
	enum mb_code code = MB_OK;
	size_t i;

	*yes = mb_cluster_same_layout(own.positions, json_object_get(commit->meta, "shards"));
	if (*yes)
		code = mb_cluster_shards_from(redis, own.positions, err);
	for (i = 0; !code && *yes && i < redis->cluster->count; i++)
	{
		struct mb_cluster_shard *shard = &redis->cluster->shards[i];
		struct mb_commit view;

		mb_cluster_view(&view, commit, shard->name);
		code = server_reaches(&shard->redis->base, &view,
							  json_object_get(own.positions, shard->name), yes, err);
		mb_cluster_view_release(&view);
	}
	mb_cluster_shards_drop(redis);
	return code;
}

static enum mb_code
commit_reaches(struct mb_component *component, const struct mb_commit *commit,
			   const struct mb_cut *cut, bool *yes, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);

	if (redis->cluster)
		return cluster_reaches(redis, commit, cut, yes, err);
	return server_reaches(component, commit, json_object_get(cut->positions, component->name), yes,
						  err);
}

static enum mb_code
any_reaches(struct mb_component *component, const struct mb_cut *cut, bool *yes,
			struct mb_error *err)
{
	struct mb_redis_commits commits = {0};
	enum mb_code code = mb_redis_commits_read(component, &commits, err);
	size_t i;

	for (i = 0; !code && !*yes && i < commits.count; i++)
		code = commit_reaches(component, &commits.items[i], cut, yes, err);
	mb_redis_commits_release(&commits);
	return code;
}

enum mb_code
mb_redis_reach(struct mb_component *component, const struct mb_commit *commit,
			   struct mb_reach *reaches, size_t count, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < count; i++)
	{
		struct mb_reach *reach = &reaches[i];
		bool yes = false;

		code = commit_reaches(component, commit, reach->cut, &yes, &reach->why);
		if (!code && !yes)
			code = any_reaches(component, reach->cut, &yes, &reach->why);
		if (!code && !yes)
			code = mb_fail(&reach->why, MB_CORRUPT,
						   "the commands of \"%s\" up to this mark are missing: a restore to it "
						   "gives an older backup of \"%s\"",
						   component->name, component->name);
		if (code)
			code = mb_reach_answer(reach, err);
	}
	return code;
}

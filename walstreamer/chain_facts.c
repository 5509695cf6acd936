/*
 * chain_facts.c - see chain_private.h and inventory.h: what the headers of a way's pieces tell,
 * and the plan that wal-get follows.
 */
#include "walstreamer/chain_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Headers read when looking for the newest commit of an idle cluster. */
#define MAX_LOOK_BACK 4000

struct mb_wal_where
mb_way_where(const struct mb_wal_inventory *inventory, const struct mb_wal_branch *branch)
{
	struct mb_wal_where where = {inventory->component, inventory->system_id, branch->timeline,
								 branch->branch, inventory->segment_size};

	return where;
}

enum mb_code
mb_way_header(const struct mb_wal_inventory *inventory, const struct mb_wal_branch *branch,
			  const struct mb_wal_span *piece, json_t **header, struct mb_error *err)
{
	struct mb_wal_where where = mb_way_where(inventory, branch);
	char name[MB_NAME_MAX];

	mb_wal_piece_name(name, &where, piece->from_lsn, piece->to_lsn);
	return mb_wal_piece_header(inventory->repo, name, header, err);
}

static bool
take_point(const json_t *header, const char *name, struct mb_wal_point *out)
{
	const json_t *points = json_object_get(header, "restore_points");
	size_t i;

	for (i = 0; i < json_array_size(points); i++)
	{
		const json_t *point = json_array_get(points, i);

		if (name && strcmp(mb_json_str(point, "name", ""), name) != 0)
			continue;
		snprintf(out->name, sizeof(out->name), "%s", mb_json_str(point, "name", ""));
		if (!mb_lsn_parse(&out->lsn, mb_json_str(point, "lsn", "")))
			continue;
		out->time_us = mb_json_time(point, "time");
		return true;
	}
	return false;
}

enum mb_code
mb_way_find_point(struct search *search, const struct node *path, size_t depth, bool *found,
				  struct mb_wal_point *point, struct mb_error *err)
{
	uint64_t near_lsn = search->query->need_lsn;
	size_t i, p;

	*found = false;
	for (i = depth; i-- > 0;)
		for (p = path[i].branch->piece_count; p-- > 0;)
		{
			const struct mb_wal_span *piece = &path[i].branch->pieces[p];
			json_t *header;
			enum mb_code code;

			if (piece->to_lsn <= path[i].from_lsn || piece->from_lsn >= path[i].to_lsn ||
				(near_lsn && (piece->from_lsn > near_lsn || piece->to_lsn + 8 < near_lsn)))
				continue;
			code = mb_way_header(search->inventory, path[i].branch, piece, &header, err);
			if (code == MB_NOT_FOUND)
				continue; /* a tail piece that has been removed */
			if (code)
				return code;
			*found = take_point(header, search->query->point, point);
			json_decref(header);
			if (*found)
				return MB_OK;
		}
	return MB_OK;
}

int64_t
mb_way_end_time(const struct search *search, const struct node *node)
{
	size_t p;

	for (p = node->branch->piece_count; p-- > 0;)
	{
		struct mb_error ignored;
		json_t *header;
		int64_t time_us;

		if (node->branch->pieces[p].from_lsn >= node->to_lsn ||
			mb_way_header(search->inventory, node->branch, &node->branch->pieces[p], &header,
						  &ignored))
			continue;
		time_us = mb_json_time(header, "server_time");
		json_decref(header);
		return time_us;
	}
	return 0;
}

static bool
knows_enough(const struct search *search, const struct mb_wal_chain *chain)
{
	return chain->last_commit_us && chain->last_record_lsn && chain->received_until_us &&
		   (!search->query->want_points || chain->nearest_count == 4);
}

static void
take_facts(const json_t *header, struct mb_wal_chain *chain)
{
	int64_t commit_us = mb_json_time(header, "last_commit_time");
	int64_t server_us = mb_json_time(header, "server_time");
	size_t n = chain->nearest_count;
	uint64_t lsn;

	if (commit_us > chain->last_commit_us)
		chain->last_commit_us = commit_us;
	if (server_us > chain->received_until_us)
		chain->received_until_us = server_us;
	if (mb_lsn_parse(&lsn, mb_json_str(header, "last_record_lsn", "")) &&
		lsn > chain->last_record_lsn)
		chain->last_record_lsn = lsn;
	if (n < 4 && take_point(header, NULL, &chain->nearest[n]))
		chain->nearest_count++;
}

enum mb_code
mb_way_gather_facts(struct search *search, struct mb_wal_chain *chain, struct mb_error *err)
{
	size_t i, p, looked = 0;

	for (i = search->best_depth; i-- > 0;)
	{
		const struct node *node = &search->best[i];

		for (p = node->branch->piece_count; p-- > 0;)
		{
			const struct mb_wal_span *piece = &node->branch->pieces[p];
			json_t *header;
			enum mb_code code;

			if (piece->to_lsn <= node->from_lsn || piece->from_lsn >= node->to_lsn)
				continue;
			if (knows_enough(search, chain) || ++looked > MAX_LOOK_BACK)
				return MB_OK;
			code = mb_way_header(search->inventory, node->branch, piece, &header, err);
			if (code == MB_NOT_FOUND)
				continue;
			if (code)
				return code;
			take_facts(header, chain);
			json_decref(header);
		}
	}
	return MB_OK;
}

/* -- the time of an LSN ------------------------------------------------------------------------ */

/* Walk the unit that holds lsn up to it. */
static enum mb_code
walk_to(const struct mb_wal_inventory *inventory, const struct mb_wal_link *link, uint64_t lsn,
		int64_t *before_us, struct mb_error *err)
{
	struct mb_wal_where where = {inventory->component, inventory->system_id, link->timeline,
								 link->branch, inventory->segment_size};
	uint32_t unit = mb_wal_unit_bytes(inventory->segment_size);
	uint64_t from = lsn - lsn % unit;
	struct mb_wal_facts facts = {0};
	struct mb_wal_walk walk;
	unsigned char *bytes;
	enum mb_code code;

	if (from < link->from_lsn)
		from = link->from_lsn;
	if (lsn <= from)
		return MB_OK;
	bytes = mb_malloc((size_t) (lsn - from));
	code = mb_wal_assemble(inventory->repo, &where, from, lsn, bytes, err);
	if (!code)
	{
		mb_wal_walk_init(&walk, from, inventory->segment_size);
		mb_wal_walk_feed(&walk, bytes, (size_t) (lsn - from), &facts);
		*before_us = facts.newest_commit_us;
	}
	mb_wal_facts_release(&facts);
	free(bytes);
	return code;
}

/* The newest commit that the pieces of a branch before lsn tell of; *before_us stays 0 when none does. */
static enum mb_code
look_back(const struct mb_wal_inventory *inventory, const struct mb_wal_branch *branch,
		  uint64_t from_lsn, uint64_t lsn, size_t *looked, int64_t *before_us, struct mb_error *err)
{
	size_t p;

	for (p = branch->piece_count; p-- > 0 && *looked < MAX_LOOK_BACK && !*before_us;)
	{
		json_t *header;
		enum mb_code code;

		if (branch->pieces[p].to_lsn > lsn || branch->pieces[p].to_lsn <= from_lsn)
			continue;
		(*looked)++;
		code = mb_way_header(inventory, branch, &branch->pieces[p], &header, err);
		if (code == MB_NOT_FOUND)
			continue;
		if (code)
			return code;
		*before_us = mb_json_time(header, "last_commit_time");
		json_decref(header);
	}
	return MB_OK;
}

enum mb_code
mb_wal_chain_time_at(struct mb_wal_inventory *inventory, const struct mb_wal_chain *chain,
					 uint64_t lsn, int64_t *before_us, struct mb_error *err)
{
	size_t i, b, looked = 0;
	enum mb_code code = MB_OK;

	*before_us = 0;
	for (i = chain->count; !code && !*before_us && i-- > 0;)
	{
		const struct mb_wal_link *link = &chain->links[i];

		if (link->from_lsn > lsn)
			continue;
		if (lsn <= link->to_lsn)
			code = walk_to(inventory, link, lsn, before_us, err);
		for (b = 0; !code && !*before_us && b < inventory->branch_count; b++)
		{
			const struct mb_wal_branch *branch = &inventory->branches[b];

			if (branch->timeline == link->timeline && strcmp(branch->branch, link->branch) == 0)
				code = look_back(inventory, branch, link->from_lsn, lsn, &looked, before_us, err);
		}
	}
	return code;
}

/* -- the plan ------------------------------------------------------------------------------------ */

json_t *
mb_wal_chain_plan(struct mb_wal_inventory *inventory, const struct mb_wal_chain *chain,
				  const struct mb_env *env, const char *component, const char *restore_id)
{
	json_t *plan = json_object();
	json_t *links = json_array();
	json_t *histories = json_object();
	size_t i;

	mb_json_set_int(plan, "version", 1);
	mb_json_set_str(plan, "restore", restore_id);
	mb_json_set_str(plan, "repository", env->repo->id_text);
	mb_json_set_str(plan, "component", component);
	mb_json_set_str(plan, "system_id", chain->system_id);
	mb_json_set_int(plan, "segment_size", chain->segment_size);
	mb_json_set_lsn(plan, "end", chain->end_lsn);
	/*
	 * Later timelines are named too, as known: at the end of recovery Postgres asks for their
	 * history files only to choose a number that nobody has used.
	 */
	for (i = 0; i < inventory->history_count; i++)
	{
		char key[32];

		snprintf(key, sizeof(key), "%08X", inventory->histories[i].timeline);
		mb_json_set_str(histories, key, inventory->histories[i].name);
	}
	for (i = 0; i < chain->count; i++)
	{
		const struct mb_wal_link *link = &chain->links[i];
		json_t *json = json_object();
		char key[32];

		mb_json_set_int(json, "timeline", link->timeline);
		mb_json_set_str(json, "branch", link->branch);
		mb_json_set_lsn(json, "from", link->from_lsn);
		mb_json_set_lsn(json, "to", link->to_lsn);
		json_array_append_new(links, json);
		snprintf(key, sizeof(key), "%08X", link->timeline);
		if (link->history[0])
			mb_json_set_str(histories, key, link->history);
	}
	json_object_set_new(plan, "links", links);
	json_object_set_new(plan, "histories", histories);
	return plan;
}

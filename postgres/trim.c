/* trim.c - which WAL the backups that stay need; see mb_component_ops.trim. */
#include <stdlib.h>
#include <string.h>

#include "postgres/private.h"

struct needs
{
	struct mb_wal_need *items;
	size_t count;
	size_t cap;
};

static struct mb_wal_need *
add_need(struct needs *needs, const struct mb_wal_need *need)
{
	needs->items = mb_grow(needs->items, &needs->cap, needs->count + 1, sizeof(*needs->items));
	needs->items[needs->count] = *need;
	return &needs->items[needs->count++];
}

/* Where it begins, and what its own cut needs.  False for one that does not say. */
static bool
need_of(const struct mb_commit *commit, struct mb_wal_need *need)
{
	const json_t *wal = json_object_get(commit->meta, "wal");
	const char *system_id = mb_json_str(commit->meta, "system_id", "");

	memset(need, 0, sizeof(*need));
	need->timeline = need->to_timeline = (uint32_t) mb_json_int(commit->meta, "timeline", 0);
	if (strlen(system_id) >= sizeof(need->system_id))
		return false;
	strcpy(need->system_id, system_id);
	snprintf(need->branch, sizeof(need->branch), "%s", mb_json_str(commit->meta, "branch", ""));
	return need->timeline && *system_id &&
		   mb_lsn_parse(&need->from_lsn,
						mb_json_str(wal, "from", mb_json_str(commit->meta, "start_lsn", ""))) &&
		   mb_lsn_parse(&need->to_lsn,
						mb_json_str(wal, "to", mb_json_str(commit->meta, "stop_lsn", "")));
}

/* From the base to a mark, on whatever timelines lie between. */
static bool
add_position(struct needs *needs, const struct mb_wal_need *base, const json_t *position)
{
	struct mb_wal_need *need = add_need(needs, base);
	uint64_t lsn = 0, flush_lsn = 0;

	need->branch[0] = '\0';
	need->to_timeline = (uint32_t) mb_json_int(position, "timeline", 0);
	if (!need->to_timeline || !mb_lsn_parse(&lsn, mb_json_str(position, "lsn", "")))
		return false;
	if (!mb_lsn_parse(&flush_lsn, mb_json_str(position, "flush_lsn", "")))
		flush_lsn = lsn;
	need->to_lsn = flush_lsn > lsn ? flush_lsn : lsn;
	return true;
}

static bool
add_base(struct needs *needs, const struct mb_trim_base *base)
{
	struct mb_wal_need need;
	size_t i;

	if (!need_of(base->commit, &need))
		return false;
	if (base->is_open)
	{
		need.branch[0] = '\0';
		need.to_timeline = UINT32_MAX;
		need.to_lsn = UINT64_MAX;
		add_need(needs, &need);
		return true;
	}
	add_need(needs, &need);
	for (i = 0; i < base->position_count; i++)
		if (!add_position(needs, &need, base->positions[i]))
			return false;
	return true;
}

enum mb_code
mb_postgres_trim(struct mb_component *component, struct mb_trim *trim, struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct needs needs = {0};
	bool known = true;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; i < trim->base_count; i++)
		known = add_base(&needs, &trim->bases[i]) && known;
	/* A backup that does not say what it needs: everything may be. */
	for (i = 0; !known && i < trim->blob_count; i++)
		trim->blobs[i].is_needed = true;
	if (known)
		code = pg->wal->trim(component->env, component->name, needs.items, needs.count, trim, err);
	free(needs.items);
	return code;
}

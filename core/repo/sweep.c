/* sweep.c - see sweep.h: what there is, what needs it, new tombstones. */
#include <stdlib.h>
#include <string.h>

#include "core/repo/provisional.h"
#include "core/repo/sweep_private.h"

#define MARGIN_MAX_US (5LL * 60 * 1000000)
#define MARGIN_MIN_US (2LL * 1000000)

int64_t
mb_sweep_margin_us(const struct mb_sweep *sweep)
{
	int64_t grace_us = sweep->options.grace_us;

	return grace_us > MARGIN_MAX_US   ? MARGIN_MAX_US
		   : grace_us < MARGIN_MIN_US ? MARGIN_MIN_US
									  : grace_us;
}

bool
mb_sweep_is_locked(const struct mb_sweep *sweep, int64_t put_us)
{
	return sweep->options.lock_us > 0 && put_us + sweep->options.lock_us > sweep->now_us;
}

/* -- packs ----------------------------------------------------------------------------------- */

static enum mb_code
note_pack(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_sweep *sweep = ctx;
	struct mb_sweep_pack *pack;
	struct mb_pack_id id;

	if (!mb_pack_name_parse(&id, info->name))
		return MB_OK;
	sweep->packs =
		mb_grow(sweep->packs, &sweep->pack_cap, sweep->pack_count + 1, sizeof(*sweep->packs));
	pack = &sweep->packs[sweep->pack_count++];
	*pack = (struct mb_sweep_pack){.id = id, .bytes = info->bytes, .put_us = info->modified_us};
	return mb_cancel_check(sweep->options.cancel, err);
}

static int
compare_packs(const void *a, const void *b)
{
	const struct mb_sweep_pack *x = a, *y = b;

	return memcmp(&x->id, &y->id, sizeof(x->id));
}

struct mb_sweep_pack *
mb_sweep_find_pack(const struct mb_sweep *sweep, const struct mb_pack_id *id)
{
	struct mb_sweep_pack key = {.id = *id};

	return sweep->pack_count == 0 ? NULL
								  : bsearch(&key, sweep->packs, sweep->pack_count,
											sizeof(*sweep->packs), compare_packs);
}

/* Both are sorted by id: one walk.  What is not there is not ours to report. */
static void
add_refs(struct mb_sweep *sweep, const struct mb_pack_refs *refs, int change)
{
	size_t at = 0, i;

	for (i = 0; i < refs->count; i++)
	{
		while (at < sweep->pack_count &&
			   memcmp(&sweep->packs[at].id, &refs->items[i].pack, sizeof(struct mb_pack_id)) < 0)
			at++;
		if (at < sweep->pack_count &&
			memcmp(&sweep->packs[at].id, &refs->items[i].pack, sizeof(struct mb_pack_id)) == 0)
			sweep->packs[at].refs += (uint32_t) change;
	}
}

/* -- commits --------------------------------------------------------------------------------- */

static int
compare_names(const void *a, const void *b)
{
	const struct mb_commit_name *x = a, *y = b;
	int order = strcmp(x->component, y->component);

	return order ? order : strcmp(x->id, y->id);
}

bool
mb_sweep_is_counted(struct mb_sweep *sweep, const struct mb_commit_name *name)
{
	struct mb_commit_names *counted = &sweep->counted;

	if (counted->count == 0)
		return false;
	if (sweep->counted_sorted < counted->count)
		qsort(counted->items, counted->count, sizeof(*counted->items), compare_names);
	sweep->counted_sorted = counted->count;
	return bsearch(name, counted->items, counted->count, sizeof(*name), compare_names) != NULL;
}

static void
remember(struct mb_sweep *sweep, const char *component, const char *id)
{
	struct mb_commit_names *counted = &sweep->counted;
	struct mb_commit_name *name;

	counted->items =
		mb_grow(counted->items, &counted->cap, counted->count + 1, sizeof(*counted->items));
	name = &counted->items[counted->count++];
	memset(name, 0, sizeof(*name));
	snprintf(name->component, sizeof(name->component), "%s", component);
	snprintf(name->id, sizeof(name->id), "%s", id);
}

void
mb_sweep_count(struct mb_sweep *sweep, const struct mb_commit *commit)
{
	remember(sweep, commit->component, commit->id);
	add_refs(sweep, &commit->refs, 1);
}

void
mb_sweep_uncount(struct mb_sweep *sweep, const struct mb_commit *commit)
{
	add_refs(sweep, &commit->refs, -1);
}

void
mb_sweep_cannot_read(struct mb_sweep *sweep, const char *component, const char *id)
{
	remember(sweep, component, id);
	if (!sweep->blind[0])
		snprintf(sweep->blind, sizeof(sweep->blind),
				 "backup %s of \"%s\" cannot be read, so nobody knows which packs it needs", id,
				 component);
}

/* -- provisional documents --------------------------------------------------------------------- */

struct provisionals
{
	struct mb_sweep *sweep;
	char **old;
	size_t old_count;
	size_t old_cap;
};

/* Of a backup that runs, or was killed less than a day ago: the next attempt will want it. */
static enum mb_code
see_provisional(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct provisionals *seen = ctx;
	struct mb_sweep *sweep = seen->sweep;
	struct mb_pack_refs refs = {0};
	enum mb_code code;

	if (sweep->now_us - info->modified_us >= MB_GRACE_US &&
		info->modified_us < mb_sweep_horizon_us(sweep))
	{
		seen->old = mb_grow(seen->old, &seen->old_cap, seen->old_count + 1, sizeof(char *));
		seen->old[seen->old_count++] = mb_strdup(info->name);
		return MB_OK;
	}
	code = mb_provisional_refs(sweep->repo, info->name, &refs, err);
	if (code == MB_NOT_FOUND || code == MB_CORRUPT)
		return MB_OK; /* of no use to anybody */
	if (!code)
		add_refs(sweep, &refs, 1);
	mb_pack_refs_release(&refs);
	return code;
}

/* They go before their packs: a backup leaves out those whose packs are gone. */
static enum mb_code
settle_provisionals(struct mb_sweep *sweep, struct mb_error *err)
{
	struct provisionals seen = {.sweep = sweep};
	enum mb_code code =
		mb_store_list(sweep->repo->store, "provisional/", see_provisional, &seen, err);
	size_t i;

	if (!code && seen.old_count > 0 && !sweep->options.is_dry)
		code = mb_store_remove(sweep->repo->store, (const char *const *) seen.old, seen.old_count,
							   err);
	for (i = 0; i < seen.old_count; i++)
		free(seen.old[i]);
	free(seen.old);
	return code;
}

/* -- begin and end --------------------------------------------------------------------------- */

enum mb_code
mb_sweep_begin(struct mb_sweep *sweep, const struct mb_repo *repo,
			   const struct mb_sweep_options *options, struct mb_error *err)
{
	enum mb_code code;

	memset(sweep, 0, sizeof(*sweep));
	sweep->repo = repo;
	sweep->options = *options;
	code = mb_store_clock(repo->store, &sweep->now_us, err);
	if (!code)
		code = mb_store_list(repo->store, "packs/", note_pack, sweep, err);
	if (!code)
		code = mb_store_clock(repo->store, &sweep->looked_us, err);
	if (!code)
		code = mb_leases_list(repo, &sweep->leases, err);
	if (!code)
		code = mb_tombstones_list(repo, &sweep->tombstones, err);
	if (code)
		mb_sweep_end(sweep);
	return code;
}

void
mb_sweep_end(struct mb_sweep *sweep)
{
	mb_leases_release(&sweep->leases);
	mb_tombstones_release(&sweep->tombstones);
	mb_commit_names_release(&sweep->counted);
	free(sweep->packs);
	memset(sweep, 0, sizeof(*sweep));
}

int64_t
mb_sweep_horizon_us(const struct mb_sweep *sweep)
{
	int64_t horizon_us = INT64_MAX;
	size_t i;

	for (i = 0; i < sweep->leases.count; i++)
	{
		const struct mb_lease_info *lease = &sweep->leases.items[i];

		if (strcmp(lease->kind, "expire") != 0 && mb_lease_is_live(lease, sweep->now_us) &&
			lease->started_us < horizon_us)
			horizon_us = lease->started_us;
	}
	return horizon_us;
}

/* -- new tombstones -------------------------------------------------------------------------- */

static void
count_pending(struct mb_sweep *sweep, uint64_t bytes, int64_t until_us)
{
	sweep->pending_blobs++;
	sweep->pending_bytes += bytes;
	if (until_us > sweep->pending_until_us)
		sweep->pending_until_us = until_us;
}

static enum mb_code
name_blob(struct mb_sweep *sweep, json_t *batch, const char *name, uint64_t bytes, int64_t put_us,
		  struct mb_error *err)
{
	int64_t until_us = sweep->now_us + sweep->options.grace_us;
	enum mb_code code = MB_OK;

	if (put_us + sweep->options.lock_us > until_us)
		until_us = put_us + sweep->options.lock_us;
	count_pending(sweep, bytes, until_us);
	json_array_append_new(batch, json_string(name));
	if (json_array_size(batch) < MB_TOMBSTONE_MAX_BLOBS)
		return MB_OK;
	if (!sweep->options.is_dry)
		code = mb_tombstone_put(sweep->repo, batch, err);
	json_array_clear(batch);
	return code;
}

/*
 * Nothing that somebody at work may have put and not referred to yet, and no WAL that came since a
 * backup began which is the first of its timeline.
 */
static enum mb_code
name_garbage(struct mb_sweep *sweep, const struct mb_sweep_streams *streams, struct mb_error *err)
{
	int64_t horizon_us = mb_sweep_horizon_us(sweep), margin_us = mb_sweep_margin_us(sweep);
	int64_t before_us = (horizon_us < sweep->now_us ? horizon_us : sweep->now_us) - margin_us;
	json_t *batch = json_array();
	char name[MB_PACK_NAME_TEXT];
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < sweep->pack_count && !sweep->blind[0]; i++)
	{
		const struct mb_sweep_pack *pack = &sweep->packs[i];

		if (pack->refs > 0 || pack->is_named || pack->is_gone || pack->put_us >= before_us)
			continue;
		mb_pack_name(name, &pack->id);
		code = name_blob(sweep, batch, name, pack->bytes, pack->put_us, err);
	}
	for (i = 0; !code && i < streams->count; i++)
	{
		const struct mb_stream_blob *blob = &streams->items[i];

		if (!blob->is_needed && !streams->named[i] && !streams->gone[i] && blob->put_us < before_us)
			code = name_blob(sweep, batch, blob->name, blob->bytes, blob->put_us, err);
	}
	if (!code && json_array_size(batch) > 0 && !sweep->options.is_dry)
		code = mb_tombstone_put(sweep->repo, batch, err);
	json_decref(batch);
	return code ? mb_error_context(err, "could not write a tombstone") : MB_OK;
}

/* Leases of writers that died long ago say nothing any more. */
static enum mb_code
remove_dead_leases(struct mb_sweep *sweep, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < sweep->leases.count && !sweep->options.is_dry; i++)
	{
		const struct mb_lease_info *lease = &sweep->leases.items[i];

		if (sweep->now_us - lease->renewed_us >= 2 * MB_GRACE_US)
			code = mb_store_remove(sweep->repo->store, (const char *const *) lease->names,
								   lease->name_count, err);
	}
	return code;
}

enum mb_code
mb_sweep_run(struct mb_sweep *sweep, const struct mb_stream_blob *streams, size_t count,
			 struct mb_error *err)
{
	struct mb_sweep_streams judged = {.items = streams, .count = count};
	enum mb_code code;

	judged.named = mb_calloc(count + 1, sizeof(bool));
	judged.gone = mb_calloc(count + 1, sizeof(bool));
	code = settle_provisionals(sweep, err);
	if (!code)
		code = mb_sweep_tombstones(sweep, &judged, err);
	if (!code)
		code = name_garbage(sweep, &judged, err);
	if (!code)
		code = remove_dead_leases(sweep, err);
	free(judged.named);
	free(judged.gone);
	return code;
}

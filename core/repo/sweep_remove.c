/*
 * sweep_remove.c - working off tombstones that are old enough: the only place where a blob that
 * backups are made of is removed.
 */
#include <stdlib.h>
#include <string.h>

#include "core/repo/sweep_private.h"

#define BATCH 1000
#define LOOK_AGAIN_US (60LL * 1000000)

/* One tombstone being worked off. */
struct removal
{
	struct mb_sweep *sweep;
	struct mb_sweep_streams *streams;
	const struct mb_tombstone *tombstone;
	const char **names;           /* of this batch, borrowed */
	struct mb_sweep_pack **packs; /* parallel; NULL for a stream blob */
	size_t *blobs;                /* parallel: the index of a stream blob */
	size_t count;
	bool stays; /* something of it could not be removed yet */
};

/* -- a fresh look ---------------------------------------------------------------------------- */

/* Commits that came since: they hold what they refer to. */
static enum mb_code
count_new_commits(struct mb_sweep *sweep, struct mb_error *err)
{
	struct mb_commit_names names = {0};
	enum mb_code code = mb_commit_list(sweep->repo, NULL, &names, err);
	size_t i;

	for (i = 0; !code && i < names.count; i++)
	{
		const struct mb_commit_name *name = &names.items[i];
		struct mb_commit commit = {0};

		if (mb_sweep_is_counted(sweep, name))
			continue;
		code = mb_commit_get(sweep->repo, name->component, name->id, &commit, err);
		if (code == MB_NOT_FOUND)
			code = MB_OK; /* expired by somebody else */
		else if (code == MB_CORRUPT || code == MB_DENIED || code == MB_UNSUPPORTED)
		{
			mb_sweep_cannot_read(sweep, name->component, name->id);
			code = MB_OK;
		}
		else if (!code)
			mb_sweep_count(sweep, &commit);
		mb_commit_release(&commit);
	}
	mb_commit_names_release(&names);
	return code;
}

/* What was seen a minute ago may not be so any more: leases first, then commits. */
static enum mb_code
look_again(struct mb_sweep *sweep, struct mb_error *err)
{
	struct mb_leases leases = {0};
	int64_t now_us = 0;
	enum mb_code code = mb_store_clock(sweep->repo->store, &now_us, err);

	if (code || (now_us >= sweep->looked_us && now_us - sweep->looked_us < LOOK_AGAIN_US))
		return code;
	code = mb_leases_list(sweep->repo, &leases, err);
	if (code)
		return code;
	mb_leases_release(&sweep->leases);
	sweep->leases = leases;
	sweep->now_us = now_us;
	code = count_new_commits(sweep, err);
	if (!code)
		sweep->looked_us = now_us;
	return code;
}

/* -- one tombstone --------------------------------------------------------------------------- */

/* A writer that began before it, or about then, may have chosen to need what it names. */
static bool
is_ripe(const struct mb_sweep *sweep, const struct mb_tombstone *tombstone)
{
	int64_t age_us = sweep->now_us - tombstone->put_us;

	return age_us >= sweep->options.grace_us &&
		   mb_sweep_horizon_us(sweep) > tombstone->put_us + mb_sweep_margin_us(sweep);
}

static int
compare_blob(const void *key, const void *item)
{
	return strcmp(key, ((const struct mb_stream_blob *) item)->name);
}

/* The index of a stream blob, or streams->count. */
static size_t
find_blob(const struct mb_sweep_streams *streams, const char *name)
{
	const struct mb_stream_blob *found =
		streams->count == 0
			? NULL
			: bsearch(name, streams->items, streams->count, sizeof(*streams->items), compare_blob);

	return found ? (size_t) (found - streams->items) : streams->count;
}

/* Whatever of the batch has come to be needed meanwhile stays. */
static void
drop_needed(struct removal *removal)
{
	size_t i, kept = 0;

	for (i = 0; i < removal->count; i++)
	{
		if (removal->packs[i] && (removal->packs[i]->refs > 0 || removal->sweep->blind[0]))
			continue;
		removal->names[kept] = removal->names[i];
		removal->packs[kept] = removal->packs[i];
		removal->blobs[kept++] = removal->blobs[i];
	}
	removal->count = kept;
}

static void
note_removed(struct removal *removal)
{
	struct mb_sweep *sweep = removal->sweep;
	size_t i;

	for (i = 0; i < removal->count; i++)
	{
		sweep->removed_blobs++;
		if (removal->packs[i])
		{
			removal->packs[i]->is_gone = true;
			sweep->removed_bytes += removal->packs[i]->bytes;
			continue;
		}
		removal->streams->gone[removal->blobs[i]] = true;
		sweep->removed_bytes += removal->streams->items[removal->blobs[i]].bytes;
	}
}

static enum mb_code
remove_batch(struct removal *removal, struct mb_error *err)
{
	struct mb_sweep *sweep = removal->sweep;
	struct mb_error why;
	enum mb_code code = MB_OK;

	if (removal->count == 0)
		return MB_OK;
	if (!sweep->options.is_dry)
		code = look_again(sweep, err);
	if (!code)
		code = mb_cancel_check(sweep->options.cancel, err);
	if (code)
		return code;
	if (!is_ripe(sweep, removal->tombstone))
	{
		removal->stays = true;
		removal->count = 0;
		return MB_OK;
	}
	drop_needed(removal);
	mb_error_clear(&why);
	if (removal->count > 0 && !sweep->options.is_dry)
		code = mb_store_remove(sweep->repo->store, removal->names, removal->count, &why);
	if (code == MB_DENIED)
	{
		/* A lock of the server, perhaps: nothing is lost but space. */
		if (!sweep->refused.code)
			sweep->refused = why;
		removal->stays = true;
	}
	else if (code)
		*err = why;
	else
		note_removed(removal);
	removal->count = 0;
	return code == MB_DENIED ? MB_OK : code;
}

static enum mb_code
take_name(struct removal *removal, const char *name, struct mb_error *err)
{
	struct mb_sweep *sweep = removal->sweep;
	struct mb_sweep_pack *pack = NULL;
	struct mb_pack_id id;
	size_t blob = 0;
	int64_t put_us;

	if (mb_pack_name_parse(&id, name))
	{
		pack = mb_sweep_find_pack(sweep, &id);
		if (!pack || pack->is_gone || pack->refs > 0)
			return MB_OK;
		if (sweep->blind[0])
		{
			removal->stays = true;
			return MB_OK;
		}
		put_us = pack->put_us;
	}
	else
	{
		blob = find_blob(removal->streams, name);
		if (blob == removal->streams->count || removal->streams->gone[blob] ||
			removal->streams->items[blob].is_needed)
			return MB_OK;
		put_us = removal->streams->items[blob].put_us;
	}
	if (mb_sweep_is_locked(sweep, put_us))
	{
		removal->stays = true;
		return MB_OK;
	}
	removal->names[removal->count] = name;
	removal->packs[removal->count] = pack;
	removal->blobs[removal->count++] = blob;
	return removal->count == BATCH ? remove_batch(removal, err) : MB_OK;
}

static enum mb_code
work_off(struct removal *removal, struct mb_error *err)
{
	const char *names[] = {removal->tombstone->name};
	struct mb_sweep *sweep = removal->sweep;
	enum mb_code code = MB_OK;
	json_t *item;
	size_t i;

	json_array_foreach(removal->tombstone->blobs, i, item)
	{
		code = json_is_string(item) ? take_name(removal, json_string_value(item), err) : MB_OK;
		if (code)
			return code;
	}
	code = remove_batch(removal, err);
	/* Last, so that whoever begins to write meanwhile still sees what is going. */
	if (!code && !removal->stays && !sweep->options.is_dry)
		code = mb_store_remove(sweep->repo->store, names, 1, err);
	return code;
}

/* What a tombstone that stays names needs no other one. */
static void
note_named(struct mb_sweep *sweep, const struct mb_tombstone *tombstone,
		   struct mb_sweep_streams *streams)
{
	int64_t until_us = tombstone->put_us + sweep->options.grace_us;
	json_t *item;
	size_t i;

	json_array_foreach(tombstone->blobs, i, item)
	{
		const char *name = json_string_value(item);
		uint64_t bytes = 0;
		struct mb_pack_id id;
		bool counts = false;

		if (name && mb_pack_name_parse(&id, name))
		{
			struct mb_sweep_pack *pack = mb_sweep_find_pack(sweep, &id);

			counts = pack && !pack->is_gone && !pack->is_named && pack->refs == 0;
			if (counts)
				bytes = pack->bytes;
			if (pack)
				pack->is_named = true;
		}
		else if (name)
		{
			size_t blob = find_blob(streams, name);

			counts = blob < streams->count && !streams->gone[blob] && !streams->named[blob] &&
					 !streams->items[blob].is_needed;
			if (counts)
				bytes = streams->items[blob].bytes;
			if (blob < streams->count)
				streams->named[blob] = true;
		}
		if (!counts)
			continue;
		sweep->pending_blobs++;
		sweep->pending_bytes += bytes;
		if (until_us > sweep->pending_until_us)
			sweep->pending_until_us = until_us;
	}
}

enum mb_code
mb_sweep_tombstones(struct mb_sweep *sweep, struct mb_sweep_streams *streams, struct mb_error *err)
{
	struct removal removal = {.sweep = sweep, .streams = streams};
	enum mb_code code = MB_OK;
	size_t i;

	removal.names = mb_calloc(BATCH, sizeof(*removal.names));
	removal.packs = mb_calloc(BATCH, sizeof(*removal.packs));
	removal.blobs = mb_calloc(BATCH, sizeof(*removal.blobs));
	for (i = 0; !code && i < sweep->tombstones.count; i++)
	{
		removal.tombstone = &sweep->tombstones.items[i];
		removal.stays = !is_ripe(sweep, removal.tombstone);
		if (!removal.stays)
			code = work_off(&removal, err);
		if (!code && removal.stays)
			note_named(sweep, removal.tombstone, streams);
	}
	free(removal.names);
	free(removal.packs);
	free(removal.blobs);
	return code ? mb_error_context(err, "could not remove what has expired") : MB_OK;
}

/*
 * trim.c - which blobs of a WAL stream are still needed.
 *
 * A piece is needed when it overlaps a need on a timeline that may lead there; when it is the last of a
 * branch that is alive, because a receiver goes on only behind bytes that it finds again; when it
 * came a moment ago; and when there is no backup of its cluster, for a week after the last of it.
 */
#include <stdlib.h>
#include <string.h>

#include "walstreamer/inventory.h"

#define ALIVE_US (7LL * 24 * 3600 * 1000000)

/* One blob, taken apart. */
struct item
{
	struct mb_stream_blob *blob;
	struct mb_wal_piece_parts parts;
	uint64_t from_lsn;
	uint64_t to_lsn;
	uint32_t history; /* the timeline of a history file; 0: it is a piece */
};

/* Everything of one cluster. */
struct system
{
	char id[MB_WAL_SYSID_TEXT];
	uint32_t segment_size;
	struct item *items;
	size_t count;
	size_t cap;
	int64_t newest_us;
	bool has_backup;
};

static bool
take_apart(const char *rest, char system_id[MB_WAL_SYSID_TEXT], struct item *item)
{
	const char *slash;

	if (!mb_starts_with(rest, "wal/"))
		return false;
	rest += strlen("wal/");
	slash = strchr(rest, '/');
	if (!slash || slash - rest >= MB_WAL_SYSID_TEXT)
		return false;
	memcpy(system_id, rest, (size_t) (slash - rest));
	system_id[slash - rest] = '\0';
	if (mb_wal_piece_parse(slash + 1, &item->parts))
		return true;
	return mb_wal_history_blob_parse(slash + 1, &item->history);
}

/* Any header of the cluster tells; tail pieces may vanish while we look. */
static enum mb_code
find_segment_size(const struct mb_repo *repo, struct system *system, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < system->count && system->segment_size == 0; i++)
	{
		json_t *header;
		enum mb_code code;

		if (system->items[i].history)
			continue;
		code = mb_wal_piece_header(repo, system->items[i].blob->name, &header, err);
		if (code == MB_NOT_FOUND || code == MB_CORRUPT)
			continue;
		if (code)
			return code;
		system->segment_size = (uint32_t) mb_json_int(header, "segment_size", 0);
		json_decref(header);
	}
	mb_error_clear(err);
	return MB_OK;
}

static bool
overlaps(const struct mb_wal_need *need, const struct item *item)
{
	/* A record that ends at to_lsn may be padded to 8 bytes. */
	uint64_t to_lsn = need->to_lsn > UINT64_MAX - 8 ? UINT64_MAX : need->to_lsn + 8;

	return item->parts.timeline >= need->timeline && item->parts.timeline <= need->to_timeline &&
		   (!need->branch[0] || strcmp(need->branch, item->parts.branch) == 0) &&
		   item->to_lsn > need->from_lsn && item->from_lsn < to_lsn;
}

static void
mark_pieces(struct system *system, const struct mb_wal_need *needs, size_t count,
			const struct mb_trim *trim)
{
	size_t i, j;

	for (i = 0; i < system->count; i++)
	{
		struct item *item = &system->items[i];

		if (trim->now_us - item->blob->put_us < trim->young_us ||
			(!system->has_backup && trim->now_us - system->newest_us < ALIVE_US))
			item->blob->is_needed = true;
		for (j = 0; j < count && !item->history && !item->blob->is_needed; j++)
			if (strcmp(needs[j].system_id, system->id) == 0 && overlaps(&needs[j], item))
				item->blob->is_needed = true;
	}
}

/* Pieces of one branch stand together, because names do; the end is the largest LSN. */
static void
mark_ends(struct system *system, const struct mb_trim *trim)
{
	size_t first, last, i;

	for (first = 0; first < system->count; first = last)
	{
		const struct item *head = &system->items[first];
		uint32_t unit = mb_wal_unit_bytes(system->segment_size);
		int64_t newest_us = 0;
		uint64_t end_lsn = 0;

		for (last = first; last < system->count; last++)
		{
			const struct item *item = &system->items[last];

			if (item->history != head->history || item->parts.timeline != head->parts.timeline ||
				strcmp(item->parts.branch, head->parts.branch) != 0)
				break;
			if (item->blob->put_us > newest_us)
				newest_us = item->blob->put_us;
			if (item->to_lsn > end_lsn)
				end_lsn = item->to_lsn;
		}
		/* The whole last unit: it may be in many tail pieces. */
		for (i = first; i < last && !head->history; i++)
			if (trim->now_us - newest_us < ALIVE_US &&
				system->items[i].to_lsn > end_lsn - (end_lsn > 0 ? (end_lsn - 1) % unit + 1 : 0))
				system->items[i].blob->is_needed = true;
	}
}

/* A history file goes with the last piece of its timeline. */
static void
mark_histories(struct system *system)
{
	size_t i, j;

	for (i = 0; i < system->count; i++)
		for (j = 0; system->items[i].history && j < system->count; j++)
			if (!system->items[j].history && system->items[j].blob->is_needed &&
				system->items[j].parts.timeline == system->items[i].history)
			{
				system->items[i].blob->is_needed = true;
				break;
			}
}

static void
need_all(struct system *system)
{
	size_t i;

	for (i = 0; i < system->count; i++)
		system->items[i].blob->is_needed = true;
}

static enum mb_code
judge_system(const struct mb_env *env, struct system *system, const struct mb_wal_need *needs,
			 size_t count, const struct mb_trim *trim, struct mb_error *err)
{
	enum mb_code code = find_segment_size(env->repo, system, err);
	size_t i;

	if (code)
		return code;
	for (i = 0; i < count; i++)
		if (strcmp(needs[i].system_id, system->id) == 0)
			system->has_backup = true;
	for (i = 0; i < system->count; i++)
	{
		struct item *item = &system->items[i];
		uint64_t lsn;

		if (item->blob->put_us > system->newest_us)
			system->newest_us = item->blob->put_us;
		if (item->history)
			continue;
		/* Not a name that we write, or no header can be read: nothing is known. */
		if (system->segment_size == 0 ||
			!mb_wal_piece_lsn(&item->parts, system->segment_size, &lsn))
		{
			need_all(system);
			return MB_OK;
		}
		item->from_lsn = lsn + item->parts.start;
		item->to_lsn = lsn + item->parts.end;
	}
	mark_pieces(system, needs, count, trim);
	mark_ends(system, trim);
	mark_histories(system);
	return MB_OK;
}

/*
 * A gap was noted when the server no longer had the WAL; a backup that began later is not concerned
 * by it.  Ids tell when.
 */
static void
judge_gap(struct mb_stream_blob *blob, const char *id, const struct mb_trim *trim)
{
	size_t i;

	blob->is_needed = !mb_id_is_valid(id) || trim->base_count == 0 ||
					  trim->now_us - blob->put_us < trim->young_us;
	for (i = 0; i < trim->base_count && !blob->is_needed; i++)
		blob->is_needed = mb_id_time_us(trim->bases[i].commit->id) <= mb_id_time_us(id);
}

enum mb_code
mb_wal_trim(const struct mb_env *env, const char *component, const struct mb_wal_need *needs,
			size_t count, struct mb_trim *trim, struct mb_error *err)
{
	size_t skip = strlen("streams/") + strlen(component) + 1, at = 0;
	enum mb_code code = MB_OK;

	while (!code && at < trim->blob_count)
	{
		const char *rest = trim->blobs[at].name + skip;
		struct system system = {0};
		char id[MB_WAL_SYSID_TEXT];
		struct item item = {0};

		if (!take_apart(rest, system.id, &item))
		{
			if (mb_starts_with(rest, "gaps/"))
				judge_gap(&trim->blobs[at], rest + strlen("gaps/"), trim);
			else
				trim->blobs[at].is_needed = true; /* not ours to judge */
			at++;
			continue;
		}
		while (at < trim->blob_count)
		{
			item = (struct item){.blob = &trim->blobs[at]};
			if (!take_apart(trim->blobs[at].name + skip, id, &item) || strcmp(id, system.id) != 0)
				break;
			system.items =
				mb_grow(system.items, &system.cap, system.count + 1, sizeof(*system.items));
			system.items[system.count++] = item;
			at++;
		}
		code = judge_system(env, &system, needs, count, trim, err);
		free(system.items);
	}
	return code;
}

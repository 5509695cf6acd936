/*
 * trim.c - which pieces of the command stream a restore may still need.
 *
 * From a backup that is open all that can be replayed behind it; from another one as far as the marks
 * go that start from it (its own cut needs no piece: a backup carries its tail).  And the end of
 * each history, where the stream goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "redis/component_private.h"
#include "redis/pieces.h"

/* A stream that was stopped for longer begins again with a gap anyway: no backlog is so long. */
#define STREAM_ALIVE_US (7LL * 24 * 3600 * 1000000)

/* The pieces of one server or shard, and their blobs. */
struct group
{
	char name[MB_COMPONENT_MAX + 32]; /* "sessions", "sessions/slot-0" */
	struct mb_pieces pieces;
	struct mb_stream_blob *blobs; /* parallel to pieces.items */
};

/* Of a base or a position: that of the server, or of the shard. */
static const json_t *
view_of(const json_t *json, const struct group *group, const char *component)
{
	if (strcmp(group->name, component) == 0)
		return json;
	return json_object_get(json_object_get(json, "shards"), group->name);
}

static void
mark_needed(struct group *group, const struct mb_chain_span *span, uint64_t to)
{
	size_t i;

	for (i = 0; i < group->pieces.count; i++)
	{
		const struct mb_piece_name *name = &group->pieces.items[i];
		bool is_record = name->start == name->end;

		if (strcmp(name->replid, span->replid) != 0)
			continue;
		if (is_record ? span->from <= name->start && name->start <= to
					  : name->end > span->from && name->start < to)
			group->blobs[i].is_needed = true;
	}
}

/* All chains that were followed, so that a backup inside of one is not followed again. */
struct followed
{
	struct mb_chain *items;
	size_t count;
	size_t cap;
};

static const struct mb_chain *
follow(const struct mb_repo *repo, const struct group *group, const char *replid, uint64_t offset,
	   struct followed *followed, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < followed->count; i++)
		if (mb_chain_holds(&followed->items[i], replid, offset))
			return &followed->items[i];
	followed->items =
		mb_grow(followed->items, &followed->cap, followed->count + 1, sizeof(*followed->items));
	if (mb_chain_follow(repo, group->name, &group->pieces, replid, offset,
						&followed->items[followed->count], err))
		return NULL;
	return &followed->items[followed->count++];
}

/* The bracket of a cut has two ends, and a restore may want either. */
static uint64_t
end_of_position(const json_t *position)
{
	static const char *const members[] = {"before", "after"};
	int64_t end = mb_json_int(position, "offset", 0);
	size_t i;

	for (i = 0; i < 2; i++)
	{
		int64_t other = mb_json_int(json_object_get(position, members[i]), "offset", 0);

		if (other > end)
			end = other;
	}
	return (uint64_t) end;
}

/* From a base to a position, over as many histories as lie between. */
static void
mark_to_position(struct group *group, const struct mb_chain *chain, const char *replid,
				 uint64_t offset, const json_t *position)
{
	const char *to_replid = mb_json_str(position, "replid", "");
	uint64_t to = end_of_position(position);
	bool begun = false;
	size_t i;

	for (i = 0; i < chain->span_count; i++)
	{
		struct mb_chain_span span = chain->spans[i];
		bool is_last = strcmp(span.replid, to_replid) == 0 && span.from <= to;

		if (!begun && strcmp(span.replid, replid) == 0 && span.from <= offset && offset <= span.to)
		{
			begun = true;
			span.from = offset;
		}
		if (begun)
			mark_needed(group, &span, is_last && to < span.to ? to : span.to);
		if (begun && is_last && to <= span.to)
			return;
	}
}

static enum mb_code
mark_base(const struct mb_repo *repo, struct group *group, const char *component,
		  const struct mb_trim_base *base, struct followed *followed, struct mb_error *err)
{
	const json_t *meta = view_of(base->commit->meta, group, component);
	const char *replid = mb_json_str(meta, "replid", "");
	uint64_t offset = (uint64_t) mb_json_int(meta, "offset", 0);
	const struct mb_chain *chain;
	size_t i;

	if (!mb_replid_is_valid(replid) || (!base->is_open && base->position_count == 0))
		return MB_OK;
	chain = follow(repo, group, replid, offset, followed, err);
	if (!chain)
		return err->code;
	for (i = 0; base->is_open && i < chain->span_count; i++)
		mark_needed(group, &chain->spans[i], chain->spans[i].to);
	for (i = 0; !base->is_open && i < base->position_count; i++)
		mark_to_position(group, chain, replid, offset,
						 view_of(base->positions[i], group, component));
	return MB_OK;
}

/* What came a moment ago, and of each history that is alive where it ends. */
static void
mark_ends(struct group *group, const struct mb_trim *trim)
{
	size_t i, first, last;

	for (first = 0; first < group->pieces.count; first = last)
	{
		const struct mb_piece_name *items = group->pieces.items;
		int64_t newest_us = 0;
		uint64_t end = 0;

		for (last = first;
			 last < group->pieces.count && strcmp(items[first].replid, items[last].replid) == 0;
			 last++)
		{
			if (group->blobs[last].put_us > newest_us)
				newest_us = group->blobs[last].put_us;
			if (items[last].end > end)
				end = items[last].end;
		}
		for (i = first; i < last; i++)
			if (trim->now_us - group->blobs[i].put_us < trim->young_us ||
				(items[i].end == end && trim->now_us - newest_us < STREAM_ALIVE_US))
				group->blobs[i].is_needed = true;
	}
}

static enum mb_code
judge_group(struct mb_component *component, struct group *group, const struct mb_trim *trim,
			struct mb_error *err)
{
	struct followed followed = {0};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < trim->base_count; i++)
		code = mark_base(component->env->repo, group, component->name, &trim->bases[i], &followed,
						 err);
	if (!code)
		mark_ends(group, trim);
	for (i = 0; i < followed.count; i++)
		mb_chain_release(&followed.items[i]);
	free(followed.items);
	return code;
}

/* The group that a blob belongs to, and its piece; false: it is not ours to judge. */
static bool
take_apart(const char *component, const char *blob, char group[MB_COMPONENT_MAX + 32],
		   struct mb_piece_name *name)
{
	const char *rest = blob + strlen("streams/") + strlen(component) + 1;
	const char *slash = mb_starts_with(rest, "slot-") ? strchr(rest, '/') : NULL;

	if (!slash)
		snprintf(group, MB_COMPONENT_MAX + 32, "%s", component);
	else
		snprintf(group, MB_COMPONENT_MAX + 32, "%s/%.*s", component, (int) (slash - rest), rest);
	return mb_piece_name_parse(slash ? slash + 1 : rest, name);
}

enum mb_code
mb_redis_trim(struct mb_component *component, struct mb_trim *trim, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t at = 0;

	/* Blobs come by name, so those of a group stand together. */
	while (!code && at < trim->blob_count)
	{
		struct group group = {.blobs = trim->blobs + at};
		char name[MB_COMPONENT_MAX + 32];
		struct mb_piece_name piece;

		if (!take_apart(component->name, trim->blobs[at].name, group.name, &piece))
		{
			trim->blobs[at++].is_needed = true;
			continue;
		}
		while (at < trim->blob_count &&
			   take_apart(component->name, trim->blobs[at].name, name, &piece) &&
			   strcmp(name, group.name) == 0)
		{
			group.pieces.items = mb_grow(group.pieces.items, &group.pieces.cap,
										 group.pieces.count + 1, sizeof(piece));
			group.pieces.items[group.pieces.count++] = piece;
			at++;
		}
		code = judge_group(component, &group, trim, err);
		mb_pieces_release(&group.pieces);
	}
	return code;
}

/* chain.c - see pieces.h: what can be replayed behind an offset without a gap. */
#include <stdlib.h>
#include <string.h>

#include "redis/pieces.h"

static struct mb_chain_span *
last_span(const struct mb_chain *chain)
{
	return &chain->spans[chain->span_count - 1];
}

static void
add_span(struct mb_chain *chain, const char *replid, uint64_t from)
{
	struct mb_chain_span *span;

	chain->spans =
		mb_grow(chain->spans, &chain->span_cap, chain->span_count + 1, sizeof(*chain->spans));
	span = &chain->spans[chain->span_count++];
	memset(span, 0, sizeof(*span));
	strcpy(span->replid, replid);
	span->from = span->to = from;
}

/* All pieces of the last span's history that go on without a gap. */
static void
follow_history(const struct mb_pieces *pieces, struct mb_chain *chain)
{
	struct mb_chain_span *span = last_span(chain);
	size_t i;

	for (i = 0; i < pieces->count; i++)
	{
		const struct mb_piece_name *name = &pieces->items[i];

		if (strcmp(name->replid, span->replid) != 0 || name->end <= span->to)
			continue;
		if (name->start > span->to)
			break;
		chain->items = mb_grow(chain->items, &chain->cap, chain->count + 1, sizeof(*chain->items));
		chain->items[chain->count++] = *name;
		span->to = name->end;
	}
}

/*
 * The start record of the history that follows the last span: it goes on where the span
 * ends, or, after a failover that lost writes, from an offset inside it.
 */
static enum mb_code
next_history(const struct mb_repo *repo, const char *component, const struct mb_pieces *pieces,
			 const struct mb_chain_span *here, struct mb_piece_name *next, bool *found,
			 struct mb_error *err)
{
	struct mb_piece *piece = mb_malloc(sizeof(*piece));
	enum mb_code code = MB_OK;
	size_t i;

	*found = false;
	for (i = 0; !code && i < pieces->count; i++)
	{
		const struct mb_piece_name *name = &pieces->items[i];

		if (name->start != name->end || name->start < here->from || name->start > here->to ||
			strcmp(name->replid, here->replid) == 0 || (*found && name->start <= next->start))
			continue;
		code = mb_piece_head(repo, component, name, piece, err);
		if (code || piece->kind != MB_PIECE_CONTINUE || piece->from_offset != name->start ||
			strcmp(piece->from_replid, here->replid) != 0)
			continue;
		*next = *name;
		*found = true;
	}
	free(piece);
	return code;
}

/* Take what lies behind `offset` off the last span; false when no piece ends there. */
static bool
cut_span(struct mb_chain *chain, uint64_t offset)
{
	struct mb_chain_span *span = last_span(chain);
	size_t count = chain->count, i;
	bool reached = span->from == offset;

	for (i = 0; i < chain->count; i++)
	{
		const struct mb_piece_name *name = &chain->items[i];
		bool ours = strcmp(name->replid, span->replid) == 0;

		reached = reached || (ours && name->end == offset);
		if (ours && name->end > offset && i < count)
			count = i;
	}
	if (!reached)
		return false;
	chain->count = count;
	span->to = offset;
	return true;
}

enum mb_code
mb_chain_follow(const struct mb_repo *repo, const char *component, const struct mb_pieces *pieces,
				const char *replid, uint64_t from, struct mb_chain *chain, struct mb_error *err)
{
	struct mb_chain made = {0};
	enum mb_code code = MB_OK;
	bool more = true;

	add_span(&made, replid, from);
	while (!code && more)
	{
		struct mb_chain_span here;
		struct mb_piece_name next;

		follow_history(pieces, &made);
		here = *last_span(&made);
		code = next_history(repo, component, pieces, &here, &next, &more, err);
		/* Histories cannot go round, but damaged records might say so. */
		more = !code && more && made.span_count <= pieces->count && cut_span(&made, next.start);
		if (more)
			add_span(&made, next.replid, next.start);
	}
	if (code)
		mb_chain_release(&made);
	else
		*chain = made;
	return code;
}

void
mb_chain_release(struct mb_chain *chain)
{
	free(chain->items);
	free(chain->spans);
	memset(chain, 0, sizeof(*chain));
}

bool
mb_chain_holds(const struct mb_chain *chain, const char *replid, uint64_t offset)
{
	size_t i;

	for (i = 0; i < chain->span_count; i++)
		if (strcmp(chain->spans[i].replid, replid) == 0 && chain->spans[i].from <= offset &&
			offset <= chain->spans[i].to)
			return true;
	return false;
}

uint64_t
mb_chain_end(const struct mb_chain *chain)
{
	return last_span(chain)->to;
}

/* The newest point of one piece at or before time_us, if any. */
static void
point_in_piece(const struct mb_piece *piece, int64_t time_us, struct mb_time_offset *point)
{
	size_t i;

	if (piece->since.time_us && piece->since.time_us <= time_us)
		*point = piece->since;
	for (i = 0; i < piece->index_count && piece->index[i].time_us <= time_us; i++)
		*point = piece->index[i];
}

enum mb_code
mb_chain_at_time(const struct mb_repo *repo, const char *component, const struct mb_chain *chain,
				 int64_t time_us, struct mb_time_offset *point, struct mb_error *err)
{
	/*
	 * Every piece says what the newest point before it was ("since"), and these rise along
	 * the chain: the answer is in the last piece whose "since" is not after the time.
	 */
	struct mb_piece *piece = mb_malloc(sizeof(*piece));
	struct mb_time_offset best = {0};
	size_t low = 0, high = chain->count;
	enum mb_code code = MB_OK;

	while (!code && low < high)
	{
		size_t mid = low + (high - low) / 2;

		code = mb_piece_head(repo, component, &chain->items[mid], piece, err);
		if (code)
			break;
		if (piece->since.time_us <= time_us)
		{
			point_in_piece(piece, time_us, &best);
			low = mid + 1;
		}
		else
			high = mid;
	}
	free(piece);
	if (!code)
		*point = best;
	return code;
}

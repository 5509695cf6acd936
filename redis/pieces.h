/*
 * pieces.h - the captured command stream in the repository.
 *
 *     streams/<component>/<replid>/<start, 16 hex digits>-<end, 16 hex digits>
 *
 * A piece holds the bytes (start, end] of the stream of one history (replid), exactly
 * as the server sent them.  Frame 0 is its header as JSON, the frames behind it are
 * the bytes; docs/format.md has every field.  A piece ends where a command ends, but
 * for a command larger than a piece, which is cut anywhere.
 *
 * A piece of no bytes is a *start*: it says why the stream begins here: it is the
 * first, or the history goes on under a new replid (failover, restart), or there is a
 * gap before it.  Nothing is ever spliced over a gap.
 *
 * Pieces may overlap (a put whose answer was lost is repeated with more bytes); both
 * then hold the same bytes, and readers take each offset once.
 */
#ifndef MB_REDIS_PIECES_H
#define MB_REDIS_PIECES_H

#include "core/repo/repo.h"
#include "redis/point.h"

#define MB_PIECE_MAX_BYTES (8u << 20)
#define MB_PIECE_MAX_INDEX 256
#define MB_PIECE_HEADER_MAX (64u << 10)

enum mb_piece_kind
{
	MB_PIECE_DATA,
	MB_PIECE_FIRST,    /* nothing is known before */
	MB_PIECE_CONTINUE, /* goes on from (from_replid, from_offset), where from_offset == start */
	MB_PIECE_GAP       /* what came after (from_replid, from_offset) was not captured */
};

/* The server was at this offset at this time (its own clock); always a possible cut. */
struct mb_time_offset
{
	int64_t time_us;
	uint64_t offset;
};

struct mb_piece_name
{
	char replid[MB_REPLID_TEXT];
	uint64_t start;
	uint64_t end;
};

struct mb_piece
{
	struct mb_piece_name name;
	enum mb_piece_kind kind;
	char from_replid[MB_REPLID_TEXT]; /* CONTINUE and GAP, else "" */
	uint64_t from_offset;
	/* State of the stream where the command that `start` is in begins: start itself, mostly. */
	uint64_t command;
	int64_t db; /* MB_RESP_DB_UNKNOWN when no SELECT was seen yet */
	bool in_multi;
	struct mb_time_offset since; /* the newest point at or before start; time 0: none */
	struct mb_time_offset index[MB_PIECE_MAX_INDEX]; /* in (since, end], ascending */
	size_t index_count;
};

/* MB_EXISTS when the name is taken. */
enum mb_code mb_piece_put(const struct mb_repo *repo, const char *component,
						  const struct mb_piece *piece, const void *data, size_t len,
						  struct mb_error *err) MB_MUST_CHECK;
/* The header; checked against the name. */
enum mb_code mb_piece_head(const struct mb_repo *repo, const char *component,
						   const struct mb_piece_name *name, struct mb_piece *piece,
						   struct mb_error *err) MB_MUST_CHECK;
/* Header and bytes (appended to data): exactly end - start of them. */
enum mb_code mb_piece_get(const struct mb_repo *repo, const char *component,
						  const struct mb_piece_name *name, struct mb_piece *piece,
						  struct mb_buf *data, struct mb_error *err) MB_MUST_CHECK;

/* A name behind "streams/<component>/"; false when it is no piece. */
bool mb_piece_name_parse(const char *rest, struct mb_piece_name *name);

/* -- many pieces --------------------------------------------------------------------------- */

struct mb_pieces
{
	struct mb_piece_name *items; /* by replid, start, end */
	size_t count;
	size_t cap;
	size_t newest; /* index of the one that was put last, by the store's time */
	int64_t newest_us;
};

/* replid NULL: of every history. */
enum mb_code mb_pieces_list(const struct mb_repo *repo, const char *component, const char *replid,
							struct mb_pieces *pieces, struct mb_error *err) MB_MUST_CHECK;
void mb_pieces_release(struct mb_pieces *pieces);
/* The largest end in one history; false when it has no piece. */
bool mb_pieces_end(const struct mb_pieces *pieces, const char *replid, uint64_t *end);

/* Does some piece of this history hold the offset?  Lists only the few names that can. */
enum mb_code mb_pieces_hold(const struct mb_repo *repo, const char *component, const char *replid,
							uint64_t offset, bool *held, struct mb_error *err) MB_MUST_CHECK;

/*
 * What can be replayed behind one offset without a gap, over changes of the replid.  Where
 * a failover lost writes, the chain leaves the old history at the offset from which the new
 * one goes on; what was captured behind it is a dead branch and in no chain.
 */
struct mb_chain_span
{
	char replid[MB_REPLID_TEXT];
	uint64_t from;
	uint64_t to;
};
struct mb_chain
{
	struct mb_piece_name *items; /* in order; each begins at or before the end of the last */
	size_t count;
	size_t cap;
	struct mb_chain_span *spans; /* at least one: {replid, from, from} when nothing follows */
	size_t span_count;
	size_t span_cap;
};
enum mb_code mb_chain_follow(const struct mb_repo *repo, const char *component,
							 const struct mb_pieces *pieces, const char *replid, uint64_t from,
							 struct mb_chain *chain, struct mb_error *err) MB_MUST_CHECK;
void mb_chain_release(struct mb_chain *chain);
bool mb_chain_holds(const struct mb_chain *chain, const char *replid, uint64_t offset);
uint64_t mb_chain_end(const struct mb_chain *chain);
/* The newest indexed point at or before time_us (INT64_MAX: the last one); time 0: none. */
enum mb_code mb_chain_at_time(const struct mb_repo *repo, const char *component,
							  const struct mb_chain *chain, int64_t time_us,
							  struct mb_time_offset *point, struct mb_error *err) MB_MUST_CHECK;

#endif

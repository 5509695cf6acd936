/*
 * component_redis_attach.c - where a stream begins or goes on.
 *
 * Starting (attach):
 *   1. There is a piece of this history (or of the one before a failover, replid2), and
 *      the server's backlog reaches back to its end: PSYNC there.  Asked by INFO first,
 *      because a PSYNC that cannot be served does not fail, it forks a full resync.
 *   2. Otherwise the stream starts here, with a start record that says "first" or "gap".
 *      If the server has a backlog, PSYNC at its present offset gives the stream without
 *      any snapshot.  If it has none (it never had a replica), only a full resync makes
 *      one; its RDB is filtered to nothing (replica.h) and dropped.  A stream never takes
 *      a base: a base is a commit, and commits are made by `mbackup backup`.
 * So a full resync happens once in a server's life, not at each restart of ours.
 *
 * A failover that lost writes: the promoted server went on from an offset that lies
 * before the end of what was captured of the old one.  The stream goes back to there
 * (rewind): what came behind it stays as a dead branch, that no later point contains.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/resync.h"
#include "redis/stream_private.h"

#define SPOOL_LIMIT_BYTES (UINT64_C(4) << 30)

void
mb_redis_detach(struct mb_redis_stream *stream)
{
	mb_spool_stop(stream->spool);
	stream->spool = NULL;
	mb_redis_close(stream->control);
	stream->control = NULL;
	mb_buf_reset(&stream->pending);
	stream->index_count = 0;
}

/* -- attaching --------------------------------------------------------------------------------- */

/* What attach found out and decided. */
struct attach
{
	struct mb_redis_point point;
	struct mb_pieces pieces;
	bool resume;
	char replid[MB_REPLID_TEXT]; /* resume this history ... */
	uint64_t offset;             /* ... behind this offset */
	uint64_t lost;               /* so many captured bytes behind it are a dead branch */
};

/* Do the pieces hold this offset of a history? */
static bool
is_captured(const struct mb_pieces *pieces, const char *replid, uint64_t offset)
{
	size_t i;

	for (i = 0; i < pieces->count; i++)
		if (strcmp(pieces->items[i].replid, replid) == 0 && pieces->items[i].start <= offset &&
			offset <= pieces->items[i].end)
			return true;
	return false;
}

/* Is there something to go on from, and can the server serve it? */
static void
find_resume(struct attach *at)
{
	const struct mb_redis_point *point = &at->point;
	const char *histories[] = {point->replid, point->replid2};
	size_t i;

	for (i = 0; i < 2 && !at->resume; i++)
	{
		uint64_t end, from;

		if (!histories[i][0] || !mb_pieces_end(&at->pieces, histories[i], &end))
			continue;
		/* The promoted server had not received all that we have. */
		from = i == 1 && end > point->until ? point->until : end;
		at->resume = mb_redis_point_serves(point, histories[i], from) &&
					 is_captured(&at->pieces, histories[i], from);
		strcpy(at->replid, histories[i]);
		at->offset = from;
		at->lost = end - from;
	}
}

/* The piece to learn the state at at->offset from: the one that holds it and starts last. */
static const struct mb_piece_name *
last_piece(const struct attach *at)
{
	const struct mb_piece_name *last = NULL, *items = at->pieces.items;
	size_t i;

	for (i = 0; i < at->pieces.count; i++)
		if (strcmp(items[i].replid, at->replid) == 0 && items[i].start <= at->offset &&
			at->offset <= items[i].end)
			last = &items[i];
	MB_ASSERT(last);
	return last;
}

/* The newest point of a piece that is not behind an offset. */
static struct mb_time_offset
newest_point(const struct mb_piece *piece, uint64_t offset)
{
	struct mb_time_offset newest = piece->since;
	size_t i;

	for (i = 0; i < piece->index_count && piece->index[i].offset <= offset; i++)
		newest = piece->index[i];
	return newest;
}

/* Bring the scanner to at->offset by reading what it needs of the stored bytes. */
static enum mb_code
restore_state(struct mb_redis_stream *stream, const struct attach *at, struct mb_error *err)
{
	struct mb_piece *piece = mb_malloc(sizeof(*piece));
	const struct mb_piece_name *items = at->pieces.items;
	struct mb_buf data = {0};
	enum mb_code code;
	size_t i;

	code = mb_piece_head(stream->repo, stream->component, last_piece(at), piece, err);
	if (code)
		goto done;
	/* A command that began pieces ago: start there. */
	mb_resp_init(&stream->resp, piece->command, piece->db, piece->in_multi);
	stream->since = newest_point(piece, at->offset);
	for (i = 0; !code && i < at->pieces.count && stream->resp.offset < at->offset; i++)
	{
		uint64_t pos = stream->resp.offset;
		uint64_t upto = items[i].end < at->offset ? items[i].end : at->offset;

		if (strcmp(items[i].replid, at->replid) != 0 || items[i].start > pos || items[i].end <= pos)
			continue;
		mb_buf_reset(&data);
		code = mb_piece_get(stream->repo, stream->component, &items[i], piece, &data, err);
		if (!code)
			code = mb_resp_feed(&stream->resp, data.data + (pos - items[i].start),
								(size_t) (upto - pos), err);
	}
	if (!code && stream->resp.offset != at->offset)
		code = mb_fail(err, MB_CORRUPT, "the stored stream has a hole before offset %" PRIu64,
					   at->offset);
done:
	free(piece);
	mb_buf_release(&data);
	return code;
}

/*
 * Rewind: a piece of the old history must end where the new one begins (pieces.h, chain), so
 * the one that holds that offset is stored once more, cut there.
 */
static enum mb_code
cut_branch(struct mb_redis_stream *stream, const struct attach *at, struct mb_error *err)
{
	struct mb_piece_name name = *last_piece(at);
	struct mb_piece *piece;
	struct mb_buf data = {0};
	enum mb_code code;

	if (name.end == at->offset || name.start == at->offset)
		return MB_OK;
	piece = mb_malloc(sizeof(*piece));
	code = mb_piece_get(stream->repo, stream->component, &name, piece, &data, err);
	if (!code)
	{
		piece->name.end = at->offset;
		while (piece->index_count > 0 && piece->index[piece->index_count - 1].offset > at->offset)
			piece->index_count--;
		code = mb_piece_put(stream->repo, stream->component, piece, data.data,
							(size_t) (at->offset - name.start), err);
		code = code == MB_EXISTS ? MB_OK : code;
	}
	free(piece);
	mb_buf_release(&data);
	return code;
}

static enum mb_code
skip_rdb(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	(void) ctx, (void) data, (void) len, (void) err;
	return MB_OK;
}

/* Put the record that says why the stream begins here. */
static enum mb_code
put_start(struct mb_redis_stream *stream, const struct attach *at, enum mb_piece_kind kind,
		  const struct mb_replica_start *start, struct mb_error *err)
{
	struct mb_piece *piece = mb_calloc(1, sizeof(*piece));
	enum mb_code code;

	strcpy(piece->name.replid, start->replid);
	piece->name.start = piece->name.end = piece->command = start->offset;
	piece->kind = kind;
	piece->db = stream->resp.db;
	piece->in_multi = stream->resp.in_multi;
	piece->command = stream->resp.command;
	piece->since = stream->since;
	if (kind == MB_PIECE_CONTINUE)
	{
		strcpy(piece->from_replid, at->replid);
		piece->from_offset = at->offset;
	}
	else if (kind == MB_PIECE_GAP)
	{
		const struct mb_piece_name *newest = &at->pieces.items[at->pieces.newest];

		strcpy(piece->from_replid, newest->replid);
		piece->from_offset = newest->end;
	}
	code = mb_piece_put(stream->repo, stream->component, piece, "", 0, err);
	free(piece);
	/* Taken: we came by here before and captured nothing since. */
	return code == MB_EXISTS ? MB_OK : code;
}

static enum mb_code
begin_fresh(struct mb_redis_stream *stream, const struct attach *at,
			const struct mb_replica_start *start, struct mb_error *err)
{
	const struct mb_log *log = stream->redis->base.env->log;
	bool gap = at->pieces.count > 0;
	enum mb_code code;

	/* Without a full resync no SELECT is repeated: the database is not known yet. */
	mb_resp_init(&stream->resp, start->offset, MB_RESP_DB_UNKNOWN, false);
	stream->since = (struct mb_time_offset){0};
	if (!start->full)
		stream->since = (struct mb_time_offset){at->point.time_us, at->point.offset};
	code = put_start(stream, at, gap ? MB_PIECE_GAP : MB_PIECE_FIRST, start, err);
	if (code)
		return code;
	if (gap)
		mb_log_warning(log,
					   "%s: the commands between the last captured one and offset %" PRIu64
					   " are lost to the stream; take a backup to be able to restore to now",
					   stream->component, start->offset);
	else
		mb_log_info(log, "%s: the stream starts at offset %" PRIu64 " of %s", stream->component,
					start->offset, start->replid);
	return MB_OK;
}

/* Which process of the server this is. */
static enum mb_code
read_run_id(struct mb_redis_stream *stream, char run_id[64], struct mb_error *err)
{
	struct mb_redis_reply reply = {0};

	if (MB_REDIS_CALL(stream->control, &reply, err, "INFO", "server"))
		return mb_error_context(err, "could not read the server's run id");
	*run_id = '\0';
	if (reply.type == MB_REDIS_STRING)
		mb_redis_info_field(reply.text, "run_id", run_id, 64);
	mb_redis_reply_release(&reply);
	return MB_OK;
}

/*
 * The server begins a full resync instead of +CONTINUE: it has forked.  Taken when the rule allows
 * one, else refused, and the next PSYNC waits (resync.h).
 */
static enum mb_code
allow_unasked(struct mb_redis_stream *stream, const struct attach *at, const char *run_id,
			  struct mb_error *err)
{
	const struct mb_env *env = stream->redis->base.env;
	enum mb_code code;

	mb_log_warning(env->log,
				   "%s: the server began a full resync that was not asked for: its backlog "
				   "(repl-backlog-size, %" PRIu64 " bytes) did not last from question to answer",
				   stream->component, at->point.backlog_size);
	code = mb_resync_check(env->spool, stream->component, run_id, mb_time_now_us(), err);
	if (code == MB_UNREACHABLE && mb_resync_refuse(env->spool, stream->component, run_id,
												   mb_time_now_us(), at->point.backlog_size, err))
		return err->code;
	return code;
}

/*
 * PSYNC, and the RDB when there is one.  A full resync that nobody asked for is limited
 * (resync.h), also one that the server begins instead of +CONTINUE.
 */
static enum mb_code
open_replica(struct mb_redis_stream *stream, const struct attach *at,
			 const struct mb_replica_options *options, struct mb_replica **replica,
			 struct mb_replica_start *start, struct mb_error *err)
{
	const char *spool = stream->redis->base.env->spool, *name = stream->component;
	bool full = !options->replid;
	enum mb_code code;
	char run_id[64];

	code = read_run_id(stream, run_id, err);
	if (!code && full)
		code = mb_resync_check(spool, name, run_id, mb_time_now_us(), err);
	else if (!code)
		code = mb_resync_check_psync(spool, name, run_id, mb_time_now_us(), at->point.backlog_size,
									 err);
	if (!code && full)
		code = mb_resync_note(spool, name, run_id, mb_time_now_us(), MB_RESYNC_BEGUN, err);
	if (!code)
		code = mb_replica_open(replica, options, start, err);
	if (code || !start->full)
		return code;
	if (!full)
		code = allow_unasked(stream, at, run_id, err);
	if (!code && !full)
		code = mb_resync_note(spool, name, run_id, mb_time_now_us(), MB_RESYNC_BEGUN, err);
	if (!code)
		code = mb_replica_rdb(*replica, skip_rdb, NULL, err);
	if (!code)
		code = mb_resync_note(spool, name, run_id, mb_time_now_us(), MB_RESYNC_COMPLETE, err);
	return code;
}

/* PSYNC as decided; then the state that belongs to what the server answered. */
static enum mb_code
synchronize(struct mb_redis_stream *stream, const struct attach *at, struct mb_replica **replica,
			struct mb_replica_start *start, struct mb_error *err)
{
	/* The server that `at` speaks of, not the one that a sentinel would name by now. */
	struct mb_redis_options redis = stream->redis->options;
	struct mb_replica_options options = {.redis = &redis, .no_data = true};
	const struct mb_log *log = stream->redis->base.env->log;
	enum mb_code code;

	redis.url = mb_redis_where(stream->control);
	if (at->resume || at->point.backlog)
	{
		options.replid = at->resume ? at->replid : at->point.replid;
		options.offset = at->resume ? at->offset : at->point.offset;
	}
	code = open_replica(stream, at, &options, replica, start, err);
	if (!code && (start->full || !at->resume))
		return begin_fresh(stream, at, start, err);
	if (!code)
		code = restore_state(stream, at, err);
	if (!code && at->lost > 0)
		code = cut_branch(stream, at, err);
	if (!code && strcmp(start->replid, at->replid) != 0)
		code = put_start(stream, at, MB_PIECE_CONTINUE, start, err);
	if (code)
		return code;
	if (at->lost > 0)
		mb_log_warning(log,
					   "%s: the failover lost the last %" PRIu64
					   " captured bytes of commands: the server goes on from offset %" PRIu64,
					   stream->component, at->lost, at->offset);
	mb_log_info(log, "%s: the stream goes on at offset %" PRIu64 " of %s, Redis at %s",
				stream->component, start->offset, start->replid, mb_redis_name(stream->control));
	return MB_OK;
}

enum mb_code
mb_redis_attach(struct mb_redis_stream *stream, struct mb_error *err)
{
	struct attach at = {0};
	struct mb_replica *replica = NULL;
	struct mb_replica_start start;
	const struct mb_spool_options spool = {.dir = stream->redis->base.env->spool,
										   .limit_bytes = SPOOL_LIMIT_BYTES};
	enum mb_code code;

	mb_redis_detach(stream);
	code = mb_redis_connect(&stream->control, &stream->redis->options, err);
	if (!code)
		code = mb_redis_point_read(stream->control, &at.point, err);
	if (!code && at.point.is_replica && !at.point.link_up)
		code = mb_fail(err, MB_UNREACHABLE, "the replica has lost its master");
	if (!code)
		code = mb_pieces_list(stream->repo, stream->component, NULL, &at.pieces, err);
	if (!code)
	{
		find_resume(&at);
		code = synchronize(stream, &at, &replica, &start, err);
	}
	mb_pieces_release(&at.pieces);
	if (!code)
	{
		strcpy(stream->replid, start.replid);
		stream->durable = start.offset;
		stream->command = stream->resp.command;
		stream->db = stream->resp.db;
		stream->in_multi = stream->resp.in_multi;
		stream->next_index_ms = stream->next_flush_ms = 0;
		code = mb_spool_start(&stream->spool, replica, start.offset, &spool, err);
	}
	if (code)
		mb_replica_close(replica);
	return code;
}

/*
 * component_redis_stream.c - continuous capture into pieces.
 *
 * The only state is the repository: a stream goes on behind the last piece of the
 * server's history.  A local state file was rejected: it could claim what the
 * repository does not have.
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
 * The spool thread (spool.h) reads; this thread cuts pieces, puts them, and only then
 * lets the spool acknowledge.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "redis/component_private.h"
#include "redis/pieces.h"
#include "redis/resp.h"

#define FLUSH_MS 1000
#define INDEX_MS 1000
#define LOOP_MS 50
#define READ_BYTES (1u << 20)
#define SPOOL_LIMIT_BYTES (UINT64_C(4) << 30)
#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000

struct stream
{
	struct mb_redis_component *redis;
	const struct mb_repo *repo;
	const char *component;
	struct mb_redis *control;
	struct mb_spool *spool;
	char replid[MB_REPLID_TEXT];
	struct mb_resp resp;   /* fed up to resp.offset */
	struct mb_buf pending; /* bytes (durable, resp.offset] */
	uint64_t durable;      /* in the repository up to here */
	/* State at `durable`, for the header of the next piece. */
	uint64_t command;
	int64_t db;
	bool in_multi;
	struct mb_time_offset since;
	struct mb_time_offset index[MB_PIECE_MAX_INDEX];
	size_t index_count;
	int64_t next_index_ms;
	int64_t next_flush_ms;
	/* A time-out must not hide a cancel: the spool has its own. */
	int64_t backoff_ms;
};

static void
detach(struct stream *stream)
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
};

/* Is there something to go on from, and can the server serve it? */
static void
find_resume(struct attach *at)
{
	const char *histories[] = {at->point.replid, at->point.replid2};
	size_t i;

	for (i = 0; i < 2 && !at->resume; i++)
	{
		uint64_t end;

		if (!histories[i][0] || !mb_pieces_end(&at->pieces, histories[i], &end))
			continue;
		at->resume = mb_redis_point_serves(&at->point, histories[i], end);
		strcpy(at->replid, histories[i]);
		at->offset = end;
	}
}

/* Bring the scanner to the end of the last piece by reading what it needs of the stored bytes. */
static enum mb_code
restore_state(struct stream *stream, const struct attach *at, struct mb_error *err)
{
	struct mb_piece *piece = mb_malloc(sizeof(*piece));
	const struct mb_piece_name *last = NULL, *items = at->pieces.items;
	struct mb_buf data = {0};
	enum mb_code code;
	uint64_t from;
	size_t i;

	for (i = 0; i < at->pieces.count; i++)
		if (strcmp(items[i].replid, at->replid) == 0 && items[i].end == at->offset)
			last = &items[i];
	MB_ASSERT(last);
	code = mb_piece_head(stream->repo, stream->component, last, piece, err);
	if (code)
		goto done;
	/* A command that began pieces ago: start there. */
	from = piece->command;
	mb_resp_init(&stream->resp, from, piece->db, piece->in_multi);
	stream->since = piece->index_count ? piece->index[piece->index_count - 1] : piece->since;
	for (i = 0; !code && i < at->pieces.count; i++)
	{
		uint64_t pos = stream->resp.offset;

		if (strcmp(items[i].replid, at->replid) != 0 || items[i].start > pos || items[i].end <= pos)
			continue;
		mb_buf_reset(&data);
		code = mb_piece_get(stream->repo, stream->component, &items[i], piece, &data, err);
		if (!code)
			code = mb_resp_feed(&stream->resp, data.data + (pos - items[i].start),
								(size_t) (items[i].end - pos), err);
	}
	if (!code && stream->resp.offset != at->offset)
		code = mb_fail(err, MB_CORRUPT, "the stored stream has a hole before offset %" PRIu64,
					   at->offset);
done:
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
put_start(struct stream *stream, const struct attach *at, enum mb_piece_kind kind,
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
begin_fresh(struct stream *stream, const struct attach *at, const struct mb_replica_start *start,
			struct mb_error *err)
{
	const struct mb_log *log = stream->redis->base.env->log;
	bool gap = at->pieces.count > 0;

	/* Without a full resync no SELECT is repeated: the database is not known yet. */
	mb_resp_init(&stream->resp, start->offset, MB_RESP_DB_UNKNOWN, false);
	stream->since = (struct mb_time_offset){0};
	if (!start->full)
		stream->since = (struct mb_time_offset){at->point.time_us, at->point.offset};
	if (gap)
		mb_log_warning(log,
					   "%s: the commands between the last captured one and offset %" PRIu64
					   " are lost to the stream; take a backup to be able to restore to now",
					   stream->component, start->offset);
	else
		mb_log_info(log, "%s: the stream starts at offset %" PRIu64 " of %s", stream->component,
					start->offset, start->replid);
	return put_start(stream, at, gap ? MB_PIECE_GAP : MB_PIECE_FIRST, start, err);
}

/* PSYNC as decided; then the state that belongs to what the server answered. */
static enum mb_code
synchronize(struct stream *stream, const struct attach *at, struct mb_replica **replica,
			struct mb_replica_start *start, struct mb_error *err)
{
	struct mb_replica_options options = {.redis = &stream->redis->options, .no_data = true};
	enum mb_code code;

	if (at->resume || at->point.backlog)
	{
		options.replid = at->resume ? at->replid : at->point.replid;
		options.offset = at->resume ? at->offset : at->point.offset;
	}
	code = mb_replica_open(replica, &options, start, err);
	if (code)
		return code;
	if (start->full)
		code = mb_replica_rdb(*replica, skip_rdb, NULL, err);
	if (!code && (start->full || !at->resume))
		return begin_fresh(stream, at, start, err);
	if (!code)
		code = restore_state(stream, at, err);
	if (!code && strcmp(start->replid, at->replid) != 0)
		code = put_start(stream, at, MB_PIECE_CONTINUE, start, err);
	if (!code)
		mb_log_info(stream->redis->base.env->log,
					"%s: the stream goes on at offset %" PRIu64 " of %s", stream->component,
					start->offset, start->replid);
	return code;
}

static enum mb_code
attach(struct stream *stream, struct mb_error *err)
{
	struct attach at = {0};
	struct mb_replica *replica = NULL;
	struct mb_replica_start start;
	enum mb_code code;

	detach(stream);
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
		code = mb_spool_start(&stream->spool, replica, start.offset, stream->redis->base.env->spool,
							  SPOOL_LIMIT_BYTES, err);
	}
	if (code)
		mb_replica_close(replica);
	return code;
}

/* -- capturing ---------------------------------------------------------------------------------- */

/* One (time, offset) of now.  A failure only costs the point. */
static void
take_index(struct stream *stream)
{
	struct mb_redis_point point;
	struct mb_error err;

	stream->next_index_ms = mb_monotonic_ms() + INDEX_MS;
	mb_error_clear(&err);
	if (!stream->control && mb_redis_connect(&stream->control, &stream->redis->options, &err))
		return;
	if (mb_redis_point_read(stream->control, &point, &err))
	{
		mb_redis_close(stream->control);
		stream->control = NULL;
		return;
	}
	if (strcmp(point.replid, stream->replid) != 0 || point.offset < stream->durable)
		return;
	if (point.offset == stream->durable)
		stream->since = (struct mb_time_offset){point.time_us, point.offset};
	else if (stream->index_count < MB_PIECE_MAX_INDEX)
		stream->index[stream->index_count++] = (struct mb_time_offset){point.time_us, point.offset};
}

/* Move what the spool has received through the scanner, at most to a full piece. */
static enum mb_code
scan(struct stream *stream, struct mb_error *err)
{
	while (stream->pending.len < MB_PIECE_MAX_BYTES)
	{
		uint64_t at = stream->resp.offset, have = mb_spool_received(stream->spool) - at;
		size_t room = MB_PIECE_MAX_BYTES - stream->pending.len;
		size_t n = have < room ? (size_t) have : room;

		n = n < READ_BYTES ? n : READ_BYTES;
		if (n == 0)
			break;
		if (mb_spool_read(stream->spool, at, n, &stream->pending, err) ||
			mb_resp_feed(&stream->resp, stream->pending.data + stream->pending.len - n, n, err))
			return err->code;
	}
	return MB_OK;
}

/* The points that lie in (since, end] go into the piece; the others wait. */
static void
move_index(struct stream *stream, struct mb_piece *piece)
{
	while (piece->index_count < stream->index_count &&
		   stream->index[piece->index_count].offset <= piece->name.end)
	{
		piece->index[piece->index_count] = stream->index[piece->index_count];
		piece->index_count++;
	}
}

/* A name that is taken: an earlier put whose answer was lost.  Its bytes must be ours. */
static enum mb_code
same_as_stored(struct stream *stream, const struct mb_piece *piece, struct mb_error *err)
{
	struct mb_piece *stored = mb_malloc(sizeof(*stored));
	struct mb_buf data = {0};
	enum mb_code code;

	code = mb_piece_get(stream->repo, stream->component, &piece->name, stored, &data, err);
	if (!code && memcmp(data.data, stream->pending.data, data.len) != 0)
		code = mb_fail(err, MB_CONFLICT,
					   "offset %" PRIu64 " of %s is in the repository with other bytes",
					   piece->name.start, piece->name.replid);
	mb_buf_release(&data);
	free(stored);
	return code;
}

/* The first `len` pending bytes are in the repository. */
static void
advance(struct stream *stream, const struct mb_piece *piece, size_t len)
{
	size_t taken = piece->index_count;

	memmove(stream->pending.data, stream->pending.data + len, stream->pending.len - len);
	stream->pending.len -= len;
	stream->durable = piece->name.end;
	if (taken > 0)
		stream->since = piece->index[taken - 1];
	stream->index_count -= taken;
	memmove(stream->index, stream->index + taken, stream->index_count * sizeof(*stream->index));
	/* The scanner is at or behind the end: at a command's end unless the piece was cut by size. */
	stream->command = stream->resp.command;
	stream->db = stream->resp.db;
	stream->in_multi = stream->resp.in_multi;
	mb_spool_durable(stream->spool, stream->durable);
}

/* Put one piece up to the end of the last whole command, or a full one out of a giant. */
static enum mb_code
flush(struct stream *stream, struct mb_error *err)
{
	bool giant =
		stream->resp.command <= stream->durable && stream->pending.len >= MB_PIECE_MAX_BYTES;
	uint64_t end = giant ? stream->resp.offset : stream->resp.command;
	struct mb_piece *piece;
	enum mb_code code;
	size_t len;

	stream->next_flush_ms = mb_monotonic_ms() + FLUSH_MS;
	if (end <= stream->durable)
		return MB_OK;
	len = (size_t) (end - stream->durable);
	piece = mb_calloc(1, sizeof(*piece));
	strcpy(piece->name.replid, stream->replid);
	piece->name.start = stream->durable;
	piece->name.end = end;
	piece->command = stream->command;
	piece->db = stream->db;
	piece->in_multi = stream->in_multi;
	piece->since = stream->since;
	move_index(stream, piece);
	code = mb_piece_put(stream->repo, stream->component, piece, stream->pending.data, len, err);
	if (code == MB_EXISTS)
		code = same_as_stored(stream, piece, err);
	if (!code)
		advance(stream, piece, len);
	free(piece);
	return code;
}

/* One turn: index, scan, flush when due or full.  *idle is true when there was nothing to do. */
static enum mb_code
turn(struct stream *stream, bool *idle, struct mb_error *err)
{
	uint64_t before = stream->resp.offset;
	int64_t now = mb_monotonic_ms();
	enum mb_code code;

	if (now >= stream->next_index_ms)
		take_index(stream);
	code = scan(stream, err);
	if (!code && (now >= stream->next_flush_ms || stream->pending.len >= MB_PIECE_MAX_BYTES))
		code = flush(stream, err);
	*idle = stream->resp.offset == before;
	return code;
}

/* The connection is gone: everything that was received still goes to the repository. */
static enum mb_code
drain(struct stream *stream, struct mb_error *err)
{
	uint64_t before;
	enum mb_code code;

	do
	{
		before = stream->durable;
		code = scan(stream, err);
		if (!code)
			code = flush(stream, err);
	} while (!code && stream->durable != before);
	return code;
}

/* -- staying alive --------------------------------------------------------------------------------- */

static bool
passes(enum mb_code code)
{
	return code == MB_UNREACHABLE || code == MB_NO_SPACE || code == MB_IO;
}

static void
back_off(struct stream *stream, const struct mb_error *err)
{
	const struct mb_env *env = stream->redis->base.env;
	int64_t end;

	if (stream->backoff_ms == 0)
		mb_log_warning(env->log, "%s: %s; trying again", stream->component, err->message);
	stream->backoff_ms = stream->backoff_ms ? stream->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (stream->backoff_ms > BACKOFF_MAX_MS)
		stream->backoff_ms = BACKOFF_MAX_MS;
	end = mb_monotonic_ms() + stream->backoff_ms;
	while (!mb_cancelled(env->cancel) && mb_monotonic_ms() < end)
		mb_sleep_ms(LOOP_MS);
}

/* Until the connection breaks (MB_OK: attach again), or something does not pass. */
static enum mb_code
capture(struct stream *stream, struct mb_error *err)
{
	const struct mb_cancel *cancel = stream->redis->base.env->cancel;
	struct mb_error lost;
	enum mb_code code;
	bool idle;

	while (!mb_cancelled(cancel))
	{
		/* Asked before the turn, so that a turn sees all that was received before the end. */
		enum mb_code ended = mb_spool_state(stream->spool, &lost);

		code = ended ? drain(stream, err) : turn(stream, &idle, err);
		if (code && !passes(code))
			return code;
		if (code)
			back_off(stream, err); /* the repository: the spool waits for it */
		else if (ended && !passes(ended) && ended != MB_INTERRUPTED)
		{
			*err = lost;
			return ended;
		}
		else if (ended)
		{
			mb_log_warning(stream->redis->base.env->log, "%s: %s; reconnecting", stream->component,
						   lost.message);
			return MB_OK;
		}
		else
		{
			stream->backoff_ms = 0;
			if (idle)
				mb_sleep_ms(LOOP_MS);
		}
	}
	return drain(stream, err);
}

static enum mb_code
run_stream(struct stream *stream, struct mb_error *err)
{
	const struct mb_env *env = stream->redis->base.env;
	struct mb_progress *progress = mb_env_progress(env, stream->component);
	enum mb_code code = MB_OK;

	while (!code && !mb_cancelled(env->cancel))
	{
		mb_progress_phase(progress, "connecting");
		code = attach(stream, err);
		if (!code)
		{
			mb_progress_phase(progress, "streaming");
			code = capture(stream, err);
		}
		else if (passes(code))
		{
			back_off(stream, err);
			code = MB_OK;
		}
	}
	detach(stream);
	return code == MB_INTERRUPTED ? MB_OK : code;
}

enum mb_code
mb_redis_stream(struct mb_component *component, struct mb_error *err)
{
	struct stream *stream;
	char *lock_path = mb_asprintf("%s/redis-%s.lock", component->env->spool, component->name);
	enum mb_code code;
	int lock_fd;

	code = mb_lock_file(&lock_fd, lock_path, err);
	free(lock_path);
	if (code)
		return mb_error_context(err, "another stream of \"%s\" is running here", component->name);
	stream = mb_calloc(1, sizeof(*stream));
	stream->redis = mb_redis_of(component);
	stream->repo = component->env->repo;
	stream->component = component->name;
	code = run_stream(stream, err);
	mb_buf_release(&stream->pending);
	free(stream);
	close(lock_fd);
	return code;
}

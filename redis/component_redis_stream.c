/*
 * component_redis_stream.c - continuous capture into pieces.
 *
 * The only state is the repository: a stream goes on behind the last piece of the
 * server's history.  A local state file was rejected: it could claim what the
 * repository does not have.
 *
 * The spool thread (spool.h) reads; this thread cuts pieces, puts them, and only then
 * lets the spool acknowledge.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "redis/stream_private.h"

#define FLUSH_MS 1000
#define INDEX_MS 1000
#define LOOP_MS 50
#define READ_BYTES (1u << 20)
#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000

/* -- capturing ---------------------------------------------------------------------------------- */

/* One (time, offset) of now.  A failure only costs the point. */
static void
take_index(struct mb_redis_stream *stream)
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
scan(struct mb_redis_stream *stream, struct mb_error *err)
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
move_index(struct mb_redis_stream *stream, struct mb_piece *piece)
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
same_as_stored(struct mb_redis_stream *stream, const struct mb_piece *piece, struct mb_error *err)
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
advance(struct mb_redis_stream *stream, const struct mb_piece *piece, size_t len)
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
flush(struct mb_redis_stream *stream, struct mb_error *err)
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
turn(struct mb_redis_stream *stream, bool *idle, struct mb_error *err)
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
drain(struct mb_redis_stream *stream, struct mb_error *err)
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
back_off(struct mb_redis_stream *stream, const struct mb_error *err)
{
	const struct mb_env *env = stream->redis->base.env;
	int64_t end;

	/* Once, but a reason that is not the one before is news. */
	if (stream->backoff_ms == 0 || strcmp(stream->said, err->message) != 0)
		mb_log_warning(env->log, "%s: %s; trying again", stream->component, err->message);
	snprintf(stream->said, sizeof(stream->said), "%s", err->message);
	stream->backoff_ms = stream->backoff_ms ? stream->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (stream->backoff_ms > BACKOFF_MAX_MS)
		stream->backoff_ms = BACKOFF_MAX_MS;
	end = mb_monotonic_ms() + stream->backoff_ms;
	while (!mb_cancelled(env->cancel) && mb_monotonic_ms() < end)
		mb_sleep_ms(LOOP_MS);
}

/* Until the connection breaks (MB_OK: attach again), or something does not pass. */
static enum mb_code
capture(struct mb_redis_stream *stream, struct mb_error *err)
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
run_stream(struct mb_redis_stream *stream, struct mb_error *err)
{
	const struct mb_env *env = stream->redis->base.env;
	struct mb_progress *progress = mb_env_progress(env, stream->component);
	enum mb_code code = MB_OK;

	while (!code && !mb_cancelled(env->cancel))
	{
		mb_progress_phase(progress, "connecting");
		code = mb_redis_attach(stream, err);
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
	mb_redis_detach(stream);
	return code == MB_INTERRUPTED ? MB_OK : code;
}

enum mb_code
mb_redis_stream(struct mb_component *component, struct mb_error *err)
{
	struct mb_redis_stream *stream;
	char *lock_path = mb_redis_spool_path(mb_redis_of(component), ".lock");
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

/*
 * listener.c - the thread behind journal.h that hears what MinIO tells.
 *
 * It does nothing but read, because a reader that sleeps loses events without a sign.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "objectstore/journal.h"

/* More is cheaper to find by listing the bucket. */
#define EVENTS_MAX 100000
#define LINE_MAX_BYTES (1u << 20)
#define POLL_MS 200
#define SILENCE_MS 5000
#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 30000

struct mb_listener
{
	struct mb_s3 *s3;
	const char *bucket;
	const char *prefix;
	const struct mb_log *log;
	const struct mb_cancel *cancel;
	struct mb_s3_lane *lane;
	struct mb_s3_op op;
	struct mb_buf line; /* the one that is coming in */
	bool skips_line;    /* too long: up to its end */
	bool is_over;       /* the op has ended */
	pthread_t thread;

	pthread_mutex_t lock; /* of all below */
	struct mb_events events;
	int64_t heard_ms; /* when the last byte came; 0: none of this connection */
	bool has_gap;
	bool stops;
	struct mb_error why; /* code MB_OK: it goes on */
};

/* -- what comes in --------------------------------------------------------------------------------------- */

/* Whatever was heard so far is of no use when something is missing. */
static void
note_gap(struct mb_listener *listener)
{
	listener->has_gap = true;
	mb_events_release(&listener->events);
}

static bool
hears(const struct mb_listener *listener)
{
	return listener->heard_ms && mb_monotonic_ms() - listener->heard_ms < SILENCE_MS;
}

static void
take_line(struct mb_listener *listener)
{
	struct mb_error err;
	size_t i = 0;

	/* Between events the server sends spaces, to see whether we are there. */
	while (i < listener->line.len &&
		   (listener->line.data[i] == ' ' || listener->line.data[i] == '\r'))
		i++;
	if (i == listener->line.len)
		return;
	pthread_mutex_lock(&listener->lock);
	if (mb_events_parse(&listener->events, listener->line.data + i, listener->line.len - i, 0,
						listener->bucket, listener->prefix, 0, &err) ||
		listener->events.count > EVENTS_MAX)
		note_gap(listener);
	pthread_mutex_unlock(&listener->lock);
}

static enum mb_code
take_bytes(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct mb_listener *listener = ctx;
	const char *p = data;

	(void) err;
	pthread_mutex_lock(&listener->lock);
	/* After a silence: what came in it may come now, or never. */
	if (!hears(listener))
		listener->has_gap = true;
	listener->heard_ms = mb_monotonic_ms();
	pthread_mutex_unlock(&listener->lock);
	while (len > 0)
	{
		const char *end = memchr(p, '\n', len);
		size_t take = end ? (size_t) (end - p) : len;

		if (listener->line.len + take > LINE_MAX_BYTES)
		{
			listener->skips_line = true;
			pthread_mutex_lock(&listener->lock);
			note_gap(listener);
			pthread_mutex_unlock(&listener->lock);
		}
		if (!listener->skips_line)
			mb_buf_put(&listener->line, p, take);
		if (end)
		{
			if (!listener->skips_line)
				take_line(listener);
			listener->skips_line = false;
			mb_buf_reset(&listener->line);
			take++;
		}
		p += take;
		len -= take;
	}
	return MB_OK;
}

/* -- the thread --------------------------------------------------------------------------------------------- */

static void
note_over(struct mb_s3_op *op)
{
	((struct mb_listener *) op->ctx)->is_over = true;
}

static bool
wants_to_stop(struct mb_listener *listener)
{
	bool stops;

	pthread_mutex_lock(&listener->lock);
	stops = listener->stops || mb_cancelled(listener->cancel);
	pthread_mutex_unlock(&listener->lock);
	return stops;
}

/* One connection, from its start until it ends. */
static void
listen_once(struct mb_listener *listener)
{
	struct mb_s3_op *op = &listener->op;
	struct mb_error err;

	mb_s3_op_release(op);
	*op = (struct mb_s3_op){.method = "GET",
							.bucket = listener->bucket,
							.flags = MB_S3_ENDLESS | MB_S3_ONCE,
							.sink = take_bytes,
							.sink_ctx = listener,
							.done = note_over,
							.ctx = listener};
	mb_s3_op_query(op, "events", "s3:ObjectCreated:*");
	mb_s3_op_query(op, "events", "s3:ObjectRemoved:*");
	if (listener->prefix[0])
		mb_s3_op_query(op, "prefix", listener->prefix);
	listener->is_over = false;
	mb_buf_reset(&listener->line);
	mb_s3_start(listener->lane, op);
	while (!listener->is_over && !wants_to_stop(listener))
		if (mb_s3_poll(listener->lane, POLL_MS, &err))
			break;
	mb_s3_drop(listener->lane);
}

/* A refusal will not pass; anything else may. */
static bool
is_final(const struct mb_s3_op *op)
{
	return op->code == MB_DENIED || op->code == MB_UNSUPPORTED || op->code == MB_NOT_FOUND ||
		   op->code == MB_CONFIG;
}

static void *
listener_main(void *arg)
{
	struct mb_listener *listener = arg;
	int64_t pause_ms = RETRY_FIRST_MS;

	while (!wants_to_stop(listener))
	{
		int64_t began_ms = mb_monotonic_ms();
		int64_t until_ms;

		listen_once(listener);
		pthread_mutex_lock(&listener->lock);
		listener->heard_ms = 0;
		note_gap(listener);
		if (listener->is_over && listener->op.code && is_final(&listener->op))
			listener->why = listener->op.err;
		pthread_mutex_unlock(&listener->lock);
		if (listener->why.code)
			break;
		if (mb_monotonic_ms() - began_ms > RETRY_MAX_MS)
			pause_ms = RETRY_FIRST_MS;
		else if (pause_ms < RETRY_MAX_MS)
			pause_ms *= 2;
		until_ms = mb_monotonic_ms() + pause_ms;
		if (!wants_to_stop(listener) && listener->op.code)
			mb_log_debug(listener->log, "listening to %s ended: %s", listener->bucket,
						 listener->op.err.message);
		while (!wants_to_stop(listener) && mb_monotonic_ms() < until_ms)
			mb_sleep_ms(50);
	}
	return NULL;
}

struct mb_listener *
mb_listener_start(struct mb_s3 *s3, const char *bucket, const char *prefix,
				  const struct mb_log *log, const struct mb_cancel *cancel)
{
	struct mb_listener *listener = mb_calloc(1, sizeof(*listener));

	listener->s3 = s3;
	listener->bucket = bucket;
	listener->prefix = prefix;
	listener->log = log;
	listener->cancel = cancel;
	listener->has_gap = true;
	listener->lane = mb_s3_lane_open(s3);
	pthread_mutex_init(&listener->lock, NULL);
	if (pthread_create(&listener->thread, NULL, listener_main, listener) != 0)
		MB_BUG("could not start a thread");
	return listener;
}

void
mb_listener_take(struct mb_listener *listener, struct mb_events *events)
{
	pthread_mutex_lock(&listener->lock);
	*events = listener->events;
	memset(&listener->events, 0, sizeof(listener->events));
	events->has_gap = listener->has_gap || !hears(listener);
	/* From here on everything is heard, as long as the connection holds. */
	if (hears(listener))
		listener->has_gap = false;
	pthread_mutex_unlock(&listener->lock);
	mb_events_sort(events);
}

size_t
mb_listener_waiting(struct mb_listener *listener, bool *has_gap)
{
	size_t count;

	pthread_mutex_lock(&listener->lock);
	count = listener->events.count;
	*has_gap = listener->has_gap;
	pthread_mutex_unlock(&listener->lock);
	return count;
}

bool
mb_listener_hears(struct mb_listener *listener)
{
	bool is_heard;

	pthread_mutex_lock(&listener->lock);
	is_heard = hears(listener);
	pthread_mutex_unlock(&listener->lock);
	return is_heard;
}

enum mb_code
mb_listener_status(struct mb_listener *listener, struct mb_error *err)
{
	enum mb_code code;

	pthread_mutex_lock(&listener->lock);
	code = listener->why.code;
	if (code)
		*err = listener->why;
	pthread_mutex_unlock(&listener->lock);
	return code;
}

void
mb_listener_stop(struct mb_listener *listener)
{
	if (!listener)
		return;
	pthread_mutex_lock(&listener->lock);
	listener->stops = true;
	pthread_mutex_unlock(&listener->lock);
	pthread_join(listener->thread, NULL);
	mb_s3_op_release(&listener->op);
	mb_s3_lane_close(listener->lane);
	mb_events_release(&listener->events);
	mb_buf_release(&listener->line);
	pthread_mutex_destroy(&listener->lock);
	free(listener);
}

/*
 * s3_run.c - the way of an op, from start to done: when it may be sent, how often it is tried, when the
 * lane has enough under way.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "objectstore/s3_private.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 20000
/* Each quick retry costs one of the budget, each success earns back a tenth. */
#define BUDGET_EARNED 0.1
/* One storm halves the limit once, not once for each of its answers. */
#define LIMIT_CUT_PAUSE_MS 500
/* How long an op that waits for room, which other lanes must make, sleeps between looks. */
#define ROOM_POLL_MS 5
#define RUN_MS 1000

/* -- room and budget, shared by all lanes -------------------------------------------------------------- */

static bool
take_room(struct mb_s3_attempt *attempt)
{
	struct mb_s3 *s3 = attempt->lane->s3;

	/* What never ends would hold its room for ever. */
	if (attempt->op->flags & MB_S3_ENDLESS)
		return true;
	pthread_mutex_lock(&s3->lock);
	attempt->has_room = s3->under_way < (unsigned) s3->limit;
	s3->under_way += attempt->has_room;
	pthread_mutex_unlock(&s3->lock);
	return attempt->has_room;
}

static void
give_room(struct mb_s3_attempt *attempt)
{
	struct mb_s3 *s3 = attempt->lane->s3;

	pthread_mutex_lock(&s3->lock);
	s3->under_way -= attempt->has_room;
	attempt->has_room = false;
	pthread_mutex_unlock(&s3->lock);
}

/* Additive increase, multiplicative decrease, as TCP does it. */
static void
adapt(struct mb_s3 *s3, enum mb_s3_verdict verdict)
{
	int64_t now_ms = mb_monotonic_ms();

	pthread_mutex_lock(&s3->lock);
	if (verdict == MB_S3_AGAIN_BUSY && now_ms - s3->limit_cut_ms >= LIMIT_CUT_PAUSE_MS)
	{
		s3->limit = s3->limit > 2 ? s3->limit / 2 : 1;
		s3->limit_cut_ms = now_ms;
	}
	else if (verdict == MB_S3_DONE)
	{
		s3->limit += 1 / s3->limit;
		if (s3->limit > s3->max_requests)
			s3->limit = s3->max_requests;
		s3->budget += BUDGET_EARNED;
		if (s3->budget > MB_S3_BUDGET_FULL)
			s3->budget = MB_S3_BUDGET_FULL;
	}
	pthread_mutex_unlock(&s3->lock);
}

/*
 * Full jitter: anything from 0 to twice what it was, so that those who failed together do not come
 * back together.  Without budget the whole time, not a part of it: nothing fails for lack
 * of budget, it only waits.
 */
static int64_t
backoff_ms(struct mb_s3 *s3, unsigned attempts)
{
	int64_t most_ms = BACKOFF_FIRST_MS;
	uint32_t random;
	bool has_budget;

	while (attempts-- > 1 && most_ms < BACKOFF_MAX_MS)
		most_ms *= 2;
	if (most_ms > BACKOFF_MAX_MS)
		most_ms = BACKOFF_MAX_MS;
	pthread_mutex_lock(&s3->lock);
	has_budget = s3->budget >= 1;
	if (has_budget)
		s3->budget -= 1;
	pthread_mutex_unlock(&s3->lock);
	mb_random(&random, sizeof(random));
	return has_budget ? (int64_t) (random % (uint32_t) (most_ms + 1)) : most_ms;
}

/* -- the way of an op ------------------------------------------------------------------------------------ */

static void
unlink_attempt(struct mb_s3_attempt *attempt)
{
	struct mb_s3_lane *lane = attempt->lane;

	if (attempt->previous)
		attempt->previous->next = attempt->next;
	else
		lane->first = attempt->next;
	if (attempt->next)
		attempt->next->previous = attempt->previous;
	else
		lane->last = attempt->previous;
	lane->count--;
	give_room(attempt);
	mb_s3_unbuild(attempt);
	attempt->op->attempt = NULL;
	free(attempt);
}

void
mb_s3_start(struct mb_s3_lane *lane, struct mb_s3_op *op)
{
	struct mb_s3_attempt *attempt = mb_calloc(1, sizeof(*attempt));

	MB_ASSERT(op->attempt == NULL);
	attempt->op = op;
	attempt->lane = lane;
	attempt->started_ms = mb_monotonic_ms();
	attempt->previous = lane->last;
	if (lane->last)
		lane->last->next = attempt;
	else
		lane->first = attempt;
	lane->last = attempt;
	lane->count++;
	op->attempt = attempt;
	op->attempts = 0;
	op->status = 0;
	op->error_code[0] = '\0';
	op->maybe_done = false;
	op->code = mb_s3_check_op(op, &op->err);
	if (op->code)
		attempt->state = MB_ATTEMPT_OVER;
}

int64_t
mb_s3_deadline_ms(const struct mb_s3 *s3, const struct mb_s3_op *op)
{
	int64_t deadline_ms = op->deadline_ms ? op->deadline_ms : s3->deadline_ms;

	return s3->patience_ms && s3->patience_ms < deadline_ms ? s3->patience_ms : deadline_ms;
}

/* May a further attempt begin?  Not after the deadline, and not when the outcome must be looked at. */
static bool
may_retry(const struct mb_s3_attempt *attempt)
{
	const struct mb_s3_op *op = attempt->op;

	if ((op->flags & MB_S3_ONCE) && op->maybe_done)
		return false;
	return mb_monotonic_ms() < attempt->started_ms + mb_s3_deadline_ms(attempt->lane->s3, op);
}

static void
plan_retry(struct mb_s3_attempt *attempt, enum mb_s3_verdict verdict)
{
	struct mb_s3 *s3 = attempt->lane->s3;
	struct mb_s3_op *op = attempt->op;
	int64_t last_ms = attempt->started_ms + mb_s3_deadline_ms(s3, op);

	if (!may_retry(attempt))
	{
		attempt->state = MB_ATTEMPT_OVER;
		return;
	}
	if (verdict == MB_S3_AGAIN_KEYS)
		mb_credentials_refused(s3->credentials, attempt->keys_serial);
	attempt->state = MB_ATTEMPT_WAITING;
	attempt->not_before_ms = mb_monotonic_ms();
	if (verdict == MB_S3_AGAIN || verdict == MB_S3_AGAIN_BUSY)
		attempt->not_before_ms += backoff_ms(s3, op->attempts);
	if (attempt->not_before_ms > last_ms)
		attempt->not_before_ms = last_ms;
	if (op->sink && op->restart && op->http.response.body_bytes > 0)
		op->restart(op->sink_ctx);
	mb_log_debug(s3->log, "try %u again: %s", op->attempts, op->err.message);
}

static void
take_answer(struct mb_http_request *http, enum mb_code code, const struct mb_error *err)
{
	struct mb_s3_attempt *attempt = http->ctx;
	enum mb_s3_verdict verdict = mb_s3_judge(attempt, code, err);

	give_room(attempt);
	adapt(attempt->lane->s3, verdict);
	if (verdict == MB_S3_DONE)
		attempt->state = MB_ATTEMPT_OVER;
	else
		plan_retry(attempt, verdict);
}

static void
send_attempt(struct mb_s3_attempt *attempt)
{
	struct mb_s3_op *op = attempt->op;

	op->code = mb_s3_build(attempt, &op->err);
	if (op->code)
	{
		give_room(attempt);
		attempt->state = MB_ATTEMPT_OVER;
		return;
	}
	op->attempts++;
	op->http.done = take_answer;
	attempt->state = MB_ATTEMPT_SENT;
	mb_http_start(attempt->lane->http, &op->http);
}

/*
 * Send what may be sent now.  Returns for how long nothing else can be: until a pause is over, or
 * until another lane may have made room.
 */
static int64_t
send_waiting(struct mb_s3_lane *lane, int64_t timeout_ms)
{
	struct mb_s3_attempt *attempt;
	int64_t now_ms = mb_monotonic_ms();

	for (attempt = lane->first; attempt; attempt = attempt->next)
	{
		int64_t wait_ms = attempt->not_before_ms - now_ms;

		if (attempt->state == MB_ATTEMPT_OVER)
			return 0;
		if (attempt->state != MB_ATTEMPT_WAITING)
			continue;
		if (wait_ms <= 0)
		{
			if (take_room(attempt))
			{
				send_attempt(attempt);
				continue;
			}
			/* Those behind would find none either. */
			return ROOM_POLL_MS < timeout_ms ? ROOM_POLL_MS : timeout_ms;
		}
		if (wait_ms < timeout_ms)
			timeout_ms = wait_ms;
	}
	return timeout_ms;
}

/* Call done() of what is over. */
static void
finish_ops(struct mb_s3_lane *lane)
{
	struct mb_s3_attempt *attempt = lane->first;

	while (attempt)
	{
		struct mb_s3_attempt *next = attempt->next;
		struct mb_s3_op *op = attempt->op;

		if (attempt->state == MB_ATTEMPT_OVER)
		{
			unlink_attempt(attempt);
			lane->finished_one = true;
			if (op->done)
			{
				op->done(op);
				/* It may have started and ended anything: look again from the start. */
				next = lane->first;
			}
		}
		attempt = next;
	}
}

enum mb_code
mb_s3_poll(struct mb_s3_lane *lane, int64_t timeout_ms, struct mb_error *err)
{
	int64_t end_ms = mb_monotonic_ms() + timeout_ms;

	lane->finished_one = false;
	while (lane->count > 0)
	{
		int64_t left_ms = end_ms - mb_monotonic_ms();
		int64_t wait_ms = send_waiting(lane, left_ms > 0 ? left_ms : 0);
		enum mb_code code = MB_OK;

		if (mb_http_active(lane->http) > 0)
			code = mb_http_run(lane->http, wait_ms, err);
		else
		{
			code = mb_cancel_check(lane->s3->cancel, err);
			if (!code && wait_ms > 0)
				mb_sleep_ms(wait_ms < 100 ? wait_ms : 100);
		}
		if (code)
			return code;
		finish_ops(lane);
		if (lane->finished_one || left_ms <= 0)
			break;
	}
	return MB_OK;
}

enum mb_code
mb_s3_run(struct mb_s3_lane *lane, size_t left, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && lane->count > left)
		code = mb_s3_poll(lane, RUN_MS, err);
	if (code)
		mb_s3_drop(lane);
	return code;
}

size_t
mb_s3_active(const struct mb_s3_lane *lane)
{
	return lane->count;
}

void
mb_s3_drop(struct mb_s3_lane *lane)
{
	while (lane->first)
	{
		mb_http_request_release(&lane->first->op->http);
		unlink_attempt(lane->first);
	}
}

enum mb_code
mb_s3_perform_on(struct mb_s3_lane *lane, struct mb_s3_op *op, struct mb_error *err)
{
	enum mb_code code;

	mb_s3_start(lane, op);
	code = mb_s3_run(lane, 0, err);
	if (code)
	{
		op->code = code;
		op->err = *err;
	}
	else if (op->code)
		*err = op->err;
	return op->code;
}

enum mb_code
mb_s3_perform(struct mb_s3 *s3, struct mb_s3_op *op, struct mb_error *err)
{
	struct mb_s3_lane *lane = mb_s3_lane_open(s3);
	enum mb_code code = mb_s3_perform_on(lane, op, err);

	mb_s3_lane_close(lane);
	return code;
}

void
mb_s3_op_release(struct mb_s3_op *op)
{
	MB_ASSERT(op->attempt == NULL);
	mb_http_request_release(&op->http);
	mb_buf_release(&op->answer);
	memset(op, 0, sizeof(*op));
}

const char *
mb_s3_op_answer(struct mb_s3_op *op, const char *name)
{
	return mb_http_header(&op->http.response, name, &op->answer) ? mb_buf_cstr(&op->answer) : NULL;
}

/*
 * component_redis_hold.c - stopping writes for the milliseconds of a cut.
 *
 * CLIENT PAUSE ... WRITE ends by itself at its limit, whatever becomes of us.  That it
 * held is claimed only when the same connection, the same history and the stream itself
 * say so.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/component_private.h"
#include "redis/resp.h"

/* More than that in a pause is no noise. */
#define NOISE_MAX_BYTES (1u << 20)

static enum mb_code
send_pause(struct mb_redis_component *redis, int64_t limit_ms, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};
	char limit[24];

	snprintf(limit, sizeof(limit), "%" PRId64, limit_ms);
	if (MB_REDIS_CALL(redis->control, &reply, err, "CLIENT", "PAUSE", limit, "WRITE"))
	{
		if (err->code == MB_IO)
		{
			err->code = MB_UNSUPPORTED;
			mb_error_hint(err, "CLIENT PAUSE ... WRITE needs Redis 6.2 or later.");
		}
		return mb_error_context(err, "could not pause writes");
	}
	mb_redis_reply_release(&reply);
	return MB_OK;
}

static enum mb_code
send_unpause(struct mb_redis_component *redis, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};

	if (MB_REDIS_CALL(redis->control, &reply, err, "CLIENT", "UNPAUSE"))
		return mb_error_context(err, "could not end the pause of writes");
	mb_redis_reply_release(&reply);
	return MB_OK;
}

enum mb_code
mb_redis_hold(struct mb_component *component, int64_t limit_ms, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_redis_point point;

	/* The first point opens the connection; only the one inside the pause counts. */
	if (mb_redis_component_point(redis, &point, err))
		return err->code;
	if (point.is_replica)
	{
		mb_fail(err, MB_UNSUPPORTED, "a replica cannot stop the writes to its master");
		return mb_error_hint(err, "Let url name the master, or take the cut without --pause.");
	}
	/* Counted from before the command: the claim must err on the short side. */
	redis->held_from_ms = mb_monotonic_ms();
	redis->held_limit_ms = limit_ms;
	if (send_pause(redis, limit_ms, err))
		return err->code;
	if (mb_redis_point_read(redis->control, &redis->held, err))
	{
		struct mb_error ignored;

		mb_error_clear(&ignored);
		(void) !send_unpause(redis, &ignored);
		return err->code;
	}
	return MB_OK;
}

/* Are the bytes that the stream grew by inside the pause nothing but noise? */
static bool
moved_by_noise(struct mb_redis_component *redis, uint64_t to)
{
	static const uint64_t ping_bytes = sizeof("*1\r\n$4\r\nPING\r\n") - 1;
	uint64_t moved = to - redis->held.offset;
	struct mb_buf bytes = {0};
	struct mb_resp resp;
	struct mb_error err;
	bool noise;

	if (to < redis->held.offset)
		return false;
	if (moved == 0)
		return true;
	/*
	 * No stream at hand: one PING.  No write is as short as that, but two PINGs are as long as an
	 * INCR, which comes through when somebody else's UNPAUSE (a second mark) ends our pause.
	 */
	if (!redis->spool || strcmp(redis->replid, redis->held.replid) != 0 ||
		mb_spool_received(redis->spool) < to || redis->held.offset < redis->rdb_offset)
		return moved == ping_bytes;
	mb_error_clear(&err);
	mb_resp_init(&resp, redis->held.offset, 0, false);
	noise =
		moved < NOISE_MAX_BYTES &&
		mb_spool_read(redis->spool, redis->held.offset, (size_t) moved, &bytes, &err) == MB_OK &&
		mb_resp_feed(&resp, bytes.data, bytes.len, &err) == MB_OK &&
		resp.last_write == redis->held.offset;
	mb_buf_release(&bytes);
	return noise;
}

enum mb_code
mb_redis_release(struct mb_component *component, bool *held, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_redis_point point;
	int64_t elapsed_ms;

	*held = false;
	/* Not mb_redis_component_point: a connection that was lost cannot vouch for the pause. */
	if (!redis->control)
		return mb_fail(err, MB_UNREACHABLE, "the connection that paused writes was lost");
	if (mb_redis_point_read(redis->control, &point, err))
		return err->code;
	elapsed_ms = mb_monotonic_ms() - redis->held_from_ms;
	if (send_unpause(redis, err))
	{
		/* Writers wait until the limit: whoever runs this should know why. */
		mb_log_warning(component->env->log, "%s: %s; the pause ends by itself after %" PRId64 " ms",
					   component->name, err->message, redis->held_limit_ms);
		mb_error_clear(err);
		return MB_OK;
	}
	*held = elapsed_ms < redis->held_limit_ms && strcmp(point.replid, redis->held.replid) == 0 &&
			moved_by_noise(redis, point.offset);
	return MB_OK;
}

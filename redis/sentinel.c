/* sentinel.c - see sentinel.h. */
#include "redis/sentinel.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/point.h"

#define ROUNDS 3
#define ROUND_PAUSE_MS 1000
/* One that does not answer must not use up the time of the others. */
#define SENTINEL_MS 3000

/* The address that one sentinel names; *master is then owned by the caller. */
static enum mb_code
ask(const struct mb_redis_options *options, const struct mb_redis_url *sentinel,
	struct mb_redis_url *master, struct mb_error *err)
{
	struct mb_redis_options own = {.url = sentinel,
								   .tls = options->tls,
								   .user = options->sentinel_user,
								   .password = options->sentinel_password,
								   .cancel = options->cancel,
								   .connect_ms = SENTINEL_MS,
								   .io_ms = SENTINEL_MS};
	const char *name = options->url->master;
	struct mb_redis_reply reply = {0};
	struct mb_redis *redis = NULL;
	enum mb_code code;

	code = mb_redis_connect(&redis, &own, err);
	if (!code)
		code = MB_REDIS_CALL(redis, &reply, err, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name);
	if (code == MB_DENIED)
		mb_error_hint(err, "Set sentinel-password (and sentinel-user, who needs "
						   "+sentinel|get-master-addr-by-name).");
	if (!code && reply.type == MB_REDIS_NIL)
	{
		code = mb_fail(err, MB_CONFIG, "it knows no master \"%s\"", name);
		mb_error_hint(err, "\"redis-cli -p %u SENTINEL MASTERS\" lists the names.", sentinel->port);
	}
	else if (!code &&
			 (reply.type != MB_REDIS_ARRAY || reply.count != 2 ||
			  reply.items[0].type != MB_REDIS_STRING || reply.items[1].type != MB_REDIS_STRING))
		code = mb_fail(err, MB_CORRUPT, "its answer cannot be read");
	if (!code)
		*master =
			(struct mb_redis_url){.host = mb_strdup(reply.items[0].text),
								  .port = (unsigned) strtoul(reply.items[1].text, NULL, 10),
								  .user = options->url->user ? mb_strdup(options->url->user) : NULL,
								  .tls = options->url->tls};
	mb_redis_reply_release(&reply);
	mb_redis_close(redis);
	return code ? mb_error_context(err, "sentinel %s:%u", sentinel->host, sentinel->port) : MB_OK;
}

enum mb_code
mb_redis_connect_master(struct mb_redis **redis, const struct mb_redis_options *options,
						const struct mb_redis_url *master, struct mb_error *err)
{
	struct mb_redis_options own = *options;
	struct mb_redis *made = NULL;
	struct mb_redis_point point;
	enum mb_code code;

	own.url = master;
	if (!own.user)
		own.user = options->url->user;
	code = mb_redis_connect(&made, &own, err);
	if (!code)
		code = mb_redis_point_read(made, &point, err);
	if (!code && point.is_replica)
		code = mb_fail(err, MB_UNREACHABLE, "Redis at %s:%u is not the master", master->host,
					   master->port);
	if (code)
		mb_redis_close(made);
	else
		*redis = made;
	return code;
}

/* Is it the same to whomever we ask, however often? */
static bool
is_final(enum mb_code code)
{
	return code == MB_INTERRUPTED || code == MB_DENIED || code == MB_UNSUPPORTED;
}

static enum mb_code
ask_each(struct mb_redis **redis, const struct mb_redis_options *options, struct mb_error *err)
{
	const struct mb_redis_url *url = options->url;
	enum mb_code code = MB_CONFIG;
	size_t i;

	for (i = 0; i < url->seed_count && code && !is_final(code); i++)
	{
		struct mb_redis_url master = {0};

		code = ask(options, &url->seeds[i], &master, err);
		if (!code)
			code = mb_redis_connect_master(redis, options, &master, err);
		mb_redis_url_release(&master);
	}
	return code;
}

enum mb_code
mb_redis_connect_rounds(struct mb_redis **redis, const struct mb_redis_options *options,
						mb_redis_round *one_round, struct mb_error *err)
{
	enum mb_code code;
	int round;

	for (round = 0;; round++)
	{
		code = one_round(redis, options, err);
		if (code != MB_UNREACHABLE || round + 1 == ROUNDS)
			return code;
		mb_sleep_ms(ROUND_PAUSE_MS);
		if (mb_cancel_check(options->cancel, err))
			return err->code;
	}
}

enum mb_code
mb_redis_sentinel_connect(struct mb_redis **redis, const struct mb_redis_options *options,
						  struct mb_error *err)
{
	if (mb_redis_connect_rounds(redis, options, ask_each, err))
		return mb_error_context(err, "could not find the master \"%s\"", options->url->master);
	return MB_OK;
}

/*
 * component_redis_in_place.c - a restore over what a Redis holds: where that is, how it is kept,
 * and whether the server is well afterwards.
 *
 * With a service that stops it, its directory: the files are moved aside.  Without one the running
 * server, whose data is saved as an RDB file first.  Of a cluster every server saves its own
 * (component_cluster_live.c), and there is no way back but the commands that it names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/live.h"

/* A server that was started and does not answer in this time did not start; one that loads does. */
#define ANSWER_MS 60000
#define POLL_MS 200

static enum mb_code
ping(struct mb_redis_component *component, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};
	struct mb_redis *redis;
	enum mb_code code = mb_redis_connect(&redis, &component->options, err);

	if (code)
		return code;
	code = MB_REDIS_CALL(redis, &reply, err, "PING");
	mb_redis_reply_release(&reply);
	mb_redis_close(redis);
	return code;
}

static bool
is_live(const struct mb_restore *restore)
{
	return restore->destination && mb_live_is_destination(restore->destination);
}

/*
 * Nobody is at the url?  One that is busy, loads, takes no more clients or breaks the line is there, and would go
 * on with what it has in memory over a directory that was replaced.
 */
static bool
is_away(const struct mb_error *err)
{
	return err->sys_errno == ECONNREFUSED || err->sys_errno == EHOSTUNREACH ||
		   mb_starts_with(err->message, "could not resolve");
}

enum mb_code
mb_redis_choose_own_place(struct mb_component *component, struct mb_restore *restore,
						  struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	const char *service = mb_settings_get(component->settings, "service");
	const char *dir = mb_settings_get(component->settings, "dir");
	const char *url = mb_settings_get(component->settings, "url");
	struct mb_error why;

	if (service && !dir)
	{
		mb_fail(err, MB_CONFIG, "[%s] has a service, but no dir that could be replaced meanwhile",
				component->name);
		return mb_error_hint(err, "Write the server's data directory as dir; or take the service "
								  "out: then the running server is filled.");
	}
	if (service || !url)
		return MB_OK;
	mb_error_clear(&why);
	if (redis->cluster || ping(redis, &why) == MB_OK)
	{
		restore->destination = url;
		mb_json_set_bool(restore->plan, "stops", false);
		mb_json_set_str(restore->plan, "keep", redis->cluster ? "none" : "rdb");
		return MB_OK;
	}
	if (dir && is_away(&why))
		return MB_OK;
	*err = why;
	mb_error_context(err, "there is no place to restore \"%s\" into", component->name);
	return dir ? err->code
			   : mb_error_hint(err, "Start the server; or write its data directory as dir.");
}

enum mb_code
mb_redis_holds(struct mb_component *component, struct mb_restore *restore,
			   struct mb_holdings *holdings, struct mb_error *err)
{
	const char *directory = mb_json_str(restore->plan, "directory", NULL);

	(void) component;
	(void) err;
	/* The server's user owns the directory, and another program may have it mounted. */
	if (directory && !is_live(restore))
		mb_holdings_add(holdings, mb_safety_new(directory, NULL, MB_SAFETY_STAYS));
	return MB_OK;
}

enum mb_code
mb_redis_keep(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct mb_live_dbs before = {0};
	struct mb_live live;
	char *path = NULL;
	enum mb_code code;

	if (!is_live(restore) || mb_redis_of(component)->cluster)
		return MB_OK;
	code = mb_live_open(&live, component, restore, err);
	if (!code)
		code = mb_live_save(&live, &before, &path, err);
	if (!code)
	{
		restore->kept = json_object();
		mb_json_set_str(restore->kept, "rdb", path);
		mb_json_set_int(restore->kept, "keys", (int64_t) mb_live_dbs_total(&before));
		/* The way back is the whole stack's. */
		json_object_del(restore->result, "undo");
	}
	mb_live_dbs_release(&before);
	mb_live_close(&live);
	free(path);
	return code;
}

enum mb_code
mb_redis_undo(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct mb_restore_wishes wishes = *restore->wishes;
	const struct mb_restore_wishes *given = restore->wishes;
	enum mb_code code;

	wishes.rdb = mb_json_str(restore->kept, "rdb", NULL);
	wishes.expired = MB_EXPIRED_DROP;
	if (!wishes.rdb)
		return MB_OK;
	restore->wishes = &wishes;
	code = mb_redis_live_restore(component, restore, err);
	restore->wishes = given;
	return code;
}

/* It answers, and has loaded what it found. */
enum mb_code
mb_redis_health(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	int64_t until_ms = mb_monotonic_ms() + ANSWER_MS;
	enum mb_code code = MB_OK;

	if (restore && !is_live(restore) && !restore->is_served)
	{
		mb_restore_warn(restore, "the server was not started: [%s] names no service",
						component->name);
		mb_json_set_str(restore->result, "health", "not started");
		return MB_OK;
	}
	/* Of a cluster every master was asked by the restore itself. */
	for (; !redis->cluster; mb_sleep_ms(POLL_MS))
	{
		mb_error_clear(err);
		code = ping(redis, err);
		if (!code || !restore || mb_cancelled(component->env->cancel))
			break;
		if (strstr(err->message, "LOADING"))
			until_ms = mb_monotonic_ms() + ANSWER_MS;
		else if (mb_monotonic_ms() > until_ms)
			break;
	}
	if (code)
		return err->code = code = MB_NEGATIVE;
	if (restore)
	{
		mb_json_set_str(restore->result, "health", "answers, loaded");
		json_object_del(restore->result, "next");
	}
	return MB_OK;
}

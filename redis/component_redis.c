/* component_redis.c - see component_redis.h: settings and position. */
#include "redis/component_redis.h"

#include <stdlib.h>
#include <string.h>

#include "redis/component_cluster.h"

/* -- life ------------------------------------------------------------------------------------ */

static enum mb_code
choose(const struct mb_settings *settings, const char *key, const char *no, const char *yes,
	   bool *chosen, struct mb_error *err)
{
	const char *value = mb_settings_get(settings, key);

	if (value && strcmp(value, no) != 0 && strcmp(value, yes) != 0)
		return mb_fail(err, MB_CONFIG, "%s = \"%s\" of \"%s\" is neither %s nor %s", key, value,
					   settings->name, no, yes);
	*chosen = value && strcmp(value, yes) == 0;
	return MB_OK;
}

/* Refused rather than ignored: who sets ca-file means the line to be encrypted. */
static enum mb_code
read_tls(struct mb_redis_component *redis, const struct mb_settings *settings, struct mb_error *err)
{
	static const char *const keys[] = {"ca-file", "client-cert", "client-key", "tls-server-name"};
	struct mb_redis_tls_options *tls = &redis->options.tls;
	const char **const values[] = {&tls->ca_file, &tls->client_cert, &tls->client_key,
								   &tls->server_name};
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		*values[i] = mb_settings_get(settings, keys[i]);
		if (!*values[i] || redis->url.tls)
			continue;
		mb_fail(err, MB_CONFIG, "%s of \"%s\" is set, but its url is without TLS", keys[i],
				settings->name);
		return mb_error_hint(err, "Write rediss:// in url, or remove %s.", keys[i]);
	}
	return MB_OK;
}

char *
mb_redis_spool_path(const struct mb_redis_component *redis, const char *suffix)
{
	char *path = mb_asprintf("%s/redis-%s%s", redis->base.env->spool, redis->base.name, suffix);
	char *name = path + strlen(redis->base.env->spool) + 1, *slash = strchr(name, '/');

	if (slash)
		*slash = '.';
	return path;
}

void
mb_redis_entry_name(const struct mb_redis_component *redis, const char *file,
					char out[MB_REDIS_ENTRY_MAX])
{
	snprintf(out, MB_REDIS_ENTRY_MAX, "%s%s", redis->prefix, file);
}

void
mb_redis_close_component(struct mb_component *component)
{
	struct mb_redis_component *redis = mb_redis_of(component);

	if (!redis)
		return;
	mb_redis_cluster_close(redis);
	mb_spool_stop(redis->spool);
	mb_redis_close(redis->control);
	mb_redis_url_release(&redis->url);
	free(redis);
}

enum mb_code
mb_redis_open_component(struct mb_component **out, const struct mb_settings *settings,
						const struct mb_env *env, struct mb_error *err)
{
	struct mb_redis_component *redis = mb_calloc(1, sizeof(*redis));
	const char *url = mb_settings_get(settings, "url");
	bool after = false, rdb = false;
	enum mb_code code;

	redis->base = (struct mb_component){&mb_redis_component_ops, settings, env, settings->name};
	redis->prefix = "";
	redis->options.url = &redis->url;
	redis->options.user = mb_settings_get(settings, "user");
	redis->options.password = mb_settings_secret(settings, "password");
	redis->options.sentinel_user = mb_settings_get(settings, "sentinel-user");
	redis->options.sentinel_password = mb_settings_secret(settings, "sentinel-password");
	redis->options.cancel = env->cancel;
	code = mb_redis_url_parse(&redis->url, url ? url : "redis://127.0.0.1:6379", err);
	if (!code)
		code = read_tls(redis, settings, err);
	if (!code)
		code = choose(settings, "side", "before", "after", &after, err);
	if (!code)
		code = choose(settings, "role", "data", "cache", &redis->is_cache, err);
	if (!code)
		code = choose(settings, "capture", "replica", "rdb", &rdb, err);
	if (!code && rdb && redis->url.cluster)
	{
		code = mb_fail(err, MB_CONFIG, "capture = rdb of \"%s\" does not go with a cluster",
					   settings->name);
		mb_error_hint(err, "Remove capture, or write a section for each node: url = redis://NODE.");
	}
	if (rdb)
		redis->base.ops = &mb_redis_rdb_component_ops;
	redis->side = after ? MB_REDIS_AFTER : MB_REDIS_BEFORE;
	if (!code && redis->url.cluster)
		mb_redis_cluster_open(redis);
	if (code)
		mb_redis_close_component(&redis->base);
	else
		*out = &redis->base;
	return code;
}

char *
mb_redis_describe(struct mb_component *component)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	const char *role = redis->is_cache ? " (cache: comes back empty)" : "";

	char *name = mb_redis_url_name(&redis->url), *text;

	text = mb_asprintf("Redis at %s%s%s", name, redis->url.tls ? " by TLS" : "", role);
	free(name);
	return text;
}

enum mb_code
mb_redis_component_point(struct mb_redis_component *redis, struct mb_redis_point *point,
						 struct mb_error *err)
{
	bool reopened = false;
	enum mb_code code;

	for (;;)
	{
		if (!redis->control)
		{
			reopened = true;
			code = mb_redis_connect(&redis->control, &redis->options, err);
			if (code)
				return code;
		}
		code = mb_redis_point_read(redis->control, point, err);
		if (!code)
			return MB_OK;
		/* Whatever went wrong, answers may be left over: this connection is used up. */
		mb_redis_close(redis->control);
		redis->control = NULL;
		if (code != MB_UNREACHABLE || reopened)
			return code;
	}
}

/* -- position ------------------------------------------------------------------------------------- */

static json_t *
moment_json(const struct mb_redis_point *point)
{
	json_t *json = json_object();

	mb_json_set_str(json, "replid", point->replid);
	mb_json_set_int(json, "offset", (int64_t) point->offset);
	mb_json_set_time(json, "time", point->time_us);
	return json;
}

/* Copy the moment that the side asks for to the top, as docs/configuration.md promises it. */
static void
choose_moment(const struct mb_redis_component *redis, json_t *position)
{
	const char *side = redis->side == MB_REDIS_BEFORE ? "before" : "after";
	const json_t *moment = json_object_get(position, side);

	if (!moment)
		moment = json_object_get(position, redis->side == MB_REDIS_BEFORE ? "after" : "before");
	mb_json_set_str(position, "replid", mb_json_str(moment, "replid", ""));
	mb_json_set_int(position, "offset", mb_json_int(moment, "offset", 0));
	mb_json_set_str(position, "side", side);
}

enum mb_code
mb_redis_position(struct mb_component *component, struct mb_cut *cut, enum mb_moment moment,
				  struct mb_error *err)
{
	struct mb_redis_component *redis = mb_redis_of(component);
	struct mb_redis_point point;
	json_t *position;

	if (mb_redis_component_point(redis, &point, err))
		return err->code;
	position = json_object_get(cut->positions, component->name);
	if (!position)
	{
		position = json_object();
		json_object_set_new(cut->positions, component->name, position);
	}
	json_object_set_new(position, moment == MB_MOMENT_BEFORE ? "before" : "after",
						moment_json(&point));
	choose_moment(redis, position);
	return MB_OK;
}

const struct mb_component_ops mb_redis_component_ops = {
	.kind = "redis",
	.capabilities = MB_CAP_HOLD | MB_CAP_STREAM,
	.open = mb_redis_open_component,
	.close = mb_redis_close_component,
	.check = mb_redis_check,
	.snapshot = mb_redis_snapshot,
	.hold = mb_redis_hold,
	.release = mb_redis_release,
	.position = mb_redis_position,
	.settle = mb_redis_settle,
	.await = mb_redis_await,
	.stream = mb_redis_stream,
	.window = mb_redis_window,
	.plan = mb_redis_plan,
	.restore = mb_redis_restore,
	.verify = mb_nothing_verify, /* a backup carries its own tail: its packs are all it needs */
	.reach = mb_redis_reach,
	.revive = mb_redis_revive,
	.lay_down = mb_redis_lay_down,
	.holds = mb_redis_holds,
	.keep = mb_redis_keep,
	.undo = mb_redis_undo,
	.health = mb_redis_health,
	.trim = mb_redis_trim,
	.describe = mb_redis_describe,
};

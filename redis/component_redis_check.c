/* component_redis_check.c - the preconditions of what the Redis component promises. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/component_private.h"

#define BACKLOG_MINUTES 10
#define RATE_SAMPLE_MS 1000

struct inspection
{
	struct mb_redis_component *redis;
	struct mb_checks *checks;
	struct mb_redis *connection;
	char *info; /* INFO, all sections */
};

static void
add(struct inspection *in, enum mb_check_status status, const char *name, const char *fix,
	const char *message)
{
	mb_check_add(in->checks, status, in->redis->base.name, name, fix, "%s", message);
}

/* A value of CONFIG GET; false when it may not be asked (managed servers, ACL). */
static bool
config_get(struct inspection *in, const char *key, char *out, size_t cap)
{
	struct mb_redis_reply reply = {0};
	struct mb_error err;
	bool found;

	mb_error_clear(&err);
	if (MB_REDIS_CALL(in->connection, &reply, &err, "CONFIG", "GET", key))
		return false;
	found = reply.count == 2 && reply.items[1].type == MB_REDIS_STRING;
	if (found)
		snprintf(out, cap, "%s", reply.items[1].text);
	mb_redis_reply_release(&reply);
	return found;
}

static enum mb_code
get_info(struct inspection *in, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};

	if (MB_REDIS_CALL(in->connection, &reply, err, "INFO"))
		return err->code;
	if (reply.type == MB_REDIS_STRING)
		in->info = mb_strdup(reply.text);
	else
		mb_fail(err, MB_CORRUPT, "the answer of Redis to INFO is no text");
	mb_redis_reply_release(&reply);
	return in->info ? MB_OK : err->code;
}

static void
check_version(struct inspection *in)
{
	char version[64] = "?", message[160];

	mb_redis_info_field(in->info, "redis_version", version, sizeof(version));
	snprintf(message, sizeof(message), "the server is Redis %s", version);
	if (strtoul(version, NULL, 10) >= 7)
		add(in, MB_CHECK_OK, "version", "", message);
	else
		add(in, MB_CHECK_WARNING, "version",
			"Upgrade to Redis 7.0 or later, or restore to the moment of a backup only.",
			"before Redis 7.0 the stream carries relative expiries, so a later replay extends "
			"them");
}

static void
check_role(struct inspection *in, const struct mb_redis_point *point)
{
	if (!point->is_replica)
		add(in, MB_CHECK_OK, "role", "", "the server is a master");
	else if (point->link_up)
		add(in, MB_CHECK_OK, "role", "", "the server is a replica and in step with its master");
	else
		add(in, MB_CHECK_FAILED, "role",
			"Repair the replica's link (INFO replication: master_link_status) or let url name the "
			"master.",
			"the server is a replica whose link to the master is down: it refuses PSYNC");
}

/*
 * May we PSYNC?  Trying would fork the server; ACL DRYRUN (7.0) answers without doing it.
 * A user without the right to ask is told what to grant, which is never wrong.
 */
static void
check_privilege(struct inspection *in, const char *name, const char *const *words, size_t count,
				const char *grant)
{
	const char *user = in->redis->options.user ? in->redis->options.user
					   : in->redis->url.user   ? in->redis->url.user
											   : "default";
	const char *dryrun[8] = {"ACL", "DRYRUN", user};
	struct mb_redis_reply reply = {0};
	struct mb_error err;
	char fix[160];
	size_t i;

	for (i = 0; i < count; i++)
		dryrun[3 + i] = words[i];
	mb_error_clear(&err);
	snprintf(fix, sizeof(fix), "ACL SETUSER %.60s %s", user, grant);
	if (mb_redis_call(in->connection, dryrun, 3 + count, &reply, &err))
		mb_check_add(in->checks, MB_CHECK_SKIPPED, in->redis->base.name, name, fix,
					 "could not ask whether user \"%s\" may %s: %s", user, words[0], err.message);
	else if (reply.type == MB_REDIS_STRING && strcmp(reply.text, "OK") == 0)
		mb_check_add(in->checks, MB_CHECK_OK, in->redis->base.name, name, "", "user \"%s\" may %s",
					 user, words[0]);
	else
		mb_check_add(in->checks, MB_CHECK_FAILED, in->redis->base.name, name, fix,
					 "user \"%s\" may not %s", user, words[0]);
	mb_redis_reply_release(&reply);
}

static void
check_privileges(struct inspection *in)
{
	static const char *const psync[] = {"PSYNC", "?", "-1"};
	static const char *const replconf[] = {"REPLCONF", "ACK", "0"};
	static const char *const pause[] = {"CLIENT", "PAUSE", "1", "WRITE"};

	check_privilege(in, "privilege-psync", psync, 3, "+psync");
	check_privilege(in, "privilege-replconf", replconf, 3, "+replconf");
	check_privilege(in, "privilege-pause", pause, 4, "+client|pause +client|unpause");
}

/* Ten minutes of writes should fit, so that an outage of ours costs no gap. */
static void
check_backlog(struct inspection *in, const struct mb_redis_point *first,
			  const struct mb_redis_point *second)
{
	int64_t elapsed_us = second->time_us - first->time_us;
	uint64_t rate = 0, want;
	char fix[160];

	if (elapsed_us > 0 && second->offset > first->offset)
		rate = (uint64_t) ((double) (second->offset - first->offset) * 1e6 / (double) elapsed_us);
	want = rate * BACKLOG_MINUTES * 60;
	snprintf(fix, sizeof(fix),
			 "CONFIG SET repl-backlog-size %" PRIu64 ", and the same in redis.conf", want);
	if (second->backlog_size >= want)
		mb_check_add(in->checks, MB_CHECK_OK, in->redis->base.name, "backlog", "",
					 "repl-backlog-size is %" PRIu64 " bytes at %" PRIu64 " bytes written a second",
					 second->backlog_size, rate);
	else
		mb_check_add(in->checks, MB_CHECK_WARNING, in->redis->base.name, "backlog", fix,
					 "repl-backlog-size %" PRIu64 " holds %" PRIu64
					 " s of writes: a longer outage of "
					 "the stream leaves a gap",
					 second->backlog_size, rate ? second->backlog_size / rate : 0);
}

static void
check_config(struct inspection *in)
{
	char value[64];

	if (!config_get(in, "min-replicas-to-write", value, sizeof(value)))
		add(in, MB_CHECK_SKIPPED, "min-replicas", "", "CONFIG GET is not allowed");
	else if (strcmp(value, "0") == 0)
		add(in, MB_CHECK_OK, "min-replicas", "", "min-replicas-to-write is 0");
	else
		add(in, MB_CHECK_WARNING, "min-replicas",
			"Count mbackup out: raise min-replicas-to-write by one while a backup or stream runs.",
			"min-replicas-to-write is set, and mbackup's connection counts as a replica");
	if (!config_get(in, "repl-diskless-sync", value, sizeof(value)))
		add(in, MB_CHECK_SKIPPED, "diskless", "", "CONFIG GET is not allowed");
	else if (strcmp(value, "yes") == 0)
		add(in, MB_CHECK_OK, "diskless", "",
			"snapshots go over the wire and touch no disk of the server");
	else
		add(in, MB_CHECK_WARNING, "diskless", "CONFIG SET repl-diskless-sync yes",
			"repl-diskless-sync is off: each backup overwrites the server's dump.rdb");
}

static void
check_eviction(struct inspection *in)
{
	char policy[64] = "noeviction";

	mb_redis_info_field(in->info, "maxmemory_policy", policy, sizeof(policy));
	if (in->redis->is_cache || strcmp(policy, "noeviction") == 0 ||
		mb_redis_info_number(in->info, "maxmemory", 0) == 0)
		add(in, MB_CHECK_OK, "eviction", "", "the server evicts no data that should last");
	else
		add(in, MB_CHECK_WARNING, "eviction",
			"Set role = cache if this data need not last, else CONFIG SET maxmemory-policy "
			"noeviction.",
			"the server may evict keys: what it dropped before the backup is not in it");
}

static enum mb_code
inspect(struct inspection *in, struct mb_error *err)
{
	struct mb_redis_point first, second;
	enum mb_code code = get_info(in, err);

	if (!code && in->redis->base.ops == &mb_redis_rdb_component_ops)
	{
		mb_redis_check_rdb(in->redis, in->connection, in->checks);
		check_eviction(in);
		return MB_OK;
	}
	if (!code)
		code = mb_redis_point_read(in->connection, &first, err);
	if (!code)
	{
		mb_sleep_ms(RATE_SAMPLE_MS);
		code = mb_redis_point_read(in->connection, &second, err);
	}
	if (code)
		return code;
	check_version(in);
	check_role(in, &second);
	check_privileges(in);
	check_backlog(in, &first, &second);
	check_config(in);
	check_eviction(in);
	return MB_OK;
}

enum mb_code
mb_redis_check(struct mb_component *component, struct mb_checks *checks, struct mb_error *err)
{
	struct inspection in = {.redis = mb_redis_of(component), .checks = checks};
	struct mb_error found;
	enum mb_code code;
	bool reached;

	mb_error_clear(&found);
	code = mb_redis_connect(&in.connection, &in.redis->options, &found);
	reached = !code;
	if (!code)
	{
		mb_check_add(checks, MB_CHECK_OK, component->name, "reachable", "", "%s answers",
					 mb_redis_name(in.connection));
		code = inspect(&in, &found);
	}
	mb_redis_close(in.connection);
	free(in.info);
	if (code == MB_INTERRUPTED)
	{
		*err = found;
		return code;
	}
	if (code)
		mb_check_add(checks, MB_CHECK_FAILED, component->name,
					 reached ? "privilege-info" : "reachable",
					 found.hint[0] ? found.hint
								   : "Start the server, or correct url, user and password.",
					 "%s", found.message);
	return MB_OK;
}

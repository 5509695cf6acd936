/* component_redis_check.c - the preconditions of what the Redis component promises. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/process.h"
#include "core/base/time.h"
#include "redis/component_private.h"

#define BACKLOG_MINUTES 10
#define RATE_SAMPLE_MS 1000
#define BUFFER_BYTES (64ull << 20)

struct inspection
{
	struct mb_redis_component *redis;
	struct mb_checks *checks;
	struct mb_redis *connection;
	char *info; /* INFO, all sections */
	char *cli;  /* "redis-cli -h 127.0.0.1 -p 6379": how an administrator gets there */
};

static void
add(struct inspection *in, enum mb_check_status status, const char *name, const char *fix,
	const char *message)
{
	mb_check_add(in->checks, status, in->redis->base.name, name, fix, "%s", message);
}

/* The same with a fix that is freed. */
static void
add_fix(struct inspection *in, enum mb_check_status status, const char *name, char *fix,
		const char *message)
{
	mb_check_add_fix(in->checks, status, in->redis->base.name, name, fix, "%s", message);
}

/* A setting of the server, for good. */
static char *
set_fix(const struct inspection *in, const char *setting)
{
	return mb_asprintf("%s CONFIG SET %s && %s CONFIG REWRITE", in->cli, setting, in->cli);
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
			"sudo apt-get install redis-server, of 7.0 or later; until then restore to a backup "
			"only",
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
		add_fix(in, MB_CHECK_FAILED, "role",
				mb_asprintf("%s INFO replication shows where its master should be; or url = the "
							"master",
							in->cli),
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
	char *fix = mb_asprintf("%s ACL SETUSER %s %s", in->cli, user, grant);
	size_t i;

	for (i = 0; i < count; i++)
		dryrun[3 + i] = words[i];
	mb_error_clear(&err);
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
	free(fix);
}

static void
check_privileges(struct inspection *in)
{
	static const char *const psync[] = {"PSYNC", "?", "-1"};
	static const char *const replconf[] = {"REPLCONF", "ACK", "0"};
	static const char *const pause[] = {"CLIENT", "PAUSE", "1", "WRITE"};

	check_privilege(in, "privilege-psync", psync, 3, "+psync");
	check_privilege(in, "privilege-replconf", replconf, 3, "+replconf");
	check_privilege(in, "privilege-pause", pause, 4, "'+client|pause' '+client|unpause'");
}

/* Ten minutes of writes should fit, so that an outage of ours costs no gap. */
static void
check_backlog(struct inspection *in, const struct mb_redis_point *first,
			  const struct mb_redis_point *second)
{
	int64_t elapsed_us = second->time_us - first->time_us;
	uint64_t rate = 0, want;
	char setting[64];

	if (elapsed_us > 0 && second->offset > first->offset)
		rate = (uint64_t) ((double) (second->offset - first->offset) * 1e6 / (double) elapsed_us);
	want = rate * BACKLOG_MINUTES * 60;
	snprintf(setting, sizeof(setting), "repl-backlog-size %" PRIu64, want);
	if (second->backlog_size >= want)
		mb_check_add(in->checks, MB_CHECK_OK, in->redis->base.name, "backlog", "",
					 "repl-backlog-size is %" PRIu64 " bytes at %" PRIu64 " bytes written a second",
					 second->backlog_size, rate);
	else
		mb_check_add_fix(in->checks, MB_CHECK_WARNING, in->redis->base.name, "backlog",
						 set_fix(in, setting),
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
	{
		char more[64];

		snprintf(more, sizeof(more), "min-replicas-to-write %d", atoi(value) + 1);
		add_fix(in, MB_CHECK_WARNING, "min-replicas", set_fix(in, more),
				"min-replicas-to-write is set, and mbackup's connection counts as a replica");
	}
	if (!config_get(in, "repl-diskless-sync", value, sizeof(value)))
		add(in, MB_CHECK_SKIPPED, "diskless", "", "CONFIG GET is not allowed");
	else if (strcmp(value, "yes") == 0)
		add(in, MB_CHECK_OK, "diskless", "",
			"snapshots go over the wire and touch no disk of the server");
	else
		add_fix(in, MB_CHECK_WARNING, "diskless", set_fix(in, "repl-diskless-sync yes"),
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
		add_fix(in, MB_CHECK_WARNING, "eviction", set_fix(in, "maxmemory-policy noeviction"),
				"the server may evict keys, which are in no backup then; if they need not last: "
				"role = "
				"cache");
}

/* "... replica 268435456 67108864 60 ...": hard limit, soft limit, seconds. */
static void
check_buffer(struct inspection *in)
{
	unsigned long long hard = 0;
	char value[256];
	const char *at;

	if (!config_get(in, "client-output-buffer-limit", value, sizeof(value)))
		return;
	at = strstr(value, "replica ");
	at = at ? at : strstr(value, "slave ");
	if (!at || sscanf(strchr(at, ' '), "%llu", &hard) != 1)
		return;
	if (hard > 0 && hard < BUFFER_BYTES)
		add_fix(in, MB_CHECK_WARNING, "output-buffer",
				set_fix(in, "client-output-buffer-limit \"replica 256mb 64mb 60\""),
				"the output buffer of replicas is small: the server cuts us off when it writes "
				"much");
	else
		add(in, MB_CHECK_OK, "output-buffer", "", "the output buffer of replicas is large enough");
}

/* What is asked of a cache is nothing; of a replica it is the master's business. */
static void
check_persistence(struct inspection *in)
{
	char aof[16] = "?", save[256] = "?", state[16] = "ok", aof_state[16] = "ok";

	mb_redis_info_field(in->info, "rdb_last_bgsave_status", state, sizeof(state));
	mb_redis_info_field(in->info, "aof_last_write_status", aof_state, sizeof(aof_state));
	if (strcmp(state, "ok") != 0 || strcmp(aof_state, "ok") != 0)
		add_fix(in, MB_CHECK_WARNING, "save-failing",
				mb_asprintf("%s CONFIG GET dir shows where: its owner and room; then %s BGSAVE "
							"SCHEDULE",
							in->cli, in->cli),
				"the server cannot write its own snapshot or AOF");
	else
		add(in, MB_CHECK_OK, "save-failing", "", "its own snapshot and AOF can be written");
	if (in->redis->is_cache || !config_get(in, "appendonly", aof, sizeof(aof)) ||
		!config_get(in, "save", save, sizeof(save)))
		return;
	if (strcmp(aof, "no") == 0 && !*save)
		add_fix(in, MB_CHECK_WARNING, "persistence", set_fix(in, "appendonly yes"),
				"the server keeps nothing on disk: a restart empties it");
	else
		add(in, MB_CHECK_OK, "persistence", "", "the server keeps its data on disk");
}

static void
check_cluster_mode(struct inspection *in)
{
	if (mb_redis_info_number(in->info, "cluster_enabled", 0) == 0 || *in->redis->prefix)
		add(in, MB_CHECK_OK, "cluster-mode", "", "url says what the server is");
	else
		add_fix(in, MB_CHECK_FAILED, "cluster-mode",
				mb_asprintf("url = cluster://%s in its section of mbackup.conf",
							mb_redis_name(in->connection)),
				"the server is a node of a cluster: only its own slots are backed up");
}

static char *
cli_command(const struct mb_redis *connection)
{
	const struct mb_redis_url *where = mb_redis_where(connection);
	char *word, *made;

	if (where->path)
	{
		word = mb_shell_word(where->path);
		made = mb_asprintf("redis-cli -s %s", word);
	}
	else
	{
		word = mb_shell_word(where->host ? where->host : "127.0.0.1");
		made =
			mb_asprintf("redis-cli -h %s -p %u%s", word, where->port, where->tls ? " --tls" : "");
	}
	free(word);
	return made;
}

static enum mb_code
inspect(struct inspection *in, struct mb_error *err)
{
	struct mb_redis_point first, second;
	enum mb_code code = get_info(in, err);

	if (!code && in->redis->base.ops == &mb_redis_rdb_component_ops)
	{
		mb_redis_check_rdb(in->redis, in->connection, in->cli, in->checks);
		check_eviction(in);
		check_persistence(in);
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
	check_buffer(in);
	check_persistence(in);
	check_cluster_mode(in);
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
		in.cli = cli_command(in.connection);
		code = inspect(&in, &found);
	}
	mb_redis_close(in.connection);
	free(in.info);
	free(in.cli);
	if (code == MB_INTERRUPTED)
	{
		*err = found;
		return code;
	}
	if (code)
		mb_check_add(checks, MB_CHECK_FAILED, component->name,
					 reached ? "privilege-info" : "reachable",
					 found.hint[0]
						 ? found.hint
						 : "systemctl start redis-server, or the right url, user and password "
						   "in its section",
					 "%s", found.message);
	return MB_OK;
}

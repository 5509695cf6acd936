/*
 * component_redis_check_rdb.c - capture = rdb: which way a backup will go, and the rights for it.
 *
 * What reading key by key needs is tried; a snapshot would fork the server, so that one is asked
 * about: ACL DRYRUN (7.0) knows the rights, and a PSYNC without its arguments is refused as
 * such where there is the command, as unknown where it was renamed or taken away.
 */
#include <stdio.h>
#include <string.h>

#include "redis/component_private.h"

struct asking
{
	struct mb_redis_component *redis;
	struct mb_redis *connection;
	struct mb_checks *checks;
	const char *user;
	const char *cli;
};

/* Is a command refused for good?  Any other error says that it is there and may be used. */
static bool
is_refused(struct asking *asking, const char *const *words, size_t count, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};
	enum mb_code code;

	mb_error_clear(err);
	code = mb_redis_call(asking->connection, words, count, &reply, err);
	mb_redis_reply_release(&reply);
	return code == MB_DENIED || code == MB_UNSUPPORTED || code == MB_UNREACHABLE;
}

enum snapshot_answer
{
	SNAPSHOT_YES,
	SNAPSHOT_NO,
	SNAPSHOT_UNKNOWN
};

static enum snapshot_answer
ask_snapshot(struct asking *asking, char *why, size_t cap)
{
	static const char *const bare[] = {"PSYNC"};
	static const char *const replconf[] = {"REPLCONF", "capa", "eof"};
	const char *dryrun[] = {"ACL", "DRYRUN", asking->user, "PSYNC", "?", "-1"};
	struct mb_redis_reply reply = {0};
	struct mb_error err;
	bool allowed;

	if (is_refused(asking, replconf, 3, &err) || is_refused(asking, bare, 1, &err))
	{
		snprintf(why, cap, "%.255s", err.message);
		return SNAPSHOT_NO;
	}
	mb_error_clear(&err);
	if (mb_redis_call(asking->connection, dryrun, 6, &reply, &err))
	{
		snprintf(why, cap, "%.255s", err.message);
		return SNAPSHOT_UNKNOWN;
	}
	allowed = reply.type == MB_REDIS_STRING && strcmp(reply.text, "OK") == 0;
	snprintf(why, cap, "user \"%s\" may not PSYNC", asking->user);
	mb_redis_reply_release(&reply);
	return allowed ? SNAPSHOT_YES : SNAPSHOT_NO;
}

static void
check_keys(struct asking *asking)
{
	static const struct
	{
		const char *words[4];
		size_t count;
		const char *name;
		const char *grant;
	} commands[] = {{{"SCAN", "0", "COUNT", "1"}, 4, "privilege-scan", "+scan"},
					{{"DUMP", "mbackup"}, 2, "privilege-dump", "'~*' +dump"},
					{{"SELECT", "0"}, 2, "privilege-select", "+select"},
					{{"TIME"}, 1, "privilege-time", "+time"},
					{{"PEXPIRETIME", "mbackup"}, 2, "privilege-expiry", "'~*' +pexpiretime"},
					{{"FUNCTION", "DUMP"}, 2, "privilege-functions", "'+function|dump'"}};
	static const char *const pttl[] = {"PTTL", "mbackup"};
	bool all = true;
	struct mb_error err, other;
	char fix[256];
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
	{
		bool functions = strcmp(commands[i].name, "privilege-functions") == 0;

		if (!is_refused(asking, commands[i].words, commands[i].count, &err))
			continue;
		/* Servers before 7.0 have no functions, and tell expiries another way. */
		if ((functions && err.code == MB_UNSUPPORTED) ||
			(strcmp(commands[i].name, "privilege-expiry") == 0 &&
			 !is_refused(asking, pttl, 2, &other)))
			continue;
		all = false;
		snprintf(fix, sizeof(fix), "%.120s ACL SETUSER %.60s %s", asking->cli, asking->user,
				 commands[i].grant);
		mb_check_add(asking->checks, functions ? MB_CHECK_WARNING : MB_CHECK_FAILED,
					 asking->redis->base.name, commands[i].name, fix, "%s%s", err.message,
					 functions ? ": functions will not be in a backup" : "");
	}
	if (all)
		mb_check_add(asking->checks, MB_CHECK_OK, asking->redis->base.name, "privilege-keys", "",
					 "user \"%s\" may read key by key", asking->user);
}

void
mb_redis_check_rdb(struct mb_redis_component *redis, struct mb_redis *connection, const char *cli,
				   struct mb_checks *checks)
{
	struct asking asking = {redis, connection, checks,
							redis->options.user ? redis->options.user
							: redis->url.user   ? redis->url.user
												: "default",
							cli};
	const char *name = redis->base.name;
	char why[256], fix[256];

	snprintf(fix, sizeof(fix), "%.120s ACL SETUSER %.60s +psync +replconf", cli, asking.user);
	switch (ask_snapshot(&asking, why, sizeof(why)))
	{
		case SNAPSHOT_YES:
			mb_check_add(checks, MB_CHECK_OK, name, "snapshot", "",
						 "a backup is a snapshot of one moment (PSYNC)");
			return;
		case SNAPSHOT_NO:
			mb_check_add(checks, MB_CHECK_WARNING, name, "snapshot", fix,
						 "a backup is read key by key and so not of one moment, because %s", why);
			break;
		case SNAPSHOT_UNKNOWN:
			mb_check_add(checks, MB_CHECK_SKIPPED, name, "snapshot", fix,
						 "could not ask whether user \"%s\" may PSYNC (%s): it is tried first, and "
						 "the backup is read key by key when it is refused",
						 asking.user, why);
			break;
	}
	check_keys(&asking);
}

/*
 * live_check.c - what forbids a restore into a running Redis, found before anything is touched,
 * and its plan.  Everything here only reads.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "redis/live.h"

#define PROBE_KEY "mbackup:probe"

/* -- rights --------------------------------------------------------------------------------- */

/* May the user do it?  ACL DRYRUN (7.0) answers without doing it; who may not ask finds out later. */
static enum mb_code
check_right(struct mb_live *live, const char *const *words, const char *grant, bool *asked,
			struct mb_error *err)
{
	const char *user = live->options.user ? live->options.user
					   : live->url.user   ? live->url.user
										  : "default";
	const char *dryrun[10] = {"ACL", "DRYRUN", user};
	struct mb_redis_reply reply = {0};
	struct mb_error refused;
	size_t count = 3;

	mb_error_clear(&refused);
	while (*words)
		dryrun[count++] = *words++;
	*asked = mb_redis_call(live->redis, dryrun, count, &reply, &refused) == MB_OK;
	if (!*asked && (refused.code == MB_UNREACHABLE || refused.code == MB_INTERRUPTED))
	{
		*err = refused;
		return err->code;
	}
	if (*asked && (reply.type != MB_REDIS_STRING || strcmp(reply.text, "OK") != 0))
	{
		mb_fail(err, MB_DENIED, "user \"%s\" may not %s at %s%s%s", user, dryrun[3],
				mb_redis_name(live->redis), reply.type == MB_REDIS_STRING ? ": " : "",
				reply.type == MB_REDIS_STRING ? reply.text : "");
		mb_error_hint(err, "ACL SETUSER %.60s %s", user, grant);
	}
	mb_redis_reply_release(&reply);
	return err->code;
}

enum need
{
	NEED_ALWAYS = 0,
	NEED_COPY = 1,  /* not where everything is just emptied */
	NEED_WHOLE = 2, /* not of a part */
	NEED_EMPTY = 4,
	NEED_FUNCTIONS = 8
};

static enum mb_code
check_rights_on(struct mb_live *live, const char *key, struct mb_error *err)
{
	const struct
	{
		enum need need;
		const char *words[6];
		const char *grant;
	} rights[] = {{NEED_ALWAYS, {"PSYNC", "?", "-1"}, "+psync +replconf"},
				  {NEED_ALWAYS, {"REPLCONF", "ACK", "0"}, "+psync +replconf"},
				  {NEED_COPY, {"SELECT", "0"}, "+select"},
				  {NEED_COPY, {"RESTORE", key, "0", "x", "REPLACE"}, "~* +restore"},
				  {NEED_COPY, {"SCAN", "0"}, "+scan"},
				  {NEED_COPY, {"UNLINK", key}, "~* +unlink"},
				  {NEED_WHOLE, {"SET", key, "x"}, "~* +set"},
				  {NEED_WHOLE, {"DEL", key}, "~* +del"},
				  {NEED_WHOLE, {"EXISTS", key}, "~* +exists"},
				  {NEED_WHOLE, {"DBSIZE"}, "+dbsize"},
				  {NEED_WHOLE, {"MULTI"}, "+multi +exec"},
				  {NEED_WHOLE, {"EXEC"}, "+multi +exec"},
				  {NEED_WHOLE, {"SWAPDB", "0", "0"}, "+swapdb"},
				  {NEED_WHOLE, {"FLUSHDB", "ASYNC"}, "+flushdb"},
				  {NEED_FUNCTIONS, {"FUNCTION", "RESTORE", "x"}, "+function|restore"},
				  {NEED_EMPTY, {"FLUSHALL", "ASYNC"}, "+flushall"}};
	unsigned needs = live->empties ? NEED_EMPTY : NEED_COPY;
	bool asked = true;
	size_t i;

	if (!live->empties && live->only_count == 0)
		needs |= NEED_FUNCTIONS | (live->by_keys ? 0 : NEED_WHOLE);
	for (i = 0; asked && i < sizeof(rights) / sizeof(rights[0]); i++)
		if ((rights[i].need == NEED_ALWAYS || (rights[i].need & needs)) &&
			check_right(live, rights[i].words, rights[i].grant, &asked, err))
			return err->code;
	return MB_OK;
}

/* A user of some keys only is asked about the pattern itself: ~app:* matches the key "app:*". */
static enum mb_code
check_rights(struct mb_live *live, struct mb_error *err)
{
	size_t i;

	if (live->only_count == 0)
		return check_rights_on(live, PROBE_KEY, err);
	for (i = 0; i < live->only_count; i++)
		if (check_rights_on(live, live->only[i].pattern, err))
			return err->code;
	return MB_OK;
}

static enum mb_code
too_few_databases(const struct mb_live *live, int64_t db, struct mb_error *err)
{
	if (live->in_cluster)
	{
		mb_fail(err, MB_UNSUPPORTED,
				"there are keys in database %" PRId64
				", but Redis at %s is in a cluster, which has "
				"only database 0",
				db, mb_redis_name(live->redis));
		return mb_error_hint(err, "--only '0:*' restores what is in database 0.");
	}
	mb_fail(err, MB_UNSUPPORTED,
			"there are keys in database %" PRId64 ", but the server at %s has only %u databases",
			db, mb_redis_name(live->redis), live->databases);
	return mb_error_hint(err, "Set \"databases\" in its redis.conf and start it again.");
}

enum mb_code
mb_live_takes(const struct mb_live *live, const struct mb_live_dbs *dbs, unsigned version,
			  struct mb_error *err)
{
	size_t i;

	if (version == 0)
	{
		mb_fail(err, MB_UNSUPPORTED, "the private redis-server is older than 7.0");
		return mb_error_hint(err, "Set redis-server in the section of the component.");
	}
	if (live->rdb_version > 0 && version > live->rdb_version)
	{
		mb_fail(err, MB_UNSUPPORTED,
				"the private redis-server writes format %u, the server at %s takes %u at most",
				version, mb_redis_name(live->redis), live->rdb_version);
		return mb_error_hint(err, "Set redis-server to the program that runs there.");
	}
	for (i = 0; i < dbs->count; i++)
		if (dbs->items[i].db >= (int64_t) live->databases &&
			mb_redis_only_db(live->only, live->only_count, dbs->items[i].db))
			return too_few_databases(live, dbs->items[i].db, err);
	return MB_OK;
}

/* What the backup says about itself against what the server takes. */
static enum mb_code
check_backup(const struct mb_live *live, const json_t *meta, struct mb_error *err)
{
	unsigned version = (unsigned) mb_json_int(meta, "rdb_version", 0);
	const json_t *db;
	size_t i;

	if (live->rdb_version > 0 && version > live->rdb_version)
	{
		mb_fail(err, MB_UNSUPPORTED,
				"the backup is of Redis %s (format %u), the server at %s takes format %u at most",
				mb_json_str(meta, "server_version", "?"), version, mb_redis_name(live->redis),
				live->rdb_version);
		return mb_error_hint(err, "Restore into a server that is at least as new.");
	}
	json_array_foreach(json_object_get(meta, "databases"), i, db)
	{
		int64_t number = mb_json_int(db, "db", 0);

		if (number >= (int64_t) live->databases &&
			mb_redis_only_db(live->only, live->only_count, number))
			return too_few_databases(live, number, err);
	}
	return MB_OK;
}

enum mb_code
mb_live_check(struct mb_live *live, const json_t *meta, struct mb_error *err)
{
	char text[64] = "";

	if (mb_redis_info_field(live->info, "role", text, sizeof(text)) && strcmp(text, "master") != 0)
	{
		mb_fail(err, MB_UNSUPPORTED, "Redis at %s is a replica", mb_redis_name(live->redis));
		return mb_error_hint(err, "Restore into its master, from which it gets the data.");
	}
	if (mb_redis_info_field(live->info, "redis_version", text, sizeof(text)) &&
		strtoul(text, NULL, 10) < 7)
	{
		mb_fail(err, MB_UNSUPPORTED, "a restore into a running Redis needs Redis 7.0, at %s is %s",
				mb_redis_name(live->redis), text);
		return mb_error_hint(err, "Restore into a directory and start the server there.");
	}
	if (live->empties && live->only_count > 0)
	{
		mb_fail(err, MB_CONFIG, "role = cache: there is no part of it to restore");
		return mb_error_hint(err, "Set role = data to restore the contents.");
	}
	if (check_rights(live, err))
		return err->code;
	return meta && !live->empties ? check_backup(live, meta, err) : MB_OK;
}

enum mb_code
mb_live_room(struct mb_live *live, uint64_t bytes, struct mb_error *err)
{
	uint64_t limit, used;
	char *text;

	if (mb_live_info(live->redis, "memory", &text, err))
		return err->code;
	limit = mb_redis_info_number(text, "maxmemory", 0);
	used = mb_redis_info_number(text, "used_memory", 0);
	free(text);
	if (limit == 0 || (used < limit && bytes <= limit - used))
		return MB_OK;
	mb_fail(err, MB_NO_SPACE, "maxmemory of Redis at %s has no room for what is restored",
			mb_redis_name(live->redis));
	mb_error_detail(err,
					"It is %" PRIu64 " bytes, of which %" PRIu64 " are used; at least %" PRIu64
					" more are needed.",
					limit, used, bytes);
	return mb_error_hint(err, "CONFIG SET maxmemory 0 for the time of the restore, or restore into "
							  "a directory.");
}

/* -- plan ----------------------------------------------------------------------------------- */

static enum mb_code
plan_rdb(struct mb_live *live, const char *path, struct mb_error *err)
{
	struct mb_live_rdb rdb;

	if (mb_live_check_rdb(path, &rdb, err))
		return err->code;
	if (live->rdb_version > 0 && rdb.version > live->rdb_version)
		return mb_fail(err, MB_UNSUPPORTED,
					   "\"%s\" has format %u, the server at %s takes format %u at most", path,
					   rdb.version, mb_redis_name(live->redis), live->rdb_version);
	return MB_OK;
}

/* A bound from below: an RDB is smaller than what it becomes.  After loading it is known. */
static enum mb_code
plan_room(struct mb_live *live, const struct mb_restore *restore, const struct mb_commit *commit,
		  struct mb_error *err)
{
	bool is_rdb_only =
		mb_json_int(restore->plan, "offset", -1) == mb_json_int(commit->meta, "rdb_offset", 0);

	if (restore->only_count > 0 || live->empties || restore->wishes->rdb || !is_rdb_only)
		return MB_OK;
	return mb_live_room(live, commit->bytes, err);
}

static void
publish(const struct mb_live *live, const struct mb_live_dbs *dbs, json_t *plan)
{
	mb_json_set_str(plan, "server", mb_redis_name(live->redis));
	mb_json_set_int(plan, "live_keys", (int64_t) mb_live_dbs_total(dbs));
	mb_json_set_bool(plan, "empties", live->empties);
}

enum mb_code
mb_redis_live_plan(struct mb_component *component, struct mb_restore *restore,
				   const struct mb_commit *commit, struct mb_error *err)
{
	const char *program = mb_settings_get(component->settings, "redis-server");
	const char *rdb = restore->wishes->rdb;
	struct mb_live_dbs dbs = {0};
	struct mb_live live;
	enum mb_code code = mb_live_open(&live, component, restore, err);
	char *path = NULL;

	if (!code && (live.in_cluster || mb_redis_of(component)->cluster))
	{
		mb_live_close(&live);
		return mb_cluster_live_plan(component, restore, commit, err);
	}
	if (!code)
		code = mb_live_check(&live, rdb ? NULL : commit->meta, err);
	if (!code && rdb)
		code = plan_rdb(&live, rdb, err);
	if (!code)
		code = plan_room(&live, restore, commit, err);
	if (!code && !live.empties)
		code = mb_scratch_program(&path, program ? program : "redis-server", err);
	if (!code)
		code = mb_live_dbs_read(live.redis, &dbs, err);
	if (!code)
		publish(&live, &dbs, restore->plan);
	free(path);
	mb_live_dbs_release(&dbs);
	mb_live_close(&live);
	return code;
}

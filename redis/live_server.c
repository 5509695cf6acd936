/*
 * live_server.c - the destination of a restore into a running Redis: what it is.
 * Everything here only reads.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "redis/live.h"

#define FOOTER_BYTES 10 /* of a payload: version, CRC64 */

/* -- databases ------------------------------------------------------------------------------ */

void
mb_live_dbs_parse(struct mb_live_dbs *dbs, const char *info)
{
	const char *line;

	for (line = info; line; line = strchr(line, '\n'))
	{
		struct mb_live_db db;

		line += *line == '\n';
		if (sscanf(line, "db%" SCNd64 ":keys=%" SCNu64, &db.db, &db.keys) != 2 || db.keys == 0)
			continue;
		dbs->items = mb_grow(dbs->items, &dbs->cap, dbs->count + 1, sizeof(*dbs->items));
		dbs->items[dbs->count++] = db;
	}
}

enum mb_code
mb_live_info(struct mb_redis *redis, const char *section, char **text, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};

	if (section ? MB_REDIS_CALL(redis, &reply, err, "INFO", section)
				: MB_REDIS_CALL(redis, &reply, err, "INFO"))
		return err->code;
	if (reply.type != MB_REDIS_STRING)
	{
		mb_redis_reply_release(&reply);
		return mb_fail(err, MB_CORRUPT, "the answer of Redis to INFO is no text");
	}
	*text = mb_strdup(reply.text);
	mb_redis_reply_release(&reply);
	return MB_OK;
}

enum mb_code
mb_live_dbs_read(struct mb_redis *redis, struct mb_live_dbs *dbs, struct mb_error *err)
{
	char *text;

	if (mb_live_info(redis, "keyspace", &text, err))
		return err->code;
	mb_live_dbs_parse(dbs, text);
	free(text);
	return MB_OK;
}

void
mb_live_dbs_release(struct mb_live_dbs *dbs)
{
	free(dbs->items);
	memset(dbs, 0, sizeof(*dbs));
}

uint64_t
mb_live_dbs_keys(const struct mb_live_dbs *dbs, int64_t db)
{
	size_t i;

	for (i = 0; i < dbs->count; i++)
		if (dbs->items[i].db == db)
			return dbs->items[i].keys;
	return 0;
}

uint64_t
mb_live_dbs_total(const struct mb_live_dbs *dbs)
{
	uint64_t total = 0;
	size_t i;

	for (i = 0; i < dbs->count; i++)
		total += dbs->items[i].keys;
	return total;
}

/* Is there a database of this number?  SELECT knows; CONFIG GET is often forbidden. */
static enum mb_code
has_database(struct mb_redis *redis, unsigned db, bool *yes, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};
	char number[16];

	snprintf(number, sizeof(number), "%u", db);
	*yes = MB_REDIS_CALL(redis, &reply, err, "SELECT", number) == MB_OK;
	mb_redis_reply_release(&reply);
	if (*yes || !strstr(err->message, "DB index"))
		return *yes ? MB_OK : err->code;
	mb_error_clear(err); /* out of range */
	return MB_OK;
}

static enum mb_code
count_databases(struct mb_redis *redis, unsigned *count, struct mb_error *err)
{
	unsigned has = 0, not = 1;
	bool yes = true;

	while (yes && not < MB_LIVE_MAX_DBS)
	{
		not *= 2;
		if (has_database(redis, not -1, &yes, err))
			return err->code;
		has = yes ? not -1 : has;
	}
	for (not = yes ? not : not -1; not -has > 1;)
	{
		unsigned middle = has + (not -has) / 2;

		if (has_database(redis, middle, &yes, err))
			return err->code;
		*(yes ? &has : &not ) = middle;
	}
	*count = has + 1;
	return has_database(redis, 0, &yes, err); /* as it was */
}

/* -- payloads ------------------------------------------------------------------------------- */

enum mb_code
mb_live_functions(struct mb_redis *redis, struct mb_buf *payload, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};

	if (MB_REDIS_CALL(redis, &reply, err, "FUNCTION", "DUMP"))
	{
		if (err->code != MB_DENIED && err->code != MB_UNSUPPORTED)
			return err->code;
		mb_error_clear(err);
		return MB_OK;
	}
	if (reply.type == MB_REDIS_STRING)
		mb_buf_put(payload, reply.text, reply.len);
	mb_redis_reply_release(&reply);
	return MB_OK;
}

unsigned
mb_live_payload_version(const struct mb_buf *payload)
{
	return payload->len < FOOTER_BYTES ? 0
									   : mb_get_u16(payload->data + payload->len - FOOTER_BYTES);
}

uint64_t
mb_live_info_number(struct mb_redis *redis, const char *section, const char *key,
					struct mb_error *err)
{
	uint64_t number;
	char *text;

	if (mb_live_info(redis, section, &text, err))
		return 0;
	number = mb_redis_info_number(text, key, 0);
	free(text);
	return number;
}

/* -- opening -------------------------------------------------------------------------------- */

bool
mb_live_is_destination(const char *place)
{
	return strstr(place, "://") != NULL;
}

static enum mb_code
read_only(struct mb_live *live, struct mb_error *err)
{
	const struct mb_restore *restore = live->restore;
	size_t i;

	live->only = mb_calloc(restore->only_count + 1, sizeof(*live->only));
	live->only_count = restore->only_count;
	for (i = 0; i < restore->only_count; i++)
		if (mb_redis_only_parse(&live->only[i], restore->only[i], err))
			return err->code;
	return MB_OK;
}

enum mb_code
mb_live_open(struct mb_live *live, struct mb_component *component, struct mb_restore *restore,
			 struct mb_error *err)
{
	const struct mb_redis_component *redis = mb_redis_of(component);
	enum mb_code code;

	*live = (struct mb_live){.component = component, .restore = restore};
	live->empties = redis->is_cache && !restore->wishes->rdb;
	code = read_only(live, err);
	if (!code)
		code = mb_redis_url_parse(&live->url, restore->destination, err);
	live->options = redis->options;
	live->options.url = &live->url;
	if (live->url.user)
		live->options.user = NULL;
	if (!code)
		code = mb_redis_connect(&live->redis, &live->options, err);
	if (!code)
		code = mb_live_info(live->redis, NULL, &live->info, err);
	if (!code && mb_redis_info_number(live->info, "loading", 0) == 1)
		code = mb_fail(err, MB_UNREACHABLE, "Redis at %s is loading its data",
					   mb_redis_name(live->redis));
	live->in_cluster = !code && mb_redis_info_number(live->info, "cluster_enabled", 0) == 1;
	live->databases = 1;
	if (!code && !live->in_cluster)
		code = count_databases(live->redis, &live->databases, err);
	if (!code)
		code = mb_live_functions(live->redis, &live->functions, err);
	live->rdb_version = mb_live_payload_version(&live->functions);
	if (code == MB_DENIED && live->redis)
		mb_error_hint(err, "docs/redis.md lists the rights that a restore into a running server "
						   "needs.");
	return code;
}

void
mb_live_close(struct mb_live *live)
{
	mb_redis_close(live->redis);
	mb_redis_url_release(&live->url);
	mb_buf_release(&live->functions);
	free(live->info);
	free(live->only);
	*live = (struct mb_live){0};
}

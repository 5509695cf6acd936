/* rdb_stats.c - see rdb_stats.h. */
#include "redis/rdb_stats.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"

/* Of one database and type. */
struct count
{
	uint64_t db;
	const char *type;
	uint64_t keys;
	uint64_t bytes;
};

struct mb_rdb_stats
{
	struct count *counts; /* in order of appearance: a handful per database */
	size_t count;
	size_t cap;
	size_t last;                               /* where the last key was counted */
	struct mb_rdb_key biggest[MB_RDB_BIGGEST]; /* descending by bytes */
	size_t biggest_count;
	uint64_t expires;
	int64_t nearest_ms;
	int64_t furthest_ms;
};

struct mb_rdb_stats *
mb_rdb_stats_new(void)
{
	return mb_calloc(1, sizeof(struct mb_rdb_stats));
}

void
mb_rdb_stats_free(struct mb_rdb_stats *stats)
{
	if (stats)
		free(stats->counts);
	free(stats);
}

static bool
is_of(const struct count *count, const struct mb_rdb_key *key)
{
	return count->db == key->db && strcmp(count->type, key->type) == 0;
}

/* Databases come one after the other, so only the tail of the list is searched. */
static struct count *
find_count(struct mb_rdb_stats *stats, const struct mb_rdb_key *key)
{
	size_t i;

	if (stats->count > 0 && is_of(&stats->counts[stats->last], key))
		return &stats->counts[stats->last];
	for (i = stats->count; i > 0 && stats->counts[i - 1].db == key->db; i--)
		if (is_of(&stats->counts[i - 1], key))
		{
			stats->last = i - 1;
			return &stats->counts[stats->last];
		}
	stats->counts = mb_grow(stats->counts, &stats->cap, stats->count + 1, sizeof(*stats->counts));
	stats->last = stats->count++;
	stats->counts[stats->last] = (struct count){.db = key->db, .type = key->type};
	return &stats->counts[stats->last];
}

static void
note_big(struct mb_rdb_stats *stats, const struct mb_rdb_key *key)
{
	size_t at = stats->biggest_count;

	while (at > 0 && stats->biggest[at - 1].bytes < key->bytes)
		at--;
	if (at == MB_RDB_BIGGEST)
		return;
	if (stats->biggest_count < MB_RDB_BIGGEST)
		stats->biggest_count++;
	memmove(&stats->biggest[at + 1], &stats->biggest[at],
			(stats->biggest_count - 1 - at) * sizeof(*key));
	stats->biggest[at] = *key;
}

void
mb_rdb_stats_add(void *ctx, const struct mb_rdb_key *key)
{
	struct mb_rdb_stats *stats = ctx;
	struct count *count = find_count(stats, key);

	count->keys++;
	count->bytes += key->bytes;
	note_big(stats, key);
	if (!key->expires)
		return;
	if (stats->expires == 0 || key->expiry_ms < stats->nearest_ms)
		stats->nearest_ms = key->expiry_ms;
	if (stats->expires == 0 || key->expiry_ms > stats->furthest_ms)
		stats->furthest_ms = key->expiry_ms;
	stats->expires++;
}

/* A key is any bytes: as redis-cli would show it, "..." where it was cut. */
static void
key_text(struct mb_buf *out, const struct mb_rdb_key *key)
{
	size_t i;

	for (i = 0; i < key->name_kept; i++)
	{
		unsigned char c = key->name[i];

		if (c < 0x20 || c >= 0x7f || c == '\\')
			mb_buf_printf(out, "\\x%02x", c);
		else
			mb_buf_put_u8(out, c);
	}
	if (key->name_kept < key->name_len)
		mb_buf_put_str(out, "...");
}

static json_t *
counts_json(const struct mb_rdb_stats *stats)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < stats->count; i++)
	{
		json_t *item = json_object();

		mb_json_set_int(item, "db", (int64_t) stats->counts[i].db);
		mb_json_set_str(item, "type", stats->counts[i].type);
		mb_json_set_int(item, "keys", (int64_t) stats->counts[i].keys);
		mb_json_set_int(item, "bytes", (int64_t) stats->counts[i].bytes);
		json_array_append_new(list, item);
	}
	return list;
}

static json_t *
biggest_json(const struct mb_rdb_stats *stats)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < stats->biggest_count; i++)
	{
		const struct mb_rdb_key *key = &stats->biggest[i];
		json_t *item = json_object();
		struct mb_buf text = {0};

		key_text(&text, key);
		mb_json_set_int(item, "db", (int64_t) key->db);
		mb_json_set_str(item, "key", mb_buf_cstr(&text));
		mb_json_set_str(item, "type", key->type);
		mb_json_set_int(item, "bytes", (int64_t) key->bytes);
		json_array_append_new(list, item);
		mb_buf_release(&text);
	}
	return list;
}

json_t *
mb_rdb_stats_json(const struct mb_rdb_stats *stats)
{
	json_t *json = json_object(), *expires = json_object();

	json_object_set_new(json, "types", counts_json(stats));
	json_object_set_new(json, "biggest", biggest_json(stats));
	mb_json_set_int(expires, "keys", (int64_t) stats->expires);
	/* A server may hold an expiry that no date can say: then it is not shown. */
	if (stats->expires && stats->nearest_ms < INT64_C(253402300800000) && stats->nearest_ms >= 0)
		mb_json_set_time(expires, "nearest", stats->nearest_ms * 1000);
	if (stats->expires && stats->furthest_ms < INT64_C(253402300800000) && stats->furthest_ms >= 0)
		mb_json_set_time(expires, "furthest", stats->furthest_ms * 1000);
	json_object_set_new(json, "expires", expires);
	return json;
}

json_t *
mb_rdb_databases_json(const struct mb_rdb_summary *summary)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < summary->db_count; i++)
		json_array_append_new(list,
							  json_pack("{s:I,s:I,s:I}", "db", (json_int_t) summary->dbs[i].db,
										"keys", (json_int_t) summary->dbs[i].keys, "expires",
										(json_int_t) summary->dbs[i].expires));
	return list;
}

/* -- sums ------------------------------------------------------------------------------------ */

static void
add_int(json_t *to, const json_t *from, const char *key)
{
	mb_json_set_int(to, key, mb_json_int(to, key, 0) + mb_json_int(from, key, 0));
}

/* Where (db, type) stands in a list of counts; its length when it does not. */
static size_t
find_type(const json_t *list, const json_t *wanted)
{
	const char *type = mb_json_str(wanted, "type", "");
	int64_t db = mb_json_int(wanted, "db", 0);
	size_t count = json_array_size(list), at;

	for (at = 0; at < count; at++)
	{
		const json_t *item = json_array_get(list, at);

		if (mb_json_int(item, "db", 0) == db && strcmp(mb_json_str(item, "type", ""), type) == 0)
			break;
	}
	return at;
}

static void
sum_types(json_t *sum, const json_t *part)
{
	size_t i;

	for (i = 0; i < json_array_size(part); i++)
	{
		json_t *item = json_array_get(part, i);
		size_t at = find_type(sum, item);

		if (at == json_array_size(sum))
		{
			json_array_append_new(sum, json_copy(item));
			continue;
		}
		add_int(json_array_get(sum, at), item, "keys");
		add_int(json_array_get(sum, at), item, "bytes");
	}
}

/* Both are sorted, the biggest first. */
static void
sum_biggest(json_t *sum, const json_t *part)
{
	size_t i, at;

	for (i = 0; i < json_array_size(part); i++)
	{
		json_t *item = json_array_get(part, i);
		int64_t bytes = mb_json_int(item, "bytes", 0);

		for (at = 0; at < json_array_size(sum); at++)
			if (mb_json_int(json_array_get(sum, at), "bytes", 0) < bytes)
				break;
		json_array_insert(sum, at, item);
	}
	while (json_array_size(sum) > MB_RDB_BIGGEST)
		json_array_remove(sum, json_array_size(sum) - 1);
}

static void
sum_expires(json_t *sum, const json_t *part)
{
	const char *nearest = mb_json_str(part, "nearest", NULL);
	const char *furthest = mb_json_str(part, "furthest", NULL);

	add_int(sum, part, "keys");
	/* Times in one format, so their order is that of the texts. */
	if (nearest && strcmp(nearest, mb_json_str(sum, "nearest", "~")) < 0)
		mb_json_set_str(sum, "nearest", nearest);
	if (furthest && strcmp(furthest, mb_json_str(sum, "furthest", "")) > 0)
		mb_json_set_str(sum, "furthest", furthest);
}

json_t *
mb_rdb_stats_sum(json_t *sum, const json_t *part)
{
	if (!sum)
		return part ? json_deep_copy(part) : NULL;
	sum_types(json_object_get(sum, "types"), json_object_get(part, "types"));
	sum_biggest(json_object_get(sum, "biggest"), json_object_get(part, "biggest"));
	sum_expires(json_object_get(sum, "expires"), json_object_get(part, "expires"));
	return sum;
}

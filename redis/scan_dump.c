/* scan_dump.c - see scan_dump.h. */
#include "redis/scan_dump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/key_set.h"
#include "redis/live.h"
#include "redis/pipeline.h"
#include "redis/rdb_write.h"

#define SCAN_COUNT "512"
#define WAY_BYTES (8u << 20) /* of values that are on their way */
#define WAY_KEYS 128
#define FIRST_WAY_KEYS 8 /* before anything is known of the values */
#define KEEP_BYTES (4u << 20)
#define KEY_TRIES 8
/* Two moments computed from PTTL and TIME are the same when no further apart. */
#define CLOSE_MS 100
#define EMPTY_VERSION 7 /* of a file without any value: every server takes it */
#define CURSOR_TEXT 24

#define WORD(text) ((struct mb_word){(text), sizeof(text) - 1})

/* An expiry in ms since 1970, or one of these. */
#define EXPIRY_ABSENT (-2)
#define EXPIRY_NONE (-1)

struct name
{
	size_t at;
	size_t len;
};

struct scan
{
	const struct mb_scan_dump_options *options;
	struct mb_scan_dump_result result;
	struct mb_redis *redis;
	struct mb_pipe pipe;
	struct mb_rdb_writer writer;
	struct mb_key_set *seen; /* of the present database */
	int64_t db;
	int64_t file_db; /* selected in the file; -1: none */
	char server[64];
	char run_id[64];
	bool is_valkey;
	bool is_cluster;
	bool by_pttl; /* before 7.0: PTTL and TIME in place of PEXPIRETIME */
	struct mb_buf names;
	struct name *items; /* one step of SCAN */
	size_t count;
	size_t cap;
	size_t way; /* how many values may be on their way */
	size_t largest;
	struct mb_buf value;
};

void
mb_key_text(char out[MB_KEY_TEXT], const void *name, size_t len)
{
	const unsigned char *p = name;
	size_t at = 0, i;

	for (i = 0; i < len && at + 8 < MB_KEY_TEXT; i++)
		if (p[i] >= ' ' && p[i] < 127 && p[i] != '\\' && p[i] != '"')
			out[at++] = (char) p[i];
		else
			at += (size_t) snprintf(out + at, 5, "\\x%02x", p[i]);
	strcpy(out + at, i < len ? "..." : "");
}

static struct mb_word
word_of(const struct scan *scan, size_t i)
{
	return (struct mb_word){scan->names.data + scan->items[i].at, scan->items[i].len};
}

static enum mb_code
not_taken(const struct scan *scan, size_t i, struct mb_error *err)
{
	struct mb_word key = word_of(scan, i);
	char text[MB_KEY_TEXT];

	mb_key_text(text, key.data, key.len);
	if (err->code == MB_CORRUPT)
		mb_error_hint(err, "Values of more than 1 GiB cannot be read key by key.");
	return mb_error_context(err, "could not take key \"%s\" of database %" PRId64, text, scan->db);
}

/* -- expiries ------------------------------------------------------------------------------- */

static void
ask_expiry(struct scan *scan, struct mb_word key)
{
	if (!scan->by_pttl)
	{
		mb_pipe_add(&scan->pipe, (struct mb_word[]){WORD("PEXPIRETIME"), key}, 2);
		return;
	}
	mb_pipe_add(&scan->pipe, (struct mb_word[]){WORD("PTTL"), key}, 2);
	mb_pipe_add_texts(&scan->pipe, "TIME", NULL);
}

/* Two strings: seconds and microseconds. */
static enum mb_code
read_time(struct scan *scan, int64_t *time_us, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	int64_t parts[2] = {0, 0};
	char text[24];
	int i;

	if (mb_pipe_expect(&scan->pipe, "TIME", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_ARRAY || reply.integer != 2)
		return mb_fail(err, MB_CORRUPT, "the answer of Redis to TIME cannot be read");
	for (i = 0; i < 2; i++)
	{
		if (mb_pipe_expect(&scan->pipe, "TIME", &reply, err))
			return err->code;
		snprintf(text, sizeof(text), "%.*s", (int) (reply.len < 20 ? reply.len : 20), reply.data);
		parts[i] = strtoll(text, NULL, 10);
	}
	*time_us = parts[0] * 1000000 + parts[1];
	return MB_OK;
}

static enum mb_code
read_expiry(struct scan *scan, int64_t *expiry_ms, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	int64_t left_ms, time_us;

	if (mb_pipe_expect(&scan->pipe, scan->by_pttl ? "PTTL" : "PEXPIRETIME", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_INTEGER)
		return mb_fail(err, MB_CORRUPT, "the expiry that Redis gave cannot be read");
	*expiry_ms = left_ms = reply.integer;
	if (!scan->by_pttl)
		return MB_OK;
	if (read_time(scan, &time_us, err))
		return err->code;
	if (left_ms >= 0)
		*expiry_ms = time_us / 1000 + left_ms;
	return MB_OK;
}

static bool
is_same_expiry(const struct scan *scan, int64_t a, int64_t b)
{
	if (a == b)
		return true;
	return scan->by_pttl && a > 0 && b > 0 && llabs(a - b) <= CLOSE_MS;
}

/* -- keys ----------------------------------------------------------------------------------- */

static void
ask_key(struct scan *scan, size_t i)
{
	struct mb_word key = word_of(scan, i);

	ask_expiry(scan, key);
	mb_pipe_add(&scan->pipe, (struct mb_word[]){WORD("DUMP"), key}, 2);
	ask_expiry(scan, key);
}

/* The first payload tells the format of the file. */
static enum mb_code
begin_file(struct scan *scan, unsigned version, struct mb_error *err)
{
	enum mb_rdb_magic magic = scan->is_valkey && version >= 80 ? MB_RDB_VALKEY : MB_RDB_REDIS;
	char ctime[24];
	enum mb_code code;

	snprintf(ctime, sizeof(ctime), "%" PRId64, scan->result.from_us / 1000000);
	code = mb_rdb_write_begin(&scan->writer, magic, version, err);
	if (!code)
		code = mb_rdb_write_aux(&scan->writer, magic == MB_RDB_VALKEY ? "valkey-ver" : "redis-ver",
								scan->server, err);
	return code ? code : mb_rdb_write_aux(&scan->writer, "ctime", ctime, err);
}

static enum mb_code
begin_file_by(struct scan *scan, const void *payload, size_t len, struct mb_error *err)
{
	unsigned version;

	if (scan->writer.version > 0)
		return MB_OK;
	if (mb_rdb_payload_check(payload, len, &version, err))
		return err->code;
	return begin_file(scan, version, err);
}

static enum mb_code
write_key(struct scan *scan, size_t i, int64_t expiry_ms, struct mb_error *err)
{
	struct mb_word key = word_of(scan, i);
	enum mb_code code = begin_file_by(scan, scan->value.data, scan->value.len, err);

	if (!code && scan->file_db != scan->db)
		code = mb_rdb_write_select(&scan->writer, (uint64_t) scan->db, err);
	scan->file_db = scan->db;
	scan->result.keys++;
	return code ? code
				: mb_rdb_write_key(&scan->writer, key.data, key.len,
								   expiry_ms > 0 ? expiry_ms : MB_RDB_NO_EXPIRY, scan->value.data,
								   scan->value.len, err);
}

enum taken
{
	TAKEN,
	VANISHED,
	CHANGED /* in the middle: ask again */
};

/* The three answers of one key; the value is left in scan->value. */
static enum mb_code
read_key(struct scan *scan, enum taken *taken, int64_t *expiry_ms, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	int64_t before, after;
	bool is_there;

	if (read_expiry(scan, &before, err) || mb_pipe_expect(&scan->pipe, "DUMP", &reply, err))
		return err->code;
	is_there = reply.type == MB_REDIS_STRING;
	if (scan->value.cap > KEEP_BYTES)
		mb_buf_release(&scan->value);
	mb_buf_reset(&scan->value);
	if (is_there)
		mb_buf_put(&scan->value, reply.data, reply.len);
	if (reply.len > scan->largest)
		scan->largest = reply.len;
	if (read_expiry(scan, &after, err))
		return err->code;
	*taken = !is_there || after == EXPIRY_ABSENT   ? VANISHED
			 : is_same_expiry(scan, before, after) ? TAKEN
												   : CHANGED;
	/* Should it never stand still: the later one, which loses nothing. */
	*expiry_ms = before == EXPIRY_NONE || after == EXPIRY_NONE ? EXPIRY_NONE
				 : before > after                              ? before
															   : after;
	return MB_OK;
}

/* One key that changed while it was read, by itself. */
static enum mb_code
take_again(struct scan *scan, size_t i, struct mb_error *err)
{
	enum taken taken = CHANGED;
	int64_t expiry_ms = EXPIRY_NONE;
	unsigned tries;

	for (tries = 0; tries < KEY_TRIES && taken == CHANGED; tries++)
	{
		ask_key(scan, i);
		if (mb_pipe_flush(&scan->pipe, err) || read_key(scan, &taken, &expiry_ms, err))
			return err->code;
	}
	if (taken != VANISHED)
		return write_key(scan, i, expiry_ms, err);
	scan->result.vanished++;
	return MB_OK;
}

/*
 * The line broke while keys [from, to) were on their way.  A server closes it on a client whose answers
 * are too large for it, and which of them that was is seen when each is asked for by itself.
 */
static enum mb_code
not_taken_of(struct scan *scan, size_t from, size_t to, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	struct mb_redis *again = NULL;
	struct mb_pipe old = scan->pipe;
	struct mb_error found;
	bool broke = false;
	size_t i = from;

	mb_error_clear(&found);
	scan->pipe = (struct mb_pipe){0};
	if (err->code == MB_UNREACHABLE && to - from > 1 &&
		mb_redis_connect(&again, scan->options->redis, &found) == MB_OK)
	{
		scan->pipe.redis = again;
		broke = !scan->is_cluster && mb_live_select(&scan->pipe, scan->db, &found) != MB_OK;
		for (; !broke && i < to; i += !broke)
		{
			mb_pipe_add(&scan->pipe, (struct mb_word[]){WORD("DUMP"), word_of(scan, i)}, 2);
			broke = mb_pipe_flush(&scan->pipe, &found) != MB_OK ||
					mb_pipe_reply(&scan->pipe, &reply, &found) != MB_OK;
		}
	}
	mb_pipe_release(&scan->pipe);
	mb_redis_close(again);
	scan->pipe = old;
	return not_taken(scan, broke && i < to ? i : from, err);
}

/* Keys [from, to) of the step, all on their way at once. */
static enum mb_code
take_keys(struct scan *scan, size_t from, size_t to, struct mb_error *err)
{
	size_t changed[WAY_KEYS], changed_count = 0, i;

	for (i = from; i < to; i++)
		ask_key(scan, i);
	if (mb_pipe_flush(&scan->pipe, err))
		return not_taken_of(scan, from, to, err);
	scan->largest = 1;
	for (i = from; i < to; i++)
	{
		enum taken taken;
		int64_t expiry_ms;

		if (read_key(scan, &taken, &expiry_ms, err))
			return not_taken_of(scan, i, err->code == MB_UNREACHABLE ? to : i + 1, err);
		if (taken == CHANGED)
			changed[changed_count++] = i;
		else if (taken == VANISHED)
			scan->result.vanished++;
		else if (write_key(scan, i, expiry_ms, err))
			return not_taken(scan, i, err);
	}
	scan->result.retaken += changed_count;
	for (i = 0; i < changed_count; i++)
		if (take_again(scan, changed[i], err))
			return not_taken(scan, changed[i], err);
	scan->way = WAY_BYTES / scan->largest;
	scan->way = scan->way < 1 ? 1 : scan->way > WAY_KEYS ? WAY_KEYS : scan->way;
	return MB_OK;
}

/* -- scanning ------------------------------------------------------------------------------- */

static void
add_name(struct scan *scan, const struct mb_pipe_reply *key)
{
	if (!mb_key_set_add(scan->seen, key->data, key->len))
	{
		scan->result.repeated++;
		return;
	}
	scan->items = mb_grow(scan->items, &scan->cap, scan->count + 1, sizeof(*scan->items));
	scan->items[scan->count++] = (struct name){scan->names.len, key->len};
	mb_buf_put(&scan->names, key->data, key->len);
}

/* One step of SCAN; cursor is "0" again behind the last. */
static enum mb_code
scan_step(struct scan *scan, char cursor[CURSOR_TEXT], struct mb_error *err)
{
	struct mb_pipe_reply reply;
	int64_t left;

	if (scan->options->redis->cancel && mb_cancel_check(scan->options->redis->cancel, err))
		return err->code;
	mb_buf_reset(&scan->names);
	scan->count = 0;
	mb_pipe_add_texts(&scan->pipe, "SCAN", cursor, "COUNT", SCAN_COUNT, NULL);
	if (mb_pipe_flush(&scan->pipe, err) || mb_pipe_expect(&scan->pipe, "SCAN", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_ARRAY || reply.integer != 2)
		return mb_fail(err, MB_CORRUPT, "the answer of Redis to SCAN cannot be read");
	if (mb_pipe_expect(&scan->pipe, "SCAN", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_STRING || reply.len == 0 || reply.len >= CURSOR_TEXT)
		return mb_fail(err, MB_CORRUPT, "the cursor of SCAN cannot be read");
	memcpy(cursor, reply.data, reply.len);
	cursor[reply.len] = '\0';
	if (mb_pipe_expect(&scan->pipe, "SCAN", &reply, err))
		return err->code;
	if (reply.type != MB_REDIS_ARRAY)
		return mb_fail(err, MB_CORRUPT, "the answer of Redis to SCAN cannot be read");
	for (left = reply.integer; left > 0; left--)
	{
		if (mb_pipe_expect(&scan->pipe, "SCAN", &reply, err))
			return err->code;
		add_name(scan, &reply);
	}
	return MB_OK;
}

static enum mb_code
scan_db(struct scan *scan, const struct mb_live_db *db, struct mb_error *err)
{
	char cursor[CURSOR_TEXT] = "0";
	size_t i;

	scan->db = db->db;
	/* A node of a cluster has one database and refuses even to select it. */
	if (!scan->is_cluster && mb_live_select(&scan->pipe, db->db, err))
		return err->code;
	mb_key_set_free(scan->seen);
	scan->seen = mb_key_set_new(db->keys);
	do
	{
		if (scan_step(scan, cursor, err))
			return mb_error_context(err, "could not scan database %" PRId64, db->db);
		for (i = 0; i < scan->count;)
		{
			size_t to = scan->count - i < scan->way ? scan->count : i + scan->way;

			if (take_keys(scan, i, to, err))
				return err->code;
			i = to;
		}
	} while (strcmp(cursor, "0") != 0);
	return MB_OK;
}

/* -- the whole ------------------------------------------------------------------------------ */

static enum mb_code
look_at_server(struct scan *scan, struct mb_live_dbs *dbs, struct mb_error *err)
{
	char *info;

	if (mb_live_info(scan->redis, NULL, &info, err))
		return err->code;
	scan->is_valkey =
		mb_redis_info_field(info, "valkey_version", scan->server, sizeof(scan->server));
	if (!scan->is_valkey &&
		!mb_redis_info_field(info, "redis_version", scan->server, sizeof(scan->server)))
		scan->server[0] = '\0';
	if (!mb_redis_info_field(info, "run_id", scan->run_id, sizeof(scan->run_id)))
		scan->run_id[0] = '\0';
	scan->is_cluster = mb_redis_info_number(info, "cluster_enabled", 0) == 1;
	mb_live_dbs_parse(dbs, info);
	/* Without it an empty answer would make an empty backup. */
	if (!strstr(info, "# Keyspace"))
		mb_fail(err, MB_UNSUPPORTED,
				"INFO of Redis at %s does not say in which databases there are keys",
				mb_redis_name(scan->redis));
	else
		mb_error_clear(err);
	free(info);
	return err->code;
}

/* A proxy may put another server behind our connection, which scans in another order. */
static enum mb_code
look_again(struct scan *scan, struct mb_error *err)
{
	char *info, run_id[64];
	bool same;

	if (mb_live_info(scan->redis, "server", &info, err))
		return err->code;
	same = !scan->run_id[0] || !mb_redis_info_field(info, "run_id", run_id, sizeof(run_id)) ||
		   strcmp(run_id, scan->run_id) == 0;
	free(info);
	if (same)
		return MB_OK;
	mb_fail(err, MB_CONFLICT, "Redis was replaced by another server in the middle");
	return mb_error_hint(err, "It failed over: take the backup again.");
}

/* A replica in a cluster sends readers away, but for those who say that they know. */
static void
enter_cluster(struct scan *scan)
{
	struct mb_redis_reply reply = {0};
	struct mb_error ignored;

	mb_error_clear(&ignored);
	if (scan->is_cluster && MB_REDIS_CALL(scan->redis, &reply, &ignored, "READONLY") == MB_OK)
		mb_redis_reply_release(&reply);
}

/* Is there PEXPIRETIME, for this user?  Any other answer (MOVED) says that there is. */
static enum mb_code
choose_expiry(struct scan *scan, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};

	if (MB_REDIS_CALL(scan->redis, &reply, err, "PEXPIRETIME", "mbackup"))
	{
		if (err->code != MB_UNSUPPORTED && err->code != MB_DENIED && err->code != MB_IO)
			return err->code;
		scan->by_pttl = err->code != MB_IO;
		mb_error_clear(err);
	}
	mb_redis_reply_release(&reply);
	return MB_OK;
}

static enum mb_code
ask_time(struct scan *scan, int64_t *time_us, struct mb_error *err)
{
	mb_pipe_add_texts(&scan->pipe, "TIME", NULL);
	if (mb_pipe_flush(&scan->pipe, err))
		return err->code;
	return read_time(scan, time_us, err);
}

/* Before any key, as a server writes it; its footer tells the format even when there are none. */
static enum mb_code
take_functions(struct scan *scan, struct mb_error *err)
{
	struct mb_pipe_reply reply;
	enum mb_code code;

	mb_pipe_add_texts(&scan->pipe, "FUNCTION", "DUMP", NULL);
	if (mb_pipe_flush(&scan->pipe, err))
		return err->code;
	code = mb_pipe_expect(&scan->pipe, "FUNCTION DUMP", &reply, err);
	if (code == MB_DENIED || code == MB_UNSUPPORTED)
	{
		/* Servers before 7.0 have none. */
		scan->result.no_functions = code == MB_DENIED;
		mb_error_clear(err);
		return MB_OK;
	}
	if (!code && reply.type != MB_REDIS_STRING)
		code = mb_fail(err, MB_CORRUPT, "the answer of Redis to FUNCTION DUMP cannot be read");
	if (!code)
		code = begin_file_by(scan, reply.data, reply.len, err);
	if (!code)
		code = mb_rdb_write_functions(&scan->writer, reply.data, reply.len, err);
	return code ? mb_error_context(err, "could not take the functions") : MB_OK;
}

static enum mb_code
run(struct scan *scan, struct mb_live_dbs *dbs, struct mb_error *err)
{
	enum mb_code code = mb_redis_connect(&scan->redis, scan->options->redis, err);
	size_t i;

	if (code)
		return code;
	scan->pipe.redis = scan->redis;
	code = look_at_server(scan, dbs, err);
	if (!code)
		enter_cluster(scan);
	if (!code)
		code = choose_expiry(scan, err);
	if (!code)
		code = ask_time(scan, &scan->result.from_us, err);
	if (!code)
		code = take_functions(scan, err);
	for (i = 0; !code && i < dbs->count; i++)
		code = scan_db(scan, &dbs->items[i], err);
	if (!code)
		code = look_again(scan, err);
	if (!code)
		code = ask_time(scan, &scan->result.to_us, err);
	if (!code && scan->writer.version == 0)
		code = begin_file(scan, EMPTY_VERSION, err);
	if (!code)
		code = mb_rdb_write_end(&scan->writer, err);
	/* Lower layers speak of the rights of a replica, or of a restore. */
	if (code == MB_DENIED)
		mb_error_hint(err, "The user needs ~* +scan +dump +pexpiretime +select +info +time "
						   "+function|dump (docs/redis.md).");
	return code;
}

enum mb_code
mb_scan_dump(const struct mb_scan_dump_options *options, struct mb_scan_dump_result *result,
			 struct mb_error *err)
{
	struct scan scan = {.options = options, .file_db = -1, .way = FIRST_WAY_KEYS};
	struct mb_live_dbs dbs = {0};
	enum mb_code code;

	mb_rdb_writer_init(&scan.writer, options->fn, options->ctx);
	code = run(&scan, &dbs, err);
	if (!code)
		*result = scan.result;
	mb_live_dbs_release(&dbs);
	mb_pipe_release(&scan.pipe);
	mb_redis_close(scan.redis);
	mb_rdb_writer_release(&scan.writer);
	mb_key_set_free(scan.seen);
	mb_buf_release(&scan.names);
	mb_buf_release(&scan.value);
	free(scan.items);
	return code;
}

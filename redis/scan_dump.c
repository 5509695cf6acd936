/* scan_dump.c - see scan_dump.h: the server, its databases, SCAN.  The keys: scan_key.c. */
#include "redis/scan_dump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/scan_private.h"

#define SCAN_COUNT "512"
#define FIRST_WAY_KEYS 8 /* before anything is known of the values */
#define EMPTY_VERSION 7  /* of a file without any value: every server takes it */
#define CURSOR_TEXT 24

/* -- the file ------------------------------------------------------------------------------- */

static enum mb_code
begin_file(struct mb_scan *scan, unsigned version, struct mb_error *err)
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

enum mb_code
mb_scan_begin_file(struct mb_scan *scan, const void *payload, size_t len, struct mb_error *err)
{
	unsigned version;

	if (scan->writer.version > 0)
		return MB_OK;
	if (mb_rdb_payload_check(payload, len, &version, err))
		return err->code;
	return begin_file(scan, version, err);
}

/* -- scanning ------------------------------------------------------------------------------- */

static void
add_name(struct mb_scan *scan, const struct mb_pipe_reply *key)
{
	if (!mb_key_set_add(scan->seen, key->data, key->len))
	{
		scan->result.repeated++;
		return;
	}
	scan->items = mb_grow(scan->items, &scan->cap, scan->count + 1, sizeof(*scan->items));
	scan->items[scan->count++] = (struct mb_scan_name){scan->names.len, key->len};
	mb_buf_put(&scan->names, key->data, key->len);
}

/* One step of SCAN; cursor is "0" again behind the last. */
static enum mb_code
scan_step(struct mb_scan *scan, char cursor[CURSOR_TEXT], struct mb_error *err)
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
scan_db(struct mb_scan *scan, const struct mb_live_db *db, struct mb_error *err)
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

			if (mb_scan_take_keys(scan, i, to, err))
				return err->code;
			i = to;
		}
	} while (strcmp(cursor, "0") != 0);
	return MB_OK;
}

/* -- the whole ------------------------------------------------------------------------------ */

static enum mb_code
look_at_server(struct mb_scan *scan, struct mb_live_dbs *dbs, struct mb_error *err)
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
look_again(struct mb_scan *scan, struct mb_error *err)
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
enter_cluster(struct mb_scan *scan)
{
	struct mb_redis_reply reply = {0};
	struct mb_error ignored;

	mb_error_clear(&ignored);
	if (scan->is_cluster && MB_REDIS_CALL(scan->redis, &reply, &ignored, "READONLY") == MB_OK)
		mb_redis_reply_release(&reply);
}

/* Is there PEXPIRETIME, for this user?  Any other answer (MOVED) says that there is. */
static enum mb_code
choose_expiry(struct mb_scan *scan, struct mb_error *err)
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
ask_time(struct mb_scan *scan, int64_t *time_us, struct mb_error *err)
{
	mb_pipe_add_texts(&scan->pipe, "TIME", NULL);
	if (mb_pipe_flush(&scan->pipe, err))
		return err->code;
	return mb_scan_read_time(scan, time_us, err);
}

/* Before any key, as a server writes it; its footer tells the format even when there are none. */
static enum mb_code
take_functions(struct mb_scan *scan, struct mb_error *err)
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
		code = mb_scan_begin_file(scan, reply.data, reply.len, err);
	if (!code)
		code = mb_rdb_write_functions(&scan->writer, reply.data, reply.len, err);
	return code ? mb_error_context(err, "could not take the functions") : MB_OK;
}

static enum mb_code
run(struct mb_scan *scan, struct mb_live_dbs *dbs, struct mb_error *err)
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
	struct mb_scan scan = {.options = options, .file_db = -1, .way = FIRST_WAY_KEYS};
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

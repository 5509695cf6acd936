/* point.c - see point.h. */
#include "redis/point.h"

#include <stdlib.h>
#include <string.h>

bool
mb_replid_is_valid(const char *replid)
{
	return strlen(replid) == MB_REPLID_LEN && strspn(replid, "0123456789abcdef") == MB_REPLID_LEN;
}

static const char *
next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : NULL;
}

bool
mb_redis_info_field(const char *info, const char *key, char *out, size_t cap)
{
	size_t key_len = strlen(key), len;
	const char *line;

	for (line = info; line && *line; line = next_line(line))
	{
		if (strncmp(line, key, key_len) != 0 || line[key_len] != ':')
			continue;
		line += key_len + 1;
		len = strcspn(line, "\r\n");
		len = len < cap - 1 ? len : cap - 1;
		memcpy(out, line, len);
		out[len] = '\0';
		return true;
	}
	return false;
}

uint64_t
mb_redis_info_number(const char *info, const char *key, uint64_t dflt)
{
	char text[32], *end;
	long long value;

	if (!mb_redis_info_field(info, key, text, sizeof(text)))
		return dflt;
	value = strtoll(text, &end, 10);
	return end == text || value < 0 ? dflt : (uint64_t) value;
}

static enum mb_code
parse_replication(struct mb_redis_point *point, const char *info, struct mb_error *err)
{
	char text[64];
	uint64_t second, length;

	if (!mb_redis_info_field(info, "master_replid", point->replid, sizeof(point->replid)) ||
		!mb_replid_is_valid(point->replid))
		return mb_fail(err, MB_UNSUPPORTED,
					   "the server's INFO replication has no master_replid (Redis 4.0 or later is "
					   "needed)");
	point->offset = mb_redis_info_number(info, "master_repl_offset", 0);
	point->is_replica =
		mb_redis_info_field(info, "role", text, sizeof(text)) && strcmp(text, "slave") == 0;
	point->link_up = mb_redis_info_field(info, "master_link_status", text, sizeof(text)) &&
					 strcmp(text, "up") == 0;
	second = mb_redis_info_number(info, "second_repl_offset", 0);
	if (second > 0 &&
		mb_redis_info_field(info, "master_replid2", point->replid2, sizeof(point->replid2)))
		point->until = second - 1;
	point->backlog = mb_redis_info_number(info, "repl_backlog_active", 0) == 1;
	point->backlog_size = mb_redis_info_number(info, "repl_backlog_size", 0);
	point->backlog_first = mb_redis_info_number(info, "repl_backlog_first_byte_offset", 0);
	length = mb_redis_info_number(info, "repl_backlog_histlen", 0);
	point->backlog_end = point->backlog_first + length - 1;
	return MB_OK;
}

static enum mb_code
parse_exec(struct mb_redis_point *point, const struct mb_redis_reply *reply, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < reply->count; i++)
		if (reply->items[i].type == MB_REDIS_ERROR)
			return mb_redis_reply_fail(&reply->items[i], i == 0 ? "TIME" : "INFO", err);
	if (reply->type != MB_REDIS_ARRAY || reply->count != 2 || reply->items[0].count != 2 ||
		reply->items[1].type != MB_REDIS_STRING ||
		reply->items[0].items[0].type != MB_REDIS_STRING ||
		reply->items[0].items[1].type != MB_REDIS_STRING)
		return mb_fail(err, MB_CORRUPT,
					   "Redis gave an answer to TIME and INFO that cannot be read");
	point->time_us = strtoll(reply->items[0].items[0].text, NULL, 10) * 1000000 +
					 strtoll(reply->items[0].items[1].text, NULL, 10);
	return parse_replication(point, reply->items[1].text, err);
}

/* One command, where INFO tells the time too; *told is false where it does not. */
static enum mb_code
read_info(struct mb_redis *redis, struct mb_redis_point *point, bool *told, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};
	enum mb_code code = MB_REDIS_CALL(redis, &reply, err, "INFO", "server", "replication");

	/* Before 7.0 it is one section, or all of them. */
	if (code == MB_IO)
	{
		mb_error_clear(err);
		code = MB_REDIS_CALL(redis, &reply, err, "INFO");
	}
	if (code)
		return code;
	if (reply.type == MB_REDIS_STRING)
		point->time_us = (int64_t) mb_redis_info_number(reply.text, "server_time_usec", 0);
	*told = point->time_us > 0;
	if (*told)
		code = parse_replication(point, reply.text, err);
	mb_redis_reply_release(&reply);
	return code;
}

/* Four commands, of which a server beyond its maxmemory queues none. */
static enum mb_code
read_transaction(struct mb_redis *redis, struct mb_redis_point *point, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};
	enum mb_code code = MB_REDIS_CALL(redis, &reply, err, "MULTI");

	if (!code)
	{
		mb_redis_reply_release(&reply);
		code = MB_REDIS_CALL(redis, &reply, err, "TIME");
	}
	if (!code)
	{
		mb_redis_reply_release(&reply);
		code = MB_REDIS_CALL(redis, &reply, err, "INFO", "replication");
	}
	if (!code)
	{
		mb_redis_reply_release(&reply);
		code = MB_REDIS_CALL(redis, &reply, err, "EXEC");
	}
	if (!code)
		code = parse_exec(point, &reply, err);
	mb_redis_reply_release(&reply);
	return code;
}

enum mb_code
mb_redis_point_read(struct mb_redis *redis, struct mb_redis_point *out, struct mb_error *err)
{
	struct mb_redis_point point = {0};
	bool told = false;
	enum mb_code code = read_info(redis, &point, &told, err);

	if (!code && !told)
		code = read_transaction(redis, &point, err);
	if (code)
		return mb_error_context(err, "could not read the replication offset");
	*out = point;
	return MB_OK;
}

bool
mb_redis_point_serves(const struct mb_redis_point *point, const char *replid, uint64_t offset)
{
	bool known = strcmp(replid, point->replid) == 0 ||
				 (strcmp(replid, point->replid2) == 0 && offset <= point->until);

	return point->backlog && known && offset + 1 >= point->backlog_first &&
		   offset <= point->backlog_end && offset <= point->offset;
}

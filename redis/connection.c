/* connection.c - see connection.h. */
#include "redis/connection.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "redis/cluster.h"
#include "redis/sentinel.h"
#include "redis/socket.h"

#define REPLY_MAX_BYTES (16u << 20)

struct mb_redis
{
	struct mb_redis_socket *socket;
	struct mb_redis_url where;
	redisReader *reader;
	int64_t io_ms;
};

static enum mb_code
login(struct mb_redis *redis, const struct mb_redis_options *options, struct mb_error *err)
{
	const char *user = options->user ? options->user : options->url->user;
	const char *words[3] = {"AUTH"};
	struct mb_redis_reply reply = {0};
	size_t count = 1;

	if (!options->password || options->password->len == 0)
		return MB_OK;
	if (user)
		words[count++] = user;
	words[count++] = (const char *) options->password->data;
	if (mb_redis_call(redis, words, count, &reply, err))
	{
		/* "-ERR AUTH called without any password configured" and -WRONGPASS alike. */
		if (err->code != MB_UNREACHABLE && err->code != MB_INTERRUPTED)
			err->code = MB_DENIED;
		return mb_error_context(err, "could not log in to Redis at %s", mb_redis_name(redis));
	}
	mb_redis_reply_release(&reply);
	return MB_OK;
}

enum mb_code
mb_redis_connect(struct mb_redis **out, const struct mb_redis_options *options,
				 struct mb_error *err)
{
	int64_t limit_ms = options->connect_ms ? options->connect_ms : MB_REDIS_CONNECT_MS;
	struct mb_redis_socket *socket;
	struct mb_redis *redis;

	if (options->url->master)
		return mb_redis_sentinel_connect(out, options, err);
	if (options->url->cluster)
		return mb_redis_cluster_connect(out, options, err);
	if (mb_redis_socket_open(&socket, options->url, &options->tls, options->cancel, limit_ms, err))
		return err->code;
	redis = mb_calloc(1, sizeof(*redis));
	redis->socket = socket;
	mb_redis_url_copy(&redis->where, options->url);
	redis->io_ms = options->io_ms ? options->io_ms : MB_REDIS_IO_MS;
	redis->reader = redisReaderCreate();
	if (!redis->reader)
		MB_BUG("out of memory");
	if (login(redis, options, err))
	{
		mb_redis_close(redis);
		return err->code;
	}
	*out = redis;
	return MB_OK;
}

void
mb_redis_close(struct mb_redis *redis)
{
	if (!redis)
		return;
	mb_redis_socket_close(redis->socket);
	redisReaderFree(redis->reader);
	mb_redis_url_release(&redis->where);
	free(redis);
}

const struct mb_redis_url *
mb_redis_where(const struct mb_redis *redis)
{
	return &redis->where;
}

const char *
mb_redis_name(const struct mb_redis *redis)
{
	return mb_redis_socket_name(redis->socket);
}

/* -- raw bytes --------------------------------------------------------------------------- */

enum mb_code
mb_redis_write(struct mb_redis *redis, const void *data, size_t len, struct mb_error *err)
{
	return mb_redis_socket_write(redis->socket, data, len, redis->io_ms, err);
}

enum mb_code
mb_redis_read(struct mb_redis *redis, void *buf, size_t cap, int64_t wait_ms, size_t *got,
			  struct mb_error *err)
{
	return mb_redis_socket_read(redis->socket, buf, cap, wait_ms, got, err);
}

enum mb_code
mb_redis_send(struct mb_redis *redis, const char *const *words, size_t count, struct mb_error *err)
{
	char *bytes = NULL;
	int len = redisFormatCommandArgv(&bytes, (int) count, (const char **) words, NULL);
	enum mb_code code;

	if (len < 0)
		MB_BUG("could not format a Redis command");
	code = mb_redis_write(redis, bytes, (size_t) len, err);
	mb_wipe(bytes, (size_t) len); /* it may be an AUTH */
	redisFreeCommand(bytes);
	return code;
}

/* -- replies ----------------------------------------------------------------------------- */

void
mb_redis_reply_release(struct mb_redis_reply *reply)
{
	size_t i;

	for (i = 0; i < reply->count; i++)
		mb_redis_reply_release(&reply->items[i]);
	free(reply->items);
	free(reply->text);
	memset(reply, 0, sizeof(*reply));
}

static void
copy_reply(struct mb_redis_reply *out, const redisReply *in)
{
	size_t i;

	memset(out, 0, sizeof(*out));
	switch (in->type)
	{
		case REDIS_REPLY_INTEGER:
			out->type = MB_REDIS_INTEGER;
			out->integer = in->integer;
			break;
		case REDIS_REPLY_STRING:
		case REDIS_REPLY_STATUS:
		case REDIS_REPLY_ERROR:
			out->type = in->type == REDIS_REPLY_ERROR ? MB_REDIS_ERROR : MB_REDIS_STRING;
			out->len = (size_t) in->len;
			out->text = mb_malloc(out->len + 1);
			memcpy(out->text, in->str, out->len);
			out->text[out->len] = '\0';
			break;
		case REDIS_REPLY_ARRAY:
			out->type = MB_REDIS_ARRAY;
			out->count = in->elements;
			out->items = mb_calloc(in->elements + 1, sizeof(*out->items));
			for (i = 0; i < in->elements; i++)
				copy_reply(&out->items[i], in->element[i]);
			break;
		default:
			out->type = MB_REDIS_NIL;
	}
}

enum mb_code
mb_redis_reply_fail(const struct mb_redis_reply *reply, const char *command, struct mb_error *err)
{
	static const struct
	{
		const char *prefix;
		enum mb_code code;
	} classes[] = {{"NOAUTH", MB_DENIED},
				   {"NOPERM", MB_DENIED},
				   {"WRONGPASS", MB_DENIED},
				   {"LOADING", MB_UNREACHABLE},
				   {"MASTERDOWN", MB_UNREACHABLE},
				   {"NOMASTERLINK", MB_UNREACHABLE},
				   {"BUSY", MB_UNREACHABLE},
				   {"ERR unknown command", MB_UNSUPPORTED},
				   {"ERR max number of clients", MB_UNREACHABLE}};
	/* The answer to an EXEC that may not be says so behind this. */
	static const char exec[] = "EXECABORT Transaction discarded because of: ";
	const char *text = reply->text + (mb_starts_with(reply->text, exec) ? strlen(exec) : 0);
	enum mb_code code = MB_IO;
	size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (mb_starts_with(text, classes[i].prefix))
			code = classes[i].code;
	mb_fail(err, code, "Redis refused %s: %.300s", command, text);
	if (code == MB_DENIED)
		mb_error_hint(err, "Grant what docs/redis.md lists: ACL SETUSER <user> on +psync +replconf "
						   "+info +client|pause +client|unpause.");
	return code;
}

enum mb_code
mb_redis_call(struct mb_redis *redis, const char *const *words, size_t count,
			  struct mb_redis_reply *reply, struct mb_error *err)
{
	int64_t end = mb_monotonic_ms() + redis->io_ms;
	struct mb_redis_reply copy;
	void *parsed = NULL;
	size_t total = 0;

	if (mb_redis_send(redis, words, count, err))
		return err->code;
	while (!parsed)
	{
		char bytes[16384];
		size_t got;

		if (mb_redis_read(redis, bytes, sizeof(bytes), end - mb_monotonic_ms(), &got, err))
			return err->code;
		if (got == 0)
			return mb_fail(err, MB_UNREACHABLE, "Redis at %s did not answer %s in %lld ms",
						   mb_redis_name(redis), words[0], (long long) redis->io_ms);
		total += got;
		if (total > REPLY_MAX_BYTES)
			return mb_fail(err, MB_CORRUPT, "the answer of Redis to %s is too large", words[0]);
		if (redisReaderFeed(redis->reader, bytes, got) != REDIS_OK ||
			redisReaderGetReply(redis->reader, &parsed) != REDIS_OK)
			return mb_fail(err, MB_CORRUPT, "Redis at %s breaks the protocol: %s",
						   mb_redis_name(redis), redis->reader->errstr);
	}
	copy_reply(&copy, parsed);
	freeReplyObject(parsed);
	if (copy.type == MB_REDIS_ERROR)
	{
		mb_redis_reply_fail(&copy, words[0], err);
		mb_redis_reply_release(&copy);
		return err->code;
	}
	*reply = copy;
	return MB_OK;
}

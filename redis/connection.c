/* connection.c - see connection.h. */
#include "redis/connection.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/time.h"

#define POLL_SLICE_MS 100
#define REPLY_MAX_BYTES (16u << 20)
#define DEFAULT_PORT 6379

struct mb_redis
{
	int fd;
	redisReader *reader;
	const struct mb_cancel *cancel;
	int64_t io_ms;
	char *name;
};

/* -- addresses --------------------------------------------------------------------------- */

static enum mb_code
parse_number(unsigned *out, const char *text, unsigned max, const char *what, struct mb_error *err)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char) *text) || *end || errno || value > max)
		return mb_fail(err, MB_CONFIG, "invalid %s \"%s\" in the Redis URL", what, text);
	*out = (unsigned) value;
	return MB_OK;
}

/* host[:port], where an IPv6 address stands in brackets. */
static enum mb_code
parse_host(struct mb_redis_url *url, const char *text, struct mb_error *err)
{
	const char *colon, *close = NULL;

	if (*text == '[')
	{
		close = strchr(text, ']');
		if (!close || (close[1] && close[1] != ':'))
			return mb_fail(err, MB_CONFIG, "invalid host \"%s\" in the Redis URL", text);
		url->host = mb_strndup(text + 1, (size_t) (close - text - 1));
		colon = close[1] ? close + 1 : NULL;
	}
	else
	{
		colon = strchr(text, ':');
		url->host = mb_strndup(text, colon ? (size_t) (colon - text) : strlen(text));
	}
	if (!*url->host)
		return mb_fail(err, MB_CONFIG, "the Redis URL names no host");
	url->port = DEFAULT_PORT;
	return colon ? parse_number(&url->port, colon + 1, 65535, "port", err) : MB_OK;
}

static enum mb_code
parse_tcp(struct mb_redis_url *url, const char *text, struct mb_error *err)
{
	char *copy = mb_strdup(text), *rest = copy, *at, *slash;
	enum mb_code code = MB_OK;

	slash = strchr(copy, '/');
	if (slash)
	{
		*slash = '\0';
		if (slash[1])
			code = parse_number(&url->db, slash + 1, INT32_MAX, "database", err);
	}
	at = strrchr(copy, '@');
	if (!code && at)
	{
		*at = '\0';
		rest = at + 1;
		if (strchr(copy, ':'))
		{
			/* Do not repeat the URL here: it holds a secret. */
			mb_wipe(copy, strlen(copy));
			code = mb_fail(err, MB_CONFIG, "the Redis URL carries a password");
			mb_error_hint(err, "Use password-file, password-command or the environment instead.");
		}
		else if (*copy)
			url->user = mb_strdup(copy);
	}
	if (!code)
		code = parse_host(url, rest, err);
	free(copy);
	return code;
}

enum mb_code
mb_redis_url_parse(struct mb_redis_url *url, const char *text, struct mb_error *err)
{
	struct mb_redis_url parsed = {0};
	enum mb_code code = MB_OK;

	if (mb_starts_with(text, "rediss://"))
	{
		mb_fail(err, MB_UNSUPPORTED, "TLS to Redis (rediss://) is not supported yet");
		return mb_error_hint(err, "Use a local port, a unix socket or a tunnel such as stunnel.");
	}
	if (mb_starts_with(text, "redis://"))
		code = parse_tcp(&parsed, text + strlen("redis://"), err);
	else if (mb_starts_with(text, "unix:///"))
		parsed.path = mb_strdup(text + strlen("unix://"));
	else if (*text == '/')
		parsed.path = mb_strdup(text);
	else
		code =
			mb_fail(err, MB_CONFIG, "a Redis URL is redis://host:port or unix:///path/to/socket");
	if (!code && parsed.path && strlen(parsed.path) >= sizeof(((struct sockaddr_un *) 0)->sun_path))
		code = mb_fail(err, MB_CONFIG, "the Redis socket path is too long");
	if (code)
		mb_redis_url_release(&parsed);
	else
		*url = parsed;
	return code;
}

void
mb_redis_url_release(struct mb_redis_url *url)
{
	free(url->host);
	free(url->path);
	free(url->user);
	memset(url, 0, sizeof(*url));
}

/* -- waiting ----------------------------------------------------------------------------- */

/* Wait until fd is ready for events; *ready is false when the time is up. */
static enum mb_code
wait_ready(const struct mb_redis *redis, short events, int64_t wait_ms, bool *ready,
		   struct mb_error *err)
{
	int64_t end = mb_monotonic_ms() + wait_ms;

	for (;;)
	{
		struct pollfd p = {.fd = redis->fd, .events = events};
		int64_t left = end - mb_monotonic_ms();
		int n;

		if (mb_cancel_check(redis->cancel, err))
			return err->code;
		left = left < 0 ? 0 : left > POLL_SLICE_MS ? POLL_SLICE_MS : left;
		n = poll(&p, 1, (int) left);
		if (n < 0 && errno != EINTR)
			return mb_fail_errno(err, errno, "could not wait for Redis at %s", redis->name);
		if (n > 0 || (n == 0 && mb_monotonic_ms() >= end))
		{
			*ready = n > 0;
			return MB_OK;
		}
	}
}

/* -- connecting -------------------------------------------------------------------------- */

static enum mb_code
connect_address(struct mb_redis *redis, int family, const struct sockaddr *address, socklen_t len,
				int64_t limit_ms, struct mb_error *err)
{
	bool ready = false;
	int on = 1, failed = 0;
	socklen_t failed_len = sizeof(failed);

	redis->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (redis->fd < 0)
		return mb_fail_errno(err, errno, "could not create a socket");
	if (connect(redis->fd, address, len) != 0)
	{
		if (errno != EINPROGRESS)
			return mb_fail_errno(err, errno, "could not connect to Redis at %s", redis->name);
		if (wait_ready(redis, POLLOUT, limit_ms, &ready, err))
			return err->code;
		if (!ready)
			return mb_fail(err, MB_UNREACHABLE,
						   "could not connect to Redis at %s: no answer in %lld ms", redis->name,
						   (long long) limit_ms);
		if (getsockopt(redis->fd, SOL_SOCKET, SO_ERROR, &failed, &failed_len) != 0)
			failed = errno;
		if (failed)
			return mb_fail_errno(err, failed, "could not connect to Redis at %s", redis->name);
	}
	/* Best effort: both only matter for TCP. */
	if (family != AF_UNIX)
	{
		(void) setsockopt(redis->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		(void) setsockopt(redis->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	}
	return MB_OK;
}

static void
close_socket(struct mb_redis *redis)
{
	if (redis->fd >= 0)
		close(redis->fd);
	redis->fd = -1;
}

static enum mb_code
connect_tcp(struct mb_redis *redis, const struct mb_redis_url *url, int64_t limit_ms,
			struct mb_error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL, *at;
	enum mb_code code = MB_UNREACHABLE;
	char port[16];
	int failed;

	snprintf(port, sizeof(port), "%u", url->port);
	failed = getaddrinfo(url->host, port, &hints, &list);
	if (failed)
		return mb_fail(err, MB_UNREACHABLE, "could not resolve the Redis host \"%s\": %s",
					   url->host, gai_strerror(failed));
	for (at = list; at && code && code != MB_INTERRUPTED; at = at->ai_next)
	{
		close_socket(redis);
		code = connect_address(redis, at->ai_family, at->ai_addr, at->ai_addrlen, limit_ms, err);
	}
	freeaddrinfo(list);
	return code;
}

static enum mb_code
connect_unix(struct mb_redis *redis, const struct mb_redis_url *url, int64_t limit_ms,
			 struct mb_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strncpy(address.sun_path, url->path, sizeof(address.sun_path) - 1);
	return connect_address(redis, AF_UNIX, (struct sockaddr *) &address, sizeof(address), limit_ms,
						   err);
}

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
		return mb_error_context(err, "could not log in to Redis at %s", redis->name);
	}
	mb_redis_reply_release(&reply);
	return MB_OK;
}

enum mb_code
mb_redis_connect(struct mb_redis **out, const struct mb_redis_options *options,
				 struct mb_error *err)
{
	const struct mb_redis_url *url = options->url;
	struct mb_redis *redis = mb_calloc(1, sizeof(*redis));
	int64_t limit_ms = options->connect_ms ? options->connect_ms : MB_REDIS_CONNECT_MS;
	enum mb_code code;

	redis->fd = -1;
	redis->cancel = options->cancel;
	redis->io_ms = options->io_ms ? options->io_ms : MB_REDIS_IO_MS;
	redis->name = url->path ? mb_strdup(url->path) : mb_asprintf("%s:%u", url->host, url->port);
	redis->reader = redisReaderCreate();
	if (!redis->reader)
		MB_BUG("out of memory");
	code = url->path ? connect_unix(redis, url, limit_ms, err)
					 : connect_tcp(redis, url, limit_ms, err);
	if (!code)
		code = login(redis, options, err);
	if (code)
		mb_redis_close(redis);
	else
		*out = redis;
	return code;
}

void
mb_redis_close(struct mb_redis *redis)
{
	if (!redis)
		return;
	close_socket(redis);
	redisReaderFree(redis->reader);
	free(redis->name);
	free(redis);
}

const char *
mb_redis_name(const struct mb_redis *redis)
{
	return redis->name;
}

/* -- raw bytes --------------------------------------------------------------------------- */

enum mb_code
mb_redis_write(struct mb_redis *redis, const void *data, size_t len, struct mb_error *err)
{
	const char *p = data;
	int64_t end = mb_monotonic_ms() + redis->io_ms;

	while (len > 0)
	{
		ssize_t n = send(redis->fd, p, len, MSG_NOSIGNAL);
		bool ready;

		if (n > 0)
		{
			p += n;
			len -= (size_t) n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
		{
			mb_fail_errno(err, errno, "could not write to Redis at %s", redis->name);
			return err->code = MB_UNREACHABLE;
		}
		if (wait_ready(redis, POLLOUT, end - mb_monotonic_ms(), &ready, err))
			return err->code;
		if (!ready)
			return mb_fail(err, MB_UNREACHABLE, "Redis at %s takes no data", redis->name);
	}
	return MB_OK;
}

enum mb_code
mb_redis_read(struct mb_redis *redis, void *buf, size_t cap, int64_t wait_ms, size_t *got,
			  struct mb_error *err)
{
	bool ready;
	ssize_t n;

	for (;;)
	{
		n = recv(redis->fd, buf, cap, 0);
		if (n > 0)
			break;
		if (n == 0)
			return mb_fail(err, MB_UNREACHABLE, "Redis at %s closed the connection", redis->name);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
		{
			mb_fail_errno(err, errno, "could not read from Redis at %s", redis->name);
			return err->code = MB_UNREACHABLE;
		}
		if (wait_ready(redis, POLLIN, wait_ms, &ready, err))
			return err->code;
		if (!ready)
		{
			n = 0;
			break;
		}
	}
	*got = (size_t) n;
	return MB_OK;
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
	enum mb_code code = MB_IO;
	size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (mb_starts_with(reply->text, classes[i].prefix))
			code = classes[i].code;
	mb_fail(err, code, "Redis refused %s: %.300s", command, reply->text);
	if (code == MB_DENIED)
		mb_error_hint(err, "Grant what docs/redis.md lists: ACL SETUSER <user> on +psync +replconf "
						   "+info +time +multi +exec +client|pause +client|unpause.");
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
						   redis->name, words[0], (long long) redis->io_ms);
		total += got;
		if (total > REPLY_MAX_BYTES)
			return mb_fail(err, MB_CORRUPT, "the answer of Redis to %s is too large", words[0]);
		if (redisReaderFeed(redis->reader, bytes, got) != REDIS_OK ||
			redisReaderGetReply(redis->reader, &parsed) != REDIS_OK)
			return mb_fail(err, MB_CORRUPT, "Redis at %s breaks the protocol: %s", redis->name,
						   redis->reader->errstr);
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

/* socket.c - see socket.h. */
#include "redis/socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/time.h"

#define POLL_SLICE_MS 100

struct mb_redis_socket
{
	int fd;
	struct mb_redis_tls *tls; /* NULL: in the clear */
	const struct mb_cancel *cancel;
	char *name;
	bool heard; /* at least one byte came */
};

/* Wait until the socket is ready for events; *ready is false when the time is up. */
static enum mb_code
wait_ready(const struct mb_redis_socket *at, short events, int64_t wait_ms, bool *ready,
		   struct mb_error *err)
{
	int64_t end = mb_monotonic_ms() + wait_ms;

	for (;;)
	{
		struct pollfd p = {.fd = at->fd, .events = events};
		int64_t left = end - mb_monotonic_ms();
		int n;

		if (mb_cancel_check(at->cancel, err))
			return err->code;
		left = left < 0 ? 0 : left > POLL_SLICE_MS ? POLL_SLICE_MS : left;
		n = poll(&p, 1, (int) left);
		if (n < 0 && errno != EINTR)
			return mb_fail_errno(err, errno, "could not wait for Redis at %s", at->name);
		if (n > 0 || (n == 0 && mb_monotonic_ms() >= end))
		{
			*ready = n > 0;
			return MB_OK;
		}
	}
}

/* -- connecting -------------------------------------------------------------------------- */

static enum mb_code
connect_address(struct mb_redis_socket *at, int family, const struct sockaddr *address,
				socklen_t len, int64_t limit_ms, struct mb_error *err)
{
	bool ready = false;
	int on = 1, failed = 0;
	socklen_t failed_len = sizeof(failed);

	at->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (at->fd < 0)
		return mb_fail_errno(err, errno, "could not create a socket");
	if (connect(at->fd, address, len) != 0)
	{
		if (errno != EINPROGRESS)
			return mb_fail_errno(err, errno, "could not connect to Redis at %s", at->name);
		if (wait_ready(at, POLLOUT, limit_ms, &ready, err))
			return err->code;
		if (!ready)
			return mb_fail(err, MB_UNREACHABLE,
						   "could not connect to Redis at %s: no answer in %lld ms", at->name,
						   (long long) limit_ms);
		if (getsockopt(at->fd, SOL_SOCKET, SO_ERROR, &failed, &failed_len) != 0)
			failed = errno;
		if (failed)
			return mb_fail_errno(err, failed, "could not connect to Redis at %s", at->name);
	}
	/* Best effort: both only matter for TCP. */
	if (family != AF_UNIX)
	{
		(void) setsockopt(at->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		(void) setsockopt(at->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	}
	return MB_OK;
}

static void
close_fd(struct mb_redis_socket *at)
{
	if (at->fd >= 0)
		close(at->fd);
	at->fd = -1;
}

static enum mb_code
connect_tcp(struct mb_redis_socket *at, const struct mb_redis_url *url, int64_t limit_ms,
			struct mb_error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL, *one;
	enum mb_code code = MB_UNREACHABLE;
	char port[16];
	int failed;

	snprintf(port, sizeof(port), "%u", url->port);
	failed = getaddrinfo(url->host, port, &hints, &list);
	if (failed)
		return mb_fail(err, MB_UNREACHABLE, "could not resolve the Redis host \"%s\": %s",
					   url->host, gai_strerror(failed));
	for (one = list; one && code && code != MB_INTERRUPTED; one = one->ai_next)
	{
		close_fd(at);
		code = connect_address(at, one->ai_family, one->ai_addr, one->ai_addrlen, limit_ms, err);
	}
	freeaddrinfo(list);
	return code;
}

static enum mb_code
connect_unix(struct mb_redis_socket *at, const struct mb_redis_url *url, int64_t limit_ms,
			 struct mb_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strncpy(address.sun_path, url->path, sizeof(address.sun_path) - 1);
	return connect_address(at, AF_UNIX, (struct sockaddr *) &address, sizeof(address), limit_ms,
						   err);
}

/* A server that does not speak TLS may wait for the rest of a "command": ours is the limit. */
static enum mb_code
begin_tls(struct mb_redis_socket *at, const struct mb_redis_url *url,
		  const struct mb_redis_tls_options *options, int64_t limit_ms, struct mb_error *err)
{
	int64_t end = mb_monotonic_ms() + limit_ms;
	bool ready = true;
	short want;

	if (mb_redis_tls_new(&at->tls, at->fd, url->host, at->name, options, err))
		return err->code;
	while (ready)
	{
		if (mb_redis_tls_handshake(at->tls, &want, err))
			return err->code;
		if (want == 0)
			return MB_OK;
		if (wait_ready(at, want, end - mb_monotonic_ms(), &ready, err))
			return err->code;
	}
	mb_fail(err, MB_UNREACHABLE, "Redis at %s gave no TLS answer in %lld ms", at->name,
			(long long) limit_ms);
	return mb_error_hint(err, "Does the server speak TLS on this port (tls-port), or is it "
							  "redis://?");
}

enum mb_code
mb_redis_socket_open(struct mb_redis_socket **out, const struct mb_redis_url *url,
					 const struct mb_redis_tls_options *tls, const struct mb_cancel *cancel,
					 int64_t limit_ms, struct mb_error *err)
{
	struct mb_redis_socket *at = mb_calloc(1, sizeof(*at));
	enum mb_code code;

	at->fd = -1;
	at->cancel = cancel;
	at->name = mb_redis_url_name(url);
	code = url->path ? connect_unix(at, url, limit_ms, err) : connect_tcp(at, url, limit_ms, err);
	if (!code && url->tls)
		code = begin_tls(at, url, tls, limit_ms, err);
	if (code)
		mb_redis_socket_close(at);
	else
		*out = at;
	return code;
}

void
mb_redis_socket_close(struct mb_redis_socket *at)
{
	if (!at)
		return;
	mb_redis_tls_free(at->tls);
	close_fd(at);
	free(at->name);
	free(at);
}

const char *
mb_redis_socket_name(const struct mb_redis_socket *at)
{
	return at->name;
}

/* -- bytes ---------------------------------------------------------------------------------- */

/* One try: *n > 0, or *want says what to wait for. */
static enum mb_code
try_write(struct mb_redis_socket *at, const void *data, size_t len, size_t *n, short *want,
		  struct mb_error *err)
{
	ssize_t sent;

	if (at->tls)
		return mb_redis_tls_write(at->tls, data, len, n, want, err);
	do
		sent = send(at->fd, data, len, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	*want = sent < 0 ? POLLOUT : 0;
	*n = sent < 0 ? 0 : (size_t) sent;
	if (sent >= 0 || errno == EAGAIN)
		return MB_OK;
	mb_fail_errno(err, errno, "could not write to Redis at %s", at->name);
	return err->code = MB_UNREACHABLE;
}

static enum mb_code
try_read(struct mb_redis_socket *at, void *buf, size_t cap, size_t *n, short *want,
		 struct mb_error *err)
{
	ssize_t got;

	if (at->tls)
		return mb_redis_tls_read(at->tls, buf, cap, n, want, err);
	do
		got = recv(at->fd, buf, cap, 0);
	while (got < 0 && errno == EINTR);
	*want = got < 0 ? POLLIN : 0;
	*n = got < 0 ? 0 : (size_t) got;
	if (got > 0 || (got < 0 && errno == EAGAIN))
		return MB_OK;
	if (got == 0)
		return mb_fail(err, MB_UNREACHABLE, "Redis at %s closed the connection", at->name);
	mb_fail_errno(err, errno, "could not read from Redis at %s", at->name);
	return err->code = MB_UNREACHABLE;
}

/* The line ended before the server said a word: mostly this port wants to be spoken to otherwise. */
static enum mb_code
hint_first(const struct mb_redis_socket *at, struct mb_error *err)
{
	if (at->heard || err->code != MB_UNREACHABLE)
		return err->code;
	if (at->tls)
		return mb_error_hint(err, "If the server demands a client certificate (tls-auth-clients), "
								  "set client-cert and client-key.");
	return mb_error_hint(err, "If this is a TLS port, write rediss:// in url.");
}

enum mb_code
mb_redis_socket_write(struct mb_redis_socket *at, const void *data, size_t len, int64_t limit_ms,
					  struct mb_error *err)
{
	int64_t end = mb_monotonic_ms() + limit_ms;
	const char *p = data;

	while (len > 0)
	{
		bool ready = true;
		size_t n = 0;
		short want;

		if (try_write(at, p, len, &n, &want, err))
			return hint_first(at, err);
		p += n;
		len -= n;
		if (want && wait_ready(at, want, end - mb_monotonic_ms(), &ready, err))
			return err->code;
		if (!ready)
			return mb_fail(err, MB_UNREACHABLE, "Redis at %s takes no data", at->name);
	}
	return MB_OK;
}

enum mb_code
mb_redis_socket_read(struct mb_redis_socket *at, void *buf, size_t cap, int64_t wait_ms,
					 size_t *got, struct mb_error *err)
{
	static const unsigned char alert[] = {0x15, 0x03}; /* a TLS record: alert, version 3.x */
	int64_t end = mb_monotonic_ms() + wait_ms;
	bool ready = true;

	for (;;)
	{
		size_t n = 0;
		short want;

		if (try_read(at, buf, cap, &n, &want, err))
			return hint_first(at, err);
		if (!at->tls && !at->heard && n >= sizeof(alert) && memcmp(buf, alert, sizeof(alert)) == 0)
		{
			mb_fail(err, MB_UNREACHABLE, "Redis at %s answers with TLS", at->name);
			return hint_first(at, err);
		}
		at->heard = at->heard || n > 0;
		*got = n;
		if (n > 0 || !ready)
			return MB_OK;
		if (wait_ready(at, want, end - mb_monotonic_ms(), &ready, err))
			return err->code;
	}
}

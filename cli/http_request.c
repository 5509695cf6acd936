/* http_request.c - where to listen, and whose requests are answered. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/http.h"

#define BACKLOG 128

/* -- where to listen ------------------------------------------------------------------------ */

static enum mb_code
bad_listen(const char *text, struct mb_error *err)
{
	mb_fail(err, MB_CONFIG, "\"%s\" is no address to listen on", text);
	return mb_error_hint(err, "Write ADDRESS:PORT, such as 127.0.0.1:8432, [::1]:8432 or *:8432 "
							  "for every address, or none.");
}

enum mb_code
http_listen_parse(struct http_listen *listen, const char *text, struct mb_error *err)
{
	const char *colon = strrchr(text, ':'), *from = text, *to = colon;
	char *end;
	long port;

	if (!colon || colon == text)
		return bad_listen(text, err);
	if (*from == '[')
	{
		from++;
		to--;
		if (to < from || *to != ']')
			return bad_listen(text, err);
	}
	port = strtol(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || port < 1 || port > 65535 || to == from ||
		(size_t) (to - from) >= sizeof(listen->host) ||
		(from == text && memchr(from, ':', (size_t) (to - from))))
		return bad_listen(text, err);
	*listen = (struct http_listen){.is_loopback = false};
	snprintf(listen->host, sizeof(listen->host), "%.*s", (int) (to - from), from);
	snprintf(listen->port, sizeof(listen->port), "%ld", port);
	if (strcmp(listen->host, "*") == 0)
		listen->host[0] = '\0';
	return MB_OK;
}

static bool
is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
	{
		const struct sockaddr_in *in = (const struct sockaddr_in *) (const void *) address;

		return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
	}
	return address->sa_family == AF_INET6 &&
		   IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) (const void *) address)->sin6_addr);
}

/* A socket, or -1 and errno. */
static int
listen_on(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1,
		off = 0;
	int saved;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (info->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

enum mb_code
http_listen_open(struct http_listen *listen, int *fd, struct mb_error *err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found, *at;
	const char *host = listen->host[0] ? listen->host : "::";
	int failed, made = -1;

	hints.ai_flags = AI_NUMERICSERV;
	failed = getaddrinfo(host, listen->port, &hints, &found);
	if (failed)
	{
		mb_fail(err, MB_CONFIG, "could not listen on \"%s\": %s", host, gai_strerror(failed));
		return mb_error_hint(err, "Write an address of this host into listen in [daemon].");
	}
	for (at = found; at && made < 0; at = at->ai_next)
	{
		made = listen_on(at);
		listen->is_loopback = is_loopback(at->ai_addr);
	}
	freeaddrinfo(found);
	if (made < 0 && errno == EAFNOSUPPORT && !listen->host[0])
	{
		/* A kernel without IPv6. */
		struct sockaddr_in any = {.sin_family = AF_INET,
								  .sin_port = htons((uint16_t) atoi(listen->port))};
		struct addrinfo info = {.ai_family = AF_INET, .ai_addrlen = sizeof(any)};

		info.ai_addr = (struct sockaddr *) (void *) &any;
		made = listen_on(&info);
	}
	if (made < 0 && errno == EADDRINUSE)
	{
		mb_fail(err, MB_CONFLICT, "could not listen on %s port %s: it is taken",
				listen->host[0] ? listen->host : "*", listen->port);
		return mb_error_hint(err, "Choose another one by listen in [daemon], or none.");
	}
	if (made < 0)
	{
		mb_fail_errno(err, errno, "could not listen on %s port %s",
					  listen->host[0] ? listen->host : "*", listen->port);
		return mb_error_hint(err, "Write an address of this host into listen in [daemon].");
	}
	*fd = made;
	return MB_OK;
}

/* -- whose requests ------------------------------------------------------------------------- */

/* The name in a Host header, without port and brackets; false when it is none. */
static bool
name_of(char out[256], const char *host)
{
	const char *end = *host == '[' ? strchr(host, ']') : strchr(host, ':');
	const char *from = *host == '[' ? host + 1 : host;
	const char *port = end && *host == '[' ? end + 1 : end;
	size_t len;

	if (*host == '[' && !end)
		return false;
	if (!end)
		end = host + strlen(host);
	if (port && *port && (*port != ':' || strspn(port + 1, "0123456789") != strlen(port + 1)))
		return false;
	len = (size_t) (end - from);
	if (len == 0 || len > 255)
		return false;
	memcpy(out, from, len);
	out[len] = '\0';
	return true;
}

static bool
is_literal(const char *name)
{
	unsigned char address[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/*
 * A page of another site can make a browser ask us by a name that its owner lets point here (DNS
 * rebinding); it cannot do so by a name that is ours, or by an address.
 */
bool
http_host_is_ours(const struct http_listen *listen, const char *host)
{
	char name[256];

	if (!host || !name_of(name, host))
		return false;
	if (strcasecmp(name, "localhost") == 0 || strcmp(name, "127.0.0.1") == 0 ||
		strcmp(name, "::1") == 0)
		return true;
	if (!listen->host[0])
		return is_literal(name);
	return strcasecmp(name, listen->host) == 0;
}

/* url.c - see url.h. */
#include "redis/url.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

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
	url->port = MB_REDIS_PORT;
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

	parsed.tls = mb_starts_with(text, "rediss://");
	if (parsed.tls || mb_starts_with(text, "redis://"))
		code = parse_tcp(&parsed, strchr(text, ':') + 3, err);
	else if (mb_starts_with(text, "unix:///"))
		parsed.path = mb_strdup(text + strlen("unix://"));
	else if (*text == '/')
		parsed.path = mb_strdup(text);
	else
		code = mb_fail(err, MB_CONFIG,
					   "a Redis URL is redis://host:port, rediss://host:port or "
					   "unix:///path/to/socket");
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

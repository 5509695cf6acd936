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
parse_host(struct mb_redis_url *url, const char *text, unsigned port, struct mb_error *err)
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
	url->port = port;
	return colon ? parse_number(&url->port, colon + 1, 65535, "port", err) : MB_OK;
}

/* "user@" before the hosts; *rest is what stands behind it. */
static enum mb_code
parse_user(struct mb_redis_url *url, char *text, char **rest, struct mb_error *err)
{
	char *at = strrchr(text, '@');

	*rest = at ? at + 1 : text;
	if (!at)
		return MB_OK;
	*at = '\0';
	if (strchr(text, ':'))
	{
		/* Do not repeat the URL here: it holds a secret. */
		mb_wipe(text, strlen(text));
		mb_fail(err, MB_CONFIG, "the Redis URL carries a password");
		return mb_error_hint(err,
							 "Use password-file, password-command or the environment instead.");
	}
	if (*text)
		url->user = mb_strdup(text);
	return MB_OK;
}

static enum mb_code
parse_sentinels(struct mb_redis_url *url, char *hosts, const char *master, struct mb_error *err)
{
	char *save = NULL, *host;

	if (!master || !*master || strchr(master, '/'))
	{
		mb_fail(err, MB_CONFIG, "the Redis URL names no master");
		return mb_error_hint(err, "Write sentinel://HOST:PORT,HOST:PORT/MASTER: the name that "
								  "\"sentinel monitor\" gives it.");
	}
	url->master = mb_strdup(master);
	url->sentinels = mb_calloc(MB_SENTINEL_MAX, sizeof(*url->sentinels));
	for (host = strtok_r(hosts, ",", &save); host; host = strtok_r(NULL, ",", &save))
	{
		if (url->sentinel_count == MB_SENTINEL_MAX)
			return mb_fail(err, MB_CONFIG, "the Redis URL names more than %d sentinels",
						   MB_SENTINEL_MAX);
		url->sentinels[url->sentinel_count].tls = url->tls;
		if (parse_host(&url->sentinels[url->sentinel_count++], host, MB_SENTINEL_PORT, err))
			return err->code;
	}
	if (url->sentinel_count == 0)
		return mb_fail(err, MB_CONFIG, "the Redis URL names no host");
	return MB_OK;
}

/* What stands behind "//". */
static enum mb_code
parse_tcp(struct mb_redis_url *url, const char *text, bool by_sentinel, struct mb_error *err)
{
	char *copy = mb_strdup(text), *slash = strchr(copy, '/'), *rest;
	enum mb_code code;

	if (slash)
		*slash++ = '\0';
	code = parse_user(url, copy, &rest, err);
	if (!code && by_sentinel)
		code = parse_sentinels(url, rest, slash, err);
	else if (!code)
		code = parse_host(url, rest, MB_REDIS_PORT, err);
	if (!code && !by_sentinel && slash && *slash)
		code = parse_number(&url->db, slash, INT32_MAX, "database", err);
	free(copy);
	return code;
}

enum mb_code
mb_redis_url_parse(struct mb_redis_url *url, const char *text, struct mb_error *err)
{
	struct mb_redis_url parsed = {0};
	enum mb_code code = MB_OK;

	bool by_sentinel =
		mb_starts_with(text, "sentinel://") || mb_starts_with(text, "sentinel+tls://");

	parsed.tls = mb_starts_with(text, "rediss://") || mb_starts_with(text, "sentinel+tls://");
	if (by_sentinel || parsed.tls || mb_starts_with(text, "redis://"))
		code = parse_tcp(&parsed, strchr(text, ':') + strlen("://"), by_sentinel, err);
	else if (mb_starts_with(text, "unix:///"))
		parsed.path = mb_strdup(text + strlen("unix://"));
	else if (*text == '/')
		parsed.path = mb_strdup(text);
	else
		code = mb_fail(err, MB_CONFIG,
					   "a Redis URL is redis://host:port, rediss://host:port, "
					   "unix:///path/to/socket or sentinel://host:port,host:port/master");
	if (!code && parsed.path && strlen(parsed.path) >= sizeof(((struct sockaddr_un *) 0)->sun_path))
		code = mb_fail(err, MB_CONFIG, "the Redis socket path is too long");
	if (code)
		mb_redis_url_release(&parsed);
	else
		*url = parsed;
	return code;
}

void
mb_redis_url_copy(struct mb_redis_url *to, const struct mb_redis_url *from)
{
	*to = (struct mb_redis_url){.port = from->port, .db = from->db, .tls = from->tls};
	to->host = from->host ? mb_strdup(from->host) : NULL;
	to->path = from->path ? mb_strdup(from->path) : NULL;
	to->user = from->user ? mb_strdup(from->user) : NULL;
}

char *
mb_redis_url_name(const struct mb_redis_url *url)
{
	if (url->master)
		return mb_asprintf("%s by Sentinel", url->master);
	return url->path ? mb_strdup(url->path) : mb_asprintf("%s:%u", url->host, url->port);
}

void
mb_redis_url_release(struct mb_redis_url *url)
{
	size_t i;

	for (i = 0; i < url->sentinel_count; i++)
		mb_redis_url_release(&url->sentinels[i]);
	free(url->sentinels);
	free(url->master);
	free(url->host);
	free(url->path);
	free(url->user);
	memset(url, 0, sizeof(*url));
}

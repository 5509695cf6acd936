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
		return mb_fail(err, MB_CONFIG, "\"%s\" in the Redis URL is no %s", text, what);
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
			return mb_fail(err, MB_CONFIG, "\"%s\" in the Redis URL is no host", text);
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
parse_seeds(struct mb_redis_url *url, char *hosts, unsigned port, struct mb_error *err)
{
	char *save = NULL, *host;

	url->seeds = mb_calloc(MB_REDIS_SEEDS_MAX, sizeof(*url->seeds));
	for (host = strtok_r(hosts, ",", &save); host; host = strtok_r(NULL, ",", &save))
	{
		if (url->seed_count == MB_REDIS_SEEDS_MAX)
			return mb_fail(err, MB_CONFIG, "the Redis URL names more than %d hosts",
						   MB_REDIS_SEEDS_MAX);
		url->seeds[url->seed_count].tls = url->tls;
		if (parse_host(&url->seeds[url->seed_count++], host, port, err))
			return err->code;
	}
	if (url->seed_count == 0)
		return mb_fail(err, MB_CONFIG, "the Redis URL names no host");
	return MB_OK;
}

static enum mb_code
parse_sentinels(struct mb_redis_url *url, char *hosts, const char *master, struct mb_error *err)
{
	if (!master || !*master || strchr(master, '/'))
	{
		mb_fail(err, MB_CONFIG, "the Redis URL names no master");
		return mb_error_hint(err, "Write sentinel://HOST:PORT,HOST:PORT/MASTER: the name that "
								  "\"sentinel monitor\" gives it.");
	}
	url->master = mb_strdup(master);
	return parse_seeds(url, hosts, MB_SENTINEL_PORT, err);
}

/* A cluster has one database, so nothing stands behind its hosts. */
static enum mb_code
parse_cluster(struct mb_redis_url *url, char *hosts, const char *rest, struct mb_error *err)
{
	if (rest && *rest && strcmp(rest, "0") != 0)
		return mb_fail(err, MB_CONFIG, "a Redis cluster has no database \"%s\", only 0", rest);
	url->cluster = true;
	return parse_seeds(url, hosts, MB_REDIS_PORT, err);
}

static const struct scheme
{
	const char *text;
	bool tls;
	enum
	{
		ONE_SERVER,
		BY_SENTINEL,
		CLUSTER
	} form;
} schemes[] = {
	{"redis://", false, ONE_SERVER},     {"rediss://", true, ONE_SERVER},
	{"sentinel://", false, BY_SENTINEL}, {"sentinel+tls://", true, BY_SENTINEL},
	{"cluster://", false, CLUSTER},      {"cluster+tls://", true, CLUSTER},
};

/* What stands behind "//". */
static enum mb_code
parse_tcp(struct mb_redis_url *url, const char *text, const struct scheme *scheme,
		  struct mb_error *err)
{
	char *copy = mb_strdup(text), *slash = strchr(copy, '/'), *rest;
	enum mb_code code;

	if (slash)
		*slash++ = '\0';
	url->tls = scheme->tls;
	code = parse_user(url, copy, &rest, err);
	if (!code && scheme->form == BY_SENTINEL)
		code = parse_sentinels(url, rest, slash, err);
	else if (!code && scheme->form == CLUSTER)
		code = parse_cluster(url, rest, slash, err);
	else if (!code)
	{
		code = parse_host(url, rest, MB_REDIS_PORT, err);
		if (!code && slash && *slash)
			code = parse_number(&url->db, slash, INT32_MAX, "database", err);
	}
	free(copy);
	return code;
}

enum mb_code
mb_redis_url_parse(struct mb_redis_url *url, const char *text, struct mb_error *err)
{
	const struct scheme *scheme = NULL;
	struct mb_redis_url parsed = {0};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (mb_starts_with(text, schemes[i].text))
			scheme = &schemes[i];
	if (scheme)
		code = parse_tcp(&parsed, text + strlen(scheme->text), scheme, err);
	else if (mb_starts_with(text, "unix:///"))
		parsed.path = mb_strdup(text + strlen("unix://"));
	else if (*text == '/')
		parsed.path = mb_strdup(text);
	else
		code = mb_fail(err, MB_CONFIG,
					   "a Redis URL is redis://host:port, rediss://host:port, "
					   "unix:///path/to/socket, sentinel://host:port,host:port/master or "
					   "cluster://host:port,host:port");
	if (!code && parsed.path && strlen(parsed.path) >= sizeof(((struct sockaddr_un *) 0)->sun_path))
		code = mb_fail(err, MB_CONFIG, "the Redis socket path is too long");
	if (code)
		mb_redis_url_release(&parsed);
	else
		*url = parsed;
	return code;
}

static char *
copy_text(const char *text)
{
	return text ? mb_strdup(text) : NULL;
}

void
mb_redis_url_copy(struct mb_redis_url *to, const struct mb_redis_url *from)
{
	size_t i;

	*to = *from;
	to->host = copy_text(from->host);
	to->path = copy_text(from->path);
	to->user = copy_text(from->user);
	to->master = copy_text(from->master);
	to->seeds = from->seed_count ? mb_calloc(from->seed_count, sizeof(*to->seeds)) : NULL;
	for (i = 0; i < from->seed_count; i++)
		mb_redis_url_copy(&to->seeds[i], &from->seeds[i]);
}

char *
mb_redis_url_name(const struct mb_redis_url *url)
{
	if (url->master)
		return mb_asprintf("%s by Sentinel", url->master);
	if (url->cluster)
		return mb_asprintf("cluster at %s:%u", url->seeds[0].host, url->seeds[0].port);
	return url->path ? mb_strdup(url->path) : mb_asprintf("%s:%u", url->host, url->port);
}

void
mb_redis_url_release(struct mb_redis_url *url)
{
	size_t i;

	for (i = 0; i < url->seed_count; i++)
		mb_redis_url_release(&url->seeds[i]);
	free(url->seeds);
	free(url->master);
	free(url->host);
	free(url->path);
	free(url->user);
	memset(url, 0, sizeof(*url));
}

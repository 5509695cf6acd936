/* s3.c - clients and their lanes; see s3.h. */
#include "objectstore/s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "objectstore/s3_private.h"

#define DEFAULT_DEADLINE_MS 120000
#define DEFAULT_REQUESTS 64
#define LANE_CONNECTIONS 32

/* scheme://host[:port][/path] */
static enum mb_code
parse_endpoint(struct mb_s3 *s3, const char *endpoint, struct mb_error *err)
{
	const char *host, *end;
	size_t path_len;

	if (strncasecmp(endpoint, "https://", 8) == 0)
	{
		s3->is_tls = true;
		host = endpoint + 8;
	}
	else if (strncasecmp(endpoint, "http://", 7) == 0)
		host = endpoint + 7;
	else
		host = "";
	end = host + strcspn(host, "/?#");
	if (end == host || *end == '?' || *end == '#' || memchr(host, '@', (size_t) (end - host)) ||
		strpbrk(host, " \t\r\n"))
	{
		mb_fail(err, MB_CONFIG, "endpoint \"%s\" is not possible", endpoint);
		return mb_error_hint(err, "Write it as http://host:port or https://host[:port].");
	}
	s3->host = mb_strndup(host, (size_t) (end - host));
	if (mb_ends_with(s3->host, s3->is_tls ? ":443" : ":80"))
		*strrchr(s3->host, ':') = '\0';
	path_len = strlen(end);
	while (path_len > 0 && end[path_len - 1] == '/')
		path_len--;
	s3->base_path = mb_strndup(end, path_len);
	return MB_OK;
}

enum mb_code
mb_s3_new(struct mb_s3 **s3, const struct mb_s3_options *options, struct mb_error *err)
{
	struct mb_s3 *made = mb_calloc(1, sizeof(*made));
	enum mb_code code = MB_OK;

	pthread_mutex_init(&made->lock, NULL);
	made->credentials = options->credentials;
	made->ca_file = options->ca_file ? mb_strdup(options->ca_file) : NULL;
	made->deadline_ms = options->deadline_ms ? options->deadline_ms : DEFAULT_DEADLINE_MS;
	made->stall_ms = options->stall_ms;
	made->patience_ms = options->patience_ms;
	made->max_requests = options->max_requests ? options->max_requests : DEFAULT_REQUESTS;
	made->cancel = options->cancel;
	made->log = options->log;
	made->limit = made->max_requests;
	made->budget = MB_S3_BUDGET_FULL;
	snprintf(made->region, sizeof(made->region), "%s",
			 options->region ? options->region : "us-east-1");
	if (options->endpoint)
		code = parse_endpoint(made, options->endpoint, err);
	else
	{
		made->is_aws = made->is_tls = true;
		made->base_path = mb_strdup("");
	}
	made->is_virtual =
		options->addressing ? strcmp(options->addressing, "virtual") == 0 : made->is_aws;
	if (code)
		mb_s3_free(made);
	else
		*s3 = made;
	return code;
}

static void
free_lane(struct mb_s3_lane *lane)
{
	mb_s3_drop(lane);
	mb_http_free(lane->http);
	mb_wipe(&lane->key, sizeof(lane->key));
	free(lane);
}

void
mb_s3_free(struct mb_s3 *s3)
{
	if (!s3)
		return;
	while (s3->idle)
	{
		struct mb_s3_lane *lane = s3->idle;

		s3->idle = lane->next;
		free_lane(lane);
	}
	mb_credentials_free(s3->credentials);
	pthread_mutex_destroy(&s3->lock);
	free(s3->host);
	free(s3->base_path);
	free(s3->ca_file);
	free(s3);
}

struct mb_s3_lane *
mb_s3_lane_open(struct mb_s3 *s3)
{
	struct mb_http_options options = {.ca_file = s3->ca_file,
									  .stall_ms = s3->stall_ms,
									  .max_connections = LANE_CONNECTIONS,
									  .cancel = s3->cancel};
	struct mb_s3_lane *lane;

	pthread_mutex_lock(&s3->lock);
	lane = s3->idle;
	if (lane)
		s3->idle = lane->next;
	pthread_mutex_unlock(&s3->lock);
	if (lane)
		return lane;
	lane = mb_calloc(1, sizeof(*lane));
	lane->s3 = s3;
	lane->http = mb_http_new(&options);
	return lane;
}

void
mb_s3_lane_close(struct mb_s3_lane *lane)
{
	if (!lane)
		return;
	mb_s3_drop(lane);
	pthread_mutex_lock(&lane->s3->lock);
	lane->next = lane->s3->idle;
	lane->s3->idle = lane;
	pthread_mutex_unlock(&lane->s3->lock);
}

enum mb_s3_dialect
mb_s3_dialect(const struct mb_s3 *s3)
{
	struct mb_s3 *shared = (struct mb_s3 *) (uintptr_t) s3;
	enum mb_s3_dialect dialect;

	pthread_mutex_lock(&shared->lock);
	dialect = shared->dialect;
	pthread_mutex_unlock(&shared->lock);
	return dialect;
}

enum mb_code
mb_s3_access_key(struct mb_s3 *s3, char **key, struct mb_error *err)
{
	struct mb_s3_keys keys = {0};
	enum mb_code code = mb_credentials_get(s3->credentials, &keys, err);

	if (!code)
		*key = mb_strdup(keys.access_key.len ? (const char *) keys.access_key.data : "");
	mb_s3_keys_release(&keys);
	return code;
}

enum mb_code
mb_s3_url_parse(const char *url, char **bucket, char **prefix, struct mb_error *err)
{
	const char *name, *slash;
	size_t len;

	name = mb_starts_with(url, "s3://") ? url + 5 : "";
	slash = name + strcspn(name, "/");
	if (slash == name || slash - name > 255 || strpbrk(name, "?#"))
	{
		mb_fail(err, MB_CONFIG, "url \"%s\" is not possible", url);
		return mb_error_hint(err, "Write it as s3://bucket or s3://bucket/prefix.");
	}
	*bucket = mb_strndup(name, (size_t) (slash - name));
	while (*slash == '/')
		slash++;
	len = strlen(slash);
	while (len > 0 && slash[len - 1] == '/')
		len--;
	*prefix = mb_strndup(slash, len);
	return MB_OK;
}

/*
 * credentials_http.c - keys that somebody has to be asked for: a token service, the container's or the
 * instance's own.
 *
 * Sources: AssumeRoleWithWebIdentity of the AWS STS API reference (MinIO answers it at its own
 * endpoint); "Container credential provider" of the AWS SDKs' reference guide; "Use the Instance
 * Metadata Service", version 2.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/base/time.h"
#include "objectstore/credentials_private.h"
#include "objectstore/http.h"
#include "objectstore/s3_xml.h"
#include "objectstore/sigv4.h"

#define ANSWER_MAX_BYTES (64u << 10)
#define TOKEN_MAX_BYTES (64u << 10)
#define DEADLINE_MS 10000
#define INSTANCE_DEADLINE_MS 2000

/* -- asking --------------------------------------------------------------------------------------------- */

struct question
{
	const char *method;
	const char *url;
	char *lines[2];
	size_t line_count;
	const struct mb_buf *body;
	int64_t deadline_ms;
	const char *what; /* "the token service" */
};

static void
note_code(struct mb_http_request *request, enum mb_code code, const struct mb_error *err)
{
	struct mb_error *out = request->ctx;

	*out = *err;
	out->code = code;
}

/* The body of a 2xx answer into out.  Anything but an answer is MB_UNREACHABLE; a refusal MB_DENIED. */
static enum mb_code
ask(const struct mb_credentials_options *options, const struct question *question,
	struct mb_buf *out, struct mb_error *err)
{
	struct mb_http_options transport = {.ca_file = options->ca_file,
										.connect_timeout_ms = question->deadline_ms,
										.max_connections = 1,
										.cancel = options->cancel};
	struct mb_http *http = mb_http_new(&transport);
	struct mb_error outcome = {0};
	struct mb_http_request request = {.method = question->method,
									  .url = question->url,
									  .lines = question->lines,
									  .line_count = question->line_count,
									  .body = question->body ? question->body->data : NULL,
									  .body_len = question->body ? question->body->len : 0,
									  .max_bytes = ANSWER_MAX_BYTES,
									  .deadline_ms = question->deadline_ms,
									  .done = note_code,
									  .ctx = &outcome};
	enum mb_code code = MB_OK;
	int status;

	mb_http_start(http, &request);
	while (!code && mb_http_active(http) > 0)
		code = mb_http_run(http, 1000, err);
	status = request.response.status;
	if (!code && outcome.code)
	{
		*err = outcome;
		code = mb_error_context(err, "could not ask %s", question->what);
	}
	else if (!code && status / 100 != 2)
		code = mb_fail(err, status >= 500 ? MB_UNREACHABLE : MB_DENIED, "%s answered %d: %.200s",
					   question->what, status, mb_buf_cstr(&request.response.body));
	else if (!code)
		mb_buf_put(out, request.response.body.data, request.response.body.len);
	if (request.response.body.data)
		mb_wipe(request.response.body.data, request.response.body.cap);
	mb_http_request_release(&request);
	mb_http_free(http);
	return code;
}

static void
release_secret(struct mb_buf *buf)
{
	if (buf->data)
		mb_wipe(buf->data, buf->cap);
	mb_buf_release(buf);
}

/* The first line of a file. */
static enum mb_code
read_token(const char *path, struct mb_buf *out, struct mb_error *err)
{
	enum mb_code code = mb_file_read(out, path, TOKEN_MAX_BYTES, err);

	if (code)
		return err->code = code == MB_NOT_FOUND ? MB_CONFIG : code;
	out->len = strcspn(mb_buf_cstr(out), "\r\n");
	out->data[out->len] = '\0';
	return MB_OK;
}

/* -- a web identity -------------------------------------------------------------------------------------- */

static void
put_field(struct mb_buf *body, const char *name, const char *value)
{
	mb_buf_printf(body, "%s%s=", body->len ? "&" : "", name);
	mb_sigv4_encode(body, value, strlen(value), false);
}

static bool
find_text(const struct mb_buf *xml, const char *name, struct mb_buf *out)
{
	char path[160];

	snprintf(path, sizeof(path),
			 "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/%s",
			 name);
	mb_buf_reset(out);
	return mb_xml_find(xml->data, xml->len, path, out) && out->len > 0;
}

static enum mb_code
read_assumed(const struct mb_buf *xml, struct mb_found_keys *found, struct mb_error *err)
{
	struct mb_buf text = {0};
	struct mb_error ignored;
	bool is_whole = find_text(xml, "AccessKeyId", &text);

	if (is_whole)
		mb_secret_set(&found->keys.access_key, text.data, text.len);
	is_whole = is_whole && find_text(xml, "SecretAccessKey", &text);
	if (is_whole)
		mb_secret_set(&found->keys.secret_key, text.data, text.len);
	is_whole = is_whole && find_text(xml, "SessionToken", &text);
	if (is_whole)
		mb_secret_set(&found->keys.session_token, text.data, text.len);
	if (find_text(xml, "Expiration", &text) &&
		mb_time_parse(&found->expires_us, mb_buf_cstr(&text), &ignored))
		found->expires_us = 0;
	release_secret(&text);
	return is_whole ? MB_OK
					: mb_fail(err, MB_CORRUPT, "the token service's answer holds no credentials");
}

enum mb_code
mb_keys_from_web_identity(const struct mb_credentials_options *options, struct mb_found_keys *found,
						  struct mb_error *err)
{
	const char *path = getenv("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = getenv("AWS_ROLE_ARN");
	const char *session = getenv("AWS_ROLE_SESSION_NAME");
	const char *endpoint =
		options->sts_endpoint ? options->sts_endpoint : getenv("AWS_ENDPOINT_URL_STS");
	struct question question = {.method = "POST",
								.lines = {"content-type: application/x-www-form-urlencoded"},
								.line_count = 1,
								.deadline_ms = DEADLINE_MS,
								.what = "the token service"};
	struct mb_buf token = {0}, body = {0}, answer = {0};
	char *url = NULL;
	enum mb_code code;

	if (!path || !path[0])
		return mb_fail(err, MB_NOT_FOUND, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
	code = read_token(path, &token, err);
	if (code)
		return mb_error_context(err, "could not read the web identity");
	put_field(&body, "Action", "AssumeRoleWithWebIdentity");
	put_field(&body, "Version", "2011-06-15");
	/* MinIO knows the role by the token's claims. */
	if (role && role[0])
		put_field(&body, "RoleArn", role);
	put_field(&body, "RoleSessionName", session && session[0] ? session : "mbackup");
	put_field(&body, "WebIdentityToken", mb_buf_cstr(&token));
	url = endpoint && endpoint[0] ? mb_strdup(endpoint)
								  : mb_asprintf("https://sts.%s.amazonaws.com/",
												options->region ? options->region : "us-east-1");
	question.url = url;
	question.body = &body;
	code = ask(options, &question, &answer, err);
	if (!code)
		code = read_assumed(&answer, found, err);
	release_secret(&token);
	release_secret(&body);
	release_secret(&answer);
	free(url);
	return code;
}

/* -- the container's ----------------------------------------------------------------------------------------- */

/* Keys over plain http: only from where no network lies between. */
static bool
may_be_plain(const char *url)
{
	static const char *const hosts[] = {"localhost",      "127.",  "169.254.170.2",
										"169.254.170.23", "[::1]", "[fd00:ec2::23]"};
	const char *host = url + strlen("http://");
	size_t len = strcspn(host, ":/");
	size_t i;

	if (strncasecmp(url, "https://", 8) == 0)
		return true;
	if (strncasecmp(url, "http://", 7) != 0)
		return false;
	if (host[0] == '[')
		len = strcspn(host, "]") + 1;
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
	{
		size_t want = strlen(hosts[i]);

		/* 127.0.0.0/8: only digits and dots, so that 127.example.com is no loopback. */
		if (strcmp(hosts[i], "127.") == 0 && len > want && strncmp(host, hosts[i], want) == 0 &&
			strspn(host, "0123456789.") == len)
			return true;
		if (len == want && strncasecmp(host, hosts[i], want) == 0)
			return true;
	}
	return false;
}

/* The line that shows who we are; free() it, NULL when there is none to show. */
static enum mb_code
authorization_line(char **line, struct mb_error *err)
{
	const char *path = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *text = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	struct mb_buf token = {0};

	*line = NULL;
	if (path && path[0])
	{
		if (read_token(path, &token, err))
			return mb_error_context(err, "could not read the container's token");
		text = mb_buf_cstr(&token);
	}
	if (text && strpbrk(text, "\r\n"))
	{
		release_secret(&token);
		return mb_fail(err, MB_CONFIG, "the container's token holds a line break");
	}
	if (text && text[0])
		*line = mb_asprintf("authorization: %s", text);
	release_secret(&token);
	return MB_OK;
}

enum mb_code
mb_keys_from_container(const struct mb_credentials_options *options, struct mb_found_keys *found,
					   struct mb_error *err)
{
	const char *relative = getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	struct question question = {.method = "GET",
								.deadline_ms = DEADLINE_MS,
								.what = "the container's credentials"};
	struct mb_buf answer = {0};
	char *url;
	enum mb_code code;

	if ((!relative || !relative[0]) && (!full || !full[0]))
		return mb_fail(err, MB_NOT_FOUND, "AWS_CONTAINER_CREDENTIALS_FULL_URI is not set");
	url =
		relative && relative[0] ? mb_asprintf("http://169.254.170.2%s", relative) : mb_strdup(full);
	if (!may_be_plain(url))
	{
		mb_fail(err, MB_CONFIG, "keys are not asked for at %s", url);
		mb_error_hint(err, "Use https://, or an address of this machine.");
		free(url);
		return err->code;
	}
	question.url = url;
	code = authorization_line(&question.lines[0], err);
	question.line_count = question.lines[0] != NULL;
	if (!code)
		code = ask(options, &question, &answer, err);
	if (!code)
		code = mb_found_keys_parse(found, answer.data, answer.len, question.what, err);
	if (question.lines[0])
		mb_wipe(question.lines[0], strlen(question.lines[0]));
	free(question.lines[0]);
	release_secret(&answer);
	free(url);
	return code;
}

/* -- the instance's --------------------------------------------------------------------------------------------- */

static enum mb_code
ask_instance(const struct mb_credentials_options *options, const char *base, const char *path,
			 char *line, const char *method, struct mb_buf *out, struct mb_error *err)
{
	char *url = mb_asprintf("%s%s", base, path);
	struct question question = {.method = method,
								.url = url,
								.lines = {line},
								.line_count = 1,
								.deadline_ms = INSTANCE_DEADLINE_MS,
								.what = "the instance's metadata"};
	enum mb_code code = ask(options, &question, out, err);

	mb_buf_cstr(out);
	free(url);
	return code;
}

enum mb_code
mb_keys_from_instance(const struct mb_credentials_options *options, struct mb_found_keys *found,
					  struct mb_error *err)
{
	static const char roles[] = "/latest/meta-data/iam/security-credentials/";
	const char *named = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *base = named && named[0] ? named : "http://169.254.169.254";
	struct mb_buf token = {0}, role = {0}, answer = {0};
	char *line = NULL, *path = NULL;
	enum mb_code code;

	code = ask_instance(options, base, "/latest/api/token",
						"x-aws-ec2-metadata-token-ttl-seconds: 21600", "PUT", &token, err);
	if (!code && strpbrk(mb_buf_cstr(&token), "\r\n"))
		code = mb_fail(err, MB_CORRUPT, "the instance's token holds a line break");
	if (!code)
	{
		line = mb_asprintf("x-aws-ec2-metadata-token: %s", mb_buf_cstr(&token));
		code = ask_instance(options, base, roles, line, "GET", &role, err);
	}
	if (!code)
	{
		path = mb_asprintf("%s%.*s", roles, (int) strcspn(mb_buf_cstr(&role), "\r\n"),
						   mb_buf_cstr(&role));
		code = ask_instance(options, base, path, line, "GET", &answer, err);
	}
	if (!code)
		code = mb_found_keys_parse(found, answer.data, answer.len, "the instance's metadata", err);
	if (line)
		mb_wipe(line, strlen(line));
	free(line);
	free(path);
	release_secret(&token);
	mb_buf_release(&role);
	release_secret(&answer);
	return code;
}

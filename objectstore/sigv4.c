/* sigv4.c - see sigv4.h. */
#include "objectstore/sigv4.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_TEXT 8 /* 20150830 */

/* -- encoding ---------------------------------------------------------------------------------- */

static bool
is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		   c == '_' || c == '.' || c == '~';
}

void
mb_sigv4_encode(struct mb_buf *out, const char *text, size_t len, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char *to;
	size_t i;

	mb_buf_reserve(out, 3 * len);
	to = out->data + out->len;
	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (is_unreserved(c) || (keep_slash && c == '/'))
			*to++ = c;
		else
		{
			*to++ = '%';
			*to++ = (unsigned char) digits[c >> 4];
			*to++ = (unsigned char) digits[c & 15];
		}
	}
	out->len = (size_t) (to - out->data);
}

static void
put_parameter(struct mb_buf *out, const struct mb_query *query, const char *equals)
{
	mb_sigv4_encode(out, query->name, strlen(query->name), false);
	if (!query->value)
	{
		mb_buf_put_str(out, equals);
		return;
	}
	mb_buf_put_u8(out, '=');
	mb_sigv4_encode(out, query->value, strlen(query->value), false);
}

void
mb_sigv4_url(struct mb_buf *out, const char *path, const struct mb_query *query, size_t query_count)
{
	size_t i;

	mb_sigv4_encode(out, path, strlen(path), true);
	for (i = 0; i < query_count; i++)
	{
		mb_buf_put_u8(out, i ? '&' : '?');
		put_parameter(out, &query[i], "");
	}
}

/* -- the canonical request ----------------------------------------------------------------------- */

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Sorted by encoded name, then by encoded value: sorting "name=value" would put "a-b=" before "a=". */
static int
compare_parameters(const void *a, const void *b)
{
	const char *left = *(char *const *) a;
	const char *right = *(char *const *) b;
	size_t left_len = strcspn(left, "=");
	size_t right_len = strcspn(right, "=");
	int order = memcmp(left, right, left_len < right_len ? left_len : right_len);

	if (order == 0 && left_len != right_len)
		order = left_len < right_len ? -1 : 1;
	return order ? order : compare_texts(a, b);
}

static void
put_query(struct mb_buf *out, const struct mb_sigv4_request *request)
{
	char **parameters = mb_calloc(request->query_count + 1, sizeof(*parameters));
	size_t i;

	for (i = 0; i < request->query_count; i++)
	{
		struct mb_buf text = {0};

		put_parameter(&text, &request->query[i], "=");
		parameters[i] = mb_strdup(mb_buf_cstr(&text));
		mb_buf_release(&text);
	}
	if (request->query_count)
		qsort(parameters, request->query_count, sizeof(*parameters), compare_parameters);
	for (i = 0; i < request->query_count; i++)
	{
		mb_buf_printf(out, "%s%s", i ? "&" : "", parameters[i]);
		free(parameters[i]);
	}
	free(parameters);
}

/* One header to be signed; `at` keeps the order of equal names. */
struct line
{
	char *name; /* lower case */
	char *value;
	size_t at;
};

struct lines
{
	struct line *items;
	size_t count;
	size_t cap;
};

/* Without white space at the ends, every run of it inside one space. */
static char *
trim_value(const char *text, size_t len)
{
	char *out = mb_malloc(len + 1);
	size_t i, used = 0;

	for (i = 0; i < len; i++)
		if (text[i] != ' ' && text[i] != '\t')
			out[used++] = text[i];
		else if (used > 0 && out[used - 1] != ' ')
			out[used++] = ' ';
	while (used > 0 && out[used - 1] == ' ')
		used--;
	out[used] = '\0';
	return out;
}

static void
add_line(struct lines *lines, const char *name, size_t name_len, const char *value)
{
	struct line *line;
	size_t i;

	lines->items = mb_grow(lines->items, &lines->cap, lines->count + 1, sizeof(*lines->items));
	line = &lines->items[lines->count];
	line->name = mb_strndup(name, name_len);
	for (i = 0; i < name_len; i++)
		line->name[i] = (char) tolower((unsigned char) name[i]);
	line->value = trim_value(value, strlen(value));
	line->at = lines->count++;
}

static int
compare_lines(const void *a, const void *b)
{
	const struct line *left = a;
	const struct line *right = b;
	int order = strcmp(left->name, right->name);

	return order ? order : left->at < right->at ? -1 : 1;
}

static void
release_lines(struct lines *lines)
{
	size_t i;

	for (i = 0; i < lines->count; i++)
	{
		free(lines->items[i].name);
		mb_wipe(lines->items[i].value, strlen(lines->items[i].value));
		free(lines->items[i].value);
	}
	free(lines->items);
}

static void
format_date(char out[MB_SIGV4_DATE_TEXT], int64_t time_s)
{
	time_t t = (time_t) time_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, MB_SIGV4_DATE_TEXT, "%Y%m%dT%H%M%SZ", &tm);
}

static void
collect_lines(struct lines *lines, const struct mb_sigv4_request *request,
			  const struct mb_sigv4_identity *identity)
{
	char date[MB_SIGV4_DATE_TEXT];
	size_t i;

	format_date(date, request->time_s);
	add_line(lines, "host", 4, request->host);
	add_line(lines, "x-amz-date", 10, date);
	if (!request->no_content_header)
		add_line(lines, "x-amz-content-sha256", 20, request->payload_hash);
	if (identity->session_token)
		add_line(lines, "x-amz-security-token", 20, identity->session_token);
	for (i = 0; i < request->line_count; i++)
	{
		const char *line = request->lines[i];
		size_t len = strcspn(line, ":;");

		add_line(lines, line, len, line[len] == ':' ? line + len + 1 : "");
	}
	qsort(lines->items, lines->count, sizeof(*lines->items), compare_lines);
}

void
mb_sigv4_canonical(const struct mb_sigv4_request *request, const struct mb_sigv4_identity *identity,
				   struct mb_buf *out, struct mb_buf *signed_names)
{
	struct lines lines = {0};
	size_t i;

	collect_lines(&lines, request, identity);
	mb_buf_printf(out, "%s\n", request->method);
	mb_sigv4_encode(out, request->path, strlen(request->path), true);
	mb_buf_put_str(out, "\n");
	put_query(out, request);
	for (i = 0; i < lines.count; i++)
	{
		const struct line *line = &lines.items[i];

		if (i > 0 && strcmp(line->name, line[-1].name) == 0)
		{
			mb_buf_printf(out, ",%s", line->value);
			continue;
		}
		mb_buf_printf(out, "\n%s:%s", line->name, line->value);
		mb_buf_printf(signed_names, "%s%s", i ? ";" : "", line->name);
	}
	mb_buf_printf(out, "\n\n%s\n%s", mb_buf_cstr(signed_names), request->payload_hash);
	release_lines(&lines);
}

/* -- the signature ------------------------------------------------------------------------------- */

/* HMAC chain over day, region, service; kept until one of them or the secret changes. */
static void
derive_key(struct mb_sigv4_key *key, const struct mb_sigv4_request *request,
		   const struct mb_sigv4_identity *identity, const char *day)
{
	struct mb_buf text = {0};
	unsigned char of[MB_SHA256_BYTES];
	unsigned char step[MB_SHA256_BYTES];

	mb_buf_printf(&text, "%s\n%s\n%s\n%s", identity->secret_key, day, request->region,
				  request->service);
	mb_sha256(of, text.data, text.len);
	mb_wipe(text.data, text.cap);
	if (!key->is_set || memcmp(of, key->of, sizeof(of)) != 0)
	{
		mb_buf_reset(&text);
		mb_buf_printf(&text, "AWS4%s", identity->secret_key);
		mb_hmac_sha256(step, text.data, text.len, day, DAY_TEXT);
		mb_hmac_sha256(step, step, sizeof(step), request->region, strlen(request->region));
		mb_hmac_sha256(step, step, sizeof(step), request->service, strlen(request->service));
		mb_hmac_sha256(key->key, step, sizeof(step), "aws4_request", 12);
		memcpy(key->of, of, sizeof(of));
		key->is_set = true;
		mb_wipe(step, sizeof(step));
		mb_wipe(text.data, text.cap);
	}
	mb_buf_release(&text);
}

void
mb_sigv4_sign(const struct mb_sigv4_request *request, const struct mb_sigv4_identity *identity,
			  struct mb_sigv4_key *key, struct mb_buf *out)
{
	struct mb_buf canonical = {0}, names = {0}, text = {0}, scope = {0};
	unsigned char hash[MB_SHA256_BYTES];
	char hex[2 * MB_SHA256_BYTES + 1];
	char date[MB_SIGV4_DATE_TEXT];
	char day[DAY_TEXT + 1];

	format_date(date, request->time_s);
	snprintf(day, sizeof(day), "%.*s", DAY_TEXT, date);
	mb_sigv4_canonical(request, identity, &canonical, &names);
	mb_sha256(hash, canonical.data, canonical.len);
	mb_hex(hex, hash, sizeof(hash));
	mb_buf_printf(&scope, "%s/%s/%s/aws4_request", day, request->region, request->service);
	mb_buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, mb_buf_cstr(&scope), hex);
	derive_key(key, request, identity, day);
	mb_hmac_sha256(hash, key->key, sizeof(key->key), text.data, text.len);
	mb_hex(hex, hash, sizeof(hash));

	mb_buf_printf(out, "x-amz-date: %s\n", date);
	if (!request->no_content_header)
		mb_buf_printf(out, "x-amz-content-sha256: %s\n", request->payload_hash);
	if (identity->session_token)
		mb_buf_printf(out, "x-amz-security-token: %s\n", identity->session_token);
	mb_buf_printf(out,
				  "authorization: AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,"
				  "Signature=%s\n",
				  identity->access_key, mb_buf_cstr(&scope), mb_buf_cstr(&names), hex);
	/* The session token stands in the canonical request. */
	mb_wipe(canonical.data, canonical.cap);
	mb_buf_release(&canonical);
	mb_buf_release(&names);
	mb_buf_release(&text);
	mb_buf_release(&scope);
}

/* http_request.c - see http_private.h: what libcurl is told of a request, and its call-backs. */
#include "objectstore/http_private.h"

#include <stdio.h>
#include <string.h>

/*
 * From here on a refusal (403, 503) should come before the body is sent.  Below, asking first costs a
 * round trip, and a second with servers that never answer 100 (Ceph to DeleteObjects).
 */
#define EXPECT_MIN_BYTES (1u << 20)
#define BUFFER_BYTES (256L << 10)
/* Servers close what is idle for 30 s and more: never reuse what may just be closing. */
#define IDLE_MAX_S 20L
#define ERROR_BODY_MAX_BYTES (1u << 20)

/* -- call-backs of libcurl ------------------------------------------------------------------------ */

static size_t
send_body(char *out, size_t size, size_t count, void *arg)
{
	struct mb_http_transfer *transfer = arg;
	const struct mb_http_request *request = transfer->request;
	size_t len = size * count;

	if (len > request->body_len - transfer->body_at)
		len = request->body_len - transfer->body_at;
	if (len)
		memcpy(out, (const unsigned char *) request->body + transfer->body_at, len);
	transfer->body_at += len;
	return len;
}

/* libcurl sends again by itself when a connection that was kept turns out to be closed. */
static int
rewind_body(void *arg, curl_off_t offset, int origin)
{
	struct mb_http_transfer *transfer = arg;

	if (origin != SEEK_SET || offset < 0 || (uint64_t) offset > transfer->request->body_len)
		return CURL_SEEKFUNC_FAIL;
	transfer->body_at = (size_t) offset;
	return CURL_SEEKFUNC_OK;
}

/* "Name: value\r\n" becomes "name: value\n"; a new status line begins a new answer. */
static size_t
take_header(char *data, size_t size, size_t count, void *arg)
{
	struct mb_http_transfer *transfer = arg;
	struct mb_buf *headers = &transfer->request->response.headers;
	size_t len = size * count;
	size_t used = len, i;
	char *colon;

	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
	{
		mb_buf_reset(headers);
		transfer->has_headers = false;
		return len;
	}
	while (used > 0 && (data[used - 1] == '\r' || data[used - 1] == '\n'))
		used--;
	if (used == 0)
		transfer->has_headers = true;
	colon = memchr(data, ':', used);
	if (!colon)
		return len;
	if (headers->len + used > MB_HTTP_HEADERS_MAX_BYTES)
	{
		mb_fail(&transfer->err, MB_CORRUPT, "the answer has more than %u bytes of headers",
				MB_HTTP_HEADERS_MAX_BYTES);
		return 0;
	}
	for (i = 0; data + i < colon; i++)
		mb_buf_put_u8(headers,
					  (uint8_t) (data[i] >= 'A' && data[i] <= 'Z' ? data[i] + 32 : data[i]));
	mb_buf_put(headers, colon, used - (size_t) (colon - data));
	mb_buf_put_u8(headers, '\n');
	return len;
}

static size_t
take_body(char *data, size_t size, size_t count, void *arg)
{
	struct mb_http_transfer *transfer = arg;
	struct mb_http_request *request = transfer->request;
	struct mb_http_response *response = &request->response;
	size_t len = size * count;
	size_t max = request->max_bytes;
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 != 2)
	{
		/* What went wrong is told in a few hundred bytes. */
		if (response->body.len + len > ERROR_BODY_MAX_BYTES)
			return len;
		mb_buf_put(&response->body, data, len);
		return len;
	}
	response->body_bytes += len;
	if (response->body_bytes > max)
	{
		mb_fail(&transfer->err, MB_CORRUPT, "the answer has more than %zu bytes", max);
		return 0;
	}
	if (request->sink)
		return request->sink(request->sink_ctx, data, len, &transfer->err) == MB_OK ? len : 0;
	mb_buf_put(&response->body, data, len);
	return len;
}

#if LIBCURL_VERSION_NUM >= 0x075000
/*
 * libcurl sends a request again by itself when a connection that was used before ends without a
 * byte.  The server may have acted, and who sees the second answer only would take its own success
 * for somebody else's (412), or undo it (a delete marker that is deleted).
 */
static int
send_once(void *ctx, char *server_ip, char *local_ip, int server_port, int local_port)
{
	struct mb_http_transfer *transfer = ctx;

	(void) server_ip;
	(void) local_ip;
	(void) server_port;
	(void) local_port;
	if (transfer->sends++ == 0)
		return CURL_PREREQFUNC_OK;
	mb_fail(&transfer->err, MB_UNREACHABLE, "the connection ended without an answer");
	return CURL_PREREQFUNC_ABORT;
}
#endif

/* -- options --------------------------------------------------------------------------------------- */

static void
set_method(struct mb_http_transfer *transfer)
{
	const struct mb_http_request *request = transfer->request;
	CURL *easy = transfer->easy;

	if (strcmp(request->method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else if (request->body_len > 0 || strcmp(request->method, "PUT") == 0 ||
			 strcmp(request->method, "POST") == 0)
	{
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) request->body_len);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, send_body);
		curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, rewind_body);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	}
	else
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static void
set_lines(struct mb_http_transfer *transfer)
{
	const struct mb_http_request *request = transfer->request;
	size_t i;

	for (i = 0; i < request->line_count; i++)
	{
		struct curl_slist *grown = curl_slist_append(transfer->lines, request->lines[i]);

		MB_ASSERT(grown != NULL);
		transfer->lines = grown;
	}
	if (request->body_len < EXPECT_MIN_BYTES)
	{
		struct curl_slist *grown = curl_slist_append(transfer->lines, "Expect:");

		MB_ASSERT(grown != NULL);
		transfer->lines = grown;
	}
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->lines);
}

static void
set_options(struct mb_http_transfer *transfer)
{
	const struct mb_http_options *options = &transfer->http->options;
	CURL *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
#if LIBCURL_VERSION_NUM >= 0x075000
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, send_once);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
#else
	/* Only what changes nothing may be sent twice. */
	if (strcmp(transfer->request->method, "GET") != 0 &&
		strcmp(transfer->request->method, "HEAD") != 0)
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
#endif
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->text);
	curl_easy_setopt(easy, CURLOPT_URL, transfer->request->url);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "mbackup");
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, IDLE_MAX_S);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) options->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long) ((options->stall_ms + 999) / 1000));
	if (transfer->request->deadline_ms > 0)
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) transfer->request->deadline_ms);
	if (transfer->http->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, transfer->http->ca_file);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
}

void
mb_http_prepare(struct mb_http_transfer *transfer)
{
	set_options(transfer);
	set_method(transfer);
	set_lines(transfer);
}

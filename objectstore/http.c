/* http.c - see http.h; the only file that includes libcurl. */
#include "objectstore/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/base/time.h"

/*
 * From here on a refusal (403, 503) should come before the body is sent.  Below, asking first costs a
 * round trip, and a second with servers that never answer 100 (Ceph to DeleteObjects).
 */
#define EXPECT_MIN_BYTES (1u << 20)
#define DEFAULT_CONNECTIONS 16
#define DEFAULT_CONNECT_MS 10000
#define DEFAULT_STALL_MS 30000
#define CANCEL_POLL_MS 200
#define BUFFER_BYTES (256L << 10)
/* Servers close what is idle for 30 s and more: never reuse what may just be closing. */
#define IDLE_MAX_S 20L
#define ERROR_BODY_MAX_BYTES (1u << 20)

struct mb_http_transfer
{
	struct mb_http *http;
	struct mb_http_request *request;
	struct mb_http_transfer *next; /* active or idle */
	struct mb_http_transfer *previous;
	CURL *easy;
	struct curl_slist *lines;
	size_t body_at;
	unsigned sends;   /* how often the request began to be sent */
	bool has_headers; /* all of the last answer's */
	int64_t started_us;
	struct mb_error err; /* why a call-back ended the transfer; code MB_OK: it did not */
	char text[CURL_ERROR_SIZE];
};

struct mb_http
{
	struct mb_http_options options;
	char *ca_file;
	CURLM *multi;
	struct mb_http_transfer *active;
	struct mb_http_transfer *idle;
	size_t active_count;
	size_t idle_count;
};

static void
init_library(void)
{
	if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
		MB_BUG("could not initialise libcurl");
}

struct mb_http *
mb_http_new(const struct mb_http_options *options)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct mb_http *http = mb_calloc(1, sizeof(*http));

	pthread_once(&once, init_library);
	http->options = *options;
	http->ca_file = options->ca_file ? mb_strdup(options->ca_file) : NULL;
	if (!http->options.max_connections)
		http->options.max_connections = DEFAULT_CONNECTIONS;
	if (!http->options.connect_timeout_ms)
		http->options.connect_timeout_ms = DEFAULT_CONNECT_MS;
	if (!http->options.stall_ms)
		http->options.stall_ms = DEFAULT_STALL_MS;
	http->multi = curl_multi_init();
	MB_ASSERT(http->multi != NULL);
	curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
					  (long) http->options.max_connections);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long) http->options.max_connections);
	return http;
}

/* The lines hold a session token at times. */
static void
free_lines(struct mb_http_transfer *transfer)
{
	struct curl_slist *line;

	for (line = transfer->lines; line; line = line->next)
		mb_wipe(line->data, strlen(line->data));
	curl_slist_free_all(transfer->lines);
	transfer->lines = NULL;
}

static void
free_transfer(struct mb_http_transfer *transfer)
{
	free_lines(transfer);
	curl_easy_cleanup(transfer->easy);
	free(transfer);
}

/* Off the multi handle and the active list; kept for the next request when there is room. */
static void
retire(struct mb_http_transfer *transfer)
{
	struct mb_http *http = transfer->http;

	curl_multi_remove_handle(http->multi, transfer->easy);
	if (transfer->previous)
		transfer->previous->next = transfer->next;
	else
		http->active = transfer->next;
	if (transfer->next)
		transfer->next->previous = transfer->previous;
	http->active_count--;
	transfer->request->transfer = NULL;
	transfer->request = NULL;
	free_lines(transfer);
	if (http->idle_count >= http->options.max_connections)
	{
		free_transfer(transfer);
		return;
	}
	curl_easy_reset(transfer->easy);
	transfer->previous = NULL;
	transfer->next = http->idle;
	http->idle = transfer;
	http->idle_count++;
}

void
mb_http_free(struct mb_http *http)
{
	if (!http)
		return;
	while (http->active)
		retire(http->active);
	while (http->idle)
	{
		struct mb_http_transfer *transfer = http->idle;

		http->idle = transfer->next;
		free_transfer(transfer);
	}
	curl_multi_cleanup(http->multi);
	free(http->ca_file);
	free(http);
}

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

/* -- a request -------------------------------------------------------------------------------------- */

static struct mb_http_transfer *
take_transfer(struct mb_http *http)
{
	struct mb_http_transfer *transfer = http->idle;

	if (transfer)
	{
		http->idle = transfer->next;
		http->idle_count--;
	}
	else
	{
		transfer = mb_calloc(1, sizeof(*transfer));
		transfer->http = http;
		transfer->easy = curl_easy_init();
		MB_ASSERT(transfer->easy != NULL);
	}
	transfer->body_at = 0;
	transfer->sends = 0;
	transfer->has_headers = false;
	transfer->text[0] = '\0';
	mb_error_clear(&transfer->err);
	transfer->previous = NULL;
	transfer->next = http->active;
	if (http->active)
		http->active->previous = transfer;
	http->active = transfer;
	http->active_count++;
	return transfer;
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
mb_http_start(struct mb_http *http, struct mb_http_request *request)
{
	struct mb_http_transfer *transfer = take_transfer(http);
	struct mb_http_response *response = &request->response;

	MB_ASSERT(request->transfer == NULL);
	request->transfer = transfer;
	transfer->request = request;
	mb_buf_reset(&response->headers);
	mb_buf_reset(&response->body);
	response->status = 0;
	response->body_bytes = 0;
	response->sent_us = response->received_us = 0;
	set_options(transfer);
	set_method(transfer);
	set_lines(transfer);
	transfer->started_us = mb_time_now_us();
	if (curl_multi_add_handle(http->multi, transfer->easy) != CURLM_OK)
		MB_BUG("could not add a transfer");
}

/* -- the end of a request ---------------------------------------------------------------------------- */

static enum mb_code
fail_transfer(struct mb_http_transfer *transfer, CURLcode result, struct mb_error *err)
{
	const char *why = transfer->text[0] ? transfer->text : curl_easy_strerror(result);

	if (transfer->err.code)
	{
		*err = transfer->err;
		return err->code;
	}
	switch (result)
	{
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
			mb_fail(err, MB_CONFIG, "the server's certificate is not trusted: %s", why);
			return mb_error_hint(err, "Set ca-file to the certificate of the authority that "
									  "signed it.");
		case CURLE_SSL_CONNECT_ERROR:
			mb_fail(err, MB_UNREACHABLE, "TLS failed: %s", why);
			return mb_error_hint(err, "Does the server speak TLS on this port, or is it http://?");
		case CURLE_UNSUPPORTED_PROTOCOL:
		case CURLE_URL_MALFORMAT:
			return mb_fail(err, MB_CONFIG, "the address is not possible: %s", why);
		case CURLE_OUT_OF_MEMORY:
			MB_BUG("libcurl: out of memory");
		default:
			return mb_fail(err, MB_UNREACHABLE, "%s", why);
	}
}

/*
 * Was all of the answer there?  libcurl takes a connection that closes within the headers, or behind
 * headers that tell no length, for the end of the answer.
 */
static bool
is_complete(const struct mb_http_transfer *transfer)
{
	const struct mb_http_request *request = transfer->request;
	struct mb_buf value = {0};
	bool has_length;

	if (!transfer->has_headers)
		return false;
	if (request->response.status == 204 || strcmp(request->method, "HEAD") == 0)
		return true;
	has_length = mb_http_header(&request->response, "content-length", &value) ||
				 mb_http_header(&request->response, "transfer-encoding", &value);
	mb_buf_release(&value);
	return has_length;
}

static void
finish(struct mb_http_transfer *transfer, CURLcode result)
{
	struct mb_http_request *request = transfer->request;
	struct mb_http_response *response = &request->response;
	struct mb_error err = {0};
	enum mb_code code = MB_OK;
	curl_off_t sent_us = 0, received_us = 0;
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
	curl_easy_getinfo(transfer->easy, CURLINFO_STARTTRANSFER_TIME_T, &received_us);
	response->status = (int) status;
	response->sent_us = transfer->started_us + (int64_t) sent_us;
	response->received_us = received_us ? transfer->started_us + (int64_t) received_us : 0;
	if (result != CURLE_OK)
		code = fail_transfer(transfer, result, &err);
	else if (!is_complete(transfer))
		code = mb_fail(&err, MB_UNREACHABLE, "the answer was cut off");
	retire(transfer);
	request->done(request, code, &err);
}

/* Ends every transfer that libcurl has finished; how many. */
static size_t
reap(struct mb_http *http)
{
	struct CURLMsg *message;
	size_t count = 0;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		struct mb_http_transfer *transfer = NULL;
		CURLcode result = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
		finish(transfer, result);
		count++;
	}
	return count;
}

enum mb_code
mb_http_run(struct mb_http *http, int64_t timeout_ms, struct mb_error *err)
{
	int64_t end_ms = mb_monotonic_ms() + timeout_ms;

	while (http->active_count > 0)
	{
		int running;
		int64_t wait_ms;
		enum mb_code code = mb_cancel_check(http->options.cancel, err);

		if (code)
			return code;
		if (curl_multi_perform(http->multi, &running) != CURLM_OK)
			MB_BUG("libcurl: transfers cannot be driven");
		if (reap(http) > 0)
			break;
		wait_ms = end_ms - mb_monotonic_ms();
		if (wait_ms <= 0)
			break;
		if (wait_ms > CANCEL_POLL_MS)
			wait_ms = CANCEL_POLL_MS;
		curl_multi_poll(http->multi, NULL, 0, (int) wait_ms, NULL);
	}
	return MB_OK;
}

size_t
mb_http_active(const struct mb_http *http)
{
	return http->active_count;
}

void
mb_http_request_release(struct mb_http_request *request)
{
	if (request->transfer)
		retire(request->transfer);
	mb_buf_release(&request->response.headers);
	mb_buf_release(&request->response.body);
	request->response = (struct mb_http_response){0};
}

/* -- headers ------------------------------------------------------------------------------------------- */

/* What is between two ends, without the white space there; NUL-terminated. */
static void
put_value(struct mb_buf *value, const char *begin, const char *end)
{
	for (; begin < end && (*begin == ' ' || *begin == '\t'); begin++)
		;
	while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	mb_buf_reset(value);
	mb_buf_put(value, begin, (size_t) (end - begin));
	mb_buf_cstr(value);
}

bool
mb_http_next_header(const struct mb_http_response *response, size_t *at, struct mb_buf *name,
					struct mb_buf *value)
{
	const struct mb_buf *headers = &response->headers;
	const char *line = (const char *) headers->data + *at;
	const char *end, *colon;

	if (*at >= headers->len)
		return false;
	end = memchr(line, '\n', headers->len - *at);
	colon = memchr(line, ':', (size_t) (end - line));
	*at += (size_t) (end - line) + 1;
	mb_buf_reset(name);
	mb_buf_put(name, line, (size_t) (colon - line));
	mb_buf_cstr(name);
	put_value(value, colon + 1, end);
	return true;
}

bool
mb_http_header(const struct mb_http_response *response, const char *name, struct mb_buf *out)
{
	const struct mb_buf *headers = &response->headers;
	size_t len = strlen(name), at = 0;
	const char *end;

	for (; at < headers->len; at = (size_t) (end - (const char *) headers->data) + 1)
	{
		const char *line = (const char *) headers->data + at;

		end = memchr(line, '\n', headers->len - at);
		if ((size_t) (end - line) > len && line[len] == ':' && memcmp(line, name, len) == 0)
		{
			put_value(out, line + len + 1, end);
			return true;
		}
	}
	return false;
}

int64_t
mb_http_date(const char *text)
{
	static const char *const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = {0};
	char month[4] = "";
	const char *found;

	if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT", &tm.tm_mday, month,
			   &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6 ||
		strlen(month) != 3)
		return -1;
	found = strstr(months, month);
	if (!found || (found - months) % 3 != 0 || tm.tm_year < 1970)
		return -1;
	tm.tm_mon = (int) (found - months) / 3;
	tm.tm_year -= 1900;
	return (int64_t) timegm(&tm);
}

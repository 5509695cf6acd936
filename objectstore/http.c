/* http.c - see http.h and http_private.h: lanes, and the transfers on them. */
#include "objectstore/http_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"

#define DEFAULT_CONNECTIONS 16
#define DEFAULT_CONNECT_MS 10000
#define DEFAULT_STALL_MS 30000
#define CANCEL_POLL_MS 200

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
	mb_http_prepare(transfer);
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

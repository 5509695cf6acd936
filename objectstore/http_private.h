/*
 * http_private.h - a lane from the inside: http.c drives transfers, http_request.c tells libcurl of
 * a request and takes its answer; http_header.c reads headers and knows no libcurl.
 */
#ifndef MB_OBJECTSTORE_HTTP_PRIVATE_H
#define MB_OBJECTSTORE_HTTP_PRIVATE_H

#include <curl/curl.h>

#include "objectstore/http.h"

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

/* http_request.c: all options of a transfer that has its request. */
void mb_http_prepare(struct mb_http_transfer *transfer);

#endif

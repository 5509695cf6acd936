/*
 * http.h - HTTP/1.1 transfers over libcurl's multi interface (libcurl.h: curl_multi(3)).
 *
 * A struct mb_http is a *lane*: any number of transfers under way, all driven by the one
 * thread that calls mb_http_run, on a pool of connections that stay open between requests.
 * Lanes share nothing; whoever wants to use more than one core uses more than one lane.
 *
 * Life of a request: fill a struct mb_http_request, mb_http_start it, mb_http_run until
 * its `done` was called (in the thread that runs).  One request is one attempt: nothing is
 * retried and no redirect is followed here, because both need another signature (s3.h).
 *
 * HTTP/2 was rejected: no object store gains from it, and bulk data over one TCP stream is
 * slower than over several.
 */
#ifndef MB_OBJECTSTORE_HTTP_H
#define MB_OBJECTSTORE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/mem.h"
#include "core/base/pool.h"

#define MB_HTTP_HEADERS_MAX_BYTES (128u << 10)

struct mb_http_options
{
	const char *ca_file;            /* PEM, besides none: NULL uses the system's */
	int64_t connect_timeout_ms;     /* 0: 10 s */
	int64_t stall_ms;               /* no byte in either direction for so long: 0: 30 s */
	unsigned max_connections;       /* of this lane; 0: 16 */
	const struct mb_cancel *cancel; /* may be NULL */
};

/*
 * Takes 2xx body bytes as they come, in the thread that runs.  Returning an error ends the
 * transfer with that error.
 */
typedef enum mb_code (*mb_http_sink)(void *ctx, const void *data, size_t len, struct mb_error *err);

/* What came back.  Everything is owned by the request until mb_http_request_release. */
struct mb_http_response
{
	int status;            /* 0: no answer */
	struct mb_buf headers; /* lines "name: value\n", names in lower case; of the last answer */
	struct mb_buf body;    /* unless the sink took it (2xx only) */
	uint64_t body_bytes;   /* taken in, whoever took it */
	int64_t sent_us;       /* local wall clock: when the request began to be sent ... */
	int64_t received_us;   /* ... and when the answer's first byte was there; 0: never */
};

struct mb_http_request
{
	/* Filled by the caller; borrowed until done. */
	const char *method;
	const char *url;    /* sent as it is: "." segments, "//" and all encoding kept */
	char *const *lines; /* "Name: value", or "Name;" for an empty value */
	size_t line_count;
	const void *body; /* sent with its length; NULL with len 0: no body */
	size_t body_len;
	mb_http_sink sink; /* NULL: into response.body */
	void *sink_ctx;
	size_t max_bytes;    /* a longer body is MB_CORRUPT; for a sink too */
	int64_t deadline_ms; /* from the start; 0: none but the stall */
	/*
	 * Called once, from mb_http_run.  code MB_OK: there is an answer, whatever its status.
	 * MB_UNREACHABLE: no connection, reset, stalled, cut off in the middle, deadline.
	 * MB_CORRUPT: over a cap.  MB_INTERRUPTED.  MB_CONFIG: TLS trust.  Or the sink's.
	 */
	void (*done)(struct mb_http_request *request, enum mb_code code, const struct mb_error *err);
	void *ctx;

	struct mb_http_response response;
	struct mb_http_transfer *transfer; /* private */
};

struct mb_http;

struct mb_http *mb_http_new(const struct mb_http_options *options);
/* Requests under way are dropped without a call of done.  NULL does nothing. */
void mb_http_free(struct mb_http *http);

void mb_http_start(struct mb_http *http, struct mb_http_request *request);
/*
 * Move data for at most timeout_ms, and return as soon as a request was done.  done() may
 * start further requests.  MB_INTERRUPTED when cancelled (what is under way stays so).
 */
enum mb_code mb_http_run(struct mb_http *http, int64_t timeout_ms,
						 struct mb_error *err) MB_MUST_CHECK;
size_t mb_http_active(const struct mb_http *http);

/* The value of a header (name in lower case) into out; false when there is none. */
bool mb_http_header(const struct mb_http_response *response, const char *name, struct mb_buf *out);
/* The next header at or behind *at (start with 0), NUL-terminated into name and value. */
bool mb_http_next_header(const struct mb_http_response *response, size_t *at, struct mb_buf *name,
						 struct mb_buf *value);
/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7) to seconds; -1 when it is no date. */
int64_t mb_http_date(const char *text);

/* Free what the response holds; the request may be started again. */
void mb_http_request_release(struct mb_http_request *request);

#endif

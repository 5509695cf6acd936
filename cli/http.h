/*
 * http.h - the status page, the status document and the metrics, for whoever asks.
 *
 *     http.c           the server (libmicrohttpd, one thread of its own)
 *     http_request.c   where to listen, and whose requests are answered
 *     http_metrics.c   the status document as OpenMetrics text
 *     http_page.c      cli/status.html, which is part of the program
 *
 * The daemon's loop hands over the document once a second (http_publish).  It is rendered
 * there; the thread of the server only ever sees finished text, and both meet in a lock that
 * is held for the exchange of a pointer.
 */
#ifndef MB_CLI_HTTP_H
#define MB_CLI_HTTP_H

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/mem.h"

/* A loop that published nothing for so long does not turn any more. */
#define HTTP_STALE_MS 30000

struct http;

/*
 * Listen on "ADDRESS:PORT".  MB_CONFIG when that makes no sense, MB_CONFLICT when the port is
 * taken.  An address that is not loopback is a warning in the log, which is borrowed for the call.
 */
enum mb_code http_start(struct http **made, const char *listen, const struct mb_log *log,
						struct mb_error *err) MB_MUST_CHECK;
/* What is answered from now on; by one thread, the loop's.  NULL does nothing. */
void http_publish(struct http *http, const json_t *status);
/* NULL does nothing. */
void http_stop(struct http *http);

/* -- for the files above -------------------------------------------------------------------- */

struct http_listen
{
	char host[256]; /* as it was written, without brackets; "" for every address */
	char port[8];
	bool is_loopback;
};

/* Take "ADDRESS:PORT" apart. */
enum mb_code http_listen_parse(struct http_listen *listen, const char *text,
							   struct mb_error *err) MB_MUST_CHECK;
/* A socket that listens, and whether only this machine reaches it. */
enum mb_code http_listen_open(struct http_listen *listen, int *fd,
							  struct mb_error *err) MB_MUST_CHECK;
/* May a request with this Host header be answered?  NULL: there is none. */
bool http_host_is_ours(const struct http_listen *listen, const char *host);

/* Append all but mbackup_up, which is known when somebody asks, and the end. */
void http_metrics(struct mb_buf *out, const json_t *status);
/* The end of them. */
void http_metrics_end(struct mb_buf *out, bool is_up);

/* The page; static. */
const char *http_page(size_t *len);
/* The Content-Security-Policy that allows its script and its style, and nothing else; free() it. */
char *http_page_policy(void);

#endif

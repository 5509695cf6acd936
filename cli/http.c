/*
 * http.c - see http.h: the server.
 *
 * One thread with epoll serves all connections.  Their number is bounded, so are the bytes that a
 * request may have and the time that it may take: the library cuts off who is silent, and each
 * http_publish whoever is slow.
 */
#include "cli/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/time.h"

#define MAX_CONNECTIONS 64
#define SILENT_S 10
#define REQUEST_MS 20000
#define CONNECTION_BYTES 16384 /* the header of a request, and of the answer */

struct snapshot
{
	struct mb_buf json;
	struct mb_buf metrics;
	int64_t made_ms;
	unsigned refs; /* under the lock of struct http */
	struct http *http;
};

struct connection
{
	int fd;
	int64_t due_ms;
	struct connection *next;
};

struct http
{
	struct http_listen listen;
	struct MHD_Daemon *server;
	char *policy;
	pthread_mutex_t lock; /* what follows */
	struct snapshot *now;
	struct connection *connections;
};

/* -- what is answered ------------------------------------------------------------------------ */

static struct snapshot *
take_snapshot(struct http *http)
{
	struct snapshot *now;

	pthread_mutex_lock(&http->lock);
	now = http->now;
	if (now)
		now->refs++;
	pthread_mutex_unlock(&http->lock);
	return now;
}

static void
drop_snapshot(void *ctx)
{
	struct snapshot *old = ctx;
	bool last;

	if (!old)
		return;
	pthread_mutex_lock(&old->http->lock);
	last = --old->refs == 0;
	pthread_mutex_unlock(&old->http->lock);
	if (!last)
		return;
	mb_buf_release(&old->json);
	mb_buf_release(&old->metrics);
	free(old);
}

static bool
is_fresh(const struct snapshot *now)
{
	return now && mb_monotonic_ms() - now->made_ms < HTTP_STALE_MS;
}

/* Whoever is slow loses the connection; the library then cleans up in its own thread. */
static void
cut_off_slow(struct http *http)
{
	int64_t now = mb_monotonic_ms();
	struct connection *at;

	for (at = http->connections; at; at = at->next)
		if (now > at->due_ms)
			shutdown(at->fd, SHUT_RDWR);
}

void
http_publish(struct http *http, const json_t *status)
{
	struct snapshot *made, *old;
	char *text;

	if (!http)
		return;
	made = mb_calloc(1, sizeof(*made));
	text = mb_json_text(status);
	mb_buf_put_str(&made->json, text);
	free(text);
	http_metrics(&made->metrics, status);
	made->made_ms = mb_monotonic_ms();
	made->refs = 1;
	made->http = http;
	pthread_mutex_lock(&http->lock);
	old = http->now;
	http->now = made;
	cut_off_slow(http);
	pthread_mutex_unlock(&http->lock);
	drop_snapshot(old);
}

/* -- answers --------------------------------------------------------------------------------- */

static struct MHD_Response *
text_response(const char *text)
{
	return MHD_create_response_from_buffer(strlen(text), (void *) (uintptr_t) text,
										   MHD_RESPMEM_PERSISTENT);
}

static struct MHD_Response *
status_response(struct http *http)
{
	struct snapshot *now = take_snapshot(http);

	if (!now)
		return NULL;
	return MHD_create_response_from_buffer_with_free_callback_cls(now->json.len, now->json.data,
																  drop_snapshot, now);
}

static struct MHD_Response *
metrics_response(struct http *http)
{
	struct snapshot *now = take_snapshot(http);
	struct mb_buf out = {0};
	struct MHD_Response *response;

	if (!now)
		return NULL;
	mb_buf_put(&out, now->metrics.data, now->metrics.len);
	http_metrics_end(&out, is_fresh(now));
	drop_snapshot(now);
	response = MHD_create_response_from_buffer(out.len, out.data, MHD_RESPMEM_MUST_COPY);
	mb_buf_release(&out);
	return response;
}

struct answer
{
	unsigned status;
	const char *type;
	struct MHD_Response *response;
};

static struct answer
refuse(unsigned status, const char *text)
{
	return (struct answer){status, "text/plain; charset=utf-8", text_response(text)};
}

static struct answer
answer_path(struct http *http, const char *path)
{
	struct answer answer = {MHD_HTTP_OK, "text/plain; charset=utf-8", NULL};
	struct snapshot *now;
	size_t len;

	if (strcmp(path, "/") == 0)
	{
		const char *page = http_page(&len);

		answer.type = "text/html; charset=utf-8";
		answer.response =
			MHD_create_response_from_buffer(len, (void *) (uintptr_t) page, MHD_RESPMEM_PERSISTENT);
	}
	else if (strcmp(path, "/status.json") == 0)
	{
		answer.type = "application/json; charset=utf-8";
		answer.response = status_response(http);
	}
	else if (strcmp(path, "/metrics") == 0)
	{
		answer.type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
		answer.response = metrics_response(http);
	}
	else if (strcmp(path, "/healthz") == 0)
	{
		now = take_snapshot(http);
		answer.response = is_fresh(now) ? text_response("ok\n") : NULL;
		drop_snapshot(now);
	}
	else
		return refuse(MHD_HTTP_NOT_FOUND, "There is /, /status.json, /metrics and /healthz.\n");
	if (!answer.response)
		return refuse(MHD_HTTP_SERVICE_UNAVAILABLE, "The daemon's loop does not turn.\n");
	return answer;
}

static enum MHD_Result
count_host(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
	(void) kind;
	(void) value;
	if (strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0)
		++*(unsigned *) ctx;
	return MHD_YES;
}

static struct answer
make_answer(struct http *http, struct MHD_Connection *connection, const char *path,
			const char *method)
{
	const char *host =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
	unsigned hosts = 0;
	struct answer answer;

	MHD_get_connection_values(connection, MHD_HEADER_KIND, count_host, &hosts);
	if (hosts != 1 || !http_host_is_ours(&http->listen, host))
		return refuse(MHD_HTTP_FORBIDDEN, "This is not served under that name: use localhost, or "
										  "the address in [daemon] listen.\n");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
	{
		answer = refuse(MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only.\n");
		MHD_add_response_header(answer.response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
		return answer;
	}
	return answer_path(http, path);
}

static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *connection, const char *path, const char *method,
		   const char *version, const char *upload, size_t *upload_len, void **seen)
{
	struct http *http = ctx;
	struct answer answer;
	enum MHD_Result result;

	(void) version;
	(void) upload;
	/* A body is of no use here, and would only be read for nothing: answer, and close. */
	*upload_len = 0;
	*seen = NULL;
	answer = make_answer(http, connection, path, method);
	if (!answer.response)
		return MHD_NO;
	MHD_add_response_header(answer.response, "Content-Type", answer.type);
	MHD_add_response_header(answer.response, "Cache-Control", "no-store");
	MHD_add_response_header(answer.response, "Content-Security-Policy", http->policy);
	MHD_add_response_header(answer.response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(answer.response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(answer.response, "Cross-Origin-Resource-Policy", "same-origin");
	result = MHD_queue_response(connection, answer.status, answer.response);
	MHD_destroy_response(answer.response);
	return result;
}

/* -- connections ------------------------------------------------------------------------------ */

static void
on_connection(void *ctx, struct MHD_Connection *connection, void **own,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http *http = ctx;
	struct connection *mine = *own, **at;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
	{
		mine = mb_calloc(1, sizeof(*mine));
		mine->fd =
			MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		mine->due_ms = mb_monotonic_ms() + REQUEST_MS;
		pthread_mutex_lock(&http->lock);
		mine->next = http->connections;
		http->connections = mine;
		pthread_mutex_unlock(&http->lock);
		*own = mine;
		return;
	}
	/* The descriptor is closed after this. */
	pthread_mutex_lock(&http->lock);
	for (at = &http->connections; *at && *at != mine; at = &(*at)->next)
		;
	if (*at)
		*at = mine->next;
	pthread_mutex_unlock(&http->lock);
	free(mine);
	*own = NULL;
}

/* A request is over: the next one on this connection has its own time. */
static void
on_completed(void *ctx, struct MHD_Connection *connection, void **seen,
			 enum MHD_RequestTerminationCode code)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *mine = info ? info->socket_context : NULL;
	struct http *http = ctx;

	(void) seen;
	(void) code;
	if (!mine)
		return;
	pthread_mutex_lock(&http->lock);
	mine->due_ms = mb_monotonic_ms() + REQUEST_MS;
	pthread_mutex_unlock(&http->lock);
}

/* -- life -------------------------------------------------------------------------------------- */

/* Paths are taken as they come: decoded, "/metrics%00x" would be "/metrics". */
static size_t
do_not_unescape(void *ctx, struct MHD_Connection *connection, char *text)
{
	(void) ctx;
	(void) connection;
	return strlen(text);
}

/* What the library has to say (a client that went away) is nobody's concern. */
static void
say_nothing(void *ctx, const char *fmt, va_list ap)
{
	(void) ctx;
	(void) fmt;
	(void) ap;
}

/* Its thread takes no signals: they are the loop's. */
static struct MHD_Daemon *
start_server(struct http *http, int fd)
{
	struct MHD_Daemon *server;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	server =
		MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL,
						 on_request, http, MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL,
						 MHD_OPTION_UNESCAPE_CALLBACK, do_not_unescape, NULL,
						 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
						 (unsigned) MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
						 (unsigned) SILENT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
						 (size_t) CONNECTION_BYTES, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
						 http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return server;
}

enum mb_code
http_start(struct http **made, const char *listen, const struct mb_log *log, struct mb_error *err)
{
	struct http *http = mb_calloc(1, sizeof(*http));
	enum mb_code code;
	int fd = -1;

	pthread_mutex_init(&http->lock, NULL);
	http->policy = http_page_policy();
	code = http_listen_parse(&http->listen, listen, err);
	if (!code)
		code = http_listen_open(&http->listen, &fd, err);
	if (!code)
	{
		http->server = start_server(http, fd);
		if (!http->server)
		{
			close(fd);
			code = mb_fail(err, MB_IO, "could not start the HTTP server");
		}
	}
	if (code)
	{
		http_stop(http);
		return code;
	}
	mb_log_info(log, "the status page is on http://%s/", listen);
	if (!http->listen.is_loopback)
		mb_log_warning(log,
					   "listen = %s: others reach it, without authentication or TLS - put a "
					   "proxy in front, or listen on 127.0.0.1",
					   listen);
	*made = http;
	return MB_OK;
}

void
http_stop(struct http *http)
{
	if (!http)
		return;
	/* Ends its thread and closes the socket. */
	if (http->server)
		MHD_stop_daemon(http->server);
	drop_snapshot(http->now);
	pthread_mutex_destroy(&http->lock);
	free(http->policy);
	free(http);
}

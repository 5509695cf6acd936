/*
 * tls.h - TLS over a connected socket that does not block.
 *
 * hiredis 0.14 knows no TLS, and later ones hide the bytes that the replication stream
 * is about, so OpenSSL stands directly between our socket and the protocol; tls.c is
 * the only file that includes <openssl/ssl.h>.  At least TLS 1.2; the server's
 * certificate must be signed by an authority of ca-file (or the system's) and name the
 * host; there is no setting that turns this off.
 *
 * No function waits.  Each tries once: MB_OK with *want == 0 is done; *want == POLLIN or
 * POLLOUT asks to be called again, with the same data, when the socket is ready for
 * that (a read may want to write: TLS 1.3 changes keys in between).
 *
 * Files are read at each connection, so that renewed certificates need no restart.  One
 * thread at a time.  The process must ignore SIGPIPE, as cli/main.c does.
 */
#ifndef MB_REDIS_TLS_H
#define MB_REDIS_TLS_H

#include <stdbool.h>

#include "core/base/error.h"

/* All borrowed, all may be NULL. */
struct mb_redis_tls_options
{
	const char *ca_file;     /* PEM; NULL: what the system trusts */
	const char *client_cert; /* PEM with its chain; needs client_key */
	const char *client_key;  /* PEM, not encrypted, not readable by everybody */
	const char *server_name; /* in the certificate, in place of the host of the URL */
};

struct mb_redis_tls;

/*
 * host: to verify and for SNI.  name: of the server in messages, borrowed.
 * MB_CONFIG for a file that cannot be used, MB_DENIED for a key that everybody may read.
 */
enum mb_code mb_redis_tls_new(struct mb_redis_tls **tls, int fd, const char *host, const char *name,
							  const struct mb_redis_tls_options *options,
							  struct mb_error *err) MB_MUST_CHECK;
/* Says goodbye without waiting; leaves the socket open.  NULL does nothing. */
void mb_redis_tls_free(struct mb_redis_tls *tls);

/*
 * MB_CONFIG: the certificate is not trusted or is another host's.  MB_UNREACHABLE: it
 * has expired (the server's to mend), the server does not speak TLS, the line broke.
 * MB_DENIED: it wants another client certificate.  MB_UNSUPPORTED: too old a TLS.
 */
enum mb_code mb_redis_tls_handshake(struct mb_redis_tls *tls, short *want,
									struct mb_error *err) MB_MUST_CHECK;
/* *got > 0 when done.  The end of the connection is MB_UNREACHABLE. */
enum mb_code mb_redis_tls_read(struct mb_redis_tls *tls, void *buf, size_t cap, size_t *got,
							   short *want, struct mb_error *err) MB_MUST_CHECK;
/* *put > 0 when done: maybe not all of it. */
enum mb_code mb_redis_tls_write(struct mb_redis_tls *tls, const void *data, size_t len, size_t *put,
								short *want, struct mb_error *err) MB_MUST_CHECK;

#endif

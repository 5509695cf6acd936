/* tls.c - see tls.h. */
#include "redis/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/base/mem.h"

struct mb_redis_tls
{
	SSL *ssl;
	char *host; /* that the certificate must name */
	const char *name;
	bool has_cert;
	bool ready; /* the handshake is done */
};

/* -- setting up ------------------------------------------------------------------------------- */

static const char *
reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "it cannot be read";
}

static enum mb_code
bad_file(const char *key, const char *path, struct mb_error *err)
{
	return mb_fail(err, MB_CONFIG, "could not use %s \"%s\": %s", key, path, reason());
}

/* An encrypted key: OpenSSL would ask at the terminal. */
static int
no_passphrase(char *buf, int size, int writing, void *ctx)
{
	(void) buf, (void) size, (void) writing, (void) ctx;
	return 0;
}

static enum mb_code
check_key_mode(const char *path, struct mb_error *err)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return mb_fail_errno(err, errno, "could not look at client-key \"%s\"", path);
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0007))
		return MB_OK;
	mb_fail(err, MB_DENIED, "\"%s\" holds a secret and everybody may read it", path);
	return mb_error_hint(err, "Run: chmod 0600 %s", path);
}

static enum mb_code
load_client(SSL_CTX *ctx, const struct mb_redis_tls_options *options, struct mb_error *err)
{
	if (!options->client_cert && !options->client_key)
		return MB_OK;
	if (!options->client_cert || !options->client_key)
		return mb_fail(err, MB_CONFIG, "client-cert and client-key need each other");
	if (check_key_mode(options->client_key, err))
		return err->code;
	if (SSL_CTX_use_certificate_chain_file(ctx, options->client_cert) != 1)
		return bad_file("client-cert", options->client_cert, err);
	if (SSL_CTX_use_PrivateKey_file(ctx, options->client_key, SSL_FILETYPE_PEM) != 1)
	{
		bad_file("client-key", options->client_key, err);
		return mb_error_hint(err, "It must be the PEM key of client-cert, without a passphrase.");
	}
	return MB_OK;
}

static enum mb_code
make_context(SSL_CTX **out, const struct mb_redis_tls_options *options, struct mb_error *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	enum mb_code code = MB_OK;

	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
		MB_BUG("OpenSSL: no context");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (options->ca_file && SSL_CTX_load_verify_file(ctx, options->ca_file) != 1)
		code = bad_file("ca-file", options->ca_file, err);
	else if (!options->ca_file && SSL_CTX_set_default_verify_paths(ctx) != 1)
		code = mb_fail(err, MB_CONFIG, "could not load the system's certificates: %s", reason());
	if (!code)
		code = load_client(ctx, options, err);
	if (code)
		SSL_CTX_free(ctx);
	else
		*out = ctx;
	return code;
}

/* Which name must be in the certificate; SNI is for names only, never for addresses. */
static void
expect_host(struct mb_redis_tls *tls)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
	unsigned char address[16];
	bool ok;

	if (inet_pton(AF_INET, tls->host, address) == 1 || inet_pton(AF_INET6, tls->host, address) == 1)
		ok = X509_VERIFY_PARAM_set1_ip_asc(param, tls->host) == 1;
	else
		ok = SSL_set1_host(tls->ssl, tls->host) == 1 &&
			 SSL_set_tlsext_host_name(tls->ssl, tls->host) == 1;
	if (!ok)
		MB_BUG("OpenSSL: could not set the host name");
}

enum mb_code
mb_redis_tls_new(struct mb_redis_tls **out, int fd, const char *host, const char *name,
				 const struct mb_redis_tls_options *options, struct mb_error *err)
{
	struct mb_redis_tls *tls;
	SSL_CTX *ctx;

	ERR_clear_error();
	if (make_context(&ctx, options, err))
		return err->code;
	tls = mb_calloc(1, sizeof(*tls));
	tls->name = name;
	tls->has_cert = options->client_cert != NULL;
	tls->host = mb_strdup(options->server_name ? options->server_name : host);
	tls->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx); /* the SSL holds it */
	if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1)
		MB_BUG("OpenSSL: no connection");
	expect_host(tls);
	*out = tls;
	return MB_OK;
}

void
mb_redis_tls_free(struct mb_redis_tls *tls)
{
	if (!tls)
		return;
	/* Only a courtesy: what the server makes of it changes nothing. */
	if (tls->ready)
		(void) SSL_shutdown(tls->ssl);
	ERR_clear_error();
	SSL_free(tls->ssl);
	free(tls->host);
	free(tls);
}

/* -- what went wrong ----------------------------------------------------------------------------- */

static enum mb_code
not_trusted(const struct mb_redis_tls *tls, struct mb_error *err)
{
	long result = SSL_get_verify_result(tls->ssl);

	switch (result)
	{
		case X509_V_ERR_CERT_HAS_EXPIRED:
		case X509_V_ERR_CERT_NOT_YET_VALID:
			mb_fail(err, MB_UNREACHABLE, "the certificate of Redis at %s %s", tls->name,
					result == X509_V_ERR_CERT_HAS_EXPIRED ? "has expired" : "is not valid yet");
			return mb_error_hint(err,
								 "Renew the server's tls-cert-file (openssl x509 -noout -dates "
								 "shows its times), or correct this machine's clock.");
		case X509_V_ERR_HOSTNAME_MISMATCH:
		case X509_V_ERR_IP_ADDRESS_MISMATCH:
			mb_fail(err, MB_CONFIG, "the certificate of Redis at %s is not for \"%s\"", tls->name,
					tls->host);
			return mb_error_hint(err, "Let url name the host as the certificate does, or set "
									  "tls-server-name to a name that stands in it.");
		default:
			mb_fail(err, MB_CONFIG, "the certificate of Redis at %s is not trusted: %s", tls->name,
					X509_verify_cert_error_string(result));
			return mb_error_hint(err, "Set ca-file to the certificate of the authority that "
									  "signed it.");
	}
}

static enum mb_code
not_tls(const struct mb_redis_tls *tls, const char *what, struct mb_error *err)
{
	mb_fail(err, MB_UNREACHABLE, "Redis at %s %s", tls->name, what);
	return mb_error_hint(err, "Does the server speak TLS on this port (tls-port), or is it "
							  "redis://?");
}

static enum mb_code
wants_certificate(const struct mb_redis_tls *tls, struct mb_error *err)
{
	mb_fail(err, MB_DENIED, "Redis at %s %s", tls->name,
			tls->has_cert ? "does not accept the client certificate"
						  : "wants a client certificate");
	mb_error_detail(err, "The server said: %s.", reason());
	return mb_error_hint(err, "Set client-cert and client-key to a pair that the server's "
							  "tls-ca-cert-file signed and that has not expired.");
}

/* SSL_ERROR_SSL: by the reason that the library gives. */
static enum mb_code
fail_by_reason(const struct mb_redis_tls *tls, struct mb_error *err)
{
	switch (ERR_GET_REASON(ERR_peek_last_error()))
	{
		case SSL_R_CERTIFICATE_VERIFY_FAILED:
			return not_trusted(tls, err);
		case SSL_R_WRONG_VERSION_NUMBER:
		case SSL_R_PACKET_LENGTH_TOO_LONG:
		case SSL_R_HTTP_REQUEST:
			return not_tls(tls, "does not answer with TLS", err);
		case SSL_R_UNSUPPORTED_PROTOCOL:
		case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
			mb_fail(err, MB_UNSUPPORTED, "Redis at %s speaks no TLS 1.2 or later", tls->name);
			return mb_error_hint(err, "Correct tls-protocols of the server.");
		case SSL_R_UNEXPECTED_EOF_WHILE_READING:
			if (!tls->ready)
				return not_tls(tls, "closed the connection in the TLS handshake", err);
			return mb_fail(err, MB_UNREACHABLE, "Redis at %s closed the connection", tls->name);
		case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: /* how TLS 1.2 says so */
		case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
		case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
		case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
		case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
		case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
		case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
			return wants_certificate(tls, err);
		default:
			break;
	}
	return mb_fail(err, MB_UNREACHABLE, "TLS with Redis at %s failed: %s", tls->name, reason());
}

/* After a call that returned no success: what to wait for, or why it failed. */
static enum mb_code
judge(const struct mb_redis_tls *tls, int result, int sys_errno, short *want, struct mb_error *err)
{
	switch (SSL_get_error(tls->ssl, result))
	{
		case SSL_ERROR_WANT_READ:
			*want = POLLIN;
			return MB_OK;
		case SSL_ERROR_WANT_WRITE:
			*want = POLLOUT;
			return MB_OK;
		case SSL_ERROR_ZERO_RETURN:
			return mb_fail(err, MB_UNREACHABLE, "Redis at %s closed the connection", tls->name);
		case SSL_ERROR_SYSCALL:
			mb_fail_errno(err, sys_errno ? sys_errno : ECONNRESET,
						  "could not go on with TLS to Redis at %s", tls->name);
			return err->code = MB_UNREACHABLE;
		default:
			return fail_by_reason(tls, err);
	}
}

/* -- the connection -------------------------------------------------------------------------------- */

enum mb_code
mb_redis_tls_handshake(struct mb_redis_tls *tls, short *want, struct mb_error *err)
{
	int result;

	*want = 0;
	ERR_clear_error();
	errno = 0;
	result = SSL_connect(tls->ssl);
	tls->ready = result == 1;
	return tls->ready ? MB_OK : judge(tls, result, errno, want, err);
}

enum mb_code
mb_redis_tls_read(struct mb_redis_tls *tls, void *buf, size_t cap, size_t *got, short *want,
				  struct mb_error *err)
{
	int result;

	*want = 0;
	ERR_clear_error();
	errno = 0;
	result = SSL_read_ex(tls->ssl, buf, cap, got);
	return result == 1 ? MB_OK : judge(tls, result, errno, want, err);
}

enum mb_code
mb_redis_tls_write(struct mb_redis_tls *tls, const void *data, size_t len, size_t *put, short *want,
				   struct mb_error *err)
{
	int result;

	*want = 0;
	ERR_clear_error();
	errno = 0;
	result = SSL_write_ex(tls->ssl, data, len, put);
	return result == 1 ? MB_OK : judge(tls, result, errno, want, err);
}

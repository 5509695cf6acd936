/*
 * sigv4.h - AWS Signature Version 4 ("AWS4-HMAC-SHA256", S3 flavour) for one request.
 *
 * Source: the "Signature Version 4 signing process" of the AWS general reference and "Signature
 * calculations for the Authorization header" of the S3 API reference, whose examples
 * tests/unit/sigv4_test.c holds us to.  libcurl's own CURLOPT_AWS_SIGV4 signs several legal
 * requests wrongly, differently in each release, so it is not used.
 *
 * Names and values come as they are, unencoded; what mb_sigv4_url makes is what must be sent.
 * Every byte but A-Z a-z 0-9 - _ . ~ is %XX with upper-case digits ('/' stays in paths).
 *
 * Threads: no state but a struct mb_sigv4_key, which one thread uses at a time.
 */
#ifndef MB_OBJECTSTORE_SIGV4_H
#define MB_OBJECTSTORE_SIGV4_H

#include "core/base/mem.h"
#include "core/repo/crypto.h"

#define MB_SIGV4_DATE_TEXT 17 /* 20150830T123600Z */

/* A query parameter; value NULL stands for "name" alone, which is signed as "name=". */
struct mb_query
{
	const char *name;
	const char *value;
};

struct mb_sigv4_request
{
	const char *method;
	const char *host; /* as in the Host header: with the port unless it is the default one */
	const char *path; /* unencoded, starts with '/'; nothing is normalised (S3) */
	const struct mb_query *query;
	size_t query_count;
	/* "Name: value" lines to be signed; host, x-amz-date, ... are not among them. */
	char *const *lines;
	size_t line_count;
	const char *payload_hash; /* hex of SHA-256, or "UNSIGNED-PAYLOAD" */
	const char *region;
	const char *service; /* "s3", "sts" */
	int64_t time_s;
	/*
	 * Leave x-amz-content-sha256 out (services other than S3).  Paths are signed encoded once,
	 * as S3 does.
	 */
	bool no_content_header;
};

/* The keys; secret and token are wiped by their owner. */
struct mb_sigv4_identity
{
	const char *access_key;
	const char *secret_key;
	const char *session_token; /* NULL: none */
};

/* The derived key of a day, kept between requests. */
struct mb_sigv4_key
{
	unsigned char key[MB_SHA256_BYTES];
	unsigned char of[MB_SHA256_BYTES]; /* hash of what it was derived from */
	bool is_set;
};

/* Append path and query, encoded and in the order in which they were given. */
void mb_sigv4_url(struct mb_buf *out, const char *path, const struct mb_query *query,
				  size_t query_count);
/* Append text with every byte encoded that must be; '/' too unless it may stay. */
void mb_sigv4_encode(struct mb_buf *out, const char *text, size_t len, bool keep_slash);

/*
 * Append to out the lines to add to the request, each ended by '\n': x-amz-date,
 * x-amz-content-sha256, x-amz-security-token (with a token) and authorization.
 */
void mb_sigv4_sign(const struct mb_sigv4_request *request, const struct mb_sigv4_identity *identity,
				   struct mb_sigv4_key *key, struct mb_buf *out);

/* The steps, for the tests. */
void mb_sigv4_canonical(const struct mb_sigv4_request *request,
						const struct mb_sigv4_identity *identity, struct mb_buf *out,
						struct mb_buf *signed_names);

#endif

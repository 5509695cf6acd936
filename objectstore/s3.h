/*
 * s3.h - requests to an S3 server: signed, retried, checked.
 *
 * A struct mb_s3 is one server as one identity sees it: shared by all threads.  Requests are
 * made through a *lane* (http.h), which one thread uses at a time: start any number of struct
 * mb_s3_op, run the lane, and each op's done() is called when it has an answer that will
 * not get better.  mb_s3_perform does one op on an idle lane and waits.
 *
 * Retried, with full jitter (100 ms doubling to 20 s) until the op's deadline: no answer, a
 * body cut off, 408 429 499 500 502 503 504 520, the codes SlowDown*, RequestTimeout,
 * InternalError, Throttling*, OperationAborted, ConditionalRequestConflict, IncompleteBody,
 * XMinioServerNotInitialized, and a 200 that holds an <Error> with such a code.  RequestTimeTooSkewed
 * is retried once with the server's clock, ExpiredToken once with new keys, a region error once
 * with the region that the server names.  A budget shared by all ops (each success earns
 * a fraction of a retry) keeps a dying server from being hammered.  503 and 429 halve the
 * number of requests that a client has under way; successes raise it again, one at a time.
 *
 * Signed payload: every body is in memory and its SHA-256 is signed, so the server checks it;
 * nothing is sent that could not be sent again.
 *
 * Time: every answer's Date narrows down by how much the server's clock differs from ours
 * (mb_s3_clock), to milliseconds after some dozen answers.
 */
#ifndef MB_OBJECTSTORE_S3_H
#define MB_OBJECTSTORE_S3_H

#include "core/base/log.h"
#include "objectstore/credentials.h"
#include "objectstore/http.h"
#include "objectstore/sigv4.h"

#define MB_S3_KEY_MAX 1024
#define MB_S3_ANSWER_MAX_BYTES (16u << 20) /* of XML and JSON answers */

enum mb_s3_dialect
{
	MB_S3_UNKNOWN,
	MB_S3_AWS,
	MB_S3_MINIO, /* understands x-minio-source-*, ?versions&metadata=true, ListenNotification */
	MB_S3_CEPH,
	MB_S3_OTHER
};

struct mb_s3_options
{
	const char *endpoint;   /* "https://minio:9000"; NULL: AWS of the region */
	const char *region;     /* NULL: us-east-1 until the server says otherwise */
	const char *addressing; /* "path", "virtual"; NULL: virtual for AWS, else path */
	const char *ca_file;
	struct mb_credentials *credentials; /* taken */
	int64_t deadline_ms;                /* of one op with all its retries; 0: 2 min */
	int64_t stall_ms;                   /* 0: 30 s */
	int64_t patience_ms;                /* of any op, even one that moves; 0: no limit */
	unsigned max_requests;              /* under way at once, all lanes together; 0: 64 */
	const struct mb_cancel *cancel;
	const struct mb_log *log;
};

struct mb_s3;
struct mb_s3_lane;

/* MB_CONFIG: an endpoint that is no http:// or https:// URL.  Connects to nothing. */
enum mb_code mb_s3_new(struct mb_s3 **s3, const struct mb_s3_options *options,
					   struct mb_error *err) MB_MUST_CHECK;
void mb_s3_free(struct mb_s3 *s3); /* all lanes are closed before; NULL does nothing */

struct mb_s3_lane *mb_s3_lane_open(struct mb_s3 *s3); /* or an idle one from before */
void mb_s3_lane_close(struct mb_s3_lane *lane);       /* back to the idle ones; NULL: nothing */

/* The dialect, by the Server header of the answers so far. */
enum mb_s3_dialect mb_s3_dialect(const struct mb_s3 *s3);

struct mb_header
{
	const char *name; /* any case */
	const char *value;
};

enum mb_s3_op_flags
{
	MB_S3_ONCE = 1,       /* an unclear outcome is not retried (MB_UNREACHABLE): the caller looks */
	MB_S3_XML_ANSWER = 2, /* a 2xx answer to a GET may be an <Error>, as to all others: look */
	MB_S3_MD5 = 4,        /* send Content-MD5 (DeleteObjects, locked objects) */
	MB_S3_ENDLESS = 8     /* an answer that never ends: no deadline once it has begun */
};

/*
 * One request.  Zero it, fill the upper part (borrowed until done), start it.  The lower part is
 * the answer, owned by the op until mb_s3_op_release.
 */
struct mb_s3_op
{
	const char *method;
	const char *bucket; /* NULL: none (ListBuckets; key is then a path of the server) */
	const char *key;    /* NULL: none; any bytes but NUL */
	struct mb_query query[16];
	size_t query_count;
	struct mb_header headers[64];
	size_t header_count;
	const void *body;
	size_t body_len;
	const char *body_hash; /* hex of its SHA-256, when the caller has it */
	unsigned flags;
	size_t max_bytes; /* of the answer; 0: MB_S3_ANSWER_MAX_BYTES */
	/* Body of a 2xx answer; NULL: into http.response.body.  restart() before a second try. */
	mb_http_sink sink;
	void (*restart)(void *ctx);
	void *sink_ctx;
	int64_t deadline_ms;               /* 0: the client's */
	void (*done)(struct mb_s3_op *op); /* may start this or other ops again; NULL: none */
	void *ctx;

	enum mb_code code; /* MB_OK: 2xx */
	struct mb_error err;
	int status;          /* of the last answer; 0: none */
	char error_code[64]; /* "NoSuchKey", "" */
	unsigned attempts;   /* how many were sent */
	bool maybe_done;     /* an earlier attempt may have been carried out by the server */
	struct mb_http_request http;
	struct mb_buf answer;          /* private */
	struct mb_s3_attempt *attempt; /* private */
};

void mb_s3_op_query(struct mb_s3_op *op, const char *name, const char *value);
void mb_s3_op_header(struct mb_s3_op *op, const char *name, const char *value);

/*
 * Errors of an op, by code:
 *   MB_NOT_FOUND    404 (NoSuchKey, NoSuchBucket, NoSuchVersion, ...; error_code tells)
 *   MB_EXISTS       412
 *   MB_DENIED       401, 403; the hint tells wrong keys from a missing permission
 *   MB_NO_SPACE     507, XMinioStorageFull, QuotaExceeded and the like
 *   MB_UNREACHABLE  no good answer in time
 *   MB_UNSUPPORTED  501, 405, NotImplemented
 *   MB_CONFLICT     409
 *   MB_CORRUPT      an answer over its cap, or a body that is not what it should be
 *   MB_CONFIG       a certificate that is not trusted, a wrong region, an impossible name
 *   MB_IO           anything else
 */
void mb_s3_start(struct mb_s3_lane *lane, struct mb_s3_op *op);
/*
 * Run until at most `left` ops are under way.  MB_INTERRUPTED when cancelled: the ops that
 * are under way are then dropped, without done().
 */
enum mb_code mb_s3_run(struct mb_s3_lane *lane, size_t left, struct mb_error *err) MB_MUST_CHECK;
/* Move data for at most timeout_ms: for whoever waits for something else too. */
enum mb_code mb_s3_poll(struct mb_s3_lane *lane, int64_t timeout_ms,
						struct mb_error *err) MB_MUST_CHECK;
size_t mb_s3_active(const struct mb_s3_lane *lane);
/* Drop everything that is under way, without done(). */
void mb_s3_drop(struct mb_s3_lane *lane);

/* Start, wait, and return op->code with *err filled. */
enum mb_code mb_s3_perform(struct mb_s3 *s3, struct mb_s3_op *op,
						   struct mb_error *err) MB_MUST_CHECK;
/* The same on a lane with nothing under way. */
enum mb_code mb_s3_perform_on(struct mb_s3_lane *lane, struct mb_s3_op *op,
							  struct mb_error *err) MB_MUST_CHECK;
void mb_s3_op_release(struct mb_s3_op *op); /* frees the answer, zeroes the op */

/* A header of the answer; NULL when there is none.  Valid until the next call on this op. */
const char *mb_s3_op_answer(struct mb_s3_op *op, const char *name);

/* The access key that requests are signed with now, "" for none; the caller frees it. */
enum mb_code mb_s3_access_key(struct mb_s3 *s3, char **key, struct mb_error *err) MB_MUST_CHECK;

/*
 * The server's clock minus ours lies in [*low_us, *high_us].  Widens by 100 ppm as answers get
 * older.  False when no answer had a date yet.
 */
bool mb_s3_clock(const struct mb_s3 *s3, int64_t *low_us, int64_t *high_us);

/* "s3://bucket/some/prefix" to its parts (owned by the caller); MB_CONFIG when it is none. */
enum mb_code mb_s3_url_parse(const char *url, char **bucket, char **prefix,
							 struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * s3_private.h - what s3.c (clients and lanes), s3_run.c (the way of an op), s3_request.c (an op as an
 * HTTP request) and s3_answer.c (what an answer means) share.
 */
#ifndef MB_OBJECTSTORE_S3_PRIVATE_H
#define MB_OBJECTSTORE_S3_PRIVATE_H

#include <pthread.h>

#include "objectstore/s3.h"

#define MB_S3_BUDGET_FULL 100.0 /* quick retries that a client may have saved up */

struct mb_s3
{
	/* Fixed once it is open. */
	bool is_tls;
	bool is_aws;     /* the endpoint is Amazon's, made from the region */
	bool is_virtual; /* bucket in the host name */
	char *host;      /* with the port unless it is the default; empty for AWS */
	char *base_path; /* "" or "/some/path" */
	char *ca_file;
	struct mb_credentials *credentials;
	int64_t deadline_ms;
	int64_t stall_ms;
	int64_t patience_ms;
	unsigned max_requests;
	const struct mb_cancel *cancel;
	const struct mb_log *log;

	pthread_mutex_t lock; /* of all below */
	char region[64];
	enum mb_s3_dialect dialect;
	double limit; /* of requests under way: halved when the server is busy */
	unsigned under_way;
	int64_t limit_cut_ms; /* when it was halved last */
	double budget;        /* of quick retries */
	/* The server's clock minus ours, seen at clock_at_us. */
	bool has_clock;
	int64_t clock_low_us;
	int64_t clock_high_us;
	int64_t clock_at_us;
	struct mb_s3_lane *idle;
};

struct mb_s3_lane
{
	struct mb_s3 *s3;
	struct mb_http *http;
	struct mb_s3_attempt *first; /* every op that is not done, in the order of starting */
	struct mb_s3_attempt *last;
	size_t count;
	struct mb_sigv4_key key;
	struct mb_s3_lane *next; /* idle ones */
	bool finished_one;       /* an op was done since it was cleared */
};

enum mb_attempt_state
{
	MB_ATTEMPT_WAITING, /* until not_before_ms and until there is room */
	MB_ATTEMPT_SENT,
	MB_ATTEMPT_OVER /* done() is to be called */
};

/* An op under way. */
struct mb_s3_attempt
{
	struct mb_s3_op *op;
	struct mb_s3_lane *lane;
	struct mb_s3_attempt *next;
	struct mb_s3_attempt *previous;
	enum mb_attempt_state state;
	int64_t started_ms;
	int64_t not_before_ms;
	bool has_room; /* counted in under_way */
	bool tried_clock;
	bool tried_keys;
	bool tried_region;
	uint64_t keys_serial;
	char region[64]; /* that it was signed for */
	struct mb_buf url;
	struct mb_buf text; /* the lines, each NUL-terminated */
	char **lines;
	size_t line_count;
};

/* s3_run.c: after so long no further attempt begins; with patience_ms each attempt ends by then, too. */
int64_t mb_s3_deadline_ms(const struct mb_s3 *s3, const struct mb_s3_op *op);

/* s3_request.c: fill op->http from the op, signed for now; frees what an earlier try left. */
enum mb_code mb_s3_build(struct mb_s3_attempt *attempt, struct mb_error *err) MB_MUST_CHECK;
/* Can these names and values be sent at all? */
enum mb_code mb_s3_check_op(const struct mb_s3_op *op, struct mb_error *err) MB_MUST_CHECK;
void mb_s3_unbuild(struct mb_s3_attempt *attempt);

/* s3_answer.c: what to do with an answer, or with none. */
enum mb_s3_verdict
{
	MB_S3_DONE,        /* op->code and op->err are final */
	MB_S3_AGAIN,       /* later; op->code and op->err say why, for the case that it is too late */
	MB_S3_AGAIN_BUSY,  /* later, and the server has too much to do */
	MB_S3_AGAIN_CLOCK, /* at once, with the server's clock */
	MB_S3_AGAIN_KEYS,  /* at once, with other keys */
	MB_S3_AGAIN_REGION /* at once, in the region that the client now has */
};
enum mb_s3_verdict mb_s3_judge(struct mb_s3_attempt *attempt, enum mb_code code,
							   const struct mb_error *http_err);

#endif

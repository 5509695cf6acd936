/* s3_answer.c - what an answer of the server means; see s3.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/time.h"
#include "objectstore/s3_private.h"
#include "objectstore/s3_xml.h"

#define DRIFT_PPM 100
#define SECOND_US 1000000

/* -- learning --------------------------------------------------------------------------------------- */

static enum mb_s3_dialect
dialect_of(const char *server)
{
	if (mb_starts_with(server, "MinIO"))
		return MB_S3_MINIO;
	if (mb_starts_with(server, "AmazonS3"))
		return MB_S3_AWS;
	if (mb_starts_with(server, "Ceph"))
		return MB_S3_CEPH;
	return MB_S3_OTHER;
}

/* By how much an old interval has to be widened. */
static int64_t
drift_us(const struct mb_s3 *s3, int64_t now_us)
{
	int64_t age_us = now_us > s3->clock_at_us ? now_us - s3->clock_at_us : 0;

	return age_us / SECOND_US * DRIFT_PPM;
}

/*
 * Date is cut to whole seconds, so the server's clock was in [date, date + 1 s) at some moment
 * between our sending and our receiving.  Every answer cuts the interval down.
 */
static void
learn_clock(struct mb_s3 *s3, int64_t date_s, const struct mb_http_response *response)
{
	int64_t low_us = date_s * SECOND_US - response->received_us;
	int64_t high_us = (date_s + 1) * SECOND_US - response->sent_us;
	int64_t now_us = response->received_us;
	int64_t drift = drift_us(s3, now_us);

	if (s3->has_clock)
	{
		int64_t old_low_us = s3->clock_low_us - drift;
		int64_t old_high_us = s3->clock_high_us + drift;

		/* Apart: one of the clocks was set.  The new answer is right. */
		if (old_low_us <= high_us && low_us <= old_high_us)
		{
			low_us = old_low_us > low_us ? old_low_us : low_us;
			high_us = old_high_us < high_us ? old_high_us : high_us;
		}
	}
	s3->has_clock = true;
	s3->clock_low_us = low_us;
	s3->clock_high_us = high_us;
	s3->clock_at_us = now_us;
}

/* Learn dialect and clock from an answer. */
static void
learn(struct mb_s3 *s3, const struct mb_http_response *response)
{
	struct mb_buf value = {0};
	int64_t date_s = -1;

	if (mb_http_header(response, "date", &value))
		date_s = mb_http_date(mb_buf_cstr(&value));
	pthread_mutex_lock(&s3->lock);
	if (s3->dialect == MB_S3_UNKNOWN)
		s3->dialect = mb_http_header(response, "server", &value) ? dialect_of(mb_buf_cstr(&value))
					  : mb_http_header(response, "x-amz-request-id", &value) &&
							  mb_starts_with(mb_buf_cstr(&value), "tx0")
						  ? MB_S3_CEPH
						  : MB_S3_OTHER;
	if (date_s >= 0 && response->received_us)
		learn_clock(s3, date_s, response);
	pthread_mutex_unlock(&s3->lock);
	mb_buf_release(&value);
}

bool
mb_s3_clock(const struct mb_s3 *s3, int64_t *low_us, int64_t *high_us)
{
	struct mb_s3 *shared = (struct mb_s3 *) (uintptr_t) s3;
	int64_t drift;
	bool known;

	pthread_mutex_lock(&shared->lock);
	drift = drift_us(s3, mb_time_now_us());
	known = s3->has_clock;
	*low_us = s3->clock_low_us - drift;
	*high_us = s3->clock_high_us + drift;
	pthread_mutex_unlock(&shared->lock);
	return known;
}

/* -- errors ------------------------------------------------------------------------------------------- */

static bool
is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

static bool
is_busy(int status, const char *error_code)
{
	static const char *const codes[] = {"SlowDown",
										"SlowDownRead",
										"SlowDownWrite",
										"Throttling",
										"ThrottlingException",
										"TooManyRequests",
										"RequestLimitExceeded",
										"XMinioServerBusy",
										"ServiceUnavailable",
										NULL};

	return status == 429 || status == 503 || is_one_of(error_code, codes);
}

static bool
is_passing(int status, const char *error_code)
{
	static const int statuses[] = {408, 499, 500, 502, 504, 520, 0};
	static const char *const codes[] = {"RequestTimeout",
										"InternalError",
										"OperationAborted",
										"ConditionalRequestConflict",
										"IncompleteBody",
										"XMinioServerNotInitialized",
										NULL};
	size_t i;

	for (i = 0; statuses[i]; i++)
		if (statuses[i] == status)
			return true;
	return is_one_of(error_code, codes);
}

/* The server may have done what was asked, though it did not say so. */
static bool
is_unclear(int status)
{
	return status == 0 || status == 500 || status == 502 || status == 504 || status == 520;
}

static enum mb_code
code_of(int status, const char *error_code)
{
	static const char *const full[] = {"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded",
									   "QuotaExceeded", "InsufficientStorage", NULL};
	static const char *const refused[] = {"InvalidAccessKeyId",
										  "SignatureDoesNotMatch",
										  "AccessDenied",
										  "ExpiredToken",
										  "InvalidToken",
										  "InvalidTokenId",
										  NULL};

	if (is_one_of(error_code, full))
		return MB_NO_SPACE;
	if (is_one_of(error_code, refused))
		return MB_DENIED;
	switch (status)
	{
		case 401:
		case 403:
			return MB_DENIED;
		case 404:
			return MB_NOT_FOUND;
		case 405:
		case 501:
			return MB_UNSUPPORTED;
		case 409:
			return MB_CONFLICT;
		case 412:
			return MB_EXISTS;
		case 507:
			return MB_NO_SPACE;
		case 301:
		case 307:
		case 308:
			return MB_CONFIG;
		default:
			return MB_IO;
	}
}

static void
add_hint(struct mb_s3_op *op)
{
	if (strcmp(op->error_code, "SignatureDoesNotMatch") == 0)
		mb_error_hint(&op->err, "The secret key does not belong to this access key.");
	else if (strcmp(op->error_code, "InvalidAccessKeyId") == 0)
		mb_error_hint(&op->err, "The server does not know this access key.");
	else if (strcmp(op->error_code, "NoSuchBucket") == 0)
		mb_error_hint(&op->err, "Create the bucket, or correct the url.");
	else if (op->status / 100 == 3)
		mb_error_hint(&op->err, "Set endpoint or region to what the server is.");
	else if (op->code == MB_DENIED)
		mb_error_hint(&op->err, "Does the policy of this key allow it?");
}

/* Fill op->code and op->err from the answer. */
static void
explain(struct mb_s3_op *op)
{
	const struct mb_buf *body = &op->http.response.body;
	struct mb_buf text = {0};

	if (!mb_xml_find(body->data, body->len, "Error/Message", &text) || text.len == 0)
	{
		mb_buf_reset(&text);
		mb_buf_printf(&text, "the server answered %d", op->status);
	}
	op->code = code_of(op->status, op->error_code);
	mb_fail(&op->err, op->code, "%s %s%s%s%s: %s%s%.500s", op->method, op->bucket ? "s3://" : "/",
			op->bucket ? op->bucket : "", op->bucket && op->key ? "/" : "", op->key ? op->key : "",
			op->error_code, op->error_code[0] ? ": " : "", mb_buf_cstr(&text));
	mb_buf_release(&text);
	/* Not as a secret that does not open something, which is DENIED too. */
	if (op->code == MB_DENIED)
		op->err.sys_errno = EACCES;
	add_hint(op);
}

static void
read_error_code(struct mb_s3_op *op)
{
	const struct mb_buf *body = &op->http.response.body;
	struct mb_buf text = {0};

	op->error_code[0] = '\0';
	if (body->len && mb_xml_find(body->data, body->len, "Error/Code", &text))
		snprintf(op->error_code, sizeof(op->error_code), "%s", mb_buf_cstr(&text));
	mb_buf_release(&text);
}

/* -- judging ------------------------------------------------------------------------------------------- */

/* The region that the answer names, when it is another one than was signed for. */
static bool
learn_region(struct mb_s3_attempt *attempt)
{
	struct mb_s3_op *op = attempt->op;
	const struct mb_buf *body = &op->http.response.body;
	struct mb_s3 *s3 = attempt->lane->s3;
	struct mb_buf region = {0};
	bool is_new = mb_http_header(&op->http.response, "x-amz-bucket-region", &region);

	if (!is_new || region.len == 0)
		is_new = body->len && mb_xml_find(body->data, body->len, "Error/Region", &region);
	is_new = is_new && region.len > 0 && region.len < sizeof(s3->region) &&
			 strcmp(mb_buf_cstr(&region), attempt->region) != 0;
	if (is_new)
	{
		pthread_mutex_lock(&s3->lock);
		snprintf(s3->region, sizeof(s3->region), "%s", mb_buf_cstr(&region));
		pthread_mutex_unlock(&s3->lock);
	}
	mb_buf_release(&region);
	return is_new;
}

static bool
may_be_region(const struct mb_s3_op *op)
{
	return op->status / 100 == 3 || strcmp(op->error_code, "AuthorizationHeaderMalformed") == 0 ||
		   strcmp(op->error_code, "IllegalLocationConstraintException") == 0 ||
		   strcmp(op->error_code, "PermanentRedirect") == 0 ||
		   (op->status == 400 && strcmp(op->method, "HEAD") == 0);
}

/* Once each: what another signature may mend. */
static bool
try_other_signature(struct mb_s3_attempt *attempt, enum mb_s3_verdict *verdict)
{
	static const char *const stale[] = {"ExpiredToken",       "InvalidToken",
										"InvalidTokenId",     "TokenRefreshRequired",
										"InvalidAccessKeyId", NULL};
	struct mb_s3_op *op = attempt->op;

	if (strcmp(op->error_code, "RequestTimeTooSkewed") == 0 && !attempt->tried_clock)
	{
		attempt->tried_clock = true;
		*verdict = MB_S3_AGAIN_CLOCK;
		return true;
	}
	if (is_one_of(op->error_code, stale) && !attempt->tried_keys)
	{
		attempt->tried_keys = true;
		*verdict = MB_S3_AGAIN_KEYS;
		return true;
	}
	if (may_be_region(op) && !attempt->tried_region && learn_region(attempt))
	{
		attempt->tried_region = true;
		*verdict = MB_S3_AGAIN_REGION;
		return true;
	}
	return false;
}

static enum mb_s3_verdict
judge_answer(struct mb_s3_attempt *attempt)
{
	struct mb_s3_op *op = attempt->op;
	enum mb_s3_verdict verdict;
	bool is_good = op->status / 100 == 2;

	op->error_code[0] = '\0';
	if (!is_good || (op->flags & MB_S3_XML_ANSWER) || strcmp(op->method, "GET") != 0)
		read_error_code(op);
	if (is_good && op->error_code[0] == '\0')
	{
		op->code = MB_OK;
		return MB_S3_DONE;
	}
	explain(op);
	if (is_good && !is_busy(0, op->error_code))
		op->maybe_done = true;
	if (try_other_signature(attempt, &verdict))
		return verdict;
	if (!is_good && is_unclear(op->status))
		op->maybe_done = true;
	if (is_busy(op->status, op->error_code))
	{
		op->code = op->err.code = MB_UNREACHABLE;
		return MB_S3_AGAIN_BUSY;
	}
	if (is_passing(op->status, op->error_code))
	{
		op->code = op->err.code = MB_UNREACHABLE;
		return MB_S3_AGAIN;
	}
	return MB_S3_DONE;
}

enum mb_s3_verdict
mb_s3_judge(struct mb_s3_attempt *attempt, enum mb_code code, const struct mb_error *http_err)
{
	struct mb_s3_op *op = attempt->op;

	op->status = op->http.response.status;
	if (op->http.response.status)
		learn(attempt->lane->s3, &op->http.response);
	if (!code)
		return judge_answer(attempt);
	op->code = code;
	op->err = *http_err;
	mb_error_context(&op->err, "%s %s%s%s%s", op->method, op->bucket ? "s3://" : "/",
					 op->bucket ? op->bucket : "", op->bucket && op->key ? "/" : "",
					 op->key ? op->key : "");
	if (code != MB_UNREACHABLE)
		return MB_S3_DONE;
	op->maybe_done = true;
	return MB_S3_AGAIN;
}

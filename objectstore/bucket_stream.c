/* bucket_stream.c - see bucket_stream.h. */
#include "objectstore/bucket_stream.h"

#include <stdio.h>

#include "core/base/time.h"
#include "core/engine/stack.h"

#define POLL_MS 100
#define DEFAULT_SCAN_MS 10000
#define DEFAULT_RECONCILE_MS 600000
/* A scan may take this part of the time: one in so many. */
#define SCAN_SHARE 10
#define DEAF_SCANS 5

struct stream
{
	struct mb_bucket *bucket;
	struct mb_listener *listener; /* NULL: nobody tells */
	int64_t scan_ms;
	int64_t reconcile_ms;
	int64_t next_ms;       /* not before */
	int64_t reconciled_ms; /* when the last full scan began */
	bool must_reconcile;
	unsigned deaf_scans; /* in a row, without a word from the server */
};

static void
start_listening(struct stream *stream)
{
	struct mb_bucket *bucket = stream->bucket;

	if (stream->listener || mb_s3_dialect(bucket->s3) != MB_S3_MINIO)
		return;
	stream->listener = mb_listener_start(bucket->s3, bucket->name, bucket->prefix,
										 bucket->base.env->log, bucket->base.env->cancel);
	/* What happened since the scan that told us the dialect was not heard. */
	stream->must_reconcile = true;
}

/* A server that refuses listeners is scanned like one that has none. */
static void
check_listener(struct stream *stream)
{
	struct mb_error err;

	if (!stream->listener || mb_listener_status(stream->listener, &err) == MB_OK)
		return;
	mb_log_warning(stream->bucket->base.env->log,
				   "%s: the server does not tell what happens, so all of the bucket is listed "
				   "every time: %s",
				   stream->bucket->base.name, err.message);
	mb_listener_stop(stream->listener);
	stream->listener = NULL;
	/* Never asked again: the dialect alone would start it. */
	stream->reconcile_ms = 0;
}

static bool
is_due(struct stream *stream, int64_t now_ms)
{
	bool has_gap = false;

	if (now_ms < stream->next_ms)
		return false;
	if (!stream->listener || stream->must_reconcile || !mb_listener_hears(stream->listener) ||
		now_ms - stream->reconciled_ms >= stream->reconcile_ms)
		return true;
	return mb_listener_waiting(stream->listener, &has_gap) > 0 || has_gap;
}

/* Events that are in the repository need not be kept twice.  That they are is no harm. */
static void
prune(const struct mb_bucket *bucket, const char *id)
{
	const struct mb_env *env = bucket->base.env;
	struct mb_commit head = {0};
	struct mb_error err;
	enum mb_code code = mb_commit_head(env->repo, bucket->base.name, id, &head, &err);
	int64_t up_to = code ? 0 : mb_json_int(head.meta, "journal_id", 0);

	if (!code && up_to > 0)
		code = bucket->source->prune(bucket->base.settings, (uint64_t) up_to, &err);
	if (code)
		mb_log_warning(env->log, "%s: %s", bucket->base.name, err.message);
	mb_commit_release(&head);
}

/* Once, when it turns out: the user may have a build of MinIO that holds back what it tells. */
static void
say_if_deaf(struct stream *stream)
{
	bool hears = stream->listener && mb_listener_hears(stream->listener);

	if (hears)
		stream->deaf_scans = 0;
	else if (stream->listener && ++stream->deaf_scans == DEAF_SCANS)
		mb_log_warning(stream->bucket->base.env->log,
					   "%s: the server says nothing to listeners, so all of the bucket is listed "
					   "every time",
					   stream->bucket->base.name);
}

static enum mb_code
scan(struct stream *stream, struct mb_error *err)
{
	struct mb_bucket *bucket = stream->bucket;
	int64_t started_ms = mb_monotonic_ms();
	bool is_full = !stream->listener || stream->must_reconcile ||
				   started_ms - stream->reconciled_ms >= stream->reconcile_ms;
	struct mb_events heard = {0};
	char id[MB_ID_TEXT];
	enum mb_code code;

	say_if_deaf(stream);
	if (stream->listener)
		mb_listener_take(stream->listener, &heard);
	is_full = is_full || heard.has_gap;
	/* A full scan has use for the nanoseconds too. */
	heard.has_gap = is_full;
	bucket->heard = stream->listener ? &heard : NULL;
	code = mb_scan_run(&bucket->base, id, err);
	bucket->heard = NULL;
	mb_events_release(&heard);
	/* What was taken and not noted is lost: only a listing finds it again. */
	stream->must_reconcile = code != MB_OK;
	snprintf(bucket->heard_since, sizeof(bucket->heard_since), "%s", code ? "" : id);
	if (!code && is_full)
		stream->reconciled_ms = started_ms;
	if (!code && is_full && bucket->is_journalled)
		prune(bucket, id);
	stream->next_ms = mb_monotonic_ms();
	stream->next_ms += SCAN_SHARE * (stream->next_ms - started_ms) > stream->scan_ms
						   ? SCAN_SHARE * (stream->next_ms - started_ms)
						   : stream->scan_ms;
	return code;
}

static bool
passes(enum mb_code code)
{
	return code == MB_UNREACHABLE || code == MB_CONFLICT || code == MB_NO_SPACE;
}

enum mb_code
mb_bucket_stream(struct mb_bucket *bucket, struct mb_error *err)
{
	const struct mb_env *env = bucket->base.env;
	struct stream stream = {.bucket = bucket,
							.scan_ms = mb_settings_ms(bucket->base.settings, "scan-interval",
													  DEFAULT_SCAN_MS),
							.reconcile_ms =
								mb_settings_ms(bucket->base.settings, "reconcile-interval",
											   DEFAULT_RECONCILE_MS),
							.must_reconcile = true};
	enum mb_code code = mb_bucket_connect(bucket, err);

	while (!code && !mb_cancelled(env->cancel))
	{
		if (is_due(&stream, mb_monotonic_ms()))
		{
			code = scan(&stream, err);
			if (passes(code))
			{
				mb_log_warning(env->log, "%s: %s", bucket->base.name, err->message);
				code = MB_OK;
			}
			if (stream.reconcile_ms > 0)
				start_listening(&stream);
			check_listener(&stream);
		}
		else
			mb_sleep_ms(POLL_MS);
	}
	mb_listener_stop(stream.listener);
	return code == MB_INTERRUPTED ? MB_OK : code;
}

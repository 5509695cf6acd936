/*
 * bucket.h - what the parts of the bucket component share: the settings of one bucket.
 *
 *     bucket_listing   pages in order, a thread ahead, to groups of one key each
 *     bucket_entry     a version <-> the meta of its entry
 *     bucket_fetch     contents and headers of versions, by all workers, into packs
 *     bucket_capture   the listing merged with the parent backup
 *     bucket_journal   the events of a journalled bucket, from the database
 *     bucket_stream    a scan whenever something was heard, and a full one now and then
 *     bucket_locks     may retention and legal holds be read?
 *     bucket_config    what is configured for the bucket as a whole
 *     bucket_iam       the identities of a MinIO
 *     bucket_put       one version into a bucket
 *     bucket_restore   a history, or a state, into a bucket
 *
 * component_bucket.h says what is kept and what a restore promises.
 */
#ifndef MB_OBJECTSTORE_BUCKET_H
#define MB_OBJECTSTORE_BUCKET_H

#include "core/engine/component.h"
#include "objectstore/journal.h"
#include "objectstore/journal_source.h"
#include "objectstore/s3.h"
#include "objectstore/state.h"

enum mb_bucket_tags
{
	MB_BUCKET_TAGS_AUTO, /* ask again where the listing does not tell and the bucket has a lock */
	MB_BUCKET_TAGS_ALWAYS,
	MB_BUCKET_TAGS_NEVER
};

struct mb_bucket
{
	struct mb_component base; /* first */
	struct mb_s3 *s3;         /* NULL until the first call that needs it */
	char *name;
	char *prefix;         /* "" or "some/prefix/": only keys that begin with it */
	bool is_current_only; /* versions = current */
	bool has_iam;         /* iam = yes */
	bool may_read_locks;  /* it was tried (bucket_locks.h) */
	enum mb_bucket_tags check_tags;
	int64_t margin_us;
	bool is_journalled; /* consistency = journalled */
	const struct mb_journal_source *source;
	/*
	 * What the stream heard since the scan that made the commit heard_since, sorted: a scan on top of
	 * that commit, without a gap in the events, looks only at the keys that they name.  Another
	 * commit may come of a listing that began before.  NULL: nobody listens, everything is listed.
	 */
	const struct mb_events *heard;
	char heard_since[MB_ID_TEXT];
};

/* Make the client from the settings, once. */
enum mb_code mb_bucket_connect(struct mb_bucket *bucket, struct mb_error *err) MB_MUST_CHECK;

#endif

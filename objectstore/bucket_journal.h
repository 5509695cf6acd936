/*
 * bucket_journal.h - a journalled bucket's events in the database, as one backup sees them.
 */
#ifndef MB_OBJECTSTORE_BUCKET_JOURNAL_H
#define MB_OBJECTSTORE_BUCKET_JOURNAL_H

#include "objectstore/bucket.h"

/* Zero: the bucket is not journalled, or its journal could not be read. */
struct mb_bucket_journal
{
	struct mb_events events; /* since the parent, sorted */
	uint64_t last_id;
	uint64_t cut_lsn; /* of the restore point; 0: a scan at no cut */
	bool is_read;     /* the events are all that there are */
	uint64_t missing; /* versions about as old as the cut that no event tells of */
};

/*
 * Read what came since the parent (NULL: everything), after the cut, so that each event from before
 * it is there.  A journal that cannot be read is a warning: versions are then placed by their time.
 */
enum mb_code mb_bucket_journal_read(struct mb_bucket_journal *journal,
									const struct mb_bucket *bucket, const struct mb_commit *parent,
									const struct mb_cut *cut, struct mb_capture *capture,
									struct mb_error *err) MB_MUST_CHECK;
/* The position of the event that made (or erased) a version; 0: none tells. */
uint64_t mb_bucket_journal_lsn(const struct mb_bucket_journal *journal, const char *key,
							   const char *version_id, enum mb_event_kind kind);
/* What the backup says of it: cut_lsn, journal_id, consistency; and notes. */
void mb_bucket_journal_report(const struct mb_bucket_journal *journal,
							  const struct mb_bucket *bucket, struct mb_capture *capture);
void mb_bucket_journal_release(struct mb_bucket_journal *journal);

#endif

/*
 * bucket_fetch.h - contents and headers of versions, by all workers, into packs and entries.
 *
 * The thread that merges listings hands versions over; workers fetch them, each through a lane of
 * its own with up to 16 requests and 24 MiB under way.  Versions above 8 MiB are read in
 * ranges, by several workers.  Bodies are packed when they are whole and right: length, MD5
 * where the ETag is one, CRC-32C where the server has one.
 *
 * What was listed and is gone (404, or another content under a null version) is no error: it is
 * counted as vanished.  What cannot be read (denied, frozen, its key missing, damaged three times)
 * is a warning and makes the capture incomplete.
 */
#ifndef MB_OBJECTSTORE_BUCKET_FETCH_H
#define MB_OBJECTSTORE_BUCKET_FETCH_H

#include "core/engine/capture.h"
#include "objectstore/bucket.h"
#include "objectstore/s3_xml.h"

struct mb_bucket_fetch;

struct mb_bucket_fetched
{
	uint64_t read;      /* versions whose contents were read */
	uint64_t looked_at; /* versions that were only asked about */
	uint64_t vanished;
	uint64_t failed;
	uint64_t untold_tags; /* asked for, but the answer was none */
	uint64_t untold_parts;
	char first_vanished[256];
};

struct mb_bucket_fetch *mb_bucket_fetch_new(const struct mb_bucket *bucket,
											struct mb_capture *capture);
/*
 * Read a version and add its entry.  entry: type, version, flags are taken from it; the key, size,
 * time and meta come from the version and the answer.  Copies all; waits while much is under way.
 */
enum mb_code mb_bucket_fetch_version(struct mb_bucket_fetch *fetch,
									 const struct mb_s3_version *version,
									 const struct mb_entry *entry,
									 struct mb_error *err) MB_MUST_CHECK;
/* Ask for the headers only: the contents are those of the entry, which the parent has. */
enum mb_code mb_bucket_fetch_headers(struct mb_bucket_fetch *fetch,
									 const struct mb_s3_version *version,
									 const struct mb_entry *entry,
									 struct mb_error *err) MB_MUST_CHECK;
/* Wait for everything. */
enum mb_code mb_bucket_fetch_finish(struct mb_bucket_fetch *fetch, struct mb_bucket_fetched *sum,
									struct mb_error *err) MB_MUST_CHECK;
void mb_bucket_fetch_free(struct mb_bucket_fetch *fetch); /* NULL does nothing */

#endif

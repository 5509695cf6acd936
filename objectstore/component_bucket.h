/*
 * component_bucket.h - a bucket as a component (url = s3://bucket/prefix).
 *
 * What is kept.  With `versions = all` every version and every delete marker that the listing
 * shows; with `versions = current`, or where the bucket keeps none, the current object of each
 * key.  Path of an entry: the key.  Version: its modification time in nanoseconds, made unique and
 * ordered within a key (listings of MinIO are precise to a millisecond, of others to a second: what
 * would collide is told apart by rank).  Entries of one key, newest first:
 *
 *     MB_ENTRY_OBJECT  a version           MB_ENTRY_MARKER  a delete marker, or (unversioned) the
 *                                          key was found gone by this scan
 *     AFTER_CUT        younger than the cut + margin: history, not state
 *     AMBIGUOUS        erased or gone around the cut, nobody knows on which side
 *
 * meta of an entry (JSON, every member optional):
 *     {"id": "<version id>", "etag": "...", "headers": {"content-type": ...}, "user": {...},
 *      "tags": "a=b&c=d", "retention": {"mode": "COMPLIANCE", "until": "..."}, "hold": true,
 *      "parts": [[number, size]...], "checksums": {"crc32c": "...", "type": "..."},
 *      "class": "STANDARD", "replication": "...", "exact": true, "erased": ["T1", "T2"]}
 * exact: the nanoseconds are the server's.  erased: a version that the parent knew and that this
 * listing lacks; it was erased between these times.  It stays for one backup, so that a target
 * between the two finds it.
 *
 * The bucket's own configuration (versioning, lock, policy, lifecycle, notification, tags,
 * encryption, CORS, quota, ...), as the server gave it, in entries of type MB_ENTRY_DATA named
 * "bucket/<what>".  No object has version 0, so they collide with no key.
 *
 * Unchanged versions are never read again: one is the parent's when id, ETag, size and time are
 * the same; what can change in place (tags, retention, hold) is compared and noted without
 * reading the contents.
 *
 * State at T: versions from before T + margin, markers from before T - margin, erased ones unless
 * they were erased before T - margin; margin = measured clock error + clock-margin.  So no row of
 * the database restored to T misses its object, as long as the application writes the object
 * before the row and deletes the row before the object.
 *
 * Restore: into an empty or missing bucket the whole history as of T, exactly on MinIO
 * (ids, nanoseconds, ETags, parts, tags, locks), elsewhere in order with what the server allows and a
 * report of old -> new version ids; into a bucket that holds something, with --delta, the
 * smallest set of puts and delete markers that makes its *current* state that of T; into a directory
 * (file:///DIR) the current state as files.
 */
#ifndef MB_OBJECTSTORE_COMPONENT_BUCKET_H
#define MB_OBJECTSTORE_COMPONENT_BUCKET_H

#include "core/engine/component.h"

extern const struct mb_component_ops mb_bucket_component_ops;

#endif

/*
 * store_s3.h - the repository in a bucket: the store driver of core/repo/store.h over S3.
 *
 * Blob "packs/ab/.." is object "<prefix>/packs/ab/..".  A put is durable when the server answered
 * 2xx, without an <Error>, to a body whose SHA-256 was signed.  That no name is written twice
 * rests on the server's If-None-Match where it keeps that promise, which is tried out, not
 * believed (mb_store_s3_probe); elsewhere on a look before and a look after, and on names of
 * blobs being random or belonging to one writer.  After an unclear outcome (no answer) the
 * object is read and compared: equal bytes are our own success.
 *
 * Listings come in the order of names whatever the server does: an answer that is out of order is
 * MB_CORRUPT, because every merge above relies on it.
 *
 * A bucket with object lock: packs and commits get a retention (mode and days from the options), so
 * that not even our own key can remove them before.
 */
#ifndef MB_OBJECTSTORE_STORE_S3_H
#define MB_OBJECTSTORE_STORE_S3_H

#include "core/base/json.h"
#include "core/engine/component.h"
#include "core/repo/store.h"
#include "objectstore/s3.h"

struct mb_store_s3_options
{
	struct mb_s3 *s3;      /* taken, on failure too */
	const char *url;       /* s3://bucket/prefix */
	unsigned flags;        /* MB_STORE_CREATE: the prefix must be empty; the bucket must exist */
	const char *lock_mode; /* "none", "governance", "compliance"; NULL: none */
	int64_t lock_ms;       /* how long a pack or commit is locked */
};

/* MB_NOT_FOUND: no such bucket; MB_CONFLICT: not empty (CREATE); MB_DENIED, MB_UNREACHABLE. */
enum mb_code mb_store_s3_open(struct mb_store **store, const struct mb_store_s3_options *options,
							  struct mb_error *err) MB_MUST_CHECK;

/* May this key remove objects?  A key that may not is as good for backups, but not for expire. */
enum mb_code mb_store_s3_removes(struct mb_store *store, bool *removes,
								 struct mb_error *err) MB_MUST_CHECK;

/*
 * Find out what the server really does, with objects below "<prefix>/probe/<random>/" that are
 * removed again, when this key may (what a killed one left is removed by the next, and never listed):
 * conditional puts (also over a name just removed, and on a versioned bucket),
 * refusal of a wrong checksum, order of listings, a list right behind a put, the clock, versioning
 * and object lock.  Whoever asks decides what to live with (cli/probe.c); the driver
 * tries conditional puts out again in each process.  *verdict:
 * {"url": "s3://...", "conditional_put": bool, "checks_body": bool, "ordered_listing": bool, "read_after_write": bool,
 *  "versioned": bool, "object_lock": bool, "clock_error_ms": n, "server": "MinIO", "time": ...}
 */
enum mb_code mb_store_s3_probe(struct mb_store *store, json_t **verdict,
							   struct mb_error *err) MB_MUST_CHECK;

/* Findings of `mbackup check` about the bucket of a place; MB_OK for another driver. */
enum mb_code mb_store_s3_check(struct mb_store *store, const char *place, struct mb_checks *checks,
							   struct mb_error *err) MB_MUST_CHECK;

#endif

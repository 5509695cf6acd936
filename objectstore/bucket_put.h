/*
 * bucket_put.h - one version from the repository into a bucket.
 *
 * On MinIO a version keeps its id, time (to the nanosecond) and ETag, as its own replication does it:
 * x-minio-source-* headers.  Elsewhere the server gives id and time.
 */
#ifndef MB_OBJECTSTORE_BUCKET_PUT_H
#define MB_OBJECTSTORE_BUCKET_PUT_H

#include "core/base/json.h"
#include "core/repo/manifest.h"
#include "objectstore/s3.h"

/* Up to here in one request; above, and with a multipart ETag, in parts. */
#define MB_PUT_SINGLE_BYTES (16u << 20)
#define MB_PUT_PART_MAX_BYTES (64u << 20)

enum mb_put_flags
{
	MB_PUT_IDS = 1,  /* into MinIO, from MinIO: the ids that they had */
	MB_PUT_TIMES = 2 /* into MinIO: times and ETags */
};

/* Where versions go. */
struct mb_put_place
{
	struct mb_s3 *s3;
	const char *bucket;
	unsigned flags;
	bool is_versioned; /* ids may be sent */
};

struct mb_put_version
{
	const char *key; /* in the target */
	const struct mb_entry *entry;
	json_t *meta; /* of the entry */
};

/* Texts of one request; freed by the owner. */
struct mb_put_texts
{
	struct mb_arena arena;
	bool is_too_much; /* more headers than a request has room for */
};

/* Does it have to go in parts? */
bool mb_put_in_parts(const struct mb_put_place *place, const struct mb_put_version *version);
/* Fill a PUT (the body is the caller's), or a DELETE for a marker. */
void mb_put_object(const struct mb_put_place *place, const struct mb_put_version *version,
				   struct mb_put_texts *texts, struct mb_s3_op *op);
void mb_put_marker(const struct mb_put_place *place, const struct mb_put_version *version,
				   struct mb_put_texts *texts, struct mb_s3_op *op);

/* Append the whole contents; they are checked against the entry's CRC. */
enum mb_code mb_put_contents(struct mb_pack_reader *reader, const struct mb_entry *entry,
							 struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;

/*
 * Write a version in parts and wait; *new_id (free it) gets what the server called it, or NULL.  The
 * same parts as it had, as far as they fit into memory.
 */
enum mb_code mb_put_parts(const struct mb_put_place *place, const struct mb_put_version *version,
						  struct mb_pack_reader *reader, struct mb_s3_lane *lane, char **new_id,
						  struct mb_error *err) MB_MUST_CHECK;

/*
 * What a server does not take with an upload in parts, but only when the version is there: tags
 * and locks on Ceph.  mb_put_parts does it; again by itself when that was cut short.
 */
bool mb_put_has_late(const struct mb_put_place *place, const struct mb_put_version *version);
enum mb_code mb_put_late(const struct mb_put_place *place, const struct mb_put_version *version,
						 const char *id, struct mb_s3_lane *lane,
						 struct mb_error *err) MB_MUST_CHECK;

/* What a key has in the target now. */
struct mb_put_found
{
	size_t count;   /* versions and markers */
	bool has_id;    /* one of them has the id that was looked for */
	bool is_marker; /* the newest one */
	uint64_t size;  /* of the newest one */
	char id[128];   /* of the newest one */
	char etag[128]; /* of the newest one */
};
/* After an unclear outcome: list the key (first 1000 versions). */
enum mb_code mb_put_look(const struct mb_put_place *place, const char *key, const char *id,
						 struct mb_put_found *found, struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * bucket_write_private.h - writing into a bucket, from the inside: bucket_write.c makes jobs and
 * counts, bucket_write_keys.c writes the keys of a job side by side, bucket_write_parts.c one key
 * with versions that go in parts.  Both run on the workers' threads.
 */
#ifndef MB_OBJECTSTORE_BUCKET_WRITE_PRIVATE_H
#define MB_OBJECTSTORE_BUCKET_WRITE_PRIVATE_H

#include <pthread.h>

#include "core/base/feed.h"
#include "core/engine/entry.h"
#include "objectstore/bucket_write.h"

/* A step, with the entry that it points to. */
struct todo
{
	struct mb_write_step step;
	struct mb_entry entry;
};

struct todo_key
{
	const char *target;
	struct todo *todos;
	size_t count;
	size_t there;
};

struct job
{
	struct mb_arena arena;
	struct todo_key *keys;
	size_t count;
	size_t cap;
	uint64_t bytes;
	bool is_alone; /* one key with a version that goes in parts */
};

struct mb_bucket_write
{
	struct mb_restore *restore;
	const struct mb_put_place *place;
	struct mb_feed *feed;
	struct mb_s3_lane **lanes;
	struct mb_pack_reader **readers;
	struct job *open;
	pthread_mutex_t lock; /* of all below */
	struct mb_bucket_written sum;
	const char *id_map;
	int id_map_fd;
	struct mb_buf id_lines;
};

/* bucket_write.c: any worker's thread. */
/* One that is written now, or was there: into the sum, the map of ids and the progress. */
enum mb_code mb_write_count(struct mb_bucket_write *write, const char *key, const struct todo *todo,
							const json_t *meta, const char *new_id, bool was_there,
							struct mb_error *err) MB_MUST_CHECK;
/* What the server will not take must not keep the rest from coming back. */
enum mb_code mb_write_refused(struct mb_bucket_write *write, const char *key, enum mb_code code,
							  const struct mb_error *why, struct mb_error *err) MB_MUST_CHECK;

/* bucket_write_keys.c */
enum mb_code mb_write_keys(struct mb_bucket_write *write, unsigned worker, struct job *job,
						   struct mb_error *err) MB_MUST_CHECK;

/* bucket_write_parts.c */
/* Does this go in parts, or must it wait until its version is there? */
bool mb_write_in_parts(const struct mb_bucket_write *write, const struct todo *todo);
enum mb_code mb_write_alone(struct mb_bucket_write *write, unsigned worker, struct job *job,
							struct mb_error *err) MB_MUST_CHECK;

#endif

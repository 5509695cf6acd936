/* bucket_write.c - see bucket_write.h and bucket_write_private.h: jobs, and what is counted. */
#include "objectstore/bucket_write_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/fs.h"

#define JOB_KEYS_MAX 512
#define JOB_BYTES_MAX (16u << 20)
#define JOBS_PER_WORKER 2 /* waiting and under way */
#define NAMED_MAX 20

/* -- counting ---------------------------------------------------------------------------------------- */

static enum mb_code
flush_ids(struct mb_bucket_write *write, struct mb_error *err)
{
	enum mb_code code = mb_write_full(write->id_map_fd, write->id_lines.data, write->id_lines.len,
									  write->id_map, err);

	mb_buf_reset(&write->id_lines);
	return code;
}

/* A line of the map; with the lock held. */
static enum mb_code
note_id(struct mb_bucket_write *write, const char *key, const char *old, const char *new,
		struct mb_error *err)
{
	json_t *line = json_object();
	char *text;

	mb_json_set_str(line, "key", key);
	mb_json_set_str(line, "old", old);
	mb_json_set_str(line, "new", new);
	text = mb_json_text(line);
	mb_buf_put_str(&write->id_lines, text);
	mb_buf_put_u8(&write->id_lines, '\n');
	free(text);
	json_decref(line);
	return write->id_lines.len > (64u << 10) ? flush_ids(write, err) : MB_OK;
}

enum mb_code
mb_write_count(struct mb_bucket_write *write, const char *key, const struct todo *todo,
			   const json_t *meta, const char *new_id, bool was_there, struct mb_error *err)
{
	const char *old = mb_json_str(meta, "id", "null");
	enum mb_code code = MB_OK;

	pthread_mutex_lock(&write->lock);
	if (was_there)
		write->sum.there++;
	else if (todo->step.kind == MB_WRITE_DELETE || todo->entry.type == MB_ENTRY_MARKER)
		write->sum.markers++;
	else
	{
		write->sum.versions++;
		write->sum.bytes += todo->entry.size;
	}
	if (write->id_map && todo->step.kind == MB_WRITE_VERSION && new_id)
		code = note_id(write, key, old, new_id, err);
	pthread_mutex_unlock(&write->lock);
	atomic_fetch_add(&write->restore->progress->done_entries, 1);
	atomic_fetch_add(&write->restore->progress->done_bytes, todo->entry.size);
	return code;
}

enum mb_code
mb_write_refused(struct mb_bucket_write *write, const char *key, enum mb_code code,
				 const struct mb_error *why, struct mb_error *err)
{
	bool is_named;

	if (code != MB_IO && code != MB_UNSUPPORTED && code != MB_CONFLICT)
	{
		*err = *why;
		return mb_error_context(err, "could not write \"%.256s\"", key);
	}
	pthread_mutex_lock(&write->lock);
	is_named = write->sum.failed++ < NAMED_MAX;
	if (is_named)
		mb_restore_warn(write->restore, "the server does not take \"%.256s\": %.512s", key,
						why->message);
	pthread_mutex_unlock(&write->lock);
	return MB_OK;
}

/* -- jobs ---------------------------------------------------------------------------------------------------- */

static void
free_job(struct job *job)
{
	mb_arena_release(&job->arena);
	free(job->keys);
	free(job);
}

static enum mb_code
work(void *ctx, unsigned worker, void *arg, struct mb_error *err)
{
	struct mb_bucket_write *write = ctx;
	struct job *job = arg;
	enum mb_code code = job->is_alone ? mb_write_alone(write, worker, job, err)
									  : mb_write_keys(write, worker, job, err);

	free_job(job);
	return code;
}

static void
drop(void *ctx, void *arg)
{
	(void) ctx;
	free_job(arg);
}

struct mb_bucket_write *
mb_bucket_write_new(struct mb_restore *restore, const struct mb_put_place *place,
					const char *id_map)
{
	struct mb_bucket_write *write = mb_calloc(1, sizeof(*write));
	unsigned workers = restore->env->workers, i;

	write->restore = restore;
	write->place = place;
	write->id_map = id_map;
	write->id_map_fd = -1;
	pthread_mutex_init(&write->lock, NULL);
	write->lanes = mb_calloc(workers, sizeof(struct mb_s3_lane *));
	write->readers = mb_calloc(workers, sizeof(struct mb_pack_reader *));
	for (i = 0; i < workers; i++)
	{
		write->lanes[i] = mb_s3_lane_open(place->s3);
		write->readers[i] = mb_pack_reader_new(restore->env->repo);
	}
	write->feed = mb_feed_new(workers, workers * JOBS_PER_WORKER, work, drop, write);
	return write;
}

void
mb_bucket_write_free(struct mb_bucket_write *write)
{
	unsigned i;

	if (!write)
		return;
	mb_feed_free(write->feed);
	for (i = 0; i < write->restore->env->workers; i++)
	{
		mb_s3_lane_close(write->lanes[i]);
		mb_pack_reader_free(write->readers[i]);
	}
	free(write->lanes);
	free(write->readers);
	if (write->open)
		free_job(write->open);
	if (write->id_map_fd >= 0)
		close(write->id_map_fd);
	mb_buf_release(&write->id_lines);
	pthread_mutex_destroy(&write->lock);
	free(write);
}

static enum mb_code
put_open(struct mb_bucket_write *write, struct mb_error *err)
{
	struct job *job = write->open;

	write->open = NULL;
	return job ? mb_feed_put(write->feed, job, 1, err) : MB_OK;
}

static struct todo_key *
add_key(struct job *job, const char *target, const struct mb_write_step *steps, size_t count,
		size_t there)
{
	struct todo_key *key;
	size_t i;

	job->keys = mb_grow(job->keys, &job->cap, job->count + 1, sizeof(*job->keys));
	key = &job->keys[job->count++];
	key->target = mb_arena_strdup(&job->arena, target);
	key->todos = mb_arena_alloc(&job->arena, count * sizeof(*key->todos));
	key->count = count;
	key->there = there;
	for (i = 0; i < count; i++)
	{
		key->todos[i].step = steps[i];
		if (steps[i].id)
			key->todos[i].step.id = mb_arena_strdup(&job->arena, steps[i].id);
		if (steps[i].kind != MB_WRITE_DELETE)
			mb_entry_copy(&job->arena, steps[i].entry, &key->todos[i].entry);
		job->bytes += key->todos[i].entry.size;
	}
	return key;
}

static enum mb_code
open_id_map(struct mb_bucket_write *write, struct mb_error *err)
{
	if (!write->id_map || write->id_map_fd >= 0)
		return MB_OK;
	write->id_map_fd = mb_open(write->id_map, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (write->id_map_fd < 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", write->id_map);
	return MB_OK;
}

enum mb_code
mb_bucket_write_key(struct mb_bucket_write *write, const char *target,
					const struct mb_write_step *steps, size_t count, size_t there,
					struct mb_error *err)
{
	struct job *job = mb_calloc(1, sizeof(*job));
	struct todo_key *key = add_key(job, target, steps, count, there);
	enum mb_code code = open_id_map(write, err);
	size_t i;

	for (i = 0; i < count; i++)
		job->is_alone = job->is_alone || mb_write_in_parts(write, &key->todos[i]);
	if (!code && job->is_alone)
		return mb_feed_put(write->feed, job, 1, err);
	free_job(job);
	if (code)
		return code;
	if (!write->open)
		write->open = mb_calloc(1, sizeof(*write->open));
	add_key(write->open, target, steps, count, there);
	if (write->open->count >= JOB_KEYS_MAX || write->open->bytes >= JOB_BYTES_MAX)
		return put_open(write, err);
	return MB_OK;
}

enum mb_code
mb_bucket_write_finish(struct mb_bucket_write *write, struct mb_bucket_written *sum,
					   struct mb_error *err)
{
	enum mb_code code = put_open(write, err);

	if (!code)
		code = mb_feed_drain(write->feed, err);
	if (!code && write->id_map_fd >= 0)
		code = flush_ids(write, err);
	if (code)
		return code;
	*sum = write->sum;
	sum->id_map_path = write->id_map_fd >= 0 ? mb_strdup(write->id_map) : NULL;
	return MB_OK;
}

/* bucket_write.c - see bucket_write.h. */
#include "objectstore/bucket_write.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/feed.h"
#include "core/base/fs.h"
#include "core/engine/entry.h"

#define SLOTS 16
#define SLOT_BYTES (24u << 20) /* of bodies under way for one worker */
#define JOB_KEYS_MAX 512
#define JOB_BYTES_MAX (16u << 20)
#define JOBS_PER_WORKER 2 /* waiting and under way */
#define NAMED_MAX 20
#define LOOKS_MAX 5 /* after unclear outcomes of one request */

struct todo
{
	struct mb_write_step step;
	struct mb_entry entry; /* what step points to */
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

struct batch;

/* A key under way. */
struct slot
{
	struct batch *batch;
	struct todo_key *key;
	size_t at;    /* todo */
	size_t there; /* versions that the key has now */
	unsigned looks;
	json_t *meta;
	struct mb_put_texts texts;
	struct mb_buf body;
	uint64_t bytes; /* counted in the batch */
	struct mb_s3_op op;
};

struct batch
{
	struct mb_bucket_write *write;
	unsigned worker;
	struct job *job;
	size_t next; /* key */
	uint64_t bytes;
	struct slot slots[SLOTS];
	enum mb_code code;
	struct mb_error *err;
};

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

static enum mb_code
count_written(struct mb_bucket_write *write, const char *key, const struct todo *todo,
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

/* What the server will not take must not keep the rest from coming back. */
static enum mb_code
count_refused(struct mb_bucket_write *write, const char *key, enum mb_code code,
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

/* -- the way of a slot ---------------------------------------------------------------------------------- */

static void start_keys(struct batch *batch);
static void do_todo(struct slot *slot);

static struct todo *
todo_of(const struct slot *slot)
{
	return &slot->key->todos[slot->at];
}

static void
forget_request(struct slot *slot)
{
	json_decref(slot->meta);
	slot->meta = NULL;
	mb_arena_release(&slot->texts.arena);
	memset(&slot->texts, 0, sizeof(slot->texts));
	slot->batch->bytes -= slot->bytes;
	slot->bytes = 0;
	if (slot->body.cap > (1u << 20))
		mb_buf_release(&slot->body);
}

static void
end_slot(struct slot *slot, enum mb_code code)
{
	struct batch *batch = slot->batch;

	forget_request(slot);
	if (code && !batch->code)
		batch->code = code;
	slot->key = NULL;
	start_keys(batch);
}

/* The next thing to do with the key. */
static void
advance(struct slot *slot)
{
	forget_request(slot);
	slot->at++;
	slot->looks = 0;
	if (slot->at < slot->key->count && !slot->batch->code)
		do_todo(slot);
	else
		end_slot(slot, MB_OK);
}

static void
succeed(struct slot *slot, const char *new_id, bool was_there)
{
	enum mb_code code = count_written(slot->batch->write, slot->key->target, todo_of(slot),
									  slot->meta, new_id, was_there, slot->batch->err);

	slot->there++;
	if (code)
		end_slot(slot, code);
	else
		advance(slot);
}

/* Versions of a key build on each other: behind one that was refused none is written. */
static void
fail(struct slot *slot, enum mb_code code, const struct mb_error *why)
{
	end_slot(slot,
			 count_refused(slot->batch->write, slot->key->target, code, why, slot->batch->err));
}

/* No answer: look whether it was done. */
static void
look(struct slot *slot, const struct mb_error *why)
{
	const struct todo *todo = todo_of(slot);
	const char *id = (slot->batch->write->place->flags & MB_PUT_IDS)
						 ? mb_json_str(slot->meta, "id", NULL)
						 : NULL;
	struct mb_put_found found;
	struct mb_error err;
	bool is_marker = todo->step.kind == MB_WRITE_DELETE || todo->entry.type == MB_ENTRY_MARKER;
	bool is_done;
	enum mb_code code;

	mb_error_clear(&err);
	if (++slot->looks > LOOKS_MAX)
	{
		fail(slot, why->code, why);
		return;
	}
	code = mb_put_look(slot->batch->write->place, slot->key->target, id, &found, &err);
	if (code)
	{
		fail(slot, code, &err);
		return;
	}
	is_done = id ? found.has_id
				 : found.count > slot->there && found.is_marker == is_marker &&
					   (is_marker || found.size == todo->entry.size);
	if (is_done)
	{
		succeed(slot, found.id, false);
		return;
	}
	forget_request(slot);
	do_todo(slot);
}

static void
on_answer(struct mb_s3_op *op)
{
	struct slot *slot = op->ctx;
	struct mb_error why = op->err;
	enum mb_code code = op->code;
	bool is_unclear = code == MB_UNREACHABLE && op->maybe_done;
	const char *told = code ? NULL : mb_s3_op_answer(op, "x-amz-version-id");
	char new_id[256];

	snprintf(new_id, sizeof(new_id), "%s", told ? told : "");
	mb_s3_op_release(op);
	if (!code)
		succeed(slot, new_id[0] ? new_id : NULL, false);
	else if (code == MB_EXISTS)
		succeed(slot, NULL, true);
	else if (is_unclear)
		look(slot, &why);
	else
		fail(slot, code, &why);
}

static void
do_todo(struct slot *slot)
{
	struct mb_bucket_write *write = slot->batch->write;
	const struct todo *todo = todo_of(slot);
	struct mb_put_version version = {.key = slot->key->target, .entry = &todo->entry};
	struct mb_error why;
	enum mb_code code = MB_OK;

	mb_error_clear(&why);
	if (todo->step.kind == MB_WRITE_DELETE)
	{
		slot->meta = json_object();
		slot->op.method = "DELETE";
		slot->op.bucket = write->place->bucket;
		slot->op.key = slot->key->target;
		slot->op.flags = MB_S3_ONCE;
	}
	else
	{
		code = mb_json_parse(&slot->meta, todo->entry.meta ? todo->entry.meta : "{}",
							 todo->entry.meta ? strlen(todo->entry.meta) : 2, "meta", &why);
		version.meta = slot->meta;
		if (!code && todo->entry.type == MB_ENTRY_MARKER)
			mb_put_marker(write->place, &version, &slot->texts, &slot->op);
		else if (!code)
		{
			mb_put_object(write->place, &version, &slot->texts, &slot->op);
			mb_buf_reset(&slot->body);
			slot->bytes = todo->entry.size;
			slot->batch->bytes += slot->bytes;
			code = mb_put_contents(write->readers[slot->batch->worker], &todo->entry, &slot->body,
								   &why);
			slot->op.body = slot->body.len ? (const void *) slot->body.data : "";
			slot->op.body_len = slot->body.len;
		}
	}
	if (!code && slot->texts.is_too_much)
		code = mb_fail(&why, MB_UNSUPPORTED, "it has more metadata than a request has room for");
	if (code)
	{
		memset(&slot->op, 0, sizeof(slot->op));
		fail(slot, code, &why);
		return;
	}
	slot->op.done = on_answer;
	slot->op.ctx = slot;
	mb_s3_start(write->lanes[slot->batch->worker], &slot->op);
}

static void
start_keys(struct batch *batch)
{
	size_t i;

	for (i = 0; i < SLOTS && !batch->code && batch->next < batch->job->count; i++)
	{
		struct slot *slot = &batch->slots[i];

		if (slot->key)
			continue;
		if (batch->bytes >= SLOT_BYTES)
			return;
		slot->key = &batch->job->keys[batch->next++];
		slot->at = 0;
		slot->looks = 0;
		slot->there = slot->key->there;
		do_todo(slot);
	}
}

static enum mb_code
work_keys(struct mb_bucket_write *write, unsigned worker, struct job *job, struct mb_error *err)
{
	struct batch *batch = mb_calloc(1, sizeof(*batch));
	enum mb_code code;
	size_t i;

	batch->write = write;
	batch->worker = worker;
	batch->job = job;
	batch->err = err;
	for (i = 0; i < SLOTS; i++)
		batch->slots[i].batch = batch;
	start_keys(batch);
	code = mb_s3_run(write->lanes[worker], 0, err);
	if (batch->code)
		code = batch->code;
	for (i = 0; i < SLOTS; i++)
	{
		mb_s3_op_release(&batch->slots[i].op);
		mb_buf_release(&batch->slots[i].body);
		mb_arena_release(&batch->slots[i].texts.arena);
		json_decref(batch->slots[i].meta);
	}
	free(batch);
	return code;
}

/* -- a key with a version that goes in parts ------------------------------------------------------------ */

/* The key as a job of its own, up to the next version that goes in parts. */
static enum mb_code
write_small(struct mb_bucket_write *write, unsigned worker, struct todo_key *key, size_t from,
			size_t to, size_t there, struct mb_error *err)
{
	struct todo_key part = {key->target, key->todos + from, to - from, there};
	struct job job = {.keys = &part, .count = 1};

	return from == to ? MB_OK : work_keys(write, worker, &job, err);
}

static enum mb_code
write_parts(struct mb_bucket_write *write, unsigned worker, const char *target,
			const struct todo *todo, struct mb_error *err)
{
	struct mb_put_version version = {.key = target, .entry = &todo->entry};
	struct mb_error why;
	char *new_id = NULL;
	enum mb_code code;

	mb_error_clear(&why);
	code = mb_json_parse(&version.meta, todo->entry.meta ? todo->entry.meta : "{}",
						 todo->entry.meta ? strlen(todo->entry.meta) : 2, "meta", &why);
	if (!code && todo->step.kind == MB_WRITE_LATE)
		code = mb_put_late(write->place, &version, todo->step.id, write->lanes[worker], &why);
	else if (!code)
		code = mb_put_parts(write->place, &version, write->readers[worker], write->lanes[worker],
							&new_id, &why);
	if (!code && todo->step.kind == MB_WRITE_LATE)
		code = MB_OK; /* it was counted when it was written */
	else if (!code || code == MB_EXISTS)
		code = count_written(write, target, todo, version.meta, new_id, code == MB_EXISTS, err);
	else
		code = count_refused(write, target, code, &why, err);
	free(new_id);
	json_decref(version.meta);
	return code;
}

static bool
goes_in_parts(const struct mb_bucket_write *write, const struct todo *todo)
{
	struct mb_put_version version = {.entry = &todo->entry};
	struct mb_error err;
	bool is_so;

	if (todo->step.kind == MB_WRITE_LATE)
		return true;
	if (todo->step.kind == MB_WRITE_DELETE || todo->entry.type != MB_ENTRY_OBJECT)
		return false;
	mb_error_clear(&err);
	if (mb_json_parse(&version.meta, todo->entry.meta ? todo->entry.meta : "{}",
					  todo->entry.meta ? strlen(todo->entry.meta) : 2, "meta", &err))
		return false;
	is_so = mb_put_in_parts(write->place, &version);
	json_decref(version.meta);
	return is_so;
}

static enum mb_code
work_alone(struct mb_bucket_write *write, unsigned worker, struct job *job, struct mb_error *err)
{
	struct todo_key *key = &job->keys[0];
	enum mb_code code = MB_OK;
	size_t from = 0, i;

	for (i = 0; !code && i < key->count; i++)
	{
		if (!goes_in_parts(write, &key->todos[i]))
			continue;
		code = write_small(write, worker, key, from, i, key->there + from, err);
		if (!code)
			code = write_parts(write, worker, key->target, &key->todos[i], err);
		from = i + 1;
	}
	if (!code)
		code = write_small(write, worker, key, from, key->count, key->there + from, err);
	return code;
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
	enum mb_code code =
		job->is_alone ? work_alone(write, worker, job, err) : work_keys(write, worker, job, err);

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
	write->id_map_fd = open(write->id_map, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
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
		job->is_alone = job->is_alone || goes_in_parts(write, &key->todos[i]);
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

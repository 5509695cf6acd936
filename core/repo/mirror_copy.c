/*
 * mirror_copy.c - calls to one copy of a mirror; see mirror_private.h.
 *
 * A network mount that is gone does not fail, it hangs, and nothing interrupts it.  So every
 * call runs on a thread of its own with its own memory; who asked waits as long as something
 * moves, then goes on without it.  A put that lands long after it was given up does no harm:
 * it is a blob of the first, and what it refers to was there before it was tried.
 */
#include "core/repo/mirror_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/pool.h"
#include "core/base/time.h"

#define LOOK_MS 200

struct call
{
	enum mb_code (*run)(struct call *call, struct mb_error *err);
	struct mb_mirror_options options;
	struct mb_mirror_handle *handle;
	char *url;
	char **names;
	size_t name_count;
	struct mb_buf data; /* what to put, or what was got or listed */
	uint64_t offset;
	size_t len;
	struct mb_store *opened;
	struct mb_blob_info info;
	atomic_ulong moved;
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool is_done;
	bool is_abandoned;
	enum mb_code code;
	struct mb_error err;
};

static void
handle_release(struct mb_mirror_handle *handle)
{
	if (!handle || atomic_fetch_sub(&handle->refs, 1) > 1)
		return;
	mb_store_free(handle->store);
	free(handle);
}

static struct call *
call_new(struct mb_mirror_copy *copy, const char *const *names, size_t count)
{
	struct call *call = mb_calloc(1, sizeof(*call));
	pthread_condattr_t attr;
	size_t i;

	call->options = copy->mirror->options;
	call->url = mb_strdup(copy->url);
	call->names = mb_calloc(count + 1, sizeof(*call->names));
	for (i = 0; i < count; i++)
		call->names[i] = mb_strdup(names[i]);
	call->name_count = count;
	pthread_mutex_init(&call->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&call->ended, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_lock(&copy->lock);
	call->handle = copy->handle;
	if (call->handle)
		atomic_fetch_add(&call->handle->refs, 1);
	pthread_mutex_unlock(&copy->lock);
	return call;
}

static void
call_free(struct call *call)
{
	size_t i;

	for (i = 0; i < call->name_count; i++)
		free(call->names[i]);
	free(call->names);
	free(call->url);
	mb_buf_release(&call->data);
	mb_store_free(call->opened);
	handle_release(call->handle);
	pthread_mutex_destroy(&call->lock);
	pthread_cond_destroy(&call->ended);
	free(call);
}

static void *
run_call(void *ctx)
{
	struct call *call = ctx;
	struct mb_error err;
	enum mb_code code;
	bool is_abandoned;

	mb_error_clear(&err);
	code = call->run(call, &err);
	pthread_mutex_lock(&call->lock);
	call->code = code;
	call->err = err;
	call->is_done = true;
	is_abandoned = call->is_abandoned;
	pthread_cond_signal(&call->ended);
	pthread_mutex_unlock(&call->lock);
	if (is_abandoned)
		call_free(call);
	return NULL;
}

/* Wait until it is done, or nothing has moved for so long.  Called with its lock. */
static void
await_call(struct call *call, int64_t patience_ms)
{
	int64_t moved_ms = mb_monotonic_ms();
	unsigned long moved = 0;

	while (!call->is_done && mb_monotonic_ms() - moved_ms < patience_ms)
	{
		struct timespec at;

		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += LOOK_MS * 1000000L;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&call->ended, &call->lock, &at);
		if (atomic_load(&call->moved) != moved)
		{
			moved = atomic_load(&call->moved);
			moved_ms = mb_monotonic_ms();
		}
	}
}

/* Run it with a deadline.  *gone: it was given up, and must not be touched any more. */
static enum mb_code
call_run(struct call *call, int64_t patience_ms, bool *gone, struct mb_error *err)
{
	enum mb_code code;
	pthread_t thread;

	*gone = false;
	if (mb_thread_start(&thread, run_call, call) != 0)
		return mb_fail(err, MB_IO, "could not start a thread");
	pthread_mutex_lock(&call->lock);
	await_call(call, patience_ms);
	*gone = !call->is_done;
	call->is_abandoned = *gone;
	code = call->code;
	if (*gone)
	{
		pthread_detach(thread);
		code = mb_fail(err, MB_UNREACHABLE, "\"%s\" has not answered for %lld s", call->url,
					   (long long) (patience_ms / 1000));
	}
	else if (code)
		*err = call->err;
	pthread_mutex_unlock(&call->lock);
	if (!*gone)
		pthread_join(thread, NULL);
	return code;
}

/* -- opening --------------------------------------------------------------------------------- */

static enum mb_code
run_open(struct call *call, struct mb_error *err)
{
	enum mb_code code = call->options.open(call->options.open_ctx, call->url, &call->opened, err);

	if (!code)
		code = mb_store_get(call->opened, MB_HEADER_NAME, 0, MB_HEADER_MAX_BYTES, &call->data, err);
	if (code == MB_NOT_FOUND)
	{
		mb_fail(err, code, "there is no copy of the repository at \"%s\"", call->url);
		mb_error_hint(err, "Check that it is mounted; \"mbackup init\" makes a new copy there.");
	}
	return code;
}

static enum mb_code
check_header(const struct mb_mirror *mirror, const struct mb_buf *bytes, const char *url,
			 struct mb_error *err)
{
	struct mb_repo_header header;
	enum mb_code code;

	if (bytes->len == mirror->header_len && memcmp(bytes->data, mirror->header, bytes->len) == 0)
		return MB_OK;
	code = mb_repo_header_decode(&header, bytes->data, bytes->len, err);
	if (code)
		return mb_error_context(err, "\"%s\"", url);
	mb_fail(err, MB_CONFIG, "\"%s\" is repository %s, not a copy of %s", url, header.id_text,
			mirror->id_text);
	return mb_error_hint(err, "Correct the url of the copy, or choose an empty place and run "
							  "\"mbackup init\".");
}

enum mb_code
mb_mirror_copy_open(struct mb_mirror_copy *copy, bool anew, int64_t patience_ms,
					struct mb_error *err)
{
	struct mb_mirror_handle *handle, *old;
	struct call *call;
	enum mb_code code;
	bool is_open, gone;

	pthread_mutex_lock(&copy->lock);
	is_open = copy->handle != NULL;
	pthread_mutex_unlock(&copy->lock);
	if (is_open && !anew)
		return MB_OK;
	call = call_new(copy, NULL, 0);
	call->run = run_open;
	code = call_run(call, patience_ms, &gone, err);
	if (gone)
		return code;
	if (!code)
		code = check_header(copy->mirror, &call->data, copy->url, err);
	if (!code)
	{
		handle = mb_calloc(1, sizeof(*handle));
		handle->store = call->opened;
		atomic_store(&handle->refs, 1);
		call->opened = NULL;
		pthread_mutex_lock(&copy->lock);
		old = copy->handle;
		copy->handle = handle;
		pthread_mutex_unlock(&copy->lock);
		handle_release(old);
	}
	call_free(call);
	return code;
}

void
mb_mirror_copy_close(struct mb_mirror_copy *copy)
{
	struct mb_mirror_handle *handle;

	pthread_mutex_lock(&copy->lock);
	handle = copy->handle;
	copy->handle = NULL;
	pthread_mutex_unlock(&copy->lock);
	handle_release(handle);
}

/* -- the calls ------------------------------------------------------------------------------- */

/* *call is NULL when it failed to start or was given up; else it is to be freed. */
static enum mb_code
ask(struct mb_mirror_copy *copy, enum mb_code (*run)(struct call *, struct mb_error *),
	struct call **call, struct mb_error *err)
{
	enum mb_code code;
	bool gone = false;

	(*call)->run = run;
	if ((*call)->handle)
		code = call_run(*call, copy->mirror->options.patience_ms, &gone, err);
	else
		code = mb_fail(err, MB_UNREACHABLE, "the copy \"%s\" is not open", copy->name);
	if (gone)
		*call = NULL;
	return code;
}

static enum mb_code
run_put(struct call *call, struct mb_error *err)
{
	const char *name = call->names[0];
	enum mb_code code =
		mb_store_put(call->handle->store, name, call->data.data, call->data.len, err);

	if (code != MB_EXISTS)
		return code;
	/* Another process, or a try before, was faster: one blob has one name. */
	code = mb_store_head(call->handle->store, name, &call->info, err);
	if (code || call->info.bytes == call->data.len)
		return code;
	mb_fail(err, MB_CORRUPT, "blob \"%s\" has %llu bytes in the copy and %zu in the repository",
			name, (unsigned long long) call->info.bytes, call->data.len);
	return mb_error_hint(err, "Run \"mbackup verify\" on both; remove the wrong one by hand.");
}

enum mb_code
mb_mirror_copy_put(struct mb_mirror_copy *copy, const char *name, const void *data, size_t len,
				   struct mb_error *err)
{
	struct call *call = call_new(copy, &name, 1);
	enum mb_code code;

	mb_buf_put(&call->data, data, len);
	code = ask(copy, run_put, &call, err);
	if (call)
		call_free(call);
	return code;
}

static enum mb_code
run_get(struct call *call, struct mb_error *err)
{
	return mb_store_get(call->handle->store, call->names[0], call->offset, call->len, &call->data,
						err);
}

enum mb_code
mb_mirror_copy_get(struct mb_mirror_copy *copy, const char *name, uint64_t offset, size_t len,
				   struct mb_buf *out, struct mb_error *err)
{
	struct call *call = call_new(copy, &name, 1);
	enum mb_code code;

	call->offset = offset;
	call->len = len;
	code = ask(copy, run_get, &call, err);
	if (!code)
		mb_buf_put(out, call->data.data, call->data.len);
	if (call)
		call_free(call);
	return code;
}

static enum mb_code
run_head(struct call *call, struct mb_error *err)
{
	return mb_store_head(call->handle->store, call->names[0], &call->info, err);
}

enum mb_code
mb_mirror_copy_head(struct mb_mirror_copy *copy, const char *name, uint64_t *bytes,
					struct mb_error *err)
{
	struct call *call = call_new(copy, &name, 1);
	enum mb_code code = ask(copy, run_head, &call, err);

	if (!code)
		*bytes = call->info.bytes;
	if (call)
		call_free(call);
	return code;
}

static enum mb_code
run_remove(struct call *call, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; i < call->name_count && !code; i++)
	{
		const char *name = call->names[i];

		code = mb_store_remove(call->handle->store, &name, 1, err);
		atomic_fetch_add(&call->moved, 1);
	}
	return code;
}

enum mb_code
mb_mirror_copy_remove(struct mb_mirror_copy *copy, const char *const *names, size_t count,
					  struct mb_error *err)
{
	struct call *call = call_new(copy, names, count);
	enum mb_code code = ask(copy, run_remove, &call, err);

	if (call)
		call_free(call);
	return code;
}

enum mb_code
mb_mirror_add_listed(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_buf *out = ctx;

	(void) err;
	mb_buf_put_u64(out, info->bytes);
	mb_buf_put(out, info->name, strlen(info->name) + 1);
	return MB_OK;
}

static enum mb_code
add_moving(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct call *call = ctx;

	atomic_fetch_add(&call->moved, 1);
	return mb_mirror_add_listed(&call->data, info, err);
}

static enum mb_code
run_list(struct call *call, struct mb_error *err)
{
	return mb_store_list(call->handle->store, call->names[0], add_moving, call, err);
}

enum mb_code
mb_mirror_copy_list(struct mb_mirror_copy *copy, const char *prefix, struct mb_buf *out,
					struct mb_error *err)
{
	struct call *call = call_new(copy, &prefix, 1);
	enum mb_code code = ask(copy, run_list, &call, err);

	if (!code)
		mb_buf_put(out, call->data.data, call->data.len);
	if (call)
		call_free(call);
	return code;
}

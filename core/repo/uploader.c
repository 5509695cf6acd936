/* uploader.c - see pack.h: threads that put finished packs. */
#include "core/repo/pack.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/pool.h"

struct job
{
	char name[MB_NAME_MAX];
	struct mb_buf bytes;
};

struct mb_uploader
{
	struct mb_store *store;
	unsigned thread_count;
	pthread_t *threads;
	pthread_mutex_t lock;
	pthread_cond_t work; /* there is a job, or the end */
	pthread_cond_t room; /* the queue has room, or nothing is left to do */
	struct job *queue;   /* a ring of thread_count */
	unsigned first;
	unsigned waiting;
	unsigned running;
	bool ending;
	uint64_t stored_bytes;
	struct mb_error failure; /* the first one; stays */
};

static void *
upload(void *ctx)
{
	struct mb_uploader *up = ctx;

	pthread_mutex_lock(&up->lock);
	for (;;)
	{
		struct mb_error err;
		enum mb_code code = MB_OK;
		struct job job;

		while (up->waiting == 0 && !up->ending)
			pthread_cond_wait(&up->work, &up->lock);
		if (up->waiting == 0)
			break;
		job = up->queue[up->first];
		up->first = (up->first + 1) % up->thread_count;
		up->waiting--;
		up->running++;
		pthread_cond_broadcast(&up->room);
		/* After a failure the backup is lost: do not write more of it. */
		if (!up->failure.code && !up->ending)
		{
			pthread_mutex_unlock(&up->lock);
			mb_error_clear(&err);
			code = mb_store_put(up->store, job.name, job.bytes.data, job.bytes.len, &err);
			pthread_mutex_lock(&up->lock);
			if (!code)
				up->stored_bytes += job.bytes.len;
			else if (!up->failure.code)
				up->failure = err;
		}
		mb_buf_release(&job.bytes);
		up->running--;
		pthread_cond_broadcast(&up->room);
	}
	pthread_mutex_unlock(&up->lock);
	return NULL;
}

struct mb_uploader *
mb_uploader_new(struct mb_store *store, unsigned threads)
{
	struct mb_uploader *up = mb_calloc(1, sizeof(*up));
	unsigned i;

	MB_ASSERT(threads >= 1);
	up->store = store;
	up->thread_count = threads;
	up->threads = mb_calloc(threads, sizeof(up->threads[0]));
	up->queue = mb_calloc(threads, sizeof(up->queue[0]));
	pthread_mutex_init(&up->lock, NULL);
	pthread_cond_init(&up->work, NULL);
	pthread_cond_init(&up->room, NULL);
	for (i = 0; i < threads; i++)
		if (mb_thread_start(&up->threads[i], upload, up) != 0)
			MB_BUG("could not start a thread");
	return up;
}

enum mb_code
mb_uploader_put(struct mb_uploader *up, const char *name, struct mb_buf *bytes,
				struct mb_error *err)
{
	enum mb_code code = MB_OK;

	MB_ASSERT(strlen(name) < MB_NAME_MAX);
	pthread_mutex_lock(&up->lock);
	/* Those that are being put count too: each is 16 MiB, and a worker holds one more of its own. */
	while (up->waiting + up->running >= up->thread_count && !up->failure.code)
		pthread_cond_wait(&up->room, &up->lock);
	if (up->failure.code)
	{
		*err = up->failure;
		code = err->code;
		mb_buf_release(bytes);
	}
	else
	{
		struct job *job = &up->queue[(up->first + up->waiting) % up->thread_count];

		strcpy(job->name, name);
		job->bytes = *bytes;
		memset(bytes, 0, sizeof(*bytes));
		up->waiting++;
		pthread_cond_signal(&up->work);
	}
	pthread_mutex_unlock(&up->lock);
	return code;
}

enum mb_code
mb_uploader_drain(struct mb_uploader *up, struct mb_error *err)
{
	enum mb_code code;

	pthread_mutex_lock(&up->lock);
	while (up->waiting > 0 || up->running > 0)
		pthread_cond_wait(&up->room, &up->lock);
	code = up->failure.code;
	if (code)
		*err = up->failure;
	pthread_mutex_unlock(&up->lock);
	return code;
}

uint64_t
mb_uploader_bytes(struct mb_uploader *up)
{
	uint64_t bytes;

	pthread_mutex_lock(&up->lock);
	bytes = up->stored_bytes;
	pthread_mutex_unlock(&up->lock);
	return bytes;
}

void
mb_uploader_free(struct mb_uploader *up)
{
	unsigned i;

	if (!up)
		return;
	pthread_mutex_lock(&up->lock);
	up->ending = true;
	pthread_cond_broadcast(&up->work);
	pthread_mutex_unlock(&up->lock);
	for (i = 0; i < up->thread_count; i++)
		pthread_join(up->threads[i], NULL);
	pthread_mutex_destroy(&up->lock);
	pthread_cond_destroy(&up->work);
	pthread_cond_destroy(&up->room);
	free(up->threads);
	free(up->queue);
	free(up);
}

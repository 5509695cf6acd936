/* uploader.c - see uploader.h. */
#include "walstreamer/uploader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "walstreamer/inventory.h"

#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 10000

enum job_state
{
	JOB_NONE,
	JOB_WAITING,
	JOB_DONE
};

struct mb_wal_uploader
{
	const struct mb_env *env;
	int64_t give_up_ms;
	int wake_fd;
	atomic_bool hurry;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum job_state state; /* lock */
	bool quit;            /* lock */
	struct mb_wal_job job;
	enum mb_code code;
	struct mb_error err;
	struct mb_blob_writer writer;
};

static bool
is_passing(enum mb_code code)
{
	return code == MB_UNREACHABLE || code == MB_IO || code == MB_NO_SPACE || code == MB_DENIED;
}

static void
do_job(struct mb_wal_uploader *uploader)
{
	int64_t start = mb_monotonic_ms(), wait = RETRY_MIN_MS;
	const struct mb_wal_piece *piece = &uploader->job.piece;

	for (;;)
	{
		uploader->code =
			mb_wal_piece_put(&uploader->writer, uploader->env->repo, piece, &uploader->err);
		if (!is_passing(uploader->code) || atomic_load(&uploader->hurry) ||
			mb_cancelled(uploader->env->cancel) ||
			(uploader->give_up_ms && mb_monotonic_ms() - start > uploader->give_up_ms))
			break;
		mb_log_warning(uploader->env->log, "%s: could not store WAL, will try again: %s",
					   uploader->job.component, uploader->err.message);
		mb_sleep_ms(wait);
		wait = wait * 2 < RETRY_MAX_MS ? wait * 2 : RETRY_MAX_MS;
	}
	if (uploader->code == MB_OK && uploader->job.whole_unit)
		mb_wal_tails_remove(uploader->env->repo, &piece->where, piece->from_lsn, piece->to_lsn);
}

static void *
uploader_main(void *arg)
{
	struct mb_wal_uploader *uploader = arg;
	uint64_t one = 1;

	pthread_mutex_lock(&uploader->lock);
	for (;;)
	{
		while (uploader->state != JOB_WAITING && !uploader->quit)
			pthread_cond_wait(&uploader->changed, &uploader->lock);
		if (uploader->state != JOB_WAITING)
			break;
		pthread_mutex_unlock(&uploader->lock);
		do_job(uploader);
		pthread_mutex_lock(&uploader->lock);
		uploader->state = JOB_DONE;
		if (write(uploader->wake_fd, &one, sizeof(one)) < 0)
		{
			/* Full is as good as one; the receiver also looks by itself. */
		}
	}
	pthread_mutex_unlock(&uploader->lock);
	return NULL;
}

struct mb_wal_uploader *
mb_wal_uploader_new(const struct mb_env *env, int64_t give_up_ms, int wake_fd)
{
	struct mb_wal_uploader *uploader = mb_calloc(1, sizeof(*uploader));

	uploader->env = env;
	uploader->give_up_ms = give_up_ms;
	uploader->wake_fd = wake_fd;
	pthread_mutex_init(&uploader->lock, NULL);
	pthread_cond_init(&uploader->changed, NULL);
	if (pthread_create(&uploader->thread, NULL, uploader_main, uploader) != 0)
		MB_BUG("could not create a thread");
	return uploader;
}

bool
mb_wal_uploader_is_idle(struct mb_wal_uploader *uploader)
{
	bool idle;

	pthread_mutex_lock(&uploader->lock);
	idle = uploader->state == JOB_NONE;
	pthread_mutex_unlock(&uploader->lock);
	return idle;
}

void
mb_wal_uploader_submit(struct mb_wal_uploader *uploader, struct mb_wal_job *job)
{
	pthread_mutex_lock(&uploader->lock);
	MB_ASSERT(uploader->state == JOB_NONE);
	mb_wal_facts_release(&uploader->job.facts);
	uploader->job = *job;
	memset(&job->facts, 0, sizeof(job->facts));
	job = &uploader->job;
	job->piece.where.component = job->component;
	job->piece.where.system_id = job->system_id;
	job->piece.where.branch = job->branch;
	job->piece.history = job->history;
	job->piece.parent_branch = job->parent_branch;
	job->piece.facts = &job->facts;
	uploader->state = JOB_WAITING;
	pthread_cond_signal(&uploader->changed);
	pthread_mutex_unlock(&uploader->lock);
}

enum mb_code
mb_wal_uploader_collect(struct mb_wal_uploader *uploader, bool *finished, uint64_t *to_lsn,
						struct mb_error *err)
{
	enum mb_code code = MB_OK;

	pthread_mutex_lock(&uploader->lock);
	*finished = uploader->state == JOB_DONE;
	if (*finished)
	{
		uploader->state = JOB_NONE;
		code = uploader->code;
		*to_lsn = uploader->job.piece.to_lsn;
		if (code)
			*err = uploader->err;
	}
	pthread_mutex_unlock(&uploader->lock);
	return code;
}

void
mb_wal_uploader_hurry(struct mb_wal_uploader *uploader)
{
	atomic_store(&uploader->hurry, true);
}

void
mb_wal_uploader_free(struct mb_wal_uploader *uploader)
{
	if (!uploader)
		return;
	mb_wal_uploader_hurry(uploader);
	pthread_mutex_lock(&uploader->lock);
	uploader->quit = true;
	pthread_cond_signal(&uploader->changed);
	pthread_mutex_unlock(&uploader->lock);
	pthread_join(uploader->thread, NULL);
	pthread_mutex_destroy(&uploader->lock);
	pthread_cond_destroy(&uploader->changed);
	mb_blob_writer_release(&uploader->writer);
	mb_wal_facts_release(&uploader->job.facts);
	free(uploader);
}

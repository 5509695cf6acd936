/* uploader.c - see uploader.h. */
#include "walstreamer/uploader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"

#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 10000

enum lane_state
{
	LANE_FREE,
	LANE_SUBMITTED,
	LANE_DONE
};

/* A thread and the job that it has. */
struct lane
{
	struct mb_wal_uploader *uploader;
	pthread_t thread;
	enum lane_state state; /* lock */
	uint64_t number;       /* of the job, in the order of submission */
	struct mb_wal_job job;
	enum mb_code code;
	struct mb_error err;
	struct mb_blob_writer writer;
};

struct mb_wal_uploader
{
	const struct mb_env *env;
	int64_t give_up_ms;
	int wake_fd;
	atomic_bool hurry;
	atomic_bool stuck;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct lane lanes[MB_WAL_UPLOADS];
	uint64_t submitted; /* lock; jobs so far */
	uint64_t put;       /* lock; this job's turn to put */
	uint64_t collected; /* lock */
	enum mb_code code;  /* lock; why the jobs behind a failure fail too */
	struct mb_error err;
	bool quit; /* lock */
};

static bool
is_passing(enum mb_code code)
{
	return code == MB_UNREACHABLE || code == MB_IO || code == MB_NO_SPACE || code == MB_DENIED;
}

static void
sleep_unless_hurried(struct mb_wal_uploader *uploader, int64_t ms)
{
	for (; ms > 0 && !atomic_load(&uploader->hurry) && !mb_cancelled(uploader->env->cancel);
		 ms -= 50)
		mb_sleep_ms(ms < 50 ? ms : 50);
}

/* Put until it works; our turn, so nobody else does. */
static enum mb_code
put_patiently(struct mb_wal_uploader *uploader, struct lane *lane)
{
	int64_t start = mb_monotonic_ms(), wait = RETRY_MIN_MS;
	enum mb_code code;

	for (;;)
	{
		code = mb_wal_piece_put_sealed(&lane->writer, uploader->env->repo, &lane->job.piece,
									   &lane->err);
		if (!is_passing(code) || atomic_load(&uploader->hurry) ||
			mb_cancelled(uploader->env->cancel) ||
			(uploader->give_up_ms && mb_monotonic_ms() - start > uploader->give_up_ms))
			break;
		if (!atomic_exchange(&uploader->stuck, true))
			mb_log_warning(uploader->env->log, "%s: could not store WAL, will try again: %s",
						   lane->job.component, lane->err.message);
		sleep_unless_hurried(uploader, wait);
		wait = wait * 2 < RETRY_MAX_MS ? wait * 2 : RETRY_MAX_MS;
	}
	if (atomic_exchange(&uploader->stuck, false) && !code)
		mb_log_info(uploader->env->log, "%s: WAL is stored again, after %lld s",
					lane->job.component, (long long) ((mb_monotonic_ms() - start) / 1000));
	return code;
}

/* Seal, wait for our turn, put.  Called and left with the lock held. */
static void
do_job(struct mb_wal_uploader *uploader, struct lane *lane)
{
	const struct mb_wal_piece *piece = &lane->job.piece;
	enum mb_code code;

	pthread_mutex_unlock(&uploader->lock);
	mb_wal_piece_seal(&lane->writer, uploader->env->repo, piece);
	pthread_mutex_lock(&uploader->lock);
	while (uploader->put != lane->number)
		pthread_cond_wait(&uploader->changed, &uploader->lock);
	if (uploader->code)
	{
		lane->code = uploader->code;
		lane->err = uploader->err;
	}
	else
	{
		pthread_mutex_unlock(&uploader->lock);
		code = put_patiently(uploader, lane);
		pthread_mutex_lock(&uploader->lock);
		lane->code = uploader->code = code;
		if (code)
			uploader->err = lane->err;
	}
	uploader->put++;
	pthread_cond_broadcast(&uploader->changed);
	if (lane->code == MB_OK && lane->job.whole_unit)
	{
		pthread_mutex_unlock(&uploader->lock);
		mb_wal_tails_remove(uploader->env->repo, &piece->where, piece->from_lsn, piece->to_lsn);
		pthread_mutex_lock(&uploader->lock);
	}
}

static void *
lane_main(void *arg)
{
	struct lane *lane = arg;
	struct mb_wal_uploader *uploader = lane->uploader;
	uint64_t one = 1;

	pthread_mutex_lock(&uploader->lock);
	for (;;)
	{
		while (lane->state != LANE_SUBMITTED && !uploader->quit)
			pthread_cond_wait(&uploader->changed, &uploader->lock);
		if (lane->state != LANE_SUBMITTED)
			break;
		do_job(uploader, lane);
		lane->state = LANE_DONE;
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
	int i;

	uploader->env = env;
	uploader->give_up_ms = give_up_ms;
	uploader->wake_fd = wake_fd;
	pthread_mutex_init(&uploader->lock, NULL);
	pthread_cond_init(&uploader->changed, NULL);
	for (i = 0; i < MB_WAL_UPLOADS; i++)
	{
		uploader->lanes[i].uploader = uploader;
		if (pthread_create(&uploader->lanes[i].thread, NULL, lane_main, &uploader->lanes[i]) != 0)
			MB_BUG("could not create a thread");
	}
	return uploader;
}

static uint64_t
under_way(struct mb_wal_uploader *uploader)
{
	uint64_t count;

	pthread_mutex_lock(&uploader->lock);
	count = uploader->submitted - uploader->collected;
	pthread_mutex_unlock(&uploader->lock);
	return count;
}

bool
mb_wal_uploader_is_idle(struct mb_wal_uploader *uploader)
{
	return under_way(uploader) == 0;
}

bool
mb_wal_uploader_has_room(struct mb_wal_uploader *uploader)
{
	return under_way(uploader) < MB_WAL_UPLOADS;
}

void
mb_wal_uploader_submit(struct mb_wal_uploader *uploader, struct mb_wal_job *job)
{
	struct lane *lane;

	pthread_mutex_lock(&uploader->lock);
	/* A failure is over when all that failed with it has been collected. */
	if (uploader->submitted == uploader->collected)
		uploader->code = MB_OK;
	lane = &uploader->lanes[uploader->submitted % MB_WAL_UPLOADS];
	MB_ASSERT(lane->state == LANE_FREE);
	lane->number = uploader->submitted++;
	mb_wal_facts_release(&lane->job.facts);
	lane->job = *job;
	memset(&job->facts, 0, sizeof(job->facts));
	job = &lane->job;
	job->piece.where.component = job->component;
	job->piece.where.system_id = job->system_id;
	job->piece.where.branch = job->branch;
	job->piece.history = job->history;
	job->piece.parent_branch = job->parent_branch;
	job->piece.facts = &job->facts;
	lane->state = LANE_SUBMITTED;
	pthread_cond_broadcast(&uploader->changed);
	pthread_mutex_unlock(&uploader->lock);
}

enum mb_code
mb_wal_uploader_collect(struct mb_wal_uploader *uploader, bool *finished, uint64_t *to_lsn,
						struct mb_error *err)
{
	struct lane *lane;
	enum mb_code code = MB_OK;

	pthread_mutex_lock(&uploader->lock);
	lane = &uploader->lanes[uploader->collected % MB_WAL_UPLOADS];
	*finished = uploader->collected < uploader->submitted && lane->state == LANE_DONE;
	if (*finished)
	{
		lane->state = LANE_FREE;
		uploader->collected++;
		code = lane->code;
		*to_lsn = lane->job.piece.to_lsn;
		if (code)
			*err = lane->err;
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
	int i;

	if (!uploader)
		return;
	mb_wal_uploader_hurry(uploader);
	pthread_mutex_lock(&uploader->lock);
	uploader->quit = true;
	pthread_cond_broadcast(&uploader->changed);
	pthread_mutex_unlock(&uploader->lock);
	for (i = 0; i < MB_WAL_UPLOADS; i++)
	{
		pthread_join(uploader->lanes[i].thread, NULL);
		mb_blob_writer_release(&uploader->lanes[i].writer);
		mb_wal_facts_release(&uploader->lanes[i].job.facts);
	}
	pthread_mutex_destroy(&uploader->lock);
	pthread_cond_destroy(&uploader->changed);
	free(uploader);
}

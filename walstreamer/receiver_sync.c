/* receiver_sync.c - see receiver_sync.h. */
#include "walstreamer/receiver_sync.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/mem.h"

#define ASK_EVERY_MS 2000
/* While a stretch begins the answer is still changing. */
#define ASK_AT_FIRST_MS 300
#define FIRST_ASKS 10

struct mb_wal_sync
{
	struct mb_pg_params params;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int backend_pid; /* lock */
	int asked;       /* lock; since it changed */
	bool quit;       /* lock */
	atomic_bool waited_for;
	PGconn *conn;
};

/* The last answer holds while nobody can be asked. */
static void
ask(struct mb_wal_sync *sync, int backend_pid)
{
	char pid_text[16];
	const char *params[] = {pid_text};
	struct mb_error ignored;
	PGresult *res;

	snprintf(pid_text, sizeof(pid_text), "%d", backend_pid);
	if (!sync->conn && mb_pg_connect(&sync->conn, &sync->params, MB_PG_SQL, &ignored))
	{
		sync->conn = NULL;
		return;
	}
	if (mb_pg_query(sync->conn, &res, "SELECT sync_state FROM pg_stat_replication WHERE pid = $1",
					1, params, &ignored))
	{
		PQfinish(sync->conn);
		sync->conn = NULL;
		return;
	}
	if (PQntuples(res) == 1)
		atomic_store(&sync->waited_for, strcmp(PQgetvalue(res, 0, 0), "sync") == 0 ||
											strcmp(PQgetvalue(res, 0, 0), "quorum") == 0);
	PQclear(res);
}

static void
after(struct timespec *until, int ms)
{
	clock_gettime(CLOCK_REALTIME, until);
	until->tv_sec += ms / 1000;
	until->tv_nsec += (long) (ms % 1000) * 1000000;
	if (until->tv_nsec >= 1000000000)
	{
		until->tv_sec++;
		until->tv_nsec -= 1000000000;
	}
}

static void *
sync_main(void *arg)
{
	struct mb_wal_sync *sync = arg;

	pthread_mutex_lock(&sync->lock);
	while (!sync->quit)
	{
		int backend_pid = sync->backend_pid;
		struct timespec until;

		if (backend_pid)
		{
			pthread_mutex_unlock(&sync->lock);
			ask(sync, backend_pid);
			pthread_mutex_lock(&sync->lock);
		}
		after(&until, sync->asked++ < FIRST_ASKS ? ASK_AT_FIRST_MS : ASK_EVERY_MS);
		if (!sync->quit && sync->backend_pid == backend_pid)
			pthread_cond_timedwait(&sync->changed, &sync->lock, &until);
	}
	pthread_mutex_unlock(&sync->lock);
	PQfinish(sync->conn);
	return NULL;
}

struct mb_wal_sync *
mb_wal_sync_new(const struct mb_pg_params *params)
{
	struct mb_wal_sync *sync = mb_calloc(1, sizeof(*sync));

	sync->params = *params;
	pthread_mutex_init(&sync->lock, NULL);
	pthread_cond_init(&sync->changed, NULL);
	if (pthread_create(&sync->thread, NULL, sync_main, sync) != 0)
		MB_BUG("could not create a thread");
	return sync;
}

void
mb_wal_sync_watch(struct mb_wal_sync *sync, int backend_pid)
{
	if (!sync)
		return;
	pthread_mutex_lock(&sync->lock);
	sync->backend_pid = backend_pid;
	sync->asked = 0;
	pthread_cond_signal(&sync->changed);
	pthread_mutex_unlock(&sync->lock);
}

bool
mb_wal_sync_is_waited_for(const struct mb_wal_sync *sync)
{
	return sync && atomic_load(&sync->waited_for);
}

void
mb_wal_sync_free(struct mb_wal_sync *sync)
{
	if (!sync)
		return;
	pthread_mutex_lock(&sync->lock);
	sync->quit = true;
	pthread_cond_signal(&sync->changed);
	pthread_mutex_unlock(&sync->lock);
	pthread_join(sync->thread, NULL);
	pthread_mutex_destroy(&sync->lock);
	pthread_cond_destroy(&sync->changed);
	free(sync);
}

/* pool.c - see pool.h. */
#include "core/base/pool.h"

#include <sched.h>
#include <stdlib.h>

#include "core/base/mem.h"

bool
mb_cancelled(const struct mb_cancel *cancel)
{
	return cancel && atomic_load(&cancel->signo) != 0;
}

enum mb_code
mb_cancel_check(const struct mb_cancel *cancel, struct mb_error *err)
{
	if (mb_cancelled(cancel))
		return mb_fail(err, MB_INTERRUPTED, "interrupted by signal %d",
					   atomic_load(&cancel->signo));
	return MB_OK;
}

struct pool
{
	mb_pool_fn fn;
	void *ctx;
	const struct mb_cancel *cancel;
	size_t count;
	atomic_size_t next;
	atomic_bool stop;
	pthread_mutex_t lock; /* guards code and err */
	enum mb_code code;
	struct mb_error *err;
};

struct pool_thread
{
	struct pool *pool;
	pthread_t thread;
	unsigned worker;
};

static void
record_failure(struct pool *pool, const struct mb_error *err)
{
	pthread_mutex_lock(&pool->lock);
	if (pool->code == MB_OK)
	{
		pool->code = err->code;
		*pool->err = *err;
	}
	pthread_mutex_unlock(&pool->lock);
	atomic_store(&pool->stop, true);
}

static void *
pool_main(void *arg)
{
	struct pool_thread *self = arg;
	struct pool *pool = self->pool;
	struct mb_error err;

	mb_error_clear(&err);
	while (!atomic_load(&pool->stop))
	{
		size_t item = atomic_fetch_add(&pool->next, 1);

		if (item >= pool->count)
			break;
		if (mb_cancel_check(pool->cancel, &err) || pool->fn(pool->ctx, self->worker, item, &err))
			record_failure(pool, &err);
	}
	return NULL;
}

enum mb_code
mb_pool_run(unsigned workers, size_t count, mb_pool_fn fn, void *ctx,
			const struct mb_cancel *cancel, struct mb_error *err)
{
	struct pool pool =
		{.fn = fn, .ctx = ctx, .cancel = cancel, .count = count, .code = MB_OK, .err = err};
	struct pool_thread *threads;
	unsigned i, started = 0;

	MB_ASSERT(workers > 0);
	pthread_mutex_init(&pool.lock, NULL);
	threads = mb_calloc(workers, sizeof(*threads));
	for (i = 0; i < workers; i++)
	{
		threads[i].pool = &pool;
		threads[i].worker = i;
	}
	/* The caller is worker 0; a thread that cannot be had only makes it slower. */
	for (i = 1; i < workers && i < count; i++)
	{
		if (pthread_create(&threads[i].thread, NULL, pool_main, &threads[i]) != 0)
			break;
		started = i;
	}
	pool_main(&threads[0]);
	for (i = 1; i <= started; i++)
		pthread_join(threads[i].thread, NULL);
	free(threads);
	pthread_mutex_destroy(&pool.lock);
	return pool.code;
}

unsigned
mb_cpu_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return (unsigned) CPU_COUNT(&set);
	return 1;
}

int
mb_thread_start(pthread_t *thread, void *(*start)(void *), void *ctx)
{
	sigset_t all, old;
	int failed;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	failed = pthread_create(thread, NULL, start, ctx);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return failed;
}

/* feed.c - see feed.h. */
#include "core/base/feed.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/mem.h"

struct waiting
{
	struct waiting *next;
	void *job;
	size_t bytes;
};

struct worker
{
	struct mb_feed *feed;
	unsigned number;
	pthread_t thread;
};

struct mb_feed
{
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct waiting *first;
	struct waiting **end;
	size_t bytes; /* waiting and under way */
	size_t jobs;
	size_t max_bytes;
	bool closing;
	enum mb_code code; /* the first failure */
	struct mb_error failure;
	mb_feed_fn fn;
	mb_feed_drop drop;
	void *ctx;
	struct worker *workers;
	unsigned count;
};

/* The next job, or NULL at the end; with the lock held. */
static struct waiting *
take(struct mb_feed *feed)
{
	struct waiting *taken;

	while (!feed->first && !feed->closing)
		pthread_cond_wait(&feed->changed, &feed->lock);
	taken = feed->first;
	if (taken)
	{
		feed->first = taken->next;
		if (!feed->first)
			feed->end = &feed->first;
	}
	return taken;
}

static void *
worker_main(void *arg)
{
	struct worker *worker = arg;
	struct mb_feed *feed = worker->feed;
	struct waiting *taken;

	pthread_mutex_lock(&feed->lock);
	while ((taken = take(feed)))
	{
		bool drop = feed->code != MB_OK || feed->closing;
		struct mb_error err = {0};
		enum mb_code code = MB_OK;

		pthread_mutex_unlock(&feed->lock);
		if (drop)
			feed->drop(feed->ctx, taken->job);
		else
			code = feed->fn(feed->ctx, worker->number, taken->job, &err);
		pthread_mutex_lock(&feed->lock);
		if (code && !feed->code)
		{
			feed->code = code;
			feed->failure = err;
		}
		feed->bytes -= taken->bytes;
		feed->jobs--;
		pthread_cond_broadcast(&feed->changed);
		free(taken);
	}
	pthread_mutex_unlock(&feed->lock);
	return NULL;
}

struct mb_feed *
mb_feed_new(unsigned workers, size_t max_bytes, mb_feed_fn fn, mb_feed_drop drop, void *ctx)
{
	struct mb_feed *feed = mb_calloc(1, sizeof(*feed));
	unsigned i;

	pthread_mutex_init(&feed->lock, NULL);
	pthread_cond_init(&feed->changed, NULL);
	feed->end = &feed->first;
	feed->max_bytes = max_bytes;
	feed->fn = fn;
	feed->drop = drop;
	feed->ctx = ctx;
	feed->workers = mb_calloc(workers, sizeof(*feed->workers));
	feed->count = workers;
	for (i = 0; i < workers; i++)
	{
		feed->workers[i].feed = feed;
		feed->workers[i].number = i;
		if (pthread_create(&feed->workers[i].thread, NULL, worker_main, &feed->workers[i]) != 0)
			MB_BUG("could not create a thread");
	}
	return feed;
}

static enum mb_code
failure_of(const struct mb_feed *feed, struct mb_error *err)
{
	if (feed->code)
		*err = feed->failure;
	return feed->code;
}

enum mb_code
mb_feed_put(struct mb_feed *feed, void *job, size_t bytes, struct mb_error *err)
{
	struct waiting *waiting;
	enum mb_code code;

	pthread_mutex_lock(&feed->lock);
	while (!feed->code && feed->jobs > 0 && feed->bytes + bytes > feed->max_bytes)
		pthread_cond_wait(&feed->changed, &feed->lock);
	code = failure_of(feed, err);
	if (!code)
	{
		waiting = mb_calloc(1, sizeof(*waiting));
		waiting->job = job;
		waiting->bytes = bytes;
		*feed->end = waiting;
		feed->end = &waiting->next;
		feed->bytes += bytes;
		feed->jobs++;
		pthread_cond_broadcast(&feed->changed);
	}
	pthread_mutex_unlock(&feed->lock);
	if (code)
		feed->drop(feed->ctx, job);
	return code;
}

enum mb_code
mb_feed_drain(struct mb_feed *feed, struct mb_error *err)
{
	enum mb_code code;

	pthread_mutex_lock(&feed->lock);
	while (feed->jobs > 0)
		pthread_cond_wait(&feed->changed, &feed->lock);
	code = failure_of(feed, err);
	pthread_mutex_unlock(&feed->lock);
	return code;
}

void
mb_feed_free(struct mb_feed *feed)
{
	unsigned i;

	if (!feed)
		return;
	pthread_mutex_lock(&feed->lock);
	feed->closing = true;
	pthread_cond_broadcast(&feed->changed);
	pthread_mutex_unlock(&feed->lock);
	for (i = 0; i < feed->count; i++)
		pthread_join(feed->workers[i].thread, NULL);
	pthread_mutex_destroy(&feed->lock);
	pthread_cond_destroy(&feed->changed);
	free(feed->workers);
	free(feed);
}

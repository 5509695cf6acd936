/* progress_feed.c - see progress_feed.h. */
#include "cli/progress_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

#define STEP_MS 500

struct progress_feed
{
	struct mb_cli *cli;
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

static json_t *
component_json(const struct mb_progress *progress)
{
	const char *phase = atomic_load(&progress->phase);
	json_t *json = json_object();

	mb_json_set_str(json, "name", progress->name);
	mb_json_set_str(json, "phase", phase ? phase : "waiting");
	mb_json_set_int(json, "done_bytes", (int64_t) atomic_load(&progress->done_bytes));
	mb_json_set_int(json, "total_bytes", (int64_t) atomic_load(&progress->total_bytes));
	mb_json_set_int(json, "done_entries", (int64_t) atomic_load(&progress->done_entries));
	return json;
}

/* A reader that does not keep up misses a line, and one that is gone is nothing to us. */
static void
tell(struct progress_feed *feed)
{
	struct mb_cli *cli = feed->cli;
	json_t *line = json_object(), *components = json_array();
	struct mb_buf out = {0};
	size_t count, i;
	char *text;
	ssize_t written;

	pthread_mutex_lock(&cli->progress_lock);
	count = cli->progress_count;
	pthread_mutex_unlock(&cli->progress_lock);
	for (i = 0; i < count; i++)
		json_array_append_new(components, component_json(&cli->progress[i]));
	json_object_set_new(line, "components", components);
	text = mb_json_text(line);
	mb_buf_printf(&out, "%s\n", text);
	written = write(feed->fd, out.data, out.len);
	(void) written;
	free(text);
	mb_buf_release(&out);
	json_decref(line);
}

static void *
feed_main(void *arg)
{
	struct progress_feed *feed = arg;

	pthread_mutex_lock(&feed->lock);
	while (!feed->stop)
	{
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += STEP_MS * 1000000;
		if (until.tv_nsec >= 1000000000)
		{
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		if (pthread_cond_timedwait(&feed->wake, &feed->lock, &until) == ETIMEDOUT && !feed->stop)
			tell(feed);
	}
	pthread_mutex_unlock(&feed->lock);
	return NULL;
}

struct progress_feed *
progress_feed_start(struct mb_cli *cli)
{
	const char *number = getenv(PROGRESS_FEED_VARIABLE);
	struct progress_feed *feed;
	int fd = number ? atoi(number) : -1;

	/* Not for the programs that we start ourselves. */
	unsetenv(PROGRESS_FEED_VARIABLE);
	if (fd != PROGRESS_FEED_FD || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return NULL;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	feed = mb_calloc(1, sizeof(*feed));
	feed->cli = cli;
	feed->fd = fd;
	pthread_mutex_init(&feed->lock, NULL);
	pthread_cond_init(&feed->wake, NULL);
	if (pthread_create(&feed->thread, NULL, feed_main, feed) != 0)
		MB_BUG("could not start a thread");
	return feed;
}

void
progress_feed_stop(struct progress_feed *feed)
{
	if (!feed)
		return;
	pthread_mutex_lock(&feed->lock);
	feed->stop = true;
	pthread_cond_signal(&feed->wake);
	pthread_mutex_unlock(&feed->lock);
	pthread_join(feed->thread, NULL);
	pthread_mutex_destroy(&feed->lock);
	pthread_cond_destroy(&feed->wake);
	free(feed);
}

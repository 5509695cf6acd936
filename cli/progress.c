/*
 * progress.c - one line for each component: done, rate, time left.
 *
 * On a terminal the lines are redrawn twice a second; elsewhere a log line every 10
 * seconds says the same.  The counters are read without a lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/time.h"

#define TERMINAL_MS 500
#define LOG_MS 10000

struct mb_progress_view
{
	struct mb_cli *cli;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	bool terminal;
	size_t lines; /* drawn so far */
	int64_t started_ms;
};

static void
format_line(const struct mb_progress_view *view, size_t i, char *out, size_t out_len)
{
	struct mb_progress *progress = &view->cli->progress[i];
	const char *phase = atomic_load(&progress->phase);
	uint64_t done = atomic_load(&progress->done_bytes);
	uint64_t total = atomic_load(&progress->total_bytes);
	double seconds = (double) (mb_monotonic_ms() - view->started_ms) / 1000;
	char done_text[MB_SIZE_TEXT], rate_text[MB_SIZE_TEXT], total_text[MB_SIZE_TEXT];
	double rate = seconds > 0.1 ? (double) done / seconds : 0;
	int len;

	mb_size_format(done_text, done);
	mb_size_format(rate_text, (uint64_t) rate);
	mb_size_format(total_text, total);
	len = snprintf(out, out_len, "%-12s %-18s %10s", progress->name, phase ? phase : "waiting",
				   done_text);
	if (total > 0 && len > 0 && (size_t) len < out_len)
		len += snprintf(out + len, out_len - (size_t) len, " of %s (%.0f %%)", total_text,
						done >= total ? 100.0 : 100.0 * (double) done / (double) total);
	if (len > 0 && (size_t) len < out_len && rate > 0)
		len += snprintf(out + len, out_len - (size_t) len, "  %s/s", rate_text);
	if (len > 0 && (size_t) len < out_len && total > done && rate > 0)
		snprintf(out + len, out_len - (size_t) len, "  %.0f s left",
				 (double) (total - done) / rate);
}

static void
draw(struct mb_progress_view *view)
{
	struct winsize size = {.ws_col = 80};
	size_t count, i;

	pthread_mutex_lock(&view->cli->progress_lock);
	count = view->cli->progress_count;
	pthread_mutex_unlock(&view->cli->progress_lock);
	if (view->terminal)
	{
		ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
		if (view->lines > 0 && count > 0)
			fprintf(stderr, "\033[%zuA", view->lines);
	}
	for (i = 0; i < count; i++)
	{
		char line[200];

		format_line(view, i, line, sizeof(line));
		if (view->terminal)
			fprintf(stderr, "\r\033[K%.*s\n", size.ws_col > 1 ? size.ws_col - 1 : 79, line);
		else
			mb_log_info(&view->cli->log, "%s", line);
	}
	view->lines = count;
}

static void *
view_main(void *arg)
{
	struct mb_progress_view *view = arg;

	pthread_mutex_lock(&view->lock);
	while (!view->stop)
	{
		struct timespec until;
		int64_t wait_ms = view->terminal ? TERMINAL_MS : LOG_MS;
		int got;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += wait_ms / 1000;
		until.tv_nsec += (wait_ms % 1000) * 1000000;
		if (until.tv_nsec >= 1000000000)
		{
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		got = pthread_cond_timedwait(&view->wake, &view->lock, &until);
		if (got == ETIMEDOUT && !view->stop)
			draw(view);
	}
	if (view->terminal && view->lines > 0)
		draw(view);
	pthread_mutex_unlock(&view->lock);
	return NULL;
}

void
cli_progress_hide(struct mb_cli *cli)
{
	pthread_mutex_lock(&cli->progress_lock);
	cli->progress_count = 0;
	pthread_mutex_unlock(&cli->progress_lock);
}

struct mb_progress_view *
cli_progress_start(struct mb_cli *cli)
{
	struct mb_progress_view *view = mb_calloc(1, sizeof(*view));
	const char *term = getenv("TERM");

	view->cli = cli;
	view->started_ms = mb_monotonic_ms();
	view->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 &&
					 cli->log.format == MB_LOG_TEXT;
	pthread_mutex_init(&view->lock, NULL);
	pthread_cond_init(&view->wake, NULL);
	if (pthread_create(&view->thread, NULL, view_main, view) != 0)
		MB_BUG("could not start a thread");
	return view;
}

void
cli_progress_stop(struct mb_progress_view *view)
{
	if (!view)
		return;
	pthread_mutex_lock(&view->lock);
	view->stop = true;
	pthread_cond_signal(&view->wake);
	pthread_mutex_unlock(&view->lock);
	pthread_join(view->thread, NULL);
	pthread_mutex_destroy(&view->lock);
	pthread_cond_destroy(&view->wake);
	free(view);
}

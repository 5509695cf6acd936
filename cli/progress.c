/*
 * progress.c - one line for each component: done, rate, time left.
 *
 * On a terminal the lines are redrawn twice a second; elsewhere a log line says the same every 10
 * seconds, of components on which something happened.  The counters are read without a lock.
 *
 * Between two writes the cursor stands at the beginning of the block, not behind it: then nobody has
 * to know how many rows a terminal has made of it after it became narrower, and whoever writes next
 * (a log line: mb_log.before) clears from there to the end.  Each write is one write(2), so that
 * threads do not interleave.
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/progress_line.h"
#include "core/base/time.h"

#define TERMINAL_MS 500
#define LOG_MS 10000
#define LOG_COLUMNS 120
#define CLEAR "\r\033[J"

struct mb_progress_view
{
	struct mb_cli *cli;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	bool paused;
	bool terminal;
	bool drawn; /* there is a block behind the cursor */
	struct progress_rate rates[MAX_PROGRESS];
	const char *told_phase[MAX_PROGRESS]; /* what the last log line said */
	uint64_t told_bytes[MAX_PROGRESS];
};

static bool
is_end(const char *phase)
{
	static const char *const ends[] = {"done", "failed", "checked", "not well"};
	size_t i;

	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (strcmp(phase, ends[i]) == 0)
			return true;
	return false;
}

static void
look(struct mb_progress_view *view, size_t i, struct progress_line *line)
{
	struct mb_progress *progress = &view->cli->progress[i];
	struct progress_rate *rate = &view->rates[i];
	const char *phase = atomic_load(&progress->phase);
	int64_t now_ms = mb_monotonic_ms();

	*line = (struct progress_line){.name = progress->name, .phase = phase ? phase : "waiting"};
	line->done_bytes = atomic_load(&progress->done_bytes);
	line->total_bytes = atomic_load(&progress->total_bytes);
	line->is_over = is_end(line->phase);
	if (!line->is_over)
		progress_rate_look(rate, line->done_bytes, now_ms);
	line->bytes_per_s = rate->bytes_per_s;
	/* Of what is over, the whole of it. */
	if (line->is_over && rate->last_ms > rate->first_ms)
		line->bytes_per_s = (double) (rate->last_bytes - rate->first_bytes) * 1000 /
							(double) (rate->last_ms - rate->first_ms);
}

static size_t
count_of(struct mb_progress_view *view)
{
	size_t count;

	pthread_mutex_lock(&view->cli->progress_lock);
	count = view->cli->progress_count;
	pthread_mutex_unlock(&view->cli->progress_lock);
	return count;
}

static void
write_all(const struct mb_buf *out)
{
	/* There is nobody to tell when the terminal is gone. */
	if (write(STDERR_FILENO, out->data, out->len) < 0)
	{
	}
}

/* stay: the cursor goes behind the block, which is left as it is. */
static void
draw(struct mb_progress_view *view, bool stay)
{
	struct winsize size = {0};
	size_t count = count_of(view), shown = count, i;
	struct mb_buf out = {0};

	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	if (size.ws_col == 0)
		size.ws_col = 80;
	if (size.ws_row > 1 && shown > (size_t) size.ws_row - 1)
		shown = (size_t) size.ws_row - 1;
	mb_buf_put_str(&out, CLEAR);
	for (i = 0; i < shown; i++)
	{
		struct progress_line line;

		look(view, i, &line);
		/* The last column stays empty: some terminals begin a new row there. */
		progress_line_format(&out, &line, size.ws_col > 1 ? size.ws_col - 1u : 1);
		mb_buf_put_str(&out, "\n");
	}
	if (!stay && shown > 0)
		mb_buf_printf(&out, "\033[%zuA", shown);
	if (count > 0 || view->drawn)
		write_all(&out);
	view->drawn = count > 0;
	mb_buf_release(&out);
}

static void
tell(struct mb_progress_view *view)
{
	size_t count = count_of(view), i;

	for (i = 0; i < count; i++)
	{
		struct mb_buf out = {0};
		struct progress_line line;

		look(view, i, &line);
		if (line.phase == view->told_phase[i] && line.done_bytes == view->told_bytes[i])
			continue;
		view->told_phase[i] = line.phase;
		view->told_bytes[i] = line.done_bytes;
		progress_line_format(&out, &line, LOG_COLUMNS);
		mb_log_info(&view->cli->log, "%s", mb_buf_cstr(&out));
		mb_buf_release(&out);
	}
}

static void *
view_main(void *arg)
{
	struct mb_progress_view *view = arg;
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t) 0);

	/* Of this thread alone; without it, what is not ASCII is shown as "?". */
	if (utf8)
		uselocale(utf8);
	pthread_mutex_lock(&view->lock);
	while (!view->stop)
	{
		struct timespec until;
		int64_t wait_ms = view->terminal ? TERMINAL_MS : LOG_MS;
		int got;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += wait_ms / 1000;
		until.tv_nsec += (wait_ms % 1000) * 1000000;
		if (until.tv_nsec >= 1000000000)
		{
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		got = pthread_cond_timedwait(&view->wake, &view->lock, &until);
		if (got == ETIMEDOUT && !view->stop && !view->paused)
		{
			if (view->terminal)
				draw(view, false);
			else
				tell(view);
		}
	}
	if (view->terminal && view->drawn)
		draw(view, true);
	pthread_mutex_unlock(&view->lock);
	if (utf8)
	{
		uselocale(LC_GLOBAL_LOCALE);
		freelocale(utf8);
	}
	return NULL;
}

void
cli_progress_hide(struct mb_cli *cli)
{
	pthread_mutex_lock(&cli->progress_lock);
	cli->progress_count = 0;
	pthread_mutex_unlock(&cli->progress_lock);
	cli_progress_pause(cli);
}

void
cli_progress_pause(const struct mb_cli *cli)
{
	struct mb_progress_view *view = cli->view;

	if (!view)
		return;
	pthread_mutex_lock(&view->lock);
	view->paused = true;
	if (view->drawn && write(STDERR_FILENO, CLEAR, strlen(CLEAR)) < 0)
	{
		/* nobody is there any more */
	}
	view->drawn = false;
	pthread_mutex_unlock(&view->lock);
}

void
cli_progress_resume(const struct mb_cli *cli)
{
	if (!cli->view)
		return;
	pthread_mutex_lock(&cli->view->lock);
	cli->view->paused = false;
	pthread_mutex_unlock(&cli->view->lock);
}

void
cli_progress_start(struct mb_cli *cli)
{
	struct mb_progress_view *view = mb_calloc(1, sizeof(*view));
	const char *term = getenv("TERM");
	pthread_condattr_t attributes;

	view->cli = cli;
	view->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 &&
					 cli->log.format == MB_LOG_TEXT;
	if (view->terminal)
		cli->log.before = CLEAR;
	pthread_mutex_init(&view->lock, NULL);
	/* A clock that is set neither stops the lines nor lets them rain. */
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&view->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	cli->view = view;
	if (pthread_create(&view->thread, NULL, view_main, view) != 0)
		MB_BUG("could not start a thread");
}

void
cli_progress_stop(struct mb_cli *cli)
{
	struct mb_progress_view *view = cli->view;

	if (!view)
		return;
	pthread_mutex_lock(&view->lock);
	view->stop = true;
	pthread_cond_signal(&view->wake);
	pthread_mutex_unlock(&view->lock);
	pthread_join(view->thread, NULL);
	cli->log.before = NULL;
	cli->view = NULL;
	pthread_mutex_destroy(&view->lock);
	pthread_cond_destroy(&view->wake);
	free(view);
}

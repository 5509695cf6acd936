/*
 * notify_send.c - one attempt to tell one channel, on a thread of its own (notify.h).
 *
 * A thread, because a name server, a TLS handshake or a mail program may hang in ways that no
 * loop of ours sees; it shares nothing with the daemon but the flags in struct notify_send.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/notify.h"
#include "core/base/time.h"
#include "objectstore/http.h"

#define TURN_MS 100
#define OUTPUT_MAX_BYTES 512
#define ANSWER_MAX_BYTES (64u << 10)

/* -- a program ------------------------------------------------------------------------------ */

struct run
{
	pid_t pid;
	int input;  /* what it reads, or -1 */
	int output; /* what it says */
	size_t written;
	struct mb_buf said;
};

/* Between fork and exec: only what a signal handler may do. */
static void
become(char *const *argv, char *const *envp, int input, int output)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
		dup2(output, STDERR_FILENO) < 0)
		_exit(127);
	execve(argv[0], argv, envp);
	_exit(127);
}

static enum mb_code
start_program(const struct notify_send *send, struct run *run, struct mb_error *err)
{
	int input[2], output[2];

	if (pipe2(input, O_CLOEXEC) != 0)
		return mb_fail_errno(err, errno, "could not create a pipe");
	if (pipe2(output, O_CLOEXEC) != 0)
	{
		mb_fail_errno(err, errno, "could not create a pipe");
		close(input[0]);
		close(input[1]);
		return err->code;
	}
	fcntl(input[1], F_SETFL, O_NONBLOCK);
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	run->input = input[1];
	run->output = output[0];
	run->pid = fork();
	if (run->pid == 0)
		become(send->words, send->envp, input[0], output[1]);
	if (run->pid < 0)
		mb_fail_errno(err, errno, "could not start \"%s\"", send->words[0]);
	close(input[0]);
	close(output[1]);
	return run->pid < 0 ? err->code : MB_OK;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Give it what it takes, take what it says. */
static void
exchange(const struct notify_send *send, struct run *run)
{
	struct pollfd fds[] = {{.fd = run->input, .events = POLLOUT},
						   {.fd = run->output, .events = POLLIN}};
	unsigned char buf[4096];
	ssize_t n;

	(void) poll(fds, 2, TURN_MS);
	if (run->input >= 0)
	{
		n = write(run->input, send->body.data + run->written, send->body.len - run->written);
		if (n > 0)
			run->written += (size_t) n;
		/* One that does not read is its own affair: it is judged by its exit status. */
		if (run->written == send->body.len || (n < 0 && errno != EAGAIN && errno != EINTR))
			close_fd(&run->input);
	}
	while (run->output >= 0 && (n = read(run->output, buf, sizeof(buf))) != 0)
	{
		if (n < 0)
			return;
		if (run->said.len + (size_t) n <= OUTPUT_MAX_BYTES)
			mb_buf_put(&run->said, buf, (size_t) n);
	}
	/* Closed, and it still runs: do not turn without a pause. */
	close_fd(&run->output);
}

static void
judge(const struct notify_send *send, struct run *run, int status, struct mb_error *err)
{
	char *said, *end;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	/* As a shell says it, and become(). */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && run->said.len == 0)
	{
		mb_fail(err, MB_NOT_FOUND, "\"%s\" could not be started", send->words[0]);
		mb_error_hint(err, "Is it installed, and may the daemon's user run it?");
		return;
	}
	said = (char *) (uintptr_t) mb_buf_cstr(&run->said);
	end = strpbrk(said, "\r\n");
	if (end)
		*end = '\0';
	mb_fail(err, MB_IO, "\"%s\" ended with status %d%s%s", send->words[0],
			WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), *said ? ": " : "",
			said);
	mb_error_hint(err, "Run it by hand, as the user of the daemon.");
}

static void
run_program(struct notify_send *send)
{
	struct run run = {.input = -1, .output = -1};
	int64_t end_ms = mb_monotonic_ms() + NOTIFY_LIMIT_MS;
	struct mb_error *err = &send->err;
	int status = 0;

	if (start_program(send, &run, err) == MB_OK)
	{
		while (waitpid(run.pid, &status, WNOHANG) == 0)
		{
			bool is_late = mb_monotonic_ms() > end_ms;

			if (is_late || mb_cancelled(&send->cancel))
			{
				/* With everything that it has started. */
				kill(-run.pid, SIGKILL);
				kill(run.pid, SIGKILL);
				waitpid(run.pid, &status, 0);
				mb_fail(err, is_late ? MB_UNREACHABLE : MB_INTERRUPTED,
						is_late ? "\"%s\" did not end within 30 s" : "\"%s\" was interrupted",
						send->words[0]);
				break;
			}
			if (run.output >= 0)
				exchange(send, &run);
			else
				mb_sleep_ms(TURN_MS);
		}
		if (!err->code)
		{
			exchange(send, &run);
			judge(send, &run, status, err);
		}
	}
	close_fd(&run.input);
	close_fd(&run.output);
	mb_buf_release(&run.said);
}

/* -- a webhook ------------------------------------------------------------------------------ */

struct post
{
	struct mb_http_request request;
	struct mb_error *err;
	bool is_done;
};

static void
posted(struct mb_http_request *request, enum mb_code code, const struct mb_error *err)
{
	struct post *post = request->ctx;

	post->is_done = true;
	if (code)
	{
		*post->err = *err;
		/* There is no ca-file here. */
		if (code == MB_CONFIG)
			mb_error_hint(post->err, "Trust the authority that signed it on this machine: see "
									 "update-ca-certificates(8).");
	}
	else if (request->response.status < 200 || request->response.status > 299)
	{
		mb_fail(post->err, MB_IO, "the receiver answered with status %d", request->response.status);
		mb_error_hint(post->err, "See the log of the receiver; a redirect (3xx) is not followed.");
	}
}

static void
run_post(struct notify_send *send)
{
	static char type[] = "Content-Type: application/json", agent[] = "User-Agent: mbackup";
	char *lines[] = {type, agent};
	struct mb_http_options options = {.cancel = &send->cancel};
	struct mb_http *http = mb_http_new(&options);
	struct post post = {.err = &send->err,
						.request = {.method = "POST",
									.url = send->url,
									.lines = lines,
									.line_count = 2,
									.body = send->body.data,
									.body_len = send->body.len,
									.max_bytes = ANSWER_MAX_BYTES,
									.deadline_ms = NOTIFY_LIMIT_MS,
									.done = posted}};
	enum mb_code code = MB_OK;

	post.request.ctx = &post;
	mb_http_start(http, &post.request);
	while (!code && !post.is_done)
		code = mb_http_run(http, 5 * TURN_MS, &send->err);
	mb_http_free(http);
	mb_http_request_release(&post.request);
}

/* -- the thread ----------------------------------------------------------------------------- */

static void *
attempt(void *ctx)
{
	struct notify_send *send = ctx;

	if (send->words)
		run_program(send);
	else
		run_post(send);
	atomic_store(&send->is_done, true);
	return NULL;
}

static char **
copy_texts(const char *const *texts)
{
	size_t count = 0, i;
	char **out;

	while (texts[count])
		count++;
	out = mb_calloc(count + 1, sizeof(*out));
	for (i = 0; i < count; i++)
		out[i] = mb_strdup(texts[i]);
	return out;
}

static void
free_texts(char **texts)
{
	size_t i;

	for (i = 0; texts && texts[i]; i++)
		free(texts[i]);
	free(texts);
}

/* Ours without MBACKUP_*, which may hold the passphrase, and the variables of the message. */
static char **
make_environment(const char *const *variables)
{
	const char **all;
	size_t count = 0, n = 0, i;
	char **out;

	while (environ[count])
		count++;
	for (i = 0; variables[i]; i++)
		count++;
	all = mb_calloc(count + 1, sizeof(*all));
	for (i = 0; environ[i]; i++)
		if (!mb_starts_with(environ[i], "MBACKUP_") ||
			mb_starts_with(environ[i], "MBACKUP_CONFIG="))
			all[n++] = environ[i];
	for (i = 0; variables[i]; i++)
		all[n++] = variables[i];
	out = copy_texts(all);
	free(all);
	return out;
}

enum mb_code
notify_send_start(struct notify_send *send, const char *const *words, const char *url,
				  const char *const *variables, const struct mb_buf *body, struct mb_error *err)
{
	sigset_t all, before;
	int failed;

	*send = (struct notify_send){.url = url ? mb_strdup(url) : NULL};
	send->words = words ? copy_texts(words) : NULL;
	send->envp = make_environment(variables);
	mb_buf_put(&send->body, body->data, body->len);
	mb_error_clear(&send->err);
	/* Signals are for the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&send->thread, NULL, attempt, send);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
	{
		mb_fail_errno(err, failed, "could not start a thread");
		notify_send_release(send);
		return err->code;
	}
	send->is_under_way = true;
	return MB_OK;
}

bool
notify_send_ended(struct notify_send *send, struct mb_error *err)
{
	if (!send->is_under_way || !atomic_load(&send->is_done))
		return false;
	*err = send->err;
	notify_send_release(send);
	return true;
}

void
notify_send_release(struct notify_send *send)
{
	if (send->is_under_way)
	{
		atomic_store(&send->cancel.signo, SIGTERM);
		pthread_join(send->thread, NULL);
	}
	free(send->url);
	free_texts(send->words);
	free_texts(send->envp);
	mb_buf_release(&send->body);
	*send = (struct notify_send){0};
}

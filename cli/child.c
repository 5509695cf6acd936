/* child.c - see child.h. */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/progress_feed.h"
#include "core/base/fs.h"
#include "core/base/time.h"

#define PROGRESS_LINE_MAX (256u << 10)
#define READ_BYTES (64u << 10)

static enum mb_code
make_pipe(int fds[2], struct mb_error *err)
{
	if (pipe2(fds, O_CLOEXEC) != 0)
		return mb_fail_errno(err, errno, "could not create a pipe");
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	return MB_OK;
}

/* Between fork and exec: only what a signal handler may do. */
static void
become(char *const *argv, char *const *envp, pid_t parent, int answer, int progress, int keep)
{
	sigset_t none;
	int null;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(128 + SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = mb_open("/dev/null", O_RDONLY, 0);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(answer, STDOUT_FILENO) < 0 ||
		dup2(progress, PROGRESS_FEED_FD) < 0)
		_exit(127);
	if (keep >= 0)
		fcntl(keep, F_SETFD, 0);
	execve(argv[0], argv, envp);
	_exit(127);
}

/* Our environment, and where to tell the progress. */
static char **
make_environment(void)
{
	size_t count = 0, i;
	char **envp;

	while (environ[count])
		count++;
	envp = mb_calloc(count + 2, sizeof(*envp));
	for (i = 0; i < count; i++)
		envp[i] = environ[i];
	envp[count] = mb_asprintf("%s=%d", PROGRESS_FEED_VARIABLE, PROGRESS_FEED_FD);
	return envp;
}

static void
free_environment(char **envp)
{
	size_t count = 0;

	while (envp[count])
		count++;
	free(envp[count - 1]);
	free(envp);
}

enum mb_code
child_start(struct child *child, char *const *argv, int keep_fd, struct mb_error *err)
{
	int answer[2], progress[2];
	pid_t parent = getpid();
	char **envp;

	*child = (struct child){.answer_fd = -1, .progress_fd = -1};
	if (make_pipe(answer, err))
		return err->code;
	if (make_pipe(progress, err))
	{
		close(answer[0]);
		close(answer[1]);
		return err->code;
	}
	envp = make_environment();
	child->pid = fork();
	if (child->pid == 0)
		become(argv, envp, parent, answer[1], progress[1], keep_fd);
	free_environment(envp);
	close(answer[1]);
	close(progress[1]);
	child->answer_fd = answer[0];
	child->progress_fd = progress[0];
	child->started_ms = mb_monotonic_ms();
	if (child->pid > 0)
		return MB_OK;
	child->pid = 0;
	mb_fail_errno(err, errno, "could not start \"%s\"", argv[0]);
	child_release(child);
	return err->code;
}

/* Everything that is there; the pipe is closed at its end. */
static void
drain(int *fd, struct mb_buf *into, size_t max)
{
	while (*fd >= 0)
	{
		ssize_t got;

		mb_buf_reserve(into, READ_BYTES);
		got = read(*fd, into->data + into->len, READ_BYTES);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0)
		{
			close(*fd);
			*fd = -1;
			return;
		}
		/* Beyond what it may say it is read and dropped, so that it does not hang. */
		if (into->len + (size_t) got <= max)
			into->len += (size_t) got;
	}
}

static void
take_progress(struct child *child)
{
	unsigned char *end;
	struct mb_error err;
	json_t *progress;

	drain(&child->progress_fd, &child->line, PROGRESS_LINE_MAX);
	while ((end = memchr(child->line.data, '\n', child->line.len)) != NULL)
	{
		size_t len = (size_t) (end - child->line.data);

		mb_error_clear(&err);
		if (mb_json_parse(&progress, (const char *) child->line.data, len, "progress", &err) ==
			MB_OK)
		{
			json_decref(child->progress);
			child->progress = progress;
			child->progress_is_new = true;
		}
		child->line.len -= len + 1;
		memmove(child->line.data, end + 1, child->line.len);
	}
}

bool
child_pump(struct child *child)
{
	if (child->pid == 0)
		return child->ended;
	drain(&child->answer_fd, &child->answer, CHILD_ANSWER_MAX);
	take_progress(child);
	if (child->stop_ms && mb_monotonic_ms() - child->stop_ms > CHILD_KILL_MS)
		kill(child->pid, SIGKILL);
	if (waitpid(child->pid, &child->status, WNOHANG) != child->pid)
		return false;
	/* What it wrote last. */
	drain(&child->answer_fd, &child->answer, CHILD_ANSWER_MAX);
	take_progress(child);
	child->pid = 0;
	child->ended = true;
	return true;
}

void
child_stop(struct child *child)
{
	if (child->pid == 0 || child->stop_ms)
		return;
	child->stop_ms = mb_monotonic_ms();
	kill(child->pid, SIGTERM);
}

int
child_exit_status(const struct child *child)
{
	if (WIFEXITED(child->status))
		return WEXITSTATUS(child->status);
	return 128 + (WIFSIGNALED(child->status) ? WTERMSIG(child->status) : 0);
}

json_t *
child_answer(struct child *child)
{
	struct mb_error err;
	json_t *json = NULL;

	mb_error_clear(&err);
	if (mb_json_parse(&json, (const char *) child->answer.data, child->answer.len, "the answer",
					  &err))
		return NULL;
	return json;
}

void
child_release(struct child *child)
{
	if (child->pid > 0)
	{
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
	}
	if (child->answer_fd >= 0)
		close(child->answer_fd);
	if (child->progress_fd >= 0)
		close(child->progress_fd);
	mb_buf_release(&child->answer);
	mb_buf_release(&child->line);
	json_decref(child->progress);
	*child = (struct child){.answer_fd = -1, .progress_fd = -1};
}

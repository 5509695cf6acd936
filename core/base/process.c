/* process.c - see process.h. */
#include "core/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"

#define POLL_MS 10
#define KILL_AFTER_MS 5000
/* What a child says when exec failed: its errno comes over a pipe. */
#define EXEC_FAILED 127

struct running
{
	const struct mb_process *process;
	pid_t pid;
	int output_fd;
	off_t output_start;
};

bool
mb_program_exists(const char *name)
{
	const char *path = getenv("PATH"), *p;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0;
	for (p = path ? path : "/usr/local/bin:/usr/bin:/bin"; *p;)
	{
		size_t len = strcspn(p, ":");
		char *full = mb_asprintf("%.*s/%s", (int) len, len ? p : ".", name);
		bool found = access(full, X_OK) == 0;

		free(full);
		if (found)
			return true;
		p += len + (p[len] == ':');
	}
	return false;
}

static enum mb_code
open_input(const char *text, int *fd, struct mb_error *err)
{
	enum mb_code code;

	*fd = memfd_create("mbackup-input", MFD_CLOEXEC);
	if (*fd < 0)
		return mb_fail_errno(err, errno, "could not make room for the input of a command");
	code = mb_write_full(*fd, text, strlen(text), "the input of a command", err);
	if (!code && lseek(*fd, 0, SEEK_SET) != 0)
		code = mb_fail_errno(err, errno, "could not rewind the input of a command");
	if (code)
		close(*fd);
	return code;
}

/* Without a file what it says is only for the tail. */
static enum mb_code
open_output(struct running *running, struct mb_error *err)
{
	const char *path = running->process->output_path;

	running->output_fd =
		path ? mb_open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)
			 : memfd_create("mbackup-output", MFD_CLOEXEC);
	if (running->output_fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path ? path : "memory");
	running->output_start = lseek(running->output_fd, 0, SEEK_END);
	return MB_OK;
}

/* Between fork and exec: only what a signal handler may do. */
static void
become(const struct mb_process *process, char **environment, int input_fd, int output_fd,
	   int error_fd)
{
	sigset_t none;
	int failed;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	umask(022);
	if (dup2(input_fd, STDIN_FILENO) >= 0 && dup2(output_fd, STDOUT_FILENO) >= 0 &&
		dup2(output_fd, STDERR_FILENO) >= 0 &&
		(!process->change_user ||
		 (setgroups(0, NULL) == 0 && setgid(process->gid) == 0 && setuid(process->uid) == 0)))
		execvpe(process->argv[0], (char *const *) (uintptr_t) process->argv, environment);
	failed = errno;
	if (write(error_fd, &failed, sizeof(failed)) < 0)
		_exit(EXEC_FAILED);
	_exit(EXEC_FAILED);
}

static bool
is_passphrase(const char *variable)
{
	return mb_starts_with(variable, "MBACKUP_PASSPHRASE=") ||
		   mb_starts_with(variable, "MBACKUP_NEW_PASSPHRASE=");
}

/* Ours, which somebody else's program gets without passphrases, and what was asked for; only the array is new. */
static char **
make_environment(const struct mb_process *process)
{
	const char *const *more = process->environment;
	size_t count = 0, extra = 0, kept = 0, i;
	char **list;

	while (environ[count])
		count++;
	while (more && more[extra])
		extra++;
	list = mb_calloc(count + extra + 1, sizeof(*list));
	for (i = 0; i < count; i++)
		if (process->keeps_passphrase || !is_passphrase(environ[i]))
			list[kept++] = environ[i];
	for (i = 0; i < extra; i++)
		list[kept++] = (char *) (uintptr_t) more[i];
	return list;
}

static enum mb_code
start(struct running *running, int input_fd, struct mb_error *err)
{
	char **environment = make_environment(running->process);
	int failed = 0, pipe_fds[2];
	ssize_t got;

	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
	{
		free(environment);
		return mb_fail_errno(err, errno, "could not create a pipe");
	}
	running->pid = fork();
	if (running->pid == 0)
		become(running->process, environment, input_fd, running->output_fd, pipe_fds[1]);
	free(environment);
	close(pipe_fds[1]);
	if (running->pid < 0)
	{
		close(pipe_fds[0]);
		return mb_fail_errno(err, errno, "could not start \"%s\"", running->process->argv[0]);
	}
	setpgid(running->pid, running->pid); /* as the child does: whoever is first */
	do
		got = read(pipe_fds[0], &failed, sizeof(failed));
	while (got < 0 && errno == EINTR);
	close(pipe_fds[0]);
	if (got != sizeof(failed))
		return MB_OK;
	waitpid(running->pid, NULL, 0);
	return mb_fail_errno(err, failed, "could not run \"%s\"", running->process->argv[0]);
}

/* Its whole group; and wait for it. */
static void
put_an_end(const struct running *running)
{
	int64_t until_ms = mb_monotonic_ms() + KILL_AFTER_MS;
	int status;

	kill(-running->pid, SIGTERM);
	while (mb_monotonic_ms() < until_ms)
	{
		if (waitpid(running->pid, &status, WNOHANG) == running->pid)
		{
			kill(-running->pid, SIGKILL);
			return;
		}
		mb_sleep_ms(POLL_MS);
	}
	kill(-running->pid, SIGKILL);
	waitpid(running->pid, &status, 0);
}

static enum mb_code
wait_for(const struct running *running, int *status, struct mb_error *err)
{
	const struct mb_process *process = running->process;
	int64_t started_ms = mb_monotonic_ms();

	for (;; mb_sleep_ms(POLL_MS))
	{
		int raw;
		pid_t got = waitpid(running->pid, &raw, WNOHANG);

		if (got < 0 && errno != EINTR)
			return mb_fail_errno(err, errno, "could not wait for \"%s\"", process->argv[0]);
		if (got == running->pid)
		{
			*status =
				WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + (WIFSIGNALED(raw) ? WTERMSIG(raw) : 0);
			return MB_OK;
		}
		if (mb_cancel_check(process->cancel, err))
		{
			put_an_end(running);
			return err->code;
		}
		if (process->timeout_ms && mb_monotonic_ms() - started_ms > process->timeout_ms)
		{
			put_an_end(running);
			return mb_fail(err, MB_UNREACHABLE, "it did not end within %lld s and was killed",
						   (long long) process->timeout_ms / 1000);
		}
	}
}

static char *
read_tail(const struct running *running)
{
	off_t end = lseek(running->output_fd, 0, SEEK_END);
	off_t from = running->output_start;
	char *text = mb_calloc(1, MB_PROCESS_TAIL_BYTES + 1);
	struct mb_error ignored;
	size_t got = 0;

	if (end - from > MB_PROCESS_TAIL_BYTES)
		from = end - MB_PROCESS_TAIL_BYTES;
	if (end > from && mb_pread_full(running->output_fd, text, (size_t) (end - from), from, &got,
									"the output of a command", &ignored))
		got = 0;
	while (got > 0 && (text[got - 1] == '\n' || text[got - 1] == ' ' || text[got - 1] == '\0'))
		got--;
	text[got] = '\0';
	return text;
}

enum mb_code
mb_process_run(const struct mb_process *process, int *status, char **tail, struct mb_error *err)
{
	struct running running = {.process = process, .output_fd = -1};
	int input_fd;
	enum mb_code code = open_input(process->input ? process->input : "", &input_fd, err);

	if (code)
		return code;
	code = open_output(&running, err);
	if (!code)
		code = start(&running, input_fd, err);
	if (!code)
		code = wait_for(&running, status, err);
	if (running.output_fd >= 0)
	{
		if (tail)
			*tail = read_tail(&running);
		close(running.output_fd);
	}
	else if (tail)
		*tail = mb_strdup("");
	close(input_fd);
	return code;
}

char *
mb_shell_word(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
								"_-./:=@,+%";
	struct mb_buf word = {0};
	char *made;

	if (*text && text[strspn(text, plain)] == '\0')
		return mb_strdup(text);
	mb_buf_put_u8(&word, '\'');
	for (; *text; text++)
		if (*text == '\'')
			mb_buf_put_str(&word, "'\\''");
		else
			mb_buf_put_u8(&word, (uint8_t) *text);
	mb_buf_put_u8(&word, '\'');
	made = mb_strdup(mb_buf_cstr(&word));
	mb_buf_release(&word);
	return made;
}

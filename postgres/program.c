/* program.c - programs of Postgres: where they are, and running them as the right user. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "postgres/restore_private.h"

#define LAST_WORDS_BYTES 700
#define MAX_GROUPS 256
#define POLL_MS 20

/* -- finding ------------------------------------------------------------------------------------- */

/* "postgres (PostgreSQL) 15.8" in this directory?  0 when there is no such program. */
static int
major_in(const char *bindir)
{
	char *command = mb_asprintf("'%s/postgres' --version 2>/dev/null", bindir);
	char line[128] = "";
	const char *number;
	FILE *pipe;

	/* Our own settings and directories: a quote in one would be a strange place for a server. */
	pipe = strchr(bindir, '\'') ? NULL : popen(command, "re");
	free(command);
	if (!pipe)
		return 0;
	if (!fgets(line, sizeof(line), pipe))
		line[0] = '\0';
	pclose(pipe);
	number = strstr(line, "(PostgreSQL) ");
	return number ? (int) strtol(number + strlen("(PostgreSQL) "), NULL, 10) : 0;
}

static bool
try_dir(const char *dir, int major, char **bindir, struct mb_buf *looked)
{
	int found;

	if (!dir || !*dir)
		return false;
	found = major_in(dir);
	if (found == major)
	{
		*bindir = mb_strdup(dir);
		return true;
	}
	if (found)
		mb_buf_printf(looked, "%s%s (version %d)", looked->len ? ", " : "", dir, found);
	else
		mb_buf_printf(looked, "%s%s", looked->len ? ", " : "", dir);
	return false;
}

static bool
try_path(int major, char **bindir, struct mb_buf *looked)
{
	char *path = mb_strdup(getenv("PATH") ? getenv("PATH") : ""), *save = NULL, *dir;
	bool found = false;

	for (dir = strtok_r(path, ":", &save); dir && !found; dir = strtok_r(NULL, ":", &save))
	{
		char *program = mb_path_join(dir, "postgres");

		if (access(program, X_OK) == 0)
			found = try_dir(dir, major, bindir, looked);
		free(program);
	}
	free(path);
	return found;
}

enum mb_code
mb_pg_bindir(const struct mb_settings *settings, int major, char **bindir, struct mb_error *err)
{
	const char *set = settings ? mb_settings_get(settings, "bindir") : NULL;
	char *debian = mb_asprintf("/usr/lib/postgresql/%d/bin", major);
	char *red_hat = mb_asprintf("/usr/pgsql-%d/bin", major);
	struct mb_buf looked = {0};
	enum mb_code code = MB_OK;
	bool found;

	/* Where the user says, and nowhere else; or where it usually is. */
	if (set && *set)
		found = try_dir(set, major, bindir, &looked);
	else
		found = try_dir(getenv("PG_BIN"), major, bindir, &looked) ||
				try_path(major, bindir, &looked) || try_dir(debian, major, bindir, &looked) ||
				try_dir(red_hat, major, bindir, &looked);
	if (!found)
	{
		code =
			mb_fail(err, MB_NOT_FOUND,
					"the programs of PostgreSQL %d, of which the backup is, were not found", major);
		mb_error_detail(err, "Looked in %.600s.", mb_buf_cstr(&looked));
		mb_error_hint(err, "Install that version, or set \"bindir\" in the [postgres] section.");
	}
	mb_buf_release(&looked);
	free(debian);
	free(red_hat);
	return code;
}

/* -- running ---------------------------------------------------------------------------------------- */

/* What the child needs is worked out before the fork: afterwards nothing may allocate. */
struct child
{
	const struct mb_pg_run *run;
	int err_fd;
	gid_t groups[MAX_GROUPS];
	int group_count;
	char **environment;
};

static void
find_groups(struct child *child)
{
	char buf[4096];
	struct passwd pw, *found = NULL;

	child->groups[0] = child->run->gid;
	child->group_count = 1;
	if (!child->run->change_user)
		return;
	getpwuid_r(child->run->uid, &pw, buf, sizeof(buf), &found);
	if (!found)
		return;
	child->group_count = MAX_GROUPS;
	if (getgrouplist(found->pw_name, child->run->gid, child->groups, &child->group_count) < 0)
		child->group_count = 1;
}

static bool
is_replaced(const struct mb_pg_run *run, const char *entry)
{
	size_t len = strcspn(entry, "=") + 1, i;

	for (i = 0; run->variables && run->variables[i]; i++)
		if (strncmp(run->variables[i], entry, len) == 0)
			return true;
	return false;
}

/* Ours and the run's: other users cannot read secrets there, as they could in arguments. */
static char **
make_environment(const struct mb_pg_run *run)
{
	size_t count = 0, more = 0, kept = 0, i;
	char **made;

	while (environ[count])
		count++;
	while (run->variables && run->variables[more])
		more++;
	made = mb_calloc(count + more + 1, sizeof(*made));
	for (i = 0; i < count; i++)
		if (!is_replaced(run, environ[i]))
			made[kept++] = environ[i];
	for (i = 0; i < more; i++)
		made[kept++] = run->variables[i];
	return made;
}

static void
become_child(const struct child *child)
{
	const struct mb_pg_run *run = child->run;
	int null = mb_open("/dev/null", O_RDWR, 0);

	if (run->change_user && (setgroups((size_t) child->group_count, child->groups) != 0 ||
							 setgid(run->gid) != 0 || setuid(run->uid) != 0))
		_exit(126);
	/* A server of a restore must not outlive it; changing the user forgets this, so it stands here. */
	if (run->die_with_us)
		prctl(PR_SET_PDEATHSIG, SIGQUIT);
	signal(SIGPIPE, SIG_DFL);
	if (chdir("/") != 0 || dup2(run->has_in ? run->in_fd : null, 0) < 0 ||
		dup2(run->out_fd >= 0 ? run->out_fd : null, 1) < 0 || dup2(child->err_fd, 2) < 0)
		_exit(126);
	execve(run->argv[0], (char *const *) (uintptr_t) run->argv, child->environment);
	_exit(127);
}

enum mb_code
mb_pg_spawn(const struct mb_pg_run *run, int err_fd, pid_t *pid, struct mb_error *err)
{
	struct child child = {.run = run, .err_fd = err_fd};
	pid_t made;

	find_groups(&child);
	child.environment = make_environment(run);
	made = fork();
	if (made == 0)
		become_child(&child);
	free(child.environment);
	/* Never a pid of -1: who ends "it" would end every process that there is. */
	*pid = made > 0 ? made : 0;
	if (made < 0)
		return mb_fail_errno(err, errno, "could not start \"%s\"", run->argv[0]);
	return MB_OK;
}

void
mb_pg_words(int fd, off_t from, char *out, size_t out_bytes)
{
	ssize_t got = pread(fd, out, out_bytes - 1, from), i;

	if (got < 0)
		got = 0;
	while (got > 0 && out[got - 1] == '\n')
		got--;
	out[got] = '\0';
	for (i = 0; i < got; i++)
		if (out[i] == '\n')
			out[i] = ' ';
}

/* The end of what a program said. */
static void
last_words(int fd, char out[LAST_WORDS_BYTES])
{
	off_t size = lseek(fd, 0, SEEK_END);

	mb_pg_words(fd, size > LAST_WORDS_BYTES - 1 ? size - (LAST_WORDS_BYTES - 1) : 0, out,
				LAST_WORDS_BYTES);
}

/* How it ended; says why when that was not well. */
static enum mb_code
await(const struct mb_pg_run *run, const char *program, pid_t pid, int err_fd, struct mb_error *err)
{
	char words[LAST_WORDS_BYTES];
	bool has_cancel = run && run->cancel, is_told = false;
	int status = 0;
	pid_t ended;

	while ((ended = waitpid(pid, &status, has_cancel ? WNOHANG : 0)) != pid)
	{
		if (ended < 0 && errno != EINTR)
			break;
		if (!has_cancel)
			continue;
		if (!is_told && mb_cancelled(run->cancel))
		{
			kill(pid, SIGTERM);
			is_told = true;
		}
		mb_sleep_ms(POLL_MS);
	}
	if (is_told)
		return mb_cancel_check(run->cancel, err);
	if (WIFEXITED(status) &&
		(WEXITSTATUS(status) == 0 || (run && WEXITSTATUS(status) == run->fine_status)))
		return MB_OK;
	last_words(err_fd, words);
	return mb_fail(err, MB_IO, "\"%s\" failed: %s", program, *words ? words : "it said nothing");
}

enum mb_code
mb_pg_run(const struct mb_pg_run *run, struct mb_error *err)
{
	int err_fd = memfd_create("stderr", MFD_CLOEXEC);
	enum mb_code code;
	pid_t pid;

	if (err_fd < 0)
		return mb_fail_errno(err, errno, "could not start \"%s\"", run->argv[0]);
	code = mb_pg_spawn(run, err_fd, &pid, err);
	if (!code)
		code = await(run, run->argv[0], pid, err_fd, err);
	close(err_fd);
	return code;
}

enum mb_code
mb_pg_pipe_open(struct mb_pg_pipe *pipe, const struct mb_pg_run *run, struct mb_error *err)
{
	struct mb_pg_run with = *run;
	enum mb_code code;
	int ends[2];

	memset(pipe, 0, sizeof(*pipe));
	pipe->fd = pipe->err_fd = -1;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return mb_fail_errno(err, errno, "could not start \"%s\"", run->argv[0]);
	pipe->program = run->argv[0];
	pipe->fd = ends[1];
	pipe->err_fd = memfd_create("stderr", MFD_CLOEXEC);
	with.has_in = true;
	with.in_fd = ends[0];
	code = pipe->err_fd < 0 ? mb_fail_errno(err, errno, "could not start \"%s\"", run->argv[0])
							: mb_pg_spawn(&with, pipe->err_fd, &pipe->pid, err);
	close(ends[0]);
	if (code)
	{
		pipe->pid = 0;
		mb_pg_pipe_kill(pipe);
	}
	return code;
}

enum mb_code
mb_pg_pipe_write(struct mb_pg_pipe *pipe, const void *data, size_t len, struct mb_error *err)
{
	const char *p = data;

	while (len > 0 && !pipe->is_over)
	{
		ssize_t done = write(pipe->fd, p, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno != EPIPE)
			return mb_fail_errno(err, errno, "could not write to \"%s\"", pipe->program);
		pipe->is_over = done < 0;
		p += done > 0 ? done : 0;
		len -= done > 0 ? (size_t) done : 0;
	}
	return MB_OK;
}

enum mb_code
mb_pg_pipe_close(struct mb_pg_pipe *pipe, struct mb_error *err)
{
	enum mb_code code;

	close(pipe->fd);
	pipe->fd = -1;
	code = await(NULL, pipe->program, pipe->pid, pipe->err_fd, err);
	if (!code && pipe->is_over)
		code = mb_fail(err, MB_IO, "\"%s\" did not read all of it", pipe->program);
	pipe->pid = 0;
	close(pipe->err_fd);
	pipe->err_fd = -1;
	return code;
}

void
mb_pg_pipe_kill(struct mb_pg_pipe *pipe)
{
	if (pipe->pid > 0)
	{
		kill(pipe->pid, SIGTERM);
		while (waitpid(pipe->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (pipe->pid > 0 || pipe->program)
	{
		if (pipe->fd >= 0)
			close(pipe->fd);
		if (pipe->err_fd >= 0)
			close(pipe->err_fd);
	}
	memset(pipe, 0, sizeof(*pipe));
	pipe->fd = pipe->err_fd = -1;
}

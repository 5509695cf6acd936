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
#include "postgres/restore_private.h"

#define LAST_WORDS_BYTES 700
#define MAX_GROUPS 256

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

static void
become_child(const struct child *child)
{
	const struct mb_pg_run *run = child->run;
	int null = open("/dev/null", O_RDWR);

	if (run->change_user && (setgroups((size_t) child->group_count, child->groups) != 0 ||
							 setgid(run->gid) != 0 || setuid(run->uid) != 0))
		_exit(126);
	/* A server of a restore must not outlive it; changing the user forgets this, so it stands here. */
	if (run->die_with_us)
		prctl(PR_SET_PDEATHSIG, SIGQUIT);
	signal(SIGPIPE, SIG_DFL);
	if (chdir("/") != 0 || dup2(null, 0) < 0 ||
		dup2(run->out_fd >= 0 ? run->out_fd : null, 1) < 0 || dup2(child->err_fd, 2) < 0)
		_exit(126);
	execv(run->argv[0], (char *const *) (uintptr_t) run->argv);
	_exit(127);
}

enum mb_code
mb_pg_spawn(const struct mb_pg_run *run, int err_fd, pid_t *pid, struct mb_error *err)
{
	struct child child = {.run = run, .err_fd = err_fd};

	find_groups(&child);
	*pid = fork();
	if (*pid < 0)
		return mb_fail_errno(err, errno, "could not start \"%s\"", run->argv[0]);
	if (*pid == 0)
		become_child(&child);
	return MB_OK;
}

/* The end of what a program said, on one line. */
static void
last_words(int fd, char out[LAST_WORDS_BYTES])
{
	off_t size = lseek(fd, 0, SEEK_END);
	off_t from = size > LAST_WORDS_BYTES - 1 ? size - (LAST_WORDS_BYTES - 1) : 0;
	ssize_t got = pread(fd, out, LAST_WORDS_BYTES - 1, from), i;

	if (got < 0)
		got = 0;
	while (got > 0 && out[got - 1] == '\n')
		got--;
	out[got] = '\0';
	for (i = 0; i < got; i++)
		if (out[i] == '\n')
			out[i] = ' ';
}

enum mb_code
mb_pg_run(const struct mb_pg_run *run, struct mb_error *err)
{
	int err_fd = memfd_create("stderr", MFD_CLOEXEC), status = 0;
	char words[LAST_WORDS_BYTES];
	enum mb_code code;
	pid_t pid;

	if (err_fd < 0)
		return mb_fail_errno(err, errno, "could not start \"%s\"", run->argv[0]);
	code = mb_pg_spawn(run, err_fd, &pid, err);
	if (!code)
	{
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!WIFEXITED(status) ||
			(WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != run->fine_status))
		{
			last_words(err_fd, words);
			code = mb_fail(err, MB_IO, "\"%s\" failed: %s", run->argv[0],
						   *words ? words : "it said nothing");
		}
	}
	close(err_fd);
	return code;
}

/*
 * wal_helper.c - the helper process; see wal_helper.h.  It answers; wal_window.c fetches.
 */
#include "walstreamer/wal_helper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "walstreamer/wal_fetch.h"
#include "walstreamer/wal_helper_private.h"
#include "walstreamer/wal_window.h"

#define IDLE_MS 60000
#define LOOK_MS 1000
/* A standby asks again and again for what is not there yet: no listing for each time. */
#define REPLAN_MS 500

struct helper
{
	const struct mb_env *env;
	const struct mb_wal_request *request;
	int listen_fd;
	json_t *plan;
	int64_t planned_ms;
	pid_t postmaster; /* 0: none was there */
	char *directory;
	struct mb_wal_window *window;
};

/* -- answering ------------------------------------------------------------------------------------- */

static void
refuse(struct mb_helper_answer *answer, enum mb_code code, const struct mb_error *err)
{
	answer->code = code;
	snprintf(answer->message, sizeof(answer->message), "%s", err->message);
}

/* Without --restore: what the repository holds grows, so look again before saying no. */
static enum mb_code
renew_plan(struct helper *helper, const char *file_name, struct mb_error *err)
{
	json_t *plan;
	enum mb_code code;

	if (helper->request->restore_id || mb_monotonic_ms() - helper->planned_ms < REPLAN_MS)
		return MB_NEGATIVE;
	code = mb_wal_standby_plan(&plan, helper->env, helper->request->component, file_name, err);
	if (code)
		return code;
	helper->planned_ms = mb_monotonic_ms();
	json_decref(helper->plan);
	helper->plan = plan;
	return MB_OK;
}

static enum mb_code
locate(const struct helper *helper, const char *file_name, struct mb_plan_item *item,
	   struct mb_error *err)
{
	enum mb_code code = mb_plan_locate(helper->plan, file_name, item, err);

	if (!code && !helper->request->restore_id && !mb_plan_is_whole(item))
		code = mb_fail(err, MB_NEGATIVE, "segment %s is not complete yet", item->file);
	return code;
}

/* A history file is fetched at once, into the same directory. */
static enum mb_code
fetch_history(struct helper *helper, const char *file_name, uint32_t timeline,
			  struct mb_helper_answer *answer, struct mb_error *err)
{
	const char *blob = mb_plan_history(helper->plan, timeline);
	enum mb_code code;

	if (!blob && renew_plan(helper, file_name, err) == MB_OK)
		blob = mb_plan_history(helper->plan, timeline);
	if (!blob)
		return mb_fail(err, MB_NEGATIVE, "there is no timeline %u", timeline);
	snprintf(answer->path, sizeof(answer->path), "%s/%s", MB_WAL_PREFETCH_DIR, file_name);
	code = mb_wal_fetch_history(helper->env->repo, blob, answer->path, err);
	return code;
}

static enum mb_code
answer_file(struct helper *helper, const char *file_name, struct mb_helper_answer *answer,
			struct mb_error *err)
{
	struct mb_plan_item item;
	uint32_t timeline;
	enum mb_code code;

	if (mb_wal_history_parse(file_name, &timeline))
		return fetch_history(helper, file_name, timeline, answer, err);
	code = locate(helper, file_name, &item, err);
	if (code == MB_NEGATIVE && renew_plan(helper, file_name, err) == MB_OK)
		code = locate(helper, file_name, &item, err);
	return code ? code : mb_wal_window_wait(helper->window, helper->plan, &item, answer->path, err);
}

/* The file has been delivered: the window goes on behind it. */
static void
go_on(struct helper *helper, const char *file_name)
{
	struct mb_plan_item item, next;
	struct mb_error ignored;

	if (locate(helper, file_name, &item, &ignored) || !mb_plan_next(helper->plan, &item, &next) ||
		(!helper->request->restore_id && !mb_plan_is_whole(&next)))
		return;
	mb_wal_window_move(helper->window, helper->plan, &next);
}

/* MB_NEGATIVE: told to end. */
static enum mb_code
serve(struct helper *helper, int fd)
{
	struct mb_helper_answer answer = {.magic = MB_HELPER_MAGIC};
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	struct mb_helper_question question;
	struct mb_error err;
	enum mb_code code;

	if (!mb_helper_is_friend(fd) || poll(&poll_fd, 1, LOOK_MS) != 1 ||
		recv(fd, &question, sizeof(question), 0) != (ssize_t) sizeof(question) ||
		question.magic != MB_HELPER_MAGIC)
		return MB_OK;
	if (question.kind == MB_HELPER_END)
		return MB_NEGATIVE;
	question.file_name[sizeof(question.file_name) - 1] = '\0';
	if (question.kind == MB_HELPER_TAKEN)
	{
		go_on(helper, question.file_name);
		return MB_OK;
	}
	mb_error_clear(&err);
	code = answer_file(helper, question.file_name, &answer, &err);
	if (code)
		refuse(&answer, code, &err);
	if (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
	{
		/* It found the file by itself and did not wait. */
	}
	return MB_OK;
}

/* -- life -------------------------------------------------------------------------------------------- */

static pid_t
read_postmaster(void)
{
	struct mb_buf text = {0};
	struct mb_error ignored;
	pid_t pid = 0;

	if (mb_file_read(&text, "postmaster.pid", 65536, &ignored) == MB_OK)
		pid = (pid_t) strtol(mb_buf_cstr(&text), NULL, 10);
	mb_buf_release(&text);
	return pid > 0 ? pid : 0;
}

/* Is there still somebody to serve? */
static bool
is_needed(const struct helper *helper)
{
	struct stat here, named;

	if (helper->postmaster && kill(helper->postmaster, 0) != 0 && errno == ESRCH)
		return false;
	return stat(".", &here) == 0 && here.st_nlink > 0 && stat(helper->directory, &named) == 0 &&
		   here.st_dev == named.st_dev && here.st_ino == named.st_ino &&
		   access(MB_WAL_PREFETCH_DIR, W_OK) == 0;
}

/* Returns the connection that asked for the end, or -1. */
static int
serve_until_idle(struct helper *helper)
{
	int64_t asked_ms = mb_monotonic_ms();

	while (mb_monotonic_ms() - asked_ms < IDLE_MS && is_needed(helper) &&
		   !mb_cancelled(helper->env->cancel))
	{
		struct pollfd poll_fd = {.fd = helper->listen_fd, .events = POLLIN};
		int fd;

		if (poll(&poll_fd, 1, LOOK_MS) != 1)
			continue;
		fd = accept4(helper->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		asked_ms = mb_monotonic_ms();
		if (serve(helper, fd) == MB_NEGATIVE)
			return fd;
		close(fd);
	}
	return -1;
}

/*
 * Leftovers of a helper that was killed: only what the window needs stays.  What is not seen is in
 * nobody's way: a file that comes under its name replaces it.
 */
static void
remove_strangers(const struct helper *helper)
{
	DIR *dir = mb_opendir(MB_WAL_PREFETCH_DIR);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && !mb_wal_window_needs(helper->window, entry->d_name))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
}

static bool
begin(struct helper *helper)
{
	struct sockaddr_un address;
	struct mb_error err;
	socklen_t len;

	if (mkdir(MB_WAL_PREFETCH_DIR, 0700) != 0 && errno != EEXIST)
		return false;
	if (helper->request->restore_id)
	{
		if (mb_plan_read(&helper->plan, helper->request->restore_id, &err))
			return false;
	}
	else if (mb_wal_standby_plan(&helper->plan, helper->env, helper->request->component,
								 helper->request->file_name, &err))
		return false;
	helper->planned_ms = mb_monotonic_ms();
	if (!mb_helper_address(helper->request, &address, &len))
		return false;
	helper->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The name is free or taken: there is one helper, without a lock file. */
	if (helper->listen_fd < 0 || bind(helper->listen_fd, (struct sockaddr *) &address, len) != 0 ||
		listen(helper->listen_fd, 8) != 0)
		return false;
	helper->postmaster = read_postmaster();
	helper->directory = realpath(".", NULL);
	if (!helper->directory)
		return false;
	go_on(helper, helper->request->file_name);
	remove_strangers(helper);
	return true;
}

static void
helper_main(const struct mb_env *env, const struct mb_wal_request *request)
{
	struct helper helper = {.env = env, .request = request, .listen_fd = -1};
	struct mb_helper_answer answer = {.magic = MB_HELPER_MAGIC, .code = MB_NEGATIVE};
	struct mb_error ignored;
	int fd;

	helper.window = mb_wal_window_new(env->repo, request->restore_id ? 0 : MB_WAL_WINDOW_WHOLE);
	if (!begin(&helper) || !mb_wal_window_start(helper.window, env->workers))
		return;
	fd = serve_until_idle(&helper);
	mb_wal_window_stop(helper.window);
	if (mb_rmtree(MB_WAL_PREFETCH_DIR, &ignored))
	{
		/* The data directory is gone, or somebody else will remove it. */
	}
	if (fd >= 0 && send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
	{
		/* It did not wait. */
	}
}

/* Nothing of the server may be held open: its log would never end. */
static void
detach(void)
{
	int null = mb_open("/dev/null", O_RDWR | O_CLOEXEC, 0);

	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close(null);
}

void
mb_wal_helper_start(const struct mb_env *env, const struct mb_wal_request *request)
{
	pid_t child = fork();

	if (child == 0)
	{
		/* Twice, so that it is nobody's child and no terminal's. */
		if (setsid() >= 0 && fork() == 0)
		{
			detach();
			helper_main(env, request);
		}
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

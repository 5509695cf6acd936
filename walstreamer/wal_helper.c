/*
 * wal_helper.c - the helper process; see wal_helper.h.
 *
 * The main thread answers; the workers fetch.  Both look at the window: the segments from the
 * one that was asked for last on, in the order of the plan.
 */
#include "walstreamer/wal_helper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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

#define IDLE_MS 60000
#define LOOK_MS 1000
#define MAX_WORKERS 4
/* A standby asks again and again for what is not there yet: no listing for each time. */
#define REPLAN_MS 500

enum slot_state
{
	SLOT_WANTED,
	SLOT_BUSY,
	SLOT_READY,
	SLOT_FAILED
};

struct slot
{
	struct mb_plan_item item; /* its strings are the plan's */
	json_t *plan;             /* held */
	char path[MB_WAL_PREFETCH_PATH];
	enum slot_state state;
	bool dropped; /* out of the window while it was fetched: whoever fetches it frees it */
	struct mb_error err;
};

struct helper
{
	const struct mb_env *env;
	const struct mb_wal_request *request;
	int listen_fd;
	json_t *plan;
	int64_t planned_ms;
	pid_t postmaster; /* 0: none was there */
	char *directory;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct slot *window[MB_WAL_PREFETCH_FILES + 1]; /* lock */
	size_t count;                                   /* lock */
	bool quit;                                      /* lock */
};

/* -- the window ---------------------------------------------------------------------------------- */

static void
free_slot(struct slot *slot)
{
	json_decref(slot->plan);
	free(slot);
}

static struct slot *
new_slot(const struct helper *helper, const struct mb_plan_item *item, const char *path)
{
	struct slot *slot = mb_calloc(1, sizeof(*slot));

	slot->item = *item;
	slot->plan = json_incref(helper->plan);
	snprintf(slot->path, sizeof(slot->path), "%s", path);
	slot->state = access(path, F_OK) == 0 ? SLOT_READY : SLOT_WANTED;
	return slot;
}

/* Out of the old window when it is there, else new. */
static struct slot *
take_slot(struct helper *helper, struct slot **old, size_t old_count,
		  const struct mb_plan_item *item)
{
	char path[MB_WAL_PREFETCH_PATH];
	size_t i;

	mb_plan_prefetch_path(helper->plan, item, path);
	for (i = 0; i < old_count; i++)
		if (old[i] && strcmp(old[i]->path, path) == 0)
		{
			struct slot *slot = old[i];

			old[i] = NULL;
			return slot;
		}
	return new_slot(helper, item, path);
}

/* The window begins at item from now on.  With the lock. */
static void
move_window(struct helper *helper, const struct mb_plan_item *item)
{
	struct slot *old[MB_WAL_PREFETCH_FILES + 1];
	size_t old_count = helper->count, i;
	struct mb_plan_item now = *item, next;
	uint64_t bytes = 0;

	memcpy(old, helper->window, sizeof(old));
	helper->count = 0;
	for (;;)
	{
		helper->window[helper->count++] = take_slot(helper, old, old_count, &now);
		bytes += now.where.segment_size;
		/* At least one ahead, however large. */
		if (helper->count > MB_WAL_PREFETCH_FILES ||
			(helper->count > 1 && bytes > MB_WAL_PREFETCH_BYTES) ||
			!mb_plan_next(helper->plan, &now, &next) ||
			(!helper->request->restore_id && !mb_plan_is_whole(&next)))
			break;
		now = next;
	}
	for (i = 0; i < old_count; i++)
	{
		if (!old[i])
			continue;
		if (old[i]->state == SLOT_BUSY)
		{
			old[i]->dropped = true;
			continue;
		}
		unlink(old[i]->path);
		free_slot(old[i]);
	}
	pthread_cond_broadcast(&helper->changed);
}

static struct slot *
next_wanted(struct helper *helper)
{
	size_t i;

	for (i = 0; i < helper->count; i++)
		if (helper->window[i]->state == SLOT_WANTED)
			return helper->window[i];
	return NULL;
}

static void *
worker_main(void *arg)
{
	struct helper *helper = arg;

	pthread_mutex_lock(&helper->lock);
	while (!helper->quit)
	{
		struct slot *slot = next_wanted(helper);
		enum mb_code code;

		if (!slot)
		{
			pthread_cond_wait(&helper->changed, &helper->lock);
			continue;
		}
		slot->state = SLOT_BUSY;
		pthread_mutex_unlock(&helper->lock);
		code = mb_wal_fetch_segment(helper->env->repo, &slot->item, slot->path, &slot->err);
		pthread_mutex_lock(&helper->lock);
		slot->state = code ? SLOT_FAILED : SLOT_READY;
		if (slot->dropped)
		{
			unlink(slot->path);
			free_slot(slot);
		}
		pthread_cond_broadcast(&helper->changed);
	}
	pthread_mutex_unlock(&helper->lock);
	return NULL;
}

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
wait_for_segment(struct helper *helper, const struct mb_plan_item *item,
				 struct mb_helper_answer *answer, struct mb_error *err)
{
	struct slot *slot;
	enum mb_code code = MB_OK;

	pthread_mutex_lock(&helper->lock);
	move_window(helper, item);
	slot = helper->window[0];
	/* Delivered before and asked for again, or it failed for a reason that may have passed. */
	if (slot->state == SLOT_FAILED || (slot->state == SLOT_READY && access(slot->path, F_OK) != 0))
		slot->state = SLOT_WANTED;
	pthread_cond_broadcast(&helper->changed);
	while (slot->state == SLOT_WANTED || slot->state == SLOT_BUSY)
		pthread_cond_wait(&helper->changed, &helper->lock);
	if (slot->state == SLOT_FAILED)
	{
		*err = slot->err;
		code = slot->err.code;
	}
	snprintf(answer->path, sizeof(answer->path), "%s", slot->path);
	pthread_mutex_unlock(&helper->lock);
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
	return code ? code : wait_for_segment(helper, &item, answer, err);
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
	pthread_mutex_lock(&helper->lock);
	move_window(helper, &next);
	pthread_mutex_unlock(&helper->lock);
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
	size_t i;

	while (dir && (entry = readdir(dir)) != NULL)
	{
		bool known = entry->d_name[0] == '.';

		for (i = 0; i < helper->count && !known; i++)
			known = mb_ends_with(helper->window[i]->path, entry->d_name);
		if (!known)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
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
	unsigned workers = env->workers < MAX_WORKERS ? env->workers : MAX_WORKERS, i;
	pthread_t threads[MAX_WORKERS];
	struct mb_helper_answer answer = {.magic = MB_HELPER_MAGIC, .code = MB_NEGATIVE};
	struct mb_error ignored;
	int fd;

	pthread_mutex_init(&helper.lock, NULL);
	pthread_cond_init(&helper.changed, NULL);
	if (!begin(&helper))
		return;
	for (i = 0; i < workers; i++)
		if (pthread_create(&threads[i], NULL, worker_main, &helper) != 0)
			return;
	fd = serve_until_idle(&helper);
	pthread_mutex_lock(&helper.lock);
	helper.quit = true;
	pthread_cond_broadcast(&helper.changed);
	pthread_mutex_unlock(&helper.lock);
	for (i = 0; i < workers; i++)
		pthread_join(threads[i], NULL);
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

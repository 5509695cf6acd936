/* wal_window.c - see wal_window.h. */
#include "walstreamer/wal_window.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "walstreamer/wal_fetch.h"

#define MAX_WORKERS 4

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

struct mb_wal_window
{
	const struct mb_repo *repo;
	unsigned flags;
	pthread_t threads[MAX_WORKERS];
	unsigned thread_count;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	struct slot *slots[MB_WAL_PREFETCH_FILES + 1];
	size_t count;
	bool quit;
};

static void
free_slot(struct slot *slot)
{
	json_decref(slot->plan);
	free(slot);
}

static struct slot *
new_slot(json_t *plan, const struct mb_plan_item *item, const char *path)
{
	struct slot *slot = mb_calloc(1, sizeof(*slot));

	slot->item = *item;
	slot->plan = json_incref(plan);
	snprintf(slot->path, sizeof(slot->path), "%s", path);
	slot->state = access(path, F_OK) == 0 ? SLOT_READY : SLOT_WANTED;
	return slot;
}

/* Out of the old window when it is there, else new. */
static struct slot *
take_slot(struct slot **old, size_t old_count, json_t *plan, const struct mb_plan_item *item)
{
	char path[MB_WAL_PREFETCH_PATH];
	size_t i;

	mb_plan_prefetch_path(plan, item, path);
	for (i = 0; i < old_count; i++)
		if (old[i] && strcmp(old[i]->path, path) == 0)
		{
			struct slot *slot = old[i];

			old[i] = NULL;
			return slot;
		}
	return new_slot(plan, item, path);
}

/* The window begins at item from now on.  With the lock. */
static void
move_window(struct mb_wal_window *window, json_t *plan, const struct mb_plan_item *item)
{
	struct slot *old[MB_WAL_PREFETCH_FILES + 1];
	size_t old_count = window->count, i;
	struct mb_plan_item now = *item, next;
	uint64_t bytes = 0;

	memcpy(old, window->slots, sizeof(old));
	window->count = 0;
	for (;;)
	{
		window->slots[window->count++] = take_slot(old, old_count, plan, &now);
		bytes += now.where.segment_size;
		/* At least one ahead, however large. */
		if (window->count > MB_WAL_PREFETCH_FILES ||
			(window->count > 1 && bytes > MB_WAL_PREFETCH_BYTES) ||
			!mb_plan_next(plan, &now, &next) ||
			((window->flags & MB_WAL_WINDOW_WHOLE) && !mb_plan_is_whole(&next)))
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
	pthread_cond_broadcast(&window->changed);
}

static struct slot *
next_wanted(struct mb_wal_window *window)
{
	size_t i;

	for (i = 0; i < window->count; i++)
		if (window->slots[i]->state == SLOT_WANTED)
			return window->slots[i];
	return NULL;
}

static void *
worker_main(void *arg)
{
	struct mb_wal_window *window = arg;

	pthread_mutex_lock(&window->lock);
	while (!window->quit)
	{
		struct slot *slot = next_wanted(window);
		enum mb_code code;

		if (!slot)
		{
			pthread_cond_wait(&window->changed, &window->lock);
			continue;
		}
		slot->state = SLOT_BUSY;
		pthread_mutex_unlock(&window->lock);
		code = mb_wal_fetch_segment(window->repo, &slot->item, slot->path, &slot->err);
		pthread_mutex_lock(&window->lock);
		slot->state = code ? SLOT_FAILED : SLOT_READY;
		if (slot->dropped)
		{
			unlink(slot->path);
			free_slot(slot);
		}
		pthread_cond_broadcast(&window->changed);
	}
	pthread_mutex_unlock(&window->lock);
	return NULL;
}

struct mb_wal_window *
mb_wal_window_new(const struct mb_repo *repo, unsigned flags)
{
	struct mb_wal_window *window = mb_calloc(1, sizeof(*window));

	window->repo = repo;
	window->flags = flags;
	pthread_mutex_init(&window->lock, NULL);
	pthread_cond_init(&window->changed, NULL);
	return window;
}

bool
mb_wal_window_start(struct mb_wal_window *window, unsigned workers)
{
	if (workers > MAX_WORKERS)
		workers = MAX_WORKERS;
	while (window->thread_count < workers)
	{
		if (pthread_create(&window->threads[window->thread_count], NULL, worker_main, window) != 0)
			return false;
		window->thread_count++;
	}
	return true;
}

void
mb_wal_window_stop(struct mb_wal_window *window)
{
	unsigned i;

	pthread_mutex_lock(&window->lock);
	window->quit = true;
	pthread_cond_broadcast(&window->changed);
	pthread_mutex_unlock(&window->lock);
	for (i = 0; i < window->thread_count; i++)
		pthread_join(window->threads[i], NULL);
	window->thread_count = 0;
}

void
mb_wal_window_move(struct mb_wal_window *window, json_t *plan, const struct mb_plan_item *item)
{
	pthread_mutex_lock(&window->lock);
	move_window(window, plan, item);
	pthread_mutex_unlock(&window->lock);
}

enum mb_code
mb_wal_window_wait(struct mb_wal_window *window, json_t *plan, const struct mb_plan_item *item,
				   char path[MB_WAL_PREFETCH_PATH], struct mb_error *err)
{
	struct slot *slot;
	enum mb_code code = MB_OK;

	pthread_mutex_lock(&window->lock);
	move_window(window, plan, item);
	slot = window->slots[0];
	/* Delivered before and asked for again, or it failed for a reason that may have passed. */
	if (slot->state == SLOT_FAILED || (slot->state == SLOT_READY && access(slot->path, F_OK) != 0))
		slot->state = SLOT_WANTED;
	pthread_cond_broadcast(&window->changed);
	while (slot->state == SLOT_WANTED || slot->state == SLOT_BUSY)
		pthread_cond_wait(&window->changed, &window->lock);
	if (slot->state == SLOT_FAILED)
	{
		*err = slot->err;
		code = slot->err.code;
	}
	snprintf(path, MB_WAL_PREFETCH_PATH, "%s", slot->path);
	pthread_mutex_unlock(&window->lock);
	return code;
}

bool
mb_wal_window_needs(struct mb_wal_window *window, const char *file_name)
{
	bool needs = false;
	size_t i;

	pthread_mutex_lock(&window->lock);
	for (i = 0; i < window->count && !needs; i++)
		needs = mb_ends_with(window->slots[i]->path, file_name);
	pthread_mutex_unlock(&window->lock);
	return needs;
}

/*
 * mirror_reconcile.c - when a mirror compares and catches up, and what it tells; see
 * store_mirror.h.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/pool.h"
#include "core/repo/mirror_private.h"

/* -- the thread ------------------------------------------------------------------------------ */

/* Believed or not: compare, then copy. */
static enum mb_code
reconcile(struct mb_mirror_copy *copy, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (!mb_mirror_is_behind(copy))
	{
		code = mb_mirror_compare(copy, err);
		if (!code || code == MB_INTERRUPTED)
			return code;
		mb_mirror_fall_behind(copy, err->message);
		if (code != MB_NEGATIVE)
			return code;
	}
	return mb_mirror_catch_up(copy, err);
}

/* The first time even what is believed is compared: a writer may not have known of a copy. */
static void
try_all(struct mb_mirror *mirror, bool is_first)
{
	int catching = mb_mirror_try_catching(mirror);
	struct mb_error ignored; /* noted in the spool and logged */
	size_t i;

	if (catching < 0)
		return; /* another process does */
	mb_mirror_look_for_killed(mirror);
	for (i = 0; i < mirror->count; i++)
	{
		enum mb_code code = MB_OK;

		if (mb_mirror_is_behind(&mirror->copies[i]))
			code = mb_mirror_catch_up(&mirror->copies[i], &ignored);
		else if (is_first)
			code = reconcile(&mirror->copies[i], &ignored);
		if (code == MB_INTERRUPTED)
			break;
	}
	mb_mirror_leave(catching);
}

static void *
keep_trying(void *ctx)
{
	struct mb_mirror *mirror = ctx;
	bool is_first = true;

	pthread_mutex_lock(&mirror->lock);
	while (!atomic_load(&mirror->stopping))
	{
		int64_t retry_ms = mirror->options.retry_ms;
		struct timespec at;
		int woken = 0;

		pthread_mutex_unlock(&mirror->lock);
		try_all(mirror, is_first);
		is_first = false;
		pthread_mutex_lock(&mirror->lock);
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += (retry_ms % 1000) * 1000000;
		at.tv_sec += retry_ms / 1000 + at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		while (!atomic_load(&mirror->stopping) && woken == 0)
			woken = pthread_cond_timedwait(&mirror->wake, &mirror->lock, &at);
	}
	pthread_mutex_unlock(&mirror->lock);
	return NULL;
}

void
mb_mirror_start_thread(struct mb_mirror *mirror)
{
	if (mb_thread_start(&mirror->thread, keep_trying, mirror) != 0)
		MB_BUG("could not start a thread");
	mirror->running = true;
}

void
mb_mirror_stop_thread(struct mb_mirror *mirror)
{
	if (!mirror->running)
		return;
	pthread_mutex_lock(&mirror->lock);
	atomic_store(&mirror->stopping, true);
	pthread_cond_signal(&mirror->wake);
	pthread_mutex_unlock(&mirror->lock);
	pthread_join(mirror->thread, NULL);
	mirror->running = false;
	atomic_store(&mirror->stopping, false);
}

/* -- at the end of a backup ------------------------------------------------------------------- */

/* Another process is at it: nothing to wait for, it may take hours. */
static enum mb_code
left_to_another(const struct mb_mirror_copy *copy, struct mb_error *err)
{
	if (!mb_mirror_is_behind(copy))
		return MB_OK;
	return mb_fail(err, MB_CONFLICT, "another process of mbackup is catching up");
}

enum mb_code
mb_mirror_reconcile(struct mb_store *store, struct mb_error *err)
{
	struct mb_mirror *mirror = mb_as_mirror(store);
	struct mb_buf names = {0};
	enum mb_code code = MB_OK;
	int catching;
	size_t i;

	if (!mirror)
		return MB_OK;
	mb_mirror_stop_thread(mirror);
	catching = mb_mirror_try_catching(mirror);
	mb_mirror_look_for_killed(mirror);
	for (i = 0; i < mirror->count && code != MB_INTERRUPTED; i++)
	{
		struct mb_mirror_copy *copy = &mirror->copies[i];
		struct mb_error why;

		mb_error_clear(&why);
		code = catching >= 0 ? reconcile(copy, &why) : left_to_another(copy, &why);
		if (code)
			mb_buf_printf(&names, "%s%s (%s)", names.len ? "; " : "", copy->name, why.message);
	}
	mb_mirror_leave(catching);
	code = names.len ? mb_fail(err, MB_PARTIAL, "behind: %.900s", mb_buf_cstr(&names)) : MB_OK;
	mb_buf_release(&names);
	return code;
}

/* -- what it tells --------------------------------------------------------------------------- */

size_t
mb_mirror_count(const struct mb_store *store)
{
	const struct mb_mirror *mirror = mb_as_mirror(store);

	return mirror ? mirror->count : 0;
}

void
mb_mirror_status(struct mb_store *store, size_t i, struct mb_mirror_status *status)
{
	struct mb_mirror *mirror = mb_as_mirror(store);
	struct mb_mirror_copy *copy = &mirror->copies[i];
	struct mb_mirror_state state;

	mb_mirror_state_read(copy, &state);
	memset(status, 0, sizeof(*status));
	status->name = copy->name;
	status->url = copy->url;
	status->is_behind = state.is_behind;
	status->since_us = state.since_us;
	snprintf(status->why, sizeof(status->why), "%s", state.why);
	if (!mb_mirror_copy_open(copy, true, MB_MIRROR_OPEN_PATIENCE_MS, &status->access))
		mb_error_clear(&status->access);
}

/* -- places ---------------------------------------------------------------------------------- */

enum mb_code
mb_mirror_check_place(struct mb_store *first, struct mb_store *place, struct mb_error *err)
{
	struct mb_repo_header ours, theirs;
	struct mb_buf a = {0}, b = {0};
	enum mb_code code = mb_mirror_read_header(first, &a, &ours, err);

	if (!code)
		code = mb_mirror_read_header(place, &b, &theirs, err);
	if (!code && strcmp(ours.id_text, theirs.id_text) != 0)
		code = mb_fail(err, MB_CONFIG, "\"%s\" is repository %s, not a copy of %s", place->url,
					   theirs.id_text, ours.id_text);
	mb_buf_release(&a);
	mb_buf_release(&b);
	return code;
}

enum mb_code
mb_mirror_found_place(struct mb_store *first, struct mb_store *place, struct mb_error *err)
{
	struct mb_repo_header header;
	struct mb_buf bytes = {0};
	enum mb_code code = mb_mirror_read_header(first, &bytes, &header, err);

	if (!code)
		code = mb_store_put(place, MB_HEADER_NAME, bytes.data, bytes.len, err);
	mb_buf_release(&bytes);
	return code;
}

/* mark.c - mb_mark_run and mb_stream_run: named cuts, and what keeps them reachable. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "core/engine/cutting.h"
#include "core/engine/docs.h"
#include "core/engine/session.h"

#define MARK_LOCK_WAIT_MS 60000
#define AWAIT_MS 60000
#define MARK_NAME_MAX 200

/*
 * Take an incremental backup of type "scan" of one component; *id gets its commit.  is_prelude: another
 * one follows at once.
 */
static enum mb_code
scan_component(struct mb_component *component, const struct mb_cut *cut, bool is_prelude,
			   char id[MB_ID_TEXT], struct mb_error *err)
{
	struct mb_session session = {0};
	struct mb_capture *capture = NULL;
	json_t *summary = NULL;
	enum mb_code code;
	char lock[MB_COMPONENT_MAX + 8];
	int lock_fd;

	snprintf(lock, sizeof(lock), "scan-%s", component->name);
	code = mb_session_lock(component->env, lock, MARK_LOCK_WAIT_MS, &lock_fd, err);
	if (code)
		return code;
	code = mb_session_open(&session, component->env, "scan", err);
	if (!code)
		code = mb_capture_begin(&session, component, MB_PARENT_NEWEST, &capture, err);
	if (!code)
	{
		capture->is_prelude = is_prelude;
		code = component->ops->settle(component, capture, cut, err);
	}
	if (!code)
		code = mb_capture_commit(&session, capture, cut, "scan", &summary, err);
	if (!code)
		snprintf(id, MB_ID_TEXT, "%s", mb_json_str(summary, "backup", ""));
	json_decref(summary);
	mb_capture_free(capture);
	mb_session_close(&session);
	close(lock_fd);
	return code;
}

/* The newest backup of a component, which a restore to this mark starts from. */
static enum mb_code
newest_commit(const struct mb_component *component, char id[MB_ID_TEXT], struct mb_error *err)
{
	uint64_t sequence;
	enum mb_code code = mb_commit_newest(component->env->repo, component->name, id, &sequence, err);

	if (!code && sequence == 0)
	{
		code = mb_fail(err, MB_NEGATIVE,
					   "there is no backup of \"%s\" that a restore could start "
					   "from",
					   component->name);
		mb_error_hint(err, "Run \"mbackup backup\" first.");
	}
	return code;
}

/* Make sure that the mark can be restored as far as this component goes. */
static enum mb_code
secure_component(struct mb_component *component, const struct mb_cut *cut, json_t *bases,
				 struct mb_error *err)
{
	char id[MB_ID_TEXT] = "";
	enum mb_code code;

	if (component->ops->capabilities & MB_CAP_SCAN)
		code = scan_component(component, cut, false, id, err);
	else
	{
		code = newest_commit(component, id, err);
		if (!code)
			mb_json_set_str(bases, component->name, id);
		if (!code)
			code = component->ops->await(component, cut, AWAIT_MS, err);
	}
	if (!code)
		mb_json_set_str(bases, component->name, id);
	return code;
}

static enum mb_code
check_mark_name(const struct mb_repo *repo, const char *name, struct mb_error *err)
{
	enum mb_code code;
	json_t *mark;

	if (name[0] == '\0' || strlen(name) > MARK_NAME_MAX)
		return mb_fail(err, MB_CONFIG, "the name of a mark has 1 to %d bytes", MARK_NAME_MAX);
	code = mb_mark_find(repo, name, &mark, err);
	if (code == MB_NOT_FOUND)
		return MB_OK;
	if (code)
		return code;
	mb_fail(err, MB_EXISTS, "there is a mark \"%s\" already, of %s", name,
			mb_json_str(mark, "time", "?"));
	mb_error_hint(err, "Choose another name.");
	json_decref(mark);
	return err->code;
}

static enum mb_code
secure_all(const struct mb_stack *stack, const struct mb_cut *cut, struct mb_error *failed,
		   json_t *mark, struct mb_error *err)
{
	json_t *bases = json_object();
	json_t *uncovered = json_object();
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < stack->count; i++)
	{
		struct mb_component *component = stack->components[i];

		if (!failed[i].code && secure_component(component, cut, bases, &failed[i]) == MB_OK)
			mb_error_clear(&failed[i]);
		if (!failed[i].code)
			continue;
		if ((component->ops->capabilities & MB_CAP_CLOCK) || failed[i].code == MB_INTERRUPTED)
		{
			*err = failed[i];
			code =
				mb_error_context(err, "could not make the mark durable in \"%s\"", component->name);
			if (!err->hint[0])
				mb_error_hint(err, "Run \"mbackup check\".");
		}
		else
			mb_json_set_str(uncovered, component->name, failed[i].message);
	}
	json_object_set_new(mark, "bases", bases);
	json_object_set_new(mark, "uncovered", uncovered);
	return code;
}

/* Name the first component that the mark does not hold, with its own next step. */
static enum mb_code
partial_mark(const struct mb_stack *stack, const char *name, const struct mb_error *failed,
			 struct mb_error *err)
{
	size_t i;

	for (i = 0; i < stack->count && !failed[i].code; i++)
		;
	if (i == stack->count)
		return MB_OK;
	*err = failed[i];
	mb_error_context(err, "mark \"%s\" does not hold \"%s\"", name, stack->components[i]->name);
	if (!err->hint[0])
		mb_error_hint(err,
					  "Run \"mbackup check\"; with \"mbackup stream\" running every mark holds "
					  "every component.");
	return err->code = MB_PARTIAL;
}

/* Look just before the cut, so that only a moment lies between that look and the one after. */
static enum mb_code
prescan_all(const struct mb_stack *stack, struct mb_error *failed, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < stack->count; i++)
	{
		char id[MB_ID_TEXT];
		struct mb_cut now = {0};

		if (!(stack->components[i]->ops->capabilities & MB_CAP_PRESCAN))
			continue;
		code = mb_cut_now(stack->env, &now, err);
		if (!code && scan_component(stack->components[i], &now, true, id, &failed[i]) == MB_OK)
			mb_error_clear(&failed[i]);
		if (failed[i].code == MB_INTERRUPTED)
		{
			*err = failed[i];
			code = MB_INTERRUPTED;
		}
		mb_cut_release(&now);
	}
	return code;
}

/* What the mark will start from must not expire before the mark names it. */
static enum mb_code
hold_bases(const struct mb_repo *repo, struct mb_lease **lease, struct mb_error *err)
{
	char id[MB_ID_TEXT];
	int64_t now_us = 0;
	enum mb_code code = mb_store_clock(repo->store, &now_us, err);

	if (code)
		return code;
	mb_id_new(id, now_us);
	return mb_lease_start(lease, repo, id, "mark", err);
}

enum mb_code
mb_mark_run(const struct mb_stack *stack, const char *name, unsigned flags, json_t **mark,
			struct mb_error *err)
{
	struct mb_error *failed = mb_calloc(stack->count, sizeof(*failed));
	json_t *made = json_object();
	struct mb_lease *lease = NULL;
	struct mb_cut cut = {0};
	enum mb_code code;

	code = check_mark_name(stack->env->repo, name, err);
	if (!code)
		code = hold_bases(stack->env->repo, &lease, err);
	if (!code)
		code = prescan_all(stack, failed, err);
	if (!code)
		code = mb_cut_take(stack, flags, failed, &cut, err);
	if (!code)
	{
		mb_json_set_str(made, "name", name);
		mb_json_set_str(made, "id", cut.id);
		mb_json_set_time(made, "time", cut.time_us);
		code = secure_all(stack, &cut, failed, made, err);
	}
	if (!code)
	{
		json_object_set_new(made, "cut", mb_cut_to_json(&cut));
		code = mb_lease_check(lease, err);
	}
	if (!code)
		code = mb_mark_put(stack->env->repo, made, err);
	if (!code)
	{
		*mark = json_incref(made);
		code = partial_mark(stack, name, failed, err);
	}
	mb_lease_stop(lease);
	json_decref(made);
	mb_cut_release(&cut);
	free(failed);
	return code;
}

enum mb_code
mb_scan_run(struct mb_component *component, char id[MB_ID_TEXT], struct mb_error *err)
{
	struct mb_cut cut = {0};
	enum mb_code code = mb_cut_now(component->env, &cut, err);

	if (!code)
		code = scan_component(component, &cut, false, id, err);
	mb_cut_release(&cut);
	return code;
}

/* -- streams ------------------------------------------------------------------------------- */

struct stream_thread
{
	struct mb_component *component;
	struct mb_cancel *stop; /* set when another stream cannot go on */
	pthread_t thread;
	bool started;
	enum mb_code code;
	struct mb_error err;
};

/* Components that are scanned: a small incremental backup each interval, when something changed. */
static enum mb_code
stream_by_scanning(struct mb_component *component, struct mb_error *err)
{
	int64_t interval_ms = mb_settings_ms(component->settings, "scan-interval", 10000);
	enum mb_code code = MB_OK;

	while (!code && !mb_cancelled(component->env->cancel))
	{
		int64_t next_ms = mb_monotonic_ms() + interval_ms;
		char id[MB_ID_TEXT];

		code = mb_scan_run(component, id, err);
		if (code == MB_UNREACHABLE || code == MB_CONFLICT || code == MB_NO_SPACE ||
			code == MB_DENIED || code == MB_IO)
		{
			/* These pass, or somebody mends them; the streams of others must not end for it. */
			mb_log_warning(component->env->log, "%s: %s", component->name, err->message);
			code = MB_OK;
		}
		while (!code && mb_monotonic_ms() < next_ms && !mb_cancelled(component->env->cancel))
			mb_sleep_ms(100);
	}
	return code == MB_INTERRUPTED ? MB_OK : code;
}

static void *
stream_main(void *arg)
{
	struct stream_thread *self = arg;
	struct mb_component *component = self->component;

	if (component->ops->capabilities & MB_CAP_STREAM)
		self->code = component->ops->stream(component, &self->err);
	else
		self->code = stream_by_scanning(component, &self->err);
	if (self->code)
	{
		int none = 0;

		mb_error_context(&self->err, "the stream of \"%s\" ended", component->name);
		atomic_compare_exchange_strong(&self->stop->signo, &none, -1);
	}
	return NULL;
}

enum mb_code
mb_stream_run(const struct mb_stack *stack, struct mb_error *err)
{
	struct stream_thread *threads = mb_calloc(stack->count, sizeof(*threads));
	struct mb_cancel *stop = (struct mb_cancel *) (uintptr_t) stack->env->cancel;
	enum mb_code code = MB_OK;
	size_t i, streams = 0;

	for (i = 0; i < stack->count; i++)
	{
		struct mb_component *component = stack->components[i];

		threads[i].component = component;
		threads[i].stop = stop;
		if (!(component->ops->capabilities & (MB_CAP_STREAM | MB_CAP_SCAN)))
			continue;
		if (pthread_create(&threads[i].thread, NULL, stream_main, &threads[i]) != 0)
			MB_BUG("could not start a thread");
		threads[i].started = true;
		streams++;
	}
	for (i = 0; i < stack->count; i++)
		if (threads[i].started)
			pthread_join(threads[i].thread, NULL);
	for (i = 0; !code && i < stack->count; i++)
		if (threads[i].code)
		{
			*err = threads[i].err;
			code = err->code;
		}
	if (!code && streams == 0)
		code = mb_fail(err, MB_CONFIG, "no component of this stack has a stream");
	free(threads);
	return code;
}

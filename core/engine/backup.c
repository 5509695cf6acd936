/* backup.c - mb_backup_run: a set, that is a backup of every component at one cut. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "core/engine/cutting.h"
#include "core/engine/docs.h"
#include "core/engine/session.h"

struct backup
{
	const struct mb_stack *stack;
	const struct mb_backup_options *options;
	struct mb_session session;
	struct mb_capture **captures; /* parallel to stack->components */
	struct mb_error *failed;      /* parallel; code MB_OK while all is well */
	json_t **prescans;            /* parallel; summary of the scan before the cut, or NULL */
	json_t **summaries;           /* parallel; NULL until committed */
	struct mb_cut cut;
	int64_t started_us;
};

static enum mb_parent_choice
parent_choice(const struct backup *backup)
{
	return backup->options->type == MB_BACKUP_FULL ? MB_PARENT_NONE : MB_PARENT_NEWEST;
}

static bool
is_prescanned(const struct mb_component *component)
{
	return (component->ops->capabilities & MB_CAP_PRESCAN) != 0;
}

static enum mb_code
snapshot_one(struct backup *backup, size_t i)
{
	struct mb_component *component = backup->stack->components[i];
	struct mb_error *err = &backup->failed[i];

	enum mb_code code;

	if (is_prescanned(component))
		return MB_OK;
	code = mb_capture_begin(&backup->session, component, parent_choice(backup),
							&backup->captures[i], err);
	if (code)
		return code;
	if (backup->options->type == MB_BACKUP_INCREMENTAL && !backup->captures[i]->parent)
		mb_log_info(backup->session.env->log, "%s: %s, so this backup is a full one",
					component->name,
					component->ops->capabilities & MB_CAP_INCREMENTAL
						? "there is no backup to build on"
						: "its backups are always full");
	mb_progress_phase(backup->captures[i]->progress, "copying");
	code = component->ops->snapshot(component, backup->captures[i], err);
	if (!code)
		code = mb_capture_flush(&backup->session, backup->captures[i], err);
	if (!code)
		mb_progress_phase(backup->captures[i]->progress, "waiting for cut");
	return code;
}

/*
 * The bulk of a scanned component, in a commit of its own: the settle after the cut is
 * incremental to it, so that only seconds lie between the two looks.
 */
static enum mb_code
prescan_one(struct backup *backup, size_t i)
{
	struct mb_component *component = backup->stack->components[i];
	struct mb_error *err = &backup->failed[i];
	struct mb_capture *capture = NULL;
	struct mb_cut now = {0};

	enum mb_code code;

	if (!is_prescanned(component))
		return MB_OK;
	code = mb_cut_now(backup->session.env, &now, err);
	if (!code)
		code = mb_capture_begin(&backup->session, component, parent_choice(backup), &capture, err);
	if (!code)
	{
		capture->is_prelude = true;
		code = component->ops->settle(component, capture, &now, err);
	}
	if (!code)
		code = mb_capture_commit(&backup->session, capture, &now, capture->parent ? "scan" : "full",
								 &backup->prescans[i], err);
	if (!code)
		code = mb_capture_begin(&backup->session, component, MB_PARENT_NEWEST, &backup->captures[i],
								err);
	mb_capture_free(capture);
	mb_cut_release(&now);
	return code;
}

/* What the scan before the cut has read counts as part of this backup. */
static void
add_prescan(json_t *summary, const json_t *prescan)
{
	static const char *const members[] = {"changed_bytes", "stored_bytes"};
	size_t i;

	if (mb_json_bool(prescan, "unchanged", false))
		return;
	for (i = 0; i < 2; i++)
		mb_json_set_int(summary, members[i],
						mb_json_int(summary, members[i], 0) + mb_json_int(prescan, members[i], 0));
	if (strcmp(mb_json_str(prescan, "type", ""), "full") == 0)
		mb_json_set_str(summary, "type", "full");
	if (mb_json_bool(prescan, "incomplete", false))
		mb_json_set_bool(summary, "incomplete", true);
	json_array_extend(json_object_get(summary, "warnings"), json_object_get(prescan, "warnings"));
}

static enum mb_code
settle_one(struct backup *backup, size_t i)
{
	struct mb_component *component = backup->stack->components[i];
	struct mb_capture *capture = backup->captures[i];
	struct mb_error *err = &backup->failed[i];

	enum mb_code code = component->ops->settle(component, capture, &backup->cut, err);

	if (!code)
		code =
			mb_capture_commit(&backup->session, capture, &backup->cut,
							  capture->parent ? "incremental" : "full", &backup->summaries[i], err);
	if (!code && backup->prescans[i])
		add_prescan(backup->summaries[i], backup->prescans[i]);
	return code;
}

/* Run a step on every component that has not failed; only an interruption ends it early. */
static enum mb_code
each_component(struct backup *backup, enum mb_code (*step)(struct backup *, size_t),
			   struct mb_error *err)
{
	size_t i;

	for (i = 0; i < backup->stack->count; i++)
	{
		enum mb_code code = mb_cancel_check(backup->session.env->cancel, err);

		if (code)
			return code;
		if (backup->failed[i].code)
			continue;
		/* err may be used on the way to a success: only the code says what it was. */
		if (step(backup, i) == MB_OK)
			mb_error_clear(&backup->failed[i]);
		if (backup->failed[i].code == MB_INTERRUPTED)
		{
			*err = backup->failed[i];
			return MB_INTERRUPTED;
		}
		if (backup->failed[i].code && backup->captures[i])
			mb_progress_phase(backup->captures[i]->progress, "failed");
	}
	return MB_OK;
}

static json_t *
failure_summary(const struct mb_component *component, const struct mb_error *failure)
{
	json_t *summary = json_object();
	json_t *error = json_object();

	mb_json_set_str(summary, "name", component->name);
	mb_json_set_str(summary, "kind", component->ops->kind);
	mb_json_set_str(error, "code", mb_code_name(failure->code));
	mb_json_set_str(error, "message", failure->message);
	mb_json_set_str(error, "detail", failure->detail);
	mb_json_set_str(error, "hint", failure->hint);
	json_object_set_new(summary, "error", error);
	json_object_set_new(summary, "warnings", json_array());
	return summary;
}

static void
add_up(json_t *set, const char *member)
{
	json_t *components = json_object_get(set, "components");
	int64_t sum = 0;
	size_t i;

	for (i = 0; i < json_array_size(components); i++)
		sum += mb_json_int(json_array_get(components, i), member, 0);
	mb_json_set_int(set, member, sum);
}

static json_t *
make_set(const struct backup *backup, int64_t finished_us)
{
	json_t *set = json_object();
	json_t *components = json_array();
	bool all_incremental = true, complete = true;
	size_t i;

	for (i = 0; i < backup->stack->count; i++)
	{
		if (backup->summaries[i])
		{
			json_array_append(components, backup->summaries[i]);
			complete = complete && !mb_json_bool(backup->summaries[i], "incomplete", false);
		}
		else
		{
			json_array_append_new(components, failure_summary(backup->stack->components[i],
															  &backup->failed[i]));
			complete = false;
			continue;
		}
		if (strcmp(mb_json_str(backup->summaries[i], "type", ""), "full") == 0)
			all_incremental = false;
	}
	mb_json_set_str(set, "id", backup->session.id);
	mb_json_set_str(set, "type", all_incremental ? "incremental" : "full");
	mb_json_set_str(set, "status", complete ? "complete" : "partial");
	json_object_set_new(set, "parent", json_null());
	json_object_set_new(set, "labels",
						backup->options->labels
							? json_deep_copy((json_t *) (uintptr_t) backup->options->labels)
							: json_object());
	mb_json_set_time(set, "started", backup->started_us);
	mb_json_set_time(set, "finished", finished_us);
	json_object_set_new(set, "components", components);
	add_up(set, "bytes");
	add_up(set, "stored_bytes");
	json_object_set_new(set, "cut", mb_cut_to_json(&backup->cut));
	return set;
}

/* The first failure, when nothing at all was captured. */
static enum mb_code
all_failed(const struct backup *backup, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < backup->stack->count; i++)
		if (!backup->failed[i].code)
			return MB_OK;
	*err = backup->failed[0];
	return mb_error_context(err, "could not back up \"%s\"", backup->stack->components[0]->name);
}

/* Name the first thing that is missing. */
static enum mb_code
say_partial(const struct backup *backup, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < backup->stack->count; i++)
	{
		const char *name = backup->stack->components[i]->name;

		if (backup->failed[i].code)
		{
			*err = backup->failed[i];
			mb_error_context(err, "backup %s is partial: \"%s\" failed", backup->session.id, name);
			return err->code = MB_PARTIAL;
		}
		if (mb_json_bool(backup->summaries[i], "incomplete", false))
		{
			mb_fail(err, MB_PARTIAL, "backup %s is partial: something of \"%s\" could not be read",
					backup->session.id, name);
			return mb_error_hint(err,
								 "The warnings name it; run mbackup as a user who may read it, "
								 "or exclude it.");
		}
	}
	MB_BUG("a partial set without a reason");
}

/* The parent of an incremental set is the newest set before it. */
static enum mb_code
name_parent(const struct backup *backup, json_t *set, struct mb_error *err)
{
	json_t *sets;
	size_t count;

	if (strcmp(mb_json_str(set, "type", ""), "incremental") != 0)
		return MB_OK;
	if (mb_sets_list(backup->session.env->repo, &sets, err))
		return err->code;
	count = json_array_size(sets);
	if (count > 0)
		json_object_set(set, "parent", json_object_get(json_array_get(sets, count - 1), "id"));
	json_decref(sets);
	return MB_OK;
}

static enum mb_code
finish_set(struct backup *backup, json_t **set, struct mb_error *err)
{
	enum mb_code code;
	int64_t now_us;
	json_t *made;

	/* Until the set names them its commits are kept by our lease alone. */
	code = mb_lease_check(backup->session.lease, err);
	if (!code)
		code = mb_store_clock(backup->session.env->repo->store, &now_us, err);
	if (code)
		return code;
	made = make_set(backup, now_us);
	code = name_parent(backup, made, err);
	if (!code)
		code = mb_set_put(backup->session.env->repo, made, err);
	if (code)
	{
		json_decref(made);
		return code;
	}
	*set = made;
	if (strcmp(mb_json_str(made, "status", ""), "partial") == 0)
		return say_partial(backup, err);
	return MB_OK;
}

/*
 * Where the clock could not tell the time the others still get a cut of their own.  Where it is the
 * cut itself that failed, one without a position of the clock would be before the end of its backup.
 */
static enum mb_code
take_cut(struct backup *backup, struct mb_error *err)
{
	enum mb_code code =
		mb_cut_take(backup->stack, backup->options->flags, backup->failed, &backup->cut, err);

	if (code && code != MB_INTERRUPTED && !(backup->options->flags & MB_CUT_PAUSE) &&
		mb_cut_clock_failure(backup->stack, backup->failed))
		code = mb_cut_now(backup->session.env, &backup->cut, err);
	return code;
}

static enum mb_code
run_backup(struct backup *backup, json_t **set, struct mb_error *err)
{
	enum mb_code code = each_component(backup, snapshot_one, err);

	if (!code)
		code = each_component(backup, prescan_one, err);
	if (!code)
		code = all_failed(backup, err);
	if (!code)
		code = take_cut(backup, err);
	if (!code)
		code = each_component(backup, settle_one, err);
	if (!code)
		code = all_failed(backup, err);
	if (!code)
		code = finish_set(backup, set, err);
	return code;
}

enum mb_code
mb_backup_run(const struct mb_stack *stack, const struct mb_backup_options *options, json_t **set,
			  struct mb_error *err)
{
	struct backup backup = {.stack = stack, .options = options};
	enum mb_code code;
	int lock_fd;
	size_t i;

	if (stack->count == 0)
	{
		mb_fail(err, MB_CONFIG, "there is no component to back up");
		return mb_error_hint(err,
							 "Add a section such as [postgres] or [files:etc] to mbackup.conf.");
	}
	code = mb_session_lock(stack->env, "backup", 0, &lock_fd, err);
	if (code)
	{
		if (code == MB_CONFLICT)
			mb_error_hint(err, "Another backup of this stack is running on this machine: wait for "
							   "it, or stop it.");
		return code;
	}
	code = mb_session_open(&backup.session, stack->env, "backup", err);
	if (!code)
	{
		backup.started_us = mb_time_now_us();
		backup.captures = mb_calloc(stack->count, sizeof(*backup.captures));
		backup.failed = mb_calloc(stack->count, sizeof(*backup.failed));
		backup.prescans = mb_calloc(stack->count, sizeof(*backup.prescans));
		backup.summaries = mb_calloc(stack->count, sizeof(*backup.summaries));
		code = run_backup(&backup, set, err);
		for (i = 0; i < stack->count; i++)
		{
			mb_capture_free(backup.captures[i]);
			json_decref(backup.prescans[i]);
			json_decref(backup.summaries[i]);
		}
		free(backup.captures);
		free(backup.failed);
		free(backup.prescans);
		free(backup.summaries);
		mb_cut_release(&backup.cut);
		mb_session_close(&backup.session);
	}
	close(lock_fd);
	return code;
}

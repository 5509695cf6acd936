/*
 * stack_rollback.c - the way back of a restore over a stack (see stack_restore.h).
 *
 * Services stop, every place gets back what was kept, buckets and running servers too, and what ran
 * before is started again.  Each step may be killed and done again.  What a step has not
 * begun forward needs no way back.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/engine/stack_restore_private.h"

/* Refused before anything is touched: the half of a stack is nobody's wish. */
static enum mb_code
check_possible(struct mb_restoration *run, struct mb_error *err)
{
	struct mb_journal *journal = run->journal;
	const char *status = mb_journal_status(journal);
	char name[MB_STEP_TEXT];
	size_t i;

	if (strcmp(status, "forgotten") == 0)
		return mb_fail(err, MB_NOT_FOUND, "what restore %s had kept was removed", journal->id);
	for (i = 0; i < run->place_count; i++)
	{
		const struct mb_safety *safety = run->places[i].safety;

		snprintf(name, sizeof(name), "keep:%zu", i);
		if (safety->method != MB_SAFETY_NONE || mb_journal_state(journal, name) == MB_STEP_NEW)
			continue;
		mb_fail(err, MB_UNSUPPORTED, "what was in \"%s\" was not kept: there is no way back",
				safety->path);
		return mb_error_hint(err,
							 "Go on with \"mbackup restore --continue %s\", or restore to "
							 "another moment.",
							 journal->id);
	}
	return MB_OK;
}

static bool
part_was_restored(struct mb_restoration *run, const char *component)
{
	char name[MB_STEP_TEXT];

	snprintf(name, sizeof(name), "restore:%s", component);
	return mb_journal_state(run->journal, name) != MB_STEP_NEW;
}

static enum mb_code
put_places_back(struct mb_restoration *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	/* The last first: a WAL directory stands behind its data directory. */
	for (i = run->place_count; !code && i > 0; i--)
	{
		const struct mb_kept_place *place = &run->places[i - 1];
		char keep[MB_STEP_TEXT], back[MB_STEP_TEXT];

		snprintf(keep, sizeof(keep), "keep:%zu", i - 1);
		snprintf(back, sizeof(back), "back:%zu", i - 1);
		if (mb_journal_state(run->journal, keep) == MB_STEP_NEW ||
			mb_journal_state(run->journal, back) == MB_STEP_DONE ||
			(place->safety->method == MB_SAFETY_EMPTY && !part_was_restored(run, place->component)))
			continue;
		mb_log_info(run->env->log, "%s: putting back what was in %s", place->component,
					place->safety->path);
		code = mb_journal_note(run->journal, back, MB_STEP_BEGUN, NULL, err);
		if (!code)
			code = mb_safety_put_back(place->safety, err);
		if (!code)
			code = mb_journal_note(run->journal, back, MB_STEP_DONE, NULL, err);
	}
	return code;
}

/* A bucket, a running server: by its own undo. */
static enum mb_code
undo_part(struct mb_restoration *run, const struct mb_stack *stack, const json_t *saved,
		  const json_t *kept, const struct mb_restore_options *options, struct mb_error *err)
{
	struct mb_component *component = mb_stack_find(stack, mb_json_str(saved, "name", ""));
	struct mb_restore_wishes wishes = options->wishes;
	struct mb_restore part = {.env = run->env,
							  .wishes = &wishes,
							  .only = options->only,
							  .only_count = options->only_count,
							  .own_place = true,
							  .is_cleared = true,
							  .destination = mb_json_str(saved, "destination", NULL)};
	enum mb_code code;

	if (!component)
		return mb_fail(err, MB_CONFIG, "component \"%s\" of the restore is not configured any more",
					   mb_json_str(saved, "name", "?"));
	wishes.flags &= MB_RESTORE_REPLACE;
	wishes.rdb = NULL;
	snprintf(part.id, sizeof(part.id), "%s", run->journal->id);
	part.component = component->name;
	part.target.kind = MB_TARGET_LATEST;
	part.progress = mb_env_progress(run->env, component->name);
	part.plan = json_object();
	part.result = json_object();
	part.kept = json_deep_copy(kept);
	mb_log_info(run->env->log, "%s: putting back what was there", component->name);
	mb_progress_phase(part.progress, "rolling back");
	code = component->ops->undo(component, &part, err);
	mb_progress_phase(part.progress, code ? "failed" : "done");
	mb_restore_keep(&part);
	free(part.made);
	mb_commit_release(&part.commit);
	json_decref(part.plan);
	json_decref(part.result);
	json_decref(part.kept);
	return code ? mb_error_context(err, "could not roll back \"%s\"", component->name) : MB_OK;
}

static enum mb_code
undo_parts(struct mb_restoration *run, const struct mb_stack *stack, struct mb_error *err)
{
	const json_t *parts = json_object_get(json_object_get(run->journal->plan, "session"), "parts");
	struct mb_restore_options_read read;
	enum mb_code code = MB_OK;
	size_t i;

	mb_restore_options_load(&read, json_object_get(run->journal->plan, "options"));
	for (i = 0; !code && i < json_array_size(parts); i++)
	{
		const json_t *saved = json_array_get(parts, i), *kept;
		const char *component = mb_json_str(saved, "name", "");
		char name[MB_STEP_TEXT], back[MB_STEP_TEXT];

		snprintf(name, sizeof(name), "kept:%s", component);
		snprintf(back, sizeof(back), "back:%s", component);
		kept = json_object_get(mb_journal_data(run->journal, name), "kept");
		if (!kept || mb_json_bool(kept, "none", false) || !part_was_restored(run, component) ||
			mb_journal_state(run->journal, back) == MB_STEP_DONE)
			continue;
		code = mb_journal_note(run->journal, back, MB_STEP_BEGUN, NULL, err);
		if (!code)
			code = undo_part(run, stack, saved, kept, &read.options, err);
		if (!code)
			code = mb_journal_note(run->journal, back, MB_STEP_DONE, NULL, err);
	}
	mb_restore_options_release(&read);
	return code;
}

/* They run again, and answer; one that does not is a warning: its data is back. */
static void
look_after(struct mb_restoration *run, const struct mb_stack *stack)
{
	size_t i;

	for (i = 0; i < run->service_count; i++)
	{
		const struct mb_served *served = &run->services[i];
		struct mb_component *component =
			served->service.component ? mb_stack_find(stack, served->service.component) : NULL;
		int64_t until_ms = mb_monotonic_ms() + 60000;
		struct mb_error why;
		enum mb_code code = MB_OK;

		if (!component || !served->was_running)
			continue;
		do
		{
			if (code)
				mb_sleep_ms(200);
			mb_error_clear(&why);
			code = component->ops->health(component, NULL, &why);
		} while (code && mb_monotonic_ms() < until_ms && !mb_cancelled(run->env->cancel));
		if (code)
			mb_restoration_warn(run, "\"%s\" does not answer yet: %s", component->name,
								why.message);
	}
}

static json_t *
answer_of(struct mb_restoration *run, bool changed, int64_t started_us)
{
	json_t *answer = json_object(), *list = json_array();
	size_t i;

	mb_json_set_str(answer, "id", run->journal->id);
	mb_json_set_bool(answer, "changed", changed);
	for (i = 0; i < run->place_count; i++)
	{
		json_t *one = json_object();

		mb_json_set_str(one, "component", run->places[i].component);
		mb_json_set_str(one, "path", run->places[i].safety->path);
		mb_json_set_str(one, "method", mb_safety_method_name(run->places[i].safety->method));
		json_array_append_new(list, one);
	}
	json_object_set_new(answer, "places", list);
	json_object_set_new(answer, "seconds",
						json_real((double) (mb_time_now_us() - started_us) / 1e6));
	json_object_set(answer, "warnings", run->warnings);
	return json_pack("{s:o}", "rollback", answer);
}

static enum mb_code
all_steps(struct mb_restoration *run, const struct mb_stack *stack, struct mb_error *err)
{
	enum mb_code code = mb_journal_note(run->journal, "rolled back", MB_STEP_BEGUN, NULL, err);

	if (!code && mb_journal_state(run->journal, "hook:stop-services") != MB_STEP_NEW)
		mb_restoration_hook(run, MB_HOOK_STOP_SERVICES, "rollback", NULL);
	if (!code)
		code = mb_restoration_stop(run, "back-stop", err);
	if (!code)
		code = put_places_back(run, err);
	if (!code)
		code = undo_parts(run, stack, err);
	if (!code)
		code = mb_restoration_start(run, "back-start", true, err);
	if (!code && mb_journal_state(run->journal, "hook:stop-services") != MB_STEP_NEW)
		mb_restoration_hook(run, MB_HOOK_START_SERVICES, "rollback", NULL);
	if (!code)
		look_after(run, stack);
	if (!code)
		code = mb_journal_note(run->journal, "rolled back", MB_STEP_DONE, NULL, err);
	return code;
}

enum mb_code
mb_restoration_roll_back(struct mb_restoration *run, const struct mb_stack *stack, json_t **answer,
						 struct mb_error *err)
{
	const char *status = mb_journal_status(run->journal);
	int64_t started_us = mb_time_now_us();
	enum mb_code code = MB_OK;

	if (strcmp(status, "rolled back") == 0 || strcmp(status, "aborted") == 0)
	{
		*answer = answer_of(run, false, started_us);
		return MB_OK;
	}
	code = check_possible(run, err);
	if (code)
		return code;
	if (run->options->confirm)
		code = run->options->confirm(run->options->ctx, run->plan, err);
	if (!code)
		code = all_steps(run, stack, err);
	if (!code)
		*answer = answer_of(run, true, started_us);
	else if (mb_journal_state(run->journal, "rolled back") != MB_STEP_NEW)
		mb_error_hint(err, "Run \"mbackup rollback %s\" again: it goes on from here.",
					  run->journal->id);
	return code;
}

/* stack_restore.c - see stack_restore.h: beginning, going on, and the answer. */
#include "core/engine/stack_restore.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/stack_restore_private.h"

/* -- what all of it needs --------------------------------------------------------------------------- */

static void
release_run(struct mb_restoration *run)
{
	size_t i;

	for (i = 0; i < run->place_count; i++)
		mb_safety_free(run->places[i].safety);
	free(run->places);
	for (i = 0; i < run->service_count; i++)
		mb_service_release(&run->services[i].service);
	free(run->services);
	mb_journal_close(run->journal);
	json_decref(run->plan);
	json_decref(run->warnings);
	json_decref(run->references);
	free(run->healthy_after);
	free(run->output_path);
	mb_restore_session_release(&run->session);
}

static void
begin(struct mb_restoration *run, const struct mb_env *env,
	  const struct mb_stack_restore_options *options)
{
	*run = (struct mb_restoration){.env = env,
								   .options = options,
								   .plan = json_object(),
								   .warnings = json_array(),
								   .started_us = mb_time_now_us()};
	run->service_env = (struct mb_service_env){.log = env->log,
											   .cancel = env->cancel,
											   .timeout_ms = options->service_timeout_ms};
}

void
mb_restoration_warn(struct mb_restoration *run, const char *fmt, ...)
{
	json_t *holder = json_object();
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mb_log_warning(run->env->log, "%s", text);
	mb_json_set_str(holder, "text", text);
	json_array_append(run->warnings, json_object_get(holder, "text"));
	json_decref(holder);
}

json_t *
mb_restoration_event(const struct mb_restoration *run, const char *status,
					 const struct mb_error *err)
{
	const json_t *parts = json_object_get(run->plan, "components");
	const json_t *target = json_object_get(run->plan, "target");
	json_t *event = json_object(), *names = json_array();
	size_t i;

	for (i = 0; i < json_array_size(parts); i++)
		json_array_append(names, json_object_get(json_array_get(parts, i), "name"));
	mb_json_set_str(event, "id", mb_json_str(run->plan, "id", ""));
	json_object_set_new(event, "components", names);
	mb_json_set_str(event, "target",
					mb_json_str(run->plan, "reached",
								mb_json_str(target, "value", mb_json_str(target, "kind", ""))));
	mb_json_set_str(event, "status", status);
	if (err)
		mb_json_set_str(event, "error", err->message);
	json_object_set(event, "plan", run->plan);
	return event;
}

/* One restore over this stack at a time on this machine; held until the process ends or closes it. */
static enum mb_code
take_lock(const struct mb_env *env, int *fd, struct mb_error *err)
{
	char *directory = mb_asprintf("%s/restores", env->spool);
	char *path = mb_path_join(directory, "lock");
	enum mb_code code = mb_mkdirs(directory, 0700, err);

	if (!code)
		code = mb_lock_file(fd, path, err);
	if (code == MB_CONFLICT)
	{
		mb_fail(err, MB_CONFLICT, "another restore or rollback of this stack is running");
		mb_error_hint(err, "Wait for it.");
	}
	free(path);
	free(directory);
	return code;
}

static enum mb_code
refuse_unfinished(const struct mb_env *env, struct mb_error *err)
{
	char id[MB_ID_TEXT];
	enum mb_code code = mb_journal_unfinished(id, env->spool, err);

	if (code || !id[0])
		return code;
	mb_fail(err, MB_CONFLICT, "restore %s is not finished", id);
	return mb_error_hint(err,
						 "Go on with \"mbackup restore --continue %s\", or back with "
						 "\"mbackup rollback %s\".",
						 id, id);
}

/* -- the answer ---------------------------------------------------------------------------------------- */

static json_t *
steps_json(const struct mb_restoration *run)
{
	json_t *list = json_array();
	const char *name;
	json_t *line;

	json_object_foreach(run->journal->steps, name, line)
	{
		const json_t *seconds = json_object_get(json_object_get(line, "data"), "seconds");
		json_t *one = json_object();

		mb_json_set_str(one, "step", name);
		mb_json_set_str(one, "state", mb_json_str(line, "state", "?"));
		mb_json_set_str(one, "time", mb_json_str(line, "time", ""));
		if (seconds)
			json_object_set_new(one, "seconds", json_real(json_number_value(seconds)));
		json_array_append_new(list, one);
	}
	return list;
}

static void
add_parts(const struct mb_restoration *run, json_t *restore)
{
	const json_t *list = json_object_get(restore, "components");
	double copy_seconds = 0;
	int64_t bytes = 0;
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
	{
		json_t *part = json_array_get(list, i);
		const struct mb_restore *state = &run->session.parts[i];

		mb_json_set_bool(part, "own_place", state->own_place);
		if (run->healthy_after[i] > 0)
			json_object_set_new(part, "rto_seconds", json_real(run->healthy_after[i]));
		if (state->stack_time_us && run->started_us > state->stack_time_us)
			json_object_set_new(part, "rpo_seconds",
								json_real((double) (run->started_us - state->stack_time_us) / 1e6));
		bytes += (int64_t) state->bytes;
		if (run->session.seconds[i] > copy_seconds)
			copy_seconds = run->session.seconds[i];
	}
	mb_json_set_int(restore, "bytes", bytes);
	json_object_set_new(restore, "copy_seconds", json_real(copy_seconds));
}

static json_t *
answer_of(const struct mb_restoration *run)
{
	json_t *answer = mb_restore_session_answer(&run->session);
	json_t *restore = json_object_get(answer, "restore");
	int64_t now_us = mb_time_now_us(), reached_us = mb_json_time(restore, "reached");
	bool can = json_array_size(json_object_get(run->plan, "cannot_undo")) == 0;

	add_parts(run, restore);
	mb_json_set_time(restore, "started", run->started_us);
	mb_json_set_time(restore, "finished", now_us);
	json_object_set_new(restore, "rto_seconds",
						json_real((double) (now_us - run->started_us) / 1e6));
	json_object_set_new(restore, "rpo_seconds",
						reached_us ? json_real((double) (run->started_us - reached_us) / 1e6)
								   : json_null());
	mb_json_set_bool(restore, "rollback", can);
	if (can)
	{
		char *command = mb_asprintf("mbackup rollback %s", run->session.id);

		mb_json_set_str(restore, "undo", command);
		free(command);
	}
	json_object_set(restore, "lost", json_object_get(run->plan, "lost"));
	json_object_set(restore, "keeps", json_object_get(run->plan, "keeps"));
	json_object_set(restore, "cannot_undo", json_object_get(run->plan, "cannot_undo"));
	json_object_set(restore, "services", json_object_get(run->plan, "services"));
	json_object_set_new(restore, "steps", steps_json(run));
	if (run->references)
		json_object_set(restore, "references", run->references);
	json_object_set(restore, "warnings", run->warnings);
	return answer;
}

/* The plan as the answer of --dry-run and --verify-only. */
static json_t *
plan_answer(const struct mb_restoration *run)
{
	json_t *answer = mb_restore_session_answer(&run->session);
	json_t *restore = json_object_get(answer, "restore");
	const json_t *list = json_object_get(restore, "components");
	const json_t *planned = json_object_get(run->plan, "components");
	size_t i;

	/* What was written by now is nothing: sizes and places are those of the plan. */
	for (i = 0; i < json_array_size(list); i++)
		json_object_update(json_array_get(list, i), json_array_get(planned, i));
	json_object_update_missing(restore, run->plan);
	return answer;
}

/* -- running ---------------------------------------------------------------------------------------------- */

static enum mb_code
finish(struct mb_restoration *run, json_t **answer, struct mb_error *err)
{
	bool missing = mb_json_bool(run->references, "missing", false);
	enum mb_code code;

	*answer = answer_of(run);
	/* The report first: a restore that is finished has one. */
	code = mb_journal_write(run->journal, "report.json", json_object_get(*answer, "restore"), err);
	if (!code)
		code = mb_journal_note(run->journal, "finished", MB_STEP_DONE, NULL, err);
	if (code)
		return code;
	mb_restoration_hook(run, MB_HOOK_ON_SUCCESS, missing ? "partial" : "complete", NULL);
	json_object_set(json_object_get(*answer, "restore"), "warnings", run->warnings);
	if (!missing)
		return MB_OK;
	mb_fail(err, MB_PARTIAL, "the restored database names objects that are not there as it says");
	return mb_error_hint(err, "\"references\" in the answer counts and names them.");
}

static enum mb_code
after_failure(struct mb_restoration *run, const struct mb_stack *stack, json_t **answer,
			  struct mb_error *err)
{
	enum mb_code code = err->code;
	struct mb_error why;

	if (!mb_restoration_has_harmed(run))
		mb_restoration_abort(run, err);
	else if ((run->options->flags & MB_STACK_ROLLBACK_ON_FAILURE) && code != MB_INTERRUPTED)
	{
		json_t *undone = NULL;

		mb_log_warning(run->env->log, "%s: rolling back", err->message);
		mb_error_clear(&why);
		if (mb_restoration_roll_back(run, stack, &undone, &why))
			mb_error_detail(err, "It could not be rolled back: %.700s", why.message);
		else
			mb_error_detail(err, "It was rolled back: everything is as it was before.");
		mb_error_hint(err,
					  why.code ? "Run \"mbackup rollback %s\"."
							   : "\"mbackup rollback --list\" shows restore %s.",
					  run->session.id);
		if (undone)
		{
			*answer =
				json_pack("{s:o}", "rollback", json_incref(json_object_get(undone, "rollback")));
			json_decref(undone);
		}
	}
	else
		mb_error_hint(err,
					  "Go on with \"mbackup restore --continue %s\", or back with "
					  "\"mbackup rollback %s\".",
					  run->session.id, run->session.id);
	mb_restoration_hook(run, MB_HOOK_ON_FAILURE, "failed", err);
	return code;
}

static enum mb_code
run_journalled(struct mb_restoration *run, const struct mb_stack *stack, json_t **answer,
			   struct mb_error *err)
{
	enum mb_code code;

	run->output_path = mb_journal_path(run->journal, "output.log");
	run->service_env.output_path = run->output_path;
	code = mb_restoration_run(run, err);
	if (!code)
		code = finish(run, answer, err);
	return code && code != MB_PARTIAL ? after_failure(run, stack, answer, err) : code;
}

/* Every frame that a restore would need, through the same readers. */
static enum mb_code
read_everything(struct mb_restoration *run, struct mb_error *err)
{
	const struct mb_repo *repo = run->env->repo;
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	enum mb_code code = MB_OK;
	size_t i, j;

	for (i = 0; !code && i < run->session.stack.count; i++)
	{
		struct mb_restore *part = &run->session.parts[i];
		const struct mb_pack_refs *refs = &part->commit.refs;
		uint64_t frames = 0, bytes = 0;

		mb_progress_phase(part->progress, "reading");
		for (j = 0; !code && j < refs->count; j++)
		{
			uint64_t pack_bytes = 0;
			uint32_t pack_frames = 0;

			code = mb_cancel_check(run->env->cancel, err);
			if (!code)
				code = mb_pack_verify(reader, &refs->items[j].pack, &pack_bytes, &pack_frames, err);
			bytes += pack_bytes;
			frames += pack_frames;
		}
		if (!code)
			code = run->session.stack.components[i]->ops->verify(run->session.stack.components[i],
																 &part->commit, err);
		mb_json_set_int(part->result, "read_frames", (int64_t) frames);
		mb_json_set_int(part->result, "read_bytes", (int64_t) bytes);
		if (code)
			mb_error_context(err, "\"%s\" could not be restored", part->component);
	}
	mb_pack_reader_free(reader);
	return code;
}

/*
 * The time of the newest backup that there is: what is kept waits for a younger one, and none of these becomes
 * that by a clock that is set back meanwhile.
 */
static void
note_newest(struct mb_restoration *run)
{
	int64_t newest_us = 0;
	size_t i, j;

	for (i = 0; i < run->session.stack.count; i++)
		for (j = 0; j < run->session.parts[i].candidate_count; j++)
			if (run->session.parts[i].candidates[j].finished_us > newest_us)
				newest_us = run->session.parts[i].candidates[j].finished_us;
	mb_json_set_time(run->plan, "newest", newest_us);
}

static enum mb_code
plan_and_run(struct mb_restoration *run, const struct mb_stack *stack, json_t **answer,
			 struct mb_error *err)
{
	const struct mb_stack_restore_options *options = run->options;
	bool dry = (options->restore.wishes.flags & MB_RESTORE_DRY_RUN) != 0;
	enum mb_code code = mb_restore_session_plan(&run->session, stack, &options->restore, err);

	if (!code)
		code = mb_restoration_plan(run, err);
	if (!code && (options->flags & MB_STACK_VERIFY_ONLY))
		code = read_everything(run, err);
	if (code)
		return code;
	run->healthy_after = mb_calloc(run->session.stack.count + 1, sizeof(double));
	if (dry || (options->flags & MB_STACK_VERIFY_ONLY))
	{
		*answer = plan_answer(run);
		if (!dry)
			mb_json_set_bool(json_object_get(*answer, "restore"), "verify_only", true);
		return MB_OK;
	}
	if (options->confirm)
		code = options->confirm(options->ctx, run->plan, err);
	run->started_us = mb_time_now_us();
	mb_json_set_time(run->plan, "started", run->started_us);
	note_newest(run);
	if (!code)
		code = mb_restoration_begin_journal(run, err);
	return code ? code : run_journalled(run, stack, answer, err);
}

enum mb_code
mb_stack_restore(const struct mb_stack *stack, const struct mb_stack_restore_options *options,
				 json_t **answer, struct mb_error *err)
{
	struct mb_restoration run;
	int lock_fd;
	enum mb_code code = take_lock(stack->env, &lock_fd, err);

	if (code)
		return code;
	code = refuse_unfinished(stack->env, err);
	if (!code)
	{
		begin(&run, stack->env, options);
		code = plan_and_run(&run, stack, answer, err);
		release_run(&run);
	}
	close(lock_fd);
	return code;
}

/* -- going on ------------------------------------------------------------------------------------------------ */

static enum mb_code
open_journal(struct mb_restoration *run, const char *which, struct mb_error *err)
{
	char id[MB_ID_TEXT] = "";
	enum mb_code code = MB_OK;

	if (!which)
		code = mb_journal_unfinished(id, run->env->spool, err);
	if (!code && !id[0])
		code = mb_journal_find(id, run->env->spool, which, err);
	return code ? code : mb_journal_open(&run->journal, run->env->spool, id, err);
}

static enum mb_code
go_on(struct mb_restoration *run, const struct mb_stack *stack, const char *which, json_t **answer,
	  struct mb_error *err)
{
	enum mb_code code = open_journal(run, which, err);
	const char *status;

	if (code)
		return code;
	status = mb_journal_status(run->journal);
	if (strcmp(status, "unfinished") != 0)
	{
		mb_fail(err, MB_CONFLICT, "restore %s cannot go on: it is %s", run->journal->id, status);
		return strcmp(status, "rolling back") == 0
				   ? mb_error_hint(err, "Run \"mbackup rollback %s\" to its end.", run->journal->id)
				   : err->code;
	}
	mb_log_info(run->env->log, "going on with restore %s", run->journal->id);
	code = mb_restore_session_resume(&run->session, stack, &run->options->restore,
									 json_object_get(run->journal->plan, "session"), err);
	if (!code)
		code = mb_restoration_load(run, stack, err);
	if (code)
		return code;
	run->healthy_after = mb_calloc(run->session.stack.count + 1, sizeof(double));
	{
		size_t i, j;

		for (i = 0; i < run->session.stack.count; i++)
			for (j = 0; j < run->service_count; j++)
				if (run->services[j].service.component &&
					strcmp(run->services[j].service.component, run->session.parts[i].component) ==
						0)
					run->session.parts[i].is_served = true;
	}
	return run_journalled(run, stack, answer, err);
}

enum mb_code
mb_stack_continue(const struct mb_stack *stack, const struct mb_stack_restore_options *given,
				  const char *id, json_t **answer, struct mb_error *err)
{
	struct mb_stack_restore_options options = *given;
	struct mb_restore_options_read read = {0};
	struct mb_restoration run;
	struct mb_journal *journal = NULL;
	int lock_fd;
	enum mb_code code = take_lock(stack->env, &lock_fd, err);

	if (code)
		return code;
	begin(&run, stack->env, &options);
	/* What was asked for then holds, but for what concerns this run. */
	code = open_journal(&run, id, err);
	if (!code)
	{
		journal = run.journal;
		run.journal = NULL;
		mb_restore_options_load(&read, json_object_get(journal->plan, "options"));
		options.restore = read.options;
		options.flags |= (unsigned) mb_json_int(journal->plan, "flags", 0);
		code = go_on(&run, stack, journal->id, answer, err);
	}
	release_run(&run);
	mb_restore_options_release(&read);
	mb_journal_close(journal);
	close(lock_fd);
	return code;
}

enum mb_code
mb_stack_rollback(const struct mb_stack *stack, const struct mb_stack_restore_options *options,
				  const char *id, json_t **answer, struct mb_error *err)
{
	struct mb_restoration run;
	int lock_fd;
	enum mb_code code = take_lock(stack->env, &lock_fd, err);

	if (code)
		return code;
	begin(&run, stack->env, options);
	code = open_journal(&run, id, err);
	if (!code)
	{
		run.output_path = mb_journal_path(run.journal, "output.log");
		run.service_env.output_path = run.output_path;
		code = mb_restoration_load(&run, stack, err);
	}
	if (!code)
		code = mb_restoration_roll_back(&run, stack, answer, err);
	release_run(&run);
	close(lock_fd);
	return code;
}

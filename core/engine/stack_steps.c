/* stack_steps.c - the steps of a restore over a stack, each in the journal (see stack_restore.h). */
#include <string.h>

#include "core/base/time.h"
#include "core/engine/stack_restore_private.h"

typedef enum mb_code (*step_fn)(struct mb_restoration *run, size_t i, json_t *data,
								struct mb_error *err);

/* Done already: nothing.  Else begun, done by fn, done; data goes into the journal. */
static enum mb_code
do_step(struct mb_restoration *run, const char *name, step_fn fn, size_t i, struct mb_error *err)
{
	int64_t started_ms = mb_monotonic_ms();
	json_t *data;
	enum mb_code code;

	if (mb_journal_state(run->journal, name) == MB_STEP_DONE)
		return MB_OK;
	code = mb_cancel_check(run->env->cancel, err);
	if (!code)
		code = mb_journal_note(run->journal, name, MB_STEP_BEGUN, NULL, err);
	if (code)
		return code;
	data = json_object();
	code = fn(run, i, data, err);
	if (!code)
	{
		json_object_set_new(data, "seconds",
							json_real((double) (mb_monotonic_ms() - started_ms) / 1000));
		code = mb_journal_note(run->journal, name, MB_STEP_DONE, data, err);
	}
	json_decref(data);
	return code;
}

static void
step_name(char out[MB_STEP_TEXT], const char *what, const char *which)
{
	snprintf(out, MB_STEP_TEXT, "%s:%s", what, which);
}

static void
step_number(char out[MB_STEP_TEXT], const char *what, size_t i)
{
	snprintf(out, MB_STEP_TEXT, "%s:%zu", what, i);
}

/* -- hooks -------------------------------------------------------------------------------------------- */

static enum mb_code
run_hook(struct mb_restoration *run, size_t hook, json_t *data, struct mb_error *err)
{
	json_t *event = mb_restoration_event(run, "", NULL);
	enum mb_code code;

	(void) data;
	code = mb_hook_run(&run->options->hooks, (enum mb_hook) hook, event, run->env, run->output_path,
					   err);
	json_decref(event);
	return code;
}

static enum mb_code
hook_step(struct mb_restoration *run, enum mb_hook hook, struct mb_error *err)
{
	char name[MB_STEP_TEXT];

	if ((run->options->flags & MB_STACK_NO_HOOKS) || !run->options->hooks.commands[hook])
		return MB_OK;
	step_name(name, "hook", mb_hook_name(hook));
	return do_step(run, name, run_hook, hook, err);
}

void
mb_restoration_hook(struct mb_restoration *run, enum mb_hook hook, const char *status,
					const struct mb_error *cause)
{
	json_t *event;
	struct mb_error why;
	struct mb_env env = *run->env;

	if ((run->options->flags & MB_STACK_NO_HOOKS) || !run->options->hooks.commands[hook])
		return;
	/* Also when we are told to stop: somebody waits for the news. */
	env.cancel = NULL;
	event = mb_restoration_event(run, status, cause);
	mb_error_clear(&why);
	if (mb_hook_run(&run->options->hooks, hook, event, &env, run->output_path, &why))
		mb_restoration_warn(run, "%s", why.message);
	json_decref(event);
}

/* -- services ------------------------------------------------------------------------------------------ */

/* Every time that data is about to change: a host that came up again has started them by itself. */
enum mb_code
mb_restoration_stop(struct mb_restoration *run, const char *prefix, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = run->service_count; !code && i > 0; i--)
	{
		char name[MB_STEP_TEXT];

		step_number(name, prefix, i - 1);
		code = mb_journal_note(run->journal, name, MB_STEP_BEGUN, NULL, err);
		if (!code)
			code = mb_service_stop(&run->services[i - 1].service, &run->service_env, err);
		if (!code)
			code = mb_journal_note(run->journal, name, MB_STEP_DONE, NULL, err);
	}
	return code;
}

enum mb_code
mb_restoration_start(struct mb_restoration *run, const char *prefix, bool only_running,
					 struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->service_count; i++)
	{
		const struct mb_served *served = &run->services[i];
		char name[MB_STEP_TEXT];

		/* A component is started to be looked at; an application only when it ran before. */
		if (!served->was_running && (only_running || !served->service.component))
			continue;
		step_number(name, prefix, i);
		code = mb_journal_note(run->journal, name, MB_STEP_BEGUN, NULL, err);
		if (!code)
			code = mb_service_start(&served->service, &run->service_env, err);
		if (!code)
			code = mb_journal_note(run->journal, name, MB_STEP_DONE, NULL, err);
	}
	return code;
}

/* -- keeping --------------------------------------------------------------------------------------------- */

static enum mb_code
keep_place(struct mb_restoration *run, size_t i, json_t *data, struct mb_error *err)
{
	const struct mb_safety *safety = run->places[i].safety;

	(void) data;
	mb_log_info(run->env->log, "%s: %s %s%s%s", run->places[i].component,
				safety->method == MB_SAFETY_NONE ? "removing what is in" : "keeping what is in",
				safety->path, safety->kept ? " as " : "", safety->kept ? safety->kept : "");
	return mb_safety_keep(safety, err);
}

static enum mb_code
keep_part(struct mb_restoration *run, size_t i, json_t *data, struct mb_error *err)
{
	struct mb_component *component = run->session.stack.components[i];
	struct mb_restore *part = &run->session.parts[i];
	enum mb_code code = MB_OK;

	if (run->options->flags & MB_STACK_NO_SNAPSHOT)
		part->kept = json_pack("{s:b}", "none", 1);
	else
		code = component->ops->keep(component, part, err);
	if (!code && part->kept)
		json_object_set(data, "kept", part->kept);
	return code;
}

/* What is lost for good goes last: until then everything can be put back. */
static enum mb_code
keep_places(struct mb_restoration *run, bool lost, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->place_count; i++)
	{
		char name[MB_STEP_TEXT];

		if ((run->places[i].safety->method == MB_SAFETY_NONE) != lost)
			continue;
		step_number(name, "keep", i);
		code = do_step(run, name, keep_place, i, err);
	}
	return code;
}

static enum mb_code
keep_all(struct mb_restoration *run, struct mb_error *err)
{
	enum mb_code code = keep_places(run, false, err);
	size_t i;

	for (i = 0; !code && i < run->session.stack.count; i++)
	{
		struct mb_restore *part = &run->session.parts[i];
		char name[MB_STEP_TEXT];

		if (!part->own_place)
			continue;
		step_name(name, "kept", part->component);
		code = do_step(run, name, keep_part, i, err);
		/* By a process before us. */
		if (!code && !part->kept)
			part->kept = json_incref(json_object_get(mb_journal_data(run->journal, name), "kept"));
	}
	return code ? code : keep_places(run, true, err);
}

/* -- restoring -------------------------------------------------------------------------------------------- */

/* What a run that died has written of this component. */
static enum mb_code
clear_part(struct mb_restoration *run, const char *component, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->place_count; i++)
		if (strcmp(run->places[i].component, component) == 0)
			code = mb_safety_clear(run->places[i].safety, err);
	return code;
}

static enum mb_code
restore_part(struct mb_restoration *run, size_t i, json_t *data, struct mb_error *err)
{
	struct mb_restore *part = &run->session.parts[i];
	enum mb_code code;

	part->is_cleared = true;
	code = mb_restore_session_part(&run->session, i, err);
	if (!code)
	{
		mb_json_set_int(data, "entries", (int64_t) part->entries);
		mb_json_set_int(data, "bytes", (int64_t) part->bytes);
		json_object_set(data, "result", part->result);
	}
	return code;
}

static enum mb_code
restore_item(void *ctx, unsigned worker, size_t i, struct mb_error *err)
{
	struct mb_restoration *run = ctx;
	struct mb_restore *part = &run->session.parts[i];
	char name[MB_STEP_TEXT];
	enum mb_step_state state;
	enum mb_code code = MB_OK;

	(void) worker;
	step_name(name, "restore", part->component);
	state = mb_journal_state(run->journal, name);
	if (state == MB_STEP_BEGUN)
		code = clear_part(run, part->component, err);
	if (!code)
		code = do_step(run, name, restore_part, i, err);
	if (!code && state == MB_STEP_DONE)
	{
		const json_t *data = mb_journal_data(run->journal, name);

		part->entries = (uint64_t) mb_json_int(data, "entries", 0);
		part->bytes = (uint64_t) mb_json_int(data, "bytes", 0);
		json_decref(part->result);
		part->result = json_deep_copy(json_object_get(data, "result"));
		run->session.seconds[i] = json_number_value(json_object_get(data, "seconds"));
	}
	return code;
}

/* -- afterwards --------------------------------------------------------------------------------------------- */

static enum mb_code
check_health(struct mb_restoration *run, size_t i, json_t *data, struct mb_error *err)
{
	struct mb_component *component = run->session.stack.components[i];
	struct mb_restore *part = &run->session.parts[i];
	enum mb_code code;

	mb_progress_phase(part->progress, "starting");
	code = component->ops->health(component, part, err);
	mb_progress_phase(part->progress, code ? "not well" : "done");
	if (code)
		return mb_error_context(err, "\"%s\" is not well", component->name);
	json_object_set(data, "result", part->result);
	return MB_OK;
}

static enum mb_code
check_all(struct mb_restoration *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->session.stack.count; i++)
	{
		struct mb_restore *part = &run->session.parts[i];
		char name[MB_STEP_TEXT];

		if (!part->own_place)
			continue;
		step_name(name, "health", part->component);
		code = do_step(run, name, check_health, i, err);
		if (!code)
			run->healthy_after[i] =
				(double) (mb_journal_time(run->journal, name) - run->started_us) / 1e6;
	}
	return code;
}

static enum mb_code
check_references(struct mb_restoration *run, size_t i, json_t *data, struct mb_error *err)
{
	enum mb_code code = run->options->references(run->options->ctx, &run->references, err);

	(void) i;
	if (run->references)
		json_object_set(data, "references", run->references);
	/* It is told at the end; the restore itself is done. */
	if (code == MB_PARTIAL)
	{
		mb_restoration_warn(run, "%s", err->message);
		mb_error_clear(err);
		code = MB_OK;
	}
	return code;
}

static enum mb_code
references_step(struct mb_restoration *run, struct mb_error *err)
{
	enum mb_code code;

	if (!run->options->has_references || !run->options->references)
		return MB_OK;
	code = do_step(run, "references", check_references, 0, err);
	if (!code && !run->references)
		run->references =
			json_incref(json_object_get(mb_journal_data(run->journal, "references"), "references"));
	/* A check that could not be made says nothing against the data. */
	if (code && code != MB_INTERRUPTED)
	{
		mb_restoration_warn(run, "the reference check could not be made: %s", err->message);
		run->references = json_pack("{s:s}", "error", err->message);
		mb_error_clear(err);
		code = MB_OK;
	}
	return code;
}

enum mb_code
mb_restoration_run(struct mb_restoration *run, struct mb_error *err)
{
	unsigned count = (unsigned) run->session.stack.count;
	enum mb_code code = hook_step(run, MB_HOOK_BEFORE_RESTORE, err);

	if (!code)
		code = hook_step(run, MB_HOOK_STOP_SERVICES, err);
	if (!code && mb_journal_state(run->journal, "restored") != MB_STEP_DONE)
	{
		code = mb_restoration_stop(run, "stop", err);
		if (!code)
			code = keep_all(run, err);
	}
	if (!code)
		code = mb_pool_run(count ? count : 1, count, restore_item, run, run->env->cancel, err);
	if (!code)
		code = mb_journal_note(run->journal, "restored", MB_STEP_DONE, NULL, err);
	if (!code)
		code = mb_restoration_start(run, "start", false, err);
	if (!code)
		code = hook_step(run, MB_HOOK_START_SERVICES, err);
	if (!code)
		code = check_all(run, err);
	if (!code)
		code = hook_step(run, MB_HOOK_HEALTH_CHECK, err);
	if (!code)
		code = references_step(run, err);
	if (!code)
		code = hook_step(run, MB_HOOK_AFTER_RESTORE, err);
	return code;
}

/* -- before any harm ---------------------------------------------------------------------------------------- */

bool
mb_restoration_has_harmed(struct mb_restoration *run)
{
	char name[MB_STEP_TEXT];
	size_t i;

	for (i = 0; i < run->session.stack.count; i++)
	{
		step_name(name, "restore", run->session.parts[i].component);
		if (mb_journal_state(run->journal, name) != MB_STEP_NEW)
			return true;
	}
	for (i = 0; i < run->place_count; i++)
	{
		step_number(name, "keep", i);
		if (run->places[i].safety->method == MB_SAFETY_NONE &&
			mb_journal_state(run->journal, name) != MB_STEP_NEW)
			return true;
	}
	return false;
}

static enum mb_code
put_all_back(struct mb_restoration *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->place_count; i++)
	{
		const struct mb_safety *safety = run->places[i].safety;
		char name[MB_STEP_TEXT];

		step_number(name, "keep", i);
		if (mb_journal_state(run->journal, name) != MB_STEP_NEW &&
			safety->method != MB_SAFETY_EMPTY && safety->method != MB_SAFETY_NONE)
			code = mb_safety_put_back(safety, err);
	}
	return code;
}

void
mb_restoration_abort(struct mb_restoration *run, struct mb_error *err)
{
	struct mb_error why;
	enum mb_code code;

	mb_error_clear(&why);
	/* Being told to stop ends here, not in the middle. */
	run->service_env.cancel = NULL;
	code = mb_journal_note(run->journal, "aborted", MB_STEP_BEGUN, NULL, &why);
	if (!code)
		code = put_all_back(run, &why);
	if (!code)
		code = mb_restoration_start(run, "again", true, &why);
	if (!code && mb_journal_state(run->journal, "hook:stop-services") != MB_STEP_NEW)
		mb_restoration_hook(run, MB_HOOK_START_SERVICES, "aborted", err);
	if (!code)
		code = mb_journal_note(run->journal, "aborted", MB_STEP_DONE, NULL, &why);
	if (code)
	{
		mb_error_detail(err, "It could not be taken back by itself: %.700s", why.message);
		mb_error_hint(err, "Run \"mbackup rollback %s\".", run->session.id);
	}
	else if (!err->detail[0])
		mb_error_detail(err, "Nothing was restored; what had been stopped or moved is as before.");
}

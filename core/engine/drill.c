/* drill.c - see drill.h: the steps of a drill.  Its scratch directory and its history are drill_place.c's. */
#include "core/engine/drill.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/process.h"
#include "core/base/time.h"
#include "core/engine/drill_private.h"

static double
seconds_since(int64_t started_ms)
{
	return (double) (mb_monotonic_ms() - started_ms) / 1000;
}

static void
set_seconds(json_t *object, const char *key, double seconds)
{
	json_object_set_new(object, key, json_real(seconds));
}

/* -- restoring ------------------------------------------------------------------------------------ */

static enum mb_code
restore(struct mb_drill *drill, unsigned flags, json_t **answer, struct mb_error *err)
{
	struct mb_restore_options options = {.backup = drill->options->backup,
										 .target = drill->options->target,
										 .destinations = drill->destinations,
										 .destination_count = drill->stack->count,
										 .wishes = {.flags = flags,
													.tablespace_all = drill->tablespaces}};

	return mb_restore_run(drill->stack, &options, answer, err);
}

/* The component's part of the restore's answer. */
static const json_t *
part_of(const json_t *answer, const char *name)
{
	json_t *parts = json_object_get(json_object_get(answer, "restore"), "components"), *part;
	size_t i;

	json_array_foreach(parts, i,
					   part) if (strcmp(mb_json_str(part, "name", ""), name) == 0) return part;
	return NULL;
}

/* Which backups will it be, and is there room for them? */
static enum mb_code
plan(struct mb_drill *drill, struct mb_error *err)
{
	const struct mb_repo *repo = drill->stack->env->repo;
	json_t *answer = NULL;
	enum mb_code code = restore(drill, MB_RESTORE_DRY_RUN, &answer, err);
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; !code && i < drill->stack->count; i++)
	{
		const char *name = drill->stack->components[i]->name;
		const char *id = mb_json_str(part_of(answer, name), "backup", "");

		code = mb_commit_get(repo, name, id, &drill->commits[i], err);
		bytes += code ? 0 : drill->commits[i].bytes;
	}
	json_decref(answer);
	mb_json_set_int(drill->report, "bytes", (int64_t) bytes);
	return code ? code : mb_drill_room(drill, bytes, err);
}

/* -- looking -------------------------------------------------------------------------------------- */

static json_t *
component_report(const struct mb_drill *drill, size_t i)
{
	const struct mb_commit *commit = &drill->commits[i];
	const json_t *part = part_of(drill->restored, commit->component);
	json_t *report = json_object();

	mb_json_set_str(report, "name", commit->component);
	mb_json_set_str(report, "kind", commit->kind);
	mb_json_set_str(report, "backup", commit->id);
	mb_json_set_int(report, "entries", mb_json_int(part, "entries", 0));
	mb_json_set_int(report, "bytes", mb_json_int(part, "bytes", 0));
	json_object_set(report, "restore_seconds", json_object_get(part, "seconds"));
	if (json_array_size(json_object_get(part, "warnings")) > 0)
		json_object_set(report, "warnings", json_object_get(part, "warnings"));
	return report;
}

/* Its driver brings it to life and looks at it. */
static enum mb_code
revive(struct mb_drill *drill, size_t i, struct mb_error *err)
{
	struct mb_component *component = drill->stack->components[i];
	struct mb_trial *trial = &drill->trials[i];
	int64_t started_ms = mb_monotonic_ms();
	enum mb_code code;

	*trial = (struct mb_trial){.commit = &drill->commits[i],
							   .directory = drill->destinations[i].destination,
							   .sockets = drill->sockets[i],
							   .restored = part_of(drill->restored, component->name),
							   .progress = mb_env_progress(drill->stack->env, component->name),
							   .report = component_report(drill, i),
							   .environment = json_object()};
	json_array_append(json_object_get(drill->report, "components"), trial->report);
	code = component->ops->revive(component, trial, err);
	set_seconds(trial->report, "start_seconds", (double) trial->ready_ms / 1000);
	set_seconds(trial->report, "check_seconds",
				seconds_since(started_ms) - (double) trial->ready_ms / 1000);
	mb_progress_phase(trial->progress, code ? "failed" : "done");
	return code ? mb_error_context(err, "\"%s\"", component->name) : MB_OK;
}

/* All of them, also when one is not good: the report should say everything.  The first failure counts. */
static enum mb_code
revive_all(struct mb_drill *drill, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; i < drill->stack->count; i++)
	{
		struct mb_error why;

		mb_error_clear(&why);
		if (mb_cancel_check(drill->stack->env->cancel, err))
			return err->code;
		if (revive(drill, i, &why) && !code)
		{
			*err = why;
			code = why.code;
		}
		if (why.code == MB_INTERRUPTED)
			return *err = why, why.code;
		drill->ready_ms += drill->trials[i].ready_ms;
	}
	return code;
}

/* -- the health hook ------------------------------------------------------------------------------ */

/* MBACKUP_DRILL_<NAME>_<KEY>=value; added to the list. */
static void
add_variable(struct mb_drill *drill, const char *name, const char *key, const char *value)
{
	char *text = mb_asprintf("MBACKUP_DRILL_%s%s%s=%s", name, *name ? "_" : "", key, value);
	char *p;

	for (p = text; *p && *p != '='; p++)
		*p = *p == '-' ? '_' : (char) toupper((unsigned char) *p);
	drill->variables = mb_grow(drill->variables, &drill->variable_cap, drill->variable_count + 2,
							   sizeof(*drill->variables));
	drill->variables[drill->variable_count++] = text;
	drill->variables[drill->variable_count] = NULL;
}

static void
make_variables(struct mb_drill *drill)
{
	const char *key;
	json_t *value;
	size_t i;

	add_variable(drill, "", "ID", drill->id);
	add_variable(drill, "", "DIRECTORY", drill->root);
	for (i = 0; i < drill->stack->count; i++)
	{
		const char *name = drill->stack->components[i]->name;

		add_variable(drill, name, "DIRECTORY", drill->destinations[i].destination);
		json_object_foreach(drill->trials[i].environment, key, value)
			add_variable(drill, name, key, json_string_value(value));
	}
}

/* What it said in the end: one line, for the message. */
static const char *
last_line(const char *tail)
{
	const char *line = tail ? strrchr(tail, '\n') : NULL;

	line = line ? line + 1 : tail;
	return line && *line ? line : "it said nothing";
}

static enum mb_code
ask_health(struct mb_drill *drill, struct mb_error *err)
{
	const char *argv[] = {"/bin/sh", "-c", drill->options->health, NULL};
	struct mb_process process = {.argv = argv,
								 .timeout_ms = drill->options->health_timeout_ms,
								 .cancel = drill->stack->env->cancel};
	json_t *report = json_object();
	int64_t started_ms = mb_monotonic_ms();
	int status = -1;
	char *tail = NULL, *output = mb_path_join(drill->root, "health.log");
	enum mb_code code;

	make_variables(drill);
	process.environment = (const char *const *) drill->variables;
	process.output_path = output;
	code = mb_process_run(&process, &status, &tail, err);
	set_seconds(report, "seconds", seconds_since(started_ms));
	if (!code)
		mb_json_set_int(report, "status", status);
	mb_json_set_str(report, "output", tail ? tail : "");
	json_object_set_new(drill->report, "health", report);
	if (!code && status != 0)
		code = mb_fail(err, MB_NEGATIVE, "the health check says no (status %d): %.600s", status,
					   last_line(tail));
	free(output);
	free(tail);
	return code;
}

/* -- the whole ------------------------------------------------------------------------------------ */

static enum mb_code
carry_out(struct mb_drill *drill, struct mb_error *err)
{
	int64_t started_ms = mb_monotonic_ms();
	enum mb_code code = plan(drill, err);

	set_seconds(drill->phases, "plan", seconds_since(started_ms));
	if (code)
		return code;
	drill->is_under_way = true;
	started_ms = mb_monotonic_ms();
	code = restore(drill, 0, &drill->restored, err);
	set_seconds(drill->phases, "restore", seconds_since(started_ms));
	if (code)
		return code;
	drill->restore_ms = mb_monotonic_ms() - started_ms;
	started_ms = mb_monotonic_ms();
	code = revive_all(drill, err);
	set_seconds(drill->phases, "start", (double) drill->ready_ms / 1000);
	set_seconds(drill->phases, "check",
				seconds_since(started_ms) - (double) drill->ready_ms / 1000);
	if (code)
		return code;
	drill->was_ready = true;
	started_ms = mb_monotonic_ms();
	if (drill->options->health)
	{
		code = ask_health(drill, err);
		set_seconds(drill->phases, "health", seconds_since(started_ms));
	}
	return code;
}

static void
lay_down_all(struct mb_drill *drill)
{
	size_t i;

	for (i = drill->stack->count; i > 0; i--)
	{
		struct mb_component *component = drill->stack->components[i - 1];

		component->ops->lay_down(component, &drill->trials[i - 1]);
	}
}

/* What was asked for, and what came of it. */
static void
report_moments(struct mb_drill *drill)
{
	const json_t *answer = json_object_get(drill->restored, "restore");
	int64_t reached_us = mb_json_time(answer, "reached");
	int64_t asked_us = drill->options->target.kind == MB_TARGET_TIME
						   ? drill->options->target.time_us
					   : drill->options->target.kind == MB_TARGET_LATEST ? drill->started_us
																		 : reached_us;

	json_object_set(drill->report, "set", json_object_get(answer, "backup"));
	json_object_set(drill->report, "target", json_object_get(answer, "target"));
	if (drill->was_ready)
		set_seconds(drill->report, "rto_seconds",
					(double) (drill->restore_ms + drill->ready_ms) / 1000);
	if (!reached_us)
		return;
	mb_json_set_time(drill->report, "asked", asked_us);
	mb_json_set_time(drill->report, "reached", reached_us);
	set_seconds(drill->report, "rpo_seconds",
				asked_us > reached_us ? (double) (asked_us - reached_us) / 1e6 : 0);
}

static void
report_end(struct mb_drill *drill, enum mb_code code, const struct mb_error *failed)
{
	json_t *report = drill->report;
	json_t *error = json_object();

	report_moments(drill);
	mb_json_set_str(report, "status", code ? "failed" : "passed");
	if (code)
	{
		mb_json_set_str(error, "code", mb_code_name(code));
		mb_json_set_str(error, "message", failed->message);
		mb_json_set_str(error, "detail", failed->detail);
		json_object_set(report, "error", error);
	}
	json_decref(error);
	json_object_set(report, "phases", drill->phases);
	mb_json_set_time(report, "finished", mb_time_now_us());
	set_seconds(report, "seconds", (double) (mb_time_now_us() - drill->started_us) / 1e6);
}

/* Did it come to a verdict about what is stored? */
static bool
is_verdict(const struct mb_drill *drill, enum mb_code code)
{
	if (code == MB_INTERRUPTED)
		return false;
	/* Of a plan only what is damaged says something; the rest is what was asked for. */
	return drill->is_under_way || code == MB_CORRUPT;
}

enum mb_code
mb_drill_run(const struct mb_stack *stack, const struct mb_drill_options *options, json_t **answer,
			 struct mb_error *err)
{
	struct mb_drill drill = {.stack = stack, .options = options};
	struct mb_error why;
	int64_t started_ms;
	enum mb_code code;

	mb_error_clear(err);
	*answer = NULL;
	code = mb_drill_place_make(&drill, err);
	if (!code)
		code = carry_out(&drill, err);
	started_ms = mb_monotonic_ms();
	lay_down_all(&drill);
	mb_drill_place_remove(&drill);
	set_seconds(drill.phases, "tear_down", seconds_since(started_ms));
	if (is_verdict(&drill, code))
	{
		report_end(&drill, code, err);
		*answer = json_pack("{s:O}", "drill", drill.report);
		mb_error_clear(&why);
		if (mb_drill_keep(&drill, &why))
			mb_log_warning(stack->env->log, "the drill could not be noted: %s", why.message);
	}
	mb_drill_release(&drill);
	return code;
}

/* restore_run.c - see restore_session.h; mb_restore_run: plan everything, then restore everything. */
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/docs.h"
#include "core/engine/restore_session.h"

/* -- finding what to restore --------------------------------------------------------------- */

/* Does a set hold every component that is to be restored? */
static bool
holds_all(const struct mb_restore_session *run, const json_t *set)
{
	size_t i;

	for (i = 0; i < run->stack.count; i++)
		if (!mb_set_commit_id(set, run->stack.components[i]->name))
			return false;
	return true;
}

/*
 * "latest" is the newest set that holds what is to be restored: a later one may be
 * partial, or of one component only.  One that cannot be read may have been the better one.
 */
static enum mb_code
latest_set(struct mb_restore_session *run, struct mb_error *err)
{
	json_t *sets;
	size_t i;

	if (mb_sets_list(run->stack.env->repo, &sets, err))
		return err->code;
	for (i = json_array_size(sets); i > 0 && !run->set; i--)
	{
		json_t *set = json_array_get(sets, i - 1);

		if (holds_all(run, set))
			run->set = json_incref(set);
		else if (!run->unread && mb_doc_is_unread(set))
			run->unread = json_incref(set);
	}
	if (run->set && i + 1 < json_array_size(sets))
		mb_log_info(run->stack.env->log, "backup %s is the newest that holds all of it",
					mb_json_str(run->set, "id", "?"));
	json_decref(sets);
	if (!run->set && run->unread)
	{
		mb_fail(err, mb_doc_unread_code(run->unread),
				"backup %s cannot be read, and no older one holds all: %s",
				mb_json_str(run->unread, "id", "?"), mb_json_str(run->unread, "message", "?"));
		return mb_error_hint(err, "Restore by time (--to-time, --to-latest), which needs the "
								  "components' backups only; \"mbackup verify\" tells what else "
								  "is damaged.");
	}
	/* None holds all: let the newest say what it lacks. */
	return run->set ? MB_OK : mb_set_find(run->stack.env->repo, "latest", &run->set, err);
}

/* Refuse what no component could know: a moment that is still to come, or has no time. */
static enum mb_code
check_target(const struct mb_restore_session *run, struct mb_error *err)
{
	const struct mb_target *target = &run->options->target;
	bool of_the_clock = target->kind == MB_TARGET_LSN || target->kind == MB_TARGET_XID ||
						target->kind == MB_TARGET_NAME;

	if (target->kind == MB_TARGET_TIME && target->time_us > mb_time_now_us() &&
		!mb_stack_clock(&run->stack))
		return mb_fail(err, MB_NOT_FOUND, "target time %s is in the future", target->text);
	if (of_the_clock && !mb_stack_clock(&run->stack))
	{
		mb_fail(err, MB_UNSUPPORTED, "\"%s\" says something to PostgreSQL only", target->text);
		return mb_error_hint(err, "Restore postgres in the same run, or give --to-time or "
								  "--to-mark.");
	}
	return MB_OK;
}

static enum mb_code
load_cut(struct mb_restore_session *run, struct mb_error *err)
{
	const struct mb_restore_options *options = run->options;
	const struct mb_repo *repo = run->stack.env->repo;
	enum mb_code code = MB_OK;

	if (options->target.kind == MB_TARGET_MARK)
	{
		code = mb_mark_find(repo, options->target.text, &run->mark, err);
		if (!code)
			code = mb_cut_from_json(&run->cut, json_object_get(run->mark, "cut"), err);
	}
	if (!code && (options->backup || options->target.kind == MB_TARGET_BACKUP))
	{
		code = !options->backup || strcmp(options->backup, "latest") == 0
				   ? latest_set(run, err)
				   : mb_set_find(repo, options->backup, &run->set, err);
		if (!code && mb_doc_is_unread(run->set))
			code = mb_fail(err, mb_doc_unread_code(run->set), "backup %s cannot be read: %s",
						   mb_json_str(run->set, "id", "?"), mb_json_str(run->set, "message", "?"));
		if (!code && options->target.kind == MB_TARGET_BACKUP)
			code = mb_cut_from_json(&run->cut, json_object_get(run->set, "cut"), err);
	}
	return code;
}

static enum mb_code
load_candidates(struct mb_restore *part, struct mb_error *err)
{
	const struct mb_repo *repo = part->env->repo;
	struct mb_commit_names names = {0};
	enum mb_code code = mb_commit_list(repo, part->component, &names, err);
	size_t i;

	part->candidates = mb_calloc(names.count, sizeof(*part->candidates));
	for (i = 0; !code && i < names.count; i++)
	{
		code = mb_commit_head(repo, part->component, names.items[i].id, &part->candidates[i], err);
		if (!code)
			part->candidate_count++;
	}
	if (!code && names.count == 0)
	{
		code = mb_fail(err, MB_NOT_FOUND, "there is no backup of \"%s\" in this repository",
					   part->component);
		mb_error_hint(err, "Restore the others with --component, or run \"mbackup list\".");
	}
	mb_commit_names_release(&names);
	return code;
}

static enum mb_code
prefill(struct mb_restore_session *run, struct mb_restore *part, struct mb_error *err)
{
	const char *id = NULL;
	size_t i;

	part->chosen = SIZE_MAX;
	if (run->mark)
		id = mb_json_str(json_object_get(run->mark, "bases"), part->component, NULL);
	else if (run->set)
		id = mb_set_commit_id(run->set, part->component);
	if (!id && (run->mark || run->set))
	{
		mb_fail(err, MB_NOT_FOUND, "%s \"%s\" holds no \"%s\"", run->mark ? "mark" : "backup",
				mb_json_str(run->mark ? run->mark : run->set, run->mark ? "name" : "id", "?"),
				part->component);
		return mb_error_hint(err, "Restore the others with --component, or choose another one.");
	}
	for (i = 0; id && i < part->candidate_count; i++)
		if (strcmp(part->candidates[i].id, id) == 0)
			part->chosen = i;
	if (id && part->chosen == SIZE_MAX)
		return mb_fail(err, MB_CORRUPT, "backup %s of \"%s\" is missing in the repository", id,
					   part->component);
	return MB_OK;
}

static const char *
destination_of(const struct mb_restore_session *run, const char *component)
{
	size_t i;

	for (i = 0; i < run->options->destination_count; i++)
		if (strcmp(run->options->destinations[i].component, component) == 0)
			return run->options->destinations[i].destination;
	return NULL;
}

enum mb_code
mb_restore_session_prepare(struct mb_restore_session *run, size_t i, struct mb_error *err)
{
	struct mb_component *component = run->stack.components[i];
	struct mb_restore *part = &run->parts[i];
	enum mb_code code;

	part->env = run->stack.env;
	snprintf(part->id, sizeof(part->id), "%s", run->id);
	part->component = component->name;
	part->destination = destination_of(run, component->name);
	part->own_place = !part->destination && (run->options->wishes.flags & MB_RESTORE_REPLACE);
	part->target = run->options->target;
	if (run->options->target.kind == MB_TARGET_BACKUP ||
		run->options->target.kind == MB_TARGET_MARK)
		part->target.cut = &run->cut;
	part->wishes = &run->options->wishes;
	part->only = run->options->only;
	part->only_count = run->options->only_count;
	part->progress = mb_env_progress(run->stack.env, component->name);
	part->plan = json_object();
	part->result = json_object();
	code = load_candidates(part, err);
	if (!code)
		code = prefill(run, part, err);
	if (!code && run->unread)
		mb_restore_warn(part, "backup %s is newer, and passed over: %s",
						mb_json_str(run->unread, "id", "?"),
						mb_json_str(run->unread, "message", "it cannot be read"));
	return code;
}

/* The clock plans first, because it may be the only one who knows the time of the target. */
static enum mb_code
plan_all(struct mb_restore_session *run, struct mb_error *err)
{
	int64_t stack_time_us = 0;
	size_t i;

	if (run->options->target.kind == MB_TARGET_TIME)
		stack_time_us = run->options->target.time_us;
	else if (run->cut.time_us)
		stack_time_us = run->cut.time_us;
	for (i = 0; i < run->stack.count; i++)
	{
		struct mb_component *component = run->stack.components[i];
		struct mb_restore *part = &run->parts[i];

		part->stack_time_us = stack_time_us;
		if (run->options->target.kind == MB_TARGET_XID && i > 0)
			mb_restore_warn(part,
							"when transaction %s ended is not known: this is its state at the "
							"end of the WAL",
							run->options->target.text);
		if (component->ops->plan(component, part, err))
			return mb_error_context(err, "could not plan the restore of \"%s\"", component->name);
		MB_ASSERT(part->chosen < part->candidate_count);
		if (component->ops->capabilities & MB_CAP_CLOCK)
			stack_time_us = part->stack_time_us;
		/* A driver whose plan needed all of it has loaded it. */
		if (!part->commit.id[0] &&
			mb_commit_get(part->env->repo, component->name, part->candidates[part->chosen].id,
						  &part->commit, err))
			return err->code;
		if (mb_restore_packs(part, err))
			return mb_error_context(err, "\"%s\" cannot be restored from backup %s",
									component->name, part->commit.id);
	}
	return MB_OK;
}

/* -- restoring ------------------------------------------------------------------------------- */

/* Empty what a failed restore has made; the directories themselves may have been there before. */
static void
discard_part(struct mb_restore *part)
{
	size_t i;

	for (i = part->made_count; i > 0; i--)
	{
		struct mb_error err;

		mb_error_clear(&err);
		if (mb_rmtree(part->made[i - 1], &err))
			mb_log_warning(part->env->log, "%s: %s", part->component, err.message);
	}
}

enum mb_code
mb_restore_session_part(struct mb_restore_session *run, size_t i, struct mb_error *err)
{
	struct mb_component *component = run->stack.components[i];
	struct mb_restore *part = &run->parts[i];
	int64_t started_ms = mb_monotonic_ms();
	enum mb_code code;

	atomic_store(&part->progress->total_bytes, part->commit.bytes);
	mb_progress_phase(part->progress, "restoring");
	code = component->ops->restore(component, part, err);
	run->seconds[i] = (double) (mb_monotonic_ms() - started_ms) / 1000;
	mb_progress_phase(part->progress, code ? "failed" : "done");
	if (!code)
		return MB_OK;
	/* What is in the way of a restore that replaces is its journal's business. */
	if (run->options->wishes.flags & MB_RESTORE_REPLACE)
		return mb_error_context(err, "could not restore \"%s\"", component->name);
	discard_part(part);
	mb_error_context(err, "could not restore \"%s\"", component->name);
	if (i > 0)
		mb_error_detail(err, "%zu of %zu components were restored before%s.", i, run->stack.count,
						part->made_count > 0 ? "; what this one had written was removed again"
											 : "");
	return code;
}

/* -- the answer -------------------------------------------------------------------------------- */

static json_t *
target_json(const struct mb_restore_session *run)
{
	static const char *const kinds[] = {"backup", "latest", "time", "mark", "lsn", "xid", "name"};
	const struct mb_target *target = &run->options->target;
	json_t *json = json_object();

	mb_json_set_str(json, "kind", kinds[target->kind]);
	if (target->text)
		mb_json_set_str(json, "value", target->text);
	return json;
}

static json_t *
part_json(const struct mb_restore_session *run, size_t i)
{
	const struct mb_restore *part = &run->parts[i];
	json_t *json = json_object();

	mb_json_set_str(json, "name", part->component);
	mb_json_set_str(json, "kind", part->commit.kind);
	mb_json_set_str(json, "backup", part->commit.id);
	mb_json_set_int(json, "entries", (int64_t) part->entries);
	mb_json_set_int(json, "bytes", (int64_t) part->bytes);
	json_object_set_new(json, "seconds", json_real(run->seconds[i]));
	if (part->wishes->flags & MB_RESTORE_DELTA)
	{
		mb_json_set_int(json, "written_bytes", (int64_t) part->written_bytes);
		mb_json_set_int(json, "removed", (int64_t) part->removed);
	}
	if (part->destination)
		mb_json_set_str(json, "destination", part->destination);
	if (run->options->wishes.flags & MB_RESTORE_DRY_RUN)
		json_object_set(json, "plan", part->plan);
	json_object_update(json, part->result);
	return json;
}

json_t *
mb_restore_session_answer(const struct mb_restore_session *run)
{
	json_t *restore = json_object();
	json_t *components = json_array();
	int64_t reached_us = 0;
	size_t i;

	for (i = 0; i < run->stack.count; i++)
	{
		json_array_append_new(components, part_json(run, i));
		if (run->parts[i].stack_time_us > reached_us)
			reached_us = run->parts[i].stack_time_us;
	}
	mb_json_set_str(restore, "id", run->id);
	if (run->set)
		mb_json_set_str(restore, "backup", mb_json_str(run->set, "id", ""));
	else
		json_object_set_new(restore, "backup", json_null());
	json_object_set_new(restore, "target", target_json(run));
	if (reached_us)
		mb_json_set_time(restore, "reached", reached_us);
	json_object_set_new(restore, "components", components);
	json_object_set_new(restore, "rto_seconds",
						json_real((double) (mb_monotonic_ms() - run->started_ms) / 1000));
	json_object_set_new(restore, "rpo_seconds",
						reached_us ? json_real((double) (mb_time_now_us() - reached_us) / 1e6)
								   : json_null());
	mb_json_set_bool(restore, "rollback", false);
	if (run->options->wishes.flags & MB_RESTORE_DRY_RUN)
		mb_json_set_bool(restore, "dry_run", true);
	return json_pack("{s:o}", "restore", restore);
}

void
mb_restore_session_release(struct mb_restore_session *run)
{
	size_t i, j;

	for (i = 0; run->parts && i < run->stack.count; i++)
	{
		struct mb_restore *part = &run->parts[i];

		for (j = 0; j < part->candidate_count; j++)
			mb_commit_release(&part->candidates[j]);
		free(part->candidates);
		for (j = 0; j < part->made_count; j++)
			free(part->made[j]);
		free(part->made);
		mb_commit_release(&part->commit);
		json_decref(part->plan);
		json_decref(part->result);
		json_decref(part->kept);
	}
	free(run->parts);
	free(run->seconds);
	json_decref(run->set);
	json_decref(run->unread);
	json_decref(run->mark);
	mb_cut_release(&run->cut);
	mb_stack_release(&run->stack);
}

/* The components that are wanted, and room for their parts. */
enum mb_code
mb_restore_session_begin(struct mb_restore_session *run, const struct mb_stack *stack,
						 const struct mb_restore_options *options, struct mb_error *err)
{
	char **names = mb_calloc(options->destination_count + 1, sizeof(*names));
	enum mb_code code;
	size_t i;

	memset(run, 0, sizeof(*run));
	run->options = options;
	run->started_ms = mb_monotonic_ms();
	for (i = 0; i < options->destination_count; i++)
		names[i] = options->destinations[i].component;
	code = mb_stack_select(&run->stack, stack, names, options->destination_count, err);
	free(names);
	if (code)
		return code;
	/* Not the store's time: a restore must work from a repository that is read-only. */
	mb_id_new(run->id, mb_time_now_us());
	run->parts = mb_calloc(run->stack.count, sizeof(*run->parts));
	run->seconds = mb_calloc(run->stack.count, sizeof(*run->seconds));
	return MB_OK;
}

enum mb_code
mb_restore_session_plan(struct mb_restore_session *run, const struct mb_stack *stack,
						const struct mb_restore_options *options, struct mb_error *err)
{
	enum mb_code code = mb_restore_session_begin(run, stack, options, err);
	size_t i;

	if (!code)
		code = check_target(run, err);
	if (!code)
		code = load_cut(run, err);
	for (i = 0; !code && i < run->stack.count; i++)
		code = mb_restore_session_prepare(run, i, err);
	if (!code)
		code = plan_all(run, err);
	return code;
}

/* -- all at once ----------------------------------------------------------------------------------- */

enum mb_code
mb_restore_run(const struct mb_stack *stack, const struct mb_restore_options *options,
			   json_t **answer, struct mb_error *err)
{
	struct mb_restore_session run;
	enum mb_code code = mb_restore_session_plan(&run, stack, options, err);
	size_t i;

	for (i = 0; !code && !(options->wishes.flags & MB_RESTORE_DRY_RUN) && i < run.stack.count; i++)
	{
		code = mb_cancel_check(stack->env->cancel, err);
		if (!code)
			code = mb_restore_session_part(&run, i, err);
	}
	if (!code)
		*answer = mb_restore_session_answer(&run);
	mb_restore_session_release(&run);
	return code;
}

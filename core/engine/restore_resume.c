/* restore_resume.c - see restore_session.h: a planned restore, saved, and gone on with by another process. */
#include <string.h>

#include "core/engine/restore_session.h"

json_t *
mb_restore_session_save(const struct mb_restore_session *run)
{
	json_t *json = json_object(), *parts = json_array();
	size_t i;

	mb_json_set_str(json, "id", run->id);
	if (run->set)
		json_object_set(json, "set", run->set);
	if (run->cut.positions)
		json_object_set_new(json, "cut", mb_cut_to_json(&run->cut));
	for (i = 0; i < run->stack.count; i++)
	{
		const struct mb_restore *part = &run->parts[i];
		json_t *saved = json_object();

		mb_json_set_str(saved, "name", part->component);
		mb_json_set_str(saved, "backup", part->candidates[part->chosen].id);
		mb_json_set_bool(saved, "own_place", part->own_place);
		mb_json_set_int(saved, "stack_time_us", part->stack_time_us);
		if (part->destination)
			mb_json_set_str(saved, "destination", part->destination);
		json_object_set(saved, "plan", part->plan);
		json_object_set(saved, "result", part->result);
		json_array_append_new(parts, saved);
	}
	json_object_set_new(json, "parts", parts);
	return json;
}

static enum mb_code
resume_part(struct mb_restore_session *run, size_t i, const json_t *saved, struct mb_error *err)
{
	struct mb_restore *part = &run->parts[i];
	const char *id = mb_json_str(saved, "backup", "");
	enum mb_code code;

	if (strcmp(mb_json_str(saved, "name", ""), run->stack.components[i]->name) != 0)
		return mb_fail(err, MB_CONFIG, "the restore was of other components than \"%s\"",
					   run->stack.components[i]->name);
	code = mb_restore_session_prepare(run, i, err);
	for (part->chosen = 0; !code && part->chosen < part->candidate_count; part->chosen++)
		if (strcmp(part->candidates[part->chosen].id, id) == 0)
			break;
	if (!code && part->chosen == part->candidate_count)
		code = mb_fail(err, MB_NOT_FOUND, "backup %s of \"%s\" is not in the repository any more",
					   id, part->component);
	if (!code)
		code = mb_commit_get(part->env->repo, part->component, id, &part->commit, err);
	if (code)
		return code;
	part->own_place = mb_json_bool(saved, "own_place", false);
	part->destination = mb_json_str(saved, "destination", NULL);
	part->stack_time_us = mb_json_int(saved, "stack_time_us", 0);
	json_decref(part->plan);
	part->plan = json_deep_copy(json_object_get(saved, "plan"));
	json_decref(part->result);
	part->result = json_deep_copy(json_object_get(saved, "result"));
	return MB_OK;
}

enum mb_code
mb_restore_session_resume(struct mb_restore_session *run, const struct mb_stack *stack,
						  const struct mb_restore_options *options, const json_t *saved,
						  struct mb_error *err)
{
	const json_t *parts = json_object_get(saved, "parts");
	enum mb_code code = mb_restore_session_begin(run, stack, options, err);
	size_t i;

	if (code)
		return code;
	snprintf(run->id, sizeof(run->id), "%s", mb_json_str(saved, "id", ""));
	run->set = json_incref(json_object_get(saved, "set"));
	if (json_object_get(saved, "cut"))
		code = mb_cut_from_json(&run->cut, json_object_get(saved, "cut"), err);
	if (!code && json_array_size(parts) != run->stack.count)
		code =
			mb_fail(err, MB_CONFIG, "the restore was of %zu components, the configuration has %zu",
					json_array_size(parts), run->stack.count);
	for (i = 0; !code && i < run->stack.count; i++)
		code = resume_part(run, i, json_array_get(parts, i), err);
	return code;
}

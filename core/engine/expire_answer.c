/* expire_answer.c - what expire did, and why, as JSON. */

#include "core/base/time.h"
#include "core/engine/expire_private.h"

static const char *
action_of(const struct mb_kept_set *set)
{
	size_t i;

	for (i = 0; set->is_kept && i < set->part_count; i++)
		if (!set->parts[i].is_kept)
			return "reduce";
	return set->is_kept ? "keep" : "expire";
}

static json_t *
set_json(const struct mb_kept_set *set)
{
	json_t *json = json_object(), *kept = json_array(), *gone = json_array();
	size_t i;

	for (i = 0; i < set->part_count; i++)
		json_array_append_new(set->parts[i].is_kept ? kept : gone,
							  json_string(set->parts[i].component));
	mb_json_set_str(json, "id", set->id);
	mb_json_set_time(json, "time", set->time_us);
	mb_json_set_str(json, "action", action_of(set));
	json_object_set(json, "reasons", set->why);
	json_object_set_new(json, "kept", kept);
	json_object_set_new(json, "expired", gone);
	mb_json_set_int(json, "bytes", mb_json_int(set->set, "bytes", 0));
	return json;
}

static json_t *
mark_json(const struct mb_kept_mark *mark)
{
	json_t *json = json_object();

	mb_json_set_str(json, "id", mb_json_str(mark->mark, "id", ""));
	mb_json_set_str(json, "name", mb_json_str(mark->mark, "name", ""));
	mb_json_set_time(json, "time", mb_json_time(mark->mark, "time"));
	mb_json_set_str(json, "action", mark->is_kept ? "keep" : "expire");
	json_object_set(json, "reasons", mark->why);
	return json;
}

static json_t *
windows_json(const struct mb_verdict *verdict)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < verdict->window_count; i++)
	{
		json_t *json = json_object();

		mb_json_set_str(json, "component", verdict->windows[i].component);
		if (verdict->windows[i].from_us == INT64_MIN)
			json_object_set_new(json, "from", json_null());
		else
			mb_json_set_time(json, "from", verdict->windows[i].from_us);
		json_array_append_new(list, json);
	}
	return list;
}

static json_t *
policies_json(const struct expire *expire)
{
	json_t *json = json_object();
	size_t i;

	for (i = 0; i < expire->options->override_count; i++)
		json_object_set_new(json, expire->options->overrides[i].component,
							mb_policy_json(&expire->options->overrides[i].policy));
	return json;
}

static json_t *
numbers_json(const struct expire *expire)
{
	json_t *json = json_object();

	mb_json_set_int(json, "backups", (int64_t) expire->removed_sets);
	mb_json_set_int(json, "marks", (int64_t) expire->removed_marks);
	mb_json_set_int(json, "parts", (int64_t) expire->removed_parts);
	mb_json_set_int(json, "commits", (int64_t) expire->removed_commits);
	mb_json_set_int(json, "blobs", (int64_t) expire->sweep.removed_blobs);
	mb_json_set_int(json, "bytes", (int64_t) expire->sweep.removed_bytes);
	return json;
}

static json_t *
pending_json(const struct expire *expire)
{
	json_t *json = json_object();

	mb_json_set_int(json, "blobs", (int64_t) expire->sweep.pending_blobs);
	mb_json_set_int(json, "bytes", (int64_t) expire->sweep.pending_bytes);
	if (expire->sweep.pending_until_us)
		mb_json_set_time(json, "after", expire->sweep.pending_until_us);
	else
		json_object_set_new(json, "after", json_null());
	return json;
}

json_t *
expire_answer(const struct expire *expire, int64_t started_ms)
{
	json_t *json = json_object(), *sets = json_array(), *marks = json_array();
	size_t i;

	for (i = 0; i < expire->verdict.set_count; i++)
		json_array_append_new(sets, set_json(&expire->verdict.sets[i]));
	for (i = 0; i < expire->verdict.mark_count; i++)
		json_array_append_new(marks, mark_json(&expire->verdict.marks[i]));
	mb_json_set_bool(json, "dry_run", expire->options->is_dry);
	mb_json_set_time(json, "time", expire->now_us);
	json_object_set_new(json, "policy", mb_policy_json(&expire->options->policy));
	json_object_set_new(json, "policies", policies_json(expire));
	json_object_set_new(json, "backups", sets);
	json_object_set_new(json, "marks", marks);
	json_object_set_new(json, "windows", windows_json(&expire->verdict));
	json_object_set_new(json, "removed", numbers_json(expire));
	json_object_set_new(json, "pending", pending_json(expire));
	json_object_set(json, "warnings", expire->warnings);
	json_object_set_new(json, "seconds",
						json_real((double) (mb_monotonic_ms() - started_ms) / 1000));
	return json_pack("{s:o}", "expire", json);
}

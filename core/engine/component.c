/* component.c - cuts, findings and the shared stubs of component.h. */
#include "core/engine/component.h"

#include <stdlib.h>
#include <string.h>

void
mb_cut_release(struct mb_cut *cut)
{
	json_decref(cut->positions);
	cut->positions = NULL;
}

json_t *
mb_cut_to_json(const struct mb_cut *cut)
{
	json_t *json = json_object();

	mb_json_set_str(json, "id", cut->id);
	mb_json_set_str(json, "restore_point", cut->restore_point);
	mb_json_set_str(json, "consistency", cut->consistency);
	mb_json_set_time(json, "time", cut->time_us);
	json_object_set_new(json, "pause_ms", json_real((double) cut->pause_us / 1000));
	json_object_set_new(json, "clock_skew_ms", json_real((double) cut->clock_skew_us / 1000));
	json_object_set_new(json, "clock_error_ms", json_real((double) cut->clock_error_us / 1000));
	json_object_set(json, "positions", cut->positions);
	return json;
}

static int64_t
microseconds(const json_t *json, const char *key)
{
	return (int64_t) (json_number_value(json_object_get(json, key)) * 1000);
}

enum mb_code
mb_cut_from_json(struct mb_cut *cut, const json_t *json, struct mb_error *err)
{
	const char *id = mb_json_str(json, "id", "");
	const char *point = mb_json_str(json, "restore_point", "");
	json_t *positions = json_object_get(json, "positions");

	if (!mb_id_is_valid(id) || strlen(point) >= sizeof(cut->restore_point) ||
		!json_is_object(positions) || mb_json_time(json, "time") == 0)
		return mb_fail(err, MB_CORRUPT, "the cut in a stored document is not complete");
	memset(cut, 0, sizeof(*cut));
	snprintf(cut->id, sizeof(cut->id), "%s", id);
	snprintf(cut->restore_point, sizeof(cut->restore_point), "%s", point);
	cut->consistency =
		strcmp(mb_json_str(json, "consistency", ""), "paused") == 0 ? "paused" : "ordered";
	cut->time_us = mb_json_time(json, "time");
	cut->pause_us = microseconds(json, "pause_ms");
	cut->clock_skew_us = microseconds(json, "clock_skew_ms");
	cut->clock_error_us = microseconds(json, "clock_error_ms");
	cut->positions = json_incref(positions);
	return MB_OK;
}

static enum mb_code
unsupported(const struct mb_component *component, const char *what, struct mb_error *err)
{
	return mb_fail(err, MB_UNSUPPORTED, "component \"%s\" (%s) does not support %s",
				   component->name, component->ops->kind, what);
}

enum mb_code
mb_no_hold(struct mb_component *component, int64_t limit_ms, struct mb_error *err)
{
	(void) limit_ms;
	return unsupported(component, "a pause of writes", err);
}

enum mb_code
mb_no_release(struct mb_component *component, bool *held, struct mb_error *err)
{
	(void) held;
	return unsupported(component, "a pause of writes", err);
}

enum mb_code
mb_no_await(struct mb_component *component, const struct mb_cut *cut, int64_t timeout_ms,
			struct mb_error *err)
{
	(void) cut;
	(void) timeout_ms;
	return unsupported(component, "a stream", err);
}

enum mb_code
mb_no_stream(struct mb_component *component, struct mb_error *err)
{
	return unsupported(component, "a stream", err);
}

enum mb_code
mb_nothing_snapshot(struct mb_component *component, struct mb_capture *capture,
					struct mb_error *err)
{
	(void) component;
	(void) capture;
	(void) err;
	return MB_OK;
}

enum mb_code
mb_nothing_position(struct mb_component *component, struct mb_cut *cut, enum mb_moment moment,
					struct mb_error *err)
{
	(void) component;
	(void) cut;
	(void) moment;
	(void) err;
	return MB_OK;
}

enum mb_code
mb_nothing_kept(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	(void) component;
	(void) restore;
	(void) err;
	return MB_OK;
}

void
mb_holdings_add(struct mb_holdings *holdings, struct mb_safety *safety)
{
	holdings->items =
		mb_grow(holdings->items, &holdings->cap, holdings->count + 1, sizeof(*holdings->items));
	holdings->items[holdings->count++] = safety;
}

void
mb_holdings_release(struct mb_holdings *holdings)
{
	while (holdings->count > 0)
		mb_safety_free(holdings->items[--holdings->count]);
	free(holdings->items);
	memset(holdings, 0, sizeof(*holdings));
}

enum mb_code
mb_nothing_trim(struct mb_component *component, struct mb_trim *trim, struct mb_error *err)
{
	size_t i;

	(void) component;
	(void) err;
	for (i = 0; i < trim->blob_count; i++)
		trim->blobs[i].is_needed = true;
	return MB_OK;
}

enum mb_code
mb_nothing_verify(struct mb_component *component, const struct mb_commit *commit,
				  struct mb_error *err)
{
	(void) component;
	(void) commit;
	(void) err;
	return MB_OK;
}

enum mb_code
mb_nothing_reach(struct mb_component *component, const struct mb_commit *commit,
				 struct mb_reach *reaches, size_t count, struct mb_error *err)
{
	(void) component;
	(void) commit;
	(void) reaches;
	(void) count;
	(void) err;
	return MB_OK;
}

enum mb_code
mb_reach_answer(struct mb_reach *reach, struct mb_error *err)
{
	if (reach->why.code == MB_NOT_FOUND || mb_error_is_of_contents(&reach->why))
	{
		reach->why.code = MB_CORRUPT;
		return MB_OK;
	}
	*err = reach->why;
	return err->code;
}

enum mb_code
mb_scan_window(struct mb_component *component, struct mb_window *window, struct mb_error *err)
{
	struct mb_commit_names names = {0};
	struct mb_window found = {0};
	enum mb_code code = mb_commit_list(component->env->repo, component->name, &names, err);
	size_t i;

	for (i = 0; !code && i < names.count; i++)
	{
		struct mb_commit commit = {0};
		int64_t cut_us;

		code =
			mb_commit_head(component->env->repo, component->name, names.items[i].id, &commit, err);
		if (code)
			break;
		cut_us = mb_commit_cut_time(&commit);
		if (found.from_us == 0 || cut_us < found.from_us)
			found.from_us = cut_us;
		if (cut_us > found.to_us)
			found.to_us = cut_us;
		mb_commit_release(&commit);
	}
	mb_commit_names_release(&names);
	if (!code)
		*window = found;
	return code;
}

/* stack.c - choosing components and listing (see stack.h). */
#include "core/engine/stack.h"

#include <stdlib.h>
#include <string.h>

#include "core/engine/docs.h"
#include "core/engine/drill.h"

struct mb_component *
mb_stack_find(const struct mb_stack *stack, const char *name)
{
	size_t i;

	for (i = 0; i < stack->count; i++)
		if (strcmp(stack->components[i]->name, name) == 0)
			return stack->components[i];
	return NULL;
}

struct mb_component *
mb_stack_clock(const struct mb_stack *stack)
{
	if (stack->count > 0 && (stack->components[0]->ops->capabilities & MB_CAP_CLOCK))
		return stack->components[0];
	return NULL;
}

static enum mb_code
unknown_component(const struct mb_stack *stack, const char *name, struct mb_error *err)
{
	struct mb_buf names = {0};
	size_t i;

	for (i = 0; i < stack->count; i++)
		mb_buf_printf(&names, "%s%s", i ? ", " : "", stack->components[i]->name);
	mb_fail(err, MB_NOT_FOUND, "there is no component \"%s\"", name);
	mb_error_hint(err, "This stack has: %s.", stack->count ? mb_buf_cstr(&names) : "none");
	mb_buf_release(&names);
	return err->code;
}

static bool
is_named(const char *name, char *const *names, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return count == 0;
}

enum mb_code
mb_stack_select(struct mb_stack *out, const struct mb_stack *stack, char *const *names,
				size_t count, struct mb_error *err)
{
	struct mb_stack made = {.env = stack->env};
	size_t i;

	for (i = 0; i < count; i++)
		if (!mb_stack_find(stack, names[i]))
			return unknown_component(stack, names[i], err);
	made.components = mb_calloc(stack->count + 1, sizeof(*made.components));
	for (i = 0; i < stack->count; i++)
		if (is_named(stack->components[i]->name, names, count))
			made.components[made.count++] = stack->components[i];
	*out = made;
	return MB_OK;
}

void
mb_stack_release(struct mb_stack *stack)
{
	free(stack->components);
	stack->components = NULL;
	stack->count = 0;
}

/* -- list ---------------------------------------------------------------------------------- */

static json_t *
window_json(const char *name, const struct mb_window *window)
{
	json_t *json = json_object();

	mb_json_set_str(json, "component", name);
	if (window->from_us)
	{
		mb_json_set_time(json, "from", window->from_us);
		mb_json_set_time(json, "to", window->to_us);
	}
	else
	{
		json_object_set_new(json, "from", json_null());
		json_object_set_new(json, "to", json_null());
	}
	if (window->gaps)
		json_object_set(json, "gaps", window->gaps);
	else
		json_object_set_new(json, "gaps", json_array());
	return json;
}

/*
 * The window of the stack is what all components have in common.  A component that is
 * scanned does not end it: what its last scan saw is its state until another one sees
 * something else.
 */
static void
narrow(struct mb_window *stack, const struct mb_window *component, unsigned capabilities)
{
	if (component->from_us > stack->from_us)
		stack->from_us = component->from_us;
	if (component->to_us < stack->to_us && !(capabilities & MB_CAP_SCAN))
		stack->to_us = component->to_us;
	if (json_array_size(component->gaps) > 0)
		json_array_extend(stack->gaps, component->gaps);
}

static const char *
gap_text(const json_t *gap, size_t i)
{
	const char *text = json_string_value(json_array_get(gap, i));

	return text ? text : "";
}

static int
compare_gaps(const void *a, const void *b)
{
	return strcmp(gap_text(*(json_t *const *) a, 0), gap_text(*(json_t *const *) b, 0));
}

/* In order, and what two components lack at once is one gap.  Times are of one format, so texts compare. */
static json_t *
join_gaps(json_t *gaps)
{
	size_t count = json_array_size(gaps), i;
	json_t **sorted = mb_calloc(count + 1, sizeof(*sorted));
	json_t *joined = json_array(), *last = NULL;

	for (i = 0; i < count; i++)
		sorted[i] = json_array_get(gaps, i);
	qsort(sorted, count, sizeof(*sorted), compare_gaps);
	for (i = 0; i < count; i++)
	{
		if (last && strcmp(gap_text(sorted[i], 0), gap_text(last, 1)) <= 0)
		{
			if (strcmp(gap_text(sorted[i], 1), gap_text(last, 1)) > 0)
				json_array_set(last, 1, json_array_get(sorted[i], 1));
			continue;
		}
		last = json_copy(sorted[i]);
		json_array_append_new(joined, last);
	}
	free(sorted);
	json_decref(gaps);
	return joined;
}

static enum mb_code
list_windows(const struct mb_stack *stack, json_t *windows, struct mb_error *err)
{
	struct mb_window all = {.from_us = 0, .to_us = INT64_MAX, .gaps = json_array()};
	bool empty = stack->count == 0;
	int64_t latest_us = 0;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < stack->count; i++)
	{
		struct mb_component *component = stack->components[i];
		struct mb_window window = {0};

		code = component->ops->window(component, &window, err);
		if (code)
			break;
		json_array_append_new(windows, window_json(component->name, &window));
		empty = empty || window.from_us == 0;
		if (window.to_us > latest_us)
			latest_us = window.to_us;
		narrow(&all, &window, component->ops->capabilities);
		json_decref(window.gaps);
	}
	if (all.to_us == INT64_MAX)
		all.to_us = latest_us; /* nothing but scans */
	if (empty || all.from_us > all.to_us)
		all.from_us = all.to_us = 0;
	all.gaps = join_gaps(all.gaps);
	if (!code)
		json_array_append_new(windows, window_json("stack", &all));
	json_decref(all.gaps);
	return code;
}

enum mb_code
mb_list_run(const struct mb_stack *stack, json_t **answer, struct mb_error *err)
{
	json_t *sets = NULL, *marks = NULL, *drills = NULL;
	json_t *windows = json_array();
	enum mb_code code;

	code = mb_sets_list(stack->env->repo, &sets, err);
	if (!code)
		code = mb_marks_list(stack->env->repo, &marks, err);
	if (!code)
		code = list_windows(stack, windows, err);
	if (!code)
		code = mb_drills_list(stack->env->repo, 1, &drills, err);
	if (!code)
		*answer = json_pack("{s:O, s:O, s:O}", "backups", sets, "marks", marks, "windows", windows);
	if (!code && json_array_size(drills) > 0)
		json_object_set(*answer, "drill", json_array_get(drills, 0));
	json_decref(drills);
	json_decref(sets);
	json_decref(marks);
	json_decref(windows);
	return code;
}

/* stack.c - choosing components, listing, checking (see stack.h). */
#include "core/engine/stack.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/engine/docs.h"
#include "core/engine/drill.h"
#include "core/engine/verified.h"
#include "core/repo/store_mirror.h"

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

/* -- check --------------------------------------------------------------------------------- */

/* A copy that is behind fails nothing, and is what one wants to know before the first is lost. */
static void
check_copy(struct mb_store *store, size_t i, struct mb_checks *checks)
{
	struct mb_mirror_status status;
	char since[MB_TIME_TEXT];

	mb_mirror_status(store, i, &status);
	mb_time_format(since, status.since_us);
	if (status.access.code)
		mb_check_add(checks, status.access.code == MB_CONFIG ? MB_CHECK_FAILED : MB_CHECK_WARNING,
					 "repository", status.name,
					 status.access.hint[0] ? status.access.hint : "Make it readable and writable.",
					 "this copy cannot be used: %s", status.access.message);
	else if (status.is_behind)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", status.name,
					 "Run mbackup stream or mbackup backup: both give it what it lacks.",
					 "this copy at \"%s\" is behind%s%s: %s", status.url,
					 status.since_us ? " since " : "", status.since_us ? since : "", status.why);
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", status.name, "",
					 "this copy at \"%s\" is up to date", status.url);
}

static void
check_repository(const struct mb_stack *stack, struct mb_checks *checks)
{
	struct mb_store *store = stack->env->repo->store;
	struct mb_error err;
	int64_t store_us, skew_ms;
	size_t i;

	mb_error_clear(&err);
	if (mb_store_clock(store, &store_us, &err))
	{
		mb_check_add(checks, MB_CHECK_FAILED, "repository", "writable",
					 err.hint[0] ? err.hint : "Make the repository writable for this user.", "%s",
					 err.message);
		return;
	}
	mb_check_add(checks, MB_CHECK_OK, "repository", "writable", "", "%s can be written",
				 store->url);
	skew_ms = (store_us - mb_time_now_us()) / 1000;
	if (skew_ms > 60000 || skew_ms < -60000)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "clock",
					 "Synchronise the clocks of both machines (chrony, systemd-timesyncd).",
					 "its clock differs from this machine's by %lld s",
					 (long long) (skew_ms / 1000));
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "clock", "", "its clock agrees with ours");
	if (stack->env->repo->suite == MB_SUITE_NONE)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "encryption",
					 "Make a new repository with encryption = aes-256-gcm.",
					 "it is not encrypted: damage is found, tampering is not");
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "encryption", "",
					 "it is encrypted with AES-256-GCM");
	for (i = 0; i < mb_mirror_count(store); i++)
		check_copy(store, i, checks);
}

/* What was not read for long may be damaged by now without anybody knowing. */
static void
check_verified(const struct mb_stack *stack, struct mb_checks *checks)
{
	const struct mb_env *env = stack->env;
	int64_t age_us = env->verify_age_ms * 1000, since_us, now_us = 0;
	struct mb_verified *verified = NULL;
	struct mb_error why;
	char since[MB_TIME_TEXT];

	mb_error_clear(&why);
	if (!age_us || env->repository || env->is_copy)
		return;
	if (mb_verified_load(&verified, env->repo, &why) ||
		mb_store_clock(env->repo->store, &now_us, &why))
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "verified",
					 why.hint[0] ? why.hint : "Make the repository readable and writable.",
					 "when its data was read last is not known: %s", why.message);
	else
	{
		since_us = mb_verified_since(verified);
		if (!since_us)
			since_us = env->repo->created_us;
		mb_time_format(since, since_us);
		if (now_us - since_us > age_us)
			mb_check_add(checks, MB_CHECK_WARNING, "repository", "verified",
						 "Run mbackup verify --older-than 7d --budget 1h regularly, or mbackup "
						 "verify "
						 "--read-data full.",
						 "some of its data was not read since %s", since);
		else
			mb_check_add(checks, MB_CHECK_OK, "repository", "verified", "",
						 "all of its data was read or stored since %s", since);
	}
	mb_verified_free(verified);
}

/* The last drill: did it go well, and when was that? */
static void
check_drill(const struct mb_stack *stack, struct mb_checks *checks)
{
	const struct mb_env *env = stack->env;
	int64_t age_us = env->drill_age_ms * 1000, passed_us = env->repo->created_us;
	const json_t *drill = NULL, *last = NULL;
	struct mb_error why;
	json_t *drills = NULL;
	char since[MB_TIME_TEXT];
	size_t i;

	mb_error_clear(&why);
	if (mb_drills_list(env->repo, age_us ? 0 : 1, &drills, &why))
	{
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "drill",
					 "Make the repository readable.",
					 "whether restores were tried is not known: %s", why.message);
		return;
	}
	json_array_foreach(drills, i, drill)
	{
		last = drill;
		if (strcmp(mb_json_str(drill, "status", ""), "passed") == 0)
			passed_us = mb_json_time(drill, "started");
	}
	mb_time_format(since, passed_us);
	if (last && strcmp(mb_json_str(last, "status", ""), "passed") != 0)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "drill",
					 "Run mbackup verify --restore again; mbackup verify --history has the others.",
					 "the drill of %s failed: %s", mb_json_str(last, "started", "?"),
					 mb_json_str(json_object_get(last, "error"), "message", "?"));
	else if (age_us && mb_time_now_us() - passed_us > age_us)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "drill",
					 "Run mbackup verify --restore regularly.",
					 "no restore was tried with success since %s", since);
	else if (last)
		mb_check_add(checks, MB_CHECK_OK, "repository", "drill", "",
					 "the drill of %s passed, with an RTO of %.1f s",
					 mb_json_str(last, "started", "?"),
					 json_number_value(json_object_get(last, "rto_seconds")));
	json_decref(drills);
}

enum mb_code
mb_check_run(const struct mb_stack *stack, json_t **answer, struct mb_error *err)
{
	struct mb_checks checks = {.list = json_array()};
	size_t i, failed = 0;

	check_repository(stack, &checks);
	check_verified(stack, &checks);
	check_drill(stack, &checks);
	if (stack->count == 0)
		mb_check_add(&checks, MB_CHECK_FAILED, "stack", "components",
					 "Add a section such as [postgres] or [files:etc] to mbackup.conf.",
					 "the configuration names no component");
	for (i = 0; i < stack->count; i++)
	{
		struct mb_component *component = stack->components[i];
		struct mb_error why;

		mb_error_clear(&why);
		if (component->ops->check(component, &checks, &why))
			mb_check_add(&checks, MB_CHECK_FAILED, component->name, "reachable",
						 why.hint[0] ? why.hint : "See the message.", "%s", why.message);
	}
	for (i = 0; i < json_array_size(checks.list); i++)
		failed += strcmp(mb_json_str(json_array_get(checks.list, i), "status", ""), "failed") == 0;
	*answer = json_pack("{s:o}", "checks", checks.list);
	if (failed > 0)
		return mb_fail(err, MB_NEGATIVE, "%zu of %zu checks failed", failed,
					   json_array_size(checks.list));
	return MB_OK;
}

/*
 * stack_look.c - see stack_restore_private.h: the services that a restore stops and the places that it
 * keeps, as they are now or as a journal has them.
 */
#include <stdio.h>
#include <string.h>

#include "core/engine/stack_restore_private.h"

/* -- services ------------------------------------------------------------------------------------- */

static int
start_rank(const struct mb_stack *stack, const struct mb_service *service)
{
	const struct mb_component *clock = mb_stack_clock(stack);

	if (!service->component)
		return 2;
	return clock && strcmp(clock->name, service->component) == 0 ? 1 : 0;
}

/* Kept in the order of starting; a service that two components name is one. */
static void
add_service(struct mb_restoration *run, const struct mb_stack *stack,
			const struct mb_service *service, bool was_running)
{
	size_t at = run->service_count, i;

	run->services =
		mb_grow(run->services, &run->service_cap, run->service_count + 1, sizeof(*run->services));
	while (at > 0 && start_rank(stack, &run->services[at - 1].service) > start_rank(stack, service))
		at--;
	for (i = run->service_count; i > at; i--)
		run->services[i] = run->services[i - 1];
	run->services[at] = (struct mb_served){*service, was_running};
	run->service_count++;
}

static bool
has_service(const struct mb_restoration *run, const char *text)
{
	size_t i;

	for (i = 0; i < run->service_count; i++)
		if (strcmp(run->services[i].service.text, text) == 0)
			return true;
	return false;
}

static enum mb_code
look_at_service(struct mb_restoration *run, struct mb_service *service, struct mb_error *err)
{
	bool running;
	enum mb_code code;

	if (has_service(run, service->text))
	{
		mb_service_release(service);
		return MB_OK;
	}
	code = mb_service_state(service, &run->service_env, &running, err);
	if (code)
		mb_service_release(service);
	else
		add_service(run, &run->session.stack, service, running);
	return code;
}

enum mb_code
mb_restoration_find_services(struct mb_restoration *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < run->session.stack.count; i++)
	{
		struct mb_restore *part = &run->session.parts[i];
		const struct mb_settings *settings = run->session.stack.components[i]->settings;
		const char *text = mb_settings_get(settings, "service");
		struct mb_service service;

		/* One that goes over into a running server, or beside, needs none. */
		if (!text || !part->own_place || !mb_json_bool(part->plan, "stops", true))
			continue;
		code = mb_service_parse(&service, text, settings, err);
		if (code)
			break;
		part->is_served = true;
		if (service.kind == MB_SERVICE_PG_CTL)
		{
			const char *bindir = mb_json_str(part->plan, "bindir", NULL);

			service.bindir = bindir ? mb_strdup(bindir) : NULL;
			service.directory = mb_strdup(mb_json_str(part->plan, "destination", ""));
			service.file = mb_asprintf("%s/mbackup_start.log", service.directory);
		}
		code = look_at_service(run, &service, err);
	}
	for (i = 0; !code && i < run->options->application_count; i++)
	{
		struct mb_service service;

		code = mb_service_parse(&service, run->options->application[i], NULL, err);
		if (!code)
			code = look_at_service(run, &service, err);
	}
	return code;
}

enum mb_code
mb_restoration_check_hooks(const struct mb_restoration *run, struct mb_error *err)
{
	static const enum mb_hook used[] = {MB_HOOK_BEFORE_RESTORE, MB_HOOK_AFTER_RESTORE,
										MB_HOOK_STOP_SERVICES,  MB_HOOK_START_SERVICES,
										MB_HOOK_HEALTH_CHECK,   MB_HOOK_ON_FAILURE,
										MB_HOOK_ON_SUCCESS};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0;
		 !code && !(run->options->flags & MB_STACK_NO_HOOKS) && i < sizeof(used) / sizeof(*used);
		 i++)
		code = mb_hook_check(&run->options->hooks, used[i], err);
	return code;
}

/* -- places ---------------------------------------------------------------------------------------- */

static void
add_place(struct mb_restoration *run, struct mb_safety *safety, const char *component)
{
	struct mb_kept_place *place;

	run->places = mb_grow(run->places, &run->place_cap, run->place_count + 1, sizeof(*run->places));
	place = &run->places[run->place_count++];
	place->safety = safety;
	snprintf(place->component, sizeof(place->component), "%s", component);
}

enum mb_code
mb_restoration_find_places(struct mb_restoration *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i, j;

	for (i = 0; !code && i < run->session.stack.count; i++)
	{
		struct mb_component *component = run->session.stack.components[i];
		struct mb_restore *part = &run->session.parts[i];
		struct mb_holdings holdings = {0};

		code = component->ops->holds(component, part, &holdings, err);
		for (j = 0; !code && j < holdings.count; j++)
		{
			struct mb_safety *safety = holdings.items[j];

			if (run->options->flags & MB_STACK_NO_SNAPSHOT)
				safety->wishes |= MB_SAFETY_UNKEPT;
			code = mb_safety_choose(safety, run->session.id, err);
			if (!code && !part->own_place && safety->method != MB_SAFETY_EMPTY &&
				!(safety->wishes & MB_SAFETY_IS_USED))
				code = mb_fail(err, MB_CONFLICT, "\"%s\" is not empty", safety->path);
			if (code)
				break;
			add_place(run, safety, component->name);
			holdings.items[j] = NULL;
		}
		mb_holdings_release(&holdings);
		if (code)
			mb_error_context(err, "\"%s\"", component->name);
	}
	return code;
}

/* -- from a journal ---------------------------------------------------------------------------- */

static enum mb_code
load_service(struct mb_restoration *run, const struct mb_stack *stack, const json_t *json,
			 struct mb_error *err)
{
	const char *name = mb_json_str(json, "component", NULL);
	const char *text = mb_json_str(json, "service", ""), *directory;
	struct mb_component *component = name ? mb_stack_find(stack, name) : NULL;
	const struct mb_settings *settings = component ? component->settings : NULL;
	struct mb_service service;
	enum mb_code code;

	if (name && !component)
		return mb_fail(err, MB_CONFIG, "component \"%s\" of the restore is not configured any more",
					   name);
	/* "command of redis": the section has it. */
	if (settings && !strchr(text, ':'))
		text = mb_settings_get(settings, "service") ? mb_settings_get(settings, "service") : text;
	code = mb_service_parse(&service, text, settings, err);
	if (code)
		return code;
	directory = mb_json_str(json, "directory", NULL);
	if (directory)
	{
		const char *bindir = mb_json_str(json, "bindir", NULL);

		service.bindir = bindir ? mb_strdup(bindir) : NULL;
		service.directory = mb_strdup(directory);
		service.file = service.file ? service.file : mb_asprintf("%s/mbackup_start.log", directory);
	}
	add_service(run, stack, &service, mb_json_bool(json, "running", false));
	return MB_OK;
}

enum mb_code
mb_restoration_load(struct mb_restoration *run, const struct mb_stack *stack, struct mb_error *err)
{
	const json_t *plan = run->journal->plan, *list = json_object_get(plan, "keeps");
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i);
		struct mb_safety *safety;

		/* What a component keeps by itself stands behind them. */
		if (!json_object_get(one, "dev"))
			continue;
		code = mb_safety_from_json(&safety, one, err);
		if (!code)
			add_place(run, safety, mb_json_str(one, "component", ""));
	}
	list = json_object_get(plan, "services");
	for (i = 0; !code && i < json_array_size(list); i++)
		code = load_service(run, stack, json_array_get(list, i), err);
	json_decref(run->plan);
	run->plan = json_incref(run->journal->plan);
	run->started_us = mb_json_time(plan, "started");
	return code;
}

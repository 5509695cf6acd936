/*
 * stack_plan.c - what a restore over a stack will stop, keep and lose, and whether there is room for it
 * (see stack_restore.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/stack_restore_private.h"

/* Of a restore of which nothing is known yet: a plain disk, a compressed repository. */
#define GUESSED_BYTES_PER_SECOND (100.0 * 1024 * 1024)
#define MAX_FILESYSTEMS 64

/* -- services ------------------------------------------------------------------------------------- */

static int
start_rank(const struct mb_restoration *run, const struct mb_stack *stack,
		   const struct mb_service *service)
{
	const struct mb_component *clock = mb_stack_clock(stack);

	(void) run;
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
	while (at > 0 &&
		   start_rank(run, stack, &run->services[at - 1].service) > start_rank(run, stack, service))
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

static enum mb_code
find_services(struct mb_restoration *run, struct mb_error *err)
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

static enum mb_code
check_hooks(const struct mb_restoration *run, struct mb_error *err)
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

static enum mb_code
find_places(struct mb_restoration *run, struct mb_error *err)
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

/* -- space ----------------------------------------------------------------------------------------- */

struct filesystem
{
	dev_t device;
	char *path; /* one that is there */
	uint64_t needed;
	uint64_t freed;
};

/* The filesystem of a path, or of the first directory above it that is there. */
static struct filesystem *
filesystem_of(struct filesystem *list, size_t *count, const char *path)
{
	char *at = mb_strdup(path);
	struct stat st;
	size_t i;

	while (stat(at, &st) != 0)
	{
		char *slash = strrchr(at, '/');

		if (!slash || strcmp(at, "/") == 0)
		{
			free(at);
			return NULL;
		}
		slash[slash == at] = '\0';
	}
	for (i = 0; i < *count && list[i].device != st.st_dev; i++)
		;
	if (i == *count && *count < MAX_FILESYSTEMS)
	{
		list[i] = (struct filesystem){.device = st.st_dev, .path = at};
		(*count)++;
		return &list[i];
	}
	free(at);
	return i < *count ? &list[i] : NULL;
}

static void
add_needs(const struct mb_restoration *run, struct filesystem *list, size_t *count)
{
	size_t i, j;

	for (i = 0; i < run->session.stack.count; i++)
	{
		const struct mb_restore *part = &run->session.parts[i];
		const json_t *space = json_object_get(part->plan, "space");
		struct filesystem *fs = NULL;

		for (j = 0; j < json_array_size(space); j++)
		{
			const json_t *one = json_array_get(space, j);

			fs = filesystem_of(list, count, mb_json_str(one, "path", "/"));
			/* A delta has counted what it frees itself. */
			if (fs && !mb_json_bool(part->plan, "delta", false))
				fs->needed += (uint64_t) mb_json_int(one, "needed", 0);
		}
		for (j = 0; !space && j < run->place_count; j++)
			if (strcmp(run->places[j].component, part->component) == 0)
			{
				fs = filesystem_of(list, count, run->places[j].safety->path);
				if (fs)
					fs->needed += part->commit.bytes;
				break;
			}
	}
	for (j = 0; j < run->place_count; j++)
	{
		const struct mb_safety *safety = run->places[j].safety;
		struct filesystem *fs = filesystem_of(list, count, safety->path);

		if (fs && safety->method == MB_SAFETY_NONE && !(safety->wishes & MB_SAFETY_IS_USED))
			fs->freed += safety->bytes;
	}
}

/* What is kept stays where it is, so all that comes needs room beside it. */
static enum mb_code
check_space(struct mb_restoration *run, struct mb_error *err)
{
	struct filesystem list[MAX_FILESYSTEMS];
	json_t *space = json_array();
	enum mb_code code = MB_OK;
	size_t count = 0, i;

	add_needs(run, list, &count);
	for (i = 0; i < count; i++)
	{
		char want[MB_SIZE_TEXT], have[MB_SIZE_TEXT];
		struct statvfs fs;
		uint64_t available;

		if (!code && statvfs(list[i].path, &fs) != 0)
			code = mb_fail_errno(err, errno, "could not look at the filesystem of \"%s\"",
								 list[i].path);
		if (!code)
		{
			available = (uint64_t) fs.f_bavail * fs.f_frsize + list[i].freed;
			json_array_append_new(space, json_pack("{s:s, s:I, s:I}", "path", list[i].path,
												   "needed", (json_int_t) list[i].needed,
												   "available", (json_int_t) available));
			mb_size_format(want, list[i].needed);
			mb_size_format(have, available);
			if (list[i].needed > available)
			{
				code = mb_fail(err, MB_NO_SPACE,
							   "the restore needs %s on the filesystem of \"%s\", %s are available",
							   want, list[i].path, have);
				mb_error_hint(err, "What is there now is kept beside it. Make room, restore "
								   "elsewhere, or give it up with --no-snapshot.");
			}
		}
		free(list[i].path);
	}
	json_object_set_new(run->plan, "space", space);
	return code;
}

/* -- what is shown ---------------------------------------------------------------------------------- */

/* Bytes a second of the restores that this spool remembers. */
static double
known_rate(const struct mb_restoration *run)
{
	struct mb_journal_ids ids = {0};
	struct mb_error ignored;
	double rate = GUESSED_BYTES_PER_SECOND;
	size_t i;

	if (mb_journal_list(&ids, run->env->spool, &ignored) == MB_OK)
		for (i = ids.count; i > 0; i--)
		{
			char *path =
				mb_asprintf("%s/restores/%s/report.json", run->env->spool, ids.items[i - 1]);
			struct mb_buf text = {0};
			json_t *report = NULL;
			bool found = false;

			if (mb_file_read(&text, path, 64u << 20, &ignored) == MB_OK &&
				mb_json_parse(&report, (const char *) text.data, text.len, path, &ignored) == MB_OK)
			{
				double seconds = json_number_value(json_object_get(report, "copy_seconds"));
				double bytes = (double) mb_json_int(report, "bytes", 0);

				found = seconds > 1 && bytes > 0;
				if (found)
					rate = bytes / seconds;
				json_decref(report);
			}
			mb_buf_release(&text);
			free(path);
			if (found)
				break;
		}
	mb_journal_ids_release(&ids);
	return rate;
}

static json_t *
components_json(const struct mb_restoration *run, uint64_t *bytes, int64_t *reached_us)
{
	json_t *list = json_array();
	size_t i;

	*bytes = 0;
	*reached_us = 0;
	for (i = 0; i < run->session.stack.count; i++)
	{
		const struct mb_restore *part = &run->session.parts[i];
		const char *to = mb_json_str(part->plan, "destination", part->destination);
		json_t *one = json_object();

		mb_json_set_str(one, "name", part->component);
		mb_json_set_str(one, "kind", part->commit.kind);
		mb_json_set_str(one, "backup", part->commit.id);
		mb_json_set_time(one, "backup_time", mb_commit_cut_time(&part->commit));
		mb_json_set_int(one, "bytes", (int64_t) part->commit.bytes);
		if (to)
			mb_json_set_str(one, "destination", to);
		mb_json_set_bool(one, "own_place", part->own_place);
		json_object_set(one, "warnings", json_object_get(part->result, "warnings"));
		json_array_append_new(list, one);
		*bytes += part->commit.bytes;
		if (part->stack_time_us > *reached_us)
			*reached_us = part->stack_time_us;
	}
	return list;
}

static json_t *
keeps_json(const struct mb_restoration *run, json_t *cannot)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < run->place_count; i++)
	{
		const struct mb_safety *safety = run->places[i].safety;
		char *beside = safety->is_list && run->journal
						   ? mb_asprintf("%s/files.%zu", run->journal->directory, i)
						   : mb_strdup(safety->is_list ? "-" : "");
		json_t *one = mb_safety_to_json(safety, safety->is_list ? beside : NULL);

		mb_json_set_str(one, "component", run->places[i].component);
		json_array_append_new(list, one);
		free(beside);
		if (safety->method == MB_SAFETY_NONE)
		{
			char *text = mb_asprintf("what is in %s%s%s now", safety->path, safety->only ? "/" : "",
									 safety->only ? safety->only : "");

			json_array_append_new(cannot, json_string(text));
			free(text);
		}
	}
	for (i = 0; i < run->session.stack.count; i++)
	{
		const struct mb_restore *part = &run->session.parts[i];
		const char *how = mb_json_str(part->plan, "keep", NULL);
		json_t *one;

		if (!how || !part->own_place)
			continue;
		if (strcmp(how, "none") == 0 || (run->options->flags & MB_STACK_NO_SNAPSHOT))
		{
			char *text = mb_asprintf("what is in \"%s\" now", part->component);

			json_array_append_new(cannot, json_string(text));
			free(text);
			continue;
		}
		one = json_object();
		mb_json_set_str(one, "component", part->component);
		mb_json_set_str(one, "method", how);
		mb_json_set_str(one, "path",
						mb_json_str(part->plan, "destination",
									part->destination ? part->destination : "?"));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *
services_json(const struct mb_restoration *run)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < run->service_count; i++)
	{
		const struct mb_service *service = &run->services[i].service;
		json_t *one = json_object();

		mb_json_set_str(one, "service", service->text);
		if (service->component)
			mb_json_set_str(one, "component", service->component);
		mb_json_set_bool(one, "running", run->services[i].was_running);
		if (service->bindir)
			mb_json_set_str(one, "bindir", service->bindir);
		if (service->directory)
			mb_json_set_str(one, "directory", service->directory);
		json_array_append_new(list, one);
	}
	return list;
}

static void
describe(struct mb_restoration *run)
{
	const struct mb_target *target = &run->options->restore.target;
	static const char *const kinds[] = {"backup", "latest", "time", "mark", "lsn", "xid", "name"};
	json_t *cannot = json_array(), *hooks = json_array(), *shown = json_object();
	int64_t now_us = mb_time_now_us(), reached_us;
	uint64_t bytes;
	size_t i;

	json_object_set_new(run->plan, "components", components_json(run, &bytes, &reached_us));
	mb_json_set_str(run->plan, "id", run->session.id);
	mb_json_set_str(shown, "kind", kinds[target->kind]);
	if (target->text)
		mb_json_set_str(shown, "value", target->text);
	json_object_set_new(run->plan, "target", shown);
	mb_json_set_time(run->plan, "started", run->started_us);
	mb_json_set_int(run->plan, "bytes", (int64_t) bytes);
	json_object_set_new(run->plan, "estimate_seconds", json_real((double) bytes / known_rate(run)));
	if (reached_us)
	{
		json_t *lost = json_object();

		mb_json_set_time(run->plan, "reached", reached_us);
		mb_json_set_time(lost, "from", reached_us);
		mb_json_set_time(lost, "to", now_us);
		json_object_set_new(lost, "seconds", json_real((double) (now_us - reached_us) / 1e6));
		json_object_set_new(run->plan, "lost", lost);
	}
	json_object_set_new(run->plan, "keeps", keeps_json(run, cannot));
	json_object_set_new(run->plan, "cannot_undo", cannot);
	json_object_set_new(run->plan, "services", services_json(run));
	for (i = 0; i < MB_HOOK_COUNT && !(run->options->flags & MB_STACK_NO_HOOKS); i++)
		if (i >= MB_HOOK_BEFORE_RESTORE && run->options->hooks.commands[i])
			json_array_append_new(hooks, json_string(mb_hook_name((enum mb_hook) i)));
	json_object_set_new(run->plan, "hooks", hooks);
	mb_json_set_bool(run->plan, "references", run->options->has_references);
}

enum mb_code
mb_restoration_plan(struct mb_restoration *run, struct mb_error *err)
{
	enum mb_code code = find_services(run, err);

	if (!code)
		code = check_hooks(run, err);
	if (!code)
		code = find_places(run, err);
	if (!code)
		code = check_space(run, err);
	if (!code)
		describe(run);
	return code;
}

/* -- the journal ------------------------------------------------------------------------------------- */

enum mb_code
mb_restoration_begin_journal(struct mb_restoration *run, struct mb_error *err)
{
	json_t *document = json_deep_copy(run->plan);
	enum mb_code code = MB_OK;
	size_t i;

	/* Lists first: a plan that names them must find them. */
	for (i = 0; !code && i < run->place_count; i++)
	{
		char *directory, *path;

		if (!run->places[i].safety->is_list)
			continue;
		directory = mb_asprintf("%s/restores/%s", run->env->spool, run->session.id);
		path = mb_asprintf("%s/files.%zu", directory, i);
		code = mb_mkdirs(directory, 0700, err);
		if (!code)
			code = mb_safety_write_list(run->places[i].safety, path, err);
		mb_json_set_str(json_array_get(json_object_get(document, "keeps"), i), "list", path);
		free(path);
		free(directory);
	}
	json_object_set_new(document, "options", mb_restore_options_save(&run->options->restore));
	json_object_set_new(document, "session", mb_restore_session_save(&run->session));
	mb_json_set_int(document, "flags", run->options->flags);
	if (!code)
		code = mb_journal_create(&run->journal, run->env->spool, run->session.id, document, err);
	json_decref(document);
	return code;
}

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

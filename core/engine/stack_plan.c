/* stack_plan.c - see stack_restore_private.h: what a restore over a stack will do, as it is shown. */
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/stack_restore_private.h"

/* Of a restore of which nothing is known yet: a plain disk, a compressed repository. */
#define GUESSED_BYTES_PER_SECOND (100.0 * 1024 * 1024)

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

/* "what is in PLACE now": among what nobody can bring back. */
static void
add_lost(json_t *cannot, const char *place)
{
	char *text = mb_asprintf("what is in %s now", place);

	json_array_append_new(cannot, json_string(text));
	free(text);
}

/* Directories and files that are moved aside. */
static void
add_places(const struct mb_restoration *run, json_t *list, json_t *cannot)
{
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
			char *place = safety->only ? mb_asprintf("%s/%s", safety->path, safety->only)
									   : mb_strdup(safety->path);

			add_lost(cannot, place);
			free(place);
		}
	}
}

static json_t *
keeps_json(const struct mb_restoration *run, json_t *cannot)
{
	json_t *list = json_array();
	size_t i;

	add_places(run, list, cannot);
	for (i = 0; i < run->session.stack.count; i++)
	{
		const struct mb_restore *part = &run->session.parts[i];
		const char *how = mb_json_str(part->plan, "keep", NULL);
		json_t *one;

		if (!how || !part->own_place)
			continue;
		if (strcmp(how, "none") == 0 || (run->options->flags & MB_STACK_NO_SNAPSHOT))
		{
			char *place = mb_asprintf("\"%s\"", part->component);

			add_lost(cannot, place);
			free(place);
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
	enum mb_code code = mb_restoration_find_services(run, err);

	if (!code)
		code = mb_restoration_check_hooks(run, err);
	if (!code)
		code = mb_restoration_find_places(run, err);
	if (!code)
		code = mb_restoration_check_space(run, err);
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

/* import_map.c - see import.h: which component each part of an archive belongs to. */
#include <stdlib.h>
#include <string.h>

#include "cli/archive_name.h"
#include "cli/import.h"
#include "objectstore/s3.h"

static const char *
kind_of(enum archive_kind kind)
{
	switch (kind)
	{
		case ARCHIVE_RDB:
			return "redis";
		case ARCHIVE_BUCKET:
			return "objects";
		case ARCHIVE_TREE:
			return "files";
		default:
			return "postgres";
	}
}

/* The component that backup-info.json names for an item, or NULL. */
static const char *
told_name(const struct archive_inventory *inventory, const struct archive_item *item)
{
	const json_t *components = json_object_get(inventory->info, "components");
	size_t i, j, len = strlen(item->prefix);

	for (i = 0; i < json_array_size(components); i++)
	{
		const json_t *component = json_array_get(components, i);
		const json_t *files = json_object_get(component, "files");
		const char *folder = mb_json_str(component, "folder", "");

		if (len == strlen(folder) + 1 && strncmp(folder, item->prefix, len - 1) == 0)
			return mb_json_str(component, "name", NULL);
		for (j = 0; j < json_array_size(files); j++)
			if (json_is_string(json_array_get(files, j)) &&
				strcmp(json_string_value(json_array_get(files, j)), item->prefix) == 0)
				return mb_json_str(component, "name", NULL);
	}
	return NULL;
}

/* Is this the bucket of the component's url? */
static bool
is_bucket(const struct mb_component *component, const char *name)
{
	const char *url = mb_settings_get(component->settings, "url");
	char *bucket = NULL, *prefix = NULL;
	struct mb_error ignored;
	bool is_it;

	mb_error_clear(&ignored);
	if (!url || !mb_starts_with(url, "s3://") || mb_s3_url_parse(url, &bucket, &prefix, &ignored))
		return false;
	is_it = strcmp(bucket, name) == 0;
	free(bucket);
	free(prefix);
	return is_it;
}

static size_t
count_kind(const struct archive_inventory *inventory, enum archive_kind kind)
{
	size_t count = 0, i;

	for (i = 0; i < inventory->count; i++)
		count += inventory->items[i].kind == kind;
	return count;
}

/* By the name that the archive tells, by its own, or because there is only one of its kind. */
static struct mb_component *
component_of(const struct import_run *run, const struct archive_item *item)
{
	const struct mb_stack *stack = &run->cli->stack;
	const char *kind = kind_of(item->kind), *told = told_name(&run->inventory, item);
	struct mb_component *only = NULL, *named = NULL;
	size_t count = 0, i;

	for (i = 0; i < stack->count; i++)
	{
		struct mb_component *component = stack->components[i];

		if (strcmp(component->ops->kind, kind) != 0)
			continue;
		if (told && strcmp(component->name, told) == 0)
			return component;
		if (!named &&
			(strcmp(component->name, item->name) == 0 || is_bucket(component, item->name)))
			named = component;
		only = component;
		count++;
	}
	if (named)
		return named;
	if (strcmp(kind, "postgres") == 0 ||
		(count == 1 && count_kind(&run->inventory, item->kind) == 1))
		return only;
	return NULL;
}

static struct import_choice *
choice_of(struct import_run *run, const char *component)
{
	size_t i;

	for (i = 0; i < run->choice_count; i++)
		if (strcmp(run->choices[i].component, component) == 0)
			return &run->choices[i];
	return NULL;
}

static enum mb_code
no_component(const struct archive_item *item, struct mb_error *err)
{
	mb_fail(err, MB_NOT_FOUND, "the configuration has no component for \"%s\"", item->prefix);
	return mb_error_hint(err,
						 "Add a [%s...] section for it, or name those that you want with "
						 "--component NAME[=DESTINATION].",
						 kind_of(item->kind));
}

/* The SQL of a database whose dump is there too. */
static bool
has_dump(const struct archive_inventory *inventory, const struct archive_item *item)
{
	size_t i;

	for (i = 0; i < inventory->count; i++)
		if (inventory->items[i].kind == ARCHIVE_DATABASE &&
			strcmp(inventory->items[i].name, item->name) == 0)
			return true;
	return false;
}

static enum mb_code
map_item(struct import_run *run, size_t i, struct mb_error *err)
{
	struct import_target *target = &run->targets[i];
	struct archive_item *item = &run->inventory.items[i];
	struct mb_component *component;
	struct import_choice *choice = NULL;
	struct mb_buf name = {0};
	size_t j;

	target->item = item;
	target->tree.root_fd = target->tree.fd = -1;
	if (item->kind == ARCHIVE_SQL && has_dump(&run->inventory, item))
		return MB_OK;
	component = component_of(run, item);
	if (component)
		choice = choice_of(run, component->name);
	if (run->choice_count > 0 && !choice)
		return MB_OK;
	if (!component)
		return no_component(item, err);
	if (choice)
		choice->is_used = true;
	target->component = component;
	target->destination = choice ? choice->destination : NULL;
	if (item->kind == ARCHIVE_DATABASE || item->kind == ARCHIVE_SQL)
	{
		if (!run->inventory.is_ours || !archive_name_decode(&name, item->name))
		{
			mb_buf_reset(&name);
			mb_buf_put_str(&name, item->name);
		}
		target->database = mb_strdup(mb_buf_cstr(&name));
		mb_buf_release(&name);
	}
	for (j = 0; item->kind == ARCHIVE_RDB && j < i; j++)
		if (run->targets[j].component == component)
		{
			mb_fail(err, MB_UNSUPPORTED, "the archive holds several RDB files for \"%s\"",
					component->name);
			return mb_error_hint(err, "Each would replace the one before it: load them one by one "
									  "with \"mbackup redis restore --rdb\".");
		}
	return MB_OK;
}

enum mb_code
import_map(struct import_run *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	run->targets = mb_calloc(run->inventory.count + 1, sizeof(*run->targets));
	for (i = 0; i < run->inventory.count; i++)
		run->targets[i].tree.root_fd = run->targets[i].tree.fd = -1;
	for (i = 0; !code && i < run->inventory.count; i++)
		code = map_item(run, i, err);
	for (i = 0; !code && i < run->choice_count; i++)
		if (!run->choices[i].is_used)
		{
			bool exists = mb_stack_find(&run->cli->stack, run->choices[i].component) != NULL;

			code = mb_fail(err, MB_NOT_FOUND,
						   exists ? "the archive holds nothing for \"%s\""
								  : "there is no component \"%s\"",
						   run->choices[i].component);
		}
	return code;
}

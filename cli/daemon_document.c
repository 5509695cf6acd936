/*
 * daemon_document.c - what the repository has, as the status document says it (docs/daemon.md).
 *
 * The catalog makes the same of the same list (sql/, daemon_sync and mbackup_status): both
 * documents are one, so what is left out there is left out here.
 */
#include <string.h>

#include "cli/daemon.h"

#define LISTED 50

/* The newest of a list that has the oldest first or last; new references in a new array. */
static json_t *
newest(const json_t *list, const char *time)
{
	size_t count = json_array_size(list), i;
	json_t *out = json_array();
	bool oldest_first = count > 1 && mb_json_time(json_array_get(list, 0), time) <
										 mb_json_time(json_array_get(list, count - 1), time);

	for (i = 0; i < count && i < LISTED; i++)
		json_array_append(out, json_array_get(list, oldest_first ? count - 1 - i : i));
	return out;
}

/* Members of an object, in a new one; one that is missing is null.  Names end with NULL. */
static json_t *
pick(const json_t *from, const char *const *names)
{
	json_t *out = json_object();

	for (; *names; names++)
	{
		json_t *value = json_object_get(from, *names);

		json_object_set_new(out, *names, value ? json_incref(value) : json_null());
	}
	return out;
}

/* -- backups ---------------------------------------------------------------------------------- */

/* Into an array that is in the order of names, which is the catalog's. */
static void
insert_by_name(json_t *list, json_t *item)
{
	size_t at = 0;

	while (at < json_array_size(list) && strcmp(mb_json_str(json_array_get(list, at), "name", ""),
												mb_json_str(item, "name", "")) < 0)
		at++;
	json_array_insert_new(list, at, item);
}

/* The components that it has; those that failed are "missing". */
static void
split_components(json_t *backup, const json_t *components)
{
	static const char *const names[] = {"name",    "kind",     "bytes", "stored_bytes",
										"seconds", "warnings", NULL};
	json_t *has = json_array(), *missing = json_object(), *component;
	size_t i;

	json_array_foreach((json_t *) (uintptr_t) components, i, component)
	{
		const json_t *error = json_object_get(component, "error");

		if (error)
			mb_json_set_str(missing, mb_json_str(component, "name", "?"),
							mb_json_str(error, "message", ""));
		else
			insert_by_name(has, pick(component, names));
	}
	json_object_set_new(backup, "components", has);
	json_object_set_new(backup, "missing", missing);
}

json_t *
document_backups(const json_t *list)
{
	static const char *const names[] = {"id",       "type",  "status",       "parent", "started",
										"finished", "bytes", "stored_bytes", "labels", NULL};
	json_t *sets = newest(json_object_get(list, "backups"), "started"), *out = json_array();
	json_t *set;
	size_t i;

	json_array_foreach(sets, i, set)
	{
		json_t *backup = pick(set, names);

		if (!json_is_object(json_object_get(backup, "labels")))
			json_object_set_new(backup, "labels", json_object());
		mb_json_set_bool(backup, "pinned", mb_json_bool(set, "pinned", false));
		split_components(backup, json_object_get(set, "components"));
		json_array_append_new(out, backup);
	}
	json_decref(sets);
	return out;
}

/* Of each type and status the newest, however many came after it. */
json_t *
document_last_backups(const json_t *list)
{
	static const char *const names[] = {"type", "status", "finished", NULL};
	json_t *out = json_array(), *set, *item = NULL;
	size_t i, at;

	json_array_foreach(json_object_get(list, "backups"), i, set)
	{
		json_array_foreach(out, at, item)
		{
			if (strcmp(mb_json_str(item, "type", ""), mb_json_str(set, "type", "")) == 0 &&
				strcmp(mb_json_str(item, "status", ""), mb_json_str(set, "status", "")) == 0)
				break;
		}
		if (at == json_array_size(out))
			json_array_append_new(out, pick(set, names));
		else if (mb_json_time(set, "finished") > mb_json_time(item, "finished"))
			json_object_set(item, "finished", json_object_get(set, "finished"));
	}
	return out;
}

/* -- marks and windows ------------------------------------------------------------------------ */

json_t *
document_marks(const json_t *list)
{
	static const char *const names[] = {"name", "id", "time", NULL};
	json_t *marks = newest(json_object_get(list, "marks"), "time"), *out = json_array(), *mark;
	size_t i;

	json_array_foreach(marks, i, mark)
	{
		json_t *made = pick(mark, names);
		json_t *consistency = json_object_get(json_object_get(mark, "cut"), "consistency");
		json_t *uncovered = json_object_get(mark, "uncovered");

		json_object_set_new(made, "consistency",
							consistency ? json_incref(consistency) : json_null());
		json_object_set_new(made, "uncovered", uncovered ? json_incref(uncovered) : json_object());
		json_array_append_new(out, made);
	}
	json_decref(marks);
	return out;
}

json_t *
document_windows(const json_t *list, const struct mb_stack *stack)
{
	static const char *const names[] = {"component", "from", "to", "gaps", NULL};
	json_t *out = json_array(), *window;
	size_t i;

	json_array_foreach(json_object_get(list, "windows"), i, window)
	{
		const char *name = mb_json_str(window, "component", "");
		const struct mb_component *component = mb_stack_find(stack, name);
		json_t *made = pick(window, names);

		mb_json_set_str(made, "kind",
						component                    ? component->ops->kind
						: strcmp(name, "stack") == 0 ? "stack"
													 : "");
		json_array_append_new(out, made);
	}
	return out;
}

/* -- the repository ----------------------------------------------------------------------------- */

/* A url without what may stand before the host: nobody should, but may, write keys there. */
char *
document_url(const char *url)
{
	const char *host = strstr(url, "://"), *at;

	if (!host)
		return mb_strdup(url);
	host += 3;
	at = host + strcspn(host, "/");
	while (at > host && *at != '@')
		at--;
	if (*at != '@')
		return mb_strdup(url);
	return mb_asprintf("%.*s%s", (int) (host - url), url, at + 1);
}

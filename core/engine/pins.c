/* pins.c - see pins.h. */
#include "core/engine/pins.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/names.h"

#define PINS "pins/"
#define REDUCED "reduced/"

/* Names below a prefix: <prefix><target>/<leaf>. */
static enum mb_code
add_note(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_names *notes = ctx;

	(void) err;
	mb_names_add(notes, info->name, strlen(info->name));
	return MB_OK;
}

/* The id between prefix and leaf; NULL for a name that is not ours. */
static const char *
take_apart(const char *name, const char *prefix, char target[MB_ID_TEXT])
{
	const char *rest = name + strlen(prefix);
	const char *slash = strchr(rest, '/');

	if (!slash || slash - rest >= MB_ID_TEXT)
		return NULL;
	memcpy(target, rest, (size_t) (slash - rest));
	target[slash - rest] = '\0';
	return mb_id_is_valid(target) ? slash + 1 : NULL;
}

static json_t *
find_doc(const json_t *docs, const char *id)
{
	size_t i;

	for (i = 0; i < json_array_size(docs); i++)
		if (strcmp(mb_json_str(json_array_get(docs, i), "id", ""), id) == 0)
			return json_array_get(docs, i);
	return NULL;
}

/* -- pins ------------------------------------------------------------------------------------ */

/* One that cannot be read pins all the same: it was somebody's wish. */
static enum mb_code
merge_pin(const struct mb_repo *repo, json_t *doc, const char *name, int64_t now_us,
		  struct mb_error *err)
{
	struct mb_error why;
	json_t *pin = NULL;
	enum mb_code code;
	int64_t until_us;

	mb_error_clear(&why);
	code = mb_doc_get(repo, MB_ROLE_PIN, name, &pin, &why);
	if (code == MB_NOT_FOUND)
		return MB_OK;
	if (code == MB_CORRUPT || code == MB_DENIED || code == MB_UNSUPPORTED)
	{
		pin = json_object();
		mb_json_set_str(pin, "reason", "the pin itself cannot be read");
	}
	else if (code)
	{
		*err = why;
		return code;
	}
	until_us = mb_json_time(pin, "until");
	if (!until_us || until_us > now_us)
	{
		/* Names come in order: the newest is the last. */
		json_object_set(doc, "pin", pin);
		mb_json_set_bool(doc, "pinned", true);
	}
	json_decref(pin);
	return MB_OK;
}

enum mb_code
mb_pins_merge(const struct mb_repo *repo, json_t *docs, struct mb_error *err)
{
	struct mb_names notes = {0};
	int64_t now_us = 0;
	enum mb_code code = mb_store_list(repo->store, PINS, add_note, &notes, err);
	size_t i;

	if (!code && notes.count > 0)
		code = mb_store_clock(repo->store, &now_us, err);
	for (i = 0; !code && i < notes.count; i++)
	{
		char target[MB_ID_TEXT];
		json_t *doc = take_apart(notes.items[i], PINS, target) ? find_doc(docs, target) : NULL;

		if (doc)
			code = merge_pin(repo, doc, notes.items[i], now_us, err);
	}
	mb_names_release(&notes);
	return code;
}

static enum mb_code
list_pins(const struct mb_repo *repo, const char *target, struct mb_names *notes,
		  struct mb_error *err)
{
	char prefix[MB_NAME_MAX];
	enum mb_code code;

	snprintf(prefix, sizeof(prefix), PINS "%s/", target);
	code = mb_store_list(repo->store, prefix, add_note, notes, err);
	if (code)
		mb_names_release(notes);
	return code;
}

enum mb_code
mb_pin_put(const struct mb_repo *repo, const char *target, const char *reason, int64_t until_us,
		   struct mb_error *err)
{
	char name[MB_NAME_MAX], id[MB_ID_TEXT];
	struct mb_names old = {0};
	int64_t now_us = 0;
	json_t *pin = json_object();
	enum mb_code code = mb_store_clock(repo->store, &now_us, err);

	if (!code)
		code = list_pins(repo, target, &old, err);
	mb_json_set_time(pin, "time", now_us);
	mb_json_set_str(pin, "reason", reason ? reason : "");
	if (until_us)
		mb_json_set_time(pin, "until", until_us);
	mb_id_new(id, now_us);
	snprintf(name, sizeof(name), PINS "%s/%s", target, id);
	if (!code)
		code = mb_doc_put(repo, MB_ROLE_PIN, name, pin, err);
	/* The new one first: a kill in between leaves two, never none. */
	if (!code && old.count > 0)
		code = mb_store_remove(repo->store, (const char *const *) old.items, old.count, err);
	mb_names_release(&old);
	json_decref(pin);
	return code;
}

enum mb_code
mb_pins_remove(const struct mb_repo *repo, const char *target, size_t *count, struct mb_error *err)
{
	struct mb_names notes = {0};
	enum mb_code code = list_pins(repo, target, &notes, err);

	if (!code && notes.count > 0)
		code = mb_store_remove(repo->store, (const char *const *) notes.items, notes.count, err);
	*count = notes.count;
	mb_names_release(&notes);
	return code;
}

/* -- components that have expired alone ------------------------------------------------------ */

static void
reduce(json_t *set, const char *component, const char *expired)
{
	json_t *parts = json_object_get(set, "components");
	size_t i;

	for (i = 0; i < json_array_size(parts); i++)
	{
		json_t *part = json_array_get(parts, i);

		if (strcmp(mb_json_str(part, "name", ""), component) != 0)
			continue;
		json_object_del(part, "backup");
		mb_json_set_str(part, "expired", expired);
		/* As one that failed: whoever knows nothing of retention sees that it is not there, and why. */
		json_object_set_new(part, "error",
							json_pack("{s:s,s:s,s:s,s:s}", "code", mb_code_name(MB_NOT_FOUND),
									  "message", "it has expired before the rest of this backup",
									  "detail", "", "hint", ""));
		mb_json_set_str(set, "status", "partial");
	}
}

enum mb_code
mb_reduced_merge(const struct mb_repo *repo, json_t *sets, struct mb_error *err)
{
	struct mb_names notes = {0};
	enum mb_code code = mb_store_list(repo->store, REDUCED, add_note, &notes, err);
	size_t i;

	for (i = 0; !code && i < notes.count; i++)
	{
		char target[MB_ID_TEXT];
		const char *component = take_apart(notes.items[i], REDUCED, target);
		json_t *set = component ? find_doc(sets, target) : NULL, *doc = NULL;
		struct mb_error why;

		if (!set)
			continue;
		mb_error_clear(&why);
		code = mb_doc_get(repo, MB_ROLE_REDUCED, notes.items[i], &doc, &why);
		/* The name says it all but when. */
		if (code == MB_UNREACHABLE || code == MB_IO || code == MB_INTERRUPTED)
			*err = why;
		else
			code = MB_OK;
		if (!code)
			reduce(set, component, mb_json_str(doc, "time", "?"));
		json_decref(doc);
	}
	mb_names_release(&notes);
	return code;
}

enum mb_code
mb_reduced_put(const struct mb_repo *repo, const char *set, const char *component,
			   struct mb_error *err)
{
	char name[MB_NAME_MAX];
	int64_t now_us = 0;
	json_t *doc;
	enum mb_code code = mb_store_clock(repo->store, &now_us, err);

	if (code)
		return code;
	doc = json_object();
	mb_json_set_time(doc, "time", now_us);
	snprintf(name, sizeof(name), REDUCED "%s/%s", set, component);
	code = mb_doc_put(repo, MB_ROLE_REDUCED, name, doc, err);
	json_decref(doc);
	return code == MB_EXISTS ? MB_OK : code;
}

enum mb_code
mb_notes_sweep(const struct mb_repo *repo, const json_t *sets, const json_t *marks,
			   struct mb_error *err)
{
	static const char *const prefixes[] = {PINS, REDUCED};
	struct mb_names notes = {0};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < 2; i++)
	{
		size_t j, kept = 0;

		code = mb_store_list(repo->store, prefixes[i], add_note, &notes, err);
		for (j = 0; !code && j < notes.count; j++)
		{
			char target[MB_ID_TEXT];

			if (!take_apart(notes.items[j], prefixes[i], target) || find_doc(sets, target) ||
				find_doc(marks, target))
				free(notes.items[j]);
			else
				notes.items[kept++] = notes.items[j];
		}
		if (!code)
			notes.count = kept;
		if (!code && kept > 0)
			code = mb_store_remove(repo->store, (const char *const *) notes.items, kept, err);
		mb_names_release(&notes);
	}
	return code;
}

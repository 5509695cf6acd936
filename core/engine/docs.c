/* docs.c - sets, marks and probes: finding and listing the documents above the commits. */
#include "core/engine/docs.h"

#include "core/engine/pins.h"

#include <stdlib.h>
#include <string.h>

struct doc_list
{
	const struct mb_repo *repo;
	enum mb_role role;
	const char *prefix;
	json_t *out;
};

static enum mb_code
load_doc(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct doc_list *list = ctx;
	enum mb_code code;
	bool is_refused;
	json_t *doc;

	if (!mb_id_is_valid(info->name + strlen(list->prefix)))
		return MB_OK;
	code = mb_doc_get(list->repo, list->role, info->name, &doc, err);
	if (code == MB_NOT_FOUND)
		return MB_OK; /* removed between listing and reading */
	is_refused = code == MB_DENIED && !mb_error_is_of_contents(err);
	if (code && (is_refused || mb_error_is_of_contents(err)))
	{
		/* One that cannot be read must not hide the others: it is listed as what it is. */
		doc = json_object();
		mb_json_set_str(doc, "id", info->name + strlen(list->prefix));
		mb_json_set_str(doc, "name", info->name + strlen(list->prefix));
		mb_json_set_str(doc, "status", is_refused ? "unreadable" : "damaged");
		mb_json_set_str(doc, "message", err->message);
		mb_error_clear(err);
	}
	else if (code)
		return code;
	json_array_append_new(list->out, doc);
	return MB_OK;
}

static enum mb_code
list_docs(const struct mb_repo *repo, enum mb_role role, const char *prefix, json_t **out,
		  struct mb_error *err)
{
	struct doc_list list = {repo, role, prefix, json_array()};
	enum mb_code code = mb_store_list(repo->store, prefix, load_doc, &list, err);

	if (code)
		json_decref(list.out);
	else
		*out = list.out;
	return code;
}

/* Pins stand beside what they pin. */
static enum mb_code
with_notes(const struct mb_repo *repo, json_t **docs, struct mb_error *err)
{
	enum mb_code code = mb_pins_merge(repo, *docs, err);

	if (code)
	{
		json_decref(*docs);
		*docs = NULL;
	}
	return code;
}

enum mb_code
mb_sets_list(const struct mb_repo *repo, json_t **sets, struct mb_error *err)
{
	enum mb_code code = list_docs(repo, MB_ROLE_SET, "sets/", sets, err);

	if (!code)
		code = with_notes(repo, sets, err);
	if (!code && mb_reduced_merge(repo, *sets, err))
	{
		json_decref(*sets);
		*sets = NULL;
		return err->code;
	}
	return code;
}

enum mb_code
mb_marks_list(const struct mb_repo *repo, json_t **marks, struct mb_error *err)
{
	enum mb_code code = list_docs(repo, MB_ROLE_MARK, "marks/", marks, err);

	return code ? code : with_notes(repo, marks, err);
}

enum mb_code
mb_set_put(const struct mb_repo *repo, const json_t *set, struct mb_error *err)
{
	char name[MB_NAME_MAX];

	snprintf(name, sizeof(name), "sets/%s", mb_json_str(set, "id", ""));
	return mb_doc_put(repo, MB_ROLE_SET, name, set, err);
}

enum mb_code
mb_mark_put(const struct mb_repo *repo, const json_t *mark, struct mb_error *err)
{
	char name[MB_NAME_MAX];

	snprintf(name, sizeof(name), "marks/%s", mb_json_str(mark, "id", ""));
	return mb_doc_put(repo, MB_ROLE_MARK, name, mark, err);
}

enum mb_code
mb_probes_list(const struct mb_repo *repo, json_t **probes, struct mb_error *err)
{
	return list_docs(repo, MB_ROLE_PROBE, "probes/", probes, err);
}

enum mb_code
mb_probe_put(const struct mb_repo *repo, json_t *probe, struct mb_error *err)
{
	char name[MB_NAME_MAX], id[MB_ID_TEXT];
	int64_t now_us = 0;
	enum mb_code code = mb_store_clock(repo->store, &now_us, err);

	if (code)
		return code;
	mb_id_new(id, now_us);
	mb_json_set_str(probe, "id", id);
	snprintf(name, sizeof(name), "probes/%s", id);
	return mb_doc_put(repo, MB_ROLE_PROBE, name, probe, err);
}

bool
mb_doc_is_unread(const json_t *doc)
{
	const char *status = mb_json_str(doc, "status", "");

	return strcmp(status, "damaged") == 0 || strcmp(status, "unreadable") == 0;
}

enum mb_code
mb_doc_unread_code(const json_t *doc)
{
	return strcmp(mb_json_str(doc, "status", ""), "unreadable") == 0 ? MB_DENIED : MB_CORRUPT;
}

/* Of what cannot be read nobody knows the name. */
static void
hint_unread(const json_t *docs, struct mb_error *err)
{
	size_t i;

	for (i = json_array_size(docs); i > 0; i--)
		if (mb_doc_is_unread(json_array_get(docs, i - 1)))
		{
			mb_error_hint(err, "One that cannot be read may be it: %.400s",
						  mb_json_str(json_array_get(docs, i - 1), "message", "?"));
			return;
		}
}

/* Say what there is, newest first, in the detail of a NOT_FOUND error. */
static void
say_what_there_is(const json_t *docs, const char *member, const char *what, struct mb_error *err)
{
	struct mb_buf text = {0};
	size_t count = json_array_size(docs);
	size_t i;

	for (i = 0; i < count && i < 10; i++)
		mb_buf_printf(&text, "%s%s", i ? ", " : "",
					  mb_json_str(json_array_get(docs, count - 1 - i), member, "?"));
	if (count == 0)
		mb_error_detail(err, "There is no %s in this repository.", what);
	else
		mb_error_detail(err, "There are %zu, the newest: %s.", count, mb_buf_cstr(&text));
	mb_buf_release(&text);
}

enum mb_code
mb_set_find(const struct mb_repo *repo, const char *which, json_t **set, struct mb_error *err)
{
	json_t *sets, *match = NULL;
	enum mb_code code = mb_sets_list(repo, &sets, err);
	size_t i, matches = 0;

	if (code)
		return code;
	for (i = 0; i < json_array_size(sets); i++)
	{
		json_t *candidate = json_array_get(sets, i);

		if (strcmp(which, "latest") == 0 || mb_starts_with(mb_json_str(candidate, "id", ""), which))
		{
			match = candidate;
			matches++;
		}
	}
	if (matches > 1 && strcmp(which, "latest") != 0)
	{
		code = mb_fail(err, MB_CONFIG, "\"%s\" stands for %zu backups", which, matches);
		mb_error_hint(err, "Give more of the id; \"mbackup list\" shows them.");
	}
	else if (!match)
	{
		code = mb_fail(err, MB_NOT_FOUND, "there is no backup \"%s\"", which);
		say_what_there_is(sets, "id", "backup", err);
		mb_error_hint(err, json_array_size(sets) ? "Run \"mbackup list\" to see them."
												 : "Run \"mbackup backup\" to take one.");
	}
	else
		*set = json_incref(match);
	json_decref(sets);
	return code;
}

enum mb_code
mb_mark_find(const struct mb_repo *repo, const char *name, json_t **mark, struct mb_error *err)
{
	json_t *marks, *match = NULL;
	enum mb_code code = mb_marks_list(repo, &marks, err);
	size_t i;

	if (code)
		return code;
	for (i = 0; i < json_array_size(marks); i++)
	{
		json_t *candidate = json_array_get(marks, i);

		if (strcmp(mb_json_str(candidate, "name", ""), name) == 0 ||
			strcmp(mb_json_str(candidate, "id", ""), name) == 0)
			match = candidate;
	}
	if (match)
		*mark = json_incref(match);
	else
	{
		code = mb_fail(err, MB_NOT_FOUND, "there is no mark \"%s\"", name);
		say_what_there_is(marks, "name", "mark", err);
		hint_unread(marks, err);
	}
	json_decref(marks);
	return code;
}

const char *
mb_set_commit_id(const json_t *set, const char *component)
{
	json_t *parts = json_object_get(set, "components");
	size_t i;

	for (i = 0; i < json_array_size(parts); i++)
		if (strcmp(mb_json_str(json_array_get(parts, i), "name", ""), component) == 0)
			return mb_json_str(json_array_get(parts, i), "backup", NULL);
	return NULL;
}

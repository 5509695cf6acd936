/* verify_marks.c - marks: is what lies between a backup and the marks that start from it still there?  And pins. */
#include <stdlib.h>
#include <string.h>

#include "core/engine/verify_private.h"

/* The marks that start from one backup. */
struct marks
{
	json_t **docs; /* borrowed */
	struct mb_cut *cuts;
	struct mb_reach *reaches;
	size_t count;
};

/* What a mark does not hold was said when it was made. */
static bool
starts_from(const json_t *mark, const struct mb_commit *commit)
{
	const char *base = mb_json_str(json_object_get(mark, "bases"), commit->component, "");

	return strcmp(base, commit->id) == 0 &&
		   !json_object_get(json_object_get(mark, "uncovered"), commit->component);
}

static void
add_problem(struct mb_verify *verify, const char *kind, const json_t *mark, const char *message)
{
	char *where = mb_asprintf("marks/%s", mb_json_str(mark, "id", "?"));
	json_t *problem;

	mb_verify_problem(verify, kind, where, message, NULL, NULL);
	problem = json_array_get(verify->problems, json_array_size(verify->problems) - 1);
	json_array_append_new(json_object_get(problem, "backups"),
						  json_string(mb_json_str(mark, "name", "?")));
	free(where);
}

static void
find_marks(struct mb_verify *verify, const struct mb_commit *commit, struct marks *marks)
{
	size_t total = json_array_size(verify->marks), i;

	marks->docs = mb_calloc(total + 1, sizeof(*marks->docs));
	marks->cuts = mb_calloc(total + 1, sizeof(*marks->cuts));
	marks->reaches = mb_calloc(total + 1, sizeof(*marks->reaches));
	for (i = 0; i < total; i++)
	{
		json_t *mark = json_array_get(verify->marks, i);
		struct mb_cut *cut = &marks->cuts[marks->count];
		struct mb_error why;

		if (!starts_from(mark, commit))
			continue;
		if (mb_cut_from_json(cut, json_object_get(mark, "cut"), &why))
			continue; /* told by mb_verify_mark_cuts */
		marks->docs[marks->count] = mark;
		mb_error_clear(&marks->reaches[marks->count].why);
		marks->reaches[marks->count++].cut = cut;
	}
}

static void
release_marks(struct marks *marks)
{
	while (marks->count > 0)
		mb_cut_release(&marks->cuts[--marks->count]);
	free(marks->docs);
	free(marks->cuts);
	free(marks->reaches);
}

/* Is there a blob of this name? */
static enum mb_code
look_for(const struct mb_verify *verify, const char *folder, const char *id, bool *there,
		 struct mb_error *err)
{
	char name[MB_NAME_MAX];
	struct mb_blob_info info;
	enum mb_code code;

	snprintf(name, sizeof(name), "%s%s", folder, id);
	code = mb_store_head(verify->repo->store, name, &info, err);
	*there = code == MB_OK;
	return code == MB_NOT_FOUND ? MB_OK : code;
}

enum mb_code
mb_verify_pin(struct mb_verify *verify, const char *name, const json_t *pin, struct mb_error *err)
{
	const char *target = name + strlen("pins/");
	int64_t until_us = mb_json_time(pin, "until"), now_us = 0;
	bool set = false, mark = false, still = true;
	char id[MB_ID_TEXT];
	enum mb_code code = MB_OK;

	snprintf(id, sizeof(id), "%.*s", (int) strcspn(target, "/"), target);
	if (!mb_id_is_valid(id))
		return MB_OK;
	if (until_us)
		code = mb_store_clock(verify->repo->store, &now_us, err);
	if (code || (until_us && until_us <= now_us))
		return code;
	code = look_for(verify, "sets/", id, &set, err);
	if (!code && !set)
		code = look_for(verify, "marks/", id, &mark, err);
	/* Unpinned and expired beside us? */
	if (!code && !set && !mark)
		code = look_for(verify, "", name, &still, err);
	if (!code && !set && !mark && still)
		mb_verify_problem(verify, "missing", name,
						  "the backup or mark that this pin keeps does not exist any more", NULL,
						  NULL);
	return code;
}

void
mb_verify_mark_cuts(struct mb_verify *verify)
{
	size_t i;

	for (i = 0; i < json_array_size(verify->marks); i++)
	{
		json_t *mark = json_array_get(verify->marks, i);
		struct mb_cut cut = {0};
		struct mb_error why;

		/* What cannot be read at all is told where all documents are looked at. */
		if (!mb_json_str(mark, "status", NULL) &&
			mb_cut_from_json(&cut, json_object_get(mark, "cut"), &why))
			add_problem(verify, "damaged", mark, why.message);
		mb_cut_release(&cut);
	}
}

enum mb_code
mb_verify_marks(struct mb_verify *verify, struct mb_component *component,
				const struct mb_commit *commit, struct mb_error *err)
{
	struct marks marks = {0};
	enum mb_code code = MB_OK;
	size_t i;

	find_marks(verify, commit, &marks);
	if (marks.count > 0)
		code = component->ops->reach(component, commit, marks.reaches, marks.count, err);
	for (i = 0; !code && i < marks.count; i++)
		if (marks.reaches[i].why.code &&
			mb_verify_is_still_there(verify, "marks", marks.docs[i], component->name))
			add_problem(verify, "missing", marks.docs[i], marks.reaches[i].why.message);
	release_marks(&marks);
	return code;
}

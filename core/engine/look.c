/* look.c - see look.h. */
#include "core/engine/look.h"

#include <string.h>

#include "core/base/time.h"
#include "core/engine/docs.h"

void
mb_look_release(struct mb_look *look)
{
	mb_commit_release(&look->commit);
	memset(look, 0, sizeof(*look));
}

/* The commit that a document names for the component, and the time of its cut. */
static enum mb_code
take_document(const struct mb_repo *repo, const char *component, const char *name, const char *id,
			  const json_t *cut, struct mb_look *look, struct mb_error *err)
{
	if (!id)
	{
		mb_fail(err, MB_NOT_FOUND, "\"%s\" holds no \"%s\"", name, component);
		return mb_error_hint(err, "Run \"mbackup list\" to see what holds it.");
	}
	look->time_us = mb_json_time(cut, "time");
	snprintf(look->id, sizeof(look->id), "%s", name);
	return mb_commit_get(repo, component, id, &look->commit, err);
}

static enum mb_code
take_mark(const struct mb_repo *repo, const char *component, const char *at, struct mb_look *look,
		  struct mb_error *err)
{
	json_t *mark;
	enum mb_code code = mb_mark_find(repo, at, &mark, err);

	if (code)
		return code;
	look->kind = MB_LOOK_MARK;
	code = take_document(repo, component, mb_json_str(mark, "name", at),
						 mb_json_str(json_object_get(mark, "bases"), component, NULL),
						 json_object_get(mark, "cut"), look, err);
	json_decref(mark);
	return code;
}

static enum mb_code
take_set(const struct mb_repo *repo, const char *component, const char *at, struct mb_look *look,
		 struct mb_error *err)
{
	json_t *set;
	enum mb_code code = mb_set_find(repo, at, &set, err);

	if (code)
		return code;
	look->kind = MB_LOOK_BACKUP;
	code = take_document(repo, component, mb_json_str(set, "id", at),
						 mb_set_commit_id(set, component), json_object_get(set, "cut"), look, err);
	json_decref(set);
	return code;
}

static enum mb_code
take_commit(const struct mb_repo *repo, const char *component, const char *id,
			enum mb_look_kind kind, struct mb_look *look, struct mb_error *err)
{
	enum mb_code code = mb_commit_get(repo, component, id, &look->commit, err);

	if (code)
		return code;
	look->kind = kind;
	look->time_us = mb_commit_cut_time(&look->commit);
	return MB_OK;
}

static enum mb_code
nothing_yet(const char *component, struct mb_error *err)
{
	mb_fail(err, MB_NOT_FOUND, "there is no backup of \"%s\" in this repository", component);
	return mb_error_hint(err, "Run \"mbackup backup\" to take one.");
}

static enum mb_code
take_newest(const struct mb_repo *repo, const char *component, struct mb_look *look,
			struct mb_error *err)
{
	char id[MB_ID_TEXT];
	uint64_t sequence;
	enum mb_code code = mb_commit_newest(repo, component, id, &sequence, err);

	if (code)
		return code;
	if (sequence == 0)
		return nothing_yet(component, err);
	return take_commit(repo, component, id, MB_LOOK_LATEST, look, err);
}

/* The commits around a time, by their cuts; the ids are the names'. */
struct around
{
	const char *behind; /* the oldest at or behind it, or NULL */
	const char *last;   /* the newest of all */
	int64_t behind_us;
	int64_t first_us; /* of the oldest of all */
	int64_t last_us;
};

static enum mb_code
look_around(const struct mb_repo *repo, const char *component, const struct mb_commit_names *names,
			int64_t time_us, struct around *around, struct mb_error *err)
{
	size_t i;

	*around = (struct around){.behind_us = INT64_MAX, .first_us = INT64_MAX, .last_us = INT64_MIN};
	for (i = 0; i < names->count; i++)
	{
		struct mb_commit head = {0};
		enum mb_code code = mb_commit_head(repo, component, names->items[i].id, &head, err);
		int64_t cut_us = code ? 0 : mb_commit_cut_time(&head);

		mb_commit_release(&head);
		if (code)
			return code;
		if (cut_us < around->first_us)
			around->first_us = cut_us;
		if (cut_us >= time_us && cut_us < around->behind_us)
		{
			around->behind = names->items[i].id;
			around->behind_us = cut_us;
		}
		if (cut_us > around->last_us)
		{
			around->last = names->items[i].id;
			around->last_us = cut_us;
		}
	}
	return MB_OK;
}

/*
 * The oldest backup from behind the time holds its history; behind the newest one nobody has looked, so
 * that one is as near as it gets.
 */
static enum mb_code
take_time(const struct mb_repo *repo, const char *component, int64_t time_us, struct mb_look *look,
		  struct mb_error *err)
{
	struct mb_commit_names names = {0};
	struct around around;
	enum mb_code code = mb_commit_list(repo, component, &names, err);

	if (!code)
		code = look_around(repo, component, &names, time_us, &around, err);
	if (!code && names.count == 0)
		code = nothing_yet(component, err);
	else if (!code && time_us < around.first_us)
	{
		char text[MB_TIME_TEXT];

		mb_time_format(text, around.first_us);
		code = mb_fail(err, MB_NOT_FOUND, "the first backup of \"%s\" is of %s, after that time",
					   component, text);
	}
	if (!code)
		code = take_commit(repo, component, around.behind ? around.behind : around.last,
						   MB_LOOK_TIME, look, err);
	if (!code)
		look->time_us = time_us;
	mb_commit_names_release(&names);
	return code;
}

enum mb_code
mb_look_find(const struct mb_repo *repo, const char *component, const char *at,
			 struct mb_look *look, struct mb_error *err)
{
	struct mb_error ignored;
	int64_t time_us;
	enum mb_code code;

	memset(look, 0, sizeof(*look));
	if (!at)
		code = take_newest(repo, component, look, err);
	else if (mb_time_parse(&time_us, at, &ignored) == MB_OK)
		code = take_time(repo, component, time_us, look, err);
	else
	{
		code = take_mark(repo, component, at, look, err);
		if (code == MB_NOT_FOUND && look->kind != MB_LOOK_MARK)
			code = take_set(repo, component, at, look, err);
		if (code == MB_NOT_FOUND && look->kind == MB_LOOK_LATEST && mb_id_is_valid(at))
			code = take_commit(repo, component, at, MB_LOOK_BACKUP, look, err);
		if (code == MB_NOT_FOUND && look->kind == MB_LOOK_LATEST)
			mb_fail(err, MB_NOT_FOUND, "\"%s\" is no mark, no backup and no time", at);
	}
	if (code)
		mb_look_release(look);
	return code;
}

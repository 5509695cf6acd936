/* bucket_write_parts.c - see bucket_write_private.h: a key with a version that goes in parts. */
#include "objectstore/bucket_write_private.h"

#include <stdlib.h>
#include <string.h>

/* The key as a job of its own, up to the next version that goes in parts. */
static enum mb_code
write_small(struct mb_bucket_write *write, unsigned worker, struct todo_key *key, size_t from,
			size_t to, size_t there, struct mb_error *err)
{
	struct todo_key part = {key->target, key->todos + from, to - from, there};
	struct job job = {.keys = &part, .count = 1};

	return from == to ? MB_OK : mb_write_keys(write, worker, &job, err);
}

static enum mb_code
write_parts(struct mb_bucket_write *write, unsigned worker, const char *target,
			const struct todo *todo, struct mb_error *err)
{
	struct mb_put_version version = {.key = target, .entry = &todo->entry};
	struct mb_error why;
	char *new_id = NULL;
	enum mb_code code;

	mb_error_clear(&why);
	code = mb_json_parse(&version.meta, todo->entry.meta ? todo->entry.meta : "{}",
						 todo->entry.meta ? strlen(todo->entry.meta) : 2, "meta", &why);
	if (!code && todo->step.kind == MB_WRITE_LATE)
		code = mb_put_late(write->place, &version, todo->step.id, write->lanes[worker], &why);
	else if (!code)
		code = mb_put_parts(write->place, &version, write->readers[worker], write->lanes[worker],
							&new_id, &why);
	if (!code && todo->step.kind == MB_WRITE_LATE)
		code = MB_OK; /* it was counted when it was written */
	else if (!code || code == MB_EXISTS)
		code = mb_write_count(write, target, todo, version.meta, new_id, code == MB_EXISTS, err);
	else
		code = mb_write_refused(write, target, code, &why, err);
	free(new_id);
	json_decref(version.meta);
	return code;
}

bool
mb_write_in_parts(const struct mb_bucket_write *write, const struct todo *todo)
{
	struct mb_put_version version = {.entry = &todo->entry};
	struct mb_error err;
	bool is_so;

	if (todo->step.kind == MB_WRITE_LATE)
		return true;
	if (todo->step.kind == MB_WRITE_DELETE || todo->entry.type != MB_ENTRY_OBJECT)
		return false;
	mb_error_clear(&err);
	if (mb_json_parse(&version.meta, todo->entry.meta ? todo->entry.meta : "{}",
					  todo->entry.meta ? strlen(todo->entry.meta) : 2, "meta", &err))
		return false;
	is_so = mb_put_in_parts(write->place, &version);
	json_decref(version.meta);
	return is_so;
}

enum mb_code
mb_write_alone(struct mb_bucket_write *write, unsigned worker, struct job *job,
			   struct mb_error *err)
{
	struct todo_key *key = &job->keys[0];
	enum mb_code code = MB_OK;
	size_t from = 0, i;

	for (i = 0; !code && i < key->count; i++)
	{
		if (!mb_write_in_parts(write, &key->todos[i]))
			continue;
		code = write_small(write, worker, key, from, i, key->there + from, err);
		if (!code)
			code = write_parts(write, worker, key->target, &key->todos[i], err);
		from = i + 1;
	}
	if (!code)
		code = write_small(write, worker, key, from, key->count, key->there + from, err);
	return code;
}

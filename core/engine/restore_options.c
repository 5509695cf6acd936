/* restore_options.c - what a user asked of a restore, as a document and back (restore_session.h). */
#include <stdlib.h>
#include <string.h>

#include "core/engine/restore_session.h"

static json_t *
save_list(char *const *items, size_t count)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < count; i++)
		json_array_append_new(list, json_string(items[i]));
	return list;
}

static void
save_text(json_t *json, const char *key, const char *text)
{
	if (text)
		mb_json_set_str(json, key, text);
}

static json_t *
save_target(const struct mb_target *target)
{
	json_t *json = json_object();

	mb_json_set_int(json, "kind", target->kind);
	save_text(json, "text", target->text);
	mb_json_set_int(json, "time_us", target->time_us);
	mb_json_set_lsn(json, "lsn", target->lsn);
	mb_json_set_int(json, "xid", (int64_t) target->xid);
	mb_json_set_int(json, "timeline", target->timeline);
	mb_json_set_bool(json, "exclusive", target->exclusive);
	mb_json_set_int(json, "action", target->action);
	return json;
}

static json_t *
save_wishes(const struct mb_restore_wishes *wishes)
{
	json_t *json = json_object();

	mb_json_set_int(json, "flags", wishes->flags);
	json_object_set_new(json, "tablespaces",
						save_list(wishes->tablespaces, wishes->tablespace_count));
	json_object_set_new(json, "databases", save_list(wishes->databases, wishes->database_count));
	save_text(json, "tablespace_all", wishes->tablespace_all);
	save_text(json, "wal_dir", wishes->wal_dir);
	save_text(json, "rdb", wishes->rdb);
	mb_json_set_int(json, "expired", wishes->expired);
	mb_json_set_int(json, "port", wishes->port);
	mb_json_set_int(json, "start_timeout_ms", wishes->start_timeout_ms);
	return json;
}

json_t *
mb_restore_options_save(const struct mb_restore_options *options)
{
	json_t *json = json_object(), *destinations = json_array();
	size_t i;

	for (i = 0; i < options->destination_count; i++)
	{
		json_t *one = json_object();

		mb_json_set_str(one, "component", options->destinations[i].component);
		save_text(one, "destination", options->destinations[i].destination);
		json_array_append_new(destinations, one);
	}
	save_text(json, "backup", options->backup);
	json_object_set_new(json, "destinations", destinations);
	json_object_set_new(json, "only", save_list(options->only, options->only_count));
	json_object_set_new(json, "target", save_target(&options->target));
	json_object_set_new(json, "wishes", save_wishes(&options->wishes));
	return json;
}

/* -- and back -------------------------------------------------------------------------------------- */

static char **
load_list(const json_t *list, size_t *count)
{
	char **items;
	size_t i;

	*count = json_array_size(list);
	items = mb_calloc(*count + 1, sizeof(*items));
	for (i = 0; i < *count; i++)
	{
		const char *text = json_string_value(json_array_get(list, i));

		items[i] = (char *) (uintptr_t) (text ? text : "");
	}
	return items;
}

static void
load_target(struct mb_target *target, const json_t *json)
{
	target->kind = (enum mb_target_kind) mb_json_int(json, "kind", MB_TARGET_BACKUP);
	target->text = mb_json_str(json, "text", NULL);
	target->time_us = mb_json_int(json, "time_us", 0);
	if (!mb_lsn_parse(&target->lsn, mb_json_str(json, "lsn", "")))
		target->lsn = 0;
	target->xid = (uint64_t) mb_json_int(json, "xid", 0);
	target->timeline = (uint32_t) mb_json_int(json, "timeline", 0);
	target->exclusive = mb_json_bool(json, "exclusive", false);
	target->action = (enum mb_target_action) mb_json_int(json, "action", MB_ACTION_PROMOTE);
}

void
mb_restore_options_load(struct mb_restore_options_read *read, const json_t *json)
{
	const json_t *list = json_object_get(json, "destinations");
	const json_t *saved = json_object_get(json, "wishes");
	struct mb_restore_options *options = &read->options;
	struct mb_restore_wishes *wishes = &options->wishes;
	size_t i;

	memset(read, 0, sizeof(*read));
	options->destination_count = json_array_size(list);
	read->destinations = mb_calloc(options->destination_count + 1, sizeof(*read->destinations));
	options->destinations = read->destinations;
	for (i = 0; i < options->destination_count; i++)
	{
		const json_t *one = json_array_get(list, i);

		read->destinations[i].component = (char *) (uintptr_t) mb_json_str(one, "component", "");
		read->destinations[i].destination =
			(char *) (uintptr_t) mb_json_str(one, "destination", NULL);
	}
	options->backup = mb_json_str(json, "backup", NULL);
	load_target(&options->target, json_object_get(json, "target"));
	options->only = read->lists[0] = load_list(json_object_get(json, "only"), &options->only_count);
	wishes->tablespaces = read->lists[1] =
		load_list(json_object_get(saved, "tablespaces"), &wishes->tablespace_count);
	wishes->databases = read->lists[2] =
		load_list(json_object_get(saved, "databases"), &wishes->database_count);
	wishes->flags = (unsigned) mb_json_int(saved, "flags", 0);
	wishes->tablespace_all = mb_json_str(saved, "tablespace_all", NULL);
	wishes->wal_dir = mb_json_str(saved, "wal_dir", NULL);
	wishes->rdb = mb_json_str(saved, "rdb", NULL);
	wishes->expired = (enum mb_expired) mb_json_int(saved, "expired", MB_EXPIRED_DROP);
	wishes->port = (unsigned) mb_json_int(saved, "port", 0);
	wishes->start_timeout_ms = mb_json_int(saved, "start_timeout_ms", 0);
}

void
mb_restore_options_release(struct mb_restore_options_read *read)
{
	size_t i;

	free(read->destinations);
	for (i = 0; i < sizeof(read->lists) / sizeof(*read->lists); i++)
		free(read->lists[i]);
	memset(read, 0, sizeof(*read));
}

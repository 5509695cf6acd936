/* cmd_objects_read.c - ls, diff and cat: looking into the backup of a bucket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/objects.h"
#include "core/base/time.h"
#include "objectstore/objects_diff.h"

static bool
flag(const struct mb_cli *cli, const char *name)
{
	return mb_config_flag(&cli->config, name);
}

/* -- ls -------------------------------------------------------------------------------------------- */

void
objects_print_name(const char *name, FILE *out)
{
	const unsigned char *p = (const unsigned char *) name;

	for (; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			fprintf(out, "\\x%02x", *p);
		else
			fputc(*p, out);
}

/* One line of ls, or one element of its answer. */
static void
show_version(struct mb_cli *cli, const struct mb_state_key *key,
			 const struct mb_state_version *version, json_t *list)
{
	bool is_marker = version->entry.type == MB_ENTRY_MARKER;
	json_t *meta = mb_state_meta(&version->entry);
	const char *id = mb_json_str(meta, "id", "");
	char time[MB_TIME_TEXT];

	mb_time_format(time, (int64_t) (version->entry.version / 1000));
	if (list)
	{
		json_t *item = json_object();

		mb_json_set_str(item, "key", key->key);
		mb_json_set_str(item, "modified", time);
		mb_json_set_int(item, "size", (int64_t) version->entry.size);
		mb_json_set_str(item, "version_id", id);
		mb_json_set_str(item, "etag", mb_json_str(meta, "etag", ""));
		mb_json_set_bool(item, "is_marker", is_marker);
		mb_json_set_bool(item, "is_current", version == key->current);
		mb_json_set_bool(item, "is_ambiguous", version->is_ambiguous);
		json_array_append_new(list, item);
	}
	else
	{
		printf("%.10s %.8sZ %12llu ", time, time + 11, (unsigned long long) version->entry.size);
		if (flag(cli, "versions"))
			printf("%-36s %-7s ", id[0] ? id : "-",
				   is_marker                 ? "deleted"
				   : version == key->current ? "current"
											 : "");
		objects_print_name(key->key, stdout);
		putchar('\n');
	}
	json_decref(meta);
}

static void
show_key(struct mb_cli *cli, const struct mb_state_key *key, json_t *list)
{
	size_t i;

	if (!flag(cli, "versions"))
	{
		if (key->current)
			show_version(cli, key, key->current, list);
		return;
	}
	for (i = 0; i < key->count; i++)
		show_version(cli, key, &key->versions[i], list);
}

/*
 * As text, lines are printed as they come, so that a bucket of any size can be listed; the one
 * JSON object holds them all.
 */
enum mb_code
objects_ls(struct mb_cli *cli, struct mb_error *err)
{
	const char *prefix = cli->words.count > 2 ? cli->words.items[2] : "";
	struct objects_view view = {0};
	const struct mb_state_key *key;
	struct mb_state *state = NULL;
	json_t *list = flag(cli, "json") ? json_array() : NULL;
	char **only = NULL;
	size_t only_count;
	enum mb_code code = objects_open(cli, &view, err);

	only = cli_all_values(cli, "only", &only_count);
	if (!code)
		state = mb_state_new_from(cli->env.repo, &view.look.commit, view.time, prefix);
	while (!code && (code = mb_cancel_check(&mb_interrupt, err)) == MB_OK &&
		   (code = mb_state_next(state, &key, err)) == MB_OK && key &&
		   mb_starts_with(key->key, prefix))
		if (mb_state_wanted(only, only_count, key->key))
			show_key(cli, key, list);
	if (!code && list)
	{
		cli->answer = json_pack("{s:O}", "objects", list);
		mb_json_set_str(cli->answer, "component", view.component->name);
		mb_json_set_str(cli->answer, "backup", view.look.commit.id);
		mb_json_set_time(cli->answer, "time", view.look.time_us);
	}
	json_decref(list);
	free(only);
	mb_state_free(state);
	objects_close(&view);
	return code;
}

/* -- diff -------------------------------------------------------------------------------------------- */

struct differences
{
	struct mb_cli *cli;
	json_t *list; /* NULL: print them */
	uint64_t counts[3];
};

static enum mb_code
show_difference(void *ctx, const struct mb_diff *diff, struct mb_error *err)
{
	static const char *const words[] = {"missing", "changed", "extra"};
	struct differences *differences = ctx;
	json_t *item;

	(void) err;
	differences->counts[diff->kind]++;
	if (!differences->list)
	{
		printf("%-8s %12llu %12llu ", words[diff->kind], (unsigned long long) diff->was_bytes,
			   (unsigned long long) diff->is_bytes);
		objects_print_name(diff->key, stdout);
		putchar('\n');
		return MB_OK;
	}
	item = json_object();
	mb_json_set_str(item, "kind", words[diff->kind]);
	mb_json_set_str(item, "key", diff->key);
	mb_json_set_int(item, "was_bytes", (int64_t) diff->was_bytes);
	mb_json_set_int(item, "is_bytes", (int64_t) diff->is_bytes);
	json_array_append_new(differences->list, item);
	return MB_OK;
}

/* The honest answer to "is it the same?": exit 1 when not. */
enum mb_code
objects_diff(struct mb_cli *cli, struct mb_error *err)
{
	struct differences found = {.cli = cli, .list = flag(cli, "json") ? json_array() : NULL};
	struct mb_diff_request request = {.fn = show_difference, .ctx = &found};
	struct objects_view view = {0};
	char **only = cli_all_values(cli, "only", &request.only_count);
	enum mb_code code = objects_open(cli, &view, err);

	if (!code)
	{
		request.component = view.component;
		request.commit = &view.look.commit;
		request.time = view.time;
		request.only = only;
		code = mb_objects_diff(&request, err);
	}
	if (!code && found.list)
	{
		cli->answer = json_pack("{s:O}", "differences", found.list);
		mb_json_set_str(cli->answer, "component", view.component->name);
		mb_json_set_str(cli->answer, "backup", view.look.commit.id);
		mb_json_set_time(cli->answer, "time", view.look.time_us);
	}
	if (!code && found.counts[0] + found.counts[1] + found.counts[2] > 0)
		code = mb_fail(err, MB_NEGATIVE, "%llu missing, %llu changed, %llu extra",
					   (unsigned long long) found.counts[0], (unsigned long long) found.counts[1],
					   (unsigned long long) found.counts[2]);
	json_decref(found.list);
	free(only);
	objects_close(&view);
	return code;
}

/* -- contents --------------------------------------------------------------------------------------- */

enum mb_code
objects_contents(struct mb_pack_reader *reader, const struct mb_entry *entry,
				 objects_contents_fn fn, void *ctx, struct mb_error *err)
{
	struct mb_runs runs = {0};
	struct mb_buf data = {0};
	enum mb_code code = mb_entry_runs(entry, reader, &runs, err);
	size_t i;

	for (i = 0; !code && i < runs.count; i++)
	{
		mb_buf_reset(&data);
		code = mb_cancel_check(&mb_interrupt, err);
		if (!code)
			code = mb_pack_reader_run(reader, &runs.items[i], &data, err);
		if (!code)
			code = fn(ctx, data.data, data.len, err);
	}
	mb_buf_release(&data);
	mb_runs_release(&runs);
	return code;
}

/* -- cat ---------------------------------------------------------------------------------------------- */

static enum mb_code
write_out(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	(void) ctx;
	if (fwrite(data, 1, len, stdout) != len)
		return mb_fail_errno(err, errno, "could not write to the standard output");
	return MB_OK;
}

static const struct mb_state_version *
choose_version(const struct mb_state_key *key, const char *version_id)
{
	const struct mb_state_version *chosen = NULL;
	size_t i;

	if (!version_id)
		return key->current;
	for (i = 0; i < key->count && !chosen; i++)
	{
		json_t *meta = mb_state_meta(&key->versions[i].entry);

		if (strcmp(mb_json_str(meta, "id", ""), version_id) == 0 &&
			key->versions[i].entry.type == MB_ENTRY_OBJECT)
			chosen = &key->versions[i];
		json_decref(meta);
	}
	return chosen;
}

static enum mb_code
say_not_found(const struct objects_view *view, const struct mb_state_key *key, const char *name,
			  const char *version_id, struct mb_error *err)
{
	bool is_there = key && strcmp(key->key, name) == 0;
	char time[MB_TIME_TEXT];

	mb_time_format(time, view->look.time_us);
	if (version_id && is_there)
		mb_fail(err, MB_NOT_FOUND, "\"%s\" has no version %s in backup %s", name, version_id,
				view->look.commit.id);
	else if (is_there)
		mb_fail(err, MB_NOT_FOUND, "\"%s\" was deleted before %s", name, time);
	else
		mb_fail(err, MB_NOT_FOUND, "there is no object \"%s\" as of %s", name, time);
	return mb_error_hint(err, "Look with: mbackup objects ls %s --versions %s",
						 view->component->name, is_there ? name : "");
}

enum mb_code
objects_cat(struct mb_cli *cli, struct mb_error *err)
{
	const char *name = cli->words.items[2];
	const char *version_id =
		mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "version-id", 0);
	const struct mb_state_version *version = NULL;
	const struct mb_state_key *key = NULL;
	struct objects_view view = {0};
	struct mb_pack_reader *reader = NULL;
	struct mb_state *state = NULL;
	enum mb_code code = objects_open(cli, &view, err);

	if (!code)
	{
		state = mb_state_new_from(cli->env.repo, &view.look.commit, view.time, name);
		code = mb_state_next(state, &key, err);
	}
	if (!code && key && strcmp(key->key, name) == 0)
		version = choose_version(key, version_id);
	if (!code && !version)
		code = say_not_found(&view, key, name, version_id, err);
	if (!code)
	{
		reader = mb_pack_reader_new(cli->env.repo);
		code = objects_contents(reader, &version->entry, write_out, NULL, err);
	}
	if (!code && fflush(stdout) != 0)
		code = mb_fail_errno(err, errno, "could not write to the standard output");
	mb_pack_reader_free(reader);
	mb_state_free(state);
	objects_close(&view);
	return code;
}

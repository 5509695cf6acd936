/*
 * cmd_import.c - import: an archive into the services that the configuration names.
 *
 * It is read three times: to check every byte of it, to look whether what it would write is there
 * already, and to load it.  Nothing is touched before the first two are through and the user has said yes.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/import.h"
#include "core/base/fs.h"
#include "core/base/time.h"

char *
import_rdb_path(const struct import_run *run, const struct archive_item *item)
{
	size_t i = (size_t) (item - run->inventory.items);

	return mb_asprintf("%s/import-%zu.rdb", run->cli->env.spool, i);
}

static bool
is_dry_run(const struct import_run *run)
{
	return mb_config_flag(&run->cli->config, "dry-run");
}

/* -- looking ----------------------------------------------------------------------------------------- */

static void
read_choices(struct import_run *run)
{
	char **texts = cli_all_values(run->cli, "component", &run->choice_count);
	char here[PATH_MAX];
	size_t i;

	run->choices = mb_calloc(run->choice_count + 1, sizeof(*run->choices));
	for (i = 0; i < run->choice_count; i++)
	{
		const char *equals = strchr(texts[i], '=');
		struct mb_component *component;

		run->choices[i].component =
			equals ? mb_strndup(texts[i], (size_t) (equals - texts[i])) : mb_strdup(texts[i]);
		if (!equals)
			continue;
		component = mb_stack_find(&run->cli->stack, run->choices[i].component);
		/* A relative directory means one here; a connection string is none. */
		if (equals[1] != '/' && !strstr(equals, "://") && component &&
			strcmp(component->ops->kind, "postgres") != 0 && getcwd(here, sizeof(here)))
			run->choices[i].destination = mb_path_join(here, equals + 1);
		else
			run->choices[i].destination = mb_strdup(equals + 1);
	}
	free(texts);
}

static enum mb_code
open_archive(struct import_run *run, struct mb_error *err)
{
	bool found;

	/* Not repeated: it may be a pipe that nobody writes to, and a signal ends the wait. */
	run->fd = open(run->path, O_RDONLY | O_CLOEXEC);
	if (run->fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", run->path);
	if (lseek(run->fd, 0, SEEK_CUR) < 0)
	{
		mb_fail(err, MB_UNSUPPORTED, "\"%s\" cannot be read more than once", run->path);
		return mb_error_hint(err, "An import checks all of it first: put it into a file.");
	}
	return mb_config_secret(&run->cli->config, SCOPE_GLOBAL, "export-passphrase", &run->pass,
							&found, err);
}

static enum mb_code
read_inventory(struct import_run *run, struct mb_error *err)
{
	struct archive_check check = {.path = run->path,
								  .fd = run->fd,
								  .pass = &run->pass,
								  .tmp_dir = run->cli->env.spool,
								  .cancel = &mb_interrupt,
								  .progress = mb_env_progress(&run->cli->env, "archive")};
	off_t size = lseek(run->fd, 0, SEEK_END);
	enum mb_code code;

	if (size > 0)
		atomic_store(&check.progress->total_bytes, 0);
	mb_progress_phase(check.progress, "checking");
	code = archive_inventory_read(&run->inventory, &check, err);
	mb_progress_phase(check.progress, code ? "failed" : "checked");
	return code ? mb_error_context(err, "could not use \"%s\"", run->path) : MB_OK;
}

/* Walk over all members once more: fn for each that has a target. */
typedef enum mb_code (*member_fn)(struct import_run *run, struct import_target *target,
								  struct archive_reader *reader, const struct mb_tar_member *member,
								  const char *rest, struct mb_error *err);

static enum mb_code
each_member(struct import_run *run, member_fn fn, struct mb_error *err)
{
	struct archive_reader reader = {0};
	struct mb_tar_member member;
	enum mb_code code = archive_reader_open(&reader, run->path, run->fd, &run->pass, err);
	bool more = true;

	while (!code && !(code = archive_next(&reader, &member, &more, err)) && more)
	{
		const char *rest;
		struct archive_item *item = archive_inventory_find(&run->inventory, member.path, &rest);
		struct import_target *target = item ? &run->targets[item - run->inventory.items] : NULL;

		code = mb_cancel_check(&mb_interrupt, err);
		if (!code && target && target->component &&
			!(S_ISDIR(member.type) && (item->kind != ARCHIVE_TREE || !rest[0])))
			code = fn(run, target, &reader, &member, rest, err);
	}
	archive_reader_close(&reader);
	return code;
}

/* An RDB is planned with as a file; names that are taken are found before anything is written. */
static enum mb_code
look_at_member(struct import_run *run, struct import_target *target, struct archive_reader *reader,
			   const struct mb_tar_member *member, const char *rest, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	char *path;
	int fd;

	if (target->item->kind != ARCHIVE_RDB)
		return S_ISDIR(member->type) ? MB_OK : import_target_look(run, target, rest, err);
	path = import_rdb_path(run, target->item);
	unlink(path);
	fd = mb_open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		code = mb_fail_errno(err, errno, "could not create \"%s\"", path);
	while (!code)
	{
		unsigned char chunk[65536];
		size_t got;

		code = archive_read(reader, chunk, sizeof(chunk), &got, err);
		if (!code)
			code = mb_write_full(fd, chunk, got, path, err);
		if (got < sizeof(chunk))
			break;
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return code;
}

static enum mb_code
look_at_targets(struct import_run *run, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	bool needs_walk = false;
	size_t i;

	for (i = 0; i < run->inventory.count; i++)
		if (run->targets[i].component &&
			(run->inventory.items[i].kind == ARCHIVE_RDB ||
			 (run->inventory.items[i].kind == ARCHIVE_TREE && !run->targets[i].destination)))
			needs_walk = true;
	if (needs_walk && !is_dry_run(run))
		code = each_member(run, look_at_member, err);
	for (i = 0; !code && i < run->inventory.count; i++)
		if (run->targets[i].component)
			code = import_target_check(run, &run->targets[i], err);
	return code;
}

static enum mb_code
confirm(struct import_run *run, struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code;
	size_t i;

	mb_buf_put_str(&text, "This loads the archive into");
	for (i = 0; i < run->inventory.count; i++)
		if (run->targets[i].place)
			mb_buf_printf(&text, "%s %s", i ? "," : "", run->targets[i].place);
	mb_buf_put_str(&text, ".");
	code = cli_confirm(run->cli, mb_buf_cstr(&text), "an import into running services",
					   "Look at it with --dry-run, then add --yes.", err);
	mb_buf_release(&text);
	return code;
}

/* -- loading ---------------------------------------------------------------------------------------- */

static enum mb_code
load_all(struct import_run *run, struct mb_error *err)
{
	uint64_t left_out = 0;
	enum mb_code code = each_member(run, import_target_take, err);
	size_t i;

	for (i = 0; !code && i < run->inventory.count; i++)
	{
		code = import_target_finish(run, &run->targets[i], err);
		left_out += run->targets[i].left_out;
	}
	if (code && !err->detail[0])
		mb_error_detail(err, "What was loaded before it stays; the parts of an archive are loaded "
							 "in its order.");
	if (!code && left_out > 0)
		code =
			mb_fail(err, MB_PARTIAL, "%llu objects were left out", (unsigned long long) left_out);
	return code;
}

/* -- the answer ------------------------------------------------------------------------------------- */

static const char *
kind_word(enum archive_kind kind)
{
	static const char *const words[] = {"database", "sql", "roles", "rdb", "objects", "files"};

	return words[kind];
}

static void
set_answer(struct import_run *run)
{
	const struct archive_inventory *inventory = &run->inventory;
	json_t *import = json_object(), *parts = json_array(), *warnings;
	size_t i;

	for (i = 0; i < inventory->count; i++)
	{
		const struct import_target *target = &run->targets[i];
		json_t *part = json_object();

		mb_json_set_str(part, "part", inventory->items[i].prefix);
		mb_json_set_str(part, "kind", kind_word(inventory->items[i].kind));
		mb_json_set_int(part, "entries", (int64_t) inventory->items[i].entries);
		mb_json_set_int(part, "bytes", (int64_t) inventory->items[i].bytes);
		if (target->component)
			mb_json_set_str(part, "component", target->component->name);
		else
			json_object_set_new(part, "component", json_null());
		if (target->place)
			mb_json_set_str(part, "destination", target->place);
		if (target->aside)
			mb_json_set_str(part, "set_aside", target->aside);
		if (target->left_out)
			mb_json_set_int(part, "left_out", (int64_t) target->left_out);
		json_array_append_new(parts, part);
	}
	mb_json_set_str(import, "file", run->path);
	mb_json_set_bool(import, "dry_run", is_dry_run(run));
	mb_json_set_bool(import, "encrypted", inventory->encrypted);
	mb_json_set_bool(import, "checksums", inventory->is_ours);
	mb_json_set_str(import, "tool", mb_json_str(inventory->info, "tool", ""));
	if (mb_json_str(inventory->info, "time", NULL))
		mb_json_set_str(import, "time", mb_json_str(inventory->info, "time", ""));
	mb_json_set_int(import, "members", (int64_t) inventory->members);
	mb_json_set_int(import, "bytes", (int64_t) inventory->bytes);
	json_object_set_new(import, "parts", parts);
	warnings = json_deep_copy(inventory->warnings);
	json_array_extend(warnings, run->warnings);
	json_object_set_new(import, "warnings", warnings);
	run->cli->answer = json_pack("{s:o}", "import", import);
}

static void
release_run(struct import_run *run)
{
	size_t i;

	for (i = 0; run->targets && i < run->inventory.count; i++)
	{
		if (run->inventory.items[i].kind == ARCHIVE_RDB && run->lock_fd >= 0)
		{
			char *path = import_rdb_path(run, &run->inventory.items[i]);

			unlink(path);
			free(path);
		}
		import_target_release(&run->targets[i]);
	}
	for (i = 0; i < run->choice_count; i++)
	{
		free(run->choices[i].component);
		free(run->choices[i].destination);
	}
	mb_pg_load_close(run->load);
	archive_inventory_release(&run->inventory);
	mb_secret_release(&run->pass);
	mb_buf_wipe(&run->globals);
	json_decref(run->warnings);
	free(run->targets);
	free(run->choices);
	if (run->fd >= 0)
		close(run->fd);
	if (run->lock_fd >= 0)
		close(run->lock_fd);
}

enum mb_code
cmd_import(struct mb_cli *cli, struct mb_error *err)
{
	struct import_run run = {.cli = cli, .path = cli->words.items[0], .fd = -1, .lock_fd = -1};
	char *lock = mb_path_join(cli->env.spool, "import.lock");
	enum mb_code code = mb_lock_file(&run.lock_fd, lock, err);

	free(lock);
	if (code == MB_CONFLICT)
		mb_error_hint(err, "Another import is running on this machine.");
	if (code)
		run.lock_fd = -1;
	run.warnings = json_array();
	read_choices(&run);
	if (!code)
		code = open_archive(&run, err);
	if (!code)
		code = read_inventory(&run, err);
	if (!code)
		code = import_map(&run, err);
	if (!code)
		code = look_at_targets(&run, err);
	if (!code && !is_dry_run(&run))
		code = confirm(&run, err);
	if (!code && !is_dry_run(&run))
		code = load_all(&run, err);
	if (!code || code == MB_PARTIAL)
		set_answer(&run);
	release_run(&run);
	return code;
}

void
render_import(const json_t *answer, FILE *out)
{
	const json_t *import = json_object_get(answer, "import");
	const json_t *parts = json_object_get(import, "parts");
	const json_t *warnings = json_object_get(import, "warnings");
	char bytes[MB_SIZE_TEXT];
	size_t i;

	mb_size_format(bytes, (uint64_t) mb_json_int(import, "bytes", 0));
	fprintf(out, "%s: %lld files, %s%s, %s\n", mb_json_str(import, "file", "?"),
			(long long) mb_json_int(import, "members", 0), bytes,
			mb_json_bool(import, "encrypted", false) ? ", encrypted" : "",
			mb_json_bool(import, "checksums", false) ? "every checksum good"
													 : "no checksums to compare");
	if (mb_json_str(import, "time", NULL))
		fprintf(out, "  moment    %s\n", mb_json_str(import, "time", "-"));
	for (i = 0; i < json_array_size(parts); i++)
	{
		const json_t *part = json_array_get(parts, i);
		const char *aside = mb_json_str(part, "set_aside", NULL);

		mb_size_format(bytes, (uint64_t) mb_json_int(part, "bytes", 0));
		fprintf(out, "  %-28s %10lld  %10s  %s%s\n", mb_json_str(part, "part", "?"),
				(long long) mb_json_int(part, "entries", 0), bytes,
				mb_json_bool(import, "dry_run", false) ? "for " : "into ",
				mb_json_str(part, "destination", mb_json_str(part, "component", "nothing")));
		if (aside)
			fprintf(out, "    what was there is called \"%s\" now: drop it when all is well\n",
					aside);
	}
	for (i = 0; i < json_array_size(warnings); i++)
		fprintf(out, "warning: %s\n", json_string_value(json_array_get(warnings, i)));
}

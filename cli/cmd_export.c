/*
 * cmd_export.c - export: one moment of the stack as an archive that opens without mbackup.
 *
 * The restore that it is made of is planned as a whole first, so that everything is of one moment and
 * what cannot be done is known before hours of work; docs/archive.md has the layout.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/export.h"
#include "core/base/time.h"
#include "objectstore/s3.h"

/* -- what the parts share --------------------------------------------------------------------------- */

json_t *
export_part(const struct export_run *run, const char *component)
{
	json_t *parts = json_object_get(json_object_get(run->plan, "restore"), "components");
	size_t i;

	for (i = 0; i < json_array_size(parts); i++)
		if (strcmp(mb_json_str(json_array_get(parts, i), "name", ""), component) == 0)
			return json_array_get(parts, i);
	return NULL;
}

/* The bucket of a component in S3, or its own name; free it. */
static char *
bucket_name(const struct mb_component *component)
{
	const char *url = mb_settings_get(component->settings, "url");
	char *bucket = NULL, *prefix = NULL;
	struct mb_error ignored;

	mb_error_clear(&ignored);
	if (!url || !mb_starts_with(url, "s3://") || mb_s3_url_parse(url, &bucket, &prefix, &ignored))
		return mb_strdup(component->name);
	free(prefix);
	return bucket;
}

char *
export_folder(const struct export_run *run, const struct mb_component *component)
{
	char *own = bucket_name(component);
	bool is_alone = true;
	size_t i;

	for (i = 0; i < run->cli->stack.count; i++)
	{
		const struct mb_component *other = run->cli->stack.components[i];
		char *name = strcmp(other->ops->kind, "objects") == 0 ? bucket_name(other) : NULL;

		if (other != component && name && strcmp(name, own) == 0)
			is_alone = false;
		free(name);
	}
	if (is_alone)
		return own;
	free(own);
	return mb_strdup(component->name);
}

void
export_describe(struct export_run *run, const struct mb_component *component,
				const struct mb_commit *commit, json_t *more)
{
	const json_t *warnings = json_object_get(export_part(run, component->name), "warnings");
	const char *version = mb_json_str(commit->meta, "server_version", NULL);
	char *text = component->ops->describe((struct mb_component *) (uintptr_t) component);

	mb_json_set_str(more, "name", component->name);
	mb_json_set_str(more, "kind", component->ops->kind);
	mb_json_set_str(more, "backup", commit->id);
	mb_json_set_str(more, "description", text);
	if (version)
		mb_json_set_str(more, "server_version", version);
	json_object_set_new(more, "warnings", warnings ? json_deep_copy(warnings) : json_array());
	json_array_append_new(run->components, more);
	free(text);
}

/* -- the plan --------------------------------------------------------------------------------------- */

static enum mb_code
choose_components(struct export_run *run, struct mb_error *err)
{
	size_t count, i;
	char **names = cli_all_values(run->cli, "component", &count);
	enum mb_code code = mb_stack_select(&run->stack, &run->cli->stack, names, count, err);

	free(names);
	if (!code && run->stack.count == 0)
		code = mb_fail(err, MB_CONFIG, "the configuration names no component");
	if (code)
		return code;
	run->destinations = mb_calloc(run->stack.count, sizeof(*run->destinations));
	for (i = 0; i < run->stack.count; i++)
	{
		const struct mb_component *component = run->stack.components[i];

		run->destinations[i].component = mb_strdup(component->name);
		run->destinations[i].destination =
			mb_asprintf("%s/%s", run->scratch,
						strcmp(component->ops->kind, "postgres") == 0 ? "data" : component->name);
	}
	run->options.destinations = run->destinations;
	run->options.destination_count = run->stack.count;
	return MB_OK;
}

static enum mb_code
make_plan(struct export_run *run, struct mb_error *err)
{
	struct mb_restore_options *options = &run->options;
	const char *set;
	enum mb_code code;

	options->wishes.flags = MB_RESTORE_LOOK;
	options->wishes.databases = run->databases =
		cli_all_values(run->cli, "database", &options->wishes.database_count);
	options->wishes.tablespace_all = run->tablespaces;
	if (options->wishes.database_count > 0 && !mb_stack_clock(&run->stack))
		return mb_fail(err, MB_CONFIG, "--database goes together with a PostgreSQL component");
	options->wishes.flags |= MB_RESTORE_DRY_RUN;
	/* Only asked whether it is there. */
	options->wishes.dumped = (mb_restore_dump_fn) (uintptr_t) 1;
	code = mb_restore_run(&run->cli->stack, options, &run->plan, err);
	options->wishes.flags &= ~(unsigned) MB_RESTORE_DRY_RUN;
	options->wishes.dumped = NULL;
	/* A backup that is taken meanwhile changes nothing. */
	set = mb_json_str(json_object_get(run->plan, "restore"), "backup", NULL);
	if (!code && options->target.kind == MB_TARGET_BACKUP && set)
		options->backup = set;
	return code;
}

/* -- the archive ------------------------------------------------------------------------------------ */

static enum mb_code
add_info(struct export_run *run, struct mb_error *err)
{
	const json_t *plan = json_object_get(run->plan, "restore");
	json_t *info = json_object(), *set = NULL;
	enum mb_code code = MB_OK;
	char *text;

	mb_json_set_str(info, "format", ARCHIVE_FORMAT);
	mb_json_set_int(info, "version", ARCHIVE_VERSION);
	mb_json_set_str(info, "tool", "mbackup " MB_VERSION);
	mb_json_set_time(info, "created", mb_time_now_us());
	json_object_set(info, "backup", json_object_get(plan, "backup"));
	json_object_set(info, "target", json_object_get(plan, "target"));
	if (json_object_get(plan, "reached"))
		json_object_set(info, "time", json_object_get(plan, "reached"));
	if (run->options.backup && run->options.target.kind == MB_TARGET_BACKUP)
		code = mb_set_find(run->cli->env.repo, run->options.backup, &set, err);
	if (set && json_object_get(set, "cut"))
		json_object_set(info, "cut", json_object_get(set, "cut"));
	json_object_set(info, "components", run->components);
	mb_json_set_int(info, "members", (int64_t) run->archive.members);
	mb_json_set_int(info, "bytes", (int64_t) run->archive.bytes);
	json_object_set_new(info, "not_included",
						json_pack("[s, s, s]", "point-in-time recovery: the archive is one moment",
								  "versions of objects that were not the current one, delete "
								  "markers, and the "
								  "configuration and identities of buckets",
								  "extended attributes and access control lists of files"));
	json_decref(set);
	text = json_dumps(info, JSON_INDENT(2) | JSON_SORT_KEYS);
	MB_ASSERT(text != NULL);
	if (!code)
		code = archive_add_bytes(&run->archive, ARCHIVE_INFO, text, strlen(text), err);
	free(text);
	json_decref(info);
	return code;
}

static enum mb_code
add_component(struct export_run *run, struct mb_component *component, struct mb_error *err)
{
	if (strcmp(component->ops->kind, "objects") == 0)
		return export_objects(run, component, err);
	if (strcmp(component->ops->kind, "files") == 0)
		return export_files(run, component, err);
	return MB_OK;
}

static enum mb_code
write_archive(struct export_run *run, unsigned flags, struct mb_error *err)
{
	enum mb_code code =
		archive_writer_open(&run->archive, &run->output, flags, run->cli->env.spool, err);
	size_t i;

	if (!code)
		code = export_servers(run, err);
	for (i = 0; !code && i < run->stack.count; i++)
		code = add_component(run, run->stack.components[i], err);
	if (!code)
		code = add_info(run, err);
	if (!code)
		code = archive_finish(&run->archive, err);
	return code ? code : archive_output_finish(&run->output, err);
}

/* -- the command ------------------------------------------------------------------------------------ */

/* FILE.enc, or --encrypt. */
static enum mb_code
read_passphrase(struct mb_cli *cli, const char *path, struct mb_secret *pass, struct mb_error *err)
{
	bool wanted = mb_ends_with(path, ".enc") || mb_config_flag(&cli->config, "encrypt");
	bool found = false;
	enum mb_code code = MB_OK;

	if (wanted)
		code = mb_config_secret(&cli->config, SCOPE_GLOBAL, "export-passphrase", pass, &found, err);
	if (!code && wanted && (!found || pass->len == 0))
	{
		mb_fail(err, MB_CONFIG, "there is no passphrase to encrypt the archive with");
		return mb_error_hint(err, "Give --export-passphrase-file FILE, --export-passphrase-command "
								  "COMMAND or $MBACKUP_EXPORT_PASSPHRASE; without .enc at the end "
								  "of its name the archive is not encrypted.");
	}
	if (!code && !wanted && cli->env.repo->suite != MB_SUITE_NONE)
		mb_log_warning(&cli->log, "the repository is encrypted, this archive is not: whoever has "
								  "it can read everything (a name ending in .enc encrypts it)");
	return code;
}

static enum mb_code
check_stdout(struct mb_cli *cli, const char *path, struct mb_error *err)
{
	if (strcmp(path, "-") != 0)
		return MB_OK;
	if (mb_config_flag(&cli->config, "json"))
		return mb_fail(err, MB_CONFIG, "--json and the standard output exclude each other");
	if (!isatty(STDOUT_FILENO))
		return MB_OK;
	mb_fail(err, MB_CONFIG, "an archive is nothing for a terminal");
	return mb_error_hint(err, "Redirect the standard output, or name a file.");
}

static void
set_answer(struct export_run *run, const char *path, bool encrypted, int64_t started_ms)
{
	const json_t *plan = json_object_get(run->plan, "restore");
	json_t *export = json_object();

	if (strcmp(path, "-") == 0)
	{
		mb_log_info(&run->cli->log, "%llu bytes, SHA-256 %s",
					(unsigned long long) run->output.bytes, run->output.sha256);
		json_decref(export);
		return;
	}
	mb_json_set_str(export, "file", path);
	mb_json_set_int(export, "bytes", (int64_t) run->output.bytes);
	mb_json_set_str(export, "sha256", run->output.sha256);
	mb_json_set_bool(export, "encrypted", encrypted);
	json_object_set(export, "backup", json_object_get(plan, "backup"));
	if (json_object_get(plan, "reached"))
		json_object_set(export, "time", json_object_get(plan, "reached"));
	mb_json_set_int(export, "members", (int64_t) run->archive.members);
	mb_json_set_int(export, "content_bytes", (int64_t) run->archive.bytes);
	json_object_set_new(export, "seconds",
						json_real((double) (mb_monotonic_ms() - started_ms) / 1000));
	json_object_set(export, "components", run->components);
	run->cli->answer = json_pack("{s:o}", "export", export);
}

static void
release_run(struct export_run *run)
{
	size_t i;

	archive_writer_close(&run->archive);
	archive_output_close(&run->output);
	export_remove_scratch(run);
	for (i = 0; run->destinations && i < run->stack.count; i++)
	{
		free(run->destinations[i].component);
		free(run->destinations[i].destination);
	}
	free(run->destinations);
	free(run->databases);
	json_decref(run->plan);
	json_decref(run->components);
	mb_stack_release(&run->stack);
}

enum mb_code
cmd_export(struct mb_cli *cli, struct mb_error *err)
{
	const char *path = cli->words.items[cli->words.count - 1];
	unsigned flags = mb_config_flag(&cli->config, "force") ? ARCHIVE_REPLACE : 0;
	struct export_run run = {.cli = cli, .scratch_lock = -1, .output.fd = -1};
	bool gzip = !mb_ends_with(path, ".tar") && !mb_ends_with(path, ".tar.enc");
	int64_t started_ms = mb_monotonic_ms();
	struct mb_secret pass = {0};
	enum mb_code code = check_stdout(cli, path, err);

	run.components = json_array();
	run.options.backup = cli->words.count > 1 ? cli->words.items[0] : NULL;
	if (!code)
		code = archive_output_check(path, flags, err);
	if (!code)
		code = read_passphrase(cli, path, &pass, err);
	if (!code)
		code = cli_read_target(cli, &run.options.target, err);
	if (!code)
		code = export_make_scratch(&run, err);
	if (!code)
		code = choose_components(&run, err);
	if (!code)
		code = make_plan(&run, err);
	if (!code)
		code = archive_output_open(&run.output, path, flags, &pass, err);
	if (!code)
		code = write_archive(&run, gzip ? MB_TAR_GZIP : 0, err);
	if (!code)
		set_answer(&run, path, pass.len > 0, started_ms);
	mb_secret_release(&pass);
	release_run(&run);
	return code;
}

void
render_export(const json_t *answer, FILE *out)
{
	const json_t *export = json_object_get(answer, "export");
	char bytes[MB_SIZE_TEXT], contents[MB_SIZE_TEXT];

	mb_size_format(bytes, (uint64_t) mb_json_int(export, "bytes", 0));
	mb_size_format(contents, (uint64_t) mb_json_int(export, "content_bytes", 0));
	fprintf(out, "%s: %s (%lld files, %s)%s\n", mb_json_str(export, "file", "?"), bytes,
			(long long) mb_json_int(export, "members", 0), contents,
			mb_json_bool(export, "encrypted", false) ? ", encrypted" : "");
	fprintf(out, "  moment    %s\n", mb_json_str(export, "time", "-"));
	fprintf(out, "  SHA-256   %s\n", mb_json_str(export, "sha256", "?"));
}

/* cmd_restore.c - restore. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/restore_tables.h"
#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/stack_restore.h"

/* A relative directory means one here; whoever restores may be somewhere else by then. */
static char *
absolute_destination(const char *text)
{
	char here[PATH_MAX];

	if (text[0] == '/' || text[0] == '\0' || strstr(text, "://") || !getcwd(here, sizeof(here)))
		return mb_strdup(text);
	return mb_path_join(here, text);
}

/* --component NAME[=DESTINATION] */
static struct mb_restore_destination *
read_destinations(const struct mb_cli *cli, size_t *count)
{
	char **texts = cli_all_values(cli, "component", count);
	struct mb_restore_destination *list = mb_calloc(*count + 1, sizeof(*list));
	size_t i;

	for (i = 0; i < *count; i++)
	{
		const char *equals = strchr(texts[i], '=');

		list[i].component =
			equals ? mb_strndup(texts[i], (size_t) (equals - texts[i])) : mb_strdup(texts[i]);
		list[i].destination = equals ? absolute_destination(equals + 1) : NULL;
	}
	free(texts);
	return list;
}

static void
free_destinations(struct mb_restore_destination *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
	{
		free(list[i].component);
		free(list[i].destination);
	}
	free(list);
}

/* Is a destination a running Redis?  Its data is replaced. */
static bool
is_server(const char *destination)
{
	return destination &&
		   (strncmp(destination, "redis", 5) == 0 || strncmp(destination, "unix:", 5) == 0) &&
		   strstr(destination, "://");
}

/* A file takes the place of backup and target, and goes into one running Redis. */
static enum mb_code
check_rdb(const struct mb_restore_options *options, struct mb_error *err)
{
	const char *rdb = options->wishes.rdb;

	if (!rdb)
		return MB_OK;
	if (rdb[0] != '/')
		return mb_fail(err, MB_CONFIG, "--rdb \"%s\" is not an absolute path", rdb);
	if (options->backup || options->target.kind != MB_TARGET_BACKUP)
		return mb_fail(err, MB_CONFIG, "--rdb and a backup or a target exclude each other");
	if (options->destination_count != 1 || !is_server(options->destinations[0].destination))
	{
		mb_fail(err, MB_CONFIG, "--rdb goes into one running Redis");
		return mb_error_hint(err, "Name it: --component NAME=redis://HOST:PORT.");
	}
	return MB_OK;
}

/* A restore over data that is named as a destination is asked for twice. */
static enum mb_code
confirm(const struct mb_cli *cli, const struct mb_restore_options *options, struct mb_error *err)
{
	bool delta = options->wishes.flags & MB_RESTORE_DELTA, server = false;
	size_t i;

	for (i = 0; i < options->destination_count; i++)
		server = server || is_server(options->destinations[i].destination);
	if ((!delta && !server) || (options->wishes.flags & MB_RESTORE_DRY_RUN))
		return MB_OK;
	return cli_confirm(
		cli,
		delta ? "This replaces what is in a data directory, which is lost, and what is in a "
				"bucket, which is kept first."
			  : "This replaces the data of a running Redis (a copy goes into the spool).",
		"a restore over existing data", "Look at it with --dry-run, then add --yes.", err);
}

/* -- over what is there -------------------------------------------------------------------------- */

/* Does anything go into a component's own place? */
static bool
is_in_place(const struct mb_restore_options *options)
{
	size_t i;

	for (i = 0; i < options->destination_count; i++)
		if (!options->destinations[i].destination)
			return options->wishes.rdb == NULL;
	return options->destination_count == 0;
}

/* Show the plan, then ask; what cannot be undone has to be typed. */
static enum mb_code
confirm_plan(void *ctx, const json_t *plan, struct mb_error *err)
{
	struct mb_cli *cli = ctx;
	enum mb_code code;
	char answer[64];
	bool typed;

	cli_progress_pause(cli);
	if (!mb_config_flag(&cli->config, "quiet"))
		render_restore_plan(plan, stderr);
	if (json_array_size(json_object_get(plan, "cannot_undo")) == 0 ||
		mb_config_flag(&cli->config, "yes"))
	{
		code = cli_confirm(cli, "Restore over what is there?",
						   "a restore into the components' own places",
						   "Look at it with --dry-run, then add --yes.", err);
		cli_progress_resume(cli);
		return code;
	}
	fprintf(stderr, "What is there now will be LOST. Type \"lose it\" to go on: ");
	typed = isatty(STDIN_FILENO) && fgets(answer, sizeof(answer), stdin) &&
			strncmp(answer, "lose it", 7) == 0;
	cli_progress_resume(cli);
	if (!typed)
		return mb_fail(err, MB_CONFIG, "not confirmed: nothing was done");
	return MB_OK;
}

/* Nobody who can neither be asked nor has answered waits for a plan. */
static enum mb_code
check_answer(const struct mb_cli *cli, const struct mb_restore_options *options,
			 struct mb_error *err)
{
	if (mb_config_flag(&cli->config, "yes") || isatty(STDIN_FILENO) ||
		(options->wishes.flags & MB_RESTORE_DRY_RUN) || mb_config_flag(&cli->config, "verify-only"))
		return MB_OK;
	mb_fail(err, MB_CONFIG, "a restore into the components' own places must be confirmed");
	return mb_error_hint(err,
						 "Look at it with --dry-run, then add --yes; or give destinations with "
						 "--component NAME=DIRECTORY.");
}

static enum mb_code
restore_in_place(struct mb_cli *cli, const struct mb_restore_options *options, struct mb_error *err)
{
	struct mb_stack_restore_options whole = {.restore = *options, .confirm = confirm_plan};
	enum mb_code code = check_answer(cli, options, err);

	if (!code)
		code = cli_read_in_place(cli, &whole, err);
	whole.restore.wishes.flags |= MB_RESTORE_REPLACE;
	if (whole.flags & MB_STACK_NO_SNAPSHOT)
		whole.restore.wishes.flags |= MB_RESTORE_UNKEPT;
	if (whole.hooks.commands[MB_HOOK_STOP_SERVICES])
		whole.restore.wishes.flags |= MB_RESTORE_HOOK_STOPS;
	if (!code)
		code = mb_stack_restore(&cli->stack, &whole, &cli->answer, err);
	cli_free_in_place(&whole);
	return code;
}

static enum mb_code
continue_restore(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_stack_restore_options options = {0};
	enum mb_code code = cli_read_in_place(cli, &options, err);

	if (!code)
		code = mb_stack_continue(&cli->stack, &options,
								 cli->words.count ? cli->words.items[0] : NULL, &cli->answer, err);
	cli_free_in_place(&options);
	return code;
}

/* The page is a copy of the answer: that it could not be written makes no restore fail. */
static void
write_report(struct mb_cli *cli)
{
	const char *path = cli_option(cli, "report");
	const json_t *restore = json_object_get(cli->answer, "restore");
	struct mb_error why;

	mb_error_clear(&why);
	if (path && restore && cli_write_report(path, restore, &why))
		mb_log_warning(&cli->log, "the report was not written: %s", why.message);
}

/* What needs an own place means nothing elsewhere. */
static enum mb_code
check_elsewhere(const struct mb_cli *cli, struct mb_error *err)
{
	static const char *const names[] = {"no-snapshot", "rollback-on-failure", "verify-only"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mb_config_flag(&cli->config, names[i]))
		{
			mb_fail(err, MB_CONFIG, "--%s goes together with a restore into the own places",
					names[i]);
			return mb_error_hint(err, "Name components without =DESTINATION.");
		}
	return MB_OK;
}

/* -- the command ------------------------------------------------------------------------------- */

static enum mb_code
read_wishes(const struct mb_cli *cli, struct mb_restore_wishes *wishes, struct mb_error *err)
{
	static const struct
	{
		const char *name;
		unsigned flag;
	} flags[] = {{"dry-run", MB_RESTORE_DRY_RUN},
				 {"delta", MB_RESTORE_DELTA},
				 {"force", MB_RESTORE_FORCE},
				 {"start", MB_RESTORE_START}};
	const char *timeout = cli_option(cli, "start-timeout"), *port = cli_option(cli, "port");
	size_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (mb_config_flag(&cli->config, flags[i].name))
			wishes->flags |= flags[i].flag;
	wishes->tablespaces = cli_all_values(cli, "tablespace", &wishes->tablespace_count);
	wishes->databases = cli_all_values(cli, "database", &wishes->database_count);
	wishes->tables = cli_all_values(cli, "table", &wishes->table_count);
	wishes->tablespace_all = cli_option(cli, "tablespace-all");
	wishes->wal_dir = cli_option(cli, "wal-dir");
	wishes->output = cli_option(cli, "output");
	wishes->into = cli_option(cli, "into");
	wishes->rdb = cli_option(cli, "rdb");
	wishes->standby = cli_option(cli, "standby");
	if (cli_option(cli, "expired") && strcmp(cli_option(cli, "expired"), "shift") == 0)
		wishes->expired = MB_EXPIRED_SHIFT;
	wishes->port = port ? (unsigned) strtoul(port, NULL, 10) : 0;
	if (wishes->port > 65535)
		return mb_fail(err, MB_CONFIG, "\"%s\" is not a port", port);
	return timeout ? mb_duration_parse(&wishes->start_timeout_ms, timeout, err) : MB_OK;
}

/* A standby never ends recovery: it has no target, and nothing waits for it. */
static enum mb_code
check_standby(const struct mb_restore_options *options, struct mb_error *err)
{
	const struct mb_restore_wishes *wishes = &options->wishes;
	enum mb_code code;

	if (!wishes->standby)
		return MB_OK;
	if (options->target.kind != MB_TARGET_BACKUP || options->target.action != MB_ACTION_PROMOTE ||
		wishes->table_count > 0 || wishes->database_count > 0 || (wishes->flags & MB_RESTORE_START))
	{
		code = mb_fail(err, MB_CONFIG,
					   "--standby follows its primary to no target: --to-..., --target-action, "
					   "--database, --table and --start do not go together with it");
		mb_error_hint(err, "Leave them out, and start the standby yourself.");
		return code;
	}
	if (!is_in_place(options))
		return MB_OK;
	code = mb_fail(err, MB_CONFIG, "--standby needs a directory for each component");
	mb_error_hint(err, "Say --component NAME=DIRECTORY: the directory of the standby.");
	return code;
}

static enum mb_code
run(struct mb_cli *cli, const struct mb_restore_options *options, struct mb_error *err)
{
	bool is_delta = (options->wishes.flags & MB_RESTORE_DELTA) != 0;
	enum mb_code code;

	if (options->wishes.table_count == 0 && is_in_place(options) && !options->wishes.standby)
		return restore_in_place(cli, options, err);
	code = check_elsewhere(cli, err);
	if (!code)
		code = check_standby(options, err);
	if (!code && (options->wishes.flags & MB_RESTORE_FORCE) && !is_delta)
		code = mb_fail(err, MB_CONFIG, "--force goes together with --delta, or an own place");
	if (!code)
		code = confirm(cli, options, err);
	return code ? code : mb_restore_run(&cli->stack, options, &cli->answer, err);
}

enum mb_code
cmd_restore(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_restore_options options = {0};
	struct mb_restore_destination *destinations;
	struct restore_scratch scratch = {0};
	char **databases;
	size_t count;
	enum mb_code code;

	if (mb_config_flag(&cli->config, "continue"))
	{
		code = continue_restore(cli, err);
		write_report(cli);
		return code;
	}
	options.backup = cli->words.count ? cli->words.items[0] : NULL;
	destinations = read_destinations(cli, &count);
	options.destinations = destinations;
	options.destination_count = count;
	options.only = cli_all_values(cli, "only", &options.only_count);
	code = read_wishes(cli, &options.wishes, err);
	databases = options.wishes.databases;
	if (!code)
		code = cli_read_target(cli, &options.target, err);
	if (!code)
		code = check_rdb(&options, err);
	if (!code)
		code = restore_scratch_make(cli, &scratch, &options, err);
	if (!code)
		code = run(cli, &options, err);
	write_report(cli);
	restore_scratch_remove(cli, &scratch);
	free(options.wishes.tablespaces);
	free(options.wishes.tables);
	free(databases);
	free(options.only);
	free_destinations(destinations, count);
	return code;
}

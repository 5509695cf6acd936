/* cmd_verify.c - verify: what is stored, by age if asked for; and the drill. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/time.h"
#include "core/engine/docs.h"
#include "core/engine/drill.h"
#include "core/engine/stack_restore.h"

/* --budget 30min or --budget 200GiB; a bare number would be neither. */
static enum mb_code
read_budget(const char *text, struct mb_verify_options *options, struct mb_error *err)
{
	struct mb_error ignored;

	if (!text)
		return MB_OK;
	if (text[0] == '\0' || strspn(text, "0123456789") == strlen(text) ||
		((mb_duration_parse(&options->budget_ms, text, &ignored) || !options->budget_ms) &&
		 (mb_size_parse(&options->budget_bytes, text, &ignored) || !options->budget_bytes)))
	{
		mb_fail(err, MB_CONFIG, "option --budget: \"%s\" is neither a time nor a size", text);
		return mb_error_hint(err, "Write it as 30min or 200GiB.");
	}
	return MB_OK;
}

static enum mb_code
read_options(const struct mb_cli *cli, struct mb_verify_options *options, struct mb_error *err)
{
	const char *how = cli_option(cli, "read-data"), *older = cli_option(cli, "older-than");
	enum mb_code code = MB_OK;

	options->backups = cli->words.items;
	options->backup_count = cli->words.count;
	if (older)
		code = mb_duration_parse(&options->older_than_ms, older, err);
	if (!code)
		code = read_budget(cli_option(cli, "budget"), options, err);
	if (code)
		return code;
	options->read_data = mb_verify_goes_by_age(options) ? MB_READ_FULL : MB_READ_CHANGED;
	if (how && strcmp(how, "full") == 0)
		options->read_data = MB_READ_FULL;
	else if (how && strcmp(how, "none") == 0)
		options->read_data = MB_READ_NONE;
	else if (how)
		options->read_data = MB_READ_CHANGED;
	if (options->read_data != MB_READ_FULL && mb_verify_goes_by_age(options))
		return mb_fail(err, MB_CONFIG,
					   "--older-than and --budget go together with --read-data full");
	return MB_OK;
}

/* -- the drill ------------------------------------------------------------------------------------ */

static const char *
drill_parent(const struct mb_cli *cli)
{
	const char *set = mb_config_get(&cli->config, SCOPE_GLOBAL, "drill-directory");
	const char *tmp = getenv("TMPDIR");

	if (set)
		return set;
	return tmp && *tmp == '/' ? tmp : "/var/tmp";
}

static enum mb_code
refuse_with_restore(const struct mb_cli *cli, struct mb_error *err)
{
	static const char *const others[] = {"read-data", "older-than", "budget", "history"};
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (cli_option(cli, others[i]))
			return mb_fail(err, MB_CONFIG, "--restore and --%s exclude each other", others[i]);
	if (cli->words.count > 1)
		return mb_fail(err, MB_CONFIG, "--restore takes one backup");
	return MB_OK;
}

static enum mb_code
run_drill(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_drill_options options = {.backup = cli->words.count ? cli->words.items[0] : NULL,
									   .parent = drill_parent(cli),
									   .health = cli_option(cli, "health")};
	const char *timeout = cli_option(cli, "health-timeout");
	struct mb_stack chosen = {0};
	char **names;
	size_t count;
	enum mb_code code = refuse_with_restore(cli, err);

	if (code)
		return code;
	/* What recovery needs of a plan is there. */
	if (cli_open_spool(cli, err))
		return err->code;
	code = mb_duration_parse(&options.health_timeout_ms, timeout ? timeout : "10min", err);
	if (!code)
		code = cli_read_target(cli, &options.target, err);
	if (code)
		return code;
	names = cli_all_values(cli, "component", &count);
	code = mb_stack_select(&chosen, &cli->stack, names, count, err);
	if (!code)
		code = mb_drill_run(&chosen, &options, &cli->answer, err);
	mb_stack_release(&chosen);
	free(names);
	return code;
}

static enum mb_code
show_history(struct mb_cli *cli, struct mb_error *err)
{
	json_t *drills;
	enum mb_code code = mb_drills_list(cli->env.repo, 0, &drills, err);

	if (!code)
		cli->answer = json_pack("{s:o}", "drills", drills);
	return code;
}

/* The options of a drill say nothing without one. */
static enum mb_code
refuse_without_restore(const struct mb_cli *cli, struct mb_error *err)
{
	static const char *const drill_only[] = {"to-time",   "to-mark",  "to-lsn",
											 "to-xid",    "to-name",  "to-latest",
											 "to-backup", "timeline", "exclusive",
											 "component", "health",   "health-timeout"};
	size_t i;

	for (i = 0; i < sizeof(drill_only) / sizeof(drill_only[0]); i++)
		if (cli_option(cli, drill_only[i]))
			return mb_fail(err, MB_CONFIG, "--%s goes together with --restore", drill_only[i]);
	return MB_OK;
}

/* -- what restores have kept ---------------------------------------------------------------------- */

/* When the youngest of the complete backups that will be looked at began; 0: none. */
static enum mb_code
youngest_verified(const struct mb_cli *cli, int64_t *began_us, struct mb_error *err)
{
	json_t *sets = json_array(), *set;
	enum mb_code code = MB_OK;
	size_t i;

	*began_us = 0;
	if (cli->words.count == 0)
	{
		json_decref(sets);
		sets = NULL;
		code = mb_sets_list(cli->env.repo, &sets, err);
	}
	for (i = 0; !code && i < cli->words.count; i++)
	{
		code = mb_set_find(cli->env.repo, cli->words.items[i], &set, err);
		if (!code)
			json_array_append_new(sets, set);
	}
	for (i = 0; !code && i < json_array_size(sets); i++)
	{
		set = json_array_get(sets, i);
		if (strcmp(mb_json_str(set, "status", ""), "complete") == 0 &&
			mb_json_time(set, "started") > *began_us)
			*began_us = mb_json_time(set, "started");
	}
	json_decref(sets);
	return code;
}

/* What restores have kept is there until a younger backup is known to be whole: now one is. */
static void
expire_restores(struct mb_cli *cli, int64_t began_us)
{
	struct mb_env env = cli->env;
	json_t *forgotten = json_array();
	struct mb_error why;

	env.spool = mb_config_get(&cli->config, SCOPE_GLOBAL, "spool");
	mb_error_clear(&why);
	if (began_us > 0 && mb_restores_expire(&env, began_us, forgotten, &why) == MB_OK &&
		json_array_size(forgotten) > 0)
		json_object_set(json_object_get(cli->answer, "verify"), "forgotten_restores", forgotten);
	/* Another user's spool, a restore that runs: the next verify does it. */
	if (why.code)
		mb_log_debug(&cli->log, "%s", why.message);
	json_decref(forgotten);
}

/* What this machine remembers of its backups; verify runs on machines without a spool too. */
static void
use_spool(struct mb_cli *cli)
{
	const char *spool = mb_config_get(&cli->config, SCOPE_GLOBAL, "spool");

	if (!cli->env.spool && !cli_option(cli, "repository") && access(spool, R_OK | X_OK) == 0)
		cli->env.spool = spool;
}

enum mb_code
cmd_verify(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_verify_options options = {0};
	struct mb_error why;
	int64_t began_us;
	enum mb_code code;

	if (mb_config_flag(&cli->config, "restore"))
		return run_drill(cli, err);
	code = refuse_without_restore(cli, err);
	if (code)
		return code;
	if (mb_config_flag(&cli->config, "history"))
		return show_history(cli, err);
	code = read_options(cli, &options, err);
	if (code)
		return code;
	use_spool(cli);
	/* Asked before: a backup that ends meanwhile is not verified. */
	mb_error_clear(&why);
	if (youngest_verified(cli, &began_us, &why))
		began_us = 0;
	code = mb_verify_run(&cli->stack, &options, &cli->answer, err);
	/* A part of the data, or none of it, proves no backup. */
	if (!code && options.read_data != MB_READ_NONE && !mb_verify_goes_by_age(&options))
		expire_restores(cli, began_us);
	return code;
}

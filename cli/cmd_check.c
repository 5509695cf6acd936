/*
 * cmd_check.c - check: every precondition of every promise; --list: what is looked at.
 *
 * It opens its repository itself, so that what is wrong with the configuration, the spool or the
 * repository is a finding among others, and the answer has those that came before it.
 */
#include <string.h>

#include "cli/check.h"
#include "core/base/time.h"
#include "core/engine/conditions.h"
#include "core/engine/stack_restore.h"

static void
list_conditions(struct mb_cli *cli)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < mb_condition_count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "id", mb_conditions[i].id,
											  "what", mb_conditions[i].what, "why",
											  mb_conditions[i].why, "fix", mb_conditions[i].fix));
	cli->answer = json_pack("{s:o}", "conditions", list);
}

/* The spool, then the repository; what is wrong there is a finding, and the end. */
static enum mb_code
open_places(struct mb_cli *cli, struct mb_checks *checks, struct mb_error *err)
{
	enum mb_code code = cli_open_spool(cli, err);
	char user[64];

	if (code)
	{
		const char *spool = mb_config_get(&cli->config, SCOPE_GLOBAL, "spool");
		char *word = mb_shell_word(spool);

		mb_check_add_fix(checks, MB_CHECK_FAILED, "spool", "usable",
						 mb_asprintf("sudo install -d -o %s -m 0700 %s", check_user(user), word),
						 "%s", err->message);
		free(word);
		return code;
	}
	mb_check_add(checks, MB_CHECK_OK, "spool", "usable", "", "\"%s\" can be used", cli->env.spool);
	check_spool(cli, checks);
	code = cli_open_repository(cli, err);
	if (code)
		mb_check_add(checks, MB_CHECK_FAILED, "repository", "reachable",
					 err->hint[0] ? err->hint : "What the message says", "%s", err->message);
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "reachable", "", "\"%s\" can be opened",
					 cli->env.repo->store->url);
	return code;
}

static int64_t
backup_age_ms(const struct mb_cli *cli)
{
	struct mb_error ignored;
	int64_t ms = 0;

	mb_error_clear(&ignored);
	if (mb_duration_parse(&ms, mb_config_get(&cli->config, SCOPE_DAEMON, "backup-age"), &ignored))
		return 0;
	return ms;
}

static void
check_stack(struct mb_cli *cli, const struct mb_stack *chosen, struct mb_checks *checks)
{
	uint64_t full_bytes = 0;
	struct mb_error why;

	mb_error_clear(&why);
	mb_check_repository(chosen, checks);
	mb_check_age(&cli->env, backup_age_ms(cli), &full_bytes, checks);
	check_directory(cli, full_bytes, checks);
	cli_check_retention(cli, checks);
	if (cli_check_places(cli, checks, &why))
		mb_check_add(checks, MB_CHECK_FAILED, "repository", "look",
					 why.hint[0] ? why.hint : "What the message says", "%s", why.message);
	mb_restores_check(cli->env.spool, checks);
	mb_check_components(chosen, checks);
	check_programs(cli, checks);
	cli_check_schedule(cli, checks);
}

enum mb_code
cmd_check(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_names accepted = {0};
	struct mb_checks checks = {.list = json_array(), .accepted = &accepted};
	struct mb_stack chosen = {0};
	enum mb_code code;

	if (mb_config_flag(&cli->config, "list"))
	{
		json_decref(checks.list);
		list_conditions(cli);
		return MB_OK;
	}
	cli->answer = json_pack("{s:o}", "checks", checks.list);
	code = check_read_accepted(cli, &accepted, err);
	if (!code)
	{
		check_configuration(cli, &checks);
		code = open_places(cli, &checks, err);
	}
	if (!code)
		code = cli_open_stack(cli, err);
	if (!code)
		code = cli_select_components(cli, &chosen, err);
	if (!code)
	{
		check_stack(cli, &chosen, &checks);
		if (mb_checks_failed(&checks) > 0)
		{
			mb_fail(err, MB_NEGATIVE, "%zu of %zu checks failed", mb_checks_failed(&checks),
					json_array_size(checks.list));
			code =
				mb_error_hint(err, "Each has its fix below it; \"mbackup check --list\" says why "
								   "it matters.");
		}
	}
	mb_stack_release(&chosen);
	mb_names_release(&accepted);
	return code;
}

/* check_programs.c - hooks, services and what tells of problems: see check.h. */
#include <stdlib.h>
#include <string.h>

#include "cli/check.h"
#include "core/base/process.h"
#include "core/engine/hooks.h"
#include "core/engine/stack_restore.h"

#define ANSWER_MS 10000

static void
check_hooks(const struct mb_cli *cli, struct mb_checks *checks)
{
	struct mb_hooks hooks;
	size_t known = 0, wrong = 0;
	int i;

	cli_read_hooks(cli, &hooks);
	for (i = 0; i < MB_HOOK_COUNT; i++)
	{
		struct mb_error why;

		mb_error_clear(&why);
		known += hooks.commands[i] != NULL;
		if (mb_hook_check(&hooks, (enum mb_hook) i, &why) == MB_OK)
			continue;
		wrong++;
		mb_check_add_fix(checks, MB_CHECK_FAILED, "hooks", "command",
						 mb_asprintf("%s = /path/of/the/program in [hooks] of %s",
									 mb_hook_name((enum mb_hook) i), cli->config.path),
						 "%s", why.message);
	}
	if (known > 0 && wrong == 0)
		mb_check_add(checks, MB_CHECK_OK, "hooks", "command", "", "%zu can be run", known);
}

static void
check_service(const struct mb_cli *cli, const char *text, const struct mb_settings *settings,
			  struct mb_checks *checks)
{
	struct mb_service_env env = {.log = &cli->log,
								 .cancel = &mb_interrupt,
								 .timeout_ms = ANSWER_MS};
	const char *component = settings ? settings->name : "services";
	struct mb_service service = {0};
	struct mb_error why;
	bool running = false;
	enum mb_code code;

	mb_error_clear(&why);
	code = mb_service_parse(&service, text, settings, &why);
	/* Of pg_ctl a restore knows the directory; of "command" there may be nothing to ask. */
	if (!code && service.kind != MB_SERVICE_PG_CTL)
		code = mb_service_state(&service, &env, &running, &why);
	if (code)
		mb_check_add_fix(checks, MB_CHECK_FAILED, component, "services.service",
						 settings ? mb_asprintf("service = systemd:NAME in the section of \"%s\"",
												component)
								  : mb_strdup("application = systemd:NAME in [services]"),
						 "%s", why.message);
	else
		mb_check_add(checks, MB_CHECK_OK, component, "services.service", "", "\"%s\" %s", text,
					 service.kind == MB_SERVICE_PG_CTL ? "is known"
					 : running                         ? "is there, and runs"
													   : "is there, and does not run");
	mb_service_release(&service);
}

static void
check_services(struct mb_cli *cli, struct mb_checks *checks)
{
	struct mb_stack_restore_options options = {0};
	struct mb_error ignored;
	size_t i;

	mb_error_clear(&ignored);
	for (i = 0; i < cli->config.component_count; i++)
	{
		const struct mb_settings *settings = &cli->config.components[i];
		const char *text = mb_settings_get(settings, "service");

		if (text)
			check_service(cli, text, settings, checks);
	}
	if (cli_read_in_place(cli, &options, &ignored) == MB_OK)
		for (i = 0; i < options.application_count; i++)
			check_service(cli, options.application[i], NULL, checks);
	cli_free_in_place(&options);
}

/* The first word of a shell command, when it is a plain path. */
static void
check_notify(const struct mb_cli *cli, struct mb_checks *checks)
{
	const char *mail = mb_config_get(&cli->config, SCOPE_DAEMON, "notify-mail");
	const char *sendmail = mb_config_get(&cli->config, SCOPE_DAEMON, "sendmail");
	const char *command = mb_config_get(&cli->config, SCOPE_DAEMON, "notify-command");
	char *word = command ? mb_strndup(command, strcspn(command, " \t;&|<>()")) : NULL;
	bool no_mailer = mail && *mail && sendmail && !mb_program_exists(sendmail);
	bool no_command = word && *word == '/' && !mb_program_exists(word);

	if (no_mailer)
		mb_check_add(checks, MB_CHECK_WARNING, "daemon", "notify",
					 "sendmail = /path/of/sendmail in [daemon]; sudo apt-get install msmtp-mta",
					 "notify-mail is set, and there is no program \"%s\"", sendmail);
	if (no_command)
		mb_check_add(checks, MB_CHECK_WARNING, "daemon", "notify",
					 "notify-command = /path/of/the/program in [daemon]",
					 "notify-command: there is no program \"%s\"", word);
	if (!no_mailer && !no_command && ((mail && *mail) || (command && *command)))
		mb_check_add(checks, MB_CHECK_OK, "daemon", "notify", "",
					 "what tells of problems is there");
	free(word);
}

void
check_programs(struct mb_cli *cli, struct mb_checks *checks)
{
	check_hooks(cli, checks);
	check_services(cli, checks);
	check_notify(cli, checks);
}

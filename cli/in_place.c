/* in_place.c - what a restore over what is there, a rollback and the hooks of a backup share: see cli.h. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/time.h"
#include "core/engine/stack_restore.h"

static int64_t
duration(const struct mb_cli *cli, enum mb_scope scope, const char *name)
{
	struct mb_error ignored;
	int64_t ms = 0;

	/* The option table has checked what the file says; an environment variable may be anything. */
	mb_error_clear(&ignored);
	if (mb_duration_parse(&ms, mb_config_get(&cli->config, scope, name), &ignored))
		mb_log_warning(&cli->log, "%s: %s", name, ignored.message);
	return ms;
}

void
cli_read_hooks(const struct mb_cli *cli, struct mb_hooks *hooks)
{
	int i;

	memset(hooks, 0, sizeof(*hooks));
	hooks->timeout_ms = duration(cli, SCOPE_HOOKS, "timeout");
	if (mb_config_flag(&cli->config, "no-hooks"))
		return;
	for (i = 0; i < MB_HOOK_COUNT; i++)
	{
		const char *command =
			mb_config_get(&cli->config, SCOPE_HOOKS, mb_hook_name((enum mb_hook) i));

		hooks->commands[i] = command && *command ? command : NULL;
	}
}

/* "a, b" */
static void
read_application(const struct mb_cli *cli, struct mb_stack_restore_options *options)
{
	const char *text = mb_config_get(&cli->config, SCOPE_SERVICES, "application");

	while (text && *text)
	{
		size_t len = strcspn(text, ","), end = len;

		while (len > 0 && isspace((unsigned char) *text))
			text++, len--, end--;
		while (len > 0 && isspace((unsigned char) text[len - 1]))
			len--;
		if (len > 0)
		{
			options->application =
				mb_realloc(options->application,
						   (options->application_count + 1) * sizeof(*options->application));
			options->application[options->application_count++] = mb_strndup(text, len);
		}
		text += end + (text[end] == ',');
	}
}

void
cli_free_in_place(struct mb_stack_restore_options *options)
{
	while (options->application_count > 0)
		free(options->application[--options->application_count]);
	free(options->application);
	options->application = NULL;
}

enum mb_code
cli_read_in_place(struct mb_cli *cli, struct mb_stack_restore_options *options,
				  struct mb_error *err)
{
	static const struct
	{
		const char *name;
		unsigned flag;
	} flags[] = {{"no-snapshot", MB_STACK_NO_SNAPSHOT},
				 {"no-hooks", MB_STACK_NO_HOOKS},
				 {"rollback-on-failure", MB_STACK_ROLLBACK_ON_FAILURE},
				 {"verify-only", MB_STACK_VERIFY_ONLY}};
	size_t i;

	(void) err;
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (mb_config_flag(&cli->config, flags[i].name))
			options->flags |= flags[i].flag;
	cli_read_hooks(cli, &options->hooks);
	read_application(cli, options);
	options->service_timeout_ms = duration(cli, SCOPE_SERVICES, "timeout");
	options->ctx = cli;
	options->references = cli_check_references;
	options->has_references = cli_has_references(cli);
	return MB_OK;
}

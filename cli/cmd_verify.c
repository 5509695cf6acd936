/* cmd_verify.c - verify: what is stored, by age if asked for. */
#include <string.h>

#include "cli/cli.h"
#include "core/base/time.h"

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

enum mb_code
cmd_verify(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_verify_options options = {0};
	enum mb_code code = read_options(cli, &options, err);

	return code ? code : mb_verify_run(&cli->stack, &options, &cli->answer, err);
}

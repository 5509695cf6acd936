/* cmd_help.c - help in three forms: for the terminal, for man, for the web. */
#include <string.h>

#include "cli/manual.h"

static enum mb_code
unknown_page(const char *name, struct mb_error *err)
{
	struct mb_nearest nearest = {.word = name};
	size_t i;

	for (i = 0; i < mb_command_count; i++)
		mb_nearest_try(&nearest, mb_commands[i].name);
	mb_fail(err, MB_CONFIG, "there is no command \"%s\"", name);
	if (nearest.best)
		return mb_error_hint(err, "Did you mean \"mbackup help %s\"?", nearest.best);
	return mb_error_hint(err, "Run \"mbackup help\" to see them.");
}

/* As "mbackup COMMAND --help" prints it. */
static enum mb_code
print_text(const char *name, struct mb_error *err)
{
	struct mb_buf out = {0};
	size_t i;

	if (!name)
	{
		cli_print_help(NULL, stdout);
		return MB_OK;
	}
	for (i = 0; i < mb_command_count; i++)
		if (strcmp(mb_commands[i].name, name) == 0)
		{
			cli_print_help(&mb_commands[i], stdout);
			return MB_OK;
		}
	if (!manual_write(&out, &manual_text, name))
		return unknown_page(name, err);
	fwrite(out.data, 1, out.len, stdout);
	mb_buf_release(&out);
	return MB_OK;
}

enum mb_code
cmd_help(struct mb_cli *cli, struct mb_error *err)
{
	const char *name = cli->words.count > 0 ? cli->words.items[0] : NULL;
	const char *format = cli_option(cli, "format");
	bool is_man = format && strcmp(format, "man") == 0;
	struct mb_buf out = {0};
	enum mb_code code = MB_OK;

	if (!format || strcmp(format, "text") == 0)
		return print_text(name, err);
	if (!name && !is_man)
		manual_write_all(&out);
	else if (!manual_write(&out, is_man ? &manual_man : &manual_markdown, name ? name : "mbackup"))
		code = unknown_page(name, err);
	if (!code)
		fwrite(out.data, 1, out.len, stdout);
	mb_buf_release(&out);
	return code;
}

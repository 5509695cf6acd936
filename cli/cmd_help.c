/* cmd_help.c - help in three forms: for the terminal, for man, for the web. */
#include <string.h>

#include "cli/manual.h"

/* As "mbackup COMMAND --help" prints it. */
static enum mb_code
print_text(const char *name, struct mb_error *err)
{
	const struct mb_command *command = name ? cli_find_command(name) : NULL;
	struct mb_buf out = {0};

	if (!name || command)
	{
		cli_print_help(command, stdout);
		return MB_OK;
	}
	if (!manual_write(&out, &manual_text, name))
		return cli_unknown_command("mbackup help", name, err);
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
		code = cli_unknown_command("mbackup help", name, err);
	if (!code)
		fwrite(out.data, 1, out.len, stdout);
	mb_buf_release(&out);
	return code;
}

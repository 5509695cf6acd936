/* init_config.c - mbackup.conf as "mbackup init" writes it; see init.h. */
#include <string.h>

#include "cli/init.h"

static const char *
option(const struct mb_cli *cli, const char *name, size_t i)
{
	return mb_values_get(&cli->config.command_line, SCOPE_COMMAND, name, i);
}

/*
 * How the server of a repository in S3 is reached: what was given, but nothing of the environment that
 * is secret.  For a section that knows these keys; a bucket to protect is most often on the same server.
 */
static void
write_way(const struct mb_cli *cli, enum mb_scope scope, struct mb_buf *out)
{
	size_t i;

	for (i = 0; i < mb_option_count; i++)
	{
		const struct mb_option *row = &mb_options[i];
		const char *text;

		if (!mb_option_is_of_place(row) || strcmp(row->name, "url") == 0 ||
			!mb_option_find(scope, row->name))
			continue;
		if (row->type == OPT_SECRET)
		{
			text = mb_values_get(&cli->config.command_line, SCOPE_REPOSITORY, row->name, 0);
			if (text)
				mb_buf_printf(out, "%s%.*s = %s\n", row->name, (int) strcspn(text, ":"), text,
							  text + strcspn(text, ":") + 1);
			continue;
		}
		text = mb_config_get(&cli->config, SCOPE_REPOSITORY, row->name);
		if (text && (!row->dflt || strcmp(text, row->dflt) != 0))
			mb_buf_printf(out, "%s = %s\n", row->name, text);
	}
}

/* "[NAME=]URL" of --objects; without a name the first is "objects", then "objects2". */
static void
write_objects(const struct mb_cli *cli, const struct init_answers *answers, struct mb_buf *out)
{
	const char *text;
	size_t i;

	for (i = 0; (text = option(cli, "objects", i)) != NULL; i++)
	{
		const char *equals = strchr(text, '=');
		const char *colon = strchr(text, ':');
		bool named = equals && (!colon || equals < colon);
		const char *url = named ? equals + 1 : text;

		if (named)
			mb_buf_printf(out, "\n[objects:%.*s]\n", (int) (equals - text), text);
		else if (i == 0)
			mb_buf_put_str(out, "\n[objects]\n");
		else
			mb_buf_printf(out, "\n[objects:objects%zu]\n", i + 1);
		mb_buf_printf(out, "url = %s\n", url);
		if (mb_starts_with(url, "s3://") && answers->bucket_keys)
			mb_buf_put_str(out, answers->bucket_keys);
		else if (mb_starts_with(url, "s3://"))
			write_way(cli, SCOPE_OBJECTS, out);
	}
}

static void
write_files(const struct mb_cli *cli, struct mb_buf *out)
{
	const char *text;
	size_t i;

	for (i = 0; (text = option(cli, "files", i)) != NULL; i++)
		mb_buf_printf(out, "%s%s", i ? ", " : "\n[files]\npaths = ", text);
	if (i > 0)
		mb_buf_put_str(out, "\nsecrets = mask                 # or include: encrypted "
							"repositories only\n");
}

void
init_unlock_text(const struct mb_cli *cli, struct mb_buf *out)
{
	const char *stored =
		mb_values_get(&cli->config.command_line, SCOPE_REPOSITORY, "passphrase", 0);
	const char *key_file =
		mb_values_get(&cli->config.command_line, SCOPE_REPOSITORY, "key-file", 0);

	if (stored)
	{
		const char *colon = strchr(stored, ':');

		mb_buf_printf(out, "passphrase%.*s = %s\n", (int) (colon - stored), stored, colon + 1);
	}
	if (key_file)
		mb_buf_printf(out, "key-file = %s\n", key_file);
}

void
init_config_text(const struct mb_cli *cli, const struct init_answers *answers,
				 const char *repository_id, struct mb_buf *out)
{
	const char *postgres = option(cli, "postgres", 0);
	const char *redis = option(cli, "redis", 0);
	size_t at;

	mb_buf_put_str(out, "# mbackup.conf - written by \"mbackup init\"; every key is explained by\n"
						"# \"mbackup help\" and docs/configuration.md.\n\n[global]\n");
	mb_buf_printf(out, "spool = %s\n", mb_config_get(&cli->config, SCOPE_GLOBAL, "spool"));
	mb_buf_printf(out, "\n[repository]\nurl = %s\nid = %s\nencryption = %s\n",
				  mb_config_get(&cli->config, SCOPE_REPOSITORY, "url"), repository_id,
				  mb_config_get(&cli->config, SCOPE_REPOSITORY, "encryption"));
	at = out->len;
	init_unlock_text(cli, out);
	if (out->len == at &&
		strcmp(mb_config_get(&cli->config, SCOPE_REPOSITORY, "encryption"), "none") != 0)
		mb_buf_put_str(out, "# the passphrase comes from the environment: MBACKUP_PASSPHRASE\n");
	write_way(cli, SCOPE_REPOSITORY, out);
	mb_buf_printf(out, "compression = %s\n",
				  mb_config_get(&cli->config, SCOPE_REPOSITORY, "compression"));
	if (postgres)
		mb_buf_printf(out, "\n[postgres]\nconninfo = %s\n", postgres);
	write_objects(cli, answers, out);
	if (redis)
		mb_buf_printf(out, "\n[redis]\nurl = %s\n", redis);
	write_files(cli, out);
}

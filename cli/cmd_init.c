/* cmd_init.c - make a repository, and a configuration file that names it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/backup_conf.h"
#include "cli/init.h"
#include "core/base/fs.h"

/* The spool of somebody who is not root, when none is named. */
static void
default_spool(struct mb_cli *cli)
{
	const struct mb_option *row = mb_option_find(SCOPE_GLOBAL, "spool");
	const char *home = getenv("HOME");

	if (geteuid() != 0 && home && home[0] == '/' &&
		strcmp(mb_config_get(&cli->config, SCOPE_GLOBAL, "spool"), row->dflt) == 0)
	{
		char *spool = mb_asprintf("%s/.local/state/mbackup/spool", home);

		mb_values_add(&cli->config.command_line, row, spool, "default");
		free(spool);
	}
}

static enum mb_code
write_config_file(const char *path, const struct mb_buf *text, struct mb_error *err)
{
	char *parent = mb_strdup(path);
	char *slash = strrchr(parent, '/');
	enum mb_code code = MB_OK;

	if (slash && slash != parent)
	{
		*slash = '\0';
		code = mb_mkdirs(parent, 0755, err);
	}
	if (!code)
		code = mb_file_write_durable(path, text->data, text->len, 0600, err);
	free(parent);
	return code;
}

static enum mb_code
write_config(struct mb_cli *cli, const struct init_answers *answers, const char *path,
			 struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code;

	init_config_text(cli, answers, cli->env.repo->id_text, &text);
	code = write_config_file(path, &text, err);
	if (code)
		mb_error_context(err, "the repository was made, but not its configuration file");
	mb_buf_release(&text);
	return code;
}

/*
 * A configuration that names its repository by id has had it: an empty place is then a disk that is not
 * mounted, and another repository there would be found out by the next restore.
 */
static enum mb_code
check_named(struct mb_cli *cli, struct mb_error *err)
{
	const char *id = mb_config_get(&cli->config, SCOPE_REPOSITORY, "id");
	struct mb_store *store = NULL;
	struct mb_blob_info info;
	struct mb_error why;
	enum mb_code code;

	if (!id || !*id)
		return MB_OK;
	mb_error_clear(&why);
	code = cli_open_store(cli, MB_STORE_OPEN, &store, &why);
	if (!code)
		code = mb_store_head(store, "mbackup.json", &info, &why);
	mb_store_free(store);
	/* What cannot be looked at fails again behind this, with its own words. */
	if (code != MB_NOT_FOUND)
		return MB_OK;
	mb_fail(err, MB_NOT_FOUND, "repository %s, which \"%s\" names, is not at \"%s\"", id,
			cli->config.path ? cli->config.path : "the configuration",
			mb_config_get(&cli->config, SCOPE_REPOSITORY, "url"));
	return mb_error_hint(err,
						 "Mount its disk, or bring it back; to begin another one, take id out of "
						 "[repository].");
}

static enum mb_code
create_repository(struct mb_cli *cli, struct mb_error *err)
{
	bool encrypted =
		strcmp(mb_config_get(&cli->config, SCOPE_REPOSITORY, "encryption"), "none") != 0;
	struct mb_unlock unlock = {0};
	struct mb_store *store = NULL;
	enum mb_code code = cli_read_unlock(cli, &unlock, err);

	if (!code && encrypted && unlock.passphrase.len == 0 && unlock.key_file.len == 0)
	{
		mb_fail(err, MB_CONFIG, "an encrypted repository needs a passphrase or a key file");
		code = mb_error_hint(err, "Give --repository-passphrase-file FILE, set MBACKUP_PASSPHRASE, "
								  "or choose --repository-encryption none.");
	}
	if (!code)
		code = check_named(cli, err);
	if (!code)
		code = cli_open_store(cli, MB_STORE_CREATE, &store, err);
	if (!code)
	{
		/* Before anything depends on what it does. */
		code = cli_probe_place(cli, store, err);
		if (code)
			mb_store_free(store);
	}
	if (!code)
		code = mb_repo_create(&cli->env.repo, store,
							  encrypted ? MB_SUITE_AES_256_GCM : MB_SUITE_NONE, &unlock, err);
	if (!code)
		code = cli_keep_probes(cli, err);
	mb_secret_release(&unlock.passphrase);
	mb_secret_release(&unlock.key_file);
	return code;
}

static enum mb_code
found_data(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	bool *found = ctx;

	(void) err;
	*found = *found || (!mb_starts_with(info->name, "keys/") &&
						!mb_starts_with(info->name, "probes/") && strchr(info->name, '/') != NULL);
	return MB_OK;
}

/*
 * An init that was interrupted between its repository and its configuration file is finished by the
 * next one: a repository that opens, and in which nothing was ever stored, is as good as a new one.
 * code: the place is not empty, and *err says so.
 */
static enum mb_code
take_up(struct mb_cli *cli, enum mb_code code, struct mb_error *err)
{
	struct mb_error was = *err;
	bool found = false;
	enum mb_code opened = cli_open_repository(cli, err);

	if (!opened)
		opened = mb_store_list(cli->env.repo->store, "", found_data, &found, err);
	if (!opened && !found)
	{
		mb_log_info(&cli->log, "there is a new repository at \"%s\" already: it is taken",
					cli->env.repo->store->url);
		return MB_OK;
	}
	*err = was;
	if (opened)
		return code;
	mb_repo_free(cli->env.repo);
	cli->env.repo = NULL;
	return mb_error_hint(err,
						 "There is a repository with backups: to use it, write a configuration "
						 "file that names it; for a new one choose another place.");
}

/*
 * The copies that the configuration names.  When the repository was there already (code says
 * so), making a missing copy is what init was called for; with none missing that stands.
 */
static enum mb_code
create_copies(struct mb_cli *cli, enum mb_code code, size_t *made, struct mb_error *err)
{
	struct mb_error was = *err;
	struct mb_store *store = NULL;
	enum mb_code first = code;

	if (code == MB_CONFLICT)
		first = cli_open_repository(cli, err);
	if (first == MB_NOT_FOUND)
	{
		*err = was; /* the place is full of something else */
		return code;
	}
	if (!first)
		first = cli_make_copies(cli, cli->env.repo->store, made, err);
	if (!first)
		first = cli_keep_probes(cli, err);
	if (!first && *made > 0)
		first = cli_open_store(cli, MB_STORE_OPEN, &store, err);
	if (!first && *made > 0)
		first = cli_fill_copies(cli, store, err);
	if (code == MB_CONFLICT && *made > 0)
		mb_log_warning(&cli->log,
					   "restart \"mbackup stream\" where it runs: it does not know the new "
					   "copy yet");
	if (first || *made > 0 || !code)
		return first;
	*err = was;
	return code;
}

/* The variables of older scripts as a file, which is then read like any other. */
static enum mb_code
take_over(struct mb_cli *cli, const char *from, struct backup_conf *conf, struct mb_error *err)
{
	const char *url = mb_config_get(&cli->config, SCOPE_REPOSITORY, "url");
	char *path = mb_config_path(&cli->config), *own = NULL;
	struct backup_conf_options options = {.repository = url};
	struct mb_buf text = {0}, unlock = {0};
	enum mb_code code = backup_conf_read(conf, from, err);

	default_spool(cli);
	options.spool = mb_config_get(&cli->config, SCOPE_GLOBAL, "spool");
	mb_buf_printf(&text,
				  "# mbackup.conf - made of \"%s\" by \"mbackup init\"; every key is "
				  "explained in docs/configuration.md.\n\n",
				  from);
	if (!code && !url && backup_conf_get(conf, "BACKUP_DIR"))
		options.repository = own = mb_path_join(backup_conf_get(conf, "BACKUP_DIR"), "repository");
	if (!code && !options.repository)
	{
		code = mb_fail(err, MB_CONFIG, "\"%s\" sets no BACKUP_DIR", from);
		mb_error_hint(err, "Say where backups are kept with --repository-url URL.");
	}
	init_unlock_text(cli, &unlock);
	options.unlock = mb_buf_cstr(&unlock);
	if (!code)
		code = backup_conf_write(conf, &options, &text, err);
	if (!code)
		code = write_config_file(path, &text, err);
	/* Everything from here on is as if it had been there before. */
	if (!code)
	{
		free(cli->config.path);
		cli->config.path = NULL;
		code = mb_config_read(&cli->config, 0, err);
	}
	mb_buf_wipe(&text);
	mb_buf_release(&unlock);
	free(own);
	free(path);
	return code;
}

/* Somebody is there: tell it now, and go on. */
static enum mb_code
follow(struct mb_cli *cli, const char *path, struct mb_error *err)
{
	render_init(cli->answer, stdout);
	fflush(stdout);
	json_decref(cli->answer);
	cli->answer = NULL;
	return init_follow(cli, path, err);
}

/* An existing file is used, never overwritten: options that would change it are refused. */
static enum mb_code
refuse_changes(const struct mb_cli *cli, const char *path, struct mb_error *err)
{
	if (cli_option(cli, "postgres") || cli_option(cli, "objects") || cli_option(cli, "redis") ||
		cli_option(cli, "files") ||
		mb_values_get(&cli->config.command_line, SCOPE_REPOSITORY, "url", 0))
	{
		mb_fail(err, MB_CONFLICT, "\"%s\" exists already and is not overwritten", path);
		return mb_error_hint(err, "Edit it, move it away, or name another one with --config; "
								  "\"mbackup init\" alone makes the repository that it names.");
	}
	if (cli_option(cli, "from-backup-conf"))
	{
		mb_fail(err, MB_CONFLICT, "\"%s\" exists already and is not overwritten", path);
		return mb_error_hint(err, "Move it away, or name another one with --config.");
	}
	return MB_OK;
}

/* The repository and its copies.  With a new configuration one that nobody has used yet is taken as it is. */
static enum mb_code
make_repository(struct mb_cli *cli, bool keeps_config, struct mb_error *err)
{
	enum mb_code code = cli_open_spool(cli, err);
	size_t copies = 0;

	cli->probes = json_array();
	if (!code)
		code = create_repository(cli, err);
	if (code == MB_CONFLICT && !keeps_config)
		code = take_up(cli, code, err);
	if (cli->config.copy_count > 0 && (!code || code == MB_CONFLICT) && cli->env.spool)
		code = create_copies(cli, code, &copies, err);
	return code;
}

static json_t *
describe(const struct mb_cli *cli, const char *path, const struct backup_conf *taken)
{
	const struct mb_repo *repo = cli->env.repo;
	json_t *init = json_pack("{s:s, s:s, s:s, s:s}", "repository", repo->store->url, "id",
							 repo->id_text, "encryption",
							 repo->suite == MB_SUITE_NONE ? "none" : "aes-256-gcm", "config", path);

	if (taken)
	{
		json_object_set(init, "taken", taken->taken);
		json_object_set(init, "not_taken", taken->not_taken);
	}
	return json_pack("{s:o}", "init", init);
}

enum mb_code
cmd_init(struct mb_cli *cli, struct mb_error *err)
{
	const char *from = cli_option(cli, "from-backup-conf");
	struct backup_conf conf = {0};
	struct init_answers answers = {0};
	char *path = cli->config.path ? mb_strdup(cli->config.path) : mb_config_path(&cli->config);
	bool keeps_config = cli->config.path != NULL, written = false;
	enum mb_code code = keeps_config ? refuse_changes(cli, path, err) : MB_OK;

	if (!code && from)
	{
		code = take_over(cli, from, &conf, err);
		keeps_config = true;
		written = !code;
	}
	if (!code && !keeps_config)
		default_spool(cli);
	if (!code && !from && init_wants_to_ask(cli))
		code = init_ask(cli, path, &answers, err);
	if (!code && answers.asked)
		code = init_write_secrets(&answers, err);
	if (!code)
		code = make_repository(cli, keeps_config, err);
	if (!code && !keeps_config)
		code = write_config(cli, &answers, path, err);
	if (!code || (code == MB_PARTIAL && cli->env.repo))
		cli->answer = describe(cli, path, from ? &conf : NULL);
	/* Without a repository the file would only be in the way of the next attempt. */
	if (code && written && !cli->env.repo)
		unlink(path);
	/* Nor are the secrets of one that was not made of any use; those of one that was are its key. */
	if (code && !cli->env.repo)
		init_take_back(&answers);
	if (!code && answers.asked)
		code = follow(cli, path, err);
	init_answers_release(&answers);
	backup_conf_release(&conf);
	free(path);
	return code;
}

/* compat_work.c - see compat.h: where the work is done, and by whom. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/compat.h"
#include "core/base/fs.h"

#define WORK_PREFIX ".mbackup-work-"
#define LOCK_NAME ".mbackup.lock"
#define SPOOL_NAME ".mbackup-spool"
#define POLL_MS 100

/* -- the place --------------------------------------------------------------------------------------- */

/* Whoever left them is dead: we hold the lock. */
static void
sweep(const struct compat_run *run)
{
	struct mb_names left = {0};
	struct mb_error err;
	size_t i;

	if (mb_dir_names(run->directory, WORK_PREFIX, &left, &err))
		mb_log_warning(&run->cli->log, "%s", err.message);
	for (i = 0; i < left.count; i++)
	{
		char *path = mb_path_join(run->directory, left.items[i]);

		if (mb_rmtree(path, &err))
			mb_log_warning(&run->cli->log, "%s", err.message);
		free(path);
	}
	mb_names_release(&left);
}

static enum mb_code
open_directory(struct compat_run *run, struct mb_error *err)
{
	char *lock;
	enum mb_code code;

	run->directory = backup_conf_get(&run->conf, "BACKUP_DIR");
	if (!run->directory || run->directory[0] != '/')
	{
		mb_fail(err, MB_CONFIG,
				run->directory ? "BACKUP_DIR is not an absolute path" : "BACKUP_DIR is not set");
		return mb_error_hint(err, "Set it in the environment, or in a file: --backup-conf FILE.");
	}
	code = mb_mkdirs(run->directory, 0700, err);
	lock = mb_path_join(run->directory, LOCK_NAME);
	if (!code)
		code = mb_lock_file(&run->lock_fd, lock, err);
	if (code)
		run->lock_fd = -1;
	if (code == MB_CONFLICT)
		mb_fail(err, MB_CONFLICT, "another mbackup compat works in \"%s\"", run->directory);
	free(lock);
	return code;
}

static enum mb_code
make_work(struct compat_run *run, struct mb_error *err)
{
	sweep(run);
	run->work = mb_asprintf("%s/" WORK_PREFIX "XXXXXX", run->directory);
	if (mkdtemp(run->work))
		return MB_OK;
	mb_fail_errno(err, errno, "could not create \"%s\"", run->work);
	free(run->work);
	run->work = NULL;
	return err->code;
}

/* -- the configuration ------------------------------------------------------------------------------- */

/* A key that lives as long as we do, in the environment of our children. */
static void
make_passphrase(void)
{
	unsigned char bytes[32];
	char hex[2 * sizeof(bytes) + 1];

	mb_random(bytes, sizeof(bytes));
	mb_hex(hex, bytes, sizeof(bytes));
	setenv("MBACKUP_PASSPHRASE", hex, 1);
	mb_wipe(bytes, sizeof(bytes));
	mb_wipe(hex, sizeof(hex));
}

static enum mb_code
make_config(struct compat_run *run, struct mb_error *err)
{
	/* What a restore keeps of a running Redis must outlive the work. */
	char *spool = mb_path_join(run->directory, SPOOL_NAME);
	char *repository = mb_path_join(run->work, "repository");
	struct backup_conf_options options = {.repository = repository,
										  .spool = spool,
										  .secrets = BACKUP_CONF_ENVIRONMENT,
										  .throw_away = true};
	struct mb_buf text = {0};
	enum mb_code code = backup_conf_write(&run->conf, &options, &text, err);

	run->config_path = mb_path_join(run->work, "mbackup.conf");
	if (!code)
		code = mb_file_write_durable(run->config_path, text.data, text.len, 0600, err);
	run->throw_away = true;
	make_passphrase();
	mb_buf_wipe(&text);
	free(repository);
	free(spool);
	return code;
}

/* The one of this host if there is one, else one made of the variables. */
static enum mb_code
find_config(struct compat_run *run, struct mb_error *err)
{
	struct mb_config *config = &run->cli->config;
	char *path = mb_config_path(config);
	bool asked = mb_values_get(&config->command_line, SCOPE_COMMAND, "config", 0) != NULL;
	enum mb_code code = MB_OK;

	if (asked || access(path, F_OK) == 0)
		run->config_path = path;
	else
	{
		free(path);
		code = make_config(run, err);
		if (!code)
			cli_add_option(run->cli, "config", run->config_path);
	}
	if (!code)
		code = mb_config_read(config, 0, err);
	return code;
}

/* What is asked of archives, and what the children must know of it. */
static enum mb_code
read_wishes(struct compat_run *run, struct mb_error *err)
{
	const char *key = backup_conf_get(&run->conf, "ENCRYPTION_KEY");
	bool skip = false;
	enum mb_code code = backup_conf_flag(&run->conf, "COMPRESS", true, &run->compress, err);

	if (!code)
		code = backup_conf_flag(&run->conf, "ENCRYPT", false, &run->encrypt, err);
	if (!code)
		code = backup_conf_flag(&run->conf, "SKIP_VERIFICATION", false, &skip, err);
	run->verify = !skip;
	if (!code && run->encrypt && !key)
	{
		mb_fail(err, MB_CONFIG, "ENCRYPT is set, but ENCRYPTION_KEY is not");
		return mb_error_hint(err, "Set it in the environment, or in a file with mode 0600: "
								  "--backup-conf FILE.");
	}
	if (key)
		setenv("MBACKUP_EXPORT_PASSPHRASE", key, 1);
	/* They are done with: no child has them under two names. */
	unsetenv("ENCRYPTION_KEY");
	return code;
}

enum mb_code
compat_open(struct compat_run *run, struct mb_error *err)
{
	const char *path = cli_option(run->cli, "backup-conf");
	enum mb_code code;

	run->lock_fd = -1;
	run->removed = json_array();
	code = backup_conf_read(&run->conf, path ? path : getenv("BACKUP_CONF"), err);
	if (!code)
		code = open_directory(run, err);
	if (!code)
		code = read_wishes(run, err);
	if (!code)
		code = make_work(run, err);
	return code ? code : find_config(run, err);
}

void
compat_close(struct compat_run *run)
{
	struct mb_error err;

	mb_error_clear(&err);
	if (run->work && mb_rmtree(run->work, &err))
		mb_log_warning(&run->cli->log, "%s", err.message);
	free(run->work);
	free(run->config_path);
	free(run->archive);
	json_decref(run->removed);
	backup_conf_release(&run->conf);
	if (run->lock_fd >= 0)
		close(run->lock_fd);
}

/* -- commands ---------------------------------------------------------------------------------------- */

/* What the child said went wrong, as if it had gone wrong here. */
static enum mb_code
take_error(const json_t *answer, const char *verb, int status, struct mb_error *err)
{
	const json_t *error = json_object_get(answer, "error");
	const char *name = mb_json_str(error, "code", "");
	enum mb_code code = MB_IO;
	int i;

	for (i = 1; i < MB_CODE_COUNT; i++)
		if (strcmp(mb_code_name((enum mb_code) i), name) == 0 && (i != MB_EXISTS))
			code = (enum mb_code) i;
	mb_fail(err, code, "mbackup %s: %s", verb,
			mb_json_str(error, "message", "it ended without a word"));
	mb_error_detail(err, "%s", mb_json_str(error, "detail", ""));
	mb_error_hint(err, "%s", mb_json_str(error, "hint", ""));
	if (!error)
		mb_error_detail(err, "Its exit status was %d.", status);
	return code;
}

enum mb_code
compat_command(struct compat_run *run, const char *const *words, json_t **answer,
			   struct mb_error *err)
{
	const char *argv[64] = {run->cli->env.program, words[0], "--config",
							run->config_path,      "--json", "--quiet"};
	struct child child;
	enum mb_code code = MB_OK;
	size_t n = 6, i;
	int status;

	for (i = 1; words[i]; i++)
	{
		MB_ASSERT(n + 1 < sizeof(argv) / sizeof(argv[0]));
		argv[n++] = words[i];
	}
	*answer = NULL;
	if (child_start(&child, (char *const *) (uintptr_t) argv, -1, err))
		return err->code;
	while (!child_pump(&child))
	{
		if (mb_cancelled(&mb_interrupt))
			child_stop(&child);
		poll(NULL, 0, POLL_MS);
	}
	status = child_exit_status(&child);
	*answer = child_answer(&child);
	if (mb_cancel_check(&mb_interrupt, err))
		code = err->code;
	else if (status != 0)
		code = take_error(*answer, words[0], status, err);
	child_release(&child);
	return code;
}

/* -- BACKUP_TYPE and RESTORE_MODE -------------------------------------------------------------------- */

enum mb_code
compat_select(struct compat_run *run, const char *mode, const char **words, size_t *count,
			  size_t max, struct mb_error *err)
{
	static const struct
	{
		const char *mode;
		const char *kind; /* NULL: all */
	} modes[] = {{"full", NULL},           {"incremental", NULL},
				 {"differential", NULL},   {"all", NULL},
				 {"postgres", "postgres"}, {"postgresql", "postgres"},
				 {"database", "postgres"}, {"db", "postgres"},
				 {"redis", "redis"},       {"minio", "objects"},
				 {"objects", "objects"},   {"s3", "objects"},
				 {"configs", "files"},     {"config", "files"},
				 {"files", "files"}};
	const struct mb_config *config = &run->cli->config;
	bool found = false;
	size_t i, j;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
	{
		if (strcmp(modes[i].mode, mode) != 0)
			continue;
		if (!modes[i].kind)
			return MB_OK;
		for (j = 0; j < config->component_count && *count + 3 < max; j++)
			if (strcmp(config->components[j].kind, modes[i].kind) == 0)
			{
				words[(*count)++] = "--component";
				words[(*count)++] = config->components[j].name;
				found = true;
			}
		if (found)
			return MB_OK;
		mb_fail(err, MB_NOT_FOUND, "there is nothing of \"%s\" to work with", mode);
		return mb_error_hint(err, "The variables, or mbackup.conf, name no such component.");
	}
	mb_fail(err, MB_CONFIG, "there is no type or mode \"%s\"", mode);
	return mb_error_hint(err, "There is full, incremental, postgres, redis, minio and configs.");
}

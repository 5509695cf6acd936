/* setup.c - from a configuration to an open repository and its components. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/redis.h"
#include "core/base/fs.h"
#include "core/base/time.h"

#define CHECK_PATIENCE_MS 4000 /* twice as long at most, with a last attempt */
#define MAX_AUTO_WORKERS 4
#define MAX_WORKERS 64
#define KEY_FILE_MAX 4096
#define MAX_LIST 256

/* Values from the environment have not been looked at by the parser. */
static enum mb_code
check_values(const struct mb_cli *cli, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < mb_option_count; i++)
	{
		const struct mb_option *option = &mb_options[i];
		const char *value;
		char origin[96];
		char long_name[80];

		if ((option->scope != SCOPE_GLOBAL && option->scope != SCOPE_REPOSITORY &&
			 option->scope != SCOPE_DAEMON) ||
			option->type == OPT_SECRET)
			continue;
		value = mb_config_get(&cli->config, option->scope, option->name);
		mb_option_long_name(option, long_name);
		snprintf(origin, sizeof(origin), "setting %s", long_name);
		if (value)
			code = mb_option_check(option, value, origin, err);
	}
	return code;
}

static enum mb_code
set_ages(struct mb_cli *cli, struct mb_error *err)
{
	const char *verify = mb_config_get(&cli->config, SCOPE_GLOBAL, "verify-age");
	const char *drill = mb_config_get(&cli->config, SCOPE_GLOBAL, "drill-age");
	enum mb_code code = mb_duration_parse(&cli->env.verify_age_ms, verify, err);

	return code ? code : mb_duration_parse(&cli->env.drill_age_ms, drill, err);
}

static enum mb_code
set_workers(struct mb_cli *cli, struct mb_error *err)
{
	const char *text = mb_config_get(&cli->config, SCOPE_GLOBAL, "workers");
	long workers = strcmp(text, "auto") == 0 ? 0 : strtol(text, NULL, 10);

	if (workers > MAX_WORKERS)
		return mb_fail(err, MB_CONFIG, "workers = %ld is more than %d", workers, MAX_WORKERS);
	if (workers == 0)
	{
		workers = mb_cpu_count();
		if (workers > MAX_AUTO_WORKERS)
			workers = MAX_AUTO_WORKERS;
	}
	cli->env.workers = (unsigned) workers;
	return MB_OK;
}

static void
set_log(struct mb_cli *cli)
{
	static const char *const levels[] = {"error", "warning", "info", "debug"};
	const char *level = mb_config_get(&cli->config, SCOPE_GLOBAL, "log-level");
	size_t i;

	for (i = 0; i < 4; i++)
		if (strcmp(level, levels[i]) == 0)
			cli->log.level = (enum mb_log_level) i;
	if (mb_config_flag(&cli->config, "quiet") && cli->log.level > MB_LOG_WARNING)
		cli->log.level = MB_LOG_WARNING;
	cli->log.format = strcmp(mb_config_get(&cli->config, SCOPE_GLOBAL, "log-format"), "json") == 0
						  ? MB_LOG_JSON
						  : MB_LOG_TEXT;
}

static struct mb_progress *
new_progress(void *ctx, const char *component)
{
	struct mb_cli *cli = ctx;
	struct mb_progress *progress = NULL;
	size_t i;

	pthread_mutex_lock(&cli->progress_lock);
	for (i = 0; i < cli->progress_count; i++)
		if (strcmp(cli->progress[i].name, component) == 0)
			progress = &cli->progress[i];
	if (!progress)
	{
		/* More components than lines: the last line is shared. */
		if (cli->progress_count < MAX_PROGRESS)
			cli->progress_count++;
		progress = &cli->progress[cli->progress_count - 1];
		snprintf(progress->name, sizeof(progress->name), "%s", component);
		atomic_store(&progress->phase, "waiting");
	}
	pthread_mutex_unlock(&cli->progress_lock);
	return progress;
}

enum mb_code
cli_open_spool(struct mb_cli *cli, struct mb_error *err)
{
	const char *spool = mb_config_get(&cli->config, SCOPE_GLOBAL, "spool");
	enum mb_code code;

	if (spool[0] != '/')
	{
		mb_fail(err, MB_CONFIG, "spool \"%s\" is not an absolute path", spool);
		return mb_error_hint(err, "Write spool = /a/directory in [global].");
	}
	code = mb_mkdirs(spool, 0700, err);
	if (!code && access(spool, W_OK | X_OK) != 0)
		code = mb_fail_errno(err, errno, "could not write to \"%s\"", spool);
	if (code)
	{
		mb_error_context(err, "could not use the spool directory");
		return mb_error_hint(err, "Set spool in [global] to a directory that this user owns.");
	}
	cli->env.spool = spool;
	return MB_OK;
}

enum mb_code
cli_read_unlock(const struct mb_cli *cli, struct mb_unlock *unlock, struct mb_error *err)
{
	const char *key_file = mb_config_get(&cli->config, SCOPE_REPOSITORY, "key-file");
	struct mb_buf key = {0};
	enum mb_code code;
	bool found;

	if (!key_file)
		return mb_config_secret(&cli->config, SCOPE_REPOSITORY, "passphrase", &unlock->passphrase,
								&found, err);
	code = mb_file_read(&key, key_file, KEY_FILE_MAX, err);
	if (code)
		mb_error_context(err, "could not read the key file");
	else
		mb_secret_set(&unlock->key_file, key.data, key.len);
	if (key.data)
		mb_wipe(key.data, key.cap);
	mb_buf_release(&key);
	return code;
}

/* "zstd:1" or "none" */
static enum mb_code
set_compression(struct mb_cli *cli, struct mb_error *err)
{
	const char *text = mb_config_get(&cli->config, SCOPE_REPOSITORY, "compression");
	char *end = NULL;
	long level = 0;

	if (strncmp(text, "zstd:", 5) == 0)
		level = strtol(text + 5, &end, 10);
	else if (strcmp(text, "zstd") == 0)
		level = 1;
	if ((level < 1 || level > 19 || (end && *end)) && strcmp(text, "none") != 0)
	{
		mb_fail(err, MB_CONFIG, "compression = \"%s\" is not possible", text);
		return mb_error_hint(err, "Use zstd:1 (fast) to zstd:19 (small), or none.");
	}
	cli->env.repo->zstd_level = (int) level;
	return MB_OK;
}

/* What the configuration demands of the repository that was found. */
static enum mb_code
check_pins(const struct mb_cli *cli, struct mb_error *err)
{
	const char *id = mb_config_get(&cli->config, SCOPE_REPOSITORY, "id");
	const char *encryption = mb_config_get(&cli->config, SCOPE_REPOSITORY, "encryption");
	const struct mb_repo *repo = cli->env.repo;

	if (id && strcmp(id, repo->id_text) != 0)
		return mb_fail(err, MB_CORRUPT, "%s is repository %s, not %s as the configuration demands",
					   repo->store->url, repo->id_text, id);
	if (strcmp(encryption, "none") != 0 && repo->suite == MB_SUITE_NONE)
	{
		mb_fail(err, MB_CORRUPT, "%s is not encrypted, but the configuration demands %s",
				repo->store->url, encryption);
		return mb_error_hint(err, "If that is what you want, write encryption = none in "
								  "[repository].");
	}
	return MB_OK;
}

enum mb_code
cli_open_repository(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_unlock unlock = {0};
	struct mb_store *store = NULL;
	enum mb_code code;

	code = cli_open_places(cli, &store, err);
	if (code)
	{
		if (code == MB_NOT_FOUND && cli->config.copy_count == 0)
			mb_error_hint(err, "Check url in [repository], or run \"mbackup init\".");
		return code;
	}
	code = cli_read_unlock(cli, &unlock, err);
	if (code)
		mb_store_free(store);
	else
		code = mb_repo_open(&cli->env.repo, store, &unlock, err);
	mb_secret_release(&unlock.passphrase);
	mb_secret_release(&unlock.key_file);
	if (!code)
		code = check_pins(cli, err);
	if (!code)
		code = set_compression(cli, err);
	return code;
}

/* Journalled buckets have their events in the clock's database unless they name another one. */
static void
name_journals(struct mb_config *config)
{
	const char *conninfo = NULL;
	size_t i;

	for (i = 0; i < config->component_count && !conninfo; i++)
		if (strcmp(config->components[i].kind, "postgres") == 0)
			conninfo = mb_settings_get(&config->components[i], "conninfo");
	for (i = 0; conninfo && i < config->component_count; i++)
		if (strcmp(config->components[i].kind, "objects") == 0 &&
			!mb_settings_get(&config->components[i], "journal"))
			mb_settings_add(&config->components[i], "journal", conninfo);
}

enum mb_code
cli_open_stack(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_stack *stack = &cli->stack;
	size_t i, pass;

	stack->env = &cli->env;
	stack->components = mb_calloc(cli->config.component_count + 1, sizeof(*stack->components));
	name_journals(&cli->config);
	/* The clock first. */
	for (pass = 0; pass < 2; pass++)
		for (i = 0; i < cli->config.component_count; i++)
		{
			const struct mb_settings *settings = &cli->config.components[i];
			const struct mb_component_ops *ops = cli_find_driver(settings->kind);
			enum mb_code code;

			/* [reference] is a section with a name, and no component. */
			if (strcmp(settings->kind, "reference") == 0)
				continue;
			MB_ASSERT(ops != NULL);
			if (((ops->capabilities & MB_CAP_CLOCK) != 0) != (pass == 0))
				continue;
			code = ops->open(&stack->components[stack->count], settings, &cli->env, err);
			if (code)
				return mb_error_context(err, "[%s]", settings->name);
			stack->count++;
		}
	return MB_OK;
}

enum mb_code
cli_prepare(struct mb_cli *cli, struct mb_error *err)
{
	static char program[PATH_MAX];
	/* What looks into an RDB file, or at the table of conditions, needs nothing. */
	bool only_lists = cli->command->id == CMD_CHECK && mb_config_flag(&cli->config, "list");
	unsigned needs = cli->command->id == CMD_REDIS ? redis_needs(cli)
					 : only_lists                  ? 0
												   : cli->command->needs;
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
	enum mb_code code = MB_OK;

	pthread_mutex_init(&cli->progress_lock, NULL);
	program[len > 0 ? len : 0] = '\0';
	cli->env.program = program;
	cli->env.log = &cli->log;
	cli->env.cancel = &mb_interrupt;
	cli->env.patience_ms = cli->command->id == CMD_CHECK ? CHECK_PATIENCE_MS : 0;
	cli->env.progress = new_progress;
	cli->env.progress_ctx = cli;
	if (needs & NEEDS_CONFIG)
		code =
			mb_config_read(&cli->config,
						   cli->command->id == CMD_INIT || mb_values_get(&cli->config.command_line,
																		 SCOPE_REPOSITORY, "url", 0)
							   ? MB_CONFIG_MAY_BE_MISSING
							   : 0,
						   err);
	cli->env.config_path = cli->config.path;
	if (!code)
		code = check_values(cli, err);
	/* A daemon waits for a repository that is away, not for one that nobody has named. */
	if (!code && cli->command->id == CMD_DAEMON)
		code = cli_check_url(cli, err);
	if (!code)
	{
		set_log(cli);
		code = set_workers(cli, err);
		if (!code)
			code = set_ages(cli, err);
	}
	if (!code && (needs & NEEDS_SPOOL))
		code = cli_open_spool(cli, err);
	if (!code && (needs & NEEDS_REPOSITORY))
		code = cli_open_repository(cli, err);
	if (!code && (needs & NEEDS_STACK))
		code = cli_open_stack(cli, err);
	return code;
}

void
cli_release(struct mb_cli *cli)
{
	size_t i;

	for (i = 0; i < cli->stack.count; i++)
		cli->stack.components[i]->ops->close(cli->stack.components[i]);
	mb_stack_release(&cli->stack);
	mb_repo_free(cli->env.repo);
	json_decref(cli->answer);
	json_decref(cli->probes);
	free(cli->words.items);
	mb_config_release(&cli->config);
}

void
cli_reload_release(struct mb_cli *made)
{
	if (!made)
		return;
	/* The command line belongs to the first. */
	made->config.command_line = (struct mb_values){0};
	cli_release(made);
	free(made);
}

enum mb_code
cli_reload(const struct mb_cli *cli, struct mb_cli **made, struct mb_error *err)
{
	struct mb_cli *next = mb_calloc(1, sizeof(*next));

	next->command = cli->command;
	next->log = cli->log;
	next->config.command_line = cli->config.command_line;
	if (cli_prepare(next, err))
	{
		cli_reload_release(next);
		return err->code;
	}
	*made = next;
	return MB_OK;
}

enum mb_code
cli_confirm(const struct mb_cli *cli, const char *what, const char *refusal, const char *hint,
			struct mb_error *err)
{
	char answer[16];
	bool yes;

	if (mb_config_flag(&cli->config, "yes"))
		return MB_OK;
	if (!isatty(STDIN_FILENO))
	{
		mb_fail(err, MB_CONFIG, "%s must be confirmed", refusal);
		return mb_error_hint(err, "%s", hint);
	}
	cli_progress_pause(cli);
	fprintf(stderr, "%s Go on? [y/N] ", what);
	yes = fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
	cli_progress_resume(cli);
	if (!yes)
		return mb_fail(err, MB_CONFIG, "not confirmed: nothing was done");
	return MB_OK;
}

const char *
cli_option(const struct mb_cli *cli, const char *name)
{
	return mb_values_get(&cli->config.command_line, SCOPE_COMMAND, name, 0);
}

void
cli_add_option(struct mb_cli *cli, const char *name, const char *text)
{
	const struct mb_option *row = mb_option_find(SCOPE_COMMAND, name);
	char *origin = mb_asprintf("mbackup %s", cli->command->name);

	MB_ASSERT(row != NULL);
	mb_values_add(&cli->config.command_line, row, text, origin);
	free(origin);
}

enum mb_code
cli_unknown_verb(const char *command, const char *verb, const char *nearest, const char *there_is,
				 struct mb_error *err)
{
	mb_fail(err, MB_CONFIG, "there is no command \"mbackup %s %s\"", command, verb);
	if (nearest)
		return mb_error_hint(err, "Did you mean \"mbackup %s %s\"?", command, nearest);
	return mb_error_hint(err, "There is %s.", there_is);
}

char **
cli_all_values(const struct mb_cli *cli, const char *name, size_t *count)
{
	char **list = mb_calloc(MAX_LIST, sizeof(*list));
	const char *text;
	size_t n = 0;

	while (n < MAX_LIST &&
		   (text = mb_values_get(&cli->config.command_line, SCOPE_COMMAND, name, n)) != NULL)
		list[n++] = (char *) (uintptr_t) text;
	*count = n;
	return list;
}

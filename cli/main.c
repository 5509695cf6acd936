/* main.c - find the command, run it, print its answer or its error, exit. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/progress_feed.h"

#define WAL_GET_FAILURE 200

struct mb_cancel mb_interrupt;

/* clang-format off */
const struct mb_command mb_commands[] = {
	{"init", CMD_INIT, cmd_init, NEEDS_CONFIG, 0, 0, "", "make a repository and a configuration file", render_init},
	{"check", CMD_CHECK, cmd_check, NEEDS_CONFIG, 0, 0, "", "test every precondition of every promise; changes nothing", render_check},
	{"backup", CMD_BACKUP, cmd_backup, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL | SHOWS_PROGRESS, 0, 0, "", "back up every component at one cut", render_backup},
	{"stream", CMD_STREAM, cmd_stream, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL, 0, 0, "", "capture WAL, Redis commands and object changes until stopped", NULL},
	{"mark", CMD_MARK, cmd_mark, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL, 1, 1, "NAME", "name this moment, so that a restore can go back to it", render_mark},
	{"list", CMD_LIST, cmd_list, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK, 0, 0, "", "backups, marks and recovery windows", render_list},
	{"info", CMD_INFO, cmd_info, NEEDS_CONFIG | NEEDS_REPOSITORY, 0, 1, "[BACKUP]", "one backup: its cut, components and sizes", render_info},
	{"restore", CMD_RESTORE, cmd_restore, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL | SHOWS_PROGRESS, 0, 1, "[BACKUP]", "bring the stack back to a backup, a mark or a moment", render_restore},
	{"rollback", CMD_ROLLBACK, cmd_rollback, NEEDS_CONFIG | NEEDS_STACK | NEEDS_SPOOL | SHOWS_PROGRESS, 0, 1, "[RESTORE]", "undo the last restore over what was there", render_rollback},
	{"adopt", CMD_ADOPT, cmd_adopt, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL, 0, 1, "[DIRECTORY]", "let a restored Postgres cluster continue as the original", render_adopt},
	{"objects", CMD_OBJECTS, cmd_objects, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL | SHOWS_PROGRESS, 2, 1000, "VERB NAME ...", "one bucket by itself: snapshot, ls, cat, diff, restore, verify, iam", render_objects},
	{"redis", CMD_REDIS, cmd_redis, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL | SHOWS_PROGRESS, 1, 1000, "VERB [NAME] ...", "one Redis by itself: snapshot, info, ls, restore", render_redis},
	{"verify", CMD_VERIFY, cmd_verify, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | SHOWS_PROGRESS, 0, 1000, "[BACKUP]...", "prove that backups are whole and undamaged", render_verify},
	{"expire", CMD_EXPIRE, cmd_expire, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL | SHOWS_PROGRESS, 0, 0, "", "remove what the retention does not keep", render_expire},
	{"pin", CMD_PIN, cmd_pin, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_SPOOL, 1, 1, "BACKUP", "keep a backup, or a mark, whatever the retention says", render_pin},
	{"unpin", CMD_UNPIN, cmd_unpin, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_SPOOL, 1, 1, "BACKUP", "leave it to the retention again", render_unpin},
	{"wal-get", CMD_WAL_GET, cmd_wal_get, NEEDS_CONFIG | RAW_STATUS, 2, 2, "%f %p", "restore_command: one WAL file for a recovering server", NULL},
	{"wal-push", CMD_WAL_PUSH, cmd_wal_push, NEEDS_CONFIG | NEEDS_SPOOL, 1, 1, "%p", "archive_command: a finished WAL file into the repository", NULL},
	{"daemon", CMD_DAEMON, cmd_daemon, NEEDS_CONFIG | NEEDS_STACK | NEEDS_SPOOL, 0, 0, "", "run jobs from SQL, schedules and streams, until stopped", NULL},
	{"key", CMD_KEY, cmd_key, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_SPOOL, 1, 2, "VERB [KEY]", "who can open the repository: list, add, remove, rotate, export --paper", render_key},
	{"catalog", CMD_CATALOG, cmd_catalog, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK, 1, 1, "sync", "make the catalog in Postgres anew from the repository", render_catalog},
	{"schedule", CMD_SCHEDULE, cmd_schedule, NEEDS_CONFIG, 1, 2, "VERB [NAME]", "run what is due without a daemon: show, install, uninstall, run, run-due", render_schedule},
	{"export", CMD_EXPORT, cmd_export, NEEDS_CONFIG | NEEDS_REPOSITORY | NEEDS_STACK | NEEDS_SPOOL | SHOWS_PROGRESS, 1, 2, "[BACKUP] FILE", "one moment of the stack as an archive for openssl, tar, pg_restore and redis-server", render_export},
	{"import", CMD_IMPORT, cmd_import, NEEDS_CONFIG | NEEDS_STACK | NEEDS_SPOOL | SHOWS_PROGRESS, 1, 1, "FILE", "an archive into the services that the configuration names", render_import},
	{"compat", CMD_COMPAT, cmd_compat, 0, 1, 2, "VERB [ARCHIVE]", "backup, restore: run as the shell scripts did that mbackup replaces", render_compat},
	{"report", CMD_REPORT, cmd_report, NEEDS_CONFIG | NEEDS_STACK, 0, 0, "", "how the stack stands: windows, backups, drills, problems; as text or as a page", render_report},
	{"completion", CMD_COMPLETION, cmd_completion, 0, 1, 1000, "bash|zsh|fish", "make a shell complete commands, options, components and backups", NULL},
	{"version", CMD_VERSION, cmd_version, 0, 0, 0, "", "the version of mbackup and of its repository format", render_version},
	{"help", CMD_HELP, cmd_help, 0, 0, 1, "[COMMAND]", "this overview, one command, or every key of mbackup.conf", NULL},
};
/* clang-format on */

const size_t mb_command_count = sizeof(mb_commands) / sizeof(mb_commands[0]);

static void
on_signal(int signo)
{
	atomic_store(&mb_interrupt.signo, signo);
}

static void
harden(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct rlimit none = {0, 0};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	/* A peer that goes away is an error of that write, not the end of the process. */
	signal(SIGPIPE, SIG_IGN);
	/* Keys are in memory: no core files, no tracing by other processes of this user. */
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	umask(077);
}

const struct mb_command *
cli_find_command(const char *name)
{
	size_t i;

	for (i = 0; i < mb_command_count; i++)
		if (strcmp(mb_commands[i].name, name) == 0)
			return &mb_commands[i];
	return NULL;
}

enum mb_code
cli_unknown_command(const char *words, const char *name, struct mb_error *err)
{
	struct mb_nearest nearest = {.word = name};
	size_t i;

	for (i = 0; i < mb_command_count; i++)
		mb_nearest_try(&nearest, mb_commands[i].name);
	mb_fail(err, MB_CONFIG, "there is no command \"%s\"", name);
	if (nearest.best)
		return mb_error_hint(err, "Did you mean \"%s %s\"?", words, nearest.best);
	return mb_error_hint(err, "Run \"mbackup help\" to see them.");
}

static enum mb_code
check_words(const struct mb_cli *cli, struct mb_error *err)
{
	const struct mb_command *command = cli->command;

	if (cli->words.count < command->min_words)
	{
		mb_fail(err, MB_CONFIG, "\"mbackup %s\" needs %s", command->name, command->words);
		if (mb_starts_with(command->words, "VERB"))
			return mb_error_hint(err, "Write: mbackup %s %s; \"mbackup help %s\" lists the verbs.",
								 command->name, command->words, command->name);
		return mb_error_hint(err, "Write: mbackup %s %s", command->name, command->words);
	}
	if (cli->words.count > command->max_words)
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is one word too many for \"mbackup %s\"",
				cli->words.items[command->max_words], command->name);
		return mb_error_hint(err, "Write: mbackup %s [OPTION]...%s%s", command->name,
							 command->words[0] ? " " : "", command->words);
	}
	return MB_OK;
}

static json_t *
error_json(const struct mb_error *err)
{
	json_t *error = json_object();

	mb_json_set_str(error, "code", mb_code_name(err->code));
	mb_json_set_str(error, "message", err->message);
	mb_json_set_str(error, "detail", err->detail);
	mb_json_set_str(error, "hint", mb_error_next_step(err));
	return error;
}

static void
print_error(const struct mb_error *err)
{
	/* Being told to stop is no error of ours. */
	const char *word = err->code == MB_PARTIAL       ? "warning: "
					   : err->code == MB_INTERRUPTED ? ""
													 : "error: ";

	fprintf(stderr, "mbackup: %s%s\n", word, err->message);
	if (err->detail[0])
		fprintf(stderr, "  detail: %s\n", err->detail);
	if (*mb_error_next_step(err))
		fprintf(stderr, "  hint: %s\n", mb_error_next_step(err));
}

/* Also when the command line could not be understood: a script reads stdout all the same. */
static bool
wants_json(const struct mb_cli *cli, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return mb_config_flag(&cli->config, "json");
}

/* One JSON object, also on failure; or text on stdout and the error on stderr. */
static void
print_outcome(struct mb_cli *cli, int argc, char **argv, enum mb_code code,
			  const struct mb_error *err)
{
	if (wants_json(cli, argc, argv))
	{
		json_t *out = cli->answer ? json_incref(cli->answer) : json_object();
		char *text;

		if (code)
			json_object_set_new(out, "error", error_json(err));
		text = mb_json_text(out);
		if (cli->json_open)
			printf("]%s%s\n", json_object_size(out) > 0 ? "," : "", text + 1);
		else
			printf("%s\n", text);
		free(text);
		json_decref(out);
	}
	else
	{
		if (cli->answer && cli->command && cli->command->render)
			cli->command->render(cli->answer, stdout);
		fflush(stdout);
		/* wal-get says no for every file that recovery only tries: nothing for the server's log. */
		if (code && !(code == MB_NEGATIVE && cli->command && (cli->command->needs & RAW_STATUS)))
			print_error(err);
	}
}

static enum mb_code
run_command(struct mb_cli *cli, struct mb_error *err)
{
	struct progress_feed *feed;
	enum mb_code code = check_words(cli, err);

	if (!code)
		code = cli_prepare(cli, err);
	if (code)
		return code;
	feed = progress_feed_start(cli);
	if ((cli->command->needs & SHOWS_PROGRESS) && !mb_config_flag(&cli->config, "quiet"))
		cli_progress_start(cli);
	code = cli->command->run(cli, err);
	cli_progress_stop(cli);
	progress_feed_stop(feed);
	return code;
}

static int
exit_status(const struct mb_cli *cli, enum mb_code code)
{
	int signo = atomic_load(&mb_interrupt.signo);
	int status = mb_code_exit_status(code, signo);

	/* restore_command: 1 ends recovery, above 125 stops it; nothing lies between. */
	if (cli->command && (cli->command->needs & RAW_STATUS) && code != MB_OK && code != MB_NEGATIVE)
		return status > 128 ? status : WAL_GET_FAILURE + status;
	return status;
}

/*
 * Options may stand before the command too (mbackup --config F backup): move them, with
 * their values, behind everything else.
 */
static void
command_word_first(int argc, char **argv)
{
	static const char *const flags[] = {"--json", "--quiet", "-q"};
	int moved;

	for (moved = 1; moved < argc - 1 && argv[1][0] == '-'; moved++)
	{
		bool has_value = strchr(argv[1], '=') == NULL;
		int take, j;
		size_t i;

		for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
			if (strcmp(argv[1], flags[i]) == 0)
				has_value = false;
		for (take = has_value ? 2 : 1; take > 0; take--)
		{
			char *word = argv[1];

			for (j = 1; j < argc - 1; j++)
				argv[j] = argv[j + 1];
			argv[argc - 1] = word;
		}
	}
}

int
main(int argc, char **argv)
{
	struct mb_cli cli = {.log = {.level = MB_LOG_INFO, .fd = STDERR_FILENO}};
	enum mb_code code = MB_OK;
	struct mb_error err;
	int status;

	mb_error_clear(&err);
	harden();
	if (argc < 2)
	{
		cli_print_help(NULL, stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		argv[1] = "help";
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = "version";
	command_word_first(argc, argv);
	cli.command = cli_find_command(argv[1]);
	if (!cli.command)
		code = cli_unknown_command("mbackup", argv[1], &err);
	else
		code = mb_options_parse(argc - 1, argv + 1, cli.command->id, &cli.config.command_line,
								&cli.words, &err);
	if (!code && mb_config_flag(&cli.config, "help"))
		cli_print_help(cli.command, stdout);
	else
	{
		if (!code)
			code = run_command(&cli, &err);
		/* These are text, whatever else was asked for. */
		if (code || (cli.command->id & (CMD_HELP | CMD_COMPLETION)) == 0)
			print_outcome(&cli, argc, argv, code, &err);
	}
	status = exit_status(&cli, code);
	cli_release(&cli);
	if (fflush(stdout) != 0 && status == 0)
		status = mb_code_exit_status(errno == ENOSPC ? MB_NO_SPACE : MB_IO, 0);
	return status;
}

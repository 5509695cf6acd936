/*
 * init_follow.c - what comes after "mbackup init" has asked: check, the stream, a backup.
 *
 * Each is a command of ours on the same terminal, as if it had been typed: what it shows and how it
 * fails is its own.  The configuration stands by now, so a failure here is told and is no failure of
 * init.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/init.h"
#include "core/base/fs.h"

/* Its exit status, or -1.  We wait; Ctrl-C reaches both. */
static int
run_here(const struct mb_cli *cli, const char *config_path, const char *const *words)
{
	char *argv[8] = {NULL}, *config = mb_asprintf("--config=%s", config_path);
	size_t count = 0;
	int status = -1;
	pid_t pid;

	argv[count++] = (char *) (uintptr_t) cli->env.program;
	while (*words && count < 6)
		argv[count++] = (char *) (uintptr_t) *words++;
	argv[count] = config;
	fprintf(stderr, "\n$ mbackup");
	for (count = 1; argv[count]; count++)
		fprintf(stderr, " %s", argv[count]);
	fputc('\n', stderr);
	pid = fork();
	if (pid == 0)
	{
		execv(argv[0], argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	free(config);
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* "mbackup stream", of a session of its own, until somebody stops it. */
static bool
start_stream(const struct mb_cli *cli, const char *config_path)
{
	char *log = mb_asprintf("%s/stream.log", cli->env.spool);
	char *config = mb_asprintf("--config=%s", config_path);
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
	{
		int in = mb_open("/dev/null", O_RDONLY, 0),
			out = mb_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		if (in < 0 || out < 0 || setsid() < 0)
			_exit(1);
		dup2(in, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		/* Nobody's child, so that nobody has to wait for it. */
		if (fork() != 0)
			_exit(0);
		execl(cli->env.program, cli->env.program, "stream", config, (char *) NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		init_say("  It runs, and says what it does in %s.", log);
	free(config);
	free(log);
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
say_next(const char *config_path, bool is_default_path, bool backed_up, bool streams)
{
	char *config = is_default_path ? mb_strdup("") : mb_asprintf(" --config %s", config_path);

	init_title("What is next");
	init_say("  Print the recovery sheet, and put it into a safe:\n"
			 "      mbackup key export --paper%s",
			 config);
	init_say("  Keep %s and the passphrase in a second place, not only on this host.", config_path);
	if (!backed_up)
		init_say("  Make the first backup:\n      mbackup backup%s", config);
	if (!streams)
		init_say("  Let any moment be restored, not only backups: run the daemon (or \"mbackup "
				 "stream\") as a service:\n      mbackup help daemon");
	init_say("  See how far back one can go, and try a restore:\n      mbackup list%s\n      "
			 "mbackup "
			 "verify --restore%s",
			 config, config);
	free(config);
}

enum mb_code
init_follow(const struct mb_cli *cli, const char *config_path, struct mb_error *err)
{
	static const char *const check[] = {"check", NULL}, *const backup[] = {"backup", NULL},
							 *const verify[] = {"verify", "--read-data", "full", NULL};
	const char *variable = getenv("MBACKUP_CONFIG");
	bool is_default =
		!mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "config", 0) || variable;
	bool yes = false, backed_up = false, streams = false;
	enum mb_code code = MB_OK;

	if (run_here(cli, config_path, check) > 1)
		init_say("  The check did not come to its end: see above.");
	code = mb_cancel_check(&mb_interrupt, err);
	if (!code && mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "postgres", 0))
	{
		init_title("The stream");
		init_say("  \"mbackup stream\" captures what is written between backups. It keeps a "
				 "replication slot: while it\n  does not run, the server keeps its WAL. As a "
				 "service it comes back with the host.");
		code = init_ask_yes("Start it in the background now?", false, &yes, err);
		if (!code && yes)
			streams = start_stream(cli, config_path);
	}
	if (!code)
	{
		init_title("The first backup");
		code = init_ask_yes("Make it now?", true, &yes, err);
	}
	if (!code && yes)
		backed_up = run_here(cli, config_path, backup) == 0;
	if (!code)
		code = mb_cancel_check(&mb_interrupt, err);
	if (!code && backed_up)
		code = init_ask_yes("Read all of it again, to prove it?", true, &yes, err);
	if (!code && backed_up && yes && run_here(cli, config_path, verify) == 0)
		init_say("  The first backup is verified.");
	/* The repository and its configuration are there, whatever was not answered. */
	if (code == MB_CONFIG)
		code = MB_OK;
	say_next(config_path, is_default, backed_up, streams);
	if (code)
	{
		mb_fail(err, code, "stopped; the repository and its configuration are made");
		return mb_error_hint(err, "Go on with \"mbackup check\" and \"mbackup backup\".");
	}
	return MB_OK;
}

/* scratch.c - see scratch.h. */
#include "redis/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"

#define CONFIG_NAME "scratch.conf"
#define LOG_NAME "scratch.log"
#define PASSWORD_BYTES 32
#define LAST_WORDS_BYTES 400
#define WAIT_STEP_MS 20
#define SAVE_WAIT_MS 1000
#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin"

struct mb_scratch
{
	pid_t pid; /* 0: none */
	int dir_fd;
	char *log_path;
	struct mb_redis_url url;
	struct mb_secret password;
	struct mb_redis_options options;
	struct mb_redis *redis;
};

/* -- the program ---------------------------------------------------------------------------- */

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

enum mb_code
mb_scratch_program(char **path, const char *program, struct mb_error *err)
{
	const char *at = getenv("PATH");
	char *found = NULL;

	if (strchr(program, '/'))
		found = is_program(program) ? mb_strdup(program) : NULL;
	for (at = at && *at ? at : PATH_DEFAULT; !found && !strchr(program, '/') && *at;)
	{
		size_t len = strcspn(at, ":");
		char *candidate = mb_asprintf("%.*s/%s", (int) len, at, program);

		if (len > 0 && is_program(candidate))
			found = candidate;
		else
			free(candidate);
		at += len + (at[len] == ':');
	}
	if (!found)
	{
		mb_fail(err, MB_NOT_FOUND, "there is no program \"%s\"", program);
		return mb_error_hint(err,
							 "The backup is loaded into a server of its own first: install "
							 "redis-server on this host, or set redis-server in the section of the "
							 "component.");
	}
	*path = found;
	return MB_OK;
}

/* -- configuration -------------------------------------------------------------------------- */

static void
make_password(struct mb_secret *password)
{
	unsigned char bytes[PASSWORD_BYTES];
	char text[2 * PASSWORD_BYTES + 1];

	mb_random(bytes, sizeof(bytes));
	mb_hex(text, bytes, sizeof(bytes));
	mb_secret_set(password, text, sizeof(text) - 1);
	mb_wipe(bytes, sizeof(bytes));
	mb_wipe(text, sizeof(text));
}

/* In a file, not in arguments: those can be read by everybody on this host. */
static enum mb_code
write_config(struct mb_scratch *scratch, const struct mb_scratch_options *options,
			 struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code;
	int fd;

	mb_buf_printf(&text,
				  "port 0\nunixsocket " MB_SCRATCH_SOCKET "\nunixsocketperm 700\nrequirepass %s\n"
				  "databases %u\nappendonly %s\nsave \"\"\nappendfsync no\n"
				  "auto-aof-rewrite-percentage 0\naof-load-truncated no\ndaemonize no\n"
				  "maxmemory 0\nactiverehashing no\n%s",
				  (const char *) scratch->password.data, options->databases,
				  options->append_only ? "yes" : "no",
				  options->keep_expired ? "replicaof 127.0.0.1 0\n" : "");
	code =
		mb_open_beneath(&fd, scratch->dir_fd, CONFIG_NAME, O_WRONLY | O_CREAT | O_EXCL, 0600, err);
	if (!code)
	{
		code = mb_write_full(fd, text.data, text.len, CONFIG_NAME, err);
		close(fd);
	}
	mb_buf_wipe(&text);
	return code;
}

/* -- the process ---------------------------------------------------------------------------- */

static void
become_server(const struct mb_scratch *scratch, const char *program, int log_fd, pid_t parent)
{
	static char *const environment[] = {"LC_ALL=C", NULL};
	char *const argv[] = {(char *) (uintptr_t) program, CONFIG_NAME, NULL};
	int null = mb_open("/dev/null", O_RDONLY, 0);

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(126);
	if (fchdir(scratch->dir_fd) != 0 || dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 ||
		dup2(log_fd, 2) < 0)
		_exit(126);
	execve(program, argv, environment);
	_exit(127);
}

static enum mb_code
spawn(struct mb_scratch *scratch, const char *program, struct mb_error *err)
{
	pid_t parent = getpid();
	enum mb_code code;
	int log_fd;

	code = mb_open_beneath(&log_fd, scratch->dir_fd, LOG_NAME, O_WRONLY | O_CREAT | O_APPEND, 0600,
						   err);
	if (code)
		return code;
	scratch->pid = fork();
	if (scratch->pid == 0)
		become_server(scratch, program, log_fd, parent);
	if (scratch->pid < 0)
	{
		scratch->pid = 0;
		code = mb_fail_errno(err, errno, "could not start \"%s\"", program);
	}
	close(log_fd);
	return code;
}

/* Why it ended: the end of its log, on one line. */
static enum mb_code
fail_ended(const struct mb_scratch *scratch, struct mb_error *err)
{
	char words[LAST_WORDS_BYTES + 1] = "";
	int fd = mb_open(scratch->log_path, O_RDONLY | O_CLOEXEC, 0);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t got = fd >= 0 ? pread(fd, words, LAST_WORDS_BYTES,
								  size > LAST_WORDS_BYTES ? size - LAST_WORDS_BYTES : 0)
						  : 0;
	ssize_t i;

	for (i = 0; i < got; i++)
		if (words[i] == '\n')
			words[i] = i + 1 < got ? ' ' : '\0';
	if (fd >= 0)
		close(fd);
	mb_fail(err, MB_IO, "the private redis-server could not load the backup");
	mb_error_detail(err, "It ended with: %s", *words ? words : "(it said nothing)");
	return mb_error_hint(err, "It must be at least as new as the server of the backup, and have "
							  "the memory for all of its data.");
}

/* Did the server of this error answer at all?  Then it may still be loading. */
static enum mb_code
ask(struct mb_scratch *scratch, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};

	if (!scratch->redis && mb_redis_connect(&scratch->redis, &scratch->options, err))
		return err->code;
	if (MB_REDIS_CALL(scratch->redis, &reply, err, "PING"))
	{
		/* A connection that was lost would be asked for ever. */
		mb_redis_close(scratch->redis);
		scratch->redis = NULL;
		return err->code;
	}
	mb_redis_reply_release(&reply);
	return MB_OK;
}

static enum mb_code
wait_loaded(struct mb_scratch *scratch, struct mb_error *err)
{
	struct mb_error last;
	int status;

	for (;;)
	{
		pid_t ended = waitpid(scratch->pid, &status, WNOHANG);

		if (ended == scratch->pid)
		{
			scratch->pid = 0;
			return fail_ended(scratch, err);
		}
		if (mb_cancel_check(scratch->options.cancel, err))
			return err->code;
		mb_error_clear(&last);
		if (ask(scratch, &last) == MB_OK)
			return MB_OK;
		/* No socket yet, or LOADING: both pass, or the process ends. */
		if (last.code != MB_UNREACHABLE && last.code != MB_NOT_FOUND)
		{
			*err = last;
			return mb_error_context(err, "could not ask the private redis-server");
		}
		mb_sleep_ms(WAIT_STEP_MS);
	}
}

enum mb_code
mb_scratch_start(struct mb_scratch **out, const struct mb_scratch_options *options,
				 struct mb_error *err)
{
	struct mb_scratch *scratch = mb_calloc(1, sizeof(*scratch));
	char *program = NULL;
	enum mb_code code;

	scratch->dir_fd = mb_open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (scratch->dir_fd < 0)
	{
		free(scratch);
		return mb_fail_errno(err, errno, "could not open \"%s\"", options->directory);
	}
	scratch->log_path = mb_path_join(options->directory, LOG_NAME);
	/* Through our descriptor: the path of a socket has at most 107 bytes, a spool's may have more. */
	scratch->url.path = mb_asprintf("/proc/self/fd/%d/" MB_SCRATCH_SOCKET, scratch->dir_fd);
	scratch->options = (struct mb_redis_options){.url = &scratch->url,
												 .password = &scratch->password,
												 .cancel = options->cancel};
	make_password(&scratch->password);
	code = mb_scratch_program(&program, options->program, err);
	if (!code)
		code = write_config(scratch, options, err);
	if (!code)
		code = spawn(scratch, program, err);
	if (!code)
		code = wait_loaded(scratch, err);
	free(program);
	if (code)
		mb_scratch_stop(scratch);
	else
		*out = scratch;
	return code;
}

void
mb_scratch_stop(struct mb_scratch *scratch)
{
	if (!scratch)
		return;
	mb_redis_close(scratch->redis);
	if (scratch->pid > 0)
	{
		/* Nothing of it is to last, so it need not end in peace. */
		kill(scratch->pid, SIGKILL);
		while (waitpid(scratch->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(scratch->dir_fd);
	free(scratch->log_path);
	mb_redis_url_release(&scratch->url);
	mb_secret_release(&scratch->password);
	free(scratch);
}

enum mb_code
mb_scratch_save(struct mb_scratch *scratch, struct mb_error *err)
{
	static const char *const words[] = {"SAVE"};
	char answer[256];
	size_t len = 0, got;

	if (mb_redis_send(scratch->redis, words, 1, err))
		return err->code;
	/* It takes as long as it takes: the process and the cancel flag are what ends the wait. */
	do
	{
		if (mb_redis_read(scratch->redis, answer + len, sizeof(answer) - 1 - len, SAVE_WAIT_MS,
						  &got, err))
			return mb_error_context(err, "the private redis-server could not write its data");
		len += got;
	} while (!memchr(answer, '\n', len) && len < sizeof(answer) - 1);
	answer[len] = '\0';
	if (mb_starts_with(answer, "+OK"))
		return MB_OK;
	mb_fail(err, MB_IO, "the private redis-server could not write its data: %.*s",
			(int) strcspn(answer, "\r\n"), answer);
	return mb_error_hint(err, "The spool needs room for the data set twice.");
}

struct mb_redis *
mb_scratch_connection(const struct mb_scratch *scratch)
{
	return scratch->redis;
}

const char *
mb_scratch_password(const struct mb_scratch *scratch)
{
	return (const char *) scratch->password.data;
}

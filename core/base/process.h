/*
 * process.h - a command of somebody else's, run to its end: hooks and services.
 *
 * It runs in a process group of its own, which is killed when we are cancelled or the time is
 * over: first asked (SIGTERM), five seconds later made to (SIGKILL).  Its output goes to a
 * file, never to a pipe: a daemon that it leaves behind keeps the descriptor, and must
 * neither be waited for nor die of a pipe that nobody reads.
 *
 * The caller's signal handlers and open files (O_CLOEXEC throughout) are not inherited.
 */
#ifndef MB_BASE_PROCESS_H
#define MB_BASE_PROCESS_H

#include <sys/types.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/pool.h"

#define MB_PROCESS_TAIL_BYTES 4096

struct mb_process
{
	const char *const *argv; /* argv[0] is looked for in PATH; ends with NULL */
	const char *const *
		environment; /* "NAME=value" in addition to ours (without passphrases); NULL-terminated, or NULL */
	const char *input;       /* its stdin; NULL: empty */
	const char *output_path; /* appended to, made 0600; NULL: kept for the tail only */
	int64_t timeout_ms;      /* 0: none */
	bool keeps_passphrase;   /* it starts a server whose restore_command opens the repository */
	bool change_user;        /* to uid and gid; we are root */
	uid_t uid;
	gid_t gid;
	const struct mb_cancel *cancel; /* may be NULL */
};

/*
 * Run it.  *status is its exit status as a shell tells it (128 + signal).  *tail (free it; may be
 * NULL) gets the last bytes of its output, without trailing blanks.  MB_NOT_FOUND: there is no
 * such program; MB_UNREACHABLE: it took too long; MB_INTERRUPTED.
 */
enum mb_code mb_process_run(const struct mb_process *process, int *status, char **tail,
							struct mb_error *err) MB_MUST_CHECK;

/* A word as a shell takes it: in quotes where that is needed; free() it. */
char *mb_shell_word(const char *text);

/* Is there such a program, in PATH or at that path? */
bool mb_program_exists(const char *name);

#endif

/*
 * child.h - a command of ours in a process of its own: what the daemon runs.
 *
 * Its answer (stdout) is kept, its log goes where ours goes (stderr), and it tells its
 * progress over a pipe (progress_feed.h).  It is asked to stop when we die, however we die.
 * Nothing here blocks: child_pump takes what there is.
 */
#ifndef MB_CLI_CHILD_H
#define MB_CLI_CHILD_H

#include <sys/types.h>

#include "core/base/json.h"
#include "core/base/mem.h"

#define CHILD_ANSWER_MAX (64u << 20)
#define CHILD_KILL_MS 60000 /* between being asked to stop and being killed */

struct child
{
	pid_t pid; /* 0: none runs */
	int answer_fd;
	int progress_fd;
	struct mb_buf answer;
	struct mb_buf line;   /* of progress, not yet whole */
	json_t *progress;     /* the newest, owned, or NULL */
	bool progress_is_new; /* the reader clears it */
	int64_t started_ms;
	int64_t stop_ms; /* when it was asked to stop; 0: it was not */
	bool ended;
	int status; /* as of waitpid, once ended */
};

/*
 * argv ends with NULL; argv[0] is the program's path.  keep_fd: stays open in the child, or -1.
 */
enum mb_code child_start(struct child *child, char *const *argv, int keep_fd,
						 struct mb_error *err) MB_MUST_CHECK;
/* Take what there is; true when it has ended (and everything of it is read). */
bool child_pump(struct child *child);
/* Ask it to stop; asked for long enough, it is killed. */
void child_stop(struct child *child);
/* Its exit status as a shell says it: 0 to 255, 128 + signal. */
int child_exit_status(const struct child *child);
/* The answer as JSON; NULL when it is none.  A new reference. */
json_t *child_answer(struct child *child);
/* Kill what still runs, wait for it, free everything. */
void child_release(struct child *child);

#endif

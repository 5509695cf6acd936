/*
 * scratch.h - a redis-server of our own, for as long as a restore needs it.
 *
 * It loads what a restore into a directory has written, because only a loader replays
 * the commands exactly: over a normal connection, keys whose time to live has passed
 * since would vanish in the middle of the replay.
 *
 * Private: its directory is 0700, it listens on a unix socket there and on no port, with
 * a random password; it reads no configuration but ours and is killed with us, however
 * we die (PR_SET_PDEATHSIG).  Nothing of it is to last; the caller removes the directory.
 */
#ifndef MB_REDIS_SCRATCH_H
#define MB_REDIS_SCRATCH_H

#include <sys/types.h>

#include "redis/connection.h"

#define MB_SCRATCH_SOCKET "redis.sock"

struct mb_scratch_options
{
	const char *program;   /* a path, or a name to look up in PATH */
	const char *directory; /* absolute, exists, 0700 */
	bool append_only;      /* what it loads: appendonlydir or appendonly.aof, else dump.rdb */
	unsigned databases;
	bool keep_expired;              /* see mb_scratch_save */
	const struct mb_cancel *cancel; /* may be NULL */
};

struct mb_scratch;

/* The program's absolute path; free() it.  MB_NOT_FOUND with a hint. */
enum mb_code mb_scratch_program(char **path, const char *program,
								struct mb_error *err) MB_MUST_CHECK;

/*
 * Start it and wait until it has loaded everything.  MB_IO with its last words when it
 * ends before.  The directory is left to the caller on failure.
 */
enum mb_code mb_scratch_start(struct mb_scratch **scratch, const struct mb_scratch_options *options,
							  struct mb_error *err) MB_MUST_CHECK;
/* Kill it, wait for it.  NULL does nothing. */
void mb_scratch_stop(struct mb_scratch *scratch);
/*
 * Let it write all that it holds into dump.rdb in its directory.  With keep_expired it is a replica
 * (of nobody), and a replica leaves it to its master to remove what has expired: keys whose time has
 * passed since the backup are in the file too.
 */
enum mb_code mb_scratch_save(struct mb_scratch *scratch, struct mb_error *err) MB_MUST_CHECK;
/* Its password; borrowed.  The socket is MB_SCRATCH_SOCKET in its directory. */
const char *mb_scratch_password(const struct mb_scratch *scratch);
/* A connection that is logged in; borrowed. */
struct mb_redis *mb_scratch_connection(const struct mb_scratch *scratch);

#endif

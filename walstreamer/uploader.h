/*
 * uploader.h - the threads that put WAL pieces for a receiver.
 *
 * The receiver hands over jobs and goes on; the bytes stay where they are until the job
 * is collected.  Pieces are compressed and sealed side by side, but put one after the other, in
 * the order of their submission, and a piece is put only when the one before it was: so what is
 * stored of a branch never goes on behind a failure.
 *
 * A put that fails for a passing reason is tried again until it works, the uploader is told to give
 * up, or give_up_ms have gone by.  That is said once, and once more when it works again.
 */
#ifndef MB_WALSTREAMER_UPLOADER_H
#define MB_WALSTREAMER_UPLOADER_H

#include <stdatomic.h>

#include "core/engine/env.h"
#include "postgres/wal_source.h"
#include "walstreamer/piece.h"

/* Jobs under way at once, each on a thread of its own. */
#define MB_WAL_UPLOADS 2

struct mb_wal_job
{
	char component[64];
	char system_id[MB_WAL_SYSID_TEXT];
	char branch[MB_WAL_BRANCH_TEXT];
	char history[MB_NAME_MAX];
	char parent_branch[MB_WAL_BRANCH_TEXT];
	struct mb_wal_piece piece; /* its pointers lead into this job, but data */
	struct mb_wal_facts facts; /* owned */
	bool whole_unit;           /* afterwards the unit's tail pieces are removed */
};

struct mb_wal_uploader;
/* wake_fd: an eventfd that is written when a job is done. */
struct mb_wal_uploader *mb_wal_uploader_new(const struct mb_env *env, int64_t give_up_ms,
											int wake_fd);
/* No job is under way or waits to be collected. */
bool mb_wal_uploader_is_idle(struct mb_wal_uploader *uploader);
/* May one more be submitted? */
bool mb_wal_uploader_has_room(struct mb_wal_uploader *uploader);
/* Takes the job (its facts too).  Only when there is room. */
void mb_wal_uploader_submit(struct mb_wal_uploader *uploader, struct mb_wal_job *job);
/*
 * The outcome of the oldest job, once: *to_lsn is durable when MB_OK.  MB_EXISTS: other
 * bytes stand there.  *finished is false when it is not done.  Behind a failure the others
 * fail with the same error.
 */
enum mb_code mb_wal_uploader_collect(struct mb_wal_uploader *uploader, bool *finished,
									 uint64_t *to_lsn, struct mb_error *err) MB_MUST_CHECK;
/* Try no more after the next failure. */
void mb_wal_uploader_hurry(struct mb_wal_uploader *uploader);
void mb_wal_uploader_free(struct mb_wal_uploader *uploader); /* waits for the jobs under way */

#endif

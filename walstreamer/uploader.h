/*
 * uploader.h - the thread that puts WAL pieces, one at a time, for a receiver.
 *
 * The receiver hands over a job and goes on; the bytes stay where they are until the job
 * is done.  A put that fails for a passing reason is tried again until it works, the
 * uploader is told to give up, or give_up_ms have gone by.
 */
#ifndef MB_WALSTREAMER_UPLOADER_H
#define MB_WALSTREAMER_UPLOADER_H

#include <stdatomic.h>

#include "core/engine/env.h"
#include "postgres/wal_source.h"
#include "walstreamer/piece.h"

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
bool mb_wal_uploader_is_idle(struct mb_wal_uploader *uploader);
/* Takes the job (its facts too).  Only when idle. */
void mb_wal_uploader_submit(struct mb_wal_uploader *uploader, struct mb_wal_job *job);
/*
 * The outcome of a finished job, once: *to_lsn is durable when MB_OK.  MB_EXISTS: other
 * bytes stand there.  *finished is false when there is nothing to collect.
 */
enum mb_code mb_wal_uploader_collect(struct mb_wal_uploader *uploader, bool *finished,
									 uint64_t *to_lsn, struct mb_error *err) MB_MUST_CHECK;
/* Try no more after the next failure. */
void mb_wal_uploader_hurry(struct mb_wal_uploader *uploader);
void mb_wal_uploader_free(struct mb_wal_uploader *uploader); /* waits for the job under way */

#endif

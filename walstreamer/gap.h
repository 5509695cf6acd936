/*
 * gap.h - gap records: streams/<component>/gaps/<id> says which WAL was never received.
 *
 * A record is for people (`list`, `check`): planning looks at the pieces themselves.
 */
#ifndef MB_WALSTREAMER_GAP_H
#define MB_WALSTREAMER_GAP_H

#include "core/engine/env.h"
#include "walstreamer/wal_name.h"

/*
 * A new branch (where) begins at from_lsn: if all WAL of this timeline in the repository, and of
 * those that it comes from by its history file (may be NULL or empty), ends before it, say so in
 * the log and write a record.  Best effort.
 */
void mb_wal_gap_note(const struct mb_env *env, const struct mb_wal_where *where,
					 const struct mb_buf *history, uint64_t from_lsn);

#endif

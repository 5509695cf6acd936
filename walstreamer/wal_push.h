/*
 * wal_push.h - archive_command: finished WAL files of a server into the repository.
 *
 * Segments become the same pieces, on the same branches, that a stream writes (see wal_name.h), so
 * that both may run at once and planning cannot tell them apart.  For one file:
 *     segment     its units; what is there already with equal bytes is accepted
 *     .partial    the end of a timeline that was left in the middle of a segment: up to there
 *     .history    the history file
 *     .backup     nothing: a backup's own commit says more
 *
 * Different bytes never overwrite: WAL that disagrees with a branch goes to another one.  A branch
 * is continued when it holds equal bytes of this segment, when this very copy of the cluster
 * (mb_data_dir_marker) has written it, or when the segment before, still in pg_wal, equals
 * its end.  Anything else begins a new branch.
 *
 * A call also pushes the segments behind its own that are ready, on all workers, and leaves
 * a note in the spool; the calls for them then end without opening the repository.  Renaming
 * .ready to .done stays with Postgres.
 *
 * The current directory is the data directory and path (%p) is relative to it.
 */
#ifndef MB_WALSTREAMER_WAL_PUSH_H
#define MB_WALSTREAMER_WAL_PUSH_H

#include "core/engine/env.h"

#define MB_WAL_PUSH_FILES 64
#define MB_WAL_PUSH_BYTES (1u << 30)

/* A file of which nothing is kept (.backup). */
bool mb_wal_push_is_nothing(const char *path);

/*
 * Has an earlier call stored this very file (name, inode, size, time, system id) in this
 * repository?  Needs no keys.
 */
bool mb_wal_push_is_noted(const char *spool, const char *component, const char *repository_id,
						  const char *path);

/*
 * Store it; durable on return.  MB_CONFIG: not a WAL file, or not of a data directory; MB_CORRUPT:
 * its contents do not agree with its name.
 */
enum mb_code mb_wal_push(const struct mb_env *env, const char *component, const char *path,
						 struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * wal_get.h - restore_command: one WAL or history file for a recovering server.
 *
 * Results and what the CLI makes of them:
 *     MB_OK        delivered                                            exit 0
 *     MB_NEGATIVE  past the plan's end, or no such file: recovery ends  exit 1
 *     other        a planned file that is missing or unreadable: recovery must
 *                  stop and not open early                              exit 200 + code
 *
 * The CLI calls mb_wal_get_prefetched first: it needs no repository (opening an
 * encrypted one costs a second of scrypt) and answers MB_NOT_FOUND when it must be
 * asked.  Only then it opens the repository and calls mb_wal_get, which delivers the
 * file and puts the following ones into pg_wal/mbackup-prefetch/.
 *
 * The current directory is the data directory (Postgres runs restore_command
 * there) and target_path is resolved against it, never against a configured path.
 */
#ifndef MB_WALSTREAMER_WAL_GET_H
#define MB_WALSTREAMER_WAL_GET_H

#include "core/engine/env.h"

#define MB_WAL_PREFETCH_DIR "pg_wal/mbackup-prefetch"
#define MB_WAL_PREFETCH_FILES 16
#define MB_WAL_PREFETCH_BYTES (256u << 20)

/*
 * restore_id as in restore_command.  MB_CONFIG when this directory was not made by that
 * restore.  MB_NOT_FOUND: ask the repository.
 */
enum mb_code mb_wal_get_prefetched(const char *restore_id, const char *file_name,
								   const char *target_path, struct mb_error *err) MB_MUST_CHECK;

/*
 * restore_id NULL: no plan; a whole segment or a history file is delivered when the
 * repository knows exactly one of that name (for a standby's restore_command);
 * component may be NULL then if env->repo holds WAL of one component only.
 */
enum mb_code mb_wal_get(const struct mb_env *env, const char *component, const char *restore_id,
						const char *file_name, const char *target_path,
						struct mb_error *err) MB_MUST_CHECK;

#endif

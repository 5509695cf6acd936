/*
 * wal_get.h - restore_command: one WAL or history file for a recovering server.
 *
 * Results and what the CLI makes of them:
 *     MB_OK        delivered                                            exit 0
 *     MB_NEGATIVE  past the plan's end, or no such file: recovery ends  exit 1
 *     other        a planned file that is missing or unreadable: recovery must
 *                  stop and not open early                              exit 200 + code
 *
 * The CLI calls mb_wal_get_quickly first: it asks the files that were fetched ahead and the
 * helper (wal_helper.h), needs no repository (opening an encrypted one costs a second of
 * scrypt) and answers MB_NOT_FOUND when that does not do.  Then it opens the repository, calls
 * mb_wal_get, which delivers by itself, and mb_wal_helper_start.  So the helper is never needed.
 *
 * The current directory is the data directory (Postgres runs restore_command
 * there) and target_path is resolved against it, never against a configured path.
 */
#ifndef MB_WALSTREAMER_WAL_GET_H
#define MB_WALSTREAMER_WAL_GET_H

#include "core/engine/env.h"

struct mb_wal_request
{
	const char *restore_id;  /* as in restore_command, or NULL: no plan, for a standby */
	const char *component;   /* without a plan: NULL when only one has WAL of this cluster */
	const char *file_name;   /* %f */
	const char *target_path; /* %p */
};

/* MB_CONFIG: this directory was not made by that restore.  MB_NOT_FOUND: ask the repository. */
enum mb_code mb_wal_get_quickly(const struct mb_wal_request *request,
								struct mb_error *err) MB_MUST_CHECK;

/* With a plan, what the plan says; without, whole segments and history files only. */
enum mb_code mb_wal_get(const struct mb_env *env, const struct mb_wal_request *request,
						struct mb_error *err) MB_MUST_CHECK;

#endif

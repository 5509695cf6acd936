/* wal_fetch.h - one planned file out of the repository, whole and checked or not at all. */
#ifndef MB_WALSTREAMER_WAL_FETCH_H
#define MB_WALSTREAMER_WAL_FETCH_H

#include "walstreamer/restore_plan.h"

/*
 * Write the segment to path (replacing what is there) by a temporary file beside it, a unit
 * at a time.  MB_CORRUPT when a piece is missing or damaged.  Not synced: Postgres itself makes
 * durable what it keeps.
 */
enum mb_code mb_wal_fetch_segment(const struct mb_repo *repo, const struct mb_plan_item *item,
								  const char *path, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_wal_fetch_history(const struct mb_repo *repo, const char *blob, const char *path,
								  struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * wal_helper.h - a process that fetches WAL ahead of a recovering server.
 *
 * The first wal-get of a recovery forks it (so it has the repository open already and derives
 * no key); it listens on an abstract socket whose name is made of the data directory's device and
 * inode and of the plan, so that there is one for each, answers only its own user, and keeps the
 * next segments in pg_wal/mbackup-prefetch/, complete and checked.  Handing over is a rename.
 * It ends when nobody asked for a minute, when the data directory or the postmaster is gone, or
 * when recovery is over, and removes what it fetched.
 *
 * Whatever goes wrong here costs time only: wal-get then does the work by itself and says what
 * the matter is.
 */
#ifndef MB_WALSTREAMER_WAL_HELPER_H
#define MB_WALSTREAMER_WAL_HELPER_H

#include "walstreamer/wal_get.h"

/*
 * Deliver the file from what was fetched ahead (path: where that would be, NULL when only the
 * helper knows), or by asking the helper to fetch it now.  MB_NOT_FOUND: do it yourself.  Without
 * a plan MB_NEGATIVE too: the helper has just looked.
 */
enum mb_code mb_wal_helper_ask(const struct mb_wal_request *request, const char *path,
							   struct mb_error *err) MB_MUST_CHECK;
/* Tell it to end, if there is one. */
void mb_wal_helper_end(const struct mb_wal_request *request);
/* Fork one, unless there is one; it begins behind the file of the request.  No threads yet. */
void mb_wal_helper_start(const struct mb_env *env, const struct mb_wal_request *request);

#endif

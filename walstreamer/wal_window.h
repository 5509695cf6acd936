/*
 * wal_window.h - the segments that the helper (wal_helper.h) keeps ready: from the one that was asked for
 * last on, in the order of the plan, MB_WAL_PREFETCH_FILES ahead and MB_WAL_PREFETCH_BYTES at most.
 *
 * Workers fetch; one thread moves the window and waits.  What falls out of it is removed.  Lives as long
 * as its process.
 */
#ifndef MB_WALSTREAMER_WAL_WINDOW_H
#define MB_WALSTREAMER_WAL_WINDOW_H

#include "walstreamer/restore_plan.h"

#define MB_WAL_PREFETCH_FILES 16
#define MB_WAL_PREFETCH_BYTES (256u << 20)

enum mb_wal_window_flags
{
	MB_WAL_WINDOW_WHOLE = 1 /* only segments that are complete: more of the others may come */
};

struct mb_wal_window;

/* repo is borrowed. */
struct mb_wal_window *mb_wal_window_new(const struct mb_repo *repo, unsigned flags);
/* Fetch, by so many threads (at most 4).  False: they could not be started, nothing is fetched. */
bool mb_wal_window_start(struct mb_wal_window *window, unsigned workers);
/* Nothing is fetched any more when it returns. */
void mb_wal_window_stop(struct mb_wal_window *window);

/* It begins at item from now on.  The plan is held as long as it is needed. */
void mb_wal_window_move(struct mb_wal_window *window, json_t *plan,
						const struct mb_plan_item *item);
/* The same, and wait until the item is fetched: its path.  Errors of mb_wal_fetch_segment. */
enum mb_code mb_wal_window_wait(struct mb_wal_window *window, json_t *plan,
								const struct mb_plan_item *item, char path[MB_WAL_PREFETCH_PATH],
								struct mb_error *err) MB_MUST_CHECK;
/* Is a file of this name one of the window's? */
bool mb_wal_window_needs(struct mb_wal_window *window, const char *file_name);

#endif

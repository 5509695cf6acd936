/*
 * feed.h - jobs that one thread makes and N threads work off, in no order.
 *
 * For work that comes as a stream, where mb_pool_run (pool.h) would need the list first.  What
 * waits or is worked on is bounded in bytes, so a fast source cannot fill the memory.
 */
#ifndef MB_BASE_FEED_H
#define MB_BASE_FEED_H

#include "core/base/pool.h"

struct mb_feed;

/*
 * Work one job; it is freed by the worker.  `worker` is in [0, workers), never used by two
 * threads at once.  After a failure jobs that wait are given to `drop`.
 */
typedef enum mb_code (*mb_feed_fn)(void *ctx, unsigned worker, void *job, struct mb_error *err);
typedef void (*mb_feed_drop)(void *ctx, void *job);

struct mb_feed *mb_feed_new(unsigned workers, size_t max_bytes, mb_feed_fn fn, mb_feed_drop drop,
							void *ctx);
/*
 * Hand over a job of so many bytes; waits while more than max_bytes are under way (one job may
 * always be).  Takes the job whatever it returns: the first failure of a worker comes out here.
 */
enum mb_code mb_feed_put(struct mb_feed *feed, void *job, size_t bytes,
						 struct mb_error *err) MB_MUST_CHECK;
/* Wait until all is worked off; the first failure.  The feed may go on being used. */
enum mb_code mb_feed_drain(struct mb_feed *feed, struct mb_error *err) MB_MUST_CHECK;
/* Drops what waits, ends the threads, frees.  NULL does nothing. */
void mb_feed_free(struct mb_feed *feed);

#endif

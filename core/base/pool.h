/*
 * pool.h - cancellation, threads, and work done by N of them that run to completion.
 */
#ifndef MB_BASE_POOL_H
#define MB_BASE_POOL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

/*
 * A flag that a signal handler sets (the signal number) and that long loops ask.
 * Lock free, so it is safe in a handler.  NULL means: never cancelled.
 */
struct mb_cancel
{
	atomic_int signo;
};

bool mb_cancelled(const struct mb_cancel *cancel);
/* MB_INTERRUPTED when cancelled, else MB_OK. */
enum mb_code mb_cancel_check(const struct mb_cancel *cancel, struct mb_error *err) MB_MUST_CHECK;

/*
 * Run fn(ctx, i) for every i in [0, count) on at most `workers` threads; each
 * thread takes the next i when it is free.  The first failure stops the handing
 * out of further items; running ones finish.  Returns that first failure.
 * `worker` is in [0, workers) and never used by two threads at once, so that
 * per-worker state needs no lock.  workers == 1 runs in the calling thread.
 */
typedef enum mb_code (*mb_pool_fn)(void *ctx, unsigned worker, size_t item, struct mb_error *err);
enum mb_code mb_pool_run(unsigned workers, size_t count, mb_pool_fn fn, void *ctx,
						 const struct mb_cancel *cancel, struct mb_error *err) MB_MUST_CHECK;

/*
 * pthread_create for a thread that lives in the background: with every signal blocked, so that signals
 * reach the threads that wait for them.
 */
int mb_thread_start(pthread_t *thread, void *(*start)(void *), void *ctx);

/* Cores of this machine that we may use, at least 1. */
unsigned mb_cpu_count(void);

#endif

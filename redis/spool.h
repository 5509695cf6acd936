/*
 * spool.h - a thread that takes the replication stream off the server as fast as it
 * comes, into an unlinked file.
 *
 * A server drops a replica that reads slowly (client-output-buffer-limit), and the
 * next PSYNC may then be a full resync; so reading must never wait for the
 * repository.  The thread reads, appends to the file, acknowledges once a second what
 * the owner has declared durable, and counts.  The owner reads the file behind it.
 *
 * The file is not durable and does not pretend to be: what counts is what the owner
 * puts into the repository.  If the process dies, the server still has (in its
 * backlog) what was not acknowledged, or a gap is seen and recorded.
 *
 * When the connection breaks the thread ends, unless the owner has said how to go on
 * (reopen): then it goes on with a new connection, and the owner sees nothing but a pause.
 *
 * Memory is one buffer.  The file grows up to limit_bytes beyond what was released;
 * then the thread stops reading until the owner has caught up.
 *
 * Threads: the functions below belong to the owner's thread.
 */
#ifndef MB_REDIS_SPOOL_H
#define MB_REDIS_SPOOL_H

#include "redis/replica.h"

struct mb_spool;

/*
 * A replica of the same history whose next stream byte is number received + 1.  Called on the
 * spool's thread: again and again after MB_UNREACHABLE; every other failure ends the spool.
 */
typedef enum mb_code (*mb_spool_reopen_fn)(void *ctx, uint64_t received,
										   struct mb_replica **replica, struct mb_error *err);

struct mb_spool_options
{
	const char *dir;           /* the file is made here */
	uint64_t limit_bytes;      /* received and not released: no more than that */
	mb_spool_reopen_fn reopen; /* NULL: the spool ends with its connection */
	void *reopen_ctx;
};

/*
 * Take over the replica (closed by _stop; on failure it stays the caller's) whose next
 * stream byte is number offset + 1.  Until mb_spool_durable says otherwise, `offset` is what
 * is acknowledged.
 */
enum mb_code mb_spool_start(struct mb_spool **spool, struct mb_replica *replica, uint64_t offset,
							const struct mb_spool_options *options,
							struct mb_error *err) MB_MUST_CHECK;
/* Stop the thread, close the connection, drop the file.  NULL does nothing. */
void mb_spool_stop(struct mb_spool *spool);

/* Everything up to this offset has been received and can be read. */
uint64_t mb_spool_received(const struct mb_spool *spool);
/*
 * Why the thread ended (MB_UNREACHABLE: the connection broke), or MB_OK while it runs or
 * tries to get the connection back.
 * What was received before stays readable.
 */
enum mb_code mb_spool_state(struct mb_spool *spool, struct mb_error *err) MB_MUST_CHECK;

/* Append bytes (from, from + len] of the stream to out: they must have been received. */
enum mb_code mb_spool_read(struct mb_spool *spool, uint64_t from, size_t len, struct mb_buf *out,
						   struct mb_error *err) MB_MUST_CHECK;
/* Up to here it is safe in the repository: acknowledge it, and give the space back. */
void mb_spool_durable(struct mb_spool *spool, uint64_t offset);

#endif

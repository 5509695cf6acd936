/*
 * receiver_sync.h - does the server's commit wait for us?
 *
 * A thread asks pg_stat_replication every few seconds whether the receiver is a synchronous
 * standby: then each commit waits until its WAL is durable, so pieces are put at once and
 * not every tail-interval.
 */
#ifndef MB_WALSTREAMER_RECEIVER_SYNC_H
#define MB_WALSTREAMER_RECEIVER_SYNC_H

#include <stdbool.h>

#include "postgres/connection.h"

struct mb_wal_sync;

struct mb_wal_sync *mb_wal_sync_new(const struct mb_pg_params *params);
/* The backend that sends to us, 0: none. */
void mb_wal_sync_watch(struct mb_wal_sync *sync, int backend_pid);
bool mb_wal_sync_is_waited_for(const struct mb_wal_sync *sync); /* NULL: false */
void mb_wal_sync_free(struct mb_wal_sync *sync);

#endif

/*
 * receiver.h - WAL from a server into the repository, as it is written.
 *
 * One thread talks to the server and fills a unit buffer; others put pieces (uploader.h), so
 * that a slow repository never delays a reply to the server for longer than its poll.
 * One unit is filled while two are put; when all are full nothing more is read and the
 * server keeps its WAL for us (the slot).
 *
 * ack = repository: `flush` is reported only for what is durable in the repository, so kill -9 loses
 * nothing that was acknowledged.  ack = spool: it is reported when a local file holds it
 * (wal_spool.h), and units that the uploader has no time for wait there, up to the limit; what
 * a crash leaves there is stored first of all by the next run.  `write` is what was received.
 *
 * A tail of an unfinished unit goes up every tail interval; at once when the server's commits
 * wait for us (receiver_sync.h).
 *
 * Branches: see postgres/wal_source.h.  A run continues a branch only after it received
 * the branch's last unit again and found every byte equal; the durable file
 * <spool>/wal-<component>.json only says which branch to try first.  (At a unit boundary the whole
 * last unit is received again; when the server has it no more, the file decides.)  Anything else
 * begins a new branch, and a gap record says what is missing.
 *
 */
#ifndef MB_WALSTREAMER_RECEIVER_H
#define MB_WALSTREAMER_RECEIVER_H

#include "postgres/wal_source.h"

/* See struct mb_wal_ops. */
enum mb_code mb_wal_receiver_run(const struct mb_wal_receive *options,
								 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_wal_receiver_start(struct mb_wal_receiver **receiver,
								   const struct mb_wal_receive *options,
								   struct mb_error *err) MB_MUST_CHECK;
void mb_wal_receiver_status(struct mb_wal_receiver *receiver, struct mb_wal_status *status);
void mb_wal_receiver_stop(struct mb_wal_receiver *receiver);

#endif

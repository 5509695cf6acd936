/*
 * lease.h - "I am writing": what keeps the sweeper away from packs that no commit
 * refers to yet.  It locks nobody out.
 *
 * leases/<id>/<seq> is a document {kind, host, pid}; a thread writes the
 * next seq every 5 minutes.  Ages are in the store's own time.
 */
#ifndef MB_REPO_LEASE_H
#define MB_REPO_LEASE_H

#include "core/repo/repo.h"

#define MB_LEASE_RENEW_MS (5 * 60 * 1000)
#define MB_GRACE_US (24LL * 3600 * 1000000) /* G of the deletion protocol */

struct mb_lease;
/* Writes seq 0 and starts the renewing thread. */
enum mb_code mb_lease_start(struct mb_lease **lease, const struct mb_repo *repo, const char *id,
							const char *kind, struct mb_error *err) MB_MUST_CHECK;
/* Before a commit: MB_CONFLICT when our last renewal is older than G/2 in the store's time. */
enum mb_code mb_lease_check(struct mb_lease *lease, struct mb_error *err) MB_MUST_CHECK;
/* Stops the thread and removes our lease blobs (best effort); frees. NULL does nothing. */
void mb_lease_stop(struct mb_lease *lease);

#endif

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

/*
 * Did the store's clock and this machine's part by more than an hour since the lease began (the
 * clock was set, the machine slept)?  Then what depends on ages may have gone wrong, and a writer
 * looks again at everything that it refers to.
 */
enum mb_code mb_lease_clock_jumped(const struct mb_lease *lease, bool *jumped,
								   struct mb_error *err) MB_MUST_CHECK;

/* -- those of others ------------------------------------------------------------------------- */

/* All blobs of one lease, taken together.  Times are when they were put, by the store. */
struct mb_lease_info
{
	char id[MB_ID_TEXT];
	char kind[64]; /* "backup", "scan", "mark", "expire"; "" when it cannot be read */
	char host[256];
	int64_t pid;
	int64_t started_us;
	int64_t renewed_us;
	char **names; /* of its blobs, owned */
	size_t name_count;
	size_t name_cap;
};

struct mb_leases
{
	struct mb_lease_info *items;
	size_t count;
	size_t cap;
};

enum mb_code mb_leases_list(const struct mb_repo *repo, struct mb_leases *leases,
							struct mb_error *err) MB_MUST_CHECK;
void mb_leases_release(struct mb_leases *leases);
/* Renewed less than 24 h ago.  Its holder refuses to commit from the half of that on. */
bool mb_lease_is_live(const struct mb_lease_info *lease, int64_t now_us);

#endif

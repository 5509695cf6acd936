/* lease_private.h - a lease with another rhythm, for tests. */
#ifndef MB_REPO_LEASE_PRIVATE_H
#define MB_REPO_LEASE_PRIVATE_H

#include "core/repo/lease.h"

enum mb_code mb_lease_start_every(struct mb_lease **lease, const struct mb_repo *repo,
								  const char *id, const char *kind, int64_t renew_ms,
								  int64_t max_age_us, struct mb_error *err) MB_MUST_CHECK;

#endif

/* sweep_private.h - what sweep.c and sweep_remove.c share. */
#ifndef MB_REPO_SWEEP_PRIVATE_H
#define MB_REPO_SWEEP_PRIVATE_H

#include "core/repo/sweep.h"

/* Clocks are not exact, and leases are renewed every 5 minutes; with a shorter grace so much less. */
int64_t mb_sweep_margin_us(const struct mb_sweep *sweep);
struct mb_sweep_pack *mb_sweep_find_pack(const struct mb_sweep *sweep, const struct mb_pack_id *id);
bool mb_sweep_is_counted(struct mb_sweep *sweep, const struct mb_commit_name *name);
bool mb_sweep_is_locked(const struct mb_sweep *sweep, int64_t put_us);

/* Blobs of a stream by name. */
struct mb_sweep_streams
{
	const struct mb_stream_blob *items;
	size_t count;
	bool *named; /* parallel: by a tombstone that stays */
	bool *gone;  /* parallel */
};

/* Work off the tombstones that are old enough; says which blobs the others name. */
enum mb_code mb_sweep_tombstones(struct mb_sweep *sweep, struct mb_sweep_streams *streams,
								 struct mb_error *err) MB_MUST_CHECK;

#endif

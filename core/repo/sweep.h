/*
 * sweep.h - the second half of expire: which blobs nothing needs, their tombstones, their end.
 *
 * Use: mb_sweep_begin (lists packs, then leases and tombstones), then the caller loads every commit
 * and counts its references, removes the commits that expire and uncounts theirs, and
 * mb_sweep_run does the rest:
 *
 *   - blobs of tombstones older than the grace are removed, when nothing has come to need them and no
 *     writer is at work whose lease began before the tombstone; then the tombstone goes;
 *   - what nothing needs and is older than every live lease gets a tombstone.
 *
 * The order of looking is the argument: packs, leases, commits.  A pack that was seen was put before
 * the leases were looked at; its writer's lease stood then, or its commit does now.  Before
 * each batch that is removed the last look at leases and commits is at most a minute old.
 * Several may sweep at once, and be killed anywhere: a blob that is there without a need is named
 * again, and nothing is removed that is not.
 *
 * Threads: one at a time.
 */
#ifndef MB_REPO_SWEEP_H
#define MB_REPO_SWEEP_H

#include "core/base/log.h"
#include "core/base/pool.h"
#include "core/repo/tombstone.h"

struct mb_sweep_options
{
	int64_t grace_us; /* from a tombstone to the end; MB_GRACE_US */
	int64_t lock_us;  /* blobs younger than this are locked by the server: not asked for */
	bool is_dry;      /* only count */
	const struct mb_cancel *cancel; /* may be NULL */
	const struct mb_log *log;       /* may be NULL */
};

/* A blob of a stream, as its component's driver judged it. */
struct mb_stream_blob
{
	char *name;
	uint64_t bytes;
	int64_t put_us;
	bool is_needed;
};

struct mb_sweep_pack
{
	struct mb_pack_id id;
	uint64_t bytes;
	int64_t put_us;
	uint32_t refs; /* commits and live provisional documents */
	bool is_named; /* by a tombstone that stays */
	bool is_gone;
};

struct mb_sweep
{
	const struct mb_repo *repo;
	struct mb_sweep_options options;
	int64_t now_us;
	struct mb_leases leases;
	struct mb_tombstones tombstones;
	struct mb_sweep_pack *packs; /* by id */
	size_t pack_count;
	size_t pack_cap;
	struct mb_commit_names counted; /* commits that were looked at */
	size_t counted_sorted;          /* so many of them are in order */
	int64_t looked_us;              /* at leases and commits, the last time */
	/* Why no pack may be judged: a commit cannot be read.  "": they may. */
	char blind[512];
	/* what was done, and what is left to the next run */
	uint64_t removed_blobs;
	uint64_t removed_bytes;
	uint64_t pending_blobs;
	uint64_t pending_bytes;
	int64_t pending_until_us; /* when the last of it may go; 0: nothing is pending */
	struct mb_error refused;  /* the store would not remove something (a lock); code MB_OK: no */
};

enum mb_code mb_sweep_begin(struct mb_sweep *sweep, const struct mb_repo *repo,
							const struct mb_sweep_options *options,
							struct mb_error *err) MB_MUST_CHECK;
void mb_sweep_end(struct mb_sweep *sweep); /* all zero is fine */

/* A commit that exists. */
void mb_sweep_count(struct mb_sweep *sweep, const struct mb_commit *commit);
/* It was removed, or with is_dry would be. */
void mb_sweep_uncount(struct mb_sweep *sweep, const struct mb_commit *commit);
/* A commit that cannot be read: what it refers to is not known, so no pack is judged. */
void mb_sweep_cannot_read(struct mb_sweep *sweep, const char *component, const char *id);

/*
 * streams: by name, of all components that were judged; of any other the streams stay.  MB_OK also
 * when the store refused (sweep->refused).
 */
enum mb_code mb_sweep_run(struct mb_sweep *sweep, const struct mb_stream_blob *streams,
						  size_t count, struct mb_error *err) MB_MUST_CHECK;

/* The beginning of the oldest live lease but those of expire; INT64_MAX: there is none. */
int64_t mb_sweep_horizon_us(const struct mb_sweep *sweep);

#endif

/*
 * wal_spool.h - received WAL on the local disk, for ack = spool.
 *
 * <spool>/wal-<component>/<timeline>-<lsn>-<branch>: one file for each unit, until the
 * repository holds it.  A file is "MBSPOOL1", the length of a JSON object (u32), the object
 * {"repository", "component", "system_id", "timeline", "branch", "segment_size", "lsn", "history",
 * "parent_branch"}, and records {lsn u64, length u32, zero u32, XXH3-64 of the bytes seeded with
 * lsn u64, bytes}, all little-endian.  A record that a crash has cut or damaged ends the file: it was
 * never reported as flushed.  A file has its name from its first sync on, so that one that is
 * written anew never takes away what the one before holds.
 */
#ifndef MB_WALSTREAMER_WAL_SPOOL_H
#define MB_WALSTREAMER_WAL_SPOOL_H

#include "core/engine/env.h"
#include "walstreamer/piece.h"

struct mb_wal_spool;

/* MB_CONFLICT: another process writes into it (a lock, until close). */
enum mb_code mb_wal_spool_open(struct mb_wal_spool **spool, const struct mb_env *env,
							   const char *component, uint64_t limit_bytes,
							   struct mb_error *err) MB_MUST_CHECK;
void mb_wal_spool_close(struct mb_wal_spool *spool); /* files stay; NULL does nothing */

/*
 * Begin the file of a unit (piece: where, from_lsn, history, parent_branch count).  One that is there
 * stays until the new one has been synced.  What was appended to another and not synced is given up.
 */
enum mb_code mb_wal_spool_begin(struct mb_wal_spool *spool, const struct mb_wal_piece *piece,
								struct mb_error *err) MB_MUST_CHECK;
/* Append to the file begun last; after a failure the file is as it was. */
enum mb_code mb_wal_spool_append(struct mb_wal_spool *spool, uint64_t lsn, const void *data,
								 size_t len, struct mb_error *err) MB_MUST_CHECK;
/*
 * What was appended is durable.  After a failure nobody knows what is (the kernel may have dropped
 * the pages, and would not fail again): begin anew.
 */
enum mb_code mb_wal_spool_sync(struct mb_wal_spool *spool, struct mb_error *err) MB_MUST_CHECK;
bool mb_wal_spool_is_full(const struct mb_wal_spool *spool);
/* The bytes of a unit that lies in the spool; *len of them. */
enum mb_code mb_wal_spool_load(struct mb_wal_spool *spool, const struct mb_wal_where *where,
							   uint64_t lsn, unsigned char *out, uint32_t *len,
							   struct mb_error *err) MB_MUST_CHECK;
/* The repository holds it. */
void mb_wal_spool_remove(struct mb_wal_spool *spool, const struct mb_wal_where *where,
						 uint64_t lsn);

/*
 * Put everything that an earlier run left into the repository, then remove it.  A file that
 * disagrees with what its branch holds goes to a new branch.
 */
enum mb_code mb_wal_spool_flush(struct mb_wal_spool *spool, struct mb_error *err) MB_MUST_CHECK;

#endif

/*
 * parent.h - the backup that an incremental one builds on: its entries by path.
 *
 * Both ways of reading a cluster (directly, over the wire) ask it for a file's old page
 * maps; where it came from does not matter, because both make the same manifest.
 *
 * Threads: after open it is read-only, so any thread may ask.
 */
#ifndef MB_POSTGRES_PARENT_H
#define MB_POSTGRES_PARENT_H

#include "core/engine/capture.h"

struct mb_pg_parent;
struct mb_postgres;

/*
 * Look whether capture->parent can be built on by a backup that starts at start_lsn on
 * `timeline`, and load its entries; also plans which of its packs are left (mb_rehome_plan).
 * It cannot when it is of another cluster, version or page size, when data checksums were
 * switched since, when its end is not in the server's history, or when its manifest is
 * damaged: then capture->parent becomes NULL, the reason a note, and *parent is empty.
 */
enum mb_code mb_pg_parent_choose(struct mb_pg_parent **parent, struct mb_postgres *pg,
								 struct mb_capture *capture, uint32_t timeline, uint64_t start_lsn,
								 struct mb_error *err) MB_MUST_CHECK;
/* Does a timeline history file say that lsn of `timeline` is in the past of its own one? */
bool mb_pg_history_holds(const char *history, uint32_t timeline, uint64_t lsn);

/*
 * Load the entries of capture->parent, and over them those that a killed attempt of this
 * component has finished (core/repo/provisional.h).  With neither it is empty and finds nothing.  Memory: some 300 bytes, the path, and the references to maps of each file.
 * MB_CORRUPT when the parent's manifest is damaged.
 */
enum mb_code mb_pg_parent_open(struct mb_pg_parent **parent, const struct mb_capture *capture,
							   struct mb_error *err) MB_MUST_CHECK;
void mb_pg_parent_close(struct mb_pg_parent *parent); /* NULL does nothing */

/* Were all pages of this entry (or NULL) found good when it was made? */
bool mb_pg_was_judged(const struct mb_entry *parent);
/* The parent's entry with this path, or NULL; lives as long as the parent. */
const struct mb_entry *mb_pg_parent_find(const struct mb_pg_parent *parent, const char *path);

#endif

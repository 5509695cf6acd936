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

/*
 * Load the entries of capture->parent.  With no parent (a full backup) it is empty and
 * finds nothing.  Memory: some 300 bytes, the path, and the references to maps of each file.
 * MB_CORRUPT when the parent's manifest is damaged.
 */
enum mb_code mb_pg_parent_open(struct mb_pg_parent **parent, const struct mb_capture *capture,
							   struct mb_error *err) MB_MUST_CHECK;
void mb_pg_parent_close(struct mb_pg_parent *parent); /* NULL does nothing */

/* The parent's entry with this path, or NULL; lives as long as the parent. */
const struct mb_entry *mb_pg_parent_find(const struct mb_pg_parent *parent, const char *path);

#endif

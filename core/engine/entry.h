/*
 * entry.h - copies of entries that outlive the manifest reader.
 */
#ifndef MB_ENGINE_ENTRY_H
#define MB_ENGINE_ENTRY_H

#include "core/repo/manifest.h"

/* A copy without contents (runs, maps, damaged pages, xattrs); path is NUL-terminated. */
void mb_entry_copy_head(struct mb_arena *arena, const struct mb_entry *from, struct mb_entry *to);
/* A complete copy; path is NUL-terminated. */
void mb_entry_copy(struct mb_arena *arena, const struct mb_entry *from, struct mb_entry *to);

#endif

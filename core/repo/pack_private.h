/*
 * pack_private.h - encodings of runs and reference tables, for packs, manifests and commits.
 */
#ifndef MB_REPO_PACK_PRIVATE_H
#define MB_REPO_PACK_PRIVATE_H

#include "core/repo/pack.h"

#define MB_INDEX_ENTRY_BYTES 12
#define MB_PACK_TAIL_MAGIC "PACK"
#define MB_REF_BYTES 24
#define MB_RUN_BYTES 28
#define MB_SPAN_BYTES 32

/* length > 0, inside one frame, and the frame number is possible. */
bool mb_run_is_valid(const struct mb_run *run);

void mb_put_run(struct mb_buf *out, const struct mb_run *run);
void mb_get_run(struct mb_rd *rd, struct mb_run *run);

/*
 * A span is a run and the number of full frames (offset 0, length 1 MiB) that follow it
 * directly in the same pack: a large file takes 32 bytes for each pack, not for each MiB.
 */
uint32_t mb_put_spans(struct mb_buf *out, const struct mb_run *runs, size_t count);
/* Appends to runs; false when one is impossible or there would be more than max_runs. */
bool mb_get_spans(struct mb_rd *rd, uint32_t spans, size_t max_runs, struct mb_runs *runs);

void mb_put_ref(struct mb_buf *out, const struct mb_pack_ref *ref);
void mb_get_ref(struct mb_rd *rd, struct mb_pack_ref *ref);
bool mb_refs_are_sorted(const struct mb_pack_ref *refs, size_t count); /* strictly */

#endif

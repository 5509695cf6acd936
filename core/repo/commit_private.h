/*
 * commit_private.h - a commit from the inside: commit.c lists and puts, commit_get.c gets,
 * commit_codec.c knows the bytes (also for tests and the fuzz target).
 */
#ifndef MB_REPO_COMMIT_PRIVATE_H
#define MB_REPO_COMMIT_PRIVATE_H

#include "core/repo/commit.h"

/* How much of each part frame 0 announces. */
struct mb_commit_parts
{
	uint64_t block_count;
	uint64_t block_bytes;
	uint64_t ref_count;
	uint64_t ref_bytes;
};

json_t *mb_commit_to_json(const struct mb_commit *commit, const struct mb_commit_parts *parts);
/* Everything but blocks and refs; commit is released by the caller on failure, too. */
enum mb_code mb_commit_from_json(struct mb_commit *commit, struct mb_commit_parts *parts,
								 const json_t *json, struct mb_error *err) MB_MUST_CHECK;

void mb_blocks_encode(struct mb_buf *out, const struct mb_blocks *blocks);
void mb_refs_encode(struct mb_buf *out, const struct mb_pack_refs *refs);
enum mb_code mb_blocks_decode(struct mb_blocks *blocks, uint64_t count, const void *data,
							  size_t len, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_refs_decode(struct mb_pack_refs *refs, uint64_t count, const void *data, size_t len,
							struct mb_error *err) MB_MUST_CHECK;

/* commit.c: the name of a commit's blob; MB_NOT_FOUND when no component or backup is called so. */
enum mb_code mb_commit_checked_name(char out[MB_NAME_MAX], const char *component, const char *id,
									struct mb_error *err) MB_MUST_CHECK;

#endif

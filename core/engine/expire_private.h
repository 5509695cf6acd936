/* expire_private.h - one run of expire, shared by expire.c, expire_commits.c and expire_streams.c. */
#ifndef MB_ENGINE_EXPIRE_PRIVATE_H
#define MB_ENGINE_EXPIRE_PRIVATE_H

#include "core/engine/expire.h"
#include "core/repo/sweep.h"

/* A commit that was there when we looked. */
struct expire_commit
{
	struct mb_commit head; /* without blocks and references; kind "" when it cannot be read */
	int64_t put_us;
	bool is_kept;
	bool is_open;  /* any moment behind it may be asked for */
	bool is_named; /* by a set */
	bool is_removed;
};

struct expire
{
	const struct mb_stack *stack;
	const struct mb_repo *repo;
	const struct mb_expire_options *options;
	int64_t now_us;
	json_t *sets;
	json_t *marks;
	struct mb_retention retention;
	struct mb_verdict verdict;
	struct mb_sweep sweep;
	struct expire_commit *commits; /* by component and id */
	size_t commit_count;
	struct mb_stream_blob *blobs; /* of the streams that were judged, by name */
	size_t blob_count;
	size_t blob_cap;
	json_t *warnings;
	struct mb_error refused; /* the store would not remove a document or commit */
	uint64_t removed_sets;
	uint64_t removed_marks;
	uint64_t removed_parts;
	uint64_t removed_commits;
};

void expire_warn(struct expire *expire, const char *fmt, ...) MB_PRINTF(2, 3);
/* The policy that a component is judged by. */
const struct mb_policy *expire_policy(const struct expire *expire, const char *component);
/* Remove; with is_dry nothing.  A refusal (MB_DENIED) is noted, and *done is false. */
enum mb_code expire_remove(struct expire *expire, const char *const *names, size_t count,
						   bool *done, struct mb_error *err) MB_MUST_CHECK;

/* expire_commits.c */
enum mb_code expire_load_commits(struct expire *expire, struct mb_error *err) MB_MUST_CHECK;
void expire_judge_commits(struct expire *expire);
/* What a restore on this machine, or the way back from one, still needs. */
enum mb_code expire_keep_for_restores(struct expire *expire, struct mb_error *err) MB_MUST_CHECK;
enum mb_code expire_remove_commits(struct expire *expire, struct mb_error *err) MB_MUST_CHECK;

/* expire_streams.c */
enum mb_code expire_judge_streams(struct expire *expire, struct mb_error *err) MB_MUST_CHECK;

/* expire_answer.c */
json_t *expire_answer(const struct expire *expire, int64_t started_ms);

#endif

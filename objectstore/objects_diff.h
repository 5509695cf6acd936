/*
 * objects_diff.h - how the current objects of a bucket (or of a directory that stands for one) differ
 * from those that a backup holds as of a time.
 */
#ifndef MB_OBJECTSTORE_OBJECTS_DIFF_H
#define MB_OBJECTSTORE_OBJECTS_DIFF_H

#include "objectstore/state.h"

enum mb_diff_kind
{
	MB_DIFF_MISSING, /* the backup has it, the bucket does not */
	MB_DIFF_CHANGED, /* both, with other contents */
	MB_DIFF_EXTRA    /* the bucket has it, the backup does not */
};

struct mb_diff
{
	enum mb_diff_kind kind;
	const char *key;
	uint64_t was_bytes; /* in the backup */
	uint64_t is_bytes;  /* in the bucket */
};

typedef enum mb_code (*mb_diff_fn)(void *ctx, const struct mb_diff *diff, struct mb_error *err);

struct mb_diff_request
{
	struct mb_component *component; /* opened by mb_objects_component_ops() */
	const struct mb_commit *commit;
	struct mb_state_time time;
	char *const *only;
	size_t only_count;
	mb_diff_fn fn;
	void *ctx;
};

/*
 * In the order of keys.  Buckets: by ETag and size, in constant memory.  Directories: by size and
 * modification time; all names are held in memory.  MB_UNREACHABLE: it cannot be looked at.
 */
enum mb_code mb_objects_diff(const struct mb_diff_request *request,
							 struct mb_error *err) MB_MUST_CHECK;

#endif

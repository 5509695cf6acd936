/*
 * store.h - named blobs: the only thing that mbackup asks of a place that keeps
 * its repository.
 *
 * A store maps names to immutable byte strings.  No name is ever written twice:
 * put() to a name that exists fails with MB_EXISTS and changes nothing.  A put is
 * durable when it returns MB_OK; a put that failed or was killed leaves either
 * nothing or the whole blob, never a part.  Names are relative paths of safe
 * segments (mb_name_is_safe) without a segment that starts with ".tmp-"; no name
 * is a directory prefix of another one.
 *
 * Answers are distinct: MB_NOT_FOUND (no such blob), MB_DENIED (may not),
 * MB_UNREACHABLE (cannot be asked, retried before), MB_NO_SPACE, MB_IO (failed),
 * MB_EXISTS.  A store never says NOT_FOUND when it only could not look.
 *
 * Threads: every function may be called from any thread at the same time.
 *
 * Drivers: store_posix.c (a directory), store_memory.c (tests), store_mirror.c (several).  A driver is
 * written from this page and must pass tests/unit/store_contract_test.c.
 */
#ifndef MB_REPO_STORE_H
#define MB_REPO_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/mem.h"

/* No blob is larger: a pack is 16 MiB, a WAL piece 16 MiB, plus overhead. */
#define MB_BLOB_MAX_BYTES (64u << 20)
#define MB_NAME_MAX 512

struct mb_blob_info
{
	const char *name; /* borrowed for the call-back */
	uint64_t bytes;
	int64_t modified_us; /* in the store's own time */
};

/* Return MB_OK to go on; any other code ends the listing and is returned by it. */
typedef enum mb_code (*mb_store_list_fn)(void *ctx, const struct mb_blob_info *info,
										 struct mb_error *err);

struct mb_store;

struct mb_store_ops
{
	const char *driver; /* "posix", "memory", "s3" */
	enum mb_code (*put)(struct mb_store *store, const char *name, const void *data, size_t len,
						struct mb_error *err);
	enum mb_code (*get)(struct mb_store *store, const char *name, uint64_t offset, size_t len,
						struct mb_buf *out, struct mb_error *err);
	enum mb_code (*head)(struct mb_store *store, const char *name, struct mb_blob_info *info,
						 struct mb_error *err);
	enum mb_code (*list)(struct mb_store *store, const char *prefix, mb_store_list_fn fn, void *ctx,
						 struct mb_error *err);
	enum mb_code (*remove)(struct mb_store *store, const char *const *names, size_t count,
						   struct mb_error *err);
	enum mb_code (*clock)(struct mb_store *store, int64_t *now_us, struct mb_error *err);
	void (*free)(struct mb_store *store);
};

/* A driver embeds this first in its private struct. */
struct mb_store
{
	const struct mb_store_ops *ops;
	char *url; /* as the user wrote it, for messages; owned */
};

/* Write a new blob, durably.  len <= MB_BLOB_MAX_BYTES. */
enum mb_code mb_store_put(struct mb_store *store, const char *name, const void *data, size_t len,
						  struct mb_error *err) MB_MUST_CHECK;

/*
 * Append bytes [offset, offset + len) of a blob to out; fewer only when the blob
 * ends before (an offset past the end appends nothing).  Pass SIZE_MAX for "to the
 * end".  A blob larger than MB_BLOB_MAX_BYTES is MB_CORRUPT.
 */
enum mb_code mb_store_get(struct mb_store *store, const char *name, uint64_t offset, size_t len,
						  struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;

/* Size and time of one blob; info->name is the name passed in. */
enum mb_code mb_store_head(struct mb_store *store, const char *name, struct mb_blob_info *info,
						   struct mb_error *err) MB_MUST_CHECK;

/*
 * Every blob whose name starts with prefix, in ascending byte order of names.
 * prefix is a byte prefix ("packs/0" matches "packs/0a/..."), "" is all.  A blob
 * put or removed while the listing runs may or may not be seen; every other one
 * is seen exactly once.  Leftovers of killed puts are never listed.
 */
enum mb_code mb_store_list(struct mb_store *store, const char *prefix, mb_store_list_fn fn,
						   void *ctx, struct mb_error *err) MB_MUST_CHECK;

/* Remove blobs; a missing one is not an error.  On failure some may be gone. */
enum mb_code mb_store_remove(struct mb_store *store, const char *const *names, size_t count,
							 struct mb_error *err) MB_MUST_CHECK;

/*
 * The store's own time: every age is computed from it, never from the local clock.  A server may
 * tell it to half a second only; within a process it does not go back.
 */
enum mb_code mb_store_clock(struct mb_store *store, int64_t *now_us,
							struct mb_error *err) MB_MUST_CHECK;

void mb_store_free(struct mb_store *store); /* NULL does nothing */

/*
 * A directory.  It must exist unless create is set, and then must be missing, or
 * empty but for key slots and temporary files, which an init leaves that was
 * interrupted (MB_CONFLICT otherwise).  Durability: temporary file ".tmp-<random>" in
 * the same directory, fsync, link or rename without replacing, fsync of the
 * directory and of every directory that was made.  A failed fsync abandons that
 * file for good.  Files are 0600, directories 0700.  Temporary files older than a
 * day are removed by the next put into their directory.
 */
enum mb_store_posix_flags
{
	MB_STORE_OPEN = 0,
	MB_STORE_CREATE = 1
};
enum mb_code mb_store_posix_open(struct mb_store **store, const char *dir, unsigned flags,
								 struct mb_error *err) MB_MUST_CHECK;

/* Memory, for tests of the layers above.  Its clock is the real one plus the given skew. */
struct mb_store *mb_store_memory_new(int64_t clock_skew_us);
/* For fault tests: after `puts` more successful puts every put fails with the code (0: never). */
void mb_store_memory_fail_after(struct mb_store *store, int64_t puts, enum mb_code code);

/* Stop its clock at this time, and again at another one: years pass as the test says. */
void mb_store_memory_set_clock(struct mb_store *store, int64_t now_us);

#endif

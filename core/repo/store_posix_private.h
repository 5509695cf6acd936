/*
 * store_posix_private.h - a store in a directory, from the inside: store_posix.c opens it, reads,
 * removes and tells the time; store_posix_put.c writes, store_posix_list.c lists.
 */
#ifndef MB_REPO_STORE_POSIX_PRIVATE_H
#define MB_REPO_STORE_POSIX_PRIVATE_H

#include <pthread.h>
#include <sys/stat.h>

#include "core/repo/store.h"

#define TMP_PREFIX ".tmp-"
#define TMP_NAME_MAX 32
#define RING_MAX 64

/* The hashes that were noted last. */
struct posix_ring
{
	uint64_t hashes[RING_MAX];
	size_t next;
};

struct posix_store
{
	struct mb_store base;
	char *root; /* absolute */
	int root_fd;
	pthread_mutex_t lock;
	struct posix_ring cleaned; /* lock; names of directories without leftovers */
	struct posix_ring durable; /* lock; directories whose names we have made durable */
};

int64_t mb_posix_mtime_us(const struct stat *st);
/* Is the directory that we hold open still the one at our path? */
enum mb_code mb_posix_check_root(const struct posix_store *store,
								 struct mb_error *err) MB_MUST_CHECK;
/* Like mb_fail_errno, but a missing root is no missing blob, and a stale handle is the network. */
enum mb_code mb_posix_fail(const struct posix_store *store, int sys_errno, const char *what,
						   const char *name, struct mb_error *err) MB_MUST_CHECK;

/* A fresh name for a file that is not a blob yet. */
void mb_posix_tmp_name(char out[TMP_NAME_MAX]);

/* store_posix_put.c */
enum mb_code mb_posix_put(struct mb_store *base, const char *name, const void *data, size_t len,
						  struct mb_error *err) MB_MUST_CHECK;

/* store_posix_list.c */
enum mb_code mb_posix_list(struct mb_store *base, const char *prefix, mb_store_list_fn fn,
						   void *ctx, struct mb_error *err) MB_MUST_CHECK;

#endif

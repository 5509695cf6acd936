/*
 * wire_private.h - a backup over the wire, from the inside: wire_backup.c reads the streams (one
 * thread), wire_file.c keeps the files and is what the workers do.
 */
#ifndef MB_POSTGRES_WIRE_PRIVATE_H
#define MB_POSTGRES_WIRE_PRIVATE_H

#include <pthread.h>

#include "core/base/feed.h"
#include "core/base/tar.h"
#include "postgres/damaged.h"
#include "postgres/parent.h"
#include "postgres/private.h"
#include "postgres/wire.h"
#include "postgres/wire_manifest.h"

/* A file whose ranges are on their way. */
struct file
{
	struct mb_entry entry; /* its texts are owned */
	bool paged;
	bool is_relation;
	uint32_t first_block;
	const struct mb_entry *parent;
	size_t ranges;
	size_t left; /* not packed yet; lock */
	size_t refs; /* the reader's and those of the jobs; lock */
	struct mb_map_ref *maps;
	struct mb_runs *runs; /* not paged: of each range */
	uint32_t *crcs;
	bool is_torn;                 /* a page was being written, WAL repairs it; lock */
	bool changed;                 /* a page was read again: not the bytes that were sent; lock */
	struct mb_pg_damaged damaged; /* lock */
};

struct job
{
	struct file *file;
	size_t range;
	unsigned char *data;
	size_t len;
};

struct wire_copy
{
	struct mb_postgres *pg;
	struct mb_capture *capture;
	struct mb_wire wire;
	const struct mb_pg_parent *parent;
	struct mb_feed *feed;
	struct mb_wire_manifest *manifest;
	pthread_mutex_t lock;
	char *label;            /* backup_label, as it came */
	bool cannot_read_again; /* lock */
};

/* wire_file.c */
struct file *mb_wire_file_new(const struct wire_copy *copy, const struct mb_tar_member *member);
void mb_wire_file_unref(struct wire_copy *copy, struct file *file);
uint64_t mb_wire_range_bytes(const struct file *file, size_t range);
/* All ranges are packed: the entry, and its line for the comparison with the manifest. */
enum mb_code mb_wire_file_finish(struct wire_copy *copy, struct file *file,
								 struct mb_error *err) MB_MUST_CHECK;

/* For the feed, whose context is the copy. */
enum mb_code mb_wire_job_run(void *ctx, unsigned worker, void *arg,
							 struct mb_error *err) MB_MUST_CHECK;
void mb_wire_job_drop(void *ctx, void *arg);

#endif

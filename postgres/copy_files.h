/*
 * copy_files.h - one base backup by reading the data directory: what base_backup.c (the
 * session), copy_files.c (who reads what), read_file.c (one file) and control_file.c share.
 */
#ifndef MB_POSTGRES_COPY_FILES_H
#define MB_POSTGRES_COPY_FILES_H

#include "postgres/damaged.h"
#include "postgres/data_directory.h"
#include "postgres/parent.h"
#include "postgres/private.h"
#include "postgres/unchanged.h"

/* Up to here files are read at once and handed out in batches. */
#define MB_PG_SMALL_BYTES (1u << 20)

struct mb_pg_copy
{
	struct mb_postgres *pg;
	struct mb_capture *capture;
	struct mb_pg_parent *parent;
	struct mb_pg_unchanged unchanged;
	int root_fd; /* the data directory */
	const char *user;
	const char *group; /* its owner's names, NULL when unknown */
	char user_text[128];
	char group_text[128];
	pthread_mutex_t lock;     /* of what several workers fill in of one file */
	atomic_bool session_lost; /* set by whoever watches the session: reading stops */
};

/* Read everything but pg_control, on all workers. */
enum mb_code mb_pg_copy_files(struct mb_pg_copy *copy, struct mb_error *err) MB_MUST_CHECK;
/* Read global/pg_control, last of all, and whole: it is where recovery begins. */
enum mb_code mb_pg_copy_control(struct mb_pg_copy *copy, struct mb_error *err) MB_MUST_CHECK;
/* One file while its ranges are being read. */
struct mb_pg_reading
{
	const struct mb_pg_file *file;
	const struct mb_entry *parent; /* of the parent backup, or NULL */
	bool is_unchanged;             /* so the rule says; read to see whether it is right */
	size_t ranges;
	struct mb_map_ref *maps;
	size_t *got;
	uint32_t *crcs;
	size_t left;                  /* ranges not read yet; lock */
	bool vanished;                /* lock */
	bool is_torn;                 /* a page of it was being written and WAL repairs it; lock */
	struct mb_pg_damaged damaged; /* lock */
};

void mb_pg_reading_begin(struct mb_pg_copy *copy, struct mb_pg_reading *reading,
						 const struct mb_pg_file *file);
void mb_pg_reading_end(struct mb_pg_reading *reading);
/* Read one range; whoever reads the last one of a file adds its entry. */
enum mb_code mb_pg_read_range(struct mb_pg_copy *copy, unsigned worker,
							  struct mb_pg_reading *reading, size_t range,
							  struct mb_error *err) MB_MUST_CHECK;
/* Read a file without page maps and add its entry. */
enum mb_code mb_pg_read_plain(struct mb_pg_copy *copy, unsigned worker,
							  const struct mb_pg_file *file, struct mb_error *err) MB_MUST_CHECK;
/* Add the entry of a directory, a link or an empty file. */
enum mb_code mb_pg_add_empty(struct mb_pg_copy *copy, const struct mb_pg_file *file,
							 struct mb_error *err) MB_MUST_CHECK;
/* The members of an entry that come from the walk. */
void mb_pg_copy_fill_entry(const struct mb_pg_copy *copy, const struct mb_pg_file *file,
						   struct mb_entry *entry);

#endif

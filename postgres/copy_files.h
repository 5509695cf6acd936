/*
 * copy_files.h - one base backup by reading the data directory: what base_backup.c (the
 * session), copy_files.c (reading) and control_file.c share.
 */
#ifndef MB_POSTGRES_COPY_FILES_H
#define MB_POSTGRES_COPY_FILES_H

#include "postgres/data_directory.h"
#include "postgres/parent.h"
#include "postgres/private.h"
#include "postgres/unchanged.h"

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
	atomic_bool session_lost; /* set by whoever watches the session: reading stops */
};

/* Read everything but pg_control, on all workers. */
enum mb_code mb_pg_copy_files(struct mb_pg_copy *copy, struct mb_error *err) MB_MUST_CHECK;
/* Read global/pg_control, last of all, and whole: it is where recovery begins. */
enum mb_code mb_pg_copy_control(struct mb_pg_copy *copy, struct mb_error *err) MB_MUST_CHECK;
/* The members of an entry that come from the walk. */
void mb_pg_copy_fill_entry(const struct mb_pg_copy *copy, const struct mb_pg_file *file,
						   struct mb_entry *entry);

#endif

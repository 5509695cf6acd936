/* recovery_private.h - what recovery.c and recovery_files.c share. */
#ifndef MB_POSTGRES_RECOVERY_PRIVATE_H
#define MB_POSTGRES_RECOVERY_PRIVATE_H

#include "postgres/backup_manifest.h"
#include "postgres/restore_private.h"

struct mb_pg_writer
{
	struct mb_restore *restore;
	struct mb_pg_place place;
	struct mb_pg_databases databases;
	struct mb_pg_manifest manifest;
	uint64_t start_lsn;
	uint64_t stop_lsn;
	uint64_t hollow_files;
};

/* Set the owner that the place wants; path is for the message. */
enum mb_code mb_pg_writer_own(const struct mb_pg_writer *writer, int fd, const char *path,
							  struct mb_error *err) MB_MUST_CHECK;
/* What is there from now on belongs to a restore that is not finished (MB_PG_PARTIAL_FILE). */
enum mb_code mb_pg_write_partial(struct mb_pg_writer *writer, struct mb_error *err) MB_MUST_CHECK;
/* backup_label and tablespace_map, and the links that lead to other places. */
enum mb_code mb_pg_write_labels(struct mb_pg_writer *writer, struct mb_error *err) MB_MUST_CHECK;
/* postgresql.auto.conf, the plan, and the signal that makes the server recover. */
enum mb_code mb_pg_write_settings(struct mb_pg_writer *writer, struct mb_error *err) MB_MUST_CHECK;

#endif

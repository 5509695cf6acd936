/*
 * data_directory.h - what of a data directory belongs into a base backup.
 *
 * The exclusions are those of the Postgres manual ("Making a Base Backup Using the
 * Low Level API") and of pg_basebackup: WAL, slots, run-time directories, temporary
 * files and relations, unlogged relations but for their init forks, pg_internal.init, our
 * own files.  Excluded directories are kept, empty.
 */
#ifndef MB_POSTGRES_DATA_DIRECTORY_H
#define MB_POSTGRES_DATA_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/base/error.h"

enum mb_pg_file_kind
{
	MB_PG_DIRECTORY,
	MB_PG_LINK,     /* pg_tblspc/<oid> */
	MB_PG_PLAIN,    /* read whole */
	MB_PG_PAGED,    /* below base/, global/ or a tablespace: read by ranges */
	MB_PG_RELATION, /* paged, and its pages carry checksums */
	MB_PG_CONTROL   /* global/pg_control: read last */
};

struct mb_pg_file
{
	char *path; /* relative to the data directory, through pg_tblspc for tablespaces */
	char *link; /* target, of a link */
	enum mb_pg_file_kind kind;
	struct stat st;
	uint32_t first_block; /* of a relation segment */
};

struct mb_pg_files
{
	struct mb_pg_file *items;
	size_t count;
	size_t cap;
	char **skipped; /* what is not a file, directory or known link: for warnings */
	size_t skipped_count;
	size_t skipped_cap;
};

/* tablespace_version: "PG_15_202209061", the only directory of a tablespace that is ours. */
enum mb_code mb_pg_files_scan(struct mb_pg_files *files, const char *data_directory,
							  const char *tablespace_version, struct mb_error *err) MB_MUST_CHECK;
void mb_pg_files_release(struct mb_pg_files *files);

enum mb_pg_fork
{
	MB_PG_FORK_MAIN,
	MB_PG_FORK_FSM,
	MB_PG_FORK_VM,
	MB_PG_FORK_INIT
};
struct mb_pg_relation_name
{
	bool temporary; /* t3_16384 */
	uint32_t number;
	enum mb_pg_fork fork;
	uint32_t segment;
};
/* The number in its fork of a segment file's first block. */
uint32_t mb_pg_first_block(const struct mb_pg_relation_name *name);
/* "16384_vm.1"; false when it is not the name of a relation's file. */
bool mb_pg_relation_parse(struct mb_pg_relation_name *out, const char *name);

#endif

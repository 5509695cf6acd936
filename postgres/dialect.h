/*
 * dialect.h - the calls that differ by version of PostgreSQL, in one table (dialect.c).
 */
#ifndef MB_POSTGRES_DIALECT_H
#define MB_POSTGRES_DIALECT_H

#include <stdbool.h>

struct mb_pg_dialect
{
	int from_version; /* as PQserverVersion: 150000 */
	/* Begin a base backup with label $1, fast: one row, column lsn. */
	const char *backup_start;
	/* End it without waiting for an archive: lsn, labelfile, spcmapfile. */
	const char *backup_stop;
	/* What has_function_privilege and GRANT call it. */
	const char *backup_start_function;
	const char *backup_stop_function;
	/* BASE_BACKUP takes a list of options in parentheses, compresses, and sends one COPY. */
	bool wire_lists;
};

/* For a server version of 13 or later; static. */
const struct mb_pg_dialect *mb_pg_dialect_of(int version);

#endif

/* dialect.c - see dialect.h. */
#include "postgres/dialect.h"

/* Newest first; the last one fits everything older. */
static const struct mb_pg_dialect dialects[] = {
	{
		.from_version = 150000,
		.backup_start = "SELECT pg_backup_start($1, true) AS lsn",
		.backup_stop = "SELECT lsn, labelfile, spcmapfile FROM pg_backup_stop(false)",
		.backup_start_function = "pg_backup_start(text, boolean)",
		.backup_stop_function = "pg_backup_stop(boolean)",
		.wire_lists = true,
	},
	{
		.from_version = 0,
		.backup_start = "SELECT pg_start_backup($1, true, false) AS lsn",
		.backup_stop = "SELECT lsn, labelfile, spcmapfile FROM pg_stop_backup(false, false)",
		.backup_start_function = "pg_start_backup(text, boolean, boolean)",
		.backup_stop_function = "pg_stop_backup(boolean, boolean)",
		.wire_lists = false,
	},
};

const struct mb_pg_dialect *
mb_pg_dialect_of(int version)
{
	const struct mb_pg_dialect *dialect = dialects;

	while (version < dialect->from_version)
		dialect++;
	return dialect;
}

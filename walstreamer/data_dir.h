/*
 * data_dir.h - what the data directory in which the server calls us says about itself.
 *
 * Postgres runs archive_command and restore_command in its data directory: everything is
 * read from the current directory, never from a configured path, so that a copy of a cluster
 * can not be taken for its original.
 */
#ifndef MB_WALSTREAMER_DATA_DIR_H
#define MB_WALSTREAMER_DATA_DIR_H

#include "core/base/error.h"
#include "postgres/wal_source.h"

#define MB_DATA_DIR_MARKER 17

struct mb_data_dir
{
	char system_id[MB_WAL_SYSID_TEXT];
	uint64_t redo_lsn; /* where recovery of it begins: backup_label, else the last checkpoint */
	uint32_t timeline; /* of redo_lsn */
};

/* MB_CONFIG when the current directory is no data directory. */
enum mb_code mb_data_dir_read(struct mb_data_dir *dir, struct mb_error *err) MB_MUST_CHECK;

/*
 * A mark of this very copy of the cluster, "" when it is no data directory: device and inode of
 * the directory, and inode and change time of PG_VERSION, which is never written
 * again.  A restore or a copy of the directory, at the same place too, has another one.
 */
void mb_data_dir_marker(char out[MB_DATA_DIR_MARKER]);

#endif

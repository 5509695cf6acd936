/*
 * backup_manifest.h - write a PostgreSQL backup_manifest (format 1, CRC32C), so that
 * pg_verifybackup can judge a restored directory ("Backup Manifest Format" in the manual).
 *
 * Constant memory: files are written as they come.
 */
#ifndef MB_POSTGRES_BACKUP_MANIFEST_H
#define MB_POSTGRES_BACKUP_MANIFEST_H

#include <stdint.h>

#include "core/base/error.h"
#include "core/base/mem.h"

struct mb_pg_manifest
{
	char *path;
	int fd;
	struct mb_buf buf;
	uint64_t files;
	enum mb_code code; /* the first failure sticks */
	struct mb_error err;
};

/* Create the file (it must not exist), 0600. */
enum mb_code mb_pg_manifest_begin(struct mb_pg_manifest *manifest, const char *path,
								  struct mb_error *err) MB_MUST_CHECK;
/* Failures are remembered for finish.  path need not be UTF-8. */
void mb_pg_manifest_add(struct mb_pg_manifest *manifest, const char *path, uint64_t size,
						int64_t mtime_s, uint32_t crc32c);
/* WAL range, checksum, fsync. */
enum mb_code mb_pg_manifest_finish(struct mb_pg_manifest *manifest, uint32_t timeline,
								   uint64_t start_lsn, uint64_t end_lsn,
								   struct mb_error *err) MB_MUST_CHECK;
void mb_pg_manifest_release(struct mb_pg_manifest *manifest); /* all zero is fine */

#endif

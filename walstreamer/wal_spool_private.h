/* wal_spool_private.h - the spool from the inside. */
#ifndef MB_WALSTREAMER_WAL_SPOOL_PRIVATE_H
#define MB_WALSTREAMER_WAL_SPOOL_PRIVATE_H

#include "walstreamer/wal_spool.h"

#define MB_SPOOL_PATH 4096
#define MB_SPOOL_NEW ".new"
#define MB_SPOOL_MAGIC "MBSPOOL1"
#define MB_SPOOL_RECORD 24
#define MB_SPOOL_META_MAX 65536
/* A unit in records as small as the server sends them. */
#define MB_SPOOL_FILE_MAX (4 * MB_WAL_UNIT_MAX)

struct mb_wal_spool
{
	const struct mb_env *env;
	char component[64];
	char *dir;
	int lock_fd;
	uint64_t limit_bytes;
	uint64_t used_bytes;
	/* the file begun last; until its first sync it is called path + MB_SPOOL_NEW */
	char path[MB_SPOOL_PATH];
	int fd;
	uint64_t file_bytes;
	bool is_new;
	bool dirty;
};

/* out has room for MB_WAL_UNIT_MAX; *len bytes are good.  *meta is the caller's. */
enum mb_code mb_wal_spool_read(const char *path, json_t **meta, unsigned char *out, uint32_t *len,
							   struct mb_error *err) MB_MUST_CHECK;
/* Close the file begun last; one without a name is removed. */
void mb_wal_spool_leave(struct mb_wal_spool *spool);
void mb_wal_spool_unlink(struct mb_wal_spool *spool, const char *path);

#endif

/*
 * look.h - one Redis by itself: its snapshot in a file, and the data of a moment as a file.
 */
#ifndef MB_REDIS_LOOK_H
#define MB_REDIS_LOOK_H

#include "core/engine/component.h"

enum mb_redis_file_flags
{
	MB_REDIS_FILE_FORCE = 1 /* take the place of a file that exists */
};

/*
 * The server's RDB in a file, as redis-cli --rdb, but checked while it comes: structure, checksum,
 * and that it is what the server announced.  Nothing has the name `path` before all of it is good
 * and durable; what was written until a failure is removed.  "-" is the standard output: there the
 * exit status says whether to keep it.  Needs no repository.
 *
 * *answer (a new reference): file, bytes, keys, seconds, server_version, rdb_version, replid, offset,
 * checksum, warnings.  MB_CONFLICT: the file exists.
 */
enum mb_code mb_redis_snapshot_file(struct mb_component *component, const char *path,
									unsigned flags, json_t **answer,
									struct mb_error *err) MB_MUST_CHECK;

/*
 * A directory that a restore with MB_RESTORE_LOOK has written: fn gets the path of an RDB file in
 * it with all of its keys, also those whose time has passed since; of a cluster one for each
 * shard, in turn.  Where commands have to be replayed for that a private server does it
 * (scratch.h); the caller removes the directory.
 */
typedef enum mb_code (*mb_redis_look_fn)(void *ctx, const char *path, struct mb_error *err);
enum mb_code mb_redis_look(struct mb_component *component, const char *directory,
						   mb_redis_look_fn fn, void *ctx, struct mb_error *err) MB_MUST_CHECK;

/* How a server has to be started to load the files in a directory. */
enum mb_redis_files
{
	MB_REDIS_FILES_NONE,   /* a cache that was left empty */
	MB_REDIS_FILES_RDB,    /* dump.rdb alone */
	MB_REDIS_FILES_AOF,    /* appendonly yes, with commands behind the snapshot */
	MB_REDIS_FILES_AOF_RDB /* appendonly yes, and nothing but the snapshot in it */
};
enum mb_redis_files mb_redis_files_in(const char *directory);

#endif

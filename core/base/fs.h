/*
 * fs.h - files: whole reads and writes that cope with short counts and EINTR,
 * durable writes, directories, and names that may not leave their root.
 *
 * Errors name the path and the cause; codes come from mb_fail_errno().
 */
#ifndef MB_BASE_FS_H
#define MB_BASE_FS_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "core/base/error.h"
#include "core/base/mem.h"
#include "core/base/names.h"

/* "a/b"; free() it. */
char *mb_path_join(const char *dir, const char *name);

/*
 * open(2), openat(2), opendir(3) and mkostemp(3), repeated while a signal interrupts them, as it may on a
 * network filesystem or FUSE.  They fail as those do, with errno; mode counts with O_CREAT and O_TMPFILE.
 */
int mb_open(const char *path, int flags, mode_t mode);
int mb_openat(int dir_fd, const char *name, int flags, mode_t mode);
DIR *mb_opendir(const char *path);
int mb_mkostemp(char *path, int flags); /* path ends with XXXXXX */

/* Read up to len bytes at offset; *got < len only at the end of the file. */
enum mb_code mb_pread_full(int fd, void *buf, size_t len, int64_t offset, size_t *got,
						   const char *path, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_write_full(int fd, const void *buf, size_t len, const char *path,
						   struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_pwrite_full(int fd, const void *buf, size_t len, int64_t offset, const char *path,
							struct mb_error *err) MB_MUST_CHECK;

/* Append the whole file to out; MB_CORRUPT when it is larger than max_bytes. */
enum mb_code mb_file_read(struct mb_buf *out, const char *path, size_t max_bytes,
						  struct mb_error *err) MB_MUST_CHECK;

/*
 * Write a file so that path has either its old contents or all of the new ones,
 * durably: temporary file beside it, fsync, rename, fsync of the directory.
 */
enum mb_code mb_file_write_durable(const char *path, const void *data, size_t len, mode_t mode,
								   struct mb_error *err) MB_MUST_CHECK;

enum mb_code mb_fsync_path(const char *path, struct mb_error *err) MB_MUST_CHECK; /* file or dir */

/* Create dir and its missing parents (each made durable in its parent). */
enum mb_code mb_mkdirs(const char *dir, mode_t mode, struct mb_error *err) MB_MUST_CHECK;

/* Remove a directory tree; a missing one is fine.  Never follows links. */
enum mb_code mb_rmtree(const char *path, struct mb_error *err) MB_MUST_CHECK;
/* The same for one name in an open directory, whatever it is. */
enum mb_code mb_rmtree_at(int dir_fd, const char *name, struct mb_error *err) MB_MUST_CHECK;

/*
 * What a restore has moved aside, to be put back by a rollback, stands in directories whose names
 * begin so (core/engine/safety.h).  It is nobody's data: no backup takes it, no restore
 * minds it.
 */
#define MB_KEPT_PREFIX ".mbackup-"

/*
 * The next name of an open directory that is not "." or ".."; *entry is NULL behind the last one, and
 * lives until the next call.  What could not be read to its end is an error that names `path`.
 *
 *     while (!code && !(code = mb_dir_next(dir, path, &entry, err)) && entry)
 */
enum mb_code mb_dir_next(DIR *dir, const char *path, struct dirent **entry,
						 struct mb_error *err) MB_MUST_CHECK;

/*
 * All names in a directory that begin with prefix ("": all), in no order; none when it is missing.
 * After a failure too `names` holds what was read, and must be released.
 */
enum mb_code mb_dir_names(const char *path, const char *prefix, struct mb_names *names,
						  struct mb_error *err) MB_MUST_CHECK;

/* Is there such a name in a directory (AT_FDCWD: or a path)?  A failure to look is a failure. */
enum mb_code mb_name_exists(int dir_fd, const char *name, bool *exists,
							struct mb_error *err) MB_MUST_CHECK;

/* *empty is true for a missing or empty directory ("lost+found" and what is kept do not count). */
enum mb_code mb_dir_is_empty(const char *path, bool *empty, struct mb_error *err) MB_MUST_CHECK;

/*
 * Is name safe below a root: relative, no empty, "." or ".." segment, no NUL,
 * segments of at most 255 and all of at most 4095 bytes?
 */
bool mb_name_is_safe(const char *name, size_t len);

/*
 * Open a name below the directory root_fd without following any symbolic link
 * (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, or a walk with O_NOFOLLOW on
 * kernels without it).  flags and mode as open(2); O_CLOEXEC is added.  On
 * success *fd is owned by the caller.
 */
enum mb_code mb_open_beneath(int *fd, int root_fd, const char *name, int flags, mode_t mode,
							 struct mb_error *err) MB_MUST_CHECK;

/*
 * An exclusive lock on a file that is created when missing (flock: the kernel
 * drops it when the process dies, however it dies).  MB_CONFLICT when another
 * process holds it.  Release by close(*fd).
 */
enum mb_code mb_lock_file(int *fd, const char *path, struct mb_error *err) MB_MUST_CHECK;

#endif

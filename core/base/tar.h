/*
 * tar.h - read a tar archive as it comes, from any source of bytes, and write one to any sink.
 *
 * A thin face on libarchive: one member after the other, its contents in order, nothing kept.
 * Compressed archives (zstd, gzip, lz4) are recognised.  One thread at a time.
 *
 * Written is the format of GNU tar: names are bytes, of any length, and no size is too large.  pax was
 * rejected: what is no UTF-8 needs a header there that GNU tar warns of.
 */
#ifndef MB_BASE_TAR_H
#define MB_BASE_TAR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/error.h"

/*
 * Give the next bytes of the archive: *data is borrowed until the next call; *len 0 is the end.
 * A failure ends the reading and comes out of the function that needed the bytes.
 */
typedef enum mb_code (*mb_tar_source)(void *ctx, const void **data, size_t *len,
									  struct mb_error *err);

/* One member; texts are borrowed until the next call. */
struct mb_tar_member
{
	const char *path;      /* without a leading "./" and a trailing slash */
	mode_t type;           /* S_IFREG, S_IFDIR, S_IFLNK, or what else it is */
	mode_t mode;           /* permission bits */
	const char *link;      /* target of a symbolic link, else NULL */
	const char *hard_link; /* name of the member that it is another name of, else NULL */
	uint32_t uid;
	uint32_t gid;
	const char *user; /* NULL when not told */
	const char *group;
	uint64_t size;
	int64_t mtime_ns;
};

struct mb_tar;

/* `what` names the archive in messages and is borrowed. */
enum mb_code mb_tar_open(struct mb_tar **tar, const char *what, mb_tar_source source, void *ctx,
						 struct mb_error *err) MB_MUST_CHECK;
/*
 * The next member; contents of the one before that were not read are skipped.  *more is false at
 * the end.  MB_CORRUPT when it is no tar archive or ends in the middle.
 */
enum mb_code mb_tar_next(struct mb_tar *tar, struct mb_tar_member *member, bool *more,
						 struct mb_error *err) MB_MUST_CHECK;
/* Up to len bytes of the member's contents; *got < len only at their end. */
enum mb_code mb_tar_read(struct mb_tar *tar, void *data, size_t len, size_t *got,
						 struct mb_error *err) MB_MUST_CHECK;
void mb_tar_close(struct mb_tar *tar); /* NULL does nothing */

/* -- writing --------------------------------------------------------------------------------- */

/* Takes the next bytes of the archive.  A failure comes out of the function that made them. */
typedef enum mb_code (*mb_tar_sink)(void *ctx, const void *data, size_t len, struct mb_error *err);

enum mb_tar_flags
{
	MB_TAR_GZIP = 1
};

struct mb_tar_writer;
struct mb_tar_writer *mb_tar_writer_new(unsigned flags, mb_tar_sink sink, void *ctx);
/* Begin a member; the one before it must be complete. */
enum mb_code mb_tar_begin(struct mb_tar_writer *writer, const struct mb_tar_member *member,
						  struct mb_error *err) MB_MUST_CHECK;
/* Contents, member->size bytes altogether; more or fewer are a bug. */
enum mb_code mb_tar_write(struct mb_tar_writer *writer, const void *data, size_t len,
						  struct mb_error *err) MB_MUST_CHECK;
/* The end of the archive. */
enum mb_code mb_tar_finish(struct mb_tar_writer *writer, struct mb_error *err) MB_MUST_CHECK;
void mb_tar_writer_free(struct mb_tar_writer *writer); /* NULL does nothing */

#endif

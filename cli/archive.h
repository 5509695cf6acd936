/*
 * archive.h - the portable archive (docs/archive.md): one tar, in gzip, in the format of openssl enc.
 *
 *     archive_output   where its bytes go: sealed, summed, into a file that has its name when all of it is there
 *     archive_writer   its members, each with its SHA-256
 *     archive_reader   the same backwards: from a file to members
 *
 * Everything streams: what is in memory is a few buffers, whatever the size.  One thread at a time.
 */
#ifndef MB_CLI_ARCHIVE_H
#define MB_CLI_ARCHIVE_H

#include <stdio.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/base/tar.h"
#include "core/repo/crypto.h"

#define ARCHIVE_FORMAT "mbackup-archive"
#define ARCHIVE_VERSION 1
#define ARCHIVE_INFO "metadata/backup-info.json"
#define ARCHIVE_SUMS "metadata/SHA256SUMS"
#define ARCHIVE_INFO_MAX_BYTES (16u << 20)
#define ARCHIVE_LINE_MAX_BYTES (256u << 10) /* of an index */
#define ARCHIVE_CHUNK (256u << 10)

/* -- where it goes ------------------------------------------------------------------------------ */

enum archive_output_flags
{
	ARCHIVE_REPLACE = 1 /* a file that exists */
};

struct archive_output
{
	const char *path; /* borrowed; "-": the standard output */
	unsigned flags;
	int fd;
	char *part; /* the temporary name; NULL: the file has none yet */
	struct mb_enc *enc;
	struct mb_sha256_sum *sum;
	unsigned char *sealed; /* ARCHIVE_CHUNK + a block */
	uint64_t bytes;
	char sha256[2 * MB_SHA256_BYTES + 1]; /* once it is finished */
};

/* MB_EXISTS: there is such a file, and it is not to be replaced.  Looks only. */
enum mb_code archive_output_check(const char *path, unsigned flags,
								  struct mb_error *err) MB_MUST_CHECK;
/* pass: NULL or empty: as it is.  archive_output_close in any case. */
enum mb_code archive_output_open(struct archive_output *out, const char *path, unsigned flags,
								 const struct mb_secret *pass, struct mb_error *err) MB_MUST_CHECK;
enum mb_code archive_output_write(void *ctx, const void *data, size_t len,
								  struct mb_error *err); /* an mb_tar_sink */
/* Durable, under its name, with PATH.sha256 beside it. */
enum mb_code archive_output_finish(struct archive_output *out, struct mb_error *err) MB_MUST_CHECK;
/* Whatever has no name yet is gone. */
void archive_output_close(struct archive_output *out);

/* -- writing -------------------------------------------------------------------------------------- */

struct archive_writer
{
	struct mb_tar_writer *tar;
	FILE *sums; /* of all members so far, as sha256sum prints them */
	struct mb_sha256_sum *sum;
	struct mb_buf name;
	int64_t now_ns;
	uint64_t members; /* regular files */
	uint64_t bytes;   /* of their contents */
};

/* flags: enum mb_tar_flags; tmp_dir: for the sums, in a file without a name. */
enum mb_code archive_writer_open(struct archive_writer *writer, struct archive_output *out,
								 unsigned flags, const char *tmp_dir,
								 struct mb_error *err) MB_MUST_CHECK;
/* A member with contents: begin, write exactly size bytes, end. */
enum mb_code archive_begin(struct archive_writer *writer, const struct mb_tar_member *member,
						   struct mb_error *err) MB_MUST_CHECK;
enum mb_code archive_write(struct archive_writer *writer, const void *data, size_t len,
						   struct mb_error *err) MB_MUST_CHECK;
enum mb_code archive_end(struct archive_writer *writer, struct mb_error *err) MB_MUST_CHECK;
/* One without: a directory or a link. */
enum mb_code archive_add(struct archive_writer *writer, const struct mb_tar_member *member,
						 struct mb_error *err) MB_MUST_CHECK;
enum mb_code archive_add_bytes(struct archive_writer *writer, const char *name, const void *data,
							   size_t len, struct mb_error *err) MB_MUST_CHECK;
/* The whole of an open file, from its beginning. */
enum mb_code archive_add_fd(struct archive_writer *writer, const char *name, int fd,
							struct mb_error *err) MB_MUST_CHECK;
enum mb_code archive_add_file(struct archive_writer *writer, const char *name, const char *path,
							  struct mb_error *err) MB_MUST_CHECK;
/* The sums, last, and the end. */
enum mb_code archive_finish(struct archive_writer *writer, struct mb_error *err) MB_MUST_CHECK;
void archive_writer_close(struct archive_writer *writer);

/* A file without a name in a directory; close it. */
enum mb_code archive_temporary(FILE **file, const char *dir, struct mb_error *err) MB_MUST_CHECK;

/* -- reading ---------------------------------------------------------------------------------------- */

struct archive_reader
{
	const char *path;
	int fd; /* borrowed */
	struct mb_tar *tar;
	struct mb_enc *enc;
	struct mb_sha256_sum *raw; /* of the file as it is */
	bool encrypted;
	bool begun;
	bool ended;
	struct mb_error failure; /* of the bytes; tar need not have asked for all of them */
	unsigned char *in;
	unsigned char *out;
	size_t top; /* length of the one directory that everything stands in, with its slash; 0: none */
};

/*
 * From the beginning of an open file.  MB_DENIED: it is encrypted and there is no passphrase, or another
 * one; MB_CORRUPT: no archive.  archive_reader_close in any case.
 */
enum mb_code archive_reader_open(struct archive_reader *reader, const char *path, int fd,
								 const struct mb_secret *pass, struct mb_error *err) MB_MUST_CHECK;
/*
 * The next member, its name without "./" and without one directory "backup-..." around all.  MB_CORRUPT:
 * a name that leads out of its directory, or a kind that has no place in an archive.
 */
enum mb_code archive_next(struct archive_reader *reader, struct mb_tar_member *member, bool *more,
						  struct mb_error *err) MB_MUST_CHECK;
enum mb_code archive_read(struct archive_reader *reader, void *data, size_t len, size_t *got,
						  struct mb_error *err) MB_MUST_CHECK;
/* Behind the last member: the rest of the file, and its SHA-256. */
enum mb_code archive_reader_sum(struct archive_reader *reader, unsigned char sum[MB_SHA256_BYTES],
								struct mb_error *err) MB_MUST_CHECK;
void archive_reader_close(struct archive_reader *reader);

#endif

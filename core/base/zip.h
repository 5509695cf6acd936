/*
 * zip.h - small zip archives in memory: all members at once.
 *
 * A thin face on libarchive for what comes from outside and may lie: names, numbers and sizes are
 * held against caps before anything is kept, and checksums are verified.  What it holds may be
 * secret, so memory is wiped on release.
 */
#ifndef MB_BASE_ZIP_H
#define MB_BASE_ZIP_H

#include "core/base/mem.h"

struct mb_zip_member
{
	char *name;
	struct mb_buf data;
};

/* All zero is an archive without members. */
struct mb_zip
{
	struct mb_zip_member *members;
	size_t count;
	size_t cap;
};

struct mb_zip_limits
{
	const char *what; /* names the archive in messages */
	size_t members;
	size_t bytes; /* of all members, unpacked */
};

/*
 * Add every member of the archive to *zip; on failure it holds what came before, to be released.
 * MB_CORRUPT: no zip archive, damaged, over a cap, a member that is no file, or two of one name.
 * Names are as they stand there: compare them with what is expected, never open them.
 */
enum mb_code mb_zip_read(struct mb_zip *zip, const void *data, size_t len,
						 const struct mb_zip_limits *limits, struct mb_error *err) MB_MUST_CHECK;
/* NULL when there is none of that name. */
const struct mb_buf *mb_zip_find(const struct mb_zip *zip, const char *name);
/* Copies. */
void mb_zip_add(struct mb_zip *zip, const char *name, const void *data, size_t len);
/* The archive as bytes, stored without compression, appended to out: the caller wipes them. */
enum mb_code mb_zip_write(const struct mb_zip *zip, struct mb_buf *out,
						  struct mb_error *err) MB_MUST_CHECK;
void mb_zip_release(struct mb_zip *zip);

#endif

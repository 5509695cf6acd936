/*
 * archive_name.h - names of objects, files and databases as names of members of an archive.
 *
 * A name stands as it is wherever that can be a file.  Else bytes of it are written %XX: control
 * characters, backslashes and what is no UTF-8; "." and ".." as a whole segment; slashes at the
 * beginning, at the end and before another slash; and '%' itself where two hexadecimal digits follow.
 * So %XX always means one byte, and decoding any name gives the key back.
 *
 * A segment of more than 255 bytes fits nowhere: such a key is called "%long/<SHA-256 of the key>", and only
 * the index of the archive (docs/archive.md) tells it.
 */
#ifndef MB_CLI_ARCHIVE_NAME_H
#define MB_CLI_ARCHIVE_NAME_H

#include "core/base/mem.h"

enum archive_name_flags
{
	ARCHIVE_NAME_SEGMENT = 1 /* one segment: every slash is written %2F */
};

/* Append the name; text has no NUL in it. */
void archive_name_encode(struct mb_buf *out, const char *text, size_t len, unsigned flags);

/*
 * Keys of a bucket in their order (bytes): where "a" is an object, "a/b" has no directory to be in and
 * becomes "a%2Fb".  Start with all zero.
 */
struct archive_keys
{
	struct mb_buf last;
	size_t *prefixes; /* lengths of it that are keys themselves */
	size_t count;
	size_t cap;
};
void archive_keys_encode(struct archive_keys *keys, struct mb_buf *out, const char *key,
						 size_t len);
void archive_keys_release(struct archive_keys *keys);

/* Append the key that a name stands for.  False: only the index knows it, or it has a NUL. */
bool archive_name_decode(struct mb_buf *out, const char *name);

#endif

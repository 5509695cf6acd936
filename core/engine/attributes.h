/*
 * attributes.h - extended attributes of a file, POSIX ACLs among them, as an entry has them.
 *
 * Kept are user.*, security.capability, system.posix_acl_access and _default, and for root
 * trusted.*: what is the file's own.  Labels (security.selinux) and measurements (ima, evm) are the
 * system's, which makes them anew.  The encoded form is that of docs/format.md, sorted by name, so
 * that what did not change makes the same bytes.
 */
#ifndef MB_ENGINE_ATTRIBUTES_H
#define MB_ENGINE_ATTRIBUTES_H

#include "core/base/mem.h"

/* Of one file; an entry has room for 512 KiB altogether. */
#define MB_ATTRIBUTES_MAX_BYTES (256u << 10)

/*
 * Append what the open file (O_PATH is enough) has.  *left_out: how many did not fit.  A
 * filesystem without attributes has none.
 */
enum mb_code mb_attributes_read(struct mb_buf *out, int fd, const char *path, unsigned *left_out,
								struct mb_error *err) MB_MUST_CHECK;

/* Called for each that could not be set, with errno. */
typedef void (*mb_attribute_failed)(void *ctx, const char *name, int saved_errno);

enum mb_attributes_flags
{
	MB_ATTRIBUTES_EXACT = 1 /* also remove what the file has and the bytes have not */
};

/* Set them on an open file; one that cannot be set does not keep the others from it. */
void mb_attributes_write(const unsigned char *data, size_t len, int fd, unsigned flags,
						 mb_attribute_failed failed, void *ctx);

#endif

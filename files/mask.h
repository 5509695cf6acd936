/*
 * mask.h - hide the values of secrets in environment files.
 *
 * A line "KEY=value", "export KEY=value", "key: value" or "key = value" whose key
 * contains PASSWORD, PASSWD, PASSPHRASE, SECRET, KEY, TOKEN or CREDENTIAL (in any case)
 * gets the value "********"; and the password inside a URL (scheme://user:password@) is hidden in
 * every line.  Line ends and everything else stay as they are.
 */
#ifndef MB_FILES_MASK_H
#define MB_FILES_MASK_H

#include <stdbool.h>

#include "core/base/mem.h"

/* Is this a file whose secrets are masked?  By its name. */
bool mb_mask_applies(const char *path);
/* Mask in place; true when something was hidden.  Binary contents (a NUL) are left alone. */
bool mb_mask_contents(struct mb_buf *contents);

#endif

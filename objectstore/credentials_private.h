/*
 * credentials_private.h - one source of credentials, as credentials.c asks it.
 *
 * fetch(options, found) answers MB_NOT_FOUND when the source is not set up (the message names the
 * place that was looked at; the next source is asked), any other error when it is set up but
 * does not work.  Called under the lock of the credentials.
 */
#ifndef MB_OBJECTSTORE_CREDENTIALS_PRIVATE_H
#define MB_OBJECTSTORE_CREDENTIALS_PRIVATE_H

#include "objectstore/credentials.h"

struct mb_found_keys
{
	struct mb_s3_keys keys; /* an empty access key: sign nothing */
	char *origin;           /* for messages */
	int64_t expires_us;     /* 0: never */
};
void mb_found_keys_release(struct mb_found_keys *found);

#endif
